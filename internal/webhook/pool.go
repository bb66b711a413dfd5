package webhook

import (
	"context"
	"slices"
	"time"
)

// connRequest is a request that waits for a connection.
type connRequest struct {
	attempt *attempt
	began   time.Time
	dials   bool          // a connection is being made for it
	counted bool          // as one of the handshakes that take turns
	done    chan struct{} // closed when one of the following is set
	taken   *exchange
	err     error
}

// served reports whether the request has its connection, or its error.
func (w *connRequest) served() bool { return w.taken != nil || w.err != nil }

// take finds a connection for an attempt: the kept one that was used last, the first that comes free, or a new one,
// whichever is there first. The error is the dial's, or says why the attempt cannot wait longer.
func (e *endpoint) take(ctx context.Context, a *attempt) (*exchange, error) {
	e.mu.Lock()
	if last := len(e.idle) - 1; last >= 0 {
		c := e.idle[last]
		e.idle = e.idle[:last]
		defer e.mu.Unlock()
		return bind(c, a, true), nil
	}
	w := &connRequest{attempt: a, began: time.Now(), done: make(chan struct{})}
	e.waiting = append(e.waiting, w)
	e.dialMore(w.began)
	e.mu.Unlock()

	timer := time.NewTimer(a.deadline.Sub(w.began))
	defer timer.Stop()
	err := context.DeadlineExceeded
	select {
	case <-w.done:
		return w.taken, w.err
	case <-ctx.Done():
		err = ctx.Err()
	case <-timer.C:
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if w.served() { // in this very moment
		return w.taken, w.err
	}
	e.serve(w, nil, err)
	return nil, err
}

// bind makes a connection that of an attempt. e.mu is held.
func bind(c *conn, a *attempt, kept bool) *exchange {
	c.bound = &exchange{attempt: a, conn: c, reused: c.answers > 0, kept: kept}
	c.bound.answer.sent = a.interaction
	return c.bound
}

// serve ends the wait of a request. e.mu is held.
func (e *endpoint) serve(w *connRequest, taken *exchange, err error) {
	w.taken, w.err = taken, err
	if i := slices.Index(e.waiting, w); i >= 0 {
		e.waiting = slices.Delete(e.waiting, i, i+1)
	}
	close(w.done)
}

// offer gives a connection that is free to the request that has waited longest, or keeps it. e.mu is held.
func (e *endpoint) offer(c *conn) {
	c.bound = nil
	if len(e.waiting) > 0 {
		e.serve(e.waiting[0], bind(c, e.waiting[0].attempt, true), nil)
		return
	}
	e.idle = append(e.idle, c)
}

// claim decides that the first byte of an exchange goes out now. A kept connection is asked once more whether it may be
// used; ended says that its receiver has ended it. The error says that nothing was written.
func (e *endpoint) claim(x *exchange, now time.Time, ended bool) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if c := x.conn; x.kept {
		why := c.kept.unfit(now, e.habits.idleLimit(now))
		switch {
		case ended:
			why = ClosedReceiver
			e.learn(c, now)
		case e.habits.lacks(c.addr, now, c.kept.limits.resolve):
			why = ClosedMoved
		}
		if why != "" {
			c.kept.ended = why
			return errUnfit
		}
	}
	x.firstOut = max(1, now.Sub(x.attempt.start))
	return nil
}

// learn notes that a receiver ended an idle connection.
func (e *endpoint) learn(c *conn, now time.Time) {
	c.noteEnd(now)
	e.habits.endedAfter(now, now.Sub(c.kept.quiet))
}

// note learns from the headers of an answer, once. e.mu is held.
func (e *endpoint) note(x *exchange) {
	if x.noted {
		return
	}
	x.noted = true
	e.gate.life = time.Now()
	e.gate.answer.add(x.firstIn - x.firstOut)
	x.conn.answers++
	x.conn.kept.answered(x.answer.keep)
	if x.reused {
		e.habits.reused()
	}
}

// rest takes a connection back after an answer. It is kept when the answer has ended, leaves it open, and was read without
// disturbance, and when it may carry another request.
func (e *endpoint) rest(x *exchange, undisturbed bool) {
	c, now := x.conn, time.Now()
	why := ClosedExchange
	e.mu.Lock()
	e.note(x)
	if undisturbed && x.answer.phase == over && !x.excess && x.answer.lasts() && c.broken == nil {
		why = c.kept.unfit(now, e.habits.idleLimit(now))
	}
	if why == "" {
		e.offer(c)
	}
	retired := e.retired
	e.mu.Unlock()
	switch {
	case why != "":
		c.close(why)
	case retired:
		e.retire()
	}
}

// fail ends the connection of an exchange that failed, and says why its use had ended already, if it had.
func (e *endpoint) fail(x *exchange) CloseReason {
	e.mu.Lock()
	ended := x.conn.kept.ended
	e.mu.Unlock()
	why := ClosedExchange
	if ended != "" && x.firstOut == 0 {
		why = ended
	}
	x.conn.close(why)
	return ended
}

// closed is told of a connection's end.
func (e *endpoint) closed(c *conn, why CloseReason) {
	e.mu.Lock()
	delete(e.open, c)
	e.dialMore(time.Now())
	e.mu.Unlock()
	e.sender.cfg.Observer.Closed(why)
	e.sender.connections(-1) // after its reason: who sees it gone finds why
}

// discard closes the idle connections for which judge has a reason. Of those that are bound to a request that has not
// begun, or to one that has, it ends the use: the first takes another connection, the second closes it at its end.
// judge is called with e.mu held.
func (e *endpoint) discard(judge func(*conn) CloseReason) {
	var gone []*conn
	e.mu.Lock()
	for c := range e.open {
		if c.kept.ended == "" {
			c.kept.ended = judge(c)
		}
	}
	e.idle = slices.DeleteFunc(e.idle, func(c *conn) bool {
		if c.kept.ended != "" {
			gone = append(gone, c)
		}
		return c.kept.ended != ""
	})
	e.mu.Unlock()
	for _, c := range gone {
		c.close(c.kept.ended)
	}
}

// look closes the idle connections that may carry no request any more, or that their receiver has ended.
func (e *endpoint) look(now time.Time) {
	limit := e.habits.idleLimit(now)
	e.discard(func(c *conn) CloseReason {
		if c.bound != nil {
			return ""
		}
		if why := c.kept.unfit(now, limit); why != "" || c.socket.peek() == peekedNothing {
			return why
		}
		_ = c.SetDeadline(now.Add(lastWords))
		if c.glance() == nil {
			return ""
		}
		e.learn(c, now)
		return ClosedReceiver
	})
}

// doubt is told that an attempt failed on a connection after something was sent. Whatever broke it has probably broken
// the idle ones too, and those that a request has chosen and not begun to use: an attempt would be spent on each. The
// address is tried after the others of its name for a while.
func (e *endpoint) doubt(broken *conn) {
	e.habits.failed(time.Now(), broken.addr)
	e.discard(func(c *conn) CloseReason {
		if x := c.bound; c == broken || x != nil && (!x.kept || x.firstOut != 0) {
			return ""
		}
		return ClosedFault
	})
}

// retire ends an endpoint that is no longer in the map: idle connections are closed now, those in use after their
// exchange, since a change of certificate or registration must not fail an attempt on its way.
func (e *endpoint) retire() {
	e.mu.Lock()
	e.retired = true
	e.mu.Unlock()
	e.discard(func(c *conn) CloseReason {
		if c.bound != nil {
			return ""
		}
		return ClosedRetired
	})
}
