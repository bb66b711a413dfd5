package store_test

import (
	"context"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
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
			const came = 5000
			b.do("INSERT INTO flight (id, lease_until, unsettled) SELECT gen_random_uuid(), now(), 1 FROM generate_series(1, $1::int)", came)
			b.do("INSERT INTO timer (kind, resource_id, rule, deadline) SELECT 2, 'gone-' || n, 'r', now() FROM generate_series(1, $1::int) AS n", came)
			b.fill("itp", came/2, "1 hour")
			b.do("UPDATE queue SET token = gen_random_uuid(), lease_until = now() - interval '1 hour'")
			b.fill("itp", came/2, "1 hour")
			for _, table := range []string{"flight", "timer", "queue"} {
				b.do("DELETE FROM " + table)
			}
			var flying, queued []notice.Attempt
			stay := func() {
				flying = b.fly(20*time.Second, "p1", "p2", "p3")
				b.accept(payment("itp", "p4", 1, "ACSC"))
				b.accept(payment("itp", "p5", 1, "ACSC"))
				queued = b.claimFor("itp", time.Hour)
				require.Len(t, queued, 2)
				b.accept(payment("itp", "p6", 1, "ACSC"))
				require.Len(t, b.claimFor("itp", 0), 1) // its lease runs out at once
				b.fill("itp", 3, "10 seconds")
			}
			if live {
				stay()
			}
			for _, table := range []string{"flight", "timer", "queue"} {
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
			// read is how many pages a statement reads, by what is known of the tables now. It changes nothing.
			read := func(sql string, args ...any) (pages int) {
				tx, err := conn.Begin(t.Context())
				require.NoError(t, err)
				rows, err := tx.Query(t.Context(), "EXPLAIN (ANALYZE, BUFFERS, TIMING OFF) "+sql, args...)
				require.NoError(t, err)
				lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
				require.NoError(t, err, sql)
				require.NoError(t, tx.Rollback(t.Context()))
				plan, _, _ := strings.Cut(strings.Join(lines, "\n"), "\nPlanning")
				for _, hit := range regexp.MustCompile(`shared hit=(\d+)`).FindAllStringSubmatch(plan, -1) {
					n, err := strconv.Atoi(hit[1])
					require.NoError(t, err)
					pages = max(pages, n)
				}
				return pages
			}
			require.Greater(t, read("SELECT FROM flight ORDER BY id"), came/2, "the instrument: a walk through the rows that went reads them")
			if !live {
				stay()
			}
			settle := func(outcome notice.Outcome, attempts ...notice.Attempt) []any {
				args, err := store.SettleArguments(b.store, outcome, attempts...)
				require.NoError(t, err)
				return args
			}
			for what, c := range map[string]struct {
				sql  string
				args []any
			}{
				"settle, a flight, delivered":    {store.SettleSQL, settle(notice.OutcomeDelivered, flying...)},
				"settle, a flight, two are left": {store.SettleSQL, settle(notice.OutcomeDelivered, flying[0])},
				"settle, a flight, refused":      {store.SettleSQL, settle(notice.OutcomeRefused, flying...)},
				"settle, the queue, delivered":   {store.SettleSQL, settle(notice.OutcomeDelivered, queued...)},
				"settle, the queue, refused":     {store.SettleSQL, settle(notice.OutcomeRefused, queued...)},
				"claim":                          {store.ClaimSQL, []any{[]string{"itp"}, []int32{50}, []int32{12}, time.Minute, notice.FirstWithin, "test", []string{""}, []int64{0}, []int64{60_000_000}}},
				"rescue":                         {store.RescueSQL, []any{100, 15 * time.Second, 10 * time.Second, time.Minute, "test", int64(60_000_000)}},
				"lock flights":                   {store.LockFlights, []any{[]string{flying[0].Flight.String()}}},
				"which timers are due":           {store.ArmedTimers, []any{[]int16{2, 2}, []string{"p1", "gone-7"}}},
				"forget timers":                  {store.ForgetTimers, []any{[]int16{2, 2}, []string{"p1", "gone-7"}, []*time.Time{nil, nil}}},
			} {
				pages := read(c.sql, c.args...)
				t.Logf("%s: %d pages", what, pages)
				require.Less(t, pages, 300, what)
			}
			b.do("UPDATE initiator SET push_epoch = push_epoch + 1")
			require.Less(t, read(store.CancelSQL, 100, "test"), 300)
		})
	}
}
