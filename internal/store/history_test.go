package store_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/notice"
)

// app opens a session as serve's role.
func (b *bench) app() *pgx.Conn {
	b.t.Helper()
	conn, err := pgx.Connect(b.t.Context(), b.url)
	require.NoError(b.t, err)
	b.t.Cleanup(func() { _ = conn.Close(context.Background()) })
	_, err = conn.Exec(b.t.Context(), "SET search_path = arauto; SET ROLE arauto_app")
	require.NoError(b.t, err)
	return conn
}

// historyTables are the tables of the history and all their partitions.
func (b *bench) historyTables() []string {
	b.t.Helper()
	rows, err := b.owner.Query(b.t.Context(), `SELECT t FROM (VALUES ('entry'), ('revision')) v(t)
UNION ALL SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent IN ('entry'::regclass, 'revision'::regclass) ORDER BY 1`)
	require.NoError(b.t, err)
	out, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(b.t, err)
	return out
}

func TestTheHistoryCanBeAddedToAndNotChangedByAnybody(t *testing.T) {
	b := newBench(t)
	for n := range 64 { // so that every partition of revision has rows: a trigger for each row needs one to speak
		b.accept(payment("itp", fmt.Sprintf("p%d", n), 1, "RCVD"))
		b.accept(payment("itp", fmt.Sprintf("p%d", n), 2, "ACSC"))
	}
	tables := b.historyTables()
	require.Greater(t, len(tables), 10)
	app := b.app()
	filled := 0
	for _, table := range tables {
		rows := one[int](b, "SELECT count(*) FROM "+table)
		column := map[bool]string{true: "outcome", false: "reason"}[one[bool](b, "SELECT count(*) = 1 FROM pg_attribute WHERE attrelid = $1::text::regclass AND attname = 'outcome'", table)]
		for _, act := range []string{"UPDATE " + table + " SET " + column + " = 'x'", "DELETE FROM " + table, "TRUNCATE " + table, "TRUNCATE " + table + " CASCADE"} {
			_, err := app.Exec(t.Context(), act)
			require.ErrorContains(t, err, "42501", "arauto_app: %s", act)
			if rows == 0 && act[0] != 'T' {
				continue // touches nothing
			}
			_, err = b.owner.Exec(t.Context(), act)
			require.ErrorContains(t, err, "42501", "owner: %s", act)
		}
		if rows > 0 {
			filled++
		}
	}
	require.Equal(t, 2+8+1, filled, "entry, revision, its eight parts and this month's")
}

func TestTheRoleOfServeCannotTakeTheHistoryApart(t *testing.T) {
	b := newBench(t)
	app := b.app()
	month := one[string](b, "SELECT min(inhrelid::regclass::text) FROM pg_inherits WHERE inhparent = 'entry'::regclass")
	for _, act := range []string{
		"DROP TABLE entry", "DROP TABLE " + month, "DROP TABLE revision", "DROP SCHEMA arauto CASCADE",
		"ALTER TABLE entry DISABLE TRIGGER append_only", "ALTER TABLE entry DETACH PARTITION " + month, "DROP TRIGGER append_only ON entry",
		"CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
		"SET session_replication_role = replica", "CREATE TABLE own ()", "DELETE FROM seal_state",
		"UPDATE keyring SET key = ''",
	} {
		_, err := app.Exec(t.Context(), act)
		require.Error(t, err, act)
	}
	require.Equal(t, 1, one[int](b, "SELECT count(*) FROM pg_trigger WHERE tgrelid = 'entry'::regclass AND tgname = 'append_only' AND tgenabled = 'O'"))
}

// old makes a month of long ago with one entry in it.
func (b *bench) old(month string) {
	b.t.Helper()
	b.do(fmt.Sprintf("CREATE TABLE entry_%s PARTITION OF entry FOR VALUES FROM ('%s-%s-01 00:00:00+00') TO ('%s-%s-28 00:00:00+00')", month, month[:4], month[4:], month[:4], month[4:]))
	b.do("INSERT INTO entry (id, at, kind, facts) VALUES (gen_random_uuid(), $1::timestamptz, 'admin', '{}')", month[:4]+"-"+month[4:]+"-02T00:00:00Z")
}

// place gives all entries a position in the log, and covers them with a checkpoint of a time; what is hashed and signed does
// not matter here.
func (b *bench) place(at string) {
	b.t.Helper()
	b.do("INSERT INTO log_position (seq, xid, id, at, leaf) SELECT (SELECT count(*) FROM log_position) + row_number() OVER (ORDER BY xid, id) - 1, xid, id, at, sha256('') FROM entry e WHERE NOT EXISTS (SELECT FROM log_position p WHERE p.id = e.id)")
	b.do("INSERT INTO log_checkpoint (size, at, note) SELECT count(*), $1::timestamptz, '' FROM log_position", at)
}

// announce announces removals and lets the announcement be sealed and anchored.
func (b *bench) announce(months ...string) {
	b.t.Helper()
	told, err := b.log.AnnounceRemovals(b.t.Context(), 5)
	require.NoError(b.t, err)
	require.Equal(b.t, months, told)
	b.place(one[string](b, "SELECT now()::text"))
	b.do("UPDATE seal_state SET anchored_through = now()")
}

func TestRetentionDropsOnlyWhatIsOldEnoughAndProven(t *testing.T) {
	b := newBench(t)
	b.old("201001")
	for _, keep := range []string{"4 years 364 days", "59 months", "0", "-10 years"} {
		_, err := b.app().Exec(t.Context(), "SELECT drop_history($1::text::interval)", keep)
		require.ErrorContains(t, err, "the floor is 5 years", keep)
		_, err = b.app().Exec(t.Context(), "SELECT announce_removal('entry_201001', 0, 0, 1, sha256(''), $1::text::interval)", keep)
		require.ErrorContains(t, err, "the floor is 5 years", keep)
	}
	told := func() []string {
		months, err := b.log.AnnounceRemovals(t.Context(), 5)
		require.NoError(t, err)
		return months
	}
	drop := func(years int) []string {
		gone, err := b.log.DropHistory(t.Context(), years)
		require.NoError(t, err)
		return gone
	}
	require.Empty(t, told(), "no position")
	require.Empty(t, drop(5))
	b.do("UPDATE seal_state SET anchored_through = now()")
	require.Empty(t, drop(5))
	b.place("2015-01-01T00:00:00Z")
	b.old("201002")
	_, err := b.app().Exec(t.Context(), "SELECT announce_removal('entry_201001', 0, 1, 2, sha256(''), '5 years')")
	require.ErrorContains(t, err, "the log has 1 entries of it from 0 to 0")
	_, err = b.app().Exec(t.Context(), "SELECT announce_removal('entry', 0, 0, 1, sha256(''), '5 years')")
	require.ErrorContains(t, err, "not a month of the history")
	require.Equal(t, []string{"entry_201001"}, told())
	b.place(one[string](b, "SELECT (now() - interval '1 minute')::text"))
	b.do("UPDATE seal_state SET anchored_through = '2010-01-15'")
	require.Empty(t, drop(5), "half of the month is anchored")
	b.do("UPDATE seal_state SET anchored_through = now() - interval '2 minutes'")
	require.Empty(t, drop(5), "the announcement is not anchored")
	b.do("UPDATE seal_state SET anchored_through = now()")
	require.Empty(t, drop(50), "not old enough for 50 years")
	b.do("INSERT INTO entry (id, at, kind, facts) VALUES (gen_random_uuid(), '2010-01-03', 'admin', '{}')")
	require.Empty(t, drop(5), "an entry without a position in the log is not proven")
	b.do("SET session_replication_role = replica")
	b.do("DELETE FROM entry_201001 WHERE at = '2010-01-03'")
	b.do("SET session_replication_role = origin")
	require.Equal(t, []string{"entry_201001"}, drop(5), "of February nothing was announced, the present months stay")
	require.Equal(t, 1, one[int](b, "SELECT count(*) FROM entry WHERE kind = 'retention' AND outcome = 'dropped' AND facts->>'partition' = 'entry_201001'"))
	b.accept(payment("itp", "p1", 1, "ACSC"))
}

func TestMonthsAreMadeAheadOnce(t *testing.T) {
	b := newBench(t)
	const months = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'entry'::regclass"
	require.Equal(t, 5, one[int](b, months), "the migration made the last month, the present one, and three ahead")
	made, err := b.store.MakeHistory(t.Context(), 3)
	require.NoError(t, err)
	require.LessOrEqual(t, made, 1, "a month may have begun since the migration")
	made, err = b.store.MakeHistory(t.Context(), 3)
	require.NoError(t, err)
	require.Zero(t, made, "they are there")
	made, err = b.store.MakeHistory(t.Context(), 5)
	require.NoError(t, err)
	require.Equal(t, 2, made)
	_, err = b.store.MakeHistory(t.Context(), 25)
	require.Error(t, err)
	_, err = b.owner.Exec(t.Context(), "TRUNCATE entry_"+one[string](b, "SELECT to_char(now() AT TIME ZONE 'UTC' + interval '5 months', 'YYYYMM')"))
	require.ErrorContains(t, err, "append-only")
}

// TestAStatementThatFailsForOneResourceFailsThatOneAlone is case F8.
func TestAStatementThatFailsForOneResourceFailsThatOneAlone(t *testing.T) {
	for _, table := range []string{"entry", "queue", "revision", "resource"} {
		t.Run(table, func(t *testing.T) {
			b := newBench(t)
			b.register("itp", "https://itp.example/hook")
			b.do("UPDATE form SET dense = false") // so that every change needs all four tables
			column := map[bool]string{true: "id", false: "resource_id"}[table == "resource"]
			b.do(`CREATE FUNCTION refuse_marked() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.` + column + ` = 'marked' THEN RAISE 'marked'; END IF; RETURN NEW; END $$`)
			b.do("CREATE TRIGGER refuse_marked BEFORE INSERT ON " + table + " FOR EACH ROW EXECUTE FUNCTION refuse_marked()")
			ids := []string{"a", "b", "marked", "x", "y", "z"}
			errs := b.acceptTogether(ids)
			for n, id := range ids {
				if id == "marked" {
					require.Error(t, errs[n])
					continue
				}
				require.NoError(t, errs[n], id)
				require.Equal(t, 1, b.entries("change", id))
			}
			for _, q := range []string{
				"SELECT count(*) FROM entry WHERE resource_id = 'marked'", "SELECT count(*) FROM stored_revision WHERE resource_id = 'marked'",
				"SELECT count(*) FROM queue WHERE resource_id = 'marked'", "SELECT count(*) FROM resource WHERE id = 'marked'",
			} {
				require.Zero(t, one[int](b, q), q)
			}
			require.Equal(t, len(ids)-1, one[int](b, "SELECT count(*) FROM queue"))
			b.do("DROP TRIGGER refuse_marked ON " + table)
			require.Equal(t, notice.Applied, b.accept(payment("itp", "marked", 1, "ACSC")).Verdict, "nothing of it was left behind")
		})
	}
}
