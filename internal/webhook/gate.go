package webhook

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// gate keeps a burst from becoming a storm of handshakes. The HTTP client dials for every request that finds no idle
// connection, so that a burst for an initiator that answers in milliseconds would make hundreds of handshakes, each of
// which costs more than all the requests that one kept-alive connection could carry meanwhile.
//
// The first few connections of an endpoint are dialled at once. A further one is dialled when the wait for an open one
// would be longer than a handshake takes, both as measured of late, a few at a time. An endpoint that has shown no life
// for patience is dialled all the same: every attempt really tries, well within the time the rule allows.
type gate struct {
	start   time.Time
	slots   chan struct{} // handshakes under way
	open    atomic.Int32  // connections
	waiting atomic.Int32  // requests without a connection
	life    atomic.Int64  // last handshake or answer, in nanoseconds since start
	shake   average       // time of a handshake
	answer  average       // time from the request's first byte to the answer
}

const (
	eager    = 4 // connections dialled without waiting, and handshakes under way at once
	look     = 20 * time.Millisecond
	patience = 700 * time.Millisecond
)

func newGate() *gate { return &gate{slots: make(chan struct{}, eager), start: time.Now()} }

// errNeedless ends a dial whose request found another connection; nobody is told.
var errNeedless = errors.New("the request was served by another connection")

// shaken notes a handshake that succeeded.
func (g *gate) shaken(took time.Duration) {
	g.open.Add(1)
	g.shake.add(took)
	g.alive()
}

// answered notes an answer.
func (g *gate) answered(took time.Duration) {
	g.answer.add(took)
	g.alive()
}

func (g *gate) alive() { g.life.Store(int64(time.Since(g.start))) }

// worth reports whether a handshake would come sooner than an open connection comes free.
func (g *gate) worth() bool {
	open := g.open.Load()
	return open < eager || time.Duration(g.waiting.Load())*g.answer.value()/time.Duration(open) > g.shake.value()
}

// dead reports whether the endpoint has shown no life for a while, counted from began at the earliest.
func (g *gate) dead(began time.Time) bool {
	quiet := min(time.Since(g.start)-time.Duration(g.life.Load()), time.Since(began))
	return quiet > patience
}

// enter lets a dial begin; leave must be called when it has ended. served is closed when the request has found a
// connection.
func (g *gate) enter(ctx context.Context, served <-chan struct{}) (leave func(), err error) {
	began := time.Now()
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		select {
		case <-served:
			return nil, errNeedless
		default:
		}
		if g.worth() {
			select {
			case g.slots <- struct{}{}:
				return func() { <-g.slots }, nil
			default:
			}
		}
		select {
		case <-served:
			return nil, errNeedless
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-tick.C:
			if g.dead(began) {
				return func() {}, nil
			}
		}
	}
}

// average is a moving average of durations, safe for concurrent use; a lost update does not matter.
type average struct{ nanos atomic.Int64 }

func (a *average) add(d time.Duration) {
	old := a.nanos.Load()
	if old == 0 {
		a.nanos.Store(int64(d))
		return
	}
	a.nanos.Store(old + (int64(d)-old)/8)
}

func (a *average) value() time.Duration { return time.Duration(a.nanos.Load()) }
