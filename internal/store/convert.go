package store

import (
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/arauto/arauto/internal/notice"
)

// An id is a notice.ID everywhere but at the edges: pgtype.UUID in a statement's columns (ToUUID, FromUUID), audit.UUID in
// the bytes of the log, and uuid.UUID only where one is made (NewID).

// NewID makes an id for one of our rows: UUID v7, so that rows sort by time.
func NewID() notice.ID { return notice.ID(uuid.Must(uuid.NewV7())) }

// ToUUID is an id as a column; the zero id is NULL.
func ToUUID(id notice.ID) pgtype.UUID { return pgtype.UUID{Bytes: id, Valid: !id.IsZero()} }

// FromUUID is a column as an id; NULL is the zero id.
func FromUUID(u pgtype.UUID) notice.ID {
	if !u.Valid {
		return notice.ID{}
	}
	return u.Bytes
}

// ToTime is an instant as a column, in microseconds; the zero time is NULL.
func ToTime(t time.Time) pgtype.Timestamptz {
	return pgtype.Timestamptz{Time: t.UTC().Truncate(time.Microsecond), Valid: !t.IsZero()}
}

// FromTime is a column as an instant in UTC; NULL is the zero time.
func FromTime(t pgtype.Timestamptz) time.Time {
	if !t.Valid {
		return time.Time{}
	}
	return t.Time.UTC()
}

// ToText is a text as a column; an empty one is NULL.
func ToText(s string) pgtype.Text { return pgtype.Text{String: s, Valid: s != ""} }
