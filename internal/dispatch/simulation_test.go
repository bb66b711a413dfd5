package dispatch

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/notice"
)

// plan is one run of the simulation: the real dispatcher, in virtual time, against a database and receivers that are
// models. `make simulate` runs a table of plans, or one that is given by the environment; docs/scaling.md reads them.
type plan struct {
	clients  int           // SIM_CLIENTS: initiators, one endpoint each
	dead     int           // SIM_DEAD: per cent of them that hang from the first minute on
	rate     int           // SIM_RATE: notifications/s over all
	burst    int           // SIM_BURST: one consent in ten has so many payments, scheduled at once
	replicas int           // SIM_REPLICAS: on each database
	slots    int           // SIM_SLOTS: of each replica
	cells    int           // SIM_CELLS: databases; clients are dealt out among them
	cores    int           // SIM_CORES: of each database
	lasting  time.Duration // SIM_MINUTES of load
}

// The database as a model: a statement takes one core for a fixed time and one for each row. Both are what
// internal/lab/bench measured on this product: 280 µs of PostgreSQL's processor time a notification, of which a claim and a
// settlement are about the half that dispatch causes.
const (
	statementCost = 300 * time.Microsecond
	rowCost       = 70 * time.Microsecond
	commitWait    = time.Millisecond // of the disk; costs no core
)

// cell is one database with the replicas on it: the unit that is repeated. Nothing is shared between cells.
type cell struct {
	*memory
	cores chan struct{}
	mu    sync.Mutex
	busy  time.Duration // of all cores
}

// spend takes a core for what a statement costs.
func (c *cell) spend(ctx context.Context, rows int) error {
	select {
	case c.cores <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-c.cores }()
	cost := statementCost + time.Duration(rows)*rowCost
	c.mu.Lock()
	c.busy += cost
	c.mu.Unlock()
	return rest(ctx, cost)
}

func (c *cell) Claim(ctx context.Context, want []notice.ClaimRequest, lease time.Duration) ([]notice.Attempt, error) {
	got, err := c.memory.Claim(ctx, want, lease)
	if err != nil {
		return nil, err
	}
	return got, c.spend(ctx, len(want)/4+len(got))
}

func (c *cell) Settle(ctx context.Context, done []notice.Settlement) ([]notice.Lane, error) {
	if err := c.spend(ctx, len(done)); err != nil {
		return nil, err
	}
	return c.memory.Settle(ctx, done)
}

// tally is what a plan came to.
type tally struct {
	events      int
	well        share // those that answer
	dead        share // those that hang
	posts       int
	lateRetries int     // began more than 2 s after they were due
	utilisation float64 // of the databases' cores
	mostFlying  int
	faults      []string
}

// share is how first attempts of some initiators fared.
type share struct {
	punctual      float64 // sent within 1.5 s of the event
	p50, p99, max time.Duration
}

func (s share) String() string {
	ms := func(d time.Duration) string { return strconv.FormatFloat(float64(d.Microseconds())/1000, 'f', 1, 64) }
	return fmt.Sprintf("%7.2f %% %8s %8s %9s", 100*s.punctual, ms(s.p50), ms(s.p99), ms(s.max))
}

func isDead(client notice.ClientID) bool { return strings.HasPrefix(string(client), "dead-") }

// simulate runs a plan. It must be called inside a bubble of virtual time.
func simulate(t *testing.T, p plan) tally {
	t.Helper()
	var out tally
	var flying sync.Mutex
	now := 0
	receive := func(a notice.Attempt) answer {
		if isDead(a.Client) {
			return hanging
		}
		return accepted
	}
	worlds := make([]*world, p.cells)
	cells := make([]*cell, p.cells)
	for i := range worlds {
		w := newWorld(t, receive)
		w.queue.lag = commitWait
		worlds[i], cells[i] = w, &cell{memory: w.queue, cores: make(chan struct{}, p.cores)}
		count := senderFunc(func(ctx context.Context, a notice.Attempt) (notice.Result, error) {
			flying.Lock()
			now++
			out.mostFlying = max(out.mostFlying, now)
			flying.Unlock()
			defer func() { flying.Lock(); now--; flying.Unlock() }()
			return w.farm.Send(ctx, a)
		})
		for range p.replicas {
			w.startWith(cells[i], count, Config{Slots: p.slots}, nil)
		}
	}
	pass(time.Second)
	begin := time.Now()
	feed(p, worlds)
	lasted := time.Since(begin)
	var busy time.Duration
	for _, c := range cells {
		c.mu.Lock()
		busy += c.busy
		c.mu.Unlock()
	}
	out.utilisation = busy.Seconds() / (lasted.Seconds() * float64(p.cores*p.cells))
	pass(2 * time.Minute) // 15 + 10 + 15 + 60 + 15 s
	for _, w := range worlds {
		for more := time.Duration(0); more < time.Hour && !w.queue.settled(); more += 10 * time.Second {
			pass(10 * time.Second) // for want of slots
		}
		w.end()
		out.posts += len(w.farm.posts)
		out.events += len(w.queue.chains)
		out.faults = append(out.faults, w.faults(time.Hour)...)
		out.lateRetries += len(w.faults(2*time.Second)) - len(w.faults(time.Hour))
		if !w.queue.settled() {
			out.faults = append(out.faults, "a chain did not end")
		}
	}
	out.well, out.dead = delays(worlds, false), delays(worlds, true)
	return out
}

// feed commits notifications at the plan's rate, as the core does: mostly one by one, now and then a consent with all
// its payments at once.
func feed(p plan, worlds []*world) {
	dice := uint64(1)
	draw := func(n int) int { // the same in every run
		dice = dice*6364136223846793005 + 1442695040888963407
		return int(dice>>33) % n
	}
	at := func(n int) time.Duration { return time.Duration(n) * time.Second / time.Duration(p.rate) }
	for n, begin := 0, time.Now(); at(n) < p.lasting; {
		if ahead := at(n) - time.Since(begin); ahead > 0 {
			<-time.After(ahead)
		}
		i := draw(p.clients)
		w := worlds[i%len(worlds)]
		client := notice.ClientID("well-" + strconv.Itoa(i))
		if i*100 < p.dead*p.clients {
			client = notice.ClientID("dead-" + strconv.Itoa(i))
		}
		size := 1
		if p.burst > 1 && draw(10*p.burst) < 10 { // so that half of all stem from bursts
			size = p.burst
		}
		for range size {
			w.queue.add(client, 0, 0)
		}
		w.replicas[draw(len(w.replicas))].Wake(client)
		n += size
	}
}

func delays(worlds []*world, dead bool) share {
	var all []time.Duration
	for _, w := range worlds {
		for _, c := range w.queue.chains {
			if posts := w.farm.of(c.id); isDead(c.client) == dead && len(posts) > 0 {
				all = append(all, posts[0].at.Add(w.queue.offset).Sub(c.occurred))
			}
		}
	}
	if len(all) == 0 {
		return share{}
	}
	slices.Sort(all)
	late, _ := slices.BinarySearch(all, notice.FirstWithin+1)
	return share{float64(late) / float64(len(all)), all[len(all)/2], all[len(all)*99/100], all[len(all)-1]}
}

type senderFunc func(context.Context, notice.Attempt) (notice.Result, error)

func (f senderFunc) Send(ctx context.Context, a notice.Attempt) (notice.Result, error) {
	return f(ctx, a)
}

// A thousand endpoints of which four in ten hang, and bursts of sixty: those that answer are told in time, whatever the
// others do; nobody is told a fourth time or too early. One cell, and ten with ten times as much.
func TestTheModelOfABusyDayKeepsEverySchedule(t *testing.T) {
	plans := []plan{{clients: 1000, dead: 40, rate: 300, burst: 60, replicas: 2, slots: 4096, cells: 1, cores: 2, lasting: 45 * time.Second}}
	if os.Getenv("SIM") != "" {
		plans = table()
	}
	fmt.Fprintln(t.Output(), "clients  dead  rate/s burst  cells × replicas × slots  cores │ told in time   p50 ms   p99 ms    max ms │ those that hang │ late retries  in flight  database busy")
	for _, p := range plans {
		synctest.Test(t, func(t *testing.T) {
			r := simulate(t, p)
			fmt.Fprintf(t.Output(), "%7d %4d%% %7d %5d %7d × %8d × %5d %6d │ %s │ %9.2f %%     │ %10.2f %% %10d %12.0f %%\n",
				p.clients, p.dead, p.rate, p.burst, p.cells, p.replicas, p.slots, p.cores, r.well, 100*r.dead.punctual, 100*float64(r.lateRetries)/float64(r.posts), r.mostFlying, 100*r.utilisation)
			require.Empty(t, r.faults[:min(len(r.faults), 10)])
			if os.Getenv("SIM") == "" {
				require.InDelta(t, 1, r.well.punctual, 0, "of those that answer, some were told too late")
				require.Zero(t, r.lateRetries)
			}
		})
	}
}

// table is what `make simulate` shows: the plan of the environment, or how one cell and many carry what is asked of them.
func table() []plan {
	number := func(name string, standard int) int {
		if n, err := strconv.Atoi(os.Getenv("SIM_" + name)); err == nil && n >= 0 {
			return n
		}
		return standard
	}
	one := plan{
		clients: number("CLIENTS", 1000), dead: number("DEAD", 40), rate: number("RATE", 300), burst: number("BURST", 60),
		replicas: max(1, number("REPLICAS", 2)), slots: max(1, number("SLOTS", 4096)), cells: max(1, number("CELLS", 1)), cores: max(1, number("CORES", 2)),
		lasting: time.Duration(number("MINUTES", 2)) * time.Minute,
	}
	if os.Getenv("SIM") == "one" {
		return []plan{one}
	}
	with := func(edit func(*plan)) plan { p := one; edit(&p); return p }
	return []plan{
		one,
		with(func(p *plan) { p.dead = 0 }),
		with(func(p *plan) { p.slots = 2048 }),
		with(func(p *plan) { p.slots = 1024 }),
		with(func(p *plan) { p.slots = 512 }),
		with(func(p *plan) { p.rate, p.dead = 1000, 5 }),
		with(func(p *plan) { p.rate, p.replicas = 1000, 6 }),
		with(func(p *plan) { p.rate, p.replicas, p.cores = 3000, 16, 8 }),
		with(func(p *plan) { p.rate, p.cells, p.clients = 3000, 10, 10*one.clients }),
	}
}
