package flightmodel

// law names what must hold. The empty law is none that was broken.
type law string

const (
	lawFourth     law = "never a fourth attempt"
	lawTwice      law = "a number leaves at most once"
	lawUnrecorded law = "nothing leaves before the commit that records it"
	lawEarly      law = "nothing leaves before it is due by the database's clock"
	lawLease      law = "an attempt fits into its lease"
	lawOrder      law = "a number is recorded after the result of the one before it, and while the notification is open"
	lawOneResult  law = "an attempt has one result"
	lawLate       law = "a late result stands beside what a rescue wrote, once, and once more for each lost answer"
	lawLost       law = "an open notification has a row in the queue or an attempt without result in a flight, and not both"
	lawFlight     law = "a flight counts its attempts without result, and is there until the last of them has one"
	lawUnknown    law = "a rescue finds only what a killed replica held, what a lost answer hid, or what took longer than its lease"
	lawSlots      law = "slots taken never exceed the slots there are"
	lawDrained    law = "a replica that ends leaves no attempt of its own without result"
	lawHeld       law = "nothing is reserved for a held lane"
	lawEnds       law = "when faults stop, each announced notification is closed and every slot is free"
)

// laws lists all of them.
var laws = []law{
	lawFourth, lawTwice, lawUnrecorded, lawEarly, lawLease, lawOrder, lawOneResult, lawLate, lawLost, lawFlight, lawUnknown, lawSlots, lawDrained,
	lawHeld, lawEnds,
}

// breach notes the first law that a step breaks.
func (p *step) breach(l law) {
	if p.law == "" {
		p.law = l
	}
}

// record adds an attempt to the history.
func (p *step) record(note *note, number int8) {
	if number > 3 {
		p.breach(lawFourth)
		note.attempts = 3
		return
	}
	bit := uint8(1) << (number - 1)
	if note.recorded&bit != 0 || note.closed != open || number > 1 && note.result[number-2] == noOutcome {
		p.breach(lawOrder)
	}
	note.recorded |= bit
}

func (p *step) judgePost(note *note, k int8, dense bool) {
	var lease int8 = -1
	if f := note.flight; dense && f != 0 && p.s.flights[f-1].unsettled != 0 {
		lease = p.s.flights[f-1].lease
	} else if !dense && note.queued && note.leased && note.attempts == k+1 {
		lease = note.lease
	}
	switch {
	case note.recorded>>k&1 == 0:
		p.breach(lawUnrecorded)
	case note.posts[k] > 1:
		p.breach(lawTwice)
	case note.earliest > 0:
		p.breach(lawEarly)
	case lease < p.timeout:
		p.breach(lawLease)
	}
}

func (p *step) addResult(note *note, number, outcome int8) {
	k := number - 1
	if note.results[k]++; note.results[k] > 1 {
		p.breach(lawOneResult)
	}
	note.result[k] = outcome
}

func (p *step) addLate(note *note, i *item) {
	k := i.number - 1
	if note.result[k] != lost || note.late[k] != noOutcome && note.lostAnswer[k] == 0 {
		p.breach(lawLate)
	}
	if note.late[k] != noOutcome {
		note.lostAnswer[k]--
	}
	note.late[k] = i.outcome
}

// judgeLost asks why an attempt had to be rescued.
func (p *step) judgeLost(note *note, number int8) {
	n := p.s.noteOf(note)
	held := note.forfeit>>(number-1)&1 != 0
	for r := range p.s.reps {
		rep := &p.s.reps[r]
		held = held || rep.attempts[n][number-1].stage != noAttempt || number == 1 && rep.batch.reserved>>n&1 != 0 ||
			rep.tx[placeClaim].kind == claim && rep.tx[placeClaim].note == int8(1+n)
	}
	if !held {
		p.breach(lawUnknown)
	}
}

// judgeExit looks at what a drained replica leaves behind.
func (p *step) judgeExit(r int8) {
	for n := range p.s.notes {
		note := &p.s.notes[n]
		f := flight{}
		if note.flight != 0 {
			f = p.s.flights[note.flight-1]
		}
		if f.by == 1+r && note.result[0] == noOutcome && note.forfeit&1 == 0 ||
			note.leased && note.by == 1+r && note.forfeit>>(note.attempts-1)&1 == 0 {
			p.breach(lawDrained)
		}
	}
}

// check holds the laws of every state against the present one.
func (p *step) check() {
	s := p.s
	var flying [maxNotes]int8
	for n := range s.notes {
		note := &s.notes[n]
		aloft := note.flight != 0 && note.result[0] == noOutcome
		if aloft {
			flying[note.flight-1]++
		}
		if note.change != 0 && (note.closed == open) != (note.queued != aloft) || note.queued && aloft {
			p.breach(lawLost)
		}
	}
	for i := range s.flights {
		if s.flights[i].unsettled != flying[i]+s.flights[i].extra {
			p.breach(lawFlight)
		}
	}
	for r := range s.reps {
		if s.reps[r].used() > p.slots {
			p.breach(lawSlots)
		}
	}
}

// forget drops what no step and no law asks about any more, so that equal states look equal: of each number that has a
// result and that nobody holds, and of a change that the core has its answer to.
func (p *step) forget() {
	s := p.s
	var inHand [maxNotes][3]bool
	var inIntake [maxNotes]bool
	for n := range s.notes {
		for r := range s.reps {
			rep := &s.reps[r]
			inIntake[n] = inIntake[n] || rep.batch.mask>>n&1 != 0
			for k := range rep.attempts[n] {
				inHand[n][k] = inHand[n][k] || rep.attempts[n][k].stage != noAttempt
			}
		}
	}
	s.eachTransaction(func(t *transaction) {
		if t.kind == claim {
			inHand[t.note-1][t.number-1] = true
		}
		for n := range s.notes {
			inIntake[n] = inIntake[n] || t.mask>>n&1 != 0
			if i := &t.items[n]; i.number != 0 {
				inHand[n][i.number-1] = true
			}
		}
	})
	for n := range s.notes {
		note := &s.notes[n]
		if note.known && !inIntake[n] {
			note.change, note.handed = min(note.change, 1), 0
		}
		for k := range note.result {
			if note.result[k] == noOutcome {
				continue
			}
			note.endAge[k] = running
			note.forfeit &^= 1 << k
			for r := range s.reps {
				s.reps[r].attempts[n][k].endAge = 0
			}
			if inHand[n][k] || inIntake[n] {
				continue
			}
			note.result[k], note.late[k], note.posts[k], note.lostAnswer[k] = failed, noOutcome, 1, 0
			if k == 0 {
				note.flight = 0
			}
		}
		if note.closed != open {
			note.earliest = 0
		}
	}
}

// ends tells whether nothing is left to do.
func (s *state) ends() bool {
	for n := range s.notes {
		if s.notes[n].change != 0 && s.notes[n].closed == open || s.flights[n].unsettled != 0 {
			return false
		}
	}
	for i := range s.loose {
		if s.loose[i].kind != noTransaction {
			return false
		}
	}
	for r := range s.reps {
		if s.reps[r].used() != 0 || !s.reps[r].idle(false) || s.reps[r].draining {
			return false
		}
	}
	return true
}
