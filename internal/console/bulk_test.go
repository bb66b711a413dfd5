package console

import (
	"net/http"
	"net/url"
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
