package bench

import (
	"fmt"
	"testing"
	"time"
)

// The physical limit of sending: the same POSTs over mTLS from one process to the receivers' process, nothing durable.
func BenchmarkLimitBarePOST(b *testing.B) {
	machine(b)
	w := open(b)
	loop := w.openBareByLibrary()
	loop(time.Second)
	for b.Loop() {
		b.ReportMetric(loop(5*time.Second), "POST/s")
	}
	b.ReportMetric(0, "ns/op")
}

// The limit of storing: the same changes for clients without an address, so that everything is judged and committed and
// nothing is sent.
func BenchmarkLimitStoredNotSent(b *testing.B) {
	machine(b)
	w := open(b)
	const n = 30000
	for b.Loop() {
		took := w.stream([]string{"silent-0", "silent-1", "silent-2", "silent-3"}, n, 2)
		b.ReportMetric(n/took.Seconds(), "changes/s")
	}
	b.ReportMetric(0, "ns/op")
}

// The main figure: changes in as NDJSON, notifications out over mTLS, durable at every step.
func BenchmarkEndToEnd(b *testing.B) {
	machine(b)
	w := open(b)
	clients := w.register("good", 20, w.farm.Good)
	w.stream(clients, 2000, 2) // connections made, plans cached
	w.farm.await(b, 2000, 10*time.Second)
	const n = 60000
	for b.Loop() {
		w.farm.reset(b)
		from := w.wal()
		before, began := w.cpu(), time.Now()
		intake := w.stream(clients, n, 2)
		f := w.farm.await(b, n, 20*time.Second)
		took := time.Since(began)
		w.spent(before, n)
		b.ReportMetric(n/intake.Seconds(), "changes/s")
		b.ReportMetric(n/took.Seconds(), "notifications/s")
		b.ReportMetric(float64(f.P99.Milliseconds()), "p99-ms")
		w.reportWAL(from, n)
		b.ReportMetric(w.rss(), "MiB-RSS")
		b.ReportMetric(w.together(), "%-claimed-with-change")
	}
	b.ReportMetric(0, "ns/op")
	w.tables(n + 2000)
}

// wal is the present end of the write-ahead log.
func (w *world) wal() (lsn string) {
	w.b.Helper()
	w.sql("SELECT pg_current_wal_lsn()::text", &lsn)
	return lsn
}

// reportWAL says what a notification wrote: all records, of these what is not the document itself, and the images of
// whole pages that follow each checkpoint.
func (w *world) reportWAL(from string, n int) {
	w.b.Helper()
	var records, images, documents float64
	w.exec("CREATE EXTENSION IF NOT EXISTS pg_walinspect")
	w.sql(fmt.Sprintf("SELECT sum(record_size)::float8, sum(fpi_size)::float8 FROM pg_get_wal_stats('%s', pg_current_wal_lsn())", from), &records, &images)
	w.sql(fmt.Sprintf("SELECT sum(octet_length(document))::float8 / count(*) * %d FROM arauto.resource", n), &documents)
	w.b.ReportMetric(records/float64(n), "WAL-bytes/notification")
	w.b.ReportMetric((records-documents)/float64(n), "WAL-bytes-without-document")
	w.b.ReportMetric(images/float64(n), "page-image-bytes")
}

// together is the share of first attempts that were recorded in the commit of their change, in percent.
func (w *world) together() (percent float64) {
	w.b.Helper()
	w.sql(`SELECT 100.0 * count(*) FILTER (WHERE a.xid = c.xid) / count(*) FROM arauto.entry a JOIN arauto.entry c ON c.notification_id = a.notification_id
WHERE (a.kind = 'attempt' AND a.number = 1 OR a.kind = 'change' AND a.interaction_id IS NOT NULL) AND c.kind = 'change'`, &percent)
	return percent
}

// tables prints what a notification costs on disk, by table and index.
func (w *world) tables(n int) {
	w.b.Helper()
	var text string
	w.sql(fmt.Sprintf(`SELECT string_agg(format('  %%s %%s B', rpad(name, 28), bytes / %d), E'\n' ORDER BY bytes DESC) FROM (
  SELECT regexp_replace(c.relname, '_?[0-9]{6}|_[0-7](?=_|$)', '') AS name, sum(pg_relation_size(c.oid))::bigint AS bytes
  FROM pg_class c JOIN pg_namespace s ON s.oid = c.relnamespace WHERE s.nspname = 'arauto' AND c.relkind IN ('r', 'i') GROUP BY 1) t WHERE bytes / %d > 0`, n, n), &text)
	w.b.Logf("bytes on disk for each notification, by table and index (queue rows are gone, their space is reused):\n%s", text)
}

// The delay of the first attempt at the regulator's floor of 300 a second.
func BenchmarkFirstAttemptDelay(b *testing.B) {
	machine(b)
	w := open(b)
	clients := w.register("good", 50, w.farm.Good)
	w.pace(clients, 300, 2*time.Second)
	for b.Loop() {
		w.farm.reset(b)
		n := w.pace(clients, 300, 15*time.Second)
		f := w.farm.await(b, int64(n), 10*time.Second)
		b.ReportMetric(float64(f.P50.Microseconds())/1000, "p50-ms")
		b.ReportMetric(float64(f.P99.Microseconds())/1000, "p99-ms")
		b.ReportMetric(float64(f.Max.Microseconds())/1000, "max-ms")
		b.ReportMetric(float64(f.Late1500), "late")
	}
	b.ReportMetric(0, "ns/op")
}

// Isolation: 40 of 100 initiators accept the connection and never answer.
func BenchmarkIsolation(b *testing.B) {
	machine(b)
	w := open(b)
	good, dead := w.register("good", 60, w.farm.Good), w.register("dead", 40, w.farm.Hang)
	all := append(good, dead...)
	w.pace(all, 200, 5*time.Second)
	for b.Loop() {
		w.farm.reset(b)
		n := w.pace(all, 200, 30*time.Second)
		f := w.farm.await(b, int64(n*60/100), 10*time.Second)
		healthy := f.ByPathPrefix["good"]
		b.ReportMetric(float64(healthy.P50.Microseconds())/1000, "healthy-p50-ms")
		b.ReportMetric(float64(healthy.P99.Microseconds())/1000, "healthy-p99-ms")
		b.ReportMetric(float64(f.Late1500), "late")
		b.ReportMetric(w.rss(), "MiB-RSS")
	}
	b.ReportMetric(0, "ns/op")
}

// Memory with a backlog of a million notifications for initiators that hang, every slot taken.
func BenchmarkMemory(b *testing.B) {
	machine(b)
	w := open(b)
	for b.Loop() {
		idle := w.rss()
		w.register("dead", 20, w.farm.Hang)
		var n int64
		w.sql(`WITH made AS (INSERT INTO arauto.queue (id, client_id, push_epoch, kind, resource_id, api_version, event, event_at, occurred_at, due_at)
SELECT gen_random_uuid(), 'dead-' || n % 20, 1, 2, 'p' || n, 'v5', '', now(), now(), now() FROM generate_series(1, 1000000) n RETURNING 1) SELECT count(*) FROM made`, &n)
		var most float64
		tick := time.NewTicker(500 * time.Millisecond)
		for range 80 {
			<-tick.C
			most = max(most, w.rss())
		}
		tick.Stop()
		var flying int64
		w.sql("SELECT count(*) FROM arauto.queue WHERE token IS NOT NULL", &flying)
		b.ReportMetric(idle, "idle-MiB")
		b.ReportMetric(most, "max-MiB")
		b.ReportMetric(float64(flying), "in-flight")
	}
	b.ReportMetric(0, "ns/op")
}
