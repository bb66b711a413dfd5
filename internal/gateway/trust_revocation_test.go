package gateway

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/lab/mtlstest"
)

// TestASlowResponderCostsAnAttemptLittleWhereAListIsInForce: a responder that never answers is waited for 200 ms by the
// first handshake and by none of the following ones; every fallback is counted and written down (webhook §7.4, cases H3).
func TestASlowResponderCostsAnAttemptLittleWhereAListIsInForce(t *testing.T) {
	asked := make(chan struct{}, 100)
	release := make(chan struct{})
	responder := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		select {
		case <-r.Context().Done():
		case <-release:
		}
	}))
	t.Cleanup(responder.Close)
	t.Cleanup(func() { close(release) })
	h := openAs(t, func(h *house) []string {
		h.replace("crl/servers.crl", h.list(h.pki.ServerCA))
		return []string{"ARAUTO_WEBHOOK_CRL=" + h.file("crl/servers.crl"), "ARAUTO_WEBHOOK_OCSP=true", "ARAUTO_WEBHOOK_OCSP_RESPONDER=" + responder.URL}
	})
	receiver := h.initiator(certs.DefaultAlfa)
	attempt := func() time.Duration {
		t.Helper()
		_, a := h.change(certs.DefaultAlfa)
		n := h.settled(a, 1)
		require.Equal(t, "delivered", n.State, detail(n))
		return n.Attempts[0].EndedAt.Sub(n.Attempts[0].StartedAt)
	}
	judged := func(reason string) time.Duration { // how long the judgement took, of which there is one
		t.Helper()
		lines := h.log.lines("revocation judged by a fallback", reason, `"direction":"receivers"`)
		require.Len(t, lines, 1)
		var line struct{ Took time.Duration }
		require.NoError(t, json.Unmarshal([]byte(lines[0]), &line))
		return line.Took
	}
	first := attempt()
	<-asked
	require.GreaterOrEqual(t, first, 200*time.Millisecond, "the responder is waited for")
	require.Less(t, judged("did not answer within 200ms"), 700*time.Millisecond, "but not for long")
	receiver.Disconnect()
	require.NoError(t, receiver.WaitOpen(t.Context(), 0))
	second := attempt()
	require.Less(t, judged("not asked again yet"), 200*time.Millisecond, "and by the first handshake only")
	require.Empty(t, asked, "nobody was asked again")
	t.Logf("first attempt %s, with a new connection while the responder rests %s", first, second)
	const counted = `arauto_revocation_decisions_total{direction="receivers",evidence="crl",fallback="true",verdict="good"}`
	require.Equal(t, 2.0, h.metric(counted))
}

// TestAListBeyondItsEndServesTheSoftFailWindowAndIsSeen: the list ended, so what it says is used by soft-fail, counted as
// such, and shown where operators look.
func TestAListBeyondItsEndServesTheSoftFailWindowAndIsSeen(t *testing.T) {
	h := openAs(t, func(h *house) []string {
		der, err := h.pki.CRL(h.pki.ServerCA, time.Now().Add(-2*time.Hour), time.Now().Add(-30*time.Minute))
		require.NoError(t, err)
		h.replace("crl/servers.crl", der)
		return []string{"ARAUTO_WEBHOOK_CRL=" + h.file("crl/servers.crl") + ",https://127.0.0.1:1/none.crl"}
	})
	h.initiator(certs.DefaultAlfa)
	_, a := h.change(certs.DefaultAlfa)
	require.Equal(t, "delivered", h.settled(a, 1).State)
	require.Equal(t, 1.0, h.metric(`arauto_revocation_decisions_total{direction="receivers",evidence="soft-fail-crl",fallback="true",verdict="good"}`))
	require.NotEmpty(t, h.log.lines("revocation judged by a fallback", "soft-fail-crl"))
	var ready string
	h.until("readiness: an authority's outage is no reason to take the replica away", func() bool {
		ready = h.ops("/readyz")
		return strings.Contains(ready, `"status":"ok"`)
	})
	require.Contains(t, ready, "serves by soft-fail until")
	require.Contains(t, ready, "none.crl of receivers: it could not be had yet")
	require.NotEmpty(t, h.log.lines("revocation list not fetched, starting without it"))

	// The window over, nothing is sent any more.
	der, err := h.pki.CRL(h.pki.ServerCA, time.Now().Add(-90*time.Minute), time.Now().Add(-61*time.Minute))
	require.NoError(t, err)
	h.replace("crl/servers.crl", der)
	h.until("the list", func() bool { return h.g.trust.Revocation.Generation() >= 2 })
	_, a = h.change(certs.DefaultAlfa)
	n := h.settled(a, 1)
	require.Equal(t, "tls-error", *n.Attempts[0].Outcome)
	require.Contains(t, detail(n), "no valid evidence")
}

// TestConnectionsUnderAnOCSPAnswerLiveNoLongerThanIt: an answer is sought in handshakes alone.
func TestConnectionsUnderAnOCSPAnswerLiveNoLongerThanIt(t *testing.T) {
	responder := httptest.NewServer(mtlstest.OCSPHandler(mtlstest.PKI(t)))
	t.Cleanup(responder.Close)
	h := open(t, "ARAUTO_WEBHOOK_OCSP=true", "ARAUTO_WEBHOOK_OCSP_RESPONDER="+responder.URL)
	receiver := h.initiator(certs.DefaultAlfa)
	_, a := h.change(certs.DefaultAlfa)
	require.Equal(t, "delivered", h.settled(a, 1).State)
	require.Equal(t, 1.0, h.metric(`arauto_revocation_decisions_total{direction="receivers",evidence="ocsp",fallback="false",verdict="good"}`))
	require.Equal(t, 1, receiver.Open())
	go h.g.trust.RenewConnections(h.g.background, 20*time.Millisecond) // production's distance is the answer's time
	require.NoError(t, receiver.WaitOpen(t.Context(), 0))
	_, a = h.change(certs.DefaultAlfa)
	require.Equal(t, "delivered", h.settled(a, 1).State)
}

// TestFetchedListsAreThereBeforeTheFirstHandshakeAndAfterARestart also without their authority's server.
func TestFetchedListsAreThereBeforeTheFirstHandshakeAndAfterARestart(t *testing.T) {
	var h *house
	authority := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(h.list(h.pki.ServerCA)) }))
	defer authority.Close()
	open := openAs(t, func(made *house) []string {
		h = made
		return []string{"ARAUTO_WEBHOOK_CRL=" + authority.URL + "/servers.crl"}
	})
	open.initiator(certs.DefaultAlfa)
	_, a := open.change(certs.DefaultAlfa)
	require.Equal(t, "delivered", open.settled(a, 1).State)
	require.Equal(t, 1.0, open.metric(`arauto_revocation_decisions_total{direction="receivers",evidence="crl",fallback="false",verdict="good"}`))

	authority.Close()
	again, err := New(t.Context(), open.g.cfg, "test", slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	defer func() { _ = again.Stop() }()
	require.Len(t, again.trust.RevocationLists(), 1)
	require.True(t, again.trust.RevocationLists()[0].ValidUntil.After(time.Now()), "kept")
}

// TestCheckSaysWhatEndsAndChangesNothing is arauto check about trust.
func TestCheckSaysWhatEndsAndChangesNothing(t *testing.T) {
	h := openAs(t, func(h *house) []string {
		soon := h.leaf(h.pki.ExpiringIn(h.pki.HolderBRCAC(), time.Since(h.pki.Now())+7*24*time.Hour+time.Hour))
		h.replace("holder/brcac.pem", soon.CertPEM())
		h.replace("holder/brcac.key", soon.KeyPEM())
		return []string{"ARAUTO_WEBHOOK_CRL=" + h.file("crl/servers-stale.crl"), "ARAUTO_PUBLIC_CRL=" + h.file("crl/clients.crl")}
	})
	report, err := Examine(t.Context(), h.g.cfg, time.Now(), Whole)
	require.NoError(t, err)
	text := strings.Join(report.Findings, "\n")
	require.Regexp(t, `(?m)^WARNING certificate \S+brcac\.pem .*: 7 days left`, text)
	require.Regexp(t, `(?m)^certificate \S+server\.pem .*: 36\d days left`, text)
	require.Regexp(t, `(?m)^WARNING revocation list \S+servers-stale\.crl of receivers: evidence until`, text)
	require.Regexp(t, `(?m)^revocation list \S+clients\.crl of callers: evidence until`, text)
	require.NoDirExists(t, h.g.cfg.File("lists"))
}
