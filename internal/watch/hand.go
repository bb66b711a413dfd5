package watch

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/arauto/arauto/internal/notice"
)

// window is how many records may be on their way to their commit.
const window = 2000

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
	pending    Pending
	table, key string
	committed  time.Time // by the core; zero: unknown, or of no interest
	reject     bool
	done       func()
	last       string // position of the newest record before a mark
}

// flightOf is about a record. It keeps nothing of it: the Reader may use it again.
func flightOf(p Pending, rec *Record) flight {
	f := flight{pending: p, table: rec.Table, key: rec.Key}
	if rec.Op != Snapshot {
		f.committed = rec.CommittedAt
	}
	return f
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
func (x *session) Take(ctx context.Context, records []Record, done func()) (err error) {
	defer func() {
		if p := recover(); p != nil { // one poison record must not take the process along
			x.log.ErrorContext(ctx, "panic while mapping", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = fmt.Errorf("panic while mapping: %v", p)
			x.fail(err)
		}
	}()
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
	works := make([]*work, 0, len(records))
	for i := range records {
		rec := &records[i]
		stopped, rules := x.isStopped(rec.Table), x.mapping.rules[rec.Table]
		if len(rules) == 0 { // the reader tells more than it was asked for
			x.count(rec.Table, Skipped)
		}
		for _, r := range rules {
			w := &work{rule: r, rec: rec}
			if stopped {
				w.Problems, w.finished = stoppedProblem(rec.Table), true
			}
			works = append(works, w)
		}
	}
	if err := x.mapper.all(ctx, works); err != nil {
		return err
	}
	for _, w := range works {
		if err := x.hand(ctx, w); err != nil {
			return err
		}
	}
	return nil
}

// all takes works through all steps.
func (m *mapper) all(ctx context.Context, works []*work) error {
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
	switch {
	case len(w.Problems) > 0:
	case w.Skipped != "":
		x.count(w.rec.Table, Skipped)
		return nil
	case w.rule.registration != nil:
		return x.register(ctx, w)
	default:
		record := Envelope{Source: x.mapping.Source, Part: w.rule.part, Record: *w.rec}.Encode()
		p, err := x.sink.Submit(ctx, w.Line, record, x.mapping.Source)
		if refused := (*Refused)(nil); errors.As(err, &refused) {
			w.Problems = refused.Problems
			break
		}
		if err != nil {
			return fmt.Errorf("hand on %s: %w", w.rec.Key, err)
		}
		return x.fly(ctx, flightOf(p, w.rec))
	}
	return x.reject(ctx, w)
}

// register keeps or deletes a registration at once: what follows it is told under it.
func (x *session) register(ctx context.Context, w *work) error {
	var err error
	if w.Delete != "" {
		err = x.registrar.Delete(ctx, x.mapping.Source, w.Delete)
	} else {
		err = x.registrar.Put(ctx, x.mapping.Source, *w.Registration)
	}
	if refused := (*Refused)(nil); errors.As(err, &refused) {
		w.Problems = refused.Problems
		return x.reject(ctx, w)
	}
	if err != nil {
		return fmt.Errorf("keep the registration of %s: %w", w.rec.Key, err)
	}
	x.count(w.rec.Table, Registered)
	return nil
}

func (x *session) reject(ctx context.Context, w *work) error {
	if len(w.Problems) == 0 {
		w.Problems = []notice.Problem{problem("", codeExpression, "the record was refused without a reason", "o registro foi recusado sem motivo")}
	}
	r := w.rejected(x.mapping.Source)
	if notice.ValidClientID(string(w.client)) {
		r.Client = w.client
	}
	p, err := x.sink.Reject(ctx, r)
	if err != nil {
		return fmt.Errorf("put %s aside: %w", w.rec.Key, err)
	}
	f := flightOf(p, w.rec)
	f.reject = true
	return x.fly(ctx, f)
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
				x.fail(fmt.Errorf("commit of %s: %w", f.key, err))
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
	x.count(f.table, outcome)
	now := time.Now()
	x.Source.mu.Lock()
	x.status.LastCommitAt = now
	x.Source.mu.Unlock()
	if outcome == Stored && !f.committed.IsZero() {
		x.observer.Committed(x.mapping.Source, max(0, now.Sub(f.committed)))
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
