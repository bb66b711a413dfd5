package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/arauto/arauto/internal/lab/openapitest"
	"github.com/arauto/arauto/internal/lab/temppostgres"
	"github.com/arauto/arauto/internal/ofb"
)

// followed is a world whose gateway follows a core's table of payments.
type followed struct {
	*world
	core *pgxpool.Pool
	doc  string // what a row holds beside id, client and state
}

const followedSchema = `
CREATE TABLE payments (id text PRIMARY KEY, client text NOT NULL, status text NOT NULL, doc jsonb NOT NULL, changed_at timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE PUBLICATION arauto FOR TABLE payments`

const followedMapping = `
source: core
type: postgres
postgres: {url: %q, create: true, snapshot: initial}
tables:
  payments:
    kind: pix-payment
    id: id
    client: client
    version: v5
    status: status
    occurredAt: changed_at
    data:
%s`

// follow sets up a core with a durable server of its own, and a gateway that follows it.
func follow(b *testing.B) *followed {
	b.Helper()
	server, err := temppostgres.Start(b.Context(), temppostgres.Options{Durable: true, Private: true, Settings: []string{"wal_level=logical"}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = server.Stop() })
	url, err := server.CreateDatabase(b.Context(), "core", "")
	if err != nil {
		b.Fatal(err)
	}
	f := &followed{}
	if f.core, err = pgxpool.New(b.Context(), url); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(f.core.Close)
	if _, err := f.core.Exec(b.Context(), followedSchema); err != nil {
		b.Fatal(err)
	}
	data := openapitest.Data(ofb.PixPayment, "v5", ofb.ACSC, "x")
	var members strings.Builder
	for name := range data {
		if name != "paymentId" && name != "status" {
			fmt.Fprintf(&members, "      %s: doc.%s\n", name, name)
		}
	}
	text, err := json.Marshal(data)
	if err != nil {
		b.Fatal(err)
	}
	f.doc = string(text)
	mapping := filepath.Join(b.TempDir(), "core.yaml")
	if err := os.WriteFile(mapping, fmt.Appendf(nil, followedMapping, url, members.String()), 0o600); err != nil {
		b.Fatal(err)
	}
	f.world = open(b, "ARAUTO_WATCH_SOURCES="+mapping)
	f.followed = server
	f.awaitReading()
	return f
}

type followedStatus struct {
	Running bool `json:"running"`
	Status  struct {
		LagBytes int64          `json:"lagBytes"`
		State    string         `json:"state"`
		Counts   map[string]int `json:"counts"`
	} `json:"status"`
}

func (f *followed) status() (s followedStatus) {
	if err := f.world.core.Call(f.b.Context(), http.MethodGet, "/internal/v1/sources/core", nil, &s); err != nil {
		f.b.Fatal(err)
	}
	return s
}

func (f *followed) awaitReading() {
	f.b.Helper()
	f.until(30*time.Second, func() bool { return f.status().Running })
}

// until asks again and again.
func (f *followed) until(within time.Duration, is func() bool) {
	f.b.Helper()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(within); !is(); <-tick.C {
		if time.Now().After(end) {
			f.b.Fatalf("the source does not get there: %+v", f.status())
		}
	}
}

func (f *followed) act(what string) {
	f.b.Helper()
	if err := f.world.core.Call(f.b.Context(), http.MethodPost, "/internal/v1/sources/core/"+what, map[string]string{"reason": "benchmark"}, nil); err != nil {
		f.b.Fatal(err)
	}
}

// commit writes announced payments at a fixed rate, each in a transaction of its own whose beginning stands in its id, and
// answers how many there were and how long the core took to commit half of them and almost all.
func (f *followed) commit(clients []string, perSecond int, d time.Duration) (int, quantiles) {
	f.b.Helper()
	var all sync.WaitGroup
	var mu sync.Mutex
	var took []time.Duration
	n := 0
	tick := time.NewTicker(time.Second / time.Duration(perSecond))
	defer tick.Stop()
	for end := time.Now().Add(d); time.Now().Before(end); n++ {
		<-tick.C
		client, number := clients[n%len(clients)], n
		all.Go(func() {
			began := time.Now()
			_, err := f.core.Exec(context.Background(), "INSERT INTO payments (id, client, status, doc) VALUES ($1, $2, 'ACSC', $3)", idAt(began, number), client, f.doc)
			if err != nil {
				f.b.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			took = append(took, time.Since(began))
		})
	}
	all.Wait()
	return n, quantilesOf(took)
}

// From the beginning of the core's transaction, its fsync included, to the arrival at the receiver, at the regulator's
// floor of 300 a second.
func BenchmarkFollowedCore(b *testing.B) {
	machine(b)
	f := follow(b)
	clients := f.register("good", 50, f.farm.Good)
	f.commit(clients, 300, 2*time.Second)
	d := 5 * time.Second
	if os.Getenv("ARAUTO_LONG") != "" {
		d = 60 * time.Second
	}
	for b.Loop() {
		f.farm.reset(b)
		n, core := f.commit(clients, 300, d)
		got := f.farm.await(b, int64(n), 10*time.Second)
		b.ReportMetric(float64(core.P50.Microseconds())/1000, "core-commit-p50-ms")
		b.ReportMetric(float64(got.P50.Microseconds())/1000, "p50-ms")
		b.ReportMetric(float64(got.P99.Microseconds())/1000, "p99-ms")
		b.ReportMetric(float64(got.Max.Microseconds())/1000, "max-ms")
		b.ReportMetric(float64(got.Late1500), "late")
	}
	b.ReportMetric(0, "ns/op")
}

// A backlog that piled up while the source was paused: how fast it is read, and how late fresh changes are meanwhile. Its
// rows are silent, as most of a core's are, so that the source is measured and not the sending.
func BenchmarkFollowedBacklog(b *testing.B) {
	machine(b)
	f := follow(b)
	clients := f.register("good", 50, f.farm.Good)
	rows := 50_000
	if os.Getenv("ARAUTO_LONG") != "" {
		rows = 1_000_000
	}
	round := 0
	for b.Loop() {
		round++
		f.act("pause")
		f.until(30*time.Second, func() bool { return !f.status().Running })
		for from := 0; from < rows; from += 500 { // transactions as a batch of a core makes them
			if _, err := f.core.Exec(b.Context(), `INSERT INTO payments (id, client, status, doc)
SELECT format('old-%s-%s', $1::int, n), $2 || '-' || n % 50, 'RCVD', $3::jsonb FROM generate_series($4::int, $5::int) n`,
				round, "good", f.doc, from, min(from+500, rows)-1); err != nil {
				b.Fatal(err)
			}
		}
		before := f.stored()
		f.farm.reset(b)
		f.act("resume")
		began, spent := time.Now(), f.cpu()
		stop, ended := make(chan struct{}), make(chan int)
		go func() {
			total := 0
			for {
				select {
				case <-stop:
					ended <- total
					return
				default:
					n, _ := f.commit(clients, 50, time.Second)
					total += n
				}
			}
		}()
		stored := 0
		f.until(20*time.Minute, func() bool { stored = f.stored() - before; return stored >= rows }) // fresh ones are counted as well
		took := time.Since(began)
		f.spent(spent, stored)
		close(stop)
		got := f.farm.await(b, int64(<-ended), 30*time.Second)
		b.ReportMetric(float64(stored)/took.Seconds(), "rows/s")
		b.ReportMetric(float64(got.P50.Microseconds())/1000, "fresh-p50-ms")
		b.ReportMetric(float64(got.P99.Microseconds())/1000, "fresh-p99-ms")
		b.ReportMetric(float64(got.Late1500), "fresh-late")
		b.ReportMetric(f.rss(), "MiB-RSS")
	}
	b.ReportMetric(0, "ns/op")
}

// stored is how many changes the gateway has taken from the source.
func (f *followed) stored() int { return f.status().Status.Counts["stored"] }
