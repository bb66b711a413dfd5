package store_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/store/auditlog"
)

// afterStatement calls a function after one of the statements that a pool executes, counted from 1.
type afterStatement struct {
	left int
	then func()
}

func (*afterStatement) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return ctx
}

func (a *afterStatement) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {
	if a.left--; a.left == 0 {
		a.then()
	}
}

// TestANotificationIsReadAsOfOneInstant has attempt 1 fail after each of the statements that a reading consists of.
func TestANotificationIsReadAsOfOneInstant(t *testing.T) {
	b := newFlights(t)
	config, err := pgxpool.ParseConfig(b.url)
	require.NoError(t, err)
	during := &afterStatement{}
	config.ConnConfig.RuntimeParams["search_path"], config.ConnConfig.Tracer, config.MaxConns = "arauto", during, 1
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	defer pool.Close()
	log := auditlog.New(store.Access{Query: pool, System: "test"})
	failed := true
	for statement := 1; failed; statement++ {
		a := b.fly(20*time.Second, store.NewID().String())
		failed, during.left = false, statement
		during.then = func() { b.settle(notice.OutcomeRefused, a...); failed = true }
		r, err := log.Notification(t.Context(), a[0].Notification)
		require.NoError(t, err)
		require.Equal(t, notice.Pending, r.State)
		require.Len(t, r.Attempts, 1)
		require.Equal(t, r.Attempts[0].EndedAt.IsZero(), r.NextAttemptAt.IsZero(), "statement %d: the next attempt is due when the first has ended, and no sooner", statement)
	}
}
