package bank

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/notice"
)

// exportBody asks for an export of a period.
func exportBody(t *testing.T, filter map[string]string) string {
	t.Helper()
	body, err := json.Marshal(map[string]any{"filter": filter, "format": "jsonl"})
	require.NoError(t, err)
	return string(body)
}

// TestAPeriodInWhichNothingCanHaveHappenedIsRefused: a mistyped time was answered with an account of nothing, which reads as "nothing is
// wrong".
func TestAPeriodInWhichNothingCanHaveHappenedIsRefused(t *testing.T) {
	w := clockWorld(t, &almanac{})
	pointsTo := func(got reply, pointer string) {
		t.Helper()
		got.refused(t, 400, "invalid_request")
		require.Equal(t, pointer, got.body["errors"].([]any)[0].(map[string]any)["pointer"], got.text)
	}
	for _, bad := range []struct{ from, to, pointer string }{
		{"2026-11-21T00:00:00Z", "2026-11-21T00:00:00Z", "/to"},
		{"2026-11-21T00:00:00Z", "2026-11-20T23:59:59Z", "/to"},
		{"2026-11-22T00:00:00Z", "2026-11-23T00:00:00Z", "/from"}, // it begins now
		{"2027-01-01T00:00:00Z", "2027-01-02T00:00:00Z", "/from"},
	} {
		query := "?from=" + bad.from + "&to=" + bad.to
		for _, path := range []string{"/internal/v1/audit/breaches" + query, "/internal/v1/audit/breaches" + query + "&late=true", "/internal/v1/audit/breaches" + query + "&late=retries", "/internal/v1/audit/report" + query} {
			pointsTo(w.ask("GET", path, "auditor", ""), bad.pointer)
		}
		pointsTo(w.ask("POST", "/internal/v1/audit/exports", "auditor", exportBody(t, map[string]string{"from": bad.from, "to": bad.to})), bad.pointer)
	}
	pointsTo(w.ask("POST", "/internal/v1/audit/exports", "auditor", exportBody(t, map[string]string{"from": "2027-01-01T00:00:00Z"})), "/from")
	got := w.ask("GET", "/internal/v1/audit/report?from=2026-11-21T00:00:00Z&to=2026-11-21T00:00:00Z", "auditor", "")
	require.Equal(t, "to: must lie after from, for the period is empty; use a later end or an earlier beginning", got.body["error_description"])
	pointsTo(w.ask("GET", "/internal/v1/audit/calls?day=9000-01-01", "auditor", ""), "/day")
	pointsTo(w.ask("GET", "/internal/v1/audit/polling?month=9000-01", "auditor", ""), "/month")
	pointsTo(w.ask("GET", "/internal/v1/audit/statistics?from=9000-01-01T00:00:00Z&to=9000-01-02T00:00:00Z&by=kind", "auditor", ""), "/from")
	pointsTo(w.ask("GET", "/internal/v1/audit/consistency?from=9000-01-01T00:00:00Z", "auditor", ""), "/from")
}

// TestAReportThatEndsInTheFutureNamesWhatWasLookedAt: an account of a month that is not over claimed all of it.
func TestAReportThatEndsInTheFutureNamesWhatWasLookedAt(t *testing.T) {
	const now = "2026-11-21T12:30:00.000001Z"
	at, err := time.Parse(time.RFC3339Nano, now)
	require.NoError(t, err)
	a := &almanac{breaches: 5, now: at}
	w := clockWorld(t, a)
	got := w.ask("GET", aPeriod+"&limit=2", "auditor", "")
	require.Equal(t, http.StatusOK, got.status, got.text)
	report := got.body["report"].(map[string]any)
	require.Equal(t, "2026-11-21T00:00:00.000000Z", report["from"])
	require.Equal(t, now, report["to"])
	a.now = at.Add(time.Minute)
	got = w.ask("GET", aPeriod+"&limit=2&cursor="+got.body["nextCursor"].(string), "auditor", "")
	require.Equal(t, http.StatusOK, got.status, "the cursor goes with the period that was asked for: %s", got.text)
	a.now = at
	for _, late := range []string{"true", "retries"} {
		require.Equal(t, http.StatusOK, w.ask("GET", aPeriod+"&late="+late, "auditor", "").status)
	}
	require.Contains(t, w.send("GET", "/internal/v1/audit/report?from=2026-11-21T00:00:00Z&to=2026-11-22T00:00:00Z&format=json", "auditor", "").text, now)
	for i, p := range a.asked {
		require.Equal(t, notice.ClientID(""), p.Client)
		require.False(t, p.To.After(a.now.Add(time.Minute)), "call %d", i)
	}
	for i, r := range a.read {
		if i != 1 { // the second page
			require.Equal(t, now, r.Filter["to"], "reading %d", i)
		}
	}
}

// TestAnExportThatEndsInTheFutureNamesWhatWasLookedAt: the file's manifest named a period that was not over.
func TestAnExportThatEndsInTheFutureNamesWhatWasLookedAt(t *testing.T) {
	a := openArchive(t)
	asked := func(filter map[string]string) map[string]any {
		got := a.ask("POST", "/internal/v1/audit/exports", "auditor", exportBody(t, filter))
		require.Equal(t, http.StatusAccepted, got.status, got.text)
		return got.body["filter"].(map[string]any)
	}
	before := time.Now().Add(-time.Second)
	named := asked(map[string]string{"from": "2026-01-01T00:00:00Z", "to": "9000-01-01T00:00:00Z"})
	require.Equal(t, "2026-01-01T00:00:00.000000Z", named["from"])
	end, err := time.Parse(time.RFC3339Nano, named["to"].(string))
	require.NoError(t, err)
	require.WithinRange(t, end, before, time.Now().Add(time.Second))
	require.Equal(t, "2026-02-01T00:00:00.000000Z", asked(map[string]string{"to": "2026-02-01T00:00:00Z"})["to"])
	require.Empty(t, asked(map[string]string{}), "the whole log has no period")
	require.NotContains(t, asked(map[string]string{"from": "2026-01-01T00:00:00Z"}), "to")
}
