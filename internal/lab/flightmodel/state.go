package flightmodel

import "hash/maphash"

const (
	replicas = 2
	maxNotes = 3 // notifications; a scope may use fewer
	loose    = 4 // transactions at once whose caller is gone
)

// Places of a replica's own transactions: its connections to the database.
const (
	placeRecord  = 0 // T1
	placeClaim   = 1 // T2
	placeSettle  = 2 // T3, two at once
	placeSettle2 = 3
	places       = 4
)

// Kinds of transactions.
const (
	noTransaction int8 = iota
	record             // T1
	claim              // T2
	settle             // T3
	rescue             // R
)

// Stages of a transaction.
const (
	sent      int8 = iota // on its way to the server
	locked                // it has begun, holds its locks, and has looked
	committed             // the answer is on its way
	aborted               // the same
)

// What an attempt came to.
const (
	noOutcome int8 = iota
	delivered
	failed
	unsent // unknown, by the replica that holds it: it was not sent
	lost   // unknown, by a rescue
)

// How a notification is closed.
const (
	open      int8 = iota
	silent         // stored, and nobody is to be told
	toldOf         // delivered
	exhausted      // the third attempt failed
	cancelled      // the registration ended
)

// running is the age of an end that has not come.
const running = -1

// note is one change of one resource, and the notification it makes: the rows the database has of it, what the core
// knows, and what only the laws know. Instants are distances from now in ticks.
type note struct {
	change   int8 // resource: id of the stored change; 0: none
	closed   int8
	flight   int8  // entry of attempt 1: 1 + the flight whose commit recorded it; 0: another transaction did, or will
	recorded uint8 // entries: a bit for each attempt number
	result   [3]int8
	late     [3]int8

	queued, leased bool // queue: the row is there, and has a token
	due, attempts  int8
	lease          int8 // until lease_until; less than 0: it is over
	by             int8 // who leased it: 1 + replica. For the laws

	handed    int8 // how often the core handed it in; the last id
	known     bool // the core has its answer
	notBefore int8

	// For the laws only.
	posts      [3]int8 // how often each number left
	earliest   int8    // until the next attempt may leave
	endAge     [3]int8 // since the true end of each number, while it has no result; running: it has not ended
	results    [3]int8
	forfeit    uint8   // numbers that nobody will settle: their holder was killed, or does not know of them
	lostAnswer [3]int8 // settlements whose answer was lost
}

// flight is the row of one commit's attempts: flight (id, xid, lease_until, unsettled).
type flight struct {
	unsettled int8  // 0: there is no such row
	members   uint8 // the notes whose entry of attempt 1 has the flight's xid
	lease     int8
	by        int8
	extra     int8 // for the laws: by how many it counts too many
}

// Stages of an attempt in the memory of a replica.
const (
	noAttempt int8 = iota
	ready          // its commit is confirmed
	sending
	ended    // the outcome is held
	settling // a T3 has been sent
)

// attempt is an attempt in the memory of a replica. It holds a slot.
type attempt struct {
	stage   int8
	age     int8 // since ClaimedAt; once it is sent, since then
	endAge  int8
	outcome int8
	place   int8 // of the T3
	dense   bool // it belongs to a flight, else to a queue row

	// Of faults only.
	tried  bool // a T3 with its outcome was sent
	astray bool // it names a flight that is not its own
}

// Stages of a batch in intake.
const (
	noBatch   int8 = iota
	recording      // a T1 has been sent
	between        // a T1 failed, or its answer was lost
)

// batch is what one replica's intake stores in one commit. Its ids are drawn once, before the first try. Those of
// notifications and flights are not: each try has its own, and the stored notification tells which try was committed.
type batch struct {
	stage          int8
	mask, reserved uint8
	ids            [maxNotes]int8
	age            int8 // since ClaimedAt
	tries          int8
	doubt          bool // the answer of a try was lost
}

// item is one outcome in a T3.
type item struct {
	number, outcome, ago int8
	dense                bool
	own                  bool // the lease is still ours
	stored               bool // the same outcome stands already
	left                 int8 // unsettled, when it looked
	trusted, astray      bool // see attempt; of faults only
}

// transaction is one at the server. Its caller may be gone.
type transaction struct {
	kind, stage          int8
	age                  int8 // since BEGIN
	mask, reserved, seen uint8
	push                 bool
	ids                  [maxNotes]int8
	items                [maxNotes]item
	flight, note, number int8 // of a rescue: 1 + flight, or 1 + note; of a claim
	by                   int8
}

type replica struct {
	batch    batch
	attempts [maxNotes][3]attempt
	tx       [places]transaction
	draining bool
	wall     int8 // how far its wall clock is ahead of the database's
}

// budget is how much may still go wrong.
type budget struct {
	crashes, losses, aborts, jumps, drains, holds, ends int8
	miscounts                                           int8 // flights that count one too many
	stalls                                              int8 // ticks that pass although something waits to be done
}

// state is everything. It has no pointer and no padding, so that it can be compared and hashed as it is.
type state struct {
	notes   [maxNotes]note
	flights [maxNotes]flight
	reps    [replicas]replica
	loose   [loose]transaction
	held    bool // the lane is held: nothing of it may be reserved or claimed
	over    bool // the registration has ended
	left    budget
}

var seed = maphash.MakeSeed()

// key is the same for states that differ only by the names of replicas, of notifications and of loose transactions.
func (w *world) key(s *state) uint64 {
	best := w.keyOf(s)
	swapped := *s
	swapped.swapReplicas()
	best = min(best, w.keyOf(&swapped))
	if w.notes == 2 {
		swapped.swapNotes()
		best = min(best, w.keyOf(&swapped))
		swapped.swapReplicas()
		best = min(best, w.keyOf(&swapped))
	}
	return best
}

func (w *world) keyOf(s *state) uint64 {
	var pool uint64
	plain := *s
	for i := range plain.loose {
		if plain.loose[i].kind != noTransaction {
			pool += maphash.Comparable(seed, plain.loose[i])
		}
	}
	plain.loose = [loose]transaction{}
	return maphash.Comparable(seed, plain) ^ pool*0x9e3779b97f4a7c15
}

func (s *state) swapReplicas() {
	s.reps[0], s.reps[1] = s.reps[1], s.reps[0]
	for i := range s.notes {
		swapNames(&s.notes[i].by)
		swapNames(&s.flights[i].by)
	}
	s.eachTransaction(func(t *transaction) { swapNames(&t.by) })
}

// swapNotes exchanges the first two notifications. A flight is named by its first member, so one that carries both keeps
// its name.
func (s *state) swapNotes() {
	s.notes[0], s.notes[1] = s.notes[1], s.notes[0]
	if s.flights[0].members != 3 {
		s.flights[0], s.flights[1] = s.flights[1], s.flights[0]
		for i := range s.flights[:2] {
			s.flights[i].members = swapBits(s.flights[i].members)
			swapNames(&s.notes[i].flight)
		}
		s.eachTransaction(func(t *transaction) { swapNames(&t.flight) })
	}
	for r := range s.reps {
		b, a := &s.reps[r].batch, &s.reps[r].attempts
		b.mask, b.reserved = swapBits(b.mask), swapBits(b.reserved)
		b.ids[0], b.ids[1] = b.ids[1], b.ids[0]
		a[0], a[1] = a[1], a[0]
	}
	s.eachTransaction(func(t *transaction) {
		t.mask, t.reserved, t.seen = swapBits(t.mask), swapBits(t.reserved), swapBits(t.seen)
		t.ids[0], t.ids[1] = t.ids[1], t.ids[0]
		t.items[0], t.items[1] = t.items[1], t.items[0]
		swapNames(&t.note)
	})
}

// eachTransaction visits every transaction.
func (s *state) eachTransaction(visit func(*transaction)) {
	for r := range s.reps {
		for p := range s.reps[r].tx {
			if t := &s.reps[r].tx[p]; t.kind != noTransaction {
				visit(t)
			}
		}
	}
	for i := range s.loose {
		if t := &s.loose[i]; t.kind != noTransaction {
			visit(t)
		}
	}
}

// swapNames exchanges 1 and 2, and leaves 0.
func swapNames(name *int8) {
	if *name != 0 {
		*name = 3 - *name
	}
}

func swapBits(mask uint8) uint8 { return mask&1<<1 | mask>>1&1 }
