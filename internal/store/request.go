package store

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"gorm.io/gorm"

	"github.com/arauto/arauto/internal/history"
)

// RequestOf is the approved request whose act a call carries out; nil where the call needs no approval.
func RequestOf(ctx context.Context) *history.ActRequest {
	r, _ := ctx.Value(history.RequestKey{}).(*history.ActRequest)
	return r
}

// stepSQL notes a step of an approved request. It waits for a transaction that ends the request, and adds nothing when it is over or
// the step was taken.
const stepSQL = `INSERT INTO act_request_step (request, item, result)
SELECT id, %s, %s FROM (SELECT id FROM act_request WHERE id = %s AND state = 'approved' FOR SHARE) r ON CONFLICT DO NOTHING`

// Step makes the transaction of an act the only one that carries out this item of an approved request; item is "" for an
// act about one thing, and result JSON or "". The error is ErrCarriedOut when it was done before. Without an approved
// request in ctx it does nothing.
func Step(ctx context.Context, tx pgx.Tx, item, result string) error {
	r := RequestOf(ctx)
	if r == nil {
		return nil
	}
	done, err := tx.Exec(ctx, fmt.Sprintf(stepSQL, "$1::text", "$2::text", "$3"), item, result, ToUUID(r.ID))
	if err == nil && done.RowsAffected() == 0 {
		return ErrCarriedOut
	}
	return err
}

// step is Step for the transactions of gorm, about one thing.
func (*Store) step(tx *gorm.DB) error {
	r := RequestOf(tx.Statement.Context)
	if r == nil {
		return nil
	}
	done := tx.Exec(fmt.Sprintf(stepSQL, "''", "''", "?"), r.ID.String())
	if done.Error == nil && done.RowsAffected == 0 {
		return ErrCarriedOut
	}
	return done.Error
}
