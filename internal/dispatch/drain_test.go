package dispatch

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/notice"
)

func TestADrainClaimsNothingAndStoresEverythingUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(a notice.Attempt) answer {
			if a.Notification[15]%3 == 0 {
				return hanging
			}
			return accepted
		})
		w.start(Config{})
		pass(5 * time.Second)
		go every(10*time.Millisecond, time.Minute, func() { w.event("itp") })
		pass(20*time.Second + time.Millisecond)
		w.replicas[0].stop()
		begin := time.Now()
		require.NoError(t, <-w.replicas[0].done)
		require.Less(t, time.Since(begin), 15200*time.Millisecond)
		synctest.Wait()
		require.Zero(t, w.queue.count("claim", begin))
		require.Zero(t, w.queue.count("rescue", begin))
		w.look(func() {
			require.Empty(t, w.queue.leased)
			for _, c := range w.queue.chains {
				for _, e := range c.entries {
					require.NotEqual(t, notice.OutcomeUnknown, e.outcome)
				}
			}
		})
		pass(time.Minute) // wake-ups after the end do no harm
	})
}

func TestAClaimUnderWayAtShutdownIsSentAndStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, always(accepted))
		w.queue.setLag(200 * time.Millisecond)
		w.start(Config{})
		pass(5 * time.Second)
		c := w.event("itp")
		pass(50 * time.Millisecond)
		w.end()
		require.Equal(t, notice.Delivered, c.state)
		require.Len(t, w.farm.posts, 1)
	})
}

func TestADrainWithoutDatabaseEndsInTimeAndSaysWhatIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, hang := range []bool{false, true} {
			w := newWorld(t, always(accepted))
			away := &outage{}
			w.queue.before = func(ctx context.Context, call string) error {
				err := away.fail(ctx, call)
				if err != nil && hang {
					<-ctx.Done()
				}
				return err
			}
			w.start(Config{})
			pass(5 * time.Second)
			for range 7 {
				w.event("itp")
			}
			pass(10 * time.Millisecond)
			away.set(true)
			pass(time.Second)
			w.replicas[0].stop()
			begin := time.Now()
			require.EqualError(t, <-w.replicas[0].done,
				"drain: 7 attempts ended without a stored outcome, 7 of them with an outcome that could not be stored")
			require.InDelta(t, 17.5, time.Since(begin).Seconds(), 0.51)
		}
	})
}

func TestADrainSurvivesAShortOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, always(answer{2 * time.Second, notice.OutcomeRefused}))
		away := &outage{}
		w.queue.before = away.fail
		w.start(Config{})
		pass(5 * time.Second)
		c := w.event("itp")
		pass(time.Second)
		away.set(true)
		w.replicas[0].stop()
		pass(8 * time.Second)
		away.set(false)
		begin := time.Now()
		require.NoError(t, <-w.replicas[0].done)
		require.Less(t, time.Since(begin), 1100*time.Millisecond)
		require.Equal(t, notice.OutcomeRefused, c.entries[0].outcome)
	})
}

// stubborn is a sender that ignores the end of its context for a while.
type stubborn struct{ lasting time.Duration }

func (s stubborn) Send(context.Context, notice.Attempt) (notice.Result, error) {
	<-time.After(s.lasting)
	return notice.Result{Outcome: notice.OutcomeTimeout}, nil
}

func TestAnAttemptThatOutlivesTheDrainIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.startWith(w.queue, stubborn{time.Minute}, Config{}, nil)
		pass(5 * time.Second)
		w.event("itp")
		pass(time.Second)
		w.replicas[0].stop()
		begin := time.Now()
		require.EqualError(t, <-w.replicas[0].done,
			"drain: 1 attempts ended without a stored outcome, 0 of them with an outcome that could not be stored")
		require.LessOrEqual(t, time.Since(begin), 18*time.Second)
		pass(time.Minute) // its goroutine ends when it returns
	})
}

func TestAnAttemptCutOffByTheDrainIsUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, always(hanging))
		w.queue.setLag(4900 * time.Millisecond) // so that the claim answers 4.4 s into the drain
		w.startWith(w.queue, w.farm, Config{Lease: 40 * time.Second}, nil)
		pass(20 * time.Second)
		c := w.event("itp")
		pass(500 * time.Millisecond)
		w.queue.setLag(0)
		w.end()
		require.Len(t, w.farm.posts, 1)
		require.Equal(t, notice.OutcomeUnknown, c.entries[0].outcome)
		require.Contains(t, c.entries[0].detail, "shutting down")
	})
}

func TestStartAndStopAHundredTimesLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // the bubble fails if a goroutine is left
		w := newWorld(t, always(accepted))
		for i := range 100 {
			d := w.start(Config{Slots: 1 + i})
			pass(time.Duration(i) * time.Millisecond)
			d.Wake("itp")
			d.stop()
			require.NoError(t, <-d.done)
			require.EqualError(t, d.Run(t.Context()), "dispatch: Run was called twice", fmt.Sprint(i))
		}
		require.Empty(t, w.farm.posts)
	})
}
