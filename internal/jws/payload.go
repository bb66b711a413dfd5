package jws

import (
	"encoding/json"

	"github.com/golang-jwt/jwt/v5"
)

// payload lets any JSON value be the claims of a token that we sign. We never judge our own claims, so the library's
// getters find nothing.
type payload struct{ value any }

// MarshalJSON returns the JSON of the value itself.
func (p payload) MarshalJSON() ([]byte, error) { return json.Marshal(p.value) }

// The getters of jwt.Claims.

func (payload) GetExpirationTime() (*jwt.NumericDate, error) { return nil, nil }
func (payload) GetIssuedAt() (*jwt.NumericDate, error)       { return nil, nil }
func (payload) GetNotBefore() (*jwt.NumericDate, error)      { return nil, nil }
func (payload) GetIssuer() (string, error)                   { return "", nil }
func (payload) GetSubject() (string, error)                  { return "", nil }
func (payload) GetAudience() (jwt.ClaimStrings, error)       { return nil, nil }
