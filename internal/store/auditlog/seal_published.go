package auditlog

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/store"
)

// PublishedHead is a checkpoint of this log that is known outside of the database. Its signature was verified.
type PublishedHead struct {
	audit.Checkpoint
	Where string // who has it, for people
}

// extension compares published heads with a log.
type extension struct {
	stored stored
	public ed25519.PublicKey
	last   audit.Checkpoint // of the log; zero: nothing is sealed
}

func (w *sealing) extend() *extension { return &extension{w.stored, w.key.Public(), w.last} }

// Extends compares published heads with the log as it is now. ErrSetBack when it does not extend one of them and no signed
// statement of loss admits that.
func (l *Log) Extends(ctx context.Context, public ed25519.PublicKey, published ...PublishedHead) error {
	tx, err := l.query.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return store.Unavailable("compare with published checkpoints", err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	e := &extension{stored: stored{ctx, tx}, public: public}
	if e.last, err = newestCheckpoint(ctx, tx, public); err == nil {
		err = e.check(ctx, published)
	}
	return store.Unavailable("compare with published checkpoints", err)
}

// newestCheckpoint reads the log's own newest checkpoint and verifies its signature; zero when nothing is sealed.
func newestCheckpoint(ctx context.Context, q querier, public ed25519.PublicKey) (c audit.Checkpoint, err error) {
	var signed string
	err = q.QueryRow(ctx, "SELECT note FROM log_checkpoint ORDER BY size DESC LIMIT 1").Scan(&signed)
	if errors.Is(err, pgx.ErrNoRows) {
		return audit.Checkpoint{Root: audit.EmptyRoot()}, nil
	}
	if err != nil {
		return c, err
	}
	if c, err = audit.OpenCheckpoint([]byte(signed), public); err != nil {
		return c, fmt.Errorf("%w: %w", store.ErrTampered, err)
	}
	return c, nil
}

// has tells whether the log began with a tree.
func (e *extension) has(t audit.Tree) (bool, error) {
	switch {
	case t.Size > e.last.Size:
		return false, nil
	case t.Size == e.last.Size && t.Size > 0:
		return t.Root == e.last.Root, nil
	}
	tree, err := audit.ReadRange(e.stored, t.Size)
	if err != nil {
		return false, e.stored.judge(err)
	}
	return tree.Root() == t.Root, nil
}

// check compares published heads with the log, each size and root once.
func (e *extension) check(ctx context.Context, published []PublishedHead) error {
	var seen []audit.Tree
	for _, h := range published {
		t := audit.Tree{Size: h.Size, Root: h.Root}
		if slices.Contains(seen, t) {
			continue
		}
		seen = append(seen, t)
		same, err := e.has(t)
		if err != nil {
			return err
		}
		if same {
			continue
		}
		stated, err := e.stated(ctx, h.Checkpoint)
		if err != nil {
			return err
		}
		if !stated {
			return fmt.Errorf("%w: %s has a checkpoint of %d entries, signed at %s; the log in the database has %d entries", store.ErrSetBack, h.Where, h.Size, h.At, e.last.Size)
		}
	}
	return nil
}

// stated tells whether the log, or an entry that waits to be sealed, states the loss of a published head. A statement counts
// when the log's key signed it and the log began with what it keeps.
func (e *extension) stated(ctx context.Context, c audit.Checkpoint) (bool, error) {
	rows, _ := e.stored.q.Query(ctx, "SELECT facts::text FROM entry WHERE kind = 'loss' ORDER BY at DESC")
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return false, err
	}
	for _, facts := range all {
		l, err := audit.LossOf(facts, e.public)
		if err != nil || !l.Admits(c) {
			continue // the sealer refuses what nobody signed when its turn comes
		}
		same, err := e.has(l.Kept)
		if err != nil {
			return false, err
		}
		if same {
			return true, nil
		}
	}
	return false, nil
}

// StateLoss writes the statement that published checkpoints are lost into the history, signed with the log's key, as the
// owner of the database whom the URL names. The log goes on from its newest checkpoint that the published ones do not
// contradict. Of cause, By and Why are read. It returns what was stated. ErrNothingLost when nothing contradicts the log.
func StateLoss(ctx context.Context, url string, key *audit.Signer, published []audit.Checkpoint, cause audit.Loss) (audit.Loss, error) {
	conn, err := auditConn(ctx, url)
	if err != nil {
		return audit.Loss{}, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	var said audit.Loss
	err = pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: pgx.RepeatableRead}, func(tx pgx.Tx) error {
		e := &extension{stored: stored{ctx, tx}, public: key.Public()}
		if e.last, err = newestCheckpoint(ctx, tx, key.Public()); err != nil {
			return err
		}
		if said, err = e.lost(ctx, published); err != nil {
			return err
		}
		var at audit.Instant
		if at, err = databaseNow(ctx, tx); err != nil {
			return err
		}
		said.At, said.By, said.Why = at, cause.By, cause.Why
		signed, err := key.SignLoss(said)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `INSERT INTO entry (id, kind, outcome, facts) VALUES (gen_random_uuid(), 'loss', 'stated',
json_build_object('system', current_setting('application_name'), 'actor', session_user, 'statement', $1::text))`, string(signed))
		return err
	})
	return said, store.Unavailable("state the loss", err)
}

// lost compares published checkpoints with the log and fills in what is kept and what is lost. Of the lost ones it names as
// few as admit all of them.
func (e *extension) lost(ctx context.Context, published []audit.Checkpoint) (l audit.Loss, err error) {
	var gone []audit.Checkpoint
	for _, c := range published {
		same, err := e.has(audit.Tree{Size: c.Size, Root: c.Root})
		if err != nil {
			return l, err
		}
		if same {
			if c.Size > l.Kept.Size {
				l.Kept = audit.Tree{Size: c.Size, Root: c.Root}
			}
			continue
		}
		stated, err := e.stated(ctx, c)
		if err != nil {
			return l, err
		}
		if !stated {
			gone = append(gone, c)
		}
	}
	if len(gone) == 0 {
		return l, store.ErrNothingLost
	}
	slices.SortFunc(gone, func(a, b audit.Checkpoint) int { return int(max(-1, min(1, b.Size-a.Size))) })
	if e.last.Size < gone[len(gone)-1].Size {
		l.Kept = audit.Tree{Size: e.last.Size, Root: e.last.Root}
	}
	if l.Kept.Size == 0 {
		l.Kept.Root = audit.EmptyRoot()
	}
	for _, c := range gone {
		if !l.Admits(c) {
			l.Lost = append(l.Lost, audit.Checkpoint{Size: c.Size, Root: c.Root, At: c.At})
		}
	}
	return l, nil
}

// databaseNow reads the database's clock.
func databaseNow(ctx context.Context, q querier) (at audit.Instant, err error) {
	err = q.QueryRow(ctx, "SELECT clock_timestamp()").Scan(store.Columns(&at)...)
	return at, err
}
