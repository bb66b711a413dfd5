package dispatch

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/notice"
)

// punctual is the share of first attempts that started within 1.5 s of their event, of the events since an instant.
func (w *world) punctual(lane func(notice.ClientID) bool, since time.Time) float64 {
	w.queue.mu.Lock()
	defer w.queue.mu.Unlock()
	all, good := 0, 0
	for _, c := range w.queue.chains {
		if !lane(c.client) || c.occurred.Before(since) {
			continue
		}
		all++
		if len(c.entries) > 0 && c.entries[0].started.Sub(c.occurred) <= notice.FirstWithin {
			good++
		}
	}
	require.Positive(w.t, all)
	return float64(good) / float64(all)
}

// A hundred endpoints with 2 events/s each; then 40 hang, one of them with 100 events/s. Those that answer are told in
// time, and with enough slots so is every other that hangs.
func TestLanesThatHangDoNotHurtTheOthers(t *testing.T) {
	for _, test := range []struct {
		slots, perLane int
		lasting        time.Duration // 15 + 10 + 15 + 60 + 15 s make the load of those that hang complete
		hanging        float64       // least punctual share of the 39 others that hang
	}{
		{slots: 4096, perLane: 512, lasting: 140 * time.Second, hanging: 1},
		{slots: 1024, perLane: 1024, lasting: 60 * time.Second, hanging: 0},
		{slots: 256, perLane: 512, lasting: 40 * time.Second, hanging: 0},
	} {
		t.Run(fmt.Sprintf("%d slots, %d per lane", test.slots, test.perLane), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dead := func(c notice.ClientID) bool { return strings.HasPrefix(string(c), "dead") }
				var down atomic.Bool
				w := newWorld(t, func(a notice.Attempt) answer {
					if dead(a.Client) && down.Load() {
						return hanging
					}
					return accepted
				})
				w.start(Config{Slots: test.slots, PerLane: test.perLane})
				pass(time.Second)
				for i := range 100 {
					client := notice.ClientID(fmt.Sprint("well-", i))
					if i < 40 {
						client = notice.ClientID(fmt.Sprint("dead-", i))
					}
					go func() {
						<-time.After(time.Duration(i) * 5 * time.Millisecond)
						every(500*time.Millisecond, test.lasting, func() { w.event(client) })
					}()
				}
				pass(10 * time.Second)
				down.Store(true)
				since := w.queue.now()
				every(10*time.Millisecond, test.lasting-10*time.Second, func() { w.event("dead-0") })
				pass(2 * time.Second)

				well := w.punctual(func(c notice.ClientID) bool { return !dead(c) }, since)
				others := w.punctual(func(c notice.ClientID) bool { return dead(c) && c != "dead-0" }, since)
				busy := w.punctual(func(c notice.ClientID) bool { return c == "dead-0" }, since)
				t.Logf("punctual: %.1f %% of the well, %.1f %% of those that hang, %.1f %% of the busy one", 100*well, 100*others, 100*busy)
				require.InDelta(t, 1, well, 0)
				require.GreaterOrEqual(t, others, test.hanging)
				for _, r := range w.replicas {
					r.stop()
					require.NoError(t, <-r.done)
				}
				if test.slots == 4096 {
					for _, p := range w.farm.posts {
						if p.Client != "dead-0" && p.Number > 1 {
							require.Less(t, p.StartedAt.Sub(p.ScheduledAt), 1500*time.Millisecond)
						}
					}
				}
			})
		})
	}
}

func TestABurstOfOneInitiatorDelaysNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, always(answer{500 * time.Millisecond, notice.OutcomeDelivered}))
		w.start(Config{})
		pass(time.Second)
		begin := w.queue.now()
		go every(100*time.Millisecond, 60*time.Second, func() { w.event("quiet") })
		every(5*time.Millisecond, 10*time.Second, func() {
			for range 10 {
				w.event("busy")
			}
		})
		pass(55 * time.Second)
		w.end()
		w.checkSchedule(0)
		require.True(t, w.queue.settled())
		require.InDelta(t, 1, w.punctual(func(c notice.ClientID) bool { return c == "quiet" }, begin), 0)
		require.Len(t, w.farm.posts, 20000+600)
	})
}

// Late notifications are worked off without making one of the others late, and get their share when slots are short.
func TestABacklogDelaysNoFreshNotification(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, always(answer{time.Second, notice.OutcomeDelivered}))
		for range 3000 {
			w.queue.add("itp", time.Minute, 0)
		}
		w.start(Config{Slots: 64})
		pass(time.Second)
		begin := w.queue.now()
		every(25*time.Millisecond, 2*time.Minute, func() { w.event("itp") })
		pass(2 * time.Minute)
		w.end()
		w.checkSchedule(0)
		require.True(t, w.queue.settled())
		require.InDelta(t, 1, w.punctual(func(notice.ClientID) bool { return true }, begin), 0)
	})
}

func TestTheLateGetOneSlotInFourWhateverTheLoad(t *testing.T) {
	for slots, usable := range map[int]int{1: 1, 3: 2, 64: 56} { // the rest is for lanes that are quick, or hold less
		t.Run(fmt.Sprint(slots, " slots"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, always(answer{time.Second, notice.OutcomeDelivered}))
				for range 3000 {
					w.queue.add("itp", time.Hour, 0)
				}
				w.start(Config{Slots: slots})
				go every(time.Second/time.Duration(2*slots), 2*time.Minute, func() { w.event("itp") })
				pass(100 * time.Second)
				old, all := 0, 0
				w.look(func() {
					all = len(w.farm.posts)
					for _, p := range w.farm.posts {
						if p.StartedAt.Sub(p.EventAt) >= time.Hour {
							old++
						}
					}
				})
				// The first sweep comes before the first fresh event, hence the one turn more.
				require.GreaterOrEqual(t, 4*old, all-4*slots)
				require.LessOrEqual(t, 4*old, all+8*slots)
				require.GreaterOrEqual(t, all, 95*usable)
				pass(time.Minute)
				w.replicas[0].stop()
				require.NoError(t, <-w.replicas[0].done)
			})
		})
	}
}

func TestNoLaneHoldsMoreThanItMay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, always(hanging))
		for range 1000 {
			w.queue.add("itp", 0, 0)
		}
		w.start(Config{PerLane: 100})
		pass(10 * time.Second)
		w.look(func() { require.Len(t, w.farm.posts, 100) })
		w.replicas[0].stop()
		require.NoError(t, <-w.replicas[0].done)
	})
}
