package auditlog_test

import (
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/storetest"
	"github.com/arauto/arauto/internal/store/auditlog"
)

// rowsRead are how many rows of tables a transaction has read, by its own counters; tables is a pattern.
func rowsRead(t *testing.T, tx pgx.Tx, tables string) (n int64) {
	t.Helper()
	require.NoError(t, tx.QueryRow(t.Context(), "SELECT coalesce(sum(seq_tup_read + idx_tup_fetch), 0)::bigint FROM pg_stat_xact_user_tables WHERE relname ~ $1", tables).Scan(&n))
	return n
}

// deliver adds payments that are new, each with its document, its change with the first attempt, and the result of that.
func (b *backlog) deliver(prefix string, n int) {
	b.t.Helper()
	b.adopt(prefix, n)
	b.tell(prefix, n, "change", "result")
}

// adopt adds documents, each with an end-to-end id of its own.
func (b *backlog) adopt(prefix string, n int) {
	b.t.Helper()
	_, err := b.owner.Exec(b.t.Context(), `INSERT INTO resource (kind, id, client_id, api_version, revision, change_id, status, watched, data_hash, announced, occurred_at, document)
SELECT 2, format('%s-%s', $1::text, n), 'client-' || n % 100, 'v5', 1, gen_random_uuid(), 'ACSC', '{}', '\x00', 0, now(),
  convert_to(format('{"endToEndId":"E12345678202611281200%s"}', substr(md5(format('%s-%s', $1::text, n)), 1, 11)), 'UTF8') FROM generate_series(1, $2::int) n`, prefix, n)
	require.NoError(b.t, err)
}

// tell adds entries of some kinds of payments, in transactions of a hundred payments.
func (b *backlog) tell(prefix string, n int, kinds ...string) {
	b.t.Helper()
	for from := 1; from <= n; from += 100 {
		_, err := b.owner.Exec(b.t.Context(), `INSERT INTO entry (id, interaction_id, kind, number, outcome, closes, facts, client_id, resource_kind, resource_id, notification_id)
SELECT e.*, 'client-' || n % 100, 2, format('%s-%s', $1::text, n), m.id FROM (SELECT n, md5(format('%s-%s', $1::text, n))::uuid AS id FROM generate_series($2::int, $2 + 99) n) m CROSS JOIN LATERAL (VALUES
  (id, id, 'change', NULL::smallint, 'applied', NULL, json_build_object('apiVersion', 'v5', 'status', 'ACSC', 'occurredAt', now(), 'eventAt', now(), 'pushEpoch', 1, 'first', '{"number":1,"base":"https://itp.example"}'::json)),
  (md5('result' || id)::uuid, NULL, 'result', 1::smallint, 'delivered', 'delivered', json_build_object('number', 1, 'attempt', id, 'httpStatus', 202, 'endedAt', now(), 'padding', repeat('x', 500)))) AS e (id, interaction, kind, number, outcome, closes, facts) WHERE e.kind = ANY($3)`, prefix, from, kinds)
		require.NoError(b.t, err)
	}
}

// TestWhatAFoldReadsDoesNotGrowWithTheHistory folds stretches that ask for everything that a fold looks up: documents of new payments, digests
// of their end-to-end ids, what was told of resources that are asked for, and traces of refused receipts. Joined with the history, each would read all of it. The session
// would start parallel workers for any query if it could; what those read would not be counted here.
func TestWhatAFoldReadsDoesNotGrowWithTheHistory(t *testing.T) {
	t.Parallel()
	b := openBacklog(t)
	const history, payments, refused = 15_000, 1200, 1001
	b.do("SET session_replication_role = replica") // facts of results commit to no private text here
	b.do("SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; SET min_parallel_index_scan_size = 0")
	b.deliver("old", history)
	b.do(fmt.Sprintf("INSERT INTO entry (id, kind, resource_kind, resource_id, client_id, facts) SELECT gen_random_uuid(), 'refused', 2, 'refused-' || n, 'client-1', '{}' FROM generate_series(1, %d) n", refused))
	for more := true; more; {
		out, _ := b.seal()
		more = out.More
	}
	tables := map[string]string{"entries": "^entry_[0-9]{6}$", "documents": "^resource$", "digests": "^find_resource$", "positions": "^log_position$"}
	fold := func() (step auditlog.FoldStep, read map[string]int64) {
		l := auditlog.New(b.access) // knows nothing of what was folded or sealed
		read = map[string]int64{}
		require.NoError(t, pgx.BeginFunc(t.Context(), b.owner, func(tx pgx.Tx) (err error) {
			for of, table := range tables {
				read[of] = -rowsRead(t, tx, table)
			}
			if step, err = auditlog.FoldIn(t.Context(), l, tx); err != nil {
				return err
			}
			var workers string
			require.NoError(t, tx.QueryRow(t.Context(), "SHOW max_parallel_workers_per_gather").Scan(&workers))
			require.Equal(t, "0", workers, "a fold takes one processor")
			for of, table := range tables {
				read[of] += rowsRead(t, tx, table)
			}
			return nil
		}))
		return step, read
	}
	for more := true; more; {
		step, _ := fold()
		more = step.More
	}
	for n, c := range []struct{ when, first string }{
		{"nothing is known of the tables", "SELECT"},
		{"statistics know the history", "VACUUM (ANALYZE) entry, resource, find_resource, log_position"},
	} {
		b.do(c.first)
		prefix := fmt.Sprintf("new%d", n)
		b.deliver(prefix, payments)
		for from := 1; from <= payments; from += 100 {
			b.do(fmt.Sprintf(`INSERT INTO entry (id, kind, outcome, resource_kind, resource_id, client_id, facts)
SELECT gen_random_uuid(), 'poll', '200', 2, format('asked%d-%%s', n), 'client-' || n %% 100, '{"status":"ACSC","durationMicros":900}' FROM generate_series(%d, %d) n`, n, from, from+99))
		}
		out, _ := b.seal()
		require.Equal(t, 3*payments, out.Entries, c.when)
		step, read := fold()
		require.EqualValues(t, 3*payments, step.Entries, c.when)
		t.Logf("%s: of %d entries and %d documents, a stretch of %d entries read %v", c.when, 2*history, history, step.Entries, read)
		const most = 3*payments*3 + 2*refused
		require.GreaterOrEqual(t, read["entries"], int64(3*payments), "the instrument: %s", c.when)
		require.LessOrEqual(t, read["entries"], int64(most), c.when)
		require.EqualValues(t, payments, read["documents"], c.when)
		require.LessOrEqual(t, read["digests"], int64(payments), c.when)
		require.LessOrEqual(t, read["positions"], int64(most), c.when)
		var digests int
		require.NoError(t, b.owner.QueryRow(t.Context(), "SELECT count(*) FROM find_resource").Scan(&digests))
		require.Equal(t, history+(n+1)*payments, digests, "the instrument: each document has a digest, %s", c.when)
		require.Less(t, int64(most), int64(history), "the instrument: the history is larger than what may be read")
	}
}

// TestAFoldDoesNotReadAgainWhatTheLastOneBegan compares a log that folded the stretch before with one that did not.
func TestAFoldDoesNotReadAgainWhatTheLastOneBegan(t *testing.T) {
	t.Parallel()
	b := openBacklog(t)
	const payments = 500
	b.do("SET session_replication_role = replica")
	b.adopt("p", payments)
	b.tell("p", payments, "change")
	b.seal()
	folded, other := auditlog.New(b.access), auditlog.New(b.access)
	require.NoError(t, pgx.BeginFunc(t.Context(), b.owner, func(tx pgx.Tx) error {
		_, err := auditlog.FoldIn(t.Context(), folded, tx)
		return err
	}))
	b.tell("p", payments, "result")
	b.seal()
	fold := func(l *auditlog.Log) (read int64, sums string) {
		tx, err := b.owner.Begin(t.Context())
		require.NoError(t, err)
		defer func() { require.NoError(t, tx.Rollback(t.Context())) }()
		before := rowsRead(t, tx, "^entry_[0-9]{6}$")
		step, err := auditlog.FoldIn(t.Context(), l, tx)
		require.NoError(t, err)
		require.EqualValues(t, payments, step.Entries)
		read = rowsRead(t, tx, "^entry_[0-9]{6}$") - before
		require.NoError(t, tx.QueryRow(t.Context(), "SELECT string_agg(concat_ws(' ', hour, client_id, kind, sums), E'\n' ORDER BY hour, client_id, kind) FROM figures_hour").Scan(&sums))
		return read, sums
	}
	readByOther, sumsOfOther := fold(other)
	read, sums := fold(folded)
	require.Contains(t, sums, `"outcome.1.delivered":500`)
	require.Equal(t, sumsOfOther, sums)
	require.LessOrEqual(t, read, readByOther-payments, "the changes are not read")
}

// TestWhatASealReadsDoesNotGrowWithTheLog seals a few entries again and again in one session, as the role of serve, for which the database
// checks what is added. After some calls PostgreSQL plans without the values.
func TestWhatASealReadsDoesNotGrowWithTheLog(t *testing.T) {
	t.Parallel()
	b := openBacklog(t)
	const sealed = 5 * auditlog.SealBatch
	for range sealed / 1000 {
		b.add(1000)
	}
	b.do("SET ROLE arauto_app")
	for size := int64(0); size < sealed; {
		out, _ := b.seal()
		require.NotZero(t, out.Entries)
		size = out.Size
	}
	for n := range 12 {
		b.add(10)
		storetest.Over(t, b.owner)
		var read int64
		require.NoError(t, pgx.BeginFunc(t.Context(), b.owner, func(tx pgx.Tx) error {
			before := rowsRead(t, tx, "^log_position$")
			out, err := auditlog.SealIn(t.Context(), tx, b.key)
			if err != nil {
				return err
			}
			require.Equal(t, 10, out.Entries)
			read = rowsRead(t, tx, "^log_position$") - before
			return nil
		}))
		require.GreaterOrEqual(t, read, int64(10), "the instrument: it reads back what it wrote")
		require.Less(t, read, int64(sealed/2), "seal %d", n)
	}
}
