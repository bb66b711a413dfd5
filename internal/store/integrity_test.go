package store_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/figures"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/lab/storetest"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/store/auditlog"
	"github.com/arauto/arauto/internal/timing"
)

// sealedBench is a bench whose history is sealed.
type sealedBench struct {
	*bench
	key *audit.Signer
}

// newSealedBench has three notifications that were delivered: "late" an hour after its event, and "prompt" and "other" in time.
func newSealedBench(t *testing.T) *sealedBench {
	t.Helper()
	b := &sealedBench{bench: newBench(t)}
	_, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	b.key = audit.NewSigner(private)
	_, err = b.log.RegisterLogKey(t.Context(), b.key.Public())
	require.NoError(t, err)
	b.register("itp", "https://itp.example/hook")
	for _, id := range []string{"late", "prompt", "other"} {
		p := payment("itp", id, 1, "ACSC")
		if id == "late" {
			p.OccurredAt = time.Now().Add(-time.Hour)
		}
		b.accept(p)
		b.sent(notice.OutcomeDelivered, time.Millisecond, 0, b.claim("itp", 10, 10)...)
	}
	return b
}

func (b *sealedBench) seal() { b.t.Helper(); storetest.Seal(b.t, b.log, b.owner, b.key) }

// forge does something as a superuser, with the triggers switched off.
func (b *sealedBench) forge(sql string, args ...any) {
	b.t.Helper()
	b.do("SET session_replication_role = replica")
	tag, err := b.owner.Exec(b.t.Context(), sql, args...)
	require.NoError(b.t, err, sql)
	require.NotZero(b.t, tag.RowsAffected(), sql)
	b.do("SET session_replication_role = origin")
}

// about finds the entries of a resource.
func (b *sealedBench) about(resource string) audit.Page {
	b.t.Helper()
	page, err := b.log.Search(b.t.Context(), history.Search{ResourceID: resource}, history.Position{}, 100)
	require.NoError(b.t, err)
	return page
}

// forgeLeaf makes the leaf fit the entry again, as a superuser would who knows the format.
func (b *sealedBench) forgeLeaf(resource, kind string) {
	b.t.Helper()
	page := b.about(resource)
	for i := range page.Entries {
		e := &page.Entries[i]
		if e.Kind == kind {
			leaf := audit.Leaf(e.AppendRecord(nil, *e.Seq))
			b.forge("UPDATE log_position SET leaf = $1 WHERE seq = $2", leaf[:], *e.Seq)
		}
	}
}

// readings is what every read says of one notification.
type readings struct {
	searched, one, listed, timed, reported, timeline history.Integrity

	record history.Record
	timing timing.Timing
	report *timing.ClockReport
	breach map[string]timing.Timing
}

func (b *sealedBench) readAll(resource string, id notice.ID) (r readings) {
	b.t.Helper()
	for _, e := range b.about(resource).Entries {
		if e.Tampered != "" {
			r.searched.Fail(history.FailedEntry{Reason: e.Tampered})
		}
		if e.Verified {
			r.searched.Verified++
		}
		if e.Proven {
			r.searched.Proven++
		}
		if !e.Verified && e.Tampered == "" {
			r.searched.Unsealed++
		}
	}
	var err error
	r.record, err = b.log.Notification(b.t.Context(), id)
	require.NoError(b.t, err)
	r.one = r.record.Integrity
	list, _, err := b.log.Notifications(b.t.Context(), history.Filter{ResourceID: resource, Limit: 10})
	require.NoError(b.t, err)
	for i := range list {
		r.listed.Add(list[i].Integrity)
		require.Equal(b.t, r.record.Tampered, list[i].Tampered)
	}
	r.timing, err = b.log.Timing(b.t.Context(), id)
	require.NoError(b.t, err)
	r.timed = r.timing.Integrity
	timeline, err := b.log.Timeline(b.t.Context(), notice.Key{Kind: ofb.PixPayment, ID: resource})
	require.NoError(b.t, err)
	r.timeline = timeline.Integrity
	r.report, r.breach = b.punctuality(timing.Period{To: soon()})
	r.reported = r.report.Integrity
	return r
}

func (r *readings) each() map[string]history.Integrity {
	return map[string]history.Integrity{
		"search": r.searched, "notification": r.one, "list": r.listed, "timing": r.timed, "breaches": r.reported, "resource": r.timeline,
	}
}

func TestEveryReadSaysWhatIsSealedAndWhatIsNotYet(t *testing.T) {
	b := newSealedBench(t)
	r := b.readAll("prompt", b.notificationOf("prompt"))
	for name, i := range r.each() {
		require.Zero(t, i.Verified+i.FailedCount, name)
		require.NotZero(t, i.Unsealed, name)
	}
	require.Equal(t, timing.OnTime, r.timing.First.FromEvent, "what is not sealed yet is judged")
	b.seal()
	r = b.readAll("prompt", b.notificationOf("prompt"))
	for name, i := range r.each() {
		require.Zero(t, i.Unsealed+i.FailedCount, "%s: %+v", name, i)
		require.NotZero(t, i.Verified, name)
		require.Equal(t, i.Verified, i.Proven, name)
	}
	require.Equal(t, timing.OnTime, r.timing.First.FromEvent)
	require.Contains(t, r.breach, "late")
	require.EqualValues(t, 9, r.reported.Verified, "change, attempt and result of three")
	require.Equal(t, one[int64](b.bench, "SELECT max(size) FROM log_checkpoint"), r.reported.Checkpoint)
}

// TestEveryReadComparesEveryColumn: an entry of a brand, a column that this version does not write yet, is what was sealed.
func TestEveryReadComparesEveryColumn(t *testing.T) {
	b := newSealedBench(t)
	b.forge("UPDATE entry SET brand = 'second'")
	b.seal()
	r := b.readAll("prompt", b.notificationOf("prompt"))
	for name, i := range r.each() {
		require.Zero(t, i.Unsealed+i.FailedCount, "%s: %+v", name, i)
		require.NotZero(t, i.Verified, name)
	}
}

// TestEveryReadTellsOfEveryTampering: what somebody with the rights of a superuser changed is shown, marked, and no verdict
// rests on it (found F22, F23).
func TestEveryReadTellsOfEveryTampering(t *testing.T) {
	const attempt, change, result = "(SELECT id FROM entry WHERE resource_id = 'late' AND kind = 'attempt')",
		"(SELECT id FROM entry WHERE resource_id = 'late' AND kind = 'change')", "(SELECT id FROM entry WHERE resource_id = 'late' AND kind = 'result')"
	const onTime = "UPDATE entry SET facts = regexp_replace(facts::text, '\"occurredAt\":\"[^\"]*\"', '\"occurredAt\":\"' || to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') || '\"')::json WHERE id = " + change
	for name, c := range map[string]struct {
		sql      []string
		leaf     string // the kind of entry whose leaf is made to fit again
		reason   string
		verdict  timing.Punctuality // of "late"; "": unknown
		unharmed bool               // the notification itself rests on what was sealed
		spreads  bool               // its neighbours in the log cannot be judged either
	}{
		"the event is dated later":                  {sql: []string{onTime}, reason: "not what was sealed"},
		"and its leaf is made to fit":               {sql: []string{onTime}, leaf: "change", reason: "does not lead to the root", spreads: true},
		"the attempt is dated earlier":              {sql: []string{"UPDATE entry SET at = at - interval '1 hour' WHERE id = " + attempt}, reason: "not what was sealed"},
		"the outcome is altered":                    {sql: []string{"UPDATE entry SET outcome = 'refused' WHERE id = " + result}, reason: "not what was sealed"},
		"the facts cannot be read":                  {sql: []string{`UPDATE entry SET facts = '{"occurredAt":5}' WHERE id = ` + change}, reason: "not what was sealed"},
		"the transaction is altered":                {sql: []string{"UPDATE entry SET xid = xid - 1 WHERE id = " + attempt}, reason: "it has no position"},
		"the transaction is still to come":          {sql: []string{"UPDATE entry SET xid = 1000000000000 WHERE id = " + attempt}, reason: "not begun"},
		"the id is altered":                         {sql: []string{"UPDATE entry SET id = gen_random_uuid() WHERE id = " + result}, reason: "it has no position"},
		"a leaf is altered":                         {sql: []string{"UPDATE log_position SET leaf = set_byte(leaf, 3, get_byte(leaf, 3) # 1) WHERE id = " + attempt}, reason: "not what was sealed", spreads: true},
		"a position is gone":                        {sql: []string{"DELETE FROM log_position WHERE id = " + attempt}, reason: "position", spreads: true},
		"all positions are gone":                    {sql: []string{"DELETE FROM log_position"}, reason: "position of the log is missing", spreads: true},
		"an attempt is put in":                      {sql: []string{"INSERT INTO entry (id, xid, kind, client_id, resource_kind, resource_id, notification_id, number, facts) SELECT gen_random_uuid(), xid, kind, client_id, resource_kind, resource_id, notification_id, 2, facts FROM entry WHERE id = " + attempt}, reason: "it has no position"},
		"a second row in the place of the attempt":  {sql: []string{"INSERT INTO entry (id, at, xid, kind, client_id, resource_kind, resource_id, notification_id, interaction_id, number, facts) SELECT id, at - interval '1 hour', xid, kind, client_id, resource_kind, resource_id, notification_id, gen_random_uuid(), number, facts FROM entry WHERE id = " + attempt}, reason: "a second row", verdict: timing.TooLate, unharmed: true},
		"a copy of the attempt":                     {sql: []string{"INSERT INTO entry SELECT * FROM entry WHERE id = " + attempt}, reason: "a second row", verdict: timing.TooLate, unharmed: true},
		"the newest checkpoint is not signed by us": {sql: []string{"UPDATE log_checkpoint SET note = replace(note, 'skew ', 'skew 1') WHERE size = (SELECT max(size) FROM log_checkpoint)"}, reason: "the newest checkpoint", verdict: timing.TooLate, unharmed: true},
		"a checkpoint is put in":                    {sql: []string{"INSERT INTO log_checkpoint (size, at, note) VALUES (1000000, now(), 'x')"}, reason: "the newest checkpoint", verdict: timing.TooLate, unharmed: true},
		"another key is registered":                 {sql: []string{"UPDATE log_key SET public = sha256('')"}, reason: "the newest checkpoint", verdict: timing.TooLate, unharmed: true},
		"the second row in the place of the change": {sql: []string{"INSERT INTO entry SELECT id, at, xid, kind, client_id, resource_kind, resource_id, 7, notification_id, change_id, interaction_id, number, outcome, closes, created_at, facts FROM entry WHERE id = " + change}, reason: "a second row", verdict: timing.TooLate, unharmed: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newSealedBench(t)
			b.seal()
			notification := b.notificationOf("late")
			for _, sql := range c.sql {
				b.forge(sql)
			}
			if c.leaf != "" {
				b.forgeLeaf("late", c.leaf)
			}
			r := b.readAll("late", notification)
			for name, i := range r.each() {
				if name == "search" && i.FailedCount == 0 && c.reason == "the newest checkpoint" {
					require.NotEmpty(t, b.about("late").Damage)
					continue
				}
				require.NotZero(t, i.FailedCount, "%s: %+v", name, i)
				require.True(t, slices.ContainsFunc(i.Failed, func(f history.FailedEntry) bool { return strings.Contains(f.Reason, c.reason) }), "%s: %+v", name, i)
			}
			require.Equal(t, !c.unharmed, r.record.Tampered)
			want := c.verdict
			if want == "" {
				want = timing.Unknown
				require.Equal(t, notice.DelayTampered, r.timing.First.Cause)
				require.NotZero(t, r.report.Total.Unknown)
			}
			require.Equal(t, want, r.timing.First.FromEvent)
			require.Contains(t, r.breach, "late", "a report lists what nobody can judge")
			if !c.spreads {
				require.EqualValues(t, 2, r.report.Total.OnTime, "the others are judged as ever")
			}
		})
	}
}

// TestFactsThatCannotBeReadStopNoRead: somebody with the rights of serve's role can write entries that the product never would. They are
// sealed as they are; they must not keep anybody from reading, or from judging, everything else.
func TestFactsThatCannotBeReadStopNoRead(t *testing.T) {
	const late, itself = "'late'", "notification_id"
	for kind, c := range map[string]struct{ facts, resource, notification, number string }{
		"attempt":     {`[]`, late, itself, "2"},
		"result":      {`{"url":7}`, late, itself, "2"},
		"change":      {`{"occurredAt":5}`, "'ghost'", "gen_random_uuid()", "NULL"},
		"decision":    {`{"cause":{}}`, "'ghost'", "gen_random_uuid()", "NULL"},
		"refused":     {`"x"`, late, "NULL", "NULL"},
		"quarantined": {`[]`, late, "NULL", "NULL"},
		"poll":        {`7`, late, "NULL", "NULL"},
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			b := newSealedBench(t)
			id := b.notificationOf("late")
			write := func() {
				b.do("BEGIN; SET LOCAL ROLE arauto_app; INSERT INTO entry (id, kind, client_id, resource_kind, resource_id, revision, notification_id, number, outcome, facts) " +
					"SELECT gen_random_uuid(), '" + kind + "', client_id, resource_kind, " + c.resource + ", 1, " + c.notification + ", " + c.number + ", 'delivered', '" + c.facts +
					"' FROM entry WHERE resource_id = 'late' AND kind = 'attempt' ORDER BY at LIMIT 1; COMMIT")
			}
			write()
			b.readAll("late", id)
			b.seal()
			r := b.readAll("late", id)
			require.True(t, slices.ContainsFunc(slices.Concat(r.timeline.Failed, r.reported.Failed), func(f history.FailedEntry) bool {
				return f.Reason == "its facts cannot be read"
			}), "%+v", r.each())
			if kind != "poll" {
				require.NotZero(t, r.report.Total.Unknown, "nothing can be judged by it")
				require.NotZero(t, r.reported.FailedCount)
			}
			require.EqualValues(t, 2, r.report.Total.OnTime, "the others are judged as ever")
			require.Equal(t, r.report.Total.Notifications, b.counted(), "figures of what is not folded yet")
			_, err := b.log.Fold(t.Context())
			require.NoError(t, err)
			require.Equal(t, r.report.Total.Notifications, b.counted(), "figures of what is folded")
			write()
			require.NotZero(t, b.counted(), "figures with what is not sealed yet")
		})
	}
}

// counted is the number of notifications in the figures of a day around now.
func (b *sealedBench) counted() int64 {
	b.t.Helper()
	now := time.Now()
	r, err := b.log.Figures(b.t.Context(), figures.Ask{Queries: []figures.Query{{From: now.Add(-12 * time.Hour), To: now.Add(12 * time.Hour), Unit: figures.Hourly}}})
	require.NoError(b.t, err)
	return figures.Total(r.Rows[0]).Summary().Notifications
}

// TestASecondRowInTheEntrysPlaceDoesNotHideIt: the one that was sealed is read at its position and is told apart.
func TestASecondRowInTheEntrysPlaceDoesNotHideIt(t *testing.T) {
	b := newSealedBench(t)
	b.seal()
	b.forge(`INSERT INTO entry SELECT id, at, xid, kind, client_id, resource_kind, resource_id, revision, notification_id, change_id, interaction_id, number, 'forged', closes, created_at, facts
FROM entry WHERE resource_id = 'late' AND kind = 'result'`)
	x, err := auditlog.OpenExport(t.Context(), b.url, 0)
	require.NoError(t, err)
	defer x.Close(t.Context())
	seq := one[int64](b.bench, "SELECT DISTINCT p.seq FROM log_position p JOIN entry e USING (id) WHERE e.outcome = 'forged'")
	e, err := x.At(t.Context(), seq)
	require.NoError(t, err)
	require.Equal(t, "delivered", *e.Entry.Outcome)
	require.True(t, e.Genuine())
	require.Equal(t, 1, e.Others)
	for _, s := range []history.Search{{}, {ResourceID: "late"}} {
		var outcomes []string
		require.NoError(t, x.Each(t.Context(), s, func(e *audit.Sealed) error {
			if e.Seq == seq {
				outcomes = append(outcomes, *e.Entry.Outcome)
			}
			return nil
		}))
		require.Equal(t, []string{"delivered"}, outcomes, "%+v", s)
	}
	require.Len(t, x.Strays(), 1)
	tampered := 0
	for _, e := range b.about("late").Entries {
		if e.Tampered != "" {
			tampered++
			require.Equal(t, "forged", *e.Outcome)
		}
	}
	require.Equal(t, 1, tampered)

	b.forge("UPDATE entry SET at = at + interval '1 second' WHERE resource_id = 'late' AND kind = 'attempt'")
	_, err = x.At(t.Context(), one[int64](b.bench, "SELECT p.seq FROM log_position p JOIN entry e USING (id) WHERE e.resource_id = 'late' AND e.kind = 'attempt'"))
	var fault *audit.Fault
	require.ErrorAs(t, err, &fault, "an entry whose time was altered is not simply not there")
}

// TestAnAlteredTraceOfARefusalJudgesNobody: a verdict rests on earlier receipts as well.
func TestAnAlteredTraceOfARefusalJudgesNobody(t *testing.T) {
	b := newSealedBench(t)
	c := lateBy("refused", 33*time.Second)
	require.NoError(t, b.store.RecordRefusals(t.Context(), []history.ChangeRefusal{b.refusal(c, 32*time.Second)}, nil))
	b.accept(c)
	b.sent(notice.OutcomeDelivered, time.Millisecond, 0, b.claim("itp", 10, 10)...)
	b.seal()
	id := b.notificationOf("refused")
	proof, err := b.log.Timing(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, notice.DelayUnavailable, proof.First.Cause)
	require.EqualValues(t, 4, proof.Integrity.Proven, "refusal, change, attempt and result")
	b.forge("UPDATE entry SET revision = 77 WHERE kind = 'refused'")
	proof, err = b.log.Timing(t.Context(), id)
	require.NoError(t, err)
	require.True(t, proof.Tampered)
	require.Equal(t, timing.Unknown, proof.First.FromReceipt)
	_, breaches := b.punctuality(timing.Period{})
	tampered := breaches["refused"]
	require.Equal(t, notice.DelayTampered, tampered.First.Cause)
}
