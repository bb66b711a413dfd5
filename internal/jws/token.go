package jws

import (
	"errors"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// The algorithms we know. PS256 is the profile's (FAPI-BR §6.1); RS256 is for the bank's own tokens alone.
const (
	algPS256 = "PS256"
	algRS256 = "RS256"
)

// banned are the header members by which a token would bring its own key or change how it is to be read (security §6,
// S2; RFC 7515 §4.1.11). A token that carries one is refused, and nothing is fetched.
var banned = []string{"jku", "jkw", "jwk", "x5u", "x5c", "crit", "b64", "zip", "enc"}

// claims of a token whose signature is verified.
type claims jwt.MapClaims

// open takes a compact JWS apart, finds its key by kid and verifies the signature. Claims are not looked at.
func open(token string, limit int, keys *KeySet, algorithms ...string) (claims, error) {
	c, _, err := openSigned(token, limit, keys, algorithms...)
	return c, err
}

// openSigned is open, and names the key that verified the signature.
func openSigned(token string, limit int, keys *KeySet, algorithms ...string) (_ claims, by signature, _ error) {
	if len(token) > limit {
		return nil, by, refuse(TooLong, "", "at most %d bytes", limit)
	}
	if strings.ContainsFunc(token, notCompact) {
		return nil, by, refuse(Malformed, "", "not a compact JWS")
	}
	parser := jwt.NewParser(jwt.WithValidMethods(algorithms), jwt.WithStrictDecoding(), jwt.WithoutClaimsValidation())
	found := jwt.MapClaims{}
	parsed, err := parser.ParseWithClaims(token, found, func(t *jwt.Token) (any, error) {
		kid, err := judgeHeader(t.Header)
		if err != nil {
			return nil, err
		}
		key, err := keys.lookup(kid, t.Method.Alg())
		by = signature{kid, key}
		return key, err
	})
	if err == nil {
		return claims(found), by, nil
	}
	var refusal *Refusal
	switch {
	case errors.As(err, &refusal):
		return nil, by, refusal
	case errors.Is(err, ErrUnavailable):
		return nil, by, err
	case parsed == nil || errors.Is(err, jwt.ErrTokenMalformed):
		return nil, by, refuse(Malformed, "", "not a compact JWS")
	case !slices.Contains(algorithms, algorithm(parsed.Header)):
		return nil, by, refuse(Algorithm, "alg", "must be %s", strings.Join(algorithms, " or "))
	default:
		return nil, by, refuse(Signature, "", "the signature does not verify")
	}
}

// notCompact tells what no compact JWS contains. Go's base64 overlooks line breaks; one token would have many spellings.
func notCompact(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_' && r != '.'
}

func algorithm(header map[string]any) string {
	alg, _ := header["alg"].(string)
	return alg
}

func judgeHeader(header map[string]any) (kid string, err error) {
	for _, name := range banned {
		if _, there := header[name]; there {
			return "", refuse(Header, name, "not allowed")
		}
	}
	kid, ok := header["kid"].(string)
	if !ok || kid == "" || len(kid) > maxKID {
		return "", refuse(Header, "kid", "required, 1 to %d bytes", maxKID)
	}
	return kid, nil
}

// Verify checks that a compact JWS is signed with PS256 by a key of the set, and returns its claims. It judges none of
// them: it is for readers of our own answers.
func Verify(compact string, keys *KeySet) (map[string]any, error) {
	return open(compact, math.MaxInt32, keys, algPS256)
}

// text reads a string claim of 1 to limit bytes without control characters.
func (c claims) text(name string, limit int) (string, error) {
	value, there := c[name]
	if !there {
		return "", refuse(Missing, name, "required")
	}
	s, ok := value.(string)
	if !ok || s == "" || len(s) > limit || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "", refuse(Wrong, name, "must be a string of 1 to %d bytes without control characters", limit)
	}
	return s, nil
}

// texts reads a claim that is an array of strings.
func (c claims) texts(name string) ([]string, error) {
	value, there := c[name]
	if !there {
		return nil, refuse(Missing, name, "required")
	}
	list, ok := value.([]any)
	out := make([]string, len(list))
	for i, v := range list {
		var is bool
		out[i], is = v.(string)
		ok = ok && is
	}
	if !ok {
		return nil, refuse(Wrong, name, "must be an array of strings")
	}
	return out, nil
}

// date reads a NumericDate (RFC 7519 §2).
func (c claims) date(name string) (time.Time, error) {
	value, there := c[name]
	if !there {
		return time.Time{}, refuse(Missing, name, "required")
	}
	const year10000 = 253402300800
	seconds, ok := value.(float64)
	if !ok || seconds < 0 || seconds >= year10000 {
		return time.Time{}, refuse(Wrong, name, "must be a time in seconds since 1970")
	}
	whole, fraction := math.Modf(seconds)
	return time.Unix(int64(whole), int64(fraction*1e9)).UTC(), nil
}

// issuedBy compares iss.
func (c claims) issuedBy(issuer string) error {
	if iss, err := c.text("iss", maxText); err != nil {
		return err
	} else if iss != issuer {
		return refuse(Wrong, "iss", "not the configured issuer")
	}
	return nil
}

// meantFor compares aud, a string or an array of strings that must contain ours.
func (c claims) meantFor(audience string) error {
	if one, ok := c["aud"].(string); ok && one == audience {
		return nil
	}
	many, err := c.texts("aud")
	if err == nil && slices.Contains(many, audience) {
		return nil
	}
	if refusal, is := errors.AsType[*Refusal](err); is && refusal.Code == Missing {
		return err
	}
	return refuse(Wrong, "aud", "does not contain the configured audience")
}

// lives judges iat, exp and, if there, nbf at an instant: issued not in the future, not expired, both within leeway, and
// a life time within bounds.
func (c claims) lives(now time.Time, shortest, longest time.Duration) (issued, expires time.Time, err error) {
	if issued, err = c.date("iat"); err != nil {
		return issued, expires, err
	}
	if expires, err = c.date("exp"); err != nil {
		return issued, expires, err
	}
	if life := expires.Sub(issued); life < shortest || life > longest {
		return issued, expires, refuse(Lifetime, "exp", "must be %s to %s after iat", shortest, longest)
	}
	if issued.After(now.Add(leeway)) {
		return issued, expires, refuse(NotYetValid, "iat", "lies ahead")
	}
	return issued, expires, c.inForce(now)
}

// inForce judges exp and nbf as far as they are there (RFC 7519 §4.1.4, §4.1.5).
func (c claims) inForce(now time.Time) error {
	if _, there := c["exp"]; there {
		if expires, err := c.date("exp"); err != nil {
			return err
		} else if !now.Before(expires.Add(leeway)) {
			return refuse(Expired, "exp", "has passed")
		}
	}
	if _, there := c["nbf"]; there {
		if from, err := c.date("nbf"); err != nil {
			return err
		} else if from.After(now.Add(leeway)) {
			return refuse(NotYetValid, "nbf", "lies ahead")
		}
	}
	return nil
}

// maxText bounds the texts we keep out of tokens.
const maxText = 255
