package browser

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/lab/openapitest"
	"github.com/arauto/arauto/internal/lab/port"
	"github.com/arauto/arauto/internal/lab/stage"
	"github.com/arauto/arauto/internal/ofb"
)

// facesStops are the pages of initiators, lateness, sources, certificates and the log.
var facesStops = []stop{
	{path: at("/initiators"), pt: "Iniciadoras", en: "Initiators"},
	{path: at("/initiators?text=nobody-has-this-name"), pt: "Nada encontrado", en: "Nothing found"},
	{path: at("/initiators/" + certs.DefaultAlfa.Name), pt: "Conformidade do receptor", en: "Conformance of the receiver"},
	{path: at("/late"), pt: "Por quê, e quem pode agir", en: "Why, and who can act"},
	{path: at("/sources"), pt: "Nenhuma fonte está configurada", en: "No source is configured"},
	{path: at("/certificates"), pt: "Cliente de webhook (BRCAC)", en: "Webhook client (BRCAC)"},
	{path: at("/log"), pt: "Nada mudou entre duas datas", en: "Nothing changed between two dates"},
	{path: at("/polling"), pt: "Consultas economizadas", en: "Polling saved"},
	{path: at("/initiators/" + certs.DefaultAlfa.Name), send: tryAddress, pt: "pronto: uma notificação chegaria a este endereço", en: "ready: a notification would reach this address"},
	{path: at("/initiators/" + certs.DefaultBeta.Name), send: tryAddress, pt: "inicie o receptor, ou registre a porta em que ele atende", en: "start the receiver, or register the port where it listens"},
	{path: at("/log"), send: verifyLog, pt: "Verificação do log inteiro", en: "Verification of the whole log"},
	{path: at("/log"), send: proveConsistency, pt: "provado", en: "proven"},
	{path: at("/log"), send: judgeRecords, pt: "Registros sozinhos não provam nada", en: "Records alone prove nothing"},
}

// The forms whose answers are pages.

func tryAddress(w *window) {
	require.EqualValues(w.t, 200, w.press(`form[action$="/preflight"] button`))
}

// verifyLog begins a verification, or opens the one that still runs.
func verifyLog(w *window) {
	require.EqualValues(w.t, 200, w.press(`form[action="/log/verifications"] button, a[href^="/log/verifications/"]`))
}

func proveConsistency(w *window) {
	now := time.Now().In(ofb.Brasilia).Format("2006-01-02T15:04:05")
	script[bool](w, fmt.Sprintf(`document.querySelector("input[name=from]").value = %q; true`, now))
	require.EqualValues(w.t, 200, w.press(`form[action="/log/consistency"] button`))
}

func judgeRecords(w *window) {
	file := filepath.Join(w.t.TempDir(), "records.jsonl")
	require.NoError(w.t, os.WriteFile(file, []byte("{}\n"), 0o600))
	w.upload(`input[name=file]`, file)
	require.EqualValues(w.t, 200, w.press(`form[action="/log/judgements"] button`))
}

// moreStories are a payment whose core told of it late, and an initiator at whose address nobody answers.
func (h *house) moreStories() {
	h.t.Helper()
	old := stage.Change{
		Kind: ofb.PixPayment.String(), ClientID: certs.DefaultAlfa.Name, APIVersion: "v5", Revision: 1, OccurredAt: time.Now().UTC().Add(-4 * time.Second),
		Data: openapitest.Document(ofb.PixPayment, "v5", ofb.ACSC, uuid.NewString()),
	}
	a, err := h.core.Change(h.t.Context(), old)
	require.NoError(h.t, err)
	_, err = h.core.WaitState(h.t.Context(), a.Notifications[0].ID)
	require.NoError(h.t, err)

	is := certs.DefaultBeta
	uris := []string{"https://" + strings.Replace(port.For(h.t).Address(), "127.0.0.1", "localhost", 1) + "/hook"}
	statement, err := h.set.Statement(is.Organisation.ID, is.SoftwareID, uris)
	require.NoError(h.t, err)
	require.NoError(h.t, h.core.Register(h.t.Context(), is.Name, stage.Registration{
		OrganisationID: is.Organisation.ID, SoftwareID: is.SoftwareID, Name: is.Organisation.Name, WebhookURIs: uris, SoftwareStatement: statement,
	}))
	for range 3 {
		h.change(is.Name, uuid.NewString(), ofb.ACSC)
	}
	require.Eventually(h.t, func() bool {
		var n int
		require.NoError(h.t, h.db.QueryRow(h.t.Context(), "SELECT count(*) FROM arauto.entry WHERE kind = 'result' AND client_id = $1", is.Name).Scan(&n))
		return n >= 3
	}, 30*time.Second, 100*time.Millisecond)
}

// sealed waits until the log has a checkpoint.
func (h *house) sealed() {
	h.t.Helper()
	require.Eventually(h.t, func() bool {
		var n int
		require.NoError(h.t, h.db.QueryRow(h.t.Context(), "SELECT count(*) FROM arauto.log_checkpoint").Scan(&n))
		return n > 0
	}, 30*time.Second, 200*time.Millisecond)
}

// facesActs are the acts of these pages, each with its record.
func facesActs(t *testing.T, h *house) {
	h.sealed()
	w := newWindow(t, h.browser)
	w.enter(h, "fabia", "operator", "auditor", "registrar")

	require.EqualValues(t, 200, w.visit(h.byLink+"/initiators/"+certs.DefaultAlfa.Name))
	tryAddress(w)
	require.Contains(t, w.text(), "uma notificação chegaria")
	require.Equal(t, 1, h.entries("preflight", "fabia"))

	require.EqualValues(t, 200, w.visit(h.byLink+"/log"))
	verifyLog(w)
	require.Equal(t, 1, h.entries("verify", "fabia"))
	(&clicker{window: w, h: h}).until("sem divergência")

	require.EqualValues(t, 200, w.visit(h.byLink+"/log"))
	proveConsistency(w)
	require.Contains(t, w.text(), "provado")
	require.Equal(t, 1, h.entries("consistency", "fabia"))
	proof := ask(w, chromedp.Evaluate[string](`fetch(document.querySelector('a[href^="/log/consistency/file"]').href).then(r => r.text())`, chromedp.EvalAwaitPromise))
	require.Contains(t, proof, "arauto-consistency/1")

	judge := func(text string) string {
		file := filepath.Join(t.TempDir(), "proof.txt")
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		require.EqualValues(t, 200, w.visit(h.byLink+"/log"))
		w.upload(`input[name=file]`, file)
		require.EqualValues(t, 200, w.press(`form[action="/log/judgements"] button`))
		return w.text()
	}
	require.Contains(t, judge(proof), "O arquivo é o que este log assinou")
	require.Contains(t, judge(strings.Replace(proof, "\n— ", "\n- ", 1)), "não confere")
	require.Equal(t, 2, h.entries("judge", "fabia"))
	require.Contains(t, ask(w, chromedp.Evaluate[string](`fetch("/log/key").then(r => r.text())`, chromedp.EvalAwaitPromise)), "BEGIN PUBLIC KEY")
	require.Contains(t, ask(w, chromedp.Evaluate[string](`fetch("/log/checkpoint").then(r => r.text())`, chromedp.EvalAwaitPromise)), "arauto/")
	require.Empty(t, w.complaints())
}

// upload chooses a file in a field.
func (w *window) upload(selector, file string) {
	w.t.Helper()
	w.do(chromedp.SetUploadFiles(chromedp.CSS(selector), []string{file}))
}
