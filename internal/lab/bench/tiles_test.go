package bench

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/arauto/arauto/internal/audit"
)

// Bounds of BenchmarkTiles: what a mirror of 10,000,000 entries may take.
const (
	mirrorMost    = 10 * time.Minute
	mirrorMostMiB = 100
)

// BenchmarkTiles reports what it takes to publish a sealed log as tiles and to mirror it from its first entry on: time, processor time and
// largest memory of `arauto audit tiles` and of `arauto mirror`, each in a process of its own, over HTTP. It fails when a tile is missing,
// when the mirror's tiles are not the published ones, and when the mirror takes more than 10 min or 100 MiB. ARAUTO_BENCH_DATABASE names a
// database with a sealed log, which is only read (BenchmarkPages makes one of 10,000,000 entries); without it the log has
// ARAUTO_BENCH_ENTRIES entries. TMPDIR is where the tiles lie meanwhile: 0.7 GB for 10,000,000 entries.
func BenchmarkTiles(b *testing.B) {
	machine(b)
	l := sealedForTiles(b)
	for b.Loop() {
		dir := b.TempDir()
		published, copied := filepath.Join(dir, "published"), filepath.Join(dir, "copied")
		b.Logf("%s", l.run("tiles", "tiles", "--database-url", l.url, "--out", published))
		note, err := os.ReadFile(filepath.Join(published, "checkpoint"))
		check(b, err)
		head, err := audit.OpenCheckpoint(note, l.public)
		check(b, err)
		server := httptest.NewServer(http.FileServer(http.Dir(published)))
		b.Cleanup(server.Close)
		b.Logf("%s", l.product("mirror", "mirror", "--from", server.URL, "--log", audit.VerifierKey(l.public), "--out", copied, "--once"))
		b.Logf("%d entries: %d tiles, none missing; the mirror computed each of them from the leaves", head.Size, compareTiles(b, published, copied, head.Size))
		b.ReportMetric(float64(head.Size), "entries")
		if took, memory := l.took["mirror"], l.memory["mirror"]; took > mirrorMost || memory > mirrorMostMiB {
			b.Errorf("the mirror took %s and %.0f MiB, and may take %s and %d MiB", took, memory, mirrorMost, mirrorMostMiB)
		}
	}
	b.ReportMetric(0, "ns/op")
}

// sealedForTiles is the log of the database that the environment names, or one of the benchmark's own.
func sealedForTiles(b *testing.B) *writtenLog {
	b.Helper()
	url := os.Getenv("ARAUTO_BENCH_DATABASE")
	if url == "" {
		n := proofEntries(b)
		l := writeLog(b, n)
		l.seal(n)
		return l
	}
	conn, err := pgx.Connect(b.Context(), url)
	check(b, err)
	defer conn.Close(b.Context())
	var public []byte
	check(b, conn.QueryRow(b.Context(), "SELECT public FROM arauto.log_key").Scan(&public))
	return &writtenLog{b: b, url: url, public: public}
}

// compareTiles compares every tile that a log of a size has in two folders, and returns how many there are.
func compareTiles(b *testing.B, published, copied string, size int64) (all int) {
	b.Helper()
	for level := 0; size>>(level*audit.TileLevels) > 0; level++ {
		for _, t := range audit.NewTiles(level, 0, size) {
			have, err := os.ReadFile(filepath.Join(published, filepath.FromSlash(t.Path())))
			check(b, err)
			want, err := os.ReadFile(filepath.Join(copied, filepath.FromSlash(t.Path())))
			check(b, err)
			if !bytes.Equal(have, want) || len(have) != t.Width*len(audit.Hash{}) {
				b.Fatalf("%s is not what the leaves give", t.Path())
			}
			all++
		}
	}
	return all
}
