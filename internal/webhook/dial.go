package webhook

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
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
	at    stage
	err   error
	shown *notice.ShownCertificate // in a handshake that failed; nil: none was seen
}

func (e *dialError) Error() string { return e.at.String() + ": " + e.err.Error() }
func (e *dialError) Unwrap() error { return e.err }

// headStart is how long one address of a name may be silent before the next one is tried beside it (RFC 8305 §5).
const headStart = 300 * time.Millisecond

// connect makes a new connection for a request that waits: resolve, judge, connect, handshake, all within the attempt's one
// deadline.
func (e *endpoint) connect(ctx context.Context, w *connRequest) (*conn, error) {
	c := &conn{endpoint: e, began: time.Now()}
	e.sender.makeRoom()
	raw, err := e.reachHost(ctx, w.attempt)
	for err != nil && ownWant(err) && bide(ctx) {
		raw, err = e.reachHost(ctx, w.attempt)
	}
	if err != nil {
		return nil, err
	}
	c.dialled = time.Now()
	w.attempt.enter(stageTLS)
	if err := e.handshake(ctx, c, raw, func() bool { return e.needless(w) }); err != nil {
		_ = raw.Close()
		if !errors.Is(err, errNeedless) {
			e.habits.failed(time.Now(), remoteAddr(raw))
		}
		return nil, &dialError{stageTLS, ctxOr(ctx, err), c.shown}
	}
	c.kept = newKept(c.handshaken, e.sender.keep)
	w.attempt.enter(stageRequest)
	return c, nil
}

// resolveAgain resolves the name beside the attempts when that was not done for a while, and ends the use of connections
// to addresses that the name no longer has. A question that fails changes nothing.
func (e *endpoint) resolveAgain() {
	s := e.sender
	if !e.habits.askAgain(time.Now(), s.keep.resolve) || !s.background.begin() {
		return
	}
	go func() {
		defer s.background.end()
		ctx, cancel := context.WithTimeout(s.background.ctx, s.cfg.Timeout)
		defer cancel()
		if addrs, err := lookup(ctx, s.resolver, e.target.host); err == nil {
			e.moved(addrs)
		}
	}()
}

// moved takes the addresses of the name as an answer has them.
func (e *endpoint) moved(addrs []netip.Addr) {
	now := time.Now()
	e.habits.answered(now, addrs)
	e.discard(func(c *conn) CloseReason {
		if e.habits.lacks(c.addr, now, e.sender.keep.resolve) {
			return ClosedMoved
		}
		return ""
	})
}

// remoteAddr is the address a connection leads to.
func remoteAddr(c net.Conn) netip.Addr {
	at, _ := netip.ParseAddrPort(c.RemoteAddr().String()) // the zero value for what is no TCP: no list has it
	return at.Addr().Unmap()
}

// reachHost resolves the host and connects to it.
func (e *endpoint) reachHost(ctx context.Context, a *attempt) (net.Conn, error) {
	a.enter(stageDNS)
	addrs, err := lookup(ctx, e.sender.resolver, e.target.host)
	if err != nil {
		return nil, &dialError{at: stageDNS, err: ctxOr(ctx, err)}
	}
	e.moved(addrs)
	a.enter(stageConnect)
	raw, err := e.sender.reach(ctx, addrs, e.target.port, e.habits)
	if err != nil {
		return nil, &dialError{at: stageConnect, err: ctxOr(ctx, err)}
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
func (s *Sender) reach(ctx context.Context, addrs []netip.Addr, port uint16, habits *peerHabits) (net.Conn, error) {
	var open []netip.AddrPort
	var refusal error
	for _, addr := range addrs {
		at := netip.AddrPortFrom(addr.Unmap(), port)
		if err := s.cfg.Guard.Check(at); err != nil {
			refusal = err
			continue
		}
		open = append(open, at)
	}
	dialer := &net.Dialer{Control: s.cfg.Guard.Control, KeepAliveConfig: probes}
	open = habits.order(time.Now(), open)
	switch len(open) {
	case 0:
		return nil, refusal
	case 1:
		return dialer.DialContext(ctx, "tcp", open[0].String())
	}
	return race(ctx, dialer, open, habits)
}

// probes finds an idle connection whose packets are dropped after 11 s, by the kernel's own probes, so that no attempt is
// spent on finding out. They also keep the connection known to firewalls on the way.
var probes = net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 3}

// race tries the addresses in order, each as soon as the one before has failed or has been silent for headStart; less
// when the time left would not suffice for all of them. The first connection wins and the others are closed. Addresses
// that failed, or were silent while another answered, are noted.
func race(ctx context.Context, dialer *net.Dialer, addrs []netip.AddrPort, habits *peerHabits) (net.Conn, error) {
	type attempt struct {
		conn net.Conn
		err  error
		at   netip.AddrPort
		lost bool // another had its connection first, within headStart
	}
	step := headStart
	if deadline, ok := ctx.Deadline(); ok {
		step = min(step, time.Until(deadline)/time.Duration(2*len(addrs)))
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
			at := addrs[0]
			addrs = addrs[1:]
			pending++
			go func() {
				began := time.Now()
				conn, err := dialer.DialContext(ctx, "tcp", at.String())
				results <- attempt{conn, err, at, ctx.Err() != nil && time.Since(began) < step}
			}()
			next.Reset(step)
		case r := <-results:
			pending--
			switch {
			case r.err != nil:
				if !r.lost {
					habits.failed(time.Now(), r.at.Addr())
				}
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

// handshake makes raw a TLS connection and keeps what it showed. A handshake that nobody lets finish ends with ctx, and one
// that became needless with errNeedless.
func (e *endpoint) handshake(ctx context.Context, c *conn, raw net.Conn, needless func() bool) error {
	config := e.tls.Clone()
	present := config.GetClientCertificate
	config.GetClientCertificate = func(r *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		if needless() { // before the costly half of the handshake
			return nil, errNeedless
		}
		c.authorities = r.AcceptableCAs
		own, err := present(r)
		if err == nil && own != nil && own.Leaf != nil {
			c.facts.OwnSerial = own.Leaf.SerialNumber.Text(16)
		}
		return own, err
	}
	judge := config.VerifyConnection
	config.VerifyConnection = func(state tls.ConnectionState) error {
		c.show(state.PeerCertificates)
		return judge(state)
	}
	c.socket = &socket{Conn: raw}
	secured := tls.Client(c.socket, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		if unverified, is := errors.AsType[*tls.CertificateVerificationError](err); is {
			c.show(unverified.UnverifiedCertificates)
		}
		return err
	}
	c.Conn, c.handshaken = secured, time.Now()
	c.local, c.remote, c.addr = raw.LocalAddr().String(), raw.RemoteAddr().String(), remoteAddr(raw)
	state := secured.ConnectionState()
	c.facts = notice.TLSFacts{
		Version:         tls.VersionName(state.Version),
		Cipher:          tls.CipherSuiteName(state.CipherSuite),
		PeerSubject:     c.shown.Subject,
		PeerFingerprint: c.shown.Fingerprint,
		PeerSerial:      c.shown.Serial,
		PeerNotAfter:    c.shown.NotAfter,
		OwnSerial:       c.facts.OwnSerial,
	}
	return nil
}

// show keeps the receiver's own certificate, the first: crypto/tls refuses a server that shows none.
func (c *conn) show(all []*x509.Certificate) {
	leaf := all[0]
	fingerprint := sha256.Sum256(leaf.Raw)
	c.shown = &notice.ShownCertificate{
		Subject: escape(mtls.Subject(leaf)), // names the organisation and leaves out its CNPJ
		Issuer:  escape(mtls.Issuer(leaf)), Serial: leaf.SerialNumber.Text(16),
		Fingerprint: hex.EncodeToString(fingerprint[:]), NotAfter: leaf.NotAfter.UTC(),
	}
}
