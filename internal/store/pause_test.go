package store_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/store"
)

// TestAProcessThatHangsInATransactionKeepsItsLocksForASecond is case F9: a change is judged between the statements of T1, and a judge that
// hangs must not hold the resource. The change fails as in an outage, and is to be tried again.
func TestAProcessThatHangsInATransactionKeepsItsLocksForASecond(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.accept(payment("itp", "p1", 1, "RCVD"))
	hanging := make(chan struct{})
	hangs, release := context.WithCancel(t.Context())
	t.Cleanup(release) // before the store closes, which waits for its sessions
	failed := make(chan error, 1)
	go func() {
		failed <- b.store.Record(context.Background(), []*notice.Change{{Client: "itp", Kind: 2, ResourceID: "p1"}}, func([]notice.Past) []notice.Decision {
			close(hanging)
			<-hangs.Done()
			return make([]notice.Decision, 1)
		})
	}()
	<-hanging
	began := time.Now()
	lock, err := pgx.Connect(t.Context(), b.url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = lock.Close(context.Background()) })
	_, err = lock.Exec(t.Context(), "SELECT FROM arauto.resource WHERE id = 'p1' FOR UPDATE")
	require.NoError(t, err)
	require.Less(t, time.Since(began), 3*time.Second, "the server ended the session after a second")
	release()
	require.ErrorIs(t, <-failed, store.ErrUnavailable)
}

// TestSessionsPauseForASecondUnlessTheyCompute holds each pool, and the transactions that may pause for longer.
func TestSessionsPauseForASecondUnlessTheyCompute(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	require.NoError(t, b.store.Reach(t.Context()))
	var value string
	require.NoError(t, b.store.Access().Query.QueryRow(t.Context(), "SELECT current_setting('idle_in_transaction_session_timeout')").Scan(&value))
	require.Equal(t, "1s", value)
	require.NoError(t, pgx.BeginFunc(t.Context(), b.store.Access().Query, func(tx pgx.Tx) error {
		if _, err := tx.Exec(t.Context(), store.LongPauses); err != nil {
			return err
		}
		return tx.QueryRow(t.Context(), "SELECT current_setting('idle_in_transaction_session_timeout')").Scan(&value)
	}))
	require.Equal(t, "5s", value)
	require.NoError(t, b.store.Access().Query.QueryRow(t.Context(), "SELECT current_setting('idle_in_transaction_session_timeout')").Scan(&value))
	require.Equal(t, "1s", value, "it is the transaction's alone")
}
