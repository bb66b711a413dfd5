package page

import (
	"net/http"
	"net/url"
	"strings"
	"time"
)

// doneWithin is how long the browser keeps what an act did: it asks for the page that says so at once.
const doneWithin = time.Minute

// doneCookie names the cookie that carries the key of a confirmation from an act to the page that follows. With TLS the prefix makes
// browsers refuse one that another host set.
func (v *Visit) doneCookie() string {
	if v.Secure {
		return "__Host-arauto-done"
	}
	return "arauto-done"
}

func (v *Visit) setDone(value string, age time.Duration) {
	http.SetCookie(v.X.W, &http.Cookie{ //nolint:gosec // Secure wherever browsers come by TLS
		Name: v.doneCookie(), Value: value, Path: "/", MaxAge: int(age.Seconds()), Secure: v.Secure, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}

// Done sends the browser to a page after an act; the page says once that it was done, with the word "done."+key. Its address does not
// say so: it may be kept, sent and opened when nothing was done. After an act that waits for a second person the page is that of
// requests, which says so.
func (v *Visit) Done(path, key string) error { return v.doneAt(path, key, "") }

// doneAt is Done with more behind the page's address.
func (v *Visit) doneAt(path, key, more string) error {
	if v.API.waits {
		path, key = "/requests", "asked"
	}
	to, err := url.Parse(path)
	if err != nil {
		return err
	}
	v.setDone(url.QueryEscape(key+" "+to.EscapedPath()), doneWithin)
	return v.Redirect(path + more)
}

// done takes what the act before this page did, and makes the browser forget it; "" where there was none. What a page asks for by
// itself, and other pages, leave it to the page that it is for.
func (v *Visit) done() string {
	c, err := v.X.R.Cookie(v.doneCookie())
	if err != nil || v.X.R.Method != http.MethodGet || v.X.R.Header.Get("HX-Request") != "" {
		return ""
	}
	value, _ := url.QueryUnescape(c.Value) // one that another wrote is for no page
	key, path, _ := strings.Cut(value, " ")
	if path != v.X.R.URL.EscapedPath() {
		return ""
	}
	v.setDone("", -time.Second)
	if !v.HasText("done." + key) {
		return ""
	}
	return v.Text("done." + key)
}
