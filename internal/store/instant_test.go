package store_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/history"
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

// interrupted is a log over one connection, and what happens during a reading.
func (b *bench) interrupted() (*auditlog.Log, *afterStatement) {
	t := b.t
	config, err := pgxpool.ParseConfig(b.url)
	require.NoError(t, err)
	during := &afterStatement{}
	config.ConnConfig.RuntimeParams["search_path"], config.ConnConfig.Tracer, config.MaxConns = "arauto", during, 1
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return auditlog.New(store.Access{Query: pool, System: "test"}), during
}

// TestANotificationIsReadAsOfOneInstant has attempt 1 fail after each of the statements that a reading consists of.
func TestANotificationIsReadAsOfOneInstant(t *testing.T) {
	b := newFlights(t)
	log, during := b.interrupted()
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

// TestANotificationThatGoesOnWhileAListIsReadIsInTheList has attempt 1 fail, and a notification whose registration has ended leave the
// queue, after each of the statements.
func TestANotificationThatGoesOnWhileAListIsReadIsInTheList(t *testing.T) {
	for state, begin := range map[notice.State]func(b *bench) (of notice.ID, goOn func()){
		notice.Pending: func(b *bench) (notice.ID, func()) {
			a := b.fly(20*time.Second, store.NewID().String())
			return a[0].Notification, func() { b.settle(notice.OutcomeRefused, a...) }
		},
		notice.Cancelled: func(b *bench) (notice.ID, func()) {
			b.register("itp", "https://itp.example/hook")
			made := b.accept(payment("itp", store.NewID().String(), 1, "ACSC")).Notifications
			b.register("itp")
			return made[0], func() {
				n, err := b.store.CancelEnded(b.t.Context(), 100)
				require.NoError(b.t, err)
				require.Equal(b.t, 1, n)
			}
		},
	} {
		t.Run(string(state), func(t *testing.T) {
			b := newFlights(t)
			log, during := b.interrupted()
			went := true
			for statement := 1; went; statement++ {
				id, goOn := begin(b)
				went, during.left, during.then = false, statement, func() { goOn(); went = true }
				list, _, err := log.Notifications(t.Context(), history.Filter{State: state, Limit: 100})
				require.NoError(t, err)
				require.True(t, slices.ContainsFunc(list, func(r history.Record) bool { return r.ID == id }), "statement %d: %d others", statement, len(list))
			}
		})
	}
}

// TestTheTimeWithoutAnAttemptEndsBeforeThereIsOne has attempt 1 begin after each of the statements that a clock proof is read by.
func TestTheTimeWithoutAnAttemptEndsBeforeThereIsOne(t *testing.T) {
	b := newFlights(t)
	log, during := b.interrupted()
	statement := 1
	for begun := true; begun; statement++ {
		id := b.accept(payment("itp", store.NewID().String(), 1, "ACSC")).Notifications[0]
		begun, during.left, during.then = false, statement, func() { require.Len(t, b.claim("itp", 10, 0), 1); begun = true }
		told, err := log.Timing(t.Context(), id)
		require.NoError(t, err)
		if !begun || len(told.Attempts) > 0 {
			continue
		}
		r := b.record(id)
		require.LessOrEqual(t, told.First.SinceEvent.Duration(), r.Attempts[0].StartedAt.Sub(r.OccurredAt), "statement %d", statement)
	}
	require.Greater(t, statement, 3)
}
