package webhook

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/standin"
	"github.com/arauto/arauto/internal/notice"
)

// BenchmarkSend sends over kept-alive mTLS connections to an endpoint in the same process, 64 at a time, over 8
// clients. Sender and receiver share the processors, so the figure is a lower bound for the sender.
func BenchmarkSend(b *testing.B) {
	load, err := standin.StartLoad(receiver(b), nil)
	require.NoError(b, err)
	defer load.Close()
	s := newSender(b)
	clients := []notice.ClientID{"a", "b", "c", "d", "e", "f", "g", "h"}
	var next atomic.Int64
	b.ReportAllocs()
	b.SetParallelism(max(1, 64/runtime.GOMAXPROCS(0)))
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		client := clients[next.Add(1)%int64(len(clients))]
		for pb.Next() {
			a := newAttempt(load.BaseURI("/kong3"))
			a.Client, a.ClaimedAt = client, time.Now()
			r, err := s.Send(b.Context(), a)
			if err != nil || r.Outcome != notice.OutcomeDelivered {
				b.Errorf("%v %v", r, err)
				return
			}
		}
	})
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "POST/s")
}
