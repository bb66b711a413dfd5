package store_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/figures"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/store/auditlog"
)

// statements keeps what is sent to the database.
type statements struct {
	mu   sync.Mutex
	sent []string
}

func (s *statements) TraceQueryStart(ctx context.Context, _ *pgx.Conn, q pgx.TraceQueryStartData) context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent = append(s.sent, q.SQL)
	return ctx
}

func (s *statements) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// TestAReadingOfFiguresMayPauseWhileItCountsTheTail: it folds up to 5,000 entries between two statements, as a fold does.
func TestAReadingOfFiguresMayPauseWhileItCountsTheTail(t *testing.T) {
	t.Parallel()
	f := newFigured(t)
	f.register("itp", "https://itp.example/hook")
	f.accept(payment("itp", "p1", 1, "ACSC"))
	f.seal()
	access := f.store.Access()
	sent := &statements{}
	cfg := access.Query.Config()
	cfg.ConnConfig.Tracer = sent
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	access.Query = pool
	r, err := auditlog.New(access).Figures(t.Context(), figures.Ask{Queries: []figures.Query{{From: time.Now().Add(-time.Hour), To: soon(), Unit: figures.Hourly}}})
	require.NoError(t, err)
	require.NotNil(t, r.Tail)
	require.NotZero(t, *r.Tail)
	pause, counted := slices.Index(sent.sent, store.LongPauses), slices.Index(sent.sent, "SELECT now()")
	require.Positive(t, counted)
	require.Positive(t, pause, "no longer pause was asked for")
	require.Less(t, pause, counted)
}
