package store_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/figures"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
)

// TestMarkedNotificationsAreListedAtAnyDistance lists notifications with a rare outcome, and late ones, which are minutes to weeks
// old, of which some got their mark days after they began.
func TestMarkedNotificationsAreListedAtAnyDistance(t *testing.T) {
	f := newBench(t)
	ages := []struct {
		id         string
		ago, after time.Duration // of the notification, and how long after it the mark came
	}{
		{"now", time.Minute, 0},
		{"hour", 61 * time.Minute, time.Second},
		{"hours", 5 * time.Hour, 4 * time.Hour},
		{"slow", 6 * time.Hour, time.Second},
		{"day", 26 * time.Hour, time.Minute},
		{"days", 8 * 24 * time.Hour, 8*24*time.Hour - time.Minute},
		{"weeks", 20 * 24 * time.Hour, 0},
	}
	f.do("SET session_replication_role = replica")
	for i, a := range ages {
		client := []string{"itp", "other"}[i%2]
		f.do(`INSERT INTO entry (id, at, kind, client_id, resource_kind, resource_id, revision, notification_id, interaction_id, number, outcome, facts)
SELECT gen_random_uuid(), now() - $1::interval + $2::interval * (k.kind <> 'change')::int, k.kind, $3, 2, $4, CASE WHEN k.kind = 'change' THEN 1 END, md5($4)::uuid,
  CASE WHEN k.kind = 'attempt' THEN gen_random_uuid() END, CASE WHEN k.kind <> 'change' THEN 1 END, k.outcome, k.facts::json
FROM (VALUES ('change', 'applied', '{"system":"a","source":"api","status":"ACSC","from":"ACPD"}'), ('attempt', NULL, '{"scheduledAt":"2026-11-01T00:00:00Z","late":true,"manual":false}'),
  ('result', 'timeout', '{"number":1,"attempt":"","claimToSendMicros":1,"elapsedMicros":1,"endedAt":"2026-11-01T00:00:00Z"}')) AS k(kind, outcome, facts)`, a.ago, a.after, client, a.id)
	}
	f.do("SET session_replication_role = origin")
	for limit := 1; limit <= len(ages)+1; limit++ {
		list := func(by history.Filter) (out []string) {
			for by.Limit = limit; ; {
				records, next, err := f.log.Notifications(t.Context(), by)
				require.NoError(t, err)
				for i := range records {
					out = append(out, records[i].ResourceID)
				}
				if by.After = next; next.At.IsZero() {
					return out
				}
			}
		}
		for _, by := range []history.Filter{{Outcome: notice.OutcomeTimeout}, {Late: true}} {
			require.Equal(t, []string{"now", "hour", "hours", "slow", "day", "days", "weeks"}, list(by), "%d a page", limit)
			by.Client = "other"
			require.Equal(t, []string{"hour", "slow", "days"}, list(by), "%d a page", limit)
			by.From, by.To = time.Now().Add(-10*24*time.Hour), time.Now().Add(-2*time.Hour)
			require.Equal(t, []string{"slow", "days"}, list(by), "%d a page", limit)
			by.To = time.Now().Add(-9 * 24 * time.Hour)
			require.Empty(t, list(by))
		}
	}
}

// TestSumsOfDaysAreThoseOfTheirHours reads the same period by hour and by day, folded and not folded yet.
func TestSumsOfDaysAreThoseOfTheirHours(t *testing.T) {
	f := newFigured(t)
	f.everything(func() {})
	f.seal()
	for _, when := range []string{"not folded", "folded"} {
		now := time.Now()
		by := func(unit time.Duration) []figures.Row {
			r, err := f.log.Figures(t.Context(), figures.Ask{Queries: []figures.Query{{From: now.Add(-72 * time.Hour), To: now.Add(72 * time.Hour), Unit: unit}}})
			require.NoError(t, err)
			return r.Rows[0]
		}
		days := by(figures.Daily)
		require.NotEmpty(t, days, when)
		require.Equal(t, figures.Total(by(figures.Hourly)), figures.Total(days), when)
		for _, day := range days {
			require.Zero(t, day.Start%int64(figures.Daily/time.Second), when)
		}
		f.fold()
	}
}
