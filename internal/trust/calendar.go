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
	"github.com/arauto/arauto/internal/signer"
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
	for _, b := range t.Brands {
		add("public-server", b.Server.Expiries())
	}
	if t.Internal != nil {
		add("internal-server", t.Internal.Expiries())
	}
	if t.Console != nil {
		add("console-server", t.Console.Expiries())
	}
	for _, b := range t.Brands {
		add("webhook-client", b.Client.Expiries())
	}
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
	return slices.Concat(out, t.leftOutLines(), t.BrandNotes(now))
}

// Findings returns what arauto check says of certificates and lists. With fetch, the lists of URLs are fetched once.
func (t *Trust) Findings(ctx context.Context, now time.Time, fetch bool) []string {
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
		if !fetch {
			break
		}
		if err := d.Refresh(ctx); err != nil {
			out = append(out, fmt.Sprintf("WARNING revocation of %s: %v", d.name, err))
		}
	}
	for _, l := range t.RevocationLists() {
		if l.ValidUntil.IsZero() {
			if fetch {
				out = append(out, fmt.Sprintf("WARNING revocation list %s of %s: it could not be had", l.Source, l.Direction))
			}
			continue
		}
		line := fmt.Sprintf("revocation list %s of %s: evidence until %s, %d entries", l.Source, l.Direction, l.ValidUntil.UTC().Format(time.RFC3339), l.Entries)
		if now.After(l.ValidUntil) {
			line = "WARNING " + line
		}
		out = append(out, line)
	}
	for _, line := range append(t.aboveLines(), t.leftOutLines()...) {
		out = append(out, "WARNING "+line)
	}
	for _, b := range t.Brands {
		out = append(out, grantFinding(b.Tokens)+ofBrand(b))
		if fetch && b.Signing.Signer != "" {
			out = append(out, signer.Finding(b.Setting("signing.signer"), b.Signing.Signer, b.Signers.Try))
		}
	}
	return append(out, "receivers' certificates: known to running replicas, at GET /internal/v1/certificates")
}

// ofBrand names a brand at the end of a finding; "" for the only one.
func ofBrand(b *Brand) string {
	if b.Name == "" {
		return ""
	}
	return " (brand " + b.Name + ")"
}

// maxReceivers bounds the certificates of receivers that are remembered: more clients than the ecosystem has.
const maxReceivers = 10_000

// ReceiverCertificate is the certificate that an initiator's endpoint showed last, to any replica.
type ReceiverCertificate struct{ notice.SeenCertificate }

// Days is how many whole days are left until its end; negative once it has ended.
func (c *ReceiverCertificate) Days(now time.Time) int {
	return mtls.Expiry{NotAfter: c.NotAfter}.Days(now)
}

// receivers remembers the certificates that initiators' endpoints showed, also in handshakes that failed.
type receivers struct {
	most int

	mu      sync.Mutex
	known   map[notice.ClientID]*ReceiverCertificate
	unsaved map[notice.ClientID]bool // not kept for other replicas yet
}

func newReceivers(most int) *receivers {
	return &receivers{most: most, known: map[notice.ClientID]*ReceiverCertificate{}, unsaved: map[notice.ClientID]bool{}}
}

// see notes a certificate. One that was seen before what is known of its client changes nothing.
func (r *receivers) see(c notice.SeenCertificate) {
	if c.NotAfter.IsZero() {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.learn(c) {
		r.unsaved[c.Client] = true
	}
}

func (r *receivers) learn(c notice.SeenCertificate) bool {
	old := r.known[c.Client]
	if old != nil && !old.SeenAt.Before(c.SeenAt) {
		return false
	}
	if old != nil && old.Fingerprint == c.Fingerprint { // the same one again
		old.SeenAt, old.Wrong = c.SeenAt, c.Wrong
		return true
	}
	if old == nil && len(r.known) >= r.most {
		r.forgetOldest()
	}
	r.known[c.Client] = &ReceiverCertificate{c}
	return true
}

// take returns what was seen since the last call.
func (r *receivers) take() []notice.SeenCertificate {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]notice.SeenCertificate, 0, len(r.unsaved))
	for client := range r.unsaved {
		if c := r.known[client]; c != nil {
			out = append(out, c.SeenCertificate)
		}
	}
	clear(r.unsaved)
	return out
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

// See notes the certificate that a receiver showed in a handshake; nil: it showed none.
func (t *Trust) See(client notice.ClientID, shown *notice.ShownCertificate, at time.Time) {
	if shown != nil {
		t.seen.see(notice.SeenCertificate{Client: client, SeenAt: at, ShownCertificate: *shown})
	}
}

// ReceiverStore keeps the certificates of receivers for all replicas; *store.Store does.
type ReceiverStore interface {
	SaveReceivers(ctx context.Context, seen []notice.SeenCertificate) error
	Receivers(ctx context.Context, most int) ([]notice.SeenCertificate, error)
}

// ShareReceivers hands what this replica saw to the store, and learns what others saw. After an error all of it is handed over
// by a later call.
func (t *Trust) ShareReceivers(ctx context.Context, s ReceiverStore) error {
	if seen := t.seen.take(); len(seen) > 0 {
		if err := s.SaveReceivers(ctx, seen); err != nil {
			t.seen.mu.Lock()
			defer t.seen.mu.Unlock()
			for i := range seen {
				t.seen.unsaved[seen[i].Client] = true
			}
			return err
		}
	}
	all, err := s.Receivers(ctx, t.seen.most)
	if err != nil {
		return err
	}
	t.seen.mu.Lock()
	defer t.seen.mu.Unlock()
	for _, c := range all {
		t.seen.learn(c)
	}
	return nil
}

// Receivers returns the certificates that receivers showed last, to this replica or, as of its last exchange with the store, to another
// one, in the order of their end.
func (t *Trust) Receivers() []ReceiverCertificate { return t.seen.all() }

// Ending counts receivers' certificates by the days ("30", "7", "1") within which they end, and under "0" those that have ended.
func (t *Trust) Ending(now time.Time) map[string]int { return t.seen.ending(now) }
