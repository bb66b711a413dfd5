package mtls

import (
	"bytes"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// ErrOwnExpired means that a handshake was not made because our own certificate, or an intermediate we send with it,
// has expired. Nothing was sent.
var ErrOwnExpired = errors.New("our own certificate has expired")

// Purpose is what an identity is for. A certificate that names its purposes must name this one.
type Purpose uint8

// The two purposes.
const (
	AsServer Purpose = iota + 1 // shown on our listeners: extended key usage serverAuth
	AsClient                    // our BRCAC, shown to receivers: extended key usage clientAuth
)

func (p Purpose) usage() x509.ExtKeyUsage {
	if p == AsClient {
		return x509.ExtKeyUsageClientAuth
	}
	return x509.ExtKeyUsageServerAuth
}

// String is the name of the purpose in the extension extKeyUsage of RFC 5280.
func (p Purpose) String() string {
	if p == AsClient {
		return "clientAuth"
	}
	return "serverAuth"
}

// Identity is our certificate, its chain and its key, as last read in good order from two files. It is safe for
// concurrent use; reading it costs one atomic load.
type Identity struct {
	certFile, keyFile string
	purposes          []Purpose
	now               func() time.Time

	mu      sync.Mutex // one reload at a time
	current atomic.Pointer[credential]
}

// credential is one state of an Identity.
type credential struct {
	cert       tls.Certificate
	chain      []*x509.Certificate
	hash       [sha256.Size]byte // of both files
	certHash   [sha256.Size]byte // of the certificate's file
	generation uint64
	notAfter   time.Time // the earliest of the chain
}

// LoadIdentity reads a PEM certificate followed by its intermediates, and its key (see LoadKey). It refuses a key
// that does not match, a chain out of order, anything expired or not yet valid, and a certificate that is not for
// the purposes given. Every refusal is a FileError: file, reason and cure.
func LoadIdentity(certFile, keyFile string, purposes ...Purpose) (*Identity, error) {
	id := &Identity{certFile: certFile, keyFile: keyFile, purposes: purposes, now: time.Now}
	if _, err := id.Reload(); err != nil {
		return nil, err
	}
	return id, nil
}

// Current returns the certificate in force, with Leaf set. It must not be changed.
func (id *Identity) Current() *tls.Certificate { return &id.current.Load().cert }

// Generation begins at 1 and grows by one whenever new content takes effect. Connections made under an older one
// show the older certificate: the owner of a pool of connections closes them when it changes.
func (id *Identity) Generation() uint64 { return id.current.Load().generation }

// Name returns the certificate's file, for alarms.
func (id *Identity) Name() string { return id.certFile }

// Digests implements Reloadable: that of the certificate's file.
func (id *Identity) Digests() map[string]string {
	return map[string]string{id.certFile: hex.EncodeToString(id.current.Load().certHash[:])}
}

// Reload reads both files again and reports whether other content took effect. After an error the previous certificate
// stays in force: a half-written, mismatched or expired set has no effect.
func (id *Identity) Reload() (changed bool, err error) {
	id.mu.Lock()
	defer id.mu.Unlock()
	certPEM, err := ReadFile(id.certFile, maxFile, nil)
	if err != nil {
		return false, err
	}
	keyPEM, err := ReadKeyFile(id.keyFile)
	if err != nil {
		return false, err
	}
	next := &credential{hash: hashOf(certPEM, keyPEM), certHash: sha256.Sum256(certPEM), generation: 1}
	if old := id.current.Load(); old != nil {
		if old.hash == next.hash {
			return false, nil
		}
		next.generation = old.generation + 1
	}
	key, err := ParseKey(id.keyFile, keyPEM)
	if err != nil {
		return false, err
	}
	if next.chain, err = parseCertificates(id.certFile, certPEM); err != nil {
		return false, err
	}
	if err := id.judge(next.chain, key); err != nil {
		return false, err
	}
	next.notAfter = next.chain[0].NotAfter
	next.cert = tls.Certificate{PrivateKey: paced{key}, Leaf: next.chain[0]}
	for _, c := range next.chain {
		next.cert.Certificate = append(next.cert.Certificate, c.Raw)
		if c.NotAfter.Before(next.notAfter) {
			next.notAfter = c.NotAfter
		}
	}
	id.current.Store(next)
	return true, nil
}

// judge finds what a peer would find wrong with our certificate, before a peer does.
func (id *Identity) judge(chain []*x509.Certificate, key *rsa.PrivateKey) error {
	leaf, now := chain[0], id.now()
	if leaf.IsCA {
		return id.wrong("the first certificate is an authority's", "put the leaf first, then its intermediates")
	}
	public, ok := leaf.PublicKey.(*rsa.PublicKey)
	if !ok {
		return notRSA(id.certFile)
	}
	if !public.Equal(key.Public()) {
		return id.wrong("the certificate does not belong to the key in "+id.keyFile, "replace both files by one matching pair")
	}
	for i, c := range chain {
		if i+1 < len(chain) {
			if err := c.CheckSignatureFrom(chain[i+1]); err != nil {
				return id.wrong(fmt.Sprintf("certificate %d was not issued by certificate %d", i+1, i+2),
					"put the leaf first and after each certificate the one that issued it")
			}
		}
		if now.Before(c.NotBefore) {
			return id.wrong(fmt.Sprintf("certificate %d is not valid before %s", i+1, instant(c.NotBefore)),
				"check the clock, or wait")
		}
		if now.After(c.NotAfter) {
			return id.wrong(fmt.Sprintf("certificate %d expired at %s", i+1, instant(c.NotAfter)), "have it renewed")
		}
	}
	for _, purpose := range id.purposes {
		if !serves(leaf, purpose.usage()) && len(leaf.ExtKeyUsage)+len(leaf.UnknownExtKeyUsage) > 0 {
			return id.wrong("the certificate is not for "+purpose.String(),
				"use the BRCAC as client and the web-server certificate on listeners")
		}
	}
	return nil
}

func (id *Identity) wrong(reason, cure string) error {
	return &FileError{File: id.certFile, Reason: reason, Cure: cure}
}

// serves says whether a certificate names the purpose.
func serves(cert *x509.Certificate, usage x509.ExtKeyUsage) bool {
	return slices.Contains(cert.ExtKeyUsage, usage)
}

// hashOf tells contents apart; the lengths keep a byte from wandering from one file to the next.
func hashOf(contents ...[]byte) [sha256.Size]byte {
	var all bytes.Buffer
	for _, c := range contents {
		sum := sha256.Sum256(c)
		all.Write(sum[:])
	}
	return sha256.Sum256(all.Bytes())
}

func instant(t time.Time) string { return t.UTC().Format(time.RFC3339) }
