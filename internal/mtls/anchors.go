package mtls

import (
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Anchors are the authorities we trust for one purpose: the issuing authorities of initiators' BRCACs, or the roots
// of receivers' web-server certificates. One process never trusts production and sandbox at once (security §4.4):
// which set it is, is configuration. Anchors are safe for concurrent use.
type Anchors struct {
	files   []string
	now     func() time.Time
	mu      sync.Mutex // one reload at a time
	current atomic.Pointer[anchorSet]
}

// anchorSet is one state of Anchors.
type anchorSet struct {
	pool       *x509.CertPool
	certs      []*x509.Certificate
	leftOut    []LeftOut
	hash       [sha256.Size]byte
	digests    map[string]string
	generation uint64
}

// LoadAnchors reads the authorities of one or more PEM files. It refuses a certificate that is not an authority's, and a set of
// which nothing is usable or in date. An authority whose key is not RSA of at least 2048 bits, or that cannot be parsed, is left
// out, and LeftOut names it. An authority out of date beside others that are not is kept: nothing below it verifies, and Expiries
// shows it.
func LoadAnchors(files ...string) (*Anchors, error) {
	a := &Anchors{files: slices.Clone(files), now: time.Now}
	if _, err := a.Reload(); err != nil {
		return nil, err
	}
	return a, nil
}

// Pool returns the authorities for verification. The caller must not change it.
func (a *Anchors) Pool() *x509.CertPool { return a.current.Load().pool }

// Certificates returns the authorities in the order of the files.
func (a *Anchors) Certificates() []*x509.Certificate { return slices.Clone(a.current.Load().certs) }

// LeftOut returns the authorities of the files that are not in force.
func (a *Anchors) LeftOut() []LeftOut { return slices.Clone(a.current.Load().leftOut) }

// Generation begins at 1 and grows by one whenever other content takes effect. Connections judged under an older one
// may have lost their anchor: the owner of a pool of connections closes them when it changes.
func (a *Anchors) Generation() uint64 { return a.current.Load().generation }

// Name returns the files' names, for alarms.
func (a *Anchors) Name() string { return strings.Join(a.files, ", ") }

// Digests implements Reloadable.
func (a *Anchors) Digests() map[string]string { return a.current.Load().digests }

// Reload reads the files again and reports whether other content took effect. After an error the previous set stays in
// force.
func (a *Anchors) Reload() (changed bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.files) == 0 {
		return false, fmt.Errorf("no file of trusted authorities given; set it")
	}
	var contents [][]byte
	for _, name := range a.files {
		content, err := ReadFile(name, maxFile, nil)
		if err != nil {
			return false, err
		}
		contents = append(contents, content)
	}
	next := &anchorSet{pool: x509.NewCertPool(), hash: hashOf(contents...), digests: map[string]string{}, generation: 1}
	if old := a.current.Load(); old != nil {
		if old.hash == next.hash {
			return false, nil
		}
		next.generation = old.generation + 1
	}
	for i, name := range a.files {
		if err := next.add(name, contents[i]); err != nil {
			return false, err
		}
		sum := sha256.Sum256(contents[i])
		next.digests[name] = hex.EncodeToString(sum[:])
	}
	if len(next.certs) == 0 {
		return false, &FileError{File: a.Name(), Reason: "holds no authority that can be used: " + next.leftOut[0].Reason, Cure: "list authorities with RSA keys of 2048 bits or more"}
	}
	if !slices.ContainsFunc(next.certs, func(c *x509.Certificate) bool { return !a.now().After(c.NotAfter) }) {
		return false, &FileError{File: a.Name(), Reason: "every authority in it has expired", Cure: "install the current ones"}
	}
	a.current.Store(next)
	return true, nil
}

// add takes the usable authorities of a file, and notes the others.
func (s *anchorSet) add(file string, content []byte) error {
	var left []LeftOut
	certs, err := parseMost(file, content, func(n int, der []byte, err error) error {
		subject, ok := subjectOfUnread(der)
		if !ok {
			return &FileError{File: file, Reason: fmt.Sprintf("certificate %d is damaged", n), Err: err, Cure: "get the file again from its source"}
		}
		left = append(left, LeftOut{file, n, subject, strings.TrimPrefix(err.Error(), "x509: ")})
		return nil
	})
	if err != nil {
		return err
	}
	for n, c := range certs {
		if c == nil {
			continue
		}
		if err := judgeAuthority(file, n+1, c); err != nil {
			return err
		}
		if key, ok := c.PublicKey.(*rsa.PublicKey); !ok || key.N.BitLen() < minKeyBits {
			left = append(left, LeftOut{file, n + 1, Subject(c), "it has no RSA key of 2048 bits or more, and the profile knows no other (security §4.1)"})
			continue
		}
		s.pool.AddCert(c)
		s.certs = append(s.certs, c)
	}
	s.leftOut = append(s.leftOut, left...)
	return nil
}

// judgeAuthority refuses what does not belong into a file of authorities.
func judgeAuthority(file string, n int, c *x509.Certificate) error {
	wrong := func(reason, cure string) error {
		return &FileError{File: file, Reason: fmt.Sprintf("certificate %d %s", n, reason), Cure: cure}
	}
	if !c.BasicConstraintsValid || !c.IsCA {
		return wrong("is not an authority's", "list authorities only, not the certificates they issued")
	}
	if c.KeyUsage != 0 && c.KeyUsage&x509.KeyUsageCertSign == 0 {
		return wrong("may not sign certificates", "list the authority that issues")
	}
	return nil
}

// Renew raises the generation though the authorities stay the same: an owner of a pool closes its connections, and judges
// the next ones anew. It serves those who learn that a certificate below these authorities may have been revoked.
func (a *Anchors) Renew() {
	a.mu.Lock()
	defer a.mu.Unlock()
	next := *a.current.Load()
	next.generation++
	a.current.Store(&next)
}

// includes says whether the set in force holds exactly this authority.
func (a *Anchors) includes(c *x509.Certificate) bool {
	return slices.ContainsFunc(a.current.Load().certs, c.Equal)
}
