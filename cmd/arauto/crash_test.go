package main

import (
	"context"
	"math/rand/v2"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/stage"
	"github.com/arauto/arauto/internal/lab/standin"
)

// pause waits for a time at which a test means to strike; there is no event to await, that is the point.
func pause(t *testing.T, d time.Duration) {
	t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
	}
}

// TestAGatewayKilledAtRandomLosesAndDoublesNothing is cases E1 and A1.
func TestAGatewayKilledAtRandomLosesAndDoublesNothing(t *testing.T) {
	t.Parallel()
	h := open(t, stage.Options{})
	kills := 10
	if long() {
		kills = 50
	}
	stop := h.feed("crash", 50*time.Millisecond)
	defer stop()
	var slowest time.Duration
	for n := range kills {
		strike := 200*time.Millisecond + time.Duration(rand.Int64N(int64(time.Second)))
		if n%2 == 0 { // an attempt is under way for certain: its receiver has it, and answers later
			_, err := h.slow.Wait(t.Context(), len(h.slow.Requests())+1, nil)
			require.NoError(t, err)
			strike = time.Duration(rand.Int64N(int64(slowly / 2)))
		}
		pause(t, strike)
		h.kill()
		began := time.Now()
		h.start()
		slowest = max(slowest, time.Since(began))
	}
	stop()
	report := h.reconcile()
	t.Logf("%d kills, ready again after %s at most", kills, slowest)
	require.Greater(t, report.Acknowledged, 20*kills/2, "too little load to show anything")
	require.Positive(t, report.UnknownOutcomes, "no kill caught an attempt under way")
}

// connections counts the connections to initiators as the kernel does, also those that are being made.
func (h *house) connections() (n int) {
	h.t.Helper()
	table, err := os.ReadFile("/proc/net/tcp")
	require.NoError(h.t, err)
	ports := map[uint64]bool{}
	for _, i := range []*standin.Initiator{h.good, h.flaky, h.slow} {
		u, err := url.Parse(i.BaseURI(""))
		require.NoError(h.t, err)
		port, err := strconv.ParseUint(u.Port(), 10, 16)
		require.NoError(h.t, err)
		ports[port] = true
	}
	for line := range strings.Lines(string(table)) {
		if f := strings.Fields(line); len(f) > 3 && (f[3] == "01" || f[3] == "02") { // established, or SYN sent
			_, port, _ := strings.Cut(f[2], ":")
			if remote, err := strconv.ParseUint(port, 16, 16); err == nil && ports[remote] {
				n++
			}
		}
	}
	return n
}

// TestAKillUnderFullLoadLeavesLittleUnknown kills the gateway while it does as much as it can. What was recorded and has no
// result then becomes unknown, and is sent again after a time-out and 10 s (docs/decisions/0019). Nothing is lost or doubled,
// and there is no fourth attempt. The long form runs alone on its machine and also holds the number that becomes unknown to
// twice the open connections: beside other work, outcomes wait longer for the database, and their number says nothing.
func TestAKillUnderFullLoadLeavesLittleUnknown(t *testing.T) {
	h := open(t, stage.Options{})
	kills := 2
	if long() {
		kills = 20
	}
	conn, err := pgx.Connect(t.Context(), h.Database)
	require.NoError(t, err)
	defer conn.Close(context.WithoutCancel(t.Context()))
	count := func(query string, args ...any) (n int) {
		require.NoError(t, conn.QueryRow(t.Context(), query, args...).Scan(&n))
		return n
	}
	stop := h.feedSideBySide("load", time.Microsecond, 64)
	defer stop()
	var most, all, made float64
	var since time.Time // all of earlier replicas has a result, or is counted
	for range kills {
		pause(t, 2*time.Second+time.Duration(rand.Int64N(int64(2*time.Second)))) // the load is full
		_, err := h.slow.Wait(t.Context(), len(h.slow.Requests())+1, nil)        // and an attempt is under way
		require.NoError(t, err)
		connections := h.connections()
		h.kill()
		require.Positive(t, connections, "the kernel's table has no connection of an attempt under way")
		for began := time.Now(); count("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'arauto %'") > 0; {
			require.Less(t, time.Since(began), 30*time.Second) // a transaction of the dead goes on until it ends
		}
		const begun = "(a.kind = 'attempt' OR a.kind = 'change' AND a.interaction_id IS NOT NULL) AND a.at >= $1"
		attempts := count("SELECT count(*) FROM arauto.entry a WHERE "+begun, since)
		lost := count(`SELECT count(*) FROM arauto.entry a WHERE `+begun+` AND NOT EXISTS (
			SELECT FROM arauto.entry r WHERE r.notification_id = a.notification_id AND r.number = coalesce(a.number, 1) AND r.kind = 'result')`, since)
		t.Logf("%d attempts made; killed with %d connections open and %d attempts without result", attempts, connections, lost)
		if long() {
			require.LessOrEqual(t, lost, 2*connections)
		}
		most, all, made = max(most, float64(lost)/float64(connections)), all+float64(lost), made+float64(attempts)
		require.NoError(t, conn.QueryRow(t.Context(), "SELECT now()").Scan(&since))
		h.start()
	}
	stop()
	report := h.reconcile()
	t.Logf("%d kills: %.0f of %.0f attempts became unknown, at most %.2f a connection", kills, all, made, most)
	require.GreaterOrEqual(t, report.UnknownOutcomes, int(all))
	require.Positive(t, report.UnknownOutcomes, "no kill caught an attempt under way")
}
