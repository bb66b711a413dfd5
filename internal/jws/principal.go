package jws

import (
	"slices"
	"time"
)

// Principal is a caller from inside the bank.
type Principal struct {
	Subject string   // goes into the record
	Roles   []string // as the token lists them; those we do not know mean nothing
	Also    []string // further names of a person who signed in to the console; none of a token
}

// Has reports whether the principal has a role.
func (p Principal) Has(role string) bool { return slices.Contains(p.Roles, role) }

// The bounds of the bank's own tokens.
const (
	maxBearer     = 8 << 10
	longestBearer = 24 * time.Hour
)

// BearerVerifier judges the bank's own bearer tokens (contract, "Internal bearer token"). All fields but Now are
// required.
type BearerVerifier struct {
	Keys     *KeySet
	Issuer   string
	Audience string
	Now      func() time.Time // nil: time.Now
}

// Verify accepts a token of at most 8 KiB, signed with PS256 or RS256 by a key named by kid, with iss and aud ours, sub,
// iat, exp at most 24 h after iat, and roles, an array of strings.
func (v *BearerVerifier) Verify(token string) (Principal, error) {
	c, err := open(token, maxBearer, v.Keys, algPS256, algRS256)
	if err != nil {
		return Principal{}, err
	}
	if err := c.issuedBy(v.Issuer); err != nil {
		return Principal{}, err
	}
	if err := c.meantFor(v.Audience); err != nil {
		return Principal{}, err
	}
	if _, _, err := c.lives(clock(v.Now), time.Second, longestBearer); err != nil {
		return Principal{}, err
	}
	var p Principal
	if p.Subject, err = c.text("sub", maxText); err != nil {
		return Principal{}, err
	}
	if p.Roles, err = c.texts("roles"); err != nil {
		return Principal{}, err
	}
	return p, nil
}

func clock(now func() time.Time) time.Time {
	if now == nil {
		return time.Now()
	}
	return now()
}
