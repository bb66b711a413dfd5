package dispatch

import (
	"time"

	"github.com/arauto/arauto/internal/notice"
)

// Reserve takes a slot for a first attempt that is recorded in the commit of its change and leaves right after it. The
// lease is what the commit must give the attempt; 0: it would not leave at once. Then soon tells that it is the processor
// that is busy, with attempts that are committed already: ask again. Otherwise the change is stored without an attempt, and
// WakeIn announces it: the receiver is not quick, slots are scarce, the database was away, or the drain has begun.
//
// Reserve does not wait. Each reservation ends with Start or Release.
func (d *Dispatcher) Reserve(client notice.ClientID) (lease time.Duration, soon bool) {
	l := d.loop.Load()
	if l == nil {
		return 0, false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.draining || !l.sound() {
		return 0, false
	}
	now := time.Now()
	lane := l.lanes.of(client)
	defer l.lanes.release(lane)
	l.lanes.measure(now)
	if lane.class == quick && lane.load() > 0 && (int(l.unbegun.Load()) > maxUnbegun || len(l.results.held) > maxUnsettled) {
		return 0, true
	}
	if !l.lanes.free(lane, allowance{slots: l.cfg.Slots, perLane: l.cfg.PerLane, now: now}) {
		return 0, false
	}
	l.lanes.reserve(lane, 1)
	return l.cfg.Lease, false
}

// More attempts that wait for the processor, or outcomes that wait for the database, and a quick lane that holds a slot gets
// no other: its attempt would wait in memory, where a kill loses sight of it.
const (
	maxUnbegun   = 64
	maxUnsettled = settleRows / 2
)

// begin starts an attempt. It is unbegun until the processor comes to it.
func (l *loop) begin(a notice.Attempt) {
	l.unbegun.Add(1)
	done := &result{Settlement: notice.Settlement{Attempt: a}}
	go func() {
		l.unbegun.Add(-1)
		l.attempt(done)
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
	if l.poison.isolated || l.class != quick && (l.ready || l.load() > 0) || l.burden(a) >= room || l.load() >= a.perLane {
		return false
	}
	p := s.left(a.slots)
	return p.allows(l, l.load())
}

// Release gives back a slot that Reserve took and that no committed attempt needs.
func (d *Dispatcher) Release(client notice.ClientID) {
	l := d.loop.Load()
	l.mu.Lock()
	defer l.mu.Unlock()
	lane := l.lanes.of(client)
	l.lanes.reserve(lane, -1)
	l.lanes.release(lane)
	l.wakes.poke()
}

// Start sends attempts whose commit is confirmed. Each has a slot that Reserve took. After the end of Run they are not
// sent, and a rescue settles them.
func (d *Dispatcher) Start(attempts []notice.Attempt) {
	d.observer.Started(attempts)
	l := d.loop.Load()
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	for _, a := range attempts {
		lane := l.lanes.of(a.Client)
		l.lanes.reserve(lane, -1)
		l.lanes.book(lane, 1, 0)
		lane.started(1, now)
		if !l.ended {
			l.begin(a)
		}
	}
}
