package auditlog

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/store"
)

// NewestCosigned stands, in the place of a size, for the newest checkpoint that a witness cosigned.
const NewestCosigned = -1

// cosignedNote is the note of checkpoint c with the newest cosignature of each witness.
const cosignedNote = `c.note || coalesce((SELECT string_agg(k.line, '' ORDER BY k.witness) FROM
(SELECT DISTINCT ON (s.witness) s.witness, s.line FROM log_cosignature s WHERE s.size = c.size ORDER BY s.witness, s.at DESC) k), '')`

// KeepCosignature stores what a witness says of the checkpoint of a size. Its signature is verified.
func (l *Log) KeepCosignature(ctx context.Context, size int64, c audit.Cosignature) error {
	_, err := l.query.Exec(ctx, "INSERT INTO log_cosignature (size, witness, at, line) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING", size, c.Witness.String(), c.At, string(c.Line))
	if err != nil {
		return store.Unavailable("store a cosignature", err)
	}
	return nil
}

// Cosigned reads the newest checkpoints that witnesses cosigned, the newest first, at most so many.
func (l *Log) Cosigned(ctx context.Context, most int) ([][]byte, error) {
	return cosigned(ctx, l.query, most)
}

// cosignedMost is how many checkpoints CosignedOf reads: at one a minute, those of 70 days.
const cosignedMost = 100_000

// CosignedOf is Cosigned for the database that a URL names, for the newest 100,000.
func CosignedOf(ctx context.Context, url string) ([][]byte, error) {
	conn, err := auditConn(ctx, url)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	return cosigned(ctx, conn, cosignedMost)
}

func cosigned(ctx context.Context, q querier, most int) ([][]byte, error) {
	rows, _ := q.Query(ctx, "SELECT "+cosignedNote+` FROM (SELECT DISTINCT size FROM log_cosignature ORDER BY size DESC LIMIT $1) n JOIN log_checkpoint c USING (size)
ORDER BY c.size DESC`, most)
	notes, err := pgx.CollectRows(rows, pgx.RowTo[[]byte])
	if err != nil {
		return nil, store.Unavailable("read cosigned checkpoints", err)
	}
	return notes, nil
}

// ProveGrowth proves that the log of an older size is the beginning of the log of a newer one. Both are sealed sizes, or 0 for the older one;
// audit.ErrOutside when the older one is larger.
func (l *Log) ProveGrowth(ctx context.Context, old, size int64) ([]audit.Hash, error) {
	if old == 0 {
		return nil, nil
	}
	path, err := audit.ProveConsistency(stored{ctx, l.query}, old, size)
	if err != nil {
		return nil, store.Unavailable("prove growth", stored{}.judge(err))
	}
	return path, nil
}
