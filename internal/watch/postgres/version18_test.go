package postgres

import (
	"context"
	"errors"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/temppostgres"
	"github.com/arauto/arauto/internal/watch"
)

// requirePostgres18 makes tests of what is new in PostgreSQL 18 fail rather than be skipped where it is not installed.
const requirePostgres18 = "ARAUTO_REQUIRE_POSTGRES18"

// server18 starts a PostgreSQL 18 of the test's own.
func server18(t *testing.T) *temppostgres.Server {
	t.Helper()
	s, err := temppostgres.Start(t.Context(), temppostgres.Options{Private: true, Major: 18})
	if errors.Is(err, temppostgres.ErrNone) {
		require.Empty(t, os.Getenv(requirePostgres18), "%v", err)
		t.Skip("PostgreSQL 18 is not installed (make postgres18)")
	}
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Stop()) })
	return s
}

// TestStoredGeneratedColumnsAreSeenWhereTheyArePublished reads the same table through publications that publish them, as PostgreSQL 18
// can, and through one that does not.
func TestStoredGeneratedColumnsAreSeenWhereTheyArePublished(t *testing.T) {
	t.Parallel()
	s := server18(t)
	for _, p := range []struct{ of, with, row string }{
		{of: "payments", row: "id=1 note=<nil> status=%s"},
		{of: "payments", with: " WITH (publish_generated_columns = stored)", row: "id=1 note=<nil> state=%S status=%s"},
		{of: "payments (id, state)", row: "id=1 state=%S"},
		{of: "payments (id, status)", with: " WITH (publish_generated_columns = stored)", row: "id=1 status=%s"},
	} {
		row := func(status string) string {
			return strings.NewReplacer("%s", status, "%S", strings.ToUpper(status)).Replace(p.row)
		}
		c := newCore(t, s, "ALTER TABLE payments ADD state text GENERATED ALWAYS AS (upper(status)) STORED, ADD twice bigint GENERATED ALWAYS AS (id * 2) VIRTUAL")
		c.exec("CREATE PUBLICATION " + c.slot + " FOR TABLE " + p.of + p.with)
		c.exec("INSERT INTO payments (id, status) VALUES (1, 'rcvd')")
		h := newHand()
		r := c.reader(nil)
		newest, err := r.Newest(t.Context(), "payments", 1)
		require.NoError(t, err)
		require.Equal(t, "snapshot payments "+row("rcvd"), brief(watch.SourceRecord{Op: watch.Snapshot, Table: "payments", Values: newest[0]}), "what the check shows")
		run := read(t, r, h)
		require.Equal(t, []string{"snapshot payments " + row("rcvd")}, briefs(h.take(t, 1)))
		c.reading()
		c.exec("UPDATE payments SET status = 'rjct'")
		require.Equal(t, []string{"update payments " + row("rjct")}, briefs(h.take(t, 1)))
		require.Equal(t, 1, h.told, "the stream describes the table as the catalogue does")
		require.NoError(t, run.end())
	}
}

// TestASlotThatFailsOverIsReadOnAtTheNewPrimary does what the page on PostgreSQL sources says: the slot is altered while the source is paused,
// PostgreSQL keeps it on the standby, and the source reads on there when the standby was promoted.
func TestASlotThatFailsOverIsReadOnAtTheNewPrimary(t *testing.T) {
	t.Parallel()
	primary := server18(t)
	standby, err := primary.Standby(t.Context(), "standby", "hot_standby_feedback=on", "primary_slot_name=standby", "wal_receiver_status_interval=1s")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, standby.Stop()) })
	c := newCore(t, primary, "SELECT pg_create_physical_replication_slot('standby', true)")
	both := strings.Replace(c.url, hostOf(t, c.url), hostOf(t, c.url)+","+hostOf(t, standby.URL("x")), 1) + "&target_session_attrs=read-write"
	m := &memory{}
	reader := func() *Reader {
		return c.reader(func(config *Config, o *Options) { config.URL, o.Memory = both, m })
	}
	h := newHand()
	run := read(t, reader(), h)
	c.reading()
	c.exec("INSERT INTO payments VALUES (1, 'A', '')")
	h.take(t, 1)
	c.caughtUp()
	require.NoError(t, run.end())

	repl, err := pgconn.Connect(t.Context(), c.url+"&replication=database")
	require.NoError(t, err)
	_, err = repl.Exec(t.Context(), "ALTER_REPLICATION_SLOT "+c.slot+" (FAILOVER true)").ReadAll()
	require.NoError(t, err)
	require.NoError(t, repl.Close(t.Context()))
	run = read(t, reader(), h)
	c.reading()
	c.exec("INSERT INTO payments VALUES (2, 'A', '')")
	h.take(t, 1)
	c.caughtUp()
	confirmed := ask[string](c, "SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = $1", c.slot)

	name := c.conn.Config().Database
	there := *c
	there.server, there.url = standby, standby.URL(name)
	var replica *pgx.Conn
	require.Eventually(t, func() bool { // the database comes with the log
		replica, err = pgx.Connect(t.Context(), there.url)
		return err == nil
	}, time.Minute, poll)
	there.conn = replica
	t.Cleanup(func() { _ = replica.Close(context.WithoutCancel(t.Context())) })
	require.Eventually(t, func() bool {
		c.exec("SELECT pg_log_standby_snapshot()") // what a busy primary logs by itself
		if _, err := replica.Exec(t.Context(), "SELECT pg_sync_replication_slots()"); err != nil {
			t.Log(err)
			return false
		}
		return ask[bool](&there, "SELECT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = $1 AND synced AND NOT temporary AND confirmed_flush_lsn >= $2::pg_lsn)", c.slot, confirmed)
	}, time.Minute, 50*time.Millisecond)

	require.NoError(t, primary.Kill())
	require.Error(t, run.wait())
	require.NoError(t, standby.Promote(t.Context()))
	there.exec("INSERT INTO payments VALUES (3, 'B', '')")
	run = read(t, reader(), h)
	require.Equal(t, []string{"insert payments id=3 note= status=B"}, briefs(h.take(t, 1)))
	there.caughtUp()
	require.NoError(t, run.end())
}

// hostOf is the host and port of a URL.
func hostOf(t *testing.T, text string) string {
	t.Helper()
	u, err := url.Parse(text)
	require.NoError(t, err)
	return u.Host
}
