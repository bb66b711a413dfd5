package jws

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/arauto/arauto/internal/mtls"
)

// SigningKey names one key we may sign with: a file, or a AnswerSigner at hand.
type SigningKey struct {
	KID  string
	File string        // PEM, read again whenever its content changes
	Key  crypto.Signer // an HSM or KMS; then File is empty

	// Remote signs for a File that holds the public half of a key or a certificate of it. Nothing is signed at start: a signer that is
	// away keeps nobody from starting. Nil: the file must hold the private key.
	Remote func(*rsa.PublicKey) (crypto.Signer, error)
}

// SignersConfig lists our keys. For a rollover the new key is put first and the old one kept behind it: once the new one
// is published it signs, and until then the old one does.
type SignersConfig struct {
	Keys      []SigningKey // in order of preference; at least one
	Published *KeySet      // our set in the Directory; nil: every key counts as published
}

// Signers signs with the first of our keys that others can verify: with Published set, never under a kid that is not
// in it with this very key (security §6, S8; case J5). It is safe for concurrent use. Name, Generation and Reload let
// a watcher of files watch it.
type Signers struct {
	cfg     SignersConfig
	mu      sync.Mutex // one reload at a time
	current atomic.Pointer[signing]
}

// signing is one state of Signers.
type signing struct {
	signers    []*AnswerSigner
	remote     []bool              // whether the key of a signer is in another process
	digests    [][sha256.Size]byte // of the files
	generation uint64
}

// OpenSigners reads all keys and makes a trial signature with each; the error names the bad one.
func OpenSigners(c SignersConfig) (*Signers, error) {
	if len(c.Keys) == 0 {
		return nil, errors.New("no signing key; name its file and its kid")
	}
	for i, k := range c.Keys {
		if (k.File == "") == (k.Key == nil) {
			return nil, fmt.Errorf("signing key %d: name either a file or a signer", i+1)
		}
		for _, other := range c.Keys[:i] {
			if other.KID == k.KID {
				return nil, fmt.Errorf("signing key %d: an earlier key has the same kid", i+1)
			}
		}
	}
	s := &Signers{cfg: c}
	if _, err := s.Reload(); err != nil {
		return nil, err
	}
	return s, nil
}

// Sign signs claims with the active key; see AnswerSigner.Sign. Without an active key the error wraps ErrUnavailable.
func (s *Signers) Sign(claims any) ([]byte, error) {
	active, err := s.Active()
	if err != nil {
		return nil, err
	}
	return active.Sign(claims)
}

// Active returns the key in use. When none of ours is published, or the published set could never be read, the error
// wraps ErrUnavailable: an answer that no reader can verify is not given.
func (s *Signers) Active() (*AnswerSigner, error) {
	signers := s.current.Load().signers
	if s.cfg.Published == nil {
		return signers[0], nil
	}
	published, err := s.cfg.Published.Keys()
	if err != nil {
		return nil, fmt.Errorf("which of our keys are published: %w", err)
	}
	for _, signer := range signers {
		if key, there := published.byKID[signer.kid]; there && key.public.Equal(signer.public) && key.alg != algRS256 {
			return signer, nil
		}
	}
	return nil, fmt.Errorf("none of our %d signing keys is in the published set: %w", len(signers), ErrUnavailable)
}

// Name returns the files' names, safe to show.
func (s *Signers) Name() string {
	var files []string
	for _, k := range s.cfg.Keys {
		if k.File != "" {
			files = append(files, k.File)
		}
	}
	return strings.Join(files, ", ")
}

// Generation returns the number of states that took effect, from 1.
func (s *Signers) Generation() uint64 { return s.current.Load().generation }

// Digests returns the SHA-256 of the files in force that hold public halves, in hexadecimal, by file; of private keys nothing.
func (s *Signers) Digests() map[string]string {
	out, now := map[string]string{}, s.current.Load()
	for i, k := range s.cfg.Keys {
		if now.remote[i] {
			out[k.File] = hex.EncodeToString(now.digests[i][:])
		}
	}
	return out
}

// Reload reads the files again. All take effect together, or, if one is not in order, none.
func (s *Signers) Reload() (changed bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.current.Load()
	fresh := &signing{signers: make([]*AnswerSigner, len(s.cfg.Keys)), remote: make([]bool, len(s.cfg.Keys)), digests: make([][sha256.Size]byte, len(s.cfg.Keys)), generation: 1}
	if old != nil {
		fresh.generation = old.generation + 1
	}
	for i, k := range s.cfg.Keys {
		content, err := k.content()
		if err != nil {
			return false, err
		}
		fresh.digests[i] = sha256.Sum256(content)
		if old != nil && old.digests[i] == fresh.digests[i] {
			fresh.signers[i], fresh.remote[i] = old.signers[i], old.remote[i]
			continue
		}
		if fresh.signers[i], fresh.remote[i], err = k.signer(content); err != nil {
			return false, err
		}
		changed = true
	}
	if changed {
		s.current.Store(fresh)
	}
	return changed, nil
}

// Try makes a signature with each key that is in another process.
func (s *Signers) Try() error {
	var wrong []error
	now := s.current.Load()
	for i, signer := range now.signers {
		if now.remote[i] {
			wrong = append(wrong, signer.Try())
		}
	}
	return errors.Join(wrong...)
}

func (k SigningKey) content() ([]byte, error) {
	if k.File == "" {
		return nil, nil
	}
	if k.Remote != nil {
		if content, err := mtls.ReadFile(k.File, maxPublic, nil); err == nil && isPublic(content) {
			return content, nil
		}
	}
	content, err := mtls.ReadKeyFile(k.File)
	if err != nil {
		return nil, fmt.Errorf("signing key %w", err)
	}
	return content, nil
}

// maxPublic is more than a public key and a certificate need.
const maxPublic = 64 << 10

// isPublic tells a file of a public key or a certificate.
func isPublic(content []byte) bool {
	block, _ := pem.Decode(content)
	return block != nil && (block.Type == blockPublic || block.Type == blockCertificate)
}

const (
	blockPublic      = "PUBLIC KEY"
	blockCertificate = "CERTIFICATE"
)

// signer returns what signs with the key, and whether the key is in another process.
func (k SigningKey) signer(content []byte) (signer *AnswerSigner, remote bool, err error) {
	switch {
	case k.File == "":
		signer, err = NewSigner(k.Key, k.KID)
		return signer, false, err
	case k.Remote != nil && isPublic(content):
		signer, err = k.remoteSigner(content)
		remote = true
	default:
		var key *rsa.PrivateKey
		if key, err = mtls.ParseKey(k.File, content); err != nil {
			return nil, false, fmt.Errorf("signing key %w", err)
		}
		signer, err = NewSigner(key, k.KID)
	}
	if err != nil {
		return nil, false, fmt.Errorf("signing key %s: %w", k.File, err)
	}
	return signer, remote, nil
}

func (k SigningKey) remoteSigner(content []byte) (*AnswerSigner, error) {
	block, _ := pem.Decode(content)
	var parsed any
	var err error
	if block.Type == blockCertificate {
		var certificate *x509.Certificate
		if certificate, err = x509.ParseCertificate(block.Bytes); err == nil {
			parsed = certificate.PublicKey
		}
	} else {
		parsed, err = x509.ParsePKIXPublicKey(block.Bytes)
	}
	if err != nil {
		return nil, fmt.Errorf("the PEM block %s cannot be read: %w", block.Type, err)
	}
	public, is := parsed.(*rsa.PublicKey)
	if !is {
		return nil, errors.New("the public key is not RSA; PS256 needs RSA (FAPI-BR §6.1)")
	}
	key, err := k.Remote(public)
	if err != nil {
		return nil, err
	}
	return newSigner(key, k.KID)
}
