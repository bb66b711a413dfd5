package browser

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// throughProvider signs a person in at the provider, from the page that was asked for.
func (w *window) throughProvider(name string) int64 {
	w.press(".btn.primary")
	return w.signsInAs(name)
}

// signsInAs fills in the provider's form, and returns the status of the page that follows.
func (w *window) signsInAs(name string) int64 {
	w.do(chromedp.WaitVisible(chromedp.CSS("input[name=username]")), chromedp.SetValue(chromedp.CSS("input[name=username]"), name),
		chromedp.SetValue(chromedp.CSS("input[name=password]"), password))
	return w.press("button[type=submit]")
}

func signInByProvider(t *testing.T, h *house) {
	w := newWindow(t, h.browser)
	w.visit(h.byOpenID + "/notifications?state=delivered")
	require.True(t, strings.HasPrefix(w.at(), "/sign-in?"), "who has no session is sent to sign in")
	w.accessible("/sign-in")
	require.EqualValues(t, 200, w.throughProvider("ana"))
	require.Equal(t, "/notifications?state=delivered", w.at(), "and comes back to the page that was asked for")
	require.Contains(t, w.text(), "Ana Lima")
	require.Equal(t, 1, h.entries("sign-in", "ana"))
	var also []string
	require.NoError(t, h.db.QueryRow(t.Context(), "SELECT also FROM arauto.console_session WHERE subject = 'ana'").Scan(&also))
	require.Equal(t, []string{"ana@bank.example"}, also, "who asks for an act under another name of theirs does not decide about it")

	require.EqualValues(t, 200, w.visit(h.byLink+"/notifications"), "any replica serves the session")
	require.Contains(t, w.text(), "Ana Lima")
	require.EqualValues(t, 200, w.press(`form[action="/sign-out"] button`))
	require.Contains(t, w.text(), "A sessão terminou em todas as réplicas")
	require.Equal(t, 1, h.entries("sign-out", "ana"))
	w.visit(h.byOpenID + "/notifications")
	require.True(t, strings.HasPrefix(w.at(), "/sign-in"), "the session has ended at the other replica too")

	tabs := newWindow(t, h.browser)
	begun := func(page string) string {
		tabs.visit(h.byOpenID + page)
		tabs.press(".btn.primary")
		return script[string](tabs, "location.href")
	}
	first, second := begun("/notifications?state=delivered"), begun("/late")
	for path, at := range map[string]string{"/notifications?state=delivered": first, "/late": second} {
		tabs.visit(at)
		require.EqualValues(t, 200, tabs.signsInAs("ana"), "a sign-in that another tab began later is not in its way")
		require.Equal(t, path, tabs.at())
	}

	for name, why := range map[string]string{"weak": "segundo fator", "guest": "não tem papel no Arauto", "nobody": "não pôde ser conferida"} {
		other := newWindow(t, h.browser)
		other.visit(h.byOpenID + "/")
		require.EqualValues(t, http.StatusForbidden, other.throughProvider(name))
		require.Contains(t, other.text(), why)
		require.Zero(t, h.entries("sign-in", name))
	}
	w.visit(h.byOpenID + "/sign-in/callback?code=stolen&state=made-up")
	require.Contains(t, w.text(), "não pertence a este navegador")

	require.NoError(t, os.Chmod(h.secret, 0o644))
	w.visit(h.byOpenID + "/")
	require.EqualValues(t, http.StatusServiceUnavailable, w.press(".btn.primary"))
	require.Contains(t, w.text(), "Avise a operação; o log do servidor diz qual arquivo e por quê")
	require.NoError(t, os.Chmod(h.secret, 0o600))
	w.visit(h.byOpenID + "/")
	require.EqualValues(t, 200, w.throughProvider("ana"), "a restart is not needed")
}

// rolesTakenAway is cases N2 and N5: the provider is asked again once a minute.
func rolesTakenAway(t *testing.T, h *house) {
	w := newWindow(t, h.browser)
	w.visit(h.byOpenID + "/sources")
	require.EqualValues(t, 200, w.throughProvider("celia"))
	var renewal []byte
	require.NoError(t, h.db.QueryRow(t.Context(), "SELECT renewal FROM arauto.console_session WHERE subject = 'celia'").Scan(&renewal))
	require.NotEmpty(t, renewal)
	roles := func() (have []string) {
		require.NoError(t, h.db.QueryRow(t.Context(), "SELECT roles FROM arauto.console_session WHERE subject = 'celia'").Scan(&have))
		return have
	}
	changeRoles("celia", "auditor")
	require.EqualValues(t, 200, w.visit(h.byOpenID+"/sources"))
	require.Equal(t, []string{"operator", "auditor"}, roles(), "the provider was asked less than a minute ago")
	for _, now := range [][]string{{"auditor"}, {"auditor", "registrar"}} { // the second time with the token of the first
		changeRoles("celia", now...)
		h.age("asked_at", "61 seconds")
		require.EqualValues(t, 200, w.visit(h.byOpenID+"/sources"))
		require.Equal(t, now, roles())
	}
	before := revoked.Load()
	changeRoles("celia")
	require.NoError(t, os.Chmod(h.secret, 0o644))
	h.age("asked_at", "61 seconds")
	require.EqualValues(t, 200, w.visit(h.byOpenID+"/sources"), "the provider could not be asked")
	require.NoError(t, os.Chmod(h.secret, 0o600))
	h.age("asked_at", "61 seconds")
	w.visit(h.byOpenID + "/sources")
	require.True(t, strings.HasPrefix(w.at(), "/sign-in?"))
	require.Contains(t, w.text(), "A sessão terminou")
	require.Equal(t, 1, h.entries("renewal-refused", "celia"))
	require.Eventually(t, func() bool { return revoked.Load() == before+1 }, time.Minute, 10*time.Millisecond, "what renewed the session is revoked at the provider")
	changeRoles("celia", "auditor")
	require.EqualValues(t, 200, w.throughProvider("celia"))
	w.visit(h.byOpenID + "/sources")
	require.EqualValues(t, 200, w.press(`form[action="/sign-out"] button`))
	require.Eventually(t, func() bool { return revoked.Load() == before+2 }, time.Minute, 10*time.Millisecond, "also when the person signs out")
	w.visit(h.byOpenID + "/sources")
	require.EqualValues(t, 200, w.throughProvider("celia"))
	lockedOut.Store("celia", true)
	h.age("asked_at", "61 seconds")
	w.visit(h.byOpenID + "/sources")
	require.Contains(t, w.text(), "A sessão terminou", "who is locked out is refused by another error than one without roles")
	require.Equal(t, 2, h.entries("renewal-refused", "celia"))
	var left int
	require.NoError(t, h.db.QueryRow(t.Context(), "SELECT count(*) FROM arauto.console_session WHERE subject = 'celia'").Scan(&left))
	require.Zero(t, left, "at every replica")
}

func sessions(t *testing.T, h *house) {
	w := newWindow(t, h.browser)
	link := h.link()
	w.visit(link)
	w.visit(link) // to open it uses nothing up
	w.do(chromedp.SetValue(chromedp.CSS("input[name=name]"), "carla"))
	require.EqualValues(t, 200, w.press("button[type=submit]"))
	require.Equal(t, "/", w.at(), "who opens the console sees the first page")
	require.Equal(t, 1, h.entries("sign-in", "carla"))
	other := newWindow(t, h.browser)
	other.visit(link)
	require.EqualValues(t, http.StatusForbidden, other.press("button[type=submit]"))
	require.Contains(t, other.text(), "já foi usado", "a link works once")

	for column, by := range map[string]string{"seen_at": "31 minutes", "opened_at": "481 minutes"} {
		w.enter(h, "carla", "operator")
		require.EqualValues(t, 200, w.visit(h.byLink+"/notifications"))
		h.age(column, by)
		w.visit(h.byLink + "/notifications")
		require.Contains(t, w.text(), "A sessão terminou", "%s is %s ago", column, by)
	}
	w.enter(h, "carla", "auditor")
	require.EqualValues(t, http.StatusNotFound, w.visit(h.byLink+"/nothing-here"))
	require.Contains(t, w.text(), "Não encontrado")
	w.visit(h.link())
	require.EqualValues(t, http.StatusOK, w.enterAs("carla", "registrar"))
	require.EqualValues(t, http.StatusForbidden, w.visit(h.byLink+"/notifications"))
	require.Contains(t, w.text(), "Falta um papel")
}

// foreignPosts serves a page of another origin that posts to the console with the person's cookie.
func foreignPosts(t *testing.T, h *house) {
	w := newWindow(t, h.browser)
	w.enter(h, "dora", "operator")
	evil := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "text/html")
		_, _ = fmt.Fprintf(rw, `<form action="%s/sign-out" method="post"><button type="submit">win</button></form>`, h.byLink)
	}))
	t.Cleanup(evil.Close)
	w.visit(evil.URL)
	require.EqualValues(t, http.StatusForbidden, w.press("button"))
	require.Contains(t, w.text(), "veio de outra página da web")
	require.Zero(t, h.entries("sign-out", "dora"))
	require.EqualValues(t, 200, w.visit(h.byLink+"/notifications"), "the session goes on")
}
