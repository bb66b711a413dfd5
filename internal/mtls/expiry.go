package mtls

import (
	"crypto/x509"
	"fmt"
	"time"
)

// ReadyMargin is how long before the end of our own certificate readiness turns false: more than the clocks of our
// peers may differ from ours, so that it does so before the first handshake is refused (cases I4).
const ReadyMargin = 2 * time.Minute

// Expiry is one line of the expiry calendar.
type Expiry struct {
	Source   string // file it was read from
	Subject  string // see Subject
	Serial   string // hexadecimal
	NotAfter time.Time
}

// Left returns how long the certificate is valid from now; negative after its end.
func (e Expiry) Left(now time.Time) time.Duration { return e.NotAfter.Sub(now) }

// Days returns Left in whole days, rounded down: 0 on the last day, negative afterwards. Operators are warned at 30, 7
// and 1.
func (e Expiry) Days(now time.Time) int {
	left := e.Left(now)
	days := int(left / (24 * time.Hour))
	if left < 0 && left%(24*time.Hour) != 0 {
		days--
	}
	return days
}

// Expiries returns the certificate in force and the intermediates sent with it.
func (id *Identity) Expiries() []Expiry { return calendar(id.certFile, id.current.Load().chain) }

// Expiries returns the authorities in force.
func (a *Anchors) Expiries() []Expiry { return calendar(a.Name(), a.current.Load().certs) }

func calendar(source string, certs []*x509.Certificate) []Expiry {
	out := make([]Expiry, 0, len(certs))
	for _, c := range certs {
		out = append(out, Expiry{Source: source, Subject: Subject(c), Serial: serialText(c), NotAfter: c.NotAfter})
	}
	return out
}

// Ready returns an error when our certificate, or an intermediate sent with it, has less than ReadyMargin left:
// what /readyz says before a peer would refuse us.
func (id *Identity) Ready(now time.Time) error {
	if end := id.current.Load().notAfter; end.Sub(now) < ReadyMargin {
		return fmt.Errorf("%s: the certificate or its chain ends at %s: %w", id.certFile, instant(end), ErrOwnExpired)
	}
	return nil
}
