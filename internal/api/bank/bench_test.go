package bank

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/google/uuid"

	"github.com/arauto/arauto/internal/intake"
	"github.com/arauto/arauto/internal/notice"
)

// willing is a store that commits at once and remembers nothing.
type willing struct{}

func (willing) Record(_ context.Context, changes []*notice.Change, judge func([]notice.Past) []notice.Decision) error {
	pasts := make([]notice.Past, len(changes))
	for i := range pasts {
		pasts[i] = notice.Past{Push: true, Epoch: 1}
	}
	judge(pasts)
	return nil
}

// BenchmarkStream is one stream over TCP: from line to answer, decoding and judging included; the goal is 10,000 lines/s.
func BenchmarkStream(b *testing.B) {
	in := intake.New(intake.Config{
		Store: willing{}, Schema: pastes{}, NewID: func() notice.ID { return notice.ID(uuid.Must(uuid.NewV7())) },
	})
	ctx, stop := context.WithCancel(context.Background())
	ran := make(chan struct{})
	go func() { defer close(ran); in.Run(ctx) }()
	defer func() { stop(); <-ran }()
	w := newWorld(b, func(c *InternalConfig) { c.Changes = in })
	reader, writer := io.Pipe()
	r, err := http.NewRequestWithContext(b.Context(), http.MethodPost, w.url+changesPath, reader)
	if err != nil {
		b.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer ingest")
	r.Header.Set("Content-Type", "application/x-ndjson")
	w.client.Timeout = 0
	b.ReportAllocs()
	b.ResetTimer()
	go func() {
		buffered := bufio.NewWriterSize(writer, 64<<10)
		for n := range b.N {
			fmt.Fprintln(buffered, payment(fmt.Sprint("p", n), 1, "ACSC"))
		}
		buffered.Flush()
		writer.Close()
	}()
	got, err := w.client.Do(r)
	if err != nil {
		b.Fatal(err)
	}
	defer got.Body.Close()
	answers := bufio.NewScanner(got.Body)
	n := 0
	for answers.Scan() {
		n++
	}
	if n != b.N {
		b.Fatalf("%d answers to %d lines", n, b.N)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "lines/s")
}
