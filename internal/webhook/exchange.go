package webhook

import (
	"context"
	"errors"
	"net/http/httptrace"
	"os"
	"sync"
	"time"
)

// exchange is one request and its answer on one connection (RFC 9112). It belongs to the goroutine that called Send, and
// after the result is known to the one that reads the rest of the answer. Nothing is pipelined, and nothing is written
// twice.
type exchange struct {
	attempt  *attempt
	conn     *conn
	reused   bool          // the connection carried a request before
	kept     bool          // it was open before this attempt took it
	firstOut time.Duration // since the attempt's start; 0: nothing was written. Guarded by endpoint.mu for others
	firstIn  time.Duration // the same for the first byte of the answer; 0: none came
	answer   answer
	excess   bool // bytes came after the end of the answer
	noted    bool // the endpoint knows the end of the headers
	release  func() bool
}

const (
	// lastWords is how long a failed write waits for the peer's reason, which is already on its way if there is one.
	lastWords = 100 * time.Millisecond
	// bufferSize holds a request and the usual answer. Both leave and come in one piece and one TLS record.
	bufferSize = 2 << 10
)

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// roundTrip sends the request on a connection and reads the answer's headers. A kept connection that fails before a byte
// was written to it is replaced by another, as long as there is time.
func (s *Sender) roundTrip(ctx context.Context, e *endpoint, a *attempt) error {
	for {
		x, err := e.take(ctx, a)
		if err != nil {
			return err
		}
		a.exchange = x
		if trace := httptrace.ContextClientTrace(ctx); trace != nil && trace.GotConn != nil {
			trace.GotConn(httptrace.GotConnInfo{Conn: x.conn, Reused: x.kept})
		}
		if err = x.run(ctx); err == nil {
			return nil
		}
		x.release()
		why := e.fail(x)
		if _, wrong := errors.AsType[fault](err); wrong || x.firstOut != 0 || !x.kept || ctx.Err() != nil || a.mayWrite(time.Now()) != nil {
			return err // a receiver that refuses a new connection would refuse the next
		}
		a.exchange = nil
		a.replaced = a.replaced || why == "" || why == ClosedReceiver
	}
}

// run writes the request and reads the answer up to the end of its headers. When ctx ends, the connection's deadline does.
func (x *exchange) run(ctx context.Context) error {
	c, a := x.conn, x.attempt
	err := c.SetDeadline(a.deadline)
	x.release = context.AfterFunc(ctx, c.interrupt)
	if err = errors.Join(ctx.Err(), err); err != nil {
		return err
	}
	buffer := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(buffer)
	request := c.endpoint.sender.appendRequest(buffer[:0], a)
	if err := x.begin(); err != nil {
		return err
	}
	if err = x.write(request); err == nil {
		return x.readHead(buffer[:])
	}
	_ = c.SetReadDeadline(time.Now().Add(lastWords))
	silent := x.readHead(buffer[:])
	if x.firstOut == 0 {
		x.firstIn = 0 // whatever it said, it was no answer
		return err
	}
	if silent != nil {
		return err
	}
	c.broken = err // it answered before it had the whole request
	return nil
}

// begin is the last place where a connection that its receiver has ended, and a replica that was paused until its lease
// expired, are noticed. After an error nothing is written.
func (x *exchange) begin() error {
	ended := x.kept && x.conn.glance() != nil
	now := time.Now()
	if err := x.attempt.mayWrite(now); err != nil {
		return err
	}
	return x.conn.endpoint.claim(x, now, ended)
}

// write sends the request in one write.
func (x *exchange) write(request []byte) error {
	c := x.conn
	out := c.socket.out.Load()
	n, err := c.Conn.Write(request)
	if err != nil && n == 0 && c.socket.out.Load() == out { // not even a part of a TLS record left
		c.endpoint.mu.Lock()
		x.firstOut = 0
		c.endpoint.mu.Unlock()
	}
	return err
}

// readHead reads to the end of the answer's headers.
func (x *exchange) readHead(buffer []byte) error {
	for x.answer.phase == inHead {
		if err := x.read(buffer); err != nil && x.answer.phase == inHead {
			return err
		}
	}
	return nil
}

// read takes the next bytes of the answer. The error is a fault, or the connection's.
func (x *exchange) read(buffer []byte) error {
	c := x.conn
	n, err := c.Conn.Read(buffer)
	if n > 0 {
		now := time.Now()
		c.kept.quiet = now
		if x.firstIn == 0 {
			x.firstIn = max(1, now.Sub(x.attempt.start))
		}
		used, wrong := x.answer.feed(buffer[:n])
		if wrong != nil {
			return wrong
		}
		x.excess = used < n
	}
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) { // the deadline is ours
		c.broken = err
		if x.firstIn == 0 {
			c.noteEnd(time.Now())
		}
	}
	return err
}

// finish keeps the connection when the whole answer is here. Otherwise it reads, beside the caller, what little of a body
// is worth reading: one that is long or slow costs the receiver its connection.
func (x *exchange) finish() {
	e := x.conn.endpoint
	s := e.sender
	undisturbed := x.release()
	if x.answer.phase == over || x.excess || x.conn.broken != nil || !undisturbed || !s.background.begin() {
		e.rest(x, undisturbed)
		s.release(e)
		return
	}
	e.mu.Lock()
	e.note(x)
	e.mu.Unlock()
	go func() {
		defer s.background.end()
		defer s.release(e)
		_ = x.conn.SetReadDeadline(time.Now().Add(s.keep.body))
		stop := context.AfterFunc(s.background.ctx, x.conn.interrupt)
		buffer := buffers.Get().(*[bufferSize]byte)
		defer buffers.Put(buffer)
		var err error
		for err == nil && x.answer.worthReading() {
			err = x.read(buffer[:])
		}
		e.rest(x, stop())
	}()
}
