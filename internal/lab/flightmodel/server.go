package flightmodel

import "math/bits"

// mayBegin tells whether the locks of a transaction are free: of T3, its flights and its rows of the queue. T1 finds no row to
// lock, since its resources are new.
func (w *world) mayBegin(s *state, t *transaction) bool {
	return t.kind == record || !w.settleLocks() || w.fault == settleSharesLock && w.rescueHasNot(s, t) || w.itemsFree(s, t)
}

// itemsFree tells whether nobody else has locked what a T3 concerns.
func (w *world) itemsFree(s *state, t *transaction) bool {
	for n := range int8(maxNotes) {
		switch i := &t.items[n]; {
		case i.number == 0:
		case i.dense && w.flightLocked(s, s.notes[n].flight-1, t), !i.dense && w.rowLocked(s, n, t):
			return false
		}
	}
	return true
}

// rescueHasNot is what a shared lock waits for: rescues, and no other T3.
func (w *world) rescueHasNot(s *state, t *transaction) bool {
	for n := range t.items {
		if t.items[n].number != 0 && s.rescued(s.notes[n].flight, 0) {
			return false
		}
	}
	return true
}

// mayCommit is true, except for faults that take their locks after they looked.
func (w *world) mayCommit(s *state, t *transaction) bool {
	switch {
	case t.kind == settle && w.fault == settleLooksBeforeItsLock:
		return w.itemsFree(s, t)
	case t.kind == rescue && w.fault == rescueLooksBeforeItsLock:
		return (t.flight == 0 || !w.flightLocked(s, t.flight-1, t)) && (t.note == 0 || !w.rowLocked(s, t.note-1, t))
	}
	return true
}

// begin is BEGIN, the lock, and the look in a new statement.
func (p *step) begin(t *transaction, r int8) {
	s := p.s
	t.stage = locked
	if t.kind == settle {
		p.eachItem(t, func(n int, i *item) { p.look(&s.notes[n], i) })
		p.eachItem(t, func(n int, i *item) {
			for m := range t.items {
				if i.dense && i.own && t.items[m].dense && s.notes[m].flight == s.notes[n].flight {
					i.left--
				}
			}
		})
		return
	}
	t.push = !s.over
	for n := range s.notes {
		bit := uint8(1) << n
		note := &s.notes[n]
		if t.mask&bit == 0 {
			continue
		}
		if note.change != 0 {
			t.seen |= bit
		}
		if note.notBefore > 0 && p.fault != notBeforeByOwnClock {
			t.reserved &^= bit // by the database's clock it is too early
		}
		if p.fault == sendsBeforeCommit && r >= 0 && t.reserved&^t.seen&bit != 0 && s.reps[r].attempts[n][0].stage == noAttempt {
			s.reps[r].attempts[n][0] = attempt{stage: ready, dense: true}
		}
	}
}

// look finds out, for one outcome, whether the lease is still ours and whether the same outcome stands already.
func (p *step) look(note *note, i *item) {
	k := i.number - 1
	i.own = p.owns(note, i)
	i.stored = sameOutcome(note.result[k], i.outcome) || sameOutcome(note.late[k], i.outcome)
	if i.dense && i.own {
		i.left = p.s.flights[note.flight-1].unsettled
	}
	if p.fault == settleIgnoresWhatStands || i.trusted && i.dense && i.own {
		i.stored = false
	}
	if p.fault == settleIgnoresLease && (note.queued || i.dense) {
		i.own = true
	}
}

func (p *step) owns(note *note, i *item) bool {
	if i.dense {
		return p.s.flights[note.flight-1].unsettled != 0 && !i.astray
	}
	return note.queued && note.leased && note.attempts == i.number
}

// sameOutcome compares outcomes as the history has them: unsent and lost are both unknown.
func sameOutcome(a, b int8) bool {
	return a == b || a == unsent && b == lost || a == lost && b == unsent
}

func (p *step) commit(t *transaction, r int8) {
	stage := committed
	switch t.kind {
	case record:
		if p.raced(t) {
			stage = aborted
		} else {
			p.commitRecord(t)
		}
	case settle:
		p.eachItem(t, func(n int, i *item) { p.commitItem(&p.s.notes[n], t, i) })
	case rescue:
		p.commitRescue(t)
	}
	if r < 0 {
		*t = transaction{}
		return
	}
	t.stage, t.age = stage, 0
}

// raced tells whether another T1 has made a resource since t looked for it: then t violates a key.
func (p *step) raced(t *transaction) bool {
	for n := range p.s.notes {
		if t.mask&^t.seen>>n&1 != 0 && p.s.notes[n].change != 0 {
			return true
		}
	}
	return false
}

// commitRecord stores the changes that were not there: with attempt 1 and the flight, or with a row of the queue.
func (p *step) commitRecord(t *transaction) {
	s := p.s
	var f *flight
	for n := range s.notes {
		bit := uint8(1) << n
		if t.mask&^t.seen&bit == 0 {
			continue
		}
		note := &s.notes[n]
		note.change = t.ids[n]
		wait := max(0, note.notBefore)
		note.notBefore = 0
		switch {
		case !t.push:
			note.close(silent)
		case t.reserved&bit == 0:
			note.queue(0, wait)
		default:
			if f == nil {
				f = &s.flights[n]
				*f = flight{lease: max(p.floor(), p.world.lease-t.age), by: t.by}
				note.flight = int8(1 + n)
			} else {
				note.flight = s.flightOf(f)
			}
			f.unsettled++
			f.members |= bit
			p.record(note, 1)
		}
	}
}

// flightOf is the name of a flight.
func (s *state) flightOf(f *flight) int8 {
	for i := range s.flights {
		if &s.flights[i] == f {
			return int8(1 + i)
		}
	}
	return 0
}

// commitItem stores one outcome: as the result, and what follows from it, or beside the result that a rescue wrote.
func (p *step) commitItem(note *note, t *transaction, i *item) {
	k := i.number - 1
	if p.fault == settleLooksBeforeItsLock { // the lock reads the row anew, the rest of the statement does not
		i.own = p.owns(note, i)
	}
	switch {
	case i.stored:
		return
	case !i.own:
		p.addLate(note, i)
		return
	}
	p.addResult(note, i.number, i.outcome)
	if i.dense {
		p.settleFlight(note, i)
	}
	due := max(0, p.gapAfter(i.number)-i.ago-t.age)
	if p.fault == dueByOwnClock && t.by != 0 {
		due = max(0, due-p.s.reps[t.by-1].wall)
	}
	if p.fault == dueFromStart {
		due = max(0, due-p.timeout)
	}
	switch {
	case i.outcome == delivered:
		note.unqueue()
		note.close(toldOf)
	case i.number == 3 && p.fault != noEndAfterThird:
		note.unqueue()
		note.close(exhausted)
	case p.s.over:
		note.unqueue()
		note.close(cancelled)
	default:
		note.earliest = max(0, p.gapAfter(i.number)-note.endAge[k])
		if p.fault == noQueueRowOnFailure && i.dense {
			return
		}
		attempts := i.number
		if p.fault == firstAttemptNotCounted && i.dense {
			attempts = 0
		}
		note.queue(attempts, due)
	}
}

// gapAfter is the distance from a failure to the next attempt.
func (p *step) gapAfter(number int8) int8 { return p.gaps[min(number, 2)] }

// settleFlight counts one member of a flight off; the last takes the row along.
func (p *step) settleFlight(note *note, i *item) {
	f := &p.s.flights[note.flight-1]
	if p.fault == flightStays || f.unsettled == 0 {
		return
	}
	if p.fault == settleSharesLock { // nobody sees what the other has settled
		if i.left > 0 && f.unsettled == 1 {
			return
		}
	}
	f.unsettled--
	if f.unsettled == 0 || p.fault == flightGoesWithFirstResult {
		*f = flight{}
	}
}

// lose begins a rescue: it locks one expired flight or row, and then, in a new statement, looks for attempts without
// result.
func (p *step) lose(n, f int8) {
	t := transaction{kind: rescue, stage: locked, note: 1 + n}
	if n < 0 {
		t.note, t.flight = 0, 1+f
		for i := range p.s.notes {
			if p.s.notes[i].result[0] != noOutcome {
				t.seen |= 1 << i
			}
		}
	}
	p.s.loosen(t)
}

// commitRescue settles what was lost as unknown, and schedules the next number from startedAt and the time-out.
func (p *step) commitRescue(t *transaction) {
	if t.note != 0 {
		if note := &p.s.notes[t.note-1]; note.leased && note.lease < 0 {
			p.rescue(note, note.attempts, note.lease)
		}
		return
	}
	f := &p.s.flights[t.flight-1]
	found := f.members &^ t.seen
	if f.unsettled == 0 || p.fault == rescueLeavesMiscounted && bits.OnesCount8(found) != int(f.unsettled) {
		return
	}
	for n := range p.s.notes {
		if found>>n&1 != 0 {
			p.rescue(&p.s.notes[n], 1, f.lease)
		}
	}
	*f = flight{}
}

func (p *step) rescue(note *note, number, lease int8) {
	p.judgeLost(note, number)
	p.addResult(note, number, lost)
	started := p.world.lease - lease // ago
	switch {
	case number == 3 && p.fault != noEndAfterThird:
		note.unqueue()
		note.close(exhausted)
		return
	case p.s.over:
		note.unqueue()
		note.close(cancelled)
		return
	}
	due := max(0, p.timeout+p.gapAfter(number)-started)
	note.earliest = due
	switch p.fault {
	case rescueForgetsTimeout:
		due = max(0, due-p.timeout)
	case rescueQueuesNothing:
		note.unqueue()
		return
	case rescueSends:
		n := p.s.noteOf(note)
		if a := &p.s.reps[1].attempts[n][number-1]; a.stage == noAttempt {
			*a = attempt{stage: ready, dense: note.flight != 0 && number == 1}
		}
	}
	note.queue(number, due)
}

// noteOf is the index of a notification.
func (s *state) noteOf(note *note) int {
	for n := range s.notes {
		if &s.notes[n] == note {
			return n
		}
	}
	return 0
}

// queue inserts the row, or makes it due again without a token.
func (n *note) queue(attempts, due int8) {
	n.queued, n.leased, n.attempts, n.due, n.lease, n.by = true, false, attempts, due, 0, 0
}

// unqueue deletes the row.
func (n *note) unqueue() {
	n.queue(0, 0)
	n.queued = false
}

// close ends a notification.
func (n *note) close(how int8) { n.closed, n.earliest = how, 0 }
