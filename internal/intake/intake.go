// Package intake accepts a state change, or refuses it with a reason. It is the one place that decides: every source, be it the
// bank's own call, a database, a bus or the quarantine, hands its lines to Accept, and what comes out has been decoded
// strictly, checked against the API's schema, judged by the rules of package ofb against what is stored, and committed
// together with its notification.
//
// What stays true: an answer leaves only after the commit; the same (kind, id, revision) is accepted once however often
// it comes; a line that cannot be applied is kept where an operator can see it and does not occupy its revision. Many
// callers share a commit: while one batch is being stored the next gathers, so that no caller pays for a commit alone
// and an idle gateway answers at once.
//
// SQL is not known here (package store), nor HTTP (package api), nor any schema (package openapi, behind Schema).
package intake

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/arauto/arauto/internal/brand"
	"github.com/arauto/arauto/internal/groupcommit"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

// Store writes decided changes.
type Store interface {
	// Record locks what is stored of the changes' resources, hands it to judge, stores what judge answers and commits.
	// changes are of different resources, in order of (kind, id).
	Record(ctx context.Context, changes []*notice.Change, judge func([]notice.Past) []notice.Decision) error
}

// Schema returns the problems of a document, by the API's own rules.
type Schema interface {
	Check(kind ofb.Kind, version string, data map[string]any) []notice.Problem
}

// Observer receives intake's events for metrics. All methods must be quick and safe for concurrent use.
type Observer interface {
	// Accepted reports a change's verdict and how long its caller waited.
	Accepted(kind ofb.Kind, verdict notice.Verdict, silence ofb.Silence, waited time.Duration)
	// Nonconforming reports a stored change whose document does not conform to its schema.
	Nonconforming(kind ofb.Kind)
	// Committed reports one shared commit.
	Committed(changes int, took time.Duration, err error)
	// Refused reports a change that could not be stored: "busy" or "unavailable".
	Refused(why string)
}

// Traces keeps the receipts of changes that were not stored: the rule's clock runs from the first receipt. Refused must
// be quick, safe for concurrent use, and must not keep c.
type Traces interface {
	// Refused reports a change that was not stored, and why: one of notice.RefusedUnavailable, RefusedBusy, RefusedBehind.
	Refused(c *notice.Change, why string)
}

// Slots lets a first attempt be recorded in the commit of its change and leave right after it.
type Slots interface {
	// Reserve takes a slot for an attempt of the client that leaves at once, and returns the lease to give it; 0: there is
	// no slot. Then soon tells that one comes free within milliseconds. It does not wait.
	Reserve(client notice.ClientID) (lease time.Duration, soon bool)
	// Release gives back a slot that is not needed.
	Release(client notice.ClientID)
	// Start sends attempts that are committed. Each has a slot.
	Start(attempts []notice.Attempt)
}

// Config holds an Intake's settings. Store and Schema are required.
type Config struct {
	Store    Store
	Schema   Schema
	NewID    func() notice.ID                 // UUID v7
	Wake     func(notice.ClientID, time.Time) // a notification of this client falls due then; a hint, nil allowed
	Slots    Slots                            // nil: every attempt waits in the queue for a claim
	Behind   func() time.Duration             // how late first attempts are for want of database or processor; nil: never
	Observer Observer                         // nil allowed
	Traces   Traces                           // told of each change that was not stored; nil: nobody
	Log      *slog.Logger                     // nil: discarded

	Brands brand.List // of the deployment; the zero value: one, without a name

	OptionalAuthorised []ofb.Kind // kinds whose direct AUTHORISED is announced (D-6); none by default
	Timers             []ofb.Kind // kinds whose timers we fire (D-10)

	// TellNonconforming accepts a document that its schema refuses, as long as its id and status are sound: no other member may cost a
	// notification. The answer and the history name what does not conform.
	TellNonconforming bool

	Workers     int           // commits under way at once (default 4)
	MaxInFlight int           // uncommitted changes held at most (default 4096); one client has at most as many as are free
	MaxBytes    int           // what they may have together (default 64 MiB); one client has at most as many as are free
	MaxWaiting  int           // changes of one resource held at most (default 64)
	MaxBatch    int           // changes in one commit (default 200)
	GiveUp      time.Duration // how long the database may stay away before a caller is told (default 2.5 s)
}

// ErrBusy means that too many changes wait for their commit, in all, of this client or of this resource, or that the
// database or the processor is too slow to send more in time. Send the change again shortly.
var ErrBusy = errors.New("too many changes are waiting to be stored")

// When the database or the processor is so slow that first attempts are late by that much, streams wait beyond slowAt and
// single changes are refused beyond refuseAt. What receivers do never counts: no client waits for another's receiver.
const (
	slowAt   = notice.FirstWithin / 6
	refuseAt = notice.FirstWithin / 2
	slowLook = 10 * time.Millisecond
)

// linger is how long a change may wait for company while others commit.
const linger = 2 * time.Millisecond

// ErrUnavailable means that a change could not be stored. Its outcome is unknown; a retry is safe.
var ErrUnavailable = errors.New("the change could not be stored")

// ErrAlone comes with ErrUnavailable when it is this change that cannot be stored: it failed by itself, in a database that
// answers.
var ErrAlone = errors.New("it fails by itself")

// Intake accepts changes. Make it with New, start Run, then call Accept or Enqueue.
type Intake struct {
	cfg Config // with its defaults

	mu       sync.Mutex
	ready    []*Pending                // the first of each resource that is not being stored, in the order they became so
	slotless []*Pending                // those of ready that wait for a slot, in the same order
	asked    time.Time                 // when a slot was last asked for
	busy     map[notice.Key][]*Pending // for each resource with a change that is ready or being stored: those behind it, in order
	flying   int                       // batches being stored
	held     weight                    // submitted, not answered
	clients  map[notice.ClientID]*share
	picks    uint64           // how many times changes were picked for a batch
	room     chan struct{}    // closed and replaced whenever held shrinks
	woken    groupcommit.Wake // a change is ready, or a batch ended and its keys are free
	rule     groupcommit.Rule
	closed   bool

	away atomic.Pointer[error] // why the newest commit failed, while the database is away
}

// New makes an Intake. It answers only while Run runs.
func New(c Config) *Intake {
	c.Workers, c.MaxBatch, c.MaxWaiting = cmp.Or(max(0, c.Workers), 4), cmp.Or(max(0, c.MaxBatch), 200), cmp.Or(max(0, c.MaxWaiting), 64)
	c.MaxInFlight, c.MaxBytes = cmp.Or(max(0, c.MaxInFlight), 4096), cmp.Or(max(0, c.MaxBytes), 64<<20)
	c.GiveUp = cmp.Or(max(0, c.GiveUp), 2500*time.Millisecond)
	c.Observer, c.Log = cmp.Or[Observer](c.Observer, silent{}), cmp.Or(c.Log, slog.New(slog.DiscardHandler))
	if c.Behind == nil {
		c.Behind = func() time.Duration { return 0 }
	}
	if c.Wake == nil {
		c.Wake = func(notice.ClientID, time.Time) {}
	}
	return &Intake{
		cfg: c, busy: map[notice.Key][]*Pending{}, clients: map[notice.ClientID]*share{},
		room: make(chan struct{}), woken: make(groupcommit.Wake, 1), rule: groupcommit.Rule{MaxBatch: c.MaxBatch, Linger: linger},
	}
}

type silent struct{}

func (silent) Accepted(ofb.Kind, notice.Verdict, ofb.Silence, time.Duration) {}
func (silent) Nonconforming(ofb.Kind)                                        {}
func (silent) Committed(int, time.Duration, error)                           {}
func (silent) Refused(string)                                                {}

// Answer is the verdict on a change and its identifiers.
type Answer struct {
	Change        *notice.Change
	Verdict       notice.Verdict // applied, duplicate, superseded, conflict or quarantined
	ChangeID      notice.ID      // of a duplicate: the first one's
	Notifications []notice.ID
	Silence       ofb.Silence // why nothing is told, "" when something is
	Why           string      // of a conflict: "content", "owner" or "version"
	Problems      []notice.Problem
	QuarantineID  notice.ID
	Nonconforming []notice.Problem // of a stored change: what its document does not conform in
}

// Pending is a change that waits for its commit.
type Pending struct {
	change    *notice.Change
	size      weight
	of        *share // of its client
	submitted time.Time
	since     time.Time     // when it became ready
	keep      func() []byte // see Origin
	answer    Answer
	err       error
	done      chan struct{}

	first  *notice.Attempt // has a slot; nil: there is none
	token  notice.ID       // of first, where it gets an entry of its own
	lease  time.Duration
	doubts []notice.Attempt // first in the tries before, of which one may be stored
}

// Bytes is what the change holds in memory, beside the text it was read from: its problems.
func (p *Pending) Bytes() (n int) {
	for i := range p.change.Problems {
		one := &p.change.Problems[i]
		n += len(one.Pointer) + len(one.Code) + len(one.Detail) + len(one.DetailPT)
	}
	return n
}

// Wait returns when the change is committed, refused or given up. Errors: ErrUnavailable, or the context's; after the
// latter the change may still be stored, and sending it again is safe.
func (p *Pending) Wait(ctx context.Context) (Answer, error) {
	select {
	case <-p.done:
		return p.answer, p.err
	case <-ctx.Done():
		return Answer{}, ctx.Err()
	}
}

// Accept decodes, checks, judges and stores one line, and answers after the commit. Errors: *LineError (it is not a
// change at all), ErrBusy, ErrUnavailable, or the context's. The line is intake's from now on: the change has parts of it.
func (in *Intake) Accept(ctx context.Context, line []byte, from Origin) (Answer, error) {
	c, err := in.Read(line, from)
	if err != nil {
		return Answer{}, err
	}
	if in.cfg.Behind() > refuseAt {
		in.cfg.Observer.Refused("behind")
		in.refused(c, history.RefusedBehind)
		return Answer{}, ErrBusy
	}
	p, err := in.submit(c, from.Keep)
	if err != nil {
		why := history.RefusedUnavailable // Run has ended
		if errors.Is(err, ErrBusy) {
			why = history.RefusedBusy
		}
		in.cfg.Observer.Refused(why)
		in.refused(c, why)
		return Answer{}, err
	}
	return p.Wait(ctx)
}

// Enqueue is Accept for streams, and keeps the line, too: it waits for room instead of refusing, and does not wait for the commit. Pendings of one
// resource are stored in the order they were submitted in.
func (in *Intake) Enqueue(ctx context.Context, line []byte, from Origin) (*Pending, error) {
	c, err := in.Read(line, from)
	if err != nil {
		return nil, err
	}
	p, why, err := in.await(ctx, c, from.Keep)
	if err != nil {
		in.refused(c, why)
	}
	return p, err
}

// await submits a change as soon as there is room for it and first attempts are not late for want of our own means. why
// belongs to the error: what it waited for when ctx ended, or RefusedUnavailable.
func (in *Intake) await(ctx context.Context, c *notice.Change, keep func() []byte) (p *Pending, why string, err error) {
	for {
		in.mu.Lock()
		room, closed := in.room, in.closed
		in.mu.Unlock()
		if !closed && in.cfg.Behind() > slowAt { // once Run has ended nobody catches up
			select {
			case <-time.After(slowLook):
				continue
			case <-ctx.Done():
				return nil, history.RefusedBehind, ctx.Err()
			}
		}
		if p, err = in.submit(c, keep); !errors.Is(err, ErrBusy) {
			return p, history.RefusedUnavailable, err
		}
		select {
		case <-room:
		case <-ctx.Done():
			return nil, history.RefusedBusy, ctx.Err()
		}
	}
}

// Unstored leaves a trace of a line that was read and is answered 503 without being submitted. A line that is no change
// leaves none: it would not be accepted as it is.
func (in *Intake) Unstored(line []byte, from Origin) {
	if c, err := in.Read(line, from); err == nil {
		in.refused(c, history.RefusedUnavailable)
	}
}

// refused leaves a trace of a change that was not stored. Changes of a first load are never announced and leave none, nor
// do those whose resource or revision cannot be told.
func (in *Intake) refused(c *notice.Change, why string) {
	if in.cfg.Traces != nil && c.Kind != 0 && c.ResourceID != "" && c.Revision > 0 && c.Cause != ofb.FirstLoad {
		in.cfg.Traces.Refused(c, why)
	}
}

// Read decodes and checks a line without storing anything: what Accept would judge, or a *LineError. The change has parts of the line. With Origin.Keep the
// change has no Line unless something is wrong with it.
func (in *Intake) Read(line []byte, from Origin) (*notice.Change, error) {
	m, err := decode(line)
	if err != nil {
		return nil, err
	}
	return in.read(line, m, from, time.Now()), nil
}

func (in *Intake) submit(c *notice.Change, keep func() []byte) (*Pending, error) {
	p := &Pending{change: c, keep: keep, size: weight{1, len(c.Line)}, submitted: time.Now(), done: make(chan struct{})}
	if keep != nil { // else the document is a part of the line
		p.size.bytes += len(c.Document)
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.closed {
		return nil, ErrUnavailable
	}
	key := c.Key()
	after, busy := in.busy[key]
	if len(after)+1 >= in.cfg.MaxWaiting || !in.fits(p) {
		return nil, ErrBusy
	}
	in.held.add(p.size, 1)
	p.of = in.clients[c.Client]
	if p.of == nil {
		p.of = &share{}
		in.clients[c.Client] = p.of
	}
	p.of.add(p.size, 1)
	if busy {
		in.busy[key] = append(after, p)
		return p, nil
	}
	in.busy[key] = nil
	in.makeReady(p)
	return p, nil
}

// weight is a number of changes, and what they have in bytes.
type weight struct{ changes, bytes int }

func (w *weight) add(o weight, sign int) {
	w.changes += sign * o.changes
	w.bytes += sign * o.bytes
}

// share is what one client has of it, and whether it had a slot when changes were picked last.
type share struct {
	weight
	without uint64 // the pick in which it had none
	soon    bool   // there is one soon
}

// fits reports whether there is room for one more: in all, and for its client, who may hold as much as is left to the
// others. So one that has much to say leaves half, two leave a third. The first of all, and of a client, is never too
// large.
func (in *Intake) fits(p *Pending) bool {
	left := weight{in.cfg.MaxInFlight - in.held.changes, in.cfg.MaxBytes - in.held.bytes}
	of := in.clients[p.change.Client]
	if left.changes < 1 || left.bytes < p.size.bytes && in.held.changes > 0 {
		return false
	}
	return of == nil || of.changes < left.changes && of.bytes+p.size.bytes <= left.bytes
}

// makeReady lines a change up for the next batch; nothing of its resource is being stored. in.mu is held.
func (in *Intake) makeReady(p *Pending) {
	p.since = time.Now()
	in.ready = append(in.ready, p)
	in.woken.Signal()
}
