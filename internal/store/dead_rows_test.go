package store_test

import (
	"context"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/store"
)

// TestNoHotStatementWalksThroughDeadRows: thousands of rows came and went while somebody holds a snapshot, and PostgreSQL has counted
// what is left. It takes a table with no or few rows for empty, and a walk through all of it for cheap.
func TestNoHotStatementWalksThroughDeadRows(t *testing.T) {
	for name, live := range map[string]bool{"nothing is left": false, "few are left": true} {
		t.Run(name, func(t *testing.T) {
			b := newFlights(t)
			b.holder("DECLARE held CURSOR FOR SELECT FROM initiator") // its snapshot is kept while the cursor is open
			// Keys in the order of the rows would be read many from one page.
			const came, long = 5000, "now() - interval '2 hours' * (1 + random())"
			b.do("INSERT INTO flight (id, lease_until, unsettled) SELECT gen_random_uuid(), "+long+", 1 FROM generate_series(1, $1::int)", came)
			b.do("INSERT INTO timer (kind, resource_id, rule, deadline) SELECT 2, md5(n::text), 'r', "+long+" FROM generate_series(1, $1::int) AS n", came)
			b.do("INSERT INTO poll_replayed (id) SELECT gen_random_uuid() FROM generate_series(1, $1::int)", came)
			b.do("INSERT INTO quarantine (id, kind, resource_id, revision, content_hash, client_id, source, problems, state) SELECT gen_random_uuid(), 'pix-payment', md5(n::text), 1, '', 'itp', 's', '[]', 'nonconforming' FROM generate_series(1, $1::int) AS n", came)
			b.fill("itp", came, "1 hour")
			b.do("UPDATE queue SET due_at = " + long)
			b.do("UPDATE queue SET token = gen_random_uuid(), lease_until = " + long)
			tables := []string{"flight", "timer", "queue", "poll_replayed", "quarantine"}
			for _, table := range tables {
				b.do("DELETE FROM " + table)
			}
			var flying, queued []notice.Attempt
			stay := func() {
				flying = b.fly(20*time.Second, "p1", "p2", "p3")
				b.do("INSERT INTO timer (kind, resource_id, rule, deadline) SELECT 2, id, 'r', now() FROM resource")
				b.accept(payment("itp", "p4", 1, "ACSC"))
				b.accept(payment("itp", "p5", 1, "ACSC"))
				queued = b.claimFor("itp", time.Hour)
				require.Len(t, queued, 2)
				b.accept(payment("itp", "p6", 1, "ACSC"))
				require.Len(t, b.claimFor("itp", 0), 1) // its lease runs out at once
				b.fill("itp", 3, "10 seconds")
				b.do("INSERT INTO quarantine (id, kind, resource_id, revision, content_hash, client_id, source, problems, state) VALUES (gen_random_uuid(), 'pix-payment', 'p1', 1, '', 'itp', 's', '[]', 'nonconforming')")
			}
			if live {
				stay()
			}
			for _, table := range tables {
				b.do("VACUUM ANALYZE " + table)
				require.Less(t, one[float32](b, "SELECT reltuples FROM pg_class WHERE oid = $1::regclass", table), float32(10), table)
			}
			conn, err := pgx.Connect(t.Context(), b.url)
			require.NoError(t, err)
			t.Cleanup(func() { _ = conn.Close(context.Background()) })
			for name, value := range store.HotSession {
				_, err := conn.Exec(t.Context(), "SET "+name+" = "+value)
				require.NoError(t, err)
			}
			_, err = conn.Exec(t.Context(), "SET search_path = arauto; SET ROLE arauto_app")
			require.NoError(t, err)
			// pages is how many a statement reads by its generic plan, and effect what a query says after it; it is undone.
			pages := func(sql, effect string, args ...any) (most int, seen string) {
				_, err := conn.Exec(t.Context(), "PREPARE statement AS "+sql)
				require.NoError(t, err, sql)
				var list []string
				for i := range args {
					list = append(list, "$"+strconv.Itoa(i+1))
				}
				execute := "EXECUTE statement"
				if len(list) > 0 {
					execute += "(" + strings.Join(list, ", ") + ")"
				}
				for range 2 { // at first the session reads the catalogue
					tx, err := conn.Begin(t.Context())
					require.NoError(t, err)
					rows, err := tx.Query(t.Context(), "EXPLAIN (ANALYZE, BUFFERS, TIMING OFF) "+execute, append([]any{pgx.QueryExecModeSimpleProtocol}, args...)...)
					require.NoError(t, err)
					lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
					require.NoError(t, err, sql)
					plan, _, _ := strings.Cut(strings.Join(lines, "\n"), "\nPlanning")
					most = 0
					for _, hit := range regexp.MustCompile(`shared hit=(\d+)`).FindAllStringSubmatch(plan, -1) {
						n, err := strconv.Atoi(hit[1])
						require.NoError(t, err)
						most = max(most, n)
					}
					if effect != "" {
						require.NoError(t, tx.QueryRow(t.Context(), "SELECT ("+effect+")::text").Scan(&seen))
					}
					require.NoError(t, tx.Rollback(t.Context()))
				}
				_, err = conn.Exec(t.Context(), "DEALLOCATE statement")
				require.NoError(t, err)
				return most, seen
			}
			for _, walk := range []string{"flight ORDER BY lease_until", "timer ORDER BY deadline", "queue ORDER BY id", "queue WHERE token IS NULL ORDER BY client_id, push_epoch, due_at, id", "queue WHERE token IS NOT NULL ORDER BY lease_until", "poll_replayed ORDER BY id", "quarantine ORDER BY kind, resource_id, revision, content_hash"} {
				n, _ := pages("SELECT * FROM "+walk, "")
				require.Greater(t, n, came/2, "the instrument: a walk through the rows that went reads them: %s", walk)
			}
			if !live {
				stay()
			}
			settle := func(outcome notice.Outcome, attempts ...notice.Attempt) []any {
				args, err := store.SettleArguments(b.store, outcome, attempts...)
				require.NoError(t, err)
				return args
			}
			ids := func(attempts ...notice.Attempt) (out []pgtype.UUID) {
				for _, a := range attempts {
					out = append(out, store.ToUUID(a.Notification))
				}
				return out
			}
			flight := []pgtype.UUID{store.ToUUID(flying[0].Flight)}
			hour, timers := time.Hour.Microseconds(), []any{[]int16{2, 2}, []string{"p1", "p2"}}
			const inQueue, unsettled = "SELECT count(*) FROM queue", "SELECT coalesce(sum(unsettled), 0) FROM flight"
			for what, c := range map[string]struct {
				sql, effect, seen string
				args              []any
			}{
				"settle, a flight, delivered":    {store.SettleSQL, unsettled, "0", settle(notice.OutcomeDelivered, flying...)},
				"settle, a flight, two are left": {store.SettleSQL, unsettled, "2", settle(notice.OutcomeDelivered, flying[0])},
				"settle, a flight, refused":      {store.SettleSQL, inQueue, "9", settle(notice.OutcomeRefused, flying...)},
				"settle, the queue, delivered":   {store.SettleSQL, inQueue, "4", settle(notice.OutcomeDelivered, queued...)},
				"settle, the queue, refused":     {store.SettleSQL, inQueue + " WHERE token IS NULL", "5", settle(notice.OutcomeRefused, queued...)},
				"claim":                          {store.ClaimSQL, inQueue + " WHERE token IS NOT NULL", "6", []any{[]string{"itp"}, []int32{50}, []int32{12}, time.Minute, notice.FirstWithin, "test", []string{""}, []int64{0}, []int64{hour}}},
				"rescue":                         {store.RescueSQL, inQueue + " WHERE token IS NULL", "4", []any{100, 15 * time.Second, 10 * time.Second, time.Minute, "test", hour}},
				"waiting":                        {store.Waiting, "", "", []any{hour, "{}"}},
				"lock flights":                   {store.LockFlights, "", "", []any{flight}},
				"lock rows":                      {store.LockRows, "", "", []any{ids(queued...)}},
				"flights whose lease ran out":    {store.LockLost, "", "", []any{8, hour}},
				"due timers":                     {store.DueTimers, "", "", []any{100, hour}},
				"which timers are due":           {store.ArmedTimers, "", "", timers},
				"forget timers":                  {store.ForgetTimers, "SELECT count(*) FROM timer", "1", append(timers, []pgtype.Timestamptz{{}, {}})},
				"polls":                          {store.InsertPolls, "SELECT count(*) FROM entry WHERE kind = 'poll'", "3", pollArguments(3)},
				"forget replaced cases":          {store.ForgetReplacedCases, "SELECT count(*) FROM quarantine", "0", []any{[]string{"pix-payment"}, []string{"p1"}, []int64{2}, []string{"nonconforming"}}},
			} {
				n, seen := pages(c.sql, c.effect, c.args...)
				t.Logf("%s: %d pages", what, n)
				require.Less(t, n, 120, what)
				require.Equal(t, c.seen, seen, what)
			}
		})
	}
}

// pollArguments are the arguments of n polls.
func pollArguments(n int) []any {
	var ids []pgtype.UUID
	var texts, facts []string
	kinds, at := make([]int16, n), make([]pgtype.Timestamptz, n)
	for i := range n {
		ids, texts, facts = append(ids, store.ToUUID(store.NewID())), append(texts, "itp"), append(facts, "{}")
		at[i] = store.ToTime(time.Now())
	}
	return []any{ids, texts, kinds, texts, ids, texts, facts, at}
}

// TestACaseThatChangedMeanwhileIsNotForgotten: the statement that removes replaced cases had found it before.
func TestACaseThatChangedMeanwhileIsNotForgotten(t *testing.T) {
	b := newFlights(t)
	b.do("INSERT INTO quarantine (id, kind, resource_id, revision, content_hash, client_id, source, problems, state) VALUES (gen_random_uuid(), 'pix-payment', 'p1', 1, '', 'itp', 's', '[]', 'nonconforming')")
	other := b.holder("UPDATE quarantine SET state = 'dismissed'")
	conn, err := pgx.Connect(t.Context(), b.url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	_, err = conn.Exec(t.Context(), "SET search_path = arauto")
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() {
		_, err := conn.Exec(t.Context(), store.ForgetReplacedCases, []string{"pix-payment"}, []string{"p1"}, []int64{2}, []string{"nonconforming"})
		ended <- err
	}()
	b.blocked(1)
	require.NoError(t, other.Commit(t.Context()))
	require.NoError(t, <-ended)
	require.Equal(t, 1, one[int](b, "SELECT count(*) FROM quarantine"))
}
