package bench

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/arauto/arauto/internal/lab/stage"
	"github.com/arauto/arauto/internal/lab/standin"
)

// receiverEnv makes the test binary a process of receivers: it says where the PKI is and how many endpoints hang.
const receiverEnv = "ARAUTO_BENCH_RECEIVERS"

func TestMain(m *testing.M) {
	if folder := os.Getenv(receiverEnv); folder != "" {
		if err := receive(folder); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	code := m.Run()
	_ = os.Remove(binary()) // if it was built
	os.Exit(code)
}

// farm is the process of receivers, seen from outside.
type farm struct {
	Good int // port that accepts at once
	Hang int // port that finishes the handshake and never answers
	Evil int // port where each connection and each answer is wrong in another way, see mixed_test.go
	ctl  string
	cmd  *exec.Cmd
}

// figures are what a farm counted since the last reset.
type figures struct {
	Count        int64
	P50, P99     time.Duration // from the instant coded into the resource's id to arrival
	Max          time.Duration
	Connections  int64
	Late1500     int
	ByPathPrefix map[string]quantiles // first segment of the registered base
}

// arrival is one notification that a receiver of the farm got.
type arrival struct {
	N  int   // the number in the resource's id
	At int64 // nanoseconds since 1970
}

type quantiles struct {
	Count         int
	P50, P99, Max time.Duration
}

// receive is the farm's own process.
func receive(folder string) error {
	cert, err := tls.LoadX509KeyPair(folder+"/initiators/alfa/server.pem", folder+"/initiators/alfa/server.key")
	if err != nil {
		return err
	}
	text, err := os.ReadFile(folder + "/trust/clients.pem")
	if err != nil {
		return err
	}
	clients := x509.NewCertPool()
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		ca, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return err
		}
		clients.AddCert(ca)
	}
	var mu sync.Mutex
	delays := map[string][]time.Duration{}
	var arrivals []arrival
	var count atomic.Int64
	good, err := standin.StartLoad(standin.Options{Certificate: cert, ClientCAs: clients}, func(a standin.Arrival) {
		count.Add(1)
		if sent, ok := sentAt(a.Target); ok {
			group, _, _ := strings.Cut(strings.TrimPrefix(a.Target, "/"), "/")
			mu.Lock()
			delays[group] = append(delays[group], a.At.Sub(sent))
			arrivals = append(arrivals, arrival{numberOf(a.Target), a.At.UnixNano()})
			mu.Unlock()
		}
	})
	if err != nil {
		return err
	}
	hang, err := standin.Start(standin.Options{Certificate: cert, ClientCAs: clients})
	if err != nil {
		return err
	}
	hang.Answer("/", standin.Answer{Stall: standin.AtStatusLine})
	evil, err := startEvil(standin.Options{Certificate: cert, ClientCAs: clients})
	if err != nil {
		return err
	}
	control, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/reset", func(http.ResponseWriter, *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		clear(delays)
		arrivals = arrivals[:0]
		count.Store(0)
	})
	mux.HandleFunc("/arrivals", func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		_ = json.NewEncoder(w).Encode(arrivals)
	})
	mux.HandleFunc("/figures", func(w http.ResponseWriter, _ *http.Request) {
		f := figures{Count: count.Load(), ByPathPrefix: map[string]quantiles{}}
		mu.Lock()
		defer mu.Unlock()
		var all []time.Duration
		for group, d := range delays {
			f.ByPathPrefix[group] = quantilesOf(d)
			all = append(all, d...)
		}
		q := quantilesOf(all)
		f.P50, f.P99, f.Max = q.P50, q.P99, q.Max
		for _, d := range all {
			if d > 1500*time.Millisecond {
				f.Late1500++
			}
		}
		_ = json.NewEncoder(w).Encode(f)
	})
	fmt.Fprintf(os.Stdout, "%d %d %d %s\n", good.Port(), hang.Port(), evil.Port(), control.Addr())
	return (&http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}).Serve(control)
}

func quantilesOf(d []time.Duration) quantiles {
	if len(d) == 0 {
		return quantiles{}
	}
	d = slices.Clone(d)
	slices.Sort(d)
	return quantiles{len(d), d[len(d)/2], d[len(d)*99/100], d[len(d)-1]}
}

// startFarm runs the receivers in a process of their own.
func startFarm(b *testing.B, s *stage.Stage) *farm {
	b.Helper()
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	f := &farm{cmd: exec.Command(self)}
	f.cmd.Env = append(os.Environ(), receiverEnv+"="+s.Dir+"/pki")
	f.cmd.Stderr = os.Stderr
	out, err := f.cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := f.cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = f.cmd.Process.Kill(); _ = f.cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal("the receivers did not start: ", err)
	}
	if _, err := fmt.Sscan(line, &f.Good, &f.Hang, &f.Evil, &f.ctl); err != nil {
		b.Fatal(err)
	}
	return f
}

func (f *farm) get(b *testing.B, path string) []byte {
	b.Helper()
	res, err := http.Get("http://" + f.ctl + path)
	if err != nil {
		b.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		b.Fatal(err)
	}
	return text
}

func (f *farm) reset(b *testing.B) { b.Helper(); f.get(b, "/reset") }

func (f *farm) figures(b *testing.B) figures {
	b.Helper()
	var out figures
	if err := json.Unmarshal(f.get(b, "/figures"), &out); err != nil {
		b.Fatal(err)
	}
	return out
}

// await waits until n notifications have arrived, or nothing came for a while.
func (f *farm) await(b *testing.B, n int64, patience time.Duration) figures {
	b.Helper()
	last, since := int64(-1), time.Now()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for ; ; <-tick.C {
		got := f.figures(b)
		if got.Count >= n {
			return got
		}
		if got.Count != last {
			last, since = got.Count, time.Now()
		} else if time.Since(since) > patience {
			b.Errorf("%d of %d notifications arrived", got.Count, n)
			return got
		}
	}
}

// An id carries the instant its change was handed in, so that a receiver in another process knows how long it took.
func idAt(at time.Time, n int) string { return fmt.Sprintf("%d-%d", at.UnixNano(), n) }

func sentAt(path string) (time.Time, bool) {
	id := path[strings.LastIndexByte(path, '/')+1:]
	nanos, _, ok := strings.Cut(id, "-")
	n, err := strconv.ParseInt(nanos, 10, 64)
	return time.Unix(0, n), ok && err == nil
}

// numberOf is the number that idAt put into a resource's id; -1: there is none.
func numberOf(path string) int {
	n, err := strconv.Atoi(path[strings.LastIndexByte(path, '-')+1:])
	if err != nil {
		return -1
	}
	return n
}
