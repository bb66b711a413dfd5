package flightmodel

// step is one application of an action: the state it changes, and the first law it broke.
type step struct {
	*world
	s   *state
	law law
}

// apply performs one action and returns the law that it breaks, or none.
func (w *world) apply(s *state, a action) law {
	p := step{world: w, s: s}
	p.perform(a)
	p.check()
	p.forget()
	return p.law
}

func (p *step) perform(a action) {
	s := p.s
	switch a.do {
	case tick:
		s.left.stalls -= a.k
		for range a.x {
			p.tick()
		}
	case handIn:
		p.handIn(a.r, uint8(a.x))
	case hold:
		if s.held = !s.held; s.held {
			s.left.holds--
		}
	case endRegistration:
		s.over, s.left.ends = true, s.left.ends-1
	case crash:
		p.crash(a.r)
	case cut:
		s.left.losses--
		p.cut(a.r, a.at)
	case abort:
		p.abort(a.r, a.at)
	case jump:
		s.reps[a.r].wall, s.left.jumps = a.x, s.left.jumps-1
	case retry:
		p.retry(a.r)
	case giveUp:
		p.giveUp(a.r)
	case receive:
		p.receive(a.r, a.at)
	case post:
		p.post(a.r, a.n, a.k)
	case end:
		t := &s.reps[a.r].attempts[a.n][a.k]
		t.stage, t.outcome, t.age = ended, a.x, 0
		s.notes[a.n].endAge[a.k] = 0
	case store:
		p.store(a)
	case take:
		p.take(a.r, a.n)
	case drain:
		s.reps[a.r].draining, s.left.drains = true, s.left.drains-1
	case exit:
		p.exit(a.r)
	case begin:
		p.begin(s.transaction(a.r, a.at), a.r)
	case commit:
		p.commit(s.transaction(a.r, a.at), a.r)
	case lose:
		p.lose(a.n, a.k)
	case miscount:
		f := &s.flights[a.n]
		s.left.miscounts, f.unsettled, f.extra = s.left.miscounts-1, f.unsettled+1, f.extra+1
	case cancel:
		n := &s.notes[a.n]
		n.unqueue()
		n.close(cancelled)
	}
}

// less takes one tick off a distance, down to a floor; more adds one, up to a ceiling.
func less(v *int8, floor int8) {
	if *v > floor {
		*v--
	}
}

func more(v *int8, ceiling int8) {
	if *v < ceiling {
		*v++
	}
}

func (p *step) tick() {
	s := p.s
	floor, oldest, longest := p.floor(), p.lease+1, p.gaps[2]
	for i := range s.notes {
		n := &s.notes[i]
		less(&n.due, 0)
		if n.change == 0 && p.left.jumps > 0 {
			less(&n.notBefore, -far) // a replica's clock may be behind
		} else {
			less(&n.notBefore, 0)
		}
		less(&n.earliest, 0)
		if n.leased {
			less(&n.lease, floor)
		}
		for k := range n.endAge {
			if n.endAge[k] != running {
				more(&n.endAge[k], longest)
			}
		}
		if f := &s.flights[i]; f.unsettled != 0 {
			less(&f.lease, floor)
		}
	}
	for r := range s.reps {
		rep := &s.reps[r]
		if rep.batch.reserved != 0 {
			more(&rep.batch.age, oldest)
		}
		for i := range rep.attempts {
			for k := range rep.attempts[i] {
				switch t := &rep.attempts[i][k]; t.stage {
				case ready, sending:
					more(&t.age, oldest)
				case ended, settling:
					if s.notes[i].result[k] == noOutcome { // else nothing follows from it
						more(&t.endAge, longest)
					}
				}
			}
		}
	}
	s.eachTransaction(func(t *transaction) {
		if t.kind == claim || t.stage == locked && t.kind != rescue {
			more(&t.age, p.timeout+longest)
		}
	})
}

// handIn is intake at one replica: it draws the ids, reserves a slot for each change that will be sent at once, as far as
// slots are free, and sends T1. ClaimedAt is now.
func (p *step) handIn(r int8, mask uint8) {
	rep := &p.s.reps[r]
	b := batch{stage: recording, mask: mask, tries: 1}
	free := p.slots - rep.used()
	for n := range p.notes {
		bit := uint8(1) << n
		if mask&bit == 0 {
			continue
		}
		note := &p.s.notes[n]
		note.handed++
		b.ids[n] = note.handed
		if free > 0 && (!p.s.held || p.fault == heldLaneReserves) && note.notBefore <= rep.wall {
			b.reserved |= bit
			free--
		}
	}
	if p.s.held && b.reserved != 0 {
		p.breach(lawHeld)
	}
	rep.batch = b
	p.sendRecord(r)
}

func (p *step) sendRecord(r int8) {
	b := &p.s.reps[r].batch
	p.s.reps[r].tx[placeRecord] = transaction{kind: record, mask: b.mask, reserved: b.reserved, ids: b.ids, by: 1 + r}
}

func (p *step) retry(r int8) {
	b := &p.s.reps[r].batch
	b.stage, b.tries = recording, b.tries+1
	if p.fault == retryTakesNewLeaseAge {
		b.age = 0
	}
	p.sendRecord(r)
}

// giveUp answers the core that the outcome is unknown, and gives the slots back. If a try committed after all, a rescue
// settles what it recorded.
func (p *step) giveUp(r int8) {
	b := &p.s.reps[r].batch
	if b.doubt {
		p.forfeit(b)
	}
	*b = batch{}
}

func (p *step) forfeit(b *batch) {
	for n := range p.s.notes {
		if b.reserved>>n&1 != 0 {
			p.s.notes[n].forfeit |= 1
		}
	}
}

// crash ends a replica: its memory is gone, its transactions go on at the server until they commit or abort.
func (p *step) crash(r int8) {
	s := p.s
	rep := &s.reps[r]
	s.left.crashes--
	p.forfeit(&rep.batch)
	for n := range rep.attempts {
		for k := range rep.attempts[n] {
			if rep.attempts[n][k].stage != noAttempt {
				s.notes[n].forfeit |= 1 << k
			}
		}
	}
	for at := range rep.tx {
		p.abandon(&rep.tx[at])
	}
	s.reps[r] = replica{wall: rep.wall}
}

// abandon takes the caller from a transaction.
func (p *step) abandon(t *transaction) {
	switch {
	case t.kind == claim:
		p.s.notes[t.note-1].forfeit |= 1 << (t.number - 1)
	case t.kind != noTransaction && (t.stage == sent || t.stage == locked):
		p.s.loosen(*t)
	}
	*t = transaction{}
}

// cut breaks the connection of a transaction: its caller does not know whether it commits.
func (p *step) cut(r, at int8) {
	rep := &p.s.reps[r]
	t := &rep.tx[at]
	switch t.kind {
	case record:
		rep.batch.stage, rep.batch.doubt = between, true
	case settle:
		p.eachItem(t, func(n int, i *item) { more(&p.s.notes[n].lostAnswer[i.number-1], 3) })
		p.holdAgain(r, at)
	}
	p.abandon(t)
}

// holdAgain keeps the outcomes of a T3 that did not succeed, for the next.
func (p *step) holdAgain(r, at int8) {
	rep := &p.s.reps[r]
	for n := range rep.attempts {
		for k := range rep.attempts[n] {
			if t := &rep.attempts[n][k]; t.stage == settling && t.place == at {
				t.stage, t.place = ended, 0
			}
		}
	}
}

func (p *step) abort(r, at int8) {
	t := p.s.transaction(r, at)
	if r < 0 {
		*t = transaction{}
		return
	}
	p.s.left.aborts--
	t.stage, t.age = aborted, 0
}

// eachItem visits the outcomes of a T3.
func (p *step) eachItem(t *transaction, visit func(n int, i *item)) {
	for n := range t.items {
		if t.items[n].number != 0 {
			visit(n, &t.items[n])
		}
	}
}

// receive is the answer of a transaction at its caller.
func (p *step) receive(r, at int8) {
	rep := &p.s.reps[r]
	t := rep.tx[at]
	rep.tx[at] = transaction{}
	switch {
	case t.kind == record && t.stage == aborted:
		rep.batch.stage = between
	case t.kind == record:
		p.recorded(r, &t)
	case t.kind == claim:
		rep.attempts[t.note-1][t.number-1] = attempt{stage: ready, age: t.age}
	case t.stage == aborted:
		p.holdAgain(r, at)
	default:
		p.eachItem(&t, func(n int, i *item) { rep.attempts[n][i.number-1] = attempt{} })
	}
}

// recorded follows a confirmed T1: the core is answered, and what this batch recorded as attempt 1, in this try or in one
// whose answer was lost, is sent by this replica. What another batch recorded is not.
func (p *step) recorded(r int8, t *transaction) {
	rep := &p.s.reps[r]
	b := rep.batch
	rep.batch = batch{}
	for n := range p.s.notes {
		bit := uint8(1) << n
		if b.mask&bit == 0 {
			continue
		}
		note := &p.s.notes[n]
		note.known = true
		ours := note.change == b.ids[n] || p.fault == anyDuplicateSends
		if p.fault == retryLeavesItsOwn && t.seen&bit != 0 {
			ours = false
		}
		if ours && note.flight != 0 && b.reserved&bit != 0 && rep.attempts[n][0].stage == noAttempt && p.fault != sendsBeforeCommit {
			found := t.seen&bit != 0 // a try whose answer was lost has stored it
			rep.attempts[n][0] = attempt{stage: ready, age: b.age, dense: true, astray: found && p.fault == retryTakesItsLastFlight}
		} else if p.fault == slotNotGivenBack {
			rep.batch.reserved |= bit
		}
	}
}

// post lets the first byte of an attempt leave, if a whole attempt fits into what is left of its lease by the monotonic age
// of its claim; else nothing is sent, and the outcome is unknown.
func (p *step) post(r, n, k int8) {
	rep := &p.s.reps[r]
	t, note := &rep.attempts[n][k], &p.s.notes[n]
	age := t.age
	if p.fault == guardByOwnClock {
		age += rep.wall
	}
	t.age = 0
	if age+p.timeout > p.lease && p.fault != noGuard {
		t.stage, t.outcome = ended, unsent
		note.endAge[k] = 0
		return
	}
	t.stage = sending
	note.posts[k]++
	p.judgePost(note, k, t.dense)
}

// store sends T3, for one outcome or for the earliest of each notification. How long ago each ended goes with it.
func (p *step) store(a action) {
	rep := &p.s.reps[a.r]
	t := transaction{kind: settle, by: 1 + a.r}
	add := func(n, k int8) {
		held := &rep.attempts[n][k]
		held.stage, held.place = settling, a.at
		t.items[n] = item{number: 1 + k, outcome: held.outcome, ago: held.endAge, dense: held.dense, astray: held.astray}
		if p.fault == settleTrustsItsFirstTry {
			t.items[n].trusted, held.tried = !held.tried, true
		}
	}
	if a.x == 0 {
		add(a.n, a.k)
	}
	for n := range int8(p.notes) {
		for k := range int8(3) {
			if a.x>>n&1 != 0 && rep.attempts[n][k].stage == ended {
				add(n, k)
				break
			}
		}
	}
	rep.tx[a.at] = t
}

// take is T2: one statement, which commits by itself.
func (p *step) take(r, n int8) {
	note := &p.s.notes[n]
	note.leased, note.lease, note.by = true, p.world.lease, 1+r
	note.attempts++
	p.record(note, note.attempts)
	p.s.reps[r].tx[placeClaim] = transaction{kind: claim, stage: committed, note: 1 + n, number: note.attempts, by: 1 + r}
}

func (p *step) exit(r int8) {
	p.judgeExit(r)
	p.s.reps[r] = replica{wall: p.s.reps[r].wall}
}
