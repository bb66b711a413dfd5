package console

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/console/page"
	"github.com/arauto/arauto/internal/history"
)

// records is a history in memory.
type records struct {
	kept []history.LogReading
	fail error
}

func (r *records) RecordReading(_ context.Context, one history.LogReading) error {
	if r.fail == nil {
		r.kept = append(r.kept, one)
	}
	return r.fail
}

func (r *records) CursorKey(context.Context) ([]byte, error) {
	return []byte("a key of this test"), nil
}

// nobody has no sessions, and takes every link.
type nobody struct{ opened []history.Person }

func (n *nobody) OpenSession(_ context.Context, _ string, p history.Person, _ []byte) error {
	n.opened = append(n.opened, p)
	return nil
}

func (*nobody) Session(context.Context, string, bool) (history.Person, bool, error) {
	return history.Person{}, false, errors.New("not asked in this test")
}
func (*nobody) EndSession(context.Context, string) ([]byte, error)  { return nil, nil }
func (*nobody) TakeLink(context.Context, string) error              { return nil }
func (*nobody) TakeRenewal(context.Context, string) ([]byte, error) { return nil, nil }
func (*nobody) RenewSession(context.Context, string, []string, []byte) (bool, error) {
	return true, nil
}

func newConsole(t *testing.T, c Config) (*Console, *records) {
	t.Helper()
	r := &records{}
	c.Internal, c.Records = page.Endpoint{Handler: http.NotFoundHandler()}, r
	if c.Sessions == nil {
		c.Sessions = &nobody{}
	}
	k, err := New(c)
	require.NoError(t, err)
	return k, r
}

func ask(k *Console, method, path string, header ...string) *http.Response {
	r := httptest.NewRequest(method, path, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	k.ServeHTTP(w, r)
	return w.Result()
}

func TestFailedSignInsAreOneEntryForEachAddress(t *testing.T) {
	k, r := newConsole(t, Config{})
	for _, from := range []string{"192.0.2.7:1", "192.0.2.7:2", "192.0.2.8:1"} {
		k.refused.add(from)
	}
	r.fail = errors.New("the database is away")
	require.Error(t, k.RecordRefused(t.Context()))
	r.fail = nil
	require.NoError(t, k.RecordRefused(t.Context()))
	require.NoError(t, k.RecordRefused(t.Context()), "nothing is counted twice")
	rows := map[string]int64{}
	for _, one := range r.kept {
		require.Equal(t, "sign-in-refused", one.Act)
		rows[one.Actor.Source] = one.Rows
	}
	require.Equal(t, map[string]int64{"192.0.2.7": 2, "192.0.2.8": 1}, rows)
}

func TestAddressesBeyondTheLimitCountTogether(t *testing.T) {
	k, _ := newConsole(t, Config{})
	for i := range refusedAddresses {
		k.refused.by[string(rune(i+1))] = 1
	}
	k.refused.add("192.0.2.7:1")
	k.refused.add("192.0.2.8:1")
	require.EqualValues(t, 2, k.refused.by["others"])
}

func TestTheCookieIsBoundToTheHostAndHiddenFromScripts(t *testing.T) {
	for _, secure := range []bool{true, false} {
		people := &nobody{}
		k, _ := newConsole(t, Config{Secure: secure, Links: true, Sessions: people})
		r := httptest.NewRequest(http.MethodPost, "/sign-in/link/secret?", nil)
		r.PostForm = map[string][]string{"name": {"ana"}, "role": {"operator", "root"}}
		r.Form = r.PostForm
		w := httptest.NewRecorder()
		k.ServeHTTP(w, r)
		require.Equal(t, http.StatusSeeOther, w.Code)
		require.Equal(t, []history.Person{{Subject: "ana", Name: "ana", Roles: []string{"operator"}}}, people.opened, "roles that nobody knows are none")
		require.Len(t, w.Result().Cookies(), 1)
		c := w.Result().Cookies()[0]
		require.Equal(t, map[bool]string{true: "__Host-arauto", false: "arauto-session"}[secure], c.Name)
		require.True(t, c.HttpOnly)
		require.Equal(t, secure, c.Secure)
		require.Equal(t, http.SameSiteLaxMode, c.SameSite)
		require.Equal(t, "/", c.Path)
		require.Empty(t, c.Domain)
		require.Equal(t, secure, w.Header().Get("Strict-Transport-Security") != "")
	}
}

func TestEveryAnswerHasTheStrictPolicy(t *testing.T) {
	k, _ := newConsole(t, Config{})
	for _, path := range []string{"/sign-in", "/", "/nothing", "/assets/style.css"} {
		res := ask(k, http.MethodGet, path)
		require.Equal(t, policy, res.Header.Get("Content-Security-Policy"), path)
		require.NotContains(t, policy, "unsafe")
		require.Equal(t, "nosniff", res.Header.Get("X-Content-Type-Options"), path)
	}
}

func TestALinkThatIsNotOfferedOpensNothing(t *testing.T) {
	k, _ := newConsole(t, Config{})
	require.Equal(t, http.StatusNotFound, ask(k, http.MethodGet, "/sign-in/link/secret").StatusCode)
	require.Equal(t, http.StatusNotFound, ask(k, http.MethodPost, "/sign-in/link/secret").StatusCode)
}

func TestWhatAnotherPageSendsIsRefused(t *testing.T) {
	k, _ := newConsole(t, Config{Links: true})
	for name, header := range map[string][]string{
		"another site": {"Sec-Fetch-Site", "cross-site"}, "another port": {"Sec-Fetch-Site", "same-site"}, "an old browser": {"Origin", "https://evil.example"},
	} {
		require.Equal(t, http.StatusForbidden, ask(k, http.MethodPost, "/sign-out", header...).StatusCode, name)
	}
	require.Equal(t, http.StatusForbidden, ask(k, http.MethodPost, "/sign-out", "Origin", "null").StatusCode)
	require.Equal(t, http.StatusSeeOther, ask(k, http.MethodPost, "/sign-out", "Sec-Fetch-Site", "same-origin").StatusCode)
	require.Equal(t, http.StatusSeeOther, ask(k, http.MethodPost, "/sign-out", "Origin", "http://example.com").StatusCode, "our own host")

	text, err := io.ReadAll(ask(k, http.MethodPost, "/sign-out", "Origin", "null").Body)
	require.NoError(t, err)
	require.Contains(t, string(text), "Pedido recusado")
	require.NotContains(t, string(text), "papel", "no role is missing")

	k, _ = newConsole(t, Config{Sessions: &seats{}})
	for _, cookie := range []string{"arauto-session=token", "other=1; arauto-session="} {
		require.Equal(t, http.StatusForbidden, ask(k, http.MethodPost, "/sign-out", "Cookie", cookie).StatusCode, "it does not say where it comes from")
	}
	require.Equal(t, http.StatusSeeOther, ask(k, http.MethodPost, "/sign-out", "Cookie", "arauto-session=token", "Sec-Fetch-Site", "same-origin").StatusCode)
}

func TestSignInLeadsBackToOurOwnPagesAlone(t *testing.T) {
	for path, want := range map[string]string{
		"/notifications?state=late": "/notifications?state=late", "": "/", "//evil.example": "/", "https://evil.example": "/", `/\evil.example`: "/", "/a\r\nb": "/",
		"/\t/evil.example": "/", "/\t\\evil.example": "/", "\t//evil.example": "/", "/\x00/evil.example": "/", "/\u0085/evil.example": "/",
	} {
		require.Equal(t, want, ownPath(path))
	}
}

func TestAPathThatNamesAnotherHostIsNotLinked(t *testing.T) {
	k, _ := newConsole(t, Config{})
	res := ask(k, http.MethodGet, "//evil.example/x")
	require.Equal(t, http.StatusNotFound, res.StatusCode)
	text, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.Contains(t, string(text), `href="/?lang=en"`)
	require.NotContains(t, string(text), "evil.example")
}

// seats has one session, of Olga; fail is what every question about it is answered with.
type seats struct {
	nobody

	fail  error
	ended []string
}

func (s *seats) Session(context.Context, string, bool) (history.Person, bool, error) {
	return history.Person{Subject: "olga", Roles: []string{page.Operator}}, false, s.fail
}

func (s *seats) EndSession(_ context.Context, token string) ([]byte, error) {
	s.ended = append(s.ended, token)
	return nil, s.fail
}

func TestANewSignInEndsTheSessionThatTheBrowserHad(t *testing.T) {
	people := &seats{}
	k, records := newConsole(t, Config{Links: true, Sessions: people})
	r := httptest.NewRequest(http.MethodPost, "/sign-in/link/secret", nil)
	r.PostForm = map[string][]string{"name": {"ana"}, "role": {"operator"}}
	r.Form = r.PostForm
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	r.AddCookie(&http.Cookie{Name: "arauto-session", Value: "former"}) //nolint:gosec // as a browser sends it: name and value
	w := httptest.NewRecorder()
	k.ServeHTTP(w, r)
	require.Equal(t, http.StatusSeeOther, w.Code)
	require.Equal(t, []string{"former"}, people.ended)
	require.Len(t, people.opened, 1)
	var acts []string
	for _, one := range records.kept {
		acts = append(acts, one.Act+" "+one.Actor.Subject)
	}
	require.Equal(t, []string{"sign-out olga", "sign-in ana"}, acts)
}

func TestASignOutThatFailsSaysSoAndCanBeTriedAgain(t *testing.T) {
	k, _ := newConsole(t, Config{Sessions: &seats{fail: errors.New("the database is away")}})
	res := ask(k, http.MethodPost, "/sign-out", "Cookie", "arauto-session=token", "Sec-Fetch-Site", "same-origin")
	require.GreaterOrEqual(t, res.StatusCode, 500)
	require.Empty(t, res.Cookies(), "the browser keeps what ends the session")
}

func TestAnActAfterTheSessionLeadsBackToThePageOfTheForm(t *testing.T) {
	k, _ := newConsole(t, Config{BaseURL: "https://console.bank.example"})
	for from, want := range map[string]string{
		"http://example.com/notifications?state=exhausted": "/notifications?state=exhausted",
		"https://console.bank.example/holds":               "/holds",
		"http://example.com/late?x=a%5Cb&lang=en":          "/late?lang=en&x=a%5Cb",
		"http://example.com/exports/e-1/delete":            "/exports",
		"http://example.com/notifications/filters/delete":  "/notifications",
		"http://example.com/initiators/alfa/preflight":     "/initiators/alfa",
		"http://example.com/quarantine/bulk":               "/quarantine",
		"http://example.com/resources/pix-payment/a%2Fb":   "/resources/pix-payment/a%2Fb",
		"https://evil.example/holds":                       "",
		"http://example.com//evil.example/holds":           "",
		"http://example.com/\\evil.example":                "",
		"":                                                 "",
		"http://example.com/nothing-here":                  "",
	} {
		res := ask(k, http.MethodPost, "/holds", "Referer", from, "Sec-Fetch-Site", "same-origin")
		require.Equal(t, http.StatusSeeOther, res.StatusCode)
		to, err := res.Location()
		require.NoError(t, err)
		require.Equal(t, "/sign-in", to.Path)
		require.Equal(t, want, to.Query().Get("next"), from)
		require.Equal(t, "undone", to.Query().Get("why"))
	}
	text, err := io.ReadAll(ask(k, http.MethodGet, "/sign-in?why=undone").Body)
	require.NoError(t, err)
	require.Contains(t, string(text), "nada foi feito")
	to, err := ask(k, http.MethodGet, "/holds").Location()
	require.NoError(t, err)
	require.Equal(t, "/sign-in?next=%2Fholds", to.String(), "who only opens a page reads nothing of an act")
}

// missingLink says that there is no such link.
type missingLink struct{}

func (missingLink) Error() string  { return "no such link" }
func (missingLink) NotFound() bool { return true }

// usedUp has no link that was not used.
type usedUp struct{ nobody }

func (usedUp) TakeLink(context.Context, string) error { return missingLink{} }

func TestTheSignInByLinkNamesBothCommandsAndWhatToDo(t *testing.T) {
	k, _ := newConsole(t, Config{Links: true, Sessions: &usedUp{}})
	r := httptest.NewRequest(http.MethodPost, "/sign-in/link/used", nil)
	r.PostForm = map[string][]string{"name": {"ana"}, "role": {"operator"}}
	r.Form = r.PostForm
	w := httptest.NewRecorder()
	k.ServeHTTP(w, r)
	require.Equal(t, http.StatusForbidden, w.Code)
	signIn, err := io.ReadAll(ask(k, http.MethodGet, "/sign-in").Body)
	require.NoError(t, err)
	for _, text := range []string{w.Body.String(), string(signIn)} {
		require.Contains(t, text, "arauto sandbox")
		require.Contains(t, text, "arauto demo --keep")
		require.Contains(t, text, "comece-o de novo")
	}
}

// silence is a provider that does not answer.
type silence struct{ asked int }

func (s *silence) RoundTrip(*http.Request) (*http.Response, error) {
	s.asked++
	time.Sleep(10 * time.Second) // of virtual time
	return nil, errors.New("no answer")
}

// TestAProviderThatDoesNotAnswerIsWaitedForOnce: those who signed in meanwhile, and waited for the first, do not wait as long again.
func TestAProviderThatDoesNotAnswerIsWaitedForOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &silence{}
		p := &Provider{Issuer: "https://id.bank.example", ClientID: "arauto", Client: &http.Client{Transport: s}}
		began := time.Now()
		for range 20 {
			_, err := p.discovered(t.Context())
			require.Error(t, err)
		}
		require.Equal(t, 10*time.Second, time.Since(began))
		require.Equal(t, 1, s.asked)
		time.Sleep(askAgain)
		_, err := p.discovered(t.Context())
		require.Error(t, err)
		require.Equal(t, 2, s.asked)
	})
}

// TestNobodyWaitsForASilentDatabase: each page reads the session first, and a sign-in uses up what it came with.
func TestNobodyWaitsForASilentDatabase(t *testing.T) {
	sessions := &nobody{}
	k, records := newConsole(t, Config{Sessions: sessions, Links: true, Answers: func(context.Context) error { return context.DeadlineExceeded }})
	for _, one := range []struct {
		method, path string
		cookie       bool
		want         int
	}{
		{http.MethodGet, "/notifications", true, http.StatusServiceUnavailable},
		{http.MethodPost, "/notifications/resend", true, http.StatusServiceUnavailable},
		{http.MethodPost, "/sign-out", true, http.StatusServiceUnavailable},
		{http.MethodPost, "/sign-in/link/secret", false, http.StatusServiceUnavailable},
		{http.MethodGet, "/sign-in/start", false, http.StatusServiceUnavailable},
		{http.MethodGet, "/sign-in/callback?state=x&code=y", false, http.StatusServiceUnavailable},
		{http.MethodGet, "/sign-in", false, http.StatusOK},
		{http.MethodGet, "/sign-in/link/secret", false, http.StatusOK},
		{http.MethodGet, "/notifications", false, http.StatusSeeOther},
	} {
		r := httptest.NewRequestWithContext(t.Context(), one.method, one.path, http.NoBody)
		if one.cookie {
			r.Header.Set("Cookie", "arauto-session=token")
			r.Header.Set("Sec-Fetch-Site", "same-origin")
		}
		w := httptest.NewRecorder()
		k.ServeHTTP(w, r)
		require.Equal(t, one.want, w.Code, "%s %s", one.method, one.path)
	}
	require.Empty(t, sessions.opened)
	require.Empty(t, records.kept)
}
