package postgres

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/watch"
)

// paced is a hand that takes its time with each record, as a commit does, and is done some time after.
type paced struct {
	*hand
	each  time.Duration
	fast  atomic.Bool // it takes its time no more
	queue chan func()
}

func newPaced(t testing.TB, each time.Duration) *paced {
	p := &paced{hand: newHand(), each: each, queue: make(chan func(), 20)}
	go func() {
		for {
			select {
			case done := <-p.queue:
				done()
			case <-t.Context().Done():
				return
			}
		}
	}()
	return p
}

func (p *paced) Take(ctx context.Context, records []watch.SourceRecord, done func()) error {
	if !p.fast.Load() {
		if err := pause(ctx, time.Duration(len(records))*p.each); err != nil {
			return err
		}
	}
	return p.hand.Take(ctx, records, func() { p.queue <- done })
}

// backlog commits n transactions of one change each while nobody reads.
func (c *core) backlog(n int) {
	c.t.Helper()
	c.exec(`CREATE OR REPLACE PROCEDURE busy(n int) LANGUAGE plpgsql AS $$ BEGIN
		FOR i IN 1..n LOOP UPDATE payments SET n = payments.n + 1 WHERE id = i % 50; COMMIT; END LOOP; END $$`)
	c.exec("CALL busy($1)", n)
}

func hurried(c *Config, _ *Options) { c.FastLane = 100 * time.Millisecond }

// late makes a core of counted rows that was read once and then had a backlog while nobody read. What a hand is told goes
// to the ledger.
func late(t *testing.T, backlog int, each time.Duration) (*core, *ledger, *paced) {
	c := counted(t, nil, 50)
	l, p := newLedger(), newPaced(t, each)
	p.hand.each = l.see
	run := read(t, c.reader(hurried), p)
	c.reading()
	require.NoError(t, run.end())
	c.backlog(backlog)
	return c, l, p
}

// fastLane awaits that a second stream is on its way.
func (c *core) fastLane() {
	c.eventually("SELECT count(*) > 1 FROM pg_stat_replication WHERE state = 'streaming' AND application_name LIKE $1", "%"+c.slot+"%")
}

// slots awaits a number of slots.
func (c *core) slots(n int) {
	c.eventually("SELECT count(*) = $1 FROM pg_replication_slots WHERE database = current_database()", n)
}

func TestWhatHappensNowDoesNotWaitBehindABacklogAndIsToldOnce(t *testing.T) {
	const n = 8000
	c, l, p := late(t, n, 700*time.Microsecond)
	var mu sync.Mutex
	var delays []time.Duration
	var open time.Time // of the fast lane
	started, fresh := time.Now(), 0
	p.mu.Lock()
	p.hand.each = func(r watch.SourceRecord) {
		l.see(r)
		mu.Lock()
		defer mu.Unlock()
		if !open.IsZero() && r.CommittedAt.After(open) {
			delays, fresh = append(delays, time.Since(r.CommittedAt)), fresh+1
		}
	}
	p.mu.Unlock()
	r := c.reader(hurried)
	run := read(t, r, p)
	stop := writers(c, 2, 50, 10*time.Millisecond)
	c.fastLane()
	mu.Lock()
	open = time.Now()
	mu.Unlock()
	p.await(t, "the backlog", func(h *hand) bool { return len(h.records) > n })
	backlog := time.Since(started)
	_ = pause(t.Context(), time.Second)
	commits := stop()
	c.caughtUp()
	c.slots(1) // the fast lane is closed
	c.exec("UPDATE payments SET n = n + 1")
	c.caughtUp()
	require.NoError(t, run.end())
	l.check(c)
	require.Zero(t, l.again, "each change is told by one lane")
	require.Positive(t, l.late, "the test needs rows that both lanes told")
	mu.Lock()
	defer mu.Unlock()
	slices.Sort(delays)
	t.Logf("backlog %s, %d commits, %d fresh records: p50 %s p99 %s max %s; %d behind newer ones", backlog.Round(time.Millisecond), commits, fresh,
		delays[len(delays)/2], delays[len(delays)*99/100], delays[len(delays)-1], l.late)
	require.Greater(t, backlog, 4*time.Second, "the test needs a backlog that takes its time")
	require.Less(t, delays[len(delays)*99/100], 1500*time.Millisecond)
}

func TestTheFastLaneClosesWhenNothingHappens(t *testing.T) {
	c, l, p := late(t, 5000, 300*time.Microsecond)
	run := read(t, c.reader(hurried), p)
	c.slots(2)
	c.slots(1)
	c.caughtUp()
	c.exec("UPDATE payments SET n = n + 1")
	c.caughtUp()
	require.NoError(t, run.end())
	l.check(c)
	require.Zero(t, l.again)
	require.Zero(t, l.late)
}

func TestACrashWithAFastLaneOpenLosesNothing(t *testing.T) {
	t.Parallel()
	c, l, p := late(t, 8000, 8*time.Millisecond) // a minute: it lasts through all that follows
	stopWriting := writers(c, 2, 50, 5*time.Millisecond)
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() { source(t, c.reader(hurried), p, stop); close(ended) }()
	for i := range 6 {
		c.eventually("SELECT count(*) > 1 FROM pg_stat_replication WHERE application_name LIKE $1", "%"+c.slot+"%")
		_ = pause(t.Context(), 300*time.Millisecond)
		which := "slot_name = $1"
		if i%2 == 1 {
			which = "slot_name LIKE $1 || '_now_%'"
		}
		c.exec("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active AND "+which, c.slot)
	}
	stopWriting()
	p.fast.Store(true)
	c.caughtUp()
	close(stop)
	<-ended
	l.check(c)
	t.Logf("%d told again, %d behind newer ones", l.again, l.late)
}

func TestAWaitForTheFastLanesSlotHoldsNothingUp(t *testing.T) {
	c, l, p := late(t, 3000, 100*time.Microsecond)
	open := c.connect() // a transaction that stays open keeps any slot from being made
	_, err := open.Exec(t.Context(), "BEGIN; UPDATE payments SET n = n + 1 WHERE id = 49")
	require.NoError(t, err)
	run := read(t, c.reader(hurried), p)
	c.slots(2) // being made
	p.await(t, "the backlog", func(h *hand) bool { return len(h.records) >= 3000 })
	_, err = open.Exec(t.Context(), "COMMIT")
	require.NoError(t, err)
	c.caughtUp()
	c.slots(1)
	require.NoError(t, run.end())
	l.check(c)
	require.Zero(t, l.again)
}

// With the defaults: a stream that is late by a second or two is one in which the next change would be late.
func TestAFreshChangeOvertakesABacklogOfASecond(t *testing.T) {
	const backlog = 10_000
	c, l, p := late(t, backlog, time.Millisecond)
	c.eventually("SELECT clock_timestamp() > $1::timestamptz + interval '800 ms'", ask[time.Time](c, "SELECT clock_timestamp()"))
	run := read(t, c.reader(nil), p)
	c.fastLane()
	c.exec("INSERT INTO payments (id, status, n) VALUES (777, 'A', 0)")
	ahead := 0
	p.await(t, "the fresh change", func(h *hand) bool {
		i := slices.IndexFunc(h.records, func(r watch.SourceRecord) bool { return fmt.Sprint(r.Values["id"]) == "777" })
		ahead = max(ahead, i)
		return i >= 0
	})
	require.Less(t, ahead, backlog, "it was told before the backlog's end")
	p.fast.Store(true)
	c.caughtUp()
	c.slots(1)
	require.NoError(t, run.end())
	l.check(c)
	require.Zero(t, l.again)
}

// What main read last is still on its way to its commit when it meets the fast lane. Were it to take over at once, the next
// fresh change would wait behind that.
func TestMainTakesOverWhenWhatItToldIsDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cut{}
		main, fast := &slotStream{cut: c}, &ackProgress{}
		require.True(t, c.open(20, fast, func() {}))
		main.progress.add(time.Now())
		answers := make(chan bool)
		meets := func(final pglogrepl.LSN) {
			mine, err := main.mine(t.Context(), final)
			require.NoError(t, err)
			answers <- mine
		}
		go meets(30)
		<-time.After(time.Minute)
		require.True(t, c.fastBegins(30), "fast goes on while main waits")
		require.False(t, <-answers, "and then main passes over it")
		require.False(t, c.fastEnds())
		c.mainIdle(35, main.progress.idle())
		go meets(40)
		<-time.After(time.Minute)
		main.progress.done(1)
		require.True(t, <-answers)
		require.False(t, c.fastBegins(40))
	})
}

func TestTheCutGivesEachTransactionToOneLane(t *testing.T) {
	var stopped int
	c := &cut{}
	p := &ackProgress{}
	begins := func(final pglogrepl.LSN) bool {
		mains, decided := c.mainBegins(final, true)
		require.True(t, decided)
		return mains
	}
	require.True(t, begins(10))
	require.False(t, c.open(10, p, func() { stopped++ }), "main is there already")
	require.True(t, c.free())
	require.True(t, c.open(20, p, func() { stopped++ }))
	require.False(t, c.free())
	require.False(t, c.fastBegins(19), "main's")
	require.True(t, c.fastBegins(20))
	require.False(t, c.fastEnds())
	require.True(t, begins(15))
	require.False(t, begins(20))
	p.add(time.Now())
	p.reach(21)
	require.Equal(t, pglogrepl.LSN(20), c.limit(30), "fast's first is not done")
	require.Equal(t, pglogrepl.LSN(18), c.limit(18))
	p.done(1)
	require.Equal(t, pglogrepl.LSN(21), c.limit(30))
	require.True(t, c.fastBegins(25))
	c.mainIdle(22, true)
	require.True(t, begins(26), "fast has not begun it")
	require.Zero(t, stopped, "fast is within its last one")
	require.False(t, c.fastBegins(26))
	p.add(time.Now())
	require.True(t, c.fastEnds())
	p.reach(26)
	require.Equal(t, pglogrepl.LSN(21), c.limit(40))
	require.False(t, c.free())
	p.done(1)
	require.Equal(t, pglogrepl.LSN(40), c.limit(40))
	require.True(t, c.free())
	require.True(t, c.open(50, p, func() { stopped++ }))
	c.mainIdle(49, true)
	require.Zero(t, stopped)
	c.mainIdle(50, false)
	require.Zero(t, stopped, "what main told is not done")
	c.mainIdle(50, true)
	require.Equal(t, 1, stopped)
	require.False(t, c.fastBegins(50))
	require.True(t, begins(50))
}
