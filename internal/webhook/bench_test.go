package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/mtlstest"
	"github.com/arauto/arauto/internal/lab/standin"
	"github.com/arauto/arauto/internal/mtls"
	"github.com/arauto/arauto/internal/notice"
)

// atOnce is how many requests the benchmarks have under way, over the clients named below.
const atOnce = 64

var benchClients = []notice.ClientID{"a", "b", "c", "d", "e", "f", "g", "h"}

// loadProcess tells the child process of a benchmark that it is the receiver, the files of its certificate, its key and the
// authorities it trusts, and whether it hangs.
const loadProcess = "ARAUTO_TEST_LOAD"

// startLoadProcess runs an endpoint for load in a process of its own, so that the processor time of this one is the
// sender's alone, and returns its base URI.
// A receiver that hangs never answers.
func startLoadProcess(b *testing.B, hangs bool) string {
	b.Helper()
	self, err := os.Executable()
	require.NoError(b, err)
	child := exec.CommandContext(b.Context(), self, "-test.run=^TestTheReceiverOfTheBenchmarks$", "-test.count=1")
	files := mtlstest.Write(b, serverCertificate(b))
	trusted := mtlstest.AnchorsFile(b, mtlstest.PKI(b).ClientCA, mtlstest.PKI(b).Root)
	child.Env = append(os.Environ(), loadProcess+"="+strings.Join([]string{files.Cert, files.Key, trusted, strconv.FormatBool(hangs)}, ":"))
	in, err := child.StdinPipe()
	require.NoError(b, err)
	out, err := child.StdoutPipe()
	require.NoError(b, err)
	require.NoError(b, child.Start())
	b.Cleanup(func() { _ = in.Close(); _ = child.Process.Kill(); _ = child.Wait() })
	var base string
	_, err = fmt.Fscanln(out, &base)
	require.NoError(b, err)
	return base
}

// TestTheReceiverOfTheBenchmarks is the child process of startLoadProcess: it answers until its input ends.
func TestTheReceiverOfTheBenchmarks(t *testing.T) {
	files := strings.Split(os.Getenv(loadProcess), ":")
	if len(files) != 4 {
		t.Skip("it is started by the benchmarks of this package")
	}
	own, err := tls.LoadX509KeyPair(files[0], files[1])
	require.NoError(t, err)
	trusted, err := mtls.LoadAnchors(files[2])
	require.NoError(t, err)
	each := func(standin.Arrival) {}
	if files[3] == "true" {
		each = func(standin.Arrival) { select {} }
	}
	load, err := standin.StartLoad(standin.Options{Certificate: own, ClientCAs: trusted.Pool()}, each)
	require.NoError(t, err)
	defer load.Close()
	fmt.Println(load.BaseURI("/kong3")) //nolint:forbidigo // the parent reads it
	_, _ = os.Stdin.Read(make([]byte, 1))
}

// processorTime is what this process has used so far, in user and kernel mode.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// measure runs one operation at a time in each of atOnce goroutines. begin makes a goroutine's operation.
func measure(b *testing.B, begin func(client notice.ClientID) (operation func() error)) {
	b.Helper()
	var next atomic.Int64
	b.ReportAllocs()
	b.SetParallelism(max(1, atOnce/runtime.GOMAXPROCS(0)))
	b.ResetTimer()
	before := processorTime(b)
	b.RunParallel(func(pb *testing.PB) {
		operation := begin(benchClients[next.Add(1)%int64(len(benchClients))])
		for pb.Next() {
			if err := operation(); err != nil {
				b.Error(err)
				return
			}
		}
	})
	used := processorTime(b) - before
	b.StopTimer()
	b.ReportMetric(float64(used.Nanoseconds())/float64(b.N)/1000, "cpu-µs/op")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "POST/s")
}

// BenchmarkSend sends over kept mTLS connections to an endpoint in another process, 64 at a time, over 8 clients.
func BenchmarkSend(b *testing.B) {
	base, s := startLoadProcess(b, false), newSender(b)
	measure(b, func(client notice.ClientID) func() error {
		return func() error {
			a := newAttempt(base)
			a.Client, a.ClaimedAt = client, time.Now()
			r, err := s.Send(b.Context(), a)
			if err == nil && r.Outcome != notice.OutcomeDelivered {
				err = fmt.Errorf("%s: %s", r.Outcome, r.Detail)
			}
			return err
		}
	})
}

// BenchmarkBareLoop is what BenchmarkSend is compared with: the same request and answer over as many kept mTLS
// connections, each written and read by one goroutine that judges nothing.
func BenchmarkBareLoop(b *testing.B) {
	base := startLoadProcess(b, false)
	_, request, err := Preview(Config{Version: "1.2.3", Guard: NewGuard(loopback, nil)}, newAttempt(base))
	require.NoError(b, err)
	identity, roots := mtlstest.HolderClient(b), mtlstest.Roots(b)
	host, _, _ := strings.Cut(strings.TrimPrefix(base, "https://"), "/")
	measure(b, func(notice.ClientID) func() error {
		c, err := tls.Dial("tcp", host, mtls.ClientConfig(identity, roots, "localhost"))
		if err != nil {
			return func() error { return err }
		}
		b.Cleanup(func() { _ = c.Close() })
		answer := make([]byte, 2<<10)
		return func() error {
			if _, err := c.Write(request); err != nil {
				return err
			}
			n, err := c.Read(answer)
			if err == nil && !bytes.HasPrefix(answer[:n], []byte(ok202)) {
				err = fmt.Errorf("%q", answer[:n])
			}
			return err
		}
	})
}

// BenchmarkHangingAttempts measures the memory of an attempt that waits for an answer, its connection included. An operation
// is one attempt; give -benchtime a number of attempts (960x), at most 512 for each of the 8 clients.
func BenchmarkHangingAttempts(b *testing.B) {
	base := startLoadProcess(b, true)
	s := newSender(b, func(c *Config) { c.Timeout, c.Lease = 5*time.Minute, 10*time.Minute })
	ctx, cancel := context.WithCancel(b.Context())
	before := memoryInUse()
	var all sync.WaitGroup
	for n := range b.N {
		all.Go(func() {
			a := newAttempt(base)
			a.Client = benchClients[n%len(benchClients)]
			if r, err := s.Send(ctx, a); err != nil || r.Outcome != notice.OutcomeUnknown {
				b.Errorf("%+v %v", r, err)
			}
		})
	}
	require.Eventually(b, func() bool { return written(s) == b.N }, 5*time.Minute, 10*time.Millisecond)
	b.ReportMetric(float64(memoryInUse()-before)/float64(b.N), "B-in-use/attempt")
	cancel()
	all.Wait()
}

// written counts the requests that were written and not answered.
func written(s *Sender) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.endpoints {
		e.mu.Lock()
		for c := range e.open {
			if c.bound != nil && c.bound.firstOut != 0 {
				n++
			}
		}
		e.mu.Unlock()
	}
	return n
}

// memoryInUse is the memory of objects and stacks after a garbage collection.
func memoryInUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}
