package postgres

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/temppostgres"
	"github.com/arauto/arauto/internal/watch"
)

// servers are lent to one test at a time: the log, the slots and the horizon belong to a server, so two tests that share one
// disturb each other. Tests that kill a server start their own.
var servers struct {
	mu        sync.Mutex
	all, free []*temppostgres.Server
}

func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", "4") // most tests wait; -parallel on the command line counts more
	code := m.Run()
	for _, s := range servers.all {
		_ = s.Stop()
	}
	os.Exit(code)
}

// model is a server that every other one is a copy of: making a cluster takes several times as long as copying it.
var model = sync.OnceValues(func() (*temppostgres.Server, error) {
	s, err := temppostgres.Start(context.Background(), temppostgres.Options{Private: true})
	if err != nil {
		return nil, err
	}
	servers.mu.Lock()
	defer servers.mu.Unlock()
	servers.all = append(servers.all, s)
	return s, s.Halt()
})

// startServer starts a copy of the model.
func startServer(t testing.TB) *temppostgres.Server {
	t.Helper()
	made, err := model()
	require.NoError(t, err)
	s, err := temppostgres.Start(context.Background(), temppostgres.Options{Private: true, CopyOf: made})
	require.NoError(t, err)
	return s
}

// lend gives the test a server that no other test uses until this one ends.
func lend(t testing.TB) *temppostgres.Server {
	t.Helper()
	var s *temppostgres.Server
	servers.mu.Lock()
	if last := len(servers.free) - 1; last >= 0 {
		s, servers.free = servers.free[last], servers.free[:last]
	}
	servers.mu.Unlock()
	if s == nil {
		s = startServer(t)
		servers.mu.Lock()
		servers.all = append(servers.all, s)
		servers.mu.Unlock()
	}
	t.Cleanup(func() {
		servers.mu.Lock()
		defer servers.mu.Unlock()
		servers.free = append(servers.free, s)
	})
	return s
}

var databases atomic.Int64

// core is a bank's database for one test.
type core struct {
	t      testing.TB
	server *temppostgres.Server
	url    string
	slot   string
	conn   *pgx.Conn
}

// newCore makes a database with a table of payments.
func newCore(t testing.TB, s *temppostgres.Server, ddl ...string) *core {
	t.Helper()
	if s == nil {
		s = lend(t)
	}
	name := fmt.Sprintf("core_%d", databases.Add(1))
	url, err := s.CreateDatabase(t.Context(), name, "")
	require.NoError(t, err)
	c := &core{t: t, server: s, url: url, slot: name}
	c.conn = c.connect()
	c.exec("CREATE TABLE payments (id bigint PRIMARY KEY, status text NOT NULL, note text)")
	for _, statement := range ddl {
		c.exec(statement)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 20*time.Second)
		defer cancel()
		conn, err := pgx.Connect(ctx, s.URL("postgres"))
		if err != nil {
			return // a server of the test's own is gone by now
		}
		defer conn.Close(ctx)
		again := time.NewTicker(poll)
		defer again.Stop()
		for ; ; <-again.C {
			var left int
			_, _ = conn.Exec(ctx, `SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE database = $1 AND active`, name)
			_, _ = conn.Exec(ctx, `SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = $1 AND NOT active`, name)
			if err := conn.QueryRow(ctx, `SELECT count(*) FROM pg_replication_slots WHERE database = $1`, name).Scan(&left); err != nil || left == 0 {
				break
			}
		}
		if err := s.DropDatabase(ctx, name); err != nil {
			t.Error(err)
		}
	})
	return c
}

func (c *core) connect() *pgx.Conn {
	c.t.Helper()
	conn, err := pgx.Connect(c.t.Context(), c.url)
	require.NoError(c.t, err)
	c.t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(c.t.Context())) })
	return conn
}

func (c *core) exec(sql string, args ...any) {
	c.t.Helper()
	_, err := c.conn.Exec(c.t.Context(), sql, args...)
	require.NoError(c.t, err, sql)
}

// ask runs a query of one value.
func ask[T any](c *core, sql string, args ...any) (value T) {
	c.t.Helper()
	require.NoError(c.t, c.conn.QueryRow(c.t.Context(), sql, args...).Scan(&value), sql)
	return value
}

// poll is how often a test asks the server again. Asking without a break takes the processor from what the test waits for.
const poll = 5 * time.Millisecond

// eventually awaits what the server comes to say.
func (c *core) eventually(sql string, args ...any) {
	c.t.Helper()
	again := time.NewTicker(poll)
	defer again.Stop()
	deadline := time.Now().Add(20 * time.Second)
	for ; !ask[bool](c, sql, args...); <-again.C {
		require.True(c.t, time.Now().Before(deadline), "never true: %s", sql)
	}
}

func (c *core) lsn() pglogrepl.LSN {
	c.t.Helper()
	at, err := pglogrepl.ParseLSN(ask[string](c, "SELECT pg_current_wal_lsn()::text"))
	require.NoError(c.t, err)
	return at
}

// caughtUp awaits that everything committed so far is acknowledged.
func (c *core) caughtUp() {
	c.t.Helper()
	c.eventually("SELECT confirmed_flush_lsn >= $2::pg_lsn FROM pg_replication_slots WHERE slot_name = $1", c.slot, c.lsn().String())
}

func (c *core) config() Config {
	return Config{URL: c.url, Slot: c.slot, Publication: c.slot, Create: true, StatusInterval: 100 * time.Millisecond}
}

// reader makes a Reader of the tables named, payments if none.
func (c *core) reader(change func(*Config, *Options), tables ...string) *Reader {
	c.t.Helper()
	if len(tables) == 0 {
		tables = []string{"payments"}
	}
	config, options := c.config(), Options{Tables: tables, Logger: slog.New(slog.NewTextHandler(c.t.Output(), nil))}
	if change != nil {
		change(&config, &options)
	}
	r, err := New(config, options)
	require.NoError(c.t, err)
	c.t.Cleanup(r.Close)
	return r
}

// hand keeps what it is handed. Its zero value is done at once with everything.
type hand struct {
	mu      sync.Mutex
	records []watch.SourceRecord
	largest int
	schemas map[string][]watch.Column
	told    int
	lag     int64
	behind  time.Duration
	waiting []func() // done of what is not done, while holding
	holding bool
	refuse  error
	news    chan struct{}
	each    func(watch.SourceRecord)
}

func newHand() *hand {
	return &hand{schemas: map[string][]watch.Column{}, news: make(chan struct{}, 1)}
}

func (h *hand) Take(_ context.Context, records []watch.SourceRecord, done func()) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.refuse != nil {
		return h.refuse
	}
	h.records, h.largest = append(h.records, records...), max(h.largest, len(records))
	if h.each != nil {
		for _, r := range records {
			h.each(r)
		}
	}
	if h.holding {
		h.waiting = append(h.waiting, done)
	} else {
		done()
	}
	h.tell()
	return nil
}

func (h *hand) tell() {
	select {
	case h.news <- struct{}{}:
	default:
	}
}

func (h *hand) Schema(table string, columns []watch.Column) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.schemas[table], h.told = columns, h.told+1
	h.tell()
}

func (h *hand) Lag(bytes int64, behind time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lag, h.behind = bytes, behind
	h.tell()
}

// hold keeps what comes from being done until the returned function is called.
func (h *hand) hold() (release func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.holding = true
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		for _, done := range h.waiting {
			done()
		}
		h.holding, h.waiting = false, nil
	}
}

// await waits until the hand is as wanted.
func (h *hand) await(t testing.TB, what string, wanted func(h *hand) bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		h.mu.Lock()
		ok := wanted(h)
		h.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-h.news:
		case <-deadline:
			h.mu.Lock()
			last := len(h.records)
			seen := h.records[max(0, last-5):]
			h.mu.Unlock()
			t.Fatalf("not seen: %s; %d records, the last: %v", what, last, seen)
		}
	}
}

// take waits for n records and takes them.
func (h *hand) take(t testing.TB, n int) []watch.SourceRecord {
	t.Helper()
	h.await(t, fmt.Sprintf("%d records", n), func(h *hand) bool { return len(h.records) >= n })
	h.mu.Lock()
	defer h.mu.Unlock()
	require.Len(t, h.records, n)
	taken := h.records
	h.records = nil
	return taken
}

// running is a Read on its way.
type running struct {
	t    testing.TB
	r    *Reader
	stop context.CancelFunc
	done chan struct{}
	err  error
}

// read starts Read; it is stopped with the test.
func read(t testing.TB, r *Reader, h watch.Hand) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	run := &running{t: t, r: r, stop: cancel, done: make(chan struct{})}
	go func() {
		defer close(run.done)
		for {
			if run.err = r.Read(ctx, h); run.err != nil {
				r.log.Info("Read ended", "error", run.err)
			}
			if !errors.Is(run.err, watch.ErrElsewhere) || ctx.Err() != nil {
				return
			}
			<-time.After(20 * time.Millisecond) // as a Source does, oftener
		}
	}()
	t.Cleanup(func() { cancel(); <-run.done })
	return run
}

// end stops Read, awaits that the server has noticed, and returns Read's error.
func (r *running) end() error {
	r.t.Helper()
	r.stop()
	err := r.wait()
	again := time.NewTicker(poll)
	defer again.Stop()
	for deadline := time.Now().Add(20 * time.Second); ; <-again.C {
		slot, failed := r.r.findSlot(r.t.Context(), r.r.config.Slot)
		require.NoError(r.t, failed)
		if slot == nil || !slot.active {
			return err
		}
		require.True(r.t, time.Now().Before(deadline), "the slot stays in use")
	}
}

// wait awaits that Read ends by itself.
func (r *running) wait() error {
	r.t.Helper()
	select {
	case <-r.done:
		return r.err
	case <-time.After(30 * time.Second):
		r.t.Fatal("Read does not return")
		return nil
	}
}

// reading awaits that the slot is followed.
func (c *core) reading() {
	c.t.Helper()
	c.eventually(`SELECT EXISTS (SELECT FROM pg_replication_slots s JOIN pg_stat_replication r ON r.pid = s.active_pid AND r.state = 'streaming'
		WHERE slot_name = $1)`, c.slot)
}

// memory keeps a note for a test.
type memory struct {
	mu   sync.Mutex
	note []byte
}

func (m *memory) Recall(context.Context) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.note), nil
}

func (m *memory) Remember(_ context.Context, note []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.note = slices.Clone(note)
	return nil
}

// brief writes a record as a test wants to see it: operation, table, values in the order of their names.
func brief(r watch.SourceRecord) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", r.Op, r.Table)
	for _, name := range slices.Sorted(maps.Keys(r.Values)) {
		fmt.Fprintf(&b, " %s=%v", name, r.Values[name])
	}
	return b.String()
}

func briefs(records []watch.SourceRecord) []string {
	var all []string
	for _, r := range records {
		all = append(all, brief(r))
	}
	return all
}

func TestRowsAreReadOnceAndThenFollowed(t *testing.T) {
	t.Parallel()
	c := newCore(t, nil)
	c.exec("INSERT INTO payments VALUES (2, 'PDNG', NULL), (1, 'RCVD', 'é')")
	h := newHand()
	r := c.reader(nil)
	run := read(t, r, h)
	rows := h.take(t, 2)
	require.Equal(t, []string{"snapshot payments id=1 note=é status=RCVD", "snapshot payments id=2 note=<nil> status=PDNG"}, briefs(rows))
	require.Equal(t, "payments id=1", rows[0].Key)
	require.WithinDuration(t, time.Now(), rows[0].ReadAt, time.Minute)
	require.Zero(t, rows[0].CommittedAt, "not known")
	c.reading()

	c.exec("INSERT INTO payments VALUES (3, 'RCVD', '')")
	c.exec("UPDATE payments SET status = 'ACSC' WHERE id IN (1, 2)")
	c.exec("DELETE FROM payments WHERE id = 3")
	changes := h.take(t, 4)
	require.Equal(t, []string{
		"insert payments id=3 note= status=RCVD",
		"update payments id=2 note=<nil> status=ACSC", "update payments id=1 note=é status=ACSC",
		"delete payments id=3",
	}, briefs(changes))
	for i, change := range changes {
		require.Greater(t, change.Revision, rows[0].Revision)
		require.WithinDuration(t, time.Now(), change.CommittedAt, time.Minute)
		require.Zero(t, change.ReadAt)
		require.Equal(t, position(pglogrepl.LSN(change.Revision)), change.Position)
		if i > 0 {
			require.Greater(t, change.Revision, changes[i-1].Revision)
		}
	}
	c.caughtUp()
	require.NoError(t, run.end())
	require.Equal(t, int64(6), r.Counts().Rows)

	c.exec("INSERT INTO payments VALUES (4, 'RCVD', 'while we were away')")
	h = newHand()
	run = read(t, c.reader(nil), h)
	require.Equal(t, []string{"insert payments id=4 note=while we were away status=RCVD"}, briefs(h.take(t, 1)))
	require.NoError(t, run.end())
	require.False(t, ask[bool](c, "SELECT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = $1)", loading(c.slot)))
}

var errHand = errors.New("the hand is full")

// ownServer starts a server for one test, which may kill it: the kernel keeps what a process has written.
func ownServer(t testing.TB) *temppostgres.Server {
	t.Helper()
	own := startServer(t)
	t.Cleanup(func() { require.NoError(t, own.Stop()) })
	return own
}
