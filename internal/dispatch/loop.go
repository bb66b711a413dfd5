package dispatch

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/arauto/arauto/internal/notice"
)

// errShutdown is why attempts still under way near the end of the drain are cut off.
var errShutdown = errors.New("shutting down")

// loop is one Run. Its goroutine holds mu except while it waits for something to happen; Reserve, Release and Start hold
// it for a moment. Whatever waits runs elsewhere and answers over a channel that it never blocks on.
type loop struct {
	*Dispatcher
	mu sync.Mutex

	calls    context.Context // of queue calls and attempts; outlives Run's context until the end of the drain
	endCalls context.CancelFunc
	sends    context.Context // of attempts; ends a little earlier
	endSends context.CancelCauseFunc
	running  sync.WaitGroup // queue calls under way

	lanes      *lanes
	unbegun    atomic.Int64
	asked      []time.Time // when each of the claims under way was asked for, in this order
	batchLimit batchLimit
	claimed    time.Time     // when a claim last succeeded
	delay      time.Duration // of first attempts up to their claim, of late; of lanes that waited for no slot
	results    results
	link       link

	sweeping, rescuing bool
	sweepAt, rescueAt  time.Time

	draining      bool
	cutAt, leave  time.Time // set when draining
	ended         bool
	interruptedAt time.Time // start of the interruption that is going on; zero: none

	sendDone chan *result
	callDone chan func()   // how to note each queue call that ended; it has room for all that may be under way
	gone     chan struct{} // closed when nobody listens to attempts any more
}

func newLoop(ctx context.Context, d *Dispatcher) *loop {
	l := &loop{
		Dispatcher: d,
		lanes:      newLanes(time.Now()),
		results:    results{held: make(map[*result]struct{}), batchLimit: newBatchLimit(settleRows)},
		batchLimit: newBatchLimit(claimRows),
		sendDone:   make(chan *result, d.cfg.Slots),
		callDone:   make(chan func(), claimCalls+settleCalls+2), // a sweep and a rescue
		gone:       make(chan struct{}),
	}
	l.calls, l.endCalls = context.WithCancel(context.WithoutCancel(ctx))
	l.sends, l.endSends = context.WithCancelCause(l.calls)
	return l
}

// run is the loop: act on what is due, sleep until something happens, note what happened.
func (l *loop) run(ctx context.Context) error {
	stop := ctx.Done()
	timer := time.NewTimer(0)
	defer timer.Stop()
	l.mu.Lock()
	for {
		now := time.Now()
		if l.draining && (l.idle() || !now.Before(l.leave)) {
			l.ended = true
			left := l.left()
			l.mu.Unlock()
			l.end()
			return left
		}
		next := l.act(now)
		timer.Reset(next.after(now))
		l.mu.Unlock()
		note := l.await(stop, timer.C)
		l.mu.Lock()
		if note == nil { // the end of ctx
			stop = nil
			l.drain(time.Now())
			continue
		}
		note()
	}
}

// await waits until something happens and returns how to note it; nil is the end of ctx.
func (l *loop) await(stop <-chan struct{}, timer <-chan time.Time) (note func()) {
	select {
	case <-stop:
		return nil
	case <-l.wakes.signal:
	case <-timer:
	case h := <-l.sendDone:
		return func() { l.hold(h) }
	case note = <-l.callDone:
		return note
	}
	return func() {}
}

// act starts whatever may be started now and says when to look again if nothing happens before.
func (l *loop) act(now time.Time) alarm {
	var next alarm
	l.wakes.take(func(client notice.ClientID, at time.Time) { l.lanes.due(client, at, now) })
	l.settle(now, &next)
	l.sweep(now, &next)
	if l.draining {
		l.cutOff(now, &next)
		return next
	}
	l.claim(now, &next)
	l.rescue(now, &next)
	return next
}

// alarm is the earliest of some instants; zero when there is none.
type alarm time.Time

func (a *alarm) at(t time.Time) {
	if time.Time(*a).IsZero() || t.Before(time.Time(*a)) {
		*a = alarm(t)
	}
}

func (a alarm) after(now time.Time) time.Duration {
	if time.Time(a).IsZero() {
		return time.Hour
	}
	return time.Time(a).Sub(now)
}

// call runs one call of the queue in its own goroutine, bounded in time, and turns a panic into an error. told is called
// there at the end and returns how the loop is to note it. call returns when it began.
func (l *loop) call(limit time.Duration, what string, do func(context.Context) error, told func(asked time.Time, err error) (note func())) (asked time.Time) {
	asked = time.Now()
	l.running.Go(func() {
		ctx, cancel := context.WithTimeout(l.calls, limit)
		defer cancel()
		err := errors.New("the call did not return")
		defer func() { l.callDone <- told(asked, err) }()
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("panic: %s", panicText(p))
				l.panicked(what, p)
			}
		}()
		err = do(ctx)
	})
	return asked
}

// panicked tells of a panic. Only the runtime's own errors are quoted: another value may carry anything.
func (l *loop) panicked(where string, p any, attrs ...any) {
	l.observer.Panicked()
	stack := debug.Stack()
	l.log.Error("panic caught", append([]any{"in", where, "panic", panicText(p), "stack", string(stack[:min(len(stack), 8<<10)])}, attrs...)...)
}

func panicText(p any) string {
	if err, ok := p.(runtime.Error); ok {
		return err.Error()
	}
	return fmt.Sprintf("a value of type %T", p)
}

// answered notes that a call asked at the given instant succeeded.
func (l *loop) answered(asked, now time.Time) {
	if !l.link.worked(asked) {
		return
	}
	l.rescueAt = now.Add(quiet)
	if !l.interruptedAt.IsZero() {
		l.log.Info("database answers again", "after", now.Sub(l.interruptedAt), "unsettled", len(l.results.held))
		l.interruptedAt = time.Time{}
	}
}

// broke notes an interruption of the database: what is held now must be stored before anything is claimed or rescued.
func (l *loop) broke(what string, err error, now time.Time) {
	l.link.broke(now)
	l.results.owe()
	l.sweepAt = l.link.probeAt()
	if l.interruptedAt.IsZero() {
		l.interruptedAt = now
		l.log.Warn("database interrupted", "in", what, "error", err, "unsettled", len(l.results.held))
	}
}

// sound tells that the database answers and that what was held when it last did not is stored.
func (l *loop) sound() bool { return l.link.answers && l.results.owed == 0 }

// sweep asks for all lanes with work; after an interruption it is the probe, too. A drain sweeps only to probe.
func (l *loop) sweep(now time.Time, next *alarm) {
	if l.sweeping || (l.draining && (l.link.answers || len(l.results.held) == 0)) {
		return
	}
	if now.Before(l.sweepAt) {
		next.at(l.sweepAt)
		return
	}
	l.sweeping = true
	var lanes []notice.Lane
	l.call(callTimeout, "sweep", func(ctx context.Context) (err error) {
		lanes, err = l.queue.Waiting(ctx)
		return err
	}, func(asked time.Time, err error) func() { return func() { l.noteSweep(asked, lanes, err) } })
}

func (l *loop) noteSweep(asked time.Time, lanes []notice.Lane, err error) {
	now := time.Now()
	l.sweeping = false
	load := Load{InFlight: l.lanes.inFlight(), Unsettled: len(l.results.held)}
	if err != nil {
		l.broke("sweep", err, now)
		load.Interrupted = true
	} else {
		l.answered(asked, now)
		if l.sweepAt = now.Add(sweepEvery); !l.link.answers { // asked before the last error: it proves nothing
			l.sweepAt = l.link.probeAt()
		}
		load.WaitingLanes = len(lanes)
		for _, w := range lanes {
			load.Oldest = max(load.Oldest, -w.DueIn)
		}
		l.followUp(lanes, now)
	}
	l.observer.Swept(load)
}

// followUp notes when lanes have work, counted from the answer, so that we are never early.
func (l *loop) followUp(next []notice.Lane, now time.Time) {
	for _, n := range next {
		l.lanes.due(n.Client, now.Add(max(0, n.DueIn)), now)
	}
}

// rescue lets the queue settle what other replicas, or we before a crash, have left behind.
func (l *loop) rescue(now time.Time, next *alarm) {
	if l.rescuing || !l.sound() {
		return
	}
	if now.Before(l.rescueAt) {
		next.at(l.rescueAt)
		return
	}
	l.rescuing = true
	var count int
	var givenUp []notice.ClientID
	l.call(callTimeout, "rescue", func(ctx context.Context) (err error) {
		count, givenUp, err = l.queue.Rescue(ctx, rescueRows, l.cfg.Timeout)
		return err
	}, func(asked time.Time, err error) func() { return func() { l.noteRescue(asked, count, givenUp, err) } })
}

func (l *loop) noteRescue(asked time.Time, count int, givenUp []notice.ClientID, err error) {
	now := time.Now()
	l.rescuing = false
	if err != nil {
		l.broke("rescue", err, now)
		return
	}
	l.link.failures = 0
	l.answered(asked, now)
	if next := now.Add(rescueEvery); count < rescueRows && next.After(l.rescueAt) {
		l.rescueAt = next
	}
	if count > 0 {
		l.observer.Rescued(count, givenUp)
		l.log.Warn("attempts rescued after their lease expired", "count", count)
		l.sweepAt = now // the next attempt may be due already
	}
}
