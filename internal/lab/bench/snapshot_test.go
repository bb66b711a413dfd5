package bench

import (
	"context"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// BenchmarkHeldSnapshot is what a REPEATABLE READ transaction costs that somebody holds for ARAUTO_BENCH_MINUTES (10) while
// changes come at ARAUTO_BENCH_RATE (300) a second: first attempts, claims and sealing, minute by minute, and what a claim
// reads at the end of it. While the snapshot is there PostgreSQL can remove no row version that became dead after its
// beginning. It judges the aim: p99 of the worst minute at most 1.5 times that of the minute without a snapshot, and none late.
func BenchmarkHeldSnapshot(b *testing.B) {
	machine(b)
	rate, minutes := setting("ARAUTO_BENCH_RATE", 300), setting("ARAUTO_BENCH_MINUTES", 10)
	w := open(b)
	clients := w.register("good", 38, w.farm.Good)
	w.pace(clients, rate, 5*time.Second)
	w.fillLog()
	holder, err := pgx.Connect(b.Context(), w.stage.Database)
	check(b, err)
	look, err := pgx.Connect(b.Context(), w.stage.Database)
	check(b, err)
	minute := func(what string) (f figures, tooLate float64) {
		w.farm.reset(b)
		late, claims, took := w.metric("arauto_first_attempts_late_total"), w.metric("arauto_claim_seconds_count"), w.metric("arauto_claim_seconds_sum")
		sealed := w.metric("arauto_log_entries_sealed_total")
		sent := w.pace(clients, rate, time.Minute)
		f = w.farm.await(b, int64(sent), time.Minute)
		tooLate = w.metric("arauto_first_attempts_late_total") - late
		n := w.metric("arauto_claim_seconds_count") - claims
		var dead, live int64
		check(b, look.QueryRow(b.Context(), "SELECT n_dead_tup, n_live_tup FROM pg_stat_user_tables WHERE schemaname = 'arauto' AND relname = 'queue'").Scan(&dead, &live))
		b.Logf("%-18s sent %d, arrived %d; first p50 %s p99 %s max %s; late %v; claim mean %.1f ms (%v); sealed %v; queue: %d dead rows, %d live",
			what, sent, f.Count, f.P50, f.P99, f.Max, tooLate,
			1000*(w.metric("arauto_claim_seconds_sum")-took)/max(n, 1), n, w.metric("arauto_log_entries_sealed_total")-sealed, dead, live)
		return f, tooLate
	}
	for b.Loop() {
		minute("warming up")
		without, _ := minute("without")
		b.Log(lanePlan(b, look))
		tx, err := holder.BeginTx(context.WithoutCancel(b.Context()), pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
		check(b, err)
		var one int
		check(b, tx.QueryRow(b.Context(), "SELECT 1").Scan(&one))
		var worst time.Duration
		var late float64
		for m := range minutes {
			f, n := minute("held, minute " + strconv.Itoa(m+1))
			worst, late = max(worst, f.P99), late+n
		}
		b.Log(lanePlan(b, look))
		check(b, tx.Rollback(context.WithoutCancel(b.Context())))
		minute("released")
		met := late == 0 && worst <= without.P99*3/2
		b.Logf("verdict: %s: first attempts' p99 is %s without a snapshot and at most %s with it, at most %s allowed; %v late, none allowed",
			map[bool]string{true: "met", false: "NOT MET"}[met], without.P99, worst, without.P99*3/2, late)
		b.ReportMetric(float64(without.P99.Milliseconds()), "p99-without-ms")
		b.ReportMetric(float64(worst.Milliseconds()), "p99-held-ms")
	}
	b.ReportMetric(0, "ns/op")
}

func setting(name string, usual int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return usual
}

// lanePlan is what the part of a claim reads that looks for late work of one lane.
func lanePlan(b *testing.B, conn *pgx.Conn) string {
	b.Helper()
	rows, err := conn.Query(b.Context(), `EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, TIMING OFF) SELECT q.id FROM arauto.queue q
WHERE q.client_id = (SELECT min(client_id) FROM arauto.initiator) AND q.push_epoch = 1 AND q.token IS NULL AND q.due_at <= now() - interval '1500 ms'
ORDER BY q.due_at, q.id LIMIT 1`)
	check(b, err)
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	check(b, err)
	return "one lane's late work:\n" + strings.Join(lines, "\n")
}
