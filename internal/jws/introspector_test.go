package jws_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/jws"
)

// authority plays the authorisation server's introspection endpoint.
type authority struct {
	mu     sync.Mutex
	answer map[string]any
	status int
	raw    string
	asked  atomic.Int32
}

func (a *authority) say(answer map[string]any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answer = answer
}

func (a *authority) RoundTrip(r *http.Request) (*http.Response, error) {
	a.asked.Add(1)
	if err := r.ParseForm(); err != nil {
		return nil, err
	}
	if r.Method != http.MethodPost || r.PostForm.Get("token") == "" || r.PostForm.Get("token_type_hint") != "access_token" {
		return nil, fmt.Errorf("odd question %v", r.PostForm)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	body := a.raw
	if body == "" {
		text, err := json.Marshal(a.answer)
		if err != nil {
			return nil, err
		}
		body = string(text)
	}
	return &http.Response{StatusCode: max(a.status, 200), Body: io.NopCloser(strings.NewReader(body))}, nil
}

func (a *authority) introspector(t *testing.T, now func() time.Time, entries int) *jws.Introspector {
	t.Helper()
	i, err := jws.NewIntrospector(jws.IntrospectorConfig{
		URL: "https://as.banco.example/introspect", Client: &http.Client{Transport: a}, ClientID: "arauto",
		Issuer: issuer, Audience: audience, Now: now, Entries: entries,
	})
	require.NoError(t, err)
	return i
}

// asker is an introspector that knows grants in another way; signed: for tokens that were verified already.
func (a *authority) asker(t *testing.T, grant jws.GrantProof, signed bool) *jws.Introspector {
	t.Helper()
	i, err := jws.NewIntrospector(jws.IntrospectorConfig{
		URL: "https://as.banco.example/introspect", Client: &http.Client{Transport: a}, Issuer: issuer, Audience: audience, Grant: grant, Signed: signed, Now: at(noon),
	})
	require.NoError(t, err)
	return i
}

func active() map[string]any { return with(accessClaims(), map[string]any{"active": true}) }

func TestIntrospectionAcceptsByTheSameRules(t *testing.T) {
	for _, c := range []struct {
		name   string
		change map[string]any
		code   jws.Code
		claim  string
	}{
		{"good", nil, "", ""},
		{"without iss, aud and jti", map[string]any{"iss": nil, "aud": nil, "jti": nil}, "", ""},
		{"inactive", map[string]any{"active": false}, jws.Inactive, ""},
		{"iss another", map[string]any{"iss": "x"}, jws.Wrong, "iss"},
		{"aud another", map[string]any{"aud": "x"}, jws.Wrong, "aud"},
		{"exp missing", map[string]any{"exp": nil}, jws.Missing, "exp"},
		{"life too long", map[string]any{"exp": seconds(time.Hour)}, jws.Lifetime, "exp"},
		{"expired", map[string]any{"iat": seconds(-time.Hour), "exp": seconds(-50 * time.Minute)}, jws.Expired, "exp"},
		{"client_id missing", map[string]any{"client_id": nil}, jws.Missing, "client_id"},
		{"scope a long list", map[string]any{"scope": slices.Repeat([]string{"payments"}, 200)}, jws.Wrong, "scope"},
		{"cnf missing", map[string]any{"cnf": nil}, jws.Missing, "cnf.x5t#S256"},
		{"grant another", map[string]any{"grant_type": "refresh_token"}, jws.Wrong, "grant_type"},
	} {
		t.Run(c.name, func(t *testing.T) {
			as := &authority{answer: with(active(), c.change)}
			token, err := as.introspector(t, at(noon), 0).Verify(t.Context(), "opaque-token")
			if c.code != "" {
				refusedFor(t, err, c.code, c.claim, "opaque-token")
				return
			}
			require.NoError(t, err)
			require.Equal(t, "itp-1", token.ClientID)
			require.Equal(t, sha256.Sum256([]byte("opaque-token")), token.Hash)
			require.Equal(t, sha256.Sum256([]byte("a certificate")), token.Thumbprint)
		})
	}
}

func TestAnAnswerServesForSecondsAndNeverBeyondTheToken(t *testing.T) {
	now := noon
	as := &authority{answer: active()}
	i := as.introspector(t, func() time.Time { return now }, 0)
	ask := func() error {
		_, err := i.Verify(t.Context(), "t")
		return err
	}
	require.NoError(t, ask())
	as.say(map[string]any{"active": false}) // revoked
	now = noon.Add(4999 * time.Millisecond)
	require.NoError(t, ask())
	require.EqualValues(t, 1, as.asked.Load())
	now = noon.Add(5 * time.Second)
	refusedFor(t, ask(), jws.Inactive, "")
	require.EqualValues(t, 2, as.asked.Load())
	refusedFor(t, ask(), jws.Inactive, "")
	require.EqualValues(t, 2, as.asked.Load(), "a bad answer is remembered as well")

	now = noon.Add(10*time.Minute - 2*time.Second)
	as.say(active())
	require.NoError(t, ask())
	now = noon.Add(10 * time.Minute)
	require.NoError(t, ask(), "within the leeway")
	require.EqualValues(t, 4, as.asked.Load(), "asked again at exp")
}

func TestTheMemoryOfIntrospectionIsBounded(t *testing.T) {
	as := &authority{answer: active()}
	i := as.introspector(t, at(noon), 10)
	for n := range 1000 {
		_, err := i.Verify(t.Context(), fmt.Sprint("token-", n))
		require.NoError(t, err)
		require.LessOrEqual(t, i.Remembered(), 10)
	}
}

func TestThoseWithTheSameTokenShareOneQuestionAndNobodyTakesItAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		as := &authority{answer: active()}
		release := make(chan struct{})
		i, err := jws.NewIntrospector(jws.IntrospectorConfig{
			URL: "https://as.banco.example/introspect", Now: at(noon),
			Client: &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
				select {
				case <-release:
					return as.RoundTrip(r)
				case <-r.Context().Done():
					return nil, r.Context().Err()
				}
			})},
		})
		require.NoError(t, err)
		impatient, giveUp := context.WithCancel(t.Context())
		results := make([]error, 10)
		var all sync.WaitGroup
		for n := range results {
			all.Go(func() {
				ctx := t.Context()
				if n == 0 {
					ctx = impatient
				}
				_, results[n] = i.Verify(ctx, "t")
			})
			synctest.Wait() // the impatient one asks first
		}
		giveUp()
		synctest.Wait()
		close(release)
		all.Wait()
		require.ErrorIs(t, results[0], jws.ErrUnavailable)
		for _, err := range results[1:] {
			require.NoError(t, err)
		}
		require.EqualValues(t, 1, as.asked.Load())
	})
}

func TestAnEndpointThatHangsIsWaitedForFiveSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, err := jws.NewIntrospector(jws.IntrospectorConfig{
			URL: "https://as.banco.example/introspect",
			Client: &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: http.StatusOK, Body: slow{r.Context()}}, nil
			})},
		})
		require.NoError(t, err)
		began := time.Now()
		_, err = i.Verify(t.Context(), "t")
		require.ErrorIs(t, err, jws.ErrUnavailable)
		require.Equal(t, 5*time.Second, time.Since(began))
	})
}

func TestAnswersThatAreNoneAreOurTroubleNotTheTokens(t *testing.T) {
	for name, as := range map[string]*authority{
		"500":                {status: 500, raw: `{"active":true}`},
		"401":                {status: 401, raw: `{"active":true}`},
		"not JSON":           {raw: "<html>"},
		"null":               {raw: "null"},
		"an array":           {raw: `[{"active":true}]`},
		"active missing":     {raw: `{}`},
		"active a string":    {raw: `{"active":"true"}`},
		"endless":            {raw: `{"active":true,"x":"` + strings.Repeat("x", 70_000) + `"}`},
		"redirect elsewhere": {status: 307, raw: "x"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := as.introspector(t, at(noon), 0).Verify(t.Context(), "geheim-token")
			require.ErrorIs(t, err, jws.ErrUnavailable)
			require.NotContains(t, err.Error(), "geheim")
			require.EqualValues(t, 1, as.asked.Load())
		})
	}
}

func TestTheIntrospectionAddressIsHTTPSAndItsCertificateVerified(t *testing.T) {
	for _, address := range []string{"", "http://as.banco.example/i", "https://", "https://u:p@as.banco.example/i", "https://a.example/#x", "as.banco.example"} {
		_, err := jws.NewIntrospector(jws.IntrospectorConfig{URL: address, Client: &http.Client{}})
		require.ErrorContains(t, err, "must be https://")
	}
	_, err := jws.NewIntrospector(jws.IntrospectorConfig{URL: "https://as.banco.example/i"})
	require.ErrorContains(t, err, "no HTTP client")

	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(active())
	}))
	defer server.Close()
	for client, trusted := range map[*http.Client]bool{server.Client(): true, {}: false} {
		i, err := jws.NewIntrospector(jws.IntrospectorConfig{URL: server.URL, Client: client, Now: at(noon)})
		require.NoError(t, err)
		_, err = i.Verify(t.Context(), "t")
		if trusted {
			require.NoError(t, err)
		} else {
			require.ErrorIs(t, err, jws.ErrUnavailable)
		}
	}
	i, err := jws.NewIntrospector(jws.IntrospectorConfig{URL: server.URL, Client: server.Client()})
	require.NoError(t, err)
	_, err = i.Verify(t.Context(), strings.Repeat("t", 2042))
	refusedFor(t, err, jws.TooLong, "")
	_, err = i.Verify(t.Context(), "")
	refusedFor(t, err, jws.TooLong, "")
}
