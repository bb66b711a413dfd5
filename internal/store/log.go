package store

import (
	"context"
	"sync/atomic"

	"github.com/jackc/pgx/v5/pgxpool"
	"gorm.io/gorm"
)

// Log is the log of the history as it is read and proven: it seals entries, searches and exports them, compares every
// entry that it shows with what was sealed, reconciles the history, and keeps holds on it. It works over the query pool
// alone, so that it cannot slow down intake, dispatch or status queries.
//
// It does not record changes, attempts or polls; Store does.
type Log struct {
	query  *pgxpool.Pool
	orm    *gorm.DB // over the query pool
	system string   // replica and version: the name of this process in the entries that it writes
	cursor atomic.Pointer[[]byte]
}

// NewLog is the log over the connections of a store, which closes them.
func NewLog(a Access) *Log { return &Log{query: a.Query, orm: a.ORM, system: a.System} }

// Ping tells whether the database answers.
func (l *Log) Ping(ctx context.Context) error {
	if err := l.query.Ping(ctx); err != nil {
		return unavailable("ping", err)
	}
	return nil
}
