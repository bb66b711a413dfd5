package store_test

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/figures"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/lab/storetest"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/store/auditlog"
	"github.com/arauto/arauto/internal/timing"
)

// figured is a history that is sealed and folded.
type figured struct {
	*bench
	key *audit.Signer
}

func newFigured(t *testing.T) *figured {
	t.Helper()
	f := &figured{bench: newBench(t)}
	_, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	f.key = audit.NewSigner(private)
	_, err = f.log.RegisterLogKey(t.Context(), f.key.Public())
	require.NoError(t, err)
	return f
}

// seal seals all that is committed, and fold folds all that is sealed.
func (f *figured) seal() { f.t.Helper(); storetest.Seal(f.t, f.log, f.owner, f.key) }

func (f *figured) fold() {
	f.t.Helper()
	for {
		out, err := f.log.Fold(f.t.Context())
		require.NoError(f.t, err)
		require.False(f.t, out.Busy)
		if !out.More {
			return
		}
	}
}

// read are the sums of a day around now, of all clients together or of one.
func (f *figured) read(client notice.ClientID) (figures.Summary, figures.Reading) {
	f.t.Helper()
	now := time.Now()
	r, err := f.log.Figures(f.t.Context(), figures.Ask{Contact: client, Queries: []figures.Query{
		{From: now.Add(-12 * time.Hour), To: now.Add(12 * time.Hour), Unit: figures.Hourly, Client: client},
		{From: now.Add(-12 * time.Hour), To: now.Add(12 * time.Hour), Unit: figures.Minutely},
	}})
	require.NoError(f.t, err)
	return figures.Total(r.Rows[0]).Summary(), r
}

// stored is everything that was folded, as text.
func (f *figured) stored() string {
	f.t.Helper()
	return one[string](f.bench, `SELECT coalesce(string_agg(concat_ws(' ', hour, client_id, kind, sums), E'\n' ORDER BY hour, client_id, kind), '') ||
(SELECT coalesce(string_agg(concat_ws(' ', minute, kind, sums), E'\n' ORDER BY minute, kind), '') FROM figures_minute m JOIN figures_state s USING (generation) WHERE s.active) ||
(SELECT coalesce(string_agg(concat_ws(' ', at, notification_id, client_id), E'\n' ORDER BY at, notification_id), '') FROM figures_late l JOIN figures_state s USING (generation) WHERE s.active) ||
(SELECT coalesce(string_agg(concat_ws(' ', client_id, last_success, last_failure, failures, failing_from, outcome), E'\n' ORDER BY client_id), '') FROM figures_client c JOIN figures_state s USING (generation) WHERE s.active)
FROM figures_hour h JOIN figures_state s USING (generation) WHERE s.active`)
}

// everything that an hour can hold: on time, late by several causes, retries, given up, cancelled, silent, resent, polled.
func (f *figured) everything(step func()) {
	b := f.bench
	b.register("itp", "https://itp.example/hook")
	b.register("other", "https://other.example/hook")
	b.accept(payment("itp", "silent", 1, "RCVD"))
	b.accept(payment("other", "prompt", 1, "ACSC"))
	step()
	b.sent(notice.OutcomeDelivered, time.Millisecond, 0, b.claim("other", 10, 0)...)
	old := payment("itp", "old", 1, "ACSC")
	old.OccurredAt = time.Now().Add(-time.Hour)
	b.accept(old)
	b.accept(old)
	claimed := b.claim("itp", 10, 10)
	step()
	b.sent(notice.OutcomeNonconformant, time.Millisecond, 0, claimed...)
	b.accept(payment("itp", "slow", 1, "ACSC"))
	b.sent(notice.OutcomeDelivered, 2*time.Second, 0, b.claim("itp", 10, 10)...)
	step()
	b.accept(payment("itp", "given-up", 1, "ACSC"))
	b.sent(notice.OutcomeRefused, time.Millisecond, 20*time.Second, b.claim("itp", 10, 10)...)
	step()
	b.sent(notice.OutcomeTimeout, time.Millisecond, 70*time.Second, b.claim("itp", 10, 10)...)
	step()
	b.sent(notice.OutcomeConnect, time.Millisecond, 0, b.claim("itp", 10, 10)...)
	step()
	given := notice.ID(one[[16]byte](b, "SELECT notification_id FROM entry WHERE resource_id = 'given-up' AND kind = 'change'"))
	_, err := b.log.Resend(b.t.Context(), given, "ana", "asked for")
	require.NoError(b.t, err)
	b.sent(notice.OutcomeDelivered, time.Millisecond, 0, b.claim("itp", 10, 10)...)
	b.accept(payment("itp", "lost", 1, "ACSC"))
	b.claimFor("itp", time.Microsecond)
	require.Equal(b.t, 1, b.rescue())
	step()
	for n, status := range []int{200, 200, 404, 503} {
		b.query("itp", []string{"old", "lost"}[n%2], status)
	}
	step()
}

// query records a status query.
func (b *bench) query(client notice.ClientID, resource string, status int) {
	b.t.Helper()
	b.call("payment", client, resource, status)
}

// call records a call of an operation.
func (b *bench) call(operation string, client notice.ClientID, resource string, status int) {
	b.t.Helper()
	id := store.NewID()
	require.NoError(b.t, b.store.RecordPolls(b.t.Context(), 1, []notice.Poll{{
		ID: id, At: time.Now(), Interaction: store.NewID(), Client: client, Kind: ofb.PixPayment, ResourceID: resource,
		Facts: notice.PollFacts{Operation: operation, HTTPStatus: status, Status: "ACSC", DurationUS: 900, ReceivedAt: time.Now()},
	}}))
}

// TestFiguresAreWhatTheClockReportSays compares sums with the report that judges each notification anew.
func TestFiguresAreWhatTheClockReportSays(t *testing.T) {
	f := newFigured(t)
	f.everything(func() {})
	f.seal()
	f.fold()
	report, _ := f.punctuality(timing.Period{From: time.Now().Add(-12 * time.Hour)})
	s, r := f.read("")
	total := report.Total
	require.Equal(t, total.Notifications-total.Manual, s.Notifications)
	require.Equal(t, total.Manual, s.Manual.Notifications)
	require.Equal(t, []int64{total.OnTime, total.Late, total.LateOurs, total.Unknown}, []int64{s.First.OnTime, s.First.Late, s.First.LateOurs, s.First.Unknown})
	require.Equal(t, []int64{total.RetriesOnTime, total.RetriesLate, total.RetriesEarly}, []int64{s.Retries.OnTime, s.Retries.Late, s.Retries.Early})
	causes := figures.Tally{}
	for cause, n := range total.LateBy {
		causes[string(cause)] = n
	}
	require.Equal(t, causes, s.First.Causes)
	require.NotEmpty(t, causes)
	require.Equal(t, report.Silent, s.Silent)
	require.EqualValues(t, 1, s.Closed["exhausted"])
	require.EqualValues(t, 1, s.Manual.Closed["delivered"], "an operator's resend counts apart")
	require.EqualValues(t, 3, s.Closed["delivered"])
	require.Equal(t, figures.Tally{"connect-error": 1}, s.Outcomes["3"])
	require.EqualValues(t, 1, s.Duplicates)
	require.Equal(t, figures.Tally{"200": 2, "404": 1, "503": 1}, s.Polls.ByStatus)
	require.InDelta(t, 0.75, *s.Polls.Availability, 1e-9)
	require.InDelta(t, 922, int64(*s.Polls.Duration.P50), 23, "at most 5 % above")
	require.EqualValues(t, 4, s.Polls.Final)
	require.Equal(t, []int64{1, 1, 0}, []int64{s.Polls.Before, s.Polls.After, s.Polls.Without})
	require.Equal(t, []int64{1, 2}, []int64{s.Fetched, s.Ignored})
	require.Equal(t, r.Size, r.Position)
	require.NotNil(t, r.Tail)
	require.Zero(t, *r.Tail)
	require.Equal(t, figures.Total(r.Rows[0]), figures.Total(r.Rows[1]), "minutes add up to hours")

	for client, tally := range report.ByClient {
		s, r := f.read(client)
		require.Equal(t, []int64{tally.OnTime, tally.Late}, []int64{s.First.OnTime, s.First.Late}, client)
		require.NotZero(t, r.Contacts[client].LastSuccess)
	}
	_, r = f.read("itp")
	require.EqualValues(t, 1, r.Contacts["itp"].Failures, "the lost one")
	require.Equal(t, notice.OutcomeUnknown, r.Contacts["itp"].Outcome)
	_, err := json.Marshal(s)
	require.NoError(t, err)
}

// TestAQueryWithoutAUnitIsRefused: which unit sums have cannot be guessed.
func TestAQueryWithoutAUnitIsRefused(t *testing.T) {
	f := newFigured(t)
	for _, unit := range []time.Duration{0, time.Second, 7 * 24 * time.Hour} {
		_, err := f.log.Figures(t.Context(), figures.Ask{Queries: []figures.Query{{Unit: figures.Hourly}, {Unit: unit}}})
		require.EqualError(t, err, "figures: query 1: unit "+unit.String()+" is not known; use 24h0m0s, 1h0m0s or 1m0s")
	}
}

// TestFiguresDoNotDependOnHowTheLogIsCut folds the same log in stretches of any length, and reads it before it is folded.
func TestFiguresDoNotDependOnHowTheLogIsCut(t *testing.T) {
	f := newFigured(t)
	n := 0
	f.everything(func() {
		f.seal()
		if n++; n%2 == 0 {
			f.fold()
		}
	})
	f.fold()
	kept := f.stored()
	require.NotEmpty(t, kept)
	f.do("SET session_replication_role = replica") // what somebody put in counts for nothing
	f.do("INSERT INTO entry SELECT e.* FROM entry e, generate_series(1, 1500) WHERE kind = 'result' AND resource_id = 'prompt'")
	f.do("SET session_replication_role = origin")
	f.do("DELETE FROM figures_hour")
	f.do("DELETE FROM figures_minute")
	f.do("DELETE FROM figures_client")
	f.do("UPDATE figures_state SET entries = 0, through = NULL")
	s, r := f.read("itp")
	require.EqualValues(t, 0, r.Position)
	require.Equal(t, r.Size, *r.Tail, "all of it is read from the entries")
	f.fold()
	require.Equal(t, kept, f.stored())
	folded, r := f.read("itp")
	require.Zero(t, *r.Tail)
	require.Equal(t, folded, s, "what is read before it is folded is what is folded")
}

// TestAFoldThatIsKilledAddsNothing ends sessions at each step of a fold.
func TestAFoldThatIsKilledAddsNothing(t *testing.T) {
	f := newFigured(t)
	f.everything(func() {})
	f.seal()
	for _, table := range []string{"figures_hour", "figures_minute", "figures_client", "figures_late", "figures_state"} {
		f.do("BEGIN")
		f.do(fmt.Sprintf("LOCK TABLE %s IN SHARE MODE", table))
		killer, err := pgx.Connect(t.Context(), f.url) // before the fold, which waits 2 s for a lock at most
		require.NoError(t, err)
		t.Cleanup(func() { _ = killer.Close(context.Background()) })
		failed := make(chan error, 1)
		go func() { _, err := f.log.Fold(context.WithoutCancel(t.Context())); failed <- err }()
		require.Eventually(t, func() bool {
			var killed bool
			err := killer.QueryRow(t.Context(), `SELECT pg_terminate_backend(l.pid) FROM pg_locks l WHERE NOT l.granted AND l.relation = $1::regclass
AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) LIMIT 1`, "arauto."+table).Scan(&killed)
			return err == nil && killed
		}, time.Minute, 5*time.Millisecond)
		require.Error(t, <-failed, table)
		f.do("ROLLBACK")
		require.Zero(t, one[int](f.bench, "SELECT (SELECT count(*) FROM figures_hour) + (SELECT entries FROM figures_state)"), table)
	}
	f.fold()
	kept := f.stored()
	f.fold()
	require.Equal(t, kept, f.stored(), "once")
	s, _ := f.read("")
	require.EqualValues(t, 5, s.Notifications)
}

// TestAPaymentIsFoundByWhateverNamesIt finds it by ids that the history does not have.
func TestAPaymentIsFoundByWhateverNamesIt(t *testing.T) {
	f := newFigured(t)
	f.register("itp", "https://itp.example/hook")
	endToEnd := "E1234567820261128120012345678901"
	c := payment("itp", "paid", 1, "ACSC")
	c.Data["endToEndId"], c.Data["cnpjInitiator"] = endToEnd, "50685362000135"
	f.accept(c)
	find := func(text string) []history.Hit {
		found, err := f.log.Find(t.Context(), text)
		require.NoError(t, err)
		require.False(t, found.More)
		require.NotContains(t, found.Mark, text)
		return found.Hits
	}
	hit := history.Hit{Type: history.HitEndToEnd, ID: endToEnd, Kind: ofb.PixPayment, ResourceID: "paid", Client: "itp"}
	require.Equal(t, []history.Hit{hit}, find(endToEnd))
	require.Empty(t, find("E1234567820261128120012345678902"))
	key := one[[]byte](f.bench, "SELECT key FROM keyring WHERE name = 'find'")
	require.Equal(t, store.FoundBy(key, endToEnd), one[[]byte](f.bench, "SELECT found FROM resource"))
	c.Revision, c.Data["status"] = 2, "RJCT"
	delete(c.Data, "endToEndId")
	f.accept(c)
	require.Equal(t, []history.Hit{hit}, find(endToEnd), "a later document without the id")
	f.seal()
	f.fold()
	require.Zero(t, one[int](f.bench, "SELECT count(*) FROM find_resource"), "the fold has nothing to learn")
	hit.Type, hit.ID = history.HitPayment, "paid"
	require.Contains(t, find("paid"), hit)
	for _, text := range []string{"50685362", "50.685.362/0001-35"} {
		hits := find(text)
		require.Equal(t, []history.HitType{history.HitCNPJ}, []history.HitType{hits[0].Type})
		require.EqualValues(t, "itp", hits[0].Client)
	}
	require.Equal(t, history.HitClient, find("itp")[0].Type)
	require.Equal(t, history.HitOrganisation, find(one[string](f.bench, "SELECT organisation_id FROM initiator"))[0].Type)
	attempts := f.claim("itp", 10, 0)
	for _, client := range []notice.ClientID{"", "itp"} {
		q, err := f.log.Queue(t.Context(), client)
		require.NoError(t, err)
		require.EqualValues(t, 1, q.InFlight)
		require.Zero(t, q.Waiting)
	}
	require.Equal(t, history.HitAttempt, find(attempts[0].Interaction.String())[0].Type)
	require.Equal(t, history.HitNotification, find(attempts[0].Notification.String())[0].Type)
	change := notice.ID(one[[16]byte](f.bench, "SELECT id FROM entry WHERE kind = 'change'"))
	require.Equal(t, history.HitChange, find(change.String())[0].Type)
	f.query("itp", "paid", 200)
	require.Equal(t, history.HitPoll, find(one[string](f.bench, "SELECT interaction_id::text FROM entry WHERE kind = 'poll'"))[0].Type)
	require.Empty(t, find("12345678909"), "a CPF names nothing")
}

// TestNotificationsAreFilteredByLatenessAndOutcome compares the filters with what is there.
func TestNotificationsAreFilteredByLatenessAndOutcome(t *testing.T) {
	f := newFigured(t)
	f.everything(func() {})
	list := func(by history.Filter) (out []string) {
		for by.Limit = 1; ; {
			records, next, err := f.log.Notifications(t.Context(), by)
			require.NoError(t, err)
			for i := range records {
				out = append(out, records[i].ResourceID)
			}
			if by.After = next; next.At.IsZero() {
				return out
			}
		}
	}
	require.Equal(t, []string{"old"}, list(history.Filter{Late: true}))
	require.Equal(t, []string{"old"}, list(history.Filter{Late: true, Client: "itp", From: time.Now().Add(-time.Hour)}))
	require.Empty(t, list(history.Filter{Late: true, Client: "other"}))
	require.Equal(t, []string{"given-up"}, list(history.Filter{Outcome: notice.OutcomeTimeout}))
	require.Equal(t, []string{"given-up"}, list(history.Filter{Outcome: notice.OutcomeTimeout, State: notice.Exhausted}))
	require.Equal(t, []string{"old"}, list(history.Filter{Outcome: notice.OutcomeNonconformant}))
	require.Equal(t, []string{"given-up", "slow", "prompt"}, list(history.Filter{Outcome: notice.OutcomeDelivered}), "the resend was delivered")
	require.Empty(t, list(history.Filter{Outcome: notice.OutcomeTLS}))
}

// rebuild folds everything anew.
func (f *figured) rebuild() auditlog.RebuiltFigures {
	f.t.Helper()
	out, err := auditlog.RebuildFigures(f.t.Context(), f.url, nil)
	require.NoError(f.t, err)
	return out
}

// TestRebuiltFiguresAreTheKeptOnes is what makes figures more than counters.
func TestRebuiltFiguresAreTheKeptOnes(t *testing.T) {
	f := newFigured(t)
	n := 0
	f.everything(func() {
		f.seal()
		if n++; n%3 == 0 {
			f.fold()
		}
	})
	f.seal()
	kept := f.stored()
	out := f.rebuild() // the figures in use are behind, and are brought to the end as well
	require.Zero(t, out.Differ, out.First)
	require.NotZero(t, out.Rows)
	require.NotEqual(t, kept, f.stored())
	kept = f.stored()
	require.Zero(t, f.rebuild().Differ)
	require.Equal(t, kept, f.stored())
	require.Equal(t, 1, one[int](f.bench, "SELECT count(*) FROM figures_state"))
	f.query("itp", "old", 200)
	f.seal()
	f.fold()
	s, _ := f.read("")
	require.EqualValues(t, 5, s.Polls.Total, "folding goes on where the rebuilding ended")

	f.do(`UPDATE figures_hour SET sums = '{"notifications":1000}' WHERE client_id = 'itp'`)
	out = f.rebuild()
	require.NotZero(t, out.Differ)
	require.Contains(t, out.First, `client itp kind 2: {"notifications":1000} kept, {`)
	require.Zero(t, f.rebuild().Differ, "the rebuilt ones are in force")

	f.do("SET session_replication_role = replica")
	f.do(`UPDATE entry SET facts = replace(facts::text, '"claimToSendMicros":', '"claimToSendMicros":9')::json WHERE kind = 'result' AND resource_id = 'prompt'`)
	f.do("SET session_replication_role = origin")
	require.NotZero(t, f.rebuild().Differ)
	s, _ = f.read("other")
	require.Equal(t, []int64{0, 0, 1}, []int64{s.First.OnTime, s.First.Late, s.First.Unknown}, "an entry is not what was sealed")
}

// TestARebuildingThatIsKilledChangesNothing ends the session of a rebuilding while it compares.
func TestARebuildingThatIsKilledChangesNothing(t *testing.T) {
	f := newFigured(t)
	f.everything(func() {})
	f.seal()
	f.fold()
	kept := f.stored()
	f.do("BEGIN")
	f.do("SELECT pg_advisory_xact_lock(hashtext('arauto.figures'))")
	failed := make(chan error, 1)
	go func() {
		_, err := auditlog.RebuildFigures(context.WithoutCancel(t.Context()), f.url, nil)
		failed <- err
	}()
	require.Eventually(t, func() bool {
		return one[int](f.bench, "SELECT count(pg_terminate_backend(pid)) FROM pg_locks WHERE NOT granted AND locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())") > 0
	}, time.Minute, 5*time.Millisecond)
	require.Error(t, <-failed)
	f.do("ROLLBACK")
	require.Equal(t, kept, f.stored())
	require.Zero(t, f.rebuild().Differ)
	require.Equal(t, kept, f.stored())
}

// TestSumsOfARemovedMonthStay rebuilds after a month was removed.
func TestSumsOfARemovedMonthStay(t *testing.T) {
	f := newFigured(t)
	f.do("CREATE TABLE entry_202001 PARTITION OF entry FOR VALUES FROM ('2020-01-01 00:00:00+00') TO ('2020-02-01 00:00:00+00')")
	f.do("SET session_replication_role = replica")
	f.do(`INSERT INTO entry (id, at, kind, client_id, resource_kind, resource_id, outcome, facts)
SELECT gen_random_uuid(), '2020-01-31T23:59:59Z', 'change', 'itp', 2, 'p' || n, 'applied', '{"reason":"no-change"}' FROM generate_series(1, 20) n`)
	f.do("SET session_replication_role = origin")
	f.everything(func() {})
	f.seal()
	f.fold()
	f.do("INSERT INTO figures_late VALUES ((SELECT generation FROM figures_state WHERE active), '2019-12-15', gen_random_uuid(), 'itp')")
	kept := f.stored()
	require.Contains(t, kept, `2020-01-31 23:00:00+00 itp 2 {"changes":20,"silent.no-change":20}`)
	f.do("INSERT INTO figures_late VALUES ((SELECT generation FROM figures_state WHERE active), '2020-01-31 23:59:59+00', gen_random_uuid(), 'itp')")
	f.do("SET session_replication_role = replica")
	f.do("DROP TABLE entry_202001")
	f.do("INSERT INTO history_dropped (partition, first, last, entries) VALUES ('entry_202001', 0, 19, 20)")
	f.do("SET session_replication_role = origin")
	out := f.rebuild()
	require.Zero(t, out.Differ, out.First)
	require.Equal(t, []string{"2019-12", "2020-01"}, out.Kept)
	require.Equal(t, kept, f.stored(), "and of late first attempts those of the month that stayed")
}

// TestAnAttemptInTheEntryOfItsChangeIsFoldedLikeOneOfItsOwn: sums, and what status queries say, in any cut of the log.
func TestAnAttemptInTheEntryOfItsChangeIsFoldedLikeOneOfItsOwn(t *testing.T) {
	for name, cut := range map[string]func(*figured){
		"in one stretch":           func(*figured) {},
		"each step by itself":      func(f *figured) { f.seal(); f.fold() },
		"by a process that is new": func(f *figured) { f.seal(); f.fold(); f.log = auditlog.New(f.store.Access()) },
	} {
		for _, apart := range []int{0, 1} {
			t.Run(fmt.Sprint(name, ", apart ", apart), func(t *testing.T) {
				f := newFigured(t)
				f.apart = apart
				f.register("itp", "https://itp.example/hook")
				a := f.fly(20*time.Second, "asked", "given-up", "ignored")
				require.Equal(t, 3*apart, one[int](f.bench, "SELECT count(*) FROM entry WHERE kind = 'attempt'"))
				cut(f)
				f.query("itp", "asked", 200) // between the attempt and the record of its end: it has been told
				cut(f)
				f.sent(notice.OutcomeDelivered, time.Millisecond, 0, a[0], a[2])
				cut(f)
				f.sent(notice.OutcomeRefused, time.Millisecond, 20*time.Second, a[1])
				cut(f)
				f.query("itp", "given-up", 200)
				f.query("itp", "asked", 200)
				cut(f)
				f.sent(notice.OutcomeTimeout, time.Millisecond, 70*time.Second, f.claim("itp", 10, 10)...)
				f.sent(notice.OutcomeTimeout, time.Millisecond, 0, f.claim("itp", 10, 10)...)
				f.seal()
				f.fold()
				s, _ := f.read("itp")
				require.Equal(t, []int64{3, 3, 0}, []int64{s.Notifications, s.First.OnTime + s.First.Late, s.Lost}, "whether they were on time is this machine's matter")
				require.Equal(t, map[string]figures.Tally{"1": {"delivered": 2, "refused": 1}, "2": {"timeout": 1}, "3": {"timeout": 1}}, s.Outcomes)
				require.Equal(t, figures.Tally{"delivered": 2, "exhausted": 1}, s.Closed)
				require.Equal(t, []int64{1, 1}, []int64{s.Fetched, s.Ignored})
				require.Equal(t, []int64{0, 2, 1}, []int64{s.Polls.Without, s.Polls.Before, s.Polls.After})
				require.Zero(t, f.rebuild().Differ)
			})
		}
	}
}

// TestATraceThatComesAfterTheEndChangesNoSum: a refused receipt counts when the log has its trace before the end of the attempt, in any cut of the log.
func TestATraceThatComesAfterTheEndChangesNoSum(t *testing.T) {
	for name, cut := range map[string]func(*figured){
		"in one stretch":      func(*figured) {},
		"each step by itself": func(f *figured) { f.seal(); f.fold() },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFigured(t)
			f.register("itp", "https://itp.example/hook")
			before, after := lateBy("before", 33*time.Second), lateBy("after", 33*time.Second)
			require.NoError(t, f.store.RecordRefusals(t.Context(), []history.ChangeRefusal{f.refusal(before, 32*time.Second)}, nil))
			cut(f)
			for _, c := range []change{before, after} {
				f.accept(c)
				f.sent(notice.OutcomeDelivered, time.Millisecond, 0, f.claim("itp", 10, 10)...)
				cut(f)
			}
			require.NoError(t, f.store.RecordRefusals(t.Context(), []history.ChangeRefusal{f.refusal(after, 32*time.Second)}, nil))
			f.seal()
			for _, why := range []string{"before it is folded", "folded"} {
				s, _ := f.read("itp")
				require.Equal(t, []int64{2, 1}, []int64{s.First.Late, s.First.LateOurs}, why)
				require.Equal(t, figures.Tally{"unavailable": 1, "core-late": 1}, s.First.Causes, why)
				f.fold()
			}
			out := f.rebuild()
			require.Zero(t, out.Differ, out.First)
			proof, _ := f.punctuality(timing.Period{})
			require.EqualValues(t, 2, proof.Total.LateOurs, "the clock proof knows of both")
		})
	}
}

// BenchmarkFold folds what six thousand notifications of a hundred clients wrote, each delivered at its first attempt, which stands in the
// entry of its change: from memory, as the process that seals does, and from the database; from memory with payments that are new, whose
// documents are looked into; from memory with attempts that have entries of their own; with a client of its own for each notification, in an hour
// that is new or has sums of these clients; with a status query after each; and 1,500 at a time, which is what is sealed at once with 300 a second,
// of a hundred and of a thousand clients in turn. All include the transactions that store the sums.
func BenchmarkFold(b *testing.B) {
	const notifications = 6_000
	for name, c := range map[string]foldCase{
		"as-sealed": {fresh: true}, "read-again": {}, "new-payments": {fresh: true, documents: true}, "attempts-apart": {fresh: true, apart: true},
		"many-clients": {fresh: true, clients: notifications}, "polled": {fresh: true, polled: true},
		"many-clients-again": {fresh: true, clients: notifications, again: true}, "many-clients-polled-again": {fresh: true, clients: notifications, polled: true, again: true},
		"300-a-second": {fresh: true, again: true, stretch: 1500}, "300-a-second-of-1000": {fresh: true, clients: 1000, again: true, stretch: 1500},
	} {
		b.Run(name, func(b *testing.B) {
			var took time.Duration
			var garbage uint64
			for range b.N {
				one, bytes := foldOf(b, notifications, c)
				took, garbage = took+one, garbage+bytes
			}
			b.ReportMetric(float64(took.Microseconds())/float64(b.N)/notifications, "µs/notification")
			b.ReportMetric(float64(garbage)/float64(b.N)/notifications, "B/notification")
		})
	}
}

// foldCase says what a fold begins with.
type foldCase struct {
	fresh     bool // the entries are in memory
	documents bool // the payments are new
	apart     bool // attempts have entries of their own
	polled    bool // each resource is asked for
	clients   int  // 0: a hundred
	again     bool // as many notifications of the same clients and hour are folded
	stretch   int  // so many notifications are sealed and folded at a time; 0: all
}

// foldOf measures one fold: its time, and the memory that it took and gave back.
func foldOf(t testing.TB, notifications int, c foldCase) (took time.Duration, garbage uint64) {
	url := storetest.Database(t)
	s, err := store.Open(t.Context(), store.Options{URL: url, Replica: "test", Version: "0"})
	require.NoError(t, err)
	defer s.Close()
	log := auditlog.New(s.Access())
	owner, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer func() { _ = owner.Close(context.Background()) }()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	_, err = log.RegisterLogKey(t.Context(), audit.NewSigner(private).Public())
	require.NoError(t, err)
	from := `"from":"ACPD",`
	if c.documents {
		from = ""
		_, err = owner.Exec(t.Context(), `INSERT INTO arauto.resource (kind, id, client_id, api_version, revision, change_id, status, watched, data_hash, announced, occurred_at, document)
SELECT 2, 'p-' || n, 'client-' || n % 100, 'v5', 1, md5(n::text)::uuid, 'ACSC', '{}', '\x00', 0, now(), convert_to(json_build_object('paymentId', 'p-' || n, 'remarks', repeat('text ', 200),
  'endToEndId', 'E12345678202611281200' || lpad(n::text, 11, 'a'), 'cnpjInitiator', '50685362000135')::text, 'UTF8') FROM generate_series(1, $1::int) n`, notifications)
		require.NoError(t, err)
	}
	first, interaction := `,"first":{"number":1,"base":"https://webhook.itp.example/open-banking"}`, "id"
	if c.apart {
		first, interaction = "", "NULL::uuid"
	}
	clients := strconv.Itoa(cmp.Or(c.clients, 100))
	add := func(after, notifications int) {
		for _, of := range []string{
			`SELECT id, ` + interaction + `, 'change', NULL::smallint, 'applied', NULL, format('{"system":"arauto-0 1.0.0","source":"api","actor":"core","remote":"10.0.0.7:40022","apiVersion":"v5","status":"ACSC",` + from + `"cause":"processing","occurredAt":%s,"beganMicros":900,"waitedMicros":1500,"dataHash":"%s","fields":["/status"],"eventAt":%s,"clause":"webhook §5.1","pushEpoch":1` + first + `}', to_json(now()), repeat('ab', 32), to_json(now()))::json`,
			`SELECT md5('attempt' || id)::uuid, id, 'attempt', 1::smallint, NULL, NULL, format('{"private":"%s","scheduledAt":%s,"late":false,"base":"https://webhook.itp.example/open-banking","manual":false}', repeat('c', 43), to_json(now()))::json`,
			`SELECT md5('result' || id)::uuid, NULL::uuid, 'result', 1::smallint, 'delivered', 'delivered', format('{"private":"%s","number":1,"attempt":"%s","url":"https://webhook.itp.example/open-banking/webhook/v1/payments/v5/pix/payments/%s","httpStatus":202,"echo":"match","tls":{"version":"TLS 1.3","cipher":"TLS_AES_128_GCM_SHA256","peerSubject":"CN=webhook.itp.example,O=Iniciadora,C=BR","peerFingerprint":"%s","peerSerial":"1f2e","peerNotAfter":"2027-01-01T00:00:00Z","ownSerial":"2d"},"reused":true,"remote":"203.0.113.9:443","claimToSendMicros":40,"firstByteOutMicros":90,"answeredMicros":2100,"elapsedMicros":2150,"endedAt":%s}', repeat('c', 43), id, id, repeat('ab', 32), to_json(now()))::json`,
			`SELECT md5('poll' || id)::uuid, md5('asked' || id)::uuid, 'poll', NULL::smallint, '200', NULL, '{"status":"ACSC","durationMicros":900}'::json`,
		} {
			if !c.apart && strings.Contains(of, "'attempt', 1") || !c.polled && strings.Contains(of, "'poll', NULL") {
				continue
			}
			_, err = owner.Exec(t.Context(), `SET search_path = arauto; SET session_replication_role = replica`)
			require.NoError(t, err)
			_, err = owner.Exec(t.Context(), `INSERT INTO entry (id, interaction_id, kind, number, outcome, closes, facts, client_id, resource_kind, resource_id, notification_id)
SELECT f.*, 'client-' || n % `+clients+`, 2, 'p-' || n, CASE WHEN f.kind <> 'poll' THEN m.id END
FROM (SELECT n, md5(n::text)::uuid AS id FROM generate_series($2::int + 1, $2 + $1::int) n) m CROSS JOIN LATERAL (`+of+`) f (id, interaction, kind, number, outcome, closes, facts)`, notifications, after)
			require.NoError(t, err)
		}
		storetest.Seal(t, log, owner, audit.NewSigner(private))
	}
	fold := func() {
		for more := true; more; {
			out, err := log.Fold(t.Context())
			require.NoError(t, err)
			more = out.More
		}
	}
	after := 0
	if c.again {
		add(0, notifications)
		fold()
		after = notifications
	}
	for done, stretch := 0, cmp.Or(c.stretch, notifications); done < notifications; done += stretch {
		add(after+done, stretch)
		if !c.fresh {
			log = auditlog.New(s.Access())
		}
		var start, end runtime.MemStats
		runtime.ReadMemStats(&start)
		began := time.Now()
		fold()
		took += time.Since(began)
		runtime.ReadMemStats(&end)
		garbage += end.TotalAlloc - start.TotalAlloc
	}
	var folded, found int
	require.NoError(t, owner.QueryRow(t.Context(), "SELECT sum((sums->>'outcome.1.delivered')::int) FROM arauto.figures_hour WHERE client_id = ''").Scan(&folded))
	require.Equal(t, after+notifications, folded)
	require.NoError(t, owner.QueryRow(t.Context(), "SELECT count(*) FROM arauto.find_resource").Scan(&found))
	require.Equal(t, c.documents, found == notifications)
	return took, garbage
}
