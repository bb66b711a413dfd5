package jws

import (
	"crypto"
	"crypto/sha256"
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

// Reload reads the files again. All take effect together, or, if one is not in order, none.
func (s *Signers) Reload() (changed bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.current.Load()
	fresh := &signing{signers: make([]*AnswerSigner, len(s.cfg.Keys)), digests: make([][sha256.Size]byte, len(s.cfg.Keys)), generation: 1}
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
			fresh.signers[i] = old.signers[i]
			continue
		}
		if fresh.signers[i], err = k.signer(content); err != nil {
			return false, err
		}
		changed = true
	}
	if changed {
		s.current.Store(fresh)
	}
	return changed, nil
}

func (k SigningKey) content() ([]byte, error) {
	if k.File == "" {
		return nil, nil
	}
	content, err := mtls.ReadKeyFile(k.File)
	if err != nil {
		return nil, fmt.Errorf("signing key %w", err)
	}
	return content, nil
}

func (k SigningKey) signer(content []byte) (*AnswerSigner, error) {
	if k.File == "" {
		return NewSigner(k.Key, k.KID)
	}
	key, err := mtls.ParseKey(k.File, content)
	if err != nil {
		return nil, fmt.Errorf("signing key %w", err)
	}
	signer, err := NewSigner(key, k.KID)
	if err != nil {
		return nil, fmt.Errorf("signing key %s: %w", k.File, err)
	}
	return signer, nil
}
