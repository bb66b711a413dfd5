package auditlog

import (
	"context"
	"time"

	"github.com/arauto/arauto/internal/store"
)

// readClock is the time by the clock of the database, which dates the entries.
func readClock(ctx context.Context, q querier) (now time.Time, err error) {
	err = q.QueryRow(ctx, "SELECT now()").Scan(store.Columns(&now)...)
	return now, store.Unavailable("read the clock of the database", err)
}

// Now is the time by the clock of the database, which dates the entries.
func (l *Log) Now(ctx context.Context) (time.Time, error) { return readClock(ctx, l.query) }

// Now is the time by the clock of the database, which dates the entries.
func (i *Inspector) Now(ctx context.Context) (time.Time, error) { return readClock(ctx, i.db) }

// Now is the time by the clock of the database, which dates the entries.
func (x *LogReader) Now(ctx context.Context) (time.Time, error) { return readClock(ctx, x.q) }
