package store

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestWhatAppearsDuringAFullLookIsNotForgotten: the full look had its snapshot before, and did not see it.
func TestWhatAppearsDuringAFullLookIsNotForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var k looks
		after := func(d time.Duration) time.Time { time.Sleep(d); return time.Now() }
		asked := after(time.Second)
		k.done(asked, after(time.Millisecond), nil)
		require.False(t, k.full(time.Now()))

		asked = after(time.Minute)
		require.True(t, k.full(asked))
		time.Sleep(time.Millisecond)
		k.found("", time.Hour)
		k.done(asked, after(time.Millisecond), nil)
		require.Greater(t, k.usual(time.Now()), time.Hour)
		k.reached(asked)
		require.Greater(t, k.usual(time.Now()), time.Hour, "a look that was asked for before it did not see it either")
		k.reached(after(time.Millisecond))
		require.Less(t, k.usual(time.Now()), time.Minute)

		asked = after(time.Minute)
		time.Sleep(time.Millisecond)
		k.forget()
		k.done(asked, after(time.Millisecond), nil)
		require.True(t, k.full(time.Now()))
		require.Equal(t, everything, k.usual(time.Now()))
	})
}

// TestAFullLookThatFailsLeavesTheBoundOfTheLastOne: it may take longer than a statement may, and would fail again and again.
func TestAFullLookThatFailsLeavesTheBoundOfTheLastOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var k looks
		k.failed(true, time.Now())
		require.True(t, k.full(time.Now()), "there was none")
		k.done(time.Now(), time.Now(), nil)
		k.failed(false, time.Now())
		require.True(t, k.full(time.Now()))
		time.Sleep(5 * time.Second)
		k.failed(true, time.Now())
		require.False(t, k.full(time.Now()))
		require.Equal(t, 5*time.Second+lookBack, k.usual(time.Now()))
		time.Sleep(fullLookEvery)
		require.True(t, k.full(time.Now()))
	})
}
