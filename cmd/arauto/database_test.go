package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/stage"
	"github.com/arauto/arauto/internal/ofb"
)

// probe hands in one change and tells the status of the answer and how long it took.
func (h *house) probe(id string) (status int, took time.Duration, err error) {
	ctx, cancel := context.WithTimeout(h.t.Context(), time.Minute)
	defer cancel()
	c := payment("good", id, 1, ofb.PDNG)
	began := time.Now()
	a, err := h.core.Load().Change(ctx, c)
	took = time.Since(began)
	if err := h.ledger.Note(c, a, err); err != nil {
		return 0, took, err
	}
	var refusal *stage.Refusal
	switch {
	case err == nil:
		return http.StatusOK, took, nil
	case errors.As(err, &refusal):
		return refusal.Status, took, nil
	}
	return 0, took, err
}

// untilStored probes until a change is stored and tells how long that took.
func (h *house) untilStored(name string) time.Duration {
	h.t.Helper()
	began := time.Now()
	for n := 0; ; n++ {
		status, _, err := h.probe(fmt.Sprintf("%s-%d", name, n))
		require.NoError(h.t, err)
		if status == http.StatusOK {
			return time.Since(began)
		}
		require.Equal(h.t, http.StatusServiceUnavailable, status)
		require.Less(h.t, time.Since(began), 30*time.Second, "the gateway does not come back")
	}
}

// refusedMeanwhile probes once while the database is away: 503, and soon.
func (h *house) refusedMeanwhile(name string) {
	h.t.Helper()
	status, took, err := h.probe(name)
	require.NoError(h.t, err)
	require.Equal(h.t, http.StatusServiceUnavailable, status)
	require.Less(h.t, took, 3500*time.Millisecond, "a change that cannot be stored is refused within 3 s")
}

// TestADatabaseThatDiesUnderLoadCostsNothingThatWasAcknowledged is cases F1, F2 and F5 one after another, on one gateway
// that is never restarted.
func TestADatabaseThatDiesUnderLoadCostsNothingThatWasAcknowledged(t *testing.T) {
	t.Parallel()
	h := open(t, stage.Options{Durable: true})
	stop := h.feed("database", 150*time.Millisecond)
	defer stop()
	times := 3
	if long() {
		times = 10
	}
	pid := h.replica.Pid()
	for n := range times {
		pause(t, 500*time.Millisecond)
		require.NoError(t, h.Server.Kill())
		h.refusedMeanwhile(fmt.Sprintf("away-%d", n))
		require.NoError(t, h.Server.Restart(t.Context()))
		back := h.untilStored(fmt.Sprintf("back-%d", n))
		t.Logf("first commit %s after PostgreSQL was ready", back.Round(time.Millisecond))
		require.Less(t, back, 5*time.Second)
	}
	for n := range 5 {
		pause(t, 300*time.Millisecond)
		h.terminateAll()
		back := h.untilStored(fmt.Sprintf("refilled-%d", n))
		t.Logf("first commit %s after all sessions were ended", back.Round(time.Millisecond))
		require.Less(t, back, 2*time.Second)
	}
	frozen := 5 * time.Second
	if long() {
		frozen = 30 * time.Second
	}
	thaw, err := h.FreezeServer()
	if errors.Is(err, os.ErrNotExist) {
		t.Skip(err)
	}
	require.NoError(t, err)
	defer thaw()
	for began, n := time.Now(), 0; time.Since(began) < frozen; n++ {
		h.refusedMeanwhile(fmt.Sprintf("frozen-%d", n))
	}
	thaw()
	back := h.untilStored("thawed")
	t.Logf("first commit %s after PostgreSQL went on", back.Round(time.Millisecond))
	require.Less(t, back, 5*time.Second)
	stop()
	h.reconcile()
	select {
	case <-h.replica.Exited():
		t.Fatal("the gateway ended")
	default:
	}
	require.Equal(t, pid, h.replica.Pid())
}

// terminateAll ends every session but the one that does it.
func (h *house) terminateAll() {
	h.t.Helper()
	conn, err := pgx.Connect(h.t.Context(), h.Database)
	require.NoError(h.t, err)
	defer conn.Close(context.Background())
	tag, err := conn.Exec(h.t.Context(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
	require.NoError(h.t, err)
	require.Positive(h.t, tag.RowsAffected())
}
