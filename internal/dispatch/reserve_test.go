package dispatch

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

// accept commits a notification as intake does: with its first attempt, where a slot is free. It tries again while the
// database is away, and when it gives up it begins anew, as a core does. prepare is called before anybody can send.
func (w *world) accept(r *replica, client notice.ClientID, prepare func(*chain)) {
	w.queue.mu.Lock()
	c := &chain{id: w.queue.id(), client: client, occurred: w.queue.now(), state: notice.Pending}
	token, interaction := w.queue.id(), w.queue.id()
	w.queue.mu.Unlock()
	prepare(c)
	for !w.tryAccept(r, c, token, interaction) {
		<-time.After(time.Second)
	}
}

func (w *world) tryAccept(r *replica, c *chain, token, interaction notice.ID) bool {
	m, began := w.queue, time.Now()
	lease, _ := r.Reserve(c.client)
	reserved := lease > 0
	var first notice.Attempt
	record := func() error {
		if _, stored := m.chains[c.id]; stored {
			return nil
		}
		now := m.now()
		q := &row{chain: c, number: 1, due: now}
		m.chains[c.id] = c
		if !reserved {
			m.insert(q)
			return nil
		}
		q.token, q.started, q.lease = token, now, now.Add(lease)
		c.entries = append(c.entries, &entry{number: 1, scheduled: now, started: now, interaction: interaction})
		m.leased[c.id] = q
		first = notice.Attempt{
			Notification: c.id, Token: token, Interaction: interaction, Client: c.client, Kind: ofb.PixPayment, ResourceID: "pay-1", APIVersion: "v5",
			EventAt: c.occurred, Number: 1, BaseURI: "https://itp.example", ScheduledAt: now, StartedAt: now, ClaimedAt: began,
		}
		return nil
	}
	for {
		err := m.statement(context.Background(), "record", record)
		switch {
		case err == nil && reserved && first.Number == 0: // another try of the core had committed it
			r.Release(c.client)
			return true
		case err == nil && reserved:
			r.Start([]notice.Attempt{first})
			return true
		case err == nil:
			r.Wake(c.client)
			return true
		case time.Since(began) > 2500*time.Millisecond:
			if reserved {
				r.Release(c.client)
			}
			return false
		}
		<-time.After(20 * time.Millisecond)
	}
}

func TestAReservedAttemptLeavesWithTheCommitAndCostsNoClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, always(accepted))
		w.start(Config{})
		pass(5 * time.Second)
		begin := time.Now()
		for range 20 {
			w.accept(w.replicas[0], "itp", func(*chain) {})
			pass(100 * time.Millisecond)
		}
		pass(time.Second)
		require.Zero(t, w.queue.count("claim", begin))
		require.True(t, w.queue.settled())
		require.Len(t, w.farm.posts, 20)
		w.checkSchedule(0)
		w.end()
	})
}

func TestNothingIsReservedForWorkThatWouldNotLeaveAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(a notice.Attempt) answer {
			if a.Client == "hangs" {
				return hanging
			}
			return answer{time.Second / 5, notice.OutcomeDelivered}
		})
		reserve := func(r *replica, client notice.ClientID) bool {
			lease, _ := r.Reserve(client)
			return lease > 0
		}
		d, err := New(w.queue, w.farm, Config{}, nil, nil)
		require.NoError(t, err)
		require.False(t, reserve(&replica{Dispatcher: d}, "itp"), "Run has not begun")

		away := &outage{}
		w.queue.before = away.fail
		r := w.start(Config{Slots: 64})
		require.False(t, reserve(r, "itp"), "the database has not answered")
		pass(5 * time.Second)

		w.accept(r, "hangs", func(*chain) {})
		require.False(t, reserve(r, "hangs"), "its receiver does not answer, and it has a slot")
		require.True(t, reserve(r, "itp"))
		require.False(t, reserve(r, "itp"), "nothing is known of its receiver yet")
		r.Release("itp")
		w.accept(r, "itp", func(*chain) {})
		pass(time.Second)
		n := 0
		for reserve(r, "itp") {
			n++
		}
		require.Positive(t, n)
		require.Less(t, n, 64, "some slots are for lanes that hold none")
		require.True(t, reserve(r, "other"))
		for range n {
			r.Release("itp")
		}
		r.Release("other")

		away.set(true)
		pass(time.Second)
		require.False(t, reserve(r, "itp"), "the database is away")
		away.set(false)
		pass(2 * time.Second)
		require.True(t, reserve(r, "itp"))
		r.stop()
		pass(time.Second)
		require.False(t, reserve(r, "itp"), "the drain has begun")
		select {
		case err := <-r.done:
			t.Fatalf("the drain did not wait for the commit: %v", err)
		default:
		}
		r.Release("itp")
		require.NoError(t, <-r.done)
		require.False(t, reserve(r, "itp"), "Run has ended")
	})
}

// TestWhatWaitsForOurCommitsHasRoomOfItsOwn: the receiver of a lane has its room alone, and both together are at most PerLane.
func TestWhatWaitsForOurCommitsHasRoomOfItsOwn(t *testing.T) {
	now := time.Now()
	free := func(inFlight, asked int) bool {
		s, l := newLanes(now), &lane{client: "itp", habit: habit{takes: time.Millisecond}}
		s.book(l, inFlight, asked)
		return s.free(l, allowance{slots: 4096, perLane: 100, now: now})
	}
	require.True(t, free(0, firstRoom-1))
	require.False(t, free(0, firstRoom), "so many wait for commits")
	require.True(t, free(firstRoom-30, firstRoom-1))
	require.False(t, free(firstRoom, 0), "the receiver has so many")
	require.True(t, free(60, 39))
	require.False(t, free(60, 40), "one lane holds at most PerLane")
}

func TestACommitThatIsConfirmedAfterTheDrainIsRescued(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, always(accepted))
		r := w.start(Config{})
		pass(5 * time.Second)
		lease, _ := r.Reserve("itp")
		require.Positive(t, lease)
		r.stop()
		require.ErrorContains(t, <-r.done, "1 first attempts still waited")
		c := w.queue.add("itp", 0, 0)
		got, err := w.queue.Claim(t.Context(), []notice.ClaimRequest{{Client: "itp", Free: 1}}, lease)
		require.NoError(t, err)
		r.Start(got)
		synctest.Wait()
		require.Empty(t, w.farm.posts, "nobody would store its outcome")
		w.start(Config{})
		pass(time.Minute)
		w.look(func() { require.Equal(t, notice.Delivered, c.state) })
	})
}

// TestReservedAttemptsKeepTheSharesOfSlots: with hanging receivers and a burst, all by reservations, each lane that answers
// is told at once.
func TestReservedAttemptsKeepTheSharesOfSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(a notice.Attempt) answer {
			if a.Client[0] == 'd' {
				return hanging
			}
			return accepted
		})
		r := w.start(Config{Slots: 128})
		pass(5 * time.Second)
		for n := range 400 {
			for i := range 5 {
				go w.accept(r, notice.ClientID(fmt.Sprint("dead-", i)), func(*chain) {})
			}
			go w.accept(r, notice.ClientID(fmt.Sprint("quick-", n%3)), func(*chain) {})
			pass(20 * time.Millisecond)
		}
		for !w.queue.settled() {
			pass(time.Minute)
		}
		for _, p := range w.farm.posts {
			if p.Client[0] == 'q' {
				require.Less(t, p.at.Add(w.queue.offset).Sub(w.queue.chains[p.Notification].occurred), notice.FirstWithin)
			}
		}
		w.checkSchedule(2 * time.Hour)
		w.end()
	})
}
