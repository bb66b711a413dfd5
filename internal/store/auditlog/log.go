// Package auditlog is the log of the history as it is read and proven, over the connections of package store. It seals
// entries, searches and exports them, reconciles the history, proves punctuality, keeps holds, and verifies itself.
//
// It guarantees that each entry that it shows was compared with what was sealed; one that differs is shown and marked. It
// works over the query pool alone, so it cannot slow down intake, dispatch or status queries. Auditors who name a database
// by its URL need nothing but SELECT.
//
// It does not record changes, attempts or polls: package store does. The bytes of the log and its mathematics are package
// audit's, the meaning of entries is package history's.
package auditlog

import (
	"context"
	"sync/atomic"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/arauto/arauto/internal/brand"
	"github.com/arauto/arauto/internal/store"
)

// Log is the log of a store's history. Its methods may be called at once.
type Log struct {
	query  *pgxpool.Pool
	brands brand.List
	system string // replica and version: the name of this process in the entries that it writes
	wrote  func(error) error
	cursor atomic.Pointer[[]byte]

	looked atomic.Pointer[strayLook] // for strays, as of the last sealing

	waits waiting     // what this process sealed and Fold has not folded
	still idlePeriods // of the last fold; used by Fold alone, which one goroutine calls
	push  *pushes     // as of the last fold, likewise
	begun *begun      // likewise
}

// New is the log over the connections of a store, which closes them.
func New(a store.Access) *Log {
	l := &Log{query: a.Query, system: a.System, wrote: a.Wrote}
	if l.wrote == nil {
		l.wrote = func(err error) error { return err }
	}
	return l
}

// NameBrands tells the log the brands of the deployment, so that an id is found at each of them. Call it before the log is used.
func (l *Log) NameBrands(brands brand.List) { l.brands = brands }

// Ping tells whether the database answers.
func (l *Log) Ping(ctx context.Context) error {
	return store.Unavailable("ping", l.query.Ping(ctx))
}
