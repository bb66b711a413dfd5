package seal

import (
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

// Sizes of BenchmarkSealBesideAHangingWitness.
const (
	hangingPairs  = 300 // of a phase in which a witness hangs and one in which none is asked
	sealsOfAPhase = 5
)

// BenchmarkSealBesideAHangingWitness compares sealing while one of two witnesses hangs with sealing while none is asked, in one process and on
// one log. Phases of five seals of one entry alternate, and each second pair is in the other order, so that neither the growth of the log nor
// other work on the machine favours one of them. A phase with the hanging witness begins when the other witness has vouched and its
// cosignature is stored. Reported are the delay from the commit of an entry until it is sealed, the processor time of this process and of
// the backends of PostgreSQL for one seal, and the median of the pairs' differences with its interval of 95 % by ranks.
func BenchmarkSealBesideAHangingWitness(b *testing.B) {
	for b.Loop() {
		h := openHanging(b)
		none, hung := &phaseSums{}, &phaseSums{}
		h.seals(&phaseSums{}) // connections made, plans cached
		var delays, costs []float64
		for n := range hangingPairs {
			phases := []func(){func() { h.seals(none) }, func() { h.whileOneHangs(hung) }}
			if n%2 == 1 {
				slices.Reverse(phases)
			}
			for _, phase := range phases {
				phase()
			}
			delays = append(delays, hung.lastDelay-none.lastDelay)
			costs = append(costs, hung.lastCost-none.lastCost)
		}
		for name, sums := range map[string]*phaseSums{"none": none, "hanging": hung} {
			slices.Sort(sums.delays)
			b.ReportMetric(sums.delays[len(sums.delays)/2], name+"-p50-ms")
			b.ReportMetric(sums.delays[len(sums.delays)*95/100], name+"-p95-ms")
			b.ReportMetric(sums.cost/float64(len(sums.delays)), name+"-cpu-ms/seal")
		}
		for what, all := range map[string][]float64{"delay": delays, "processor time": costs} {
			slices.Sort(all)
			middle, half := len(all)/2, int(math.Ceil(0.98*math.Sqrt(float64(len(all)))))
			b.Logf("%s of a seal, hanging minus none: median of %d pairs %+.3f ms, 95 %% of it between %+.3f and %+.3f ms", what, len(all), all[middle], all[middle-half], all[middle+half])
		}
		b.Logf("%d seals each; one round of asking both witnesses, while one hangs: %.2f ms of processor time", len(none.delays), h.asking/hangingPairs)
	}
	b.ReportMetric(0, "ns/op")
}

// phaseSums is what the seals of one kind took, in milliseconds.
type phaseSums struct {
	delays              []float64
	cost                float64
	lastDelay, lastCost float64 // a seal of the last phase, in the mean
}

// hangingWitness is a sealer with two witnesses, of which one hangs until it is released.
type hangingWitness struct {
	b      *testing.B
	p      *proof
	sealer *Sealer
	look   *pgx.Conn

	came, release chan struct{}
	size          int
	rounds        time.Duration // by which the sealer's clock is ahead, so that witnesses are asked in each round
	asking        float64       // processor time of all rounds of asking, in milliseconds
}

func openHanging(b *testing.B) *hangingWitness {
	b.Helper()
	p := openProof(b)
	key, log := p.logKey()
	good, slow := p.witness("good", log), p.witness("slow", log)
	h := &hangingWitness{b: b, p: p, came: make(chan struct{}), release: make(chan struct{})}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		h.came <- struct{}{}
		<-h.release
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	b.Cleanup(server.Close)
	h.sealer = p.witnessed(key, good.line+fmt.Sprintf("witness slow %s %s\nquorum good\n", slow.Self(), server.URL))
	h.sealer.witnesses.now = func() time.Time { return time.Now().Add(h.rounds) }
	var err error
	h.look, err = pgx.Connect(b.Context(), p.url)
	require.NoError(b, err)
	b.Cleanup(func() { h.look.Close(b.Context()) })
	p.write(1)
	h.size = 1
	p.sealed(h.sealer, h.size)
	return h
}

// seals writes and seals one entry after the other.
func (h *hangingWitness) seals(sums *phaseSums) {
	h.b.Helper()
	before, all := h.spent(), 0.0
	for range sealsOfAPhase {
		h.p.write(1)
		h.size++
		began := time.Now()
		for int(h.p.value(h.sealer, "size")) < h.size {
			require.NoError(h.b, h.sealer.round(h.b.Context()))
		}
		took := time.Since(began).Seconds() * 1000
		sums.delays, all = append(sums.delays, took), all+took
	}
	cost := h.spent() - before
	sums.cost += cost
	sums.lastDelay, sums.lastCost = all/sealsOfAPhase, cost/sealsOfAPhase
}

// whileOneHangs asks the witnesses, and seals when one has vouched and the other one hangs.
func (h *hangingWitness) whileOneHangs(sums *phaseSums) {
	h.b.Helper()
	h.rounds += 2 * vouchEvery
	before, ended := h.spent(), make(chan error, 1)
	go func() { ended <- h.sealer.vouchRound(h.b.Context()) }()
	<-h.came
	require.Eventually(h.b, func() bool {
		var stored bool
		err := h.look.QueryRow(h.b.Context(), "SELECT EXISTS (SELECT FROM arauto.log_cosignature WHERE size = $1)", h.sealer.newest.Load().size).Scan(&stored)
		return err == nil && stored
	}, anchorTimeout, time.Millisecond)
	h.asking += h.spent() - before
	h.seals(sums)
	h.release <- struct{}{}
	require.NoError(h.b, <-ended)
}

// spent is the processor time of this process and of its backends so far, in milliseconds; elsewhere than on Linux, of this process alone.
func (h *hangingWitness) spent() float64 {
	h.b.Helper()
	var own syscall.Rusage
	require.NoError(h.b, syscall.Getrusage(syscall.RUSAGE_SELF, &own))
	all := time.Duration(own.Utime.Nano() + own.Stime.Nano())
	rows, err := h.look.Query(h.b.Context(), "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
	require.NoError(h.b, err)
	pids, err := pgx.CollectRows(rows, pgx.RowTo[int])
	require.NoError(h.b, err)
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/schedstat", pid)) // its first number: nanoseconds on a processor
		if err != nil {
			continue
		}
		running, _, _ := strings.Cut(string(text), " ")
		spent, err := strconv.ParseInt(running, 10, 64)
		require.NoError(h.b, err)
		all += time.Duration(spent)
	}
	return all.Seconds() * 1000
}
