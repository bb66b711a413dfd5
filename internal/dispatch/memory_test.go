package dispatch

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

// memory is a Queue that keeps the store's contract without a database: rows with due time and lease, a clock of its
// own, a record of what was started and ended. All replicas of a test share one.
type memory struct {
	offset time.Duration // the database's clock is so far from ours
	lag    time.Duration // how long a statement takes, half before its commit and half after

	// before may fail a call before it did anything, and after when it is committed; both may sleep. They may be nil.
	before, after func(ctx context.Context, call string) error

	mu     sync.Mutex
	lanes  map[notice.ClientID][]*row // unleased, in order of due
	leased map[notice.ID]*row
	chains map[notice.ID]*chain
	serial uint64
	calls  []string // every call that reached us, with its instant in journal
	times  []time.Time
	wants  [][]notice.ClaimRequest
}

// row is the queue row of a notification that is alive.
type row struct {
	chain   *chain
	number  int
	due     time.Time
	started time.Time
	token   notice.ID
	lease   time.Time
}

// chain is the history of one notification. Instants are the database's.
type chain struct {
	id       notice.ID
	client   notice.ClientID
	occurred time.Time
	entries  []*entry
	state    notice.State
	closed   time.Time
	strays   []notice.Settlement // late entries
}

type entry struct {
	number                    int
	scheduled, started, ended time.Time
	interaction               notice.ID
	late                      bool
	outcome                   notice.Outcome
	rescued                   bool
	detail                    string
}

func newMemory() *memory {
	return &memory{
		offset: 3*time.Hour + 17*time.Minute,
		lag:    3 * time.Millisecond,
		lanes:  make(map[notice.ClientID][]*row),
		leased: make(map[notice.ID]*row),
		chains: make(map[notice.ID]*chain),
	}
}

func (m *memory) setLag(lag time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lag = lag
}

func (m *memory) now() time.Time { return time.Now().Add(m.offset) }

func (m *memory) id() notice.ID {
	m.serial++
	var id notice.ID
	binary.BigEndian.PutUint64(id[8:], m.serial)
	return id
}

// add commits a notification whose event happened the given time ago and which is due so long after the event.
func (m *memory) add(client notice.ClientID, ago, hold time.Duration) *chain {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := &chain{id: m.id(), client: client, occurred: m.now().Add(-ago), state: notice.Pending}
	m.chains[c.id] = c
	m.insert(&row{chain: c, number: 1, due: c.occurred.Add(hold)})
	return c
}

func (m *memory) insert(r *row) {
	rows := m.lanes[r.chain.client]
	at := sort.Search(len(rows), func(i int) bool { return rows[i].due.After(r.due) })
	m.lanes[r.chain.client] = slices.Insert(rows, at, r)
}

// statement runs do as one statement that takes lag.
func (m *memory) statement(ctx context.Context, call string, do func() error) error {
	m.mu.Lock()
	m.calls = append(m.calls, call)
	m.times = append(m.times, time.Now())
	lag := m.lag
	m.mu.Unlock()
	if m.before != nil {
		if err := m.before(ctx, call); err != nil {
			return err
		}
	}
	if err := rest(ctx, lag/2); err != nil {
		return err
	}
	m.mu.Lock()
	err := do()
	m.mu.Unlock()
	if err != nil {
		return err
	}
	if m.after != nil {
		if err := m.after(ctx, call); err != nil {
			return err
		}
	}
	return rest(ctx, lag/2)
}

// rest sleeps unless ctx ends first. For what is short it looks at ctx afterwards: a timer and a channel for each rest would
// be a good part of the processor time of a simulation. What is longer than any attempt needs no timer.
func rest(ctx context.Context, d time.Duration) error {
	switch {
	case d <= 0:
		return ctx.Err()
	case d <= 50*time.Millisecond:
		time.Sleep(d)
		return ctx.Err()
	case d >= time.Hour:
		<-ctx.Done()
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (m *memory) Claim(ctx context.Context, want []notice.ClaimRequest, lease time.Duration) (got []notice.Attempt, err error) {
	err = m.statement(ctx, "claim", func() error {
		m.wants = append(m.wants, slices.Clone(want))
		now := m.now()
		for _, w := range want {
			if w.Free < 1 || w.Late < 0 || w.Late > w.Free {
				return fmt.Errorf("bad want %+v", w)
			}
			for _, r := range m.pick(w, now) {
				r.token, r.started, r.lease = m.id(), now, now.Add(lease)
				e := &entry{
					number: r.number, scheduled: r.due, started: now, interaction: m.id(),
					late: r.number == 1 && now.Sub(r.chain.occurred) > notice.FirstWithin,
				}
				r.chain.entries = append(r.chain.entries, e)
				m.leased[r.chain.id] = r
				got = append(got, notice.Attempt{
					Notification: r.chain.id, Token: r.token, Interaction: e.interaction, Client: w.Client,
					Kind: ofb.PixPayment, ResourceID: "pay-1", APIVersion: "v5", EventAt: r.chain.occurred,
					Number: r.number, BaseURI: "https://itp.example", ScheduledAt: r.due, StartedAt: now, Late: e.late,
				})
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return got, nil
}

// pick takes from a lane: the share of the late, then what is on time, then more of the late; oldest first each.
func (m *memory) pick(w notice.ClaimRequest, now time.Time) []*row {
	rows := m.lanes[w.Client]
	due := sort.Search(len(rows), func(i int) bool { return rows[i].due.After(now) })
	limit := now.Add(-notice.FirstWithin)
	late := sort.Search(due, func(i int) bool { return !rows[i].due.Before(limit) })
	nLate := min(w.Late, late)
	nFresh := min(due-late, w.Free-nLate)
	nLate = min(late, w.Free-nFresh)
	picked := slices.Concat(rows[:nLate], rows[late:late+nFresh])
	rest := slices.Concat(rows[nLate:late], rows[late+nFresh:])
	if len(picked) > 0 {
		m.lanes[w.Client] = rest
	}
	return picked
}

func (m *memory) Waiting(ctx context.Context) (lanes []notice.Lane, err error) {
	err = m.statement(ctx, "waiting", func() error {
		for client, rows := range m.lanes {
			if len(rows) > 0 {
				lanes = append(lanes, notice.Lane{Client: client, DueIn: rows[0].due.Sub(m.now())})
			}
		}
		return nil
	})
	return lanes, err
}

func (m *memory) Settle(ctx context.Context, done []notice.Settlement) (next []notice.Lane, err error) {
	err = m.statement(ctx, "settle", func() error {
		for _, s := range done {
			if s.Result.EndedAt.IsZero() || s.Result.Outcome == "" || s.Attempt.ClaimedAt.IsZero() {
				return fmt.Errorf("incomplete settlement %+v", s)
			}
			ended := m.now().Add(-time.Since(s.Result.EndedAt))
			r := m.leased[s.Attempt.Notification]
			if r == nil || r.token != s.Attempt.Token {
				m.stray(s)
				continue
			}
			if due, again := m.finish(r, s.Result.Outcome, ended, false, s.Result.Detail); again {
				next = append(next, notice.Lane{Client: s.Attempt.Client, DueIn: due.Sub(m.now())})
			}
		}
		return nil
	})
	return next, err
}

// stray keeps a late entry, unless it is one that was stored already.
func (m *memory) stray(s notice.Settlement) {
	c := m.chains[s.Attempt.Notification]
	for _, e := range c.entries {
		if e.interaction == s.Attempt.Interaction && !e.rescued {
			return
		}
	}
	c.strays = append(c.strays, s)
}

// finish ends the attempt that is under way and schedules what follows.
func (m *memory) finish(r *row, outcome notice.Outcome, ended time.Time, rescued bool, detail string) (due time.Time, again bool) {
	delete(m.leased, r.chain.id)
	e := r.chain.entries[len(r.chain.entries)-1]
	e.ended, e.outcome, e.rescued, e.detail = ended, outcome, rescued, detail
	if outcome.Success() {
		r.chain.state, r.chain.closed = notice.Delivered, ended
		return time.Time{}, false
	}
	gap, again := notice.Next(r.number, false)
	if !again {
		r.chain.state, r.chain.closed = notice.Exhausted, ended
		return time.Time{}, false
	}
	r.number++
	r.due = ended.Add(gap)
	m.insert(r)
	return r.due, true
}

func (m *memory) Rescue(ctx context.Context, limit int, timeout time.Duration) (n int, givenUp []notice.ClientID, err error) {
	err = m.statement(ctx, "rescue", func() error {
		now := m.now()
		for _, r := range m.leased {
			if n < limit && r.lease.Before(now) {
				if r.number >= notice.MaxAttempts {
					givenUp = append(givenUp, r.chain.client)
				}
				m.finish(r, notice.OutcomeUnknown, r.started.Add(timeout), true, "")
				n++
			}
		}
		return nil
	})
	return n, givenUp, err
}

// count tells how often a call was made since the instant given.
func (m *memory) count(call string, since time.Time) (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, c := range m.calls {
		if c == call && !m.times[i].Before(since) {
			n++
		}
	}
	return n
}

// first tells when a call was made for the first time at or after the instant given; the zero time if never.
func (m *memory) first(call string, since time.Time) time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, c := range m.calls {
		if c == call && !m.times[i].Before(since) {
			return m.times[i]
		}
	}
	return time.Time{}
}

// settled reports whether nothing is waiting or under way.
func (m *memory) settled() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.chains {
		if c.state == notice.Pending {
			return false
		}
	}
	return true
}

// outage makes every call fail while it is on.
type outage struct {
	mu sync.Mutex
	on bool
}

var errAway = errors.New("connection refused")

func (o *outage) set(on bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.on = on
}

func (o *outage) fail(context.Context, string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.on {
		return errAway
	}
	return nil
}
