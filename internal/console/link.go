package console

import (
	"net/http"
	"slices"
	"strings"

	"github.com/arauto/arauto/internal/api"
	"github.com/arauto/arauto/internal/console/page"
	"github.com/arauto/arauto/internal/failure"
	"github.com/arauto/arauto/internal/history"
)

// longestLinkName bounds the name that a person of a one-time link chooses, in bytes; the texts say so.
const longestLinkName = 80

// getLink shows the form of a one-time link; opening it alone uses nothing up, since browsers open addresses in advance.
func (k *Console) getLink(x *api.Exchange) error {
	if !k.cfg.Links {
		return &page.APIRefusal{Status: http.StatusNotFound}
	}
	lang := langOf(x.R)
	return k.shared.ShowBare(x, lang, http.StatusOK, page.Bare{
		Title: k.shared.Text(lang, "link.title"), Lines: []string{k.shared.Text(lang, "link.hint")}, Form: x.R.URL.EscapedPath(),
	})
}

// postLink uses a link up and opens a session with the chosen name and roles.
func (k *Console) postLink(x *api.Exchange) error {
	if !k.cfg.Links {
		return &page.APIRefusal{Status: http.StatusNotFound}
	}
	x.R.Body = http.MaxBytesReader(x.W, x.R.Body, 4<<10)
	if x.R.ParseForm() != nil {
		return &page.APIRefusal{Status: http.StatusBadRequest}
	}
	name := strings.TrimSpace(x.R.PostForm.Get("name"))
	roles := known(x.R.PostForm["role"])
	var wrong []page.Wrong
	if name == "" || len(name) > longestLinkName {
		wrong = append(wrong, page.Wrong{Detail: k.shared.Text(langOf(x.R), "link.name.wrong")})
	}
	if len(roles) == 0 {
		wrong = append(wrong, page.Wrong{Detail: k.shared.Text(langOf(x.R), "link.roles.wrong")})
	}
	if wrong != nil {
		return &page.APIRefusal{Status: http.StatusBadRequest, Problems: wrong}
	}
	if err := k.cfg.Sessions.TakeLink(x.R.Context(), x.Segment("secret")); failure.NotFound(err) {
		return k.refuseSignIn(x, "link")
	} else if err != nil {
		return err
	}
	return k.open(x, history.Person{Subject: name, Name: name, Roles: roles}, "", "/")
}

// known are the roles among some that pages know.
func known(roles []string) []string {
	var out []string
	for _, r := range []string{page.Operator, page.Auditor, page.Registrar} {
		if slices.Contains(roles, r) {
			out = append(out, r)
		}
	}
	return out
}
