package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/mockbank"
	"github.com/arauto/arauto/internal/lab/stage"
	"github.com/arauto/arauto/internal/lab/standin"
	"github.com/arauto/arauto/internal/ofb"
)

// siege is a foreign core under load, with two replicas that follow it, of which one reads.
type siege struct {
	*foreign
	replicas map[string]*stage.Replica // alive, by name
	started  int
	rng      *rand.Rand
	worst    time.Duration // longest from a kill of the reading replica until another reads
}

// replicaStarts runs one more replica.
func (s *siege) replicaStarts() {
	s.t.Helper()
	r, err := s.Start(s.t.Context())
	require.NoError(s.t, err)
	s.started++
	s.replicas[fmt.Sprintf("replica-%d", s.started)] = r
	s.talkTo(r)
}

// reader waits until a replica that is alive says that it reads, and names it.
func (s *siege) reader() string {
	s.t.Helper()
	var name string
	s.until("a replica reads the source", time.Minute, func() bool {
		got := s.source("mockbank")
		name = got.Replica
		return got.Running && s.replicas[name] != nil
	})
	return name
}

// killReader kills the replica that reads, and measures until the one that waits its turn does; what is committed
// meanwhile is told in the end.
func (s *siege) killReader() {
	s.t.Helper()
	var gone, next *stage.Replica
	shows := func(r *stage.Replica, metric string) bool {
		text, err := r.Metrics(s.t.Context())
		return err == nil && strings.Contains(text, metric)
	}
	// Who reads may change until then: a blow before this one may have ended the reader's sessions.
	s.until("one replica reads and the other waits for its turn", time.Minute, func() bool {
		gone, next = nil, nil
		for _, r := range s.replicas {
			switch {
			case shows(r, `arauto_source_reading{source="mockbank"} 1`):
				gone = r
			case shows(r, `arauto_source_state{source="mockbank",state="standby"} 1`):
				next = r
			}
		}
		return gone != nil && next != nil
	})
	delete(s.replicas, gone.Name)
	s.talkTo(next)
	gone.Kill()
	began := time.Now()
	id := s.rejectedPayment()
	s.until("the other replica takes over", time.Minute, func() bool { return shows(next, `arauto_source_reading{source="mockbank"} 1`) })
	took := time.Since(began)
	ctx, cancel := context.WithTimeout(s.t.Context(), 2*time.Minute)
	defer cancel()
	_, err := s.alfa.Wait(ctx, 1, standin.For(id))
	require.NoError(s.t, err)
	s.t.Logf("%s was killed: another reads after %s, a payment of that moment was told after %s", gone.Name, took.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
	s.worst = max(s.worst, took)
	s.replicaStarts()
}

func (s *siege) rejectedPayment() string {
	id := s.patiently(func(ctx context.Context) (string, error) {
		consent, err := s.bank.New(ctx, ofb.PaymentConsent, "alfa")
		if err != nil {
			return "", err
		}
		ids, err := s.bank.Pay(ctx, ofb.PixPayment, "alfa", consent, 1)
		if err != nil {
			return "", err
		}
		return ids[0], nil
	})
	s.moves(ofb.PixPayment, id, ofb.RJCT)
	return id
}

// patiently tries an act again until the bank's database does it: what an interrupted try may have left behind is in the
// ledger as well, and owed as well.
func (s *siege) patiently(act func(context.Context) (string, error)) string {
	for end := time.Now().Add(time.Minute); ; pause(s.t, 50*time.Millisecond) {
		id, err := act(s.t.Context())
		if err == nil || s.t.Context().Err() != nil {
			return id
		}
		if time.Now().After(end) {
			s.t.Errorf("the bank does not come back: %v", err)
			return id
		}
	}
}

// moves brings a resource into a state, once: after an error the row says whether it is there.
func (s *siege) moves(kind ofb.Kind, id string, to ofb.Status) {
	s.patiently(func(ctx context.Context) (string, error) {
		var now ofb.Status
		err := s.bank.Pool().QueryRow(ctx, "SELECT status FROM "+mockbank.Table(kind)+" WHERE id = $1", id).Scan(&now)
		if err != nil || now == to {
			return id, err
		}
		return id, s.bank.Move(ctx, kind, id, to)
	})
}

// load drives payments through journeys until stop.
func (s *siege) load(workers int) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for w := range workers {
		rng := rand.New(rand.NewPCG(s.rng.Uint64(), uint64(w)))
		all.Go(func() {
			for ctx.Err() == nil {
				var ids []string
				s.patiently(func(c context.Context) (string, error) {
					consent, err := s.bank.New(c, ofb.PaymentConsent, "alfa")
					if err != nil {
						return "", err
					}
					ids, err = s.bank.Pay(c, ofb.PixPayment, "alfa", consent, 1+rng.IntN(3))
					return "", err
				})
				for _, id := range ids {
					journey := journeys[ofb.PixPayment][rng.IntN(len(journeys[ofb.PixPayment]))]
					for _, to := range journey {
						s.moves(ofb.PixPayment, id, to)
						pause(s.t, time.Duration(20+rng.IntN(60))*time.Millisecond)
					}
				}
			}
		})
	}
	return sync.OnceFunc(func() { cancel(); all.Wait() })
}

// restartCore ends the bank's database as a power cut does, and starts it again.
func (s *siege) restartCore() {
	s.t.Helper()
	require.NoError(s.t, s.server.Kill())
	require.NoError(s.t, s.server.Restart(s.t.Context()))
}

// terminate ends the sessions by which the bank is read.
func (s *siege) terminate() {
	s.patiently(func(ctx context.Context) (string, error) {
		_, err := s.bank.Pool().Exec(ctx, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'arauto_reader' AND pid <> pg_backend_pid()")
		return "", err
	})
}

// TestAFollowedCoreLosesAndDoublesNothingWhateverIsKilled kills the replica that reads, the core's database and the
// sessions between them, at random under load. Afterwards the bank's own ledger says what was committed: everything owed
// by it was told, nothing was announced twice, and every POST is an attempt on record. ARAUTO_SEED repeats a run.
func TestAFollowedCoreLosesAndDoublesNothingWhateverIsKilled(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("ARAUTO_SEED"); text != "" {
		var err error
		seed, err = strconv.ParseUint(text, 10, 64)
		require.NoError(t, err)
	}
	t.Logf("ARAUTO_SEED=%d", seed)
	s := &siege{foreign: openForeign(t, stage.Options{Settings: unhurried}), replicas: map[string]*stage.Replica{}, started: 1, rng: rand.New(rand.NewPCG(seed, 1))}
	s.replicas["replica-1"] = s.replica
	s.replicaStarts()
	stop := s.load(3)
	defer stop()
	blows := []func(){s.killReader, s.restartCore, s.terminate}
	rounds := 9
	if long() {
		rounds = 60
	}
	for n := range rounds {
		pause(t, time.Duration(200+s.rng.IntN(1300))*time.Millisecond)
		blow := n % len(blows) // each kind, and then at random
		if n >= len(blows) {
			blow = s.rng.IntN(len(blows))
		}
		blows[blow]()
	}
	s.reader()
	stop()
	s.verify()
	t.Logf("a replica that read was replaced within %s", s.worst)
	if long() { // alone on its machine: beside other work, a replica waits for the processor (TestAStandbyTakesOverSoon has it in virtual time)
		require.Less(t, s.worst, 5*time.Second)
	}
}

// verify compares the ledger with what the gateway did, and with what arrived.
func (s *siege) verify() {
	t := s.t
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	ledger, err := s.bank.Ledger(ctx)
	require.NoError(t, err)
	s.caughtUp(ledger)
	within := 15 * time.Second // third attempts come after a minute
	if long() {
		within = time.Hour
	}
	_, err = s.core.Load().Settle(ctx, within)
	require.NoError(t, err)

	var posts []stage.Post
	for _, r := range s.alfa.Requests() {
		posts = append(posts, stage.Post{Target: r.Target, Interaction: r.Interaction, At: r.At})
	}
	books, err := s.core.Load().Collect(ctx, nil, posts, nil)
	require.NoError(t, err)
	report := books.Check()
	t.Log(report)
	require.Empty(t, report.Wrong, strings.Join(report.Wrong, "\n"))

	announced := map[string][]string{}
	for _, n := range books.Notifications {
		announced[n.ResourceID] = append(announced[n.ResourceID], n.Status)
	}
	total, heard := 0, told(s.alfa)
	for kind, resources := range ledger {
		for id, states := range resources {
			events := owed(kind, states)
			total += len(events)
			require.Len(t, announced[id], len(events), "%s %s went through %v and was announced as %v", kind, id, states, announced[id])
			require.GreaterOrEqual(t, len(heard[id]), len(events), "%s %s: the initiator was told too little", kind, id)
		}
	}
	require.Greater(t, total, 100, "too little load to show anything")
	require.Empty(t, s.openCases())
	s.oneRowAFact()
}
