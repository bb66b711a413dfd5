package postgres

import (
	"errors"
	"os"
	"strings"
	"testing"

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
