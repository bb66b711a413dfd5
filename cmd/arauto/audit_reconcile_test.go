package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/lab/storetest"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/timing"
)

// judged is a database that commands judge.
type judged struct {
	t     *testing.T
	url   string
	owner *pgx.Conn
}

func openJudged(t *testing.T) *judged {
	t.Helper()
	j := &judged{t: t, url: storetest.Database(t)}
	var err error
	j.owner, err = pgx.Connect(t.Context(), j.url)
	require.NoError(t, err)
	t.Cleanup(func() { j.owner.Close(t.Context()) })
	return j
}

func (j *judged) exec(sql string) {
	j.t.Helper()
	_, err := j.owner.Exec(j.t.Context(), sql)
	require.NoError(j.t, err)
}

func (j *judged) run(args ...string) (code int, stdout, stderr string) {
	j.t.Helper()
	var out, errs bytes.Buffer
	code = run(j.t.Context(), world{[]string{"ARAUTO_DATABASE_URL=" + j.url, "ARAUTO_ORGANISATION_ID=holder"}, &out, &errs}, append([]string{"audit"}, args...))
	return code, out.String(), errs.String()
}

func (j *judged) recorded(act string) (n int) {
	j.t.Helper()
	require.NoError(j.t, j.owner.QueryRow(j.t.Context(), "SELECT count(*) FROM arauto.entry WHERE kind = 'admin' AND outcome = $1 AND facts->>'sha256' <> ''", act).Scan(&n))
	return n
}

func TestReconcileTellsAPersonWhatToDoAndASchedulerByItsExitCode(t *testing.T) {
	j := openJudged(t)
	code, out, errs := j.run("reconcile")
	require.Equal(t, done, code, errs)
	require.Contains(t, out, "nenhuma diferença")
	require.Regexp(t, `(?m)^desde o início do histórico até 20\d\d-\S+Z: `, out, "there is no start")
	j.exec(`INSERT INTO arauto.queue (id, client_id, push_epoch, kind, resource_id, api_version, event, event_at, occurred_at, due_at)
VALUES (gen_random_uuid(), 'itp', 1, 2, 'stray', 'v5', '', now(), now(), now() - interval '2 hours')`)
	code, out, _ = j.run("reconcile", "--lang", "en")
	require.Equal(t, failed, code)
	for _, words := range []string{"notification-undecided: ", "notification-overdue: ", `resource: pix-payment "stray"`, "what to do: ", "2 differences"} {
		require.Contains(t, out, words)
	}
	require.Regexp(t, `(?m)^from the beginning of the history to 20\d\d-\S+Z: `, out)
	_, out, _ = j.run("reconcile", "--lang", "en", "--from", "2026-01-02T03:04:05Z")
	require.Regexp(t, `(?m)^from 2026-01-02T03:04:05\S*Z to 20\d\d-\S+Z: `, out)
	code, out, _ = j.run("reconcile", "--format", "json")
	require.Equal(t, failed, code)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	require.Len(t, lines, 3)
	var first history.Difference
	require.NoError(t, json.Unmarshal([]byte(lines[0]), &first))
	require.Equal(t, "stray", first.ResourceID)
	var last struct{ Reconciliation history.Reconciliation }
	require.NoError(t, json.Unmarshal([]byte(lines[2]), &last))
	require.EqualValues(t, 2, last.Reconciliation.Differences)
	for _, wrong := range [][]string{{"--format", "xml"}, {"--lang", "fr"}, {"--from", "today"}, {"--from", "2026-11-22T00:00:00Z", "--to", "2026-11-21T00:00:00Z"}} {
		code, _, _ = j.run(append([]string{"reconcile"}, wrong...)...)
		require.Equal(t, usage, code, wrong)
	}
	code, _, errs = j.run("reconcile", "--database-url", "postgres://nobody@127.0.0.1:1/x")
	require.Equal(t, failed, code, errs)
}

func TestEveryFindingIsExplainedInBothLanguages(t *testing.T) {
	for _, f := range history.Findings() {
		for _, lang := range []string{"pt", "en"} {
			what, do := f.Explain(lang)
			require.NotEmpty(t, what, f)
			require.NotEmpty(t, do, f)
		}
	}
	for _, d := range notice.Delays() {
		require.NotEmpty(t, timing.CauseWord(d, "pt"))
		require.NotEmpty(t, timing.CauseWord(d, "en"))
	}
}

// late writes a notification whose first attempt started three seconds after its change came.
func (j *judged) late(client string) {
	j.exec(fmt.Sprintf(`WITH n AS (SELECT gen_random_uuid() AS id, gen_random_uuid() AS token, now() - interval '1 minute' AS at)
INSERT INTO arauto.entry (id, at, kind, client_id, resource_kind, resource_id, revision, notification_id, interaction_id, number, outcome, closes, facts)
SELECT gen_random_uuid(), at, 'change', '%[1]s', 2::smallint, '=p', 1::bigint, id, NULL::uuid, NULL::smallint, 'applied', NULL,
  json_build_object('source', 'api', 'occurredAt', to_json(at), 'beganMicros', 1000, 'waitedMicros', 1500) FROM n
UNION ALL SELECT token, at + interval '3 seconds', 'attempt', '%[1]s', 2, '=p', NULL, id, gen_random_uuid(), 1, NULL, NULL, json_build_object('scheduledAt', at) FROM n
UNION ALL SELECT gen_random_uuid(), at + interval '3.1 seconds', 'result', '%[1]s', 2, '=p', NULL, id, NULL, 1, 'delivered', 'delivered',
  json_build_object('attempt', token, 'claimToSendMicros', 100, 'firstByteOutMicros', 2000, 'elapsedMicros', 5000, 'endedAt', to_json(at + interval '3.05 seconds')) FROM n`, client))
}

func TestTheReportOfBreachesIsForPeopleSpreadsheetsAndPrograms(t *testing.T) {
	j := openJudged(t)
	j.late("@itp")
	j.late("other")
	period := []string{"breaches", "--from", time.Now().Add(-time.Hour).Format(time.RFC3339), "--to", time.Now().Add(time.Hour).Format(time.RFC3339)}
	code, out, errs := j.run(period...)
	require.Equal(t, done, code, errs)
	for _, words := range []string{"primeira tentativa: atrasada, 3,002 s após o evento", "máximo 3,002 s", "causa: paralisação", "primeiro byte enviado", `iniciadora "@itp"`, "2 atrasadas (evento)"} {
		require.Contains(t, out, words)
	}
	requireCommas(t, out)
	require.Equal(t, 1, j.recorded("breaches"))
	code, out, _ = j.run(append(period, "--lang", "en", "--client", "other")...)
	require.Equal(t, done, code)
	require.Contains(t, out, "first attempt: late, 3.002 s after the event")
	require.NotContains(t, out, "@itp")

	file := filepath.Join(t.TempDir(), "breaches.csv")
	code, out, errs = j.run(append(period, "--format", "csv", "--out", file)...)
	require.Equal(t, done, code, errs)
	require.Empty(t, out)
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	rows, err := csv.NewReader(bytes.NewReader(text)).ReadAll()
	require.NoError(t, err)
	require.Len(t, rows, 3)
	require.Equal(t, []string{"'@itp", "pix-payment", "'=p"}, rows[1][2:5])
	require.Equal(t, []string{"late", "late", "", "standstill"}, rows[1][15:19])
	require.Equal(t, []string{rows[1][7], "0", "", "unsealed"}, rows[1][19:], "received once")

	code, out, _ = j.run(append(period, "--format", "json")...)
	require.Equal(t, done, code)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	require.Len(t, lines, 3)
	var last struct {
		Report struct{ Total struct{ Late int } }
	}
	require.NoError(t, json.Unmarshal([]byte(lines[2]), &last))
	require.Equal(t, 2, last.Report.Total.Late)
	code, _, _ = j.run("breaches")
	require.Equal(t, usage, code)
}

// TestTheReportOfBreachesSaysWhatWasTamperedWith: in each form and language, and by its exit code (found F23).
func TestTheReportOfBreachesSaysWhatWasTamperedWith(t *testing.T) {
	p := openProven(t, 0)
	j := &judged{t: t, url: p.url, owner: p.owner}
	j.late("itp")
	p.seal()
	period := []string{"breaches", "--from", time.Now().Add(-time.Hour).Format(time.RFC3339), "--to", time.Now().Add(time.Hour).Format(time.RFC3339)}
	code, out, errs := j.run(period...)
	require.Equal(t, done, code, errs)
	require.Contains(t, out, "integridade: 3 registros conferem com o log selado (3 até a raiz assinada), 0 ainda não selados, 0 ADULTERADOS")
	p.asOwner("UPDATE entry SET facts = (facts::jsonb || jsonb_build_object('occurredAt', at + interval '3 seconds'))::json WHERE kind = 'change'")
	code, out, errs = j.run(period...)
	require.Equal(t, failed, code)
	for _, words := range []string{"primeira tentativa: desconhecido; causa: ADULTERADO", "2 registros conferem", "1 ADULTERADOS", "ADULTERADO posição ", "1 sem veredito (adulteradas)"} {
		require.Contains(t, out, words)
	}
	require.Contains(t, errs, "1 ADULTERADOS")
	code, out, _ = j.run(append(period, "--lang", "en")...)
	require.Equal(t, failed, code)
	for _, words := range []string{"first attempt: not known; cause: TAMPERED", "1 TAMPERED WITH", "it is not what was sealed", "0 on time, 0 late (event)"} {
		require.Contains(t, out, words)
	}
	code, out, _ = j.run(append(period, "--format", "csv")...)
	require.Equal(t, failed, code)
	require.Contains(t, out, "unknown,unknown,,tampered,")
	require.Contains(t, out, ",tampered\n")
	code, out, _ = j.run(append(period, "--format", "json")...)
	require.Equal(t, failed, code)
	require.Contains(t, out, `"tampered":true`)
	require.Contains(t, out, `"failedCount":1`)
}

func TestTheListOfADaysCallsHasOneLineACall(t *testing.T) {
	j := openJudged(t)
	s, err := store.Open(t.Context(), store.Options{URL: j.url, Replica: "test", Version: "0"})
	require.NoError(t, err)
	defer s.Close()
	at := time.Date(2026, 11, 21, 2, 59, 59, 0, time.UTC) // still the 20th in Brasília
	var polls []notice.Poll
	for n, status := range []int{200, 200, 404, 529} {
		polls = append(polls, notice.Poll{
			ID: store.NewID(), At: at, Interaction: store.NewID(), Client: "itp", Kind: ofb.PixPayment, ResourceID: "p",
			Facts: notice.PollFacts{Operation: "payment", APIVersion: "v5", ReceivedAt: at, HTTPStatus: status, DurationUS: 12_345, Organisation: "=org"},
		})
		if n == 3 {
			polls[n].Facts.Suppressed = 7
		}
		at = at.Add(2 * time.Second)
	}
	require.NoError(t, s.RecordPolls(t.Context(), 1, polls))
	j.exec("SET session_replication_role = replica; UPDATE arauto.entry SET at = '2026-11-21T03:00:10Z' WHERE kind = 'poll'")
	file := filepath.Join(t.TempDir(), "calls.jsonl")
	code, _, errs := j.run("report", "--day", "2026-11-21", "--out", file)
	require.Equal(t, done, code, errs)
	require.Contains(t, errs, "2026-11-21: 3 calls, 7 more refused by limits")
	require.Contains(t, errs, "1  /open-banking/payments/v5/pix/payments/{paymentId} 404")
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	require.Len(t, lines, 3)
	require.JSONEq(t, `{"timestamp":"2026-11-21T03:00:01.000000Z","endpoint":"/open-banking/payments/v5/pix/payments/{paymentId}","method":"GET","statusCode":200,
		"durationMillis":12.345,"x-fapi-interaction-id":"`+polls[1].Interaction.String()+`","clientOrganisationId":"=org","serverOrganisationId":"holder"}`, lines[0])
	code, out, _ := j.run("report", "--day", "2026-11-20", "--format", "csv")
	require.Equal(t, done, code)
	rows, err := csv.NewReader(strings.NewReader(out)).ReadAll()
	require.NoError(t, err)
	require.Len(t, rows, 2)
	require.Equal(t, "'=org", rows[1][6])
	require.Equal(t, 2, j.recorded("calls"))
	code, _, _ = j.run("report", "--day", "21/11/2026")
	require.Equal(t, usage, code)
}
