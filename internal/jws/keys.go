package jws

import (
	"bytes"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/lestrrat-go/jwx/v3/jwk"
)

// The bounds of a key set (case J6) and of its keys.
const (
	maxSetBytes = 1 << 20
	maxKeys     = 100
	maxKID      = 255
	minKeyBits  = 2048 // FAPI-BR §6.1: RSA of 2048 bits or more
	maxKeyBits  = 8192 // above it one verification costs too much
)

// Keys is a set of public RSA keys by kid. It is immutable.
type Keys struct {
	byKID   map[string]verifyKey
	skipped []string
}

// verifyKey is one key and the algorithm it is limited to, "" if any.
type verifyKey struct {
	public *rsa.PublicKey
	alg    string
}

// KIDs returns the ids of the usable keys in alphabetical order.
func (k *Keys) KIDs() []string {
	return slices.Sorted(maps.Keys(k.byKID))
}

// Skipped returns why each unusable key of the set was skipped: keys for encryption, elliptic curves and the like stand
// in published sets beside those we need (RFC 7517 §5).
func (k *Keys) Skipped() []string { return slices.Clone(k.skipped) }

// ParseKeySet reads a JSON Web Key Set, {"keys":[…]}: at most 1 MiB and 100 keys. A key is usable when it is RSA of 2048
// to 8192 bits with kid, meant for signatures by `use` or by `alg` PS256 or RS256; others are skipped. The whole set is
// refused when a kid stands twice, when it holds a private RSA key, or when nothing in it is usable.
func ParseKeySet(content []byte) (*Keys, error) {
	if len(content) > maxSetBytes {
		return nil, fmt.Errorf("the key set is larger than %d bytes", maxSetBytes)
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	decoder := json.NewDecoder(bytes.NewReader(content))
	if err := decoder.Decode(&set); err != nil || decoder.InputOffset() != int64(len(bytes.TrimRight(content, " \t\r\n"))) {
		return nil, fmt.Errorf(`the key set is not one JSON object {"keys":[…]}`)
	}
	switch {
	case len(set.Keys) == 0:
		return nil, fmt.Errorf(`the key set has no keys; it must be {"keys":[…]} with one or more`)
	case len(set.Keys) > maxKeys:
		return nil, fmt.Errorf("the key set has %d keys, more than %d", len(set.Keys), maxKeys)
	}
	keys := &Keys{byKID: map[string]verifyKey{}}
	seen := map[string]int{}
	for i, raw := range set.Keys {
		if kid := kidOf(raw); kid != "" {
			if first, twice := seen[kid]; twice {
				return nil, fmt.Errorf("keys %d and %d of the set have the same kid", first, i+1)
			}
			seen[kid] = i + 1
		}
		kid, key, why := readKey(raw)
		switch why {
		case "":
			keys.byKID[kid] = key
		case isPrivate:
			return nil, fmt.Errorf("key %d of the set %s: each reader of the set could sign; publish public keys only", i+1, isPrivate)
		default:
			keys.skipped = append(keys.skipped, fmt.Sprintf("key %d %s", i+1, why))
		}
	}
	if len(keys.byKID) == 0 {
		return nil, fmt.Errorf("the key set has no usable key: %s", strings.Join(keys.skipped[:min(3, len(keys.skipped))], "; "))
	}
	return keys, nil
}

// kidOf reads the kid of any kind of key, "" when it has none.
func kidOf(raw json.RawMessage) string {
	var key map[string]any
	if json.Unmarshal(raw, &key) != nil {
		return ""
	}
	kid, _ := key["kid"].(string)
	return kid
}

const isPrivate = "is a private key"

// readKey reads one key, or says why it cannot be used.
func readKey(raw json.RawMessage) (kid string, key verifyKey, why string) {
	parsed, err := jwk.ParseKey(raw)
	if err != nil {
		return "", key, "cannot be read as a JSON Web Key of a kind we know"
	}
	if _, private := parsed.(jwk.RSAPrivateKey); private {
		return "", key, isPrivate
	}
	if _, ok := parsed.(jwk.RSAPublicKey); !ok {
		return "", key, "is not RSA"
	}
	kid, _ = parsed.KeyID()
	use, hasUse := parsed.KeyUsage()
	if alg, ok := parsed.Algorithm(); ok {
		key.alg = alg.String()
	}
	operations, limited := parsed.KeyOps()
	var public rsa.PublicKey
	err = jwk.Export(parsed, &public)
	switch {
	case err != nil:
		return "", key, "is not a sound RSA key"
	case kid == "" || len(kid) > maxKID:
		return "", key, "has no kid of 1 to 255 bytes"
	case !hasUse && key.alg == "":
		return "", key, "has neither alg nor use"
	case hasUse && use != "sig":
		return "", key, "is not for signatures (use)"
	case key.alg != "" && key.alg != algPS256 && key.alg != algRS256:
		return "", key, "is for another algorithm than PS256 or RS256"
	case limited && !slices.Contains(operations, jwk.KeyOpVerify):
		return "", key, "is not for verifying (key_ops)"
	case public.N.BitLen() < minKeyBits || public.N.BitLen() > maxKeyBits:
		return "", key, fmt.Sprintf("has %d bits, not %d to %d", public.N.BitLen(), minKeyBits, maxKeyBits)
	}
	key.public = &public
	return kid, key, ""
}
