package main

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/stage"
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
	for range kills {
		pause(t, 200*time.Millisecond+time.Duration(rand.Int64N(int64(time.Second))))
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
