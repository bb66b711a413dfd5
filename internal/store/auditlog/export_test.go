package auditlog

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/arauto/arauto/internal/audit"
)

// SealIn seals one batch in a transaction of a test, which commits it.
func SealIn(ctx context.Context, tx pgx.Tx, key *audit.Signer) (SealStep, error) {
	w := &sealing{tx: tx, key: key}
	err := w.run(ctx)
	return w.out, err
}

// WalkIn makes walks of the log hold so many positions at once, until the end of the test. No other test may run beside it.
func WalkIn(t *testing.T, batch int64) {
	before := walkBatch
	walkBatch = batch
	t.Cleanup(func() { walkBatch = before })
}

// Positions are where entries of that order are in a log of that size, -1 for one that has no position.
func Positions(ctx context.Context, q querier, entries []audit.Entry, size int64) ([]int64, error) {
	found, err := findPositions(ctx, q, entries, size)
	seqs := make([]int64, len(found))
	for i, p := range found {
		if seqs[i] = -1; p != nil {
			seqs[i] = p.seq
		}
	}
	return seqs, err
}

// FoldIn folds the next stretch in a transaction of a test, which commits it.
func FoldIn(ctx context.Context, l *Log, tx pgx.Tx) (FoldStep, error) { return l.foldIn(ctx, tx) }

// AgeLook makes the last count for strays so much older.
func (l *Log) AgeLook(d time.Duration) {
	look := *l.looked.Load()
	look.at = look.at.Add(-d)
	l.looked.Store(&look)
}
