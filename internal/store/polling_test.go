package store_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/notice"
)

// TestQueriesAreCountedByWhatWasToldBefore reads them from the history: of a client with push, and of one that only asks.
func TestQueriesAreCountedByWhatWasToldBefore(t *testing.T) {
	b := newBench(t)
	b.register("itp", "https://itp.example/hook")
	b.register("asks")
	b.accept(payment("itp", "told", 1, "RCVD"))
	b.query("itp", "told", 200)
	b.accept(payment("itp", "told", 2, "ACSC"))
	b.settle(notice.OutcomeDelivered, b.claim("itp", 10, 0)...)
	b.query("itp", "told", 200)
	b.query("itp", "told", 404)
	b.accept(payment("asks", "asked", 1, "RCVD"))
	for range 30 {
		b.query("asks", "asked", 200)
	}
	from, to := time.Now().Add(-time.Hour), time.Now().Add(time.Minute)
	r, err := b.log.Inspector().Polling(t.Context(), from, to)
	require.NoError(t, err)
	require.Len(t, r.Clients, 2)
	asks, itp := r.Clients[0], r.Clients[1]
	require.EqualValues(t, "asks", asks.Client)
	require.Equal(t, []int64{1, 0, 30}, []int64{asks.Resources, asks.Pushes, asks.Queries})
	require.Equal(t, []int64{1, 1, 2}, []int64{itp.Resources, itp.Pushes, itp.Queries}, "what was not answered with the resource is no query of it")
	require.Equal(t, int64(2), itp.Before+itp.Own+itp.Later+itp.Final)
	require.EqualValues(t, 30, r.Untold.Queries)
	none, err := b.log.Inspector().Polling(t.Context(), from.Add(-time.Hour), from)
	require.NoError(t, err)
	require.Empty(t, none.Clients)
}
