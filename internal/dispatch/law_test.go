package dispatch

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/notice"
)

// The law: no receiver's slowness, whatever limits it, reaches another client's intake or first attempt. These tests hold
// the dispatcher's part of it against receivers that hang, answer slowly, refuse and come in bursts.

// party is one initiator of a mix.
type party struct {
	client   notice.ClientID
	every    time.Duration // between its events
	burst    int           // notifications in one event
	takes    time.Duration // what an answer takes
	outcome  notice.Outcome
	hangs    bool
	hangFrom time.Duration // from the beginning of the run on
}

// mix is what chance decides in one run.
type mix struct {
	slots    int
	parties  []party
	known    time.Duration // by then each receiver has answered, or not
	lasting  time.Duration
	answered int // parties that answer
}

// drawMix draws a mix. There are at least 16 slots more than lanes that hang, and than what these held while they still
// answered, which they keep for 15 s when they stop. The answering lanes fit into the 16.
func drawMix(seed uint64) mix {
	dice := rand.New(rand.NewPCG(seed, 11))
	between := func(low, high time.Duration) time.Duration {
		return low + time.Duration(dice.Int64N(int64(high-low)+1))
	}
	m := mix{known: 20 * time.Second, lasting: 60 * time.Second}
	hanging := 1 + dice.IntN(12)
	m.slots = hanging + 16 + []int{0, 0, 5, 40, 240, 1000}[dice.IntN(6)]
	burst := min(60, m.slots-hanging) // of one consent, or what the slots that are left take at once
	for i := range hanging {
		p := party{client: notice.ClientID(fmt.Sprint("dead-", i)), every: between(20*time.Millisecond, 400*time.Millisecond), burst: 1, hangs: true, takes: between(5*time.Millisecond, 200*time.Millisecond), outcome: notice.OutcomeDelivered}
		switch dice.IntN(3) {
		case 0: // hangs from the first attempt on
		default:
			p.hangFrom = between(m.known, 2*m.known)
		}
		m.slots += int(math.Ceil(2 * p.takes.Seconds() / p.every.Seconds())) // what it holds at once while it answers, and some
		if dice.IntN(4) == 0 {
			p.every, p.burst = time.Duration(burst)*p.every, burst
		}
		m.parties = append(m.parties, p)
	}
	room := float64(burst) / 4 // slots that the slow may need on average
	for i := range dice.IntN(4) {
		takes := between(time.Second, 14*time.Second)
		need := room / 4 * (0.3 + 0.7*dice.Float64())
		every := time.Duration(float64(takes) / need)
		m.parties = append(m.parties, party{client: notice.ClientID(fmt.Sprint("slow-", i)), every: max(every, 100*time.Millisecond), burst: 1, takes: takes, outcome: notice.OutcomeDelivered})
	}
	for i := range 2 + dice.IntN(6) {
		p := party{client: notice.ClientID(fmt.Sprint("well-", i)), every: between(50*time.Millisecond, 500*time.Millisecond), burst: 1, takes: between(5*time.Millisecond, 60*time.Millisecond), outcome: notice.OutcomeDelivered}
		switch dice.IntN(4) {
		case 0:
			p.every, p.burst = between(5*time.Second, 12*time.Second), burst
		case 1:
			p.outcome = notice.OutcomeRefused
		}
		m.parties = append(m.parties, p)
	}
	m.answered = len(m.parties) - hanging
	return m
}

func (m mix) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d slots", m.slots)
	for _, p := range m.parties {
		fmt.Fprintf(&b, "; %s every %s × %d takes %s", p.client, p.every.Round(time.Millisecond), p.burst, p.takes.Round(time.Millisecond))
		if p.hangs {
			fmt.Fprintf(&b, ", hangs from %s", p.hangFrom.Round(time.Millisecond))
		}
	}
	return b.String()
}

// lived is the result of a mix.
type lived struct {
	waits  []time.Duration // of first attempts of those that answer, sorted
	late   []string        // of these, those over 1.5 s
	behind time.Duration   // the most that Behind told
	least  int             // the fewest attempts that a hanging lane got
}

// live runs a mix; bad reports whether those that hang do, or answer as the others.
func (m mix) live(t *testing.T, bad bool) (out lived) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		parties := map[notice.ClientID]party{}
		for _, p := range m.parties {
			parties[p.client] = p
		}
		w := newWorld(t, func(a notice.Attempt) answer {
			p := parties[a.Client]
			if bad && p.hangs && time.Since(begin) >= p.hangFrom {
				return hanging
			}
			return answer{p.takes, p.outcome}
		})
		r := w.start(Config{Slots: m.slots})
		var going sync.WaitGroup
		for i, p := range m.parties {
			going.Go(func() {
				pass(time.Second + time.Duration(i)*7*time.Millisecond) // the first sweep is over
				every(p.every, m.lasting, func() {
					for range p.burst {
						w.queue.add(p.client, 0, 0)
					}
					r.Wake(p.client)
				})
			})
		}
		every(50*time.Millisecond, m.lasting, func() { out.behind = max(out.behind, r.Behind()) })
		going.Wait()
		pass(2 * time.Second)
		out.least = 1 << 30
		posts := map[notice.ClientID]int{}
		known := begin.Add(w.queue.offset).Add(m.known)
		w.look(func() {
			for _, p := range w.farm.posts {
				posts[p.Client]++
			}
			for _, c := range w.queue.chains {
				p := parties[c.client]
				if p.hangs || p.takes >= slowFrom && c.occurred.Before(known) { // it is not yet known to answer
					continue
				}
				wait := w.queue.now().Sub(c.occurred)
				if len(c.entries) > 0 {
					wait = c.entries[0].started.Sub(c.occurred)
				}
				out.waits = append(out.waits, wait)
				if wait > notice.FirstWithin {
					out.late = append(out.late, fmt.Sprintf("%s at %s waited %s", c.client, c.occurred.Sub(known.Add(-m.known)), wait))
				}
			}
		})
		for _, p := range m.parties {
			if p.hangs {
				out.least = min(out.least, posts[p.client])
			}
		}
		slices.Sort(out.waits)
		r.stop()
		require.NoError(t, <-r.done)
	})
	return out
}

func (l lived) p99() time.Duration { return l.waits[len(l.waits)*99/100] }

// TestNoReceiversSlownessReachesAnother is the law in virtual time over random mixes, with at least 16 slots more than
// hanging lanes.
func TestNoReceiversSlownessReachesAnother(t *testing.T) {
	seeds := 12
	if os.Getenv("ARAUTO_LONG") != "" {
		seeds = 150
	}
	for seed := range uint64(seeds) {
		m := drawMix(seed)
		without, with := m.live(t, false), m.live(t, true)
		t.Logf("seed %d: %d slots, %d answer: p99 %s when nobody hangs, %s when %d do; slowest %s; most behind %s",
			seed, m.slots, m.answered, without.p99(), with.p99(), len(m.parties)-m.answered, with.waits[len(with.waits)-1], with.behind)
		require.Empty(t, with.late[:min(5, len(with.late))], "seed %d, late: %s", seed, m)
		require.LessOrEqual(t, with.p99(), without.p99()+100*time.Millisecond, "seed %d, slower: %s", seed, m)
		require.LessOrEqual(t, with.behind, notice.FirstWithin/6, "seed %d, intake would be slowed: %s", seed, m)
		require.GreaterOrEqual(t, with.least, 2, "seed %d, each lane that hangs has a slot: %s", seed, m)
	}
}
