package store

import (
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
	writer string   // replica and version: the name of this process in the entries that it writes
	cursor atomic.Pointer[[]byte]
}

// system is the name of this process in the history's entries.
func (l *Log) system() string { return l.writer }
