package console

import (
	"fmt"
	"net/http"
	"net/url"
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
