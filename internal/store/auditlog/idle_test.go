package auditlog

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestInstantsThatAreKnownHideNoIdlePeriod compares with all instants, in any order, and has no gap too many that is longer than
// idleAfter by two tenths of a second.
func TestInstantsThatAreKnownHideNoIdlePeriod(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	base := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	answers := map[bool]int{}
	for range 3000 {
		var known instants
		all := make([]time.Time, 1+r.IntN(40))
		for n := range all {
			all[n] = base.Add(time.Duration(r.Int64N(int64(6 * time.Second)))).Truncate(time.Microsecond)
			known.add(all[n])
		}
		slices.SortFunc(all, time.Time.Compare)
		from := base.Add(time.Duration(r.Int64N(int64(3 * time.Second))))
		to := from.Add(time.Duration(r.Int64N(int64(3 * time.Second))))
		last, longest := from, time.Duration(0)
		for _, at := range all {
			if at.After(from) && at.Before(to) {
				longest, last = max(longest, at.Sub(last)), at
			}
		}
		longest = max(longest, to.Sub(last))
		none := known.leaveNoGap(from, to)
		answers[none]++
		if none {
			require.Less(t, longest, idleAfter)
		} else {
			require.Greater(t, longest, idleAfter-200*time.Millisecond)
		}
	}
	require.Greater(t, answers[true], 100)
	require.Greater(t, answers[false], 100)
}

func TestInstantsThatAreKnownAreBounded(t *testing.T) {
	var known instants
	at := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	for range instantsMost + 10 {
		at = at.Add(100 * time.Millisecond)
		known.add(at)
	}
	require.Len(t, known.tenths, 10)
	require.True(t, known.leaveNoGap(at.Add(-800*time.Millisecond), at))
	require.False(t, known.leaveNoGap(at.Add(-2*time.Second), at), "what is forgotten is read again")
	require.False(t, (&instants{}).leaveNoGap(at, at.Add(idleAfter)))
}
