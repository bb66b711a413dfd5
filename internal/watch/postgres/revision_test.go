package postgres

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/temppostgres"
	"github.com/arauto/arauto/internal/watch"
)

// ledger follows rows whose column n counts their changes, and finds what is lost, reordered or told otherwise than
// before.
type ledger struct {
	mu    sync.Mutex
	at    map[string]map[int64]string // by id: what was told at a revision
	order map[string]map[string]int64 // by id: the revision of a count
	last  map[string]int64            // by id: the revision told last
	late  int                         // records below the row's newest revision: told again, or behind a fast lane
	again int                         // records told again
	wrong []string

	streamed map[string]bool // by id: a change was told, after the first load
}

func newLedger() *ledger {
	return &ledger{at: map[string]map[int64]string{}, order: map[string]map[string]int64{}, last: map[string]int64{}, streamed: map[string]bool{}}
}

func (l *ledger) see(r watch.SourceRecord) {
	l.mu.Lock()
	defer l.mu.Unlock()
	id := fmt.Sprint(r.Values["id"])
	if l.at[id] == nil {
		l.at[id], l.order[id] = map[int64]string{}, map[string]int64{}
	}
	n := fmt.Sprint(r.Values["n"])
	if r.Op == watch.Delete {
		n = "deleted"
	}
	if before, told := l.at[id][r.Revision]; told {
		l.again++
		if before != n {
			l.wrong = append(l.wrong, fmt.Sprintf("row %s at %d was n=%s and is n=%s", id, r.Revision, before, n))
		}
	}
	if r.Revision < l.last[id] {
		l.late++
	}
	l.at[id][r.Revision], l.last[id] = n, max(l.last[id], r.Revision)
	if r.Op != watch.Snapshot {
		l.streamed[id] = true
	} else if !l.streamed[id] {
		clear(l.order[id]) // a first load that broke off begins again with the rows as they are: changes in between are not told
	}
	l.order[id][n] = r.Revision
}

// check compares with the table: of each row every count since the first one told, up to the present, at growing revisions.
func (l *ledger) check(c *core) {
	c.t.Helper()
	rows, err := c.conn.Query(c.t.Context(), "SELECT id::text, n FROM payments ORDER BY id")
	require.NoError(c.t, err)
	type row struct {
		ID string
		N  int
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[row])
	require.NoError(c.t, err)
	l.mu.Lock()
	defer l.mu.Unlock()
	require.Empty(c.t, l.wrong)
	require.NotEmpty(c.t, all)
	for _, r := range all {
		first := r.N
		for first > 0 && l.order[r.ID][fmt.Sprint(first-1)] != 0 {
			first--
		}
		before := int64(0)
		for n := first; n <= r.N; n++ {
			at := l.order[r.ID][fmt.Sprint(n)]
			require.Greater(c.t, at, before, "row %s: n=%d of %d is lost or out of order", r.ID, n, r.N)
			before = at
		}
		require.Len(c.t, l.order[r.ID], r.N-first+1, "row %s: counts told that it never had, or a gap", r.ID)
		require.Equal(c.t, before, l.last[r.ID], "row %s: its newest revision is not its present", r.ID)
	}
}

// writers change rows at random until stopped, in every way that PostgreSQL has: single updates, whole transactions with
// savepoints rolled back, several changes of a row, inserts of many rows, COPY, ON CONFLICT.
func writers(c *core, n int, rows int, pace time.Duration) (stop func() int) {
	ctx, cancel := context.WithCancel(c.t.Context())
	var group sync.WaitGroup
	var mu sync.Mutex
	commits := 0
	for w := range n {
		group.Go(func() {
			random := rand.New(rand.NewPCG(uint64(w), 7))
			next := int64(1_000_000 * (w + 1))
			var conn *pgx.Conn
			for ctx.Err() == nil {
				if conn == nil || conn.IsClosed() {
					var err error
					if conn, err = pgx.Connect(ctx, c.url); err != nil {
						_ = pause(ctx, 20*time.Millisecond)
						continue
					}
				}
				if writeOnce(ctx, conn, random, rows, &next) == nil {
					mu.Lock()
					commits++
					mu.Unlock()
				}
				if pace > 0 {
					_ = pause(ctx, time.Duration(random.Int64N(int64(2*pace))))
				}
			}
			if conn != nil {
				_ = conn.Close(context.WithoutCancel(ctx))
			}
		})
	}
	return func() int { cancel(); group.Wait(); return commits }
}

func writeOnce(ctx context.Context, conn *pgx.Conn, random *rand.Rand, rows int, next *int64) error {
	ctx = context.WithoutCancel(ctx) // a commit is known to have happened, or not
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	tx, err := conn.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(ctx) }()
	bump := "UPDATE payments SET n = n + 1 WHERE id = $1"
	id := func() int { return random.IntN(rows) }
	switch random.IntN(7) {
	case 0: // several changes of one row, in savepoints that stay and that go
		row := id()
		for range 3 {
			nested, err := tx.Begin(ctx)
			if err != nil {
				return err
			}
			if _, err := nested.Exec(ctx, bump, row); err != nil {
				return err
			}
			if random.IntN(2) == 0 {
				_ = nested.Rollback(ctx)
			} else if err := nested.Commit(ctx); err != nil {
				return err
			}
		}
	case 1: // many rows at once
		*next += 5
		_, err = tx.Exec(ctx, "INSERT INTO payments (id, status, n) SELECT i, 'RCVD', 0 FROM generate_series($1::bigint, $1::bigint + 4) i", *next)
	case 2:
		*next += 3
		_, err = tx.CopyFrom(ctx, pgx.Identifier{"payments"}, []string{"id", "status", "n"},
			pgx.CopyFromRows([][]any{{*next, "RCVD", 0}, {*next + 1, "RCVD", 0}, {*next + 2, "RCVD", 0}}))
		if err == nil {
			_, err = tx.Exec(ctx, bump, *next+1)
		}
	case 3:
		_, err = tx.Exec(ctx, "INSERT INTO payments (id, status, n) VALUES ($1, 'RCVD', 0) ON CONFLICT (id) DO UPDATE SET n = payments.n + 1", id())
	case 4: // two rows in the order of their ids: no deadlock
		a, b := id(), id()
		if _, err = tx.Exec(ctx, bump, min(a, b)); err == nil && a != b {
			_, err = tx.Exec(ctx, bump, max(a, b))
		}
	case 5:
		row := id()
		if _, err = tx.Exec(ctx, bump, row); err == nil {
			_, err = tx.Exec(ctx, bump, row)
		}
		if random.IntN(3) == 0 {
			return tx.Rollback(ctx)
		}
	default:
		_, err = tx.Exec(ctx, bump, id())
	}
	if err != nil {
		return err
	}
	return tx.Commit(ctx)
}

// counted makes a core whose payments count their changes.
func counted(t testing.TB, s *temppostgres.Server, rows int) *core {
	c := newCore(t, s)
	c.exec("ALTER TABLE payments ADD n int NOT NULL DEFAULT 0")
	c.exec("INSERT INTO payments (id, status) SELECT i, 'RCVD' FROM generate_series(0, $1 - 1) i", rows)
	return c
}

func TestRevisionsGrowWithEveryChangeOfARowFromTheSnapshotOn(t *testing.T) {
	t.Parallel()
	for round := range 3 {
		t.Run(fmt.Sprint(round), func(t *testing.T) {
			t.Parallel()
			c := counted(t, nil, 40)
			// Two transactions that began before the slot: one has written already, one will write while it is made.
			early, later := c.connect(), c.connect()
			for _, conn := range []*pgx.Conn{early, later} {
				_, err := conn.Exec(t.Context(), "BEGIN; SELECT count(*) FROM payments")
				require.NoError(t, err)
			}
			_, err := early.Exec(t.Context(), "UPDATE payments SET n = n + 1 WHERE id = 1")
			require.NoError(t, err)

			stop := writers(c, 6, 40, 0)
			l, h := newLedger(), newHand()
			h.each = l.see
			run := read(t, c.reader(nil), h)
			c.eventually("SELECT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = $1)", loading(c.slot))
			_, err = later.Exec(t.Context(), "UPDATE payments SET n = n + 1 WHERE id = 2; COMMIT")
			require.NoError(t, err)
			_, err = early.Exec(t.Context(), "UPDATE payments SET n = n + 1 WHERE id = 1; COMMIT")
			require.NoError(t, err)
			c.reading()
			_ = pause(t.Context(), time.Second) // of writing
			commits := stop()
			c.caughtUp()
			require.NoError(t, run.end())
			l.check(c)
			require.Greater(t, commits, 100)
			require.Zero(t, l.again, "without a crash nothing is told twice")
			require.Zero(t, l.late, "nothing is told out of order")
		})
	}
}

func TestRowsThatOneStatementWritesHaveGrowingRevisions(t *testing.T) {
	t.Parallel()
	c := newCore(t, nil, "CREATE TABLE events (seq bigint PRIMARY KEY, payment text, state text)", "CREATE TABLE narrow (yes boolean)",
		"ALTER TABLE narrow REPLICA IDENTITY FULL")
	_, h, run := c.follow("events", "narrow")
	_, err := c.conn.CopyFrom(t.Context(), pgx.Identifier{"events"}, []string{"seq", "payment", "state"},
		pgx.CopyFromRows([][]any{{1, "p", "RCVD"}, {2, "p", "ACSC"}, {3, "q", "RCVD"}}))
	require.NoError(t, err)
	c.exec("INSERT INTO events VALUES (4, 'p', 'a'), (5, 'p', 'b')")
	c.exec("INSERT INTO events SELECT 5 + i, 'p', 's' FROM generate_series(1, 3) i")
	const narrow = 5000 // the smallest rows there are: the most of them in one record of the log
	_, err = c.conn.CopyFrom(t.Context(), pgx.Identifier{"narrow"}, []string{"yes"},
		pgx.CopyFromSlice(narrow, func(i int) ([]any, error) { return []any{i%2 == 0}, nil }))
	require.NoError(t, err)
	c.exec("UPDATE events SET state = 'last' WHERE seq = 8")

	rows := h.take(t, 3+2+3+narrow+1)
	last := int64(0)
	for _, rec := range rows {
		require.Greater(t, rec.Revision, last, "%s has no revision of its own", brief(rec))
		last = rec.Revision
	}
	require.Equal(t, "update events payment=p seq=8 state=last", brief(rows[len(rows)-1]))
	require.LessOrEqual(t, last, int64(c.lsn()), "no revision lies beyond the log")
	require.NoError(t, run.end())
}

func TestRowsOfOneStatementHaveTheSameRevisionWhenTheyAreToldAgain(t *testing.T) {
	t.Parallel()
	c := newCore(t, nil, "CREATE TABLE events (seq bigint PRIMARY KEY, payment text, state text)")
	_, h, run := c.follow("events")
	release := h.hold()
	_, err := c.conn.CopyFrom(t.Context(), pgx.Identifier{"events"}, []string{"seq", "payment", "state"},
		pgx.CopyFromRows([][]any{{1, "p-1", "RCVD"}, {2, "p-1", "ACSC"}, {3, "p-2", "RCVD"}}))
	require.NoError(t, err)
	first := h.take(t, 3)
	require.NoError(t, run.end()) // before anything was done: it is told again
	release()
	h = newHand()
	again := read(t, c.reader(nil, "events"), h)
	require.Equal(t, first, h.take(t, 3))
	require.NoError(t, again.end())
}

func TestEachRowOfAFirstSnapshotHasARevisionOfItsOwn(t *testing.T) {
	t.Parallel()
	c := newCore(t, nil, "CREATE TABLE events (seq bigint PRIMARY KEY, payment text, state text)",
		"INSERT INTO events VALUES (2, 'p', 'ACSC'), (1, 'p', 'RCVD')", "INSERT INTO events SELECT i, 'q', 's' FROM generate_series(3, 5000) i",
		"INSERT INTO payments VALUES (1, 'A', '')")
	m := &memory{}
	_, h, run := c.tracked(m, nil, "events", "payments")
	rows := h.take(t, 5001)
	require.Equal(t, []string{"snapshot events payment=p seq=1 state=RCVD", "snapshot events payment=p seq=2 state=ACSC"}, briefs(rows[:2]))
	last := int64(0)
	for _, rec := range rows {
		require.Greater(t, rec.Revision, last, "%s has no revision of its own", brief(rec))
		last = rec.Revision
	}
	require.Equal(t, "snapshot "+position(pglogrepl.LSN(last)), rows[0].Position, "they end where the slot begins")
	c.reading()
	c.exec("INSERT INTO events VALUES (6000, 'p', 'RJCT')")
	require.Greater(t, h.take(t, 1)[0].Revision, last)
	c.caughtUp()
	require.NoError(t, run.end())

	// Begun anew, nothing may count as older than what was told.
	c.exec("SELECT pg_drop_replication_slot($1)", c.slot)
	newest := int64(c.lsn())
	_, h, run = c.tracked(m, func(o *Config, _ *Options) { o.Snapshot = Again }, "events", "payments")
	for _, rec := range h.take(t, 5002) {
		require.GreaterOrEqual(t, rec.Revision, newest, brief(rec))
	}
	c.reading()
	require.NoError(t, run.end())
}
