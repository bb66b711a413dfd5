// Package webhook makes one attempt over the wire: one POST to an initiator, and its result.
//
// A Sender is handed a claimed notice.Attempt and gives back a notice.Result. Whatever the receiver or the network does
// is a Result; an error means that no attempt was made. Between the two lies one deadline, from DNS to the final
// headers, and a short path: the registered base is taken apart (target.go), its name resolved and the very address
// judged that is dialled (guard.go, dial.go), the mTLS handshake made with the settings of package mtls, the request
// written as the outside contract spells it (request.go), the answer's head read under strict limits (answer.go) and
// given a name (outcome.go). A kept connection saves the first half of this (pool.go). HTTP/1.1 is spoken by exchange.go
// alone, in the goroutine that called Send; a connection has no goroutine of its own.
//
// What holds:
//
//   - A request is written at most once, in one write, to a connection that carries nothing else meanwhile. A kept-alive
//     connection that turns out dead before a byte was written to it is replaced by another within the same attempt; after
//     the first byte there is no second try.
//   - A kept-alive connection is used within the limits of keep.go only: its age, the time it was idle, what the receiver
//     announced or was seen to do, and the addresses its name has now. A failure on one ends the idle ones of its
//     endpoint.
//   - Nothing is written when the lease of the attempt is over, however late that turns out (exchange.go): a replica that
//     was paused and wakes sends nothing.
//   - No connection is shared by two clients, and none outlives the certificate, the trust anchors or the registration
//     it was made under (endpoint.go).
//   - No byte is sent to an address outside the public internet, unless the development allow-list names it; no proxy
//     is used and no redirection followed.
//   - The result is decided by the final status line and headers. A slow or endless body delays nothing.
//   - Text that came from the peer is kept escaped, on one line, at most 256 characters (escape.go).
//
// When to send, how often, and how many at a time is decided by package dispatch.
package webhook

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/arauto/arauto/internal/brand"
	"github.com/arauto/arauto/internal/mtls"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

// Reasons for not making an attempt.
var (
	// ErrLease says that the claim is too old: a whole attempt, or what is left of it, does not fit into its lease.
	// Nothing was sent.
	ErrLease = errors.New("the lease leaves no room for an attempt; nothing was sent")
	// ErrClosed says that the Sender was closed.
	ErrClosed = errors.New("the sender is closed")
	// ErrBrand says that the settings have no brand of the client's.
	ErrBrand = errors.New("the settings have no such brand; nothing was sent")
)

// Observer receives events of the wire for metrics. Its methods are called from many goroutines and must not block.
type Observer interface {
	// Attempted reports every attempt that was made.
	Attempted(client notice.ClientID, result *notice.Result)
	// Dialled reports a new connection, or one that failed.
	Dialled(err error)
	// Connections reports that the number of open connections changed by so many.
	Connections(change int)
	// Closed reports that a connection was closed, and why.
	Closed(why CloseReason)
}

// unobserved is told nothing.
type unobserved struct{}

func (unobserved) Attempted(notice.ClientID, *notice.Result) {}
func (unobserved) Dialled(error)                             {}
func (unobserved) Connections(int)                           {}
func (unobserved) Closed(CloseReason)                        {}

// Config holds a Sender's settings. A zero field means the default that its comment names.
type Config struct {
	Identity *mtls.Identity // our BRCAC; required unless there are Brands
	Roots    *mtls.Anchors  // whom we trust as receivers; required
	Checks   []mtls.Check   // revocation; none

	Guard    *Guard // which addresses may be dialled; public addresses, port 443
	Resolver string // host:port of the DNS server to ask instead of the system's, development only; ""

	Timeout time.Duration // a whole attempt, from DNS to final headers (webhook §4.2); notice.Timeout
	Lease   time.Duration // how long a claim is ours, longer than Timeout; Timeout + 5 s

	// Connections is how many may be open at once, idle ones included; beyond it those of endpoints that nobody uses are
	// closed, the longest unused first. 0: no bound.
	Connections int

	Version string // for User-Agent: arauto/<version>; "dev"

	// AuthorisationServerID is sent on enrolments in every header of ASHeaders (D-9; default: both spellings). Without
	// it the headers are left out, which no receiver of the API 1.3.0 has to accept: configuration must insist on it.
	AuthorisationServerID string
	ASHeaders             []string

	// Brands are further brands, by the names that the keys of their clients begin with. Identity and AuthorisationServerID are
	// those of clients whose keys name no brand.
	Brands map[brand.Prefix]Holder

	Observer Observer // nil: nobody

	Anonymous bool // without Identity: the Sender can only Probe, and shows no certificate
}

func (c Config) withDefaults() Config {
	if c.Guard == nil {
		c.Guard = NewGuard(nil, nil)
	}
	if c.ASHeaders == nil {
		c.ASHeaders = []string{ofb.HeaderAuthorizationServerID, ofb.HeaderAuthorisationServerID}
	}
	c.Timeout = cmp.Or(c.Timeout, notice.Timeout)
	c.Lease = cmp.Or(c.Lease, c.Timeout+5*time.Second)
	c.Version = cmp.Or(c.Version, "dev")
	c.Observer = cmp.Or[Observer](c.Observer, unobserved{})
	return c
}

// Holder is who we are to the receivers of one brand.
type Holder struct {
	Identity              *mtls.Identity
	AuthorisationServerID string
}

// holder is a Holder with the headers of its enrolments.
type holder struct {
	identity  *mtls.Identity
	enrolment []headerLine
}

// Sender sends attempts. It is safe for concurrent use.
type Sender struct {
	cfg      Config // with its defaults
	holders  map[brand.Prefix]*holder
	resolver resolver
	keep     keepLimits
	open     atomic.Int64 // connections

	userAgent string
	plain     []headerLine // of requests that are not about enrolments

	background *background

	mu        sync.Mutex
	endpoints map[endpointKey]*endpoint
}

// New makes a Sender and starts its housekeeping, which Close ends. It panics when identity or roots are missing, when
// the lease is not longer than the timeout, or when a header cannot be sent: these are mistakes of the calling program.
func New(c Config) *Sender {
	s := &Sender{
		cfg: c.withDefaults(), resolver: net.DefaultResolver, keep: defaultKeepLimits,
		background: newBackground(), endpoints: map[endpointKey]*endpoint{},
	}
	if c.Resolver != "" {
		s.resolver = stubResolver{server: c.Resolver}
	}
	s.dress()
	switch timeout, lease := s.cfg.Timeout, s.cfg.Lease; {
	case !s.complete():
		panic("webhook: no identity or no roots")
	case timeout <= 0 || lease <= timeout:
		panic(fmt.Sprintf("webhook: lease %s must exceed timeout %s", lease, timeout))
	case !s.sendable():
		panic("webhook: version, header name or authorisation server id cannot be sent in a header")
	}
	s.background.wait.Go(s.housekeeping)
	return s
}

// Send makes one attempt and returns when its outcome is known, at the latest when the timeout is over. An error means
// that no attempt was made and that not one byte of the request was sent: ErrLease, ErrClosed, ErrBrand, mtls.ErrOwnExpired, or
// the cause for which ctx was cancelled. When ctx is cancelled after something was sent, the result is "unknown". A
// deadline of ctx only shortens the timeout.
func (s *Sender) Send(ctx context.Context, n notice.Attempt) (notice.Result, error) {
	a, err := s.newAttempt(n)
	if a.deadline.After(a.leaseEnd) {
		return notice.Result{}, ErrLease
	}
	if d, ok := ctx.Deadline(); ok && d.Before(a.deadline) {
		a.deadline = d
	}
	h := s.holders[brand.Of(n.Client)]
	if h == nil {
		return notice.Result{}, fmt.Errorf("send for %s: %w", n.Notification, ErrBrand)
	}
	if own := h.identity.Current().Leaf; own != nil && a.start.After(own.NotAfter) {
		return notice.Result{}, fmt.Errorf("send for %s: %w", n.Notification, mtls.ErrOwnExpired)
	}
	var e *endpoint
	if err == nil {
		e, err = s.endpoint(n.Client, a.target, a.start)
	}
	if _, ok := errors.AsType[*AddressRefusal](err); ok {
		r := a.result()
		r.Outcome, r.Detail = classifyDial(err)
		s.cfg.Observer.Attempted(n.Client, &r)
		return r, nil
	}
	if err != nil {
		return notice.Result{}, err
	}
	r, err := s.exchange(ctx, e, a)
	if err == nil {
		s.cfg.Observer.Attempted(n.Client, &r)
	}
	return r, err
}

// exchange makes the round trip, and sees to the rest of the answer after the result is known.
func (s *Sender) exchange(ctx context.Context, e *endpoint, a *attempt) (notice.Result, error) {
	e.resolveAgain()
	over := false
	defer func() {
		if x := a.exchange; !over && x != nil && x.release != nil { // a panic: what waits for the end of ctx must not keep the connection
			x.release()
		}
	}()
	err := s.roundTrip(ctx, e, a)
	over = true
	if err != nil {
		r, err := a.failed(ctx, err)
		if x := a.exchange; x != nil && x.broke(r.Outcome) {
			e.doubt(x.conn)
		}
		s.release(e)
		return r, err
	}
	r := a.answered()
	a.exchange.finish()
	return r, nil
}

// Forget closes the idle connections to a client whose registration changed. Attempts in flight end by themselves.
func (s *Sender) Forget(client notice.ClientID) {
	s.retireIf(func(key endpointKey, _ *endpoint) bool { return key.client == client })
}

// Refresh closes the connections made under a certificate or trust anchors that were replaced since. The Sender looks
// for itself every 5 s; a caller that knows of a reload may call it immediately.
func (s *Sender) Refresh() { s.sweep(time.Now()) }

// Close ends housekeeping and unfinished connections, closes the idle ones and refuses further attempts. Attempts in
// flight end by themselves; call it when there are none.
func (s *Sender) Close() {
	s.background.close()
	s.retireIf(func(endpointKey, *endpoint) bool { return true })
}

func (s *Sender) housekeeping() {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for swept := time.Now(); ; {
		select {
		case <-s.background.ctx.Done():
			return
		case now := <-ticker.C:
			s.look(now)
			if now.Sub(swept) >= sweepEvery {
				swept = now
				s.sweep(now)
			}
		}
	}
}

// generation changes whenever a brand's certificate or the trust anchors do: each of the two only ever grows.
func (s *Sender) generation(h *holder) uint64 {
	if h.identity == nil {
		return s.cfg.Roots.Generation()
	}
	return h.identity.Generation() + s.cfg.Roots.Generation()
}

func (s *Sender) connections(change int) {
	s.open.Add(int64(change))
	s.cfg.Observer.Connections(change)
}
