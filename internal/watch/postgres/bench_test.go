package postgres

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/watch"
)

// idle is a hand that does nothing.
type idle struct {
	rows atomic.Int64
	want int64
	full chan struct{}
}

func (i *idle) Take(_ context.Context, records []watch.SourceRecord, done func()) error {
	done()
	if n := i.rows.Add(int64(len(records))); n >= i.want && n-int64(len(records)) < i.want {
		close(i.full)
	}
	return nil
}
func (i *idle) Schema(string, []watch.Column) {}
func (i *idle) Lag(int64, time.Duration)      {}

func waitFor(b *testing.B, full chan struct{}, r *running) {
	b.Helper()
	select {
	case <-full:
	case <-r.done:
		b.Fatal("Read ended: ", r.err)
	}
}

// wide is a table as a core has it.
const wide = `CREATE TABLE pix (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), consent_id text NOT NULL, client_id text NOT NULL, status text NOT NULL,
	amount numeric(17,2) NOT NULL, creditor jsonb NOT NULL, created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz NOT NULL DEFAULT now(),
	attempts int NOT NULL DEFAULT 0, final boolean NOT NULL DEFAULT false, reason text, end_to_end text, version bigint NOT NULL DEFAULT 1)`

const fillWide = `INSERT INTO pix (consent_id, client_id, status, amount, creditor, end_to_end)
	SELECT 'urn:bank:' || gen_random_uuid(), 'client-' || i % 50, 'RCVD', i / 100.0, '{"name": "Padaria", "personType": "PESSOA_JURIDICA"}', 'E' || i
	FROM generate_series($1::int, $2::int) i`

// BenchmarkCatchUp measures the reader alone, server included: rows of thirteen columns.
func BenchmarkCatchUp(b *testing.B) {
	const rows = 200_000
	for name, perTransaction := range map[string]int{"1 row a transaction": 1, "1000 rows a transaction": 1000} {
		b.Run(name, func(b *testing.B) {
			n := rows
			if perTransaction == 1 {
				n = rows / 4
			}
			c := newCore(b, nil, wide)
			_, _, run := c.follow("pix")
			require.NoError(b, run.end())
			c.exec(`CREATE PROCEDURE fill(n int, each int) LANGUAGE plpgsql AS $p$ BEGIN FOR k IN 0..n/each-1 LOOP ` +
				strings.NewReplacer("$1", "k * each + 1", "$2", "(k + 1) * each").Replace(fillWide) + `; COMMIT; END LOOP; END $p$`)
			c.exec("CALL fill($1, $2)", n, perTransaction)
			b.ResetTimer()
			for range b.N {
				i := &idle{want: int64(n), full: make(chan struct{})}
				started, used := time.Now(), processor(b)
				r := c.reader(func(c *Config, _ *Options) { c.FastLane = -1 }, "pix")
				run := read(b, r, &never{idle: i})
				waitFor(b, i.full, run)
				b.ReportMetric(float64(n)/time.Since(started).Seconds(), "rows/s")
				b.ReportMetric(float64((processor(b)-used).Nanoseconds())/1000/float64(n), "our-cpu-µs/row")
				require.NoError(b, run.end())
			}
		})
	}
}

// processor is the time our process has computed, which a busy machine does not stretch as it does the clock's.
func processor(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// never is done with nothing, so that each run reads the same again.
type never struct{ *idle }

func (n *never) Take(ctx context.Context, records []watch.SourceRecord, _ func()) error {
	return n.idle.Take(ctx, records, func() {})
}

// BenchmarkCommitToTake measures how long after its commit a change is handed over, at 300 a second.
func BenchmarkCommitToTake(b *testing.B) {
	c := newCore(b, nil, wide)
	c.exec(fillWide, 1, 1000)
	h := newHand()
	r := c.reader(nil, "pix")
	run := read(b, r, h)
	c.reading()
	var ids []string
	h.mu.Lock()
	for _, record := range h.records {
		ids = append(ids, record.Values["id"].(string))
	}
	taken := make(chan time.Time, 1)
	h.each = func(watch.SourceRecord) { taken <- time.Now() }
	h.mu.Unlock()
	var delays []time.Duration
	pace := time.NewTicker(time.Second / 300)
	defer pace.Stop()
	b.ResetTimer()
	for i := range b.N {
		<-pace.C
		c.exec("UPDATE pix SET status = 'ACSC', version = version + 1 WHERE id = $1", ids[i%len(ids)])
		committed := time.Now() // when the core knows it
		delays = append(delays, max(0, (<-taken).Sub(committed)))
	}
	b.StopTimer()
	slices.Sort(delays)
	b.ReportMetric(float64(delays[len(delays)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(delays[len(delays)*99/100].Microseconds()), "p99-µs")
	require.NoError(b, run.end())
}

// BenchmarkRow measures decoding alone.
func BenchmarkRow(b *testing.B) {
	l := newLane(&Reader{}, map[string]*table{})
	rel := &relation{id: 1, ours: true, shape: shape{table: "pix", keys: []int{0}}}
	message := []byte("I\x00\x00\x00\x01N\x00\x08")
	for _, column := range []struct {
		name, text string
		form       *form
	}{
		{"id", "6f9619ff-8b86-d011-b42d-00cf4fc964ff", &form{}},
		{"status", "ACSC", &form{}},
		{"amount", "1500.50", &form{}},
		{"creditor", `{"name": "Padaria", "personType": "PESSOA_JURIDICA"}`, &form{kind: document}},
		{"created_at", "2026-11-22 03:25:01.123456+00", &form{kind: instant}},
		{"attempts", "3", &form{kind: numeral}},
		{"final", "t", &form{kind: truth}},
		{"client_id", "client-17", &form{}},
	} {
		rel.names, rel.forms = append(rel.names, column.name), append(rel.forms, column.form)
		message = append(message, 't', 0, 0, 0, byte(len(column.text)))
		message = append(message, column.text...)
	}
	l.relations[1] = rel
	b.ReportAllocs()
	for range b.N {
		if err := l.message(b.Context(), 7, &byteCursor{rest: message}); err != nil {
			b.Fatal(err)
		}
		if len(l.filling.records) == mostRecords {
			l.filling = nil
		}
	}
}
