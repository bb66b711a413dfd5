package mtls

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strconv"
	"sync"
	"time"
)

// HandshakeLimit is how long a peer may take for its handshake, counted from the connection (cases H4).
const HandshakeLimit = 10 * time.Second

// HandshakeRefusal is a failed handshake with the facts for an auditor: the peer, its certificate and the reason. It says
// nothing about any resource, since none was asked for.
type HandshakeRefusal struct {
	Peer        net.Addr // the socket's address, which no header can forge
	Reason      string   // one line of printable ASCII, at most 256 bytes
	Subject     string   // of the certificate shown, see Subject; "" when none was
	Serial      string   // hexadecimal
	Fingerprint string
	Hello       bool // the peer had begun a handshake; false: it said nothing that is TLS, as a probe of the port does
	Err         error
}

// Listen finishes handshakes with config on the connections of inner, and accepts those that succeeded: a slow handshake
// delays no other connection. Failures are told to refused, from the goroutine of the connection. What
// Accept returns is a *tls.Conn, as http.Server.Serve expects it. Close closes inner and what is still shaking hands.
func Listen(inner net.Listener, config *tls.Config, refused func(HandshakeRefusal)) net.Listener {
	return listen(&Handshakes{}, inner, config, refused)
}

func listen(h *Handshakes, inner net.Listener, config *tls.Config, refused func(HandshakeRefusal)) net.Listener {
	ctx, cancel := context.WithCancel(context.Background())
	l := &handshakeListener{
		Listener: inner, shakes: h, config: config, refused: refused,
		ctx: ctx, cancel: cancel, conns: make(chan accepted),
	}
	l.running.Go(l.accept)
	return l
}

// handshakeListener embeds the inner one for its address.
type handshakeListener struct {
	net.Listener
	shakes  *Handshakes
	config  *tls.Config
	refused func(HandshakeRefusal)
	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	conns   chan accepted
	running sync.WaitGroup
}

type accepted struct {
	conn net.Conn
	err  error
}

// Accept returns the next connection whose handshake succeeded, or the inner listener's error.
func (l *handshakeListener) Accept() (net.Conn, error) {
	select {
	case a := <-l.conns:
		return a.conn, a.err
	case <-l.ctx.Done():
		return nil, net.ErrClosed
	}
}

// Close ends the listener and waits for handshakes under way to be abandoned.
func (l *handshakeListener) Close() error {
	l.cancel()
	err := l.Listener.Close()
	l.running.Wait()
	return err
}

func (l *handshakeListener) accept() {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			// The caller of Accept decides whether to go on, as http.Server does after a passing error.
			if !l.hand(accepted{err: err}) || errors.Is(err, net.ErrClosed) {
				return
			}
			continue
		}
		named := !namesItsSource(conn)
		under := l.shakes.begin(conn, named)
		l.running.Go(func() { l.shake(conn, named, under) })
	}
}

// awaitName waits for the header in which a balancer names the source, and counts the handshake for that source. It returns when
// the listener is closed.
func (l *handshakeListener) awaitName(conn net.Conn, under *handshake) {
	stop := context.AfterFunc(l.ctx, func() { _ = conn.Close() }) // ends the reading of the header
	defer stop()
	l.shakes.name(under, conn.RemoteAddr())
}

// hand gives a connection or an error to the caller of Accept; false when the listener is closed.
func (l *handshakeListener) hand(a accepted) bool {
	select {
	case l.conns <- a:
		return true
	case <-l.ctx.Done():
		return false
	}
}

func (l *handshakeListener) shake(raw net.Conn, named bool, under *handshake) {
	ctx, cancel := context.WithTimeout(l.ctx, HandshakeLimit)
	defer cancel()
	if !named {
		l.awaitName(raw, under)
	}
	conn := tls.Server(raw, l.config)
	err := handshakeError(conn.HandshakeContext(ctx))
	if !l.shakes.done(under) {
		_ = conn.Close() // it made room for another one
		return
	}
	if err != nil {
		_ = conn.Close() // the reason is told; what closing says adds nothing
		if l.ctx.Err() == nil && l.refused != nil {
			l.refused(refusal(conn, err))
		}
		return
	}
	if l.shakes.State != nil {
		l.shakes.made.Store(conn, under.under)
	}
	if !l.hand(accepted{conn: conn}) {
		l.shakes.Under(conn)
		_ = conn.Close() // nobody is left to tell
	}
}

func refusal(conn *tls.Conn, err error) HandshakeRefusal {
	r := HandshakeRefusal{Peer: conn.RemoteAddr(), Reason: oneLine(err.Error()), Hello: conn.ConnectionState().Version != 0, Err: err}
	if err.Error() == noCertificates {
		r.Reason = "no brand has the server name that the client asked for"
	}
	if cert := shownCertificate(conn, err); cert != nil {
		r.Subject, r.Serial, r.Fingerprint = Subject(cert), serialText(cert), Fingerprint(cert)
	}
	return r
}

// noCertificates is the error of crypto/tls for a configuration without one: see ByServerName.
const noCertificates = "tls: no certificates configured"

// shownCertificate is the leaf that the peer showed, whether Go or one of our checks refused it.
func shownCertificate(conn *tls.Conn, err error) *x509.Certificate {
	if verification, is := errors.AsType[*tls.CertificateVerificationError](err); is && len(verification.UnverifiedCertificates) > 0 {
		return verification.UnverifiedCertificates[0]
	}
	if shown := conn.ConnectionState().PeerCertificates; len(shown) > 0 {
		return shown[0]
	}
	return nil
}

// maxReason is the length at which a reason is cut.
const maxReason = 256

// oneLine escapes what a peer may have put into an error: alert texts, protocol names, names in certificates.
func oneLine(s string) string {
	quoted := strconv.QuoteToASCII(s[:min(len(s), maxReason)])
	quoted = quoted[1 : len(quoted)-1]
	return quoted[:min(len(quoted), maxReason)]
}
