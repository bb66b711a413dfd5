package bank

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/timing"
)

// almanac is a Clock with as many breaches as a test sets, and a keeper of readings.
type almanac struct {
	breaches int
	missing  bool
	refuse   bool

	now time.Time // of the database; zero: the end of the day of the breaches

	mu    sync.Mutex
	asked []timing.Period
	read  []history.LogReading
}

func (a *almanac) at(n int) timing.Timing {
	late := timing.Start{FromEvent: timing.TooLate, FromReceipt: timing.OnTime, SinceEvent: 2_000_000, Cause: notice.DelayCore}
	if n%2 == 1 {
		late = timing.Start{FromEvent: timing.OnTime, FromReceipt: timing.OnTime}
	}
	return timing.Timing{
		Notification: notice.ID{15: byte(n)}, Client: "itp", Kind: 2, ResourceID: fmt.Sprint("p", n), State: notice.Delivered,
		DecidedAt: history.Moment{Time: time.Date(2026, 11, 21, 12, 0, n, 0, time.UTC)}, First: late, Attempts: []timing.AttemptTiming{},
	}
}

func (a *almanac) Now(context.Context) (time.Time, error) {
	if a.now.IsZero() {
		return time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC), nil
	}
	return a.now, nil
}

func (a *almanac) Timing(_ context.Context, id notice.ID) (timing.Timing, error) {
	if a.missing {
		return timing.Timing{}, errMissing
	}
	t := a.at(int(id[15]))
	t.Notification = id
	return t, nil
}

func (a *almanac) Timings(_ context.Context, p timing.Period, each func(*timing.Timing) error) error {
	a.mu.Lock()
	a.asked = append(a.asked, p)
	a.mu.Unlock()
	for n := range 2 * a.breaches {
		t := a.at(n)
		if !t.DecidedAt.After(p.After.At) {
			continue
		}
		if err := each(&t); err != nil {
			return err
		}
	}
	return nil
}

func (a *almanac) ClockReport(ctx context.Context, p timing.Period, breach func(*timing.Timing) error) (*timing.ClockReport, error) {
	r := &timing.ClockReport{From: history.Moment{Time: p.From}, To: history.Moment{Time: p.To}, Total: timing.NewTimingSummary(), ByClient: map[notice.ClientID]*timing.TimingSummary{}, Silent: map[string]int64{"no-webhook": 3}}
	err := a.Timings(ctx, p, func(t *timing.Timing) error {
		r.Total.Add(t)
		if len(t.Breaches()) == 0 {
			return nil
		}
		return breach(t)
	})
	return r, err
}

func (a *almanac) LateFirst(_ context.Context, p timing.Period, limit int) (out []timing.Timing, next history.Position, err error) {
	a.mu.Lock()
	a.asked = append(a.asked, p)
	a.mu.Unlock()
	for n := range 2 * a.breaches {
		t := a.at(2*a.breaches - n)
		if len(t.Breaches()) == 0 || !p.After.At.IsZero() && !t.DecidedAt.Before(p.After.At) {
			continue
		}
		if len(out) == limit {
			last := &out[limit-1]
			return out, history.Position{At: last.DecidedAt.Time, ID: last.Notification}, nil
		}
		out = append(out, t)
	}
	return out, next, nil
}

func (a *almanac) LateRetries(ctx context.Context, p timing.Period, limit int) ([]timing.Timing, history.Position, error) {
	return a.LateFirst(ctx, p, limit)
}

func (a *almanac) LateByClient(context.Context, timing.Period, int) ([]timing.LateClient, error) {
	return []timing.LateClient{{Client: "itp", Late: int64(a.breaches)}}, nil
}

func (a *almanac) LatestReconciliation(context.Context) (history.Reconciliation, time.Time, error) {
	if a.missing {
		return history.Reconciliation{}, time.Time{}, errMissing
	}
	return history.Reconciliation{Differences: 1, Found: map[history.Finding]int64{history.ChainForgotten: 1}, First: []history.Difference{{What: history.ChainForgotten}}},
		time.Date(2026, 11, 21, 6, 30, 0, 0, time.UTC), nil
}

func (a *almanac) RecordReading(_ context.Context, r history.LogReading) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.refuse {
		return errors.New("no")
	}
	a.read = append(a.read, r)
	return nil
}

func clockWorld(t *testing.T, a *almanac) *world {
	return newWorld(t, func(c *InternalConfig) { c.Clock, c.Readings = a, a })
}

const aPeriod = "/internal/v1/audit/breaches?from=2026-11-21T00:00:00Z&to=2026-11-22T00:00:00Z"

func TestBreachesComePageByPageWithTheAccountOnTheFirst(t *testing.T) {
	a := &almanac{breaches: 5}
	w := clockWorld(t, a)
	var seen []any
	path := aPeriod + "&clientId=itp&limit=2"
	for page := 0; ; page++ {
		got := w.ask("GET", path, "auditor", "")
		require.Equal(t, http.StatusOK, got.status, got.text)
		require.Equal(t, page == 0, got.body["report"] != nil)
		for _, b := range got.body["breaches"].([]any) {
			seen = append(seen, b.(map[string]any)["resourceId"])
		}
		cursor, more := got.body["nextCursor"].(string)
		if !more {
			break
		}
		path = aPeriod + "&clientId=itp&limit=2&cursor=" + cursor
		require.Equal(t, http.StatusBadRequest, w.ask("GET", aPeriod+"&cursor="+cursor, "auditor", "").status, "a cursor of another search")
	}
	require.Equal(t, []any{"p0", "p2", "p4", "p6", "p8"}, seen)
	require.Equal(t, notice.ClientID("itp"), a.asked[0].Client)
	require.Equal(t, "breaches", a.read[0].Act)
	require.Equal(t, "2026-11-21T00:00:00.000000Z", a.read[0].Filter["from"])
	first := w.ask("GET", aPeriod, "auditor", "").body
	require.EqualValues(t, 10, first["report"].(map[string]any)["total"].(map[string]any)["notifications"])
	require.EqualValues(t, 2_000_000, first["breaches"].([]any)[0].(map[string]any)["first"].(map[string]any)["sinceEventMicros"])
	require.Equal(t, "2026-11-21T12:00:00.000000Z", first["breaches"].([]any)[0].(map[string]any)["decidedAt"])
	require.Nil(t, first["breaches"].([]any)[0].(map[string]any)["notBefore"])
}

func TestAPeriodMustBeGivenAndShort(t *testing.T) {
	w := clockWorld(t, &almanac{})
	for _, query := range []string{
		"", "?from=2026-11-21T00:00:00Z", "?to=2026-11-21T00:00:00Z", "?from=yesterday&to=today", "?from=2026-11-21T00:00:00Z&to=2026-11-20T00:00:00Z",
		"?from=2026-01-01T00:00:00Z&to=2026-11-20T00:00:00Z&clientId=itp", "?from=2026-11-21T00:00:00Z&to=2026-11-22T00:00:00Z&limit=0",
		"?from=2026-11-21T00:00:00Z&to=2026-11-22T00:00:00Z&state=delivered", "?from=2026-11-21T00:00:00Z&to=2026-11-22T00:00:00Z&cursor=x",
	} {
		w.ask("GET", "/internal/v1/audit/breaches"+query, "auditor", "").refused(t, 400, "invalid_request")
	}
}

func TestTheReportIsOneDocumentInEachForm(t *testing.T) {
	a := &almanac{breaches: 5}
	w := clockWorld(t, a)
	const report = "/internal/v1/audit/report?from=2026-11-21T00:00:00Z&to=2026-11-22T00:00:00Z&clientId=itp"
	for format, want := range map[string][2]string{
		"":             {"application/pdf", "%PDF-"},
		"&format=pdf":  {"application/pdf", "%PDF-"},
		"&format=csv":  {"text/csv; charset=utf-8", "notificationId,"},
		"&format=json": {"application/x-ndjson", `{"breach":`},
		"&format=text": {"text/plain; charset=utf-8", "notificação "},
	} {
		got := w.send("GET", report+format, "auditor", "")
		require.Equal(t, http.StatusOK, got.status, got.text)
		require.Equal(t, want[0], got.header.Get("Content-Type"))
		require.True(t, strings.HasPrefix(got.text, want[1]), "%s: %.80s", format, got.text)
		last := a.read[len(a.read)-1]
		require.Equal(t, "breaches", last.Act)
		require.EqualValues(t, 5, last.Rows)
		require.Equal(t, "itp", last.Filter["clientId"])
		require.Equal(t, sumOf([]byte(got.text)), last.SHA256)
	}
	require.Contains(t, w.send("GET", report+"&format=text", "auditor", "", "Accept-Language: en-GB,pt;q=0.5").text, "notification ")
	require.Contains(t, w.send("GET", report+"&format=text&lang=pt", "auditor", "", "Accept-Language: en").text, "notificação ")
	for _, wrong := range []string{"&format=xls", "&lang=fr", "&limit=1", "&cursor=x", "&from=2026-11-21T00:00:00Z"} {
		w.ask("GET", report+wrong, "auditor", "").refused(t, 400, "invalid_request")
	}
	w.ask("GET", "/internal/v1/audit/report?from=2026-01-01T00:00:00Z&to=2026-11-22T00:00:00Z", "auditor", "").refused(t, 400, "invalid_request")
	a.refuse = true
	w.ask("GET", report, "auditor", "").refused(t, 503, "unavailable")
}

func TestATimingIsShownToOperatorsAndAuditorsAndRecorded(t *testing.T) {
	a := &almanac{}
	w := clockWorld(t, a)
	got := w.ask("GET", "/internal/v1/notifications/"+someID+"/timing", "operator", "")
	require.Equal(t, http.StatusOK, got.status, got.text)
	require.Equal(t, someID, got.body["notificationId"])
	require.Len(t, a.read, 1)
	require.Equal(t, "read", a.read[0].Act)
	a.missing = true
	w.ask("GET", "/internal/v1/notifications/"+someID+"/timing", "auditor", "").refused(t, 404, "not_found")
	w.ask("GET", "/internal/v1/notifications/x/timing", "auditor", "").refused(t, 404, "not_found")
	w.ask("GET", "/internal/v1/notifications/"+someID+"/timing?x=1", "auditor", "").refused(t, 400, "invalid_request")
}

func TestTheNewestReconciliationIsShown(t *testing.T) {
	a := &almanac{}
	w := clockWorld(t, a)
	got := w.ask("GET", "/internal/v1/audit/reconciliation", "auditor", "")
	require.Equal(t, http.StatusOK, got.status, got.text)
	require.Equal(t, "2026-11-21T06:30:00.000000Z", got.body["recordedAt"])
	require.EqualValues(t, 1, got.body["reconciliation"].(map[string]any)["found"].(map[string]any)["notification-forgotten"])
	a.missing = true
	w.ask("GET", "/internal/v1/audit/reconciliation", "auditor", "").refused(t, 404, "not_found")
	require.Equal(t, "not-found", a.read[len(a.read)-1].Act, "that somebody asked is recorded as well")
	a.missing, a.refuse = false, true
	w.ask("GET", "/internal/v1/audit/reconciliation", "auditor", "").refused(t, 503, "unavailable")
}

func TestLateAttemptsComePageByPageWithoutTheAccount(t *testing.T) {
	a := &almanac{breaches: 5}
	w := clockWorld(t, a)
	other := map[string]string{"true": "retries", "retries": "true"}
	for late := range other {
		asked, seen := aPeriod+"&limit=2&late="+late, 0
		for path := asked; path != ""; {
			got := w.ask("GET", path, "auditor", "")
			require.Equal(t, http.StatusOK, got.status, got.text)
			require.Nil(t, got.body["report"])
			require.Equal(t, seen == 0 && late == "true", got.body["byClient"] != nil, "on the first page of first attempts")
			list := got.body["breaches"].([]any)
			require.LessOrEqual(t, len(list), 2)
			seen += len(list)
			path = ""
			if next, more := got.body["nextCursor"].(string); more {
				path = asked + "&cursor=" + next
				w.ask("GET", aPeriod+"&limit=2&cursor="+next, "auditor", "").refused(t, 400, "invalid_request")
				w.ask("GET", aPeriod+"&limit=2&cursor="+next+"&late="+other[late], "auditor", "").refused(t, 400, "invalid_request")
			}
		}
		require.Positive(t, seen)
	}
	w.ask("GET", aPeriod+"&late=false", "auditor", "").refused(t, 400, "invalid_request")
}

// aDay lists what a test sets.
type aDay string

func (d aDay) WriteCalls(_ context.Context, day, format string, w io.Writer) (int64, error) {
	if day != "2026-11-21" {
		return 0, errMissing
	}
	_, err := io.WriteString(w, string(d)+format)
	return 3, err
}

func TestTheCallsOfADayAreHandedOverOnceTheyAreRecorded(t *testing.T) {
	a := &almanac{}
	w := newWorld(t, func(c *InternalConfig) { c.Readings, c.Calls = a, aDay(`{"as":"`) })
	const path = "/internal/v1/audit/calls?day=2026-11-21"
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.url+path+"&format=csv", http.NoBody)
	require.NoError(t, err)
	r.Header.Set("Authorization", "Bearer auditor")
	got, err := w.client.Do(r)
	require.NoError(t, err)
	defer got.Body.Close()
	text, err := io.ReadAll(got.Body)
	require.NoError(t, err)
	require.Equal(t, `{"as":"csv`, string(text))
	require.Equal(t, "text/csv; charset=utf-8", got.Header.Get("Content-Type"))
	require.Len(t, a.read, 1)
	require.Equal(t, "calls", a.read[0].Act)
	require.EqualValues(t, 3, a.read[0].Rows)
	w.ask("GET", "/internal/v1/audit/calls?day=21/11/2026", "auditor", "").refused(t, 400, "invalid_request")
	w.ask("GET", path+"&format=pdf", "auditor", "").refused(t, 400, "invalid_request")
	a.refuse = true
	w.ask("GET", path, "auditor", "").refused(t, 503, "unavailable")
}

// TestAPeriodOfAReportThatIsTooLongIsToldWhatWouldBeRight: no id makes it shorter, and the report takes none of a resource.
func TestAPeriodOfAReportThatIsTooLongIsToldWhatWouldBeRight(t *testing.T) {
	w := newWorld(t)
	const period = "?from=2026-09-01T00:00:00Z&to=2026-11-01T00:00:00Z"
	for _, path := range []string{"/internal/v1/audit/breaches" + period, "/internal/v1/audit/breaches" + period + "&clientId=itp"} {
		got := w.ask("GET", path, "auditor", "")
		got.refused(t, 400, "invalid_request")
		require.Equal(t, "from: the period is longer than 31 days; ask for at most 31 days", got.body["error_description"])
	}
	got := w.ask("GET", listPath+period, "auditor", "")
	got.refused(t, 400, "invalid_request")
	require.Contains(t, got.body["error_description"], "needs clientId, resourceId or interactionId")
}
