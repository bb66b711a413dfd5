package dispatch

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestOnlyACallAskedAfterTheLastErrorProvesThatTheDatabaseAnswers(t *testing.T) {
	var k link
	now := time.Now()
	require.True(t, k.worked(now), "at the start, any answer does")
	require.False(t, k.worked(now), "it is no news twice")
	k.broke(now.Add(time.Second))
	require.False(t, k.worked(now.Add(999*time.Millisecond)))
	require.False(t, k.answers)
	require.True(t, k.worked(now.Add(1001*time.Millisecond)))
	require.True(t, k.answers)
}

func TestProbesComeAtDoublingDistancesUpToASecond(t *testing.T) {
	var k link
	now := time.Now()
	for _, want := range []int{5, 10, 20, 40, 80, 160, 320, 640, 1000, 1000, 1000} {
		k.broke(now)
		require.Equal(t, time.Duration(want)*time.Millisecond, k.probeAt().Sub(now))
	}
}

var errAlone = errors.New("it fails")

func TestWhoFailsAloneIsPutAsideWhenOthersSucceedOrItGoesOnTooLong(t *testing.T) {
	now := time.Now()
	var s poison
	s.failedAlone(now, now.Add(-time.Minute), errAlone)
	s.failedAlone(now.Add(2900*time.Millisecond), now.Add(-time.Minute), errAlone)
	require.False(t, s.isolated, "it may still be the database")
	s.failedAlone(now.Add(3*time.Second), now.Add(-time.Minute), errAlone)
	require.True(t, s.isolated)

	s = poison{}
	s.failedAlone(now, now.Add(time.Hour), errAlone)
	require.False(t, s.isolated, "once is not enough")
	for _, want := range []int{1, 2, 4, 5, 5} {
		s.failedAlone(now.Add(time.Millisecond), now.Add(time.Microsecond), errAlone)
		require.True(t, s.isolated)
		require.Equal(t, time.Duration(want)*time.Second, s.until.Sub(now.Add(time.Millisecond)))
	}
}

func TestACallThatFailsIsTriedWithAnEighthDownToOne(t *testing.T) {
	c := newBatchLimit(500)
	for _, want := range []int{62, 7, 1, 1} {
		c.failed(c.size)
		require.Equal(t, want, c.size)
	}
	for _, want := range []int{8, 64, 500, 500} {
		c.worked()
		require.Equal(t, want, c.size)
	}
}

// TestAProbeIsLaterThanTheError: at the instant of the error itself it proves nothing, also where a write that was asked before came back well.
func TestAProbeIsLaterThanTheError(t *testing.T) {
	at := time.Now()
	for _, failures := range []int{0, 1, 2, 9, 100} {
		k := link{answers: true}
		k.broke(at)
		k.failures = failures
		require.False(t, k.worked(at), "asked at the very instant")
		require.False(t, k.answers)
		probe := k.probeAt()
		require.True(t, probe.After(at), failures)
		require.LessOrEqual(t, probe.Sub(at), time.Second)
		require.True(t, k.worked(probe))
		require.True(t, k.answers)
	}
}
