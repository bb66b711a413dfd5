package console

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/console/page"
	"github.com/arauto/arauto/internal/history"
)

// renewer is a provider that renews sessions as a test wants: a real one cannot leave out what it leaves out. A refresh token serves once.
type renewer struct {
	t      *testing.T
	server *httptest.Server
	signer jose.Signer
	key    *ecdsa.PrivateKey
	issued int // refresh tokens

	claims    map[string]any // of the next ID token, beside the necessary ones; nil: there is none
	info      http.HandlerFunc
	asked     func() // before a renewal is answered; nil: nothing
	revoke    http.HandlerFunc
	described map[string]string // more of the description
	revoked   chan string
}

func newRenewer(t *testing.T) *renewer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	d := &renewer{t: t, key: key, revoked: make(chan string, 10), revoke: func(http.ResponseWriter, *http.Request) {}, described: map[string]string{}}
	d.signer, err = jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: "1"}}, nil)
	require.NoError(t, err)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", d.describe)
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		d.answer(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "1", Algorithm: "ES256", Use: "sig"}}})
	})
	mux.HandleFunc("POST /token", d.renew)
	mux.HandleFunc("GET /userinfo", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != fmt.Sprint("Bearer access-", d.issued) {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		d.info(w, r)
	})
	mux.HandleFunc("POST /revoke", func(w http.ResponseWriter, r *http.Request) {
		id, secret, _ := r.BasicAuth()
		d.revoked <- fmt.Sprint(r.PostFormValue("token_type_hint"), " ", r.PostFormValue("token"), " of ", id, " ", secret)
		d.revoke(w, r)
	})
	d.server = httptest.NewServer(mux)
	t.Cleanup(d.server.Close)
	d.described["revocation_endpoint"] = d.server.URL + "/revoke"
	return d
}

// told is what the provider was told to revoke; "": nothing within the time of a revocation.
func (d *renewer) told() string {
	select {
	case one := <-d.revoked:
		return one
	case <-time.After(revokeWithin):
		return ""
	}
}

func (d *renewer) answer(w http.ResponseWriter, v any) { d.answerAs(w, http.StatusOK, v) }

func (d *renewer) answerAs(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(v); err != nil {
		d.t.Error(err)
	}
}

func (d *renewer) describe(w http.ResponseWriter, _ *http.Request) {
	said := map[string]any{
		"issuer": d.server.URL, "authorization_endpoint": d.server.URL + "/auth", "token_endpoint": d.server.URL + "/token", "jwks_uri": d.server.URL + "/keys",
		"id_token_signing_alg_values_supported": []string{"ES256"}, "token_endpoint_auth_methods_supported": []string{"client_secret_basic"},
	}
	for name, value := range d.described {
		said[name] = value
	}
	d.answer(w, said)
}

func (d *renewer) renew(w http.ResponseWriter, r *http.Request) {
	if r.PostFormValue("refresh_token") != fmt.Sprint("refresh-", d.issued) {
		d.answerAs(w, http.StatusBadRequest, map[string]string{"error": "invalid_grant"})
		return
	}
	if d.asked != nil {
		d.asked()
	}
	d.issued++
	out := map[string]any{"access_token": fmt.Sprint("access-", d.issued), "token_type": "Bearer", "expires_in": 300, "refresh_token": fmt.Sprint("refresh-", d.issued)}
	if d.claims != nil {
		now := time.Now().Unix()
		claims := map[string]any{"iss": d.server.URL, "sub": "ana", "aud": "arauto", "iat": now, "exp": now + 300}
		maps.Copy(claims, d.claims)
		out["id_token"] = d.signed(claims)
	}
	d.answer(w, out)
}

// signed is an ID token with claims.
func (d *renewer) signed(claims map[string]any) (token string) {
	text, err := json.Marshal(claims)
	if err == nil {
		var one *jose.JSONWebSignature
		if one, err = d.signer.Sign(text); err == nil {
			token, err = one.CompactSerialize()
		}
	}
	if err != nil {
		d.t.Error(err)
	}
	return token
}

// renewing has the session of Ana, which the provider is to be asked about at every request.
type renewing struct {
	nobody

	who     history.Person
	renewal []byte
	ended   bool
}

// gone is the error of a session that has ended.
type gone struct{}

func (gone) Error() string  { return "session not found" }
func (gone) NotFound() bool { return true }

func (r *renewing) Session(context.Context, string, bool) (history.Person, bool, error) {
	if r.ended {
		return history.Person{}, false, gone{}
	}
	return r.who, r.renewal != nil, nil
}

func (r *renewing) TakeRenewal(context.Context, string) ([]byte, error) { return r.renewal, nil }

func (r *renewing) RenewSession(_ context.Context, _ string, roles []string, renewal []byte) (bool, error) {
	r.who.Roles, r.renewal = roles, renewal
	return !r.ended, nil
}

func (r *renewing) EndSession(context.Context, string) ([]byte, error) {
	r.ended = true
	return r.renewal, nil
}

// visited is a browser with Ana's session at a console.
type visited struct {
	*Console
	t       *testing.T
	people  *renewing
	history *records
	log     *bytes.Buffer
}

func visit(t *testing.T, d *renewer) *visited {
	t.Helper()
	v := &visited{t: t, log: &bytes.Buffer{}, people: &renewing{who: history.Person{Subject: "ana", Roles: []string{page.Operator, page.Auditor}}}}
	secret := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(secret, []byte("hush"), 0o600))
	var err error
	v.people.renewal, err = sealedRenewal("token", keptRenewal{refresh: "refresh-0"})
	require.NoError(t, err)
	v.Console, v.history = newConsole(t, Config{
		Sessions: v.people, Log: slog.New(slog.NewTextHandler(v.log, nil)),
		OpenID: &Provider{Issuer: d.server.URL, ClientID: "arauto", SecretFile: secret, RolesClaim: "roles", BaseURL: "https://console.bank.example", Client: d.server.Client()},
	})
	return v
}

// look asks for a page, and tells whether the session goes on.
func (v *visited) look() bool {
	v.t.Helper()
	res := ask(v.Console, http.MethodGet, "/sources", "Cookie", "arauto-session=token")
	return res.StatusCode != http.StatusSeeOther
}

func (v *visited) acts() (out []string) {
	for _, one := range v.history.kept {
		out = append(out, one.Act)
	}
	return out
}

// TestWhoSignsOutIsNotRenewedAtTheProviderAnyMore: the refresh token lived on there. The browser waits for no provider.
func TestWhoSignsOutIsNotRenewedAtTheProviderAnyMore(t *testing.T) {
	d := newRenewer(t)
	answered := make(chan struct{})
	d.revoke = func(w http.ResponseWriter, _ *http.Request) {
		<-answered
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	v := visit(t, d)
	res := ask(v.Console, http.MethodPost, "/sign-out", "Cookie", "arauto-session=token", "Sec-Fetch-Site", "same-origin")
	require.Equal(t, http.StatusSeeOther, res.StatusCode)
	require.True(t, v.people.ended)
	require.Equal(t, "refresh_token refresh-1 of arauto hush", d.told(), "the newest")
	close(answered)
	v.AwaitRevocations(t.Context())
	require.Contains(t, v.log.String(), "refresh token not revoked at the provider")
	require.Contains(t, v.log.String(), "503 Service Unavailable")
	require.NotContains(t, v.log.String(), "refresh-1")
}

// TestASessionThatEndsAtTheProvidersWordIsNotRenewedAnyMore: a person without roles, and one who signs out while the provider is asked.
func TestASessionThatEndsAtTheProvidersWordIsNotRenewedAnyMore(t *testing.T) {
	d := newRenewer(t)
	d.claims = map[string]any{"roles": []string{}}
	v := visit(t, d)
	require.False(t, v.look())
	require.Equal(t, "refresh_token refresh-1 of arauto hush", d.told())
	require.Equal(t, []string{"renewal-refused"}, v.acts())

	d = newRenewer(t)
	v = visit(t, d)
	d.asked = func() { v.people.ended = true }
	v.look()
	require.Equal(t, "refresh_token refresh-1 of arauto hush", d.told(), "the token renewed after the sign-out")

	d = newRenewer(t)
	delete(d.described, "revocation_endpoint")
	v = visit(t, d)
	require.True(t, v.look())
	res := ask(v.Console, http.MethodPost, "/sign-out", "Cookie", "arauto-session=token", "Sec-Fetch-Site", "same-origin")
	require.Equal(t, http.StatusSeeOther, res.StatusCode)
	v.AwaitRevocations(t.Context())
	require.NotContains(t, v.log.String(), "not revoked", "a provider without an address for it is asked nothing")
	require.Empty(t, d.revoked)
}

// says makes the userinfo endpoint answer with a status and claims.
func (d *renewer) says(status int, claims map[string]any) {
	d.described["userinfo_endpoint"] = d.server.URL + "/userinfo"
	d.info = func(w http.ResponseWriter, _ *http.Request) {
		d.answerAs(w, status, claims)
	}
}

// TestRolesThatARenewedIDTokenLacksAreAskedForAtUserinfo: the session ended after a minute. What userinfo says is the last word, and what renews the
// session is kept also when it says nothing.
func TestRolesThatARenewedIDTokenLacksAreAskedForAtUserinfo(t *testing.T) {
	d := newRenewer(t)
	d.claims = map[string]any{}
	d.says(http.StatusOK, map[string]any{"sub": "ana", "roles": []string{"operator"}})
	v := visit(t, d)
	for range 2 {
		require.True(t, v.look())
		require.Equal(t, []string{"operator"}, v.people.who.Roles)
	}
	require.Equal(t, []string{"renewal-userinfo"}, v.acts(), "once for the session")
	d.says(http.StatusServiceUnavailable, nil)
	for range 2 {
		require.True(t, v.look(), "an answer that says nothing about the person changes nothing")
	}
	d.says(http.StatusOK, map[string]any{"sub": "ana", "roles": []string{"auditor"}})
	require.True(t, v.look())
	require.Equal(t, []string{"auditor"}, v.people.who.Roles)
	require.Equal(t, []string{"renewal-userinfo"}, v.acts())

	for name, answer := range map[string]struct {
		status int
		claims map[string]any
	}{
		"an empty list":  {http.StatusOK, map[string]any{"sub": "ana", "roles": []string{}}},
		"no list":        {http.StatusOK, map[string]any{"sub": "ana"}},
		"another person": {http.StatusOK, map[string]any{"sub": "bia", "roles": []string{"operator"}}},
		"nobody":         {http.StatusOK, map[string]any{"roles": []string{"operator"}}},
		"a refusal":      {http.StatusForbidden, nil},
		"no object":      {http.StatusOK, nil},
	} {
		v := visit(t, d)
		d.issued = 0
		d.says(answer.status, answer.claims)
		require.False(t, v.look(), name)
		require.Equal(t, []string{"renewal-refused"}, v.acts(), name)
		require.Equal(t, "refresh_token refresh-1 of arauto hush", d.told(), name)
	}
}

// TestRolesThatNothingTellsAgainAreThoseOfTheSignIn: a provider without userinfo. Where it does tell roles again, a token without any means none.
func TestRolesThatNothingTellsAgainAreThoseOfTheSignIn(t *testing.T) {
	d := newRenewer(t)
	d.claims = map[string]any{}
	v := visit(t, d)
	for range 2 {
		require.True(t, v.look())
		require.Equal(t, []string{page.Operator, page.Auditor}, v.people.who.Roles)
	}
	require.Equal(t, []string{"renewal-kept"}, v.acts(), "once for the session")
	d.claims["roles"] = []string{"auditor"}
	require.True(t, v.look())
	require.Equal(t, []string{"auditor"}, v.people.who.Roles)
	delete(d.claims, "roles")
	require.False(t, v.look())
	require.Equal(t, []string{"renewal-kept", "renewal-refused"}, v.acts())

	for name, claim := range map[string]any{"an empty list": []string{}, "null": nil, "a role of others": "guest"} {
		d.issued, d.claims["roles"] = 0, claim
		v := visit(t, d)
		require.False(t, v.look(), name)
		require.Equal(t, []string{"renewal-refused"}, v.acts(), name)
	}
	d.issued, d.claims["roles"] = 0, []string{}
	d.says(http.StatusOK, map[string]any{"sub": "ana", "roles": []string{"operator"}})
	require.False(t, visit(t, d).look(), "an empty list is an answer, and userinfo is not asked")
}

// TestARefreshTokenThatIsRefusedEndsTheSession, and only that: an answer that nobody can use changes nothing, and is not told as silence.
func TestARefreshTokenThatIsRefusedEndsTheSession(t *testing.T) {
	const silence, unusable = "asked again and did not answer", "asked again and gave no answer that can be used"
	d := newRenewer(t)
	v := visit(t, d)
	d.issued = 3
	require.False(t, v.look())
	require.True(t, v.people.ended)
	require.Equal(t, []string{"renewal-refused"}, v.acts())
	require.Contains(t, v.log.String(), "invalid_grant")

	d = newRenewer(t)
	d.claims = map[string]any{}
	d.says(http.StatusServiceUnavailable, nil)
	v = visit(t, d)
	require.True(t, v.look())
	require.Contains(t, v.log.String(), unusable)
	require.NotContains(t, v.log.String(), silence)

	d = newRenewer(t)
	v = visit(t, d)
	d.server.Close()
	require.True(t, v.look())
	require.Contains(t, v.log.String(), silence)
	require.NotContains(t, v.log.String(), unusable)
}

// TestARevocationIsTriedInAnotherWayOnlyWhereTheFirstWasNotUs: any refusal had a second try, which told its own error alone, and a success without a
// body was a failure.
func TestARevocationIsTriedInAnotherWayOnlyWhereTheFirstWasNotUs(t *testing.T) {
	for name, c := range map[string]struct {
		status  int
		refusal string
		tries   int
		fails   bool
	}{
		"no content":      {http.StatusNoContent, "", 1, false},
		"unauthorized":    {http.StatusUnauthorized, "", 2, false},
		"not this client": {http.StatusBadRequest, "invalid_client", 2, false},
		"not this token":  {http.StatusBadRequest, "unsupported_token_type", 1, true},
		"no reason":       {http.StatusBadRequest, "", 1, true},
	} {
		d := newRenewer(t)
		d.described["token_endpoint_auth_methods_supported"] = "" // no list of ways: both are tried
		d.revoke = func(w http.ResponseWriter, r *http.Request) {
			switch _, _, first := r.BasicAuth(); {
			case !first:
			case c.refusal == "":
				w.WriteHeader(c.status)
			default:
				d.answerAs(w, c.status, map[string]string{"error": c.refusal})
			}
		}
		v := visit(t, d)
		ask(v.Console, http.MethodPost, "/sign-out", "Cookie", "arauto-session=token", "Sec-Fetch-Site", "same-origin")
		v.AwaitRevocations(t.Context())
		require.Len(t, d.revoked, c.tries, name)
		require.Equal(t, c.fails, strings.Contains(v.log.String(), "refresh token not revoked"), name)
	}
}
