package browser

import (
	"fmt"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/lab/openapitest"
	"github.com/arauto/arauto/internal/lab/stage"
	"github.com/arauto/arauto/internal/ofb"
)

// actsStops are the pages of what people decide and of what they keep an eye on.
var actsStops = []stop{
	{path: at("/quarantine"), pt: "Quarentena", en: "Quarantine"},
	{path: func(h *house) string { return "/quarantine/" + h.aCase() }, pt: "O que está errado, e o que seria certo", en: "What is wrong, and what would be right"},
	{path: at("/requests"), pt: "Quem pede não aprova", en: "Who asks does not approve"},
	{path: at("/exports"), pt: "Pedir uma exportação", en: "Ask for an export"},
	{path: at("/holds"), pt: "Criar uma retenção", en: "Place a hold"},
	{path: at("/reconciliation"), pt: "O histórico está completo?", en: "Is the history complete?"},
	{path: at("/access"), pt: "Quem leu ou fez o quê", en: "Who read or did what"},
	{path: at("/settings"), pt: "Ajustes em vigor", en: "Settings in force"},
}

// refusedChange has the core tell of a payment with a member that the schema does not know.
func (h *house) refusedChange() {
	h.t.Helper()
	_, err := h.core.Change(h.t.Context(), stage.Change{
		Kind: ofb.PixPayment.String(), ClientID: certs.DefaultAlfa.Name, APIVersion: "v5", Revision: 1, OccurredAt: time.Now().UTC(),
		Data: fmt.Appendf(nil, `{"paymentId":%q,"status":"ACSC","unheardOf":1}`, uuid.NewString()),
	})
	require.Error(h.t, err)
}

// aCase is an open case of the quarantine, made if there is none.
func (h *house) aCase() (id string) {
	h.t.Helper()
	const open = "SELECT coalesce((SELECT id::text FROM arauto.quarantine WHERE state = 'open' ORDER BY first_at LIMIT 1), '')"
	require.NoError(h.t, h.db.QueryRow(h.t.Context(), open).Scan(&id))
	if id == "" {
		h.refusedChange()
		require.NoError(h.t, h.db.QueryRow(h.t.Context(), open).Scan(&id))
	}
	return id
}

// unfold opens everything that a person could unfold.
func (w *window) unfold() {
	w.t.Helper()
	script[bool](w, `document.querySelectorAll("details").forEach(d => d.open = true); true`)
}

// fill writes into the field of a form.
func (w *window) fill(form, field, value string) {
	w.t.Helper()
	script[bool](w, fmt.Sprintf(`document.querySelector(%q).elements[%q].value = %q; true`, form, field, value))
}

// fetched is the status of a form that is posted to a path past the page.
func (w *window) fetched(path, reason string) int64 {
	w.t.Helper()
	return ask(w, chromedp.Evaluate[int64](fmt.Sprintf(`fetch(%q, {method: "POST", body: new URLSearchParams({reason: %q})}).then(r => r.status)`, path, reason), chromedp.EvalAwaitPromise))
}

// actsOfPeople are the acts of these pages, each with its record.
func actsOfPeople(t *testing.T, h *house) {
	h.aCase()
	h.refusedChange()
	h.refusedChange()
	hugo, iris := newWindow(t, h.browser), newWindow(t, h.browser)
	hugo.enter(h, "hugo", "operator", "auditor")
	iris.enter(h, "iris", "operator", "auditor")

	require.EqualValues(t, 200, hugo.visit(h.byLink+"/quarantine/"+h.aCase()))
	hugo.unfold()
	hugo.fill(`form[action$="/dismiss"]`, "reason", "the core sends it anew")
	require.EqualValues(t, 200, hugo.press(`form[action$="/dismiss"] button`))
	require.Contains(t, hugo.text(), "Dispensado.")
	require.Equal(t, 1, h.entries("quarantine-dismissed", "hugo"))
	closed := hugo.at()
	for lang, says := range map[string]string{"en": "the case is already closed", "pt": "o caso já está encerrado"} {
		require.EqualValues(t, 200, hugo.visit(h.byLink+closed+"?lang="+lang))
		text := ask(hugo, chromedp.Evaluate[string](`fetch(location.pathname + "/apply", {method: "POST"}).then(r => r.text())`, chromedp.EvalAwaitPromise))
		require.Contains(t, text, says, "why an act is refused is in the language of the page")
	}
	require.EqualValues(t, 200, hugo.visit(h.byLink+"/quarantine"))
	hugo.fill(`form[action^="/quarantine/bulk"]`, "reason", "all of them")
	require.EqualValues(t, 400, hugo.press(`button[value=apply]`))
	require.Contains(t, hugo.text(), "Escolha pelo menos um caso")
	hugo.complaints() // the browser tells of the 400
	script[bool](hugo, `document.querySelectorAll("input[name=id]").forEach(b => b.checked = true); true`)
	hugo.fill(`form[action^="/quarantine/bulk"]`, "reason", "all of them")
	require.EqualValues(t, 200, hugo.press(`button[value=apply]`))
	require.Contains(t, hugo.text(), "O que aconteceu com cada um")
	require.Contains(t, hugo.text(), "/data/unheardOf")
	require.Contains(t, hugo.text(), "a mudança não pode ser aplicada; ela fica na quarentena")
	script[bool](hugo, `document.querySelectorAll("input[name=id]").forEach(b => b.checked = true); true`)
	hugo.fill(`form[action^="/quarantine/bulk"]`, "reason", "all of them")
	require.EqualValues(t, 200, hugo.press(`button[value=dismiss]`))
	require.Equal(t, 3, h.entries("quarantine-dismissed", "hugo"))

	appliedLater(t, h, hugo)
	fourEyes(t, h, hugo, iris)
	liftedByTwo(t, h, hugo, iris)

	require.EqualValues(t, 200, hugo.visit(h.byLink+"/exports"))
	hugo.unfold()
	hugo.fill(`form[action="/exports"]`, "format", "jsonl")
	require.EqualValues(t, 200, hugo.press(`form[action="/exports"] button`))
	require.Equal(t, 1, h.entries("export-requested", "hugo"))
	(&clicker{window: hugo, h: h}).until("pronta")
	require.Contains(t, ask(hugo, chromedp.Evaluate[string](`fetch(document.querySelector('a[href$="/file"]').href).then(r => r.text())`, chromedp.EvalAwaitPromise)), certs.DefaultAlfa.Name)
	require.Equal(t, 1, h.entries("export-file", "hugo"))
	require.EqualValues(t, 200, hugo.press(`form[action$="/delete"] button`))
	require.Equal(t, 1, h.entries("export-deleted", "hugo"))
	typedWrong(t, h, iris)

	require.EqualValues(t, 200, hugo.visit(h.byLink+"/reconciliation"))
	hugo.unfold()
	now := time.Now().In(ofb.Brasilia)
	hugo.fill(`form[action="/reconciliation"]`, "from", now.Add(-time.Hour).Format("2006-01-02T15:04"))
	hugo.fill(`form[action="/reconciliation"]`, "to", now.Add(time.Minute).Format("2006-01-02T15:04"))
	require.EqualValues(t, 200, hugo.press(`form[action="/reconciliation"] button`))
	require.Equal(t, 1, h.entries("reconciliation-asked", "hugo"))
	(&clicker{window: hugo, h: h}).until("pedida por hugo")

	require.EqualValues(t, 200, iris.visit(h.byLink+"/access?person=hugo"))
	require.Contains(t, iris.text(), "request-asked")
	table := ask(iris, chromedp.Evaluate[string](`fetch(document.querySelector('a[href^="/access.csv"]').href).then(r => r.text())`, chromedp.EvalAwaitPromise))
	require.Contains(t, table, "hugo,auditor")
	require.NotContains(t, table, "iris,auditor")
	showsStarts(t, h, iris)
	require.Empty(t, iris.complaints())
}

// showsStarts shows the settings, and a replica's second start and a refused file as if they had been.
func showsStarts(t *testing.T, h *house, iris *window) {
	for _, statement := range []string{
		`SELECT gen_random_uuid(), kind, outcome, replace(facts::text, '127.0.0.0/8', '127.0.0.0/9')::json FROM arauto.entry WHERE kind = 'start' LIMIT 1`,
		`VALUES (gen_random_uuid(), 'reload', 'refused', '{"system":"a 1","setting":"webhook.crl","source":"/x.crl","reason":"the list is damaged","inForce":{}}')`,
	} {
		_, err := h.db.Exec(t.Context(), "INSERT INTO arauto.entry (id, kind, outcome, facts) "+statement)
		require.NoError(t, err)
	}
	require.EqualValues(t, 200, iris.visit(h.byLink+"/settings"))
	iris.unfold()
	for _, text := range []string{
		"viva", "ARAUTO_CONSOLE_FOUR_EYES", "nenhum início anterior com este nome", "defina-o para haver comparação", "diferenças: 1", "127.0.0.0/9", "console.oidc.issuer", "the list is damaged", "recusado; continua o que estava em vigor, se algo estava",
	} {
		require.Contains(t, iris.text(), text)
	}
}

// appliedLater: a core's clock ran a minute ahead, so its change was refused; a minute later an operator applies it, and the
// initiator is told.
func appliedLater(t *testing.T, h *house, hugo *window) {
	payment, due := uuid.NewString(), time.Now().Add(62*time.Second) // at most 60 s ahead are taken
	_, err := h.core.Change(t.Context(), stage.Change{
		Kind: ofb.PixPayment.String(), ClientID: certs.DefaultAlfa.Name, APIVersion: "v5", Revision: 1, OccurredAt: due.UTC(),
		Data: openapitest.Document(ofb.PixPayment, "v5", ofb.ACSC, payment),
	})
	require.ErrorContains(t, err, "422")
	var id string
	require.NoError(t, h.db.QueryRow(t.Context(), "SELECT id::text FROM arauto.quarantine WHERE resource_id = $1 AND state = 'open'", payment).Scan(&id))
	require.EqualValues(t, 200, hugo.visit(h.byLink+"/quarantine/"+id))
	require.Contains(t, hugo.text(), "verifique os relógios")
	require.Eventually(t, func() bool { return time.Until(due) < time.Minute }, 5*time.Second, 20*time.Millisecond)
	hugo.unfold()
	require.EqualValues(t, 200, hugo.press(`form[action$="/apply"] button`))
	require.Equal(t, "/quarantine/"+id, hugo.at())
	require.Contains(t, hugo.text(), "Aplicado.")
	require.EqualValues(t, 200, hugo.visit(h.byLink+hugo.at()))
	require.NotContains(t, hugo.text(), "Aplicado.", "it was said, and the address does not say it again")
	require.False(t, script[bool](hugo, `!!document.querySelector('form[action$="/apply"]')`), "the case is over")
	var n int
	require.NoError(t, h.db.QueryRow(t.Context(), "SELECT count(*) FROM arauto.entry WHERE kind = 'change' AND resource_id = $1 AND facts->>'actor' = 'hugo' AND facts->>'quarantine' = $2", payment, id).Scan(&n))
	require.Equal(t, 1, n, "the change is an entry, with who applied it and the case")
	require.EqualValues(t, 200, hugo.visit(h.byLink+"/resources/pix-payment/"+payment))
	require.Contains(t, hugo.text(), "ACSC")
}

// typedWrong: what is asked for about an id that nobody knows is kept, and the page says that nobody knows it.
func typedWrong(t *testing.T, h *house, w *window) {
	const says, saysOf = "Nenhuma iniciadora com o client id alfaa é conhecida", "O histórico não conhece nenhum recurso com o id"
	for path, form := range map[string]string{"/holds": `form[action="/holds"]`, "/exports": `form[action="/exports"]`} {
		for field, value := range map[string]string{"clientId": "alfaa", "resourceId": uuid.NewString()} {
			require.EqualValues(t, 200, w.visit(h.byLink+path))
			w.unfold()
			if path == "/holds" {
				w.fill(form, "name", "wrong-"+field)
				w.fill(form, "reason", "court order")
			}
			if field == "resourceId" {
				w.fill(form, "kind", ofb.PixPayment.String())
			}
			w.fill(form, field, value)
			require.EqualValues(t, 200, w.press(form+` button`))
			require.Contains(t, w.text(), map[string]string{"clientId": says, "resourceId": saysOf + " " + value}[field], path)
			require.Contains(t, w.text(), map[string]string{"/holds": "espera a aprovação de outra pessoa", "/exports": "A exportação foi pedida."}[path], "and that the act is done")
			require.NotContains(t, w.at(), "done=")
		}
	}
	require.EqualValues(t, 200, w.visit(h.byLink+"/late?clientId=alfaa"))
	require.Contains(t, w.text(), says)
	require.NotContains(t, w.text(), "Nenhum prazo perdido")
	require.EqualValues(t, 200, w.visit(h.byLink+"/late?clientId="+certs.DefaultBeta.Name))
	require.NotContains(t, w.text(), "é conhecida")
}

// liftedByTwo: iris asks to lift the hold that hugo asked for, and hugo approves.
func liftedByTwo(t *testing.T, h *house, hugo, iris *window) {
	require.EqualValues(t, 200, iris.visit(h.byLink+"/holds"))
	require.Contains(t, iris.text(), "court order")
	iris.unfold()
	iris.fill(`form[action="/holds/case-1/lift"]`, "reason", "the case is closed")
	require.EqualValues(t, 200, iris.press(`form[action="/holds/case-1/lift"] button`))
	require.Equal(t, "/requests", iris.at())
	require.Zero(t, h.entries("lifted", "iris"), "it stands until another person approves")

	require.EqualValues(t, 200, hugo.visit(h.byLink+"/requests"))
	require.Contains(t, hugo.text(), "DELETE /internal/v1/audit/holds/case-1")
	hugo.unfold()
	hugo.fill(`form[action$="/approve"]`, "reason", "closed indeed")
	require.EqualValues(t, 200, hugo.press(`form[action$="/approve"] button`))
	require.Contains(t, hugo.text(), "Aprovado e feito.")
	require.Equal(t, 1, h.entries("placed", "hugo"))
	require.Equal(t, 1, h.entries("lifted", "iris"))
	require.EqualValues(t, 200, iris.visit(h.byLink+"/holds"))
	require.NotContains(t, iris.text(), "court order")
}

// fourEyes: hugo asks for a hold and cannot approve it, iris approves; what nobody decides in a day expires.
func fourEyes(t *testing.T, h *house, hugo, iris *window) {
	asks := func(name string) (id string) {
		require.EqualValues(t, 200, hugo.visit(h.byLink+"/holds"))
		hugo.unfold()
		hugo.fill(`form[action="/holds"]`, "name", name)
		hugo.fill(`form[action="/holds"]`, "clientId", certs.DefaultAlfa.Name)
		hugo.fill(`form[action="/holds"]`, "reason", "court order")
		require.EqualValues(t, 200, hugo.press(`form[action="/holds"] button`))
		require.Equal(t, "/requests", hugo.at())
		require.NoError(t, h.db.QueryRow(t.Context(), "SELECT id::text FROM arauto.act_request WHERE path LIKE '%/' || $1", name).Scan(&id))
		return id
	}
	holds := func() (n int) {
		require.NoError(t, h.db.QueryRow(t.Context(), "SELECT count(*) FROM arauto.hold").Scan(&n))
		return n
	}
	id := asks("case-1")
	require.Equal(t, 1, h.entries("request-asked", "hugo"))
	require.Contains(t, hugo.text(), "Este pedido é seu")
	require.False(t, script[bool](hugo, `!!document.querySelector('form[action$="/approve"]')`))
	require.EqualValues(t, 409, hugo.fetched("/requests/"+id+"/approve", "mine"))
	require.Zero(t, holds())
	hugo.complaints() // the browser tells of the 409

	require.EqualValues(t, 200, iris.visit(h.byLink+"/requests"))
	require.Contains(t, iris.text(), "court order")
	iris.unfold()
	iris.fill(`form[action$="/approve"]`, "reason", "I read the order")
	require.EqualValues(t, 200, iris.press(`form[action$="/approve"] button`))
	require.Contains(t, iris.text(), "Aprovado e feito.")
	require.Equal(t, 1, holds())
	require.Equal(t, 1, h.entries("request-approved", "iris"))
	require.Equal(t, 1, h.entries("request-done", "hugo"))

	refused := asks("case-2")
	require.EqualValues(t, 200, iris.visit(h.byLink+"/requests"))
	iris.unfold()
	iris.fill(`form[action$="/refuse"]`, "reason", "no order")
	require.EqualValues(t, 200, iris.press(`form[action$="/refuse"] button`))
	require.Equal(t, 1, h.entries("request-refused", "iris"))
	require.EqualValues(t, 409, iris.fetched("/requests/"+refused+"/approve", "after all"))

	expired := asks("case-3")
	_, err := h.db.Exec(t.Context(), "UPDATE arauto.act_request SET expires_at = now() WHERE id = $1", expired)
	require.NoError(t, err)
	require.EqualValues(t, 409, iris.fetched("/requests/"+expired+"/approve", "too late"))
	iris.complaints()
	require.EqualValues(t, 200, iris.visit(h.byLink+"/requests?state=expired"))
	require.Contains(t, iris.text(), "case-3")
	require.Equal(t, 1, holds())
}
