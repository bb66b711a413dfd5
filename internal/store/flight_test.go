package store_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/store"
)

// fly records payments and their first attempts in one commit, and returns the attempts.
func (b *bench) fly(lease time.Duration, resources ...string) []notice.Attempt {
	b.t.Helper()
	out, err := b.launch(lease, resources...)
	require.NoError(b.t, err)
	return out
}

// launch is fly, and may fail.
func (b *bench) launch(lease time.Duration, resources ...string) (out []notice.Attempt, err error) {
	var changes []*notice.Change
	slices.Sort(resources)
	for _, id := range resources {
		changes = append(changes, &notice.Change{
			ID: store.NewID(), Kind: ofb.PixPayment, ResourceID: id, Client: "itp", APIVersion: "v5", Revision: 1, OccurredAt: time.Now(), Source: "test",
			State: ofb.ResourceState{Status: "ACSC"}, Document: []byte("{}"), ReceivedAt: time.Now(),
		})
	}
	flight := store.NewID()
	err = b.store.Record(b.t.Context(), changes, func(pasts []notice.Past) (all []notice.Decision) {
		out = nil
		for i, c := range changes {
			token := c.ID
			if b.apart > 0 && (i+1)%b.apart == 0 {
				token = store.NewID()
			}
			a := &notice.Announcement{Lease: lease, OccurredAt: c.OccurredAt, Clause: "webhook §2", Notification: notice.Notification{
				ID: store.NewID(), ChangeID: c.ID, Client: c.Client, Kind: c.Kind, ResourceID: c.ResourceID, APIVersion: c.APIVersion, Revision: 1,
				Status: c.State.Status, EventAt: c.OccurredAt, PushEpoch: pasts[i].Epoch,
			}}
			a.First = &notice.Attempt{
				Notification: a.ID, Token: token, Interaction: store.NewID(), Flight: flight, Client: a.Client, Kind: a.Kind, ResourceID: a.ResourceID,
				APIVersion: a.APIVersion, EventAt: a.EventAt, Number: 1, BaseURI: pasts[i].BaseURI, StartedAt: pasts[i].Now, ScheduledAt: pasts[i].Now, ClaimedAt: time.Now(), BeganAt: pasts[i].Asked,
			}
			out = append(out, *a.First)
			all = append(all, notice.Decision{Verdict: notice.Applied, Current: true, Announce: a})
		}
		return all
	})
	return out, err
}

// newFlights is a bench with one registered client. Its flights have attempts of both forms.
func newFlights(t *testing.T) *bench {
	b := newBench(t)
	b.apart = 2
	b.register("itp", "https://itp.example/hook")
	return b
}

// unsettled is what the flights count.
func (b *bench) unsettled() int {
	return one[int](b, "SELECT coalesce(sum(unsettled), 0)::int FROM flight")
}

// try settles attempts, and may fail.
func (b *bench) try(outcome notice.Outcome, attempts ...notice.Attempt) ([]notice.Lane, error) {
	var done []notice.Settlement
	for _, a := range attempts {
		done = append(done, notice.Settlement{Attempt: a, Result: notice.Result{Outcome: outcome, EndedAt: time.Now()}})
	}
	return b.store.Settle(b.t.Context(), done)
}

func TestAFlightIsCountedDownAndGoesWithItsLastResult(t *testing.T) {
	b := newFlights(t)
	a := b.fly(20*time.Second, "p1", "p2", "p3", "p4")
	require.Equal(t, 4, b.unsettled())
	require.Zero(t, one[int](b, "SELECT count(*) FROM queue"), "a notification is in a flight or in the queue")
	backlog, err := b.store.Backlog(t.Context())
	require.NoError(t, err)
	require.Equal(t, store.Backlog{InFlight: 4}, backlog)

	lanes, err := b.try(notice.OutcomeDelivered, a[0], a[2])
	require.NoError(t, err)
	require.Empty(t, lanes)
	require.Equal(t, 2, b.unsettled())
	began := time.Now()
	lanes, err = b.try(notice.OutcomeRefused, a[1])
	require.NoError(t, err)
	requireDueIn(t, 10*time.Second, began, lanes)
	require.Equal(t, 1, b.unsettled())
	_, err = b.try(notice.OutcomeDelivered, a[3])
	require.NoError(t, err)
	require.Zero(t, one[int](b, "SELECT count(*) FROM flight"))
	require.Equal(t, 4, one[int](b, "SELECT count(*) FROM entry WHERE kind = 'result'"))
	require.Zero(t, b.rescue())
}

// TestAFailureOfAFlightIsQueuedAsItsChangeSays compares the row that follows a failure with the row that the same change has
// when it is claimed from the queue.
func TestAFailureOfAFlightIsQueuedAsItsChangeSays(t *testing.T) {
	b := newFlights(t)
	c := payment("itp", "p1", 1, "ACSC")
	w, d := reserving(t, 20*time.Second)
	w.register("itp", "https://itp.example/hook")
	b.accept(c)
	w.accept(c)
	require.Len(t, b.settle(notice.OutcomeRefused, b.claim("itp", 10, 0)...), 1)
	require.Len(t, w.settle(notice.OutcomeRefused, d.started...), 1)
	const row = `SELECT (to_jsonb(q) - 'id' - 'due_at' - 'created_at' - 'started_at')::text ||
  (q.due_at = (SELECT (facts->>'endedAt')::timestamptz + '10 s' FROM arauto.entry WHERE kind = 'result' AND notification_id = q.id))::text ||
  (q.created_at = (SELECT at FROM arauto.entry WHERE kind = 'change' AND notification_id = q.id))::text FROM arauto.queue q`
	var got string
	require.NoError(t, w.owner.QueryRow(t.Context(), row).Scan(&got))
	require.Equal(t, one[string](b, row), got)
	require.True(t, strings.HasSuffix(got, "truetrue"), got)
}

// TestARepeatedSettlementFindsItsResult: its answer was lost, and others of the flight are still under way.
func TestARepeatedSettlementFindsItsResult(t *testing.T) {
	b := newFlights(t)
	a := b.fly(20*time.Second, "p1", "p2", "p3")
	b.settle(notice.OutcomeDelivered, a[0])
	b.settle(notice.OutcomeRefused, a[1])
	require.Empty(t, b.settle(notice.OutcomeDelivered, a[0]))
	require.Empty(t, b.settle(notice.OutcomeRefused, a[1]))
	require.Equal(t, 1, b.unsettled())
	require.Equal(t, 2, one[int](b, "SELECT count(*) FROM entry WHERE kind = 'result'"))
	require.Zero(t, one[int](b, "SELECT count(*) FROM entry WHERE kind = 'late-result'"))
	require.Equal(t, 1, one[int](b, "SELECT count(*) FROM queue"))
}

// TestASettlementThatComesAfterItsRepetitionCostsOthersNothing: the network kept the first one back while its repetition went
// another way. Counted off twice, the flight would be gone before the last result, and a failure would have no row in the queue.
func TestASettlementThatComesAfterItsRepetitionCostsOthersNothing(t *testing.T) {
	b := newFlights(t)
	a := b.fly(20*time.Second, "p1", "p2")
	for range 2 {
		_, err := b.try(notice.OutcomeDelivered, a[0])
		require.NoError(t, err)
	}
	require.Equal(t, 1, b.entries("result", "p1"))
	require.Equal(t, 1, b.unsettled())
	require.Len(t, b.settle(notice.OutcomeRefused, a[1]), 1)
	require.Equal(t, notice.Pending, b.record(a[1].Notification).State)
	require.Equal(t, 1, one[int](b, "SELECT count(*) FROM queue"))
	require.Zero(t, one[int](b, "SELECT count(*) FROM entry WHERE kind = 'late-result'"))
}

// blocked waits until a session waits for a lock.
func (b *bench) blocked(sessions int) {
	b.t.Helper()
	require.Eventually(b.t, func() bool {
		return one[int](b, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'") == sessions
	}, time.Minute, time.Millisecond)
}

// holder locks a row as another transaction does.
func (b *bench) holder(sql string, args ...any) pgx.Tx {
	b.t.Helper()
	conn, err := pgx.Connect(b.t.Context(), b.url)
	require.NoError(b.t, err)
	b.t.Cleanup(func() { _ = conn.Close(context.Background()) })
	tx, err := conn.Begin(b.t.Context())
	require.NoError(b.t, err)
	_, err = tx.Exec(b.t.Context(), "SET LOCAL search_path = arauto")
	require.NoError(b.t, err)
	_, err = tx.Exec(b.t.Context(), sql, args...)
	require.NoError(b.t, err)
	return tx
}

// TestSettlementsOfOneFlightAtOnceCountItDown: neither sees the other's results, and the last one deletes the flight.
func TestSettlementsOfOneFlightAtOnceCountItDown(t *testing.T) {
	b := newFlights(t)
	a := b.fly(20*time.Second, "p1", "p2", "p3", "p4")
	hold := b.holder("SELECT FROM flight FOR UPDATE")
	var both sync.WaitGroup
	for _, some := range [][]notice.Attempt{a[:2], a[2:]} {
		both.Go(func() {
			_, err := b.try(notice.OutcomeDelivered, some...)
			require.NoError(t, err)
		})
	}
	b.blocked(2)
	require.NoError(t, hold.Commit(t.Context()))
	both.Wait()
	require.Zero(t, one[int](b, "SELECT count(*) FROM flight"))
	require.Equal(t, 4, one[int](b, "SELECT count(*) FROM entry WHERE kind = 'result'"))
}

// TestARepeatedSettlementWaitsForTheOneWhoseAnswerWasLost, and then sees its result: of a flight, and of a row in the queue.
func TestARepeatedSettlementWaitsForTheOneWhoseAnswerWasLost(t *testing.T) {
	for name, claim := range map[string]func(*bench) []notice.Attempt{
		"flight": func(b *bench) []notice.Attempt { return b.fly(20*time.Second, "p1") },
		"queue": func(b *bench) []notice.Attempt {
			b.accept(payment("itp", "p1", 1, "ACSC"))
			return b.claim("itp", 10, 0)
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newFlights(t)
			a := claim(b)
			hold := b.holder("SELECT FROM flight FOR UPDATE")
			_, err := hold.Exec(t.Context(), "SELECT FROM queue FOR UPDATE")
			require.NoError(t, err)
			var both sync.WaitGroup
			for range 2 {
				both.Go(func() {
					done := []notice.Settlement{{Attempt: a[0], Result: notice.Result{Outcome: notice.OutcomeDelivered, EndedAt: time.Now()}}}
					_, err := b.store.Settle(t.Context(), done)
					require.NoError(t, err)
				})
			}
			b.blocked(2)
			require.NoError(t, hold.Commit(t.Context()))
			both.Wait()
			require.Equal(t, 1, b.entries("result", "p1"))
			require.Zero(t, b.entries("late-result", "p1"))
		})
	}
}

func TestARescueSettlesWhatAFlightHasLeft(t *testing.T) {
	b := newFlights(t)
	a := b.fly(time.Microsecond, "p1", "p2", "p3", "p4")
	b.settle(notice.OutcomeDelivered, a[0])
	b.settle(notice.OutcomeRefused, a[1])
	other := b.fly(20*time.Second, "p5")
	require.Equal(t, 2, b.rescue())
	require.Zero(t, b.rescue(), "a rescue happens once")
	require.Equal(t, 1, b.unsettled(), "the other one is under way")
	for n, state := range map[int]notice.State{0: notice.Delivered, 1: notice.Pending, 2: notice.Pending, 3: notice.Pending} {
		r := b.record(a[n].Notification)
		require.Equal(t, state, r.State)
		require.Len(t, r.Attempts, 1)
		if n < 2 {
			continue
		}
		first := r.Attempts[0]
		require.Equal(t, notice.OutcomeUnknown, first.Outcome)
		require.True(t, first.Rescued)
		require.Equal(t, a[n].StartedAt.Add(15*time.Second), first.EndedAt, "D-8")
		require.Equal(t, a[n].StartedAt.Add(25*time.Second), r.NextAttemptAt)
	}
	require.Empty(t, b.settle(notice.OutcomeDelivered, a[2:]...), "too late")
	require.Empty(t, b.settle(notice.OutcomeDelivered, a[2:]...))
	require.Equal(t, 2, one[int](b, "SELECT count(*) FROM entry WHERE kind = 'late-result'"), "kept once each")
	require.Equal(t, 1, b.unsettled())
	b.settle(notice.OutcomeDelivered, other...)

	b.dueNow()
	second := b.claim("itp", 10, 0)
	require.Len(t, second, 3)
	for _, s := range second {
		require.Equal(t, 2, s.Number)
	}
}

func TestManyFlightsAreRescuedAtOnce(t *testing.T) {
	b := newFlights(t)
	for n := range 20 {
		b.fly(time.Microsecond, fmt.Sprint("p", n), fmt.Sprint("q", n))
	}
	require.Equal(t, 40, b.rescue())
	require.Zero(t, one[int](b, "SELECT count(*) FROM flight"))
	require.Equal(t, 40, one[int](b, "SELECT count(*) FROM queue WHERE attempts = 1 AND token IS NULL"))
}

// TestASettlementThatWaitedForARescueIsLate, and a rescue leaves a flight that is being settled.
func TestASettlementThatWaitedForARescueIsLate(t *testing.T) {
	b := newFlights(t)
	a := b.fly(time.Microsecond, "p1")
	hold := b.holder("SELECT FROM flight FOR UPDATE")
	require.Zero(t, b.rescue(), "somebody is at it")
	var settled sync.WaitGroup
	settled.Go(func() {
		lanes, err := b.try(notice.OutcomeDelivered, a...)
		require.NoError(t, err)
		require.Empty(t, lanes)
	})
	b.blocked(1)
	_, err := hold.Exec(t.Context(), "DELETE FROM flight")
	require.NoError(t, err)
	require.NoError(t, hold.Commit(t.Context()))
	settled.Wait()
	require.Equal(t, 1, b.entries("late-result", "p1"))
	require.Zero(t, b.entries("result", "p1"))
}

// TestAFlightWhoseCountIsWrongIsRescued as the history says: it counts too many, too few, or some where none is left.
func TestAFlightWhoseCountIsWrongIsRescued(t *testing.T) {
	b := newFlights(t)
	b.fly(time.Microsecond, "many")
	b.do("UPDATE flight SET unsettled = 2")
	over := b.fly(time.Microsecond, "over")
	b.do("UPDATE flight SET unsettled = 2 WHERE unsettled = 1")
	b.settle(notice.OutcomeDelivered, over...)
	b.fly(time.Microsecond, "few", "fewer")
	b.do("UPDATE flight SET unsettled = 1 WHERE xid = (SELECT max(xid) FROM flight)")
	require.Equal(t, 4, b.unsettled())
	require.Equal(t, 3, b.rescue())
	require.Zero(t, one[int](b, "SELECT count(*) FROM flight"))
	for _, resource := range []string{"many", "over", "few", "fewer"} {
		require.Equal(t, 1, b.entries("result", resource), resource)
	}
	require.Equal(t, 3, one[int](b, "SELECT count(*) FROM queue WHERE attempts = 1"))
}

// TestFlightsWhoseCountIsWrongHideNoOther: they are more than one transaction rescues, and their leases ran out first.
func TestFlightsWhoseCountIsWrongHideNoOther(t *testing.T) {
	b := newFlights(t)
	for range 10 {
		b.do("INSERT INTO flight (id, lease_until, unsettled) VALUES (gen_random_uuid(), now() - interval '1 second', 1)")
	}
	b.fly(time.Microsecond, "last")
	require.Equal(t, 1, b.rescue())
	require.Equal(t, 1, b.entries("result", "last"))
	require.Zero(t, one[int](b, "SELECT count(*) FROM flight"))
}

func TestAFailureOfAFlightIsNotFollowedWhenItsRegistrationEnded(t *testing.T) {
	for name, end := range map[string]func(*bench, []notice.Attempt){
		"settled": func(b *bench, a []notice.Attempt) { require.Empty(b.t, b.settle(notice.OutcomeRefused, a...)) },
		"rescued": func(b *bench, _ []notice.Attempt) { require.Equal(b.t, 1, b.rescue()) },
	} {
		t.Run(name, func(t *testing.T) {
			b := newFlights(t)
			a := b.fly(time.Microsecond, "p1")
			b.register("itp")
			b.register("itp", "https://itp.example/hook") // another period
			n, err := b.store.CancelEnded(t.Context(), 100)
			require.NoError(t, err)
			require.Zero(t, n, "it ends by itself")
			require.Equal(t, notice.Pending, b.record(a[0].Notification).State)
			end(b, a)
			require.Equal(t, notice.Cancelled, b.record(a[0].Notification).State)
			require.Zero(t, one[int](b, "SELECT count(*) FROM queue"))
			require.Zero(t, one[int](b, "SELECT count(*) FROM flight"))
			_, err = b.log.Resend(t.Context(), a[0].Notification, "ana", "test")
			require.NoError(t, err)
		})
	}
}

// TestWhatIsInAFlightIsPending: in lists, in single reads, and for a reconciliation.
func TestWhatIsInAFlightIsPending(t *testing.T) {
	b := newFlights(t)
	a := b.fly(20*time.Second, "p1", "p2", "p3")
	b.settle(notice.OutcomeDelivered, a[0])
	b.settle(notice.OutcomeRefused, a[1])
	list := func(f history.Filter) (ids []notice.ID) {
		f.State, f.Limit = notice.Pending, 10
		got, _, err := b.log.Notifications(t.Context(), f)
		require.NoError(t, err)
		for _, r := range got {
			ids = append(ids, r.ID)
			require.Equal(t, r.ID == a[2].Notification, r.NextAttemptAt.IsZero(), "of what is in flight nothing is due")
		}
		return ids
	}
	require.ElementsMatch(t, []notice.ID{a[1].Notification, a[2].Notification}, list(history.Filter{}))
	require.Equal(t, []notice.ID{a[2].Notification}, list(history.Filter{ResourceID: "p3"}))
	require.Equal(t, []notice.ID{a[2].Notification}, list(history.Filter{Interaction: a[2].Interaction, Client: "itp", Kind: ofb.PixPayment}))
	require.Empty(t, list(history.Filter{Client: "other"}))
	_, err := b.log.Resend(t.Context(), a[2].Notification, "ana", "test")
	require.ErrorIs(t, err, store.ErrNotOver)

	for client, n := range map[notice.ClientID]int64{"": 1, "itp": 1, "other": 0} {
		q, err := b.log.Queue(t.Context(), client)
		require.NoError(t, err)
		require.Equal(t, n, q.InFlight, client)
	}

	chains := func() []history.Finding {
		_, found := inspect(t, b.log.Inspector(), time.Time{}, soon())
		var of []history.Finding
		for _, d := range found {
			if d.Notification == a[2].Notification && d.What != history.RevisionDiffers { // the bench stores no real documents
				of = append(of, d.What)
			}
		}
		return of
	}
	require.Empty(t, chains())
	b.do("UPDATE flight SET lease_until = lease_until - interval '2 hours'")
	require.Equal(t, []history.Finding{history.ChainOverdue}, chains())
	b.do("DELETE FROM flight")
	require.ElementsMatch(t, []history.Finding{history.AttemptWithoutResult, history.ChainForgotten}, chains())
}

// TestWhatFlightsReadIsByIndex looks at the plans of the statements that a flight adds, as the dispatch pool makes them.
func TestWhatFlightsReadIsByIndex(t *testing.T) {
	b := newFlights(t)
	conn, err := pgx.Connect(t.Context(), b.url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	do := func(text string) {
		_, err := conn.Exec(t.Context(), text)
		require.NoError(t, err, text)
	}
	for name, value := range store.HotSession {
		do("SET " + name + " = " + value)
	}
	do("SET search_path = arauto")
	do("PREPARE flights (uuid[]) AS " + store.LockFlights)
	do("PREPARE late (int, bigint) AS " + store.LockLost)
	do("PREPARE lost (bigint[], timestamptz, timestamptz, interval) AS " + store.FindLost)
	do("PREPARE settle (uuid[], uuid[], text[], boolean[], bigint[], bigint[], text[], text[], smallint[], text[], smallint[], text[], uuid[], timestamptz[], boolean[], uuid[]) AS " + store.SettleSQL)
	for _, c := range []struct{ set, execute, index string }{
		{"SELECT", "flights (NULL)", "Index Scan using flight_pkey"},
		{"SELECT", "late (8, 1)", "Index Scan using flight_lease"},
		{store.PlanFindLost, "lost ('{1,2}', now(), now(), '15 s')", "notification_id_idx"},
		{store.PlanFindLost, "lost ('{1,2}', now(), now(), '15 s')", "Index Cond: (xid = ANY"},
		{"SELECT", "settle ('{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}')", "Index Cond: (notification_id = ANY"},
	} {
		do("BEGIN")
		do(c.set)
		rows, err := conn.Query(t.Context(), "EXPLAIN EXECUTE "+c.execute)
		require.NoError(t, err)
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err)
		plan := strings.Join(lines, "\n")
		require.Contains(t, plan, c.index)
		require.NotContains(t, plan, "Seq Scan")
		require.NotContains(t, plan, "Materialize")
		do("ROLLBACK")
	}
}
