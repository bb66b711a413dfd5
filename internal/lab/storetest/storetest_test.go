package storetest

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/temppostgres"
)

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// query returns the one value a statement yields.
func query[T any](t *testing.T, url, statement string, args ...any) T {
	t.Helper()
	rows, err := connect(t, url).Query(t.Context(), statement, args...)
	require.NoError(t, err)
	value, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[T])
	require.NoError(t, err)
	return value
}

const tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'arauto'"

func TestEachTestHasAMigratedDatabaseOfItsOwnThatGoesWithIt(t *testing.T) {
	var first, second string
	t.Run("two databases", func(t *testing.T) {
		first, second = Database(t), Database(t)
		require.NotEqual(t, first, second)
		require.Greater(t, query[int](t, first, tables), 3)
		_, err := connect(t, first).Exec(t.Context(), "CREATE TABLE arauto.left_behind ()")
		require.NoError(t, err)
		require.Nil(t, query[*string](t, second, "SELECT to_regclass('arauto.left_behind')::text"))
	})
	_, err := pgx.Connect(t.Context(), first)
	require.ErrorContains(t, err, "3D000")
	require.Nil(t, query[*string](t, Database(t), "SELECT to_regclass('arauto.left_behind')::text"))
}

func TestAnEmptyDatabaseHasNoTables(t *testing.T) {
	require.Zero(t, query[int](t, Empty(t), tables))
}

func TestAServerOfOnesOwnCanBeKilled(t *testing.T) {
	server, url := Own(t)
	before := query[int](t, url, tables)
	require.NoError(t, server.Kill())
	require.NoError(t, server.Restart(t.Context()))
	require.Equal(t, before, query[int](t, url, tables))
}

// envGuest makes this test binary a process that makes databases on a shared server and dies without dropping them.
const envGuest = "ARAUTO_STORETEST_GUEST"

func TestGuest(t *testing.T) {
	if os.Getenv(envGuest) == "" {
		t.Skip("runs as a process of the next test")
	}
	Database(t)
	os.Exit(3) // no cleanup runs
}

func TestWhatAKilledProcessLeftOnASharedServerIsSweptByTheNext(t *testing.T) {
	server, err := temppostgres.Start(t.Context(), temppostgres.Options{Private: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, server.Stop()) })
	url := server.URL("postgres")
	_, err = server.CreateDatabase(t.Context(), "arauto_test_of_somebody", "")
	require.NoError(t, err)
	const ours = `SELECT coalesce(string_agg(datname, ' ' ORDER BY datname), '') FROM pg_database WHERE datname LIKE 'arauto\_test\_%'`

	guest := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestGuest$")
	guest.Env = append(os.Environ(), envGuest+"=1", temppostgres.EnvURL+"="+url)
	output, err := guest.CombinedOutput()
	require.Equal(t, 3, guest.ProcessState.ExitCode(), "%v: %s", err, output)
	left := strings.Fields(query[string](t, url, ours))
	require.Len(t, left, 3, "a database and a template should have been left behind, or the test shows nothing")

	alive, prefix, err := claimPrefix(t.Context(), url)
	require.NoError(t, err)
	require.Equal(t, "arauto_test_of_somebody", query[string](t, url, ours))

	_, err = server.CreateDatabase(t.Context(), prefix+"1", "")
	require.NoError(t, err)
	next, _, err := claimPrefix(t.Context(), url)
	require.NoError(t, err)
	require.Contains(t, query[string](t, url, ours), prefix+"1", "a living process lost its database")
	require.NoError(t, alive.Close(t.Context()))
	require.NoError(t, next.Close(t.Context()))
}
