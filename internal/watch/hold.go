package watch

import (
	"context"
	"errors"
	"time"
)

// A session outlives an outage of ours. While our database cannot store, the session keeps what it was told and hands it
// on again; it takes nothing more, and it acknowledges nothing. So the origin counts no delivery that we could not use: a
// queue with a delivery limit drops nothing. A session that ends all the same, because the origin ended it, begins again
// only when our database can store.

// complainEvery is how often the log names a trouble that goes on.
const complainEvery = time.Minute

// alonePause is the longest pause between two tries of a record that fails by itself.
const alonePause = 5 * time.Second

// hold is what a session knows of an outage of ours. The state of the source follows it under the same lock: a hold that
// begins as another one ends must not be shown as running.
type hold struct {
	over   chan struct{} // closed when it is over; nil: there is none
	since  time.Time
	pause  time.Duration // before the next try
	landed time.Time     // when something was stored last
	out    int           // records handed on, or about to be, whose commit is not known
}

// begin counts a record that is about to be handed on. It waits while the session holds: what comes later must not
// overtake what is held.
func (x *session) begin(ctx context.Context) error {
	for {
		x.mu.Lock()
		over := x.hold.over
		if over == nil {
			x.hold.out++
			x.mu.Unlock()
			return nil
		}
		x.mu.Unlock()
		select {
		case <-over:
		case <-x.ctx.Done():
			return context.Cause(x.ctx)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// end counts a record that is stored. The hold is over once nothing is open any more.
func (x *session) end() {
	x.mu.Lock()
	x.hold.out--
	x.hold.landed, x.hold.pause = time.Now(), 0
	since := x.hold.since
	over := x.hold.over != nil && x.hold.out == 0
	if over {
		close(x.hold.over)
		x.hold.over = nil
		x.complained(complaintHeld)
		x.become(Running)
	}
	x.mu.Unlock()
	if over {
		x.log.Info("source resumed", "held_for", time.Since(since).Round(time.Millisecond).String())
	}
}

// running says that the source is read, unless the session holds.
func (x *session) running() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.hold.over == nil {
		x.become(Running)
	}
}

// trouble returns when a record that was not stored may be handed on again; an error: the session is over. A record that
// failed by itself is tried again after a pause of its own. Everything else is an outage of ours: the session holds until
// our database can store.
func (x *session) trouble(ctx context.Context, e *Envelope, handed time.Time, err error) error {
	if ended := x.ended(ctx); ended != nil {
		return ended
	}
	if errors.Is(err, ErrAlone) || errors.Is(err, errPanic) {
		x.failed(err)
		x.log.ErrorContext(ctx, "record not stored, while others are", "key", e.Record.Key, "error", err)
		return x.pauseFor(ctx, min(firstPause<<min(x.failures(e).times, 10), alonePause))
	}
	x.mu.Lock()
	if x.hold.over == nil {
		x.hold.over, x.hold.since = make(chan struct{}), time.Now()
	}
	stale := handed.Before(x.hold.landed) // it failed before others were stored: the outage may be over
	x.become(Waiting)
	x.mu.Unlock()
	x.failed(err)
	x.complain(ctx, complaintHeld, "source on hold: nothing is taken or acknowledged until our database stores again", err)
	for !stale {
		x.mu.Lock()
		x.hold.pause = min(max(2*x.hold.pause, firstPause), longestPause)
		pause := x.hold.pause
		x.mu.Unlock()
		if ended := x.pauseFor(ctx, pause); ended != nil {
			return ended
		}
		if err = x.storable(ctx); err == nil {
			break
		}
		x.failed(err)
		x.complain(ctx, complaintHeld, "source on hold: nothing is taken or acknowledged until our database stores again", err)
	}
	return x.ended(ctx)
}

// ended is why the session, or the call that ctx belongs to, is over; nil: it goes on.
func (x *session) ended(ctx context.Context) error {
	if x.ctx.Err() != nil {
		return context.Cause(x.ctx)
	}
	return ctx.Err()
}

func (x *session) pauseFor(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-x.ctx.Done():
	case <-ctx.Done():
	}
	return x.ended(ctx)
}

// storable asks whether our database can store now.
func (s *Source) storable(ctx context.Context) error {
	if s.canStore == nil {
		return nil
	}
	return s.canStore(ctx)
}

// awaitStorable returns when our database can store, or early when the source is paused or ctx ends. Nothing is asked of
// the origin before: what it delivers to nobody who can store it may count against a limit.
func (s *Source) awaitStorable(ctx context.Context) {
	for pause := firstPause; ctx.Err() == nil; pause = min(2*pause, longestPause) {
		paused, turned := s.isPaused()
		if paused {
			return
		}
		err := s.storable(ctx)
		if err == nil {
			s.complained(complaintGate)
			return
		}
		if ctx.Err() != nil {
			return
		}
		s.become(Waiting)
		s.failed(err)
		s.complain(ctx, complaintGate, "source waits until our database can store", err)
		wait(ctx, turned, pause)
	}
}

// Troubles that may go on, each of which the log names once a minute.
const (
	complaintHeld = "held"
	complaintGate = "gate"
	complaintLost = "lost"
)

// complain logs a trouble that goes on, at most once in complainEvery.
func (s *Source) complain(ctx context.Context, trouble, message string, err error, attrs ...any) {
	now := time.Now()
	s.mu.Lock()
	last, before := s.complaints[trouble]
	told := before && now.Sub(last) < complainEvery
	if !told {
		s.complaints[trouble] = now
	}
	s.mu.Unlock()
	if !told {
		s.log.WarnContext(ctx, message, append([]any{"error", err}, attrs...)...) //nolint:sloglint // a constant of the caller
	}
}

// complained forgets a trouble that is over.
func (s *Source) complained(trouble string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.complaints, trouble)
}
