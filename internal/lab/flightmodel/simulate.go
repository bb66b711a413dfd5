package flightmodel

import (
	"math/rand/v2"
	"slices"
)

// Bounds of one simulated run, in steps.
const (
	faultySteps = 150 // at most
	calmSteps   = 5000
)

// drawWorld draws the bounds of a run. Its times are in the proportions of the real ones.
func drawWorld(dice *rand.Rand) world {
	upTo := func(n int) int8 { return int8(dice.IntN(n + 1)) }
	w := world{
		rules: lifelike, notes: 1 + dice.IntN(maxNotes), slots: 1 + upTo(3), handIns: 1 + upTo(2), tries: 1 + upTo(2), split: true,
		left: budget{
			crashes: upTo(3), losses: upTo(4), aborts: upTo(4), jumps: upTo(2), drains: upTo(1), holds: upTo(2), ends: upTo(4) / 4, stalls: upTo(120),
			miscounts: upTo(1),
		},
	}
	for n := range w.notBefore {
		w.notBefore[n] = max(0, upTo(12)-8)
	}
	return w
}

// run is one simulated run.
type run struct {
	steps  []action
	end    state
	broken *broken // nil: it kept every law
}

// simulate makes one run whose every choice follows from the seed: first with faults, then without, until everything has
// ended.
func simulate(seed uint64, with fault) (r run) {
	dice := rand.New(rand.NewPCG(seed, 19))
	w := drawWorld(dice)
	w.fault = with
	s := w.start()
	defer func() { r.end = s }()
	r.steps = make([]action, 0, faultySteps)
	perform := func(a action) bool {
		r.steps = append(r.steps, a)
		if law := w.apply(&s, a); law != "" {
			r.broken = &broken{law, r.steps}
		}
		return r.broken == nil
	}
	var possible []action
	for range 1 + dice.IntN(faultySteps) {
		if s.ends() && s.allKnown(w.notes) {
			break
		}
		possible = w.actions(&s, possible[:0])
		if !perform(choose(dice, &s, possible)) {
			return r
		}
	}
	s.held = false
	for range calmSteps {
		if s.ends() {
			return r
		}
		possible = slices.DeleteFunc(w.actions(&s, possible[:0]), func(a action) bool { return a.isFault(&s) || a.do == hold })
		if !perform(possible[dice.IntN(len(possible))]) {
			return r
		}
	}
	r.broken = &broken{lawEnds, r.steps}
	return r
}

// allKnown tells whether the core has the answer to each of its changes.
func (s *state) allKnown(notes int) bool {
	for n := range notes {
		if !s.notes[n].known {
			return false
		}
	}
	return true
}

// choose draws a step. A fault is drawn again mostly, so that a run gets somewhere between two.
func choose(dice *rand.Rand, s *state, possible []action) action {
	for range 4 {
		if a := possible[dice.IntN(len(possible))]; a.do == handIn || !a.isFault(s) {
			return a
		}
	}
	return possible[dice.IntN(len(possible))]
}
