package auditlog

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/store"
)

// querier is what reading needs: a transaction or a connection. An error of Query is also that of its rows, so callers that
// read these to their end look at it there.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

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
	rows, err := s.q.Query(s.ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := make([]audit.Hash, 0, to-from)
	for rows.Next() {
		var n int64
		var h []byte
		if err := rows.Scan(&n, &h); err != nil {
			return nil, err
		}
		if n != from+int64(len(out)) || len(h) != len(audit.Hash{}) {
			return nil, fmt.Errorf("%w: level %d, number %d", errGap, level, from+int64(len(out)))
		}
		out = append(out, audit.Hash(h))
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	if int64(len(out)) != to-from {
		return nil, fmt.Errorf("%w: level %d, number %d", errGap, level, from+int64(len(out)))
	}
	return out, nil
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
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return scanEntries(rows)
}

// readEntries reads the entries after one place up to another, that one included, in the order of sealing.
func readEntries(ctx context.Context, q querier, after, upTo cursor, limit int) ([]audit.Entry, error) {
	return queryEntries(ctx, q, entrySelect+`
WHERE xid >= $1 AND xid <= $3 AND (xid, id) > ($1, $2) AND (xid, id) <= ($3, $4) ORDER BY xid, id LIMIT $5`,
		after.xid, [16]byte(after.id), upTo.xid, [16]byte(upTo.id), limit)
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
		e.At = toInstant(at)
		if created.Valid {
			c := toInstant(created)
			e.CreatedAt = &c
		}
		e.NotificationID, e.ChangeID, e.InteractionID = auditUUID(notification), auditUUID(change), auditUUID(interaction)
		out = append(out, e)
	}
	return out, rows.Err()
}

func toInstant(t pgtype.Timestamptz) audit.Instant {
	switch t.InfinityModifier {
	case pgtype.Infinity:
		return audit.Infinity
	case pgtype.NegativeInfinity:
		return audit.MinusInfinity
	}
	return audit.At(t.Time)
}

func auditUUID(u pgtype.UUID) *audit.UUID {
	if !u.Valid {
		return nil
	}
	id := audit.UUID(u.Bytes)
	return &id
}
