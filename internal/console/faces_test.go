package console

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/gorilla/mux"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/api"
	"github.com/arauto/arauto/internal/console/page"
	"github.com/arauto/arauto/internal/history"
)

// answers is an internal API whose answers a test sets, by method and path.
type answers map[string]string

func (a answers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, there := a[r.Method+" "+r.URL.Path]
	if !there {
		w.WriteHeader(http.StatusNotFound)
		body = `{"error":"not_found","error_description":"nothing is set for ` + r.Method + " " + r.URL.Path + `"}`
	}
	_, _ = w.Write([]byte(body))
}

// sheets are the templates that were parsed, by their section.
var sheets sync.Map

func sheetOf(s page.Section) (*page.Sheet, error) {
	once, _ := sheets.LoadOrStore(s.Name, sync.OnceValues(func() (*page.Sheet, error) { return page.NewSheet(s.Files) }))
	return once.(func() (*page.Sheet, error))()
}

// shown is what a page says for an API's answers, in a language.
func shown(t *testing.T, internal http.Handler, lang page.Lang, method, template, path string, vars map[string]string) string {
	t.Helper()
	for _, s := range sections() {
		for _, route := range s.Routes {
			if route.Method != method || route.Path != template {
				continue
			}
			sheet, err := sheetOf(s)
			require.NoError(t, err)
			r := mux.SetURLVars(httptest.NewRequestWithContext(t.Context(), method, path, http.NoBody), vars)
			w := httptest.NewRecorder()
			x := api.NewFace("console", nil, nil).Begin(w, r, template)
			who := history.Person{Subject: "ana", Roles: []string{page.Operator, page.Auditor, page.Registrar}}
			require.NoError(t, route.Handle(page.NewVisit(x, who, page.NewAPI(page.Endpoint{Handler: internal, Resend: true}, r, who, lang), sheet, nil)))
			require.NotContains(t, w.Body.String(), "<no value>")
			return strings.Join(strings.Fields(w.Body.String()), " ")
		}
	}
	t.Fatalf("no page %s %s", method, template)
	return ""
}

// both opens a page in both languages and returns what the Portuguese one says. A word without a text shows its key.
func both(t *testing.T, internal http.Handler, template, path string, vars map[string]string) string {
	t.Helper()
	en := shown(t, internal, page.English, http.MethodGet, template, path, vars)
	pt := shown(t, internal, page.Portuguese, http.MethodGet, template, path, vars)
	require.NotEqual(t, en, pt)
	return pt
}

func TestASourceThatIsNotReadSaysWhatIsWrongAndTheCure(t *testing.T) {
	const status = `"replica":"r1","reportedAt":"2026-11-28T14:04:41Z","status":{"state":"%s","position":"0/16","halted":%s,"lagBytes":2048,"lagSeconds":null,"counts":{"read":9,"quarantined":2},"stopped":%s,"lastError":"the slot is gone","lastErrorAt":"2026-11-28T14:04:41Z"}`
	one := func(more string) string {
		return `{"sources":[{"name":"pix","origin":"postgres",` + more + `}]}`
	}
	fill := func(state, halted, stopped string) string {
		return strings.NewReplacer("%s\",\"position", state+"\",\"position", "\"halted\":%s", "\"halted\":"+halted, "\"stopped\":%s", "\"stopped\":"+stopped).Replace(status)
	}
	for name, c := range map[string]struct{ answer, says string }{
		"paused":  {one(`"paused":true,"pausedBy":"ana","pausedReason":"migração","pausedAt":"2026-11-28T14:04:41Z","running":false,` + fill("paused", "false", "[]")), "migração"},
		"halted":  {one(`"running":false,` + fill("waiting", "true", "[]")), "parada à espera de uma decisão"},
		"waiting": {one(`"running":false,` + fill("waiting", "false", "[]")), "A origem não responde"},
		"tables":  {one(`"running":true,` + fill("running", "false", `[{"table":"public.pix","why":["no column status"]}]`)), "no column status"},
		"unknown": {one(`"running":false,"status":null`), "Nenhuma réplica informou ainda"},
	} {
		text := both(t, answers{"GET /internal/v1/sources": c.answer}, "/sources", "/sources", nil)
		require.Contains(t, text, c.says, name)
		require.Contains(t, text, "1 precisa de alguém", name)
		if name != "unknown" {
			require.Contains(t, text, `<span lang="en">the slot is gone</span>`, "what a database says is no Portuguese, and is marked so")
		}
	}
	gap := both(t, answers{"GET /internal/v1/sources": one(`"running":false,` + strings.Replace(fill("waiting", "true", "[]"), `"halted":true`, `"halted":true,"findings":[{"code":"1a2b3c4d","text":"rows came of pay_2","textPt":"vieram linhas de pay_2"},{"code":"00000000","text":"of an older replica"}]`, 1))}, "/sources", "/sources", nil)
	for _, says := range []string{"<li>vieram linhas de pay_2 <code>1a2b3c4d", `<li><span lang="en">of an older replica</span>`, `action="/sources/pix/accept"`, `name="finding" value="1a2b3c4d"`, "não pode ser desfeito"} {
		require.Contains(t, gap, says)
	}
	well := both(t, answers{"GET /internal/v1/sources": one(`"running":true,` + fill("running", "false", "[]"))}, "/sources", "/sources", nil)
	require.Contains(t, well, "Todas as fontes são lidas")
}

func TestTheCalendarShowsWhatEndsFirstAndWhoMustAct(t *testing.T) {
	text := both(t, answers{"GET /internal/v1/certificates": `{"certificates":[
		{"role":"webhook-client","source":"brcac.pem","subject":"CN=ours","serial":"a1","notAfter":"2036-01-01T00:00:00Z"},
		{"role":"receiver-authority","source":"roots.pem","subject":"CN=root","serial":"b1","notAfter":"2035-01-01T00:00:00Z"}],
		"receivers":[{"clientId":"alfa","subject":"CN=alfa","serial":"c1","fingerprint":"f","issuer":"CN=AC Teste","wrong":"the certificate ended","notAfter":"2020-01-01T00:00:00Z","seenAt":"2026-11-01T00:00:00Z"}],
		"revocationLists":[{"direction":"callers","source":"https://crl.example","issuer":"","validUntil":null}]}`}, "/certificates", "/certificates", nil)
	never, ended, root := strings.Index(text, "nunca obtida"), strings.Index(text, "vencido"), strings.Index(text, "CN=root")
	require.True(t, 0 < never && never < ended && ended < root, "%d %d %d", never, ended, root)
	for _, says := range []string{"A iniciadora: avise-a", "emitido por CN=AC Teste", "the certificate ended"} {
		require.Contains(t, text, says)
	}
}

const downHealth = `{"asOf":{"at":"2026-11-28T14:04:41Z"},"initiator":{"clientId":"beta","organisationId":"o","softwareId":"s","name":"Beta Pagamentos","webhookUris":["https://beta.example/hook"],"push":true,"updatedAt":"2026-09-03T10:00:00Z"},
 "windows":[{"window":"30d","figures":{"notifications":1000,"first":{"judged":1000,"onTime":990,"late":10,"onTimeShare":0.99},"answer":{"count":1000,"p50Micros":41000,"p95Micros":182000,"p99Micros":400000},
 "outcomes":{"1":{"delivered":970,"delivered-nonconformant":9,"tls-error":21},"2":{"delivered":8},"3":{"delivered":3}},"closed":{"delivered":990,"exhausted":10},"echo":{"missing":9},"ignored":32,"polls":{"total":1400,"beforePush":null,"afterPush":990,"withoutPush":400}}}],
 "contact":{"failures":214,"since":"2026-11-28T13:58:00Z","lastFailureAt":"2026-11-28T14:02:00Z","lastSuccessAt":"2026-11-28T13:57:00Z","lastOutcome":"tls-error"},"down":true,"queue":{"waiting":37},
 "certificates":[{"subject":"CN=beta","serial":"1","notAfter":"2026-11-28T13:57:12Z","daysLeft":-1,"seenAt":"2026-11-28T13:57:00Z"}]}`

func TestAnInitiatorThatDoesNotAnswerSaysSinceWhenAndWhy(t *testing.T) {
	vars := map[string]string{"clientId": "beta"}
	internal := answers{
		"GET /internal/v1/initiators/beta/health": downHealth,
		"POST /internal/v1/initiators/beta/preflight": `{"clientId":"beta","webhookUri":"https://beta.example/hook","startedAt":"2026-11-28T14:05:00Z","tookMillis":31,"ok":false,"verdict":"NÃO está pronto (certificado do receptor)",
			"steps":[{"step":"address","ok":true,"detail":"host beta.example, port 443","problem":null,"title":"endereço","seen":"host beta.example, porta 443","meaning":null,"advice":null},
			{"step":"certificate","ok":false,"detail":"after 3 ms","problem":"x509: it ended","title":"certificado do receptor","seen":"após 3 ms","meaning":"o certificado venceu","advice":"renove o certificado"}]}`,
	}
	text := both(t, internal, "/initiators/{clientId}", "/initiators/beta", vars)
	for _, says := range []string{"Beta Pagamentos", "Nenhuma entrega tem sucesso.", "214 tentativas", "o certificado do receptor não é aceito", "venceu em", "97,90 %", "182 ms", "3,23 %", "com o aviso mais novo do recurso ainda não entregue", "“sem aviso entregue antes” é outra soma"} {
		require.Contains(t, text, says)
	}
	require.NotContains(t, text, ">sem aviso entregue antes</th>", "which counts something else on the page of polling saved")
	tried := shown(t, internal, page.Portuguese, http.MethodPost, "/initiators/{clientId}/preflight", "/initiators/beta/preflight", vars)
	for _, says := range []string{"NÃO está pronto (certificado do receptor)", `<th scope="row">endereço</th>`, "host beta.example, porta 443", "após 3 ms<p>o certificado venceu</p>", "<strong>O que fazer:</strong> renove o certificado", `Texto técnico: <span lang="en">x509: it ended</span>`} {
		require.Contains(t, tried, says)
	}
	for _, english := range []string{"port 443", "after 3 ms", ">address<"} {
		require.NotContains(t, tried, english)
	}
	list := both(t, answers{"GET /internal/v1/initiators": `{"initiators":[{"clientId":"beta","name":"Beta","push":true,"updatedAt":"2026-09-03T10:00:00Z","health":{"notifications":5,"exhausted":2,"onTimeShare":0.8,"down":true,"failures":6,"since":"2026-11-28T13:58:00Z"}}],"nextCursor":"YmV0YQ","down":1,"unknownChanges":3}`}, "/initiators", "/initiators", nil)
	for _, says := range []string{"As entregas a 1 iniciadora falham agora", "unknown-client", "80 %", "6 falhas seguidas", "Próximas"} {
		require.Contains(t, list, says)
	}
}

// TestADemandIsJudgedByTheAttemptsThatShowIt: every demand was met where nothing was ever answered, and what always failed was not always met.
func TestADemandIsJudgedByTheAttemptsThatShowIt(t *testing.T) {
	words := map[page.Lang]map[string]string{
		page.Portuguese: {
			"conforms": "Responde 202 com x-webhook-interaction-id", "echo": "Devolve x-webhook-interaction-id", "accepts": "Não recusa (3xx, 4xx, 5xx)", "answers": "Responde em 15 s", "reachable": "Atende no endereço, sem cortar a conexão", "trusted": "Handshake TLS com certificado aceito", "http": "Fala HTTP/1.1",
			"met": "ok\">cumprida", "not": "warn\">nem sempre cumprida", "never": "bad\">não cumprida", "unknown": "mute\">sem dados",
		},
		page.English: {
			"conforms": "Answers 202 with x-webhook-interaction-id", "echo": "Returns x-webhook-interaction-id", "accepts": "Does not refuse (3xx, 4xx, 5xx)", "answers": "Answers within 15 s", "reachable": "Answers at the address, and does not cut the connection", "trusted": "TLS handshake with an accepted certificate", "http": "Speaks HTTP/1.1",
			"met": "ok\">met", "not": "warn\">not always met", "never": "bad\">not met", "unknown": "mute\">not known",
		},
	}
	for figures, want := range map[string]map[string]string{
		``: {"conforms": "unknown", "echo": "unknown", "accepts": "unknown", "answers": "unknown", "reachable": "unknown", "trusted": "unknown", "http": "unknown"},
		`"outcomes":{"1":{"connect-error":7},"2":{"connect-error":7},"3":{"connect-error":7}},"closed":{"exhausted":7}`: {"conforms": "unknown", "echo": "unknown", "accepts": "unknown", "answers": "unknown", "reachable": "never", "trusted": "unknown", "http": "unknown"},
		`"outcomes":{"1":{"timeout":2,"unknown":1}}`:                                 {"conforms": "unknown", "echo": "unknown", "accepts": "unknown", "answers": "never", "reachable": "unknown", "trusted": "unknown", "http": "unknown"},
		`"outcomes":{"1":{"tls-error":2}}`:                                           {"conforms": "unknown", "echo": "unknown", "accepts": "unknown", "answers": "unknown", "reachable": "met", "trusted": "never", "http": "unknown"},
		`"outcomes":{"1":{"protocol-error":2}}`:                                      {"conforms": "unknown", "echo": "unknown", "accepts": "unknown", "answers": "unknown", "reachable": "met", "trusted": "met", "http": "never"},
		`"outcomes":{"1":{"refused":2},"2":{"refused":2}},"echo":{"match":4}`:        {"conforms": "never", "echo": "met", "accepts": "never", "answers": "met", "reachable": "met", "trusted": "met", "http": "met"},
		`"outcomes":{"1":{"delivered-nonconformant":3}},"echo":{"missing":3}`:        {"conforms": "never", "echo": "never", "accepts": "met", "answers": "met", "reachable": "met", "trusted": "met", "http": "met"},
		`"outcomes":{"1":{"delivered":3,"refused":1}},"echo":{"match":4}`:            {"conforms": "not", "echo": "met", "accepts": "not", "answers": "met", "reachable": "met", "trusted": "met", "http": "met"},
		`"manual":{"outcomes":{"delivered":1}},"echo":{"match":1}`:                   {"conforms": "met", "echo": "met", "accepts": "met", "answers": "met", "reachable": "met", "trusted": "met", "http": "met"},
		`"outcomes":{"3":{"connect-error":3}},"manual":{"outcomes":{"delivered":1}}`: {"conforms": "met", "echo": "unknown", "accepts": "met", "answers": "met", "reachable": "not", "trusted": "met", "http": "met"},
	} {
		more := ""
		if figures != "" {
			more = "," + figures
		}
		internal := answers{"GET /internal/v1/initiators/x/health": `{"asOf":{},"windows":[{"window":"30d","figures":{"notifications":7` + more + `}}],"queue":{}}`}
		for lang, word := range words {
			text := shown(t, internal, lang, http.MethodGet, "/initiators/{clientId}", "/initiators/x", map[string]string{"clientId": "x"})
			for demand, verdict := range want {
				require.Contains(t, text, `<th scope="row">`+word[demand]+`</th><td><span class="tag `+word[verdict]+`</span></td>`, "%s %s", figures, demand)
			}
		}
	}
}

// TestAnInitiatorIsNotSaidToAnswerBeforeItDid: with one or two failures and no delivery it counted as one that answers.
func TestAnInitiatorIsNotSaidToAnswerBeforeItDid(t *testing.T) {
	for health, says := range map[string][2]string{
		`"notifications":1,"failures":2,"since":"2026-11-28T13:58:00Z","lastSuccessAt":null`:                   {"sem entrega até agora", "no delivery so far"},
		`"notifications":1,"failures":0,"since":null,"lastSuccessAt":null`:                                     {"sem entrega até agora", "no delivery so far"},
		`"notifications":1,"failures":1,"since":"2026-11-28T13:58:00Z","lastSuccessAt":"2026-11-28T13:00:00Z"`: {"falhou por último", "failed last"},
		`"notifications":1,"failures":0,"since":null,"lastSuccessAt":"2026-11-28T13:00:00Z"`:                   {"responde", "answers"},
	} {
		internal := answers{"GET /internal/v1/initiators": `{"initiators":[{"clientId":"x","name":"X","push":true,"updatedAt":"2026-09-03T10:00:00Z","health":{` + health + `}}],"down":0,"unknownChanges":0}`}
		require.Contains(t, both(t, internal, "/initiators", "/initiators", nil), `">`+says[0]+`</span>`, health)
		require.Contains(t, shown(t, internal, page.English, http.MethodGet, "/initiators", "/initiators", nil), `">`+says[1]+`</span>`, health)
	}
}

// TestARefusalIsNotCalledSilence: a receiver that refuses with 503 answers, and the page said that it does not.
func TestARefusalIsNotCalledSilence(t *testing.T) {
	refuses := answers{"GET /internal/v1/initiators/beta/health": strings.Replace(downHealth, `"lastOutcome":"tls-error"`, `"lastOutcome":"refused"`, 1)}
	text := both(t, refuses, "/initiators/{clientId}", "/initiators/beta", map[string]string{"clientId": "beta"})
	require.Contains(t, text, "o receptor responde com um erro em vez de 202")
	require.NotContains(t, text, "Não responde")
	now := answers{"GET /internal/v1/overview": strings.Replace(overviewNow, `"queue":`, `"down":[{"clientId":"beta","failures":6,"since":"2026-11-28T13:58:00Z","lastOutcome":"refused"}],"queue":`, 1)}
	for lang, says := range map[page.Lang][3]string{page.Portuguese: {"1 iniciadora a que as entregas falham", ">entregas falham</span>", "sem resposta"}, page.English: {"1 initiator to which deliveries fail", ">deliveries fail</span>", "no answer"}} {
		text := shown(t, now, lang, http.MethodGet, "/", "/", nil)
		require.Contains(t, text, says[0])
		require.Contains(t, text, says[1])
		require.NotContains(t, text, says[2])
	}
}

func TestPollingSavedIsShownByInitiatorAndWhatIsNotKnownIsSaid(t *testing.T) {
	internal := answers{"GET /internal/v1/audit/polling": `{"month":"2026-11","from":"2026-11-01T03:00:00Z","to":"2026-12-01T03:00:00Z","withPush":{},"withoutPush":{},"withoutPushCadenceMillis":2000,
		"clients":[{"clientId":"alfa","resources":100,"pushed":90,"pushes":95,"queries":120,"beforePush":4,"withinAMinute":95,"later":20,"alreadyFinal":1,"cadenceMillis":null,"avoided":null,"avoidedAtOthersCadence":1234},
		{"clientId":"gama","resources":10,"pushed":0,"pushes":0,"queries":300,"beforePush":280,"withinAMinute":0,"later":0,"alreadyFinal":20,"cadenceMillis":2000,"avoided":null,"avoidedAtOthersCadence":null}]}`}
	text := both(t, internal, "/polling", "/polling?month=2026-11", nil)
	for _, says := range []string{">sem aviso entregue antes</th>", "Consultas economizadas", "1.234", "não conhecido", `href="/initiators/gama"`, `aria-current="true">2026-11`} {
		require.Contains(t, text, says)
	}
}

func TestRequestsBeyondTheFirstPageAreReached(t *testing.T) {
	internal := answers{"GET /internal/v1/requests": `{"requests":[{"request":"r-1","act":"hold","state":"done","call":"PUT /internal/v1/audit/holds/case-1","body":{"all":true},"reason":"court","askedBy":"ana","askedRole":"auditor",
		"askedAt":"2026-11-28T14:04:41Z","expiresAt":"2026-11-29T14:04:41Z","decidedBy":"bia","decisionReason":"read it","decidedAt":"2026-11-28T14:05:00Z","status":201,"answer":{"name":"case-1"},"endedAt":"2026-11-28T14:05:00Z","decideRoles":["auditor"]}],"nextCursor":"YmV0YQ"}`}
	first := both(t, internal, "/requests", "/requests?state=done", nil)
	require.Contains(t, first, `href="/requests?cursor=YmV0YQ&amp;state=done" rel="next">Mais antigas`)
	require.NotContains(t, first, "Mais novas")
	require.Contains(t, both(t, internal, "/requests", "/requests?state=done&cursor=YmV0YQ", nil), `href="/requests?state=done">Mais novas`)
}

func TestTheQuarantineHasPagesAndAListOfWhatDoesNotConform(t *testing.T) {
	const one = `{"id":"c-1","state":"nonconforming","kind":"pix-payment","resourceId":"p1","revision":4,"clientId":"alfa","source":"core","errors":[{"pointer":"/data/name","code":"length","detail":"name is too long"}],
		"seen":1,"firstAt":"2026-11-28T14:04:41Z","lastAt":"2026-11-28T14:04:41Z","closedBy":null,"closedReason":null,"closedAt":null`
	internal := answers{
		"GET /internal/v1/quarantine":               `{"quarantine":[` + one + `}],"nextCursor":"YmV0YQ"}`,
		"GET /internal/v1/quarantine/c-1":           one + `,"change":null}`,
		"GET /internal/v1/resources/pix-payment/p1": `{"revision":4,"status":"ACSC","document":{"paymentId":"p1"}}`,
	}
	list := both(t, internal, "/quarantine", "/quarantine?state=nonconforming", nil)
	for _, says := range []string{`href="/quarantine?cursor=YmV0YQ&amp;state=nonconforming" rel="next">Mais antigas`, "fora do padrão", "a iniciadora foi avisada, mas o documento não segue o esquema", `value="dismiss"`} {
		require.Contains(t, list, says)
	}
	require.NotContains(t, list, `value="apply"`, "it is applied already")
	require.Contains(t, both(t, internal, "/quarantine", "/quarantine?state=nonconforming&cursor=YmV0YQ", nil), `href="/quarantine?state=nonconforming">Mais novas`)
	alone := both(t, internal, "/quarantine/{id}", "/quarantine/c-1", map[string]string{"id": "c-1"})
	require.Contains(t, alone, `action="/quarantine/c-1/dismiss"`)
	require.NotContains(t, alone, `action="/quarantine/c-1/apply"`)
	require.NotContains(t, alone, "Diferença para o documento gravado")
}

func TestLatenessIsGroupedByWhoCanAct(t *testing.T) {
	const total = `"total":{"notifications":1000,"first":{"judged":1000,"onTime":982,"late":18,"lateOurs":6,"onTimeShare":0.982,"sinceEvent":{"p95Micros":64000}},"retries":{"late":2,"onTime":40}}`
	internal := answers{
		"GET /internal/v1/audit/statistics": `{"asOf":{"at":"2026-11-28T14:04:41Z"},` + total + `,"rows":[{"clientId":"alfa","cause":"core-late","owner":"core","first":12,"retries":0,"figures":{"notifications":500,"first":{"late":18,"onTimeShare":0.9}}},
			{"clientId":"beta","cause":"slots","owner":"us","first":6,"retries":2,"figures":{"notifications":500,"first":{"late":0},"retries":{"late":2}}}],"nextCursor":null}`,
		"GET /internal/v1/audit/breaches": `{"report":null,"nextCursor":"x","byClient":[{"clientId":"alfa","late":18}],"breaches":[{"notificationId":"n","clientId":"alfa","kind":"pix-payment","resourceId":"p-1","state":"delivered","occurredAt":"2026-11-28T14:04:41Z",
			"first":{"fromEvent":"late","fromReceipt":"on-time","sinceEventMicros":4000000,"sinceReceiptMicros":19000,"cause":"core-late"},"attempts":[{"number":1},{"number":2,"gap":"late","sinceFailureMicros":14000000,"cause":"slots"}]}]}`,
	}
	text := both(t, internal, "/late", "/late", nil)
	for _, says := range []string{"98,20 %", "o core", "nós", "p-1", "4,00 s", "2ª tentativa, 14,0 s após a falha", "Mais antigas"} {
		require.Contains(t, text, says)
	}
}

// TestALateFirstAttemptThatNoListHasIsExplained: the page counted one, listed none and said nothing, where its claim was in time and an earlier
// version had folded it.
func TestALateFirstAttemptThatNoListHasIsExplained(t *testing.T) {
	internal := func(late int) answers {
		return answers{
			"GET /internal/v1/audit/statistics": fmt.Sprintf(`{"asOf":{"at":"2026-11-28T14:04:41Z"},"total":{"notifications":9,"first":{"judged":9,"onTime":8,"late":%d}},"rows":[]}`, late),
			"GET /internal/v1/audit/breaches":   `{"report":null,"nextCursor":null,"breaches":[]}`,
		}
	}
	const says = "whose first byte left late"
	require.Contains(t, shown(t, internal(1), page.English, http.MethodGet, "/late", "/late?month=2026-11", nil), says)
	require.NotContains(t, shown(t, internal(0), page.English, http.MethodGet, "/late", "/late?month=2026-11", nil), says)
}

// lateOnly answers for a period without a late first attempt, by the list that is asked for.
type lateOnly struct{ retries string }

func (l lateOnly) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body := `{"asOf":{"at":"2026-11-28T14:04:41Z"},"total":{"notifications":9,"first":{"judged":9,"onTime":9},"retries":{"late":2}},"rows":[{"cause":"slots","owner":"us","first":0,"retries":2}]}`
	if strings.HasSuffix(r.URL.Path, "/breaches") {
		if body = l.retries; r.URL.Query().Get("late") != "retries" || l.retries == "" {
			w.WriteHeader(http.StatusBadRequest)
			body = `{"error":"invalid_request","error_description":"not this"}`
		}
	}
	_, _ = w.Write([]byte(body))
}

func TestLateRetriesAreListedAlsoWithoutALateFirstAttempt(t *testing.T) {
	list := lateOnly{`{"report":null,"nextCursor":"old","breaches":[{"notificationId":"n","clientId":"alfa","kind":"pix-payment","resourceId":"p-1","state":"exhausted","occurredAt":"2026-11-28T14:04:41Z",
		"first":{"fromEvent":"on-time"},"attempts":[{"number":1},{"number":2,"gap":"late","sinceFailureMicros":14000000,"cause":"slots"},{"number":3,"gap":"late","sinceFailureMicros":75000000,"cause":"receiver"}]}]}`}
	text := shown(t, list, page.Portuguese, http.MethodGet, "/late", "/late?from=2026-09-01T00:00&to=2026-11-30T00:00", nil)
	for _, says := range []string{"Cada 2ª ou 3ª tentativa fora do prazo", "p-1", "2ª tentativa, 14,0 s após a falha", "3ª tentativa, 1 min 15 s após a falha", "retries=old", "Mais antigas", "25 notificações por vez", "O período tem mais de 31 dias", "30/10/2026"} {
		require.Contains(t, text, says)
	}
	require.NotContains(t, shown(t, list, page.English, http.MethodGet, "/late", "/late?from=2026-11-01T00:00&to=2026-11-30T00:00", nil), "longer than 31 days")
	require.Contains(t, shown(t, lateOnly{}, page.English, http.MethodGet, "/late", "/late", nil), "too many for a list")
}

// TestTheFirstPageAndThatOfLateTimesTellTheSamePercentile: one of them lowered what the sums say to the latest attempt of its list.
func TestTheFirstPageAndThatOfLateTimesTellTheSamePercentile(t *testing.T) {
	const first = `"first":{"judged":9,"onTime":8,"late":1,"onTimeShare":0.88,"sinceEvent":{"p50Micros":64000,"p95Micros":4080000,"p99Micros":4080000,"maxMicros":4080000}}`
	internal := answers{
		"GET /internal/v1/overview":         strings.Replace(overviewNow, `"first":{"judged":3,"late":1,"onTimeShare":0.66}`, first, 1),
		"GET /internal/v1/audit/statistics": `{"asOf":{"at":"2026-11-28T14:04:41Z"},"total":{"notifications":9,` + first + `},"rows":[]}`,
		"GET /internal/v1/audit/breaches": `{"report":null,"nextCursor":"","breaches":[{"notificationId":"n","clientId":"alfa","kind":"pix-payment","resourceId":"p-1","state":"delivered","occurredAt":"2026-11-28T14:04:31Z",
			"decidedAt":"2026-11-28T14:04:35Z","first":{"fromEvent":"late","sinceEventMicros":4010000,"cause":"core-late"},"attempts":[{"number":1,"storedAt":"2026-11-28T14:04:36Z"}]}]}`,
	}
	now, late := both(t, internal, "/", "/", nil), both(t, internal, "/late", "/late?month=2026-11", nil)
	require.Contains(t, now, `<p class="v">4,08 s</p>`)
	require.Contains(t, late, `<p class="v">4,08 s</p><p class="d">p50 64 ms · p99 4,08 s</p>`)
	for _, text := range []string{now, late} {
		require.Contains(t, text, "podem estar até 5 % acima do valor exato")
	}
	require.Contains(t, late, "também acima de um valor da lista", "the list says 4.01 s")
	require.Contains(t, late, "4,01 s")
}

// TestAnActIsNamedInTheLanguageOfThePage: acts were words of the API alone.
func TestAnActIsNamedInTheLanguageOfThePage(t *testing.T) {
	text := both(t, answers{"GET /internal/v1/audit/entries": `{"entries":[{"seq":1,"at":"2026-11-28T14:04:41Z","kind":"admin","outcome":"export-requested","facts":{"actor":"ana","role":"auditor"}},
		{"seq":3,"at":"2026-11-28T14:04:41Z","kind":"registration-refused","outcome":"origin","facts":{"actor":"as"}},{"seq":4,"at":"2026-11-28T14:04:41Z","kind":"hold","outcome":"lifted","facts":{"actor":"ana"}},
		{"seq":2,"at":"2026-11-28T14:04:41Z","kind":"admin","outcome":"of-a-newer-version","facts":{"actor":"ana","role":"auditor"}}]}`}, "/access", "/access", nil)
	require.Contains(t, text, `<td>registro recusado<br><span class="sub id">registration-refused origin</span></td>`)
	require.Contains(t, text, `<td>encerrou uma retenção<br><span class="sub id">hold lifted</span></td>`)
	require.Contains(t, text, `<td>pediu uma exportação<br><span class="sub id">export-requested</span></td>`)
	require.Contains(t, text, `<td><span class="id">of-a-newer-version</span></td>`)
}

func TestALogThatIsNotWhatWasSignedSaysSoFirst(t *testing.T) {
	internal := answers{
		"GET /internal/v1/audit/verifications": `{"size":1204331,"since":{"verified":1204331},"whole":{"verified":1204000,"fault":{"seq":77,"reason":"the entry is missing"}},"running":{"id":"9","state":"running","beganAt":"2026-11-28T14:04:41Z","verified":400000,"size":1204331},
			"anchors":[{"name":"file","size":1204331,"checkpointAt":"2026-11-28T14:04:41Z"},{"name":"object-store","problem":"the object store answered 503","problemPt":"o armazenamento de objetos respondeu 503","problemAt":"2026-11-28T14:04:41Z"},{"name":"url","problem":"refused","problemAt":"2026-11-28T14:04:41Z"}],"lastSealing":"2026-11-28T14:04:41Z"}`,
		"GET /internal/v1/audit/checkpoints":     `{"log":"arauto/x","size":1204331,"root":"r","at":"2026-11-28T14:04:41Z","note":"n"}`,
		"GET /internal/v1/audit/verifications/9": `{"id":"9","state":"bad","beganAt":"2026-11-28T14:04:41Z","endedAt":"2026-11-28T14:05:41Z","verified":77,"size":1204331,"fault":{"seq":77,"reason":"the entry is missing"}}`,
	}
	text := both(t, internal, "/log", "/log", nil)
	for _, says := range []string{"O log não é o que foi assinado", "Primeira posição errada: 77", "1.204.331", "Verificação em curso: 33 %", `recusou</span> <span lang="en">refused</span>`, `recusou</span> o armazenamento de objetos respondeu 503`} {
		require.Contains(t, text, says)
	}
	require.Contains(t, both(t, internal, "/log/verifications/{id}", "/log/verifications/9", map[string]string{"id": "9"}), "divergência encontrada")
}
