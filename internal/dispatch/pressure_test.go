package dispatch

import (
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/notice"
)

// TestWhoeverHeedsBehindIsInTimeWhateverIsOffered is case A8 in virtual time: more is offered than the slots can carry,
// by one client or by all, and what Behind lets in is told in time, while the slots stay busy.
func TestWhoeverHeedsBehindIsInTimeWhateverIsOffered(t *testing.T) {
	const slots = 16
	slow := answer{200 * time.Millisecond, notice.OutcomeDelivered} // 16 slots carry 80 a second
	for _, times := range []int{2, 3, 10} {
		t.Run(fmt.Sprintf("%d times as much", times), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, always(slow))
				r := w.start(Config{Slots: slots})
				pass(time.Second)
				let, began := 0, w.queue.now()
				offer := func(client notice.ClientID) {
					if r.Behind(client) <= notice.FirstWithin/2 {
						w.queue.add(client, 0, 0)
						r.Wake(client)
						let++
					}
				}
				const during = 10 * time.Second
				for n := range 80 * times * int(during/time.Second) {
					offer([]notice.ClientID{"alfa", "alfa", "beta", "gama"}[n%4]) // alfa brings more than its share
					pass(time.Second / time.Duration(80*times))
				}
				pass(5 * time.Second)
				require.InDelta(t, 1, w.punctual(func(notice.ClientID) bool { return true }, began), 0, "what was let in was told in time")
				require.Greater(t, let, 80*int(during/time.Second)*3/4, "slots were left idle")
				require.Zero(t, r.Behind("alfa"), "service is back")
				w.end()
			})
		})
	}
}

// A client that floods us is told so; the others find room, as their lanes come first.
func TestOneClientsFloodIsNotHeldAgainstAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, always(answer{200 * time.Millisecond, notice.OutcomeDelivered}))
		r := w.start(Config{Slots: 16})
		pass(time.Second)
		var told atomic.Int64
		for n := range 2000 {
			w.queue.add("flood", 0, 0)
			r.Wake("flood")
			if n%100 == 0 && n >= 500 && r.Behind("flood") > notice.FirstWithin/2 {
				told.Add(1)
			}
			pass(time.Millisecond)
		}
		require.Positive(t, told.Load())
		require.Less(t, r.foreseenFor("quiet"), time.Millisecond)
		w.queue.add("quiet", 0, 0)
		r.Wake("quiet")
		pass(300 * time.Millisecond)
		require.InDelta(t, 1, w.punctual(func(c notice.ClientID) bool { return c == "quiet" }, time.Time{}), 0)
		pass(time.Minute)
		w.end()
	})
}

// A burst of one consent's sixty payments on an idle gateway is no overload, however few slots there are.
func TestABurstOnAnIdleGatewayIsNoOverload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, always(accepted))
		r := w.start(Config{Slots: 16})
		pass(time.Minute)
		for range 60 {
			require.LessOrEqual(t, r.Behind("alfa"), notice.FirstWithin/2)
			w.queue.add("alfa", 0, 0)
			r.Wake("alfa")
			pass(time.Millisecond)
		}
		pass(time.Second)
		require.Zero(t, r.Behind("alfa"))
		w.end()
	})
}

// foreseenFor is the part of Behind that is the client's own.
func (d *Dispatcher) foreseenFor(client notice.ClientID) time.Duration {
	if waits := d.foreseen.Load(); waits != nil {
		return (*waits)[client]
	}
	return 0
}
