package jws_test

import (
	"crypto/rsa"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/jws"
)

// TestAnAcceptedTokenIsRemembered: the second look costs no signature and gives the same token, to each caller its own copy.
func TestAnAcceptedTokenIsRemembered(t *testing.T) {
	v := jws.AccessVerifier{Keys: fixed(t, map[string]*rsa.PrivateKey{"k1": keyOne()}), Issuer: issuer, Audience: audience, Now: at(noon)}
	text := issue(t, keyOne(), "k1", accessClaims())
	first, err := v.Verify(t.Context(), text)
	require.NoError(t, err)
	require.Equal(t, 1, v.Remembered())
	again, err := v.Verify(t.Context(), text)
	require.NoError(t, err)
	require.Equal(t, first, again)
	again.Scopes[0] = "changed by its caller"
	third, err := v.Verify(t.Context(), text)
	require.NoError(t, err)
	require.Equal(t, first, third)
	cached := testing.AllocsPerRun(100, func() { _, _ = v.Verify(t.Context(), text) })
	require.Less(t, cached, 5.0, "a remembered token is not parsed again")
}

// TestARefusedTokenIsNotRemembered: it takes no room, and is judged again.
func TestARefusedTokenIsNotRemembered(t *testing.T) {
	v := jws.AccessVerifier{Keys: fixed(t, map[string]*rsa.PrivateKey{"k1": keyOne()}), Issuer: issuer, Audience: audience, Now: at(noon)}
	for _, claims := range []map[string]any{with(accessClaims(), map[string]any{"aud": "other"}), with(accessClaims(), map[string]any{"cnf": nil})} {
		_, err := v.Verify(t.Context(), issue(t, keyOne(), "k1", claims))
		require.Error(t, err)
	}
	_, err := v.Verify(t.Context(), issue(t, keyTwo(), "k1", accessClaims()))
	refusedFor(t, err, jws.Signature, "")
	require.Zero(t, v.Remembered())
}

// TestARememberedTokenEndsWithItsTime: it is judged again from its exp on, and when the clock was set back to before it was issued.
func TestARememberedTokenEndsWithItsTime(t *testing.T) {
	now := noon
	v := jws.AccessVerifier{Keys: fixed(t, map[string]*rsa.PrivateKey{"k1": keyOne()}), Issuer: issuer, Audience: audience, Now: func() time.Time { return now }}
	text := issue(t, keyOne(), "k1", accessClaims())
	look := func(at time.Time) error {
		now = at
		_, err := v.Verify(t.Context(), text)
		return err
	}
	require.NoError(t, look(noon))
	require.NoError(t, look(noon.Add(10*time.Minute-time.Nanosecond)))
	require.NoError(t, look(noon.Add(10*time.Minute+59*time.Second)), "within the leeway for others' clocks, as without the memory")
	refusedFor(t, look(noon.Add(11*time.Minute)), jws.Expired, "exp")
	require.NoError(t, look(noon), "the clock was set back")
	refusedFor(t, look(noon.Add(-2*time.Minute)), jws.NotYetValid, "iat")
}

// TestARememberedTokenEndsWithItsKey: the first look after a set without the key, or with another one under its kid, refuses the token. A
// set that is written anew with the same key goes on.
func TestARememberedTokenEndsWithItsKey(t *testing.T) {
	file := filepath.Join(t.TempDir(), "set.json")
	publish := func(keys map[string]*rsa.PrivateKey) {
		require.NoError(t, os.WriteFile(file, setOf(t, keys), 0o600))
	}
	publish(map[string]*rsa.PrivateKey{"k1": keyOne()})
	keys, err := jws.OpenKeySet(jws.KeySetConfig{Location: file})
	require.NoError(t, err)
	v := jws.AccessVerifier{Keys: keys, Issuer: issuer, Audience: audience, Now: at(noon)}
	text := issue(t, keyOne(), "k1", accessClaims())
	look := func() error {
		_, err := v.Verify(t.Context(), text)
		return err
	}
	require.NoError(t, look())
	for _, step := range []struct {
		keys  map[string]*rsa.PrivateKey
		code  jws.Code
		claim string
	}{
		{map[string]*rsa.PrivateKey{"k2": keyTwo()}, jws.UnknownKey, "kid"},
		{map[string]*rsa.PrivateKey{"k1": keyOne()}, "", ""},
		{map[string]*rsa.PrivateKey{"k1": keyTwo()}, jws.Signature, ""},
		{map[string]*rsa.PrivateKey{"k1": keyOne(), "k2": keyTwo()}, "", ""},
	} {
		publish(step.keys)
		require.NoError(t, keys.Reload(t.Context()))
		for range 2 {
			if step.code == "" {
				require.NoError(t, look())
			} else {
				refusedFor(t, look(), step.code, step.claim, text)
			}
		}
	}
}

// TestRememberedTokensAreBounded: a flood of good tokens does not take memory without limit, and the newest is among those that are kept.
func TestRememberedTokensAreBounded(t *testing.T) {
	v := jws.AccessVerifier{Keys: fixed(t, map[string]*rsa.PrivateKey{"k1": keyOne()}), Issuer: issuer, Audience: audience, Now: at(noon)}
	v.RememberAtMost(3)
	for i := range 10 {
		_, err := v.Verify(t.Context(), issue(t, keyOne(), "k1", with(accessClaims(), map[string]any{"jti": strconv.Itoa(i)})))
		require.NoError(t, err)
		require.Equal(t, min(i+1, 3), v.Remembered())
	}
}

// BenchmarkAccessToken is the look at a token that is remembered, and at one that is not.
func BenchmarkAccessToken(b *testing.B) {
	v := jws.AccessVerifier{Keys: fixed(b, map[string]*rsa.PrivateKey{"k1": keyOne()}), Issuer: issuer, Audience: audience, Now: at(noon)}
	text := issue(b, keyOne(), "k1", accessClaims())
	for _, name := range []string{"anew", "remembered"} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if name == "anew" {
					v.Forget()
				}
				if _, err := v.Verify(b.Context(), text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
