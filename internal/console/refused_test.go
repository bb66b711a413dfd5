package console

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/console/page"
)

// refusing answers every call with a status and a body.
func refusing(status int, body string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = fmt.Fprint(w, body)
	})
}

func TestARefusalIsNeverCalledAnInternalError(t *testing.T) {
	var status int
	k := newDesk(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		refusing(status, `{"error":"some_code","error_description":"some text"}`).ServeHTTP(w, r)
	}), page.Operator)
	for _, status = range []int{400, 401, 402, 403, 404, 405, 406, 408, 409, 410, 412, 413, 415, 418, 422, 423, 429, 431, 451} {
		for lang, wrong := range map[string]string{"pt": "Erro interno", "en": "Internal error"} {
			res, text := at(t, k, "/quarantine/c-1/apply", url.Values{}, "Cookie", "arauto-lang="+lang)
			require.Equal(t, status, res.StatusCode)
			require.NotContains(t, text, wrong, status)
			require.NotContains(t, text, ">error.", status)
		}
	}
	status = http.StatusInternalServerError
	_, text := at(t, k, "/quarantine", nil)
	require.Contains(t, text, "Erro interno")
}

// TestAWrongFormOfAOneTimeLinkNamesItsFields: the page asked to correct what is named, and named nothing.
func TestAWrongFormOfAOneTimeLinkNamesItsFields(t *testing.T) {
	k := newDesk(t, answers{})
	name := map[string]string{"pt": "<li>Nome: informe de 1 a 80 bytes", "en": "<li>Name: give 1 to 80 bytes"}
	roles := map[string]string{"pt": "<li>Papéis: escolha pelo menos um", "en": "<li>Roles: choose at least one"}
	for _, lang := range []string{"pt", "en"} {
		for _, c := range []struct {
			form        url.Values
			name, roles bool
		}{
			{url.Values{"name": {"ana"}}, false, true},
			{url.Values{"name": {"ana"}, "role": {"root"}}, false, true},
			{url.Values{"name": {"  "}, "role": {"operator"}}, true, false},
			{url.Values{"name": {strings.Repeat("a", 81)}, "role": {"operator"}}, true, false},
			{url.Values{"name": {""}}, true, true},
		} {
			res, text := at(t, k, "/sign-in/link/secret", c.form, "Cookie", "arauto-lang="+lang)
			require.Equal(t, http.StatusBadRequest, res.StatusCode)
			require.Equal(t, c.name, strings.Contains(text, name[lang]), c.form)
			require.Equal(t, c.roles, strings.Contains(text, roles[lang]), c.form)
			require.Contains(t, text, `href="/sign-in/link/secret"`, "the link was not used up")
		}
	}
}

// TestARefusalPointsAtProblemsOnlyWhereItListsSome: a refusal without any must not say that something is named below.
func TestARefusalPointsAtProblemsOnlyWhereItListsSome(t *testing.T) {
	points := map[string][]string{"pt": {"que está indicado", "pontos abaixo"}, "en": {"named below", "points below"}}
	for i, status := range []int{http.StatusBadRequest, http.StatusUnprocessableEntity} {
		for lang, says := range points {
			_, text := at(t, newDesk(t, refusing(status, `{"error":"some_code"}`), page.Operator), "/quarantine/c-1/apply", url.Values{}, "Cookie", "arauto-lang="+lang)
			require.NotContains(t, text, says[i])
			_, text = at(t, newDesk(t, refusing(status, `{"error":"some_code","errors":[{"detail":"this"}]}`), page.Operator), "/quarantine/c-1/apply", url.Values{}, "Cookie", "arauto-lang="+lang)
			require.Contains(t, text, says[i])
			require.Contains(t, text, "<li>this</li>")
		}
	}
}

// TestTheNameOfAHoldSaysWhatItMayHave: a browser that refuses one shows the title; without it the person reads "match the format".
func TestTheNameOfAHoldSaysWhatItMayHave(t *testing.T) {
	internal := answers{"GET /internal/v1/audit/holds": `{"holds":[]}`}
	require.Contains(t, both(t, internal, "/holds", "/holds", nil), `title="Letras sem acento, dígitos, ponto, sublinhado e hífen, sem espaços`)
	require.Contains(t, shown(t, internal, page.English, http.MethodGet, "/holds", "/holds", nil), `title="Letters without accents, digits, dots, underscores and hyphens, no spaces`)
}

func TestEveryRefusalOfTheAPIHasATextOfItsOwn(t *testing.T) {
	k := newDesk(t, answers{})
	for _, status := range []int{400, 401, 403, 404, 405, 409, 413, 415, 422, 429, 500, 503} { // of openapi/internal.yaml, and what is in front of it
		require.True(t, k.shared.Has(fmt.Sprintf("error.%d", status)), status)
		require.True(t, k.shared.Has(fmt.Sprintf("error.%d.line", status)), status)
	}
}

func TestACaseThatIsStillWrongSaysWhatIsWrongAndLeadsBack(t *testing.T) {
	k := newDesk(t, refusing(http.StatusUnprocessableEntity, `{"error":"invalid_change","error_description":"the change cannot be applied; it is kept in quarantine",
		"errors":[{"pointer":"/data/unheardOf","code":"unknown_member","detail":"unheardOf não é conhecido"}]}`), page.Operator)
	res, text := at(t, k, "/quarantine/c-1/apply", url.Values{})
	require.Equal(t, http.StatusUnprocessableEntity, res.StatusCode)
	for _, says := range []string{"O conteúdo não pode ser aplicado", "o caso segue na quarentena", "/data/unheardOf unheardOf não é conhecido", `href="/quarantine/c-1">Voltar à página do ato`} {
		require.Contains(t, text, says)
	}
	require.NotContains(t, text, "the change cannot be applied")
}
