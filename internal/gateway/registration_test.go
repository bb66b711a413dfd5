package gateway

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/lab/stage"
	"github.com/arauto/arauto/internal/lab/standin"
	"github.com/arauto/arauto/internal/registry"
)

// TestRemovingTheAddressStopsEverythingWithinSeconds plays the part of dcr_api_dcm-pagto-remove-webhook that concerns us
// (webhook §9.3 A, AT-9): registered, 503 and 202, switched off with the address still in the statement, silence, removed.
// What the rule gives ten minutes for takes seconds here.
func TestRemovingTheAddressStopsEverythingWithinSeconds(t *testing.T) {
	t.Parallel()
	h := open(t)
	alfa := certs.DefaultAlfa
	receiver := h.initiator(alfa)
	uri := receiver.BaseURI("/" + alfa.Name)

	// Steps 4 to 8: the first attempt is answered 503, the second, ten seconds after the failure, 202.
	id, a := h.change(alfa)
	n := h.settled(a, 1)
	require.Equal(t, "delivered", n.State)
	receiver.Answer("", standin.Refuse(http.StatusServiceUnavailable))
	waiting, b := h.change(alfa)
	require.Equal(t, "pending", h.settled(b, 1).State, "a retry is due in ten seconds")
	poll := h.poller(alfa)
	status, _, _, err := poll.get(id)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, status)

	// Step 9: a PUT without webhookUris; the statement still lists the address.
	began := time.Now()
	require.NoError(t, h.registerListed(alfa, []string{uri}, nil))
	h.until("the waiting notification to be cancelled", func() bool {
		n, err := h.core.Notification(t.Context(), b.Notifications[0].ID)
		require.NoError(t, err)
		return n.State == "cancelled"
	})
	stopped := time.Since(began)
	t.Logf("cancelled after %s", stopped)
	require.Less(t, stopped, 5*time.Second)
	require.NoError(t, receiver.WaitOpen(t.Context(), 0), "nothing stands open towards it either")
	require.Less(t, time.Since(began), 5*time.Second)

	// Step 11 and 12: another payment; nothing reaches either address, not even what was due before.
	seen := len(receiver.Requests())
	_, c := h.change(alfa)
	require.Empty(t, c.Notifications)
	require.Equal(t, "no-webhook", *c.Reason)

	// Registered again, at once: what was cancelled does not rise, what happens from now on is told.
	receiver.Answer("", standin.Accept)
	require.NoError(t, h.register(alfa, uri))
	anew, d := h.change(alfa)
	require.Equal(t, "delivered", h.settled(d, 1).State)
	due := h.settled(b, 1).Attempts[0].EndedAt.Add(10*time.Second + 1500*time.Millisecond)
	timer := time.NewTimer(time.Until(due)) // an absence can only be awaited
	defer timer.Stop()
	<-timer.C
	for _, r := range receiver.Requests()[seen:] {
		require.Contains(t, r.Target, anew, "nothing but the new one")
		require.NotContains(t, r.Target, waiting)
	}
	require.Len(t, receiver.Requests(), seen+1)
	n, err = h.core.Notification(t.Context(), b.Notifications[0].ID)
	require.NoError(t, err)
	require.Equal(t, "cancelled", n.State)
	require.Len(t, n.Attempts, 1)

	// Step 13: the registration goes, and with it the right to ask.
	require.NoError(t, h.core.Call(t.Context(), http.MethodDelete, "/internal/v1/initiators/"+alfa.Name, nil, nil))
	status, _, _, err = poll.get(id)
	require.NoError(t, err)
	require.NotEqual(t, http.StatusOK, status)

	var acts []string
	for _, e := range h.entries("registered") {
		acts = append(acts, e["outcome"].(string))
		at, err := time.Parse(time.RFC3339Nano, e["effectiveAt"].(string))
		require.NoError(t, err)
		require.WithinDuration(t, time.Now(), at, time.Minute, "the instant it took effect")
	}
	require.Equal(t, []string{"put", "put", "put", "delete"}, acts)
	t.Logf("everything stopped %s after the PUT", stopped.Round(time.Millisecond))
}

func TestARefusedRegistrationLeavesATraceAndNothingElse(t *testing.T) { // cases K5, webhook §9.3 E
	h := open(t)
	alfa := certs.DefaultAlfa
	h.initiator(alfa)
	before := len(h.entries("registered"))
	for _, try := range []struct{ listed, asked, code string }{
		{"https://webhook.alfa.example.com/a", "https://webhook.alfa.example.com.evil.example/a", "invalid_webhook_uris"},
		{"https://webhook.alfa.example.com/a", "https://webhook.alfa.example.com/a/../b", "invalid_webhook_uris"},
		{"https://webhook.alfa.example.com/a", "https://user:geheim@webhook.alfa.example.com/a", "invalid_webhook_uris"},
	} {
		err := h.registerListed(alfa, []string{try.listed}, []string{try.asked})
		var refusal *stage.Refusal
		require.ErrorAs(t, err, &refusal)
		require.Equal(t, http.StatusBadRequest, refusal.Status)
		require.Contains(t, refusal.Body, try.code)
	}
	err := h.registerListed(alfa, []string{"https://webhook.alfa.example.com/a"}, []string{"https://webhook.alfa.example.com/a", "https://webhook.alfa.example.com/b"})
	require.ErrorContains(t, err, registry.Differs, "a superset of what is listed")

	traces := h.entries("registration-refused")
	require.Len(t, traces, 4)
	for _, e := range traces {
		require.Equal(t, alfa.Name, e["client"])
		require.Equal(t, "invalid_webhook_uris", e["outcome"])
		require.Equal(t, "core", e["actor"])
		require.Len(t, e["statementDigest"], 64)
	}
	require.Equal(t, []any{"https://webhook.alfa.example.com.evil.example/a"}, traces[0]["webhookUris"])
	require.Equal(t, []any{map[string]any{"pointer": "/webhookUris/0", "code": "pattern"}}, traces[1]["problems"])
	require.Equal(t, []any{"https://…@webhook.alfa.example.com/a"}, traces[2]["webhookUris"], "no password is written down")
	require.Len(t, traces[3]["webhookUris"], 2)
	require.Len(t, h.entries("registered"), before, "nothing is stored")
	require.NotContains(t, strings.Join(h.log.lines(), ""), "geheim")
	_, a := h.change(alfa)
	require.Equal(t, "delivered", h.settled(a, 1).State, "what was registered before is in force")
}
