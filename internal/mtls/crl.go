package mtls

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// clockSkew is how far ahead of us the clock of an authority may be.
const clockSkew = time.Minute

// maxCRL bounds one revocation list; those of ICP-Brasil's large authorities have a few MiB.
const maxCRL = 64 << 20

// crl is one revocation list, indexed. It is believed only by those who hold the certificate of its issuer: see
// signedBy.
type crl struct {
	key                    crlKey
	source                 string
	thisUpdate, nextUpdate time.Time
	revoked                map[string]time.Time
	points                 []string // it covers only certificates that name one of these; empty: all
	leavesOnly             bool

	list *x509.RevocationList // without its entries

	mu       sync.Mutex
	obtained time.Time         // when its source last offered it
	signer   *x509.Certificate // who was found to have signed it
	denied   [sha256.Size]byte // the last certificate found not to have
}

// crlKey tells apart the lists that one source may offer: one per issuer and key of the issuer.
type crlKey struct{ source, issuer, authorityKey string }

// parseCRLs reads DER, or PEM with any number of lists.
func parseCRLs(source string, content []byte, now time.Time) ([]*crl, error) {
	var ders [][]byte
	for rest := content; ; {
		block, after, damaged := nextBlock(rest)
		if damaged {
			return nil, fmt.Errorf("revocation list %d of the file is damaged: it is not whole, or no base64", len(ders)+1)
		}
		if rest = after; block == nil {
			break
		}
		if block.Type != "X509 CRL" {
			return nil, fmt.Errorf("a PEM block %.40q where a revocation list should be", block.Type)
		}
		ders = append(ders, block.Bytes)
	}
	if ders == nil {
		ders = [][]byte{content}
	}
	out := make([]*crl, 0, len(ders))
	for _, der := range ders {
		l, err := parseCRL(source, der, now)
		if err != nil {
			return nil, err
		}
		out = append(out, l)
	}
	return out, nil
}

func parseCRL(source string, der []byte, now time.Time) (*crl, error) {
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		return nil, fmt.Errorf("not a revocation list: %w", err)
	}
	if list.NextUpdate.IsZero() {
		return nil, errors.New("the revocation list has no nextUpdate; a list without an end proves nothing")
	}
	l := &crl{
		key:    crlKey{source, string(list.RawIssuer), string(list.AuthorityKeyId)},
		source: source, list: list, obtained: now,
		thisUpdate: list.ThisUpdate, nextUpdate: list.NextUpdate,
		revoked: make(map[string]time.Time, len(list.RevokedCertificateEntries)),
	}
	if err := l.readScope(); err != nil {
		return nil, err
	}
	for _, e := range list.RevokedCertificateEntries {
		if slices.ContainsFunc(e.Extensions, isCritical) {
			return nil, errors.New("an entry with a critical extension that is not known here (indirect list?)")
		}
		l.revoked[string(e.SerialNumber.Bytes())] = e.RevocationTime
	}
	list.RevokedCertificateEntries, list.RevokedCertificates = nil, nil //nolint:staticcheck // let both copies go
	return l, nil
}

func isCritical(e pkix.Extension) bool { return e.Critical }

var oidIssuingDistributionPoint = asn1.ObjectIdentifier{2, 5, 29, 28}

// readScope refuses lists that speak of less than they seem to: deltas, indirect lists, lists of some reasons only.
func (l *crl) readScope() error {
	for _, e := range l.list.Extensions {
		if !isCritical(e) {
			continue
		}
		if !e.Id.Equal(oidIssuingDistributionPoint) {
			return fmt.Errorf("critical extension %s is not known here (a delta list?)", e.Id)
		}
		var scope struct {
			Point struct {
				FullName []asn1.RawValue `asn1:"optional,tag:0"`
			} `asn1:"optional,tag:0"`
			OnlyLeaves     bool           `asn1:"optional,tag:1"`
			OnlyCAs        bool           `asn1:"optional,tag:2"`
			OnlyReasons    asn1.BitString `asn1:"optional,tag:3"`
			Indirect       bool           `asn1:"optional,tag:4"`
			OnlyAttributes bool           `asn1:"optional,tag:5"`
		}
		if rest, err := asn1.Unmarshal(e.Value, &scope); err != nil || len(rest) > 0 {
			return errors.New("its issuing distribution point cannot be parsed")
		}
		if scope.OnlyCAs || scope.Indirect || scope.OnlyAttributes || scope.OnlyReasons.BitLength > 0 {
			return errors.New("it covers only some certificates or reasons")
		}
		l.leavesOnly = scope.OnlyLeaves
		for _, name := range scope.Point.FullName {
			if name.Class == asn1.ClassContextSpecific && name.Tag == 6 { // uniformResourceIdentifier
				l.points = append(l.points, string(name.Bytes))
			}
		}
	}
	return nil
}

// covers says whether the list speaks of the certificate at all.
func (l *crl) covers(cert *x509.Certificate) bool {
	if l.leavesOnly && cert.IsCA {
		return false
	}
	return len(l.points) == 0 || slices.ContainsFunc(l.points, func(p string) bool {
		return slices.Contains(cert.CRLDistributionPoints, p)
	})
}

// signedBy says whether the issuer signed the list. The answer is remembered: it costs a public-key operation.
func (l *crl) signedBy(issuer *x509.Certificate) bool {
	if l.key.issuer != string(issuer.RawSubject) {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.signer != nil {
		return bytes.Equal(l.signer.RawSubjectPublicKeyInfo, issuer.RawSubjectPublicKeyInfo)
	}
	hash := sha256.Sum256(issuer.Raw)
	if l.denied == hash {
		return false
	}
	if err := l.list.CheckSignatureFrom(issuer); err != nil {
		l.denied = hash
		return false
	}
	l.signer = issuer
	return true
}

func (l *crl) provenSigner() *x509.Certificate {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.signer
}

// end is when the list stops being evidence: at its own end, or ttl after its source last offered it.
func (l *crl) end(ttl time.Duration) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return earlier(l.nextUpdate, l.obtained.Add(ttl))
}

// crlStore holds the lists in force. A list that was proven to be its issuer's is never replaced by one that is not,
// nor by an older one: what is fetched over plain http must not be able to make us forget.
type crlStore struct {
	ttl time.Duration

	mu    sync.RWMutex
	lists map[crlKey]*crl
}

// replace puts the lists of one source into force; either all or none.
func (s *crlStore) replace(next []*crl) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range next {
		old := s.lists[l.key]
		if old == nil || old.provenSigner() == nil {
			continue
		}
		if !l.signedBy(old.provenSigner()) {
			return errors.New("the signature is not the issuer's; the list in force is kept")
		}
		if l.thisUpdate.Before(old.thisUpdate) {
			return errors.New("it is older than the list in force, which is kept")
		}
	}
	for _, l := range next {
		s.lists[l.key] = l
	}
	return nil
}

// offered notes that a source still holds the lists in force.
func (s *crlStore) offered(source string, now time.Time) {
	for _, l := range s.all() {
		if l.source == source {
			l.mu.Lock()
			l.obtained = now
			l.mu.Unlock()
		}
	}
}

// find returns the issuer's newest list that covers the certificate: the newest that is evidence now, or, when there
// is none, the one that was so last.
func (s *crlStore) find(cert, issuer *x509.Certificate, now time.Time) (l *crl, fresh bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, candidate := range s.lists {
		if candidate.thisUpdate.After(now.Add(clockSkew)) || !candidate.covers(cert) || !candidate.signedBy(issuer) {
			continue
		}
		isFresh := now.Before(candidate.end(s.ttl))
		switch {
		case l == nil, isFresh && !fresh,
			isFresh == fresh && candidate.thisUpdate.After(l.thisUpdate):
			l, fresh = candidate, isFresh
		}
	}
	return l, fresh
}

// all lists them in a stable order.
func (s *crlStore) all() []*crl {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.SortedFunc(maps.Values(s.lists), func(a, b *crl) int {
		return cmp.Or(cmp.Compare(a.source, b.source), cmp.Compare(a.key.issuer, b.key.issuer),
			cmp.Compare(a.key.authorityKey, b.key.authorityKey))
	})
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
