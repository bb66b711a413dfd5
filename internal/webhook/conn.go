package webhook

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
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

	facts         notice.TLSFacts // of the handshake; read-only
	local, remote string
	began         time.Time // when it was asked for
	dialled       time.Time
	handshaken    time.Time
	onClose       func()
	closing       sync.Once

	uses    atomic.Int64
	spent   atomic.Bool
	current atomic.Pointer[exchange]

	readEnded chan struct{} // closed when reading failed for good
	readErr   error         // valid once readEnded is closed
	ended     sync.Once
}

// exchange is one request on one connection.
type exchange struct {
	attempt  *attempt
	conn     *conn
	reused   bool
	firstOut atomic.Int64 // offset from the attempt's start in nanoseconds; 0: nothing written
	firstIn  atomic.Int64
	refused  atomic.Pointer[error] // why nothing may be written any more
	fault    atomic.Pointer[fault] // what was wrong with the answer
	answer   answer                // owned by the reading side until the HTTP client has answered
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
	errBodyLimit = errors.New("the body is longer than what is read of it")
)

// begin binds the connection to an attempt, before the HTTP client writes.
func (c *conn) begin(a *attempt) *exchange {
	x := &exchange{attempt: a, conn: c, reused: c.uses.Add(1) > 1}
	c.current.Store(x)
	return x
}

// Write sends the request. It is the last place where a replica that was paused can notice that its lease is over:
// then not one byte goes out.
func (c *conn) Write(p []byte) (int, error) {
	x := c.current.Load()
	if x == nil || c.spent.Load() {
		return 0, errSpent
	}
	now := time.Now()
	if err := x.attempt.mayWrite(now); err != nil {
		x.refused.CompareAndSwap(nil, &err)
		c.spent.Store(true)
		return 0, err
	}
	x.firstOut.CompareAndSwap(0, max(1, int64(now.Sub(x.attempt.start))))
	n, err := c.Conn.Write(p)
	if err != nil {
		c.spent.Store(true)
		if n == 0 {
			x.firstOut.Store(0) // no whole TLS record left, so the receiver has nothing it could read
		}
		c.awaitReason()
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
	x.firstIn.CompareAndSwap(0, max(1, int64(time.Since(x.attempt.start))))
	used, wrong := x.answer.feed(p[:n])
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

func (c *conn) noteReadError(err error) {
	c.ended.Do(func() {
		c.readErr = err
		close(c.readEnded)
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
		err = c.Conn.Close()
		c.onClose()
	})
	return err
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
