package store_test

import (
	"context"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/storetest"
	"github.com/arauto/arauto/internal/store"
)

// migrated checks that a database is at this binary's version and can be used.
func migrated(t *testing.T, url string) {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{URL: url, Replica: "test"})
	require.NoError(t, err)
	defer s.Close()
	have, want, err := s.SchemaVersions(t.Context())
	require.NoError(t, err)
	require.Equal(t, want, have)
	w := replicaOf(t, url)
	w.register("itp", "https://itp.example/hook")
	w.accept(payment("itp", "p1", 1, "ACSC"))
	require.Len(t, w.claim("itp", 1, 0), 1)
}

func TestMigratingTwiceChangesNothing(t *testing.T) {
	url := storetest.Empty(t)
	require.NoError(t, store.Migrate(t.Context(), url))
	require.NoError(t, store.Migrate(t.Context(), url))
	migrated(t, url)
}

func TestTwoMigrateAtOnce(t *testing.T) {
	url := storetest.Empty(t)
	errs := make([]error, 4)
	var all sync.WaitGroup
	for n := range errs {
		all.Go(func() { errs[n] = store.Migrate(context.WithoutCancel(t.Context()), url) })
	}
	all.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
	migrated(t, url)
}

// TestAMigrationKilledHalfwayIsTakenUpByTheNext ends the migration's session after ever more of its statements.
func TestAMigrationKilledHalfwayIsTakenUpByTheNext(t *testing.T) {
	url := storetest.Empty(t)
	owner, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer owner.Close(context.Background())
	do := func(text string) {
		_, err := owner.Exec(t.Context(), text)
		require.NoError(t, err, text)
	}
	do(`CREATE SEQUENCE public.statements;
CREATE FUNCTION public.strike() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
  IF nextval('public.statements') = current_setting('arauto.strike_at')::bigint THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF;
END $$`)
	name := one[string](&bench{world: &world{t: t}, owner: owner}, "SELECT quote_ident(current_database())")
	for _, at := range []string{"1", "2", "5", "12", "25", "40"} {
		do("SELECT setval('public.statements', 1, false); ALTER DATABASE " + name + " SET arauto.strike_at = " + at)
		do("CREATE EVENT TRIGGER strike ON ddl_command_end EXECUTE FUNCTION public.strike()")
		err := store.Migrate(t.Context(), url)
		do("DROP EVENT TRIGGER strike")
		require.Error(t, err, "the migration has fewer than %s statements, or survived", at)
		halfState(t, owner)
	}
	require.NoError(t, store.Migrate(t.Context(), url))
	migrated(t, url)
}

// halfState checks that the tables of a migration are there exactly when it is noted as done.
func halfState(t *testing.T, conn *pgx.Conn) {
	t.Helper()
	var noted bool
	var tables int
	require.NoError(t, conn.QueryRow(t.Context(), "SELECT count(*) FROM pg_tables WHERE schemaname = 'arauto' AND tablename IN ('entry', 'queue', 'resource')").Scan(&tables))
	if err := conn.QueryRow(t.Context(), "SELECT to_regclass('arauto.goose_db_version') IS NOT NULL").Scan(&noted); err == nil && noted {
		require.NoError(t, conn.QueryRow(t.Context(), "SELECT EXISTS (SELECT FROM arauto.goose_db_version WHERE version_id = 1)").Scan(&noted))
	}
	require.Equal(t, map[bool]int{true: 3, false: 0}[noted], tables)
}
