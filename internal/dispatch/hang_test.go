package dispatch

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/notice"
)

// TestInitiatorsThatHangAreNoOverload are the cases of found.md F1 and F12: some initiators hang and have much traffic,
// one answers. It is told in time, and intake is never slowed, whatever limits the others.
func TestInitiatorsThatHangAreNoOverload(t *testing.T) {
	for _, c := range []struct {
		name       string
		slots      int
		hang       int
		dead, well time.Duration // between the events of each that hangs, and of the one that answers
	}{
		{"one at 40/s", 4096, 1, 25 * time.Millisecond, 20 * time.Millisecond},
		{"one at 200/s, the other at 1/s", 4096, 1, 5 * time.Millisecond, time.Second},
		{"one at 40/s, 256 slots", 256, 1, 25 * time.Millisecond, 200 * time.Millisecond},
		{"one at 40/s, 1024 slots", 1024, 1, 25 * time.Millisecond, time.Second},
		{"eight at 40/s", 4096, 8, 25 * time.Millisecond, 20 * time.Millisecond},
		{"twelve at 40/s", 4096, 12, 25 * time.Millisecond, 20 * time.Millisecond},
		{"five at 12/s, 256 slots", 256, 5, 83 * time.Millisecond, 17 * time.Millisecond},
		{"ten at 12/s, 26 slots", 26, 10, 83 * time.Millisecond, 17 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, func(a notice.Attempt) answer {
					if strings.HasPrefix(string(a.Client), "dead") {
						return hanging
					}
					return accepted
				})
				r := w.start(Config{Slots: c.slots})
				pass(time.Second)
				begin := w.queue.now()
				for i := range c.hang {
					go every(c.dead, 45*time.Second, func() { w.event(notice.ClientID(fmt.Sprint("dead-", i))) })
				}
				go every(c.well, 45*time.Second, func() { w.event("well") })
				var most time.Duration
				every(10*time.Millisecond, 46*time.Second, func() { most = max(most, r.Behind()) })
				require.InDelta(t, 1, w.punctual(func(client notice.ClientID) bool { return client == "well" }, begin), 0)
				require.Less(t, most, notice.FirstWithin/6, "intake would be slowed")
				r.stop()
				require.NoError(t, <-r.done)
			})
		})
	}
}

// A lane that must wait says whose fault it is: of a receiver that hangs, or of too few slots.
func TestALaneThatWaitsSaysWhy(t *testing.T) {
	for _, c := range []struct {
		name  string
		takes answer
		want  notice.Delay
	}{
		{"its receiver hangs", hanging, notice.DelayReceiver},
		{"slots are few", answer{2 * time.Second, notice.OutcomeDelivered}, notice.DelaySlots},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, always(c.takes))
				r := w.start(Config{Slots: 20})
				pass(time.Second)
				every(20*time.Millisecond, 40*time.Second, func() { w.event("itp") })
				var longest notice.ClaimRequest
				w.look(func() {
					for _, claim := range w.queue.wants {
						for _, one := range claim {
							if one.HeldFor > longest.HeldFor {
								longest = one
							}
						}
					}
				})
				require.Equal(t, c.want, longest.Held)
				require.Greater(t, longest.HeldFor, 5*time.Second)
				r.stop()
				require.NoError(t, <-r.done)
			})
		})
	}
}

// What is late because a slot was not free says nothing about the database.
func TestOnlyTheDatabaseAndTheProcessorAreOverload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, always(answer{time.Second, notice.OutcomeDelivered}))
		r := w.start(Config{Slots: 16})
		pass(time.Second)
		var most time.Duration
		go every(10*time.Millisecond, 20*time.Second, func() { w.event("itp") }) // six times what the slots can carry
		every(10*time.Millisecond, 20*time.Second, func() { most = max(most, r.Behind()) })
		require.Less(t, most, notice.FirstWithin/6)

		w.queue.setLag(2 * time.Second)
		pass(10 * time.Second)
		require.Greater(t, r.Behind(), notice.FirstWithin/2, "claims take 2 s")
		w.queue.setLag(3 * time.Millisecond)
		pass(5 * time.Second)
		require.Less(t, r.Behind(), notice.FirstWithin/6, "it is over")
		r.stop()
		require.NoError(t, <-r.done)
	})
}

// An initiator that hung and answers again has all its slots, and what waited is sent.
func TestALaneThatAnswersAgainCatchesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		w := newWorld(t, func(a notice.Attempt) answer {
			if a.Client == "dead" && time.Since(begin) < 30*time.Second {
				return hanging
			}
			return accepted
		})
		w.start(Config{Slots: 64})
		pass(time.Second)
		go every(50*time.Millisecond, 60*time.Second, func() { w.event("well") })
		every(25*time.Millisecond, 60*time.Second, func() { w.event("dead") })
		pass(2 * time.Minute)
		w.end()
		require.True(t, w.queue.settled())
		require.InDelta(t, 1, w.punctual(func(client notice.ClientID) bool { return client == "well" }, time.Time{}), 0)
		require.InDelta(t, 1, w.punctual(func(notice.ClientID) bool { return true }, w.queue.now().Add(-140*time.Second)), 0, "15 s after it answers again everything is in time")
	})
}
