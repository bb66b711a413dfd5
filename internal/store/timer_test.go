package store_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

// timed is a consent that was created so long ago.
func timed(id string, revision int, status string, age time.Duration) change {
	c := consent(id, revision, status)
	at := time.Now().Add(-age).UTC().Truncate(time.Second)
	c.OccurredAt = at
	c.Data["creationDateTime"], c.Data["statusUpdateDateTime"] = at.Format(time.RFC3339), at.Format(time.RFC3339)
	return c
}

// runTimers runs the timers of replicas until as many have fired as expected, then a little longer, and tells how many did.
func runTimers(t *testing.T, expected int64, replicas ...*world) int64 {
	t.Helper()
	var fired atomic.Int64
	ctx, stop := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for _, r := range replicas {
		all.Go(func() { r.intake.RunTimers(ctx, r.store, func(n int) { fired.Add(int64(n)) }) })
	}
	require.Eventually(t, func() bool { return fired.Load() >= expected }, time.Minute, 10*time.Millisecond)
	extra := time.NewTimer(time.Second) // some looks more: none may find anything
	<-extra.C
	stop()
	all.Wait()
	return fired.Load()
}

func TestATimerFiresOnceThoughReplicasRace(t *testing.T) {
	t.Parallel()
	b := newBench(t, ofb.PaymentConsent)
	b.register("itp", "https://itp.example/hook")
	const consents = 150
	for n := range consents {
		require.Equal(t, notice.Applied, b.accept(timed(fmt.Sprint(n), 1, "AWAITING_AUTHORISATION", 10*time.Minute)).Verdict)
	}
	b.accept(timed("young", 1, "AWAITING_AUTHORISATION", time.Minute))
	require.EqualValues(t, consents, runTimers(t, consents, b.world, replicaOf(t, b.url, ofb.PaymentConsent), replicaOf(t, b.url, ofb.PaymentConsent)))

	require.Equal(t, consents, one[int](b, "SELECT count(*) FROM resource WHERE status = 'REJECTED'"))
	require.Equal(t, consents, one[int](b, "SELECT count(*) FROM entry WHERE facts->>'cause' = 'timer'"))
	require.Equal(t, consents, one[int](b, "SELECT count(DISTINCT resource_id) FROM entry WHERE facts->>'cause' = 'timer' AND revision IS NULL AND notification_id IS NOT NULL"))
	require.Equal(t, consents, one[int](b, "SELECT count(*) FROM queue"))
	require.Equal(t, 1, one[int](b, "SELECT count(*) FROM timer"), "the young one's is left")
	got := b.claim("itp", 1, 0)
	require.Len(t, got, 1)
	require.Zero(t, b.record(got[0].Notification).Revision)
}

func TestTheCoresWordFromBeforeTheDeadlineOverrulesTheTimer(t *testing.T) {
	t.Parallel()
	b := newBench(t, ofb.PaymentConsent)
	b.register("itp", "https://itp.example/hook")
	first := timed("c", 1, "AWAITING_AUTHORISATION", 10*time.Minute)
	b.accept(first)
	require.EqualValues(t, 1, runTimers(t, 1, b.world))
	require.Equal(t, "REJECTED", one[string](b, "SELECT status FROM resource"))

	word := timed("c", 2, "CONSUMED", 0)
	word.OccurredAt = first.OccurredAt.Add(5*time.Minute - time.Second) // the deadline is 5 min after creation: a second later
	a := b.accept(word)
	require.Equal(t, notice.Applied, a.Verdict)
	require.Len(t, a.Notifications, 1)
	require.Equal(t, "CONSUMED", one[string](b, "SELECT status FROM resource"))
	require.Equal(t, 1, one[int](b, "SELECT count(*) FROM entry WHERE facts->>'overruledTimer' IS NOT NULL"))
	require.Len(t, b.claim("itp", 10, 0), 2)
	require.Equal(t, notice.Duplicate, b.accept(word).Verdict)
}

func TestACoresWordAtTheVeryDeadlineStillWins(t *testing.T) {
	t.Parallel()
	b := newBench(t, ofb.PaymentConsent)
	b.register("itp", "https://itp.example/hook")
	first := timed("c", 1, "AWAITING_AUTHORISATION", 10*time.Minute)
	b.accept(first)
	require.EqualValues(t, 1, runTimers(t, 1, b.world))
	word := timed("c", 2, "CONSUMED", 0)
	word.OccurredAt = first.OccurredAt.Add(5 * time.Minute)
	require.Equal(t, notice.Applied, b.accept(word).Verdict)
}

func TestACoresLaterWordThatTheTimerMadeIllegalIsQuarantined(t *testing.T) {
	t.Parallel()
	b := newBench(t, ofb.PaymentConsent)
	b.register("itp", "https://itp.example/hook")
	b.accept(timed("c", 1, "AWAITING_AUTHORISATION", 10*time.Minute))
	require.EqualValues(t, 1, runTimers(t, 1, b.world))
	a := b.accept(timed("c", 2, "CONSUMED", time.Minute))
	require.Equal(t, notice.Quarantined, a.Verdict)
	require.Equal(t, "illegal-transition", a.Problems[0].Code)
	require.Equal(t, "REJECTED", one[string](b, "SELECT status FROM resource"))
	require.Len(t, b.claim("itp", 10, 0), 1)
}

func TestAKindWithoutTimersIsLeftToTheCore(t *testing.T) {
	t.Parallel()
	b := newBench(t, ofb.Enrollment)
	b.register("itp", "https://itp.example/hook")
	b.accept(timed("c", 1, "AWAITING_AUTHORISATION", 10*time.Minute))
	require.Zero(t, runTimers(t, 0, b.world))
	require.Equal(t, "AWAITING_AUTHORISATION", one[string](b, "SELECT status FROM resource"))
}
