package auditlog_test

import (
	"context"
	"encoding/binary"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/lab/storetest"
	"github.com/arauto/arauto/internal/store/auditlog"
)

// answeredRows counts the rows that statements of a connection return.
type answeredRows struct{ rows, statements int64 }

func (r *answeredRows) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return ctx
}

func (r *answeredRows) TraceQueryEnd(_ context.Context, _ *pgx.Conn, d pgx.TraceQueryEndData) {
	r.rows, r.statements = r.rows+d.CommandTag.RowsAffected(), r.statements+1
}

// shortLog is how many positions the log of the test has: fewer than are looked through where some are missing.
const shortLog = 4000

// sealedAt is what is sealed at a position: transactions have from one to five entries, with gaps between their numbers.
func sealedAt(seq int) (e audit.Entry) {
	e.XID = int64(1000 + seq/5*7)
	if seq%5 == 0 {
		e.XID--
	}
	binary.BigEndian.PutUint32(e.ID[:], uint32(seq%5)<<28)
	binary.BigEndian.PutUint32(e.ID[12:], uint32(seq))
	return e
}

// openPositions makes a log of so many positions in a temporary table of a session. do changes it, and read counts what is read of it.
func openPositions(t *testing.T, size int) (conn *pgx.Conn, do func(sql string, args ...any), read *answeredRows) {
	t.Helper()
	read = &answeredRows{}
	config, err := pgx.ParseConfig(storetest.Database(t))
	require.NoError(t, err)
	config.Tracer = read
	conn, err = pgx.ConnectConfig(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	do = func(sql string, args ...any) {
		t.Helper()
		_, err := conn.Exec(t.Context(), sql, args...)
		require.NoError(t, err, sql)
	}
	do("CREATE TEMP TABLE log_position (seq bigint PRIMARY KEY, xid bigint NOT NULL, id uuid NOT NULL, at timestamptz NOT NULL DEFAULT now(), leaf bytea NOT NULL DEFAULT sha256(''))")
	var rows [][]any
	for seq := range size {
		e := sealedAt(seq)
		rows = append(rows, []any{int64(seq), e.XID, [16]byte(e.ID)})
	}
	_, err = conn.CopyFrom(t.Context(), pgx.Identifier{"log_position"}, []string{"seq", "xid", "id"}, pgx.CopyFromRows(rows))
	require.NoError(t, err)
	return conn, do, read
}

// TestPositionsOfAFewEntriesAreFoundWithoutReadingTheLog also takes positions away: then all others are found still.
func TestPositionsOfAFewEntriesAreFoundWithoutReadingTheLog(t *testing.T) {
	conn, do, read := openPositions(t, shortLog)

	// The history of a resource: some neighbours, and some far away.
	seqs := []int64{3, 4, 700, 701, 702, 1999, 2000, 3500, 3998}
	entries := make([]audit.Entry, 0, len(seqs)+1)
	for _, seq := range seqs {
		entries = append(entries, sealedAt(int(seq)))
	}
	*read = answeredRows{}
	found, err := auditlog.Positions(t.Context(), conn, entries, shortLog)
	require.NoError(t, err)
	require.Equal(t, seqs, found)
	require.Less(t, read.rows, int64(shortLog/8), "of %d statements", read.statements)
	require.Less(t, read.statements, int64(20))

	young := append(entries, sealedAt(shortLog))
	*read = answeredRows{}
	found, err = auditlog.Positions(t.Context(), conn, young, shortLog)
	require.NoError(t, err)
	require.Equal(t, append(seqs, -1), found)
	require.Less(t, read.rows, int64(shortLog/8), "what is not sealed yet is no reason to look through the log")

	for gone := int64(1); gone < shortLog-1; gone += 61 {
		do("BEGIN")
		do("DELETE FROM log_position WHERE seq = $1 OR seq = 701", gone)
		want := append([]int64{}, seqs...)
		for i, seq := range seqs {
			if seq == gone || seq == 701 {
				want[i] = -1
			}
		}
		found, err := auditlog.Positions(t.Context(), conn, entries, shortLog)
		require.NoError(t, err, gone)
		require.Equal(t, want, found, gone)
		do("ROLLBACK")
	}
}

// TestAPositionIsFoundWhereAnotherOneIsAltered alters one place, to one before or after all others: every other entry is found still.
func TestAPositionIsFoundWhereAnotherOneIsAltered(t *testing.T) {
	t.Parallel()
	const longLog = 20_000
	conn, do, read := openPositions(t, longLog)
	entriesAt := func(seqs []int64) (out []audit.Entry) {
		for _, seq := range seqs {
			out = append(out, sealedAt(int(seq)))
		}
		return out
	}
	altered := func(seq int64, size int64, seqs ...int64) {
		t.Helper()
		want := append([]int64{}, seqs...)
		for i := range want {
			if want[i] == seq {
				want[i] = -1
			}
		}
		for _, xid := range []int64{1, 1 << 40} {
			do("BEGIN")
			do("UPDATE log_position SET xid = $2 WHERE seq = $1", seq, xid)
			*read = answeredRows{}
			found, err := auditlog.Positions(t.Context(), conn, entriesAt(seqs), size)
			require.NoError(t, err)
			require.Equal(t, want, found, "%d has transaction %d in a log of %d", seq, xid, size)
			require.Less(t, read.rows, int64(longLog/3), "of %d statements", read.statements)
			do("ROLLBACK")
		}
	}
	for seq := int64(1); seq < 4; seq++ {
		altered(seq, 5, 0, 1, 2, 3, 4)
		for one := range int64(5) {
			altered(seq, 5, one)
		}
	}
	for seq := int64(1); seq < shortLog-1; seq += 61 {
		altered(seq, shortLog, 3, 4, 700, 701, 702, 1999, 2000, 3500, 3998)
		altered(seq, shortLog, 2000)
	}
	for _, one := range []int64{150, 6001, longLog / 2, longLog - 150} { // the first guess is near it
		for seq := one - 8; seq <= one+8; seq++ {
			altered(seq, longLog, one)
		}
	}
}
