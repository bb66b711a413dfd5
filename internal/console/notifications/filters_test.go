package notifications

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/api"
	"github.com/arauto/arauto/internal/console/page"
	"github.com/arauto/arauto/internal/history"
)

// desk is a browser with its cookie.
type desk struct {
	t      *testing.T
	secure bool
	cookie *http.Cookie
}

// visit begins a request with a form; nil: without one.
func (d *desk) visit(form url.Values) (*page.Visit, *httptest.ResponseRecorder) {
	d.t.Helper()
	sheet, err := page.NewSheet(Section().Files)
	require.NoError(d.t, err)
	r := httptest.NewRequestWithContext(d.t.Context(), http.MethodPost, "/notifications/filters", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if d.cookie != nil {
		r.AddCookie(d.cookie)
	}
	w := httptest.NewRecorder()
	v := page.NewVisit(api.NewFace("console", nil, nil).Begin(w, r, "/notifications/filters"), history.Person{}, page.NewAPI(page.Endpoint{}, r, history.Person{}, page.Portuguese), sheet, nil)
	v.Secure = d.secure
	return v, w
}

// do posts a form, and keeps the cookie that comes back.
func (d *desk) do(act func(*page.Visit) error, form url.Values) error {
	v, w := d.visit(form)
	err := act(v)
	if set := w.Result().Cookies(); len(set) > 0 {
		d.cookie = set[0]
	}
	return err
}

func (d *desk) names() (out []string) {
	v, _ := d.visit(nil)
	for _, f := range savedOf(v) {
		out = append(out, f.Name)
	}
	return out
}

func TestFiltersAreKeptByNameInTheBrowserAlone(t *testing.T) {
	d := &desk{t: t, secure: true}
	save := func(name, query string) error { return d.do(saveFilter, url.Values{"name": {name}, "query": {query}}) }
	require.NoError(t, save("desistidas", "state=exhausted&unknown=1&cursor=x"))
	require.True(t, d.cookie.HttpOnly)
	require.True(t, d.cookie.Secure)
	require.Equal(t, "/notifications", d.cookie.Path)
	require.Equal(t, http.SameSiteLaxMode, d.cookie.SameSite)
	v, _ := d.visit(nil)
	require.Equal(t, []savedFilter{{"desistidas", "state=exhausted"}}, savedOf(v), "filters alone are kept")
	require.NoError(t, save("desistidas", "state=exhausted&clientId=alfa"))
	v, _ = d.visit(nil)
	require.Equal(t, "/notifications?clientId=alfa&state=exhausted", savedOf(v)[0].Path(), "one of the same name is replaced")
	for i := range mostFilters - 1 {
		require.NoError(t, save("a"+strconv.Itoa(i), "late=true&clientId="+strings.Repeat("x", 200)))
	}
	require.Len(t, d.names(), mostFilters)
	require.Less(t, len(d.cookie.String()), 4096, "browsers keep no larger one")

	for _, refused := range [][2]string{{"a ninth", "late=true"}, {"", "late=true"}, {strings.Repeat("n", longestName+1), ""}, {"a0", "clientId=" + strings.Repeat("x", 255)}} {
		err := save(refused[0], refused[1])
		require.True(t, page.Is(err, http.StatusBadRequest), refused[0])
		var r *page.APIRefusal
		require.ErrorAs(t, err, &r)
		require.NotContains(t, r.Problems[0].Detail, "filters.", "it is said what is wrong")
	}
	require.Len(t, d.names(), mostFilters, "what is refused changes nothing")
	require.NoError(t, d.do(deleteFilter, url.Values{"name": {"a0"}}))
	require.NotContains(t, d.names(), "a0")
	require.Len(t, d.names(), mostFilters-1)
}

func TestACookieThatIsNotOursHoldsNoFilters(t *testing.T) {
	for _, value := range []string{"", "%%%", "bm90IGpzb24", "eyJuIjoxfQ", "W3sibiI6IiIsInEiOiIlenoifV0"} {
		d := &desk{t: t, cookie: &http.Cookie{Name: filtersCookie, Value: value}} //nolint:gosec // as a browser sends it: name and value
		require.Empty(t, d.names(), value)
	}
}
