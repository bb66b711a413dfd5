package store_test

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/evidence"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/store/auditlog"
)

// What an attempt that failed tells, and the initiator may not see.
const (
	itsDetail = "dial tcp 10.77.0.9:51234->203.0.113.9:443: connection refused"
	itsLocal  = "10.77.0.9:51234"
)

// failedAttempt is a sealed history of one attempt that failed, a rescued one, and the late end of that one.
func failedAttempt(t *testing.T) *sealedBench {
	t.Helper()
	b := newSealedBench(t)
	b.accept(payment("itp", "failed", 1, "ACSC"))
	result := notice.Result{Outcome: notice.OutcomeConnect, Detail: itsDetail, LocalAddr: itsLocal, RemoteAddr: "203.0.113.9:443", URL: "https://itp.example/hook"}
	end := func(a notice.Attempt) {
		result.EndedAt = time.Now()
		_, err := b.store.Settle(t.Context(), []notice.Settlement{{Attempt: a, Result: result}})
		require.NoError(t, err)
	}
	end(b.claim("itp", 10, 10)[0])
	b.dueNow()
	lost := b.claimFor("itp", time.Microsecond)
	require.Len(t, lost, 1)
	require.Equal(t, 1, b.rescue())
	end(lost[0])
	b.seal()
	return b
}

// TestTheProofOfAnAttemptTellsTheInitiatorNothingOfTheBank: neither the replica and its version nor its address nor the text
// of an error stand in what is handed over, and what stands there instead does not let them be guessed.
func TestTheProofOfAnAttemptTellsTheInitiatorNothingOfTheBank(t *testing.T) {
	b := failedAttempt(t)
	x, err := auditlog.OpenExport(t.Context(), b.url, 0)
	require.NoError(t, err)
	defer x.Close(t.Context())
	kinds := map[string]int{}
	salts := map[string]bool{}
	for _, e := range b.about("failed").Entries {
		if e.Number == nil {
			continue
		}
		kinds[e.Kind]++
		text, err := evidence.Prove(t.Context(), x, *e.Seq)
		require.NoError(t, err)
		p, err := audit.ParseProof(text)
		require.NoError(t, err)
		record := string(p.Record)
		for _, private := range []string{"test 0", `"system"`, "10.77.0.9", `"local"`, "connection refused", itsDetail} {
			require.NotContains(t, record, private)
		}
		var facts struct{ Private, Detail string }
		require.NoError(t, json.Unmarshal([]byte(e.Facts), &facts))
		require.NotNil(t, e.Private)
		require.Equal(t, audit.Commit(*e.Private), facts.Private)
		if facts.Detail != "" {
			require.Equal(t, history.LostDetail, facts.Detail)
		}
		var private history.PrivateFacts
		require.NoError(t, json.Unmarshal([]byte(*e.Private), &private))
		require.Equal(t, "test 0", private.System)
		salt, err := base64.RawStdEncoding.DecodeString(private.Salt)
		require.NoError(t, err)
		require.Len(t, salt, 16)
		require.False(t, salts[private.Salt], "a salt is used once")
		salts[private.Salt] = true
		if e.Kind == "late-result" || e.Kind == "result" && *e.Outcome == "connect-error" {
			require.Equal(t, itsLocal, private.Local)
			require.Equal(t, itsDetail, private.Detail)
		}
	}
	require.Equal(t, map[string]int{"attempt": 2, "result": 2, "late-result": 1}, kinds)
}

// TestTheBankReadsWhatTheInitiatorMayNotSee: reads of the bank tell of an attempt what they told before.
func TestTheBankReadsWhatTheInitiatorMayNotSee(t *testing.T) {
	b := failedAttempt(t)
	r := b.record(b.notificationOf("failed"))
	require.Len(t, r.Attempts, 2)
	require.Equal(t, itsDetail, r.Attempts[0].Detail)
	require.False(t, r.Attempts[0].Rescued)
	require.Equal(t, history.LostDetail, r.Attempts[1].Detail)
	require.True(t, r.Attempts[1].Rescued)
	require.Zero(t, r.Integrity.FailedCount)
	x, err := auditlog.OpenExport(t.Context(), b.url, 0)
	require.NoError(t, err)
	defer x.Close(t.Context())
	page, _, err := evidence.Dossier(t.Context(), x, "failed", "text", "en")
	require.NoError(t, err)
	for _, line := range []string{`private.system: "test 0"`, `private.local: "` + itsLocal + `"`, `private.detail: "` + itsDetail + `"`} {
		require.Contains(t, string(page), line)
	}
	require.NotContains(t, string(page), "salt")
	var table strings.Builder
	csv, _ := evidence.FormatNamed("csv")
	_, err = csv.Write(t.Context(), x, history.Search{ResourceID: "failed"}, "1", &table)
	require.NoError(t, err)
	require.Contains(t, table.String(), "203.0.113.9:443: connection refused", "of the detail; a table has the text as it is stored, with > escaped")
}

// TestAnAttemptFromBeforePrivateTextsReadsAsBefore writes entries as they were written before migration 9.
func TestAnAttemptFromBeforePrivateTextsReadsAsBefore(t *testing.T) {
	b := newSealedBench(t)
	id := b.accept(payment("itp", "old", 1, "ACSC")).Notifications[0]
	b.do("DELETE FROM queue WHERE id = $1", [16]byte(id))
	for number, detail := range []string{itsDetail, history.LostDetail} {
		b.do(`INSERT INTO entry (id, kind, client_id, resource_kind, resource_id, notification_id, interaction_id, number, facts)
VALUES (gen_random_uuid(), 'attempt', 'itp', 2, 'old', $1, gen_random_uuid(), $2, '{"system":"test 0","scheduledAt":"2026-11-21T12:00:00Z","late":false}')`, [16]byte(id), number+1)
		b.do(`INSERT INTO entry (id, kind, client_id, resource_kind, resource_id, notification_id, number, outcome, facts)
VALUES (gen_random_uuid(), 'result', 'itp', 2, 'old', $1, $2::smallint, 'unknown', json_build_object('system', 'test 0', 'local', '10.77.0.9:51234', 'detail', $3::text, 'number', $2::smallint, 'endedAt', now()))`, [16]byte(id), number+1, detail)
	}
	b.seal()
	r := b.record(id)
	require.Zero(t, r.Integrity.FailedCount)
	require.False(t, r.Tampered)
	require.Equal(t, itsDetail, r.Attempts[0].Detail)
	require.False(t, r.Attempts[0].Rescued)
	require.Equal(t, history.LostDetail, r.Attempts[1].Detail)
	require.True(t, r.Attempts[1].Rescued)
	x, err := auditlog.OpenExport(t.Context(), b.url, 0)
	require.NoError(t, err)
	defer x.Close(t.Context())
	page, _, err := evidence.Dossier(t.Context(), x, "old", "text", "en")
	require.NoError(t, err)
	require.Contains(t, string(page), `detail: "`+itsDetail+`"`)
	_, err = auditlog.Verify(t.Context(), b.url, b.key.Public(), nil)
	require.NoError(t, err)
}

// TestATamperedPrivateTextIsNoticedByReadsAndByVerification: the owner changes it, removes it, exchanges it or puts one in.
func TestATamperedPrivateTextIsNoticedByReadsAndByVerification(t *testing.T) {
	const result = "resource_id = 'failed' AND kind = 'result' AND outcome = 'connect-error'"
	for name, c := range map[string]struct{ sql, reason string }{
		"a detail is changed":        {`UPDATE entry SET private = replace(private::text, 'connection refused', 'i/o timeout')::json WHERE ` + result, "not the one that its facts commit to"},
		"a blank is put in":          {`UPDATE entry SET private = (private::text || ' ')::json WHERE ` + result, "not the one that its facts commit to"},
		"it is no object":            {`UPDATE entry SET private = '"x"' WHERE ` + result, "not the one that its facts commit to"},
		"it is removed":              {`UPDATE entry SET private = NULL WHERE ` + result, "is missing"},
		"it is that of another":      {`UPDATE entry SET private = (SELECT private FROM entry WHERE kind = 'late-result') WHERE ` + result, "not the one that its facts commit to"},
		"an attempt's is changed":    {`UPDATE entry SET private = replace(private::text, 'test 0', 'test 1')::json WHERE resource_id = 'failed' AND kind = 'attempt' AND number = 1`, "not the one that its facts commit to"},
		"one is put beside a change": {`UPDATE entry SET private = '{}' WHERE resource_id = 'failed' AND kind = 'change'`, "commit to no private text"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := failedAttempt(t)
			id := b.notificationOf("failed")
			b.forge(c.sql)
			r := b.readAll("failed", id)
			for name, i := range r.each() {
				require.NotZero(t, i.FailedCount, "%s: %+v", name, i)
				require.Contains(t, i.Failed[0].Reason, c.reason, name)
			}
			require.True(t, r.record.Tampered)
			_, err := auditlog.Verify(t.Context(), b.url, b.key.Public(), nil)
			var fault *audit.Fault
			require.ErrorAs(t, err, &fault)
			require.Contains(t, fault.Reason, c.reason)
			seq := fault.Seq
			found, err := b.log.VerifySince(t.Context(), b.key.Public(), 1_000_000)
			require.NoError(t, err)
			require.NotNil(t, found.Found)
			require.Equal(t, auditlog.VerificationFind{Seq: seq, Reason: fault.Reason}, *found.Found)

			x, err := auditlog.OpenExport(t.Context(), b.url, 0)
			require.NoError(t, err)
			defer x.Close(t.Context())
			_, err = evidence.Prove(t.Context(), x, seq)
			require.NoError(t, err, "the record is what was sealed, and shows no private text")
			e, err := x.At(t.Context(), seq)
			require.NoError(t, err)
			compared, err := evidence.Compare(t.Context(), x, e)
			require.NoError(t, err)
			require.True(t, compared.Tampered())
			require.Contains(t, compared.Failed[0].Reason, c.reason)
			_, _, err = evidence.Dossier(t.Context(), x, "failed", "text", "en")
			require.ErrorAs(t, err, &fault)
			require.Equal(t, seq, fault.Seq)
			csv, _ := evidence.FormatNamed("csv")
			_, err = csv.Write(t.Context(), x, history.Search{Kind: ofb.PixPayment}, "1", &strings.Builder{})
			require.ErrorAs(t, err, &fault)
			require.Equal(t, seq, fault.Seq)
		})
	}
}

// TestServeCannotWriteAPrivateTextThatTheFactsDoNotCommitTo: such an entry would fail every later verification.
func TestServeCannotWriteAPrivateTextThatTheFactsDoNotCommitTo(t *testing.T) {
	b := newBench(t)
	app := b.app()
	insert := func(kind, facts string, private any) error {
		_, err := app.Exec(t.Context(), "INSERT INTO arauto.entry (id, kind, facts, private) VALUES (gen_random_uuid(), $1, $2::text::json, $3::text::json)", kind, facts, private)
		return err
	}
	const private = `{"salt":"x", "detail":"é"}`
	good := `{"n":1,"private":"` + audit.Commit(private) + `"}`
	for _, kind := range []string{"attempt", "result", "late-result"} {
		require.NoError(t, insert(kind, good, private))
		require.NoError(t, insert(kind, `{"private":"`+audit.Commit(private)+`","n":1}`, private), "as our own code writes it")
		require.NoError(t, insert(kind, `{"private":"`+audit.Commit(private)+`","n":"\"private\"","of":{"private":"x"}}`, private))
		require.NoError(t, insert(kind, `{"system":"a replica of an older version"}`, nil))
		require.NoError(t, insert(kind, `{"private":null}`, nil))
		for _, wrong := range []struct {
			facts   string
			private any
		}{
			{good, private + " "},
			{good, nil},
			{`{}`, private},
			{`{"private":"x"}`, nil},
			{`{"private":5}`, nil},
			{good[:len(good)-2] + `="}`, private},
			{`{"private":"` + audit.Commit(private) + `","private":"x"}`, private},
			{`{"private":"` + audit.Commit(private) + `","\u0070rivate":"x"}`, private},
			{`{"n":{"private":"` + audit.Commit(private) + `"}}`, private},
			{`{"private":"` + audit.Commit(private) + `","n":{"private":"x"},"private" : "x"}`, private},
			{`{"private":"` + audit.Commit(private)[:42] + `"}`, private},
		} {
			require.ErrorContains(t, insert(kind, wrong.facts, wrong.private), "23514", "%s %v", wrong.facts, wrong.private)
		}
	}
	require.NoError(t, insert("change", `{"private":"x"}`, nil), "the facts of other kinds commit to nothing")
	require.ErrorContains(t, insert("change", good, private), "23514")
	require.Zero(t, one[int](b, "SELECT count(*) FROM pg_trigger WHERE tgname = 'committed' AND pg_get_triggerdef(oid) NOT LIKE '%starts_with%'"), "months keep the condition of an earlier version")
	// What the database took, no verifier refuses.
	page, err := b.log.Search(t.Context(), history.Search{}, history.Position{}, 100)
	require.NoError(t, err)
	require.Len(t, page.Entries, 16)
	for i := range page.Entries {
		require.Empty(t, page.Entries[i].PrivateFault(), page.Entries[i].Facts)
	}
}

// bundle exports as an auditor does, and unpacks it.
func (b *sealedBench) bundle(s history.Search) (file []byte, members map[string]string) {
	b.t.Helper()
	x, err := auditlog.OpenExport(b.t.Context(), b.url, 0)
	require.NoError(b.t, err)
	defer x.Close(b.t.Context())
	format, _ := evidence.FormatNamed("bundle")
	var out bytes.Buffer
	_, err = format.Write(b.t.Context(), x, s, "1", &out)
	require.NoError(b.t, err)
	archive, err := zip.NewReader(bytes.NewReader(out.Bytes()), int64(out.Len()))
	require.NoError(b.t, err)
	members = map[string]string{}
	for _, f := range archive.File {
		r, err := f.Open()
		require.NoError(b.t, err)
		text, err := io.ReadAll(r)
		require.NoError(b.t, err)
		members[f.Name] = string(text)
	}
	return out.Bytes(), members
}

// TestABundleHasThePrivateTextsOfItsEntriesAndShowsThatTheyAreGenuine: whole and filtered, and as the database has them.
func TestABundleHasThePrivateTextsOfItsEntriesAndShowsThatTheyAreGenuine(t *testing.T) {
	b := failedAttempt(t)
	verify := func(file []byte) error {
		_, err := audit.VerifyBundle(bytes.NewReader(file), int64(len(file)), b.key.Public(), nil)
		return err
	}
	for _, c := range []struct {
		search history.Search
		texts  int
	}{
		{history.Search{}, 3*2 + 5},
		{history.Search{ResourceID: "failed"}, 5},
		{history.Search{Entries: []string{"result", "change"}}, 3 + 2},
		{history.Search{Entries: []string{"change"}}, 0},
		{history.Search{Client: "itp", To: soon()}, 3*2 + 5},
		{history.Search{Outcome: "connect-error"}, 2},
	} {
		file, members := b.bundle(c.search)
		require.NoError(t, verify(file))
		require.Equal(t, c.texts, strings.Count(members["private.jsonl"], "\n"), "%+v: %s", c.search, members["private.jsonl"])
		require.NotContains(t, members["entries.jsonl"], "10.77.0.9")
	}
	file, members := b.bundle(history.Search{Outcome: "connect-error"})
	require.Contains(t, members["private.jsonl"], itsLocal)
	require.NotContains(t, string(file[:bytes.Index(file, []byte("private.jsonl"))]), itsLocal)

	const result = "resource_id = 'failed' AND kind = 'result' AND outcome = 'connect-error'"
	seq := one[int64](b.bench, "SELECT p.seq FROM log_position p JOIN entry e USING (id) WHERE "+result)
	for _, tampering := range []string{"private = NULL", `private = '{"salt":"x"}'`} {
		b.forge("UPDATE entry SET " + tampering + " WHERE " + result)
		for _, s := range []history.Search{{}, {ResourceID: "failed"}} {
			file, _ := b.bundle(s)
			var fault *audit.Fault
			require.ErrorAs(t, verify(file), &fault, tampering)
			require.Equal(t, seq, fault.Seq)
			require.Contains(t, fault.Reason, "private text")
		}
	}
}

// BenchmarkPrivateFacts is what the end of an attempt costs more: its salt, its private text and the commitment to it.
func BenchmarkPrivateFacts(b *testing.B) {
	s := &store.Store{}
	r := notice.Result{Outcome: notice.OutcomeConnect, LocalAddr: itsLocal, Detail: itsDetail}
	for b.Loop() {
		text, err := s.PrivateFacts(r)
		require.NoError(b, err)
		_ = audit.Commit(text)
	}
}

// TestAPrivateTextAddsLittle measures what one delivered notification holds more in the database than before migration 9.
func TestAPrivateTextAddsLittle(t *testing.T) {
	b := newBench(t)
	b.register("itp", "https://itp.example/hook")
	b.accept(payment("itp", "p1", 1, "ACSC"))
	got := b.claim("itp", 10, 10)
	require.Len(t, got, 1)
	_, err := b.store.Settle(t.Context(), []notice.Settlement{{Attempt: got[0], Result: notice.Result{
		Outcome: notice.OutcomeDelivered, HTTPStatus: 202, Echo: notice.EchoMatch, URL: "https://itp.example/hook", LocalAddr: "10.0.0.9:51234", RemoteAddr: "203.0.113.9:443", EndedAt: time.Now(),
	}}})
	require.NoError(t, err)
	added := one[int](b, `SELECT sum(pg_column_size(e.*) - pg_column_size(before.*))::int FROM entry e
CROSS JOIN LATERAL (SELECT (e.facts::jsonb - 'private' || (e.private::jsonb - 'salt'))::text::json AS facts) old
CROSS JOIN LATERAL (SELECT e.id, e.at, e.xid, e.kind, e.client_id, e.resource_kind, e.resource_id, e.revision, e.notification_id, e.change_id, e.interaction_id, e.number, e.outcome, e.closes, e.created_at,
  replace(replace(old.facts::text, '": ', '":'), ', "', ',"')::json AS facts, e.brand) before
WHERE e.kind IN ('attempt', 'result')`)
	t.Logf("%d bytes more a notification", added)
	require.Less(t, added, 400)
}
