package store_test

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
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

// TestStatusQueriesThatWaitForALockAreNoSilence: they hold every connection of theirs, and the database answers others.
func TestStatusQueriesThatWaitForALockAreNoSilence(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.register("itp", "https://itp.example/hook")
	b.accept(payment("itp", "locked", 1, "ACSC"))
	tx, err := b.store.Access().Query.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
	_, err = tx.Exec(t.Context(), "LOCK TABLE resource")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	for range 20 {
		all.Go(func() {
			for ctx.Err() == nil {
				_, _ = b.store.Read(ctx, notice.Question{Client: "itp", Kind: ofb.PixPayment, ID: "locked"})
			}
		})
	}
	require.Eventually(t, func() bool { in := b.store.Pools()["status"]; return in[0] == in[1] }, 10*time.Second, time.Millisecond)
	require.NoError(t, b.store.Answers(t.Context()))
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
	require.EqualValues(t, 2, connections.Load(), "one for status queries and one for readers")
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
