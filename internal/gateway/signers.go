package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/metrics"
)

// trySignersEvery is how often processes that have keys of ours are tried, so that one that hangs is noticed while nothing asks for
// signatures.
const trySignersEvery = 15 * time.Second

// signerAwayAfter is how long a key has made no signature when operators are told: as the alarm.
const signerAwayAfter = time.Minute

// The keys that may be in another process, as metrics and notes name them.
const (
	keyAnswers = "answers"
	keyLog     = "log"
)

// answersOf is the key of the answers of a brand; "" is the only one.
func answersOf(brand string) string {
	if brand == "" {
		return keyAnswers
	}
	return keyAnswers + " " + brand
}

// signerStates remembers which processes that have keys of ours do not sign. It is safe for concurrent use.
type signerStates struct {
	metrics *metrics.Metrics
	log     *slog.Logger

	mu     sync.Mutex
	failed map[string]signerFailure // by key; absent: it signs
}

type signerFailure struct {
	why   string
	since time.Time
	named time.Time // when the log named it last
}

// signed is told of each signature and each trial of a key in another process.
func (s *signerStates) signed(key string, took time.Duration, err error) {
	s.metrics.SignerAnswered(key, took, err)
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	before, failing := s.failed[key]
	switch {
	case err == nil && failing:
		delete(s.failed, key)
		s.log.Info("signer signs again", "key", key, "after", now.Sub(before.since).Round(time.Second))
	case err != nil:
		f := signerFailure{why: err.Error(), since: before.since, named: before.named}
		if !failing {
			f.since = now
		}
		if now.Sub(f.named) >= faultNamedEvery {
			f.named = now
			s.log.Error("signer does not sign", "key", key, "error", err)
		}
		if s.failed == nil {
			s.failed = map[string]signerFailure{}
		}
		s.failed[key] = f
	}
}

// notes says which keys do not sign, for /readyz. A replica without a signer still takes changes and tells initiators of them, so it
// stays ready.
func (s *signerStates) notes() (all []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, f := range s.failed {
		all = append(all, fmt.Sprintf("signer of the key %s: no signature since %s: %s", key, f.since.UTC().Format(time.RFC3339), f.why))
	}
	slices.Sort(all)
	return all
}

// away are the keys of which operators must know that they do not sign.
func (s *signerStates) away(now time.Time) (all []history.Sighting) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range slices.Sorted(maps.Keys(s.failed)) {
		if f := s.failed[key]; now.Sub(f.since) >= signerAwayAfter {
			all = append(all, history.Sighting{Kind: history.EventSignerAway, Subject: key, Detail: f.why})
		}
	}
	return all
}

// trySigners asks the processes that have keys of ours for a trial. Failures are told to signerStates.
func (g *Gateway) trySigners(context.Context) error {
	var both sync.WaitGroup
	both.Go(func() { _ = g.sealer.TrySigner() })
	both.Go(g.trust.TrySigners)
	both.Wait()
	return nil
}
