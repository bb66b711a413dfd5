package console

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/console/page"
)

const oneCase = `{"quarantine":[{"id":"c-1","state":"nonconforming","source":"core","errors":[],"seen":1,"firstAt":"2026-11-28T14:04:41Z","lastAt":"2026-11-28T14:04:41Z"}],"nextCursor":null}`

func TestAnActAboutSeveralWithNothingChosenSaysToChooseAndKeepsThePage(t *testing.T) {
	k := newDesk(t, answers{"GET /internal/v1/quarantine": oneCase, "GET /internal/v1/notifications": oneNotification}, page.Operator)
	for path, says := range map[string]map[string][]string{
		"/quarantine/bulk?cursor=x&state=nonconforming": {
			"pt": {"Escolha pelo menos um caso", `value="c-1"`, `value="nonconforming" selected`, `action="/quarantine/bulk?cursor=x&amp;state=nonconforming"`, `value="as I typed it"`},
			"en": {"Choose at least one case"},
		},
		"/notifications/resend?cursor=x&state=exhausted": {
			"pt": {"Escolha pelo menos uma notificação", `value="n-1"`, `value="exhausted" selected`, `action="/notifications/resend?cursor=x&amp;state=exhausted"`, `value="as I typed it"`},
			"en": {"Choose at least one notification"},
		},
	} {
		for lang, texts := range says {
			res, text := at(t, k, path, url.Values{"act": {"dismiss"}, "reason": {"as I typed it"}}, "Cookie", "arauto-lang="+lang)
			require.Equal(t, http.StatusBadRequest, res.StatusCode, path)
			for _, says := range texts {
				require.Contains(t, text, says, path)
			}
		}
	}
}

// TestAnActAboutSeveralThatIsRefusedKeepsWhatWasChosen: without a reason, an error page took the place of the list, and every choice was lost.
func TestAnActAboutSeveralThatIsRefusedKeepsWhatWasChosen(t *testing.T) {
	refuses := func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = w.Write([]byte(`{"error":"invalid_request","error_description":"x","errors":[{"pointer":"/reason","code":"format","detail":"the reason is missing"}]}`))
			return
		}
		answers{"GET /internal/v1/quarantine": oneCase, "GET /internal/v1/notifications": oneNotification}.ServeHTTP(w, r)
	}
	k := newDesk(t, http.HandlerFunc(refuses), page.Operator)
	for path, id := range map[string]string{"/quarantine/bulk?state=nonconforming": "c-1", "/notifications/resend?state=exhausted": "n-1"} {
		for lang, says := range map[string]string{"pt": "está mantido; corrija e envie de novo", "en": "is kept; correct this and send it again"} {
			res, text := at(t, k, path, url.Values{"id": {id}, "act": {"dismiss"}, "reason": {"half a reason"}}, "Cookie", "arauto-lang="+lang)
			require.Equal(t, http.StatusBadRequest, res.StatusCode, path)
			for _, says := range []string{says, "<li>the reason is missing</li>", `name="id" value="` + id + `" checked`, `value="half a reason"`} {
				require.Contains(t, text, says, path)
			}
			require.NotContains(t, text, map[string]string{"pt": "das linhas escolhidas", "en": "of the chosen rows"}[lang], path)
			for _, lost := range [][]string{{"gone-1"}, {"gone-1", "gone-2"}} {
				says := map[string][]string{
					"pt": {"1 das linhas escolhidas não está mais nesta lista", "2 das linhas escolhidas não estão mais nesta lista"},
					"en": {"1 of the chosen rows is no longer", "2 of the chosen rows are no longer"},
				}[lang][len(lost)-1]
				_, text := at(t, k, path, url.Values{"id": append(lost, id), "act": {"dismiss"}, "reason": {"half a reason"}}, "Cookie", "arauto-lang="+lang)
				require.Contains(t, text, says, path)
			}
		}
	}
}

// TestARefusedFormKeepsWhatWasTyped: an error page took the place of the form, and everything had to be typed again.
func TestARefusedFormKeepsWhatWasTyped(t *testing.T) {
	refuses := func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = w.Write([]byte(`{"error":"invalid_request","error_description":"x","errors":[{"pointer":"/to","code":"x","detail":"to: it is wrong"}]}`))
			return
		}
		_, _ = w.Write([]byte(`{}`))
	}
	k := newDesk(t, http.HandlerFunc(refuses), page.Auditor)
	for path, form := range map[string]url.Values{
		"/holds":          {"name": {"case 1"}, "clientId": {"alfa"}, "kind": {"pix-payment"}, "resourceId": {"p-1"}, "reason": {"a long reason"}},
		"/exports":        {"clientId": {"alfa"}, "organisationId": {"o-1"}, "kind": {"pix-payment"}, "resourceId": {"p-1"}, "from": {"2026-12-02T00:00"}, "to": {"2026-12-01T00:00"}, "format": {"csv"}},
		"/reconciliation": {"from": {"2026-12-02T00:00"}, "to": {"2026-12-01T00:00"}},
	} {
		res, text := at(t, k, path, form)
		require.Equal(t, http.StatusBadRequest, res.StatusCode, path)
		require.Contains(t, text, "está mantido; corrija e envie de novo", path)
		require.Contains(t, text, `<details class="act" open>`, path)
		require.Contains(t, text, "<li>Até: it is wrong</li>", path)
		for name, value := range form {
			kept := `name="` + name + `" value="` + value[0] + `"`
			if name == "kind" || name == "format" {
				kept = `value="` + value[0] + `" selected`
			}
			require.Contains(t, text, kept, path)
		}
		_, fresh := at(t, k, path, nil)
		require.NotContains(t, fresh, "está mantido", path)
	}
	res, _ := at(t, k, "/exports", url.Values{"outcome": {"timeout"}, "format": {"csv"}})
	require.Equal(t, http.StatusBadRequest, res.StatusCode)
}

// TestTheSecondFormOfExportsComesBackOpenWithWhatWasTyped: the first one had it, and this one was closed and blank.
func TestTheSecondFormOfExportsComesBackOpenWithWhatWasTyped(t *testing.T) {
	refuses := func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = w.Write([]byte(`{"error":"invalid_request","error_description":"x","errors":[{"pointer":"/to","code":"x","detail":"to: it is wrong"}]}`))
			return
		}
		_, _ = w.Write([]byte(`{}`))
	}
	k := newDesk(t, http.HandlerFunc(refuses), page.Auditor)
	res, text := at(t, k, "/exports", url.Values{"form": {"prove"}, "format": {"bundle"}, "clientId": {"alfa"}, "from": {"2026-12-02T00:00"}, "to": {"2026-12-01T00:00"}})
	require.Equal(t, http.StatusBadRequest, res.StatusCode)
	first, second, there := strings.Cut(text, `<input type="hidden" name="form" value="prove">`)
	require.True(t, there)
	require.Equal(t, 1, strings.Count(text, `<details class="act" open>`))
	require.Contains(t, first[strings.LastIndex(first, "<details"):], `<details class="act" open>`)
	for name, typed := range map[string]string{"clientId": "alfa", "from": "2026-12-02T00:00", "to": "2026-12-01T00:00"} {
		require.Contains(t, second, `name="`+name+`" value="`+typed+`"`)
		require.Contains(t, first, `name="`+name+`" value=""`)
	}
	_, fresh := at(t, k, "/exports", nil)
	require.Equal(t, 1, strings.Count(fresh, `<details class="act" open>`))
	require.Less(t, strings.Index(fresh, `<details class="act" open>`), strings.Index(fresh, `<details class="act">`))
}
