package browser

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/lab/standin"
	"github.com/arauto/arauto/internal/ofb"
)

// operationStops are pages of operators with what their addresses choose.
var operationStops = []stop{
	{path: at("/?period=30d"), pt: "por dia UTC, em 30 dias", en: "by the day in UTC, over 30 days"},
	{path: at("/notifications?count=client"), pt: "Por iniciadora", en: "By initiator"},
	{path: at("/access?person=olga"), pt: "Quem leu ou fez o quê", en: "Who read or did what"},
	{path: at("/manual"), pt: "Manual da operação", en: "Manual for operators"},
	{path: at("/manual/alarm-queue-age"), pt: "Esta página do manual está em inglês", en: "What initiators feel"},
}

// cancelledOnes are two notifications that ended without a delivery, because the registration ended after their first attempt.
func (h *house) cancelledOnes() (ids []string) {
	h.t.Helper()
	is := certs.DefaultBeta
	receiver := h.initiator(h.set, is)
	resources := []string{uuid.NewString(), uuid.NewString()}
	for _, r := range resources {
		receiver.Answer(r, standin.Refuse(http.StatusServiceUnavailable))
		ids = append(ids, h.change(is.Name, r, ofb.ACSC).Notifications[0].ID)
	}
	for _, r := range resources {
		_, err := receiver.Wait(h.t.Context(), 1, standin.For(r))
		require.NoError(h.t, err)
	}
	require.NoError(h.t, h.core.Call(h.t.Context(), http.MethodDelete, "/internal/v1/initiators/"+is.Name, nil, nil))
	for _, id := range ids {
		n, err := h.core.WaitState(h.t.Context(), id)
		require.NoError(h.t, err)
		require.Equal(h.t, "cancelled", n.State)
	}
	h.register(h.set, is, receiver)
	return ids
}

// operationActs are what an operator does with the list of notifications: count, keep filters, take files, resend several.
func operationActs(t *testing.T, h *house) {
	ids := h.cancelledOnes()
	w := newWindow(t, h.browser)
	w.enter(h, "ivo", "operator", "auditor")

	require.Eventually(t, func() bool {
		w.visit(h.byLink + "/notifications?count=client")
		return strings.Contains(script[string](w, `document.querySelector("#counts ~ .scroll")?.innerText || ""`), certs.DefaultAlfa.Name)
	}, time.Minute, 100*time.Millisecond, "what is sealed is counted")
	require.Positive(t, h.entries("statistics", "ivo"), "to read counts is a reading")

	require.EqualValues(t, 200, w.visit(h.byLink+"/notifications?state=cancelled"))
	w.unfold()
	w.fill(`form[action="/notifications/filters"]`, "name", "canceladas")
	require.EqualValues(t, 200, w.press(`form[action="/notifications/filters"] button`))
	require.Contains(t, w.text(), "Os filtros foram salvos neste navegador")
	require.EqualValues(t, 200, w.visit(h.byLink+"/notifications"))
	require.EqualValues(t, 200, w.press(`main a[href="/notifications?state=cancelled"]`))

	list := w.fetchedText(`main a[href^="/notifications.csv"]`)
	require.Contains(t, list, "id,created_at,client_id")
	require.Contains(t, list, ids[0])
	require.NotContains(t, list, ",delivered,", "the file follows the filters")

	for _, id := range ids {
		require.True(t, script[bool](w, fmt.Sprintf(`document.querySelector('input[name=id][value="%s"]').checked = true`, id)))
	}
	w.fill(`form[action^="/notifications/resend"]`, "reason", "the initiator is back")
	require.EqualValues(t, 200, w.press(`form[action^="/notifications/resend"] button`))
	require.Contains(t, w.text(), "O que aconteceu com cada uma")
	require.Equal(t, len(ids), strings.Count(w.text(), "reenvio pedido"))
	var n int
	require.NoError(t, h.db.QueryRow(t.Context(), "SELECT count(*) FROM arauto.entry WHERE kind = 'resend' AND facts->>'actor' = 'ivo' AND facts->>'why' = 'the initiator is back'").Scan(&n))
	require.Equal(t, len(ids), n, "each resend is an entry, with person and reason")

	require.EqualValues(t, 200, w.visit(h.byLink+"/notifications"))
	w.unfold()
	require.EqualValues(t, 200, w.press(`form[action="/notifications/filters/delete"] button`))
	require.NotContains(t, w.text(), "canceladas")

	exportsFiltered(t, h, w)
	keepsWhatIsTyped(t, h, w)
	require.Empty(t, w.complaints())
}

// exportsFiltered presses the export of a filtered list, and reads the file.
func exportsFiltered(t *testing.T, h *house, w *window) {
	require.EqualValues(t, 200, w.visit(h.byLink+"/notifications?outcome=refused&clientId="+certs.DefaultAlfa.Name))
	require.EqualValues(t, 200, w.press(`form[action="/exports"] button`))
	require.Equal(t, "/exports", w.at())
	ask(w, chromedp.Evaluate[bool](`new Promise(done => { const look = () => document.querySelector("#live tbody tr")?.innerText.includes("pronta") ? done(true) : setTimeout(look, 100); look(); })`,
		chromedp.EvalAwaitPromise))
	file := w.fetchedText(`#live tbody tr:first-child a[href$="/file"]`)
	require.Contains(t, file, h.retried, "its first attempt was refused")
	require.NotContains(t, file, h.delivered, "the filter of the list is that of the export")
	require.EqualValues(t, 200, w.press(`#live tbody tr:first-child form[action$="/delete"] button`))
}

// keepsWhatIsTyped: forms above the part that is refreshed are no part of it, and that part is not refreshed while something in it is
// unfolded.
func keepsWhatIsTyped(t *testing.T, h *house, w *window) {
	for path, form := range map[string]string{"/exports": `form[action="/exports"]`, "/reconciliation": `form[action="/reconciliation"]`} {
		require.EqualValues(t, 200, w.visit(h.byLink+path))
		require.True(t, script[bool](w, fmt.Sprintf(`!!document.querySelector(%q) && !document.getElementById("live").querySelector(%q)`, form, form)), path)
	}
	require.EqualValues(t, 200, w.visit(h.byLink+"/"))
	refreshed := `(() => { const e = new CustomEvent("htmx:beforeRequest", {bubbles: true, cancelable: true}); document.getElementById("live").dispatchEvent(e); return !e.defaultPrevented })()`
	require.True(t, script[bool](w, refreshed))
	w.unfold()
	require.False(t, script[bool](w, refreshed), "a table that somebody reads stays")
	w.accessible("/ unfolded")
	require.Empty(t, script[string](w, `document.getElementById("stale").innerText`))
	script[bool](w, `(() => { const now = performance.now() + 61000; performance.now = () => now; return true })()`)
	require.False(t, script[bool](w, refreshed))
	require.Contains(t, oneLine(script[string](w, `document.getElementById("stale").innerText`)), "A atualização espera enquanto algo está aberto ou em edição aqui. O que ela mostra é de")
	w.accessible("/ held")
}

// fetchedText is the file that a link leads to.
func (w *window) fetchedText(link string) string {
	w.t.Helper()
	return ask(w, chromedp.Evaluate[string](fmt.Sprintf(`fetch(document.querySelector(%q).href).then(r => r.text())`, link), chromedp.EvalAwaitPromise))
}
