package auditlog_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/lab/storetest"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/store/auditlog"
)

// backlog is a history whose sealer was away.
type backlog struct {
	t      *testing.T
	url    string
	log    *auditlog.Log
	access store.Access
	key    *audit.Signer
	owner  *pgx.Conn
}

func openBacklog(t *testing.T) *backlog {
	t.Helper()
	url := storetest.Database(t)
	s, err := store.Open(t.Context(), store.Options{URL: url, Replica: "test", Version: "0"})
	require.NoError(t, err)
	t.Cleanup(s.Close)
	_, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	b := &backlog{t: t, url: url, log: auditlog.New(s.Access()), access: s.Access(), key: audit.NewSigner(private)}
	b.owner, err = pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.owner.Close(context.WithoutCancel(t.Context())) })
	_, err = b.log.RegisterLogKey(t.Context(), b.key.Public())
	require.NoError(t, err)
	b.do("SET search_path = arauto; SET synchronous_commit = off")
	for month := range b.months() {
		b.do("ALTER TABLE " + month + " SET (autovacuum_enabled = off)") // statistics and summaries are what the test makes
	}
	return b
}

func (b *backlog) do(sql string) {
	b.t.Helper()
	_, err := b.owner.Exec(b.t.Context(), sql)
	require.NoError(b.t, err, sql)
}

// months are the tables of the history.
func (b *backlog) months() map[string]bool {
	b.t.Helper()
	rows, err := b.owner.Query(b.t.Context(), "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'entry'::regclass")
	require.NoError(b.t, err)
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(b.t, err)
	out := map[string]bool{}
	for _, name := range names {
		out[name] = true
	}
	require.NotEmpty(b.t, out)
	return out
}

// add makes transactions of so many entries each.
func (b *backlog) add(sizes ...int) {
	b.t.Helper()
	for _, n := range sizes {
		_, err := b.owner.Exec(b.t.Context(), "INSERT INTO entry (id, kind, facts) SELECT gen_random_uuid(), 'poll', '{}' FROM generate_series(1, $1)", n)
		require.NoError(b.t, err)
	}
}

// seal seals one batch, and tells how many entries the database read for it. Tests that run beside this one have transactions of the same
// server.
func (b *backlog) seal() (out auditlog.SealStep, read int64) {
	b.t.Helper()
	storetest.Over(b.t, b.owner)
	const counted = "SELECT coalesce(sum(seq_tup_read + idx_tup_fetch), 0)::bigint FROM pg_stat_xact_user_tables WHERE relname ~ '^entry_[0-9]{6}$'"
	require.NoError(b.t, pgx.BeginFunc(b.t.Context(), b.owner, func(tx pgx.Tx) (err error) {
		var before, after int64
		if err := tx.QueryRow(b.t.Context(), counted).Scan(&before); err != nil {
			return err
		}
		if out, err = auditlog.SealIn(b.t.Context(), tx, b.key); err != nil {
			return err
		}
		read = -before
		if err := tx.QueryRow(b.t.Context(), counted).Scan(&after); err != nil {
			return err
		}
		read += after
		return nil
	}))
	return out, read
}

// inOrder requires that the positions are the entries up to the last sealed one, in the order of sealing.
func (b *backlog) inOrder(size int64) {
	b.t.Helper()
	var wrong int64
	require.NoError(b.t, b.owner.QueryRow(b.t.Context(), `WITH due AS (SELECT row_number() OVER (ORDER BY xid, id) - 1 AS seq, xid, id FROM entry)
SELECT count(*) FROM due d FULL JOIN log_position p USING (seq) WHERE coalesce(p.seq, d.seq) < $1 AND (d.xid, d.id) IS DISTINCT FROM (p.xid, p.id)`, size).Scan(&wrong))
	require.Zero(b.t, wrong)
}

// TestWhatABatchReadsDoesNotGrowWithTheBacklog seals batches of a backlog of many large transactions, with and without
// statistics and summaries that know it.
func TestWhatABatchReadsDoesNotGrowWithTheBacklog(t *testing.T) {
	t.Parallel()
	b := openBacklog(t)
	const transaction, large, backlog = 1000, auditlog.SealBatch + 1000, 130
	// A batch reads its entries, the transactions at both of its ends, and the last positions of the log for strays.
	const most = 2 * (auditlog.SealBatch + large)
	many := make([]int, backlog)
	for i := range many {
		many[i] = transaction
	}
	b.add(large)
	b.add(many...)
	size := int64(0)
	for _, c := range []struct{ when, first string }{
		{"nothing is known of the tables", "SELECT"},
		{"statistics and summaries know the backlog", "VACUUM (ANALYZE) entry"},
		{"the statistics are old", "INSERT INTO entry (id, kind, facts) SELECT gen_random_uuid(), 'poll', '{}' FROM generate_series(1, 1000)"},
	} {
		b.do(c.first)
		out, read := b.seal()
		size += auditlog.SealBatch
		require.Equal(t, []int64{auditlog.SealBatch, size, 0}, []int64{int64(out.Entries), out.Size, out.Strays}, c.when)
		require.True(t, out.More, c.when)
		t.Logf("%s: %d entries read", c.when, read)
		require.GreaterOrEqual(t, read, int64(auditlog.SealBatch), "the instrument: %s", c.when)
		require.LessOrEqual(t, read, int64(most), c.when)
	}
	require.Greater(t, int64(large+backlog*transaction)-size, int64(most), "the instrument: more is left than a batch may read")
	b.inOrder(size)
}

// TestAStrayAmongWhatWasSealedLastIsToldWhileABacklogIsLeft: its time may be any.
func TestAStrayAmongWhatWasSealedLastIsToldWhileABacklogIsLeft(t *testing.T) {
	t.Parallel()
	b := openBacklog(t)
	b.add(auditlog.SealBatch-1000, 5000, 5000, 5000, 5000, auditlog.SealBatch) // the first batch has the whole transaction of the stray
	out, _ := b.seal()
	require.Equal(t, []int64{auditlog.SealBatch, 0}, []int64{out.Size, out.Strays})
	b.do(fmt.Sprintf("SET session_replication_role = replica; INSERT INTO entry (id, at, xid, kind, facts) SELECT gen_random_uuid(), at - interval '1 day', xid, 'poll', '{}' FROM log_position WHERE seq = %d; SET session_replication_role = origin", auditlog.SealBatch/2))
	out, _ = b.seal()
	require.Equal(t, []int64{2 * auditlog.SealBatch, 1}, []int64{out.Size, out.Strays})
	require.True(t, out.More)
}

// TestEachPlaceIsCountedOnceForStrays: some seconds after it was sealed, and at once by a process that has not counted.
func TestEachPlaceIsCountedOnceForStrays(t *testing.T) {
	t.Parallel()
	b := openBacklog(t)
	strays := func(l *auditlog.Log, ago time.Duration) int64 {
		if ago > 0 {
			l.AgeLook(ago)
		}
		b.add(1)
		return storetest.Seal(t, l, b.owner, b.key).Strays
	}
	b.add(10)
	storetest.Seal(t, b.log, b.owner, b.key)
	require.Zero(t, strays(b.log, 0), "it counts for the first time")
	b.do("SET session_replication_role = replica; INSERT INTO entry (id, at, xid, kind, facts) SELECT '00000000-0000-0000-0000-000000000001', at - interval '1 day', xid, 'poll', '{}' FROM log_position WHERE seq = 3; SET session_replication_role = origin")
	require.Zero(t, strays(b.log, 0), "it has just counted")
	require.Equal(t, int64(1), strays(b.log, 4*time.Second))
	require.Zero(t, strays(b.log, 4*time.Second), "once")
	require.Zero(t, strays(b.log, time.Minute), "once, also when it did not count lately")
	require.Equal(t, int64(1), strays(auditlog.New(b.access), 0), "another process")
}
