package console

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// description is a provider that describes itself, and answers nothing else.
type description struct{}

func (description) RoundTrip(r *http.Request) (*http.Response, error) {
	const text = `{"issuer":"https://id.bank.example","authorization_endpoint":"https://id.bank.example/auth","token_endpoint":"https://id.bank.example/token","jwks_uri":"https://id.bank.example/keys"}`
	w := httptest.NewRecorder()
	w.Header().Set("Content-Type", "application/json")
	if !strings.HasSuffix(r.URL.Path, "/openid-configuration") {
		w.WriteHeader(http.StatusBadRequest)
	}
	_, _ = io.WriteString(w, text)
	return w.Result(), nil
}

// tabs is a browser that begins sign-ins, one for each tab.
type tabs struct {
	t       *testing.T
	console *Console
	cookies map[string]string
}

func newTabs(t *testing.T) *tabs {
	k, _ := newConsole(t, Config{OpenID: &Provider{Issuer: "https://id.bank.example", ClientID: "arauto", BaseURL: "https://console.bank.example", Client: &http.Client{Transport: description{}}}})
	return &tabs{t, k, map[string]string{}}
}

func (b *tabs) get(path string) *http.Response {
	b.t.Helper()
	r := httptest.NewRequestWithContext(b.t.Context(), http.MethodGet, path, http.NoBody)
	for name, value := range b.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value}) //nolint:gosec // as a browser sends it: name and value
	}
	w := httptest.NewRecorder()
	b.console.ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		if b.cookies[c.Name] = c.Value; c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		}
	}
	return w.Result()
}

// start begins a sign-in and returns its state.
func (b *tabs) start(next string) string {
	b.t.Helper()
	res := b.get("/sign-in/start?next=" + url.QueryEscape(next))
	require.Equal(b.t, http.StatusFound, res.StatusCode)
	to, err := res.Location()
	require.NoError(b.t, err)
	return to.Query().Get("state")
}

func (b *tabs) pending(state string) (pendingSignIn, bool) {
	b.t.Helper()
	seal, err := b.console.sealer(b.t.Context())
	require.NoError(b.t, err)
	return unsealed(seal, b.cookies[b.console.pendingCookie(state)])
}

func TestEachTabHasItsOwnPendingSignIn(t *testing.T) {
	b := newTabs(t)
	one, two := b.start("/notifications"), b.start("/late")
	first, ok := b.pending(one)
	require.True(t, ok)
	second, ok := b.pending(two)
	require.True(t, ok)
	require.Equal(t, []string{"/notifications", "/late"}, []string{first.Next, second.Next})
	require.NotEqual(t, first.Nonce, second.Nonce)
	require.NotEqual(t, first.Verifier, second.Verifier)

	b.get("/sign-in/callback?code=c&state=" + two)
	_, ok = b.pending(two)
	require.False(t, ok, "an answer uses its sign-in up")
	_, ok = b.pending(one)
	require.True(t, ok, "and no other")
}

func TestAPendingSignInAnswersForItsOwnStateAlone(t *testing.T) {
	b := newTabs(t)
	one := b.start("/")
	says := func() string {
		text, err := io.ReadAll(b.get("/sign-in/callback?code=c&state=made-up").Body)
		require.NoError(t, err)
		return string(text)
	}
	require.Contains(t, says(), "não pertence a este navegador")
	b.cookies[b.console.pendingCookie("made-up")] = b.cookies[b.console.pendingCookie(one)]
	require.Contains(t, says(), "não pertence a este navegador", "a cookie under another name is another's")
}

func TestPendingSignInsAreBoundedAndTheOldestGiveWay(t *testing.T) {
	b := newTabs(t)
	var states []string
	for range mostPending + 3 {
		states = append(states, b.start("/"))
	}
	require.Len(t, b.cookies, mostPending)
	for i, state := range states {
		_, ok := b.pending(state)
		require.Equal(t, i >= 3, ok, "sign-in %d", i)
	}
	for range 3 {
		long := b.start("/find?q=" + strings.Repeat("x", longestNext-10))
		bytes := 0
		for _, value := range b.cookies {
			bytes += len(value)
		}
		require.LessOrEqual(t, bytes, mostPendingBytes)
		p, ok := b.pending(long)
		require.True(t, ok)
		require.WithinDuration(t, time.Now().Add(pendingWithin), p.Until, time.Minute)
	}
	b.cookies[b.console.pendingPrefix()+"forged"] = strings.Repeat("x", mostPendingBytes)
	b.start("/")
	require.NotContains(t, b.cookies, b.console.pendingPrefix()+"forged")
}

// TestWhatRenewsASessionIsReadWithItsTokenAlone: the database has the hash of the token, and what renews the session encrypted.
func TestWhatRenewsASessionIsReadWithItsTokenAlone(t *testing.T) {
	kept := keptRenewal{refresh: "refresh", from: fromUserinfo}
	sealed, err := sealedRenewal("token", kept)
	require.NoError(t, err)
	require.NotContains(t, string(sealed), "refresh")
	renewal, err := openedRenewal("token", sealed)
	require.NoError(t, err)
	require.Equal(t, kept, renewal)
	_, err = openedRenewal("another token", sealed)
	require.Error(t, err)
	none, err := sealedRenewal("token", keptRenewal{from: fromSignIn})
	require.NoError(t, err)
	require.Nil(t, none)
}
