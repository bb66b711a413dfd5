package console

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/arauto/arauto/internal/api"
	"github.com/arauto/arauto/internal/console/page"
	"github.com/arauto/arauto/internal/failure"
	"github.com/arauto/arauto/internal/history"
)

// longestSession is how long a browser keeps the cookie; the store ends a session sooner when it is not used.
const longestSession = 8 * time.Hour

// cookie names the session's cookie. With TLS the prefix makes browsers refuse one that another host set.
func (k *Console) cookie() string {
	if k.cfg.Secure {
		return "__Host-arauto"
	}
	return "arauto-session"
}

// setCookie gives or, with age < 0, takes a cookie that no script reads and no other site sends with a post.
func (k *Console) setCookie(x *api.Exchange, name, value string, age time.Duration) {
	seconds := int(age.Seconds())
	if age < 0 {
		seconds = -1
	}
	http.SetCookie(x.W, &http.Cookie{ //nolint:gosec // Secure wherever browsers come by TLS
		Name: name, Value: value, Path: "/", MaxAge: seconds, Secure: k.cfg.Secure, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}

// person finds who asks. A request that a page makes by itself, to refresh, does not prolong the session.
func (k *Console) person(x *api.Exchange) (history.Person, error) {
	c, err := x.R.Cookie(k.cookie())
	if err != nil || c.Value == "" {
		return history.Person{}, errNoSession
	}
	if k.cfg.Answers != nil {
		if err := k.cfg.Answers(x.R.Context()); err != nil {
			return history.Person{}, err
		}
	}
	who, due, err := k.cfg.Sessions.Session(x.R.Context(), c.Value, x.R.Header.Get("HX-Request") == "")
	if err == nil && due && k.cfg.OpenID != nil {
		err = k.renew(x, c.Value, &who)
	}
	if failure.NotFound(err) {
		return history.Person{}, errNoSession
	}
	return who, err
}

// open begins a session for a person who has shown who they are, after the history has it. It takes the place of the one that this
// browser had, which nobody could end any more. renewal is what the provider renews it by; "": nothing.
func (k *Console) open(x *api.Exchange, who history.Person, renewal, next string) error {
	if err := k.end(x); err != nil {
		return err
	}
	token := rand.Text()
	sealed, err := sealedRenewal(token, keptRenewal{refresh: renewal})
	if err != nil {
		return err
	}
	if err := k.record(x, who.Subject, "sign-in"); err != nil {
		return err
	}
	if err := k.cfg.Sessions.OpenSession(x.R.Context(), token, who, sealed); err != nil {
		return err
	}
	k.setCookie(x, k.cookie(), token, longestSession)
	if next = ownPath(next); next == "/" {
		next = k.first(who.Roles)
	}
	http.Redirect(x.W, x.R, next, http.StatusSeeOther)
	return nil
}

// record writes to the history that a person signed in or out.
func (k *Console) record(x *api.Exchange, subject, act string) error {
	return k.cfg.Records.RecordReading(x.R.Context(), history.LogReading{Actor: history.Actor{Subject: subject, Source: x.R.RemoteAddr}, Act: act})
}

// end ends the session of this browser at every replica, if it has one. An error means that the session may go on.
func (k *Console) end(x *api.Exchange) error {
	who, err := k.person(x)
	switch {
	case errors.Is(err, errNoSession):
		return nil
	case err != nil:
		return err
	}
	c, _ := x.R.Cookie(k.cookie()) // person has read it
	if err := k.record(x, who.Subject, "sign-out"); err != nil {
		return err
	}
	sealed, err := k.cfg.Sessions.EndSession(x.R.Context(), c.Value)
	if err != nil || sealed == nil {
		return err
	}
	kept, err := openedRenewal(c.Value, sealed)
	if err != nil {
		x.Log.Warn("refresh token not revoked: it cannot be read", "subject", who.Subject, "error", err)
		return nil
	}
	k.revoke(x.Log, who.Subject, kept.refresh)
	return nil
}

// postSignOut ends the session. Where that fails the browser keeps its cookie, so that the person can try again.
func (k *Console) postSignOut(x *api.Exchange) error {
	if err := k.end(x); err != nil {
		return err
	}
	k.setCookie(x, k.cookie(), "", -1)
	http.Redirect(x.W, x.R, "/sign-in?why=out", http.StatusSeeOther)
	return nil
}

// sendToSignIn sends the browser to sign in, and back to the page that it asked for. A page that refreshes itself is sent as a whole.
// Of an act, which was not done, it is the page of the form.
func (k *Console) sendToSignIn(x *api.Exchange) {
	q := url.Values{}
	next := x.R.URL.RequestURI()
	if _, err := x.R.Cookie(k.cookie()); err == nil {
		q.Set("why", "ended")
	}
	if x.R.Method == http.MethodPost {
		next = k.formPage(x)
		q.Set("why", "undone")
	}
	if next != "/" {
		q.Set("next", next)
	}
	to := (&url.URL{Path: "/sign-in", RawQuery: q.Encode()}).String()
	if x.R.Header.Get("HX-Request") != "" {
		x.W.Header().Set("HX-Redirect", to)
		x.W.WriteHeader(http.StatusNoContent)
		return
	}
	http.Redirect(x.W, x.R, to, http.StatusSeeOther)
}

// formPage is the page that a form was posted from, as the browser tells it; "/" where that is none of ours. The page that answered
// another form cannot be opened again: it is the one above that can.
func (k *Console) formPage(x *api.Exchange) string {
	from, err := url.Parse(x.R.Referer())
	if err != nil || from.Host != x.R.Host && "//"+from.Host != strings.TrimPrefix(strings.TrimPrefix(k.cfg.BaseURL, "https:"), "http:") {
		return "/"
	}
	path, found := k.pageAt(from.EscapedPath())
	if q := from.Query().Encode(); found && q != "" {
		path += "?" + q
	}
	return ownPath(path)
}

// getSignIn shows how to sign in.
func (k *Console) getSignIn(x *api.Exchange) error {
	lang, q := langOf(x.R), x.R.URL.Query()
	b := page.Bare{Title: k.shared.Text(lang, "sign-in.title")}
	if key := "sign-in." + q.Get("why"); slices.Contains([]string{"ended", "undone", "out"}, q.Get("why")) {
		b.Lines = append(b.Lines, k.shared.Text(lang, key))
	}
	if k.cfg.OpenID == nil {
		b.Lines = append(b.Lines, k.shared.Text(lang, "sign-in.link-only"))
	} else {
		b.Lines = append(b.Lines, k.shared.Text(lang, "sign-in.provider"))
		b.Link = &page.Link{Path: "/sign-in/start?" + url.Values{"next": {ownPath(q.Get("next"))}}.Encode(), Text: k.shared.Text(lang, "sign-in")}
	}
	return k.shared.ShowBare(x, lang, http.StatusOK, b)
}

// refuseSignIn counts a failed sign-in and says why it failed.
func (k *Console) refuseSignIn(x *api.Exchange, why string) error {
	k.refused.add(x.R.RemoteAddr)
	lang := langOf(x.R)
	b := page.Bare{Title: k.shared.Text(lang, "sign-in.refused"), Lines: []string{k.shared.Text(lang, "sign-in.why."+why)}}
	if k.cfg.OpenID != nil {
		b.Link = &page.Link{Path: "/sign-in", Text: k.shared.Text(lang, "sign-in.again")}
	}
	return k.shared.ShowBare(x, lang, http.StatusForbidden, b)
}

// refusedAddresses bounds for how many addresses failed sign-ins are counted apart; the rest count together.
const refusedAddresses = 10_000

// refusedSignIns counts failed sign-ins by address, so that the history has one entry for each address and minute.
type refusedSignIns struct {
	mu sync.Mutex
	by map[string]int64
}

func (r *refusedSignIns) add(remote string) {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		host = remote
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, there := r.by[host]; !there && len(r.by) >= refusedAddresses {
		host = "others"
	}
	r.by[host]++
}

// RecordRefused records how many sign-ins failed since the last call, one entry for each address. It is called once a minute, and
// at the very end.
func (k *Console) RecordRefused(ctx context.Context) error {
	k.refused.mu.Lock()
	counted := k.refused.by
	k.refused.by = map[string]int64{}
	k.refused.mu.Unlock()
	for address, n := range counted {
		err := k.cfg.Records.RecordReading(ctx, history.LogReading{Actor: history.Actor{Source: address}, Act: "sign-in-refused", Rows: n})
		if err != nil {
			k.refused.mu.Lock()
			for address, n := range counted {
				k.refused.by[address] += n
			}
			k.refused.mu.Unlock()
			return err
		}
		delete(counted, address)
	}
	return nil
}
