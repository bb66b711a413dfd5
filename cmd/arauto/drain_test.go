package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/stage"
	"github.com/arauto/arauto/internal/lab/standin"
	"github.com/arauto/arauto/internal/ofb"
)

// drained waits for the end of a replica that was asked to go away and tells how long it took.
func drained(t *testing.T, r *stage.Replica, asked time.Time) time.Duration {
	t.Helper()
	select {
	case <-r.Exited():
	case <-time.After(25 * time.Second):
		t.Fatal("the replica is still there 25 s after SIGTERM")
	}
	return time.Since(asked)
}

// awaitUnready waits until a replica says that it is going away, or is gone.
func awaitUnready(t *testing.T, r *stage.Replica) {
	t.Helper()
	for {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+r.Ops+"/readyz", http.NoBody)
		require.NoError(t, err)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusOK {
			return
		}
	}
}

// TestSIGTERMUnderLoadLosesNothingAndLeavesNoOutcomeUnknown is case R1. A stream that is kept open ends with an answer for
// every line read, and a second SIGTERM changes nothing.
func TestSIGTERMUnderLoadLosesNothingAndLeavesNoOutcomeUnknown(t *testing.T) {
	t.Parallel()
	h := open(t, stage.Options{Settings: unhurried})
	stop := h.feed("drain", 50*time.Millisecond)
	defer stop()
	lines, answers, ended := h.stream()
	_, err := h.slow.Wait(t.Context(), 10, nil)
	require.NoError(t, err)

	asked := time.Now()
	require.NoError(t, h.replica.Signal(syscall.SIGTERM))
	awaitUnready(t, h.replica)
	_ = h.replica.Signal(syscall.SIGTERM)
	took := drained(t, h.replica, asked)
	h.core.Store(nil)
	t.Logf("drained in %s", took.Round(time.Millisecond))
	require.NoError(t, h.replica.Err(), "exit code")
	require.Less(t, took, 20*time.Second)
	require.NoError(t, <-ended, "the stream should have ended as streams end")
	close(lines)
	require.GreaterOrEqual(t, len(answers), 5)

	h.start()
	stop()
	h.streamWasKept(answers)
	report := h.reconcile()
	require.Zero(t, report.UnknownOutcomes, "an attempt under way was cut off")
	require.Greater(t, report.Acknowledged, 20)
}

// stream opens a stream, hands in five lines, gets their answers and leaves the stream open with lines coming now and then.
// answers may be read when ended has spoken.
func (h *house) stream() (lines chan []byte, answers map[string]stage.Accepted, ended chan error) {
	h.t.Helper()
	lines, answers, ended = make(chan []byte, 100), map[string]stage.Accepted{}, make(chan error, 1)
	five := make(chan struct{})
	core := h.core.Load()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(h.t.Context()), time.Minute)
	h.t.Cleanup(cancel)
	go func() {
		n := 0
		ended <- core.Stream(ctx, lines, func(a stage.Accepted) {
			answers[fmt.Sprintf("stream-%d", n)] = a
			if n++; n == 5 {
				close(five)
			}
		})
	}()
	for n := range 5 {
		line, err := payment("good", fmt.Sprintf("stream-%d", n), 1, ofb.ACSC).Line()
		require.NoError(h.t, err)
		lines <- line
	}
	select {
	case <-five:
	case <-ctx.Done():
		h.t.Fatal("a stream that is kept open gets no answers")
	}
	return lines, answers, ended
}

// streamWasKept checks that each line answered is stored as answered.
func (h *house) streamWasKept(answers map[string]stage.Accepted) {
	h.t.Helper()
	for id, a := range answers {
		require.Equal(h.t, "applied", a.Outcome)
		require.Len(h.t, a.Notifications, 1)
		n, err := h.core.Load().Notification(h.t.Context(), a.Notifications[0].ID)
		require.NoError(h.t, err)
		require.Equal(h.t, id, n.ResourceID)
	}
}

// TestSIGTERMWhileTheDatabaseIsAwayEndsInTime is case R3: what is under way is found unknown later, and nothing hangs.
func TestSIGTERMWhileTheDatabaseIsAwayEndsInTime(t *testing.T) {
	t.Parallel()
	h := open(t, stage.Options{Durable: true})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	h.slow.Answer("/away-", standin.Answer{Delay: time.Second})
	c := payment("slow", "away-1", 1, ofb.ACSC)
	a, err := h.core.Load().Change(ctx, c)
	require.NoError(t, err)
	require.NoError(t, h.ledger.Note(c, a, err))
	_, err = h.slow.Wait(ctx, 1, standin.For("/away-"))
	require.NoError(t, err)
	require.NoError(t, h.Server.Kill())
	asked := time.Now()
	require.NoError(t, h.replica.Signal(syscall.SIGTERM))
	took := drained(t, h.replica, asked)
	t.Logf("ended in %s", took.Round(time.Millisecond))
	require.Less(t, took, 20*time.Second)
	require.NoError(t, h.replica.Err(), "exit code")

	require.NoError(t, h.Server.Restart(ctx))
	h.start()
	n, err := h.core.Load().WaitState(ctx, a.Notifications[0].ID)
	require.NoError(t, err)
	require.Equal(t, "delivered", n.State)
	h.reconcile()
}

// TestSIGHUPEndsNothing is what case P5 means for a replica that reads its files by itself: it says so, and an attempt under way ends as
// if nothing had happened.
func TestSIGHUPEndsNothing(t *testing.T) {
	t.Parallel()
	h := open(t, stage.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	a, err := h.core.Load().Change(ctx, payment("slow", "slow-hangup", 1, ofb.ACSC))
	require.NoError(t, err)
	_, err = h.slow.Wait(ctx, 1, nil)
	require.NoError(t, err)
	require.NoError(t, h.replica.Signal(syscall.SIGHUP))
	n, err := h.core.Load().WaitState(ctx, a.Notifications[0].ID)
	require.NoError(t, err)
	require.Equal(t, "delivered", n.State)
	require.Len(t, n.Attempts, 1)
	for said := false; !said; {
		require.NoError(t, ctx.Err(), "the log does not tell of the SIGHUP")
		log, err := os.ReadFile(filepath.Join(h.Dir, h.replica.Name+".log"))
		require.NoError(t, err)
		said = strings.Contains(string(log), "SIGHUP has no effect")
	}
	require.NoError(t, h.replica.Stop(), "exit code")
}
