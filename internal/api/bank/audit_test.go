package bank

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/evidence"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/lab/storetest"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/store/auditlog"
)

// archive is a world whose history is a real one.
type archive struct {
	*world
	auditlog *auditlog.Log
	owner    *pgx.Conn
	key      *audit.Signer
}

// storeLog opens the log as package gateway does.
type storeLog struct{ *auditlog.Log }

func (s storeLog) Open(ctx context.Context, size int64) (evidence.SealedLog, func(), error) {
	x, err := s.OpenLog(ctx, size)
	if err != nil {
		return nil, nil, err
	}
	return x, func() { x.Close(ctx) }, nil
}

const paidNotice, webhookID, fapiID = "00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002", "00000000-0000-4000-8000-000000000003"

func openArchive(t *testing.T, change ...func(*InternalConfig)) *archive {
	t.Helper()
	url := storetest.Database(t)
	s, err := store.Open(t.Context(), store.Options{URL: url, Replica: "test", Version: "0"})
	require.NoError(t, err)
	t.Cleanup(s.Close)
	l := auditlog.New(s.Access())
	a := &archive{auditlog: l}
	a.world = newWorld(t, append([]func(*InternalConfig){func(c *InternalConfig) {
		c.History, c.Audited, c.Exports, c.Holds, c.Readings = l, storeLog{l}, l, l, l
	}}, change...)...)
	a.owner, err = pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = a.owner.Close(context.Background()) })
	_, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	a.key = audit.NewSigner(private)
	_, err = l.RegisterLogKey(t.Context(), a.key.Public())
	require.NoError(t, err)
	a.exec(`SET search_path = arauto;
INSERT INTO entry (id, kind, client_id, resource_kind, resource_id, notification_id, interaction_id, number, outcome, facts) VALUES
 (gen_random_uuid(), 'change', 'itp', 2, 'p-1', '` + paidNotice + `', NULL, NULL, 'applied', '{"remote":"10.0.0.1:1"}'),
 (gen_random_uuid(), 'attempt', 'itp', 2, 'p-1', '` + paidNotice + `', '` + webhookID + `', 1, NULL, '{"late":true}'),
 (gen_random_uuid(), 'result', 'itp', 2, 'p-1', '` + paidNotice + `', NULL, 1, 'refused', '{"httpStatus":503,"echo":"<img src=x>"}'),
 (gen_random_uuid(), 'poll', 'itp', 2, 'p-1', NULL, '` + fapiID + `', NULL, '200', '{"source":"192.0.2.1:5"}'),
 (gen_random_uuid(), 'change', 'other', 4, 'r-2', NULL, NULL, NULL, 'applied', '{"dup":1,"dup":2}')`)
	a.seal()
	return a
}

func (a *archive) exec(sql string) {
	a.t.Helper()
	_, err := a.owner.Exec(a.t.Context(), sql)
	require.NoError(a.t, err)
}

func (a *archive) seal() {
	a.t.Helper()
	storetest.Seal(a.t, a.auditlog, a.owner, a.key)
}

// raw asks as an auditor for what need not be JSON.
func (a *archive) raw(path string) (*http.Response, []byte) {
	a.t.Helper()
	r, err := http.NewRequestWithContext(a.t.Context(), http.MethodGet, a.url+path, http.NoBody)
	require.NoError(a.t, err)
	r.Header.Set("Authorization", "Bearer auditor")
	got, err := a.client.Do(r)
	require.NoError(a.t, err)
	defer got.Body.Close()
	text, err := io.ReadAll(got.Body)
	require.NoError(a.t, err)
	return got, text
}

// readings are the history's records of an act, oldest first.
func (a *archive) readings(act string) (out []map[string]any) {
	a.t.Helper()
	rows, err := a.owner.Query(a.t.Context(), "SELECT facts FROM arauto.entry WHERE kind = 'admin' AND outcome = $1 ORDER BY xid", act)
	require.NoError(a.t, err)
	texts, err := pgx.CollectRows(rows, pgx.RowTo[[]byte])
	require.NoError(a.t, err)
	for _, text := range texts {
		var m map[string]any
		require.NoError(a.t, json.Unmarshal(text, &m))
		out = append(out, m)
	}
	return out
}

func sumOf(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

func TestAnAuditorSearchesByEachKeyAndThatIsRecorded(t *testing.T) {
	a := openArchive(t)
	a.exec("CREATE TABLE entry_202001 PARTITION OF entry FOR VALUES FROM ('2020-01-01 00:00:00+00') TO ('2020-02-01 00:00:00+00')") // or else the history begins with the month before
	for query, kinds := range map[string]string{
		"": "change poll result attempt change", "resourceId=p-1": "poll result attempt change", "interactionId=" + webhookID: "attempt",
		"interactionId=" + fapiID: "poll", "notificationId=" + paidNotice: "result attempt change", "clientId=other": "change", "kind=recurring-payment": "change",
		"outcome=refused": "result", "late=true": "attempt", "entry=poll,attempt": "poll attempt", "entry=poll&entry=attempt": "poll attempt",
		"clientId=itp&outcome=200": "poll", "from=2020-01-01T00:00:00Z&resourceId=p-1&entry=result": "result", "to=2020-01-01T00:00:00Z": "", "clientId=nobody": "",
	} {
		got, text := a.raw("/internal/v1/audit/entries?" + query)
		require.Equal(t, 200, got.StatusCode, "%s: %s", query, text)
		var page struct {
			Entries    []map[string]any
			NextCursor *string
			Checkpoint map[string]any
		}
		require.NoError(t, json.Unmarshal(text, &page))
		var have []string
		for _, e := range page.Entries {
			if e["kind"] != "admin" { // the readings before
				have = append(have, e["kind"].(string))
				require.NotNil(t, e["seq"])
			} else {
				require.Nil(t, e["seq"], "what is not sealed has no position")
			}
			require.Equal(t, map[bool]string{true: "unsealed", false: "proven"}[e["seq"] == nil], e["integrity"])
			require.Len(t, e, 18)
		}
		require.Len(t, have, len(strings.Fields(kinds)), query)
		for _, k := range strings.Fields(kinds) {
			require.Contains(t, have, k, query)
		}
		require.EqualValues(t, 5, page.Checkpoint["size"])
		if query == "" {
			require.NotNil(t, page.NextCursor, "31 days back is not the end")
		}
		all := a.readings("search")
		last := all[len(all)-1]
		require.Equal(t, "who-auditor", last["actor"])
		require.Equal(t, "auditor", last["role"])
		require.Equal(t, "test 0", last["system"])
		require.Regexp(t, `^127\.0\.0\.1:\d+$`, last["source"])
		require.EqualValues(t, len(page.Entries), last["rows"])
		require.Equal(t, sumOf(text), last["sha256"])
		values, err := url.ParseQuery(query)
		require.NoError(t, err)
		for name := range values {
			require.NotEmpty(t, last["filter"].(map[string]any)[name], query)
		}
	}
	_, text := a.raw("/internal/v1/audit/entries?clientId=other")
	require.Contains(t, string(text), `"facts":"{\"dup\":1,\"dup\":2}"`, "an entry that is not as we write them is shown all the same")
}

func TestAnAuditorSearchesForPartOfWhoReadOrActed(t *testing.T) {
	a := openArchive(t)
	a.exec(`INSERT INTO entry (id, kind, outcome, facts) VALUES (gen_random_uuid(), 'admin', 'read', '{"actor":"Ana.Lima"}'),
  (gen_random_uuid(), 'hold', 'placed', '{"actor":"ana.souza"}'), (gen_random_uuid(), 'admin', 'read', '{"actor":"bruno","reason":"ana asked"}'), (gen_random_uuid(), 'admin', 'read', '{}')`)
	for query, want := range map[string]int{
		"entry=admin,hold&actor=ANA": 2, "entry=admin&actor=lima": 1, "entry=hold&actor=bruno": 0, "entry=admin&actor=%25": 0, "entry=admin&actor=a.l&outcome=read": 1,
		"entry=admin&entry=resend&actor=ana&to=2020-01-01T00:00:00Z": 0,
	} {
		got := a.ask("GET", "/internal/v1/audit/entries?"+query, "auditor", "")
		require.Equal(t, 200, got.status, got.text)
		require.Len(t, got.body["entries"], want, query)
	}
	all := a.readings("search")
	require.NotEmpty(t, all[len(all)-1]["filter"].(map[string]any)["actor"], "the record of the reading says whose entries were looked for")
	for _, query := range []string{
		"actor=ana", "entry=admin,change&actor=ana", "entry=poll&actor=ana", "entry=admin&actor=%00", "entry=admin&actor=%ff", "entry=admin&actor=" + strings.Repeat("x", 256),
	} {
		got := a.ask("GET", "/internal/v1/audit/entries?"+query, "auditor", "")
		got.refused(t, 400, "invalid_request")
		require.Contains(t, got.text, `"/actor"`, query)
	}
	a.ask("POST", "/internal/v1/audit/exports", "auditor", `{"filter":{"actor":"ana"},"format":"csv"}`).refused(t, 400, "invalid_request")
}

func TestACursorLeadsThroughAllEntriesOfItsOwnSearch(t *testing.T) {
	a := openArchive(t)
	a.exec("INSERT INTO entry (id, kind, client_id, facts) SELECT gen_random_uuid(), 'poll', 'itp', '{}' FROM generate_series(1, 95)")
	seen := map[string]bool{}
	cursor := ""
	for pages := 0; ; pages++ {
		require.Less(t, pages, 100)
		got := a.ask("GET", "/internal/v1/audit/entries?clientId=itp&limit=10"+cursor, "auditor", "")
		require.Equal(t, 200, got.status, got.text)
		for _, e := range got.body["entries"].([]any) {
			id := e.(map[string]any)["id"].(string)
			require.False(t, seen[id])
			seen[id] = true
		}
		next, _ := got.body["nextCursor"].(string)
		if next == "" {
			break
		}
		cursor = "&cursor=" + next
		if pages == 0 {
			for _, other := range []string{"clientId=other&limit=10" + cursor, "limit=10" + cursor, "clientId=itp&late=true" + cursor} {
				a.ask("GET", "/internal/v1/audit/entries?"+other, "auditor", "").refused(t, 400, "invalid_request")
			}
			a.ask("GET", "/internal/v1/audit/entries?clientId=itp"+cursor[:len(cursor)-1]+"A&limit=10", "auditor", "")
			a.ask("GET", "/internal/v1/notifications?clientId=itp"+cursor, "auditor", "").refused(t, 400, "invalid_request")
		}
	}
	require.Len(t, seen, 99)
}

func TestHostileSearchesAreRefused(t *testing.T) {
	a := openArchive(t)
	for _, query := range []string{
		"limit=0", "limit=1001", "limit=1e3", "limit=-1", "limit=01", "clientId=", "clientId=a&clientId=b", "clientId=a%20b", "clientId=%27%3B--%00", "clientId=" + strings.Repeat("x", 256),
		"kind=payment", "resourceId=%24%24", "resourceId=x%00", "resourceId=" + strings.Repeat("a", 600), "notificationId=1", "interactionId=%27or%271%27=%271", "changeId=x",
		"changeId=00000000-0000-0000-0000-000000000000", "entry=", "entry=a%20b", "entry=x,,y", "entry=poll&entry=", "entry=" + strings.Repeat("a,", 16) + "a", "outcome=%25", "outcome=" + strings.Repeat("a", 65),
		"late=false", "late=1", "from=yesterday", "from=2026-11-21", "from=0001-01-01T00:00:00Z", "to=9999-99-99T00:00:00Z", "from=2026-11-21T12:00:00+00:00", "from=2026-11-21T12:00:00Z&to=2026-11-20T12:00:00Z",
		"from=2026-01-01T00:00:00Z&to=2026-03-01T00:00:00Z", "from=2020-01-01T00:00:00Z", "from=2020-01-01T00:00:00Z&clientId=itp", "organisationId=%0a", "sort=at", "unknown=1", "%zz=1", "cursor=x", "cursor=", "cursor=" + strings.Repeat("A", 15000),
		"kind=enrollment&resourceId=p-1",
	} {
		got := a.ask("GET", "/internal/v1/audit/entries?"+query, "auditor", "")
		got.refused(t, 400, "invalid_request")
		require.NotContains(t, got.text, "SQLSTATE")
	}
	for _, path := range []string{"entries/-1", "entries/x", "entries/01", "entries/5", "entries/99999999999999999999", "entries/5/proof", "dossier/p-99", "dossier/%27", "exports/" + someID, "exports/x", "exports/x/file", "holds/none", "holds/%2e%2e", "checkpoints?size=4", "checkpoints?at=2001-01-01T00:00:00Z"} {
		before := len(a.readings("not-found"))
		a.ask("GET", "/internal/v1/audit/"+path, "auditor", "").refused(t, 404, "not_found")
		require.Len(t, a.readings("not-found"), before+1, "who looked for what is not there is recorded: %s", path)
	}
	for _, path := range []string{"entries/0?size=x", "entries/0/proof?size=0", "entries/0?x=1", "dossier/p-1?format=docx", "dossier/p-1?lang=fr", "checkpoints?size=1&at=2026-01-01T00:00:00Z", "key?x=1", "exports?x=1", "holds?x=1"} {
		a.ask("GET", "/internal/v1/audit/"+path, "auditor", "").refused(t, 400, "invalid_request")
	}
}

func TestWhatAnAuditorIsGivenVerifies(t *testing.T) {
	a := openArchive(t)
	key := a.ask("GET", "/internal/v1/audit/key", "auditor", "")
	require.Equal(t, 200, key.status)
	public, err := audit.ParsePublic([]byte(key.body["pem"].(string)))
	require.NoError(t, err)
	require.True(t, public.Equal(a.key.Public()))

	got, proof := a.raw("/internal/v1/audit/entries/3/proof")
	require.Equal(t, 200, got.StatusCode)
	require.Equal(t, "text/plain; charset=utf-8", got.Header.Get("Content-Type"))
	_, err = audit.VerifyProof(proof, public)
	require.NoError(t, err)
	require.Equal(t, sumOf(proof), a.readings("proof")[0]["sha256"])

	entry := a.ask("GET", "/internal/v1/audit/entries/3", "auditor", "")
	require.Equal(t, 200, entry.status, entry.text)
	one := entry.body["entry"].(map[string]any)
	require.EqualValues(t, 3, one["seq"])
	require.Equal(t, audit.Leaf([]byte(one["record"].(string))).String(), one["leaf"])
	require.NotEmpty(t, a.readings("entry"))

	for _, query := range []string{"", "?size=5", "?at=" + url.QueryEscape(time.Now().Add(time.Hour).Format(time.RFC3339))} {
		c := a.ask("GET", "/internal/v1/audit/checkpoints"+query, "auditor", "")
		require.Equal(t, 200, c.status, query)
		opened, err := audit.OpenCheckpoint([]byte(c.body["note"].(string)), public)
		require.NoError(t, err)
		require.EqualValues(t, 5, opened.Size)
	}
	require.Len(t, a.readings("checkpoint"), 3)

	for id, format := range map[string]string{"p-1": "html", paidNotice: "text", webhookID: "html", fapiID: "text"} {
		got, text := a.raw("/internal/v1/audit/dossier/" + id + "?lang=en&format=" + format)
		require.Equal(t, 200, got.StatusCode)
		require.Contains(t, got.Header.Get("Content-Security-Policy"), "default-src 'none'")
		require.Contains(t, string(text), "attempt ended 1")
		if format == "html" {
			require.Contains(t, string(text), "&lt;img src=x&gt;")
		}
		require.Equal(t, sumOf(text), a.readings("dossier")[len(a.readings("dossier"))-1]["sha256"])
	}
	got, paper := a.raw("/internal/v1/audit/dossier/p-1?format=pdf")
	require.Equal(t, 200, got.StatusCode)
	require.Equal(t, "application/pdf", got.Header.Get("Content-Type"))
	verdict, err := evidence.VerifyPDF(paper, public, nil)
	require.NoError(t, err)
	require.True(t, verdict.Filtered)
	require.Equal(t, sumOf(paper), a.readings("dossier")[len(a.readings("dossier"))-1]["sha256"])
	a.exec("SET session_replication_role = replica; UPDATE entry SET outcome = 'delivered' WHERE outcome = 'refused'; SET session_replication_role = origin")
	a.ask("GET", "/internal/v1/audit/dossier/p-1?format=pdf", "auditor", "").refused(t, 500, "log_damaged")
	a.ask("GET", "/internal/v1/audit/dossier/p-1", "auditor", "").refused(t, 500, "log_damaged")
}

// TestWhatCannotBeRecordedIsNotShown is D-3 for every way to read, the operators' included.
func TestWhatCannotBeRecordedIsNotShown(t *testing.T) {
	broken := errors.New("the disk is full")
	a := openArchive(t, func(c *InternalConfig) { c.Readings = &shelf{unrecorded: broken} })
	_, err := a.auditlog.RequestExport(t.Context(), history.Export{Format: "jsonl"})
	require.NoError(t, err)
	for _, path := range []string{
		"/internal/v1/audit/entries?resourceId=p-1", "/internal/v1/audit/entries/0", "/internal/v1/audit/entries/0/proof", "/internal/v1/audit/dossier/p-1",
		"/internal/v1/audit/checkpoints", "/internal/v1/audit/key", "/internal/v1/audit/exports", "/internal/v1/audit/holds", "/internal/v1/audit/entries/77",
		"/internal/v1/notifications", "/internal/v1/resources/pix-payment/p-1", "/internal/v1/initiators", "/internal/v1/quarantine",
	} {
		got := a.ask("GET", path, "auditor", "")
		got.refused(t, 503, "unavailable")
		require.NotContains(t, got.text, "p-1")
		require.NotContains(t, got.text, broken.Error())
	}
}

func TestAnExportIsAskedForMadeAndHandedOver(t *testing.T) {
	a := openArchive(t)
	asked := a.ask("POST", "/internal/v1/audit/exports", "auditor", `{"filter":{"resourceId":"p-1","entry":"attempt,result"},"format":"bundle"}`)
	require.Equal(t, 202, asked.status, asked.text)
	at := asked.header.Get("Location")
	require.Equal(t, "/internal/v1/audit/exports/"+asked.body["id"].(string), at)
	require.Equal(t, "waiting", asked.body["state"])
	a.ask("GET", at+"/file", "auditor", "").refused(t, 409, "conflict")

	maker := evidence.Maker{Jobs: a.auditlog, Version: "0", Open: func(ctx context.Context, size int64, _ func(int64)) (evidence.SealedLog, func(), error) {
		return storeLog{a.auditlog}.Open(ctx, size)
	}}
	made, err := maker.Make(t.Context())
	require.NoError(t, err)
	require.True(t, made)
	done := a.ask("GET", at, "auditor", "")
	require.Equal(t, "done", done.body["state"], done.text)
	require.EqualValues(t, 2, done.body["entries"])
	require.EqualValues(t, 5, done.body["walked"])
	got, text := a.raw(at + "/file")
	require.Equal(t, 200, got.StatusCode)
	require.Equal(t, "application/zip", got.Header.Get("Content-Type"))
	require.Contains(t, got.Header.Get("Content-Disposition"), ".zip")
	require.Equal(t, done.body["sha256"], sumOf(text))
	verdict, err := audit.VerifyBundle(bytes.NewReader(text), int64(len(text)), a.key.Public(), nil)
	require.NoError(t, err)
	require.EqualValues(t, 2, verdict.Entries)
	handed := a.readings("export-file")
	require.Len(t, handed, 1)
	require.Equal(t, done.body["sha256"], handed[0]["sha256"])
	require.Equal(t, "who-auditor", handed[0]["actor"])
	require.Len(t, a.ask("GET", "/internal/v1/audit/exports", "auditor", "").body["exports"], 1)

	require.Equal(t, 204, a.ask("DELETE", at, "auditor", "").status)
	a.ask("GET", at+"/file", "auditor", "").refused(t, 404, "not_found")
	require.Len(t, a.readings("export-deleted"), 1)
	for body, status := range map[string]int{
		`{"format":"exe"}`: 400, `{"filter":{"x":"y"}}`: 400, `{"filter":{"clientId":"a b"}}`: 400, `{"filter":[]}`: 400, `{"size":-1}`: 400, `{"size":4}`: 404, `{"filter":{},"more":1}`: 400, `null`: 400,
		`{}`: 202, `{"filter":{"from":"2020-01-01T00:00:00Z"},"format":"csv"}`: 202,
	} {
		require.Equal(t, status, a.ask("POST", "/internal/v1/audit/exports", "auditor", body).status, body)
	}
}

func TestHoldsArePlacedAndLifted(t *testing.T) {
	a := openArchive(t)
	const path = "/internal/v1/audit/holds/processo-123"
	placed := a.ask("PUT", path, "auditor", `{"kind":"pix-payment","resourceId":"p-1","reason":"court order"}`)
	require.Equal(t, 201, placed.status, placed.text)
	require.Equal(t, "who-auditor", placed.body["placedBy"])
	require.Equal(t, 200, a.ask("PUT", path, "auditor", `{"kind":"pix-payment","resourceId":"p-1","reason":"the same"}`).status)
	a.ask("PUT", path, "auditor", `{"clientId":"itp","reason":"another"}`).refused(t, 409, "conflict")
	require.Equal(t, 201, a.ask("PUT", "/internal/v1/audit/holds/all", "auditor", `{"all":true,"reason":"everything"}`).status)
	for _, body := range []string{
		`{}`, `{"clientId":"itp"}`, `{"reason":"x"}`, `{"all":true,"clientId":"itp","reason":"x"}`, `{"kind":"pix-payment","reason":"x"}`, `{"kind":"x","resourceId":"p-1","reason":"x"}`,
		`{"clientId":"a b","reason":"x"}`, `{"clientId":"itp","reason":"  "}`, `{"clientId":"itp","reason":"a\u0000"}`, `{"clientId":"itp","reason":"` + strings.Repeat("x", 501) + `"}`, `{"all":true,"reason":null}`,
	} {
		a.ask("PUT", "/internal/v1/audit/holds/x", "auditor", body).refused(t, 400, "invalid_request")
	}
	for _, name := range []string{".x", "a%2Fb", "a%20b", strings.Repeat("x", 101)} {
		a.ask("PUT", "/internal/v1/audit/holds/"+name, "auditor", `{"all":true,"reason":"x"}`).refused(t, 400, "invalid_request")
	}
	list := a.ask("GET", "/internal/v1/audit/holds", "auditor", "")
	require.Len(t, list.body["holds"], 2)
	require.Equal(t, "court order", a.ask("GET", path, "auditor", "").body["reason"], "the first reason stands")
	a.ask("DELETE", path, "auditor", "").refused(t, 400, "invalid_request")
	require.Equal(t, 204, a.ask("DELETE", path+"?reason=settled", "auditor", "").status)
	a.ask("DELETE", path+"?reason=settled", "auditor", "").refused(t, 404, "not_found")
	a.ask("GET", path, "auditor", "").refused(t, 404, "not_found")
}

// TestAPageThatRefreshesItselfIsCountedAndNotRepeated: the first reading is recorded at once, the same within a minute is
// counted, and everything else is recorded by itself.
func TestAPageThatRefreshesItselfIsCountedAndNotRepeated(t *testing.T) {
	w := newWorld(t)
	for range 20 {
		require.Equal(t, 200, w.ask("GET", "/internal/v1/notifications?clientId=itp", "operator", "").status)
	}
	require.Len(t, w.shelf.recorded(), 1)
	first := w.shelf.recorded()[0]
	require.Equal(t, "read", first.Act)
	require.Equal(t, "who-operator", first.Actor.Subject)
	require.Equal(t, map[string]string{"path": "/internal/v1/notifications", "clientId": "itp"}, first.Filter)
	w.ask("GET", "/internal/v1/notifications?clientId=other", "operator", "")
	w.ask("GET", "/internal/v1/notifications?clientId=itp", "operator+auditor", "")
	w.ask("GET", "/internal/v1/initiators", "registrar", "")
	require.Len(t, w.shelf.recorded(), 4)
	require.NoError(t, w.api.RecordRepeated(t.Context(), false))
	require.Len(t, w.shelf.recorded(), 4, "the minute is not over")

	w.shelf.mu.Lock()
	w.shelf.unrecorded = errors.New("away")
	w.shelf.mu.Unlock()
	require.Error(t, w.api.RecordRepeated(t.Context(), true))
	w.shelf.mu.Lock()
	w.shelf.unrecorded = nil
	w.shelf.mu.Unlock()
	require.NoError(t, w.api.RecordRepeated(t.Context(), true))
	all := w.shelf.recorded()
	require.Len(t, all, 5, "only what came again has a count")
	require.EqualValues(t, 19, all[4].Repeats)
	require.Equal(t, first.Actor.Subject, all[4].Actor.Subject)
	require.Equal(t, first.Filter, all[4].Filter)
	w.ask("GET", "/internal/v1/notifications?clientId=itp", "operator", "")
	require.Len(t, w.shelf.recorded(), 6)
}

func TestAMinuteThatIsOverIsRecordedWithTheNextReading(t *testing.T) {
	p := repeated{seen: map[string]*repeat{}}
	now := time.Now()
	r := history.LogReading{Actor: history.Actor{Subject: "a", Source: "192.0.2.1:1"}, Filter: map[string]string{"x": "1"}}
	require.False(t, p.count(r, now))
	require.Nil(t, p.add(r, now))
	r.Actor.Source = "192.0.2.1:2"
	require.True(t, p.count(r, now.Add(time.Second)), "another connection from the same host is the same reader")
	require.False(t, p.count(r, now.Add(time.Minute)))
	over := p.add(r, now.Add(time.Minute))
	require.NotNil(t, over)
	require.EqualValues(t, 1, over.Repeats)
	for i := range repeats + 10 {
		r.Filter = map[string]string{"x": fmt.Sprint("n", i)}
		require.False(t, p.count(r, now))
		p.add(r, now)
	}
	require.LessOrEqual(t, len(p.seen), repeats)
	require.Empty(t, p.take(now.Add(30*time.Second), false))
	require.Empty(t, p.take(now.Add(3*time.Minute), false), "nothing of it came again")
	require.Empty(t, p.seen)
}

// TestNothingBelowAuditIsReadWithoutATrace: a new route there must record its reading as well.
func TestNothingBelowAuditIsReadWithoutATrace(t *testing.T) {
	w := newWorld(t)
	n := 0
	for _, r := range w.api.routes() {
		if r.Method != http.MethodGet || !strings.HasPrefix(r.Path, "/internal/v1/audit/") {
			continue
		}
		n++
		before := len(w.shelf.recorded())
		path := strings.NewReplacer("{id}", someID, "{name}", "x", "{seq}", "7", "{file:.+}", "checkpoint").Replace(r.Path)
		got := w.ask("GET", path, "auditor", "")
		if got.status == http.StatusBadRequest {
			continue // shows nothing
		}
		require.Contains(t, []int{200, 404}, got.status, "%s: %s", r.Path, got.text)
		require.Len(t, w.shelf.recorded(), before+1, r.Path)
	}
	require.GreaterOrEqual(t, n, 12)
}

// TestADossierOfTooManyEntriesNamesTheOtherWays: status queries are entries, and a client may make any number of them.
func TestADossierOfTooManyEntriesNamesTheOtherWays(t *testing.T) {
	a := openArchive(t)
	a.exec(`INSERT INTO entry (id, kind, client_id, resource_kind, resource_id, outcome, facts) SELECT gen_random_uuid(), 'poll', 'itp', 2, 'p-9', '200', '{}' FROM generate_series(1, 10001)`)
	a.seal()
	for _, format := range []string{"html", "text", "pdf"} {
		got := a.ask("GET", "/internal/v1/audit/dossier/p-9?lang=en&format="+format, "auditor", "")
		require.Equal(t, 400, got.status, got.text)
		require.Contains(t, got.text, "too_wide")
		require.Contains(t, got.text, "arauto audit dossier")
	}
}
