// Package dispatch decides which notification is attempted when: lanes, slots, leases, rescue. It knows no SQL and no
// HTTP: a Queue stores its state and a Sender makes the attempts.
//
// # Overview
//
// The rule (webhook §4.1) is three attempts: at once, 10 s after the first failed, 60 s after the second failed, each
// with 15 s to answer (§4.2). It holds for an initiator that is down as it does for one that answers, so there is no
// circuit breaker, no health, no skipped attempt. The order in which free slots are given away
// keeps a slow receiver from delaying the others:
//
//   - A slot is the right to have one attempt under way. Slots are few, work is in the database: nothing in memory
//     grows with the backlog.
//   - A lane is a clientId. Lanes are quick, slow or silent, by how long they keep a slot (class.go). Silent lanes, which
//     do not answer or are not known to, together leave room for all that answer; slow and silent lanes together leave
//     room for the quick. What is left grows with what those lanes have needed of late. Every lane may hold one slot.
//   - The next free slot goes to a lane that holds none, then to the lane that holds the fewest, first of those that
//     answer. No lane holds more than PerLane, nor all that its class may have.
//   - Inside a lane the queue gives first what can still be on time and then what is late, with at least one slot in
//     four for the late (ClaimRequest.Late), so that a backlog delays nobody and still shrinks.
//
// One goroutine, the loop, owns all of this state and never waits for anything but events. Every call of the queue runs
// in a goroutine of its own, few at a time (two claims, two settlements, one sweep, one rescue), and answers the loop
// over a channel. Every attempt has a goroutine too, one per slot.
//
// The loop asks only for lanes that it knows to have due work: a wake-up after a commit (WakeIn), a due time the database
// told (Settle, Waiting; a lane keeps them as one bit per 20 ms), or a lane whose last claim came back full. A sweep of all lanes every 300 ms is the truth that
// covers a lost wake-up. Otherwise it sleeps until the earliest due time it knows.
//
// Nothing here slows or refuses intake. Behind reports the delay that database and processor cause, so that intake can
// refuse. A lane that gets no slot waits in the database, and its next attempt records why and for how long.
//
// # The life of an attempt
//
//	 due in the database
//	  │
//	  │ lane known to have work, slot free: Claim commits number, interaction id and lease
//	  ▼
//	┌─────────┐ no room for a whole attempt within the lease, or shutting down: nothing is sent
//	│ claimed ├──────────────────────────────────────────────────────────────────────┐
//	└────┬────┘                                                                      │
//	     │ Send, at most Timeout                                                     │
//	     ▼                                                                           │
//	┌─────────┐ panic, or the sender could not send                                  │
//	│ sending ├──────────────────────────────────────────────────────┐               │
//	└────┬────┘                                                      │               │
//	     │ Result                                                    │ unknown       │ unknown
//	     ▼                                                           ▼               ▼
//	┌──────────────────────────────────────────────────────────────────────────────────┐
//	│ held: the slot stays taken until Settle has stored the outcome, however often it │
//	│ must be tried                                                                    │
//	└────┬─────────────────────────────┬────────────────────────────────┬──────────────┘
//	     ▼                             ▼                                ▼
//	 delivered                due again in 10 s or 60 s             exhausted
//
//	 replica lost (killed, cut off): the lease runs out, and any replica's Rescue, which never sends, settles the
//	 attempt as unknown and schedules the next number. A result that comes later is kept as a late entry.
//
// # Invariants
//
//   - An attempt number is sent at most once. It is recorded before it is sent, a rescue never sends, and what was
//     claimed too long ago is not sent (design, Lease).
//   - No attempt is early: due times are the database's; only durations cross the border, measured monotonically.
//   - Attempts under way and outcomes not yet stored together never exceed Slots.
//   - An outcome is never dropped while Run lasts; if the end of the drain cuts one off, Run says so.
//
// # Failure handling
//
// Any error of the queue is an interruption of the database. Nothing is asked of it then but a probe (Waiting, at
// growing distances up to a second). Once it answers, what is held is settled first; only then are claims made again, and
// nobody rescues in the first 3 s, so that every replica can save what it holds (design, Lease). A replica that has just
// started is treated as one whose database was away.
//
// One bad row must not look like an interruption. A call that fails is tried again with an eighth of its members,
// down to one. A result or a lane that keeps failing alone while others succeed, or for 3 s on a database that answers,
// is isolated: it is tried again alone, every few seconds, and no longer delays the rest.
//
// A panic in an attempt is that attempt's failure; its outcome is unknown.
//
// # Shutdown
//
// When Run's context ends, no new claim is made from that instant. What was claimed is sent and ends by itself; outcomes
// are stored; all within DrainTimeout.
//
// # Left to others
//
// The store: due times, leases, ranges of late and on time, registrations and their epochs, the record. The sender: the
// wire, its limits, and returning soon after its context ends or that context's deadline is over. The gateway: the number of slots, readiness, metrics.
package dispatch

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/arauto/arauto/internal/notice"
)

// Queue stores the dispatcher's work. Every call is bounded by its context; after an error it is unknown what was stored.
type Queue interface {
	// Claim leases due attempts, at most want[i].Free of each lane, of which at least min(want[i].Late, what is late) are
	// late ones, in one statement, and records them as started, committed before it returns. The lease lasts until lease
	// after the statement's instant. ClaimedAt need not be set.
	Claim(ctx context.Context, requests []notice.ClaimRequest, lease time.Duration) ([]notice.Attempt, error)
	// Waiting lists the lanes with unleased work under their present registration, and how long until the earliest of
	// each falls due (≤ 0: now), by the database's clock.
	Waiting(ctx context.Context) ([]notice.Lane, error)
	// Settle stores outcomes and what follows from them, all or none; those whose lease is no longer ours are kept as late
	// entries. Storing the same outcome twice must be harmless, for an error may hide a commit. It returns the lanes in
	// which an attempt follows, and when.
	Settle(ctx context.Context, done []notice.Settlement) ([]notice.Lane, error)
	// Rescue settles up to limit attempts whose lease ran out as unknown, ended timeout after their start, and schedules
	// what follows. It never sends. It returns how many there were, and the client of each notification that is given up,
	// because the third attempt was among them.
	Rescue(ctx context.Context, limit int, timeout time.Duration) (n int, givenUp []notice.ClientID, err error)
}

// Sender makes one attempt and returns soon after ctx ends, and soon after the deadline of ctx, which nobody else keeps. An error means that no attempt was made; the receiver's
// behaviour is the Result.
type Sender interface {
	Send(ctx context.Context, a notice.Attempt) (notice.Result, error)
}

// Observer is told what happened, for metrics. Its methods are called from several goroutines and must not block.
type Observer interface {
	// Claimed reports one claim: how long it took, and what it got. StartedAt minus ScheduledAt of a first attempt is its
	// delay.
	Claimed(took time.Duration, got []notice.Attempt, err error)
	// Started reports first attempts that were claimed in the commit of their changes and leave now. That began at
	// ClaimedAt or later.
	Started(got []notice.Attempt)
	// Settled reports one try to store outcomes.
	Settled(took time.Duration, done []notice.Settlement, err error)
	// Rescued reports n attempts settled as unknown because their lease had run out, and the client of each notification that
	// is given up by that.
	Rescued(n int, givenUp []notice.ClientID)
	// Panicked reports a panic caught in an attempt or in a call of the queue.
	Panicked()
	// Swept reports the load, with each sweep.
	Swept(load Load)
}

// Load is the dispatcher's state at one moment.
type Load struct {
	InFlight     int           // slots taken: attempts under way and outcomes not yet stored
	Unsettled    int           // of these, outcomes not yet stored
	WaitingLanes int           // lanes with unleased work, due or not, in the whole system
	Oldest       time.Duration // how long the longest overdue work has been waiting; 0: nothing is overdue
	Interrupted  bool          // the database did not answer; the two fields above are then not known
}

// Dispatcher makes the attempts that are due. Make it with New.
type Dispatcher struct {
	queue    Queue
	sender   Sender
	cfg      Config
	log      *slog.Logger
	observer Observer
	wakes    wakes
	loop     atomic.Pointer[loop] // of Run; nil before
	behind   atomic.Pointer[behind]
}

// New makes a dispatcher. Zero fields of cfg take their defaults; the error reports every invalid
// field. observer may be nil.
func New(queue Queue, sender Sender, cfg Config, log *slog.Logger, observer Observer) (*Dispatcher, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	observer = cmp.Or[Observer](observer, noObserver{})
	return &Dispatcher{
		queue: queue, sender: sender, cfg: cfg, log: log, observer: observer,
		wakes: wakes{at: make(map[notice.ClientID]time.Time), signal: make(chan struct{}, 1)},
	}, nil
}

// Run dispatches until ctx ends, then drains: at most DrainTimeout later it returns nil, or an error that says how many
// attempts ended without a stored outcome (a later rescue will settle them as unknown). It may be called once.
func (d *Dispatcher) Run(ctx context.Context) error {
	l := newLoop(ctx, d)
	if !d.loop.CompareAndSwap(nil, l) {
		return errors.New("dispatch: Run was called twice")
	}
	return l.run(ctx)
}

// WakeIn announces that a lane has work that becomes due after the duration in (contract, notBefore), 0 or less for now. It
// is cheap, never blocks, and may be called at any time from any goroutine; close wake-ups of one lane count as one. It is a
// hint: a lost one delays the work by at most one sweep.
func (d *Dispatcher) WakeIn(client notice.ClientID, in time.Duration) {
	d.wakes.add(client, time.Now().Add(in))
}

// noObserver is told nothing.
type noObserver struct{}

func (noObserver) Claimed(time.Duration, []notice.Attempt, error)    {}
func (noObserver) Started([]notice.Attempt)                          {}
func (noObserver) Settled(time.Duration, []notice.Settlement, error) {}
func (noObserver) Rescued(int, []notice.ClientID)                    {}
func (noObserver) Panicked()                                         {}
func (noObserver) Swept(Load)                                        {}
