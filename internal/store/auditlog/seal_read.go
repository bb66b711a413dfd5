package auditlog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

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

// entryCells are where the columns of one entry are scanned, as entryColumns has them. Texts are valid up to the next row.
type entryCells struct {
	id                                                             [16]byte
	at, created                                                    pgtype.Timestamptz
	xid                                                            int64
	kind, client, resource, outcome, closes, brand, facts, private pgtype.DriverBytes
	resourceKind, number                                           pgtype.Int2
	revision                                                       pgtype.Int8
	notification, change, interaction                              pgtype.UUID
}

// entryValues are what the columns of an entry that can be NULL point to. They are made many at once: an entry alone would be a dozen
// objects, and those of a batch are kept and forgotten together.
type entryValues struct {
	client, resource, outcome, closes, brand, private string
	resourceKind, number                              int16
	revision                                          int64
	notification, change, interaction                 notice.ID
	created                                           audit.Instant
}

func scanEntries(rows pgx.Rows) ([]audit.Entry, error) {
	defer rows.Close()
	var out []audit.Entry
	var room []entryValues
	var c entryCells
	places := []any{
		&c.id, &c.at, &c.xid, &c.kind, &c.client, &c.resourceKind, &c.resource, &c.revision, &c.notification, &c.change,
		&c.interaction, &c.number, &c.outcome, &c.closes, &c.created, &c.brand, &c.facts, &c.private,
	}
	for rows.Next() {
		if err := rows.Scan(places...); err != nil {
			return nil, err
		}
		if len(room) == 0 {
			room = make([]entryValues, min(64, max(1, len(out)))) // as many as there are: a few entries need few
		}
		if len(out) == cap(out) { // doubled: a batch has thousands, and append would copy them four times
			out = slices.Grow(out, max(64, len(out)))
		}
		out = append(out, c.entry(&room[0]))
		room = room[1:]
	}
	return out, rows.Err()
}

// entry makes an entry whose values are in v. All its texts are one string.
func (c *entryCells) entry(v *entryValues) audit.Entry {
	texts := [...]pgtype.DriverBytes{c.kind, c.facts, c.client, c.resource, c.outcome, c.closes, c.brand, c.private}
	n := 0
	for _, text := range texts {
		n += len(text)
	}
	var all strings.Builder
	all.Grow(n)
	for _, text := range texts {
		all.Write(text)
	}
	rest := all.String()
	next := func(text []byte) (s string) {
		s, rest = rest[:len(text)], rest[len(text):]
		return s
	}
	e := audit.Entry{ID: c.id, At: store.Instant(c.at), XID: c.xid, Kind: next(c.kind), Facts: next(c.facts)}
	orNil := func(text []byte, at *string) *string {
		if text == nil {
			return nil
		}
		*at = next(text)
		return at
	}
	e.ClientID, e.ResourceID, e.Outcome = orNil(c.client, &v.client), orNil(c.resource, &v.resource), orNil(c.outcome, &v.outcome)
	e.Closes, e.Brand, e.Private = orNil(c.closes, &v.closes), orNil(c.brand, &v.brand), orNil(c.private, &v.private)
	e.ResourceKind, e.Number = valueOrNil(c.resourceKind.Valid, c.resourceKind.Int16, &v.resourceKind), valueOrNil(c.number.Valid, c.number.Int16, &v.number)
	e.Revision = valueOrNil(c.revision.Valid, c.revision.Int64, &v.revision)
	e.NotificationID = valueOrNil(c.notification.Valid, notice.ID(c.notification.Bytes), &v.notification)
	e.ChangeID = valueOrNil(c.change.Valid, notice.ID(c.change.Bytes), &v.change)
	e.InteractionID = valueOrNil(c.interaction.Valid, notice.ID(c.interaction.Bytes), &v.interaction)
	if c.created.Valid {
		v.created = store.Instant(c.created)
		e.CreatedAt = &v.created
	}
	return e
}

// valueOrNil keeps a value that is not NULL at a place, and returns the place.
func valueOrNil[T any](valid bool, value T, at *T) *T {
	if !valid {
		return nil
	}
	*at = value
	return at
}
