package store_test

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/storetest"
	"github.com/arauto/arauto/internal/store"
)

// TestBatchesOfEverySizeArriveWhole: what one batch leaves in the room of its connection is in no later one, whether that is larger,
// smaller, has several statements, or has more than a connection keeps.
func TestBatchesOfEverySizeArriveWhole(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	conn, err := pgx.Connect(ctx, storetest.Database(t))
	require.NoError(t, err)
	defer conn.Close(context.WithoutCancel(ctx))
	send, kept := store.InRoom(conn)
	const echo = "SELECT $1::text[], $2::text[], $3::bigint[]"
	for _, n := range []int{1, 200, 3, 4000, 1, 0, 90_000, 200, 200, 1} {
		batch := &pgx.Batch{}
		var first, second []string
		var third []int64
		for i := range n {
			first, second, third = append(first, strings.Repeat("a", i%30)), append(second, strings.Repeat("b", i%20)), append(third, int64(i))
		}
		first, second, third = append(first, "x"), append(second, "y"), append(third, 1)
		for range 4 {
			batch.Queue(echo, first, second, third)
			first, second = second, first
		}
		results := send(ctx, batch)
		for range 4 {
			var a, b []string
			var c []int64
			require.NoError(t, results.QueryRow().Scan(&a, &b, &c))
			require.Equal(t, first, a)
			require.Equal(t, second, b)
			require.Equal(t, third, c)
			first, second = second, first
		}
		require.NoError(t, results.Close())
		require.LessOrEqual(t, kept(), 1<<20)
	}
}
