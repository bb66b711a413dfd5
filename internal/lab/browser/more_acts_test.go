package browser

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/lab/port"
)

// unreachableBus is the mapping of a source whose origin nobody answers for, in a file.
func unreachableBus(t *testing.T, dir string) string {
	t.Helper()
	file := filepath.Join(dir, "core.yaml")
	require.NoError(t, os.WriteFile(file, []byte(`source: core
type: nats
nats: {urls: ["nats://`+port.For(t).Address()+`"], stream: CORE, durable: arauto, subjects: {core.pix: pix}}
tables:
  pix: {kind: pix-payment, id: id, client: client, version: v5, status: status, occurredAt: committed_at, data: {}}
`), 0o600))
	return file
}

// sourceActs pauses and resumes a source, and maps its cases again, at the replica that follows it.
func sourceActs(t *testing.T, h *house) {
	w := newWindow(t, h.browser)
	w.enter(h, "jair", "operator")
	const sources = "/sources"
	require.EqualValues(t, 200, w.visit(h.byOpenID+sources))
	require.Contains(t, w.text(), "1 precisa de alguém", "nobody answers at its origin")
	w.accessible(sources)

	for _, act := range []struct{ do, entry, says string }{
		{"pause", "source-paused", "A fonte está pausada em todas as réplicas."},
		{"resume", "source-resumed", "A fonte volta a ser lida."},
	} {
		form := `form[action="/sources/core/` + act.do + `"]`
		w.unfold()
		w.fill(form, "reason", "the core moves its bus")
		require.EqualValues(t, 200, w.press(form+" button"))
		require.Contains(t, w.text(), act.says)
		require.Equal(t, 1, h.entries(act.entry, "jair"), "%s is an entry, with the person", act.do)
	}
	require.NotContains(t, w.text(), "the core moves its bus", "the reason of a pause that is over is in the history alone")
	w.unfold()
	require.EqualValues(t, 200, w.press(`form[action="/sources/core/reapply"] button`))
	require.Contains(t, w.text(), "Os casos de core foram mapeados de novo")
	require.Empty(t, w.complaints())
}

// registrationEnds: a registrar ends a registration, and nothing more is sent to that initiator.
func registrationEnds(t *testing.T, h *house) {
	gama := certs.Participant{
		Name:         "gama",
		Organisation: certs.Organisation{ID: "3f0c2a57-8d14-4b9e-a6f3-5e7d1c9b2a80", Name: "Gama Iniciadora SA", CNPJ: "44555666000199"},
		SoftwareID:   "9a7e5c31-2b4d-4f68-8c0a-d3e1f6b7a942",
	}
	h.initiator(h.set, gama)
	w := newWindow(t, h.browser)
	w.enter(h, "kira", "registrar")
	require.EqualValues(t, 200, w.visit(h.byLink+"/initiators/gama"))
	w.unfold()
	script[bool](w, `document.querySelector('form[action="/initiators/gama/end"] input[type=checkbox]').checked = true`)
	require.EqualValues(t, 200, w.press(`form[action="/initiators/gama/end"] button`))
	require.Contains(t, w.text(), "O registro foi encerrado.")
	var n int
	require.NoError(t, h.db.QueryRow(t.Context(), "SELECT count(*) FROM arauto.initiator WHERE client_id = 'gama' AND NOT removed").Scan(&n))
	require.Zero(t, n)
	require.NoError(t, h.db.QueryRow(t.Context(), "SELECT count(*) FROM arauto.entry WHERE kind = 'registered' AND client_id = 'gama' AND facts->>'actor' = 'kira'").Scan(&n))
	require.Equal(t, 1, n, "the act is an entry, with the person")
	require.Empty(t, w.complaints())
}
