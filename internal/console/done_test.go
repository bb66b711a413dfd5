package console

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/console/page"
)

func TestAConfirmationIsShownOnceAfterTheActAlone(t *testing.T) {
	const placed = "A retenção está em vigor."
	k := newDesk(t, answers{"PUT /internal/v1/audit/holds/case-1": `{}`, "GET /internal/v1/audit/holds": `{"holds":[]}`, "GET /internal/v1/overview": overviewNow}, page.Operator, page.Auditor)
	res, _ := at(t, k, "/holds", url.Values{"name": {"case-1"}, "reason": {"court order"}})
	require.Equal(t, http.StatusSeeOther, res.StatusCode)
	require.Equal(t, "/holds", res.Header.Get("Location"), "an address does not tell that something was done")
	require.Len(t, res.Cookies(), 1)
	c := res.Cookies()[0]
	require.True(t, c.HttpOnly)
	require.Empty(t, c.Domain)
	require.LessOrEqual(t, c.MaxAge, 60)
	carried := c.Name + "=" + c.Value

	for name, header := range map[string][]string{"/": nil, "/holds": {"HX-Request", "true"}} {
		res, text := at(t, k, name, nil, append(header, "Cookie", carried)...)
		require.NotContains(t, text, placed, name)
		require.Empty(t, res.Cookies(), "%s leaves it to the page that follows the act", name)
	}
	res, text := at(t, k, "/holds", nil, "Cookie", carried)
	require.Contains(t, text, placed)
	require.Len(t, res.Cookies(), 1)
	require.Equal(t, c.Name, res.Cookies()[0].Name)
	require.Negative(t, res.Cookies()[0].MaxAge, "the browser forgets it")
	for _, address := range []string{"/holds", "/holds?done=place"} {
		_, text := at(t, k, address, nil)
		require.NotContains(t, text, placed, address)
	}
}

func TestTheConfirmationOfAnActThatWaitsIsShownWithTheRequests(t *testing.T) {
	waiting := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			w.WriteHeader(http.StatusAccepted)
		}
		_, _ = w.Write([]byte(`{"request":"r-1"}`))
	})
	k := newDesk(t, waiting, page.Operator, page.Auditor)
	res, _ := at(t, k, "/holds", url.Values{"name": {"case-1"}, "reason": {"court order"}})
	require.Equal(t, "/requests", res.Header.Get("Location"))
	_, text := at(t, k, "/requests", nil, "Cookie", res.Cookies()[0].Name+"="+res.Cookies()[0].Value)
	require.Contains(t, text, "O ato foi pedido e espera a aprovação de outra pessoa.")
}

func TestWithTLSTheCookieOfAConfirmationIsBoundToTheHost(t *testing.T) {
	k := newDesk(t, answers{"PUT /internal/v1/audit/holds/case-1": `{}`}, page.Auditor)
	k.cfg.Secure = true
	res, _ := at(t, k, "/holds", url.Values{"name": {"case-1"}, "reason": {"court order"}}, "Cookie", "__Host-arauto=token")
	require.Len(t, res.Cookies(), 1)
	require.Equal(t, "__Host-arauto-done", res.Cookies()[0].Name)
	require.True(t, res.Cookies()[0].Secure)
}
