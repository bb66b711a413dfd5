package store_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/intake"
	"github.com/arauto/arauto/internal/lab/storetest"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/store/auditlog"
	"github.com/arauto/arauto/internal/timing"
)

// direct is an intake.Slots that always has a slot, and keeps what it is given to send.
type direct struct {
	lease   time.Duration
	started []notice.Attempt
}

func (d *direct) Reserve(notice.ClientID) (time.Duration, bool) { return d.lease, false }
func (d *direct) Release(notice.ClientID)                       {}
func (d *direct) Start(attempts []notice.Attempt)               { d.started = append(d.started, attempts...) }

// directWorld is a world whose first attempts are all claimed in the commit of their change.
type directWorld struct {
	*world
	owner *pgx.Conn
}

func reserving(t *testing.T, lease time.Duration) (*directWorld, *direct) {
	t.Helper()
	url := storetest.Database(t)
	s, err := store.Open(t.Context(), store.Options{URL: url, Replica: "test", Version: "0"})
	require.NoError(t, err)
	t.Cleanup(s.Close)
	owner, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = owner.Close(context.Background()) })
	d := &direct{lease: lease}
	in := intake.New(intake.Config{Store: s, Schema: anySchema{}, NewID: store.NewID, Slots: d})
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { in.Run(ctx); close(ended) }()
	t.Cleanup(func() { stop(); <-ended })
	return &directWorld{&world{t: t, store: s, log: auditlog.New(s.Access()), intake: in}, owner}, d
}

func TestAFirstAttemptClaimedWithItsChangeIsLikeOneThatWasClaimedAfterIt(t *testing.T) {
	w, d := reserving(t, 20*time.Second)
	w.register("itp", "https://itp.example/hook")
	a := w.accept(payment("itp", "p1", 1, "ACSC"))
	require.Len(t, d.started, 1)
	require.Empty(t, w.claim("itp", 10, 0), "a leased attempt is nobody else's")

	began := time.Now()
	requireDueIn(t, 10*time.Second, began, w.settle(notice.OutcomeRefused, d.started...))
	require.Empty(t, w.settle(notice.OutcomeRefused, d.started...), "the same outcome twice")

	other := w.accept(payment("itp", "p2", 1, "ACSC"))
	require.Empty(t, w.settle(notice.OutcomeDelivered, d.started[1]))

	for id, state := range map[notice.ID]notice.State{a.Notifications[0]: notice.Pending, other.Notifications[0]: notice.Delivered} {
		n, err := w.log.Notification(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, state, n.State)
		require.Len(t, n.Attempts, 1)
		first := n.Attempts[0]
		require.Equal(t, 1, first.Number)
		require.NotEmpty(t, first.Outcome)
	}
}

// TestTheLogTellsAChangeBeforeItsAttempt: both have one transaction, in which entries stand in the order of their ids.
func TestTheLogTellsAChangeBeforeItsAttempt(t *testing.T) {
	w, d := reserving(t, 20*time.Second)
	w.register("itp", "https://itp.example/hook")
	_, err := w.owner.Exec(t.Context(), "UPDATE arauto.form SET dense = false") // else one entry is both
	require.NoError(t, err)
	for n := range 40 {
		c := payment("itp", "p1", n+1, "PDNG")
		c.Data["n"] = n
		if n%2 == 1 {
			c.Data["paymentId"] = "p2"
		}
		w.accept(c)
	}
	require.NotEmpty(t, d.started)
	var attempts, together, after int
	require.NoError(t, w.owner.QueryRow(t.Context(), `SELECT count(*), count(*) FILTER (WHERE c.xid = a.xid), count(*) FILTER (WHERE c.id < a.id)
FROM arauto.entry a JOIN arauto.entry c ON c.notification_id = a.notification_id AND c.kind = 'change' WHERE a.kind = 'attempt'`).Scan(&attempts, &together, &after))
	require.Equal(t, len(d.started), attempts)
	require.Equal(t, attempts, together)
	require.Equal(t, attempts, after)
}

func TestAFirstAttemptThatNobodySettlesIsRescued(t *testing.T) {
	w, d := reserving(t, time.Millisecond)
	w.register("itp", "https://itp.example/hook")
	a := w.accept(payment("itp", "p1", 1, "ACSC"))
	n := 0
	for n == 0 { // its lease runs out by the database's clock
		var err error
		n, _, err = w.store.Rescue(t.Context(), 10, 15*time.Second)
		require.NoError(t, err)
	}
	got, err := w.log.Notification(t.Context(), a.Notifications[0])
	require.NoError(t, err)
	require.Len(t, got.Attempts, 1)
	require.Equal(t, notice.OutcomeUnknown, got.Attempts[0].Outcome)
	require.Empty(t, w.settle(notice.OutcomeDelivered, d.started...), "too late: kept as a late entry")
}

// TestTheEntryOfAChangeRecordsItsFirstAttempt: one entry, and every reader finds both in it.
func TestTheEntryOfAChangeRecordsItsFirstAttempt(t *testing.T) {
	w, d := reserving(t, 20*time.Second)
	w.register("itp", "https://itp.example/hook")
	a := w.accept(payment("itp", "p1", 1, "ACSC"))
	require.Len(t, d.started, 1)
	first := d.started[0]
	require.Equal(t, a.ChangeID, first.Token)
	count := func(where string) (n int) {
		require.NoError(t, w.owner.QueryRow(t.Context(), "SELECT count(*) FROM arauto.entry WHERE "+where).Scan(&n))
		return n
	}
	require.Zero(t, count("kind = 'attempt'"))
	require.Equal(t, 1, count("kind = 'change' AND number IS NULL AND private IS NULL AND facts->'first'->>'number' = '1' AND facts->'first'->>'base' = 'https://itp.example/hook'"))

	inspected := func() []history.Difference {
		_, found := inspect(t, w.log.Inspector(), time.Time{}, time.Now().Add(time.Minute))
		return found
	}
	require.Empty(t, inspected(), "an attempt under way")
	for name, f := range map[string]history.Filter{
		"by interaction": {Interaction: first.Interaction, Limit: 10}, "what is pending": {State: notice.Pending, Limit: 10},
		"what is pending, by interaction": {State: notice.Pending, Interaction: first.Interaction, Limit: 10},
	} {
		listed, _, err := w.log.Notifications(t.Context(), f)
		require.NoError(t, err)
		require.Len(t, listed, 1, name)
		require.Len(t, listed[0].Attempts, 1, name)
		got := listed[0].Attempts[0]
		require.Equal(t, history.AttemptRecord{
			Number: 1, Interaction: first.Interaction, ScheduledAt: first.ScheduledAt.UTC(), StartedAt: first.StartedAt.UTC(),
			ClaimedURL: "https://itp.example/hook/open-banking/webhook/v1/payments/v5/pix/payments/p1",
		}, got, name)
		require.Equal(t, listed[0].CreatedAt, got.StartedAt)
	}
	hits, err := w.log.Find(t.Context(), first.Interaction.String())
	require.NoError(t, err)
	require.Len(t, hits.Hits, 1)
	require.Equal(t, history.HitAttempt, hits.Hits[0].Type)
	require.Equal(t, a.Notifications[0], hits.Hits[0].Notification)
	page, err := w.log.Search(t.Context(), history.Search{Interaction: first.Interaction}, history.Position{}, 10)
	require.NoError(t, err)
	require.Len(t, page.Entries, 1)
	require.Equal(t, history.FactChange, page.Entries[0].Kind)

	require.Empty(t, w.settle(notice.OutcomeDelivered, first))
	require.Empty(t, inspected(), "a delivered one")
	judged, err := w.log.Timing(t.Context(), a.Notifications[0])
	require.NoError(t, err)
	require.Equal(t, timing.OnTime, judged.First.FromEvent)
	require.Len(t, judged.Attempts, 1)
}

// TestALateFirstAttemptHasAnEntryOfItsOwn: it is found by the index of late attempts, and by the filter that verifiers judge.
func TestALateFirstAttemptHasAnEntryOfItsOwn(t *testing.T) {
	w, d := reserving(t, 20*time.Second)
	w.register("itp", "https://itp.example/hook")
	c := payment("itp", "p1", 1, "ACSC")
	c.OccurredAt = time.Now().Add(-time.Minute)
	a := w.accept(c)
	require.Len(t, d.started, 1)
	require.NotEqual(t, a.ChangeID, d.started[0].Token)
	var late int
	require.NoError(t, w.owner.QueryRow(t.Context(), "SELECT count(*) FROM arauto.entry WHERE kind = 'attempt' AND number = 1 AND facts->>'late' = 'true'").Scan(&late))
	require.Equal(t, 1, late)
	require.Empty(t, w.settle(notice.OutcomeDelivered, d.started...))
}
