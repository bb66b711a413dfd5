package bench

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/stage"
)

// BenchmarkShare is `make bench-share`: the bare loop, the gateway at full speed, the gateway at 300 changes a second, the bare
// loop again, and how quiet the machine was in each. Beside the bare loop, whose share is judged, it tells the slower one of the standard
// library's client. It prints what a notification costs and judges the aims, and it fails without a
// verdict when the machine was not quiet. ARAUTO_BENCH_BARE is the bare loop's POST/s of this machine when it is quiet. With
// ARAUTO_BENCH_FORM=long the database is written in the form that older versions find (docs/decisions/0021, 0022).
func BenchmarkShare(b *testing.B) {
	machine(b)
	w := open(b)
	if os.Getenv("ARAUTO_BENCH_FORM") == "long" {
		w.exec("UPDATE arauto.form SET dense = false, packed = false")
	}
	clients := w.register("good", 20, w.farm.Good)
	const warm = 30000
	w.stream(clients, warm, 2) // connections made, plans cached, memory of both processes used once
	w.farm.await(b, warm, 20*time.Second)
	w.awaitSealed()
	w.fillLog()
	loop := w.openBare()
	loop(time.Second)
	const n = 60000
	for b.Loop() {
		c := conditions{Quiet: float64(setting("ARAUTO_BENCH_BARE", 0))}
		phase := func(run func()) cpu {
			end := w.meter()
			run()
			used, others, steal := end()
			c.Others, c.Steal = math.Max(c.Others, others), math.Max(c.Steal, steal) // NaN stays
			return used
		}
		phase(func() { c.Before = loop(5 * time.Second) }) // no longer: the gateway's connections would be too old to be used

		w.farm.reset(b)
		from, memory := w.wal(), w.watchMemory()
		var took time.Duration
		used := phase(func() {
			began := time.Now()
			w.stream(clients, n, 2)
			w.farm.await(b, n, 20*time.Second)
			took = time.Since(began)
			w.awaitSealed() // which is part of what a notification costs, and would slow the bare loop
		})
		m := measured{PerSecond: n / took.Seconds(), CPU: used.total() / n, Memory: memory()}
		to := w.wal()

		w.farm.reset(b)
		var acked, handed quantiles
		phase(func() { acked, handed = w.delays(clients, 300, 15*time.Second) })
		disk := w.syncs(300, 5*time.Second)
		phase(func() { c.After = loop(5 * time.Second) })
		library := w.openBareByLibrary()
		library(time.Second)
		var byLibrary float64
		phase(func() { byLibrary = library(5 * time.Second) })

		m.Bare = (c.Before + c.After) / 2
		m.AckedP99, m.HandedP99 = acked.P99, handed.P99
		split := w.walBetween(from, to, n)
		m.WAL = split.total
		var out strings.Builder
		fmt.Fprintf(&out, "bare loop %.0f/s before, %.0f/s after; other processes at most %.1f %%, host at most %.1f %% of the processors\n",
			c.Before, c.After, 100*c.Others, 100*c.Steal)
		fmt.Fprintf(&out, "notifications %.0f/s, durable and told: %.1f %% of the bare loop; %.0f %% of first attempts claimed with their change\n",
			m.PerSecond, 100*m.share(), w.together())
		fmt.Fprintf(&out, "the same bare POSTs by the standard library's client: %.0f/s, of which the notifications are %.1f %%\n", byLibrary, 100*m.PerSecond/byLibrary)
		fmt.Fprintf(&out, "processor time a notification: %s; in all %d µs\n", used.each(n), m.CPU.Microseconds())
		fmt.Fprintf(&out, "at 300/s: acknowledged to received p50 %s p99 %s; handed in to received p50 %s p99 %s\n", acked.P50, acked.P99, handed.P50, handed.P99)
		fmt.Fprintf(&out, "the disk alone at 300/s, 8 KiB written and synced: p50 %s p99 %s\n", disk.P50, disk.P99)
		fmt.Fprintf(&out, "memory of the gateway: at most %.0f MiB\n%s", m.Memory, split)
		b.Log(out.String())
		if reasons := c.noise(); len(reasons) > 0 {
			b.Fatalf("no verdict, the machine was not quiet:\n  %s", strings.Join(reasons, "\n  "))
		}
		out.Reset()
		for _, v := range m.verdicts() {
			fmt.Fprintf(&out, "  %-7s %s: %s\n", map[bool]string{true: "met", false: "NOT MET"}[v.Met], v.Aim, v.Got)
		}
		b.Logf("verdict:\n%s", out.String())
		b.ReportMetric(m.PerSecond, "notifications/s")
		b.ReportMetric(100*m.share(), "%-of-bare-loop")
	}
	b.ReportMetric(0, "ns/op")
}

// openBare connects 64 times to the receivers and returns the bare loop: POSTs of a notification's size over mTLS, written and read
// without a client library, for so long. It answers POST/s.
func (w *world) openBare() func(time.Duration) float64 {
	w.b.Helper()
	address := fmt.Sprintf("localhost:%d", w.farm.Good)
	request := fmt.Appendf(nil, "POST "+barePath+" HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\n"+
		"X-Webhook-Interaction-Id: %s\r\nContent-Length: %d\r\n\r\n%s", address, uuid.NewString(), len(bareBody), bareBody)
	config := w.bareTLS()
	turns := make([]func() error, bareConns)
	for i := range turns {
		conn, err := tls.Dial("tcp", address, config)
		check(w.b, err)
		w.b.Cleanup(func() { _ = conn.Close() })
		answer := make([]byte, 4096)
		turns[i] = func() error { return exchange(conn, request, answer) }
	}
	return w.repeat(turns)
}

// openBareByLibrary is openBare with the standard library's client, which most senders use. It is slower than the bare loop by what that
// client costs.
func (w *world) openBareByLibrary() func(time.Duration) float64 {
	w.b.Helper()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: w.bareTLS(), MaxIdleConnsPerHost: bareConns, MaxConnsPerHost: bareConns}}
	w.b.Cleanup(client.CloseIdleConnections)
	url := fmt.Sprintf("https://localhost:%d"+barePath, w.farm.Good)
	turns := make([]func() error, bareConns)
	for i := range turns {
		turns[i] = func() error {
			res, err := client.Post(url, "application/json", strings.NewReader(bareBody))
			if err != nil {
				return err
			}
			if res.StatusCode != http.StatusAccepted {
				return fmt.Errorf("answered %s", res.Status)
			}
			return res.Body.Close()
		}
	}
	return w.repeat(turns)
}

// What the bare loops send, and over how many connections.
const (
	barePath  = "/bare/open-banking/webhook/v1/payments/v5/pix/payments/x"
	bareBody  = `{"data":{"timestamp":"2026-11-21T12:00:00Z"}}`
	bareConns = 64
)

// bareTLS is the holder's side of mTLS with the receivers.
func (w *world) bareTLS() *tls.Config {
	w.b.Helper()
	leaf, err := w.stage.PKI.Issue(w.stage.PKI.HolderBRCAC())
	check(w.b, err)
	roots := x509.NewCertPool()
	roots.AddCert(w.stage.PKI.Root.Certificate)
	return &tls.Config{Certificates: []tls.Certificate{leaf.TLS()}, RootCAs: roots, MinVersion: tls.VersionTLS12}
}

// repeat returns what takes each of the turns again and again for so long, all beside each other, and answers how many a second.
func (w *world) repeat(turns []func() error) func(time.Duration) float64 {
	return func(d time.Duration) float64 {
		var count atomic.Int64
		var all sync.WaitGroup
		began := time.Now()
		for _, turn := range turns {
			all.Go(func() {
				for time.Since(began) < d {
					if err := turn(); err != nil {
						w.b.Error(err)
						return
					}
					count.Add(1)
				}
			})
		}
		all.Wait()
		return float64(count.Load()) / time.Since(began).Seconds()
	}
}

// exchange writes one request and reads its answer, which has no body.
func exchange(conn io.ReadWriter, request, answer []byte) error {
	if _, err := conn.Write(request); err != nil {
		return err
	}
	for n := 0; ; {
		more, err := conn.Read(answer[n:])
		if err != nil {
			return err
		}
		if n += more; strings.HasSuffix(string(answer[:n]), "\r\n\r\n") {
			if !strings.HasPrefix(string(answer[:n]), "HTTP/1.1 202 ") {
				return fmt.Errorf("answered %.40q", answer[:n])
			}
			return nil
		}
	}
}

// delays hands in single changes at a fixed rate and returns how long each notification took to its receiver: from the
// acknowledgement of its change, and from its handing in. The first may be negative, since nothing orders the two.
func (w *world) delays(clients []string, perSecond int, d time.Duration) (acked, handed quantiles) {
	w.b.Helper()
	sent, at := w.paceObserved(clients, perSecond, d)
	w.farm.await(w.b, int64(len(sent)), 10*time.Second)
	var got []arrival
	check(w.b, json.Unmarshal(w.farm.get(w.b, "/arrivals"), &got))
	var fromAck, fromHand []time.Duration
	for _, a := range got {
		if a.N >= len(at) {
			w.b.Fatalf("change %d was told, but has no answer", a.N)
		}
		received := time.Unix(0, a.At)
		fromAck, fromHand = append(fromAck, received.Sub(at[a.N])), append(fromHand, received.Sub(sent[a.N]))
	}
	return quantilesOf(fromAck), quantilesOf(fromHand)
}

// syncs is what a commit waits for at the least: 8 KiB are written over a part of a file, as write-ahead log is, and synced, one after the
// other, on the disk of the database.
func (w *world) syncs(perSecond int, d time.Duration) quantiles {
	w.b.Helper()
	const size, page = 16 << 20, 8 << 10
	name := filepath.Join(w.stage.Dir, "syncs")
	check(w.b, os.WriteFile(name, make([]byte, size), 0o600))
	file, err := os.OpenFile(name, os.O_WRONLY|syscall.O_DSYNC, 0) // PostgreSQL's fdatasync after each write is the same to a disk
	check(w.b, err)
	defer func() { check(w.b, errors.Join(file.Close(), os.Remove(name))) }()
	check(w.b, file.Sync())
	var took []time.Duration
	tick := time.NewTicker(time.Second / time.Duration(perSecond))
	defer tick.Stop()
	for end := time.Now().Add(d); time.Now().Before(end); {
		<-tick.C
		began := time.Now()
		_, err := file.WriteAt(make([]byte, page), int64(len(took)*page%size))
		check(w.b, err)
		took = append(took, time.Since(began))
	}
	return quantilesOf(took)
}

// paceObserved is pace, and tells when each change was handed in and when it was acknowledged. The answers of a stream have the order
// of its lines.
func (w *world) paceObserved(clients []string, perSecond int, d time.Duration) (sent, acked []time.Time) {
	w.b.Helper()
	lines := make(chan []byte, 4096)
	var all sync.WaitGroup
	complain := w.applied()
	all.Go(func() {
		err := w.core.Stream(w.b.Context(), lines, func(a stage.Accepted) {
			acked = append(acked, time.Now())
			complain(a)
		})
		if err != nil {
			w.b.Error(err)
		}
	})
	tick := time.NewTicker(time.Second / time.Duration(perSecond))
	defer tick.Stop()
	for end := time.Now().Add(d); time.Now().Before(end); {
		<-tick.C
		n, now := len(sent), time.Now()
		sent = append(sent, now)
		lines <- line(clients[n%len(clients)], now, n)
	}
	close(lines)
	all.Wait()
	return sent, acked
}

// watchMemory looks at the gateway's resident memory until the returned function is called, which answers the most, in MiB.
func (w *world) watchMemory() func() float64 {
	done, most := make(chan struct{}), make(chan float64)
	go func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for top := 0.0; ; {
			top = max(top, w.rss())
			select {
			case <-tick.C:
			case <-done:
				most <- top
				return
			}
		}
	}()
	return func() float64 { close(done); return <-most }
}

// meter begins to watch the processors; the returned function answers what our processes used since, and the shares of all
// processors' time that other processes and the host took. Shares are NaN where the kernel does not tell.
func (w *world) meter() func() (used cpu, others, steal float64) {
	w.b.Helper()
	own, before := w.cpu(), processors()
	return func() (cpu, float64, float64) {
		after, used := processors(), w.cpu()
		for who := range used {
			used[who] -= own[who]
		}
		if before == nil || after == nil {
			return used, math.NaN(), math.NaN()
		}
		var all float64
		for i := range after {
			after[i] -= before[i]
			all += after[i]
		}
		const user, nice, system, stolen = 0, 1, 2, 7
		busy := after[user] + after[nice] + after[system]
		return used, max(0, busy-used.total().Seconds()) / all, after[stolen] / all
	}
}

// processors returns seconds since the start of the machine as /proc/stat counts them, all processors together: user, nice, system,
// idle, iowait, irq, softirq, steal. Nil where there is no such file.
func processors() []float64 {
	text, err := os.ReadFile("/proc/stat")
	fields := strings.Fields(strings.SplitN(string(text), "\n", 2)[0])
	if err != nil || len(fields) < 9 || fields[0] != "cpu" {
		return nil
	}
	out := make([]float64, 8)
	for i := range out {
		ticks, err := strconv.ParseFloat(fields[i+1], 64)
		if err != nil {
			return nil
		}
		out[i] = ticks / 100
	}
	return out
}

// total returns the processor time of all.
func (c cpu) total() (sum time.Duration) {
	for _, used := range c {
		sum += used
	}
	return sum
}

// each says what each used for one of n.
func (c cpu) each(n int) string {
	var out []string
	for _, who := range []string{"postgres", "gateway", "receivers", "driver", "core"} {
		if c[who] != 0 {
			out = append(out, fmt.Sprintf("%s %.0f µs", who, float64(c[who].Microseconds())/float64(n)))
		}
	}
	return strings.Join(out, ", ")
}

// TestTheMeterCountsBusyProcessors: work is in the kernel's count of user and system time, on which others' share rests.
func TestTheMeterCountsBusyProcessors(t *testing.T) {
	before := processors()
	if before == nil {
		t.Skip("the kernel tells nothing in /proc/stat")
	}
	began := processTime(os.Getpid())
	for processTime(os.Getpid())-began < 200*time.Millisecond { // until the kernel has counted it
		_ = uuid.NewString()
	}
	after := processors()
	busy := after[0] + after[1] + after[2] - before[0] - before[1] - before[2]
	require.GreaterOrEqual(t, busy, 0.15, "%v, then %v", before, after)
}
