package jws

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strings"
	"time"
)

// AccessToken is what an initiator's access token says, whichever way it was verified.
type AccessToken struct {
	ClientID   string
	Scopes     []string
	Thumbprint [sha256.Size]byte // cnf.x5t#S256: the SHA-256 of the client's certificate in DER (RFC 8705 §3)
	ID         string            // jti; "" if introspection told none
	IssuedAt   time.Time
	ExpiresAt  time.Time
	Hash       [sha256.Size]byte // of the token, to recognise it without keeping it
}

// HasScope reports whether the token carries a scope.
func (t AccessToken) HasScope(scope string) bool { return slices.Contains(t.Scopes, scope) }

// The bounds of initiators' access tokens.
const (
	maxAccess      = 2048 - len("Bearer ") // the header is limited to 2048 (status-apis §1.3)
	shortestAccess = 300 * time.Second     // FAPI-BR §5.1-11
	longestAccess  = 900 * time.Second
	maxScope       = 1024
)

// GrantClaim is the claim that names the grant, unless configured otherwise; its value must be client_credentials.
const GrantClaim = "grant_type"

const clientCredentials = "client_credentials"

// AccessVerifier judges initiators' access tokens that are JWTs (contract, "Initiators' access token"). All fields but
// GrantClaim and Now are required.
type AccessVerifier struct {
	Keys       *KeySet
	Issuer     string
	Audience   string
	GrantClaim string           // "": GrantClaim
	Now        func() time.Time // nil: time.Now
}

// Verify accepts a token signed with PS256 by a key named by kid, with iss and aud ours, a life of 300 to 900 s, jti,
// client_id, scope, the grant client_credentials, and bound to a certificate: one without cnf.x5t#S256 is refused
// (security §5, A5). Whether it is the certificate of the connection is for the caller to compare. Nothing is waited
// for; the context is there because the other way, Introspector, has to ask.
func (v *AccessVerifier) Verify(_ context.Context, token string) (AccessToken, error) {
	c, err := open(token, maxAccess, v.Keys, algPS256)
	if err != nil {
		return AccessToken{}, err
	}
	if err := c.issuedBy(v.Issuer); err != nil {
		return AccessToken{}, err
	}
	if err := c.meantFor(v.Audience); err != nil {
		return AccessToken{}, err
	}
	if _, err := c.text("jti", maxText); err != nil {
		return AccessToken{}, err
	}
	return c.access(token, v.GrantClaim, clock(v.Now))
}

// access reads what JWT and introspection have in common.
func (c claims) access(token, grantClaim string, now time.Time) (AccessToken, error) {
	t := AccessToken{Hash: sha256.Sum256([]byte(token))}
	var err error
	if t.IssuedAt, t.ExpiresAt, err = c.lives(now, shortestAccess, longestAccess); err != nil {
		return AccessToken{}, err
	}
	if _, there := c["jti"]; there {
		if t.ID, err = c.text("jti", maxText); err != nil {
			return AccessToken{}, err
		}
	}
	if t.ClientID, err = c.text("client_id", maxText); err != nil {
		return AccessToken{}, err
	}
	scope, err := c.text("scope", maxScope)
	if err != nil {
		return AccessToken{}, err
	}
	t.Scopes = strings.Fields(scope)
	grantClaim = cmp.Or(grantClaim, GrantClaim)
	if grant, err := c.text(grantClaim, maxText); err != nil {
		return AccessToken{}, err
	} else if grant != clientCredentials {
		return AccessToken{}, refuse(Wrong, grantClaim, "must be %s", clientCredentials)
	}
	if t.Thumbprint, err = c.thumbprint(); err != nil {
		return AccessToken{}, err
	}
	return t, nil
}

// thumbprint reads cnf.x5t#S256: base64url without padding of 32 bytes (RFC 8705 §3.1).
func (c claims) thumbprint() (sum [sha256.Size]byte, err error) {
	const name = "cnf.x5t#S256"
	confirmation, there := c["cnf"].(map[string]any)
	value, said := confirmation["x5t#S256"]
	if !there || !said {
		return sum, refuse(Missing, name, "the token must be bound to a certificate")
	}
	encoded, _ := value.(string)
	decoded, err := base64.RawURLEncoding.Strict().DecodeString(encoded)
	if err != nil || len(decoded) != len(sum) || len(encoded) != base64.RawURLEncoding.EncodedLen(len(sum)) {
		return sum, refuse(Wrong, name, "must be the base64url SHA-256 of a certificate, without padding")
	}
	return [sha256.Size]byte(decoded), nil
}
