// Package jws signs what we say and verifies what others said: the status answers we sign with the BRSEAL key, the bank's
// own bearer tokens, the initiators' access tokens and the Directory's software statements. It hides the JOSE libraries;
// nothing else in the product imports one.
//
// What stays true: the algorithms accepted are written here, never taken from a token; a key comes only from a key set
// that our configuration names, found by its kid, so that a token's jku, x5u, x5c or jwk never makes us fetch or believe
// anything; every length is bounded before anything is decoded; no error repeats a token or a value out of one. A key
// set that cannot be refreshed goes on serving, and no request ever waits for a fetch.
//
// Two kinds of error leave this package. A *Refusal says what is wrong with the token: its bearer is to blame. An error
// that wraps ErrUnavailable says that we cannot tell: keys or the introspection endpoint are out of reach.
//
// Left to others: who may do what with a Principal (package api), whether the certificate of the connection is the one
// an access token is bound to (package api, with AccessToken.Thumbprint), and which registration a statement allows
// (package registry).
package jws

import (
	"errors"
	"fmt"
	"time"
)

// ErrUnavailable means that a token cannot be judged, or an answer not signed, for reasons of our own: no keys, or no
// answer from the authorisation server. Asking again later may succeed.
var ErrUnavailable = errors.New("keys or introspection unavailable")

// Code says in one word why a token was refused.
type Code string

// The codes of a Refusal.
const (
	Malformed   Code = "malformed"     // not three base64url parts of JSON
	TooLong     Code = "too-long"      // longer than such tokens may be
	Algorithm   Code = "algorithm"     // alg is not one we accept, or not the key's
	Header      Code = "header"        // a header member that is banned or missing (security §6, S2)
	UnknownKey  Code = "unknown-key"   // no key of the set has this kid
	Signature   Code = "bad-signature" // the signature does not verify
	Expired     Code = "expired"       // exp has passed
	NotYetValid Code = "not-yet-valid" // iat or nbf lies ahead
	TooOld      Code = "too-old"       // iat lies too far back
	Lifetime    Code = "lifetime"      // exp − iat is out of bounds
	Missing     Code = "missing-claim" // a required claim is absent
	Wrong       Code = "wrong-claim"   // a claim has another type or value than it must
	Inactive    Code = "inactive"      // the authorisation server says that the token is not active
)

// Refusal is the error for a token that is not accepted. Its text is constant for a code and a claim: it can be logged and shown.
type Refusal struct {
	Code  Code
	Claim string // the claim or header member concerned, "" if none
	Why   string // what would be right, in a few words
}

// Error is one line without any value out of the token.
func (r *Refusal) Error() string {
	text := string(r.Code)
	if r.Claim != "" {
		text += " " + r.Claim
	}
	if r.Why != "" {
		text += ": " + r.Why
	}
	return text
}

func refuse(code Code, claim, format string, args ...any) *Refusal {
	return &Refusal{Code: code, Claim: claim, Why: fmt.Sprintf(format, args...)}
}

// leeway is how far another's clock may be off (contract, "Internal bearer token"; case J1 allows 10 s to 60 s).
const leeway = 60 * time.Second
