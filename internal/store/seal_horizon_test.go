package store_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/storetest"
)

// writes begins a transaction on conn that has an id, as one that wrote has, and leaves it open.
func writes(t *testing.T, conn *pgx.Conn) {
	t.Helper()
	_, err := conn.Exec(t.Context(), "BEGIN; SELECT pg_current_xact_id()")
	require.NoError(t, err)
}

// elsewhere connects to another database of the same server.
func elsewhere(t *testing.T) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), storetest.Empty(t))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close(context.WithoutCancel(t.Context()))) })
	return conn
}

// TestATransactionOfAnotherDatabaseDelaysNoEntry: the server's oldest transaction is another database's, and never ends.
func TestATransactionOfAnotherDatabaseDelaysNoEntry(t *testing.T) {
	s := openSealed(t)
	writes(t, elsewhere(t))
	s.full(5)
	require.Equal(t, 5, s.seal().Entries)
	s.ok(5)
}

// TestAmongTransactionsOfManyDatabasesThisOnesHoldEntriesBack: what an older transaction of this database wrote is not left
// behind, whatever runs elsewhere.
func TestAmongTransactionsOfManyDatabasesThisOnesHoldEntriesBack(t *testing.T) {
	s := openSealed(t)
	writes(t, elsewhere(t))
	slow := s.connect()
	_, err := slow.Exec(t.Context(), "BEGIN; INSERT INTO arauto.entry (id, kind, facts) VALUES (gen_random_uuid(), 'change', '{}')")
	require.NoError(t, err)
	writes(t, elsewhere(t))
	s.full(5)
	for range 3 {
		out, err := s.log.Seal(t.Context(), s.key)
		require.NoError(t, err)
		require.Zero(t, out.Entries)
	}
	_, err = slow.Exec(t.Context(), "COMMIT")
	require.NoError(t, err)
	require.Equal(t, 6, s.seal().Entries)
	s.ok(6)
}

// TestAPreparedTransactionHoldsEntriesBackInItsOwnDatabaseOnly: a prepared transaction has no session.
func TestAPreparedTransactionHoldsEntriesBackInItsOwnDatabaseOnly(t *testing.T) {
	s := openSealed(t)
	var most string
	require.NoError(t, s.owner.QueryRow(t.Context(), "SELECT current_setting('max_prepared_transactions')").Scan(&most))
	if most == "0" {
		t.Skip("the server at hand knows no prepared transactions")
	}
	other := elsewhere(t)
	writes(t, other)
	_, err := other.Exec(t.Context(), "PREPARE TRANSACTION 'elsewhere'")
	require.NoError(t, err)
	t.Cleanup(func() { // a database with a prepared transaction cannot be dropped
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
		defer cancel()
		_, err := other.Exec(ctx, "ROLLBACK PREPARED 'elsewhere'")
		require.NoError(t, err)
	})
	s.full(5)
	require.Equal(t, 5, s.seal().Entries)

	slow := s.connect()
	_, err = slow.Exec(t.Context(), "BEGIN; INSERT INTO arauto.entry (id, kind, facts) VALUES (gen_random_uuid(), 'change', '{}')")
	require.NoError(t, err)
	_, err = slow.Exec(t.Context(), "PREPARE TRANSACTION 'here'")
	require.NoError(t, err)
	s.full(5)
	out, err := s.log.Seal(t.Context(), s.key)
	require.NoError(t, err)
	require.Zero(t, out.Entries)
	require.Less(t, out.Horizon, out.Newest)
	_, err = slow.Exec(t.Context(), "COMMIT PREPARED 'here'")
	require.NoError(t, err)
	require.Equal(t, 6, s.seal().Entries)
	s.ok(11)
}
