package store_test

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/intake"
	"github.com/arauto/arauto/internal/lab/storetest"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/store/auditlog"
	"github.com/arauto/arauto/migrations"
)

// fence is the number of this test's replica.
const fence = 0x6172_6175_746f

// openStore is a store with a connection of the owner's beside it.
type openStore struct {
	t     *testing.T
	store *store.Store
	log   *auditlog.Log
	url   string
}

func openHistory(t *testing.T) *openStore {
	t.Helper()
	url := storetest.Database(t)
	s, err := store.Open(t.Context(), store.Options{URL: url, Replica: "test", Version: "0"})
	require.NoError(t, err)
	t.Cleanup(s.Close)
	return &openStore{t, s, auditlog.New(s.Access()), url}
}

// world is an intake before the same store.
func (h *openStore) world() *world {
	h.t.Helper()
	in := intake.New(intake.Config{Store: h.store, Schema: anySchema{}, NewID: store.NewID})
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { in.Run(ctx); close(ended) }()
	h.t.Cleanup(func() { stop(); <-ended })
	return &world{t: h.t, store: h.store, log: h.log, intake: in}
}

func (h *openStore) connect() *pgx.Conn {
	h.t.Helper()
	conn, err := pgx.Connect(h.t.Context(), h.url)
	require.NoError(h.t, err)
	h.t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// count tells how often a poll is in the history.
func (h *openStore) count(p notice.Poll) int {
	h.t.Helper()
	var n int
	require.NoError(h.t, h.connect().QueryRow(h.t.Context(), "SELECT count(*) FROM arauto.entry WHERE id = $1", p.ID.String()).Scan(&n))
	return n
}

// hold keeps others from writing to the history until the function it returns is called.
func (h *openStore) hold() (release func()) {
	h.t.Helper()
	conn := h.connect()
	_, err := conn.Exec(h.t.Context(), "BEGIN; LOCK TABLE arauto.entry IN SHARE ROW EXCLUSIVE MODE")
	require.NoError(h.t, err)
	return func() { conn.Close(context.Background()) }
}

// waiting returns once n sessions wait for locks of a kind.
func (h *openStore) waiting(kind string, n int) {
	h.t.Helper()
	conn := h.connect()
	require.Eventually(h.t, func() bool {
		var found int
		require.NoError(h.t, conn.QueryRow(h.t.Context(), `SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = $1
AND (database IS NULL OR database = (SELECT oid FROM pg_database WHERE datname = current_database()))`, kind).Scan(&found))
		return found >= n
	}, time.Minute, 2*time.Millisecond)
}

func aPoll() notice.Poll {
	return notice.Poll{
		ID: store.NewID(), At: time.Now(), Interaction: notice.ID(uuid.New()), Client: "client", Kind: ofb.PixPayment, ResourceID: "p-1",
		Facts: notice.PollFacts{HTTPStatus: 200, Source: "192.0.2.1:4711", Status: ofb.ACSC},
	}
}

func TestAPollIsAnEntryOfItsResource(t *testing.T) {
	h := openHistory(t)
	p, bare := aPoll(), notice.Poll{ID: store.NewID(), At: time.Now(), Interaction: notice.ID(uuid.New()), Facts: notice.PollFacts{HTTPStatus: 404}}
	require.NoError(t, h.store.RecordPolls(t.Context(), fence, []notice.Poll{p, bare}))
	timeline, err := h.log.Timeline(t.Context(), notice.Key{Kind: ofb.PixPayment, ID: "p-1"})
	require.NoError(t, err)
	require.Len(t, timeline.Events, 1)
	e := timeline.Events[0]
	require.Equal(t, "poll", e.Kind)
	require.Equal(t, "200", e.Outcome)
	require.Equal(t, p.ID, e.ID)
	require.True(t, e.Notification.IsZero())
	require.Contains(t, string(e.Facts), `"system":"test 0"`)
	var kind, outcome string
	var client, resource *string
	require.NoError(t, h.connect().QueryRow(t.Context(), "SELECT kind, outcome, client_id, resource_id FROM arauto.entry WHERE interaction_id = $1",
		bare.Interaction.String()).Scan(&kind, &outcome, &client, &resource))
	require.Equal(t, []any{"poll", "404", (*string)(nil), (*string)(nil)}, []any{kind, outcome, client, resource})
}

func TestAPollIsStoredOnceHoweverOftenItIsHandedIn(t *testing.T) {
	h := openHistory(t)
	recorded, replayed := aPoll(), aPoll()
	require.NoError(t, h.store.RecordPolls(t.Context(), fence, []notice.Poll{recorded}))
	require.NoError(t, h.store.ReplayPolls(t.Context(), fence, []notice.Poll{recorded, replayed}))
	require.NoError(t, h.store.ReplayPolls(t.Context(), fence, []notice.Poll{replayed}))
	require.NoError(t, h.store.RecordPolls(t.Context(), fence, []notice.Poll{replayed}), "a commit that was overtaken")
	require.Equal(t, 1, h.count(recorded))
	require.Equal(t, 1, h.count(replayed))
}

// TestAReplayWaitsForTheCommitItOvertakes: the commit hangs, its caller has long given up and replays; when the commit
// goes through after all, the poll is there once.
func TestAReplayWaitsForTheCommitItOvertakes(t *testing.T) {
	h := openHistory(t)
	p := aPoll()
	h.exec(`CREATE FUNCTION arauto.dawdle() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_advisory_xact_lock(42); RETURN NEW; END';
CREATE TRIGGER dawdle BEFORE INSERT ON arauto.entry FOR EACH ROW EXECUTE FUNCTION arauto.dawdle()`)
	holder := h.connect()
	_, err := holder.Exec(t.Context(), "SELECT pg_advisory_lock(42)")
	require.NoError(t, err)
	var both sync.WaitGroup
	both.Go(func() {
		if err := h.store.RecordPolls(t.Context(), fence, []notice.Poll{p}); err != nil {
			t.Error(err)
		}
	})
	h.waiting("advisory", 1)
	both.Go(func() {
		if err := h.store.ReplayPolls(t.Context(), fence, []notice.Poll{p}); err != nil {
			t.Error(err)
		}
	})
	h.waiting("advisory", 2)
	holder.Close(context.Background())
	both.Wait()
	require.Equal(t, 1, h.count(p))
}

// TestAHangingHistoryIsUnavailableAndNotRefused: a caller that is kept waiting must try again, not put the poll aside.
func TestAHangingHistoryIsUnavailableAndNotRefused(t *testing.T) {
	t.Parallel()
	h := openHistory(t)
	p := aPoll()
	release := h.hold()
	err := h.store.RecordPolls(t.Context(), fence, []notice.Poll{p}) // until lock_timeout
	require.ErrorIs(t, err, store.ErrUnavailable)
	var t1 interface{ Transient() bool }
	require.True(t, errors.As(err, &t1) && t1.Transient())
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, h.store.ReplayPolls(ctx, fence, []notice.Poll{p}), store.ErrUnavailable)
	release()
	require.NoError(t, h.store.ReplayPolls(t.Context(), fence, []notice.Poll{p}))
	require.Equal(t, 1, h.count(p))
}

func TestOneReplicasReplayDoesNotWaitForAnothers(t *testing.T) {
	t.Parallel()
	h := openHistory(t)
	conn := h.connect()
	_, err := conn.Exec(t.Context(), "BEGIN; SELECT pg_advisory_xact_lock_shared(1)")
	require.NoError(t, err)
	p := aPoll()
	require.NoError(t, h.store.ReplayPolls(t.Context(), 2, []notice.Poll{p}))
	require.ErrorIs(t, h.store.ReplayPolls(t.Context(), 1, []notice.Poll{aPoll()}), store.ErrUnavailable, "its own is under way")
}

func TestAReadingShowsTheOwnerAloneWhatIsCommitted(t *testing.T) {
	w := newWorld(t)
	w.register("alfa", "https://alfa.example.com/w")
	c := payment("alfa", "p-1", 1, "ACSC")
	c.Data["consentId"] = "urn:a:1"
	w.accept(c)
	stray := payment("beta", "p-2", 1, "ACSC")
	stray.Data["consentId"] = "urn:a:1"
	w.accept(stray)

	read := func(client notice.ClientID, q notice.Question) notice.PollReading {
		t.Helper()
		q.Client = client
		r, err := w.store.Read(t.Context(), q)
		require.NoError(t, err)
		require.WithinDuration(t, time.Now(), r.Now, time.Minute)
		return r
	}
	mine := read("alfa", notice.Question{Kind: ofb.PixPayment, ID: "p-1"})
	require.True(t, mine.Found && mine.Mine)
	require.Equal(t, "v5", mine.Stored.APIVersion)
	require.Equal(t, ofb.ACSC, mine.Stored.Status)
	require.Contains(t, string(mine.Stored.Document), "p-1")
	require.Equal(t, "org", mine.Initiator.OrganisationID)

	theirs := read("beta", notice.Question{Kind: ofb.PixPayment, ID: "p-1"})
	require.True(t, theirs.Found && !theirs.Mine)
	require.Empty(t, theirs.Stored.Document, "another client's document does not leave the database")
	require.Empty(t, theirs.Stored.Status)
	require.Nil(t, theirs.Initiator)
	require.False(t, read("alfa", notice.Question{Kind: ofb.PixPayment, ID: "P-1"}).Found, "ids are compared as bytes")
	require.False(t, read("alfa", notice.Question{Kind: ofb.RecurringPayment, ID: "p-1"}).Found)
	require.NotNil(t, read("alfa", notice.Question{}).Initiator, "who is asking, and nothing else")

	under := notice.Question{Kind: ofb.PaymentConsent, ID: "urn:a:1", Under: ofb.PixPayment, Most: 10}
	list := read("alfa", under)
	require.Len(t, list.Listed, 1)
	require.Equal(t, "p-1", list.Listed[0].ID)
	require.True(t, list.Known && list.Foreign && !list.Found)
	under.Keep = func(document []byte) bool { return !strings.Contains(string(document), "p-1") }
	list = read("alfa", under)
	require.Empty(t, list.Listed)
	require.True(t, list.Known)
	stranger := read("gama", under)
	require.True(t, stranger.Foreign && !stranger.Known)
	require.Empty(t, stranger.Listed)

	for n := range 4 {
		more := payment("alfa", "q-"+string(rune('a'+n)), 1, "RCVD")
		more.Data["consentId"] = "urn:a:2"
		w.accept(more)
	}
	require.Len(t, read("alfa", notice.Question{Kind: ofb.PaymentConsent, ID: "urn:a:2", Under: ofb.PixPayment, Most: 2}).Listed, 3, "one more than asked for")
	require.NoError(t, w.store.DeleteInitiator(t.Context(), "alfa", "test"))
	require.Nil(t, read("alfa", notice.Question{Kind: ofb.PixPayment, ID: "p-1"}).Initiator)
}

// TestMigratingFillsInTheConsentOfWhatIsStored runs the statement of the migration over payments whose column is empty.
func TestMigratingFillsInTheConsentOfWhatIsStored(t *testing.T) {
	h := openHistory(t)
	h.exec("UPDATE arauto.form SET packed = false") // no document was packed then
	w := h.world()
	c := payment("alfa", "p-1", 1, "ACSC")
	c.Data["consentId"] = "urn:a:1"
	w.accept(c)
	w.accept(change{Kind: "recurring-payment", ClientID: "alfa", APIVersion: "v2", Revision: 1, OccurredAt: time.Now(), Data: map[string]any{
		"recurringPaymentId": "r-1", "recurringConsentId": "urn:a:2", "status": "RCVD",
	}})
	w.accept(change{Kind: "payment-consent", ClientID: "alfa", APIVersion: "v4", Revision: 1, OccurredAt: time.Now(), Data: map[string]any{
		"consentId": "urn:a:1", "status": "AUTHORISED",
	}})
	text, err := fs.ReadFile(migrations.Files, "0002_status.sql")
	require.NoError(t, err)
	_, statement, ok := strings.Cut(string(text), "\nUPDATE ")
	require.True(t, ok)
	statement, _, _ = strings.Cut(statement, ";")
	h.exec("UPDATE arauto.resource SET consent_id = NULL")
	h.exec("SET search_path = arauto; UPDATE " + statement)
	require.Equal(t, []string{"payment-consent ", "pix-payment urn:a:1", "recurring-payment urn:a:2"}, h.consents())
}

// exec runs statements as the owner of the database.
func (h *openStore) exec(statements string) {
	h.t.Helper()
	_, err := h.connect().Exec(h.t.Context(), statements)
	require.NoError(h.t, err)
}

// consents lists kind and consent of every resource.
func (h *openStore) consents() []string {
	h.t.Helper()
	rows, err := h.connect().Query(h.t.Context(), "SELECT kind, coalesce(consent_id, '') FROM arauto.resource ORDER BY kind")
	require.NoError(h.t, err)
	out, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (string, error) {
		var kind int16
		var consent string
		err := row.Scan(&kind, &consent)
		return ofb.Kind(kind).String() + " " + consent, err
	})
	require.NoError(h.t, err)
	return out
}

// TestAPollNamedTwiceInOneBatchIsRecordedOnce: two rows of one id in one transaction would have one place in the log, and
// the log would never verify again.
func TestAPollNamedTwiceInOneBatchIsRecordedOnce(t *testing.T) {
	h := openHistory(t)
	conn := h.connect()
	for n, keep := range []func(context.Context, int64, []notice.Poll) error{h.store.RecordPolls, h.store.ReplayPolls} {
		p := notice.Poll{ID: store.NewID(), Interaction: notice.ID(uuid.New()), At: time.Now(), Facts: notice.PollFacts{Source: "192.0.2.1:1", HTTPStatus: 200}}
		again := p
		again.Facts.HTTPStatus = 503
		require.NoError(t, keep(t.Context(), fence, []notice.Poll{p, again}))
		var rows int
		require.NoError(t, conn.QueryRow(t.Context(), "SELECT count(*) FROM arauto.entry WHERE kind = 'poll'").Scan(&rows))
		require.Equal(t, n+1, rows)
	}
}
