package postgres

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestRowsOfARelationThatIsGoneAreNotConfirmedWhenItMayHaveBeenAPartition(t *testing.T) {
	t.Parallel()
	c := newCore(t, nil, partitioned, january)
	c.exec("CREATE PUBLICATION " + c.slot + " FOR ALL TABLES")
	m := &memory{}
	_, _, run := c.tracked(m, nil, "pay")
	c.reading()
	c.caughtUp()
	require.NoError(t, run.end())

	c.exec("CREATE TABLE draft (id int PRIMARY KEY)")
	c.exec("INSERT INTO draft VALUES (1)")
	c.exec("DROP TABLE draft") // has not the columns: it cannot have been a partition
	c.exec(february)
	before := c.lsn()
	c.exec("INSERT INTO pay VALUES (2, '2027-02-05', 'ACSC')")
	c.exec("DROP TABLE pay_2")
	c.exec("INSERT INTO pay VALUES (1, '2027-01-05', 'ACSC')")
	r, _, run := c.tracked(m, nil, "pay")
	err := run.wait()
	require.ErrorIs(t, err, ErrGap)
	require.ErrorContains(t, err, `rows came of "public"."pay_2"`)
	require.LessOrEqual(t, c.confirmed(), before)
	require.True(t, r.Halted())
	require.Equal(t, int64(1), r.Counts().Unlisted, "the row of draft")

	r, h, run := c.tracked(m, func(o *Config, _ *Options) { o.Accept = words(err) }, "pay")
	require.Equal(t, []string{"snapshot pay day=2027-01-05 id=1 state=ACSC", "insert pay day=2027-01-05 id=1 state=ACSC"}, briefs(h.take(t, 2)),
		"the table is read again, as the error promises, and the stream goes on")
	c.caughtUp()
	require.NoError(t, run.end())
	require.Equal(t, int64(1), r.Counts().Unlisted, "the row that was accepted; draft's is confirmed")
}

func TestAFindingThatAPersonAcceptsLetsTheSameReaderGoOn(t *testing.T) {
	t.Parallel()
	c := newCore(t, nil, partitioned, january)
	c.exec("CREATE PUBLICATION " + c.slot + " FOR ALL TABLES")
	m := &memory{}
	_, _, run := c.tracked(m, nil, "pay")
	c.reading()
	c.caughtUp()
	require.NoError(t, run.end())
	c.exec(february)
	c.exec("INSERT INTO pay VALUES (2, '2027-02-05', 'ACSC')")
	c.exec("DROP TABLE pay_2")
	c.exec("INSERT INTO pay VALUES (1, '2027-01-05', 'ACSC')")
	var accepted atomic.Pointer[[]string]
	r, _, run := c.tracked(m, func(_ *Config, o *Options) {
		o.Accepted = func(context.Context) ([]string, error) {
			if codes := accepted.Load(); codes != nil {
				return *codes, nil
			}
			return nil, nil
		}
	}, "pay")
	err := run.wait()
	require.ErrorIs(t, err, ErrGap)
	found := r.Findings()
	require.Len(t, found, 1)
	require.Equal(t, []string{found[0].Code}, words(err))
	require.Contains(t, found[0].Text, `rows came of "public"."pay_2"`)

	accepted.Store(&[]string{"00000000"})
	require.ErrorIs(t, read(t, r, newHand()).wait(), ErrGap, "another finding's code lets nothing pass")
	accepted.Store(&[]string{found[0].Code})
	h := newHand()
	run = read(t, r, h)
	require.Equal(t, []string{"snapshot pay day=2027-01-05 id=1 state=ACSC", "insert pay day=2027-01-05 id=1 state=ACSC"}, briefs(h.take(t, 2)),
		"the table is read again, and the stream goes on")
	c.caughtUp()
	require.Eventually(t, func() bool { return !r.Halted() }, time.Minute, 20*time.Millisecond, "the next comparison finds that the stream is past it")
	require.NoError(t, run.end())
	require.Empty(t, r.Findings())
	require.Empty(t, r.Check(t.Context()))
}

// What stopped the source is in no catalogue any more: the check knows it of the note alone.
func TestTheCheckListsWhatOnlyTheStreamTold(t *testing.T) {
	t.Parallel()
	c := newCore(t, nil, partitioned, january)
	m := &memory{}
	_, _, run := c.tracked(m, nil, "pay")
	c.reading()
	c.caughtUp()
	require.NoError(t, run.end())
	c.exec(february)
	c.exec("INSERT INTO pay VALUES (2, '2027-02-05', 'ACSC')")
	c.exec("ALTER TABLE pay DETACH PARTITION pay_2")
	c.exec("DROP TABLE pay_2")
	fresh := func(change func(*Config, *Options)) *Reader {
		return c.reader(func(o *Config, p *Options) {
			p.Memory = m
			if change != nil {
				change(o, p)
			}
		}, "pay")
	}
	require.Empty(t, fresh(nil).Check(t.Context()), "nobody knows yet")
	r, h, run := c.tracked(m, nil, "pay")
	err := run.wait()
	require.ErrorIs(t, err, ErrGap)
	require.True(t, r.Halted())
	for _, one := range []*Reader{r, fresh(nil)} {
		found := one.Check(t.Context())
		require.Len(t, found, 1)
		require.ErrorIs(t, found[0], ErrGap)
		require.Equal(t, words(err), words(found[0]))
		require.ErrorContains(t, found[0], `rows came of "public"."pay_2"`)
		require.ErrorContains(t, found[0], "Mend the cause, then set accept: [")
	}
	require.Empty(t, h.records)
	_, _, run = c.tracked(m, nil, "pay")
	again := run.wait()
	require.ErrorIs(t, again, ErrGap, "it stays stopped")
	require.Equal(t, words(err), words(again))
	accept := func(o *Config, _ *Options) { o.Accept = words(err) }
	require.Empty(t, fresh(accept).Check(t.Context()))
	_, _, run = c.tracked(m, accept, "pay")
	c.reading()
	c.caughtUp()
	require.NoError(t, run.end())
	_, _, run = c.tracked(m, nil, "pay")
	c.reading()
	require.NoError(t, run.end())
	require.Empty(t, fresh(nil).Check(t.Context()), "what was accepted and passed is over")
}

// While a reader is halted, what waits was handed to nobody: how old it is must not be told as 0.
func TestTheAgeOfWhatWaitsIsUnknownWhileHalted(t *testing.T) {
	r, err := New(Config{URL: "postgres://127.0.0.1:1/x", Slot: "s", Publication: "s"}, Options{Tables: []string{"pay"}, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	h := newHand()
	s := &session{Reader: r, to: h}
	l := newLane(r, nil)
	told := func() (int64, time.Duration) {
		s.report("s", vital{now: time.Now(), end: 24000, confirmed: 64}, time.Now(), l)
		return h.lag, h.behind
	}
	r.state.halt(&stop{500, ErrGap})
	lag, behind := told()
	require.EqualValues(t, 23936, lag)
	require.Negative(t, behind)
	r.state.steady(501, nil)
	_, behind = told()
	require.Zero(t, behind)
}

// A partition that was taken off and comes back explains what the stream told: nobody is asked.
func TestARelationThatIsAPartAgainIsNoGap(t *testing.T) {
	t.Parallel()
	c := newCore(t, nil, partitioned, january)
	m := &memory{}
	_, _, run := c.tracked(m, nil, "pay")
	c.reading()
	c.caughtUp()
	require.NoError(t, run.end())
	c.exec(february)
	c.exec("INSERT INTO pay VALUES (2, '2027-02-05', 'ACSC')")
	c.exec("ALTER TABLE pay DETACH PARTITION pay_2")
	_, _, run = c.tracked(m, nil, "pay")
	require.ErrorContains(t, run.wait(), `rows came of "public"."pay_2"`)
	require.Len(t, c.reader(func(_ *Config, o *Options) { o.Memory = m }, "pay").Check(t.Context()), 1)
	c.exec("DELETE FROM pay_2") // what it has now would be rows from before it was a part
	c.exec("ALTER TABLE pay ATTACH PARTITION pay_2 FOR VALUES FROM ('2027-02-01') TO ('2027-03-01')")
	require.Empty(t, c.reader(func(_ *Config, o *Options) { o.Memory = m }, "pay").Check(t.Context()))
	_, h, run := c.tracked(m, nil, "pay")
	require.Equal(t, "insert pay day=2027-02-05 id=2 state=ACSC", briefs(h.take(t, 1))[0])
	c.reading()
	require.NoError(t, run.end())
}

func TestATruncateOfTheTableOfClientsStopsTheSource(t *testing.T) {
	t.Parallel()
	c := newCore(t, nil, "INSERT INTO payments VALUES (1, 'A', '')")
	m := &memory{}
	erasing := func(_ *Config, o *Options) { o.Erasing = []string{"payments"} }
	_, h, run := c.tracked(m, erasing)
	h.take(t, 1)
	c.reading()
	before := c.lsn()
	c.exec("TRUNCATE payments") // the publication that we make tells it
	err := run.wait()
	require.ErrorIs(t, err, ErrGap)
	require.ErrorContains(t, err, "table payments was truncated")
	require.LessOrEqual(t, c.confirmed(), before)
	found := c.reader(func(o *Config, p *Options) { erasing(o, p); p.Memory = m }).Check(t.Context())
	require.Len(t, found, 1, "it is listed, though the catalogue does not tell it")
	require.ErrorContains(t, found[0], "table payments was truncated")
	_, h, run = c.tracked(m, func(o *Config, p *Options) { erasing(o, p); o.Accept = words(err) })
	c.reading()
	c.exec("INSERT INTO payments VALUES (2, 'B', '')")
	require.Equal(t, []string{"insert payments id=2 note= status=B"}, briefs(h.take(t, 1)))
	require.NoError(t, run.end())
}

func TestAPublicationWithoutDeletesWillNotDoForTheTableOfClients(t *testing.T) {
	t.Parallel()
	c := newCore(t, nil)
	c.exec("CREATE PUBLICATION " + c.slot + " FOR TABLE payments WITH (publish = 'insert, update')")
	plain := c.reader(nil)
	require.Empty(t, plain.Check(t.Context()), "of other tables a deleted row means nothing")
	m := &memory{}
	erasing := func(_ *Config, o *Options) { o.Erasing = []string{"payments"} }
	r, _, run := c.tracked(m, erasing)
	require.ErrorContains(t, run.wait(), "does not publish deletes")
	require.Contains(t, r.Check(t.Context())[0].Error(), "does not publish deletes")
	c.exec("ALTER PUBLICATION " + c.slot + " SET (publish = 'insert, update, delete')")
	r, h, run := c.tracked(m, erasing)
	c.reading()
	c.caughtUp()
	h.await(t, "the note", func(*hand) bool {
		return strings.Contains(strings.Join(r.Health(), "\n"), "does not publish truncates")
	})
	c.exec("INSERT INTO payments VALUES (1, 'A', '')")
	h.take(t, 1)
	before := c.lsn()
	c.exec("ALTER PUBLICATION " + c.slot + " SET (publish = 'delete')") // while it is read
	err := run.wait()
	require.ErrorIs(t, err, ErrGap)
	require.ErrorContains(t, err, "does not publish inserts and updates")
	require.LessOrEqual(t, c.confirmed(), before)
	c.exec("INSERT INTO payments VALUES (2, 'A', '')")
	c.exec("ALTER PUBLICATION " + c.slot + " SET (publish = 'insert, update, delete, truncate')")
	_, _, run = c.tracked(m, erasing)
	err = run.wait()
	require.ErrorIs(t, err, ErrGap, "the row that was not published is not forgotten because the publication is well again")
	_, h, run = c.tracked(m, func(o *Config, p *Options) { erasing(o, p); o.Accept = words(err) })
	require.Len(t, h.take(t, 2), 2)
	c.reading()
	require.NoError(t, run.end())
	_, _, run = c.tracked(m, erasing)
	c.reading()
	require.NoError(t, run.end())
}

func TestARenamedTableIsReadOnAndTheNextStartWantsItsName(t *testing.T) {
	t.Parallel()
	c := newCore(t, nil)
	m := &memory{}
	r, h, run := c.tracked(m, nil)
	c.reading()
	c.exec("ALTER TABLE payments RENAME TO payments_2027")
	c.exec("INSERT INTO payments_2027 VALUES (1, 'A', '')")
	h.take(t, 1)
	c.caughtUp()
	h.await(t, "the note", func(*hand) bool {
		return strings.Contains(strings.Join(r.Health(), "\n"), `table payments is named "public"."payments_2027" now`)
	})
	require.NoError(t, run.end())

	c.exec("INSERT INTO payments_2027 VALUES (2, 'A', '')")
	_, _, run = c.tracked(m, nil)
	err := run.wait()
	require.ErrorIs(t, err, ErrGap)
	require.ErrorContains(t, err, `is named "public"."payments_2027" now`)
	_, h, run = c.tracked(m, nil, "payments_2027")
	require.Equal(t, []string{"insert payments_2027 id=2 note= status=A"}, briefs(h.take(t, 1)))
	require.NoError(t, run.end())
}

func TestATableThatComesIsReadFromItsFirstRow(t *testing.T) {
	t.Parallel()
	c := newCore(t, nil)
	c.exec("CREATE PUBLICATION " + c.slot + " FOR ALL TABLES")
	m := &memory{}
	_, _, run := c.tracked(m, nil, "payments", "later")
	c.reading()
	c.exec("CREATE TABLE later (id int PRIMARY KEY)")
	c.exec("INSERT INTO later VALUES (1)")
	require.ErrorIs(t, run.wait(), errChanged)
	_, h, run := c.tracked(m, nil, "payments", "later")
	require.Equal(t, []string{"insert later id=1"}, briefs(h.take(t, 1)))
	require.NoError(t, run.end())
}

func TestASnapshotIsNotReadOfATableThatWasRewrittenAfterItBegan(t *testing.T) {
	t.Parallel()
	for name, statement := range map[string]string{
		"truncated": "TRUNCATE payments", "rewritten": "ALTER TABLE payments ALTER id TYPE int",
		"made again": "DROP TABLE payments; CREATE TABLE payments (id int PRIMARY KEY)", "taken out": "ALTER PUBLICATION $ DROP TABLE payments",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCore(t, nil, "INSERT INTO payments VALUES (1, 'A', '')")
			c.exec("CREATE PUBLICATION " + c.slot + " FOR TABLE payments")
			r := c.reader(nil)
			s := &session{Reader: r}
			defer s.closeCatalogue()
			tables, err := r.tables(t.Context())
			require.NoError(t, err)
			before, err := s.lookAtMembership(t.Context(), nil)
			require.NoError(t, err)
			enter := func() error {
				reader, err := s.dial(t.Context(), "snapshot", nil)
				require.NoError(t, err)
				defer closeConnection(reader)
				_, err = reader.Exec(t.Context(), "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").ReadAll()
				require.NoError(t, err)
				return s.hold(t.Context(), reader, before, tables, []string{"payments"})
			}
			require.NoError(t, enter())
			c.exec(strings.ReplaceAll(statement, "$", c.slot))
			require.ErrorIs(t, enter(), errChanged)
		})
	}
}

func TestAPartitionThatIsAttachedWhileTheSnapshotIsReadIsReadAsWell(t *testing.T) {
	t.Parallel()
	c := newCore(t, nil, partitioned, january, "INSERT INTO pay SELECT i, '2027-01-05', 'RCVD' FROM generate_series(1, 10) i",
		"CREATE TABLE pay_3 (id int NOT NULL, day date NOT NULL, state text)", "INSERT INTO pay_3 VALUES (30, '2027-03-05', 'RCVD')")
	m := &memory{}
	_, h, run := c.tracked(m, nil, "pay")
	release := h.hold()
	h.await(t, "the snapshot", func(h *hand) bool { return len(h.records) == 10 })
	_, err := c.conn.Exec(t.Context(), "SET lock_timeout = '100ms'; ALTER TABLE pay ALTER state TYPE varchar(9)")
	require.Equal(t, "55P03", code(err), "nothing is rewritten meanwhile")
	c.exec("RESET lock_timeout")
	c.exec("ALTER TABLE pay ATTACH PARTITION pay_3 FOR VALUES FROM ('2027-03-01') TO ('2027-04-01')")
	release()
	require.ErrorIs(t, run.wait(), errChanged)
	require.False(t, ask[bool](c, "SELECT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = $1)", c.slot))
	_, h, run = c.tracked(m, nil, "pay")
	require.Len(t, h.take(t, 11), 11)
	c.reading()
	require.NoError(t, run.end())
}

// The comparison must not wait for the core's own locks, nor keep anybody waiting.
func TestTheComparisonTakesNoLockOnTheTables(t *testing.T) {
	c := newCore(t, nil, partitioned, january)
	r := c.reader(nil, "payments", "pay")
	s := &session{Reader: r}
	defer s.closeCatalogue()
	other := c.connect()
	_, err := other.Exec(t.Context(), "BEGIN; LOCK TABLE payments, pay IN ACCESS EXCLUSIVE MODE")
	require.NoError(t, err)
	began := time.Now()
	m, err := s.lookAtMembership(t.Context(), nil)
	require.NoError(t, err)
	require.Len(t, m.Members, 3)
	require.Less(t, time.Since(began), soon, "it would have waited for the lock until it gave up")
	_, err = other.Exec(t.Context(), "ROLLBACK")
	require.NoError(t, err)
}

func TestAGrantOnColumnsSufficesForTheFirstSnapshot(t *testing.T) {
	t.Parallel()
	c := newCore(t, nil, "INSERT INTO payments VALUES (1, 'A', 'secret')")
	role, as := c.role()
	c.exec("ALTER ROLE " + role + " REPLICATION; GRANT SELECT (id, status) ON payments TO " + role)
	c.exec("CREATE PUBLICATION " + c.slot + " FOR TABLE payments (id, status)")
	m := &memory{}
	_, h, run := c.tracked(m, as)
	require.Equal(t, []string{"snapshot payments id=1 status=A"}, briefs(h.take(t, 1)))
	c.reading()
	require.NoError(t, run.end())
}
