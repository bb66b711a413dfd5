package dispatch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/notice"
)

// wire is one replica's way to the queue, which a test may cut or bend.
type wire struct {
	*memory
	outage
	claim  func(want []notice.ClaimRequest) error
	settle func(done []notice.Settlement) error
}

func (q *wire) Claim(ctx context.Context, want []notice.ClaimRequest, lease time.Duration) ([]notice.Attempt, error) {
	if err := q.fail(ctx, "claim"); err != nil {
		return nil, err
	}
	if q.claim != nil {
		if err := q.claim(want); err != nil {
			return nil, errors.Join(err, rest(ctx, 3*time.Millisecond))
		}
	}
	got, err := q.memory.Claim(ctx, want, lease)
	return got, errors.Join(err, q.fail(ctx, "claim"))
}

func (q *wire) Waiting(ctx context.Context) ([]notice.Lane, error) {
	if err := q.fail(ctx, "waiting"); err != nil {
		return nil, err
	}
	return q.memory.Waiting(ctx)
}

func (q *wire) Settle(ctx context.Context, done []notice.Settlement) ([]notice.Lane, error) {
	if err := q.fail(ctx, "settle"); err != nil {
		return nil, err
	}
	if q.settle != nil {
		if err := q.settle(done); err != nil {
			return nil, errors.Join(err, rest(ctx, 3*time.Millisecond))
		}
	}
	return q.memory.Settle(ctx, done)
}

func (q *wire) Rescue(ctx context.Context, limit int, timeout time.Duration) (int, []notice.ClientID, error) {
	if err := q.fail(ctx, "rescue"); err != nil {
		return 0, nil, err
	}
	return q.memory.Rescue(ctx, limit, timeout)
}

func TestAfterAnOutageWhatIsHeldIsSettledBeforeAnythingIsClaimed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(a notice.Attempt) answer {
			if a.Client == "down" {
				return answer{5 * time.Second, notice.OutcomeRefused}
			}
			return accepted
		})
		away := &outage{}
		w.queue.before = away.fail
		w.start(Config{})
		pass(5 * time.Second)
		var down []*chain
		for range 1200 {
			down = append(down, w.event("down"))
		}
		pass(4 * time.Second) // their ends fall into the outage, and so does the end of their lease
		away.set(true)
		pass(60 * time.Second)
		var backlog []*chain
		for i := range 6000 {
			backlog = append(backlog, w.queue.add(notice.ClientID(fmt.Sprint("up-", i%10)), time.Minute, 0))
		}
		away.set(false)
		back := time.Now()
		pass(30 * time.Second)

		claim, settle, rescue := w.queue.first("claim", back), w.queue.first("settle", back), w.queue.first("rescue", back)
		require.Less(t, settle.Sub(back), 1100*time.Millisecond, "the probe")
		require.True(t, settle.Before(claim))
		require.GreaterOrEqual(t, rescue.Sub(back), 3*time.Second)
		w.look(func() {
			for _, c := range down {
				require.False(t, c.entries[0].rescued)
				require.Equal(t, notice.OutcomeRefused, c.entries[0].outcome)
				require.Empty(t, c.strays)
			}
			for _, c := range backlog {
				require.Equal(t, notice.Delivered, c.state)
				require.True(t, c.entries[0].late)
				require.Less(t, c.closed.Sub(c.occurred), 80*time.Second)
			}
		})
		pass(3 * time.Minute)
		w.end()
		require.True(t, w.queue.settled())
		for _, p := range w.farm.posts {
			if p.Client == "down" && p.Number == 3 {
				c := w.queue.chains[p.Notification]
				gap := c.entries[2].started.Sub(c.entries[1].ended)
				require.InDelta(t, 60, gap.Seconds(), 0.1, "gaps after the outage are exact again")
			}
		}
	})
}

// During an outage of the database nothing is asked but a probe, and that ever more rarely.
func TestAnOutageIsProbedGently(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, always(accepted))
		away := &outage{}
		w.queue.before = away.fail
		w.start(Config{})
		pass(5 * time.Second)
		away.set(true)
		begin := time.Now()
		for range 60 {
			w.replicas[0].Wake("itp")
			pass(time.Second)
		}
		require.LessOrEqual(t, w.queue.count("claim", begin), 1)
		require.LessOrEqual(t, w.queue.count("waiting", begin), 80)
		require.LessOrEqual(t, w.queue.count("rescue", begin), 1)
		away.set(false)
		c := w.event("itp")
		at := time.Now()
		pass(2 * time.Second)
		require.Less(t, w.farm.of(c.id)[0].at.Sub(at), 1100*time.Millisecond)
		w.end()
	})
}

func TestADatabaseThatHangsMakesNothingEarlyOrDouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(a notice.Attempt) answer {
			return answer{time.Duration(a.Notification[15]) * 20 * time.Millisecond, notice.OutcomeRefused}
		})
		var frozen chan struct{}
		w.queue.before = func(ctx context.Context, _ string) error {
			w.queue.mu.Lock()
			wait := frozen
			w.queue.mu.Unlock()
			if wait == nil {
				return nil
			}
			select {
			case <-wait:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		w.start(Config{})
		w.start(Config{})
		pass(5 * time.Second)
		every(10*time.Millisecond, 10*time.Second, func() { w.event("itp") })
		w.queue.mu.Lock()
		frozen = make(chan struct{})
		w.queue.mu.Unlock()
		pass(30 * time.Second)
		w.queue.mu.Lock()
		close(frozen)
		frozen = nil
		w.queue.mu.Unlock()
		pass(5 * time.Minute)
		w.end()
		w.checkSchedule(45 * time.Second)
		require.True(t, w.queue.settled())
		require.Len(t, w.farm.posts, 3000)
		for _, c := range w.queue.chains {
			require.Empty(t, c.strays)
		}
	})
}

func TestACommitHiddenByAnErrorIsNeitherDoubledNorLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, always(refused))
		n := 0
		w.queue.after = func(_ context.Context, call string) error {
			if call == "waiting" || call == "rescue" {
				return nil
			}
			w.queue.mu.Lock()
			defer w.queue.mu.Unlock()
			if n++; n%5 == 0 {
				return errors.New("connection reset")
			}
			return nil
		}
		w.start(Config{})
		pass(5 * time.Second)
		every(200*time.Millisecond, 20*time.Second, func() { w.event("itp") })
		pass(10 * time.Minute)
		w.end()
		require.True(t, w.queue.settled())
		rescued := 0
		for _, c := range w.queue.chains {
			require.Len(t, c.entries, 3)
			require.Empty(t, c.strays)
			for i, e := range c.entries {
				require.Equal(t, i+1, e.number)
				if e.rescued {
					rescued++
					require.Equal(t, 15*time.Second, e.ended.Sub(e.started))
				}
			}
		}
		require.Positive(t, rescued)
		require.Len(t, w.farm.posts, 300-rescued, "what was rescued here was never sent, the rest once")
		w.checkSchedule(2 * time.Second)
	})
}

func TestALostReplicasAttemptIsRescuedByAnotherOnSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, always(answer{14 * time.Second, notice.OutcomeRefused}))
		lost := &wire{memory: w.queue}
		w.startWith(lost, w.farm, Config{}, nil)
		pass(5 * time.Second)
		c := w.event("itp")
		pass(time.Second)
		lost.set(true)
		w.start(Config{})
		pass(25 * time.Second)
		first := c.entries[0]
		require.True(t, first.rescued)
		require.Equal(t, notice.OutcomeUnknown, first.outcome)
		require.Equal(t, 15*time.Second, first.ended.Sub(first.started))
		second := c.entries[1]
		require.InDelta(t, 10, second.started.Sub(first.ended).Seconds(), 0.1)
		lost.set(false)
		pass(3 * time.Minute)
		w.end()
		require.Len(t, c.strays, 1, "the first replica's result is kept as a late entry")
		require.Equal(t, notice.OutcomeRefused, c.strays[0].Result.Outcome)
		require.Len(t, w.farm.posts, 3)
	})
}

func TestNobodyRescuesInTheFirstThreeSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, always(refused))
		for range 1200 {
			w.queue.add("itp", 0, 0)
		}
		_, err := w.queue.Claim(t.Context(), []notice.ClaimRequest{{Client: "itp", Free: 1200}}, 20*time.Second)
		require.NoError(t, err)
		pass(time.Hour) // a replica died with 1,200 attempts, and nobody was there
		begin := time.Now()
		w.start(Config{})
		pass(5 * time.Second)
		require.InDelta(t, 3, w.queue.first("rescue", begin).Sub(begin).Seconds(), 0.01)
		for _, c := range w.queue.chains {
			require.Len(t, c.entries, 2)
			require.Less(t, c.entries[1].started.Sub(w.queue.now()), time.Second, "overdue numbers go out at once")
		}
		w.replicas[0].stop()
		require.NoError(t, <-w.replicas[0].done)
	})
}

// deaf is a queue whose claims answer late, as to a process that was stopped in between.
type deaf struct {
	*memory
	late atomic.Int64 // a time.Duration
}

func (q *deaf) Claim(ctx context.Context, want []notice.ClaimRequest, lease time.Duration) ([]notice.Attempt, error) {
	got, err := q.memory.Claim(ctx, want, lease)
	<-time.After(time.Duration(q.late.Load()))
	return got, err
}

func TestAClaimThatAnswersTooLateForItsLeaseIsNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// The last one is rescued meanwhile, by ourselves since only the claim was stopped here.
		for late, sent := range map[time.Duration]bool{4900 * time.Millisecond: true, 5100 * time.Millisecond: false, time.Hour: false} {
			w := newWorld(t, always(refused))
			slow := &deaf{memory: w.queue}
			slow.late.Store(int64(late))
			w.startWith(slow, w.farm, Config{}, nil)
			pass(5 * time.Second)
			c := w.event("itp")
			pass(late + time.Second)
			posts := w.farm.of(c.id)
			if sent {
				require.Len(t, posts, 1)
			} else {
				require.Empty(t, posts)
				require.Equal(t, notice.OutcomeUnknown, c.entries[0].outcome)
				if !c.entries[0].rescued {
					require.Contains(t, c.entries[0].detail, "not sent")
				}
			}
			slow.late.Store(0)
			pass(late)
			w.end()
		}
	})
}

func TestReplicasOnOneQueueNeverSendTheSameAttempt(t *testing.T) {
	onTwoProcessors(t)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(a notice.Attempt) answer {
			switch a.Notification[15] % 4 {
			case 0:
				return refused
			case 1:
				return hanging
			case 2:
				if a.Number < 3 {
					return refused
				}
			}
			return accepted
		})
		for range 3 {
			w.start(Config{})
			pass(33 * time.Millisecond)
		}
		pass(5 * time.Second)
		i := 0
		every(5*time.Millisecond, 15*time.Second, func() {
			client := notice.ClientID(fmt.Sprint("itp-", i%17))
			w.queue.add(client, 0, 0)
			for range 1 + i%3 { // one, two or all three hear of it at the same moment
				w.replicas[i%3].Wake(client)
				i++
			}
			i++
		})
		pass(5 * time.Minute)
		w.end()
		w.checkSchedule(350 * time.Millisecond)
		require.True(t, w.queue.settled())
		for _, c := range w.queue.chains {
			require.Len(t, w.farm.of(c.id), len(c.entries))
			require.False(t, slices.ContainsFunc(c.entries, func(e *entry) bool { return e.rescued }))
		}
	})
}

func TestARowThatCannotBeStoredDoesNotHoldUpTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, always(accepted))
		var bad atomic.Pointer[chain]
		var healed atomic.Bool
		line := &wire{memory: w.queue}
		line.settle = func(done []notice.Settlement) error {
			b := bad.Load()
			if b != nil && !healed.Load() && slices.ContainsFunc(done, func(s notice.Settlement) bool { return s.Attempt.Notification == b.id }) {
				return errors.New("refused by a trigger")
			}
			return nil
		}
		w.startWith(line, w.farm, Config{}, nil)
		pass(5 * time.Second)
		begin := w.queue.now()
		n := 0
		every(5*time.Millisecond, 30*time.Second, func() {
			c := w.event("itp")
			if n++; n == 1000 {
				bad.Store(c)
			}
		})
		require.InDelta(t, 1, w.punctual(func(notice.ClientID) bool { return true }, begin), 0)
		pass(time.Second)
		require.True(t, bad.Load().entries[0].rescued, "rescues go on as well")
		require.Contains(t, w.log.String(), "outcome put aside")
		healed.Store(true)
		pass(15 * time.Second)
		require.Len(t, bad.Load().strays, 1, "its result is stored once that is possible")
		w.end()
	})
}

func TestABadOutcomeAloneDoesNotStopAQuietReplica(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, always(accepted))
		line := &wire{memory: w.queue}
		line.settle = func(done []notice.Settlement) error {
			if slices.ContainsFunc(done, func(s notice.Settlement) bool { return s.Attempt.Client == "bad" }) {
				return errors.New("refused by a trigger")
			}
			return nil
		}
		w.startWith(line, w.farm, Config{}, nil)
		pass(5 * time.Second)
		w.event("bad")
		pass(6 * time.Second)
		for range 10 {
			c, at := w.event("good"), time.Now()
			pass(1700 * time.Millisecond)
			require.Less(t, w.farm.of(c.id)[0].at.Sub(at), 100*time.Millisecond)
		}
		w.replicas[0].stop()
		require.ErrorContains(t, <-w.replicas[0].done, "1 attempts ended without a stored outcome")
	})
}

func TestALaneThatCannotBeClaimedDoesNotHoldUpTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, always(accepted))
		line := &wire{memory: w.queue}
		var healed atomic.Bool
		line.claim = func(want []notice.ClaimRequest) error {
			if !healed.Load() && slices.ContainsFunc(want, func(w notice.ClaimRequest) bool { return w.Client == "bad" }) {
				return errors.New("unknown state in a row")
			}
			return nil
		}
		w.startWith(line, w.farm, Config{}, nil)
		pass(5 * time.Second)
		begin := w.queue.now()
		bad := w.event("bad")
		i := 0
		every(5*time.Millisecond, 30*time.Second, func() { i++; w.event(notice.ClientID(fmt.Sprint("itp-", i%40))) })
		require.InDelta(t, 1, w.punctual(func(c notice.ClientID) bool { return c != "bad" }, begin), 0)
		require.Empty(t, bad.entries)
		healed.Store(true)
		pass(6 * time.Second)
		require.Equal(t, notice.Delivered, bad.state)
		w.end()
	})
}
