package store_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/figures"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/timing"
)

func TestLateFirstAttemptsAreFoundNewestFirstWithTheirCause(t *testing.T) {
	b := newBench(t)
	b.register("itp", "https://itp.example/hook")
	b.register("other", "https://other.example/hook")
	for n := range 5 {
		old := payment("itp", fmt.Sprintf("old-%d", n), 1, "ACSC")
		old.OccurredAt = time.Now().Add(-time.Minute)
		b.accept(old)
		b.sent(notice.OutcomeDelivered, time.Millisecond, 0, b.claimPromptly("itp")...)
		b.accept(payment("other", fmt.Sprintf("prompt-%d", n), 1, "ACSC"))
		b.sent(notice.OutcomeDelivered, time.Millisecond, 0, b.claimPromptly("other")...)
	}
	p := timing.Period{From: time.Now().Add(-time.Hour), To: soon()}
	var found []string
	for {
		page, next, err := b.log.LateFirst(t.Context(), p, 2)
		require.NoError(t, err)
		for i := range page {
			found = append(found, page[i].ResourceID)
			require.Equal(t, notice.DelayCore, page[i].First.Cause)
			require.Equal(t, timing.TooLate, page[i].First.FromEvent)
		}
		if next.At.IsZero() {
			break
		}
		p.After = next
	}
	require.Equal(t, []string{"old-4", "old-3", "old-2", "old-1", "old-0"}, found)
	by, err := b.log.LateByClient(t.Context(), p, 10)
	require.NoError(t, err)
	require.Equal(t, []timing.LateClient{{Client: "itp", Late: 5}}, by)
	p.After.At, p.Client = time.Time{}, "other"
	none, _, err := b.log.LateFirst(t.Context(), p, 2)
	require.NoError(t, err)
	require.Empty(t, none)
}

// TestAFirstAttemptThatWasClaimedInTimeAndLeftLateIsListed: the account of a period counted it and the list of late ones did not have it.
func TestAFirstAttemptThatWasClaimedInTimeAndLeftLateIsListed(t *testing.T) {
	f := newFigured(t)
	f.register("itp", "https://itp.example/hook")
	f.register("other", "https://other.example/hook")
	old := payment("itp", "old", 1, "ACSC")
	old.OccurredAt = time.Now().Add(-time.Minute)
	f.accept(old)
	f.sent(notice.OutcomeDelivered, time.Millisecond, 0, f.claimPromptly("itp")...)
	for _, id := range []string{"left-late-0", "left-late-1"} {
		f.accept(payment("itp", id, 1, "ACSC"))
		f.sent(notice.OutcomeDelivered, 2*time.Second, 0, f.claimPromptly("itp")...)
	}
	f.accept(payment("other", "prompt", 1, "ACSC"))
	f.sent(notice.OutcomeDelivered, time.Millisecond, 0, f.claimPromptly("other")...)
	f.seal()
	f.fold()
	p := timing.Period{From: time.Now().Add(-time.Hour), To: soon()}
	listed := func() (out []string) {
		for p.After = (timing.Period{}).After; ; {
			page, next, err := f.log.LateFirst(t.Context(), p, 2)
			require.NoError(t, err)
			for i := range page {
				out = append(out, page[i].ResourceID)
			}
			if p.After = next; next.At.IsZero() {
				return out
			}
		}
	}
	want := []string{"left-late-1", "left-late-0", "old"}
	require.Equal(t, want, listed())
	by, err := f.log.LateByClient(t.Context(), p, 10)
	require.NoError(t, err)
	require.Equal(t, []timing.LateClient{{Client: "itp", Late: 3}}, by)
	s, _ := f.read("")
	require.EqualValues(t, len(want), s.First.Late, "as many as are counted")

	f.do("DELETE FROM figures_late")
	require.Equal(t, []string{"old"}, listed())
	require.Zero(t, f.rebuild().Differ)
	require.Equal(t, want, listed(), "they are made again from the log")
	p.Client = "other"
	require.Empty(t, listed())
}

// TestLateFirstAttemptsGoWithTheirMonth: of a removed month they were counted and could not be listed.
func TestLateFirstAttemptsGoWithTheirMonth(t *testing.T) {
	b := newBench(t)
	for _, month := range []string{"2009-12", "2010-01", "2010-02"} {
		from, err := time.Parse("2006-01", month)
		require.NoError(t, err)
		b.do(fmt.Sprintf("CREATE TABLE entry_%s PARTITION OF entry FOR VALUES FROM ('%s') TO ('%s')", from.Format("200601"), from.Format(time.RFC3339), from.AddDate(0, 1, 0).Format(time.RFC3339)))
	}
	for _, c := range []struct { // in the order of their time, as a log has them: with its first entry the log begins
		client, announced, attempt, ended string
		stays                             bool
	}{
		{"was long ended", "2009-12-01 00:00:00", "2009-12-01 00:00:01", "2009-12-01 00:00:03", true},
		{"ended before", "2009-12-31 23:59:55", "2009-12-31 23:59:56", "2009-12-31 23:59:59", true},
		{"lost its result", "2009-12-31 23:59:57", "2009-12-31 23:59:58", "2010-01-01 00:00:01", false},
		{"all but its attempt's", "2009-12-31 23:59:59", "2010-01-01 00:00:00", "2010-02-01 00:00:00", false},
		{"inside", "2010-01-15 00:00:00", "2010-01-15 00:00:01", "2010-01-15 00:00:03", false},
		{"lost its change", "2010-01-31 23:59:59", "2010-02-01 00:00:00", "2010-02-01 00:00:02", false},
		{"happened later", "2010-02-01 00:00:00", "2010-02-01 00:00:01", "2010-02-01 00:00:03", true},
		{"happened much later", "2010-02-20 00:00:00", "2010-02-20 00:00:01", "2010-02-20 00:00:03", true},
	} {
		id := one[string](b, "SELECT gen_random_uuid()::text")
		b.do("SET session_replication_role = replica")
		for kind, at := range map[string]string{"change": c.announced, "attempt": c.attempt, "result": c.ended} {
			b.do("INSERT INTO entry (id, at, kind, client_id, notification_id, number, facts) VALUES (gen_random_uuid(), $1::text::timestamptz, $2, $3, $4, CASE WHEN $2 <> 'change' THEN 1 END, '{}')", at+"+00", kind, c.client, id)
		}
		b.do("SET session_replication_role = origin")
		b.do("INSERT INTO figures_late VALUES (1, $1::text::timestamptz, $2, $3)", c.attempt+"+00", id, fmt.Sprint(c.stays, ": ", c.client))
	}
	for name, client := range map[string]notice.ClientID{"december": "was long ended", "february": "happened much later"} {
		_, _, err := b.log.PlaceHold(asAuditor(t), history.Hold{Name: name, Client: client, Reason: "court"})
		require.NoError(t, err)
	}
	b.place("2015-01-01T00:00:00Z")
	b.announce("entry_200912", "entry_201001", "entry_201002")
	gone, err := b.log.DropHistory(t.Context(), 5)
	require.NoError(t, err)
	require.Equal(t, []string{"entry_201001"}, gone)
	whole := time.Date(2010, 2, 1, 0, 0, 0, 0, time.UTC)
	p := timing.Period{From: whole.AddDate(0, -1, 0), To: whole}
	report, err := b.log.ClockReport(t.Context(), p, func(*timing.Timing) error { return nil })
	require.NoError(t, err)
	require.Zero(t, report.Total.Notifications)
	require.True(t, report.WholeSince.Equal(whole), "a report on a removed month says that the log has it no more: %s", report.WholeSince)
	polling, err := b.log.Polling(t.Context(), p.From, p.To)
	require.NoError(t, err)
	require.True(t, polling.Whole.Equal(whole), "%s", polling.Whole)
	read, err := b.log.Figures(t.Context(), figures.Ask{})
	require.NoError(t, err)
	require.True(t, read.Whole.Equal(whole), "%s", read.Whole)
	require.Equal(t, "true: ended before, true: happened later, true: happened much later, true: was long ended", one[string](b, "SELECT string_agg(client_id, ', ' ORDER BY client_id) FROM figures_late"))
	by, err := b.log.LateByClient(t.Context(), timing.Period{From: time.Date(2010, 1, 1, 0, 0, 0, 0, time.UTC), To: time.Date(2010, 2, 1, 0, 0, 0, 0, time.UTC)}, 10)
	require.NoError(t, err)
	require.Empty(t, by)
}

// TestALateAttemptWhoseChangeWentWithItsMonthIsNeitherListedNorCounted: it was counted by its claim.
func TestALateAttemptWhoseChangeWentWithItsMonthIsNeitherListedNorCounted(t *testing.T) {
	b := newBench(t)
	p := timing.Period{From: time.Date(2010, 2, 1, 0, 0, 0, 0, time.UTC), To: time.Date(2010, 3, 1, 0, 0, 0, 0, time.UTC)}
	for _, month := range []string{"2009-12", "2010-02"} { // January has gone
		from, err := time.Parse("2006-01", month)
		require.NoError(t, err)
		b.do(fmt.Sprintf("CREATE TABLE entry_%s PARTITION OF entry FOR VALUES FROM ('%s') TO ('%s')", from.Format("200601"), from.Format(time.RFC3339), from.AddDate(0, 1, 0).Format(time.RFC3339)))
	}
	b.do("SET session_replication_role = replica")
	for client, announced := range map[string]string{"gone": "", "here": "2010-02-01 00:00:02+00", "held up for long": "2009-12-20 00:00:00+00"} {
		id := one[string](b, "SELECT gen_random_uuid()::text")
		if announced != "" {
			b.do(`INSERT INTO entry (id, at, kind, outcome, client_id, resource_kind, resource_id, notification_id, facts) VALUES (gen_random_uuid(), $1::text::timestamptz, 'change', 'applied', $2, 2, $2, $3,
json_build_object('apiVersion', 'v5', 'status', 'ACSC', 'occurredAt', $1::text::timestamptz, 'eventAt', $1::text::timestamptz))`, announced, client, id)
		}
		b.do("INSERT INTO entry (id, at, kind, client_id, notification_id, number, facts) VALUES (gen_random_uuid(), '2010-02-01 00:00:09+00', 'attempt', $1, $2, 1, '{\"number\":1,\"late\":true}')", client, id)
	}
	b.do("SET session_replication_role = origin")
	by, err := b.log.LateByClient(t.Context(), p, 10)
	require.NoError(t, err)
	require.Equal(t, []timing.LateClient{{Client: "held up for long", Late: 1}, {Client: "here", Late: 1}}, by)
	listed, _, err := b.log.LateFirst(t.Context(), p, 10)
	require.NoError(t, err)
	var clients []notice.ClientID
	for i := range listed {
		clients = append(clients, listed[i].Client)
	}
	require.ElementsMatch(t, []notice.ClientID{"held up for long", "here"}, clients)
}

func TestLateRetriesAreFoundNewestFirstWithTheirCause(t *testing.T) {
	b := newBench(t)
	b.register("itp", "https://itp.example/hook")
	b.register("other", "https://other.example/hook")
	try := func(client, id string, outcome notice.Outcome, ago time.Duration) {
		b.sent(outcome, time.Millisecond, ago, b.claimPromptly(client)...)
		require.Equal(t, 1, b.entries("change", id))
	}
	for n := range 3 {
		second := fmt.Sprintf("second-%d", n)
		b.accept(payment("itp", second, 1, "ACSC"))
		try("itp", second, notice.OutcomeRefused, 20*time.Second)
		try("itp", second, notice.OutcomeDelivered, 0)
		third := fmt.Sprintf("third-%d", n)
		b.accept(payment("other", third, 1, "ACSC"))
		try("other", third, notice.OutcomeTimeout, 10*time.Second+100*time.Millisecond)
		try("other", third, notice.OutcomeTLS, 70*time.Second)
		try("other", third, notice.OutcomeRefused, 0)
	}
	b.accept(payment("itp", "prompt", 1, "ACSC"))
	b.sent(notice.OutcomeDelivered, time.Millisecond, 0, b.claimPromptly("itp")...)
	p := timing.Period{From: time.Now().Add(-time.Hour), To: soon()}
	var found []string
	for {
		page, next, err := b.log.LateRetries(t.Context(), p, 2)
		require.NoError(t, err)
		for i := range page {
			require.NotEmpty(t, page[i].Breaches())
			require.False(t, page[i].First.Late())
			found = append(found, page[i].ResourceID)
			if page[i].Client == "itp" {
				require.Equal(t, timing.TooLate, page[i].Attempts[1].Gap)
				require.NotEmpty(t, page[i].Attempts[1].Cause)
			} else {
				require.Equal(t, timing.TooLate, page[i].Attempts[2].Gap)
			}
		}
		if next.At.IsZero() {
			break
		}
		p.After = next
	}
	require.Equal(t, []string{"third-2", "second-2", "third-1", "second-1", "third-0", "second-0"}, found)
	p.After, p.Client = timing.Period{}.After, "itp"
	of, _, err := b.log.LateRetries(t.Context(), p, 10)
	require.NoError(t, err)
	require.Len(t, of, 3)
	p.To = p.From.Add(time.Minute)
	of, _, err = b.log.LateRetries(t.Context(), p, 10)
	require.NoError(t, err)
	require.Empty(t, of)
}
