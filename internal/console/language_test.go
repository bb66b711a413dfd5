package console

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/console/page"
	"github.com/arauto/arauto/internal/history"
)

// desk is a console whose visitors have a session with some roles.
type desk struct {
	nobody

	roles []string
}

func (d *desk) Session(context.Context, string, bool) (history.Person, bool, error) {
	return history.Person{Subject: "olga", Name: "Olga", Roles: d.roles}, false, nil
}

// at opens a page of a console, or posts a form to it where there is one, and returns the answer with its text.
func at(t *testing.T, k *Console, path string, form url.Values, header ...string) (*http.Response, string) {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	if form != nil {
		r = httptest.NewRequest(http.MethodPost, path, strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	r.Header.Set("Cookie", "arauto-session=token")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	k.ServeHTTP(w, r)
	text, err := io.ReadAll(w.Result().Body)
	require.NoError(t, err)
	return w.Result(), strings.Join(strings.Fields(string(text)), " ")
}

// newDesk is a console in front of an internal API, for a person with roles.
func newDesk(t *testing.T, internal http.Handler, roles ...string) *Console {
	t.Helper()
	k, err := New(Config{Internal: page.Endpoint{Handler: internal, Resend: true}, Sessions: &desk{roles: roles}, Links: true, Records: &records{}})
	require.NoError(t, err)
	return k
}

func TestTheAddressOfAnAnsweredFormLeadsToThePageOfTheForm(t *testing.T) {
	k := newDesk(t, answers{}, page.Operator, page.Auditor)
	for path, leads := range map[string]string{
		"/quarantine/bulk?state=open": "/quarantine?state=open", "/quarantine/a%2Fb/dismiss": "/quarantine/a%2Fb", "/initiators/alfa/preflight": "/initiators/alfa", "/sign-out": "/",
	} {
		res, _ := at(t, k, path, nil)
		require.Equal(t, http.StatusSeeOther, res.StatusCode, path)
		require.Equal(t, leads, res.Header.Get("Location"))
	}
}

func TestTheSwitchOfLanguageOnAnAnswerToAFormLeadsToAPageThatExists(t *testing.T) {
	k := newDesk(t, answers{"GET /internal/v1/quarantine": `{}`, "POST /internal/v1/quarantine/dismiss": `{"results":[{"id":"c-1","status":200}]}`}, page.Operator)
	for path, leads := range map[string]string{
		"/quarantine/bulk?state=open":        "/quarantine?lang=en&amp;state=open", // answered by a page of the section
		"/quarantine/a%2Fb/dismiss":          "/quarantine/a%2Fb?lang=en",          // by an error
		"/notifications/resend?state=failed": "/notifications?lang=en&amp;state=failed",
		"/initiators/alfa/preflight":         "/initiators/alfa?lang=en",
	} {
		_, text := at(t, k, path, url.Values{"id": {"c-1"}})
		require.Contains(t, text, `href="`+leads+`" lang="en"`, path)
	}
	stranger := newDesk(t, answers{}) // is refused everywhere, for want of a role or for another reason
	for _, r := range k.routes() {
		if r.Method != http.MethodPost {
			continue
		}
		path := strings.NewReplacer("{", "", "}", "").Replace(r.Path)
		_, text := at(t, stranger, path, url.Values{})
		_, link, there := strings.Cut(text, `<p class="asof"><a href="`)
		if !there {
			require.Equal(t, "/sign-out", r.Path) // it needs no page
			continue
		}
		link, _, _ = strings.Cut(link, "?lang=en")
		res, _ := at(t, stranger, link, nil)
		require.NotContains(t, []int{http.StatusNotFound, http.StatusMethodNotAllowed}, res.StatusCode, "%s leads to %s", r.Path, link)
	}
}

func TestAPageThatSaysWhatIsWrongIsInTheLanguageThatIsAskedFor(t *testing.T) {
	k := newDesk(t, answers{}, page.Registrar)
	for path, says := range map[string]string{
		"/nothing-here": "Not found", "/quarantine": "A role is missing for this", "/initiators/nobody": "Not found",
	} {
		res, _ := at(t, k, path+"?lang=en", nil)
		require.Equal(t, http.StatusSeeOther, res.StatusCode, path)
		require.Equal(t, path, res.Header.Get("Location"))
		require.Len(t, res.Cookies(), 1)
		_, text := at(t, k, path, nil, "Cookie", res.Cookies()[0].Name+"="+res.Cookies()[0].Value)
		require.Contains(t, text, says, path)
	}
}
