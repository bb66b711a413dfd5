package gateway

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/config"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/lab/mtlstest"
	"github.com/arauto/arauto/internal/lab/stage"
	"github.com/arauto/arauto/internal/lab/storetest"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/trust"
)

// again starts one more gateway with the settings of the house and these.
func (h *house) again(settings ...string) *Gateway {
	h.t.Helper()
	cfg, err := config.Read("", append(h.set.Environment(), settings...))
	require.NoError(h.t, err)
	g, err := New(h.t.Context(), cfg, "test", slog.New(slog.NewJSONHandler(h.log, nil)))
	require.NoError(h.t, err)
	g.watchEvery = lookEvery
	h.t.Cleanup(func() { _ = g.Stop() })
	require.NoError(h.t, g.Start(h.t.Context()))
	return g
}

// startRows is the text of all columns of what replicas ran with.
func (h *house) startRows() string {
	h.t.Helper()
	conn, err := pgx.Connect(h.t.Context(), h.url)
	require.NoError(h.t, err)
	defer conn.Close(context.WithoutCancel(h.t.Context()))
	rows, _ := conn.Query(h.t.Context(), "SELECT e::text FROM arauto.entry e WHERE kind IN ('start', 'reload')")
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(h.t, err)
	return strings.Join(all, "\n")
}

func digest(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

func (h *house) digestOf(name string) string {
	h.t.Helper()
	content, err := os.ReadFile(h.file(name))
	require.NoError(h.t, err)
	return digest(content)
}

// TestAStartIsOneEntryWithWhatIsInForceAndNoSecret, and the next start shows what was changed (cases K4, P3).
func TestAStartIsOneEntryWithWhatIsInForceAndNoSecret(t *testing.T) {
	const secret = "s3cr3t"
	settings := []string{
		"ARAUTO_EVENTS_WEBHOOK_URL=https://hooks.bank.example/" + secret + "?access_token=" + secret, "ARAUTO_WEBHOOK_CRL=http://127.0.0.1:1/list.crl?token=" + secret,
	}
	h := open(t, settings...)
	at, err := url.Parse(h.url)
	require.NoError(t, err)
	password, _ := at.User.Password()
	starts := h.entries("start")
	require.Len(t, starts, 1)
	f := starts[0]
	require.Equal(t, []any{"development", "test", "test", "development", h.g.cfg.Digest()}, []any{f["outcome"], f["replica"], f["version"], f["profile"], f["settingsSha256"]})
	require.Contains(t, f["loosened"], "webhook.allow_networks")
	require.NotContains(t, f["loosened"], "internal.tls_cert", "plain HTTP on loopback is the default")
	require.Contains(t, f["settings"], map[string]any{"key": "events.webhook_url", "value": "https://hooks.bank.example/xxxxx", "origin": "environment"})
	require.NotContains(t, fmt.Sprint(f["settings"]), "ingest.max_in_flight", "it is the default")
	inForce := f["inForce"].(map[string]any)
	require.Equal(t, map[string]any{h.file("trust/clients.pem"): h.digestOf("trust/clients.pem")}, inForce["public.client_ca"])
	require.Equal(t, map[string]any{h.file("holder/server.pem"): h.digestOf("holder/server.pem")}, inForce["public.tls_cert"])
	require.Equal(t, map[string]any{h.file("internal/jwks.json"): h.digestOf("internal/jwks.json")}, inForce["internal.jwks"])
	require.Empty(t, inForce["signing.key"])

	h.until("the list that cannot be had", func() bool {
		for _, f := range h.entries("reload") {
			if f["setting"] == "webhook.crl" {
				return f["outcome"] == "refused" && f["source"] == "http://127.0.0.1:1/list.crl?xxxxx" && f["reason"] != ""
			}
		}
		return false
	})
	rows := h.startRows()
	for _, text := range []string{secret, password, h.digestOf("holder/server.key"), h.digestOf("holder/brseal.key")} {
		for _, hidden := range []string{text, digest([]byte(text))} {
			require.False(t, text != "" && strings.Contains(rows, hidden), "%s is in %s", hidden, rows)
		}
	}

	require.NoError(t, h.g.Stop())
	g := h.again(append(settings, "ARAUTO_REPLICA=test", "ARAUTO_INGEST_MAX_IN_FLIGHT=17")...)
	all, err := g.auditlog.Starts(t.Context(), 10)
	require.NoError(t, err)
	require.Len(t, all, 2)
	require.Equal(t, []history.StartDifference{{Key: "ingest.max_in_flight", After: "17"}}, all[0].Differs)
	require.NotEqual(t, all[1].SHA256, all[0].SHA256)
	require.False(t, all[0].At.Before(all[0].StartedAt.Add(-startWithin)))
}

// TestThePublicHalfOfASigningKeyIsInForce, whose private half is behind a signer.
func TestThePublicHalfOfASigningKeyIsInForce(t *testing.T) {
	var public string
	h := openAs(t, func(h *house) []string {
		public = h.file("holder/brseal.pub.pem")
		der, err := x509.MarshalPKIXPublicKey(newKey(t).Public())
		require.NoError(t, err)
		h.replace("holder/brseal.pub.pem", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
		return []string{"ARAUTO_SIGNING_KEY=" + public, "ARAUTO_SIGNING_SIGNER=" + filepath.Join(h.dir, "none"), "ARAUTO_SIGNING_PUBLISHED="}
	})
	require.Equal(t, map[string]string{public: h.digestOf("holder/brseal.pub.pem")}, h.g.trust.InForce()["signing.key"])
}

// TestAFileThatIsReadAgainIsOneEntryForEachChangeOfState (cases P5).
func TestAFileThatIsReadAgainIsOneEntryForEachChangeOfState(t *testing.T) {
	h := open(t)
	roots, good := h.file("trust/roots.pem"), h.digestOf("trust/roots.pem")
	content, err := os.ReadFile(roots)
	require.NoError(t, err)
	for n, bad := range [][]byte{nil, []byte("-----BEGIN CERTIFICATE-----\nnot whole\n")} {
		h.replace("trust/roots.pem", bad)
		h.until("the refusal", func() bool { return len(h.log.lines("file refused", "roots.pem")) == n+1 })
	}
	h.replace("trust/roots.pem", content)
	h.until("the end of the refusal", func() bool { return len(h.log.lines("file reloaded", "roots.pem")) == 1 })
	more := append(content, "\n"...)
	h.replace("trust/roots.pem", more)
	h.until("the other content", func() bool { return len(h.log.lines("file reloaded", "roots.pem")) == 2 })
	h.replace("holder/brseal.key", certs.KeyPEM(newKey(t)))
	h.until("the entry of the last one", func() bool { return len(h.entries("reload")) == 5 })

	var got [][]any
	for _, f := range h.entries("reload") {
		got = append(got, []any{f["setting"], f["source"], f["outcome"], f["inForce"]})
		require.Equal(t, f["outcome"] == "refused", f["reason"] != nil, f)
	}
	require.Equal(t, [][]any{
		{"webhook.root_ca", roots, "refused", map[string]any{roots: good}},
		{"webhook.root_ca", roots, "refused", map[string]any{roots: good}}, // for another reason
		{"webhook.root_ca", roots, "in-force", map[string]any{roots: good}},
		{"webhook.root_ca", roots, "in-force", map[string]any{roots: digest(more)}},
		{"signing.key", h.file("holder/brseal.key"), "in-force", map[string]any{}},
	}, got)
	require.NotContains(t, h.startRows(), h.digestOf("holder/brseal.key"))
}

// TestAStartWithoutADatabaseIsRecordedWhenItAnswers: until then the replica starts and drains as if it recorded nothing.
func TestAStartWithoutADatabaseIsRecordedWhenItAnswers(t *testing.T) {
	server, url := storetest.Own(t)
	h := &house{t: t, dir: t.TempDir(), url: url, pki: mtlstest.PKI(t), log: newJournal()}
	writePKI(t, filepath.Join(h.dir, "pki"))
	h.set = &stage.Stage{Dir: h.dir, PKI: h.pki, Database: url}
	require.NoError(t, server.Kill())
	require.NoError(t, h.again("ARAUTO_REPLICA=lost").Stop(), "it drains")
	h.g = h.again("ARAUTO_REPLICA=test")
	require.Contains(t, h.ops("/readyz"), "database")
	require.NoError(t, server.Restart(t.Context()))
	h.until("the entry of the start", func() bool { return len(h.entries("start")) > 0 })
	h.ready()
	starts := h.entries("start")
	require.Len(t, starts, 1)
	require.Equal(t, "test", starts[0]["replica"])
}

// TestWhatCannotBeWrittenKeepsItsPlaceAndItsID while the database takes nothing, and there is room for a thousand.
func TestWhatCannotBeWrittenKeepsItsPlaceAndItsID(t *testing.T) {
	var tried []history.StartEntry
	fails := fmt.Errorf("away: %w", store.ErrUnavailable)
	r := &startLog{log: slog.New(slog.DiscardHandler), added: make(chan struct{}, 1), refused: map[string]string{}}
	r.record = func(_ context.Context, e history.StartEntry) error { tried = append(tried, e); return fails }
	r.reloaded(trust.Reload{Setting: "before the start"})
	r.begin(history.StartFacts{Profile: "production"})
	require.ErrorIs(t, r.write(t.Context()), fails)
	for n := range 2 * startLogMost {
		r.reloaded(trust.Reload{Setting: fmt.Sprint(n)})
	}
	fails = nil
	require.NoError(t, r.write(t.Context()))
	require.Len(t, tried, startLogMost+1)
	require.Equal(t, tried[0], tried[1], "the same entry again")
	require.Equal(t, history.FactStart, tried[1].Kind)
	require.Equal(t, "0", tried[2].Facts.(history.ReloadFacts).Setting)
	require.NoError(t, r.write(t.Context()))
	require.Len(t, tried, startLogMost+1)
}

// TestAnEntryThatIsRefusedDoesNotStopThoseBehindIt, where the reason is its own.
func TestAnEntryThatIsRefusedDoesNotStopThoseBehindIt(t *testing.T) {
	var recorded []string
	lines := newJournal()
	r := &startLog{log: slog.New(slog.NewJSONHandler(lines, nil)), added: make(chan struct{}, 1), refused: map[string]string{}}
	r.record = func(ctx context.Context, e history.StartEntry) error {
		if e.Kind == history.FactStart {
			return errors.New("too large")
		}
		recorded = append(recorded, e.Facts.(history.ReloadFacts).Setting)
		return ctx.Err()
	}
	r.begin(history.StartFacts{Replica: "a"})
	r.reloaded(trust.Reload{Setting: "public.crl"})
	ended, end := context.WithCancel(t.Context())
	end()
	require.Error(t, r.write(ended), "a drain drops nothing")
	require.Empty(t, recorded)
	require.NoError(t, r.write(t.Context()))
	require.Equal(t, []string{"public.crl"}, recorded)
	require.Len(t, lines.lines("it was refused", `"kind":"start"`, `"replica":"a"`, "too large"), 1)
	require.NoError(t, r.write(t.Context()))
	require.Len(t, recorded, 1)
}
