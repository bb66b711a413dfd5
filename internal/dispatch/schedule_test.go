package dispatch

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/notice"
)

func TestTheFirstAttemptStartsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, always(accepted))
		w.start(Config{})
		pass(10 * time.Second)
		for i := range 50 {
			c := w.event("itp")
			at := time.Now()
			pass(time.Second + time.Duration(i)*7*time.Millisecond)
			posts := w.farm.of(c.id)
			require.Len(t, posts, 1)
			require.Less(t, posts[0].at.Sub(at), 10*time.Millisecond)
			require.Equal(t, notice.Delivered, c.state)
		}
		w.end()
		w.checkSchedule(0)
	})
}

func TestALostWakeUpCostsASweepAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, always(accepted))
		w.start(Config{})
		pass(time.Second)
		c := w.queue.add("itp", 0, 0)
		at := time.Now()
		pass(time.Second)
		require.Less(t, w.farm.of(c.id)[0].at.Sub(at), 320*time.Millisecond)
		w.end()
	})
}

func TestWorkHeldBackIsSentWhenItFallsDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, known := range []bool{true, false} {
			w := newWorld(t, always(accepted))
			w.start(Config{})
			pass(time.Second)
			c := w.queue.add("itp", 0, 1200*time.Millisecond)
			at := time.Now()
			if known {
				w.replicas[0].WakeIn("itp", 1200*time.Millisecond)
			} else {
				w.replicas[0].Wake("itp")
			}
			pass(3 * time.Second)
			require.InDelta(t, 1.2, w.farm.of(c.id)[0].at.Sub(at).Seconds(), 0.03)
			w.end()
		}
	})
}

func TestEveryGapCountsFromTheFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, always(refused))
		w.start(Config{})
		pass(time.Second)
		var chains []*chain
		for i := range 1000 {
			chains = append(chains, w.event(notice.ClientID(fmt.Sprint("itp-", i%20))))
			pass(10 * time.Millisecond)
		}
		pass(10 * time.Minute)
		w.end()
		w.checkSchedule(100 * time.Millisecond)
		require.Len(t, w.farm.posts, 3000)
		for _, c := range chains {
			require.Equal(t, notice.Exhausted, c.state)
			require.Len(t, c.entries, 3)
			require.False(t, c.entries[0].late)
		}
	})
}

func TestAChainAgainstAHangingReceiverIsClosedIn118Seconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, always(hanging))
		w.start(Config{})
		pass(time.Second)
		begin := w.queue.now()
		var chains []*chain
		for i := range 100 {
			chains = append(chains, w.event(notice.ClientID(fmt.Sprint("itp-", i%7))))
		}
		pass(5 * time.Minute)
		w.end()
		w.checkSchedule(100 * time.Millisecond)
		require.Len(t, w.farm.posts, 300)
		for _, p := range w.farm.posts {
			require.Equal(t, 15*time.Second, p.ended.Sub(p.at))
		}
		for _, c := range chains {
			require.Equal(t, notice.Exhausted, c.state)
			require.LessOrEqual(t, c.closed.Sub(begin), 118*time.Second)
		}
	})
}

func TestSuccessEndsTheChain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(a notice.Attempt) answer {
			if a.Number == 2 && a.Client == "second" || a.Number == 3 {
				return accepted
			}
			return refused
		})
		w.start(Config{})
		pass(time.Second)
		second, third := w.event("second"), w.event("third")
		pass(12 * time.Minute)
		w.end()
		w.checkSchedule(100 * time.Millisecond)
		require.Len(t, w.farm.of(second.id), 2)
		require.Len(t, w.farm.of(third.id), 3)
		require.Equal(t, notice.Delivered, second.state)
		require.Equal(t, notice.Delivered, third.state)
	})
}

func TestALaterNotificationIsNotQueuedBehindAnEarlierRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, always(refused))
		w.start(Config{})
		pass(time.Second)
		w.event("itp")
		pass(30 * time.Second)
		later := w.event("itp")
		at := time.Now()
		pass(5 * time.Minute)
		w.end()
		w.checkSchedule(100 * time.Millisecond)
		require.Less(t, w.farm.of(later.id)[0].at.Sub(at), 10*time.Millisecond)
		require.Len(t, w.farm.posts, 6)
	})
}

func TestAMassFailureKeepsItsGapsAndDelaysNobody(t *testing.T) {
	for _, failing := range []int{2000, 10000} {
		t.Run(fmt.Sprint(failing, " chains"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, func(a notice.Attempt) answer {
					if a.Client == "down" {
						return refused
					}
					return accepted
				})
				w.start(Config{})
				pass(time.Second)
				go every(50*time.Millisecond, 3*time.Minute, func() { w.event("up") })
				every(10*time.Second/time.Duration(failing), 10*time.Second, func() { w.event("down") })
				pass(4 * time.Minute)
				w.end()
				w.checkSchedule(1500 * time.Millisecond)
				require.True(t, w.queue.settled())
				for _, p := range w.farm.posts {
					if p.Number == 1 {
						require.Less(t, p.StartedAt.Sub(p.EventAt), notice.FirstWithin)
					}
				}
			})
		})
	}
}
