package jws_test

import (
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/jws"
	"github.com/arauto/arauto/internal/lab/keystock"
)

// noon is the instant at which tokens are judged.
var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func at(now time.Time) func() time.Time { return func() time.Time { return now } }

// keyOne, keyTwo and weak are made once for the process.
var (
	keyOne = sync.OnceValue(func() *rsa.PrivateKey { return newKey(2048) })
	keyTwo = sync.OnceValue(func() *rsa.PrivateKey { return newKey(2048) })
	weak   = sync.OnceValue(func() *rsa.PrivateKey { return newKey(1024) })
)

func newKey(bits int) *rsa.PrivateKey {
	key, err := keystock.New(bits)
	if err != nil {
		panic("jws_test: " + err.Error())
	}
	return key
}

// setOf publishes a key under each kid.
func setOf(t testing.TB, keys map[string]*rsa.PrivateKey) []byte {
	t.Helper()
	var list []*certs.NamedKey
	for kid, key := range keys {
		list = append(list, &certs.NamedKey{KID: kid, Key: key})
	}
	return certs.JWKS(list...)
}

func fixed(t testing.TB, keys map[string]*rsa.PrivateKey) *jws.KeySet {
	t.Helper()
	parsed, err := jws.ParseKeySet(setOf(t, keys))
	require.NoError(t, err)
	return jws.FixedKeySet(parsed)
}

// with copies claims, changes some and removes those set to nil.
func with(claims, changes map[string]any) map[string]any {
	out := maps.Clone(claims)
	for name, value := range changes {
		if value == nil {
			delete(out, name)
		} else {
			out[name] = value
		}
	}
	return out
}

func issue(t testing.TB, key *rsa.PrivateKey, kid string, claims map[string]any) string {
	t.Helper()
	token, err := jws.Issue(key, kid, claims)
	require.NoError(t, err)
	return token
}

// compact puts a token together from a header as it stands, a payload and a signer of the signing input.
func compact(t testing.TB, header string, claims any, sign func(input string) []byte) string {
	t.Helper()
	payload, err := json.Marshal(claims)
	require.NoError(t, err)
	encode := base64.RawURLEncoding.EncodeToString
	input := encode([]byte(header)) + "." + encode(payload)
	return input + "." + encode(sign(input))
}

// refusedFor checks code and claim of a refusal, and that its text holds nothing out of the token.
func refusedFor(t testing.TB, err error, code jws.Code, claim string, secrets ...string) {
	t.Helper()
	var refusal *jws.Refusal
	require.ErrorAs(t, err, &refusal)
	require.Equal(t, code, refusal.Code, "%v", err)
	require.Equal(t, claim, refusal.Claim, "%v", err)
	for _, secret := range secrets {
		for _, part := range strings.Split(secret, ".") {
			if len(part) > 5 {
				require.NotContains(t, err.Error(), part)
			}
		}
	}
}

// roundTrip lets a function play the transport.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
