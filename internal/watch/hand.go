package watch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/arauto/arauto/internal/brand"
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
// failure of the origin ends both, so that nothing after it is acknowledged and the Reader begins again from there. What
// our own side cannot store ends nothing: see hold.
type session struct {
	*Source
	ctx    context.Context //nolint:containedctx // it is the session's life
	fail   context.CancelCauseFunc
	flying chan flight // what waits for its commit, in order
	mapper mapper

	mu        sync.Mutex
	hold      hold
	progress  bool
	described bool
}

// flight is something on its way to its commit, or the mark behind all that one Take took.
type flight struct {
	pending PendingRecord
	work    *work // what is handed on again when it could not be stored
	record  *Envelope
	reject  bool
	handed  time.Time
	done    func()
	last    string // position of the newest record before a mark
}

// session reads once. progress reports whether anything was committed.
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
func (x *session) Take(ctx context.Context, records []SourceRecord, done func()) error {
	x.running()
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
func (x *session) take(ctx context.Context, records []SourceRecord) error {
	x.Source.mu.Lock()
	x.status.Counts.Read += int64(len(records))
	x.Source.mu.Unlock()
	works, err := x.mapped(ctx, records)
	for errors.Is(err, errPanic) && x.mapper.now != nil { // its failures are counted: after three it is put aside
		x.failed(err)
		x.mapper = mapper{find: x.reader.Find}
		works, err = x.mapped(ctx, records)
	}
	if err != nil {
		return err
	}
	for i := range records {
		if len(x.mapping.rules[records[i].Table]) == 0 { // the reader tells more than it was asked for
			x.skip(records[i].Table, skipUnmapped)
		}
	}
	for _, w := range works {
		if err := x.hand(ctx, w); err != nil {
			return err
		}
	}
	return nil
}

// mapped maps records, except those that failed too often or whose table is stopped.
func (x *session) mapped(ctx context.Context, records []SourceRecord) ([]*work, error) {
	works, suspect := make([]*work, 0, len(records)), !x.faultless()
	for i := range records {
		rec := &records[i]
		stopped := x.isStopped(rec.Table)
		for _, r := range x.mapping.rules[rec.Table] {
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
	return works, x.guarded(ctx, mapping, culprit, func() error { return x.mapper.all(ctx, works) })
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
	if len(w.Problems) == 0 && w.Skipped != "" {
		x.skip(w.rec.Table, w.by)
		return nil
	}
	e := x.envelope(w)
	kept := &work{rule: w.rule, rec: &e.Record, Mapped: w.Mapped} // the reader may use its records again
	if err := x.begin(ctx); err != nil {
		return err
	}
	f := flight{work: kept, record: e}
	if err := x.offerUntil(ctx, &f); err != nil {
		return err
	}
	if f.pending == nil { // a registration, which is kept by now
		x.forgive(e)
		x.count(e.Record.Table, Registered)
		x.end()
		return nil
	}
	return x.fly(ctx, f)
}

// offerUntil hands a record on until it is taken, put aside or on its way; an error: the session is over.
func (x *session) offerUntil(ctx context.Context, f *flight) error {
	for {
		f.handed = time.Now()
		err := x.offer(ctx, f)
		if err == nil {
			return nil
		}
		if ended := x.trouble(ctx, f.record, f.handed, err); ended != nil {
			return ended
		}
	}
}

// offer hands a record on once. The flight says on its return what is on its way: a change, a case of the quarantine, or
// nothing when a registration is kept. A failure that is the record's own is counted.
func (x *session) offer(ctx context.Context, f *flight) error {
	w, e := f.work, f.record
	f.pending, f.reject = nil, false
	if len(w.Problems) == 0 {
		w.Problems = x.failures(e).problem()
	}
	if len(w.Problems) == 0 {
		var err error
		if w.rule.registration != nil {
			err = x.register(ctx, w, e)
		} else {
			f.pending, err = x.submit(ctx, w, e)
		}
		refused, is := errors.AsType[*RefusedRecord](err)
		if !is {
			return err
		}
		w.Problems = refused.Problems
		if len(w.Problems) == 0 {
			w.Problems = []notice.Problem{problem("", codeExpression, "the record was refused without a reason", "o registro foi recusado sem motivo")}
		}
	}
	var err error
	f.reject = true
	f.pending, err = x.reject(ctx, w, e)
	return err
}

// submit hands on a change.
func (x *session) submit(ctx context.Context, w *work, e *Envelope) (p PendingRecord, err error) {
	told := Told{Source: e.Source, Record: e.Encode}
	if e.Record.Op != Snapshot {
		told.CommittedAt = e.Record.CommittedAt
	}
	err = x.storing(ctx, e, "hand on", func() error {
		p, err = x.sink.Enqueue(ctx, w.Line, told)
		return err
	})
	return p, err
}

// register keeps or deletes a registration at once: what follows it is told under it.
func (x *session) register(ctx context.Context, w *work, e *Envelope) error {
	return x.storing(ctx, e, "keep the registration of", func() error {
		if w.Delete != "" {
			return x.registrar.Delete(ctx, e.Source, brand.Key(brand.Prefix(w.Brand), w.Delete))
		}
		return x.registrar.Put(ctx, e.Source, *w.Registration)
	})
}

// reject puts a record aside.
func (x *session) reject(ctx context.Context, w *work, e *Envelope) (p PendingRecord, err error) {
	e.Cut = x.failures(e).times >= 2*mostTries
	r := w.rejected(e)
	if notice.ValidClientID(string(w.client)) {
		r.Client = w.client
	}
	err = x.storing(ctx, e, "put aside", func() error {
		p, err = x.sink.Reject(ctx, r)
		return err
	})
	return p, err
}

// storing does a step that stores a record, and counts what is the record's own failure.
func (x *session) storing(ctx context.Context, e *Envelope, doing string, step func() error) error {
	err := x.guarded(ctx, storing, func() *Envelope { return e }, step)
	if errors.Is(err, ErrAlone) {
		x.fails(e, storing)
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", doing, e.Record.Key, err)
	}
	return nil
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
			for err != nil {
				if errors.Is(err, ErrAlone) {
					x.fails(f.record, storing)
				}
				err = fmt.Errorf("commit of %s: %w", f.record.Record.Key, err)
				if ended := x.trouble(x.ctx, f.record, f.handed, err); ended != nil {
					return
				}
				if x.offerUntil(x.ctx, &f) != nil {
					return
				}
				if f.pending == nil {
					break
				}
				verdict, err = f.pending.Wait(x.ctx)
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
	x.end()
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
	x.running()
	x.lag(bytes, behind)
}
