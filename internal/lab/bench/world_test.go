package bench

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/lab/openapitest"
	"github.com/arauto/arauto/internal/lab/stage"
	"github.com/arauto/arauto/internal/lab/temppostgres"
	"github.com/arauto/arauto/internal/ofb"
)

// world is a stage with one replica, receivers and a core, for one benchmark.
type world struct {
	b       *testing.B
	stage   *stage.Stage
	replica *stage.Replica
	farm    *farm
	core    *stage.Core

	followed *temppostgres.Server // of a core that is followed; nil: none is
}

// binary is where the product is built for this run; it is removed at the end.
func binary() string { return filepath.Join(os.TempDir(), fmt.Sprintf("arauto-bench-%d", os.Getpid())) }

var built = sync.OnceValues(func() (string, error) {
	name := binary()
	arguments := append([]string{"build", "-o", name}, strings.Fields(os.Getenv("ARAUTO_BENCH_BUILD"))...) // such as -pgo=FILE
	out, err := exec.Command("go", append(arguments, "github.com/arauto/arauto/cmd/arauto")...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build the product: %w: %s", err, out)
	}
	return name, nil
})

func open(b *testing.B, settings ...string) *world {
	b.Helper()
	product, err := built()
	if err != nil {
		b.Fatal(err)
	}
	s, err := stage.Open(b.Context(), stage.Options{Durable: true, Settings: settings, Command: func(args ...string) *exec.Cmd { return exec.Command(product, args...) }})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Log(err)
		}
	})
	w := &world{b: b, stage: s, farm: startFarm(b, s)}
	if w.replica, err = s.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	if w.core, err = s.Core(w.replica); err != nil {
		b.Fatal(err)
	}
	return w
}

// fillLog makes the server as one that runs for long, which uses the files of its write-ahead log again: it has more than these runs fill. A
// young one fills each file with zeros first and syncs it, while commits wait.
func (w *world) fillLog() {
	w.exec("SELECT pg_logical_emit_message(false, 'bench', repeat('x', 1 << 20)) FROM generate_series(1, 600)")
	w.exec("CHECKPOINT")
}

// register makes n clients whose notifications go to a port; the name is the first segment of their base.
func (w *world) register(name string, n, port int) []string {
	w.b.Helper()
	clients := make([]string, n)
	for i := range clients {
		clients[i] = fmt.Sprintf("%s-%d", name, i)
		err := w.core.Register(w.b.Context(), clients[i], stage.Registration{
			OrganisationID: certs.DefaultAlfa.Organisation.ID, SoftwareID: certs.DefaultAlfa.SoftwareID, Name: clients[i],
			WebhookURIs: []string{fmt.Sprintf("https://localhost:%d/%s", port, name)},
		})
		if err != nil {
			w.b.Fatal(err)
		}
	}
	return clients
}

// line is one announced change of a payment, with its instant in its id. It is filled into a text that was made once: the driver takes
// processor time from the gateway.
func line(client string, at time.Time, n int) []byte {
	id := idAt(at, n)
	values := map[string]string{
		"client": client, "id": id, "nonce": fmt.Sprintf("%011d", n),
		"at": at.UTC().Format(time.RFC3339Nano), "second": at.UTC().Format(time.RFC3339), "minute": at.UTC().Format("200601021504"),
	}
	out := make([]byte, 0, 1024)
	for i, piece := range lineTemplate() {
		if i%2 == 1 {
			piece = values[piece]
		}
		out = append(out, piece...)
	}
	return out
}

// lineTemplate is a change with names between at signs in place of what differs from line to line: every second piece is a name.
var lineTemplate = sync.OnceValue(func() []string {
	at := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	text, err := stage.Change{
		Kind: ofb.PixPayment.String(), ClientID: "@client@", APIVersion: "v5", Revision: 1, OccurredAt: at.Add(1),
		Data: openapitest.Document(ofb.PixPayment, "v5", ofb.ACSC, "@id@", openapitest.Created(at), openapitest.UnderConsent("urn:bancoexemplo:@nonce@"),
			openapitest.Edit(func(data map[string]any) { data["endToEndId"] = "E99999004@minute@@nonce@" })),
	}.Line()
	if err != nil {
		panic(err)
	}
	return strings.Split(strings.NewReplacer(at.Add(1).Format(time.RFC3339Nano), "@at@", at.Format(time.RFC3339), "@second@").Replace(string(text)), "@")
})

func TestALineIsAChange(t *testing.T) {
	at := time.Date(2026, 11, 29, 9, 30, 1, 250, time.UTC)
	id := idAt(at, 77)
	want, err := stage.Change{
		Kind: ofb.PixPayment.String(), ClientID: "good-1", APIVersion: "v5", Revision: 1, OccurredAt: at,
		Data: openapitest.Document(ofb.PixPayment, "v5", ofb.ACSC, id, openapitest.Created(at), openapitest.UnderConsent("urn:bancoexemplo:00000000077"),
			openapitest.Edit(func(data map[string]any) { data["endToEndId"] = "E9999900420261129093000000000077" })),
	}.Line()
	require.NoError(t, err)
	require.JSONEq(t, string(want), string(line("good-1", at, 77)))
}

// unanswered is how many changes of a stream a core hands in before the first of them is answered. What it hands in beyond that only
// waits in the buffers of its connection, where it becomes late.
const unanswered = 1000

// stream hands in n changes as fast as they are answered, over so many streams at once, and answers how long it took.
func (w *world) stream(clients []string, n, streams int) time.Duration {
	w.b.Helper()
	began := time.Now()
	var all sync.WaitGroup
	for s := range streams {
		lines, waiting := make(chan []byte, 256), make(chan struct{}, unanswered)
		done := make(chan struct{})
		all.Go(func() {
			defer close(lines)
			for i := s; i < n; i += streams {
				select {
				case waiting <- struct{}{}:
					lines <- line(clients[i%len(clients)], time.Now(), i)
				case <-done:
					return
				}
			}
		})
		all.Go(func() {
			defer close(done)
			complain := w.applied()
			err := w.core.Stream(w.b.Context(), lines, func(a stage.Accepted) {
				<-waiting
				complain(a)
			})
			if err != nil {
				w.b.Error(err)
			}
		})
	}
	all.Wait()
	return time.Since(began)
}

// applied fails the benchmark with the first answer that is another one, and with what the replica says to it: a stream
// answers all that follow a 503 the same.
func (w *world) applied() func(stage.Accepted) {
	var once sync.Once
	return func(a stage.Accepted) {
		if a.Outcome != "applied" {
			once.Do(func() { w.b.Errorf("a change was answered %+v; the replica: %s", a, w.complaints()) })
		}
	}
}

// complaints are the last lines of the replica's log that are not information.
func (w *world) complaints() string {
	text, err := os.ReadFile(filepath.Join(w.stage.Dir, w.replica.Name+".log"))
	if err != nil {
		return err.Error()
	}
	var out []string
	for l := range strings.Lines(string(text)) {
		if !strings.Contains(l, `"level":"INFO"`) {
			out = append(out, l)
		}
	}
	return strings.Join(out[max(0, len(out)-10):], "")
}

// pace hands in single changes at a fixed rate, open loop: a slow answer delays no later change.
func (w *world) pace(clients []string, perSecond int, d time.Duration) int {
	w.b.Helper()
	lines := make(chan []byte, 4096)
	var all sync.WaitGroup
	all.Go(func() {
		err := w.core.Stream(w.b.Context(), lines, w.applied())
		if err != nil {
			w.b.Error(err)
		}
	})
	n := 0
	tick := time.NewTicker(time.Second / time.Duration(perSecond))
	defer tick.Stop()
	for end := time.Now().Add(d); time.Now().Before(end); n++ {
		<-tick.C
		lines <- line(clients[n%len(clients)], time.Now(), n)
	}
	close(lines)
	all.Wait()
	return n
}

// sql runs one query that answers one row.
func (w *world) sql(query string, into ...any) {
	w.b.Helper()
	conn, err := pgx.Connect(context.Background(), w.stage.Database)
	if err != nil {
		w.b.Fatal(err)
	}
	defer conn.Close(context.Background())
	if err := conn.QueryRow(context.Background(), query).Scan(into...); err != nil {
		w.b.Fatal(err)
	}
}

// exec runs one statement.
func (w *world) exec(statement string) {
	w.b.Helper()
	conn, err := pgx.Connect(context.Background(), w.stage.Database)
	if err != nil {
		w.b.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(context.Background(), statement); err != nil {
		w.b.Fatal(err)
	}
}

// rss is the resident memory of the replica, in MiB.
func (w *world) rss() float64 {
	w.b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", w.replica.Pid()))
	if err != nil {
		return 0
	}
	for l := range strings.Lines(string(text)) {
		var kb float64
		if _, err := fmt.Sscanf(l, "VmRSS: %f kB", &kb); err == nil {
			return kb / 1024
		}
	}
	return 0
}

// machine logs where the figures come from.
func machine(b *testing.B) {
	b.Helper()
	cpu := "unknown processor"
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for l := range strings.Lines(string(text)) {
			if name, ok := strings.CutPrefix(l, "model name"); ok {
				cpu = strings.TrimLeft(strings.TrimSpace(name), ": ")
				break
			}
		}
	}
	b.Logf("machine: %d cores, %s, %s; load driver, receivers, PostgreSQL (fsync on) and gateway share them",
		runtime.NumCPU(), cpu, runtime.Version())
}
