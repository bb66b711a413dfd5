package store_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/figures"
	"github.com/arauto/arauto/internal/lab/storetest"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/store"
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
		{From: now.Add(-12 * time.Hour), To: now.Add(12 * time.Hour), Unit: figures.Hour, Client: client},
		{From: now.Add(-12 * time.Hour), To: now.Add(12 * time.Hour), Unit: figures.Minute},
	}})
	require.NoError(f.t, err)
	return figures.Total(r.Rows[0]).Summary(), r
}

// stored is everything that was folded, as text.
func (f *figured) stored() string {
	f.t.Helper()
	return one[string](f.bench, `SELECT coalesce(string_agg(concat_ws(' ', hour, client_id, kind, sums), E'\n' ORDER BY hour, client_id, kind), '') ||
(SELECT coalesce(string_agg(concat_ws(' ', minute, kind, sums), E'\n' ORDER BY minute, kind), '') FROM figures_minute m JOIN figures_state s USING (generation) WHERE s.active) ||
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
	id := store.NewID()
	require.NoError(b.t, b.store.RecordPolls(b.t.Context(), 1, []notice.Poll{{
		ID: id, At: time.Now(), Interaction: id, Client: client, Kind: ofb.PixPayment, ResourceID: resource,
		Facts: notice.PollFacts{HTTPStatus: status, Status: "ACSC", DurationUS: 900, ReceivedAt: time.Now()},
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
	for _, table := range []string{"figures_hour", "figures_minute", "figures_client", "figures_state"} {
		f.do("BEGIN")
		f.do(fmt.Sprintf("LOCK TABLE %s IN SHARE MODE", table))
		failed := make(chan error, 1)
		go func() { _, err := f.log.Fold(context.WithoutCancel(t.Context())); failed <- err }()
		killer, err := pgx.Connect(t.Context(), f.url)
		require.NoError(t, err)
		defer func() { _ = killer.Close(context.Background()) }()
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
