package jws_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/jws"
	"github.com/arauto/arauto/internal/lab/cost"
)

// jwk writes one RSA key of a set with members of its own.
func jwk(key *rsa.PrivateKey, members string) string {
	encode := func(n *big.Int) string { return base64.RawURLEncoding.EncodeToString(n.Bytes()) }
	text := fmt.Sprintf(`{"kty":"RSA","n":%q,"e":%q`, encode(key.N), encode(big.NewInt(int64(key.E))))
	if members != "" {
		text += "," + members
	}
	return text + "}"
}

func private(key *rsa.PrivateKey) string {
	encode := func(n *big.Int) string { return base64.RawURLEncoding.EncodeToString(n.Bytes()) }
	return jwk(key, fmt.Sprintf(`"kid":"p","use":"sig","d":%q,"p":%q,"q":%q,"dp":%q,"dq":%q,"qi":%q`, encode(key.D),
		encode(key.Primes[0]), encode(key.Primes[1]), encode(key.Precomputed.Dp), encode(key.Precomputed.Dq), encode(key.Precomputed.Qinv)))
}

func set(keys ...string) string { return `{"keys":[` + strings.Join(keys, ",") + `]}` }

func setWith(t testing.TB, key *rsa.PrivateKey, members string) *jws.KeySet {
	t.Helper()
	keys, err := jws.ParseKeySet([]byte(set(jwk(key, members))))
	require.NoError(t, err)
	return jws.FixedKeySet(keys)
}

func TestKeySetsHoldWhatIsUsableAndSayWhyTheRestIsNot(t *testing.T) {
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	point, err := curve.PublicKey.Bytes()
	require.NoError(t, err)
	ec := fmt.Sprintf(`{"kty":"EC","crv":"P-256","kid":"ec","use":"sig","x":%q,"y":%q}`,
		base64.RawURLEncoding.EncodeToString(point[1:33]), base64.RawURLEncoding.EncodeToString(point[33:]))
	good := jwk(keyOne(), `"kid":"good","use":"sig"`)
	for _, c := range []struct{ name, key, why string }{
		{"elliptic curve", ec, "is not RSA"},
		{"symmetric", `{"kty":"oct","kid":"o","k":"AAAA","use":"sig"}`, "is not RSA"},
		{"kind of the future", `{"kty":"AKP","kid":"pq","alg":"ML-DSA-44","pub":"AA"}`, "of a kind we know"},
		{"for encryption", jwk(keyTwo(), `"kid":"e","use":"enc"`), "not for signatures"},
		{"for encryption, by alg", jwk(keyTwo(), `"kid":"e","alg":"RSA-OAEP"`), "another algorithm"},
		{"for PS512", jwk(keyTwo(), `"kid":"e","alg":"PS512","use":"sig"`), "another algorithm"},
		{"neither alg nor use", jwk(keyTwo(), `"kid":"n"`), "neither alg nor use"},
		{"without kid", jwk(keyTwo(), `"use":"sig"`), "has no kid"},
		{"kid a number", jwk(keyTwo(), `"kid":7,"use":"sig"`), "cannot be read"},
		{"for signing only", jwk(keyTwo(), `"kid":"s","use":"sig","key_ops":["encrypt"]`), "key_ops"},
		{"1024 bits", jwk(weak(), `"kid":"w","use":"sig"`), ""},
		{"no modulus", `{"kty":"RSA","kid":"m","use":"sig","e":"AQAB"}`, ""},
		{"exponent 1", strings.Replace(jwk(keyTwo(), `"kid":"m","use":"sig"`), `"e":"AQAB"`, `"e":"AQ"`, 1), ""},
		{"not an object", `7`, ""},
		{"null", `null`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			keys, err := jws.ParseKeySet([]byte(set(c.key, good)))
			require.NoError(t, err)
			require.Equal(t, []string{"good"}, keys.KIDs())
			require.Len(t, keys.Skipped(), 1)
			require.Contains(t, keys.Skipped()[0], c.why)

			_, err = jws.ParseKeySet([]byte(set(c.key)))
			require.ErrorContains(t, err, "no usable key")
		})
	}
	keys, err := jws.ParseKeySet([]byte(set(jwk(keyOne(), `"kid":"a","alg":"PS256"`), jwk(keyTwo(), `"kid":"b","alg":"RS256","use":"sig","key_ops":["verify"]`))))
	require.NoError(t, err)
	require.Equal(t, []string{"a", "b"}, keys.KIDs())
}

// TestAKidThatStandsTwiceCostsNoOtherKey: servers publish one kid for signatures and for encryption, and some the same key twice.
func TestAKidThatStandsTwiceCostsNoOtherKey(t *testing.T) {
	one, two := jwk(keyOne(), `"kid":"k","use":"sig"`), jwk(keyTwo(), `"kid":"k","use":"sig"`)
	other := jwk(keyTwo(), `"kid":"other","use":"sig"`)
	for _, c := range []struct {
		name    string
		keys    []string
		usable  []string
		skipped string
		faulty  bool
	}{
		{"for signatures and encryption", []string{one, jwk(keyTwo(), `"kid":"k","use":"enc"`)}, []string{"k"}, "key 2 is not for signatures (use)", false},
		{"for encryption and signatures", []string{jwk(keyTwo(), `"kid":"k","alg":"RSA-OAEP","use":"enc"`), one}, []string{"k"}, "key 1 is not for signatures (use)", false},
		{"the same key", []string{one, one, other}, []string{"k", "other"}, "key 2 is key 1 again", false},
		{"two keys for signatures", []string{one, other, two}, []string{"other"}, "keys 1, 3 have the same kid, and it is not clear which is meant", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			keys, err := jws.ParseKeySet([]byte(set(c.keys...)))
			require.NoError(t, err)
			require.Equal(t, c.usable, keys.KIDs())
			require.Equal(t, []string{c.skipped}, keys.Skipped())
			require.Equal(t, c.faulty, len(keys.Faulty()) == 1)
		})
	}

	keys, err := jws.ParseKeySet([]byte(set(jwk(keyOne(), `"kid":"k","alg":"RS256"`), jwk(keyOne(), `"kid":"k","alg":"PS256"`))))
	require.NoError(t, err)
	v := jws.AccessVerifier{Keys: jws.FixedKeySet(keys), Issuer: issuer, Audience: audience, Now: at(noon)}
	_, err = v.Verify(t.Context(), issue(t, keyOne(), "k", accessClaims()))
	require.NoError(t, err, "one key for two algorithms")

	keys, err = jws.ParseKeySet([]byte(set(one, other, two)))
	require.NoError(t, err)
	v = jws.AccessVerifier{Keys: jws.FixedKeySet(keys), Issuer: issuer, Audience: audience, Now: at(noon)}
	_, err = v.Verify(t.Context(), issue(t, keyOne(), "k", accessClaims()))
	refusedFor(t, err, jws.UnknownKey, "kid")
	_, err = v.Verify(t.Context(), issue(t, keyTwo(), "other", accessClaims()))
	require.NoError(t, err)
}

func TestKeysThatAPublisherShouldMendAreTold(t *testing.T) {
	good := jwk(keyOne(), `"kid":"k","use":"sig"`)
	keys, err := jws.ParseKeySet([]byte(set(good, jwk(weak(), `"kid":"w","use":"sig"`), jwk(keyTwo(), `"use":"sig"`), jwk(keyTwo(), `"kid":"e","use":"enc"`), `{"kty":"AKP","kid":"pq"}`)))
	require.NoError(t, err)
	require.Len(t, keys.Skipped(), 4)
	require.Len(t, keys.Faulty(), 2, "keys for other purposes are nobody's fault")
	require.Contains(t, keys.Faulty()[0], "key 2 ")
	require.Contains(t, keys.Faulty()[1], "key 3 has no kid")
}

func TestKeySetsThatAreRefusedAsAWhole(t *testing.T) {
	good := jwk(keyOne(), `"kid":"k","use":"sig"`)
	many := make([]string, 101)
	for i := range many {
		many[i] = jwk(keyOne(), fmt.Sprintf(`"kid":"k%d","use":"sig"`, i))
	}
	thousands := make([]string, 10_000)
	for i := range thousands {
		thousands[i] = `{}`
	}
	for _, c := range []struct{ name, text, why string }{
		{"empty", "", "not one JSON object"},
		{"PEM", "-----BEGIN PUBLIC KEY-----", "not one JSON object"},
		{"an array", "[" + good + "]", "not one JSON object"},
		{"one key without a set", good, "no keys"},
		{"no keys", `{"keys":[]}`, "no keys"},
		{"keys null", `{"keys":null}`, "no keys"},
		{"keys a string", `{"keys":"x"}`, "not one JSON object"},
		{"text after it", set(good) + "x", "not one JSON object"},
		{"cut off", set(good)[:200], "not one JSON object"},
		{"101 keys", set(many...), "more than 100"},
		{"10 000 keys", set(thousands...), "more than 100"},
		{"10 MB", `{"keys":[` + good + `],"pad":"` + strings.Repeat("x", 10<<20) + `"}`, "larger than"},
		{"kid twice", set(good, jwk(keyTwo(), `"kid":"k","use":"sig"`)), "same kid"},
		{"a private key", set(good, private(keyTwo())), "private key"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := jws.ParseKeySet([]byte(c.text))
			require.ErrorContains(t, err, c.why)
			require.Less(t, len(err.Error()), 400)
			require.NotContains(t, err.Error(), base64.RawURLEncoding.EncodeToString(keyTwo().D.Bytes())[:20])
		})
	}
	_, err := jws.ParseKeySet([]byte(set(many[:100]...)))
	require.NoError(t, err)
}

func FuzzParseKeySet(f *testing.F) {
	f.Add(setOf(f, map[string]*rsa.PrivateKey{"a": keyOne()}))
	f.Add([]byte(set(jwk(keyOne(), `"kid":"a","use":"enc"`), jwk(keyTwo(), `"kid":"b","alg":"RS256"`))))
	f.Add([]byte(`{"keys":[{"kty":"RSA","kid":"x","x5c":["AA"],"x5u":"https://127.0.0.1/","use":"sig"},{}]}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		require.Empty(t, cost.Parser.Within(len(content), func() { _, _ = jws.ParseKeySet(content) }))
		keys, err := jws.ParseKeySet(content)
		if err == nil && len(keys.KIDs()) == 0 {
			t.Fatal("a set without usable keys is accepted")
		}
		if err == nil && !json.Valid(content) {
			t.Fatal("what is not JSON is accepted")
		}
	})
}

func write(t *testing.T, file string, content []byte) {
	t.Helper()
	fresh := file + ".new"
	require.NoError(t, os.WriteFile(fresh, content, 0o600))
	require.NoError(t, os.Rename(fresh, file))
}

func TestFilesAreReadAgainAndABadOneKeepsTheOldKeys(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys.json")
	write(t, file, setOf(t, map[string]*rsa.PrivateKey{"a": keyOne()}))
	synctest.Test(t, func(t *testing.T) {
		var events news
		keys, err := jws.OpenKeySet(jws.KeySetConfig{Location: file, Observe: events.observe})
		require.NoError(t, err)
		require.NoError(t, keys.Usable())
		ctx, cancel := context.WithCancel(t.Context())
		go keys.Run(ctx)
		look := func(d time.Duration) []jws.KeySetEvent {
			<-time.After(d)
			synctest.Wait()
			return events.take()
		}
		require.Equal(t, []jws.KeySetEvent{{Source: file, Keys: 1}}, look(time.Minute))

		write(t, file, setOf(t, map[string]*rsa.PrivateKey{"a": keyOne(), "b": keyTwo()}))
		require.Equal(t, []jws.KeySetEvent{{Source: file, Keys: 2}}, look(jws.FileEvery))

		write(t, file, []byte(`{"keys":[`))
		told := look(time.Hour)
		require.Len(t, told, 1, "one report for one reason")
		require.ErrorContains(t, told[0].Err, "not one JSON object")
		require.NoError(t, os.Remove(file))
		told = look(48 * time.Hour)
		require.Len(t, told, 1)
		require.ErrorIs(t, told[0].Err, os.ErrNotExist)
		require.NoError(t, keys.Usable(), "the last good keys of a file serve without limit")

		write(t, file, setOf(t, map[string]*rsa.PrivateKey{"a": keyOne(), "b": keyTwo()}))
		require.Equal(t, []jws.KeySetEvent{{Source: file, Keys: 2}}, look(jws.FileEvery), "the refusal is over")
		cancel()
	})
}

func TestAKeySetThatCannotBeUsedIsFoundAtStart(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "big"), make([]byte, 1<<20+1))
	for location, why := range map[string]string{
		"":                             "no key set named",
		"http://as.banco.example/jwks": "never over http",
		"https://":                     "must be https://",
		"https://user:geheim@as.banco.example/jwks": "must be https://",
		"https://as.banco.example/jwks":             "no client",
		filepath.Join(dir, "absent"):                "no such file",
		dir:                                         "not a regular file",
		filepath.Join(dir, "big"):                   "larger than",
	} {
		_, err := jws.OpenKeySet(jws.KeySetConfig{Location: location})
		require.ErrorContains(t, err, why)
		require.NotContains(t, err.Error(), "geheim")
	}
}

func TestAnAddressIsFetchedWithinBounds(t *testing.T) {
	content := setOf(t, map[string]*rsa.PrivateKey{"a": keyOne()})
	var inside atomic.Int32
	answer := func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/inside":
			inside.Add(1)
			fallthrough
		case "/good":
			_, _ = w.Write(content)
		case "/redirect":
			http.Redirect(w, r, "/inside", http.StatusFound)
		case "/big":
			_, _ = w.Write(bytes.Repeat([]byte(" "), 10<<20))
		case "/error":
			http.Error(w, "busy", http.StatusServiceUnavailable)
		}
	}
	server := httptest.NewTLSServer(http.HandlerFunc(answer))
	defer server.Close()
	for path, why := range map[string]string{
		"/good?token=geheim": "", "/redirect": "status 302", "/big": "larger than", "/error": "status 503", "/empty": "not one JSON object",
	} {
		keys, err := jws.OpenKeySet(jws.KeySetConfig{Location: server.URL + path, Client: server.Client()})
		require.NoError(t, err, "an address that is down does not keep us from starting")
		require.ErrorIs(t, keys.Usable(), jws.ErrUnavailable)
		require.ErrorIs(t, verifyAccess(keys, issue(t, keyOne(), "a", accessClaims())), jws.ErrUnavailable)
		err = keys.Reload(t.Context())
		if why == "" {
			require.NoError(t, err)
			require.NoError(t, verifyAccess(keys, issue(t, keyOne(), "a", accessClaims())))
			require.NotContains(t, keys.Name(), "geheim")
			continue
		}
		require.ErrorContains(t, err, why)
		require.ErrorIs(t, keys.Usable(), jws.ErrUnavailable)
	}
	require.Zero(t, inside.Load(), "redirects are not followed")

	untrusted, err := jws.OpenKeySet(jws.KeySetConfig{Location: server.URL + "/good", Client: &http.Client{}})
	require.NoError(t, err)
	require.Error(t, untrusted.Reload(t.Context()), "the certificate is verified")
}

// news gathers what a key set tells; the bubble's time orders nothing for the race detector, so it is locked.
type news struct {
	mu  sync.Mutex
	all []jws.KeySetEvent
}

func (n *news) observe(e jws.KeySetEvent) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.all = append(n.all, e)
}

// take returns what came since the last time.
func (n *news) take() []jws.KeySetEvent {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := n.all
	n.all = nil
	return out
}

// slow answers a byte a second for ever.
type slow struct{ ctx context.Context }

func (s slow) Read(p []byte) (int, error) {
	select {
	case <-s.ctx.Done():
		return 0, s.ctx.Err()
	case <-time.After(time.Second):
		p[0] = ' '
		return 1, nil
	}
}

func (slow) Close() error { return nil }

// source is a key set's server inside a bubble.
type source struct {
	mu      sync.Mutex
	content []byte
	down    bool
	slow    bool
	asked   []time.Time
}

func (s *source) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// times at which it was asked.
func (s *source) times() []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

func (s *source) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, time.Now())
	switch {
	case s.down:
		return nil, errors.New("connection refused")
	case s.slow:
		return &http.Response{StatusCode: http.StatusOK, Body: slow{r.Context()}}, nil
	}
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(bytes.NewReader(s.content))}, nil
}

func (s *source) open(t *testing.T, every time.Duration, observe func(jws.KeySetEvent)) *jws.KeySet {
	t.Helper()
	keys, err := jws.OpenKeySet(jws.KeySetConfig{
		Location: "https://as.banco.example/jwks", Client: &http.Client{Transport: s}, Every: every, Observe: observe,
	})
	require.NoError(t, err)
	return keys
}

func verifyNow(keys *jws.KeySet, token string) error {
	v := jws.BearerVerifier{Keys: keys, Issuer: issuer, Audience: audience, Now: at(noon)}
	_, err := v.Verify(token)
	return err
}

func TestKeysServeThroughAnOutageUntilTheirLimit(t *testing.T) {
	one := setOf(t, map[string]*rsa.PrivateKey{"a": keyOne()})
	token := issue(t, keyOne(), "a", bearerClaims())
	synctest.Test(t, func(t *testing.T) {
		from := &source{content: one}
		var events news
		keys := from.open(t, 5*time.Minute, events.observe)
		ctx, cancel := context.WithCancel(t.Context())
		go keys.Run(ctx)
		synctest.Wait()
		require.NoError(t, verifyNow(keys, token), "the first fetch is made at once")
		require.Len(t, events.take(), 1)

		from.set(func() { from.down = true })
		<-time.After(time.Hour)
		synctest.Wait()
		require.NoError(t, verifyNow(keys, token))
		told := events.take()
		require.Len(t, told, 1, "one report for one reason")
		require.ErrorContains(t, told[0].Err, "connection refused")
		require.Equal(t, 1, told[0].Keys)
		<-time.After(22*time.Hour + 55*time.Minute)
		require.NoError(t, verifyNow(keys, token))
		<-time.After(10 * time.Minute)
		require.ErrorIs(t, verifyNow(keys, token), jws.ErrUnavailable)
		require.ErrorContains(t, keys.Usable(), "could not be confirmed")

		from.set(func() { from.down = false })
		<-time.After(5 * time.Minute)
		synctest.Wait()
		require.NoError(t, verifyNow(keys, token))
		cancel()
	})
}

func TestFailedFetchesAreRepeatedAtGrowingDistances(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from := &source{down: true}
		keys := from.open(t, time.Minute, nil)
		ctx, cancel := context.WithCancel(t.Context())
		go keys.Run(ctx)
		<-time.After(5 * time.Minute)
		synctest.Wait()
		var gaps []time.Duration
		times := from.times()
		for i := 1; i < len(times); i++ {
			gaps = append(gaps, times[i].Sub(times[i-1]))
		}
		require.Equal(t, []time.Duration{1e9, 2e9, 4e9, 8e9, 16e9, 32e9, 60e9, 60e9, 60e9}, gaps)
		cancel()
	})
}

func TestAnUnknownKidIsLookedForOnceAMinuteAndNobodyWaits(t *testing.T) {
	one := setOf(t, map[string]*rsa.PrivateKey{"a": keyOne()})
	both := setOf(t, map[string]*rsa.PrivateKey{"a": keyOne(), "b": keyTwo()})
	token := issue(t, keyTwo(), "b", bearerClaims())
	synctest.Test(t, func(t *testing.T) {
		from := &source{content: one}
		var events news
		keys := from.open(t, 24*time.Hour, events.observe)
		ctx, cancel := context.WithCancel(t.Context())
		go keys.Run(ctx)
		synctest.Wait()
		require.Len(t, from.times(), 1)
		flood := func() {
			for range 100 {
				before := time.Now()
				refusedFor(t, verifyNow(keys, token), jws.UnknownKey, "kid", token)
				require.Zero(t, time.Since(before))
				synctest.Wait()
			}
		}
		flood()
		require.Len(t, from.times(), 2)
		<-time.After(59 * time.Second)
		flood()
		require.Len(t, from.times(), 2)

		from.set(func() { from.content = both })
		<-time.After(2 * time.Second)
		refusedFor(t, verifyNow(keys, token), jws.UnknownKey, "kid", token)
		synctest.Wait()
		require.NoError(t, verifyNow(keys, token), "the new key is found")
		require.Len(t, from.times(), 3)

		from.set(func() { from.slow = true })
		<-time.After(2 * time.Minute)
		stranger := strings.Replace(token, token[:strings.Index(token, ".")], base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"PS256","kid":"c"}`)), 1)
		refusedFor(t, verifyNow(keys, stranger), jws.UnknownKey, "kid", token)
		synctest.Wait()
		require.Len(t, from.times(), 4)
		before := time.Now()
		require.NoError(t, verifyNow(keys, token), "while a fetch is under way")
		require.Zero(t, time.Since(before))
		<-time.After(5 * time.Second)
		synctest.Wait()
		told := events.take()
		require.ErrorIs(t, told[len(told)-1].Err, context.DeadlineExceeded, "a byte a second ends after 5 s")
		require.NoError(t, verifyNow(keys, token))
		cancel()
	})
}
