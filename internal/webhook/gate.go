package webhook

import (
	"context"
	"errors"
	"time"
)

// gate is how quick a receiver was of late. It decides, with the number of requests that wait, when another connection is
// made: a burst for an initiator that answers in milliseconds would otherwise make hundreds of handshakes, each of which
// costs more than all the requests that one kept connection could carry meanwhile (decision 0007). It is guarded by
// endpoint.mu.
//
// The first few connections of an endpoint are dialled at once. A further one is dialled when the wait for an open one
// would be longer than a handshake takes, both as measured of late, a few at a time. An endpoint that has shown no life
// for patience is dialled all the same: every attempt really tries, well within the time the rule allows.
type gate struct {
	life   time.Time // last handshake or answer
	shake  average   // time of a handshake
	answer average   // time from the request's first byte to the answer
}

const (
	eager    = 4 // connections dialled without waiting, and handshakes under way at once
	patience = 700 * time.Millisecond
	// decideEvery is how often it is decided anew about requests that wait and are not dialled for.
	decideEvery = 20 * time.Millisecond
)

// errNeedless ends a dial whose request found another connection while no other request waits; nobody is told.
var errNeedless = errors.New("the request was served by another connection")

// worth reports whether a handshake would come sooner than an open connection comes free.
func (g *gate) worth(open, waiting int) bool {
	return open < eager || time.Duration(waiting)*g.answer.value/time.Duration(open) > g.shake.value
}

// dead reports whether the endpoint has shown no life for a while, counted from began at the earliest.
func (g *gate) dead(now, began time.Time) bool {
	return min(now.Sub(g.life), now.Sub(began)) > patience
}

// average is a moving average of durations.
type average struct{ value time.Duration }

func (a *average) add(d time.Duration) {
	if a.value == 0 {
		a.value = d
		return
	}
	a.value += (d - a.value) / 8
}

// dialMore begins a connection for each waiting request for which one is worth it, the oldest first, and sees to it that
// the others are looked at again. e.mu is held.
func (e *endpoint) dialMore(now time.Time) {
	for i := 0; i < len(e.waiting); i++ {
		w := e.waiting[i]
		if w.dials {
			continue
		}
		w.counted = e.shaking < eager && e.gate.worth(len(e.open), len(e.waiting))
		switch {
		case len(e.open)+e.dialling >= perLane || !w.counted && !e.gate.dead(now, w.began):
			if !e.deciding {
				e.deciding = true
				time.AfterFunc(decideEvery, e.decide)
			}
			return
		case !e.sender.background.begin():
			e.serve(w, nil, ErrClosed)
			i--
			continue
		}
		w.dials = true
		e.dialling++
		if w.counted {
			e.shaking++
		}
		go e.dial(w)
	}
}

// decide looks again at the requests that wait.
func (e *endpoint) decide() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.deciding = false
	e.dialMore(time.Now())
}

// dial makes a new connection for a request, within its attempt's deadline. The request may have found another by then, or
// have ended: the connection is then offered to others, and an error is nobody's.
func (e *endpoint) dial(w *connRequest) {
	s := e.sender
	defer s.background.end()
	ctx, cancel := context.WithDeadline(s.background.ctx, w.attempt.deadline)
	defer cancel()
	c, err := e.connect(ctx, w)
	s.cfg.Observer.Dialled(err)
	e.dialled(w, c, err)
}

// dialled hands the end of a dial to the request that it was made for, or else to others.
func (e *endpoint) dialled(w *connRequest, c *conn, err error) {
	if err == nil {
		e.sender.connections(+1)
	}
	e.mu.Lock()
	e.dialling--
	if w.counted {
		e.shaking--
	}
	switch {
	case err == nil:
		e.gate.life = c.handshaken
		e.gate.shake.add(c.handshaken.Sub(c.began))
		e.open[c] = true
		if w.served() {
			e.offer(c)
		} else {
			e.serve(w, bind(c, w.attempt, false), nil)
		}
	case !w.served():
		e.serve(w, nil, err)
	}
	e.dialMore(time.Now())
	retired := e.retired
	e.mu.Unlock()
	if retired {
		e.retire()
	}
}

// needless reports whether nobody waits for the connection that is being made for a request.
func (e *endpoint) needless(w *connRequest) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return w.served() && len(e.waiting) == 0
}
