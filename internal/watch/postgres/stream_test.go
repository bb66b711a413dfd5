package postgres

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/watch"
)

// large is SQL for a text that is stored out of line: 16 kB that do not compress.
func large(seed int) string {
	return fmt.Sprintf("(SELECT string_agg(md5((i * 31 + %d)::text), '') FROM generate_series(1, 500) i)", seed)
}

// follow starts a reader that has its snapshot behind it.
func (c *core) follow(tables ...string) (*Reader, *hand, *running) {
	c.t.Helper()
	h, r := newHand(), c.reader(nil, tables...)
	run := read(c.t, r, h)
	c.reading()
	h.mu.Lock()
	h.records = nil
	h.mu.Unlock()
	return r, h, run
}

func TestALargeValueThatAnUpdateLeftAloneIsFetched(t *testing.T) {
	t.Parallel()
	c := newCore(t, nil, "INSERT INTO payments VALUES (1, 'RCVD', "+large(1)+"), (2, 'RCVD', "+large(2)+")")
	want := ask[string](c, "SELECT note FROM payments WHERE id = 1")
	_, h, _ := c.follow()
	c.exec("UPDATE payments SET status = 'PDNG' WHERE id = 1")
	require.Equal(t, want, h.take(t, 1)[0].Values["note"])

	// Made and changed in one transaction, whose rows nobody else has seen when its log is read.
	c.exec("BEGIN; INSERT INTO payments VALUES (3, 'RCVD', " + large(3) + "); UPDATE payments SET status = 'PDNG' WHERE id = 3; COMMIT")
	rows := h.take(t, 2)
	require.Equal(t, rows[0].Values["note"], rows[1].Values["note"])
	require.Len(t, rows[1].Values["note"], 16000)

	// The row is gone when it is asked for: the value is missing, which is not null.
	c.exec("BEGIN; UPDATE payments SET status = 'PDNG' WHERE id = 2; DELETE FROM payments WHERE id = 2; COMMIT")
	rows = h.take(t, 2)
	require.Equal(t, watch.Missing{}, rows[0].Values["note"])
	require.Equal(t, "PDNG", rows[0].Values["status"])

	// The old row tells it.
	c.exec("ALTER TABLE payments REPLICA IDENTITY FULL")
	c.exec("BEGIN; UPDATE payments SET status = 'ACSC' WHERE id = 1; DELETE FROM payments WHERE id = 1; COMMIT")
	rows = h.take(t, 2)
	require.Equal(t, want, rows[0].Values["note"])
	require.Equal(t, "payments id=1", rows[0].Key)
	require.Equal(t, watch.Delete, rows[1].Op)
	require.Equal(t, want, rows[1].Values["note"], "with the full identity the whole old row is known")
}

func TestAChangedKeyIsTheEndOfTheOldRow(t *testing.T) {
	t.Parallel()
	c := newCore(t, nil, "INSERT INTO payments VALUES (1, 'RCVD', 'x')")
	_, h, _ := c.follow()
	c.exec("UPDATE payments SET id = 5 WHERE id = 1")
	require.Equal(t, []string{"delete payments id=1", "update payments id=5 note=x status=RCVD"}, briefs(h.take(t, 2)))
}

func TestATransactionOverSeveralTablesComesWholeAndInOrder(t *testing.T) {
	t.Parallel()
	c := newCore(t, nil, "CREATE SCHEMA app", `CREATE TABLE app."Consents" (a int, b text, state text, PRIMARY KEY (b, a))`, "CREATE TABLE noise (id int PRIMARY KEY)")
	c.exec("CREATE PUBLICATION " + c.slot + " FOR ALL TABLES")
	r, h, _ := c.follow("payments", "app.Consents")
	c.exec(`BEGIN; INSERT INTO app."Consents" VALUES (1, 'x', 'AWAITING'); INSERT INTO noise VALUES (1);
		INSERT INTO payments VALUES (1, 'RCVD', NULL); UPDATE app."Consents" SET state = 'CONSUMED'; COMMIT`)
	rows := h.take(t, 3)
	require.Equal(t, []string{
		"insert app.Consents a=1 b=x state=AWAITING", "insert payments id=1 note=<nil> status=RCVD", "update app.Consents a=1 b=x state=CONSUMED",
	}, briefs(rows))
	require.Equal(t, "app.Consents a=1 b=x", rows[0].Key)
	require.Equal(t, rows[0].CommittedAt, rows[2].CommittedAt)
	require.Equal(t, int64(1), r.Counts().Unlisted)
}

func TestSixtyRowsOfOneUpdateAreSixtyRecordsAtOnce(t *testing.T) {
	t.Parallel()
	c := newCore(t, nil, "INSERT INTO payments SELECT i, 'SCHD', NULL FROM generate_series(1, 60) i")
	_, h, _ := c.follow()
	c.exec("UPDATE payments SET status = 'CANC'")
	rows := h.take(t, 60)
	require.Equal(t, 60, h.largest)
	for i, r := range rows[1:] {
		require.Greater(t, r.Revision, rows[i].Revision)
	}
}

func TestALargeTransactionComesInPiecesAndIsAcknowledgedAtItsEnd(t *testing.T) {
	t.Parallel()
	const n = 50_000
	c := newCore(t, nil)
	_, h, run := c.follow()
	release := h.hold()
	c.exec("INSERT INTO payments SELECT i, 'RCVD', 'note ' || i FROM generate_series(1, $1::int) i", n)
	committed := c.lsn()
	h.await(t, "all rows", func(h *hand) bool { return len(h.records) == n })
	require.LessOrEqual(t, h.largest, mostRecords)
	h.mu.Lock()
	for _, done := range h.waiting[:len(h.waiting)-1] {
		done()
	}
	h.waiting = h.waiting[len(h.waiting)-1:]
	h.mu.Unlock()
	_ = pause(t.Context(), 300*time.Millisecond) // three status updates
	require.True(t, ask[bool](c, "SELECT confirmed_flush_lsn < $2::pg_lsn FROM pg_replication_slots WHERE slot_name = $1", c.slot, committed.String()),
		"all pieces but the last are done, and the transaction may not be acknowledged")
	require.NoError(t, run.end())

	h = newHand()
	read(t, c.reader(nil), h)
	require.Len(t, h.take(t, n), n, "what was not acknowledged is told again, wholly")
	release()
	c.caughtUp()
}

func TestNothingIsAcknowledgedThatIsNotDone(t *testing.T) {
	t.Parallel()
	c := newCore(t, nil)
	_, h, run := c.follow()
	release := h.hold()
	c.exec("INSERT INTO payments VALUES (1, 'RCVD', NULL)")
	first := h.take(t, 1)
	c.exec("CREATE TABLE noise (id int); INSERT INTO noise SELECT generate_series(1, 1000)")
	_ = pause(t.Context(), 300*time.Millisecond)
	require.NoError(t, run.end())

	h = newHand()
	run = read(t, c.reader(nil), h)
	require.Equal(t, first, h.take(t, 1), "told again, and the same")
	c.caughtUp()
	require.NoError(t, run.end())
	release() // of the first hand, much too late: nothing happens
}

func TestLogThatDoesNotConcernUsDoesNotPinTheSlot(t *testing.T) {
	t.Parallel()
	c := newCore(t, nil, "CREATE TABLE noise (id int)")
	_, h, _ := c.follow()
	for range 3 {
		c.exec("INSERT INTO noise SELECT generate_series(1, 10000)")
		c.caughtUp()
	}
	h.await(t, "no lag", func(h *hand) bool { return h.lag == 0 && h.behind == 0 })
}

func TestTheSlotIsKeptWhileTheHandIsFull(t *testing.T) {
	t.Parallel()
	const n = 20_000
	c := newCore(t, nil)
	_, h, run := c.follow()
	pid := ask[int](c, "SELECT active_pid FROM pg_replication_slots WHERE slot_name = $1", c.slot)
	full := make(chan struct{})
	free := make(chan struct{})
	first := true
	h.mu.Lock()
	h.each = func(watch.SourceRecord) {
		if first {
			first = false
			close(full)
			<-free
		}
	}
	h.mu.Unlock()
	c.exec("INSERT INTO payments SELECT i, 'RCVD', repeat('x', 1900) FROM generate_series(1, $1::int) i", n) // twice what all buffers hold
	<-full
	_ = pause(t.Context(), 2*patience+time.Second) // longer than either side's patience with a silent peer
	require.Equal(t, pid, ask[int](c, "SELECT active_pid FROM pg_replication_slots WHERE slot_name = $1", c.slot))
	close(free)
	h.await(t, "all rows", func(h *hand) bool { return len(h.records) == n })
	require.NoError(t, run.end())
}

func TestTheLagIsToldInBytesAndTime(t *testing.T) {
	t.Parallel()
	c := newCore(t, nil)
	h := newHand()
	r := c.reader(func(c *Config, _ *Options) { c.MaxLag = 1 << 20 })
	read(t, r, h)
	c.reading()
	require.NotContains(t, strings.Join(r.Health(), "\n"), "max_lag")
	release := h.hold()
	// What is held stands before the rest: while a transaction is still being written, all before its end counts as done.
	c.exec("INSERT INTO payments VALUES (0, 'RCVD', '')")
	h.await(t, "what is held", func(h *hand) bool { return len(h.records) == 1 })
	c.exec("INSERT INTO payments SELECT i, 'RCVD', repeat('x', 1000) FROM generate_series(1, 2000) i")
	h.await(t, "lag", func(h *hand) bool { return h.lag > 2_000_000 && h.behind > 1500*time.Millisecond })
	require.Contains(t, strings.Join(r.Health(), "\n"), "the server sets no bound")
	h.await(t, "an alarm", func(*hand) bool {
		return strings.Contains(strings.Join(r.Health(), "\n"), "more than max_lag (1.0 MiB)")
	})
	release()
	h.await(t, "no lag", func(h *hand) bool { return h.lag == 0 && h.behind == 0 })
	require.NotContains(t, strings.Join(r.Health(), "\n"), "max_lag")
}

func TestATableThatChangesWhileRowsFlowIsToldBeforeTheRows(t *testing.T) {
	t.Parallel()
	c := newCore(t, nil)
	_, h, _ := c.follow()
	var seen []string
	h.mu.Lock()
	h.each = func(r watch.SourceRecord) {
		var names []string
		for _, column := range h.schemas["payments"] {
			names = append(names, column.Name+":"+string(column.Type))
		}
		seen = append(seen, strings.Join(names, " ")+" | "+brief(r))
	}
	h.mu.Unlock()
	for _, statement := range []string{
		"INSERT INTO payments VALUES (1, 'A', 'x')",
		"ALTER TABLE payments ADD amount numeric DEFAULT 7",
		"UPDATE payments SET status = 'B' WHERE id = 1",
		"ALTER TABLE payments RENAME status TO state",
		"UPDATE payments SET state = 'C' WHERE id = 1",
		"ALTER TABLE payments ALTER amount TYPE int USING amount::int", // rewrites the table
		"UPDATE payments SET state = 'D' WHERE id = 1",
		"BEGIN; UPDATE payments SET state = 'E' WHERE id = 1; ALTER TABLE payments DROP note; UPDATE payments SET state = 'F' WHERE id = 1; COMMIT",
		"TRUNCATE payments",
		"INSERT INTO payments VALUES (2, 'G', 8)",
	} {
		c.exec(statement)
	}
	h.take(t, 7)
	require.Equal(t, []string{
		"id:number status:text note:text | insert payments id=1 note=x status=A",
		"id:number status:text note:text amount:text | update payments amount=7 id=1 note=x status=B",
		"id:number state:text note:text amount:text | update payments amount=7 id=1 note=x state=C",
		"id:number state:text note:text amount:number | update payments amount=7 id=1 note=x state=D",
		"id:number state:text note:text amount:number | update payments amount=7 id=1 note=x state=E",
		"id:number state:text amount:number | update payments amount=7 id=1 state=F",
		"id:number state:text amount:number | insert payments amount=8 id=2 state=G",
	}, seen)
}

func TestATruncatedTableIsCountedAndIgnored(t *testing.T) {
	t.Parallel()
	c := newCore(t, nil, "INSERT INTO payments VALUES (1, 'A', '')")
	c.exec("CREATE PUBLICATION " + c.slot + " FOR TABLE payments") // publishes truncates as well
	r, h, _ := c.follow()
	c.exec("TRUNCATE payments")
	c.exec("INSERT INTO payments VALUES (2, 'B', '')")
	require.Equal(t, []string{"insert payments id=2 note= status=B"}, briefs(h.take(t, 1)))
	require.Equal(t, int64(1), r.Counts().Truncates)
}

func TestATableThatGetsAnotherNameIsStillRead(t *testing.T) {
	t.Parallel()
	c := newCore(t, nil)
	_, h, _ := c.follow()
	c.exec("ALTER TABLE payments RENAME TO payments_2027")
	c.exec("INSERT INTO payments_2027 VALUES (1, 'A', '')")
	require.Equal(t, []string{"insert payments id=1 note= status=A"}, briefs(h.take(t, 1)))
}

func TestPartitionsAreTheirRoot(t *testing.T) {
	t.Parallel()
	for _, viaRoot := range []bool{true, false} {
		t.Run(fmt.Sprint(viaRoot), func(t *testing.T) {
			t.Parallel()
			c := newCore(t, nil, "CREATE TABLE pix (id int, month int, state text, PRIMARY KEY (id, month)) PARTITION BY LIST (month)",
				"CREATE TABLE pix_1 PARTITION OF pix FOR VALUES IN (1)", "CREATE TABLE pix_2 (state text, month int NOT NULL, id int NOT NULL)",
				"ALTER TABLE pix ATTACH PARTITION pix_2 FOR VALUES IN (2)", "INSERT INTO pix VALUES (1, 1, 'A'), (2, 2, 'A')")
			if !viaRoot {
				c.exec("CREATE PUBLICATION " + c.slot + " FOR TABLE pix")
			}
			h := newHand()
			run := read(t, c.reader(nil, "pix"), h)
			require.Len(t, h.take(t, 2), 2)
			c.reading()
			c.exec("UPDATE pix SET state = 'B'")
			rows := h.take(t, 2)
			slices.SortFunc(rows, func(a, b watch.SourceRecord) int { return strings.Compare(a.Key, b.Key) })
			require.Equal(t, []string{"update pix id=1 month=1 state=B", "update pix id=2 month=2 state=B"}, briefs(rows))
			c.exec("UPDATE pix SET month = 2 WHERE id = 1") // moves to the other partition
			rows = h.take(t, 2)
			require.Equal(t, "delete pix id=1 month=1", brief(rows[0]))
			require.Equal(t, "insert pix id=1 month=2 state=B", brief(rows[1]))
			require.Greater(t, rows[1].Revision, rows[0].Revision)
			require.NoError(t, run.end())
		})
	}
}

func TestOnlyTheColumnsOfThePublicationAreDescribed(t *testing.T) {
	t.Parallel()
	c := newCore(t, nil, "ALTER TABLE payments ADD twice bigint GENERATED ALWAYS AS (id * 2) STORED, ADD cpf text")
	if ask[int](c, "SELECT current_setting('server_version_num')::int") < 150000 {
		t.Skip("PostgreSQL 15 has lists of columns")
	}
	c.exec("CREATE PUBLICATION " + c.slot + " FOR TABLE payments (id, status)")
	c.exec("INSERT INTO payments (id, status, cpf) VALUES (1, 'A', 'secret')")
	h := newHand()
	run := read(t, c.reader(nil), h)
	require.Equal(t, []string{"snapshot payments id=1 status=A"}, briefs(h.take(t, 1)))
	require.Equal(t, []watch.Column{{Name: "id", Type: watch.Number, Key: true}, {Name: "status", Type: watch.Text}}, h.schemas["payments"])
	c.reading()
	c.exec("UPDATE payments SET status = 'B'")
	require.Equal(t, []string{"update payments id=1 status=B"}, briefs(h.take(t, 1)))
	require.Equal(t, 1, h.told)
	require.NoError(t, run.end())
}

func TestAnErrorOfTheHandEndsRead(t *testing.T) {
	t.Parallel()
	c := newCore(t, nil)
	_, h, run := c.follow()
	h.mu.Lock()
	h.refuse = errHand
	h.mu.Unlock()
	c.exec("INSERT INTO payments VALUES (1, 'A', '')")
	require.ErrorIs(t, run.wait(), errHand)
}

func TestALookupSeesWhatTheRecordSaw(t *testing.T) {
	t.Parallel()
	own := ownServer(t)
	c := newCore(t, own, "CREATE TABLE owners (id uuid PRIMARY KEY, client text)")
	r, h, run := c.follow()
	// A commit that waits for a standby is in the log, and not yet to be seen by others.
	c.exec("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
	c.exec("SELECT pg_reload_conf()")
	c.eventually("SELECT current_setting('synchronous_standby_names') = 'nobody'")
	committed := make(chan struct{})
	other := c.connect()
	const id = "6f9619ff-8b86-d011-b42d-00cf4fc964ff"
	go func() {
		defer close(committed)
		_, _ = other.Exec(t.Context(), "SELECT set_config('application_name', 'waits', false)")
		_, _ = other.Exec(t.Context(), "BEGIN; INSERT INTO owners VALUES ('"+id+"', 'itp'); INSERT INTO payments VALUES (1, 'A', ''); COMMIT")
	}()
	h.take(t, 1)
	require.Zero(t, ask[int](c, "SELECT count(*) FROM owners"), "the test needs a commit that cannot be seen")
	found := make(chan map[string]map[string]any, 1)
	go func() {
		rows, err := r.Find(t.Context(), watch.Lookup{Table: "owners", Column: "id", Keys: []string{"no uuid", id}})
		if err != nil {
			r.log.Error("Find", "error", err)
		}
		found <- rows
	}()
	// It asks whether the commit can be seen, and asks again, as it cannot.
	const asking = "SELECT max(query_start) FROM pg_stat_activity WHERE application_name = $1 AND query LIKE '%pg_visible_in_snapshot%'"
	queries := "arauto " + c.slot + " queries"
	c.eventually("SELECT EXISTS ("+asking+" HAVING max(query_start) IS NOT NULL)", queries)
	for range 2 {
		c.eventually("SELECT ("+asking+") > $2", queries, ask[time.Time](c, asking, queries))
	}
	require.Empty(t, found, "Find read the time before its record")
	c.exec("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = 'waits'")
	<-committed
	require.Equal(t, map[string]map[string]any{id: {"id": id, "client": "itp"}}, <-found)
	require.NoError(t, run.end())
	c.exec("ALTER SYSTEM RESET ALL")
	c.exec("SELECT pg_reload_conf()")
}

func TestALookupFindsByAnyTypeOfColumn(t *testing.T) {
	t.Parallel()
	c := newCore(t, nil, `INSERT INTO payments VALUES (1, 'A', 'q"\,{}'), (2, 'B', 'z')`)
	r := c.reader(nil)
	for _, l := range []watch.Lookup{
		{Table: "payments", Column: "id", Keys: []string{"1", "99"}},
		{Table: "public.payments", Column: "note", Keys: []string{`q"\,{}`}},
		{Table: "payments", Column: "id", Keys: []string{"1", "x", "99999999999999999999"}},
	} {
		found, err := r.Find(t.Context(), l)
		require.NoError(t, err)
		require.Equal(t, map[string]map[string]any{l.Keys[0]: {"id": json.Number("1"), "status": "A", "note": `q"\,{}`}}, found)
	}
	_, err := r.Find(t.Context(), watch.Lookup{Table: "nowhere", Column: "id", Keys: []string{"1"}})
	require.ErrorContains(t, err, `relation "nowhere" does not exist`)
}
