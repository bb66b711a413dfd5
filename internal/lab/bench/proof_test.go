package bench

import (
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/lab/stage"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/store/auditlog"
)

// proofEntries is how many entries the log has for BenchmarkProof: the 1,000,000 of case M7, or what
// ARAUTO_BENCH_ENTRIES says.
func proofEntries(b *testing.B) int {
	b.Helper()
	n, err := strconv.Atoi(os.Getenv("ARAUTO_BENCH_ENTRIES"))
	if err != nil || n < 1000 {
		return 1_000_000
	}
	return n
}

// BenchmarkProof is case M7: what it takes to seal a log, to verify it in the database and from a bundle, to take it away,
// and to prove one entry. Verifying and exporting are the product's commands, in processes of their own.
func BenchmarkProof(b *testing.B) {
	machine(b)
	n := proofEntries(b)
	for b.Loop() {
		l := writeLog(b, n)
		l.seal(n)
		l.verifyAndExport(n)
		l.prove(n)
	}
	b.ReportMetric(0, "ns/op")
}

// writtenLog is a history that nothing else writes to, with its key.
type writtenLog struct {
	b        *testing.B
	url      string
	dir      string
	key      *audit.Signer
	public   ed25519.PublicKey
	auditlog *auditlog.Log

	took   map[string]time.Duration // of commands that were run
	memory map[string]float64       // the largest of each, in MiB
}

// writeLog makes a database with n entries as the ends of attempts leave them, in transactions as large as a settlement's.
func writeLog(b *testing.B, n int) *writtenLog {
	b.Helper()
	if _, err := built(); err != nil {
		b.Fatal(err)
	}
	s := openStage(b)
	_, private, err := ed25519.GenerateKey(rand.Reader)
	check(b, err)
	l := &writtenLog{b: b, url: s.Database, dir: b.TempDir(), key: audit.NewSigner(private)}
	l.public = l.key.Public()
	check(b, auditlog.RegisterLogKey(b.Context(), l.url, l.key.Public()))
	public, err := audit.MarshalPublic(l.key.Public())
	check(b, err)
	check(b, os.WriteFile(l.file("log.pub.pem"), public, 0o600))
	w, err := store.Open(b.Context(), store.Options{URL: l.url, Replica: "bench", Version: "0"})
	check(b, err)
	b.Cleanup(w.Close)
	l.auditlog = auditlog.New(w.Access())
	conn, err := pgx.Connect(b.Context(), l.url)
	check(b, err)
	defer conn.Close(b.Context())
	for range n / 500 {
		_, err := conn.Exec(b.Context(), `
INSERT INTO arauto.entry (id, kind, client_id, resource_kind, resource_id, notification_id, interaction_id, number, outcome, facts)
SELECT gen_random_uuid(), 'result', '3d5b1f0a-6c0c-4a36-9a0b-9d1f5a0c7c11', 2, gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 1, 'delivered',
  json_build_object('system', 'replica-1 1.0', 'httpStatus', 202, 'url', 'https://initiator.example.com/webhook/open-banking/webhook/v1/payments/v5/pix/payments/x',
    'peer', 'CN=initiator.example.com', 'serial', '0123456789abcdef', 'dialled', 12, 'handshake', 4321, 'firstByte', 5432, 'answered', 8765, 'endedAt', now(), 'n', n)
FROM generate_series(1, 500) n`)
		check(b, err)
	}
	return l
}

func check(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// openStage sets up a durable database and a PKI, and no replica yet.
func openStage(b *testing.B, settings ...string) *stage.Stage {
	b.Helper()
	product, err := built()
	check(b, err)
	s, err := stage.Open(b.Context(), stage.Options{Durable: true, Settings: settings, Command: func(args ...string) *exec.Cmd { return exec.Command(product, args...) }})
	check(b, err)
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Log(err)
		}
	})
	return s
}

func (l *writtenLog) file(name string) string { return filepath.Join(l.dir, name) }

// seal does what the sealer does, until all has its position.
func (l *writtenLog) seal(n int) {
	l.b.Helper()
	began := time.Now()
	for sealed := 0; sealed < n; {
		out, err := l.auditlog.Seal(l.b.Context(), l.key)
		check(l.b, err)
		sealed += out.Entries
	}
	l.b.ReportMetric(float64(n)/time.Since(began).Seconds(), "sealed/s")
}

// run runs a command of `arauto audit`.
func (l *writtenLog) run(what string, args ...string) string {
	l.b.Helper()
	return l.product(what, append([]string{"audit"}, args...)...)
}

// product runs a command of the product in a process of its own, and reports how long it took and its largest memory.
func (l *writtenLog) product(what string, args ...string) string {
	l.b.Helper()
	product, err := built()
	check(l.b, err)
	cmd := exec.CommandContext(l.b.Context(), product, args...)
	began := time.Now()
	out, err := cmd.CombinedOutput()
	took := time.Since(began)
	if err != nil {
		l.b.Fatalf("%s: %v: %s", strings.Join(args, " "), err, out)
	}
	if l.took == nil {
		l.took, l.memory = map[string]time.Duration{}, map[string]float64{}
	}
	l.took[what] = took
	l.b.ReportMetric(took.Seconds(), "s-"+what)
	l.b.ReportMetric((cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds(), "cpu-s-"+what)
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		l.memory[what] = float64(usage.Maxrss) / 1024 // kB on Linux, where it is never less than what this process had
		l.b.ReportMetric(l.memory[what], "MiB-"+what)
	}
	return string(out)
}

// verifyAndExport verifies in the database and from a bundle, and takes the log away in each form. Sizes are those of the
// files.
func (l *writtenLog) verifyAndExport(n int) {
	l.b.Helper()
	ok := "ok " + strconv.Itoa(n) + " "
	expect := func(out string) {
		l.b.Helper()
		if !strings.HasPrefix(out, ok) {
			l.b.Fatal(out)
		}
	}
	size := strconv.Itoa(n)
	expect(l.run("verify", "verify", "--database-url", l.url, "--key", l.file("log.pub.pem")))
	for _, format := range []string{"bundle", "jsonl", "parquet"} {
		l.run("export-"+format, "export", "--database-url", l.url, "--size", size, "--format", format, "--out", l.file(format))
		info, err := os.Stat(l.file(format))
		check(l.b, err)
		l.b.ReportMetric(float64(info.Size())/float64(n), format+"-bytes/entry")
	}
	expect(l.run("verify-bundle", "verify", l.file("bundle"), "--key", l.file("log.pub.pem")))
}

// prove makes proofs of a hundred entries, spread over the log, and one that the log only grew.
func (l *writtenLog) prove(n int) {
	l.b.Helper()
	x, err := auditlog.OpenExport(l.b.Context(), l.url, 0)
	check(l.b, err)
	defer x.Close(l.b.Context())
	const proofs = 100
	var all, most time.Duration
	for i := range int64(proofs) {
		began := time.Now()
		_, err := x.Prove(l.b.Context(), i*int64(n)/proofs)
		check(l.b, err)
		took := time.Since(began)
		all, most = all+took, max(most, took)
	}
	l.b.ReportMetric(all.Seconds()*1000/proofs, "ms/proof")
	l.b.ReportMetric(most.Seconds()*1000, "max-ms/proof")
	began := time.Now()
	_, err = x.ProveSince(l.b.Context(), auditlog.SealBatch)
	check(l.b, err)
	l.b.ReportMetric(time.Since(began).Seconds()*1000, "ms/consistency")
}

// BenchmarkCostOfTheProof is case M9: the same twice, with a sealer at work, and without one. There is no switch for that:
// the log's key is one that the replica does not have.
func BenchmarkCostOfTheProof(b *testing.B) {
	for _, sealing := range []bool{true, false} {
		b.Run(fmt.Sprintf("sealing=%t", sealing), func(b *testing.B) {
			machine(b)
			s := openStage(b)
			if !sealing {
				public, _, err := ed25519.GenerateKey(rand.Reader)
				check(b, err)
				check(b, auditlog.RegisterLogKey(b.Context(), s.Database, public))
			}
			w := &world{b: b, stage: s, farm: startFarm(b, s)}
			var err error
			w.replica, err = s.Start(b.Context())
			check(b, err)
			w.core, err = s.Core(w.replica)
			check(b, err)
			w.costs(sealing)
		})
	}
}

// costs measures the most that goes through, and then, at 300 queries and 100 changes a second, what an answer and a first
// attempt take.
func (w *world) costs(sealing bool) {
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	p := w.poller(500)
	clients := w.register("good", 20, w.farm.Good)
	w.pollsBeside(p, clients, 3*time.Second) // connections made, plans cached
	const n = 20000
	for w.b.Loop() {
		w.farm.reset(w.b)
		before, began := w.cpu(), time.Now()
		w.stream(clients, n, 2)
		w.farm.await(w.b, n, 30*time.Second)
		took := time.Since(began)
		w.spent(before, n)
		w.b.ReportMetric(n/took.Seconds(), "notifications/s")
		if sealing {
			w.awaitSealed() // what the flood left is no part of the steady state
		}
		gets, f := w.pollsBeside(p, clients, 20*time.Second)
		w.b.ReportMetric(float64(len(gets))/20, "GET/s")
		w.b.ReportMetric(ms(gets[len(gets)/2]), "GET-p50-ms")
		w.b.ReportMetric(ms(gets[len(gets)*99/100]), "GET-p99-ms")
		w.b.ReportMetric(ms(f.P50), "first-attempt-p50-ms")
		w.b.ReportMetric(ms(f.P99), "first-attempt-p99-ms")
		var sealed, entries int
		w.sql("SELECT (SELECT count(*) FROM arauto.log_position), (SELECT count(*) FROM arauto.entry)", &sealed, &entries)
		w.b.ReportMetric(float64(sealed)/float64(entries), "sealed-part")
		if sealing == (sealed == 0) {
			w.b.Fatalf("%d of %d entries are sealed", sealed, entries)
		}
	}
	w.b.ReportMetric(0, "ns/op")
}

// awaitSealed waits until all entries there are now have their position and stand in the figures.
func (w *world) awaitSealed() {
	w.b.Helper()
	var done, entries int
	w.sql("SELECT count(*) FROM arauto.entry", &entries)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(2 * time.Minute); done < entries; <-tick.C {
		if time.Now().After(end) {
			w.b.Fatalf("%d of %d entries are sealed and stand in the figures", done, entries)
		}
		w.sql("SELECT least(coalesce((SELECT max(seq) + 1 FROM arauto.log_position), 0), coalesce((SELECT entries FROM arauto.figures_state WHERE active), 0))", &done)
	}
}
