package webhook

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/arauto/arauto/internal/brand"
	"github.com/arauto/arauto/internal/mtls"
)

// ProbeStep is one condition for a notification to reach an endpoint, and its result.
type ProbeStep struct {
	Name   StepName
	Err    error        // nil: it holds, or is not tested
	Detail string       // what was seen, in English
	seen   sentence     // the same in both languages
	addrs  []netip.Addr // that the name resolved to, or that was connected to

	Untested bool          // whether it holds is not known
	Reached  time.Duration // of the certificate: from looking up the name to the end of the handshake
}

// StepName names a step, in the order they are taken.
type StepName string

// The steps of a probe.
const (
	StepAddress     StepName = "address"            // the URI is one we would dial
	StepResolution  StepName = "name"               // it resolves
	StepConnection  StepName = "connection"         // to an address that may be dialled, and that answers
	StepCertificate StepName = "certificate"        // the handshake ends, under our profile, with a certificate we believe
	StepOurs        StepName = "client certificate" // ours was asked for, and not refused
)

// alertWithin is how long a receiver may take to refuse our certificate after the handshake: in TLS 1.3 its verdict
// comes only then.
const alertWithin = time.Second

// Probe connects as an attempt does, up to the end of the handshake, and returns its steps; the first that failed is the
// last. It writes no request. It takes at most the Sender's timeout. It shows the certificate of clients whose keys name no brand.
func (s *Sender) Probe(ctx context.Context, base string) []ProbeStep { return s.ProbeAs(ctx, "", base) }

// ProbeAs is Probe with the certificate of one brand.
func (s *Sender) ProbeAs(ctx context.Context, of brand.Prefix, base string) []ProbeStep {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	var steps []ProbeStep
	step := func(name StepName, err error, seen sentence, args ...any) bool {
		steps = append(steps, newStep(name, err, seen.with(args...)))
		return err == nil
	}
	t, err := parseBase(base)
	var address sentence
	if err == nil { // else nothing was taken apart that could be shown
		address = seenAddress.with(t.host, t.port, t.path)
	}
	h := s.holders[of]
	if h == nil {
		err = ErrBrand
	}
	if err == nil {
		err = s.cfg.Guard.CheckHost(t.host, t.port)
	}
	if !step(StepAddress, err, address) {
		return steps
	}
	start := time.Now()
	addrs, err := lookup(ctx, s.resolver, t.host)
	list := make([]string, len(addrs))
	for i, a := range addrs {
		list[i] = a.Unmap().String()
	}
	resolved := step(StepResolution, err, seenAsIs, strings.Join(list, ", "))
	steps[len(steps)-1].addrs = addrs
	if !resolved {
		return steps
	}
	began := time.Now()
	raw, err := s.reach(ctx, addrs, t.port, new(peerHabits))
	if err != nil {
		step(StepConnection, err, seenAfter, since(began))
		return steps
	}
	defer raw.Close()
	step(StepConnection, nil, seenConnection, raw.RemoteAddr(), since(began))
	if at, err := netip.ParseAddrPort(raw.RemoteAddr().String()); err == nil {
		steps[len(steps)-1].addrs = []netip.Addr{at.Addr()}
	}
	if h.identity == nil {
		return append(steps, s.probeAnonymously(ctx, t, raw, start)...)
	}
	began = time.Now()
	c := &conn{}
	err = s.newEndpoint(h, t, s.generation(h)).handshake(ctx, c, raw, func() bool { return false })
	if err != nil {
		step(StepCertificate, err, seenAfter, since(began))
		return steps
	}
	f := c.facts
	step(StepCertificate, nil, seenHandshake, f.Version+", "+f.Cipher, since(began), f.PeerSubject, f.PeerNotAfter.Format(time.DateOnly))
	steps[len(steps)-1].Reached = since(start)
	if f.OwnSerial == "" {
		step(StepOurs, troubleNotAsked.of(), sentence{})
		return steps
	}
	seen := seenOursRefused
	if err = refusedAfter(ctx, c.Conn); err == nil {
		seen, err = offered(c.authorities, h.chain())
	}
	step(StepOurs, err, seenOurs, f.OwnSerial, seen)
	return steps
}

// probeAnonymously ends the probe of a Sender that has no certificate: the receiver's own is judged, and that it demands one is seen.
// Whether it accepts a holder's cannot be. start is when the name was looked up.
func (s *Sender) probeAnonymously(ctx context.Context, t target, raw net.Conn, start time.Time) []ProbeStep {
	config := mtls.ClientConfig(nil, s.cfg.Roots, t.host, s.cfg.Checks...)
	var asked bool
	var believed *tls.ConnectionState
	judge := config.VerifyConnection
	config.VerifyConnection = func(state tls.ConnectionState) error {
		err := judge(state)
		if err == nil {
			believed = &state
		}
		return err
	}
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		asked = true
		return &tls.Certificate{}, nil // none
	}
	began := time.Now()
	c := tls.Client(raw, config)
	err := c.HandshakeContext(ctx)
	if err != nil && (believed == nil || !asked) {
		return []ProbeStep{newStep(StepCertificate, err, seenAfter.with(since(began)))}
	}
	leaf := believed.PeerCertificates[0]
	seen := newStep(StepCertificate, nil, seenHandshake.with(tls.VersionName(believed.Version), since(began), escape(mtls.Subject(leaf)), leaf.NotAfter.UTC().Format(time.DateOnly)))
	seen.Reached = since(start)
	ours := newStep(StepOurs, nil, sentence{})
	switch {
	case !asked:
		ours.Err = troubleNotAsked.of()
	case err == nil && refusedAfter(ctx, c) == nil:
		ours.Err = troubleNotDemanded.of()
	default:
		ours = newStep(StepOurs, nil, seenUntested)
		ours.Untested = true
	}
	return []ProbeStep{seen, ours}
}

// chain is our certificate and the intermediates that are sent with it.
func (h *holder) chain() []*x509.Certificate {
	own := h.identity.Current()
	chain := []*x509.Certificate{own.Leaf}
	for _, der := range own.Certificate[1:] {
		if c, err := x509.ParseCertificate(der); err == nil { // it was parsed when it was loaded
			chain = append(chain, c)
		}
	}
	return chain
}

// refusedAfter waits for the receiver's verdict on our certificate: silence is consent.
func refusedAfter(ctx context.Context, c net.Conn) error {
	if err := c.SetReadDeadline(time.Now().Add(alertWithin)); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	_, err := c.Read(make([]byte, 1))
	_, alert, sent := alertOf(err)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil
	case sent:
		return troubleRefusedAfter.of(alert)
	case errors.Is(err, io.EOF):
		return troubleClosedAfter.of()
	case err != nil:
		return fmt.Errorf("the connection broke after the handshake: %w", err)
	}
	return troubleDataBefore.of()
}

func newStep(name StepName, err error, seen sentence) ProbeStep {
	return ProbeStep{Name: name, Err: err, Detail: seen.en, seen: seen}
}

func since(t time.Time) time.Duration { return time.Since(t).Round(100 * time.Microsecond) }
