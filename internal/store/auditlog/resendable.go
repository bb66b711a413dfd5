package auditlog

import (
	"context"
	"fmt"

	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/store"
)

// undelivered reads a notification that is over and was not delivered; ErrNotFound, ErrNotOver.
func (l *Log) undelivered(ctx context.Context, id notice.ID) (history.Record, error) {
	old, err := l.Notification(ctx, id)
	if err == nil && old.State != notice.Exhausted && old.State != notice.Cancelled {
		err = fmt.Errorf("resend %s: %w", id, store.ErrNotOver)
	}
	return old, err
}

// Resendable tells by its error why Resend would refuse now, and writes nothing. Nil promises nothing: Resend judges again.
//
// Errors: those of Resend.
func (l *Log) Resendable(ctx context.Context, id notice.ID) error {
	old, err := l.undelivered(ctx, id)
	if err != nil {
		return err
	}
	var resent int64
	var push bool
	err = l.query.QueryRow(ctx, "SELECT ("+resentSQL+"), EXISTS (SELECT FROM initiator i WHERE i.client_id = $4 AND i.push)",
		old.ResourceID, int16(old.Kind), store.ToUUID(old.ChangeID), string(old.Client)).Scan(&resent, &push)
	switch {
	case err != nil:
		return store.Unavailable("judge a resend", err)
	case resent > 0:
		return store.ErrResent
	case !push:
		return store.ErrNoPush
	}
	return nil
}
