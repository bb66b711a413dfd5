package gateway

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/store"
)

// sealEvery is how often the history is sealed and a checkpoint signed, while there is anything new.
const sealEvery = 5 * time.Second

// horizonLimit is how long one transaction may keep younger entries from being sealed before that is an alarm.
const horizonLimit = 10 * time.Second

// repeatAfter is how often an alarm that goes on is said again.
const repeatAfter = time.Minute

// sealer gives the history its proof, in the background: nothing that serves initiators or the bank waits for it.
type sealer struct {
	cfg     *Config
	store   *store.Store
	log     *slog.Logger
	key     *audit.Signer // nil until it is known
	anchors []anchor
	figures sealFigures

	anchored int64 // size of the checkpoint that every anchor has
	compared bool  // the log was compared with what the file anchor holds
	said     map[string]time.Time

	horizon int64 // as it was seen first at since
	since   time.Time
}

type sealFigures struct {
	sealed, failures                     prometheus.Counter
	size, stopped, horizon, checkpointed prometheus.Gauge
}

// newSealer reads the key, where a setting names one, and prepares the anchors.
func newSealer(cfg *Config, s *store.Store, log *slog.Logger, m *metrics) (*sealer, error) {
	w := &sealer{cfg: cfg, store: s, log: log, said: map[string]time.Time{}, figures: sealMetrics(m.registry)}
	if cfg.Log.Key != "" {
		key, err := readLogKey(cfg.Log.Key)
		if err != nil {
			return nil, &ConfigError{[]string{fmt.Sprintf("log.key (ARAUTO_LOG_KEY): %v", err)}}
		}
		w.key = key
	}
	w.anchors = []anchor{fileAnchor(cfg.anchorFile())}
	if cfg.Log.AnchorURL != "" {
		w.anchors = append(w.anchors, newURLAnchor(cfg.Log.AnchorURL))
	}
	return w, nil
}

func sealMetrics(r prometheus.Registerer) sealFigures {
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Name: "arauto_" + name, Help: help})
		r.MustRegister(g)
		return g
	}
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: "arauto_" + name, Help: help})
		r.MustRegister(c)
		return c
	}
	return sealFigures{
		sealed:       counter("log_entries_sealed_total", "Entries of the history that this replica sealed."),
		failures:     counter("log_anchor_failures_total", "Checkpoints that an anchor did not take; the next one covers them."),
		size:         gauge("log_size", "Entries in the proven log."),
		stopped:      gauge("log_sealing_stopped", "1 while sealing is refused: wrong key, or the log is not what was signed."),
		horizon:      gauge("log_horizon_age_seconds", "How long one running transaction has kept younger entries from being sealed."),
		checkpointed: gauge("log_checkpoint_time_seconds", "When the newest checkpoint was signed, in seconds since 1970."),
	}
}

// readLogKey reads the private key from a file that only its owner can read.
func readLogKey(path string) (*audit.Signer, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s can be read by others than its owner (mode %04o): set it to 0600", path, info.Mode().Perm())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	key, err := audit.ParsePrivate(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return audit.NewSigner(key), nil
}

// errNoKey means that this replica cannot seal, which another can.
var errNoKey = errors.New("it does not have the key that is registered for the log of this database")

// refuse looks once, at start, whether production has the registered key. A database that does not answer is no reason
// not to start; the same is asked again before anything is sealed.
func (w *sealer) refuse(ctx context.Context) error {
	if w.cfg.Profile != Production {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	registered, err := w.store.LogKey(ctx)
	switch {
	case err != nil:
		w.log.Error("the log's key could not be compared with the registered one yet", "error", err)
		return nil
	case registered == nil:
		return &ConfigError{[]string{"log.key (ARAUTO_LOG_KEY): no key is registered for the log of this database; run arauto audit register PUBLIC.pem once, as its owner"}}
	case !registered.Equal(w.key.Public()):
		return &ConfigError{[]string{"log.key (ARAUTO_LOG_KEY): is not the registered key of this database's log; name the file of the registered one"}}
	}
	return nil
}

// run seals until ctx ends, or for as long as this replica has the key.
func (w *sealer) run(ctx context.Context) {
	tick := time.NewTicker(sealEvery)
	defer tick.Stop()
	for {
		if err := w.round(ctx); err != nil && ctx.Err() == nil {
			if errors.Is(err, errNoKey) {
				w.log.Warn("this replica serves but does not seal the history", "error", err)
				return
			}
			w.complain(err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// complain tells what went wrong, the same at most once a minute; some of it is an alarm.
func (w *sealer) complain(err error) {
	alarm := errors.Is(err, store.ErrTampered) || errors.Is(err, store.ErrWrongKey)
	if alarm {
		w.figures.stopped.Set(1)
	}
	if now := time.Now(); now.Sub(w.said[err.Error()]) >= repeatAfter {
		w.said = map[string]time.Time{err.Error(): now}
		if alarm {
			w.log.Error("the history is not sealed", "error", err)
		} else {
			w.log.Warn("the history could not be sealed, it will be tried again", "error", err)
		}
	}
}

// round seals everything that can be sealed and anchors the newest checkpoint.
func (w *sealer) round(ctx context.Context) error {
	if err := w.prepare(ctx); err != nil {
		return err
	}
	var out store.Sealed
	for more := true; more; more = out.More {
		var err error
		if out, err = w.store.Seal(ctx, w.key); err != nil {
			return err
		}
		w.figures.sealed.Add(float64(out.Entries))
	}
	if out.Busy {
		return nil
	}
	w.figures.stopped.Set(0)
	w.figures.size.Set(float64(out.Size))
	w.watchHorizon(out)
	if out.Checkpoint == nil {
		return nil
	}
	w.figures.checkpointed.Set(float64(out.SealedAt.Unix()))
	return w.anchor(ctx, out)
}

// watchHorizon raises the alarm when one transaction keeps the entries of all younger ones waiting.
func (w *sealer) watchHorizon(out store.Sealed) {
	if out.Horizon != w.horizon || out.Newest == out.Horizon {
		w.horizon, w.since = out.Horizon, time.Now()
	}
	age := time.Since(w.since)
	w.figures.horizon.Set(age.Seconds())
	if age > horizonLimit {
		w.complain(fmt.Errorf("transaction %d is still running; entries that are younger wait for it", out.Horizon))
	}
}

// prepare finds out, until it is known, whether the key is the log's, and compares the log with what was anchored.
func (w *sealer) prepare(ctx context.Context) error {
	if w.compared {
		return nil
	}
	if err := w.ownKey(ctx); err != nil {
		return err
	}
	last, err := fileAnchor(w.cfg.anchorFile()).last(w.key.Public())
	if err != nil {
		return err
	}
	if last != nil {
		if err := w.store.CheckAnchored(ctx, *last); err != nil {
			return err
		}
	}
	w.compared = true
	return nil
}

// ownKey makes sure that our key is the registered one. In development the first replica makes the key and registers it.
func (w *sealer) ownKey(ctx context.Context) error {
	registered, err := w.store.LogKey(ctx)
	if err != nil {
		return err
	}
	made := false
	if w.key == nil {
		path := w.cfg.file("log.key")
		if w.key, err = readLogKey(path); errors.Is(err, fs.ErrNotExist) && registered == nil {
			w.key, err = makeLogKey(path)
			made = true
		}
		if errors.Is(err, fs.ErrNotExist) {
			return errNoKey
		}
		if err != nil {
			return err
		}
	}
	if registered == nil && w.cfg.Profile == Development {
		if registered, err = w.store.RegisterLogKey(ctx, w.key.Public()); err != nil {
			return err
		}
	}
	switch {
	case registered.Equal(w.key.Public()):
		return w.publish()
	case w.cfg.Profile == Production:
		return store.ErrWrongKey
	case made:
		_ = os.Remove(w.cfg.file("log.key")) // another replica was first; ours never signed anything
	}
	return errNoKey
}

// publish leaves the public half where whoever verifies finds it.
func (w *sealer) publish() error {
	text, err := audit.MarshalPublic(w.key.Public())
	if err != nil {
		return err
	}
	path := w.cfg.file("log.pub.pem")
	if have, err := os.ReadFile(path); err == nil && bytes.Equal(have, text) {
		return nil
	}
	if err := os.WriteFile(path, text, 0o644); err != nil { // everybody may read it
		return fmt.Errorf("write the log's public key: %w", err)
	}
	return nil
}

// makeLogKey makes a key and stores it; of several that try at once in one folder, one wins and the others read its key.
func makeLogKey(path string) (*audit.Signer, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the log's key: %w", err)
	}
	text, err := audit.MarshalPrivate(key)
	if err != nil {
		return nil, err
	}
	file, err := os.CreateTemp(filepath.Dir(path), "log.key.*") // mode 0600
	if err != nil {
		return nil, fmt.Errorf("store the log's key: %w", err)
	}
	defer func() { _ = os.Remove(file.Name()) }()
	_, errWrite := file.Write(text)
	if err := errors.Join(errWrite, file.Sync(), file.Close()); err != nil {
		return nil, fmt.Errorf("store the log's key: %w", err)
	}
	if err := os.Link(file.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("store the log's key: %w", err)
	}
	return readLogKey(path)
}

// anchor carries the newest checkpoint out of the database's reach. What fails is tried again with the next one, which
// covers it.
func (w *sealer) anchor(ctx context.Context, out store.Sealed) error {
	if out.Size <= w.anchored {
		return nil
	}
	for _, a := range w.anchors {
		if err := a.put(ctx, out.Checkpoint); err != nil {
			w.figures.failures.Inc()
			return fmt.Errorf("anchor the checkpoint of %d entries: %w", out.Size, err)
		}
	}
	w.anchored = out.Size
	return w.store.MarkAnchored(ctx, out.SealedAt)
}
