package bench

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/lab/stage"
)

// call makes one call of the extension, and returns its status, the claims of a signed answer, and how long it took.
func (p *poller) call(ctx context.Context, method, path, body string) (status int, claims []byte, took time.Duration, err error) {
	var sent io.Reader = http.NoBody
	if body != "" {
		sent = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, p.base+"/arauto/v1/"+path, sent)
	if err != nil {
		return 0, nil, 0, err
	}
	req.Header.Set("Authorization", "Bearer "+p.token)
	req.Header.Set("x-fapi-interaction-id", uuid.NewString())
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	began := time.Now()
	res, err := p.client.Do(req)
	if err != nil {
		return 0, nil, 0, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	took = time.Since(began)
	if part := strings.Split(string(text), "."); err == nil && len(part) == 3 && res.StatusCode == http.StatusOK {
		text, err = base64.RawURLEncoding.DecodeString(part[1])
	}
	return res.StatusCode, text, took, err
}

// The idle long polls that are measured, and for how long.
const (
	idlePolls   = 1000
	idleStretch = 30 * time.Second // in which each poll ends once

	// untilRecorded begins when the last poll waits, and ends with the minute of the first that came back. In the stretch behind it each of them
	// comes back once, and is recorded once: twice as often as on average.
	untilRecorded = 64 * time.Second
)

// Long polls of as many clients of two organisations, each on a connection of its own with a cursor of its own, while nothing happens:
// processor time and memory of the gateway over those without any. Each is answered 204 after 30 s and comes back at once. The stretch begins
// when each has come back twice. None means: no connection to the public listener, there never was one, and as many changes were taken and
// told as there are clients. Beside the resident memory of the process stands what Go has in use of it: spans of its heap with live objects,
// with garbage that is not collected yet, and stacks.
func BenchmarkIdleLongPolls(b *testing.B) {
	machine(b)
	w := open(b, "ARAUTO_EXTENSION_ENABLED=true", "ARAUTO_EXTENSION_MAX_WAITING=8192")
	polls, cursors := make([]*poller, idlePolls), make([]string, idlePolls)
	lines := make(chan []byte, idlePolls)
	for i := range polls {
		who := []certs.Participant{certs.DefaultAlfa, certs.DefaultBeta}[i%2]
		polls[i] = w.caller(who, fmt.Sprintf("idle-%d", i), fmt.Sprintf("https://localhost:%d/idle", w.farm.Good))
		lines <- line(fmt.Sprintf("idle-%d", i), time.Now(), i)
	}
	close(lines)
	if err := w.core.Stream(b.Context(), lines, w.applied()); err != nil {
		b.Fatal(err)
	}
	w.farm.await(b, idlePolls, 10*time.Second)
	for b.Loop() {
		none := w.used(idleStretch)
		ctx, stop := context.WithCancel(b.Context())
		var all sync.WaitGroup
		for i, p := range polls {
			all.Go(func() {
				<-time.After(time.Duration(i) * 25 * time.Second / idlePolls)
				p.wait(ctx, b, &cursors[i])
			})
		}
		for w.metric("arauto_feed_polls_waiting") < idlePolls {
			<-time.After(100 * time.Millisecond)
		}
		<-time.After(untilRecorded)
		entries := w.entries()
		waiting := w.used(idleStretch)
		b.ReportMetric(float64(w.entries()-entries), "records")
		if still := w.metric("arauto_feed_polls_waiting"); still < idlePolls*98/100 {
			b.Errorf("%.0f long polls wait at the end", still)
		}
		stop()
		all.Wait()
		percent := func(who string) float64 { return 100 * float64(waiting.cpu[who]-none.cpu[who]) / float64(idleStretch) }
		b.ReportMetric(percent("gateway"), "%-of-a-core")
		b.ReportMetric(percent("postgres"), "%-of-a-core-database")
		b.ReportMetric(waiting.rss-none.rss, "MiB-over-none")
		b.ReportMetric(none.rss, "MiB-none")
		b.ReportMetric(waiting.heap-none.heap, "MiB-heap-over-none")
		b.ReportMetric(waiting.stacks-none.stacks, "MiB-stacks-over-none")
		b.ReportMetric(waiting.live-none.live, "MiB-live-heap-over-none")
	}
	b.ReportMetric(0, "ns/op")
}

// usage is what a stretch of time cost.
type usage struct {
	cpu cpu

	rss, heap, stacks float64 // MiB of the gateway at its end: of the process, of Go's heap with its garbage, and of stacks
	live              float64 // MiB of Go's heap that its last collection found in use
}

func (w *world) used(d time.Duration) usage {
	before := w.cpu()
	<-time.After(d)
	const mib = 1 << 20
	out := usage{cpu: w.cpu(), rss: w.rss(), heap: w.metric("go_memstats_heap_inuse_bytes") / mib, stacks: w.metric("go_memstats_stack_inuse_bytes") / mib}
	out.live = (w.metric("go_memstats_next_gc_bytes")/mib - out.stacks) / 2 // the next collection comes at twice that, and the stacks (GOGC=100)
	for who := range out.cpu {
		out.cpu[who] -= before[who]
	}
	return out
}

// entries is how many there are.
func (w *world) entries() (n int) {
	w.sql("SELECT count(*) FROM arauto.entry", &n)
	return n
}

// wait reads a feed to its end and then waits for more until ctx ends; nothing comes.
func (p *poller) wait(ctx context.Context, b *testing.B, cursor *string) {
	b.Helper()
	for ctx.Err() == nil {
		status, claims, _, err := p.call(ctx, http.MethodGet, "events?wait=30&after="+*cursor, "")
		if ctx.Err() != nil || status == http.StatusNoContent {
			continue
		}
		var got struct{ Data struct{ NextCursor string } }
		if err == nil {
			err = json.Unmarshal(claims, &got)
		}
		if err != nil || status != http.StatusOK {
			b.Errorf("answered %d: %.200s %v", status, claims, err)
			return
		}
		*cursor = got.Data.NextCursor
	}
}

// foreignRounds is how many ids of each sort are asked for.
const foreignRounds = 3000

// Whether the time of an answer tells an id of another client from one that nobody has: both are asked for in random order, and a second
// series of unknown ids says how far two equal series lie apart.
func BenchmarkForeignIDs(b *testing.B) {
	machine(b)
	w := open(b, "ARAUTO_EXTENSION_ENABLED=true", "ARAUTO_PUBLIC_MAX_RATE=100000")
	w.caller(certs.DefaultAlfa, "alfa", fmt.Sprintf("https://localhost:%d/alfa", w.farm.Good))
	beta := w.caller(certs.DefaultBeta, "beta")
	w.stream([]string{"alfa"}, 2000, 1)
	w.farm.await(b, 2000, 10*time.Second)
	ids := func(column string) []string {
		var text string
		w.sql("SELECT string_agg(DISTINCT "+column+"::text, ' ') FROM arauto.entry WHERE client_id = 'alfa' AND "+column+" IS NOT NULL", &text)
		return strings.Fields(text)
	}
	for _, of := range []struct {
		name   string
		theirs []string
		ask    func(id string) (int, []byte, time.Duration, error)
		status int
	}{
		{"receipt", ids("interaction_id"), func(id string) (int, []byte, time.Duration, error) {
			return beta.call(b.Context(), http.MethodGet, "notifications/"+id, "")
		}, http.StatusNotFound},
		{"ack", ids("notification_id"), func(id string) (int, []byte, time.Duration, error) {
			return beta.call(b.Context(), http.MethodPost, "events/acks", `{"acks":["`+id+`"]}`)
		}, http.StatusOK},
	} {
		b.Run(of.name, func(b *testing.B) {
			for b.Loop() {
				took := [3][]time.Duration{} // foreign, unknown, unknown again
				for range foreignRounds {
					for _, sort := range rand.Perm(3) {
						id := stage.NewInteraction()
						if sort == 0 {
							id = of.theirs[rand.IntN(len(of.theirs))]
						}
						status, text, d, err := of.ask(id)
						if err != nil || status != of.status {
							b.Fatalf("answered %d: %.200s %v", status, text, err)
						}
						took[sort] = append(took[sort], d)
					}
				}
				for i := range took {
					slices.Sort(took[i])
				}
				at := func(sort, percent int) float64 {
					return float64(took[sort][len(took[sort])*percent/100].Microseconds())
				}
				b.ReportMetric(at(0, 50), "foreign-p50-µs")
				b.ReportMetric(at(1, 50), "unknown-p50-µs")
				b.ReportMetric(at(2, 50), "unknown-again-p50-µs")
				b.ReportMetric(at(0, 95), "foreign-p95-µs")
				b.ReportMetric(at(1, 95), "unknown-p95-µs")
				b.ReportMetric(at(2, 95), "unknown-again-p95-µs")
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}
