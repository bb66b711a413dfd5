package store_test

import (
	"context"
	"database/sql"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/storetest"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/migrations"
)

// rowOf is a revision as it stands in the table revision or in the view of all; "" when it is not there.
func (b *bench) rowOf(from, resource string, revision int64) string {
	b.t.Helper()
	return one[string](b, "SELECT coalesce((SELECT row_to_json(v)::text FROM "+from+" v WHERE resource_id = $1 AND revision = $2), '')", resource, revision)
}

// TestTheCurrentRevisionHasNoRowUntilAnotherTakesItsPlace: it is found all the same, and its row then says what was found before.
func TestTheCurrentRevisionHasNoRowUntilAnotherTakesItsPlace(t *testing.T) {
	b := newBench(t)
	b.register("itp", "https://itp.example/hook")
	first, second := payment("itp", "p1", 10, "PDNG"), payment("itp", "p1", 20, "ACSC")
	told := b.accept(first)
	require.Len(t, told.Notifications, 1)
	found := b.rowOf("stored_revision", "p1", 10)
	require.Contains(t, found, `"notification_id":"`+told.Notifications[0].String()+`"`)
	require.Contains(t, found, `"change_id":"`+told.ChangeID.String()+`"`)
	require.Contains(t, found, `"cause":"holder"`)
	require.Empty(t, b.rowOf("revision", "p1", 10))

	again := b.accept(first)
	require.Equal(t, notice.Duplicate, again.Verdict)
	require.Equal(t, told.ChangeID, again.ChangeID)
	require.Equal(t, told.Notifications, again.Notifications)
	other := first
	other.Cause = "initiator"
	require.Equal(t, notice.Conflicting, b.accept(other).Verdict)

	require.Equal(t, notice.Applied, b.accept(second).Verdict)
	require.Equal(t, found, b.rowOf("revision", "p1", 10), "its row says what the resource said")
	require.Equal(t, found, b.rowOf("stored_revision", "p1", 10), "it is there once")
	require.Empty(t, b.rowOf("revision", "p1", 20))
	require.Equal(t, notice.Duplicate, b.accept(first).Verdict)
	require.Equal(t, notice.Duplicate, b.accept(second).Verdict)

	late := b.accept(payment("itp", "p1", 15, "PDNG"))
	require.Equal(t, notice.Superseded, late.Verdict)
	require.NotEmpty(t, b.rowOf("revision", "p1", 15), "a late revision is never the current one")
	require.Empty(t, b.rowOf("revision", "p1", 20), "the current one stays where it is")

	current := b.rowOf("stored_revision", "p1", 20)
	b.do("DELETE FROM resource WHERE id = 'p1'")
	require.Equal(t, current, b.rowOf("revision", "p1", 20), "a resource that is removed leaves its revisions")
}

// TestATimerLeavesTheCoresRevisionBehind: the state that a timer makes has no revision, and the core's last one gets its row.
func TestATimerLeavesTheCoresRevisionBehind(t *testing.T) {
	t.Parallel()
	b := newBench(t, ofb.PaymentConsent)
	b.register("itp", "https://itp.example/hook")
	first := timed("c", 1, "AWAITING_AUTHORISATION", 10*time.Minute)
	b.accept(first)
	id := one[string](b, "SELECT id FROM resource")
	found := b.rowOf("stored_revision", id, 1)
	require.Empty(t, b.rowOf("revision", id, 1))
	require.EqualValues(t, 1, runTimers(t, 1, b.world))
	require.Equal(t, "REJECTED", one[string](b, "SELECT status FROM resource"))
	require.Equal(t, found, b.rowOf("revision", id, 1))
	require.Equal(t, 1, one[int](b, "SELECT count(*) FROM stored_revision"))
	require.Equal(t, notice.Duplicate, b.accept(first).Verdict)
	_, differences := inspect(t, b.log.Inspector(), time.Time{}, soon())
	require.Empty(t, differences)
}

// replaceAsBefore is how a version before the migration current_revision replaces a document; it does not know of the new columns.
const replaceAsBefore = `UPDATE resource r SET status = v.status, revision = v.revision, announced = v.announced, change_id = v.change_id,
  watched = v.watched::jsonb, data_hash = v.hash, document = v.document, occurred_at = v.at, updated_at = now(), timer_at = v.timer_at, consent_id = v.consent
FROM (VALUES (2::smallint, 'p1', 'ACSC', 20::bigint, 1::bigint, gen_random_uuid(), '{}', sha256('x'), convert_to('{}', 'UTF8'), now(), NULL::timestamptz, NULL::text))
  AS v(kind, id, status, revision, announced, change_id, watched, hash, document, at, timer_at, consent) WHERE r.kind = v.kind AND r.id = v.id`

// TestAVersionBeforeLosesNoRevisionOfOurs: the revision that it replaces gets its row from the database.
func TestAVersionBeforeLosesNoRevisionOfOurs(t *testing.T) {
	b := newBench(t)
	b.register("itp", "https://itp.example/hook")
	b.accept(payment("itp", "p1", 10, "PDNG"))
	found := b.rowOf("stored_revision", "p1", 10)
	_, err := b.app().Exec(t.Context(), replaceAsBefore)
	require.NoError(t, err)
	require.Equal(t, found, b.rowOf("revision", "p1", 10))
	require.Empty(t, b.rowOf("stored_revision", "p1", 20), "its own row is that version's to write")
	require.Equal(t, 1, one[int](b, "SELECT count(*) FROM stored_revision"))
	b.do("UPDATE resource SET announced = 0, updated_at = now()")
	require.Equal(t, 1, one[int](b, "SELECT count(*) FROM stored_revision"))
}

// TestEveryRevisionHasItsRowAfterTheWayBack is backup-and-upgrade: after its two statements a version before finds all revisions.
func TestEveryRevisionHasItsRowAfterTheWayBack(t *testing.T) {
	b := newBench(t)
	b.register("itp", "https://itp.example/hook")
	first, second := payment("itp", "p1", 10, "PDNG"), payment("itp", "p2", 10, "PDNG")
	b.accept(first)
	found := b.rowOf("stored_revision", "p1", 10)
	b.do("UPDATE form SET dense = false")
	b.accept(second)
	require.NotEmpty(t, b.rowOf("revision", "p2", 10), "each new revision has its row at once")
	require.Empty(t, b.rowOf("revision", "p1", 10))
	b.do("UPDATE resource SET unwritten = NULL WHERE unwritten IS NOT NULL")
	require.Equal(t, found, b.rowOf("revision", "p1", 10))
	require.Equal(t, 2, one[int](b, "SELECT count(*) FROM stored_revision"))
	for _, c := range []change{first, second} {
		require.Equal(t, notice.Duplicate, b.accept(c).Verdict)
	}
	b.do("UPDATE form SET dense = true")
	b.accept(payment("itp", "p1", 20, "ACSC"))
	require.Equal(t, 2, one[int](b, "SELECT count(*) FROM revision"), "the new one is the resource's")
	_, differences := inspect(t, b.log.Inspector(), time.Time{}, soon())
	require.Empty(t, differences)
}

// upgraded is a database that was at the version before a migration, used by it or not, and is now at ours.
func upgraded(t *testing.T, migration string, used bool) *sql.DB {
	t.Helper()
	found, err := fs.Glob(migrations.Files, "*_"+migration+".sql")
	require.NoError(t, err)
	require.Len(t, found, 1)
	ours, err := goose.NumericComponent(found[0])
	require.NoError(t, err)
	url := storetest.Empty(t)
	config, err := pgx.ParseConfig(url)
	require.NoError(t, err)
	config.RuntimeParams["search_path"] = store.Schema
	db := stdlib.OpenDB(*config)
	t.Cleanup(func() { _ = db.Close() })
	_, err = db.ExecContext(t.Context(), "CREATE SCHEMA IF NOT EXISTS "+store.Schema)
	require.NoError(t, err)
	steps, err := goose.NewProvider(goose.DialectPostgres, db, migrations.Files)
	require.NoError(t, err)
	_, err = steps.UpTo(t.Context(), ours-1)
	require.NoError(t, err)
	if used {
		_, err = db.ExecContext(t.Context(), "INSERT INTO initiator (client_id, organisation_id, software_id, name, push) VALUES ('itp', 'o', 's', 'n', true)")
		require.NoError(t, err)
	}
	require.NoError(t, store.Migrate(t.Context(), url))
	return db
}

// TestADatabaseThatAVersionBeforeMayUseKeepsItsForm: only a database that nobody has used begins with the new one.
func TestADatabaseThatAVersionBeforeMayUseKeepsItsForm(t *testing.T) {
	for column, migration := range map[string]string{"dense": "current_revision", "packed": "packed_documents"} {
		for used, chosen := range map[bool]bool{false: true, true: false} {
			var got bool
			require.NoError(t, upgraded(t, migration, used).QueryRowContext(t.Context(), "SELECT "+column+" FROM form").Scan(&got))
			require.Equal(t, chosen, got, column)
		}
	}
}

// TestTheRoleOfServeCannotChooseTheForm: it would hide revisions from replicas of a version before.
func TestTheRoleOfServeCannotChooseTheForm(t *testing.T) {
	b := newBench(t)
	app := b.app()
	for _, act := range []string{"UPDATE form SET dense = false", "UPDATE form SET packed = false", "INSERT INTO stored_revision DEFAULT VALUES", "DELETE FROM form"} {
		_, err := app.Exec(context.WithoutCancel(t.Context()), act)
		require.Error(t, err, act)
	}
}

// TestRevisionsAreReadByIndexInBothPlaces: also by the plan that a hot session makes while the tables are empty, and keeps.
func TestRevisionsAreReadByIndexInBothPlaces(t *testing.T) {
	b := newBench(t)
	for name, value := range store.HotSession {
		b.do("SET " + name + " = " + value)
	}
	b.do("PREPARE late (smallint[], text[], bigint[]) AS " + store.ReadRevision)
	plan := func() string {
		rows, err := b.owner.Query(t.Context(), "EXPLAIN EXECUTE late (NULL, NULL, NULL)")
		require.NoError(t, err)
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err)
		return strings.Join(lines, "\n")
	}
	for _, index := range []string{"Index Scan using resource_pkey", "Index Scan using revision_0_pkey", "Index Scan using revision_7_pkey"} {
		require.Contains(t, plan(), index)
	}
	require.NotContains(t, plan(), "Seq Scan on")
}
