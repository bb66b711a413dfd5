package console

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/console/page"
)

const oneNotification = `{"notifications":[{"id":"n-1","clientId":"alfa","kind":"pix-payment","resourceId":"p-1","status":"ACSC","createdAt":"2026-11-28T14:04:41Z","state":"exhausted",
 "attempts":[{"number":1,"startedAt":"2026-11-28T14:04:41.1Z","outcome":"refused","httpStatus":503},{"number":2,"startedAt":"2026-11-28T14:04:52Z","outcome":"timeout"}]}],"nextCursor":null}`

// countedBy answers lists with one notification and statistics with rows, and keeps what statistics were asked for.
func countedBy(asked *url.Values, rows string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/internal/v1/notifications" {
			_, _ = w.Write([]byte(oneNotification))
			return
		}
		*asked = r.URL.Query()
		_, _ = w.Write([]byte(`{"asOf":{"at":"2026-11-28T14:04:41Z"},"total":{"notifications":1204331,"closed":{"delivered":1204000,"exhausted":31},"first":{"late":7},"polls":{"total":90}},"rows":` + rows + `,"nextCursor":null}`))
	})
}

func TestNotificationsAreCountedByKindHourAndInitiatorFromTheProjections(t *testing.T) {
	var asked url.Values
	const sums = `"figures":{"notifications":12,"closed":{"delivered":11,"exhausted":1},"first":{"late":2},"polls":{"total":3}}`
	text := both(t, countedBy(&asked, `[{"kind":"pix-payment",`+sums+`}]`), "/notifications", "/notifications?from=2026-11-01T10:20&to=2026-11-02T10:00", nil)
	require.Equal(t, url.Values{"by": {"kind"}, "from": {"2026-11-01T13:00:00Z"}, "to": {"2026-11-02T13:00:00Z"}}, asked, "whole hours, the one that has begun included")
	for _, says := range []string{"Por tipo", "1.204.331", "pagamento Pix", "kind=pix-payment", "Números até", "1 notificação."} {
		require.Contains(t, text, says)
	}
	require.NotContains(t, text, "As contagens não consideram")

	text = both(t, countedBy(&asked, `[{"hour":"2026-11-01T13:00:00Z",`+sums+`},{"hour":"2026-11-01T14:00:00Z",`+sums+`}]`), "/notifications", "/notifications?from=2026-01-01&to=2026-11-02T10:00&clientId=alfa&state=exhausted&count=hour", nil)
	require.Equal(t, "hour", asked.Get("by"))
	require.Equal(t, "alfa", asked.Get("clientId"))
	require.Equal(t, "2026-10-02T13:00:00Z", asked.Get("from"), "by hour 31 days are counted")
	for _, says := range []string{"só a parte mais nova é contada", "As contagens não consideram situação", "from=2026-11-01T11%3A00", "to=2026-11-01T12%3A00", "Baixar a lista em CSV"} {
		require.Contains(t, text, says)
	}
	require.NotContains(t, text, "count=client", "one initiator is not counted by initiator")

	text = both(t, countedBy(&asked, `[{"clientId":"alfa",`+sums+`}]`), "/notifications", "/notifications?count=client", nil)
	require.Equal(t, "client", asked.Get("by"))
	from, err := time.Parse(time.RFC3339, asked.Get("from"))
	require.NoError(t, err)
	to, err := time.Parse(time.RFC3339, asked.Get("to"))
	require.NoError(t, err)
	require.Contains(t, []time.Duration{24 * time.Hour, 25 * time.Hour}, to.Sub(from), "without a period the last 24 hours")
	require.Contains(t, text, "clientId=alfa")

	asked = nil
	both(t, countedBy(&asked, `[]`), "/notifications", "/notifications?cursor=x", nil)
	require.Nil(t, asked, "older parts of the list are not counted again")
	both(t, answers{"GET /internal/v1/notifications": oneNotification}, "/notifications", "/notifications", nil) // no projections: a list without counts
}

func TestTheListOfNotificationsIsAFile(t *testing.T) {
	text := shown(t, answers{"GET /internal/v1/notifications": oneNotification}, page.Portuguese, http.MethodGet, "/notifications.csv", "/notifications.csv?state=exhausted", nil)
	require.Contains(t, text, "id,created_at,client_id,kind,resource_id,status,state,late,resend,tampered,attempts,first_attempt_at,last_outcome,last_http_status")
	require.Contains(t, text, "n-1,2026-11-28T14:04:41.000000Z,alfa,pix-payment,p-1,ACSC,exhausted,false,false,false,2,2026-11-28T14:04:41.100000Z,timeout,")
}

// TestAResendIsNeitherOnTimeNorLate: it has no deadline.
func TestAResendIsNeitherOnTimeNorLate(t *testing.T) {
	manual := strings.Replace(oneNotification, `"state":"exhausted"`, `"state":"delivered","manual":true`, 1)
	for lang, onTime := range map[page.Lang]string{page.Portuguese: "no prazo", page.English: "on time"} {
		tag := `<td><span class="tag ok">` + onTime + `</span></td>`
		require.Contains(t, shown(t, answers{"GET /internal/v1/notifications": oneNotification}, lang, http.MethodGet, "/notifications", "/notifications", nil), tag)
		text := shown(t, answers{"GET /internal/v1/notifications": manual}, lang, http.MethodGet, "/notifications", "/notifications", nil)
		require.NotContains(t, text, tag)
		require.Contains(t, text, `<td class="n">2</td> <td>–</td>`)
	}
}

// TestOnlyWhatMayBeSentOnceMoreIsOffered: a resend is not resent, and nothing is sent once more twice.
func TestOnlyWhatMayBeSentOnceMoreIsOffered(t *testing.T) {
	of := func(id, state, more string) string {
		return `{"id":"` + id + `","changeId":"c","clientId":"alfa","kind":"pix-payment","resourceId":"p-1","status":"ACSC","eventAt":"2026-11-28T14:04:41Z","createdAt":"2026-11-28T14:04:41Z","state":"` + state + `","attempts":[]` + more + `}`
	}
	all := `"notifications":[` + of("n-over", "exhausted", "") + "," + of("n-cancelled", "cancelled", "") + "," + of("n-resent", "exhausted", `,"resent":true`) + "," +
		of("n-resend", "exhausted", `,"manual":true`) + "," + of("n-delivered", "delivered", "") + `]`
	list := both(t, answers{"GET /internal/v1/notifications": "{" + all + "}"}, "/notifications", "/notifications", nil)
	story := answers{"GET /internal/v1/resources/pix-payment/p-1": `{"kind":"pix-payment","resourceId":"p-1","status":"ACSC","timeline":[],"integrity":{},` + all + "}", "GET /internal/v1/audit/entries": `{"entries":[]}`}
	for id, offered := range map[string]bool{"n-over": true, "n-cancelled": true, "n-resent": false, "n-resend": false, "n-delivered": false} {
		require.Equal(t, offered, strings.Contains(list, `name="id" value="`+id+`"`), id)
		one := both(t, story, "/resources/{kind}/{id}", "/resources/pix-payment/p-1?notification="+id, map[string]string{"kind": "pix-payment", "id": "p-1"})
		require.Equal(t, offered, strings.Contains(one, `action="/resources/pix-payment/p-1/resend"`), id)
	}
	require.Contains(t, list, "já reenviada")
}

const overviewNow = `{"asOf":{"at":"2026-11-28T14:04:41Z"},"windows":[{"window":"24h","figures":{"changes":3,"notifications":3,"first":{"judged":3,"late":1,"onTimeShare":0.66}}}],
 "hours":[{"start":"2026-11-28T14:00:00Z","byKind":{"pix-payment":{"notifications":3}},"sinceEvent":{"p50Micros":19000,"p95Micros":64000,"p99Micros":90000}}],
 "days":[{"start":"2026-11-27T00:00:00Z","byKind":{"enrollment":{"notifications":40}},"sinceEvent":{}},{"start":"2026-11-28T00:00:00Z","byKind":{},"sinceEvent":{}}],
 "queue":{"waiting":0,"inFlight":0,"lateNow":1,"oldestSeconds":0},
 "sources":[{"name":"pix","running":true,"status":{"lagBytes":2048,"lagSeconds":0.25}},{"name":"bus","running":true,"status":{"lagBytes":-1,"lagSeconds":null}},{"name":"log","running":true,"status":{"lagBytes":2048,"lagSeconds":null}},
   {"name":"new","running":false,"status":null},{"name":"old","running":false,"paused":true,"status":null}],
 "log":{"size":9,"sealedAt":"2026-11-28T14:04:41Z","anchoredThrough":"2026-11-28T13:04:38Z","anchoredCheckpointAt":"2026-11-28T14:04:38Z","verifiedThrough":9},
 "alarms":[{"name":"ArautoQueueAge","runbook":"docs/operations/alarm-queue-age.md","detail":"a due notification has waited for 9 s"}]}`

func TestTheFirstPageSaysWhatToDoAndShowsADayOrAMonth(t *testing.T) {
	internal := answers{"GET /internal/v1/overview": overviewNow}
	day := both(t, internal, "/", "/", nil)
	for _, says := range []string{
		"1 alarme, 1 primeira tentativa atrasada agora, 1 fonte parada", "A fila está atrasada", `href="/manual/alarm-queue-age"`, "atraso 250 ms", "atraso 2 KiB", "atraso desconhecido", "pausada · atraso desconhecido",
		"em todas as âncoras: checkpoint assinado", "Hora (Brasília)", "28/11 11h", "pagamento Pix", `href="/?period=30d"`, "1 primeira tentativa passou de 1,5 s e não começou",
	} {
		require.Contains(t, day, says)
	}
	require.NotContains(t, day, "vínculo de conta")
	month := both(t, internal, "/", "/?period=30d", nil)
	for _, says := range []string{"Dia (UTC)", "27/11", "vínculo de conta", "em 30 dias"} {
		require.Contains(t, month, says)
	}
	require.NotContains(t, month, "28/11 11h")
	require.Contains(t, shown(t, internal, page.English, http.MethodGet, "/", "/", nil), "28 Nov 11h")
	require.Contains(t, shown(t, internal, page.English, http.MethodGet, "/", "/?period=30d", nil), "27 Nov")
}

// TestAQueueThatIsBehindSaysForHowLong in the reader's language; the API's detail is English.
func TestAQueueThatIsBehindSaysForHowLong(t *testing.T) {
	behind := answers{"GET /internal/v1/overview": strings.Replace(overviewNow, `"oldestSeconds":0`, `"oldestSeconds":9`, 1)}
	require.Contains(t, both(t, behind, "/", "/", nil), "A notificação devida mais antiga espera há 9 segundos.")
	require.Contains(t, shown(t, behind, page.English, http.MethodGet, "/", "/", nil), "The oldest due notification has waited for 9 seconds.")
}

const twoNotifications = `{"kind":"pix-payment","resourceId":"p-1","status":"ACSC","timeline":[],"integrity":{"verified":1},"notifications":[
 {"id":"n-old","status":"ACSP","eventAt":"2026-11-28T14:04:41Z","createdAt":"2026-11-28T14:04:41Z","state":"exhausted","attempts":[{"number":1,"startedAt":"2026-11-28T14:04:41.1Z","endedAt":"2026-11-28T14:04:41.2Z","outcome":"refused","httpStatus":503},
  {"number":2,"startedAt":"2026-11-28T14:04:51.2Z","endedAt":"2026-11-28T14:04:51.3Z","outcome":"refused","httpStatus":503},{"number":3,"startedAt":"2026-11-28T14:05:51.3Z","endedAt":"2026-11-28T14:05:51.4Z","outcome":"refused","httpStatus":503}]},
 {"id":"n-new","status":"ACSC","eventAt":"2026-11-28T14:10:00Z","createdAt":"2026-11-28T14:10:00Z","state":"delivered","attempts":[{"number":1,"startedAt":"2026-11-28T14:10:00.1Z","endedAt":"2026-11-28T14:10:00.2Z","outcome":"delivered","httpStatus":202}]}]}`

func TestAResourceDrawsTheNotificationThatTheAddressNames(t *testing.T) {
	vars := map[string]string{"kind": "pix-payment", "id": "p-1"}
	internal := answers{"GET /internal/v1/resources/pix-payment/p-1": twoNotifications, "GET /internal/v1/audit/entries": `{"entries":[]}`}
	newest := both(t, internal, "/resources/{kind}/{id}", "/resources/pix-payment/p-1", vars)
	for _, says := range []string{"notificada na 1ª tentativa", "entregue 202", `?notification=n-old"`, `?notification=n-new" aria-current="true"`, "1 registro conferido"} {
		require.Contains(t, newest, says)
	}
	old := both(t, internal, "/resources/{kind}/{id}", "/resources/pix-payment/p-1?notification=n-old", vars)
	for _, says := range []string{"desistida depois de 3 tentativas", "recusada 503", `?notification=n-old" aria-current="true"`} {
		require.Contains(t, old, says)
	}
}

// TestAResendIsNeverTakenForAChain: the newest notification, drawn by default, is the resend; alone it looked like a chain whose first
// attempt arrived, though three attempts were lost before it.
func TestAResendIsNeverTakenForAChain(t *testing.T) {
	vars := map[string]string{"kind": "pix-payment", "id": "p-1"}
	lost := `"attempts":[{"number":1,"startedAt":"2026-11-28T14:04:41.1Z","outcome":"refused"},{"number":2,"startedAt":"2026-11-28T14:04:51.2Z","outcome":"refused"},{"number":3,"startedAt":"2026-11-28T14:05:51.3Z","outcome":"refused"}]`
	one := `"attempts":[{"number":1,"startedAt":"2026-11-28T14:04:41.1Z","outcome":"refused"}]`
	of := func(originalState, attempts, resendState, resendOf string) answers {
		return answers{"GET /internal/v1/audit/entries": `{"entries":[]}`, "GET /internal/v1/resources/pix-payment/p-1": `{"kind":"pix-payment","resourceId":"p-1","status":"ACSC","integrity":{},
		 "timeline":[{"at":"2026-11-28T15:00:00.1Z","notificationId":"n-resend","attempt":{"number":1,"startedAt":"2026-11-28T15:00:00.1Z","outcome":"delivered"}}],"notifications":[
		 {"id":"n-first","status":"ACSC","eventAt":"2026-11-28T14:04:41Z","createdAt":"2026-11-28T14:04:41Z","resent":true,"state":"` + originalState + `",` + attempts + `},
		 {"id":"n-resend","status":"ACSC","eventAt":"2026-11-28T14:04:41Z","createdAt":"2026-11-28T15:00:00Z","manual":true,` + resendOf + `"state":"` + resendState + `","attempts":[{"number":1,"startedAt":"2026-11-28T15:00:00.1Z"}]}]}`}
	}
	const kept = `"resendOf":"n-first",`
	for name, c := range map[string]struct {
		internal answers
		pt, en   string
	}{
		"arrived":               {of("exhausted", lost, "delivered", kept), "entregue por reenvio, depois de 3 tentativas sem sucesso", "delivered by a resend, after 3 attempts without success"},
		"lost":                  {of("exhausted", lost, "exhausted", kept), "desistida: 3 tentativas e 1 reenvio, sem sucesso", "given up: 3 attempts and 1 resend, without success"},
		"under way":             {of("exhausted", lost, "pending", kept), "reenvio em curso, depois de 3 tentativas sem sucesso", "resend pending, after 3 attempts without success"},
		"cancelled before":      {of("cancelled", one, "delivered", kept), "entregue por reenvio, depois de 1 tentativa sem sucesso", "delivered by a resend, after 1 attempt without success"},
		"cancelled, none begun": {of("cancelled", `"attempts":[]`, "exhausted", kept), "desistida: 1 reenvio sem sucesso", "given up: 1 resend without success"},
		"cancelled itself":      {of("exhausted", lost, "cancelled", kept), "reenvio cancelado, depois de 3 tentativas sem sucesso", "resend cancelled, after 3 attempts without success"},
		"of nobody knows what":  {of("exhausted", lost, "delivered", ""), "entregue por reenvio<", "delivered by a resend<"},
	} {
		for _, drawn := range []string{"", "?notification=n-resend", "?notification=n-first"} {
			if drawn == "?notification=n-first" && name == "of nobody knows what" {
				continue // nothing tells that this one was resent
			}
			path := "/resources/pix-payment/p-1" + drawn
			text := both(t, c.internal, "/resources/{kind}/{id}", path, vars)
			require.Contains(t, text, c.pt, name+drawn)
			require.Contains(t, shown(t, c.internal, page.English, http.MethodGet, "/resources/{kind}/{id}", path, vars), c.en, name+drawn)
			for _, untrue := range []string{"notificada na", "desistida depois", "<b>1ª tentativa</b>"} {
				require.NotContains(t, text, untrue, name+drawn)
			}
			require.Contains(t, text, "<b>Reenvio</b>")
			if strings.Contains(text, "<svg") { // an attempt of what is drawn has begun
				require.Contains(t, text, "(reenvio)</a>", "which of the two is the resend")
			}
		}
	}
}

func TestTheLogSaysWhichCheckpointEveryAnchorHas(t *testing.T) {
	text := both(t, answers{
		"GET /internal/v1/audit/verifications": `{"size":9,"since":{"verified":1},"whole":{},"anchoredAt":"2026-11-28T14:04:38Z","anchors":[]}`,
		"GET /internal/v1/audit/checkpoints":   `{"log":"arauto/x","size":9,"root":"r","at":"2026-11-28T14:04:41Z","note":"n"}`,
	}, "/log", "/log", nil)
	require.Contains(t, text, `checkpoint assinado em <time datetime="2026-11-28T14:04:38.000000Z">`)
	require.Contains(t, text, "registros novos: 1 verificado")
}

func TestTheManualShowsWhatAnAlarmMeansWithoutANetwork(t *testing.T) {
	require.Contains(t, both(t, answers{}, "/manual", "/manual", nil), `href="/manual/alarm-queue-age"`)
	text := both(t, answers{}, "/manual/{name}", "/manual/alarm-queue-age", map[string]string{"name": "alarm-queue-age"})
	require.Contains(t, text, "What initiators feel.")
}

// TestTheReasonsOfAStoryAreInTheLanguageOfThePage: they were the history's own words. What a person wrote stays as it is.
func TestTheReasonsOfAStoryAreInTheLanguageOfThePage(t *testing.T) {
	line := func(kind, facts string) string {
		return `{"id":"` + kind + `","at":"2026-11-28T14:04:41Z","kind":"` + kind + `","facts":` + facts + `}`
	}
	internal := answers{"GET /internal/v1/audit/entries": `{"entries":[]}`, "GET /internal/v1/resources/pix-payment/p-1": `{"kind":"pix-payment","resourceId":"p-1","status":"ACSC","integrity":{},"notifications":[],"timeline":[` +
		line("quarantined", `{"problems":["illegal-transition /data/status","pattern /data/x"]}`) + `,` + line("conflict", `{"why":"content"}`) + `,` + line("refused", `{"refusedFor":"busy"}`) + `,` + line("resend", `{"why":"content"}`) + `]}`}
	text := both(t, internal, "/resources/{kind}/{id}", "/resources/pix-payment/p-1", map[string]string{"kind": "pix-payment", "id": "p-1"})
	for _, says := range []string{"motivo: transição de estado não permitida /data/status, pattern /data/x", "motivo: a mesma revisão com outro conteúdo", "motivo: mudanças demais à espera", "motivo: content"} {
		require.Contains(t, text, says)
	}
}
