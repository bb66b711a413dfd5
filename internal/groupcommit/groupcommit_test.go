package groupcommit_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/groupcommit"
)

func TestWhatWaitsLingersOnlyWhileOtherCommitsRunAndTheBatchIsNotFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rule := groupcommit.Rule{MaxBatch: 3, Linger: 2 * time.Millisecond}
		since := time.Now().Add(-500 * time.Microsecond)
		for want, got := range map[time.Duration][]time.Duration{
			0:                       {rule.Wait(1, 0, since, false), rule.Wait(3, 1, since, false), rule.Wait(4, 1, since, false), rule.Wait(1, 1, since, true)},
			1500 * time.Microsecond: {rule.Wait(1, 1, since, false), rule.Wait(2, 4, since, false)},
		} {
			for _, wait := range got {
				require.Equal(t, want, wait)
			}
		}
		require.Negative(t, rule.Wait(1, 1, since.Add(-2*time.Millisecond), false), "it has lingered")
	})
}

func TestNextAsksAgainAfterASignalATimeAndTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		wake := make(groupcommit.Wake, 1)
		began := time.Now()
		var asked []time.Duration
		var endings []bool
		turn := func(ending bool) (batch []int, wait time.Duration, last bool) {
			asked, endings = append(asked, time.Since(began)), append(endings, ending)
			switch len(asked) {
			case 1:
				return nil, 5 * time.Millisecond, false // the time passes
			case 2:
				return nil, 0, false // a signal comes
			case 3:
				return nil, time.Hour, false // the context ends
			case 4:
				return nil, 0, false // the end is told once, then only signals count
			}
			return []int{7}, 0, false
		}
		time.AfterFunc(8*time.Millisecond, wake.Signal)
		time.AfterFunc(20*time.Millisecond, cancel)
		time.AfterFunc(30*time.Millisecond, wake.Signal)
		require.Equal(t, []int{7}, groupcommit.Next(ctx, wake, turn))
		ms := time.Millisecond
		require.Equal(t, []time.Duration{0, 5 * ms, 8 * ms, 20 * ms, 30 * ms}, asked)
		require.Equal(t, []bool{false, false, false, true, true}, endings)
	})
}

func TestNextEndsWhenNothingIsLeft(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.Nil(t, groupcommit.Next(ctx, make(groupcommit.Wake, 1), func(ending bool) ([]int, time.Duration, bool) { return nil, 0, ending }))
}
