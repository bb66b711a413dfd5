package postgres

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/watch"
)

func TestSettingsAreRefusedByKeyAndReason(t *testing.T) {
	good := Config{URL: "postgres://a@b/c"}
	require.NoError(t, good.complete())
	require.Equal(t, Config{
		URL: "postgres://a@b/c", Publication: "arauto", Slot: "arauto", Snapshot: Never, MaxLag: 1 << 30, StatusInterval: time.Second, FastLane: 750 * time.Millisecond,
	}, good)
	for want, change := range map[string]func(*Config){
		"url, url_file":       func(c *Config) { c.URLFile = "x" },
		"slot:":               func(c *Config) { c.Slot = "Ärger" },
		"publication:":        func(c *Config) { c.Publication = `a"b` },
		"snapshot: \"often\"": func(c *Config) { c.Snapshot = "often" },
		"needs create: true":  func(c *Config) { c.Snapshot = Initial },
		"max_lag:":            func(c *Config) { c.MaxLag = 7 },
		"status_interval:":    func(c *Config) { c.StatusInterval = 3 * time.Second },
		"fast_lane:":          func(c *Config) { c.FastLane = time.Millisecond },
	} {
		c := good
		change(&c)
		require.ErrorContains(t, c.complete(), want)
	}
	c := Config{URL: "postgres://u:geheim@[::1"}
	_, err := c.connection()
	require.ErrorContains(t, err, "url: not a connection URL")
	require.NotContains(t, err.Error(), "geheim")
	file := filepath.Join(t.TempDir(), "url")
	require.NoError(t, os.WriteFile(file, []byte("postgres://u:geheim@h:1/d\n"), 0o600))
	c = Config{URLFile: file}
	parsed, err := c.connection()
	require.NoError(t, err)
	require.Equal(t, "geheim", parsed.Password)
}

func TestSizesAreRead(t *testing.T) {
	for text, want := range map[string]Size{"7": 7, "1GiB": 1 << 30, "512MiB": 512 << 20, "5kB": 5000, "5 KiB": 5120, "2T": 2e12} {
		var s Size
		require.NoError(t, s.UnmarshalText([]byte(text)), text)
		require.Equal(t, want, s, text)
	}
	for _, text := range []string{"", "x", "-1", "1iB", "99999999999GiB", "1.5GiB"} {
		var s Size
		require.Error(t, s.UnmarshalText([]byte(text)), text)
	}
	require.Equal(t, "1.5 GiB", Size(3<<29).String())
	require.Equal(t, "7 bytes", Size(7).String())
}

func TestWithoutTheRightToCreateAnErrorSaysWhatToRun(t *testing.T) {
	t.Parallel()
	c := newCore(t, nil, "CREATE TABLE more (id int PRIMARY KEY)")
	dba := func(c *Config, _ *Options) { c.Create, c.Snapshot = false, "" }
	h := newHand()
	for range 3 { // each time, the statement of the error is run
		err := c.reader(dba, "payments", "more").Read(t.Context(), h)
		require.ErrorContains(t, err, "run: ")
		checked := c.reader(dba, "payments", "more").Check(t.Context())
		require.NotEmpty(t, checked)
		_, statement, _ := strings.Cut(err.Error(), "run: ")
		c.exec(statement)
		if strings.Contains(statement, "CREATE PUBLICATION") {
			c.exec("ALTER PUBLICATION " + c.slot + " DROP TABLE more")
		}
	}
	require.Empty(t, c.reader(dba, "payments", "more").Check(t.Context()))
	run := read(t, c.reader(dba, "payments", "more"), h)
	c.reading()
	c.exec("INSERT INTO more VALUES (1)")
	require.Equal(t, []string{"insert more id=1"}, briefs(h.take(t, 1)))
	require.NoError(t, run.end())
}

// TestACoreOfSeveralHostsIsReadAtItsPrimary: the URL asks for a server that can be written, although we write nothing there.
func TestACoreOfSeveralHostsIsReadAtItsPrimary(t *testing.T) {
	t.Parallel()
	c := newCore(t, nil)
	several := func(c *Config, _ *Options) {
		c.URL = strings.Replace(c.URL, "@", "@127.0.0.1:1,", 1)
		separator := "?"
		if strings.Contains(c.URL, "?") {
			separator = "&"
		}
		c.URL += separator + "target_session_attrs=read-write"
	}
	r := c.reader(several, "payments")
	require.Empty(t, r.Check(t.Context()))
	pool, err := r.pool(t.Context())
	require.NoError(t, err)
	_, err = pool.Exec(t.Context(), "CREATE TABLE ours (id int)")
	require.Equal(t, "25006", code(err), "our own connections write nothing: %v", err)
	h := newHand()
	run := read(t, r, h)
	c.reading()
	c.exec("CREATE TABLE another (id int PRIMARY KEY)") // the catalogue is looked at
	require.NoError(t, run.end())
}

// TestTheNewestRowsOfATableAreShownAsTheStreamTellsThem, of a plain table and of one with partitions.
func TestTheNewestRowsOfATableAreShownAsTheStreamTellsThem(t *testing.T) {
	t.Parallel()
	c := newCore(t, nil, "CREATE TABLE plain (id int PRIMARY KEY, at timestamptz, sum numeric(12,2), doc jsonb, twice int GENERATED ALWAYS AS (id * 2) STORED)",
		"CREATE TABLE parted (id int, day date, PRIMARY KEY (id, day)) PARTITION BY RANGE (day)",
		"CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM ('2026-01-01') TO ('2026-02-01')",
		"CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM ('2026-02-01') TO ('2026-03-01')",
		"CREATE TABLE nothing_yet (id int PRIMARY KEY)")
	r := c.reader(nil, "plain", "parted", "nothing_yet")
	rows, err := r.Newest(t.Context(), "nothing_yet", 5)
	require.NoError(t, err)
	require.Empty(t, rows)
	c.exec("INSERT INTO plain SELECT n, '2026-11-21T09:00:00-03:00', n, '{\"a\": [1]}' FROM generate_series(1, 30000) n") // more pages than are looked at
	c.exec("UPDATE plain SET sum = 7.5 WHERE id = 30000")
	rows, err = r.Newest(t.Context(), "plain", 3)
	require.NoError(t, err)
	require.Len(t, rows, 3)
	require.Equal(t, map[string]any{"id": json.Number("30000"), "at": "2026-11-21T12:00:00Z", "sum": "7.50", "doc": map[string]any{"a": []any{json.Number("1")}}}, rows[0])
	c.exec("INSERT INTO parted VALUES (1, '2026-01-05')")
	rows, err = r.Newest(t.Context(), "parted", 3)
	require.NoError(t, err)
	require.Equal(t, []map[string]any{{"id": json.Number("1"), "day": "2026-01-05"}}, rows)
	c.exec("INSERT INTO parted VALUES (2, '2026-02-05')")
	rows, err = r.Newest(t.Context(), "parted", 1)
	require.NoError(t, err)
	require.Equal(t, []map[string]any{{"id": json.Number("2"), "day": "2026-02-05"}}, rows)
	c.exec("DELETE FROM plain WHERE id > 100") // nothing is left in the last pages
	rows, err = r.Newest(t.Context(), "plain", 2)
	require.NoError(t, err)
	require.Len(t, rows, 2)
	_, err = r.Newest(t.Context(), "no_such", 2)
	require.ErrorContains(t, err, "does not exist")
}

func TestATableWithoutAKeyIsNotPublishedSinceThatWouldBreakTheCore(t *testing.T) {
	t.Parallel()
	c := newCore(t, nil, "CREATE TABLE keyless (id int)", "CREATE TABLE nothing (id int PRIMARY KEY)", "ALTER TABLE nothing REPLICA IDENTITY NOTHING")
	r := c.reader(nil, "payments", "keyless", "nothing")
	err := r.Read(t.Context(), newHand())
	require.ErrorContains(t, err, "keyless has no primary key")
	require.ErrorContains(t, err, "nothing has no primary key")
	require.Len(t, r.Check(t.Context()), 2)
	require.Zero(t, ask[int](c, "SELECT count(*) FROM pg_publication"))
	c.exec("INSERT INTO keyless VALUES (1)")
	c.exec("UPDATE keyless SET id = 2")
}

func TestATableThatIsNotThereKeepsNoOtherFromBeingRead(t *testing.T) {
	t.Parallel()
	c := newCore(t, nil, "INSERT INTO payments VALUES (1, 'A', '')")
	h := newHand()
	r := c.reader(nil, "payments", "nowhere")
	run := read(t, r, h)
	h.take(t, 1)
	require.Contains(t, h.schemas, "nowhere")
	require.Nil(t, h.schemas["nowhere"])
	require.ErrorContains(t, r.Check(t.Context())[0], "table nowhere does not exist")
	require.NoError(t, run.end())
}

// role makes a role without rights, and a reader of its own.
func (c *core) role() (name string, as func(*Config, *Options)) {
	c.t.Helper()
	name = c.slot + "_reader"
	c.exec("CREATE ROLE " + name + " LOGIN PASSWORD 'x'")
	c.t.Cleanup(func() {
		_, err := c.conn.Exec(context.WithoutCancel(c.t.Context()), "DROP OWNED BY "+name+"; DROP ROLE "+name)
		require.NoError(c.t, err)
	})
	return name, func(o *Config, _ *Options) {
		parsed := strings.SplitN(c.url, "@", 2)
		o.URL = "postgres://" + name + ":x@" + parsed[1]
	}
}

// TestACoreThatChecksNoTextIsRefused: its server sends the stream no row with a text that is not UTF-8, and never goes on.
func TestACoreThatChecksNoTextIsRefused(t *testing.T) {
	t.Parallel()
	c := newCore(t, nil)
	name := c.slot + "_ascii"
	c.exec("CREATE DATABASE " + name + " ENCODING 'SQL_ASCII' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
	t.Cleanup(func() {
		_, err := c.conn.Exec(context.WithoutCancel(t.Context()), "DROP DATABASE "+name+" WITH (FORCE)")
		require.NoError(t, err)
	})
	r := c.reader(func(o *Config, _ *Options) { o.URL = c.server.URL(name) })
	var found []string
	for _, err := range r.Check(t.Context()) {
		found = append(found, err.Error())
	}
	require.Contains(t, strings.Join(found, "\n"), "the encoding of the database is SQL_ASCII")
	require.Contains(t, strings.Join(found, "\n"), "UTF8")
	require.ErrorIs(t, read(t, r, newHand()).wait(), errChecksNoText, "what the check refuses is not read")
	for _, err := range c.reader(nil).Check(t.Context()) {
		require.NotContains(t, err.Error(), "encoding")
	}
}

func TestTheRightsToPublishAndToLookUpAreChecked(t *testing.T) {
	t.Parallel()
	c := newCore(t, nil, "CREATE TABLE owners (id int PRIMARY KEY)")
	role, as := c.role()
	c.exec("ALTER ROLE " + role + " REPLICATION; GRANT SELECT ON payments TO " + role)
	r := c.reader(func(o *Config, p *Options) { as(o, p); p.Joined = []string{"owners", "payments", "nowhere"} })
	lacks := func() (all []string) {
		for _, err := range r.Check(t.Context()) {
			before, after, _ := strings.Cut(err.Error(), ": ")
			require.NotEmpty(t, after, "each says what would be right")
			all = append(all, strings.ReplaceAll(before, c.slot, "P"))
		}
		return all
	}
	const lookUp = `the role may not read owners`
	const publish = "the role may not publish payments, which is another's"
	require.Equal(t, []string{"the role may not make publication P", publish, lookUp}, lacks())
	require.Error(t, r.Read(t.Context(), newHand()), "the test needs a Read that cannot do without")
	c.exec("GRANT SELECT ON owners TO " + role)
	c.exec("GRANT CREATE ON DATABASE " + c.slot + " TO " + role)
	require.Equal(t, []string{publish}, lacks())
	c.exec("CREATE PUBLICATION " + c.slot)
	require.Equal(t, []string{"the role may not change publication P, which is another's", publish}, lacks())
	c.exec("ALTER PUBLICATION " + c.slot + " OWNER TO " + role)
	require.Equal(t, []string{publish}, lacks())
	c.exec("ALTER TABLE payments OWNER TO " + role)
	require.Empty(t, lacks())
	run := read(t, r, newHand())
	c.reading()
	require.NoError(t, run.end())
	c.exec("ALTER TABLE payments OWNER TO CURRENT_USER; ALTER PUBLICATION " + c.slot + " OWNER TO CURRENT_USER")
}

func TestRightsThatAreMissingAreNamed(t *testing.T) {
	t.Parallel()
	c := newCore(t, nil)
	role, as := c.role()
	r := c.reader(as)
	var all []string
	for _, err := range r.Check(t.Context()) {
		all = append(all, err.Error())
	}
	require.Contains(t, strings.Join(all, "\n"), "GRANT SELECT")
	require.Contains(t, strings.Join(all, "\n"), "REPLICATION")
	c.exec("ALTER ROLE " + role + " REPLICATION; GRANT SELECT ON payments TO " + role)
	c.exec("CREATE PUBLICATION " + c.slot + " FOR TABLE payments")
	c.exec("INSERT INTO payments VALUES (1, 'A', '')")
	require.Empty(t, r.Check(t.Context()))
	h := newHand()
	run := read(t, r, h)
	h.take(t, 1)
	c.reading()
	c.exec("INSERT INTO payments VALUES (2, 'A', '')")
	h.take(t, 1)
	require.NoError(t, run.end())
	require.Empty(t, r.Check(t.Context()), "REPLICATION and SELECT are all it takes")
}

func TestASnapshotThatWasCutOffIsBegunAgain(t *testing.T) {
	t.Parallel()
	c := newCore(t, nil, "INSERT INTO payments SELECT i, 'A', '' FROM generate_series(1, 1000) i")
	h := newHand()
	release := h.hold()
	run := read(t, c.reader(nil), h)
	h.await(t, "the snapshot", func(h *hand) bool { return len(h.records) == 1000 })
	require.False(t, ask[bool](c, "SELECT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = $1)", c.slot), "nothing is committed on our side")
	require.NoError(t, run.end())
	release()
	first := h.take(t, 1000)

	c.exec("UPDATE payments SET status = 'B' WHERE id = 7")
	h = newHand()
	run = read(t, c.reader(nil), h)
	second := h.take(t, 1000)
	require.Greater(t, second[0].Revision, first[0].Revision)
	require.Equal(t, "snapshot payments id=7 note= status=B", brief(second[6]))
	require.LessOrEqual(t, h.largest, mostRecords)
	c.reading()
	require.Equal(t, 1, ask[int](c, "SELECT count(*) FROM pg_replication_slots WHERE database = current_database()"))
	require.NoError(t, run.end())

	h = newHand()
	run = read(t, c.reader(nil), h)
	c.reading()
	c.exec("INSERT INTO payments VALUES (0, 'last', '')")
	require.Equal(t, []string{"insert payments id=0 note= status=last"}, briefs(h.take(t, 1)), "the snapshot is not read again")
	require.NoError(t, run.end())
}

func TestARemnantOfASnapshotIsRemoved(t *testing.T) {
	t.Parallel()
	c := newCore(t, nil)
	_, _, run := c.follow()
	require.NoError(t, run.end())
	c.exec("SELECT pg_create_logical_replication_slot($1, 'pgoutput')", loading(c.slot)) // died between copy and drop
	_, _, run = c.follow()
	require.NoError(t, run.end())
	require.Equal(t, 1, ask[int](c, "SELECT count(*) FROM pg_replication_slots WHERE database = current_database()"))
}

func TestASlotThatDisappearedIsNotMadeAnewInSilence(t *testing.T) {
	t.Parallel()
	c := newCore(t, nil, "INSERT INTO payments VALUES (1, 'A', '')")
	m := &memory{}
	with := func(snapshot string) *Reader {
		return c.reader(func(c *Config, o *Options) { c.Snapshot, o.Memory = snapshot, m })
	}
	h := newHand()
	run := read(t, with(""), h)
	first := h.take(t, 1)
	c.reading()
	c.caughtUp()
	require.NoError(t, run.end())
	c.exec("SELECT pg_drop_replication_slot($1)", c.slot)

	run = read(t, with(Initial), h)
	err := run.wait()
	require.ErrorIs(t, err, ErrLost)
	require.ErrorContains(t, err, "does not exist any more")
	require.ErrorContains(t, err, "snapshot: again")
	require.ErrorIs(t, with(Never).Check(t.Context())[0], ErrLost)
	require.Empty(t, with(Again).Check(t.Context()))

	run = read(t, with(Again), h)
	again := h.take(t, 1)
	require.Greater(t, again[0].Revision, first[0].Revision)
	require.Equal(t, first[0].Values, again[0].Values)
	c.reading()
	require.NoError(t, run.end())

	run = read(t, with(Again), h) // left in the settings: nothing happens
	c.reading()
	c.exec("INSERT INTO payments VALUES (2, 'B', '')")
	require.Equal(t, []string{"insert payments id=2 note= status=B"}, briefs(h.take(t, 1)))
	require.NoError(t, run.end())
}

func TestASlotThatFellTooFarBehindIsLostAndSaysSo(t *testing.T) {
	t.Parallel()
	own := ownServer(t)
	c := newCore(t, own)
	r, _, run := c.follow()
	require.NoError(t, run.end())
	c.exec("ALTER SYSTEM SET max_slot_wal_keep_size = '160MB'")
	c.exec("SELECT pg_reload_conf()")
	c.eventually("SELECT current_setting('max_slot_wal_keep_size') = '160MB'")
	fill := func() {
		c.exec("INSERT INTO payments SELECT i, 'A', repeat(md5(i::text), 30) FROM generate_series(1, 2000) i")
		c.exec("TRUNCATE payments")
		c.exec("SELECT pg_switch_wal()")
	}
	for warned := false; !warned; fill() {
		v, err := r.look(t.Context(), c.slot)
		require.NoError(t, err)
		warned = strings.Contains(strings.Join(r.config.dangers(c.slot, v, 0), "\n"), "will be lost after")
		require.Contains(t, []string{"reserved", "extended"}, v.status, "the alarm comes before the danger")
	}
	for range 8 {
		fill()
	}
	c.exec("CHECKPOINT")
	c.eventually("SELECT wal_status = 'lost' FROM pg_replication_slots WHERE slot_name = $1", c.slot)

	h := newHand()
	err := read(t, r, h).wait()
	require.ErrorIs(t, err, ErrLost)
	require.ErrorContains(t, err, "max_slot_wal_keep_size")
	require.ErrorIs(t, r.Check(t.Context())[0], ErrLost)

	c.exec("INSERT INTO payments VALUES (1, 'A', '')")
	again := c.reader(func(c *Config, _ *Options) { c.Snapshot = Again })
	require.Empty(t, again.Check(t.Context()))
	run = read(t, again, h)
	require.Equal(t, []string{"snapshot payments id=1 note= status=A"}, briefs(h.take(t, 1)))
	c.reading()
	require.NoError(t, run.end())
}

func TestAnotherDatabaseIsRefusedUntilTheGenerationIsRaised(t *testing.T) {
	t.Parallel()
	c := newCore(t, nil, "INSERT INTO payments VALUES (1, 'A', '')")
	m := &memory{}
	at := func(generation int64) *Reader {
		return c.reader(func(_ *Config, o *Options) { o.Memory, o.Generation = m, generation })
	}
	h := newHand()
	run := read(t, at(0), h)
	h.take(t, 1)
	c.reading()
	require.NoError(t, run.end())
	change := func(edit func(*note)) {
		var n note
		require.NoError(t, json.Unmarshal(m.note, &n))
		edit(&n)
		m.note, _ = json.Marshal(n)
	}
	good := m.note
	for want, edit := range map[string]func(*note){
		"it was database " + c.slot + " of cluster 7": func(n *note) { n.System = "7" },
		"it was database other of":                    func(n *note) { n.Database = "other" },
		"it was at FF/0 and is at":                    func(n *note) { n.Position = "FF/0" },
	} {
		m.note = good
		change(edit)
		err := read(t, at(0), h).wait()
		require.ErrorIs(t, err, ErrOther)
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, "generation")
		require.ErrorIs(t, at(0).Check(t.Context())[0], ErrOther)
	}
	run = read(t, at(1), h)
	c.reading()
	require.NoError(t, run.end())
	change(func(n *note) { require.Equal(t, int64(1), n.Generation) })
	run = read(t, at(1), h)
	c.reading()
	require.NoError(t, run.end())
}

func TestATimelineThatForkedBeforeOurPositionIsAnotherDatabase(t *testing.T) {
	history := []byte("1\t0/5000000\tno recovery target specified\n\n2\t0/9000000\tbefore 2026\n")
	require.Equal(t, pglogrepl.LSN(0x5000000), forked(history, 1))
	require.Equal(t, pglogrepl.LSN(0x9000000), forked(history, 2))
	require.Zero(t, forked(history, 3))
	require.Zero(t, forked([]byte("nonsense\nx y z"), 1))
}

func TestOfTwoReplicasOneReads(t *testing.T) {
	t.Parallel()
	c := newCore(t, nil, "INSERT INTO payments SELECT i, 'A', '' FROM generate_series(1, 10) i")
	h := newHand()
	release := h.hold()
	run := read(t, c.reader(nil), h)
	h.await(t, "the snapshot", func(h *hand) bool { return len(h.records) == 10 })
	require.ErrorIs(t, c.reader(nil).Read(t.Context(), newHand()), watch.ErrElsewhere, "while the snapshot is read")
	release()
	c.reading()
	require.ErrorIs(t, c.reader(nil).Read(t.Context(), newHand()), watch.ErrElsewhere, "while the stream is read")
	require.NoError(t, run.end())
}

func TestASlotThatSomebodyElseReadsIsLeftAlone(t *testing.T) {
	t.Parallel()
	c := newCore(t, nil)
	_, _, run := c.follow()
	require.NoError(t, run.end())
	other := c.reader(nil)
	connection, err := other.replication(t.Context())
	require.NoError(t, err)
	defer closeConnection(connection)
	require.NoError(t, pglogrepl.StartReplication(t.Context(), connection, c.slot, 0, pglogrepl.StartReplicationOptions{
		PluginArgs: []string{"proto_version '1'", "publication_names '" + c.slot + "'"},
	}))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { // a stranger that shows signs of life without holding our lease
		for ctx.Err() == nil {
			_ = pglogrepl.SendStandbyStatusUpdate(ctx, connection, pglogrepl.StandbyStatusUpdate{WALWritePosition: 1})
			_ = pause(ctx, time.Second)
		}
	}()
	require.ErrorIs(t, c.reader(nil).Read(t.Context(), newHand()), watch.ErrElsewhere)
}

func TestAPromotionThatHadEverythingGoesOnAndOneThatLaggedIsRefused(t *testing.T) {
	t.Parallel()
	own := ownServer(t)
	c := newCore(t, own)
	m := &memory{}
	reader := func() *Reader { return c.reader(func(_ *Config, o *Options) { o.Memory = m }) }
	h := newHand()
	run := read(t, reader(), h)
	c.reading()
	c.exec("INSERT INTO payments VALUES (1, 'A', '')")
	h.take(t, 1)
	c.caughtUp()
	require.NoError(t, run.end())

	// Recovery to the end of the log begins a new timeline, as a promotion does.
	c.exec("ALTER SYSTEM SET restore_command = 'false'")
	signal := filepath.Join(own.DataDir(), "recovery.signal")
	require.NoError(t, own.Kill())
	require.NoError(t, os.WriteFile(signal, nil, 0o600))
	require.NoError(t, os.Chmod(signal, 0o666)) // the server runs under another account
	require.NoError(t, own.Restart(t.Context()))
	c.conn = c.connect()
	c.eventually("SELECT NOT pg_is_in_recovery()")
	c.exec("INSERT INTO payments VALUES (2, 'B', '')")
	before := m.note
	run = read(t, reader(), h)
	require.Equal(t, []string{"insert payments id=2 note= status=B"}, briefs(h.take(t, 1)))
	c.caughtUp()
	require.NoError(t, run.end())
	var n note
	require.NoError(t, json.Unmarshal(m.note, &n))
	require.Equal(t, int32(2), n.Timeline)

	// The same history, had we read further on the first timeline than the second took over.
	require.NoError(t, json.Unmarshal(before, &n))
	require.Equal(t, int32(1), n.Timeline)
	n.Position = c.lsn().String()
	m.note, _ = json.Marshal(n)
	err := read(t, reader(), h).wait()
	require.ErrorIs(t, err, ErrOther)
	require.ErrorContains(t, err, "goes another way since")
}
