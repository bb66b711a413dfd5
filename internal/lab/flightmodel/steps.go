package flightmodel

import "fmt"

// far is by how many ticks a wall clock jumps: past every distance that matters here.
const far = 4

// verb names a step.
type verb uint8

const (
	// The surroundings.
	tick   verb = iota // time passes
	handIn             // the core hands changes to a replica, which reserves slots and sends T1
	hold               // the lane is held, or no longer
	endRegistration
	// Faults.
	crash    // a replica is killed and starts anew
	cut      // a connection breaks: its transaction goes on without its caller, or has ended already
	abort    // the server ends a transaction without a commit
	jump     // a replica's wall clock jumps
	miscount // a flight counts one attempt too many
	// A replica.
	retry   // T1 again
	giveUp  // the core is told that the outcome is unknown
	receive // the answer of a transaction
	post    // the first byte of an attempt leaves, if the lease leaves room for it
	end     // the exchange ends
	store   // T3 is sent
	take    // T2, from the claim to its commit
	drain   // a replica is told to stop
	exit    // it has nothing left and ends; another one begins
	// The server.
	begin  // BEGIN, locks, looks
	commit // writes, COMMIT
	lose   // R: locks an expired lease, looks
	cancel // the row of an ended registration leaves the queue
)

var verbs = [...]string{
	"tick", "hand in", "hold", "end registration", "crash", "cut", "abort", "jump", "miscount", "retry", "give up", "receive", "post", "end", "store",
	"claim", "drain", "exit", "begin", "commit", "rescue", "cancel",
}

// action is one step with what it concerns: r the replica, or -1; at the place of a transaction; n the notification; k the
// number of the attempt; x a mask, an outcome, a distance. A tick with k 1 is a stall.
type action struct {
	do             verb
	r, at, n, k, x int8
}

func (a action) String() string {
	return fmt.Sprintf("%s r%d place%d note%d number%d x%d", verbs[a.do], a.r, a.at, a.n, a.k, a.x)
}

// isFault tells the steps that stop when faults stop.
func (a action) isFault(s *state) bool {
	switch a.do {
	case crash, cut, abort, jump, miscount, drain, endRegistration, handIn:
		return true
	case hold:
		return !s.held
	default:
		return false
	}
}

// actions appends every step that is possible in s.
func (w *world) actions(s *state, out []action) []action {
	before := len(out)
	if s.held || s.left.holds > 0 {
		out = append(out, action{do: hold})
	}
	if !s.over && s.left.ends > 0 {
		out = append(out, action{do: endRegistration})
	}
	for r := range int8(replicas) {
		out = w.ofReplica(s, r, out)
	}
	for at := range int8(loose) {
		out = w.ofTransaction(s, -1, at, out)
	}
	for n := range int8(w.notes) {
		if s.left.miscounts > 0 && s.flights[n].unsettled != 0 {
			out = append(out, action{do: miscount, n: n})
		}
		if note := &s.notes[n]; s.over && note.queued && !note.leased {
			out = append(out, action{do: cancel, n: n})
		}
	}
	out = w.rescues(s, out)
	for _, a := range out[before:] {
		if w.urgent(s, a) {
			if s.left.stalls > 0 {
				out = append(out, action{do: tick, k: 1, x: 1})
			}
			return out
		}
	}
	return append(out, action{do: tick, x: 1})
}

// urgent tells the steps that a machine makes at once, unless it stalls.
func (w *world) urgent(s *state, a action) bool {
	if a.do == end {
		return s.reps[a.r].attempts[a.n][a.k].age >= w.timeout
	}
	return a.do != hold && !a.isFault(s)
}

func (w *world) ofReplica(s *state, r int8, out []action) []action {
	rep := &s.reps[r]
	idle := rep.idle(w.fault == drainForgetsBatch)
	if s.left.crashes > 0 && *rep != (replica{}) && s.spare() >= int8(places) {
		out = append(out, action{do: crash, r: r})
	}
	if s.left.jumps > 0 {
		out = append(out, action{do: jump, r: r, x: far}, action{do: jump, r: r, x: -far})
	}
	if rep.draining && idle {
		out = append(out, action{do: exit, r: r})
	}
	if s.left.drains > 0 && !rep.draining && *rep != (replica{}) {
		out = append(out, action{do: drain, r: r})
	}
	switch {
	case rep.batch.stage == noBatch && !rep.draining:
		out = w.ofCore(s, r, out)
	case rep.batch.stage == between:
		if rep.batch.tries < w.tries {
			out = append(out, action{do: retry, r: r})
		}
		out = append(out, action{do: giveUp, r: r})
	}
	for at := range int8(places) {
		out = w.ofTransaction(s, r, at, out)
	}
	return w.ofAttempts(s, r, out)
}

func (w *world) ofCore(s *state, r int8, out []action) []action {
	var all int8
	for n := range int8(w.notes) {
		if note := &s.notes[n]; !note.known && note.handed < w.handIns {
			all |= 1 << n
			if w.split {
				out = append(out, action{do: handIn, r: r, x: 1 << n})
			}
		}
	}
	if all != 0 && (!w.split || all&(all-1) != 0) {
		out = append(out, action{do: handIn, r: r, x: all})
	}
	return out
}

func (w *world) ofTransaction(s *state, r, at int8, out []action) []action {
	t := s.transaction(r, at)
	if t.kind == noTransaction {
		return out
	}
	switch t.stage {
	case sent:
		if w.mayBegin(s, t) {
			out = append(out, action{do: begin, r: r, at: at})
		}
	case locked:
		if w.mayCommit(s, t) {
			out = append(out, action{do: commit, r: r, at: at})
		}
	default:
		out = append(out, action{do: receive, r: r, at: at})
	}
	if t.stage == sent || t.stage == locked {
		if r < 0 || s.left.aborts > 0 {
			out = append(out, action{do: abort, r: r, at: at})
		}
	}
	if r >= 0 && s.left.losses > 0 && s.spare() > 0 {
		out = append(out, action{do: cut, r: r, at: at})
	}
	return out
}

func (w *world) ofAttempts(s *state, r int8, out []action) []action {
	rep := &s.reps[r]
	place := int8(0)
	if rep.tx[placeSettle].kind == noTransaction {
		place = placeSettle
	} else if rep.tx[placeSettle2].kind == noTransaction {
		place = placeSettle2
	}
	var all int8
	several := 0
	for n := range int8(w.notes) {
		found := false
		for k := range int8(3) {
			switch rep.attempts[n][k].stage {
			case ready:
				out = append(out, action{do: post, r: r, n: n, k: k})
			case sending:
				out = append(out, action{do: end, r: r, n: n, k: k, x: delivered}, action{do: end, r: r, n: n, k: k, x: failed})
			case ended:
				if place != 0 {
					out = append(out, action{do: store, r: r, at: place, n: n, k: k})
				}
				if !found {
					all |= 1 << n
					several++
				}
				found = true
			}
		}
		if w.mayClaim(s, r, n) {
			out = append(out, action{do: take, r: r, n: n})
		}
	}
	if place != 0 && several > 1 {
		out = append(out, action{do: store, r: r, at: place, x: all})
	}
	return out
}

func (w *world) mayClaim(s *state, r, n int8) bool {
	rep, note := &s.reps[r], &s.notes[n]
	return note.queued && !note.leased && note.due <= 0 && !s.over && !s.held && !rep.draining &&
		rep.tx[placeClaim].kind == noTransaction && w.slots > rep.used()
}

func (w *world) rescues(s *state, out []action) []action {
	if w.fault == nobodyRescues || s.spare() == 0 || s.reps[0].draining && s.reps[1].draining {
		return out
	}
	early := w.fault == rescueLooksBeforeItsLock
	for i := range int8(maxNotes) {
		if f := &s.flights[i]; f.unsettled != 0 && f.lease < 0 && (early || !w.flightLocked(s, i, nil)) && !s.rescued(1+i, 0) {
			out = append(out, action{do: lose, n: -1, k: i})
		}
		if note := &s.notes[i]; note.leased && note.lease < 0 && (early || !w.rowLocked(s, i, nil)) && !s.rescued(0, 1+i) {
			out = append(out, action{do: lose, n: i})
		}
	}
	return out
}

// rescued tells whether a rescue of this flight or row is under way.
func (s *state) rescued(flight, note int8) bool {
	for i := range s.loose {
		if t := &s.loose[i]; t.kind == rescue && t.flight == flight && t.note == note {
			return true
		}
	}
	return false
}

// transaction finds one: of a replica, or for -1 a loose one.
func (s *state) transaction(r, at int8) *transaction {
	if r < 0 {
		return &s.loose[at]
	}
	return &s.reps[r].tx[at]
}

// spare is how many loose transactions there is room for.
func (s *state) spare() (n int8) {
	for i := range s.loose {
		if s.loose[i].kind == noTransaction {
			n++
		}
	}
	return n
}

// loosen lets a transaction go on without its caller.
func (s *state) loosen(t transaction) {
	for i := range s.loose {
		if s.loose[i].kind == noTransaction {
			s.loose[i] = t
			return
		}
	}
	panic("flightmodel: no room for a loose transaction; spare was not asked")
}

// used is how many slots are taken: reserved, asked for by a claim, and held by attempts until their outcome is stored. An
// attempt takes over the slot that was reserved for it.
func (r *replica) used() (n int8) {
	if r.tx[placeClaim].kind != noTransaction {
		n++
	}
	for i := range r.attempts {
		for k := range r.attempts[i] {
			if r.attempts[i][k].stage != noAttempt || k == 0 && r.batch.reserved>>i&1 != 0 {
				n++
			}
		}
	}
	return n
}

// idle tells that nothing is reserved, asked for or held. A reservation is owed like an attempt.
func (r *replica) idle(forgetful bool) bool {
	return (r.batch.stage == noBatch || forgetful) && r.tx[placeClaim].kind == noTransaction &&
		r.tx[placeSettle].kind == noTransaction && r.tx[placeSettle2].kind == noTransaction && r.attempts == [maxNotes][3]attempt{}
}

// flightLocked tells whether another transaction than t has locked a flight.
func (w *world) flightLocked(s *state, f int8, t *transaction) (is bool) {
	s.eachTransaction(func(o *transaction) {
		switch {
		case o == t || o.stage != locked:
		case o.kind == rescue && w.fault != rescueLooksBeforeItsLock:
			is = is || o.flight == 1+f
		case o.kind == settle && w.settleLocks():
			for n := range o.items {
				is = is || o.items[n].number != 0 && o.items[n].dense && s.notes[n].flight == 1+f
			}
		}
	})
	return is
}

// rowLocked tells whether another transaction than t has locked a notification's row in the queue.
func (w *world) rowLocked(s *state, n int8, t *transaction) (is bool) {
	s.eachTransaction(func(o *transaction) {
		switch {
		case o == t || o.stage != locked:
		case o.kind == rescue && w.fault != rescueLooksBeforeItsLock:
			is = is || o.note == 1+n
		case o.kind == settle && w.settleLocks():
			is = is || o.items[n].number != 0 && !o.items[n].dense
		}
	})
	return is
}

// settleLocks tells whether a T3 that has looked holds its locks, as it must.
func (w *world) settleLocks() bool {
	return w.fault != settleTakesNoLock && w.fault != settleLooksBeforeItsLock
}
