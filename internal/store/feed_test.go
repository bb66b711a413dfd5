package store_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/lab/storetest"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/store/auditlog"
)

// announceSQL writes announcements of a client, by an instant or now, and the end of every third one.
const announceSQL = `
WITH made AS (
  INSERT INTO arauto.entry (id, at, kind, client_id, resource_kind, resource_id, revision, notification_id, outcome, facts)
  SELECT gen_random_uuid(), coalesce($3::timestamptz, now()), 'change', $1, 2, 'p-' || n, n, gen_random_uuid(), 'applied',
    json_build_object('system', 'test 0', 'source', 'api', 'apiVersion', 'v5', 'status', 'ACSC', 'eventAt', to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))
  FROM generate_series(1, $2::int) n RETURNING notification_id, resource_id, revision
), ended AS (
  INSERT INTO arauto.entry (id, at, kind, client_id, resource_kind, resource_id, notification_id, number, outcome, closes, created_at, facts)
  SELECT gen_random_uuid(), coalesce($3::timestamptz, now()), 'result', $1, 2, resource_id, notification_id, 3, 'timeout', 'exhausted', now(), '{"number":3,"attempt":"","claimToSendMicros":0,"elapsedMicros":1}'
  FROM made WHERE revision % 3 = 0 RETURNING notification_id
)
SELECT notification_id, notification_id IN (SELECT notification_id FROM ended) FROM made`

type announced struct {
	id     notice.ID
	missed bool
}

// announce writes n announcements.
func announce(ctx context.Context, q interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}, client string, n int, at *time.Time,
) ([]announced, error) {
	rows, _ := q.Query(ctx, announceSQL, client, n, at)
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (a announced, err error) {
		err = row.Scan((*[16]byte)(&a.id), &a.missed)
		return a, err
	})
}

// feedReader follows a feed from its beginning.
type feedReader struct {
	log  *auditlog.Log
	of   history.FeedQuery
	read []notice.ID
}

// next reads one page, again while the database does not answer. It answers false for an empty one.
func (r *feedReader) next(ctx context.Context) (bool, error) {
	for {
		page, err := r.log.Feed(ctx, r.of)
		if errors.Is(err, store.ErrUnavailable) && ctx.Err() == nil {
			continue
		}
		if err != nil {
			return false, err
		}
		r.of.After = page.Next
		for i := range page.Records {
			r.read = append(r.read, page.Records[i].ID)
		}
		return len(page.Records) > 0 || page.More, nil
	}
}

// TestAFeedSkipsNothingAndRepeatsNothing commits transactions in another order than they began, ends some without a commit, and
// kills connections of three replicas that read on at the same time. ARAUTO_LONG=1 writes 100,000 events.
func TestAFeedSkipsNothingAndRepeatsNothing(t *testing.T) {
	transactions, size, least := 120, 20, 500
	if os.Getenv("ARAUTO_LONG") != "" {
		transactions, size, least = 1200, 200, 100_000
	}
	url := storetest.Database(t)
	written := make(chan struct{})
	var readers []*feedReader
	var reading sync.WaitGroup
	for _, missed := range []bool{false, false, false, true} {
		s, err := store.Open(t.Context(), store.Options{URL: url, Replica: "reader", Version: "0"})
		require.NoError(t, err)
		t.Cleanup(s.Close)
		r := &feedReader{log: auditlog.New(s.Access()), of: history.FeedQuery{Client: "c-1", Missed: missed, Limit: 37}}
		readers = append(readers, r)
		reading.Go(func() {
			for over := false; ; {
				more, err := r.next(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				if over && !more {
					return
				}
				select {
				case <-written:
					over = true
				default:
				}
			}
		})
	}

	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	want, missed := writeOutOfOrder(t, url, random, transactions, size)
	close(written)
	reading.Wait()
	require.GreaterOrEqual(t, len(want), least)
	t.Logf("%d events in %d transactions, of which one of ten was not committed", len(want), transactions)
	for _, r := range readers {
		expected := want
		if r.of.Missed {
			expected = missed
		}
		seen := make(map[notice.ID]bool, len(r.read))
		for _, id := range r.read {
			require.False(t, seen[id], "%s was read twice", id)
			require.True(t, expected[id], "%s was never committed, or does not belong here", id)
			seen[id] = true
		}
		require.Len(t, seen, len(expected), "every event was read")
	}
	require.Equal(t, readers[0].read, readers[1].read, "every replica has the same order")
	require.Equal(t, readers[0].read, readers[2].read, "every replica has the same order")
}

// writeOutOfOrder keeps up to twelve transactions open and ends one at random, one of ten without a commit. Now and then it kills the
// connections of those who read.
func writeOutOfOrder(t *testing.T, url string, random *rand.Rand, transactions, size int) (all, missed map[notice.ID]bool) {
	t.Helper()
	type open struct {
		tx   pgx.Tx
		made []announced
	}
	var conns, idle []*pgx.Conn
	for range 12 {
		conn, err := pgx.Connect(t.Context(), url)
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
		conns, idle = append(conns, conn), append(idle, conn)
	}
	owner, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer owner.Close(context.WithoutCancel(t.Context()))
	all, missed = map[notice.ID]bool{}, map[notice.ID]bool{}
	var running []open
	end := func() {
		i := random.IntN(len(running))
		o := running[i]
		running = slices.Delete(running, i, i+1)
		idle = append(idle, o.tx.Conn())
		if random.IntN(10) == 0 {
			require.NoError(t, o.tx.Rollback(t.Context()))
			return
		}
		require.NoError(t, o.tx.Commit(t.Context()))
		for _, a := range o.made {
			all[a.id] = true
			if a.missed {
				missed[a.id] = true
			}
		}
	}
	for n := range transactions {
		for len(idle) == 0 || len(running) > 0 && random.IntN(3) == 0 {
			end()
		}
		conn := idle[len(idle)-1]
		idle = idle[:len(idle)-1]
		tx, err := conn.Begin(t.Context())
		require.NoError(t, err)
		made, err := announce(t.Context(), tx, "c-1", 1+random.IntN(size), nil)
		require.NoError(t, err)
		_, err = announce(t.Context(), tx, "c-2", 1, nil)
		require.NoError(t, err)
		running = append(running, open{tx, made})
		if n%(transactions/8) == 0 {
			_, err = owner.Exec(t.Context(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'arauto query%' AND datname = current_database()")
			require.NoError(t, err)
		}
	}
	for len(running) > 0 {
		end()
	}
	require.Len(t, conns, 12)
	return all, missed
}

// TestAFeedIsReadInPiecesOverDays has more than a page in each window of time, and windows without anything.
func TestAFeedIsReadInPiecesOverDays(t *testing.T) {
	h := openSealed(t)
	var want []notice.ID
	missed := map[notice.ID]bool{}
	now := time.Now()
	for n := range 60 {
		at := now.Add(time.Duration(n/6-12) * 17 * time.Minute).Add(time.Duration(n%6) * 20 * time.Second)
		made, err := announce(t.Context(), h.owner, "c-1", 1, &at)
		require.NoError(t, err)
		want = append(want, made[0].id)
		_, err = announce(t.Context(), h.owner, "c-2", 3, &at)
		require.NoError(t, err)
	}
	made, err := announce(t.Context(), h.owner, "c-1", 7, &now)
	require.NoError(t, err)
	for _, a := range made {
		missed[a.id] = a.missed
	}
	storetest.Over(t, h.owner)
	for _, limit := range []int{1, 4, 1000} {
		r := &feedReader{log: h.log, of: history.FeedQuery{Client: "c-1", Limit: limit}}
		for more := true; more; {
			more, err = r.next(t.Context())
			require.NoError(t, err)
		}
		require.Equal(t, want, r.read[:len(want)], "limit %d", limit)
		require.Len(t, r.read, len(want)+7)
		ended := &feedReader{log: h.log, of: history.FeedQuery{Client: "c-1", Limit: limit, Missed: true}}
		for more := true; more; {
			more, err = ended.next(t.Context())
			require.NoError(t, err)
		}
		require.Len(t, ended.read, 2)
		for _, id := range ended.read {
			require.True(t, missed[id])
		}
	}
}

// TestWhatWasMissedIsReadInWindowsOfADay has ends on many days, some close to each other and to where windows end, and days without any. The
// order of transactions differs from that of their begins by less than the margin.
func TestWhatWasMissedIsReadInWindowsOfADay(t *testing.T) {
	h := openSealed(t)
	want := map[notice.ID]bool{}
	begin := time.Now().AddDate(0, 0, -11)
	for day := range 9 {
		if day%5 == 3 {
			continue
		}
		for n := range 8 {
			at := begin.Add(time.Duration(day)*(24*time.Hour-time.Minute) + time.Duration(n-4)*20*time.Second)
			if n%2 == 1 {
				at = at.Add(-35 * time.Second) // it took its number later than one that began after it
			}
			for range 2 {
				made, err := announce(t.Context(), h.owner, "c-1", 3, &at)
				require.NoError(t, err)
				for _, a := range made {
					if a.missed {
						want[a.id] = true
					}
				}
			}
		}
	}
	storetest.Over(t, h.owner)
	var first []notice.ID
	for _, limit := range []int{3, 7, 1000} {
		r := &feedReader{log: h.log, of: history.FeedQuery{Client: "c-1", Limit: limit, Missed: true, After: history.FeedPlace{At: begin.Add(-time.Hour)}}}
		for more := true; more; {
			var err error
			more, err = r.next(t.Context())
			require.NoError(t, err)
		}
		require.Len(t, r.read, len(want), "limit %d", limit)
		for _, id := range r.read {
			require.True(t, want[id])
		}
		if first == nil {
			first = r.read
		}
		require.Equal(t, first, r.read, "limit %d", limit)
	}
}

// TestNewsNamesWhoseFeedsHaveGrown looks from where the last look ended.
func TestNewsNamesWhoseFeedsHaveGrown(t *testing.T) {
	h := openSealed(t)
	_, err := announce(t.Context(), h.owner, "c-0", 1, nil)
	require.NoError(t, err)
	storetest.Over(t, h.owner)
	from, err := h.log.FeedNews(t.Context(), 0)
	require.NoError(t, err)
	require.Empty(t, from.Announced)
	_, err = announce(t.Context(), h.owner, "c-1", 2, nil)
	require.NoError(t, err)
	_, err = announce(t.Context(), h.owner, "c-2", 3, nil)
	require.NoError(t, err)
	storetest.Over(t, h.owner)
	tx, err := h.connect().Begin(t.Context())
	require.NoError(t, err)
	_, err = announce(t.Context(), tx, "c-3", 3, nil)
	require.NoError(t, err)
	_, err = announce(t.Context(), h.owner, "c-4", 1, nil)
	require.NoError(t, err)

	first, err := h.log.FeedNews(t.Context(), from.Through)
	require.NoError(t, err)
	slices.Sort(first.Announced)
	require.Equal(t, []notice.ClientID{"c-1", "c-2"}, first.Announced, "c-4 waits for the older transaction of c-3")
	require.Equal(t, []notice.ClientID{"c-2"}, first.Missed)
	require.NoError(t, tx.Commit(t.Context()))
	storetest.Over(t, h.owner)
	second, err := h.log.FeedNews(t.Context(), first.Through)
	require.NoError(t, err)
	slices.Sort(second.Announced)
	require.Equal(t, []notice.ClientID{"c-3", "c-4"}, second.Announced)
	third, err := h.log.FeedNews(t.Context(), second.Through)
	require.NoError(t, err)
	require.Empty(t, third.Announced)
	require.Empty(t, third.Registered)

	_, _, err = h.store.PutInitiator(t.Context(), notice.Initiator{Client: "c-1", OrganisationID: "o", SoftwareID: "s", Name: "n"}, "core")
	require.NoError(t, err)
	_, _, err = h.store.PutInitiator(t.Context(), notice.Initiator{Client: "c-2", OrganisationID: "o", SoftwareID: "s", Name: "n"}, "core")
	require.NoError(t, err)
	storetest.Over(t, h.owner)
	fourth, err := h.log.FeedNews(t.Context(), third.Through)
	require.NoError(t, err)
	slices.Sort(fourth.Registered)
	require.Equal(t, []notice.ClientID{"c-1", "c-2"}, fourth.Registered)
	require.Empty(t, fourth.Announced)
	require.NoError(t, h.store.DeleteInitiator(t.Context(), "c-2", "core"))
	storetest.Over(t, h.owner)
	fifth, err := h.log.FeedNews(t.Context(), fourth.Through)
	require.NoError(t, err)
	require.Equal(t, []notice.ClientID{"c-2"}, fifth.Registered)
}

// TestWhatEndedUndeliveredIsSentOnceMoreAndNoMore is D-4 for initiators: one more POST a notification in all.
func TestWhatEndedUndeliveredIsSentOnceMoreAndNoMore(t *testing.T) {
	h := openSealed(t)
	for _, client := range []notice.ClientID{"c-1", "c-2"} {
		_, _, err := h.store.PutInitiator(t.Context(), notice.Initiator{
			Client: client, OrganisationID: "o", SoftwareID: "s", Name: "n", WebhookURIs: []string{"https://c.example.com/hook"}, Push: true,
		}, "test")
		require.NoError(t, err)
	}
	old := time.Now().Add(-2 * time.Hour)
	_, err := announce(t.Context(), h.owner, "c-1", 9, &old)
	require.NoError(t, err)
	made, err := announce(t.Context(), h.owner, "c-1", 15, nil)
	require.NoError(t, err)
	_, err = announce(t.Context(), h.owner, "c-2", 15, nil)
	require.NoError(t, err)
	_, err = announce(t.Context(), h.owner, "c-3", 3, nil)
	require.NoError(t, err)

	since := time.Now().Add(-time.Hour)
	ctx := context.WithValue(t.Context(), history.ActorKey{}, history.Actor{Subject: "c-1", Role: "initiator", Source: "192.0.2.1:1"})
	first, more, err := h.log.Redeliver(ctx, "c-1", since, 4)
	require.NoError(t, err)
	require.Len(t, first, 4)
	require.True(t, more)
	second, more, err := h.log.Redeliver(ctx, "c-1", since, 4)
	require.NoError(t, err)
	require.False(t, more)
	var queued, want []notice.ID
	queued = append(append(queued, first...), second...)
	for _, a := range made {
		if a.missed {
			want = append(want, a.id)
		}
	}
	require.ElementsMatch(t, want, queued, "those since the instant, each once, and nobody else's")
	var rows int
	require.NoError(t, h.owner.QueryRow(t.Context(), "SELECT count(*) FROM queue WHERE client_id = 'c-1' AND manual").Scan(&rows))
	require.Equal(t, len(want), rows)
	require.NoError(t, h.owner.QueryRow(t.Context(), "SELECT count(*) FROM entry WHERE kind = 'resend' AND facts->>'role' = 'initiator' AND facts->>'source' = 'initiator' AND facts->>'actor' = 'c-1'").Scan(&rows))
	require.Equal(t, len(want), rows)

	_, err = h.owner.Exec(t.Context(), "DELETE FROM queue") // they were never sent: the initiator's call makes no second one
	require.NoError(t, err)
	third, more, err := h.log.Redeliver(ctx, "c-1", since, 4)
	require.NoError(t, err)
	require.Empty(t, third)
	require.False(t, more)
	_, _, err = h.log.Redeliver(ctx, "c-3", since, 4)
	require.ErrorIs(t, err, store.ErrNoPush)

	_, err = h.log.Resend(t.Context(), want[0], "ana", "they asked by telephone")
	require.ErrorIs(t, err, store.ErrResent, "a minute is not over")
	_, err = h.owner.Exec(t.Context(), "SET session_replication_role = replica; UPDATE entry SET at = at - interval '2 minutes' WHERE kind = 'resend'")
	require.NoError(t, err)
	_, err = h.log.Resend(t.Context(), want[0], "ana", "they asked by telephone")
	require.NoError(t, err, "one that was queued and never sent forbids none")
	require.NoError(t, h.owner.QueryRow(t.Context(), "SELECT count(*) FROM entry WHERE kind = 'resend' AND facts->>'source' = 'operator' AND facts->>'actor' = 'ana'").Scan(&rows))
	require.Equal(t, 1, rows)
}

// TestNothingIsQueuedOnceMoreWhileAThousandWait: each claim passes over what was asked for by hand.
func TestNothingIsQueuedOnceMoreWhileAThousandWait(t *testing.T) {
	h := openSealed(t)
	_, _, err := h.store.PutInitiator(t.Context(), notice.Initiator{
		Client: "c-1", OrganisationID: "o", SoftwareID: "s", Name: "n", WebhookURIs: []string{"https://c.example.com/hook"}, Push: true,
	}, "test")
	require.NoError(t, err)
	_, err = announce(t.Context(), h.owner, "c-1", 15, nil)
	require.NoError(t, err)
	_, err = h.owner.Exec(t.Context(), `INSERT INTO queue (id, client_id, push_epoch, kind, resource_id, api_version, event, event_at, occurred_at, due_at, manual)
SELECT gen_random_uuid(), 'c-1', 1, 2, 'q-' || n, 'v5', '', now(), now(), now(), true FROM generate_series(1, 998) n`)
	require.NoError(t, err)
	ctx := context.WithValue(t.Context(), history.ActorKey{}, history.Actor{Subject: "c-1", Role: "initiator"})
	for _, want := range []int{2, 0} {
		queued, more, err := h.log.Redeliver(ctx, "c-1", time.Now().Add(-time.Hour), 4)
		require.NoError(t, err)
		require.Len(t, queued, want)
		require.True(t, more, "there are others, for later")
	}
}

// TestAPlaceInAFeedIsNotAfterTheBeginOfATransactionThatIsNotOver: a COMMIT may wait for a standby longer than the margin.
func TestAPlaceInAFeedIsNotAfterTheBeginOfATransactionThatIsNotOver(t *testing.T) {
	h := openSealed(t)
	storetest.Over(t, h.owner)
	tx, err := h.connect().Begin(t.Context())
	require.NoError(t, err)
	_, err = announce(t.Context(), tx, "c-1", 3, nil)
	require.NoError(t, err)
	var began time.Time
	require.NoError(t, tx.QueryRow(t.Context(), "SELECT now()").Scan(&began))
	_, err = announce(t.Context(), h.owner, "c-1", 3, nil)
	require.NoError(t, err)
	for _, missed := range []bool{false, true} {
		page, err := h.log.Feed(t.Context(), history.FeedQuery{Client: "c-1", Limit: 100, Missed: missed})
		require.NoError(t, err)
		require.Empty(t, page.Records, "they wait for the older transaction")
		require.True(t, page.Next.At.Equal(began), "%s, not %s", page.Next.At, began)
	}
	require.NoError(t, tx.Commit(t.Context()))
	storetest.Over(t, h.owner)
	page, err := h.log.Feed(t.Context(), history.FeedQuery{Client: "c-1", Limit: 100})
	require.NoError(t, err)
	require.Len(t, page.Records, 6)
	require.False(t, page.More)
	page, err = h.log.Feed(t.Context(), history.FeedQuery{Client: "c-1", Limit: 6})
	require.NoError(t, err)
	require.True(t, page.More, "it is full")
}

// TestAPlaceBehindARestoredDatabaseIsRefused: an empty answer would say that nothing happened.
func TestAPlaceBehindARestoredDatabaseIsRefused(t *testing.T) {
	h := openSealed(t)
	page, err := h.log.Feed(t.Context(), history.FeedQuery{Client: "c-1", Limit: 1})
	require.NoError(t, err)
	_, err = h.log.Feed(t.Context(), history.FeedQuery{Client: "c-1", Limit: 1, After: page.Next})
	require.NoError(t, err)
	page.Next.XID += 1000
	_, err = h.log.Feed(t.Context(), history.FeedQuery{Client: "c-1", Limit: 1, After: page.Next})
	require.ErrorIs(t, err, store.ErrUnavailable)
	require.ErrorContains(t, err, "restored to an earlier state")
}
