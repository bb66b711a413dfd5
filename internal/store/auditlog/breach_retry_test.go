package auditlog

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestARetryIsLookedAtByWhenItBegan holds the look for late retries to what the clock proof counts: the first byte, and without one the
// handing over.
func TestARetryIsLookedAtByWhenItBegan(t *testing.T) {
	failed := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		claimed          time.Duration // after the failure
		waited, firstOut string        // microseconds
		late             bool
	}{
		"at once":                         {10 * time.Second, "2000", "20000", false},
		"its end is not known":            {10 * time.Second, "", "", false},
		"claimed late":                    {11100 * time.Millisecond, "", "", true},
		"the first byte left late":        {10 * time.Second, "2000", "1200000", true},
		"handed over late":                {10 * time.Second, "1200000", "2000", true},
		"handed over late, no byte left":  {10 * time.Second, "1200000", "", true},
		"claimed early":                   {9 * time.Second, "2000", "20000", true},
		"facts that somebody made a text": {10 * time.Second, "x", "1200000", true},
	} {
		r := startedRetry{place: place{At: failed.Add(c.claimed)}, number: 2, failed: failed.Format(time.RFC3339Nano), waited: c.waited, firstOut: c.firstOut}
		require.Equal(t, c.late, r.late(), name)
	}
}
