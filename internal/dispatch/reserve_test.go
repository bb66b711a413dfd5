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

// TestWhatWaitsForOurCommitsNeedsLittleRoom: the receiver of a lane has its room alone where slots are many. Earlier work of the lane
// keeps its part, and all together are at most PerLane.
func TestWhatWaitsForOurCommitsNeedsLittleRoom(t *testing.T) {
	now := time.Now()
	lane := func(inFlight, reserved int) (*lanes, *lane) {
		s := newLanes(now)
		l := s.of("itp")
		l.takes = time.Millisecond
		s.classify(l, now)
		s.book(l, inFlight, 0)
		s.reserve(l, reserved)
		return s, l
	}
	many, few, narrow := allowance{slots: 4096, perLane: 512, now: now}, allowance{slots: 256, perLane: 512, now: now}, allowance{slots: 4096, perLane: 100, now: now}
	for _, c := range []struct {
		inFlight, reserved int
		a                  allowance
		free               bool
	}{
		{0, 127, many, true},
		{0, 128, many, false},
		{63, 64, many, true},
		{64, 0, many, false},
		{60, 39, narrow, true},
		{60, 40, narrow, false},
		{0, 19, few, true}, // a lane begins with a sixteenth of few slots
		{0, 20, few, false},
		{15, 4, few, true},
		{16, 4, few, false},
	} {
		s, l := lane(c.inFlight, c.reserved)
		require.Equal(t, c.free, s.free(l, c.a), "%+v", c)
	}

	many.rows, many.lanes = 500, 500
	s, l := lane(47, 64)
	s.due("itp", now, now)
	require.True(t, s.free(l, many))
	s.reserve(l, 1)
	require.False(t, s.free(l, many), "the rest of the room is for what was due before")
	granted := s.share(many)
	require.Len(t, granted, 1)
	require.Equal(t, firstRoom/lateShare, granted[0].free)
	s.book(l, 0, granted[0].free)
	require.Empty(t, s.share(many))
	require.Equal(t, notice.DelaySlots, l.why, "the receiver has not had it yet")
	s.book(l, firstRoom/lateShare+1, -firstRoom/lateShare) // it came
	require.Empty(t, s.share(many))
	require.Equal(t, notice.DelayReceiver, l.why)
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
