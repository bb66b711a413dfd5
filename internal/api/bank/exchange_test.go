package bank

import (
	"encoding/json"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
)

func notificationFails(err error) func(notice.ID) (history.Record, error) {
	return func(notice.ID) (history.Record, error) { return history.Record{}, err }
}

func TestAPanicIsA500AndTheServerLivesOn(t *testing.T) {
	w := newWorld(t)
	w.shelf.notification = func(notice.ID) (history.Record, error) {
		panic("CPF 76109277673")
	}
	got := w.ask("GET", "/internal/v1/notifications/"+someID, "auditor", "")
	got.refused(t, 500, "internal")
	log := w.journal.String()
	require.Contains(t, log, got.header.Get("x-request-id"))
	require.Contains(t, log, "exchange_test.go", "the stack says where")
	require.NotContains(t, log, "76109277673", "what a panic carries may be anybody's")
	require.Equal(t, 1, w.watcher.panics)

	require.Equal(t, 200, w.ask("GET", "/internal/v1/notifications", "auditor", "").status)
}

func TestEachRequestHasOneLineInTheAccessLogWithoutSecrets(t *testing.T) {
	w := newWorld(t)
	got := w.ask("GET", "/internal/v1/notifications?clientId=very-private", "operator", "")
	require.Equal(t, 200, got.status)
	w.ask("POST", "/internal/v1/notifications/"+someID+"/resend", "operator", `{"reason":"body-text"}`).refused(t, 404, "not_found")

	var line map[string]any
	lines := strings.Split(strings.TrimSpace(w.journal.String()), "\n")
	require.Len(t, lines, 2)
	require.NoError(t, json.Unmarshal([]byte(lines[0]), &line))
	for name, want := range map[string]any{
		"msg": "request", "listener": "internal", "method": "GET", "route": "/internal/v1/notifications", "status": 200.0,
		"subject": "who-operator", "request_id": got.header.Get("x-request-id"), "bytes": float64(len(got.text)),
	} {
		require.Equal(t, want, line[name], name)
	}
	host, port, err := net.SplitHostPort(line["source"].(string))
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1", host)
	require.NotEqual(t, "0", port)
	require.Contains(t, line, "duration_ms")
	require.Contains(t, line, "time")
	for _, secret := range []string{"very-private", "body-text", "Bearer", someID} {
		require.NotContains(t, w.journal.String(), secret)
	}
	require.Contains(t, w.watcher.answered, "internal GET /internal/v1/notifications 200")
	require.Contains(t, w.watcher.answered, "internal POST /internal/v1/notifications/{id}/resend 404")
}

func TestMadeUpMethodsAndPathsDoNotBecomeLabels(t *testing.T) {
	w := newWorld(t)
	w.ask("BREW", "/some/"+someID, "operator", "").refused(t, 404, "not_found")
	<-w.watcher.told
	require.Equal(t, []string{"internal other  404"}, w.watcher.answered)
	require.NotContains(t, w.journal.String(), "BREW")
}
