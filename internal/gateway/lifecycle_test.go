package gateway

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lifecycle"
)

// TestAReplicaNamesThePartThatHoldsItsDrain on a whole gateway, and says the same when it is asked again.
func TestAReplicaNamesThePartThatHoldsItsDrain(t *testing.T) {
	h := open(t)
	release := make(chan struct{})
	stuck := lifecycle.Loop("stuck", func() { <-release })
	require.NoError(t, stuck.Start(t.Context()))
	h.g.parts = append(h.g.parts, stuck)
	h.g.drainWithin = lifecycle.CloseWithin + 100*time.Millisecond
	err := h.g.Stop()
	close(release)
	var late *lifecycle.LateError
	require.ErrorAs(t, err, &late)
	require.Contains(t, late.Parts, "stuck")
	require.NotContains(t, late.Parts, "listeners", "what comes after it is released")
	require.Equal(t, err, h.g.Stop())
	require.NotEmpty(t, h.log.lines(`"level":"ERROR"`, "drain incomplete", "stuck"))
}

// TestADrainWithNothingToWaitForLeavesNothingUndone.
func TestADrainWithNothingToWaitForLeavesNothingUndone(t *testing.T) {
	h := open(t)
	require.NoError(t, h.g.Stop())
	require.Empty(t, h.log.lines("drain incomplete"))
}
