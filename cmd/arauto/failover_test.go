package main

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/stage"
	"github.com/arauto/arauto/internal/lab/standin"
	"github.com/arauto/arauto/internal/lab/temppostgres"
)

// TestAFailoverToTheStandbyLosesNothingThatWasAcknowledged is case F3: a synchronous streaming standby stands beside the
// primary, and the URL names both, the standby first. Under load the primary is restarted in an orderly manner, then dies
// permanently; the standby is not written to before it is promoted, and is used from then on, by a gateway that is never
// restarted.
func TestAFailoverToTheStandbyLosesNothingThatWasAcknowledged(t *testing.T) {
	t.Parallel()
	h := open(t, stage.Options{Durable: true, Server: temppostgres.Options{Private: true}})
	standby, err := h.Server.Standby(t.Context(), "second", "wal_retrieve_retry_interval=100ms", "hot_standby_feedback=on")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, standby.Stop()) })
	require.NoError(t, h.Server.Require(t.Context(), "second"))
	h.awaitSynchronous()
	require.NoError(t, h.replica.Stop())
	h.Database = bothHosts(t, standby.URL(databaseOf(t, h.Database)), h.Database)
	h.start()
	for _, i := range []*standin.Initiator{h.flaky, h.slow} {
		i.Answer("/webhook/v1/", standin.Accept) // nobody fails: the test is over when all is told
	}
	stop := h.feed("failover", 50*time.Millisecond)
	defer stop()
	h.awaitPosts(20)

	require.NoError(t, h.Server.Restart(t.Context()))
	t.Logf("stored again %s after an orderly restart", h.untilStored("restarted").Round(time.Millisecond))

	h.awaitSynchronous()
	h.awaitPosts(20)
	require.NoError(t, h.Server.Kill())
	h.refusedMeanwhile("nobody-writes")
	require.Equal(t, http.StatusServiceUnavailable, h.readiness(), "a standby is no primary")
	require.NoError(t, standby.Promote(t.Context()))
	t.Logf("stored again %s after the promotion", h.untilStored("promoted").Round(time.Millisecond))
	h.untilReady()
	h.awaitPosts(20)
	stop()
	h.reconcile()
	select {
	case <-h.replica.Exited():
		t.Fatal("the gateway ended")
	default:
	}
}

// awaitSynchronous waits until a commit waits for the standby: from then on what is answered is on both.
func (h *house) awaitSynchronous() {
	h.t.Helper()
	require.Eventually(h.t, func() bool {
		ctx, cancel := context.WithTimeout(h.t.Context(), patience)
		defer cancel()
		conn, err := pgx.Connect(ctx, h.Server.URL("postgres"))
		if err != nil {
			return false
		}
		defer conn.Close(ctx)
		var n int
		err = conn.QueryRow(ctx, "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync' AND state = 'streaming'").Scan(&n)
		return err == nil && n == 1
	}, patience, 20*time.Millisecond, "the standby does not follow")
}

// awaitPosts waits until the good initiator was told so many times more.
func (h *house) awaitPosts(more int) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	_, err := h.good.Wait(ctx, len(h.good.Requests())+more, nil)
	require.NoError(h.t, err)
}

// readiness is the status of /readyz.
func (h *house) readiness() int {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+h.replica.Ops+"/readyz", nil)
	require.NoError(h.t, err)
	answer, err := http.DefaultTransport.RoundTrip(r)
	require.NoError(h.t, err)
	defer answer.Body.Close()
	return answer.StatusCode
}

func (h *house) untilReady() {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	require.NoError(h.t, h.replica.WaitReady(ctx))
}

// bothHosts is one URL of two servers.
func bothHosts(t *testing.T, first, second string) string {
	t.Helper()
	a, err := url.Parse(first)
	require.NoError(t, err)
	b, err := url.Parse(second)
	require.NoError(t, err)
	a.Host += "," + b.Host
	return a.String()
}

func databaseOf(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	require.NoError(t, err)
	return strings.TrimPrefix(u.Path, "/")
}
