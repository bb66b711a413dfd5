package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/arauto/arauto/internal/metrics"
)

// check is one thing readiness asks about; nil means usable.
type check struct {
	name string
	ask  func(context.Context) error
}

// readiness answers /readyz from named checks. Liveness never asks the database.
type readiness struct {
	checks []check
	notes  func() []string // what an operator should see though it keeps nobody from working; nil: nothing

	mu       sync.Mutex
	draining bool
}

// drain makes readiness false until the process ends: no load balancer should send anything any more.
func (r *readiness) drain() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.draining = true
}

// ask runs all checks side by side, each with a second at most, and returns what is not usable.
func (r *readiness) ask(ctx context.Context) []string {
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
	for _, c := range r.checks {
		all.Go(func() {
			if err := c.ask(ctx); err != nil {
				mu.Lock()
				defer mu.Unlock()
				reasons = append(reasons, fmt.Sprintf("%s: %v", c.name, err))
			}
		})
	}
	all.Wait()
	slices.Sort(reasons)
	return reasons
}

// opsHandler serves what the platform asks: /healthz (the process answers), /readyz (it can do its work), /metrics.
func opsHandler(r *readiness, m *metrics.Metrics) http.Handler {
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
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.Registry, promhttp.HandlerOpts{}))
	return mux
}

// noted are the notes, if there are any.
func (r *readiness) noted() []string {
	if r.notes == nil {
		return nil
	}
	return r.notes()
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
