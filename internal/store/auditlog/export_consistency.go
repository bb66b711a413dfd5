package auditlog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/store"
)

// SizeAt is how many entries the newest checkpoint had that was signed up to a moment, that one included. ErrNoCheckpoint
// when there was none yet.
func (x *LogReader) SizeAt(ctx context.Context, at time.Time) (size int64, err error) {
	err = x.q.QueryRow(ctx, "SELECT size FROM log_checkpoint WHERE at <= $1 ORDER BY size DESC LIMIT 1", at).Scan(&size)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, store.ErrNoCheckpoint
	}
	return size, store.Unavailable("find a checkpoint", err)
}

// ProveSince makes the proof that the log as of an older checkpoint is the beginning of the log as of this one.
// ErrNoCheckpoint when none has that size.
func (x *LogReader) ProveSince(ctx context.Context, size int64) (p audit.Consistency, err error) {
	rows, _ := x.q.Query(ctx, "SELECT "+noteAndLines+" FROM log_checkpoint c WHERE c.size = $1", size)
	old, err := pgx.CollectExactlyOneRow(rows, readCosigned)
	p.Old = old.text
	if errors.Is(err, pgx.ErrNoRows) {
		err = noCheckpoint(ctx, x.q, size)
	}
	if err != nil {
		return p, store.Unavailable("read a checkpoint", err)
	}
	if size > x.Checkpoint.Size {
		return p, fmt.Errorf("the checkpoint of %d entries is younger than that of %d; name the older one first: %w", size, x.Checkpoint.Size, store.ErrNoCheckpoint)
	}
	p.New = x.Note
	p.Path, err = audit.ProveConsistency(stored{ctx, x.q}, size, x.Checkpoint.Size)
	return p, store.Unavailable("prove", stored{}.judge(err))
}
