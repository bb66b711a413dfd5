package bank

import (
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/history"
)

// TestEveryAnswerShowsTamperingAndTellsOfIt: what was changed is shown as it is stored and marked, the reader is told, and so
// are the log and the metrics (found F22, F23).
func TestEveryAnswerShowsTamperingAndTellsOfIt(t *testing.T) {
	var mu sync.Mutex
	told := map[string]int64{}
	lines := &journal{}
	a := openArchive(t, func(c *InternalConfig) {
		c.Clock = c.History.(Clock)
		c.Log = slog.New(slog.NewTextHandler(lines, nil))
		c.Tampered = func(read string, found history.Integrity) {
			mu.Lock()
			defer mu.Unlock()
			told[read] += found.FailedCount
		}
	})
	var seq string
	require.NoError(t, a.owner.QueryRow(t.Context(), "SELECT p.seq::text FROM log_position p JOIN entry e USING (id) WHERE e.outcome = 'refused'").Scan(&seq))
	day := func(days int) string { return time.Now().UTC().AddDate(0, 0, days).Format(time.RFC3339) }
	paths := map[string]string{ // and the route that is told
		"/internal/v1/audit/entries?resourceId=p-1":                     "/internal/v1/audit/entries",
		"/internal/v1/audit/entries/" + seq:                             "/internal/v1/audit/entries/{seq}",
		"/internal/v1/audit/entries/" + seq + "/proof":                  "/internal/v1/audit/entries/{seq}/proof",
		"/internal/v1/audit/dossier/p-1":                                "/internal/v1/audit/dossier/{id}",
		"/internal/v1/notifications":                                    "/internal/v1/notifications",
		"/internal/v1/notifications/" + paidNotice:                      "/internal/v1/notifications/{id}",
		"/internal/v1/notifications/" + paidNotice + "/timing":          "/internal/v1/notifications/{id}/timing",
		"/internal/v1/resources/pix-payment/p-1":                        "/internal/v1/resources/{kind}/{id}",
		"/internal/v1/audit/breaches?from=" + day(-1) + "&to=" + day(1): "/internal/v1/audit/breaches",
	}
	integrity := func(path string) map[string]any {
		got := a.ask("GET", path, "auditor", "")
		require.Equal(t, 200, got.status, "%s: %s", path, got.text)
		i, there := got.body["integrity"]
		if !there {
			i = got.body["report"].(map[string]any)["integrity"]
		}
		return i.(map[string]any)
	}
	proves := func(path string) bool {
		return strings.HasSuffix(path, "/proof") || strings.Contains(path, "/dossier/")
	}
	for path := range paths {
		if proves(path) {
			got, _ := a.raw(path)
			require.Equal(t, 200, got.StatusCode, path)
			continue
		}
		i := integrity(path)
		require.NotZero(t, i["proven"], path)
		require.Zero(t, i["failedCount"], path)
		require.EqualValues(t, 5, i["checkpoint"], path)
	}
	require.Empty(t, told)
	require.NotContains(t, lines.String(), "not what was sealed")

	a.exec("SET session_replication_role = replica; UPDATE entry SET outcome = 'delivered' WHERE outcome = 'refused'; SET session_replication_role = origin")
	for path, route := range paths {
		before := len(lines.String())
		if proves(path) {
			a.ask("GET", path, "auditor", "").refused(t, 500, "log_damaged")
		} else {
			i := integrity(path)
			require.NotZero(t, i["failedCount"], path)
			require.NotEmpty(t, i["failed"].([]any)[0].(map[string]any)["reason"], path)
		}
		require.NotZero(t, told[route], path)
		require.Contains(t, lines.String()[before:], "level=ERROR msg=\"tampered entries read\"", path)
	}

	list := a.ask("GET", "/internal/v1/notifications", "auditor", "")
	require.Equal(t, true, list.body["notifications"].([]any)[0].(map[string]any)["tampered"])
	timing := a.ask("GET", "/internal/v1/notifications/"+paidNotice+"/timing", "operator", "")
	require.Equal(t, "unknown", timing.body["first"].(map[string]any)["fromEvent"])
	require.Equal(t, "tampered", timing.body["first"].(map[string]any)["cause"])
	breaches := a.ask("GET", "/internal/v1/audit/breaches?from="+day(-1)+"&to="+day(1), "auditor", "")
	require.Len(t, breaches.body["breaches"], 1)
	require.EqualValues(t, 1, breaches.body["report"].(map[string]any)["total"].(map[string]any)["unknown"])
	single := a.ask("GET", "/internal/v1/audit/entries/"+seq, "auditor", "").body["entry"].(map[string]any)
	require.Equal(t, "tampered", single["integrity"])
	require.NotEmpty(t, single["tampered"])
	require.Equal(t, "delivered", single["outcome"], "an auditor sees what is stored")
}
