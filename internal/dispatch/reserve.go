package dispatch

import (
	"slices"
	"time"

	"github.com/arauto/arauto/internal/notice"
)

// Reserve takes a slot for a first attempt that is recorded in the commit of its change and leaves right after it. The
// lease is what the commit must give the attempt; 0: it would not leave at once. Then again tells for how long it is worth
// asking again, since only our own processor or a commit of ours is in the way; 0: it is not. Without a slot the change is
// stored without an attempt, and Wake announces it: the receiver is not quick, slots are scarce, the database was away, or the
// drain has begun.
//
// Reserve does not wait. Each reservation ends with Start or Release.
func (d *Dispatcher) Reserve(client notice.ClientID) (lease, again time.Duration) {
	l := d.loop.Load()
	if l == nil {
		return 0, 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.draining || !l.sound() {
		return 0, 0
	}
	now := time.Now()
	lane := l.lanes.of(client)
	defer l.lanes.release(lane)
	l.lanes.measure(now)
	if lane.class == quick && lane.load() > 0 && (int(l.unbegun.Load()) > maxUnbegun || l.results.len() > maxUnsettled) {
		return 0, awaitProcessor
	}
	a := allowance{slots: l.cfg.Slots, perLane: l.cfg.PerLane, now: now}
	switch {
	case l.lanes.free(lane, a):
		l.lanes.book(lane, 0, 1)
		l.reserved++
		return l.cfg.Lease, 0
	case lane.fullOfCommits(a):
		return 0, awaitCommit
	default:
		return 0, 0
	}
}

// awaitProcessor is how long a change waits for its slot while our processor is busy with attempts that are committed: what is
// stored without an attempt would come after them as well. awaitCommit is how long it waits for a commit that will give slots
// back: one takes some 10 ms, and where it takes longer the change had better be stored.
const (
	awaitProcessor = time.Second
	awaitCommit    = 100 * time.Millisecond
)

// More attempts that wait for the processor, or outcomes that wait for the database, and a quick lane that holds a slot gets
// no other: its attempt would wait in memory, where a kill loses sight of it.
const (
	maxUnbegun   = 64
	maxUnsettled = settleRows / 2
)

// begin starts an attempt. It is unbegun until the processor comes to it.
func (l *loop) begin(a notice.Attempt) {
	l.unbegun.Add(1)
	go func() {
		l.unbegun.Add(-1)
		l.attempt(a)
	}()
}

// free tells whether a lane may have one more slot for a fresh attempt, as share would give it. A lane with earlier work
// keeps one slot in lateShare for that.
func (s *lanes) free(l *lane, a allowance) bool {
	s.promote(a.now)
	room := l.room(a)
	if l.ready {
		room -= room / lateShare
	}
	if l.poison.isolated || l.class != quick && (l.ready || l.load() > 0) || l.load() >= room {
		return false
	}
	p := s.left(a.slots)
	return p.allows(l, l.load())
}

// fullOfCommits tells that a quick lane without earlier work has all slots that it may have, and that its receiver has less than half of
// them: the others wait for the commit of a change, of an outcome or of a claim. A change that goes into the queue instead costs three more
// transactions, and its claim takes slots from those that come after it.
func (l *lane) fullOfCommits(a allowance) bool {
	return l.class == quick && !l.ready && !l.poison.isolated && l.load() >= l.room(a) && 2*l.sending < l.load()
}

// Release gives back a slot that Reserve took and that no committed attempt needs.
func (d *Dispatcher) Release(client notice.ClientID) {
	l := d.loop.Load()
	l.mu.Lock()
	defer l.mu.Unlock()
	lane := l.lanes.of(client)
	l.lanes.book(lane, 0, -1)
	l.lanes.release(lane)
	l.reserved--
	l.wakes.poke()
}

// Start sends attempts whose commit is confirmed. Each has a slot that Reserve took. After the end of Run they are not
// sent, and a rescue settles them.
func (d *Dispatcher) Start(attempts []notice.Attempt) {
	if len(attempts) == 0 {
		return
	}
	d.observer.Started(attempts)
	l := d.loop.Load()
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	for _, a := range slices.Clone(attempts) {
		lane := l.lanes.of(a.Client)
		l.lanes.book(lane, 1, -1)
		lane.started(1, now)
		l.reserved--
		l.inFlight++
		if !l.ended {
			l.begin(a)
		}
	}
}
