package webhook

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/arauto/arauto/internal/notice"
)

// conn is one mTLS connection to a receiver, between the TLS layer below and the HTTP client above. It is there for
// what the HTTP client cannot know: whether the attempt may still be sent, when its first byte went out, and whether
// the answer keeps to our limits. A connection serves one exchange at a time; once anything about it is odd it is
// spent: both directions fail before a byte moves, and the HTTP client takes another.
type conn struct {
	net.Conn // TLS
	socket   *socket

	endpoint      *endpoint
	facts         notice.TLSFacts // of the handshake; read-only
	local, remote string
	addr          netip.Addr // the remote one
	began         time.Time  // when it was asked for
	dialled       time.Time
	handshaken    time.Time
	closing       sync.Once

	uses    atomic.Int64
	spent   atomic.Bool
	current atomic.Pointer[exchange]

	mu     sync.Mutex // guards what follows, and the decision that the first byte of an exchange goes out
	kept   kept
	busy   bool        // an exchange is bound and has not ended well
	expiry *time.Timer // closes it when it may be used no longer; nil before the first use

	readEnded chan struct{} // closed when reading has failed
	readErr   error         // valid once readEnded is closed
	ended     sync.Once
}

// exchange is one request on one connection.
type exchange struct {
	attempt  *attempt
	conn     *conn
	reused   bool
	kept     bool         // the HTTP client took it from those that were open
	firstOut atomic.Int64 // offset from the attempt's start in nanoseconds; 0: nothing written
	firstIn  atomic.Int64
	refused  atomic.Pointer[error] // why nothing may be written any more
	fault    atomic.Pointer[fault] // what was wrong with the answer
	answer   answer                // owned by the reading side until the HTTP client has answered
	told     bool                  // the end of the answer's headers was noted; owned like answer
}

// leaseOver tells that a write was refused because the attempt no longer belongs to us.
func (x *exchange) leaseOver() bool {
	if x == nil {
		return false
	}
	refused := x.refused.Load()
	return refused != nil && errors.Is(*refused, ErrLease)
}

var (
	errSpent     = errors.New("the connection is not used any more")
	errBodyLimit = errors.New("the body is longer than the limit of reading")
)

// begin binds the connection to an attempt, before the HTTP client writes. kept says that it was open before.
func (c *conn) begin(a *attempt, kept bool) *exchange {
	x := &exchange{attempt: a, conn: c, reused: c.uses.Add(1) > 1, kept: kept}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.current.Store(x)
	c.busy = true
	return x
}

// rest notes that the exchange has ended well and that the HTTP client keeps the connection.
func (c *conn) rest(x *exchange) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current.Load() != x {
		return
	}
	c.busy = false
	if c.kept.ended == "" {
		c.watch()
	} else { // dismissed during the exchange
		c.spent.Store(true)
		c.closeSoon()
	}
}

// closeSoon closes the connection beside the caller, who holds c.mu.
func (c *conn) closeSoon() {
	if c.expiry != nil {
		c.expiry.Stop()
	}
	time.AfterFunc(0, func() { _ = c.Close() })
}

// watch sets the time at which the connection is closed unless it is busy then. c.mu is held.
func (c *conn) watch() {
	now := time.Now()
	end, _ := c.kept.until(c.endpoint.habits.idleLimit(now))
	if c.expiry == nil {
		c.expiry = time.AfterFunc(end.Sub(now), c.expire)
		return
	}
	c.expiry.Reset(end.Sub(now))
}

// expire closes an idle connection that may carry no request any more.
func (c *conn) expire() {
	now := time.Now()
	c.mu.Lock()
	why := c.kept.unfit(now, c.endpoint.habits.idleLimit(now))
	idle := !c.busy
	if idle && why == "" { // it was used meanwhile
		c.watch()
	}
	c.mu.Unlock()
	if idle && why != "" {
		c.dismiss(why)
	}
}

// dismiss ends the use of a connection: an idle one is closed, one in use is not used again. A request that was bound to
// it and not begun takes another.
func (c *conn) dismiss(why CloseReason) {
	c.mu.Lock()
	if c.kept.ended == "" {
		c.kept.ended = why
	}
	if !c.busy && !c.spent.Swap(true) {
		c.closeSoon()
	}
	c.mu.Unlock()
}

// unproven tells a connection that has not answered the request it is bound to, if it is bound to any: idle, or chosen by
// a request that has not begun.
func (c *conn) unproven() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	x := c.current.Load()
	return !c.busy || x.kept && x.firstOut.Load() == 0
}

// claim decides that the first byte of the exchange goes out now. On a connection that was kept open it asks once more
// whether it may be used; gone says that the receiver has ended it. If it may not, the connection is spent, nothing was
// written, and the request takes another connection.
func (c *conn) claim(x *exchange, now time.Time, gone bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.spent.Load() {
		return errSpent
	}
	if x.kept {
		why := c.kept.unfit(now, c.endpoint.habits.idleLimit(now))
		switch {
		case c.endpoint.habits.lacks(c.addr, now, c.kept.limits.resolve):
			why = ClosedMoved
		case gone:
			why = ClosedReceiver
			x.attempt.replaced.Store(true)
		}
		if why != "" {
			c.kept.ended, c.busy = why, false
			c.spent.Store(true)
			return errSpent
		}
	}
	x.firstOut.Store(max(1, int64(now.Sub(x.attempt.start))))
	return nil
}

// gone reports whether the receiver has ended the connection while it was idle. Bytes that the reader has not taken yet
// may be a harmless message of TLS 1.3 (tickets, a new key) or the alert that ends the connection: the reader tells.
func (c *conn) gone(deadline time.Time) bool {
	until := time.Now().Add(lastWords)
	if deadline.Before(until) {
		until = deadline
	}
	for {
		if c.brokenBy() != nil {
			return true
		}
		switch c.socket.peek() {
		case peekedEnd:
			return true
		case peekedNothing:
			return c.brokenBy() != nil
		}
		if c.spent.Load() || !time.Now().Before(until) {
			return true // it says something that nobody asked for, or the reader does not come to it
		}
		timer := time.NewTimer(time.Millisecond)
		select {
		case <-c.readEnded:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// abandon ends the connection. It reports whether not one byte of the exchange went out on it, and why its use had
// ended already, if it had. After true, nothing goes out.
func (c *conn) abandon(x *exchange) (unwritten bool, why CloseReason) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.spent.Store(true)
	return x.firstOut.Load() == 0, c.kept.ended
}

// Write sends the request. It is the last place where a replica that was paused can notice that its lease has
// expired; then it writes nothing.
func (c *conn) Write(p []byte) (int, error) {
	x := c.current.Load()
	if x == nil || c.spent.Load() {
		return 0, errSpent
	}
	first := x.firstOut.Load() == 0
	gone := first && x.kept && c.gone(x.attempt.deadline)
	now := time.Now()
	if err := x.attempt.mayWrite(now); err != nil {
		x.refused.CompareAndSwap(nil, &err)
		c.spent.Store(true)
		return 0, err
	}
	if first {
		if err := c.claim(x, now, gone); err != nil {
			return 0, err
		}
	}
	out := c.socket.out.Load()
	n, err := c.Conn.Write(p)
	if err != nil {
		switch {
		case n > 0:
		case c.socket.out.Load() == out:
			x.firstOut.Store(0)
			if x.kept {
				x.attempt.replaced.Store(true)
			}
		default:
			n = 1 // a part of a TLS record left: the HTTP client must not take this for nothing
		}
		c.awaitReason()
		c.spent.Store(true) // not before: a reader that comes late would not look for the reason
	}
	return n, err
}

// lastWords is how long a failed write waits for the peer's reason, which is already on its way if there is one.
const lastWords = 100 * time.Millisecond

// awaitReason waits until reading has failed too. In TLS 1.3 a receiver refuses our certificate after the handshake:
// its alert then stands in the receive queue while our write already meets a closed connection, and the alert is the
// better evidence.
func (c *conn) awaitReason() {
	timer := time.NewTimer(lastWords)
	defer timer.Stop()
	select {
	case <-c.readEnded:
	case <-timer.C:
	}
}

// Read hands the answer's bytes to the HTTP client after they were judged, and none that do not belong to it.
func (c *conn) Read(p []byte) (int, error) {
	if c.spent.Load() {
		return 0, errSpent
	}
	n, err := c.Conn.Read(p)
	if err != nil {
		c.noteReadError(err)
	}
	if n == 0 {
		return 0, err
	}
	x := c.current.Load()
	if x == nil || x.answer.phase == over {
		c.spent.Store(true) // bytes nobody asked for
		return 0, errSpent
	}
	now := time.Now()
	x.firstIn.CompareAndSwap(0, max(1, int64(now.Sub(x.attempt.start))))
	used, wrong := x.answer.feed(p[:n])
	c.noteAnswer(x, now)
	if f, ok := errors.AsType[fault](wrong); ok {
		c.spent.Store(true)
		x.fault.CompareAndSwap(nil, &f)
		return 0, f
	}
	if used < n {
		c.spent.Store(true)
	}
	if x.answer.body > maxBody {
		c.spent.Store(true)
		return 0, errBodyLimit
	}
	return used, err
}

// noteAnswer notes a sign of life, and once what the headers announced.
func (c *conn) noteAnswer(x *exchange, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kept.quiet = now
	if x.answer.phase != inHead && !x.told {
		x.told = true
		c.kept.answered(x.answer.keep)
		if x.reused {
			c.endpoint.habits.reused()
		}
	}
}

// noteReadError notes why reading ended. When the receiver ended an idle connection, its endpoint learns after how long.
func (c *conn) noteReadError(err error) {
	c.ended.Do(func() {
		c.readErr = err
		close(c.readEnded)
		now := time.Now()
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.kept.ended != "" || errors.Is(err, net.ErrClosed) { // ours
			return
		}
		idle := now.Sub(c.kept.quiet)
		x := c.current.Load()
		if idle < shortestHabit && (c.busy && c.uses.Load() == 2 && x.firstIn.Load() == 0 || !c.busy && c.uses.Load() == 1) {
			c.endpoint.habits.endedAtOnce(now)
		}
		if !c.busy {
			c.kept.ended = ClosedReceiver
			c.endpoint.habits.endedAfter(now, idle)
		}
	})
}

// brokenBy says why reading ended, if it did.
func (c *conn) brokenBy() error {
	select {
	case <-c.readEnded:
		return c.readErr
	default:
		return nil
	}
}

// Close ends the connection; calling it again does nothing.
func (c *conn) Close() error {
	err := net.ErrClosed
	c.closing.Do(func() {
		c.mu.Lock()
		why := c.whyClosed(time.Now())
		if c.expiry != nil {
			c.expiry.Stop()
		}
		c.mu.Unlock()
		err = c.Conn.Close()
		c.endpoint.closed(c, why)
	})
	return err
}

// whyClosed finds the reason for a Close that may be the HTTP client's own. c.mu is held.
func (c *conn) whyClosed(now time.Time) CloseReason {
	switch why := c.kept.unfit(now, 0); {
	case c.busy:
		return ClosedExchange
	case c.kept.ended != "":
		return c.kept.ended
	case c.endpoint.retired.Load():
		return ClosedRetired
	case why != "":
		return why
	}
	return ClosedExchange
}

// peerAlert tells an alert that the peer sent, or a record that we could not read: TLS failures after the handshake.
func peerAlert(err error) bool {
	var op *net.OpError
	if errors.As(err, &op) && (op.Op == "remote error" || op.Op == "local error") {
		return true
	}
	var record tls.RecordHeaderError
	return errors.As(err, &record)
}

// cut tells that the peer ended or broke the connection.
func cut(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed)
}
