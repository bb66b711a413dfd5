// Package seal gives the history its proof: it seals the log, signs checkpoints of it, carries them to anchors out of the
// reach of the database's owner, and verifies the log at intervals.
//
// Sealing never goes on over a log that does not extend what was published: the checkpoints that this process has seen,
// those in the anchor file and in the object store, and those of witnesses that refused ours. An anchor or a witness that
// hangs delays neither sealing nor another one.
//
// Nothing that serves initiators or the bank waits for this package. It does not replace verification from outside: who can
// change the database and this process can change both.
package seal

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/config"
	told "github.com/arauto/arauto/internal/failure"
	"github.com/arauto/arauto/internal/figures"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/store/auditlog"
	"github.com/arauto/arauto/internal/tiles"
	"github.com/arauto/arauto/internal/trust"
)

// sealEvery is the time between two rounds of sealing. A round signs a checkpoint when there is something new.
const sealEvery = 5 * time.Second

// horizonLimit is how long one running transaction may delay the sealing of younger entries before the log says so.
const horizonLimit = 10 * time.Second

// repeatAfter is the time after which the log repeats a failure that goes on.
const repeatAfter = time.Minute

// Store keeps the log; *store.Store does.
type Store interface {
	Seal(ctx context.Context, key *audit.Signer, published ...auditlog.PublishedHead) (auditlog.SealStep, error)
	LogKey(ctx context.Context) (ed25519.PublicKey, error)
	RegisterLogKey(ctx context.Context, key ed25519.PublicKey) (ed25519.PublicKey, error)
	Extends(ctx context.Context, public ed25519.PublicKey, published ...auditlog.PublishedHead) error
	MarkAnchored(ctx context.Context, checkpoint time.Time) error
	Fold(ctx context.Context) (auditlog.FoldStep, error)
	InTurn(ctx context.Context, name string, do func(context.Context) error) (bool, error)
	Checkpoint(ctx context.Context, size int64) (audit.SignedHead, error)
	ProveGrowth(ctx context.Context, old, size int64) ([]audit.Hash, error)
	KeepCosignature(ctx context.Context, size int64, c audit.Cosignature) error
	Cosigned(ctx context.Context, first []audit.WitnessKey, most int) (auditlog.Cosigned, error)
	OpenLogForLong(ctx context.Context, size int64) (*auditlog.LogReader, error)
}

// Sealer seals the log and signs its checkpoints. A carrier for each anchor delivers them, and the Sealer does not wait for it.
type Sealer struct {
	cfg      *config.Config
	store    Store
	log      *slog.Logger
	key      *audit.Signer // nil until it is known
	carriers []*carrier
	observer Observer

	newest   atomic.Pointer[head] // the newest checkpoint
	keyKnown bool                 // our key is the registered one
	doubtful bool                 // the last try to seal failed, and the log's key is in another process
	horizon  int64                // the oldest running transaction
	since    time.Time            // when horizon was first seen

	remembered atomic.Pointer[audit.Checkpoint] // the newest that this process has seen
	places     []namedPublisher                 // that know published checkpoints
	halted     atomic.Pointer[haltReason]       // why sealing is stopped; nil: it is not

	witnesses  *witnesses       // nil: none
	publishers []*tilePublisher // of tiles

	sealed chan struct{} // entries were sealed that can be folded

	mu       sync.Mutex
	taken    map[*carrier]head    // the newest checkpoint that each anchor has
	failed   map[*carrier]failure // what the last delivery to an anchor came to; absent: it was taken
	anchored int64                // size up to which every anchor covers the log
	said     map[string]time.Time // when the log named a failure last
}

// Observer is told what becomes of the log. Its methods return at once; several goroutines call them.
type Observer interface {
	// Sealed tells how many entries one transaction of this replica sealed.
	Sealed(entries int)
	// Extends tells the size of the log after a transaction, and that sealing is not stopped.
	Extends(size int64)
	// Delayed tells for how long one running transaction has kept younger entries from being sealed.
	Delayed(by time.Duration)
	// Checkpointed tells when the newest checkpoint was signed, by the database's clock.
	Checkpointed(at time.Time)
	// Strays tells how many recent entries at or before the end of the log have no position of their own.
	Strays(n int64)
	// Stopped tells that sealing is stopped until the log is again what was signed.
	Stopped()
	// Anchored tells when the newest checkpoint that an anchor has from this replica was signed.
	Anchored(anchor string, at time.Time)
	// AnchorFailed tells that an anchor refused a checkpoint, or holds what is no checkpoint of this log.
	AnchorFailed(anchor string)
	// Folded tells the status queries of a stretch of the log that this replica added to the figures.
	Folded(polls figures.PollSums)
	// Vouched tells when a witness last vouched for a checkpoint, at the request of any replica.
	Vouched(witness string, at time.Time)
	// Witnessed tells how many entries the quorum of the policy vouched for last, and up to when.
	Witnessed(size int64, until time.Time)
	// WitnessFailed tells that a witness did not vouch for a checkpoint, and whether it did because it vouched for another history.
	WitnessFailed(witness string, refused bool)
	// Published tells how many entries are published as tiles in a place, and when it was known that this is all.
	Published(place string, size int64, at time.Time)
	// PublishFailed tells that the log was not published to a place.
	PublishFailed(place string)
	// Signed tells how long the process that has the log's key took to sign a checkpoint or a trial, and why it did not.
	Signed(took time.Duration, err error)
}

// New reads the key that log.key names, if any, and prepares the anchors. The error of a wrong setting or file is a
// *config.Error. It asks neither the database nor an anchor.
func New(cfg *config.Config, s Store, log *slog.Logger, o Observer) (*Sealer, error) {
	w := &Sealer{cfg: cfg, store: s, log: log, said: map[string]time.Time{}, taken: map[*carrier]head{}, failed: map[*carrier]failure{}, observer: o, sealed: make(chan struct{}, 1)}
	if cfg.Log.Key != "" {
		var observe func(time.Duration, error)
		if o != nil {
			observe = o.Signed
		}
		key, err := openLogKey(cfg, observe)
		if err != nil {
			return nil, &config.Error{Problems: []string{fmt.Sprintf("log.key (ARAUTO_LOG_KEY): %v", err)}}
		}
		w.key = key
	}
	file := fileAnchor(cfg.AnchorFile())
	w.carriers = []*carrier{newCarrier("file", file, 0)}
	w.places = []namedPublisher{{"file", file}}
	if cfg.Log.AnchorURL != "" {
		w.carriers = append(w.carriers, newCarrier("url", &urlAnchor{cfg.Log.AnchorURL, trust.NewAnchorClient(nil, anchorTimeout)}, 0))
	}
	object, err := openObjectAnchor(cfg)
	if err != nil {
		return nil, err
	}
	if object != nil {
		object.log = w.log
		w.carriers = append(w.carriers, newCarrier("object-store", object, objectEvery))
		w.places = append(w.places, namedPublisher{"object-store", &objectPlace{anchor: object}})
	}
	w.publishers = openPublishers(cfg, object)
	if w.witnesses, err = openWitnesses(cfg, w.key); err != nil {
		return nil, err
	}
	if w.witnesses != nil {
		for _, c := range w.carriers {
			w.witnesses.carriers = append(w.witnesses.carriers, newCarrier(c.name, c.anchor, c.every))
		}
		if object != nil {
			w.witnesses.carriers[len(w.carriers)-1].anchor = object.cosigned()
		}
	}
	return w, nil
}

// Anchors returns the names of the anchors in use: "file", "url", "object-store".
func (w *Sealer) Anchors() []string {
	var names []string
	for _, c := range w.carriers {
		names = append(names, c.name)
	}
	return names
}

// failure is why an anchor did not take a checkpoint, and when.
type failure struct {
	text string
	pt   string // "": it has no words of ours
	at   time.Time
}

func failureOf(err error) failure { return failure{err.Error(), told.Portuguese(err), time.Now()} }

// AnchorStates returns what this replica knows of its anchors. A replica without the log's key delivers nothing to them.
func (w *Sealer) AnchorStates() []history.AnchorState {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := make([]history.AnchorState, len(w.carriers))
	for i, c := range w.carriers {
		has, failed := w.taken[c], w.failed[c]
		all[i] = history.AnchorState{Name: c.name, Size: has.size, CheckpointAt: has.at, Problem: failed.text, ProblemPT: failed.pt, ProblemAt: failed.at}
	}
	return all
}

// NotSealing returns why sealing is stopped, in English and Portuguese; empty: it is not.
func (w *Sealer) NotSealing() (en, pt string) {
	if why := w.halted.Load(); why != nil {
		return why.en, why.pt
	}
	return "", ""
}

// SealsHere returns whether this replica has the key of the log that it seals.
func (w *Sealer) SealsHere() bool { return w.newest.Load() != nil }

// LogKey returns the public key of the log: our own if log.key names one, else the registered one; nil without either.
func (w *Sealer) LogKey(ctx context.Context) (ed25519.PublicKey, error) {
	if w.cfg.Log.Key != "" {
		return w.key.Public(), nil
	}
	return w.store.LogKey(ctx)
}

// readLogKey reads the private key from a file that only its owner can read.
func readLogKey(path string) (*audit.Signer, error) {
	text, err := readPrivate(path)
	if err != nil {
		return nil, err
	}
	key, err := audit.ParsePrivate(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return audit.NewSigner(key), nil
}

// errNoKey means that this replica cannot seal; another one can.
var errNoKey = errors.New("this replica does not have the key that is registered for the log of this database")

// Refuse returns a *config.Error when, in production, our key is not the registered one. It returns nil when the database does
// not answer within 3 s: every round asks again before it seals.
func (w *Sealer) Refuse(ctx context.Context) error {
	if w.cfg.Profile != config.Production {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	registered, err := w.store.LogKey(ctx)
	switch {
	case err != nil:
		w.log.Error("log key not compared with the registered one yet", "error", err)
		return nil
	case registered == nil:
		return &config.Error{Problems: []string{"log.key (ARAUTO_LOG_KEY): no key is registered for the log of this database; run arauto audit register PUBLIC.pem once, as its owner"}}
	case !registered.Equal(w.key.Public()):
		return &config.Error{Problems: []string{"log.key (ARAUTO_LOG_KEY): is not the registered key of this database's log; name the file of the registered one"}}
	}
	return nil
}

// Run seals and carries checkpoints until ctx ends. It returns early on a replica without the registered key.
func (w *Sealer) Run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	var beside sync.WaitGroup
	defer beside.Wait()
	defer cancel()
	for _, c := range w.carriers {
		beside.Go(func() { w.carry(ctx, c) })
	}
	beside.Go(func() { w.fold(ctx) })
	for _, p := range w.publishers {
		beside.Go(func() { w.publishTiles(ctx, p) })
	}
	if w.witnesses != nil {
		beside.Go(func() { w.vouch(ctx) })
		for _, c := range w.witnesses.carriers {
			beside.Go(func() { w.carryCosigned(ctx, c) })
		}
	}
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

// carry delivers checkpoints to one anchor until ctx ends. After a failure it retries with the newest checkpoint, which covers
// the older ones.
func (w *Sealer) carry(ctx context.Context, c *carrier) {
	tick := time.NewTicker(sealEvery)
	defer tick.Stop()
	for {
		if err := w.deliver(ctx, c); err != nil && ctx.Err() == nil {
			w.complain(err)
		}
		select {
		case <-ctx.Done():
			return
		case <-c.wake:
		case <-tick.C:
		}
	}
}

// errAnchor means that an anchor did not take a checkpoint.
var errAnchor = errors.New("a checkpoint is not anchored")

// deliver delivers the newest checkpoint to one anchor, and marks in the database how far all anchors cover the log.
func (w *Sealer) deliver(ctx context.Context, c *carrier) (err error) {
	newest := w.newest.Load()
	if c.due(newest) {
		defer func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			delete(w.failed, c)
			if err != nil {
				w.failed[c] = failureOf(err)
			}
		}()
	}
	if c.due(newest) {
		if err := w.extendsAnchor(ctx, c.name); err != nil {
			w.observer.AnchorFailed(c.name)
			return fmt.Errorf("%w: anchor %s: %w", errAnchor, c.name, err)
		}
	}
	more, err := c.carry(ctx, newest)
	if err != nil {
		w.observer.AnchorFailed(c.name)
		return fmt.Errorf("%w: %w", errAnchor, err)
	}
	w.mu.Lock()
	if more {
		w.taken[c] = c.has
		w.observer.Anchored(c.name, c.has.at)
	}
	least := c.has
	for _, other := range w.carriers {
		if h := w.taken[other]; h.size < least.size {
			least = h
		}
	}
	known := w.anchored
	w.mu.Unlock()
	if least.size <= known {
		return nil
	}
	if err := w.store.MarkAnchored(ctx, least.at); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.anchored = max(w.anchored, least.size)
	return nil
}

// errStrays means that entries were added behind the end of the log.
var errStrays = errors.New("entries stand behind the end of the log and have no position of their own")

// complain logs a failure, the same one once in repeatAfter, and notes when it stops sealing.
func (w *Sealer) complain(err error) {
	beside := errors.Is(err, errAnchor) || errors.Is(err, errFold) || errors.Is(err, errWitness) || errors.Is(err, errTiles)
	stopped := (errors.Is(err, store.ErrTampered) || errors.Is(err, store.ErrWrongKey) || errors.Is(err, store.ErrSetBack)) && !beside
	if stopped {
		why := haltOf(err)
		w.observer.Stopped()
		w.halted.Store(&why)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	maps.DeleteFunc(w.said, func(_ string, at time.Time) bool { return now.Sub(at) >= repeatAfter })
	if _, lately := w.said[err.Error()]; lately {
		return
	}
	w.said[err.Error()] = now
	switch {
	case stopped:
		w.log.Error("the history is not sealed", "error", err)
	case errors.Is(err, errFold):
		w.log.Warn("figures not folded, will be retried", "error", err)
	case errors.Is(err, tiles.ErrFork):
		w.log.Error("what is published as tiles is not of this log", "error", err)
	case errors.Is(err, errTiles):
		w.log.Warn("log not published as tiles, will be retried", "error", err)
	case errors.Is(err, errContradicts):
		w.log.Error("a witness refuses the log", "error", err)
	case errors.Is(err, errForged):
		w.log.Error("cosignatures were tampered with", "error", err)
	case errors.Is(err, errWitness):
		w.log.Warn("checkpoint not cosigned, will be retried", "error", err)
	case errors.Is(err, errStrays):
		w.log.Error("the history was tampered with", "error", err)
	case errors.Is(err, errForeign):
		w.log.Error("an anchor holds what is no checkpoint of this log", "error", err)
	case errors.Is(err, errUnseen), errors.Is(err, errUnread):
		w.log.Warn("checkpoint not read", "error", err)
	case errors.Is(err, errAnchor):
		w.log.Error("checkpoint not anchored, will be retried", "error", err)
	default:
		w.log.Warn("history not sealed, will be retried", "error", err)
	}
}

// round seals everything that can be sealed. Each batch gets a checkpoint, and the carriers are woken.
func (w *Sealer) round(ctx context.Context) error {
	if err := w.prepare(ctx); err != nil {
		return err
	}
	if w.doubtful { // a batch is not read and written in vain while the process that signs is away
		if err := w.TrySigner(); err != nil {
			return err
		}
		w.doubtful = false
	}
	for more := true; more; {
		out, err := w.store.Seal(ctx, w.key, w.published(ctx)...)
		if err != nil {
			w.doubtful = w.RemoteKey()
			return err
		}
		w.observer.Sealed(out.Entries)
		if out.Busy {
			return nil
		}
		w.publish(out)
		if out.Entries > 0 {
			w.stirFold()
		}
		if out.Strays > 0 {
			w.observer.Strays(out.Strays)
			w.complain(fmt.Errorf("%w: %d in the last seconds; run arauto audit verify", errStrays, out.Strays))
		}
		more = out.More
	}
	return nil
}

// publish shows the result of one transaction and hands its checkpoint to the carriers.
func (w *Sealer) publish(out auditlog.SealStep) {
	w.halted.Store(nil)
	w.observer.Extends(out.Size)
	w.watchHorizon(out)
	if out.Checkpoint == nil {
		return
	}
	w.observer.Checkpointed(out.SealedAt)
	w.remember(out.Checkpoint)
	w.newest.Store(&head{out.Size, out.SealedAt, out.Checkpoint})
	for _, c := range w.carriers {
		c.stir()
	}
	w.witnesses.stir()
}

// watchHorizon measures how long one transaction has delayed the entries of all younger ones.
func (w *Sealer) watchHorizon(out auditlog.SealStep) {
	if out.Horizon != w.horizon || out.Newest == out.Horizon {
		w.horizon, w.since = out.Horizon, time.Now()
	}
	age := time.Since(w.since)
	w.observer.Delayed(age)
	if age > horizonLimit {
		w.complain(fmt.Errorf("transaction %d is still running; entries that are younger wait for it", out.Horizon))
	}
}

// prepare asks once whether our key is the log's.
func (w *Sealer) prepare(ctx context.Context) error {
	if w.keyKnown {
		return nil
	}
	if err := w.ownKey(ctx); err != nil {
		return err
	}
	w.keyKnown = true
	return nil
}

// ownKey returns nil when our key is the registered one. In development the first replica makes the key and registers it.
func (w *Sealer) ownKey(ctx context.Context) error {
	registered, err := w.store.LogKey(ctx)
	if err != nil {
		return err
	}
	made := false
	if w.key == nil {
		path := w.cfg.File("log.key")
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
	if registered == nil && w.cfg.Profile == config.Development {
		if registered, err = w.store.RegisterLogKey(ctx, w.key.Public()); err != nil {
			return err
		}
	}
	switch {
	case registered.Equal(w.key.Public()):
		return w.publishKey()
	case w.cfg.Profile == config.Production:
		return store.ErrWrongKey
	case made:
		_ = os.Remove(w.cfg.File("log.key")) // another replica was first; ours never signed anything
	}
	return errNoKey
}

// publishKey writes the public key to the state folder, for verifiers.
func (w *Sealer) publishKey() error {
	text, err := audit.MarshalPublic(w.key.Public())
	if err != nil {
		return err
	}
	path := w.cfg.File("log.pub.pem")
	if have, err := os.ReadFile(path); err == nil && bytes.Equal(have, text) {
		return nil
	}
	if err := os.WriteFile(path, text, 0o644); err != nil {
		return fmt.Errorf("write the log's public key: %w", err)
	}
	return nil
}

// makeLogKey makes a key and stores it. When several replicas try at once in one folder, all return the key of the first.
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
