package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"
)

// fault is one way in which things break. strike opens a window in the account, breaks, waits, heals and closes it; its
// error says that breaking or healing itself failed, which is the nemesis' own failure.
type fault struct {
	name string
	// group names what only one fault at a time may touch.
	group string
	// gentle faults must not be felt by anybody but those they are about: they explain no lateness of others.
	gentle bool
	// possible says why this machine cannot do it; nil: it can.
	possible func(*nemesis) error
	strike   func(ctx context.Context, n *nemesis, f *fault, r *rand.Rand) error
}

// The groups.
const (
	onReplicas  = "replicas"
	onServer    = "server"
	onWays      = "ways"
	onTables    = "tables"
	onTrust     = "trust"
	onReceivers = "receivers"
	onClients   = "clients"
	onTraffic   = "traffic"
	onSource    = "source"
)

// errNothing says that a fault found nothing to strike: other faults, or chance, had left nothing of its kind. The fault is
// skipped and counted.
var errNothing = errors.New("there was nothing to strike")

// faults lists every kind. Each is struck once before any is struck again.
var faults = []*fault{
	{name: "kill-replica", group: onReplicas, strike: killReplica},
	{name: "stop-replica", group: onReplicas, strike: stopReplica},
	{name: "restart-replica", group: onReplicas, strike: restartReplica},

	{name: "kill-postmaster", group: onServer, strike: killPostmaster},
	{name: "restart-postgres", group: onServer, strike: restartPostgres},
	{name: "stop-postgres", group: onServer, strike: stopPostgres},
	{name: "kill-backend", group: onServer, strike: killBackend},
	{name: "stop-backend", group: onServer, strike: stopBackend},
	{name: "end-sessions", group: onServer, strike: endSessions},
	{name: "no-sessions-left", group: onServer, strike: takeSessions},
	{name: "rotate-password", group: onServer, strike: rotatePassword},
	{name: "data-full", group: onServer, possible: canFill, strike: fillData},
	{name: "wal-full", group: onServer, possible: canFill, strike: fillWAL},
	{name: "clock-jump", group: onServer, possible: canMoveClock, strike: jumpClock},
	{name: "clock-drift", group: onServer, possible: canMoveClock, strike: driftClock},

	{name: "cut-way", group: onWays, strike: cutWay},
	{name: "silent-way", group: onWays, strike: silentWay},
	{name: "slow-way", group: onWays, strike: slowWay},
	{name: "resetting-way", group: onWays, strike: resettingWay},

	{name: "failing-statement", group: onTables, strike: failStatement},
	{name: "locked-table", group: onTables, strike: lockTable},
	{name: "revoked-right", group: onTables, strike: revokeRight},
	{name: "held-snapshot", group: onTables, gentle: true, strike: holdSnapshot},

	{name: "rotate-certificates", group: onTrust, gentle: true, strike: rotateCertificates},
	{name: "revoke-certificates", group: onTrust, gentle: true, strike: revokeCertificates},
	{name: "wrong-certificate", group: onReceivers, gentle: true, strike: wrongCertificate},
	{name: "receiver-away", group: onReceivers, gentle: true, strike: receiverAway},
	{name: "move-registrations", group: onClients, gentle: true, strike: moveRegistrations},
	{name: "end-registrations", group: onClients, gentle: true, strike: endRegistrations},

	{name: "hanging-initiator", group: onTraffic, gentle: true, strike: hangInitiator},
	{name: "hot-resource", group: onTraffic, gentle: true, strike: heatResource},
	{name: "member-bomb", group: onTraffic, gentle: true, strike: bombMembers},

	{name: "new-partition", group: onSource, gentle: true, possible: canFollow, strike: newPartition},
}

// certificateFaults explain that an initiator is not let in.
var certificateFaults = []string{"rotate-certificates", "revoke-certificates"}

// schedule draws faults.
type schedule struct {
	random *rand.Rand
	all    []*fault
	left   []*fault // of this round
	struck map[string]int

	mu      sync.Mutex
	skipped map[string]int // how often a fault found nothing to strike
}

// openSchedule lists what is possible here; the rest is said.
func (n *nemesis) openSchedule(r *rand.Rand) (*schedule, error) {
	s := &schedule{random: r, struck: map[string]int{}, skipped: map[string]int{}}
	for _, name := range n.only {
		if !slices.ContainsFunc(faults, func(f *fault) bool { return f.name == name }) {
			return nil, fmt.Errorf("there is no fault %q; there are %s", name, names(faults))
		}
	}
	for _, f := range faults {
		if len(n.only) > 0 && !slices.Contains(n.only, f.name) {
			continue
		}
		if f.possible != nil {
			if err := f.possible(n); err != nil {
				n.impossible = append(n.impossible, f.name+" ("+err.Error()+")")
				continue
			}
		}
		s.all = append(s.all, f)
	}
	return s, nil
}

func names(all []*fault) string {
	var out []string
	for _, f := range all {
		out = append(out, f.name)
	}
	return strings.Join(out, ", ")
}

// draw takes one to three faults of different groups, and three while the first round is not through.
func (s *schedule) draw() []*fault {
	count := 1 + s.random.IntN(3)
	if len(s.struck) < len(s.all) {
		count = 3
	}
	var drawn []*fault
	groups := map[string]bool{}
	for range count {
		if len(s.left) == 0 {
			s.left = slices.Clone(s.all)
			s.random.Shuffle(len(s.left), func(i, j int) { s.left[i], s.left[j] = s.left[j], s.left[i] })
		}
		at := slices.IndexFunc(s.left, func(f *fault) bool { return !groups[f.group] && !slices.Contains(drawn, f) })
		if at < 0 {
			break
		}
		f := s.left[at]
		s.left = slices.Delete(s.left, at, at+1)
		groups[f.group] = true
		drawn = append(drawn, f)
		s.struck[f.name]++
	}
	return drawn
}

// period is how long one lasts at least, and strikeWithin in which part of it the faults begin.
const (
	period       = 30 * time.Second
	strikeWithin = 10 * time.Second
)

// trouble lets the faults loose, period after period, until the time is over. Ten minutes are enough for each to strike once;
// the account lists those that did not.
func (n *nemesis) trouble(ctx context.Context, s *schedule) error {
	over := time.Now().Add(time.Duration(n.minutes * float64(time.Minute)))
	for number := 1; ctx.Err() == nil && time.Now().Before(over); number++ {
		drawn := s.draw()
		n.say("period", "%d: %s; so far %d changes acknowledged, %d of %d tries without an answer, %d of %d polls refused or unanswered",
			number, names(drawn), n.account.acknowledged.Load(), n.unanswered.Load(), n.tries.Load(), n.unasked.Load(), n.asked.Load())
		began := time.Now()
		var striking sync.WaitGroup
		errs := make([]error, len(drawn))
		for i, f := range drawn {
			r := rand.New(rand.NewPCG(s.random.Uint64(), s.random.Uint64()))
			wait := time.Duration(r.Int64N(int64(strikeWithin)))
			striking.Go(func() {
				rest(ctx, wait)
				if ctx.Err() != nil {
					return
				}
				switch err := f.strike(ctx, n, f, r); {
				case errors.Is(err, errNothing):
					s.skip(f)
					n.say("skipped", "%s: %v", f.name, err)
				case err != nil:
					errs[i] = fmt.Errorf("%s could not be carried out: %w", f.name, err)
				}
			})
		}
		striking.Wait()
		for _, err := range errs {
			if err != nil && ctx.Err() == nil {
				return err
			}
		}
		rest(ctx, max(period-time.Since(began), 5*time.Second))
	}
	return ctx.Err()
}

// skip counts a fault that found nothing to strike.
func (s *schedule) skip(f *fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.skipped[f.name]++
}

// between draws a duration.
func between(r *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(r.Int64N(int64(most-least)))
}

// someReplica draws one.
func (n *nemesis) someReplica(r *rand.Rand) *replica { return n.replicas[r.IntN(replicaCount)] }
