package jws

import (
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

// AccessVerifier judges initiators' access tokens that are JWTs (contract, "Initiators' access token"). Keys, Issuer and Audience
// are required, and Asker with GrantByIntrospection; no field changes after the first call. It is safe for concurrent use.
//
// It remembers tokens that it accepted, by their SHA-256, so that the signature of one token is verified once and not for each query. Such a
// token serves until its exp, and only while the key set in force has the very key that verified it: with a new set the signature is
// verified again, and without usable keys nothing is accepted. A refusal is not remembered.
type AccessVerifier struct {
	Keys       *KeySet
	Issuer     string
	Audience   string
	Grant      GrantProof       // "": GrantByClaim
	GrantClaim string           // "": GrantClaim
	Asker      *Introspector    // of GrantByIntrospection, made with Signed
	Now        func() time.Time // nil: time.Now

	verified verdicts
}

// Verify accepts a token signed with PS256 by a key named by kid, with iss and aud ours, a life of 300 to 900 s, jti,
// client_id, scope, the grant client_credentials, and bound to a certificate: one without cnf.x5t#S256 is refused
// (security §5, A5). Whether it is the certificate of the connection is for the caller to compare. It waits for nothing, except
// with GrantByIntrospection for the authorisation server, as long as ctx and the Introspector allow.
func (v *AccessVerifier) Verify(ctx context.Context, token string) (AccessToken, error) {
	t, err := v.verify(token)
	if err != nil || v.Grant != GrantByIntrospection {
		return t, err
	}
	told, err := v.Asker.Verify(ctx, token)
	if err != nil {
		return AccessToken{}, err
	}
	if told.ClientID != "" && told.ClientID != t.ClientID {
		return AccessToken{}, refuse(Wrong, "client_id", "the introspection endpoint names another client")
	}
	return t, nil
}

// verify judges signature and claims.
func (v *AccessVerifier) verify(token string) (AccessToken, error) {
	now, hash := clock(v.Now), sha256.Sum256([]byte(token))
	if known, ok := v.verified.find(hash, now); ok && v.stillHolds(known, now) {
		return known.result()
	}
	c, by, err := openSigned(token, maxAccess, v.Keys, algPS256)
	if err != nil {
		return AccessToken{}, err
	}
	t, err := v.judge(c, token, now)
	if err != nil {
		return AccessToken{}, err
	}
	kept := verdict{token: t, until: t.ExpiresAt, since: now, signed: by}
	v.verified.keep(hash, kept, now)
	return kept.result()
}

// stillHolds tells whether a token that was accepted would be accepted again: the key of its signature is in force, and the clock was not set
// back to before it was judged, when it may not have been valid yet.
func (v *AccessVerifier) stillHolds(known verdict, now time.Time) bool {
	key, err := v.Keys.lookup(known.signed.kid, algPS256)
	return err == nil && key == known.signed.key && !now.Before(known.since)
}

// judge judges the claims of a token whose signature is verified.
func (v *AccessVerifier) judge(c claims, token string, now time.Time) (AccessToken, error) {
	if err := c.issuedBy(v.Issuer); err != nil {
		return AccessToken{}, err
	}
	if err := c.meantFor(v.Audience); err != nil {
		return AccessToken{}, err
	}
	if _, err := c.text("jti", maxText); err != nil {
		return AccessToken{}, err
	}
	rule := grantRule{v.Grant, v.GrantClaim}
	if v.Grant == GrantByIntrospection {
		rule.proof = GrantUnchecked // here; Verify asks
	}
	return c.access(token, rule, now)
}

// access reads what JWT and introspection have in common.
func (c claims) access(token string, grant grantRule, now time.Time) (AccessToken, error) {
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
	if t.Scopes, err = c.scopes(); err != nil {
		return AccessToken{}, err
	}
	if err := grant.judge(c, t.ClientID, t.Scopes); err != nil {
		return AccessToken{}, err
	}
	if t.Thumbprint, err = c.thumbprint(); err != nil {
		return AccessToken{}, err
	}
	return t, nil
}

// scopes reads scope: a text with spaces between (RFC 6749 §3.3), or a list of texts, as some servers write it.
func (c claims) scopes() ([]string, error) {
	list, is := c["scope"].([]any)
	if !is {
		scope, err := c.text("scope", maxScope)
		return strings.Fields(scope), err
	}
	out, size := make([]string, len(list)), 0
	for i, v := range list {
		text, is := v.(string)
		if size += len(text) + 1; !is || text == "" || size > maxScope || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
			return nil, refuse(Wrong, "scope", "must be scopes with spaces between, or a list of scopes, of at most %d bytes", maxScope)
		}
		out[i] = text
	}
	if len(out) == 0 {
		return nil, refuse(Wrong, "scope", "must have a scope")
	}
	return out, nil
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
