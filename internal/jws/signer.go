package jws

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/golang-jwt/jwt/v5"
)

// AnswerSigner signs with one key under one kid. It is safe for concurrent use if its key is; those of crypto/rsa are.
type AnswerSigner struct {
	key    crypto.Signer
	public *rsa.PublicKey
	kid    string
}

// NewSigner takes any RSA key of 2048 bits or more, in memory or in an HSM or KMS behind crypto.AnswerSigner. It makes one
// signature and verifies it, so that a key that cannot do PS256 is found at start.
func NewSigner(key crypto.Signer, kid string) (*AnswerSigner, error) {
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
	s := &AnswerSigner{key: key, public: public, kid: kid}
	const trial = "arauto"
	made, err := method{}.Sign(trial, key)
	if err != nil {
		return nil, fmt.Errorf("try the signing key: %w", err)
	}
	if err := (method{}).Verify(trial, made, public); err != nil {
		return nil, fmt.Errorf("try the signing key: its signature does not verify: %w", err)
	}
	return s, nil
}

// KID returns the id under which the key is published.
func (s *AnswerSigner) KID() string { return s.kid }

// Public returns the key that verifies the signatures.
func (s *AnswerSigner) Public() *rsa.PublicKey { return s.public }

// Sign makes a compact JWS over the JSON of claims, a map or a struct: PS256, salt as long as the hash, and a header of
// exactly alg, kid and typ (status-apis §1.5). A signature costs some 2 ms of a core: call it outside locks.
func (s *AnswerSigner) Sign(claims any) ([]byte, error) {
	token := jwt.NewWithClaims(method{}, payload{value: claims})
	token.Header["kid"] = s.kid
	compact, err := token.SignedString(s.key)
	if err != nil {
		return nil, fmt.Errorf("sign with key %q: %w", s.kid, err)
	}
	return []byte(compact), nil
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

// method is PS256 over any crypto.AnswerSigner; the library's own insists on a key in memory.
type method struct{}

func (method) Alg() string { return algPS256 }

func (method) Verify(signing string, signature []byte, key any) error {
	return jwt.SigningMethodPS256.Verify(signing, signature, key)
}

func (method) Sign(signing string, key any) ([]byte, error) {
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, jwt.ErrInvalidKeyType
	}
	digest := sha256.Sum256([]byte(signing))
	return signer.Sign(rand.Reader, digest[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256})
}
