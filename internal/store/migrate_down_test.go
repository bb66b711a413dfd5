package store_test

import (
	"database/sql"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/storetest"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/migrations"
)

// schemaSQL describes everything in the product's schema, one line a thing, with who may do what with it. A column has no place in it: one
// that is dropped and made again comes last.
const schemaSQL = `
WITH ours AS (SELECT oid FROM pg_namespace WHERE nspname = $1),
relation AS (
  SELECT c.oid::regclass::text AS name, c.* FROM pg_class c
  WHERE c.relnamespace = (SELECT oid FROM ours) AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND c.relname NOT LIKE 'goose%'
), line AS (
  SELECT concat_ws(' ', 'relation', name, relkind, relpersistence, relowner::regrole, relreplident, relrowsecurity, relispartition, reloptions::text,
    pg_get_partkeydef(relation.oid), pg_get_expr(relpartbound, relation.oid)) AS text FROM relation
  UNION ALL SELECT concat_ws(' ', 'view', name, pg_get_viewdef(relation.oid)) FROM relation WHERE relkind IN ('v', 'm')
  UNION ALL SELECT concat_ws(' ', 'grant on', name, g.grantee::regrole, g.privilege_type, g.is_grantable)
    FROM relation, aclexplode(coalesce(relacl, acldefault(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", relowner))) g
  UNION ALL SELECT concat_ws(' ', 'column', name, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, a.attgenerated, a.attstorage,
    a.attcompression, nullif(a.attstattarget, -1), a.attoptions::text, a.attcollation::regcollation, pg_get_expr(d.adbin, d.adrelid))
    FROM relation JOIN pg_attribute a ON a.attrelid = relation.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
  UNION ALL SELECT concat_ws(' ', 'grant on column', name, a.attname, g.grantee::regrole, g.privilege_type, g.is_grantable)
    FROM relation JOIN pg_attribute a ON a.attrelid = relation.oid AND NOT a.attisdropped, aclexplode(a.attacl) g
  UNION ALL SELECT concat_ws(' ', 'constraint', name, k.conname, k.convalidated, pg_get_constraintdef(k.oid)) FROM relation JOIN pg_constraint k ON k.conrelid = relation.oid
  UNION ALL SELECT concat_ws(' ', 'index', pg_get_indexdef(i.indexrelid), i.indisvalid, i.indisreplident) FROM relation JOIN pg_index i ON i.indrelid = relation.oid
  UNION ALL SELECT concat_ws(' ', 'trigger', name, t.tgenabled, pg_get_triggerdef(t.oid)) FROM relation JOIN pg_trigger t ON t.tgrelid = relation.oid AND NOT t.tgisinternal
  UNION ALL SELECT concat_ws(' ', 'policy', name, to_json(p)) FROM relation JOIN pg_policies p ON p.schemaname = $1 AND p.tablename = relation.relname
  UNION ALL SELECT concat_ws(' ', 'statistics', pg_get_statisticsobjdef(s.oid)) FROM pg_statistic_ext s WHERE s.stxnamespace = (SELECT oid FROM ours)
  UNION ALL SELECT concat_ws(' ', 'function', p.proowner::regrole, pg_get_functiondef(p.oid)) FROM pg_proc p WHERE p.pronamespace = (SELECT oid FROM ours)
  UNION ALL SELECT concat_ws(' ', 'grant on function', p.oid::regprocedure, g.grantee::regrole, g.privilege_type, g.is_grantable)
    FROM pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) g WHERE p.pronamespace = (SELECT oid FROM ours)
  UNION ALL SELECT concat_ws(' ', 'type', t.oid::regtype, t.typtype) FROM pg_type t WHERE t.typnamespace = (SELECT oid FROM ours) AND t.typtype IN ('d', 'e', 'r')
  UNION ALL SELECT concat_ws(' ', 'grant on schema', g.grantee::regrole, g.privilege_type) FROM pg_namespace n, aclexplode(n.nspacl) g WHERE n.nspname = $1
  UNION ALL SELECT concat_ws(' ', 'default grant', defaclobjtype, defaclacl::text) FROM pg_default_acl WHERE defaclnamespace = (SELECT oid FROM ours)
)
SELECT text FROM line ORDER BY text COLLATE "C"`

// refusedDowns are the migrations that cannot be taken back, with a part of what they say then.
var refusedDowns = map[int64]string{
	1: "would drop the history", 3: "what proves the history", 5: "what they keep could be dropped", 6: "the log has them", 7: "sealed entries refer to them",
	9: "sealed entries commit to them", 14: "who approved what", 19: "the log has them", 21: "went on because of them",
}

// TestEachMigrationThatCanBeTakenBackLeavesWhatWasThere: nobody ran what takes a migration back, until an operator needs it. Each is made,
// taken back and made again, and then all at the end that can be are taken back in a row, from a database with cases of each state.
func TestEachMigrationThatCanBeTakenBackLeavesWhatWasThere(t *testing.T) {
	t.Parallel()
	config, err := pgx.ParseConfig(storetest.Empty(t))
	require.NoError(t, err)
	config.RuntimeParams["search_path"] = store.Schema
	db := stdlib.OpenDB(*config)
	t.Cleanup(func() { _ = db.Close() })
	_, err = db.ExecContext(t.Context(), "CREATE SCHEMA IF NOT EXISTS "+store.Schema)
	require.NoError(t, err)
	steps, err := goose.NewProvider(goose.DialectPostgres, db, migrations.Files)
	require.NoError(t, err)

	at := map[int64][]string{0: schemaOf(t, db)}
	last, newest := int64(0), int64(0)
	for _, s := range steps.ListSources() {
		v := s.Version
		_, err := steps.UpTo(t.Context(), v)
		require.NoError(t, err, s.Path)
		at[v] = schemaOf(t, db)
		_, err = steps.Down(t.Context())
		if refusal := refusedDowns[v]; refusal != "" {
			require.ErrorContains(t, err, refusal, s.Path)
			last = v
		} else {
			require.NoError(t, err, s.Path)
			sameSchema(t, at[newest], schemaOf(t, db), "taken back: %s", s.Path)
			_, err = steps.UpTo(t.Context(), v)
			require.NoError(t, err, s.Path)
		}
		sameSchema(t, at[v], schemaOf(t, db), "made again: %s", s.Path)
		newest = v
	}
	require.Greater(t, len(at[newest]), 500)

	for n, state := range []string{"open", "nonconforming", "applied", "dismissed"} {
		_, err := db.ExecContext(t.Context(), `INSERT INTO quarantine (id, kind, resource_id, revision, content_hash, client_id, source, problems, state)
VALUES (gen_random_uuid(), 'pix-payment', 'p', $1, '', 'itp', 'test', '[]', $2)`, n, state)
		require.NoError(t, err)
	}
	_, err = steps.DownTo(t.Context(), last)
	require.NoError(t, err)
	sameSchema(t, at[last], schemaOf(t, db), "taken back in a row")
	_, err = steps.Up(t.Context())
	require.NoError(t, err)
	sameSchema(t, at[newest], schemaOf(t, db), "made again in a row")
	var cases int
	require.NoError(t, db.QueryRowContext(t.Context(), "SELECT count(*) FROM quarantine").Scan(&cases))
	require.Equal(t, 4, cases)
}

// schemaOf describes the product's schema (schemaSQL).
func schemaOf(t *testing.T, db *sql.DB) (all []string) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), schemaSQL, store.Schema)
	require.NoError(t, err)
	defer rows.Close()
	for rows.Next() {
		var line string
		require.NoError(t, rows.Scan(&line))
		all = append(all, line)
	}
	require.NoError(t, rows.Err())
	return all
}

// sameSchema names what one description has and the other has not.
func sameSchema(t *testing.T, want, got []string, what string, args ...any) {
	t.Helper()
	count := map[string]int{}
	for _, line := range got {
		count[line]++
	}
	for _, line := range want {
		count[line]--
	}
	var differs []string
	for line, n := range count {
		switch {
		case n > 0:
			differs = append(differs, "more: "+line)
		case n < 0:
			differs = append(differs, "less: "+line)
		}
	}
	require.Empty(t, strings.Join(differs, "\n"), append([]any{what}, args...)...)
}
