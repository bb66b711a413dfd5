package store_test

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/store"
)

// TestReadersThatHoldEveryConnectionAreNoSilence: what is asked for waits for one of them, as before.
func TestReadersThatHoldEveryConnectionAreNoSilence(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	query := b.store.Access().Query
	var held []*pgxpool.Conn
	defer func() {
		for _, c := range held {
			c.Release()
		}
	}()
	for range query.Stat().MaxConns() {
		c, err := query.Acquire(t.Context())
		require.NoError(t, err)
		held = append(held, c)
	}
	require.NoError(t, b.store.Answers(t.Context()))
	require.Empty(t, b.store.Faults())
}

// TestASilentServerIsAskedOnceHoweverManyCallersAsk: it takes connections and says nothing.
func TestASilentServerIsAskedOnceHoweverManyCallersAsk(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var connections atomic.Int32
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := silent.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			connections.Add(1)
		}
	}()
	t.Cleanup(func() { _ = silent.Close(); <-ended })
	s, err := store.Open(t.Context(), store.Options{URL: "postgres://nobody@" + silent.Addr().String() + "/none?sslmode=disable", Replica: "test"})
	require.NoError(t, err)
	t.Cleanup(s.Close)

	began := time.Now()
	var all sync.WaitGroup
	var refused atomic.Int32
	for range 50 {
		all.Go(func() {
			if err := s.Answers(t.Context()); err != nil {
				require.ErrorIs(t, err, store.ErrUnavailable)
				refused.Add(1)
			}
		})
	}
	all.Wait()
	require.EqualValues(t, 50, refused.Load())
	require.EqualValues(t, 1, connections.Load())
	require.Less(t, time.Since(began), 3*time.Second)
	require.Empty(t, s.Faults(), "it is no write of ours that failed")
}

// TestAServerThatRefusesIsNotSilent: what is asked for meets that at once, and says why.
func TestAServerThatRefusesIsNotSilent(t *testing.T) {
	t.Parallel()
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, gone.Close())
	s, err := store.Open(t.Context(), store.Options{URL: "postgres://nobody@" + gone.Addr().String() + "/none?sslmode=disable", Replica: "test"})
	require.NoError(t, err)
	t.Cleanup(s.Close)
	require.NoError(t, s.Answers(t.Context()))
}
