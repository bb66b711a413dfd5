package store

import (
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/arauto/arauto/internal/notice"
)

// An id is a notice.ID everywhere but at the edges: pgtype.UUID in a statement's columns (toUUID, fromUUID), audit.UUID in
// the bytes of the log, and uuid.UUID only where one is made (NewID).

// NewID makes an id for one of our rows: UUID v7, so that rows sort by time.
func NewID() notice.ID { return notice.ID(uuid.Must(uuid.NewV7())) }

func toUUID(id notice.ID) pgtype.UUID { return pgtype.UUID{Bytes: id, Valid: !id.IsZero()} }

func fromUUID(u pgtype.UUID) notice.ID {
	if !u.Valid {
		return notice.ID{}
	}
	return u.Bytes
}

func toTime(t time.Time) pgtype.Timestamptz {
	return pgtype.Timestamptz{Time: t.UTC().Truncate(time.Microsecond), Valid: !t.IsZero()}
}

func fromTime(t pgtype.Timestamptz) time.Time {
	if !t.Valid {
		return time.Time{}
	}
	return t.Time.UTC()
}

func toText(s string) pgtype.Text { return pgtype.Text{String: s, Valid: s != ""} }
