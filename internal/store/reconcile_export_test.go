package store

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// InspectorWithin judges what one transaction sees, so that a test can break something, look, and take it back. Pieces
// are small, so that even a short history has many.
func InspectorWithin(tx pgx.Tx) *Inspector {
	return &Inspector{db: within{tx}, pages: 2, close: func(context.Context) {}}
}

type within struct{ pgx.Tx }

// BeginTx is a savepoint: it sees what its transaction sees.
func (w within) BeginTx(ctx context.Context, _ pgx.TxOptions) (pgx.Tx, error) { return w.Begin(ctx) }
