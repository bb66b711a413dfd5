package gateway

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/arauto/arauto/internal/config"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/trust"
)

// startLogMost is how many entries of what this replica runs with may wait for the database; later reloads are in the log of the process alone.
const startLogMost = 1000

// startWithin is how long a start waits for its entry, where the database answered just before.
const startWithin = 3 * time.Second

// startLog writes to the history what this replica runs with: its start, and what it reads again. Nothing waits for it but a start, for a bounded time. While
// the database takes nothing, entries wait in memory, in their order; those that wait when the process ends are lost, and the log of the process has them.
type startLog struct {
	record func(context.Context, history.StartEntry) error
	system string
	log    *slog.Logger
	added  chan struct{} // capacity 1

	mu      sync.Mutex
	begun   bool                 // what was read before belongs to the start
	refused map[string]string    // by setting and source: why its last reading was refused; "": it was not
	waiting []history.StartEntry // the oldest first
}

func newStartLog(g *Gateway) *startLog {
	return &startLog{record: g.auditlog.RecordStartEntry, system: g.store.Access().System, log: g.log, added: make(chan struct{}, 1), refused: map[string]string{}}
}

// begin adds the start.
func (r *startLog) begin(f history.StartFacts) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f.System, r.begun = r.system, true
	r.add(history.StartEntry{Kind: history.FactStart, Outcome: f.Profile, Facts: f})
}

// reloaded adds a reload. A file that is refused again is told when the reason is another one, for its content has changed; an address that does not
// answer does so in many words, and is told once.
func (r *startLog) reloaded(t trust.Reload) {
	f := history.ReloadFacts{System: r.system, Setting: t.Setting, Source: config.MaskURLs(t.Source), InForce: masked(t.InForce)}
	outcome := history.ReloadInForce
	if t.Err != nil {
		outcome, f.Reason = history.ReloadRefused, config.MaskURLs(t.Err.Error())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	source := t.Setting + " " + t.Source
	before := r.refused[source]
	again := f.Reason != "" && (before == f.Reason || before != "" && strings.Contains(t.Source, "://"))
	if r.refused[source] = f.Reason; r.begun && !again {
		r.add(history.StartEntry{Kind: history.FactReload, Outcome: outcome, Facts: f})
	}
}

// add is called under the lock.
func (r *startLog) add(e history.StartEntry) {
	if len(r.waiting) == startLogMost {
		r.log.Error("reload not recorded in the history: too many wait for the database", "waiting", startLogMost)
		return
	}
	e.ID, e.Made = store.NewID(), time.Now()
	r.waiting = append(r.waiting, e)
	select {
	case r.added <- struct{}{}:
	default:
	}
}

// write writes what waits, each at least once. An entry that is refused for a reason of its own is in the log of the process alone: it does not stop
// those behind it. One goroutine calls it at a time.
func (r *startLog) write(ctx context.Context) error {
	for {
		r.mu.Lock()
		waiting := r.waiting
		r.mu.Unlock()
		if len(waiting) == 0 {
			return nil
		}
		e := waiting[0]
		switch err := r.record(ctx, e); {
		case err == nil:
		case ctx.Err() != nil || errors.Is(err, store.ErrUnavailable):
			return err
		default:
			r.log.Error("entry of what this replica runs with not recorded in the history: it was refused", "kind", e.Kind, "facts", e.Facts, "error", err)
		}
		r.mu.Lock()
		r.waiting = r.waiting[1:]
		r.mu.Unlock()
	}
}

// recordStart writes the entry of this start, before this replica serves or sends anything. What cannot be written now waits, and the start goes on.
func (g *Gateway) recordStart(ctx context.Context) error {
	f := history.StartFacts{
		Replica: g.cfg.Replica, Version: g.version, Profile: g.cfg.Profile, StartedAt: g.began.UTC(), SHA256: g.cfg.Digest(), Loosened: g.cfg.Loosened(),
		Settings: []history.StartSetting{}, InForce: map[string]map[string]string{},
	}
	for _, s := range g.cfg.Changed() {
		f.Settings = append(f.Settings, history.StartSetting{Key: s.Key, Value: s.Value, Origin: s.Origin})
	}
	for setting, digests := range g.trust.InForce() {
		f.InForce[setting] = masked(digests)
	}
	g.starts.begin(f)
	if !g.reached {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	if err := g.starts.write(ctx); err != nil {
		g.log.Warn("start not recorded in the history yet, will be retried", "error", err)
	}
	return nil
}

// masked is digests by file or address, as addresses are shown.
func masked(digests map[string]string) map[string]string {
	out := map[string]string{}
	for source, sum := range digests {
		out[config.MaskURLs(source)] = sum
	}
	return out
}
