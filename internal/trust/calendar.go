package trust

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/arauto/arauto/internal/mtls"
	"github.com/arauto/arauto/internal/notice"
)

// warnDays are the days before a certificate's end at which operators are warned (cases I3).
var warnDays = []int{30, 7, 1}

// Certificate is one of our own certificates or authorities, with its role.
type Certificate struct {
	mtls.Expiry
	Role string // "public-server", "internal-server", "console-server", "webhook-client", "caller-authority", "receiver-authority" or "proxy-authority"
}

// Certificates returns our own certificates and authorities, as they are in force.
func (t *Trust) Certificates() []Certificate {
	var out []Certificate
	add := func(role string, list []mtls.Expiry) {
		for _, e := range list {
			out = append(out, Certificate{e, role})
		}
	}
	add("public-server", t.Server.Expiries())
	if t.Internal != nil {
		add("internal-server", t.Internal.Expiries())
	}
	if t.Console != nil {
		add("console-server", t.Console.Expiries())
	}
	add("webhook-client", t.Client.Expiries())
	add("caller-authority", t.Callers.Authorities.Expiries())
	add("receiver-authority", t.Roots.Expiries())
	if t.Callers.Proxy != nil {
		add("proxy-authority", t.Callers.Proxy.Authorities().Expiries())
	}
	return out
}

// RevocationList is one list of one direction. Its evidence serves until ValidUntil, and then until SoftFailUntil. Of a list that
// was never fetched only Source is set.
type RevocationList struct {
	mtls.ListStatus
	Direction string // "callers" or "receivers"
}

// RevocationLists returns the lists in force, and those that the settings name and that were never fetched.
func (t *Trust) RevocationLists() []RevocationList {
	var out []RevocationList
	for _, d := range t.directions() {
		there := map[string]bool{}
		for _, l := range d.Lists() {
			there[l.Source] = true
			out = append(out, RevocationList{l, d.name})
		}
		for _, source := range d.Sources() {
			if !there[source] {
				out = append(out, RevocationList{mtls.ListStatus{Source: source}, d.name})
			}
		}
	}
	return out
}

// Notes returns what /readyz tells operators about lists and certificates. Readiness does not depend on it: all replicas are in the
// same state, and an authority's outage is no excuse for ours (webhook §7.4).
func (t *Trust) Notes(now time.Time) []string {
	var out []string
	for _, l := range t.RevocationLists() {
		name := fmt.Sprintf("revocation list %s of %s", l.Source, l.Direction)
		switch {
		case l.ValidUntil.IsZero():
			out = append(out, name+": it could not be had yet")
		case now.After(l.SoftFailUntil):
			out = append(out, fmt.Sprintf("%s: it ended at %s and the soft-fail window is over", name, l.ValidUntil.UTC().Format(time.RFC3339)))
		case now.After(l.ValidUntil):
			out = append(out, fmt.Sprintf("%s: it ended at %s and serves by soft-fail until %s", name, l.ValidUntil.UTC().Format(time.RFC3339), l.SoftFailUntil.UTC().Format(time.RFC3339)))
		default:
			out = append(out, fmt.Sprintf("%s: good until %s", name, l.ValidUntil.UTC().Format(time.RFC3339)))
		}
	}
	for _, e := range t.Certificates() {
		if days := e.Days(now); days < warnDays[0] {
			out = append(out, fmt.Sprintf("certificate %s (%s): %d days left", e.Source, e.Role, days))
		}
	}
	return out
}

// Findings returns what arauto check says of certificates and lists. It fetches the lists of URLs once.
func (t *Trust) Findings(ctx context.Context, now time.Time) []string {
	var out []string
	for _, e := range t.Certificates() {
		line := fmt.Sprintf("certificate %s %s: %d days left (until %s)", e.Source, e.Subject, e.Days(now), e.NotAfter.UTC().Format(time.RFC3339))
		if e.Days(now) < warnDays[0] {
			line = "WARNING " + line
		}
		out = append(out, line)
	}
	ctx, cancel := context.WithTimeout(ctx, listsWithin)
	defer cancel()
	for _, d := range t.directions() {
		if err := d.Refresh(ctx); err != nil {
			out = append(out, fmt.Sprintf("WARNING revocation of %s: %v", d.name, err))
		}
	}
	for _, l := range t.RevocationLists() {
		line := fmt.Sprintf("revocation list %s of %s: evidence until %s, %d entries", l.Source, l.Direction, l.ValidUntil.UTC().Format(time.RFC3339), l.Entries)
		if now.After(l.ValidUntil) {
			line = "WARNING " + line
		}
		out = append(out, line)
	}
	return append(out, "receivers' certificates: known to running replicas, at GET /internal/v1/certificates")
}

// maxReceivers bounds the certificates of receivers that are remembered: more clients than the ecosystem has.
const maxReceivers = 10_000

// ReceiverCertificate is the certificate that an initiator's endpoint showed last.
type ReceiverCertificate struct {
	mtls.Expiry // without a source
	Client      notice.ClientID
	Fingerprint string
	SeenAt      time.Time
}

// receivers remembers the certificates that initiators' endpoints showed to this replica. One that no longer verifies is not seen,
// so its line stays until the client shows another.
type receivers struct {
	most int

	mu    sync.Mutex
	known map[notice.ClientID]*ReceiverCertificate
}

func newReceivers(most int) *receivers {
	return &receivers{most: most, known: map[notice.ClientID]*ReceiverCertificate{}}
}

// see notes the certificate of a handshake.
func (r *receivers) see(client notice.ClientID, facts *notice.TLSFacts, at time.Time) {
	if facts == nil || facts.PeerNotAfter.IsZero() {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.known[client]; c != nil && c.Fingerprint == facts.PeerFingerprint {
		c.SeenAt = at
		return
	}
	if r.known[client] == nil && len(r.known) >= r.most {
		r.forgetOldest()
	}
	r.known[client] = &ReceiverCertificate{
		Expiry: mtls.Expiry{Subject: facts.PeerSubject, Serial: facts.PeerSerial, NotAfter: facts.PeerNotAfter},
		Client: client, Fingerprint: facts.PeerFingerprint, SeenAt: at,
	}
}

// forgetOldest makes room for a tenth, so that a full list is not sorted for every newcomer.
func (r *receivers) forgetOldest() {
	all := make([]*ReceiverCertificate, 0, len(r.known))
	for _, c := range r.known {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b *ReceiverCertificate) int { return a.SeenAt.Compare(b.SeenAt) })
	for _, c := range all[:len(all)/10+1] {
		delete(r.known, c.Client)
	}
}

// all returns the certificates in the order of their end.
func (r *receivers) all() []ReceiverCertificate {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]ReceiverCertificate, 0, len(r.known))
	for _, c := range r.known {
		out = append(out, *c)
	}
	slices.SortFunc(out, func(a, b ReceiverCertificate) int {
		return cmp.Or(a.NotAfter.Compare(b.NotAfter), cmp.Compare(a.Client, b.Client))
	})
	return out
}

// ending counts the certificates that end within some days, by the days, and under "0" those that have ended.
func (r *receivers) ending(now time.Time) map[string]int {
	out := map[string]int{"0": 0}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, days := range warnDays {
		within := strconv.Itoa(days)
		out[within] = 0
		for _, c := range r.known {
			if c.NotAfter.Before(now.AddDate(0, 0, days)) {
				out[within]++
			}
		}
	}
	for _, c := range r.known {
		if !c.NotAfter.After(now) {
			out["0"]++
		}
	}
	return out
}

// See notes the certificate that a receiver showed in a handshake; facts may be nil.
func (t *Trust) See(client notice.ClientID, facts *notice.TLSFacts, at time.Time) {
	t.seen.see(client, facts, at)
}

// Receivers returns the certificates that receivers showed to this replica, in the order of their end.
func (t *Trust) Receivers() []ReceiverCertificate { return t.seen.all() }

// Ending counts receivers' certificates by the days ("30", "7", "1") within which they end, and under "0" those that have ended.
func (t *Trust) Ending(now time.Time) map[string]int { return t.seen.ending(now) }
