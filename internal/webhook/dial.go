package webhook

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"github.com/arauto/arauto/internal/mtls"
	"github.com/arauto/arauto/internal/notice"
)

// stage is how far an attempt has come; a timeout names it.
type stage int32

const (
	stageConnection stage = iota // waiting for a connection
	stageDNS
	stageConnect
	stageTLS
	stageRequest
	stageAnswer
)

func (s stage) String() string {
	return [...]string{"connection", "dns", "connect", "tls", "request", "response-headers"}[s]
}

// dialError is a connection that did not come about, and where it failed.
type dialError struct {
	at  stage
	err error
}

func (e *dialError) Error() string { return e.at.String() + ": " + e.err.Error() }
func (e *dialError) Unwrap() error { return e.err }

// headStart is how long one address of a name may be silent before the next one is tried beside it (RFC 8305 §5).
const headStart = 300 * time.Millisecond

// dial makes a new connection for an attempt: resolve, judge, connect, handshake, all within the attempt's one
// deadline. The HTTP client may use the connection for another attempt of the same client if that one is quicker.
func (e *endpoint) dial(ctx context.Context) (net.Conn, error) {
	a, ok := ctx.Value(attemptKey{}).(*attempt)
	if !ok {
		panic("webhook: dial without an attempt")
	}
	if !e.sender.background.begin() {
		return nil, ErrClosed
	}
	defer e.sender.background.end()
	ctx, cancel := context.WithDeadline(ctx, a.deadline)
	defer cancel()
	defer context.AfterFunc(e.sender.background.ctx, cancel)()
	served := *a.served.Load()
	leave, err := e.gate.enter(ctx, served)
	if err != nil {
		return nil, &dialError{stageConnect, err}
	}
	defer leave()

	c, err := e.connect(ctx, a, served)
	if observer := e.sender.observer; observer != nil {
		observer.Dialled(e.client, time.Since(a.start), err)
	}
	if err != nil {
		return nil, err // not c: a nil *conn is no nil net.Conn
	}
	return c, nil
}

func (e *endpoint) connect(ctx context.Context, a *attempt, served <-chan struct{}) (*conn, error) {
	c := &conn{began: time.Now(), readEnded: make(chan struct{})}
	e.sender.makeRoom()
	raw, err := e.open(ctx, a)
	for err != nil && ownWant(err) && bide(ctx) {
		raw, err = e.open(ctx, a)
	}
	if err != nil {
		return nil, err
	}
	c.dialled = time.Now()
	a.enter(stageTLS)
	if err := e.handshake(ctx, c, raw, served); err != nil {
		_ = raw.Close()
		return nil, &dialError{stageTLS, ctxOr(ctx, err)}
	}
	e.sender.connections(+1)
	e.gate.shaken(c.handshaken.Sub(c.began))
	c.onClose = func() {
		e.gate.open.Add(-1)
		e.sender.connections(-1)
	}
	a.enter(stageRequest)
	return c, nil
}

// open resolves the host and connects to it.
func (e *endpoint) open(ctx context.Context, a *attempt) (net.Conn, error) {
	a.enter(stageDNS)
	addrs, err := lookup(ctx, e.sender.resolver, e.target.host)
	if err != nil {
		return nil, &dialError{stageDNS, ctxOr(ctx, err)}
	}
	a.enter(stageConnect)
	raw, err := e.sender.reach(ctx, addrs, e.target.port)
	if err != nil {
		return nil, &dialError{stageConnect, ctxOr(ctx, err)}
	}
	return raw, nil
}

// ownWant tells an error that is none of the receiver's: we have no descriptor left. An attempt is not spent on it while
// its time lasts (cases E7); nothing was sent yet, so trying again is the same attempt.
func ownWant(err error) bool { return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) }

// bide waits a moment; false when the attempt's time is over.
func bide(ctx context.Context) bool {
	pause := time.NewTimer(50 * time.Millisecond)
	defer pause.Stop()
	select {
	case <-pause.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// reach connects to the first address that answers. Addresses that may not be dialled are left out, and when no other
// is there the refusal is the error. The guard judges once more inside the dialer, on the address really used.
func (s *Sender) reach(ctx context.Context, addrs []netip.Addr, port uint16) (net.Conn, error) {
	var open []netip.AddrPort
	var refusal error
	for _, addr := range addrs {
		at := netip.AddrPortFrom(addr.Unmap(), port)
		if err := s.guard.Check(at); err != nil {
			refusal = err
			continue
		}
		open = append(open, at)
	}
	dialer := &net.Dialer{Control: s.guard.Control}
	switch len(open) {
	case 0:
		return nil, refusal
	case 1:
		return dialer.DialContext(ctx, "tcp", open[0].String())
	}
	return race(ctx, dialer, open)
}

// race tries the addresses in order, each as soon as the one before has failed or has been silent for headStart. The
// first connection wins and the others are closed.
func race(ctx context.Context, dialer *net.Dialer, addrs []netip.AddrPort) (net.Conn, error) {
	type attempt struct {
		conn net.Conn
		err  error
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan attempt)
	pending := 0
	next := time.NewTimer(0)
	defer next.Stop()
	var errs []error
	var won net.Conn
	for len(addrs) > 0 && won == nil || pending > 0 {
		select {
		case <-next.C:
			if len(addrs) == 0 || won != nil {
				continue
			}
			addr := addrs[0].String()
			addrs = addrs[1:]
			pending++
			go func() {
				conn, err := dialer.DialContext(ctx, "tcp", addr)
				results <- attempt{conn, err}
			}()
			next.Reset(headStart)
		case r := <-results:
			pending--
			switch {
			case r.err != nil:
				errs = append(errs, r.err)
				next.Reset(0)
			case won == nil:
				won = r.conn
				cancel() // the others return at once
			default:
				_ = r.conn.Close()
			}
		}
	}
	if won != nil {
		return won, nil
	}
	return nil, errors.Join(errs...)
}

// handshake makes raw a TLS connection and keeps what it showed. A handshake that nobody lets finish ends with ctx.
func (e *endpoint) handshake(ctx context.Context, c *conn, raw net.Conn, served <-chan struct{}) error {
	config := e.tls.Clone()
	present := config.GetClientCertificate
	config.GetClientCertificate = func(r *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		select {
		case <-served: // before the costly half of the handshake
			return nil, errNeedless
		default:
		}
		own, err := present(r)
		if err == nil && own != nil && own.Leaf != nil {
			c.facts.OwnSerial = own.Leaf.SerialNumber.Text(16)
		}
		return own, err
	}
	secured := tls.Client(raw, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		return err
	}
	c.Conn, c.handshaken = secured, time.Now()
	c.local, c.remote = raw.LocalAddr().String(), raw.RemoteAddr().String()
	state := secured.ConnectionState()
	if len(state.PeerCertificates) == 0 {
		return fmt.Errorf("the receiver showed no certificate")
	}
	leaf := state.PeerCertificates[0]
	fingerprint := sha256.Sum256(leaf.Raw)
	own := c.facts.OwnSerial
	c.facts = notice.TLSFacts{
		Version:         tls.VersionName(state.Version),
		Cipher:          tls.CipherSuiteName(state.CipherSuite),
		PeerSubject:     escape(mtls.Subject(leaf)), // names the organisation and leaves out its CNPJ
		PeerFingerprint: hex.EncodeToString(fingerprint[:]),
		PeerSerial:      leaf.SerialNumber.Text(16),
		PeerNotAfter:    leaf.NotAfter.UTC(),
		OwnSerial:       own,
	}
	return nil
}
