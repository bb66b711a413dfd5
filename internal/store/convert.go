package store

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

// An id is a notice.ID everywhere but at the edges: pgtype.UUID in a statement's arguments (ToUUID), notice.ID in
// the bytes of the log, and notice.ID only where one is made (NewID).

// NewID makes an id for one of our rows: UUID v7, so that rows sort by time.
func NewID() notice.ID { return notice.ID(uuid.Must(uuid.NewV7())) }

// ToUUID is an id as a column; the zero id is NULL.
func ToUUID(id notice.ID) pgtype.UUID { return pgtype.UUID{Bytes: id, Valid: !id.IsZero()} }

// ToTime is an instant as a column, in microseconds; the zero time is NULL.
func ToTime(t time.Time) pgtype.Timestamptz {
	return pgtype.Timestamptz{Time: t.UTC().Truncate(time.Microsecond), Valid: !t.IsZero()}
}

// ToText is a text as a column; an empty one is NULL.
func ToText(s string) pgtype.Text { return pgtype.Text{String: s, Valid: s != ""} }

// Querier is what reading needs: a pool, a connection or a transaction. An error of Query is also that of its rows, so callers that
// read these to their end look at it there.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// All reads every row that a query finds, each into a value of T whose places are those of the columns.
func All[T any](ctx context.Context, db Querier, places func(*T) []any, sql string, args ...any) ([]T, error) {
	rows, _ := db.Query(ctx, sql, args...)
	return collect(rows, places)
}

// One is All for a query that finds one row; ErrNotFound when it finds none.
func One[T any](ctx context.Context, db Querier, places func(*T) []any, sql string, args ...any) (one T, err error) {
	found, err := All(ctx, db, places, sql, args...)
	if err == nil && len(found) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return one, err
	}
	return found[0], nil
}

func collect[T any](rows pgx.Rows, places func(*T) []any) ([]T, error) {
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (v T, err error) {
		err = row.Scan(Columns(places(&v)...)...)
		return v, err
	})
}

// Columns are the places of columns for the driver. NULL makes an id, an instant, a text, a kind or a hash its zero value, and
// instants are in UTC. The driver itself judges places of other types.
func Columns(places ...any) []any {
	for i, place := range places {
		switch p := place.(type) {
		case *notice.ID:
			places[i] = (*idColumn)(p)
		case *time.Time:
			places[i] = (*timeColumn)(p)
		case *audit.Instant:
			places[i] = (*instantColumn)(p)
		case *string:
			places[i] = (*textColumn)(p)
		case *notice.ClientID:
			places[i] = (*textColumn)(p)
		case *ofb.Kind:
			places[i] = (*kindColumn)(p)
		case *[32]byte:
			places[i] = (*hashColumn)(p)
		case *audit.Hash:
			places[i] = (*hashColumn)(p)
		}
	}
	return places
}

type (
	idColumn      [16]byte
	timeColumn    time.Time
	instantColumn audit.Instant
	textColumn    string
	kindColumn    ofb.Kind
	nameColumn    string
	hashColumn    [32]byte
)

// ScanUUID implements pgtype.UUIDScanner.
func (c *idColumn) ScanUUID(v pgtype.UUID) error {
	*c = v.Bytes
	return nil
}

// ScanTimestamptz implements pgtype.TimestamptzScanner. An infinity is the zero time.
func (c *timeColumn) ScanTimestamptz(v pgtype.Timestamptz) error {
	*c = timeColumn(v.Time.UTC())
	return nil
}

// ScanTimestamptz implements pgtype.TimestamptzScanner.
func (c *instantColumn) ScanTimestamptz(v pgtype.Timestamptz) error {
	*c = instantColumn(Instant(v))
	return nil
}

// Instant is a column as the log has it; NULL is 0.
func Instant(v pgtype.Timestamptz) audit.Instant {
	switch {
	case v.InfinityModifier == pgtype.Infinity:
		return audit.Infinity
	case v.InfinityModifier == pgtype.NegativeInfinity:
		return audit.MinusInfinity
	case !v.Valid:
		return 0
	}
	return audit.At(v.Time)
}

// ScanText implements pgtype.TextScanner.
func (c *textColumn) ScanText(v pgtype.Text) error {
	*c = textColumn(v.String)
	return nil
}

// ScanInt64 implements pgtype.Int64Scanner.
func (c *kindColumn) ScanInt64(v pgtype.Int8) error {
	*c = kindColumn(v.Int64)
	return nil
}

// KindName is the place of a kind's name, where the column is its number.
func KindName(name *string) pgtype.Int64Scanner { return (*nameColumn)(name) }

// ScanInt64 implements pgtype.Int64Scanner.
func (c *nameColumn) ScanInt64(v pgtype.Int8) error {
	*c = nameColumn(ofb.Kind(v.Int64).String())
	return nil
}

// ScanBytes implements pgtype.BytesScanner.
func (c *hashColumn) ScanBytes(v []byte) error {
	*c = hashColumn{}
	copy(c[:], v)
	return nil
}
