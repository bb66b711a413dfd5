package store_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/intake"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/store/auditlog"
)

// fail ends attempts so long ago that their next one is due.
func (b *bench) fail(ago time.Duration, attempts ...notice.Attempt) {
	b.t.Helper()
	for _, a := range attempts {
		_, err := b.store.Settle(b.t.Context(), []notice.Settlement{{Attempt: a, Result: notice.Result{
			Outcome: notice.OutcomeRefused, HTTPStatus: 503, EndedAt: time.Now().Add(-ago), Elapsed: time.Millisecond, FirstByteOut: time.Millisecond,
		}}})
		require.NoError(b.t, err)
	}
}

// life is a history in which everything that can happen has happened, as it should.
func life(t *testing.T) *bench {
	t.Helper()
	b := newBench(t, ofb.PaymentConsent)
	b.register("itp", "https://itp.example/hook")
	b.register("gone", "https://gone.example/hook")
	quarantined := b.accept(payment("itp", "odd", 1, "ACSC"))
	require.Len(t, quarantined.Notifications, 1)
	b.settle(notice.OutcomeDelivered, b.claim("itp", 10, 0)...)
	for n := 2; n < 5; n++ { // backwards
		require.Equal(t, notice.Quarantined, b.accept(payment("itp", "odd", n, "PDNG")).Verdict)
	}
	dismissed := one[string](b, "SELECT id::text FROM quarantine WHERE revision = 2")
	id, err := notice.ParseID(dismissed)
	require.NoError(t, err)
	done, err := b.store.Dismiss(t.Context(), id, "operator", "known")
	require.NoError(t, err)
	require.True(t, done)
	applied, err := notice.ParseID(one[string](b, "SELECT id::text FROM quarantine WHERE revision = 3"))
	require.NoError(t, err)
	line, err := json.Marshal(payment("itp", "odd", 3, "ACSC"))
	require.NoError(t, err)
	_, err = b.intake.Accept(t.Context(), line, intake.Origin{Source: "quarantine", Quarantine: applied})
	require.NoError(t, err)

	b.accept(payment("itp", "told", 1, "RCVD")) // silent
	b.accept(payment("itp", "told", 2, "PDNG"))
	twice := payment("itp", "told", 3, "ACSC")
	b.accept(twice)
	b.accept(twice)
	b.settle(notice.OutcomeDelivered, b.claim("itp", 10, 0)...)

	b.accept(payment("itp", "refused", 1, "ACSC"))
	b.fail(11*time.Second, b.claim("itp", 10, 0)...)
	b.fail(61*time.Second, b.claim("itp", 10, 0)...)
	last := b.claim("itp", 10, 0)
	require.Len(t, last, 1)
	require.Equal(t, 3, last[0].Number)
	b.fail(0, last...)
	_, err = b.log.Resend(t.Context(), last[0].Notification, "operator", "asked for")
	require.NoError(t, err)
	b.settle(notice.OutcomeDelivered, b.claim("itp", 10, 0)...)

	b.accept(payment("itp", "late", 10, "ACSC"))
	b.accept(payment("itp", "late", 5, "PDNG")) // a late revision
	b.accept(payment("itp", "late", 12, "ACSC"))
	c := recurring("rc", 1, "AUTHORISED", "10.00")
	b.accept(c)
	b.accept(recurring("rc", 2, "AUTHORISED", "20.00")) // an edit
	b.accept(recurring("rc", 9, "REVOKED", "20.00"))
	b.accept(recurring("rc", 5, "AUTHORISED", "30.00")) // a late edit
	b.accept(consent("joint", 1, "AWAITING_AUTHORISATION"))
	b.accept(consent("joint", 10, "AUTHORISED")) // silent, until it is known that it was a joint one
	b.accept(consent("joint", 5, "PARTIALLY_ACCEPTED"))
	b.settle(notice.OutcomeDelivered, b.claim("itp", 10, 0)...)

	b.accept(payment("gone", "cancelled", 1, "ACSC"))
	require.NoError(t, b.store.DeleteInitiator(t.Context(), "gone", "test"))
	n, err := b.store.CancelEnded(t.Context(), 10)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	b.accept(payment("gone", "silent", 1, "ACSC"))
	b.accept(payment("nobody", "silent", 1, "ACSC"))

	b.accept(timed("consent", 1, "AWAITING_AUTHORISATION", 10*time.Minute))
	overruled := timed("overruled", 1, "AWAITING_AUTHORISATION", 10*time.Minute)
	b.accept(overruled)
	require.EqualValues(t, 2, runTimers(t, 2, b.world))
	word := timed("overruled", 2, "CONSUMED", 0)
	word.OccurredAt = overruled.OccurredAt.Add(4 * time.Minute) // before the deadline
	require.Equal(t, notice.Applied, b.accept(word).Verdict)
	b.settle(notice.OutcomeDelivered, b.claim("itp", 10, 0)...)

	b.accept(payment("itp", "lost", 1, "ACSC"))
	lost := b.claimFor("itp", time.Microsecond)
	require.Equal(t, 1, b.rescue())
	b.settle(notice.OutcomeDelivered, lost...) // too late
	b.accept(payment("itp", "flying", 1, "ACSC"))
	require.Len(t, b.claim("itp", 10, 0), 1)
	b.accept(payment("itp", "waiting", 1, "ACSC"))
	b.poll(3)
	return b
}

// recurring is a recurring consent with a maximum that is watched.
func recurring(id string, revision int, status, maximum string) change {
	return change{
		Kind: "recurring-consent", ClientID: "itp", APIVersion: "v2", Revision: revision, OccurredAt: time.Now(),
		Data: map[string]any{
			"recurringConsentId": "urn:bank:" + id, "status": status,
			"recurringConfiguration": map[string]any{"automatic": map[string]any{"maximumVariableAmount": maximum}},
		},
	}
}

// poll records status queries.
func (b *bench) poll(n int) {
	b.t.Helper()
	for i := range n {
		at := time.Now()
		require.NoError(b.t, b.store.RecordPolls(b.t.Context(), 1, []notice.Poll{{
			ID: store.NewID(), At: at, Interaction: store.NewID(), Client: "itp", Kind: ofb.PixPayment, ResourceID: "told",
			Facts: notice.PollFacts{
				Operation: "payment", APIVersion: "v5", ReceivedAt: at.UTC(), HTTPStatus: 200 + 204*(i%2), DurationUS: 1500, Organisation: "org",
			},
		}}))
	}
}

// inspect reconciles as an auditor would, and gathers what was found.
func inspect(t *testing.T, i *auditlog.Inspector, from, to time.Time) (*history.Reconciliation, []history.Difference) {
	t.Helper()
	var all []history.Difference
	r, err := i.Reconcile(t.Context(), from, to, func(d history.Difference) error { all = append(all, d); return nil })
	require.NoError(t, err)
	require.EqualValues(t, len(all), r.Differences)
	return r, all
}

// inspectorWithin judges what one transaction sees, so that a test can break something, look, and take it back. Pieces
// are small, so that even a short history has many.
func inspectorWithin(tx pgx.Tx) *auditlog.Inspector { return auditlog.NewInspector(savepoints{tx}, 2) }

// savepoints are transactions within a transaction: each sees what that one sees.
type savepoints struct{ pgx.Tx }

// BeginTx makes a savepoint.
func (s savepoints) BeginTx(ctx context.Context, _ pgx.TxOptions) (pgx.Tx, error) {
	return s.Begin(ctx)
}

func soon() time.Time { return time.Now().Add(time.Minute) }

func TestAHistoryInWhichAllWentWellIsClean(t *testing.T) {
	t.Parallel()
	b := life(t)
	auditor, err := auditlog.OpenInspector(t.Context(), b.url)
	require.NoError(t, err)
	defer auditor.Close(t.Context())
	for name, i := range map[string]*auditlog.Inspector{"the daily job": b.log.Inspector(), "an auditor": auditor} {
		for _, from := range []time.Time{{}, time.Now().Add(-time.Hour)} {
			r, found := inspect(t, i, from, soon())
			require.Empty(t, found, name)
			require.Equal(t, one[int64](b, "SELECT count(*) FROM entry"), sum(r.Entries))
			require.Equal(t, one[int64](b, "SELECT count(DISTINCT (resource_kind, resource_id)) FROM entry WHERE kind = 'change'"), r.Resources)
			require.EqualValues(t, 3, r.Queued)
			require.Positive(t, r.Entries["late-result"]*r.Entries["decision"]*r.Entries["resend"]*r.Entries["cancelled"]*r.Entries["poll"]*r.Entries["quarantined"])
		}
	}
	tx, err := b.owner.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
	pieces, found := inspect(t, inspectorWithin(tx), time.Time{}, soon())
	require.Empty(t, found, "in many small pieces")
	require.Equal(t, one[int64](b, "SELECT count(*) FROM entry"), sum(pieces.Entries), "each entry is in one piece")
	require.Equal(t, one[int64](b, "SELECT count(DISTINCT (resource_kind, resource_id)) FROM entry WHERE kind = 'change'"), pieces.Resources, "each resource is looked at once")
	r, _ := inspect(t, auditor, time.Now().Add(time.Hour), time.Now().Add(2*time.Hour))
	require.Zero(t, sum(r.Entries), "another period")
}

func sum(m map[string]int64) (n int64) {
	for v := range maps.Values(m) {
		n += v
	}
	return n
}

// TestEachDifferenceIsNamed breaks what the product would never break, as the owner of the tables with triggers switched
// off, and sees it named.
func TestEachDifferenceIsNamed(t *testing.T) {
	b := life(t)
	result := func(resource string, number int) string {
		return fmt.Sprintf("kind = 'result' AND resource_id = '%s' AND number = %d", resource, number)
	}
	copyEntry := func(where, changes string) string {
		return `INSERT INTO entry SELECT (json_populate_record(e, (to_jsonb(e) || '{"id":"` + store.NewID().String() + `"}'::jsonb || '` + changes + `'::jsonb)::json)).* FROM entry e WHERE ` + where
	}
	cases := []struct {
		name, sql string
		want      history.Finding
		resource  string
	}{
		{"a revision nobody accepted", "INSERT INTO revision SELECT kind, resource_id, 77, '" + store.NewID().String() + "', data_hash, status, watched, cause, occurred_at, NULL, 'no-change' FROM revision WHERE resource_id = 'told' AND revision = 1", history.RevisionWithoutChange, "told"},
		{"a revision of nothing", "INSERT INTO revision SELECT kind, 'ghost', 1, '" + store.NewID().String() + "', data_hash, status, watched, cause, occurred_at, NULL, 'no-change' FROM revision WHERE resource_id = 'told' AND revision = 1", history.RevisionWithoutChange, "ghost"},
		{"a revision lost", "DELETE FROM revision WHERE resource_id = 'told' AND revision = 1", history.ChangeWithoutRevision, "told"},
		{"a revision altered", "UPDATE revision SET data_hash = sha256('x') WHERE resource_id = 'told' AND revision = 1", history.RevisionDiffers, "told"},
		{"a change lost", "DELETE FROM entry WHERE kind = 'change' AND resource_id = 'told' AND revision = 1", history.RevisionWithoutChange, "told"},
		{"a change accepted twice", copyEntry("kind = 'change' AND resource_id = 'told' AND revision = 1", "{}"), history.ChangeTwice, "told"},
		{"no decision", "UPDATE entry SET facts = (facts::jsonb - 'reason')::json WHERE kind = 'change' AND resource_id = 'told' AND revision = 1", history.DecisionMissing, "told"},
		{"a duty silenced", "UPDATE entry SET notification_id = NULL, facts = (facts::jsonb || '{\"reason\":\"not-a-trigger\"}')::json WHERE kind = 'change' AND resource_id = 'waiting'", history.DecisionDiffers, "waiting"},
		{"something told that must not be", "UPDATE entry SET notification_id = '" + store.NewID().String() + "', facts = (facts::jsonb - 'reason')::json WHERE kind = 'change' AND resource_id = 'told' AND revision = 1", history.DecisionDiffers, "told"},
		{"the wrong kind of silence", "UPDATE entry SET facts = (facts::jsonb || '{\"reason\":\"no-change\"}')::json WHERE kind = 'change' AND resource_id = 'told' AND revision = 1", history.DecisionDiffers, "told"},
		{"an edit taken for nothing", "UPDATE entry SET notification_id = NULL, facts = (facts::jsonb || '{\"reason\":\"no-change\"}')::json WHERE kind = 'change' AND resource_id = 'urn:bank:rc' AND revision = 2", history.DecisionDiffers, "urn:bank:rc"},
		{"silent for want of an address that was there", "UPDATE entry SET at = at + interval '1 hour', notification_id = NULL, facts = (facts::jsonb || '{\"reason\":\"no-webhook\"}')::json WHERE kind = 'change' AND resource_id = 'waiting'", history.SilenceUnfounded, "waiting"},
		{"announced before, and was not", "UPDATE entry SET notification_id = NULL, facts = (facts::jsonb || '{\"reason\":\"already-announced\"}')::json WHERE kind = 'change' AND resource_id = 'waiting'", history.SilenceUnfounded, "waiting"},
		{"a late duty never told", "DELETE FROM entry WHERE notification_id IN (SELECT notification_id FROM entry WHERE kind = 'decision'); UPDATE entry SET at = at - interval '1 minute' WHERE kind = 'registered'; UPDATE entry SET at = at + interval '1 minute' WHERE resource_id = 'urn:bancoex:joint' AND revision = 5", history.DecisionMissing, "urn:bancoex:joint"},
		{"told twice", copyEntry("kind = 'change' AND resource_id = 'told' AND revision = 2", `{"kind":"decision","notification_id":"`+store.NewID().String()+`"}`), history.ToldTwice, "told"},
		{"a document altered", "UPDATE resource SET document = '{\"status\":\"ACSC\"}' WHERE id = 'told'", history.DocumentDiffers, "told"},
		{"an old document", "UPDATE resource SET revision = 2 WHERE id = 'told'", history.DocumentDiffers, "told"},
		{"a document of no timer", "UPDATE resource SET timer_at = now() WHERE id = 'told'", history.DocumentDiffers, "told"},
		{"no document", "DELETE FROM resource WHERE id = 'told'", history.DocumentDiffers, "told"},
		{"a document of nothing", "INSERT INTO resource SELECT kind, 'ghost', client_id, api_version, revision, change_id, status, watched, data_hash, announced, occurred_at, updated_at, timer_at, document, consent_id FROM resource WHERE id = 'told'", history.DocumentDiffers, "ghost"},
		{"a deadline nobody fired", "INSERT INTO timer (kind, resource_id, rule, deadline) VALUES (1, 'stuck', 'r', now() - interval '2 minutes')", history.TimerOverdue, "stuck"},
		{"attempts of a notification nobody decided", "UPDATE entry SET notification_id = gen_random_uuid() WHERE kind = 'attempt' AND resource_id = 'told'", history.ChainUndecided, "told"},
		{"a place in the queue nobody decided", "UPDATE queue SET id = gen_random_uuid() WHERE resource_id = 'waiting'", history.ChainUndecided, "waiting"},
		{"forgotten", "DELETE FROM queue WHERE resource_id = 'waiting'", history.ChainForgotten, "waiting"},
		{"the third attempt never comes", "DELETE FROM queue WHERE resource_id = 'lost'", history.ChainForgotten, "lost"},
		{"overdue", "UPDATE queue SET due_at = now() - interval '2 hours' WHERE resource_id = 'waiting'", history.ChainOverdue, "waiting"},
		{"a lease overdue", "UPDATE queue SET lease_until = now() - interval '2 hours' WHERE resource_id = 'flying'", history.ChainOverdue, "flying"},
		{"given up after the second", "DELETE FROM entry WHERE resource_id = 'refused' AND number = 3; UPDATE entry SET closes = 'exhausted' WHERE " + result("refused", 2), history.ChainEndedEarly, "refused"},
		{"delivered without a success", "UPDATE entry SET outcome = 'refused' WHERE " + result("told", 1), history.ChainEndedEarly, "told"},
		{"cancelled for no reason", "UPDATE initiator SET push = true, push_epoch = 1 WHERE client_id = 'gone'", history.ChainEndedEarly, "cancelled"},
		{"delivered, and still in the queue", "INSERT INTO queue SELECT e.notification_id, q.client_id, q.push_epoch, q.kind, 'told', q.api_version, q.event, q.event_at, q.occurred_at, q.created_at, q.manual, 1, q.late, q.due_at FROM queue q, entry e WHERE q.resource_id = 'waiting' AND e.kind = 'change' AND e.resource_id = 'told' AND e.revision = 2", history.ChainWentOn, "told"},
		{"an attempt after the success", copyEntry("kind = 'attempt' AND resource_id = 'told' AND notification_id = (SELECT notification_id FROM entry WHERE kind = 'change' AND resource_id = 'told' AND revision = 2)", `{"number":2,"at":"`+time.Now().Add(time.Hour).Format(time.RFC3339)+`","interaction_id":"`+store.NewID().String()+`"}`), history.ChainWentOn, "told"},
		{"a number left out", "UPDATE entry SET number = 3 WHERE resource_id = 'refused' AND number = 2 AND kind = 'attempt'; DELETE FROM entry WHERE resource_id = 'refused' AND number = 3 AND kind = 'attempt' AND closes IS NULL AND id = (SELECT max(id::text)::uuid FROM entry WHERE resource_id = 'refused' AND number = 3 AND kind = 'attempt')", history.NumberMissing, "refused"},
		{"the queue counts more than the history", "UPDATE queue SET attempts = 2 WHERE resource_id = 'lost'", history.NumberMissing, "lost"},
		{"a number twice", copyEntry("kind = 'attempt' AND resource_id = 'refused' AND number = 2", `{"interaction_id":"`+store.NewID().String()+`"}`), history.NumberTwice, "refused"},
		{"a fourth attempt", copyEntry("kind = 'attempt' AND resource_id = 'refused' AND number = 3", `{"number":4,"interaction_id":"`+store.NewID().String()+`"}`), history.TooManyAttempts, "refused"},
		{"an attempt too early", "UPDATE entry SET at = at - interval '2 seconds' WHERE kind = 'attempt' AND resource_id = 'refused' AND number = 2", history.AttemptEarly, "refused"},
		{"an attempt nobody ended", "DELETE FROM entry WHERE " + result("refused", 2), history.AttemptWithoutResult, "refused"},
		{"two results", copyEntry(result("refused", 2), "{}"), history.ResultTwice, "refused"},
		{"a result of nothing", "DELETE FROM entry WHERE kind = 'attempt' AND resource_id = 'refused' AND number = 2", history.ResultUnfounded, "refused"},
		{"a late result of an attempt that had one", "UPDATE entry SET outcome = 'refused' WHERE " + result("lost", 1), history.ResultUnfounded, "lost"},
		{"an interaction id used twice", "UPDATE entry SET interaction_id = (SELECT interaction_id FROM entry WHERE kind = 'attempt' AND resource_id = 'flying') WHERE kind = 'attempt' AND resource_id = 'lost'", history.InteractionTwice, ""},
		{"a poll recorded twice", "INSERT INTO entry SELECT * FROM entry WHERE kind = 'poll' LIMIT 1", history.PollTwice, "told"},
		{"a case lost", "DELETE FROM quarantine WHERE revision = 4", history.CaseMissing, "odd"},
		{"a case nobody recorded", "UPDATE quarantine SET last_at = last_at + interval '1 second' WHERE revision = 4", history.CaseUndecided, "odd"},
		{"a case applied and not stored", "UPDATE quarantine SET state = 'applied' WHERE revision = 4", history.CaseUndecided, "odd"},
		{"a case dismissed by nobody", "UPDATE quarantine SET state = 'dismissed' WHERE revision = 4", history.CaseUndecided, "odd"},
	}
	named := map[history.Finding]bool{}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			tx, err := b.owner.Begin(t.Context())
			require.NoError(t, err)
			defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
			_, err = tx.Exec(t.Context(), "SET LOCAL session_replication_role = replica")
			require.NoError(t, err)
			_, err = tx.Exec(t.Context(), c.sql, pgx.QueryExecModeSimpleProtocol)
			require.NoError(t, err)
			r, found := inspect(t, inspectorWithin(tx), time.Time{}, time.Now().Add(2*time.Hour))
			require.Positive(t, r.Found[c.want], "%+v", found)
			n := slices.IndexFunc(found, func(d history.Difference) bool { return d.What == c.want })
			if c.resource != "" {
				require.Equal(t, c.resource, found[n].ResourceID)
			}
			require.NotEmpty(t, found[n].Detail)
			require.Less(t, len(found), 9, "one cause must not drown in its consequences: %+v", found)
			named[c.want] = true
		})
	}
	for _, f := range history.Findings() {
		require.True(t, named[f], "%s was never seen", f)
	}
}
