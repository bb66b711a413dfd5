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
	faulty  []string
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

// Faulty returns the part of Skipped that the publisher should mend: keys that are meant for signatures and cannot be used.
func (k *Keys) Faulty() []string { return slices.Clone(k.faulty) }

// ParseKeySet reads a JSON Web Key Set, {"keys":[…]}: at most 1 MiB and 100 keys. A key is usable when it is RSA of 2048
// to 8192 bits with kid, meant for signatures by `use` or by `alg` PS256 or RS256; others are skipped. Several usable keys with one
// kid are skipped, all of them, since it is not clear which is meant; the same key twice counts once. The whole set is refused when
// it holds a private RSA key, or when nothing in it is usable.
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
	positions := map[string][]int{} // of usable keys, by kid
	for i, raw := range set.Keys {
		kid, key, why := readKey(raw)
		switch why {
		case "":
			keys.take(kid, key, i+1, positions)
		case isPrivate:
			return nil, fmt.Errorf("key %d of the set %s: each reader of the set could sign; publish public keys only", i+1, isPrivate)
		default:
			keys.skip(fmt.Sprintf("key %d %s", i+1, why), slices.Contains(faults, why) || strings.HasPrefix(why, wrongSize))
		}
	}
	keys.dropAmbiguous(positions)
	if len(keys.byKID) == 0 {
		return nil, fmt.Errorf("the key set has no usable key: %s", strings.Join(keys.skipped[:min(3, len(keys.skipped))], "; "))
	}
	return keys, nil
}

// take adds a usable key. The same key again, whichever algorithm it is limited to there, is the key for both.
func (k *Keys) take(kid string, key verifyKey, position int, positions map[string][]int) {
	before, twice := k.byKID[kid]
	switch {
	case !twice:
		k.byKID[kid] = key
	case before.public.Equal(key.public):
		if before.alg != key.alg {
			before.alg = ""
		}
		k.byKID[kid] = before
		k.skip(fmt.Sprintf("key %d is key %d again", position, positions[kid][0]), false)
		return
	}
	positions[kid] = append(positions[kid], position)
}

// dropAmbiguous takes out the keys of which several have one kid.
func (k *Keys) dropAmbiguous(positions map[string][]int) {
	for _, kid := range slices.Sorted(maps.Keys(positions)) {
		if at := positions[kid]; len(at) > 1 {
			delete(k.byKID, kid)
			k.skip(fmt.Sprintf("keys %s have the same kid, and it is not clear which is meant", strings.Trim(strings.Join(strings.Fields(fmt.Sprint(at)), ", "), "[]")), true)
		}
	}
}

func (k *Keys) skip(why string, faulty bool) {
	k.skipped = append(k.skipped, why)
	if faulty {
		k.faulty = append(k.faulty, why)
	}
}

// What is wrong with keys. Only those of faults are for the publisher to mend: sets hold keys for other purposes, too.
const (
	isPrivate  = "is a private key"
	unreadable = "cannot be read as an RSA key: a member is missing or wrong, or it is too small"
	unsound    = "is not a sound RSA key"
	nameless   = "has no kid of 1 to 255 bytes"
	wrongSize  = "has a size of "
)

var faults = []string{unreadable, unsound, nameless}

// readKey reads one key, or says why it cannot be used.
func readKey(raw json.RawMessage) (kid string, key verifyKey, why string) {
	parsed, err := jwk.ParseKey(raw)
	if err != nil {
		var kind struct {
			KTY string `json:"kty"`
		}
		if json.Unmarshal(raw, &kind) == nil && kind.KTY == "RSA" {
			return "", key, unreadable
		}
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
		return "", key, unsound
	case !hasUse && key.alg == "":
		return "", key, "has neither alg nor use"
	case hasUse && use != "sig":
		return "", key, "is not for signatures (use)"
	case key.alg != "" && key.alg != algPS256 && key.alg != algRS256:
		return "", key, "is for another algorithm than PS256 or RS256"
	case limited && !slices.Contains(operations, jwk.KeyOpVerify):
		return "", key, "is not for verifying (key_ops)"
	case kid == "" || len(kid) > maxKID:
		return "", key, nameless
	case public.N.BitLen() < minKeyBits || public.N.BitLen() > maxKeyBits:
		return "", key, fmt.Sprintf(wrongSize+"%d bits, not %d to %d", public.N.BitLen(), minKeyBits, maxKeyBits)
	}
	key.public = &public
	return kid, key, ""
}
