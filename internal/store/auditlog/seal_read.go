package auditlog

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/store"
)

type querier = store.Querier

// stored reads the stored levels of the tree: the leaves at their positions, and the subtrees above.
type stored struct {
	ctx context.Context //nolint:containedctx // audit.Hashes is asked within one call of ours
	q   querier
}

// errGap means that hashes are missing in the middle of the tree.
var errGap = errors.New("hashes of the tree are missing")

// Hashes implements audit.Hashes.
func (s stored) Hashes(level int, from, to int64) ([]audit.Hash, error) {
	sql, args := "SELECT seq, leaf FROM log_position WHERE seq >= $1 AND seq < $2 ORDER BY seq", []any{from, to}
	if level > 0 {
		sql, args = "SELECT n, hash FROM log_node WHERE n >= $1 AND n < $2 AND level = $3 ORDER BY n", append(args, level)
	}
	rows, _ := s.q.Query(s.ctx, sql, args...)
	out := make([]audit.Hash, 0, to-from)
	hole := func() error { return fmt.Errorf("%w: level %d, number %d", errGap, level, from+int64(len(out))) }
	var n int64
	var h []byte
	_, err := pgx.ForEachRow(rows, []any{&n, &h}, func() error {
		if n != from+int64(len(out)) || len(h) != len(audit.Hash{}) {
			return hole()
		}
		out = append(out, audit.Hash(h))
		return nil
	})
	if err == nil && int64(len(out)) != to-from {
		err = hole()
	}
	return out, err
}

// judge tells damage from a database that does not answer.
func (stored) judge(err error) error {
	if errors.Is(err, errGap) {
		return fmt.Errorf("%w: %w", store.ErrTampered, err)
	}
	return err
}

// entryColumns are all columns of the history, in the order of audit.Columns.
const entryColumns = `id, at, xid, kind, client_id, resource_kind, resource_id, revision, notification_id, change_id, interaction_id, number, outcome, closes, created_at, brand, facts::text, private::text`

// entrySelect reads them.
const entrySelect = `
SELECT ` + entryColumns + `
FROM entry `

// queryEntries reads entries by a query that selects entryColumns.
func queryEntries(ctx context.Context, q querier, sql string, args ...any) ([]audit.Entry, error) {
	rows, _ := q.Query(ctx, sql, args...)
	return scanEntries(rows)
}

// betweenPlaces selects the entries after one place ($1, $2) up to another ($3, $4), that one included.
const betweenPlaces = "xid >= $1 AND xid <= $3 AND (xid, id) > ($1, $2) AND (xid, id) <= ($3, $4)"

// readEntries reads the entries after one place up to another, that one included, in the order of sealing.
func readEntries(ctx context.Context, q querier, after, upTo cursor, limit int) ([]audit.Entry, error) {
	return queryEntries(ctx, q, entrySelect+"WHERE "+betweenPlaces+" ORDER BY xid, id LIMIT $5",
		after.xid, [16]byte(after.id), upTo.xid, [16]byte(upTo.id), limit)
}

// readNext is readEntries where many more entries may follow: it reads those that it returns, and else only of the first and
// the last of their transactions, whatever the statistics say.
func readNext(ctx context.Context, tx pgx.Tx, after, upTo cursor, limit int) (entries []audit.Entry, err error) {
	err = inOrder(ctx, tx, func() error {
		entries, err = readEntries(ctx, tx, after, upTo, limit)
		return err
	})
	return entries, err
}

// Between planInOrder and planFreely a transaction finds entries by the index entry_order, in its order, and sorts ids alone.
// Statistics do not know a backlog that is new, and a plan that sorts, or has no order, reads all of it.
const (
	planInOrder = "SELECT set_config('plan_cache_mode', 'force_custom_plan', true), set_config('enable_sort', 'off', true), " +
		"set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true)"
	planFreely = "SELECT set_config('plan_cache_mode', 'auto', true), set_config('enable_sort', 'on', true), " +
		"set_config('enable_seqscan', 'on', true), set_config('enable_bitmapscan', 'on', true)"
)

// inOrder reads entries between planInOrder and planFreely. After an error the transaction must be rolled back.
func inOrder(ctx context.Context, tx pgx.Tx, read func() error) error {
	if _, err := tx.Exec(ctx, planInOrder); err != nil {
		return err
	}
	if err := read(); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, planFreely)
	return err
}

func scanEntries(rows pgx.Rows) ([]audit.Entry, error) {
	defer rows.Close()
	var out []audit.Entry
	for rows.Next() {
		var e audit.Entry
		var at, created pgtype.Timestamptz
		var notification, change, interaction pgtype.UUID
		err := rows.Scan((*[16]byte)(&e.ID), &at, &e.XID, &e.Kind, &e.ClientID, &e.ResourceKind, &e.ResourceID, &e.Revision, &notification, &change,
			&interaction, &e.Number, &e.Outcome, &e.Closes, &created, &e.Brand, &e.Facts, &e.Private)
		if err != nil {
			return nil, err
		}
		e.At = store.Instant(at)
		if created.Valid {
			c := store.Instant(created)
			e.CreatedAt = &c
		}
		e.NotificationID, e.ChangeID, e.InteractionID = idOrNil(notification), idOrNil(change), idOrNil(interaction)
		if len(out) == cap(out) { // doubled: a batch has thousands, and append would copy them four times
			out = slices.Grow(out, max(64, len(out)))
		}
		out = append(out, e)
	}
	return out, rows.Err()
}

func idOrNil(u pgtype.UUID) *notice.ID {
	if !u.Valid {
		return nil
	}
	id := notice.ID(u.Bytes)
	return &id
}
