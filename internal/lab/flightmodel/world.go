package flightmodel

// rules are the times of the product in ticks.
type rules struct {
	timeout, lease int8
	gaps           [3]int8 // gaps[k] follows a failure of number k; none after the third
}

var (
	// short keeps the order of the real times with as few ticks as can be: an attempt fits into its lease, and the attempt
	// after a lost one is due after its lease is over.
	short = rules{timeout: 1, lease: 2, gaps: [3]int8{0, 2, 3}}
	// lifelike has a tick of 5 s: time-out 15 s, lease 20 s, gaps 10 s and 60 s.
	lifelike = rules{timeout: 3, lease: 4, gaps: [3]int8{0, 2, 12}}
)

// floor is the most that a lease can be over, as far as anybody cares: what follows a rescue is due at once.
func (r *rules) floor() int8 { return min(-1, r.lease-r.timeout-r.gaps[2]) }

// world is what does not change during a run: the rules, the bounds, and a fault of the design.
type world struct {
	rules
	notes     int
	slots     int8 // of each replica
	handIns   int8 // of each change
	tries     int8 // of one T1
	split     bool // changes also come alone, not only all in one batch
	notBefore [maxNotes]int8
	left      budget
	fault     fault
}

func (w *world) start() state {
	var s state
	s.left = w.left
	for n := range s.notes {
		s.notes[n].notBefore, s.notes[n].earliest = w.notBefore[n], w.notBefore[n]
		s.notes[n].endAge = [3]int8{running, running, running}
	}
	return s
}

// fault is a deliberate mistake in the design. Each must break a law.
type fault uint8

const (
	sound fault = iota
	sendsBeforeCommit
	retryTakesNewLeaseAge
	retryLeavesItsOwn
	retryTakesItsLastFlight
	anyDuplicateSends
	notBeforeByOwnClock
	guardByOwnClock
	noGuard
	settleTakesNoLock
	settleSharesLock
	settleLooksBeforeItsLock
	settleIgnoresWhatStands
	settleTrustsItsFirstTry
	settleIgnoresLease
	noQueueRowOnFailure
	firstAttemptNotCounted
	noEndAfterThird
	dueFromStart
	dueByOwnClock
	flightGoesWithFirstResult
	flightStays
	rescueLooksBeforeItsLock
	rescueSends
	rescueForgetsTimeout
	rescueQueuesNothing
	rescueLeavesMiscounted
	slotNotGivenBack
	drainForgetsBatch
	heldLaneReserves
	nobodyRescues
	faults // how many there are
)
