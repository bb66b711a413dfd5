package metrics

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/alarms"
	"github.com/arauto/arauto/internal/notice"
)

// TestTheShareClaimedWithTheirChangeIsCounted: attempts that begin with their change count, those that are claimed later do not, and
// both are in the delays, so that the two make a share. The counter exists from the start.
func TestTheShareClaimedWithTheirChangeIsCounted(t *testing.T) {
	m := New("test")
	require.Contains(t, alarms.Gather(t, m.Registry).Text, "\narauto_first_attempts_with_change_total 0\n")
	now := time.Now()
	first := notice.Attempt{Number: 1, ClaimedAt: now, BeganAt: now, StartedAt: now, ScheduledAt: now}
	second := first
	second.Number = 2
	m.Started([]notice.Attempt{first, first, first})
	m.Claimed(time.Millisecond, []notice.Attempt{first, second}, nil)
	got := alarms.Gather(t, m.Registry)
	require.Contains(t, got.Text, "\narauto_first_attempts_with_change_total 3\n")
	require.Contains(t, got.Text, "\narauto_first_attempt_delay_seconds_count 4\n")
}
