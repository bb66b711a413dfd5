package console

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/console/page"
)

// link finds where a page leads, and form what it posts.
var (
	link = regexp.MustCompile(` href="(/[^"#]*)`)
	form = regexp.MustCompile(`<form[^>]* action="([^"]*)"[^>]*>`)
)

// fullAnswers answers every call, those about one initiator in full.
var fullAnswers = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	answer, there := map[string]string{
		"/internal/v1/overview":        overviewNow,
		"/internal/v1/initiators":      `{"initiators":[{"clientId":"alfa","name":"Alfa"}],"nextCursor":null}`,
		"/internal/v1/initiators/alfa": `{"clientId":"alfa","organisationId":"o","softwareId":"s","name":"Alfa","webhookUris":["https://alfa.example/hook"],"updatedAt":"2026-11-28T14:04:41Z"}`,
		"/internal/v1/notifications":   oneNotification,
	}[r.URL.Path]
	if !there {
		answer = `{}`
	}
	_, _ = w.Write([]byte(answer))
})

func TestNobodyIsShownALinkOrAnActThatTheirRoleMayNotOpen(t *testing.T) {
	for _, role := range []string{page.Operator, page.Auditor, page.Registrar} {
		k := newDesk(t, fullAnswers, role)
		pages := []string{"/initiators/alfa", "/nothing-here"}
		for _, r := range k.routes() {
			if r.Method == http.MethodGet && !strings.Contains(r.Path, "{") && !slices.Contains(r.Roles, everybody) {
				pages = append(pages, r.Path)
			}
		}
		for _, path := range pages {
			res, text := at(t, k, path, nil)
			for _, to := range link.FindAllStringSubmatch(text, -1) {
				res, _ := at(t, k, strings.ReplaceAll(to[1], "&amp;", "&"), nil)
				require.NotEqual(t, http.StatusForbidden, res.StatusCode, "%s: %s leads to %s", role, path, to[1])
			}
			if res.StatusCode != http.StatusOK {
				continue
			}
			for _, f := range form.FindAllStringSubmatch(text, -1) {
				var filled url.Values
				if strings.Contains(f[0], `method="post"`) {
					filled = url.Values{}
				}
				res, _ := at(t, k, strings.ReplaceAll(f[1], "&amp;", "&"), filled)
				require.NotEqual(t, http.StatusForbidden, res.StatusCode, "%s: %s asks %s", role, path, f[1])
			}
		}
	}
}

func TestTheWayHomeLeadsToTheFirstPageThatThePersonMaySee(t *testing.T) {
	k := newDesk(t, fullAnswers, page.Registrar)
	res, _ := at(t, k, "/", nil)
	require.Equal(t, http.StatusSeeOther, res.StatusCode)
	require.Equal(t, "/initiators", res.Header.Get("Location"))
	res, text := at(t, k, "/quarantine", nil)
	require.Equal(t, http.StatusForbidden, res.StatusCode)
	require.Contains(t, text, `href="/initiators">Ir para o início`)
	res, text = at(t, k, "/initiators/alfa", nil)
	require.Equal(t, http.StatusOK, res.StatusCode)
	require.Contains(t, text, `class="brand" href="/initiators"`)
	require.NotContains(t, text, "Notificações da iniciadora")
	require.NotContains(t, text, `role="search"`)

	_, text = at(t, newDesk(t, fullAnswers, page.Operator), "/initiators/alfa", nil)
	require.Contains(t, text, "Notificações da iniciadora")
	require.Contains(t, text, `role="search"`)
}
