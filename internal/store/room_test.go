package store_test

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"

	"github.com/arauto/arauto/internal/lab/storetest"
	"github.com/arauto/arauto/internal/store"
)

// TestBatchesOfEverySizeArriveWhole: what one batch leaves in its room is in no other one of four connections, whether that is larger,
// smaller, has several statements, is more than a room has, fails half way, or was given up before it was sent; nor in a query between them.
func TestBatchesOfEverySizeArriveWhole(t *testing.T) {
	t.Parallel()
	database := storetest.Database(t)
	var all sync.WaitGroup
	for n := range 4 {
		all.Go(func() { sendsBatches(t, database, n) })
	}
	all.Wait()
}

func sendsBatches(t *testing.T, database string, who int) {
	ctx := t.Context()
	conn, err := pgx.Connect(ctx, database)
	if !assert.NoError(t, err) {
		return
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	send := store.InRoom(conn)
	const echo = "SELECT $1::text[], $2::text[], $3::bigint[]"
	ended, end := context.WithCancel(ctx)
	end()
	for round, n := range []int{1, 200, 3, 4000, 1, 0, 90_000, 200, 200, 1, 2000, 10, 10, 2000} {
		var first, second []string
		var third []int64
		for i := range n {
			first, second, third = append(first, strings.Repeat("a", i%30)), append(second, strings.Repeat("b", i%20)), append(third, int64(i+who))
		}
		first, second, third = append(first, "x"), append(second, "y"), append(third, int64(who))
		batch := func() *pgx.Batch {
			b := &pgx.Batch{}
			for range 2 {
				b.Queue(echo, first, second, third)
				b.Queue(echo, second, first, third)
			}
			if round%3 == 1 {
				b.Queue("SELECT 1 / (cardinality($1::text[]) - cardinality($2::text[]))", first, second) // fails
			}
			return b
		}
		if round%4 == 3 { // nothing of it is sent
			_ = send(ended, batch()).Close()
		}
		results := send(ctx, batch())
		for i := range 4 {
			var a, b []string
			var c []int64
			if !assert.NoError(t, results.QueryRow().Scan(&a, &b, &c)) {
				return
			}
			if i%2 == 1 {
				a, b = b, a
			}
			if !assert.Equal(t, first, a) || !assert.Equal(t, second, b) || !assert.Equal(t, third, c) {
				return
			}
		}
		if err := results.Close(); (err != nil) != (round%3 == 1) {
			t.Errorf("round %d: %v", round, err)
		}
		var back []string
		if !assert.NoError(t, conn.QueryRow(ctx, "SELECT $1::text[]", second).Scan(&back)) || !assert.Equal(t, second, back) {
			return
		}
	}
}
