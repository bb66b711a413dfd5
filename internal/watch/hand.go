package watch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/arauto/arauto/internal/notice"
)

// window is how many records may be on their way to their commit: as many as intake stores at once, and some to follow. A
// fresh change waits behind all of them.
const window = 1000

// chunk is how many records are mapped, and looked up for, at a time.
const chunk = 200

// errPaused ends a session when an operator pauses the source.
var errPaused = errors.New("the source was paused")

// session is one Read, and the Hand it is given. What it takes is committed in order by another goroutine; the first
// failure ends both, so that nothing after it is acknowledged and the Reader begins again from there.
type session struct {
	*Source
	ctx    context.Context //nolint:containedctx // it is the session's life
	fail   context.CancelCauseFunc
	flying chan flight // what waits for its commit, in order
	mapper mapper

	mu        sync.Mutex
	progress  bool
	described bool
}

// flight is something on its way to its commit, or the mark behind all that one Take took.
type flight struct {
	pending Pending
	record  *Envelope
	reject  bool
	done    func()
	last    string // position of the newest record before a mark
}

// session reads once. progress tells whether anything was committed.
func (s *Source) session(ctx context.Context) (progress bool, err error) {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	x := &session{Source: s, ctx: ctx, fail: fail, flying: make(chan flight, window-1), mapper: mapper{find: s.reader.Find}}
	var beside sync.WaitGroup
	beside.Go(x.land)
	if paused, turned := s.isPaused(); paused {
		fail(errPaused)
	} else {
		beside.Go(func() { x.mind(turned) })
	}
	err = s.reader.Read(ctx, x)
	if cause := context.Cause(ctx); cause != nil {
		err = cause // what broke first
	}
	fail(errors.New("the session has ended"))
	beside.Wait()
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.progress, err
}

// mind ends the session when the source is paused.
func (x *session) mind(turned <-chan struct{}) {
	for {
		select {
		case <-x.ctx.Done():
			return
		case <-turned:
		}
		var paused bool
		if paused, turned = x.isPaused(); paused {
			x.fail(errPaused)
			return
		}
	}
}

// Take implements Hand.
func (x *session) Take(ctx context.Context, records []Record, done func()) error {
	x.become(Running)
	last := ""
	for part := range slices.Chunk(records, chunk) {
		if err := x.take(ctx, part); err != nil {
			x.fail(err)
			return err
		}
		last = part[len(part)-1].Position
	}
	return x.fly(ctx, flight{done: done, last: last})
}

// take maps records and hands them on.
func (x *session) take(ctx context.Context, records []Record) error {
	x.Source.mu.Lock()
	x.status.Counts.Read += int64(len(records))
	x.Source.mu.Unlock()
	works, suspect := make([]*work, 0, len(records)), !x.faultless()
	for i := range records {
		rec := &records[i]
		stopped, rules := x.isStopped(rec.Table), x.mapping.rules[rec.Table]
		if len(rules) == 0 { // the reader tells more than it was asked for
			x.skip(rec.Table, skipUnmapped)
		}
		for _, r := range rules {
			w := &work{rule: r, rec: rec}
			if stopped {
				w.Problems = stoppedProblem(rec.Table)
			} else if suspect {
				w.Problems = x.failures(x.envelope(w)).problem()
			}
			w.finished = len(w.Problems) > 0
			works = append(works, w)
		}
	}
	culprit := func() *Envelope {
		if x.mapper.now == nil {
			return nil
		}
		return x.envelope(x.mapper.now)
	}
	if err := x.guarded(ctx, mapping, culprit, func() error { return x.mapper.all(ctx, works) }); err != nil {
		return err
	}
	for _, w := range works {
		if err := x.hand(ctx, w); err != nil {
			return err
		}
	}
	return nil
}

// envelope is what a record is known by, and kept as.
func (x *session) envelope(w *work) *Envelope {
	return &Envelope{Source: x.Source.mapping.Source, Part: w.rule.part, Record: *w.rec}
}

// all takes works through all steps.
func (m *mapper) all(ctx context.Context, works []*work) error {
	m.now = nil
	joins := false
	for _, w := range works {
		if !w.finished {
			m.prepare(w)
			joins = joins || len(w.rule.joins) > 0
		}
	}
	if joins {
		if err := m.join(ctx, works); err != nil {
			return err
		}
	}
	for _, w := range works {
		m.finish(w)
	}
	return nil
}

// hand hands on what became of one record.
func (x *session) hand(ctx context.Context, w *work) error {
	if err := context.Cause(x.ctx); err != nil {
		return err
	}
	e := x.envelope(w)
	switch {
	case len(w.Problems) > 0:
	case w.Skipped != "":
		x.skip(w.rec.Table, w.by)
		return nil
	case w.rule.registration != nil:
		return x.register(ctx, w, e)
	default:
		p, err := x.submit(ctx, w, e)
		if refused := (*Refused)(nil); errors.As(err, &refused) {
			w.Problems = refused.Problems
			break
		}
		if err != nil {
			return fmt.Errorf("hand on %s: %w", w.rec.Key, err)
		}
		return x.fly(ctx, flight{pending: p, record: e})
	}
	return x.reject(ctx, w, e)
}

// submit hands on a change.
func (x *session) submit(ctx context.Context, w *work, e *Envelope) (p Pending, err error) {
	err = x.guarded(ctx, storing, func() *Envelope { return e }, func() error {
		p, err = x.sink.Submit(ctx, w.Line, e.Encode, e.Source)
		if errors.Is(err, ErrAlone) {
			x.fails(e, storing)
		}
		return err
	})
	return p, err
}

// register keeps or deletes a registration at once: what follows it is told under it.
func (x *session) register(ctx context.Context, w *work, e *Envelope) error {
	err := x.guarded(ctx, storing, func() *Envelope { return e }, func() error {
		if w.Delete != "" {
			return x.registrar.Delete(ctx, e.Source, w.Delete)
		}
		return x.registrar.Put(ctx, e.Source, *w.Registration)
	})
	if refused := (*Refused)(nil); errors.As(err, &refused) {
		w.Problems = refused.Problems
		return x.reject(ctx, w, e)
	}
	if err != nil {
		return fmt.Errorf("keep the registration of %s: %w", w.rec.Key, err)
	}
	x.count(w.rec.Table, Registered)
	return nil
}

func (x *session) reject(ctx context.Context, w *work, e *Envelope) error {
	if len(w.Problems) == 0 {
		w.Problems = []notice.Problem{problem("", codeExpression, "the record was refused without a reason", "o registro foi recusado sem motivo")}
	}
	e.Cut = x.failures(e).times >= 2*mostTries
	r := w.rejected(e)
	if notice.ValidClientID(string(w.client)) {
		r.Client = w.client
	}
	var p Pending
	err := x.guarded(ctx, storing, func() *Envelope { return e }, func() (err error) {
		p, err = x.sink.Reject(ctx, r)
		return err
	})
	if err != nil {
		return fmt.Errorf("put %s aside: %w", w.rec.Key, err)
	}
	return x.fly(ctx, flight{pending: p, record: e, reject: true})
}

// fly lines something up behind what is on its way, and waits while too much is.
func (x *session) fly(ctx context.Context, f flight) error {
	select {
	case x.flying <- f:
		return nil
	case <-x.ctx.Done():
		return context.Cause(x.ctx)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// land waits for commits, in order, and tells the Reader what is done.
func (x *session) land() {
	for {
		select {
		case <-x.ctx.Done():
			return
		case f := <-x.flying:
			if f.done != nil {
				x.mark(f)
				continue
			}
			verdict, err := f.pending.Wait(x.ctx)
			if err != nil {
				if errors.Is(err, ErrAlone) {
					x.fails(f.record, storing)
				}
				x.fail(fmt.Errorf("commit of %s: %w", f.record.Record.Key, err))
				return
			}
			x.landed(f, verdict)
		}
	}
}

// mark says that everything before it is done, unless the session is over: then it will be told again.
func (x *session) mark(f flight) {
	if x.ctx.Err() != nil {
		return
	}
	f.done()
	x.mu.Lock()
	x.progress = true
	x.mu.Unlock()
	if f.last != "" {
		x.Source.mu.Lock()
		x.status.Position = f.last
		x.Source.mu.Unlock()
	}
}

func (x *session) landed(f flight, verdict notice.Verdict) {
	outcome := Stored
	switch {
	case f.reject || verdict == notice.Quarantined:
		outcome = Quarantined
	case verdict == notice.Duplicate:
		outcome = Silent
	case verdict == notice.Conflicting:
		outcome = Conflict
	}
	x.forgive(f.record)
	x.count(f.record.Record.Table, outcome)
	now := time.Now()
	x.Source.mu.Lock()
	x.status.LastCommitAt = now
	x.Source.mu.Unlock()
	if committed := f.record.Record.CommittedAt; outcome == Stored && !committed.IsZero() && f.record.Record.Op != Snapshot {
		x.observer.Committed(f.record.Source, max(0, now.Sub(committed)))
	}
}

// Lag implements Hand.
func (x *session) Lag(bytes int64, behind time.Duration) {
	x.become(Running)
	x.Source.mu.Lock()
	x.status.LagBytes, x.status.LagSeconds = bytes, behind.Seconds()
	x.Source.mu.Unlock()
	x.observer.Lag(x.mapping.Source, bytes, behind)
}
