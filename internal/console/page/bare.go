package page

import (
	"bytes"
	"net/http"

	"github.com/arauto/arauto/internal/api"
)

// Bare is a page without navigation: sign-in, and errors.
type Bare struct {
	Title    string
	Lines    []string
	Problems []string
	Form     string // where the form of a one-time link is posted; "": there is none
	Link     *Link
	Here     string // as that of a Visit

	Switch, SwitchTag, SwitchText string // set by ShowBare
}

// ShowBare answers with a page without navigation. The sheet is the one of the shared templates.
func (s *Sheet) ShowBare(x *api.Exchange, l Lang, status int, b Bare) error {
	v := &Visit{X: x, Lang: l, Here: b.Here}
	other := English
	if b.SwitchText = "English"; l == English {
		other, b.SwitchText = Portuguese, "Português"
	}
	b.Switch, b.SwitchTag = v.with("lang", string(other)), other.Tag()
	var body bytes.Buffer
	if err := s.byLang[l].ExecuteTemplate(&body, "bare", b); err != nil {
		return err
	}
	h := x.W.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	if status == http.StatusServiceUnavailable {
		h.Set("Retry-After", api.RetryAfter)
	}
	x.W.WriteHeader(status)
	_, _ = x.W.Write(body.Bytes()) // a reader who is gone is no concern of ours
	return nil
}
