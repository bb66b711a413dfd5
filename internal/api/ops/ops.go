// Package ops is the platform's side: whether the process answers, whether it can do its work, and its metrics. It asks for no
// token, so its listener is for the platform's own network.
package ops

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Condition is one thing readiness asks about; nil means usable.
type Condition struct {
	Name string
	Ask  func(context.Context) error
}

// Readiness answers /readyz from named checks. Liveness never asks the database.
type Readiness struct {
	Checks []Condition
	Notes  func() []string // what an operator should see though it keeps nobody from working; nil: nothing

	mu       sync.Mutex
	draining bool
}

// Drain makes readiness false until the process ends: no load balancer should send anything any more.
func (r *Readiness) Drain() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.draining = true
}

// Who polls readiness waits a second for the answer (cases S2). Checks have askWithin, and those that do not heed it a little more.
const askWithin, answerWithin = 800 * time.Millisecond, 900 * time.Millisecond

// ask runs all checks side by side and returns what is not usable. A check that has no answer in time is not usable; it is not waited for.
func (r *Readiness) ask(ctx context.Context) []string {
	r.mu.Lock()
	draining := r.draining
	r.mu.Unlock()
	if draining {
		return []string{"shutdown: this replica is going away"}
	}
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	type answer struct {
		check int
		err   error
	}
	answers := make(chan answer, len(r.Checks))
	for i, c := range r.Checks {
		go func() { answers <- answer{i, c.Ask(ctx)} }()
	}
	over := time.NewTimer(answerWithin)
	defer over.Stop()
	asked := map[int]bool{}
	var reasons []string
	for len(asked) < len(r.Checks) {
		select {
		case a := <-answers:
			asked[a.check] = true
			if a.err != nil {
				reasons = append(reasons, fmt.Sprintf("%s: %v", r.Checks[a.check].Name, a.err))
			}
			continue
		case <-over.C:
		}
		for i, c := range r.Checks {
			if !asked[i] {
				asked[i] = true
				reasons = append(reasons, fmt.Sprintf("%s: no answer within %s", c.Name, answerWithin))
			}
		}
	}
	slices.Sort(reasons)
	return reasons
}

// Handler serves what the platform asks: /healthz (the process answers), /readyz (it can do its work), /metrics.
func Handler(r *Readiness, metrics http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		writeStatus(w, http.StatusOK, nil)
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, req *http.Request) {
		if reasons := r.ask(req.Context()); len(reasons) > 0 {
			writeStatus(w, http.StatusServiceUnavailable, reasons, r.noted()...)
			return
		}
		writeStatus(w, http.StatusOK, nil, r.noted()...)
	})
	mux.Handle("GET /metrics", metrics)
	return mux
}

// noted are the notes, if there are any.
func (r *Readiness) noted() []string {
	if r.Notes == nil {
		return nil
	}
	return r.Notes()
}

func writeStatus(w http.ResponseWriter, status int, reasons []string, notes ...string) {
	word := "ok"
	if status != http.StatusOK {
		word = "unavailable"
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(struct {
		Status  string   `json:"status"`
		Reasons []string `json:"reasons,omitempty"`
		Notes   []string `json:"notes,omitempty"`
	}{word, reasons, notes}) // the caller is gone if this fails
}
