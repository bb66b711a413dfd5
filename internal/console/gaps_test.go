package console

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/console/page"
)

// TestWhatIsNotJudgedIsNotOnTime: the list and its file said so of a notification without an attempt, of a resend, and of one whose entries are not
// what was sealed; the file even where the page did not.
func TestWhatIsNotJudgedIsNotOnTime(t *testing.T) {
	one := func(more, attempts string) answers {
		return answers{"GET /internal/v1/notifications": `{"notifications":[{"id":"n-1","clientId":"alfa","kind":"pix-payment","resourceId":"p-1","status":"ACSC","createdAt":"2026-11-28T14:04:41Z","state":"pending"` + more + `,"attempts":[` + attempts + `]}],"nextCursor":null}`}
	}
	const begun = `{"number":1,"startedAt":"2026-11-28T14:04:41.1Z"}`
	for name, c := range map[string]struct {
		internal    answers
		file, shows string
	}{
		"on time":   {one(``, begun), ",pending,false,", `ok">no prazo</span></td>`},
		"late":      {one(`,"late":true`, begun), ",pending,true,", `bad">fora do prazo</span></td>`},
		"waits":     {one(``, ``), ",pending,,", `<td>–</td> </tr>`},
		"resend":    {one(`,"manual":true`, begun), ",pending,,", `<td>–</td> </tr>`},
		"tampered":  {one(`,"tampered":true`, begun), ",pending,,", `<td>–</td> </tr>`},
		"both ways": {one(`,"tampered":true,"late":true`, begun), ",pending,,", `<td>–</td> </tr>`},
	} {
		require.Contains(t, shown(t, c.internal, page.Portuguese, http.MethodGet, "/notifications.csv", "/notifications.csv", nil), c.file, name)
		text := both(t, c.internal, "/notifications", "/notifications", nil)
		require.Contains(t, text, c.shows, name)
		require.Contains(t, text, "Se o primeiro byte só saiu depois do prazo", name)
	}
}

// TestAStoryNamesItsZoneAndItsDays: hours had no zone, days no year, and an English page wrote them in the Portuguese order.
func TestAStoryNamesItsZoneAndItsDays(t *testing.T) {
	internal := answers{
		"GET /internal/v1/audit/entries":             `{"entries":[],"nextCursor":"x"}`,
		"GET /internal/v1/resources/pix-payment/p-1": `{"kind":"pix-payment","resourceId":"p-1","status":"ACSC","integrity":{},"notifications":[],"timeline":[{"id":"a","at":"2026-11-08T14:04:41Z","kind":"change","facts":{}},{"id":"b","at":"2026-11-08T14:05:41Z","kind":"change","facts":{}}]}`,
	}
	vars := map[string]string{"kind": "pix-payment", "id": "p-1"}
	for lang, says := range map[page.Lang][]string{
		page.Portuguese: {"08/11/2026<br>11:04:41,000</time>", ">11:05:41,000</time>", "no horário de Brasília", "Só os 1.000 registros mais novos", "nem quem paga ou recebe"},
		page.English:    {"8 Nov 2026<br>11:04:41.000</time>", ">11:05:41.000</time>", "in Brasília time", "Only the newest 1,000 entries", "nor who pays or receives"},
	} {
		text := shown(t, internal, lang, http.MethodGet, "/resources/{kind}/{id}", "/resources/pix-payment/p-1", vars)
		for _, says := range says {
			require.Contains(t, text, says)
		}
	}
}

// TestAResourceTellsTwoTimesOfOneAttemptApart: "on time: 52 ms" stood above a table in which the attempt was 9 ms after the event, and a status
// was "since" the last change of the document.
func TestAResourceTellsTwoTimesOfOneAttemptApart(t *testing.T) {
	internal := answers{
		"GET /internal/v1/audit/entries":              `{"entries":[]}`,
		"GET /internal/v1/resources/pix-payment/p-1":  strings.Replace(twoNotifications, `"status":"ACSC","timeline"`, `"status":"ACSC","updatedAt":"2026-11-28T15:00:00Z","timeline"`, 1),
		"GET /internal/v1/notifications/n-new/timing": `{"occurredAt":"2026-11-28T14:10:00.091Z","first":{"fromEvent":"on-time","sinceEventMicros":52000}}`,
	}
	text := both(t, internal, "/resources/{kind}/{id}", "/resources/pix-payment/p-1", map[string]string{"kind": "pix-payment", "id": "p-1"})
	for _, says := range []string{"no prazo: enviada 52 ms depois do evento", `<th scope="col" class="n">Início depois do evento</th>`, `<td class="n">9 ms</td>`, "ACSC · última mudança gravada em <time"} {
		require.Contains(t, text, says)
	}
}

// TestAListThatIsCutSaysSo: of 250 differences 50 were listed, and of 250 initiators 100, without a word.
func TestAListThatIsCutSaysSo(t *testing.T) {
	found := answers{"GET /internal/v1/reconciliations": `{"runs":[],"reconciliations":[{"at":"2026-11-28T14:04:41Z","entries":{"change":9},"differences":250,"first":[{"what":"missing-decision"}]},{"at":"2026-11-27T14:04:41Z","entries":{},"differences":1,"first":[{"what":"missing-decision"}]}]}`}
	require.Equal(t, 1, strings.Count(both(t, found, "/reconciliation", "/reconciliation", nil), "São mostradas as 1 primeiras de 250."))
	require.Contains(t, both(t, answers{"GET /internal/v1/reconciliations": `{"runs":[],"reconciliations":[{"at":"2026-11-28T14:04:41Z","entries":{},"resources":0,"differences":0,"first":[]}]}`}, "/reconciliation", "/reconciliation", nil), `mute">nada a comparar no período</span>`, "a period without an entry has no difference to be glad of")
	down := answers{"GET /internal/v1/initiators": `{"initiators":[{"clientId":"beta","push":true,"health":{"down":true,"failures":6}}],"down":250,"unknownChanges":0}`}
	require.Contains(t, both(t, down, "/initiators", "/initiators?down=true", nil), "A lista mostra 1 das 250")
	require.NotContains(t, both(t, down, "/initiators", "/initiators", nil), "A lista mostra")
}

// TestAnAccessThatDiffersFromTheSealedLogIsMarked: the page showed it as a fact, and named filters by the API's own words.
func TestAnAccessThatDiffersFromTheSealedLogIsMarked(t *testing.T) {
	internal := answers{"GET /internal/v1/audit/entries": `{"entries":[{"seq":7,"at":"2026-11-28T14:04:41Z","kind":"admin","outcome":"search","integrity":"tampered","tampered":"its bytes differ","facts":{"actor":"ana","filter":{"clientId":"alfa","odd":"1"}}},
		{"seq":null,"at":"2026-11-28T14:04:41Z","kind":"admin","outcome":"read","integrity":"unsealed","facts":{"actor":"ana"}}]}`}
	text := both(t, internal, "/access", "/access", nil)
	for _, says := range []string{`bad">difere do histórico selado</span>`, `<td class="n">a selar</td>`, "iniciadora=alfa · odd=1"} {
		require.Contains(t, text, says)
	}
	file := shown(t, internal, page.Portuguese, http.MethodGet, "/access.csv", "/access.csv", nil)
	for _, says := range []string{",sha256,integrity", ",tampered ", ",unsealed", "clientId=alfa · odd=1"} {
		require.Contains(t, file, says)
	}
}

// TestTheFilterOfAnExportIsInTheLanguageOfThePage: it had the names of the API's parameters, and instants without a zone that people know.
func TestTheFilterOfAnExportIsInTheLanguageOfThePage(t *testing.T) {
	internal := answers{"GET /internal/v1/audit/exports": `{"exports":[{"id":"e-1","state":"done","format":"csv","filter":{"clientId":"alfa","kind":"pix-payment","late":"true","from":"2026-11-01T03:00:00Z"},"size":9,"requestedBy":"ana","requestedAt":"2026-11-28T14:04:41Z"}]}`}
	text := both(t, internal, "/exports", "/exports", nil)
	for _, says := range []string{`iniciadora: <span class="id">alfa</span>`, "tipo: pagamento Pix", "fora do prazo: sim", `de: <time datetime="2026-11-01T03:00:00.000000Z">01/11/2026 00:00:00,000 Brasília`} {
		require.Contains(t, text, says)
	}
}

// TestAWrongFilterLeadsToThePageWithoutIt: the way on was the first page.
func TestAWrongFilterLeadsToThePageWithoutIt(t *testing.T) {
	k := newDesk(t, refusing(http.StatusBadRequest, `{"error":"some_code","errors":[{"detail":"this"}]}`), page.Operator, page.Auditor)
	for path, says := range map[string]string{
		"/late?from=2026-12-02": `href="/late">Abrir a página sem estes filtros`, "/notifications?clientId=x": `href="/notifications">Abrir`, "/late": `href="/">Ir para o início`,
	} {
		res, text := at(t, k, path, nil)
		require.Equal(t, http.StatusBadRequest, res.StatusCode)
		require.Contains(t, text, says, path)
	}
}

// TestWhatIsWrongWithAFieldIsSaidByItsLabel: the API's parameter stood there, which no person has seen.
func TestWhatIsWrongWithAFieldIsSaidByItsLabel(t *testing.T) {
	k := newDesk(t, refusing(http.StatusBadRequest, `{"error":"some_code","errors":[{"pointer":"/to","detail":"to: não pode ser anterior a from"},{"pointer":"/reason","detail":"reason deve ter de 1 a 500 caracteres"},{"pointer":"/ids","detail":"ids deve ter de 1 a 100 membros"},{"pointer":"/to","detail":"tomorrow: no"}]}`), page.Operator, page.Auditor)
	_, text := at(t, k, "/nothing-like-this", nil)
	require.Contains(t, text, "Nenhuma página tem este endereço", "an address is no identifier")
	_, text = at(t, k, "/late", nil)
	require.Contains(t, text, "<li>Até: não pode ser anterior a “De”</li><li>Motivo deve ter de 1 a 500 caracteres</li><li>ids deve ter de 1 a 100 membros</li><li>tomorrow: no</li>")
}
