package console

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/console/page"
)

// TestAFindingIsNotBesideAWordThatThereIsNone: the log's card kept saying "no divergence", of the verification before the one that found it.
func TestAFindingIsNotBesideAWordThatThereIsNone(t *testing.T) {
	log := func(whole, more string) answers {
		return answers{
			"GET /internal/v1/audit/verifications": `{"size":9,"since":{"verified":1},"whole":` + whole + `,"anchors":[]` + more + `}`,
			"GET /internal/v1/audit/checkpoints":   `{"log":"arauto/x","size":9,"root":"r","at":"2026-11-28T14:04:41Z","note":"n"}`,
		}
	}
	const verified = `{"verified":9,"okAt":"2026-11-28T14:04:38Z"`
	require.Contains(t, both(t, log(verified+`}`, ""), "/log", "/log", nil), `ok">sem divergência</span>`)
	found := both(t, log(verified+`,"fault":{"seq":7,"reason":"the entry is missing"},"faultAt":"2026-11-29T14:04:38Z"}`, ""), "/log", "/log", nil)
	require.NotContains(t, found, "sem divergência")
	require.Contains(t, found, `bad">divergência encontrada</span>`)
	require.NotContains(t, both(t, log(verified+`}`, `,"impossible":"it verified 10 of 9"`), "/log", "/log", nil), "sem divergência")
	old := both(t, log(verified+`}`, `,"lastSealing":"2026-11-28T14:04:38Z"`), "/log", "/log", nil)
	require.Contains(t, old, `warn">nada selado há mais de 10 min</span>`)
}

// TestAVerificationDoesNotVouchForWhatWasRemoved: "all entries" were those of before the removal.
func TestAVerificationDoesNotVouchForWhatWasRemoved(t *testing.T) {
	for removed, says := range map[string][2]string{
		"0":   {"Todos os 1.000 registros são os que foram assinados.", "All 1,000 entries are those that were signed."},
		"400": {"Os 600 registros que o log ainda tem são os que foram assinados. Outros 400 foram removidos", "The 600 entries that the log still has are those that were signed. Another 400 were removed"},
	} {
		internal := answers{"GET /internal/v1/audit/verifications/9": `{"id":"9","state":"ok","beganAt":"2026-11-28T14:04:41Z","endedAt":"2026-11-28T14:05:41Z","verified":1000,"size":1000,"removed":` + removed + `}`}
		vars := map[string]string{"id": "9"}
		require.Contains(t, both(t, internal, "/log/verifications/{id}", "/log/verifications/9", vars), says[0])
		require.Contains(t, shown(t, internal, page.English, http.MethodGet, "/log/verifications/{id}", "/log/verifications/9", vars), says[1])
	}
}

// TestTheCalendarSaysWhatEndedTodayAndWhatItLeavesOut: a certificate was "0 days" from its end for a day after it, a list that ends in days
// was not, and rows beyond the 500th were left out without a word, those that need somebody among them.
func TestTheCalendarSaysWhatEndedTodayAndWhatItLeavesOut(t *testing.T) {
	in := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(time.RFC3339) }
	ended := both(t, answers{"GET /internal/v1/certificates": `{"certificates":[{"role":"webhook-client","subject":"CN=ours","notAfter":"` + in(-time.Hour) + `"}],
		"receivers":[{"clientId":"alfa","subject":"CN=alfa","wrong":"it showed none","notAfter":"0001-01-01T00:00:00Z","seenAt":"2026-11-01T00:00:00Z"}]}`}, "/certificates", "/certificates", nil)
	require.Contains(t, ended, `bad">vencido</span>`)
	require.Contains(t, ended, `bad">fim desconhecido</span>`)
	require.NotContains(t, ended, ">0 dias<")
	list := both(t, answers{"GET /internal/v1/certificates": `{"revocationLists":[{"direction":"callers","source":"https://crl.example","validUntil":"` + in(72*time.Hour) + `"}]}`}, "/certificates", "/certificates", nil)
	require.NotContains(t, list, "Nada vence")
	over := both(t, answers{"GET /internal/v1/certificates": `{"revocationLists":[{"direction":"callers","source":"https://crl.example","validUntil":"` + in(-time.Hour) + `"}]}`}, "/certificates", "/certificates", nil)
	require.Contains(t, over, `bad">vencida</span>`)
	require.Contains(t, list, "Nenhum certificado conhecido vence nos próximos 30 dias, e nenhuma lista de revogação venceu.")

	var many []string
	for n := range 502 {
		many = append(many, fmt.Sprintf(`{"clientId":"c-%d","subject":"CN=%d","notAfter":%q,"seenAt":"2026-11-01T00:00:00Z"}`, n, n, in(time.Duration(100+n)*24*time.Hour)))
	}
	many = append(many, `{"clientId":"refused","subject":"CN=refused","wrong":"an authority that is not ours","notAfter":"`+in(9000*24*time.Hour)+`","seenAt":"2026-11-01T00:00:00Z"}`)
	cut := both(t, answers{"GET /internal/v1/certificates": `{"receivers":[` + strings.Join(many, ",") + `]}`}, "/certificates", "/certificates", nil)
	require.Contains(t, cut, "Outras 3 linhas não são mostradas")
	require.Contains(t, cut, "CN=refused")
	require.Contains(t, cut, "CN=498<")
	require.NotContains(t, cut, "CN=499<")
}

// TestTheFirstPageKnowsWhatOtherPagesCallTrouble: a source with stopped tables, a halted or paused one and a certificate that is not accepted
// needed somebody on their own pages, and here everything was in order.
func TestTheFirstPageKnowsWhatOtherPagesCallTrouble(t *testing.T) {
	for trouble, says := range map[string][]string{
		`"sources":[{"name":"pix","running":true,"status":{"stopped":[{"table":"public.pix","why":["no column status"]}]}}]`: {"1 fonte com tabelas paradas", `bad">tabelas paradas</span> pix`},
		`"sources":[{"name":"pix","running":true,"status":{"halted":true}}]`:                                                 {"1 fonte parada", `bad">fonte parada</span> pix`},
		`"sources":[{"name":"pix","running":false,"paused":true,"status":null}]`:                                             {"1 fonte pausada", `warn">fonte pausada</span> pix`},
		`"receivers":[{"clientId":"alfa","subject":"CN=alfa","daysLeft":364,"wrong":"an authority that is not ours"}]`:       {"1 certificado vencido, a vencer ou não aceito", `bad">certificado não aceito</span> alfa`},
	} {
		text := both(t, answers{"GET /internal/v1/overview": `{"asOf":{},"windows":[],"queue":{},` + trouble + `}`}, "/", "/", nil)
		for _, says := range says {
			require.Contains(t, text, says)
		}
		require.NotContains(t, text, "Tudo em ordem")
	}
	fine := both(t, answers{"GET /internal/v1/overview": `{"asOf":{"at":"2026-11-28T14:04:41Z","tail":0},"windows":[],"queue":{}}`}, "/", "/", nil)
	require.Contains(t, fine, "Quarentena e aprovações têm páginas próprias")
	require.Contains(t, fine, "Nada que esta página conhece pede ação agora.")
	require.Contains(t, fine, "O core não informou nenhuma mudança nos últimos 30 dias")
}

// TestAScorecardHidesNoGapAndClaimsNothingOfOthers: attempts without a verdict were left out without a word, and others were "not affected" also where
// theirs failed too.
func TestAScorecardHidesNoGapAndClaimsNothingOfOthers(t *testing.T) {
	text := both(t, answers{"GET /internal/v1/initiators/beta/health": strings.Replace(downHealth, `"late":10`, `"late":10,"unknown":3`, 1)}, "/initiators/{clientId}", "/initiators/beta", map[string]string{"clientId": "beta"})
	require.Contains(t, text, "10 fora do prazo<br>3 sem veredito, fora desta conta")
	one := both(t, answers{"GET /internal/v1/initiators/beta/health": strings.Replace(downHealth, `"late":10`, `"late":10,"unknown":1`, 1)}, "/initiators/{clientId}", "/initiators/beta", map[string]string{"clientId": "beta"})
	require.Contains(t, one, "1 sem veredito, fora desta conta: um registro em que se apoia não é")
	require.NotContains(t, text, "não são afetadas")
	two := both(t, answers{"GET /internal/v1/overview": `{"asOf":{},"windows":[],"queue":{},"down":[{"clientId":"a","failures":6},{"clientId":"b","failures":6}]}`}, "/", "/", nil)
	require.NotContains(t, two, "não são afetadas")
	require.Contains(t, two, "As entregas às outras não esperam por ela.")
}

// TestAPositionWithoutAnEntryIsNotSaidNeverToHaveHadOne: entries go after their retention time.
func TestAPositionWithoutAnEntryIsNotSaidNeverToHaveHadOne(t *testing.T) {
	k := newDesk(t, answers{}, page.Auditor)
	for _, path := range []string{"/entries/7", "/entries/7/proof"} {
		res, text := at(t, k, path, nil)
		require.Equal(t, http.StatusNotFound, res.StatusCode)
		require.Contains(t, text, "ou o registro dela foi removido após o prazo de guarda")
	}
}

// TestTheFirstPageHidesNoGapInItsFigures: attempts without a verdict were left out of the share without a word, a number that is counted up to
// a bound looked exact, and what is late now led to a page that does not have it.
func TestTheFirstPageHidesNoGapInItsFigures(t *testing.T) {
	const gap = `{"asOf":{},"windows":[{"window":"24h","figures":{"changes":9,"first":{"judged":8,"late":0,"unknown":2,"onTimeShare":1}}}],"queue":{"waiting":100000,"lateNow":10000}}`
	text := both(t, answers{"GET /internal/v1/overview": gap}, "/", "/", nil)
	for _, says := range []string{"2 sem veredito, fora desta conta", `<span class="sub">2 sem veredito</span>`, "<dd>ao menos 100.000</dd>", "<dd>ao menos 10.000</dd>", "ao menos 10.000 primeiras tentativas atrasadas agora", `href="/notifications?state=pending"`} {
		require.Contains(t, text, says)
	}
}
