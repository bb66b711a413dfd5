package main

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/arauto/arauto/internal/lab/stage"
	"github.com/arauto/arauto/internal/lab/standin"
	"github.com/arauto/arauto/internal/ofb"
)

// TestAReplicaStoppedPastItsLeaseSendsNothingMoreForWhatItHeld is design "Lease, rescue, doubles": another replica
// settles its attempts as unknown and goes on with the next number; what the first finds when it wakes is kept as late.
func TestAReplicaStoppedPastItsLeaseSendsNothingMoreForWhatItHeld(t *testing.T) {
	t.Parallel()
	h := open(t, stage.Options{})
	first := h.replica
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()

	h.slow.Answer("/held-", standin.Answer{Delay: 1500 * time.Millisecond}, standin.Answer{Delay: 1500 * time.Millisecond},
		standin.Answer{Delay: 1500 * time.Millisecond}, standin.Accept)
	held := make([]string, 3)
	var handing errgroup.Group
	for n := range held { // side by side: the first is answered after 1.5 s, and must be under way when the last is
		handing.Go(func() error {
			c := payment("slow", fmt.Sprintf("held-%d", n), 1, ofb.ACSC)
			a, err := h.core.Load().Change(ctx, c)
			if err == nil {
				held[n] = a.Notifications[0].ID
			}
			return errors.Join(err, h.ledger.Note(c, a, err))
		})
	}
	require.NoError(t, handing.Wait())
	_, err := h.slow.Wait(ctx, 3, standin.For("/held-"))
	require.NoError(t, err)
	require.NoError(t, first.Signal(syscall.SIGSTOP))
	h.start() // the second replica
	for _, id := range held {
		n := h.awaitOutcome(ctx, id)
		require.Equal(t, "unknown", *n.Attempts[0].Outcome)
		require.Equal(t, 2*time.Second, n.Attempts[0].EndedAt.Sub(n.Attempts[0].StartedAt), "startedAt + webhook.timeout (D-8)")
		require.Equal(t, 10*time.Second, n.NextAttemptAt.Sub(*n.Attempts[0].EndedAt))
	}
	require.NoError(t, first.Signal(syscall.SIGCONT))
	require.Equal(t, 3, h.awaitLateResults(ctx, 3))
	for _, id := range held {
		n, err := h.core.Load().WaitState(ctx, id)
		require.NoError(t, err)
		require.Equal(t, "delivered", n.State)
		require.Len(t, n.Attempts, 2)
		require.Equal(t, "unknown", *n.Attempts[0].Outcome, "a late result changes nothing")
	}
	h.stopAndGo(first)
	h.reconcile()
}

// stopAndGo stops one of two replicas again and again under load, each time past its lease, at any point of its work.
func (h *house) stopAndGo(r *stage.Replica) {
	h.t.Helper()
	stop := h.feed("two", 50*time.Millisecond)
	defer stop()
	times := 2
	if long() {
		times = 20
	}
	for range times {
		pause(h.t, 500*time.Millisecond)
		require.NoError(h.t, r.Signal(syscall.SIGSTOP))
		pause(h.t, 4*time.Second)
		require.NoError(h.t, r.Signal(syscall.SIGCONT))
	}
}

// awaitOutcome waits until a notification's first attempt has one.
func (h *house) awaitOutcome(ctx context.Context, id string) stage.Notification {
	h.t.Helper()
	for {
		n, err := h.core.Load().Notification(ctx, id)
		require.NoError(h.t, err)
		if len(n.Attempts) > 0 && n.Attempts[0].Outcome != nil {
			return n
		}
		pause(h.t, 100*time.Millisecond)
	}
}

// awaitLateResults waits until n results that came too late are kept.
func (h *house) awaitLateResults(ctx context.Context, n int) (have int) {
	h.t.Helper()
	conn, err := pgx.Connect(ctx, h.Database)
	require.NoError(h.t, err)
	defer conn.Close(context.Background())
	for {
		require.NoError(h.t, conn.QueryRow(ctx, "SELECT count(*) FROM arauto.entry WHERE kind = 'late-result'").Scan(&have))
		if have >= n {
			return have
		}
		pause(h.t, 100*time.Millisecond)
	}
}
