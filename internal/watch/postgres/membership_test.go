package postgres

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pglogrepl"
	"github.com/stretchr/testify/require"
)

const (
	partitioned = "CREATE TABLE pay (id int, day date, state text, PRIMARY KEY (id, day)) PARTITION BY RANGE (day)"
	january     = "CREATE TABLE pay_1 PARTITION OF pay FOR VALUES FROM ('2027-01-01') TO ('2027-02-01')"
	february    = "CREATE TABLE pay_2 PARTITION OF pay FOR VALUES FROM ('2027-02-01') TO ('2027-03-01')"
)

// confirmed is how far the slot was confirmed.
func (c *core) confirmed() pglogrepl.LSN {
	c.t.Helper()
	at, err := pglogrepl.ParseLSN(ask[string](c, "SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = $1", c.slot))
	require.NoError(c.t, err)
	return at
}

// words are what Config.Accept takes of an error.
func words(err error) []string {
	_, list, _ := strings.Cut(err.Error(), "then set accept: [")
	list, _, _ = strings.Cut(list, "]")
	return strings.Split(list, ", ")
}

// tracked makes a reader that remembers, and follows the tables.
func (c *core) tracked(m *memory, change func(*Config, *Options), tables ...string) (*Reader, *hand, *running) {
	c.t.Helper()
	r := c.reader(func(o *Config, p *Options) {
		p.Memory = m
		if change != nil {
			change(o, p)
		}
	}, tables...)
	h := newHand()
	run := read(c.t, r, h)
	return r, h, run
}

func TestANewPartitionIsFollowed(t *testing.T) {
	t.Parallel()
	for name, publication := range map[string]string{
		"its leaves by name":     "FOR TABLE pay",
		"by its root":            "FOR TABLE pay WITH (publish_via_partition_root = true)",
		"all tables":             "FOR ALL TABLES",
		"the tables of a schema": "FOR TABLES IN SCHEMA public",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCore(t, nil, partitioned, january)
			c.exec("CREATE PUBLICATION " + c.slot + " " + publication)
			m := &memory{}
			r, h, run := c.tracked(m, nil, "pay")
			c.reading()
			c.exec("INSERT INTO pay VALUES (1, '2027-01-05', 'ACSC')")
			h.take(t, 1)
			c.exec("BEGIN; " + february + "; INSERT INTO pay VALUES (2, '2027-02-05', 'ACSC'); COMMIT") // told before it can be seen
			c.exec("CREATE TABLE pay_3 (state text, day date NOT NULL, id int NOT NULL)")
			c.exec("ALTER TABLE pay ATTACH PARTITION pay_3 FOR VALUES FROM ('2027-03-01') TO ('2027-04-01')") // empty
			c.exec("INSERT INTO pay VALUES (3, '2027-03-05', 'ACSC')")
			require.Equal(t, []string{"insert pay day=2027-02-05 id=2 state=ACSC", "insert pay day=2027-03-05 id=3 state=ACSC"}, briefs(h.take(t, 2)))
			c.caughtUp()
			require.Empty(t, r.Check(t.Context()))
			require.Zero(t, r.Counts().Unlisted)
			require.NoError(t, run.end())

			// While nobody reads: a partition that comes, another that goes with a row on its way.
			c.exec("CREATE TABLE pay_4 PARTITION OF pay FOR VALUES FROM ('2027-04-01') TO ('2027-05-01')")
			c.exec("INSERT INTO pay VALUES (4, '2027-04-05', 'ACSC'), (5, '2027-02-06', 'ACSC')")
			c.exec("DROP TABLE pay_2")
			_, h, run = c.tracked(m, nil, "pay")
			require.Equal(t, []string{"insert pay day=2027-04-05 id=4 state=ACSC", "insert pay day=2027-02-06 id=5 state=ACSC"}, briefs(h.take(t, 2)))
			c.caughtUp()
			require.NoError(t, run.end())
		})
	}
}

// gaps are changes of the core after which rows never come, or come as rows of another table.
var gaps = []struct {
	name, table, publication string
	before                   []string // what may be confirmed
	change                   []string // its first statement may not
	row                      string   // what is written afterwards
	want                     string
	away                     string // what is said at a start, which publishes what it may; "": want
	cure                     []string
	again                    string // what is read again; "": nothing but the row
}{
	{
		name: "a partition was attached with rows in it", table: "pay", publication: "FOR TABLE pay",
		before: []string{"CREATE TABLE pay_3 (id int NOT NULL, day date NOT NULL, state text)", "INSERT INTO pay_3 VALUES (3, '2027-03-05', 'RCVD')"},
		change: []string{"ALTER TABLE pay ATTACH PARTITION pay_3 FOR VALUES FROM ('2027-03-01') TO ('2027-04-01')"},
		row:    "INSERT INTO pay VALUES (4, '2027-03-06', 'ACSC')", want: "has rows that were written before it was attached to table pay",
		again: "id=3",
	},
	{
		name: "a partition was filled and attached in one transaction, published by its root", table: "pay",
		publication: "FOR TABLE pay WITH (publish_via_partition_root = true)",
		change: []string{
			`BEGIN; CREATE TABLE pay_3 (id int NOT NULL, day date NOT NULL, state text); INSERT INTO pay_3 VALUES (3, '2027-03-05', 'RCVD');
			 ALTER TABLE pay ATTACH PARTITION pay_3 FOR VALUES FROM ('2027-03-01') TO ('2027-04-01'); COMMIT`,
		},
		row: "INSERT INTO pay VALUES (4, '2027-03-06', 'ACSC')", want: "has rows that were written before it was attached to table pay",
		again: "id=3",
	},
	{
		name: "a partition is not published", table: "pay", publication: "FOR TABLE pay_1", change: []string{february},
		row: "INSERT INTO pay VALUES (4, '2027-02-06', 'ACSC')", want: `partition or child "public"."pay_2" of table pay is not in publication`,
		away: `"public"."pay_2" has rows that were written before it was attached to table pay, or before it was published`, again: "id=4",
	},
	{
		name: "a partition is unlogged", table: "pay", publication: "FOR TABLE pay",
		change: []string{"CREATE UNLOGGED TABLE pay_2 PARTITION OF pay FOR VALUES FROM ('2027-02-01') TO ('2027-03-01')"},
		row:    "INSERT INTO pay VALUES (4, '2027-02-06', 'ACSC')", want: "is unlogged",
		cure: []string{"ALTER TABLE pay_2 SET LOGGED"}, again: "id=4",
	},
	{
		name: "the table was made again, all tables", table: "payments", publication: "FOR ALL TABLES",
		change: []string{"BEGIN; DROP TABLE payments; CREATE TABLE payments (id bigint PRIMARY KEY, status text NOT NULL, note text); COMMIT"},
		row:    "INSERT INTO payments VALUES (4, 'ACSC', NULL)", want: "was made again or replaced", again: "id=4",
	},
	{
		name: "the table was made again, published by name", table: "payments", publication: "FOR TABLE payments, other",
		change: []string{"BEGIN; DROP TABLE payments; CREATE TABLE payments (id bigint PRIMARY KEY, status text NOT NULL, note text); COMMIT"},
		row:    "INSERT INTO payments VALUES (4, 'ACSC', NULL)", want: "was made again or replaced",
		cure: []string{"ALTER PUBLICATION $ ADD TABLE payments"}, again: "id=4",
	},
	{
		name: "two tables swapped their names", table: "payments", publication: "FOR ALL TABLES",
		before: []string{"CREATE TABLE payments_new (LIKE payments INCLUDING ALL)"},
		change: []string{"BEGIN; ALTER TABLE payments RENAME TO payments_old; ALTER TABLE payments_new RENAME TO payments; COMMIT"},
		row:    "INSERT INTO payments VALUES (4, 'ACSC', NULL)", want: "was made again or replaced", again: "id=4",
	},
	{
		name: "the table was dropped", table: "payments", publication: "FOR ALL TABLES", change: []string{"DROP TABLE payments"},
		row: "INSERT INTO other VALUES (1)", want: "is not there any more",
		cure: []string{"CREATE TABLE payments (id bigint PRIMARY KEY, status text NOT NULL, note text)", "INSERT INTO payments VALUES (4, 'ACSC', NULL)"}, again: "id=4",
	},
	{
		name: "the publication was set to another table", table: "payments", publication: "FOR TABLE payments",
		change: []string{"ALTER PUBLICATION $ SET TABLE other"}, row: "INSERT INTO payments VALUES (4, 'ACSC', NULL)",
		want: `"public"."payments" was taken out of publication`, again: "id=4",
	},
	{
		name: "the table was taken out of the publication and put in again", table: "payments", publication: "FOR TABLE payments",
		change: []string{"ALTER PUBLICATION $ DROP TABLE payments", "INSERT INTO payments VALUES (4, 'ACSC', NULL)", "ALTER PUBLICATION $ ADD TABLE payments"},
		row:    "INSERT INTO other VALUES (1)", want: "was taken out of publication", again: "id=4",
	},
	{
		name: "a row filter", table: "payments", publication: "FOR TABLE payments",
		change: []string{"ALTER PUBLICATION $ SET TABLE payments WHERE (id > 100)"}, row: "INSERT INTO payments VALUES (4, 'ACSC', NULL)",
		want: "row filter on", again: "id=4",
	},
	{
		name: "a child that is not published", table: "payments", publication: "FOR TABLE payments",
		change: []string{"CREATE TABLE payments_child (extra int, PRIMARY KEY (id)) INHERITS (payments)"},
		row:    "INSERT INTO payments_child VALUES (4, 'ACSC', NULL, 7)", want: `partition or child "public"."payments_child" of table payments is not in publication`,
		cure: []string{"ALTER PUBLICATION $ ADD TABLE payments_child"}, again: "id=4",
	},
}

func TestRowsThatWouldNeverComeStopTheSourceAndAreReadAgainWhenThatIsAccepted(t *testing.T) {
	for _, away := range []bool{false, true} {
		for _, g := range gaps {
			when := " while it is read"
			if away {
				when = " while nobody reads"
			}
			t.Run(g.name+when, func(t *testing.T) {
				t.Parallel() // most of it is waiting for the next comparison
				c := newCore(t, nil, partitioned, january, "CREATE TABLE other (id int PRIMARY KEY)")
				run := func(statements ...string) {
					for _, s := range statements {
						c.exec(strings.ReplaceAll(s, "$", c.slot))
					}
				}
				run("CREATE PUBLICATION $ " + g.publication)
				m := &memory{}
				r, _, running := c.tracked(m, nil, g.table)
				c.reading()
				c.caughtUp()
				if away {
					require.NoError(t, running.end())
				}
				run(g.before...)
				before := c.lsn()
				run(g.change...)
				run(g.row)
				if away {
					r, _, running = c.tracked(m, nil, g.table)
				}
				err := running.wait()
				want := g.want
				if away && g.away != "" {
					want = g.away
				}
				for errors.Is(err, errChanged) { // as a Source does
					r, _, running = c.tracked(m, nil, g.table)
					err = running.wait()
				}
				require.ErrorIs(t, err, ErrGap)
				require.ErrorContains(t, err, want)
				require.LessOrEqual(t, c.confirmed(), before, "nothing is confirmed beyond the change")
				require.True(t, r.Halted())
				require.Contains(t, strings.Join(r.Health(), "\n"), "stopped until a person decides: ")

				// It stays so, after a restart as well; check says the same.
				again, _, stopped := c.tracked(m, nil, g.table)
				err = stopped.wait()
				require.ErrorIs(t, err, ErrGap)
				require.ErrorContains(t, err, want)
				checked := again.Check(t.Context())
				require.NotEmpty(t, checked)
				require.Contains(t, fmt.Sprint(checked), want)

				if run(g.cure...); g.cure != nil { // a mended cause brings no row back
					_, _, stopped = c.tracked(m, nil, g.table)
					err = stopped.wait()
					require.ErrorIs(t, err, ErrGap)
				}
				r, h, running := c.tracked(m, func(o *Config, _ *Options) { o.Accept = words(err) }, g.table)
				h.await(t, "the rows, read again", func(h *hand) bool {
					for _, rec := range h.records {
						if rec.Op == "snapshot" && strings.Contains(rec.Key, g.again) {
							return true
						}
					}
					return false
				})
				c.reading()
				c.caughtUp()
				require.False(t, r.Halted())
				require.NoError(t, running.end())

				// It was remembered: the word is not needed any more, unless the cause is still there.
				_, _, running = c.tracked(m, func(o *Config, _ *Options) { o.Accept = words(err) }, g.table)
				c.reading()
				require.NoError(t, running.end())
			})
		}
	}
}
