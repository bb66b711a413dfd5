package bench

import (
	"context"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/arauto/arauto/internal/lab/standin"
)

// startEvil starts the receiver that is never twice bad in the same way: before the handshake, in it, and in the answer.
func startEvil(o standin.Options) (*standin.Initiator, error) {
	evil, err := standin.Start(o)
	if err != nil {
		return nil, err
	}
	connections := []standin.Connection{
		{}, {StallHello: true}, {}, {StallFinish: true}, {}, {Reset: true}, {}, {Garbage: []byte("220 mail.example ESMTP\r\n")}, {}, {CloseAfterHandshake: true},
	}
	var script []standin.Connection
	for range 5000 {
		script = append(script, connections...)
	}
	evil.Connect(script...)
	answers := []standin.Answer{
		{Stall: standin.AtStatusLine},
		{Status: http.StatusFound, Header: []string{"Location: https://169.254.169.254/latest"}},
		{End: standin.ResetUp},
		{Raw: []byte("HTTP/9.9 yes please\r\n\r\n"), End: standin.Close},
		{Status: http.StatusInternalServerError, Body: strings.Repeat("x", 60_000)},
		{Flood: standin.Repeat("HTTP/1.1 202 Accepted\r\n", "x-bomb: "+strings.Repeat("y", 4000)+"\r\n", 20_000)},
		{Trickle: time.Second},
		{Status: http.StatusServiceUnavailable, Header: []string{"Retry-After: 0"}},
		{Echo: standin.WrongEcho, End: standin.Close},
		{Status: http.StatusUnauthorized},
	}
	var n atomic.Int64
	evil.AnswerBy(func(*standin.Request) standin.Answer {
		return answers[int(n.Add(1))%len(answers)]
	})
	return evil, nil
}

// sample is what the replica held at an instant.
type sample struct {
	at                     time.Duration
	rss, goroutines, files float64
}

// BenchmarkMixedLoad is case T1: 100 changes a second for 40 initiators, of which two are hostile, 150 status queries a
// second and one operator's search a second, for ARAUTO_BENCH_MINUTES (1). Memory, goroutines and descriptors are those of
// the last minute beside those of the second one (of a short run: of its last fifth beside its second fifth).
func BenchmarkMixedLoad(b *testing.B) {
	machine(b)
	minutes, err := strconv.Atoi(os.Getenv("ARAUTO_BENCH_MINUTES"))
	if err != nil || minutes < 1 {
		minutes = 1
	}
	lasting := time.Duration(minutes) * time.Minute
	w := open(b)
	p := w.poller(500)
	clients := append(w.register("good", 38, w.farm.Good), w.register("evil", 2, w.farm.Evil)...)
	w.pace(clients[:38], 100, 2*time.Second)
	for b.Loop() {
		w.farm.reset(b)
		late := w.metric("arauto_first_attempts_late_total")
		ctx, stop := context.WithCancel(b.Context())
		var all sync.WaitGroup
		var mu sync.Mutex
		var polls, searches []time.Duration
		took := func(into *[]time.Duration, d time.Duration) {
			mu.Lock()
			defer mu.Unlock()
			*into = append(*into, d)
		}
		all.Go(func() { steadily(ctx, time.Second/150, func(n int) { all.Go(func() { took(&polls, p.get(b, n)) }) }) })
		all.Go(func() {
			steadily(ctx, time.Second, func(int) {
				began := time.Now()
				if err := w.core.Call(b.Context(), http.MethodGet, "/internal/v1/notifications?limit=100&state=exhausted", nil, nil); err != nil {
					b.Error(err)
				}
				took(&searches, time.Since(began))
			})
		})
		var samples []sample
		began := time.Now()
		all.Go(func() {
			steadily(ctx, 2*time.Second, func(int) {
				samples = append(samples, sample{
					at: time.Since(began), rss: w.rss(), goroutines: w.metric("go_goroutines"), files: w.metric("process_open_fds"),
				})
			})
		})
		sent := w.pace(clients, 100, lasting)
		stop()
		all.Wait()
		f := w.farm.await(b, int64(sent*38/40), 30*time.Second)
		good := f.ByPathPrefix["good"]
		part := min(time.Minute, lasting/5)
		early, end := mean(samples, part, 2*part), mean(samples, lasting-part, lasting)
		b.ReportMetric(float64(good.P50.Microseconds())/1000, "first-p50-ms")
		b.ReportMetric(float64(good.P99.Microseconds())/1000, "first-p99-ms")
		b.ReportMetric(float64(good.Max.Microseconds())/1000, "first-max-ms")
		b.ReportMetric(w.metric("arauto_first_attempts_late_total")-late, "late") // of all, the hostile ones too
		b.ReportMetric(float64(len(polls))/lasting.Seconds(), "GET/s")
		q := quantilesOf(polls)
		b.ReportMetric(float64(q.P99.Microseconds())/1000, "GET-p99-ms")
		b.ReportMetric(float64(quantilesOf(searches).P99.Microseconds())/1000, "search-p99-ms")
		b.ReportMetric(end.rss, "MiB-RSS")
		b.ReportMetric(end.rss/early.rss, "RSS-growth")
		b.ReportMetric(end.goroutines/early.goroutines, "goroutines-growth")
		b.ReportMetric(end.files/early.files, "descriptors-growth")
	}
	b.ReportMetric(0, "ns/op")
}

// steadily calls do at a fixed distance until the context ends.
func steadily(ctx context.Context, distance time.Duration, do func(n int)) {
	tick := time.NewTicker(distance)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			do(n)
		}
	}
}

// mean is that of the samples from one instant to another.
func mean(samples []sample, from, to time.Duration) (m sample) {
	n := 0.0
	for _, s := range samples {
		if s.at >= from && s.at < to {
			m.rss, m.goroutines, m.files, n = m.rss+s.rss, m.goroutines+s.goroutines, m.files+s.files, n+1
		}
	}
	m.rss, m.goroutines, m.files = m.rss/n, m.goroutines/n, m.files/n
	return m
}

// metric is the value of one metric of the replica without labels.
func (w *world) metric(name string) float64 {
	w.b.Helper()
	text, err := w.replica.Metrics(w.b.Context())
	if err != nil {
		w.b.Error(err)
	}
	for l := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(l, name+" "); ok {
			v, _ := strconv.ParseFloat(strings.TrimSpace(value), 64)
			return v
		}
	}
	w.b.Errorf("there is no metric %s", name)
	return 0
}
