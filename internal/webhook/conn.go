package webhook

import (
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/arauto/arauto/internal/notice"
)

// conn is one mTLS connection to a receiver. It has one owner at a time: the exchange it is bound to, or the endpoint while
// it is idle. No goroutine reads an idle connection: the endpoint looks at its receive queue from time to time, and the
// owner just before the first byte of a request.
type conn struct {
	*tls.Conn
	socket   *socket
	endpoint *endpoint

	facts         notice.TLSFacts          // of the handshake; read-only
	shown         *notice.ShownCertificate // in it; nil: none
	authorities   [][]byte                 // of client certificates, as the receiver named them in the handshake
	local, remote string
	addr          netip.Addr // the remote one
	began         time.Time  // when it was asked for
	dialled       time.Time
	handshaken    time.Time

	broken  error     // why it can no longer be read or written; the owner's
	answers int       // how many requests were answered; the owner's
	kept    kept      // kept.ended is guarded by endpoint.mu, the rest is the owner's
	bound   *exchange // nil while it is idle; guarded by endpoint.mu
}

var (
	errUnfit   = errors.New("the connection is not used any more")
	errUnasked = errors.New("the receiver sent something that nobody asked for")
)

// glance takes what has arrived on a kept connection before the first byte of a request, and does not wait for more. The
// messages of TLS 1.3 that may come at any time (tickets, a new key) are harmless. The receiver's end, a broken record, or
// anything for HTTP to read is an error: the connection is not used.
func (c *conn) glance() error {
	if c.broken != nil {
		return c.broken
	}
	c.socket.glancing = true
	n, err := c.Conn.Read(c.socket.scratch[:])
	c.socket.glancing = false
	switch {
	case n > 0:
		c.broken = errUnasked
	case !errors.Is(err, os.ErrDeadlineExceeded): // which says that nothing is there
		c.broken = err
	}
	return c.broken
}

// noteEnd learns from a connection that its receiver ended before it answered another request.
func (c *conn) noteEnd(now time.Time) {
	if c.answers == 1 && now.Sub(c.kept.quiet) < shortestHabit {
		c.endpoint.habits.endedAtOnce(now)
	}
}

// interrupt makes reading and writing fail at once. The owner then closes the connection.
func (c *conn) interrupt() { _ = c.SetDeadline(time.Unix(1, 0)) }

// close ends the connection. Its owner calls it, once.
func (c *conn) close(why CloseReason) {
	_ = c.Conn.Close()
	c.endpoint.closed(c, why)
}

// peerAlert tells an alert that the peer sent, or a record that we could not read: TLS failures after the handshake.
func peerAlert(err error) bool {
	op, failed := errors.AsType[*net.OpError](err)
	_, unread := errors.AsType[tls.RecordHeaderError](err)
	return unread || failed && (op.Op == "remote error" || op.Op == "local error")
}
