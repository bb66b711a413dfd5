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

// ask runs all checks side by side, each with a second at most, and returns what is not usable.
func (r *Readiness) ask(ctx context.Context) []string {
	r.mu.Lock()
	draining := r.draining
	r.mu.Unlock()
	if draining {
		return []string{"shutdown: this replica is going away"}
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	var mu sync.Mutex
	var reasons []string
	var all sync.WaitGroup
	for _, c := range r.Checks {
		all.Go(func() {
			if err := c.Ask(ctx); err != nil {
				mu.Lock()
				defer mu.Unlock()
				reasons = append(reasons, fmt.Sprintf("%s: %v", c.Name, err))
			}
		})
	}
	all.Wait()
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
