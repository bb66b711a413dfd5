package jws

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/golang-jwt/jwt/v5"
)

// AnswerSigner signs with one key under one kid. It is safe for concurrent use if its key is; those of crypto/rsa are.
type AnswerSigner struct {
	key    crypto.Signer
	public *rsa.PublicKey
	kid    string
	header string // of what it signs, encoded, with its dot
}

// NewSigner takes any RSA key of 2048 bits or more, in memory or in an HSM or KMS behind crypto.AnswerSigner. It makes one
// signature and verifies it, so that a key that cannot do PS256 is found at start.
func NewSigner(key crypto.Signer, kid string) (*AnswerSigner, error) {
	s, err := newSigner(key, kid)
	if err != nil {
		return nil, err
	}
	if err := s.Try(); err != nil {
		return nil, err
	}
	return s, nil
}

// newSigner is NewSigner without the trial.
func newSigner(key crypto.Signer, kid string) (*AnswerSigner, error) {
	if kid == "" || len(kid) > maxKID {
		return nil, fmt.Errorf("the kid of a signing key must have 1 to %d bytes", maxKID)
	}
	if key == nil {
		return nil, errors.New("no signing key")
	}
	public, ok := key.Public().(*rsa.PublicKey)
	if !ok {
		return nil, errors.New("the signing key is not RSA; PS256 needs RSA (FAPI-BR §6.1)")
	}
	if public.N.BitLen() < minKeyBits {
		return nil, fmt.Errorf("the signing key has %d bits; PS256 needs %d or more", public.N.BitLen(), minKeyBits)
	}
	header, err := json.Marshal(map[string]string{"alg": algPS256, "kid": kid, "typ": "JWT"})
	if err != nil {
		return nil, fmt.Errorf("name the signing key in a header: %w", err)
	}
	return &AnswerSigner{key: key, public: public, kid: kid, header: base64.RawURLEncoding.EncodeToString(header) + "."}, nil
}

// Try makes one signature and verifies it.
func (s *AnswerSigner) Try() error {
	const trial = "arauto"
	made, err := s.signature([]byte(trial))
	if err != nil {
		return fmt.Errorf("try the signing key: %w", err)
	}
	if err := jwt.SigningMethodPS256.Verify(trial, made, s.public); err != nil {
		return fmt.Errorf("try the signing key: its signature does not verify: %w", err)
	}
	return nil
}

// KID returns the id under which the key is published.
func (s *AnswerSigner) KID() string { return s.kid }

// Public returns the key that verifies the signatures.
func (s *AnswerSigner) Public() *rsa.PublicKey { return s.public }

// Sign makes a compact JWS over the JSON of claims, a map or a struct: PS256, salt as long as the hash, and a header of
// exactly alg, kid and typ (status-apis §1.5). A signature costs some 2 ms of a core: call it outside locks.
func (s *AnswerSigner) Sign(claims any) ([]byte, error) {
	text, err := json.Marshal(claims)
	if err != nil {
		return nil, fmt.Errorf("sign with key %q: %w", s.kid, err)
	}
	encoding := base64.RawURLEncoding
	out := make([]byte, 0, len(s.header)+encoding.EncodedLen(len(text))+1+encoding.EncodedLen(s.public.Size()))
	out = encoding.AppendEncode(append(out, s.header...), text)
	made, err := s.signature(out)
	if err != nil {
		return nil, fmt.Errorf("sign with key %q: %w", s.kid, err)
	}
	return encoding.AppendEncode(append(out, '.'), made), nil
}

func (s *AnswerSigner) signature(signing []byte) ([]byte, error) {
	digest := sha256.Sum256(signing)
	return s.key.Sign(rand.Reader, digest[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256})
}

// Issue signs claims as a token, for stand-ins of the authorisation server, the bank's identity provider and the
// Directory in development.
func Issue(key *rsa.PrivateKey, kid string, claims map[string]any) (string, error) {
	token := jwt.NewWithClaims(jwt.SigningMethodPS256, jwt.MapClaims(claims))
	token.Header["kid"] = kid
	compact, err := token.SignedString(key)
	if err != nil {
		return "", fmt.Errorf("issue a token: %w", err)
	}
	return compact, nil
}
