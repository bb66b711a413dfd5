package store_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/notice"
)

// claimFor claims with a lease of the given length.
func (b *bench) claimFor(client string, lease time.Duration) []notice.Attempt {
	b.t.Helper()
	got, err := b.store.Claim(b.t.Context(), []notice.ClaimRequest{{Client: notice.ClientID(client), Free: 10}}, lease)
	require.NoError(b.t, err)
	return got
}

func (b *bench) rescue() int {
	b.t.Helper()
	n, _, err := b.store.Rescue(b.t.Context(), 100, 15*time.Second)
	require.NoError(b.t, err)
	return n
}

// dueNow makes everything in the queue due.
func (b *bench) dueNow() { b.do("UPDATE queue SET due_at = now() WHERE token IS NULL") }

func TestARescueSchedulesTheNextNumberFromStartedAtPlusTimeoutPlusGap(t *testing.T) {
	b := newBench(t)
	b.register("itp", "https://itp.example/hook")
	id := b.accept(payment("itp", "p1", 1, "ACSC")).Notifications[0]
	require.Zero(t, b.rescue(), "nothing is claimed")
	first := b.claimFor("itp", time.Microsecond)
	require.Len(t, first, 1)
	require.Equal(t, 1, first[0].Number)
	require.Equal(t, 1, b.rescue())
	require.Equal(t, first[0].StartedAt.Add(25*time.Second), one[time.Time](b, "SELECT due_at FROM queue").UTC())
	require.Zero(t, b.rescue(), "a rescue happens once")
	b.dueNow()
	second := b.claimFor("itp", time.Microsecond)
	require.Len(t, second, 1)
	require.Equal(t, 2, second[0].Number)
	require.Equal(t, 1, b.rescue())
	require.Equal(t, second[0].StartedAt.Add(75*time.Second), one[time.Time](b, "SELECT due_at FROM queue").UTC())
	b.dueNow()
	require.Len(t, b.claimFor("itp", time.Microsecond), 1)
	require.Equal(t, 1, b.rescue())
	require.Zero(t, one[int](b, "SELECT count(*) FROM queue"), "the third was the last")
	r := b.record(id)
	require.Equal(t, notice.Exhausted, r.State)
	require.Len(t, r.Attempts, 3)
	for n, a := range r.Attempts {
		require.Equal(t, n+1, a.Number)
		require.Equal(t, notice.OutcomeUnknown, a.Outcome)
		require.Equal(t, a.StartedAt.Add(15*time.Second), a.EndedAt, "D-8")
	}
}

func TestARescueNamesTheClientOfEachNotificationThatItGivesUp(t *testing.T) {
	b := newBench(t)
	for _, client := range []string{"last", "second", "resent"} {
		b.register(client, "https://itp.example/hook")
		b.accept(payment(client, client, 1, "ACSC"))
		require.Len(t, b.claimFor(client, time.Microsecond), 1)
	}
	b.do("UPDATE queue SET attempts = CASE client_id WHEN 'second' THEN 2 WHEN 'resent' THEN 1 ELSE 3 END, manual = client_id = 'resent'")
	n, givenUp, err := b.store.Rescue(t.Context(), 100, 15*time.Second)
	require.NoError(t, err)
	require.Equal(t, 3, n)
	require.Equal(t, []notice.ClientID{"last"}, givenUp, "the second is made again, and a resend gives nothing up")
}

func TestARescueLeavesWhatIsStillLeased(t *testing.T) {
	b := newBench(t)
	b.register("itp", "https://itp.example/hook")
	b.accept(payment("itp", "p1", 1, "ACSC"))
	got := b.claimFor("itp", 20*time.Second)
	require.Zero(t, b.rescue())
	require.Empty(t, b.settle(notice.OutcomeDelivered, got...))
}

func TestASettlementWhoseLeaseIsGoneIsKeptAsLateAndChangesNothing(t *testing.T) {
	b := newBench(t)
	b.register("itp", "https://itp.example/hook")
	id := b.accept(payment("itp", "p1", 1, "ACSC")).Notifications[0]
	first := b.claimFor("itp", time.Microsecond)
	require.Equal(t, 1, b.rescue())
	before := b.record(id)
	for range 3 {
		require.Empty(t, b.settle(notice.OutcomeDelivered, first...))
	}
	require.Equal(t, 1, b.entries("late-result", "p1"), "the same late result is kept once")
	after := b.record(id)
	require.Equal(t, notice.Pending, after.State)
	require.Equal(t, before.NextAttemptAt, after.NextAttemptAt)
	require.Len(t, after.Attempts, 1)
	require.Equal(t, notice.OutcomeUnknown, after.Attempts[0].Outcome)

	b.dueNow()
	second := b.claimFor("itp", 20*time.Second)
	require.Len(t, second, 1)
	require.Equal(t, 2, second[0].Number)
	require.Empty(t, b.settle(notice.OutcomeDelivered, first...), "the second is in flight under a token of its own")
	require.Equal(t, notice.Pending, b.record(id).State)
	b.settle(notice.OutcomeDelivered, second...)
	require.Equal(t, notice.Delivered, b.record(id).State)
}

func TestALateResultInTheBatchOfTheAttemptAfterItIsToldApart(t *testing.T) {
	b := newBench(t)
	b.register("itp", "https://itp.example/hook")
	id := b.accept(payment("itp", "p1", 1, "ACSC")).Notifications[0]
	first := b.claimFor("itp", time.Microsecond)
	require.Equal(t, 1, b.rescue())
	b.dueNow()
	second := b.claimFor("itp", 20*time.Second)
	require.Len(t, second, 1)
	require.Empty(t, b.settle(notice.OutcomeDelivered, first[0], second[0]))
	require.Equal(t, 1, b.entries("late-result", "p1"))
	require.Equal(t, notice.Delivered, b.record(id).State)
	require.Equal(t, "1", one[string](b, "SELECT string_agg(number::text, ',') FROM entry WHERE kind = 'late-result'"))
	require.Equal(t, "2", one[string](b, "SELECT string_agg(number::text, ',') FROM entry WHERE kind = 'result' AND closes = 'delivered'"))
	require.Zero(t, one[int](b, "SELECT count(*) FROM entry WHERE kind = 'late-result' AND closes IS NOT NULL"))
}

// TestALeaseThatRanOutUnnoticedIsStillOurs: a settlement is valid while its token is the current one, whatever the clock
// says.
func TestALeaseThatRanOutUnnoticedIsStillOurs(t *testing.T) {
	b := newBench(t)
	b.register("itp", "https://itp.example/hook")
	id := b.accept(payment("itp", "p1", 1, "ACSC")).Notifications[0]
	b.settle(notice.OutcomeDelivered, b.claimFor("itp", time.Microsecond)...)
	require.Equal(t, notice.Delivered, b.record(id).State)
	require.Zero(t, b.rescue())
	require.Zero(t, b.entries("late-result", "p1"))
}

func TestSettlingTwiceIsHarmless(t *testing.T) {
	for _, outcome := range []notice.Outcome{notice.OutcomeDelivered, notice.OutcomeRefused} {
		t.Run(string(outcome), func(t *testing.T) {
			b := newBench(t)
			b.register("itp", "https://itp.example/hook")
			id := b.accept(payment("itp", "p1", 1, "ACSC")).Notifications[0]
			got := b.claimFor("itp", 20*time.Second)
			b.settle(outcome, got...)
			before := b.record(id)
			b.settle(outcome, got...)
			require.Equal(t, before, b.record(id))
			require.Equal(t, 1, b.entries("result", "p1"))
			require.Zero(t, b.entries("late-result", "p1"))
		})
	}
}

// TestSettlementsOfOneBatchAreAllOrNone cuts a settlement off; the same batch is stored when it is tried again.
func TestSettlementsOfOneBatchAreAllOrNone(t *testing.T) {
	b := newBench(t)
	b.register("itp", "https://itp.example/hook")
	for _, id := range []string{"p1", "p2", "p3"} {
		b.accept(payment("itp", id, 1, "ACSC"))
	}
	got := b.claimFor("itp", 20*time.Second)
	require.Len(t, got, 3)
	b.do(`CREATE FUNCTION refuse_p2() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.kind = 'result' AND NEW.resource_id = 'p2' THEN RAISE 'marked'; END IF; RETURN NEW; END $$`)
	b.do("CREATE TRIGGER refuse_p2 BEFORE INSERT ON entry FOR EACH ROW EXECUTE FUNCTION refuse_p2()")
	var done []notice.Settlement
	for _, a := range got {
		done = append(done, notice.Settlement{Attempt: a, Result: notice.Result{Outcome: notice.OutcomeRefused, EndedAt: time.Now()}})
	}
	_, err := b.store.Settle(t.Context(), done)
	require.ErrorContains(t, err, "marked")
	require.Equal(t, 3, one[int](b, "SELECT count(*) FROM queue WHERE token IS NOT NULL"))
	require.Zero(t, one[int](b, "SELECT count(*) FROM entry WHERE kind = 'result'"))
	b.do("DROP TRIGGER refuse_p2 ON entry")
	lanes, err := b.store.Settle(t.Context(), done)
	require.NoError(t, err)
	require.NotEmpty(t, lanes)
	require.Equal(t, 3, one[int](b, "SELECT count(*) FROM queue WHERE token IS NULL"))
}

func TestThreeAttemptsAreMadeAndNoFourth(t *testing.T) {
	b := newBench(t)
	b.register("itp", "https://itp.example/hook")
	id := b.accept(payment("itp", "p1", 1, "ACSC")).Notifications[0]
	seen := map[notice.ID]bool{}
	for number := 1; number <= 3; number++ {
		got := b.claimFor("itp", 20*time.Second)
		require.Len(t, got, 1)
		require.Equal(t, number, got[0].Number)
		seen[got[0].Interaction] = true
		b.settle(notice.OutcomeRefused, got...)
		b.dueNow()
	}
	require.Len(t, seen, 3, "each attempt has an interaction id of its own")
	require.Empty(t, b.claimFor("itp", 20*time.Second))
	r := b.record(id)
	require.Equal(t, notice.Exhausted, r.State)
	require.Len(t, r.Attempts, 3)
}

func TestAnAttemptInFlightWhenItsRegistrationEndsIsNotFollowed(t *testing.T) {
	b := newBench(t)
	b.register("itp", "https://itp.example/hook")
	id := b.accept(payment("itp", "p1", 1, "ACSC")).Notifications[0]
	got := b.claimFor("itp", 20*time.Second)
	b.register("itp")
	b.register("itp", "https://itp.example/hook") // another period
	require.Empty(t, b.settle(notice.OutcomeRefused, got...))
	r := b.record(id)
	require.Equal(t, notice.Cancelled, r.State)
	require.Equal(t, notice.OutcomeRefused, r.Attempts[0].Outcome, "it ended by itself")
	b.dueNow()
	require.Empty(t, b.claimFor("itp", 20*time.Second))
}

func TestAnAttemptThatSucceedsAfterItsRegistrationEndedIsDelivered(t *testing.T) {
	b := newBench(t)
	b.register("itp", "https://itp.example/hook")
	id := b.accept(payment("itp", "p1", 1, "ACSC")).Notifications[0]
	got := b.claimFor("itp", 20*time.Second)
	require.NoError(t, b.store.DeleteInitiator(context.WithoutCancel(t.Context()), "itp", "test"))
	b.settle(notice.OutcomeDelivered, got...)
	require.Equal(t, notice.Delivered, b.record(id).State)
}
