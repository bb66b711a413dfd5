package webhook

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// gate keeps a burst from becoming a storm of handshakes. The HTTP client dials for every request that finds no idle
// connection, so that a burst for an initiator that answers in milliseconds would make hundreds of handshakes at once,
// each of which costs more than all the requests that one kept-alive connection could carry meanwhile.
//
// The first few connections of an endpoint are dialled at once. For a further one the request waits a moment, as
// handshakes under way and answers on their way mostly give it a connection before its own handshake would begin; that
// handshake is then not made. An endpoint that shows no life is dialled after patience all the same, and one that shows
// life after limit: every attempt really tries, well within the time the rule allows.
type gate struct {
	slots chan struct{} // handshakes under way
	open  atomic.Int32  // connections
	life  atomic.Int64  // last sign of it: a handshake or an answer, in nanoseconds since start
	start time.Time
}

const (
	eager    = 4 // connections dialled without waiting, and handshakes under way at once
	reuse    = 20 * time.Millisecond
	patience = 700 * time.Millisecond
	limit    = time.Second
)

func newGate() *gate { return &gate{slots: make(chan struct{}, eager), start: time.Now()} }

// errNeedless ends a dial whose request found another connection; nobody is told.
var errNeedless = errors.New("the request was served by another connection")

// alive notes a sign of life.
func (g *gate) alive() { g.life.Store(int64(time.Since(g.start))) }

// enter lets a dial begin; leave must be called when it has ended. served is closed when the request has found a
// connection.
func (g *gate) enter(ctx context.Context, served <-chan struct{}) (leave func(), err error) {
	began := time.Now()
	if g.open.Load() >= eager {
		if err := wait(ctx, served, reuse); err != nil {
			return nil, err
		}
	}
	for {
		select {
		case <-served:
			return nil, errNeedless
		case g.slots <- struct{}{}:
			return func() { <-g.slots }, nil
		default:
		}
		timer := time.NewTimer(patience)
		select {
		case <-served:
		case <-ctx.Done():
			timer.Stop()
			return nil, ctx.Err()
		case g.slots <- struct{}{}:
			timer.Stop()
			return func() { <-g.slots }, nil
		case <-timer.C:
			quiet := time.Since(g.start) - time.Duration(g.life.Load())
			if quiet > patience || time.Since(began) > limit {
				return func() {}, nil
			}
		}
		timer.Stop()
	}
}

// wait gives a request time to find another connection.
func wait(ctx context.Context, served <-chan struct{}, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-served:
		return errNeedless
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
