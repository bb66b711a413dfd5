package jws

import (
	"cmp"
	"crypto/rsa"
	"crypto/sha256"
	"maps"
	"slices"
	"sync"
	"time"
)

// verdict is what became of an access token, kept for a while.
type verdict struct {
	token   AccessToken
	refusal *Refusal  // nil: the token is good
	since   time.Time // when it was made
	until   time.Time // when it serves no longer

	signed signature // what verified it; empty after introspection
}

func (v verdict) result() (AccessToken, error) {
	if v.refusal != nil {
		return AccessToken{}, v.refusal
	}
	token := v.token
	token.Scopes = slices.Clone(token.Scopes)
	return token, nil
}

// signature names the key that verified a token.
type signature struct {
	kid string
	key *rsa.PublicKey
}

// verdicts keeps verdicts by the SHA-256 of the token, not the token. It is bounded and safe for concurrent use; its zero value is ready.
type verdicts struct {
	most int // 0: 10,000

	mu   sync.Mutex
	kept map[[sha256.Size]byte]verdict
}

// find returns the verdict on a token, if there is one that serves at that instant.
func (s *verdicts) find(hash [sha256.Size]byte, now time.Time) (verdict, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.kept[hash]
	return v, ok && now.Before(v.until)
}

// keep stores a verdict. When there is no room, what is out of date goes first, then any other: such a token is only judged again.
func (s *verdicts) keep(hash [sha256.Size]byte, v verdict, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	most := cmp.Or(max(0, s.most), 10_000)
	if len(s.kept) >= most {
		maps.DeleteFunc(s.kept, func(_ [sha256.Size]byte, old verdict) bool { return !now.Before(old.until) })
	}
	for k := range s.kept {
		if len(s.kept) < most {
			break
		}
		delete(s.kept, k)
	}
	if s.kept == nil {
		s.kept = map[[sha256.Size]byte]verdict{}
	}
	s.kept[hash] = v
}
