package store_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/intake"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/store/auditlog"
	"github.com/arauto/arauto/internal/timing"
)

// punctuality judges all there is, as an auditor would.
func (b *bench) punctuality(p timing.Period) (*timing.ClockReport, map[string]timing.Timing) {
	b.t.Helper()
	i, err := auditlog.OpenInspector(b.t.Context(), b.url)
	require.NoError(b.t, err)
	defer i.Close(b.t.Context())
	if p.To.IsZero() {
		p.To = soon()
	}
	breaches := map[string]timing.Timing{}
	r, err := i.ClockReport(b.t.Context(), p, func(t *timing.Timing) error { breaches[t.ResourceID] = *t; return nil })
	require.NoError(b.t, err)
	return r, breaches
}

// sent settles attempts with the offsets a sender reports.
func (b *bench) sent(outcome notice.Outcome, connect, ago time.Duration, attempts ...notice.Attempt) {
	b.t.Helper()
	for _, a := range attempts {
		_, err := b.store.Settle(b.t.Context(), []notice.Settlement{{Attempt: a, Result: notice.Result{
			Outcome: outcome, EndedAt: time.Now().Add(connect - ago), Dialled: connect / 2, FirstByteOut: connect, Answered: connect, Elapsed: connect,
		}}})
		require.NoError(b.t, err)
	}
}

// claimPromptly claims what is due of a client, and makes its first attempts begin when their changes were stored: how long a starved
// machine took to claim them is not what a test of verdicts is about.
func (b *bench) claimPromptly(client string) []notice.Attempt {
	b.t.Helper()
	attempts := b.claim(client, 10, 10)
	for _, a := range attempts {
		occurred := one[time.Time](b, "SELECT (facts->>'occurredAt')::timestamptz FROM entry WHERE notification_id = $1 AND kind = 'change'", store.ToUUID(a.Notification))
		require.True(b.t, a.Number > 1 || a.Late == a.StartedAt.After(occurred.Add(notice.FirstWithin)), "%+v happened at %s", a, occurred)
	}
	b.do("SET session_replication_role = replica")
	for i := range attempts {
		a := &attempts[i]
		if a.Number > 1 {
			continue
		}
		require.NoError(b.t, b.owner.QueryRow(b.t.Context(), `WITH change AS (
  SELECT notification_id, at, at > (facts->>'occurredAt')::timestamptz + $2::interval AS late FROM entry WHERE notification_id = $1 AND kind = 'change'
)
UPDATE entry a SET at = c.at, facts = jsonb_set(a.facts::jsonb, '{late}', to_jsonb(c.late))::json FROM change c
WHERE a.notification_id = c.notification_id AND a.kind = 'attempt' AND a.number = 1 RETURNING a.at, c.late`,
			store.ToUUID(a.Notification), notice.FirstWithin).Scan(&a.StartedAt, &a.Late))
	}
	b.do("RESET session_replication_role")
	return attempts
}

func TestTheReportOfBreachesFindsTheCauseOfEach(t *testing.T) {
	b := newBench(t)
	b.register("itp", "https://itp.example/hook")
	b.register("other", "https://other.example/hook")
	b.accept(payment("itp", "silent", 1, "RCVD"))
	b.accept(payment("other", "prompt", 1, "ACSC"))
	b.sent(notice.OutcomeDelivered, time.Millisecond, 0, b.claimPromptly("other")...)
	old := payment("itp", "old", 1, "ACSC")
	old.OccurredAt = time.Now().Add(-time.Hour)
	b.accept(old)
	b.sent(notice.OutcomeDelivered, time.Millisecond, 0, b.claimPromptly("itp")...)
	b.accept(payment("itp", "slow", 1, "ACSC"))
	b.sent(notice.OutcomeDelivered, 2*time.Second, 0, b.claimPromptly("itp")...)
	b.accept(payment("itp", "retried", 1, "ACSC"))
	b.sent(notice.OutcomeRefused, time.Millisecond, 20*time.Second, b.claimPromptly("itp")...)
	b.sent(notice.OutcomeDelivered, time.Millisecond, 0, b.claimPromptly("itp")...)
	b.accept(payment("itp", "lost", 1, "ACSC"))
	b.claimFor("itp", time.Microsecond)
	require.Equal(t, 1, b.rescue())

	// What the dispatcher did late is made late afterwards, as no test waits for it: "stuck" was claimed two seconds
	// after it was due, beside others; "still" while nobody committed anything.
	for _, id := range []string{"stuck", "still"} {
		b.accept(payment("itp", id, 1, "ACSC"))
		b.sent(notice.OutcomeDelivered, time.Millisecond, 0, b.claimPromptly("itp")...)
	}
	b.do("SET session_replication_role = replica")
	b.do("UPDATE entry SET at = at + interval '5 minutes' WHERE resource_id = 'stuck'")
	b.do("UPDATE entry SET at = at + interval '8 minutes' WHERE resource_id = 'still'")
	b.do("UPDATE entry SET at = at + interval '2 seconds' WHERE resource_id IN ('stuck', 'still') AND kind IN ('attempt', 'result')")
	b.do(`INSERT INTO entry (id, at, kind, facts) SELECT gen_random_uuid(), e.at + n * interval '100 milliseconds', 'poll', '{}'
FROM entry e, generate_series(-20, 40) n WHERE e.resource_id = 'stuck' AND e.kind = 'change'`)

	b.do(`INSERT INTO entry (id, at, kind, facts) SELECT gen_random_uuid(), now() - n * interval '100 milliseconds', 'poll', '{}' FROM generate_series(0, 600) n`)

	future := payment("itp", "held", 1, "ACSC")
	future.OccurredAt = time.Now().Add(50 * time.Second)
	later := future.OccurredAt
	future.NotBefore = &later
	b.accept(future)

	r, breaches := b.punctuality(timing.Period{To: time.Now().Add(time.Hour)})
	for id, want := range map[string]notice.Delay{
		"old": notice.DelayCore, "slow": notice.DelayConnect, "stuck": notice.DelayQueue, "still": notice.DelayStandstill,
	} {
		p := breaches[id]
		require.Equal(t, []string{"first"}, p.Breaches(), id)
		require.Equal(t, want, p.First.Cause, "%s: %+v", id, p)
	}
	retried := breaches["retried"]
	require.Equal(t, []string{"second"}, retried.Breaches())
	require.Equal(t, notice.DelaySettling, retried.Attempts[1].Cause)
	require.Len(t, breaches, 5)
	require.EqualValues(t, 8, r.Total.Notifications)
	require.EqualValues(t, 4, r.Total.Late)
	require.EqualValues(t, 3, r.Total.LateOurs)
	require.EqualValues(t, 1, r.Total.Waiting, "held back")
	require.EqualValues(t, 3, r.Total.OnTime)
	require.Equal(t, map[string]int64{string(ofb.NotATrigger): 1}, r.Silent)
	require.Equal(t, []int64{1, 7}, []int64{r.ByClient["other"].Notifications, r.ByClient["itp"].Notifications})

	only, breaches := b.punctuality(timing.Period{Client: "other", To: time.Now().Add(time.Hour)})
	require.EqualValues(t, 1, only.Total.Notifications)
	require.Empty(t, breaches)
	require.Empty(t, only.Silent)
	none, _ := b.punctuality(timing.Period{From: time.Now().Add(30 * time.Minute), To: time.Now().Add(time.Hour)})
	require.Zero(t, none.Total.Notifications)

	alone, err := b.log.Timing(t.Context(), b.notificationOf("still"))
	require.NoError(t, err)
	require.Equal(t, notice.DelayStandstill, alone.First.Cause, "the same verdict, asked for alone")
	_, err = b.log.Timing(t.Context(), store.NewID())
	require.ErrorIs(t, err, store.ErrNotFound)
}

// notificationOf is the notification of a resource.
func (b *bench) notificationOf(resource string) notice.ID {
	b.t.Helper()
	id, err := notice.ParseID(one[string](b, "SELECT notification_id::text FROM entry WHERE resource_id = $1 AND kind = 'change'", resource))
	require.NoError(b.t, err)
	return id
}

// TestTheRecordOfAChangeSaysWhenItCame holds receipt against the clock of the test: it may seem earlier by the way of one
// answer, and never later, however busy the machine is, and also when another session held the resource meanwhile.
func TestTheRecordOfAChangeSaysWhenItCame(t *testing.T) {
	b := newBench(t)
	b.register("itp", "https://itp.example/hook")
	for _, held := range []bool{false, true} {
		b.accept(payment("itp", fmt.Sprint(held), 1, "PDNG"))
		var hold pgx.Tx
		if held {
			hold = b.holder("SELECT FROM resource WHERE id = 'true' FOR UPDATE")
		}
		line, err := json.Marshal(payment("itp", fmt.Sprint(held), 2, "ACSC"))
		require.NoError(t, err)
		before := time.Now()
		pending, err := b.intake.Enqueue(t.Context(), line, intake.Origin{Source: "api", Actor: "core"})
		require.NoError(t, err)
		var waited time.Duration
		if held {
			b.blocked(1)
			began := time.Now()
			_, err = hold.Exec(t.Context(), "SELECT pg_sleep(0.2)")
			require.NoError(t, err)
			waited = time.Since(began)
			require.NoError(t, hold.Commit(t.Context()))
		}
		a, err := pending.Wait(t.Context())
		require.NoError(t, err)
		after := time.Now()
		p, err := b.log.Timing(t.Context(), a.Notifications[0])
		require.NoError(t, err)
		require.WithinRange(t, p.ReceivedAt.Time, before.Add(-time.Second), after)
		require.False(t, p.DecidedAt.Before(p.ReceivedAt.Time))
		require.False(t, p.WrittenAt.Before(p.DecidedAt.Time))
		require.WithinRange(t, p.WrittenAt.Time, before, after)
		require.GreaterOrEqual(t, p.WrittenAt.Sub(p.ReceivedAt.Time), waited, "the wait is ours")
	}
}

func TestTheListOfCallsHasOneLineForEachQueryOfTheDay(t *testing.T) {
	b := newBench(t)
	b.poll(5)
	i := b.log.Inspector()
	var all []notice.Poll
	require.NoError(t, i.Calls(t.Context(), time.Now().Add(-time.Minute), soon(), func(p *notice.Poll) error { all = append(all, *p); return nil }))
	require.Len(t, all, 5)
	require.Equal(t, "payment", all[0].Facts.Operation)
	require.Equal(t, 404, all[1].Facts.HTTPStatus)
	require.NotEqual(t, all[0].Interaction, all[1].Interaction)
	none := 0
	for _, day := range []time.Time{time.Now().Add(-24 * time.Hour), time.Now().Add(24 * time.Hour)} {
		require.NoError(t, i.Calls(t.Context(), day, day.Add(time.Hour), func(*notice.Poll) error { none++; return nil }))
	}
	require.Zero(t, none)
}

func TestOneReplicaAtATimeTakesItsTurn(t *testing.T) {
	b := newBench(t)
	other := replicaOf(t, b.url)
	inside := false
	taken, err := b.log.InTurn(t.Context(), "test", func(ctx context.Context) error {
		inside = true
		second, err := other.log.InTurn(ctx, "test", func(context.Context) error { t.Error("two at once"); return nil })
		require.NoError(t, err)
		require.False(t, second)
		return nil
	})
	require.NoError(t, err)
	require.True(t, taken && inside)
	taken, err = other.log.InTurn(t.Context(), "test", func(context.Context) error { return nil })
	require.NoError(t, err)
	require.True(t, taken, "the turn is over")
}
