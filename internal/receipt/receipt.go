// Package receipt keeps the time at which a refused change first arrived, so that the rule's clock runs from the first
// receipt and not from the accepted one.
//
// What it guarantees: a change that intake refused is kept with the instant of its first receipt and the number of
// refusals, in memory at once and in a file within 0.2 s; once the database answers it becomes an entry of the history
// ("refused"), one for each change and outage, which readers join to the change that is accepted later, by any
// replica. A restart loses nothing that is in the file. A period whose receipts may be lost becomes an entry
// ("receipts-unknown"): when there were too many, when a request was refused before it was read, or when the process died
// without a drain.
//
// What it does not do: it never refuses or delays anything, and it does not see requests that did not reach this
// process. While nothing is refused it checks one flag every 0.2 s.
package receipt

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

// Store writes receipts into the history; *store.Store implements it.
type Store interface {
	// RecordRefusals stores both, or fails; storing the same again is safe.
	RecordRefusals(ctx context.Context, refusals []history.ChangeRefusal, unheard []history.Unheard) error
}

// Observer receives counts for metrics; its method must be quick.
type Observer interface {
	// Unheard reports one refused request or change that left no trace, and why.
	Unheard(why string)
}

type silent struct{}

func (silent) Unheard(string) {}

// Config holds a Book's settings. Store, Dir and NewID are required.
type Config struct {
	Store    Store
	Dir      string           // below ARAUTO_STATE_DIR; made when it is not there
	NewID    func() notice.ID // UUID v7
	Most     int              // changes remembered; default 50,000
	MaxBytes int              // of their texts; default 32 MiB
	Log      *slog.Logger     // nil: discarded
	Observer Observer         // nil: nobody
}

// How often the book acts while something is outstanding.
const (
	spoolEvery = 200 * time.Millisecond // what is new goes to the file
	storeEvery = time.Second            // the database is tried
	storeWait  = 3 * time.Second        // bounds one attempt
	storeBatch = 1000                   // traces in one transaction
	touchEvery = time.Second            // the file says that we live, also while nothing is outstanding
)

// When a process dies, what it held and had not stored or refused yet is lost with it: changes that came up to heldFor
// before it was last known to live, which is longer than intake holds one. It died within deadWithin after that.
const (
	heldFor    = 10 * time.Second
	deadWithin = 5 * time.Second
)

// Why a refused receipt is not known, beside the reasons of callers of Unread.
const (
	whyFull    = "full"    // more changes were refused than are remembered
	whyRestart = "restart" // the process before ended without a word while traces were outstanding
)

// Book keeps the receipts of refused changes. Make one with Open, run it with Run, and Close it after the last call of Refused and Unread.
type Book struct {
	cfg  Config
	log  *slog.Logger
	file *receiptFile

	mu      sync.Mutex
	traces  map[key]*bookEntry
	order   []key // by first receipt
	bytes   int
	unheard map[string]*history.Unheard // by why
	dirty   bool                        // something is not in the file yet
}

// key is what two refusals of the same change have in common; notBefore is not compared. Facts hold the content's digest.
type key struct {
	kind       uint8
	resource   string
	revision   int64
	client     notice.ClientID
	hash       string
	version    string
	cause      ofb.Cause
	occurredAt int64
}

type bookEntry struct {
	refusal history.ChangeRefusal
	dirty   bool // newer than in the file
}

func keyOf(r *history.ChangeRefusal) key {
	return key{uint8(r.Kind), r.ResourceID, r.Revision, r.Client, r.Facts.DataHash, r.Facts.APIVersion, r.Facts.Cause, r.Facts.OccurredAt.UnixMicro()}
}

// size is about how many bytes a trace takes, in memory as in the file.
func size(r *history.ChangeRefusal) int {
	return 512 + 2*len(r.ResourceID) + 2*len(r.Client) + len(r.Facts.Actor) + len(r.Facts.Remote)
}

// Open locks the folder and reads the receipts that the previous process left in it. The error for a folder that another
// process holds wraps syscall.EWOULDBLOCK.
func Open(c Config) (*Book, error) {
	c.Most, c.MaxBytes = cmp.Or(max(0, c.Most), 50_000), cmp.Or(max(0, c.MaxBytes), 32<<20)
	c.Log = cmp.Or(c.Log, slog.New(slog.DiscardHandler))
	c.Observer = cmp.Or[Observer](c.Observer, silent{})
	b := &Book{cfg: c, log: c.Log, traces: map[key]*bookEntry{}, unheard: map[string]*history.Unheard{}}
	var left leftover
	var err error
	if b.file, left, err = openFile(c.Dir); err != nil {
		return nil, err
	}
	for i := range left.refusals {
		b.keep(left.refusals[i])
	}
	for i := range left.unheard {
		u := left.unheard[i]
		b.unheard[u.Why] = &u
	}
	if left.died {
		b.unheard[whyRestart] = &history.Unheard{From: left.alive.Add(-heldFor), To: left.alive.Add(deadWithin), Why: whyRestart, Wall: true}
		b.dirty = true
	}
	return b, nil
}

// Refused keeps the receipt of a change that was not stored; why is the reason. It implements intake.Traces.
func (b *Book) Refused(c *notice.Change, why string) {
	r := history.RefusalOf(b.cfg.NewID(), c, why)
	b.mu.Lock()
	defer b.mu.Unlock()
	if t := b.traces[keyOf(&r)]; t != nil {
		t.refusal.Facts.Refusals++
		t.dirty, b.dirty = true, true
		return
	}
	if len(b.traces) >= b.cfg.Most || b.bytes+size(&r) > b.cfg.MaxBytes {
		b.miss(whyFull, c.ReceivedAt)
		return
	}
	b.keep(r).dirty = true
	b.dirty = true
}

// keep adds a trace; b.mu is held, or nobody else knows b.
func (b *Book) keep(r history.ChangeRefusal) *bookEntry {
	k, t := keyOf(&r), &bookEntry{refusal: r}
	if b.traces[k] == nil {
		b.order = append(b.order, k)
		b.bytes += size(&r)
	}
	b.traces[k] = t
	return t
}

// Unread notes that a request was refused before its changes were read; why is the reason.
func (b *Book) Unread(why string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.miss(why, time.Now())
}

// miss extends the period of a reason; b.mu is held.
func (b *Book) miss(why string, at time.Time) {
	b.cfg.Observer.Unheard(why)
	u := b.unheard[why]
	if u == nil {
		u = &history.Unheard{From: at, Why: why}
		b.unheard[why] = u
	}
	u.To, u.Requests, b.dirty = at, u.Requests+1, true
	if u.Wall { // loaded from the file: its beginning is a wall clock's
		u.To = at.Round(0)
	}
}

// Waiting returns how many refused changes are not in the history yet.
func (b *Book) Waiting() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.traces)
}

// Run keeps the file up to date and writes the receipts into the history when the database answers, until ctx ends. Then
// it tries the database once more.
func (b *Book) Run(ctx context.Context) {
	tick := time.NewTicker(spoolEvery)
	defer tick.Stop()
	var tried, touched time.Time
	var failing bool
	for {
		select {
		case <-ctx.Done():
			_ = b.store(context.WithoutCancel(ctx)) // what remains goes to the file with Close
			return
		case <-tick.C:
		}
		now := time.Now()
		if b.spool() && now.Sub(touched) >= touchEvery {
			touched = now
			_ = b.file.touch(now) // the next one comes in a second
		}
		if time.Since(tried) < storeEvery || !b.outstanding() {
			continue
		}
		tried = time.Now()
		err := b.store(ctx)
		switch {
		case err == nil && failing:
			b.log.Info("refused changes recorded")
		case err != nil && !failing && ctx.Err() == nil:
			b.log.Warn("refused changes not recorded yet, kept until the database answers", "changes", b.Waiting(), "error", err)
		}
		failing = err != nil
	}
}

func (b *Book) outstanding() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.traces) > 0 || len(b.unheard) > 0
}

// store hands everything to the database, and forgets what it took.
func (b *Book) store(ctx context.Context) error {
	for {
		refusals, unheard := b.batch()
		if len(refusals)+len(unheard) == 0 {
			return nil
		}
		one, cancel := context.WithTimeout(ctx, storeWait)
		err := b.cfg.Store.RecordRefusals(one, refusals, unheard)
		cancel()
		if err != nil {
			return fmt.Errorf("record refused changes: %w", err)
		}
		b.forget(refusals, unheard)
	}
}

// batch copies what is stored next.
func (b *Book) batch() (refusals []history.ChangeRefusal, unheard []history.Unheard) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, k := range b.order[:min(len(b.order), storeBatch)] {
		refusals = append(refusals, b.traces[k].refusal)
	}
	for _, u := range b.unheard {
		unheard = append(unheard, *u)
	}
	return refusals, unheard
}

// forget takes out what is stored. What was refused again meanwhile stays, with what is new of it, under a new id.
func (b *Book) forget(refusals []history.ChangeRefusal, unheard []history.Unheard) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.order = b.order[len(refusals):] // only Refused adds, and at the end
	for i := range refusals {
		stored := &refusals[i]
		k := keyOf(stored)
		t := b.traces[k]
		if more := t.refusal.Facts.Refusals - stored.Facts.Refusals; more > 0 {
			t.refusal.ID, t.refusal.Facts.Refusals, t.dirty = b.cfg.NewID(), more, true
			b.order = append(b.order, k)
			continue
		}
		delete(b.traces, k)
		b.bytes -= size(stored)
	}
	for _, u := range unheard {
		if now := b.unheard[u.Why]; now.Requests == u.Requests {
			delete(b.unheard, u.Why)
		} else {
			now.From, now.Requests = u.To, now.Requests-u.Requests
		}
	}
	b.dirty = true
	if len(b.traces) == 0 {
		b.order = nil
	}
}

// spool writes what is new to the file, and answers whether all of it is there.
func (b *Book) spool() bool {
	b.mu.Lock()
	if !b.dirty {
		b.mu.Unlock()
		return true
	}
	b.dirty = false
	whole := b.file.wasteful(len(b.traces) + len(b.unheard))
	var lines []receiptLine
	for _, k := range b.order {
		if t := b.traces[k]; whole || t.dirty {
			t.dirty = false
			r := t.refusal
			lines = append(lines, receiptLine{Refusal: &r})
		}
	}
	for _, u := range b.unheard {
		one := *u
		lines = append(lines, receiptLine{Unheard: &one})
	}
	b.mu.Unlock()
	err := b.file.write(lines, whole)
	if err != nil {
		b.log.Error("refused changes not kept in the file, a restart before they are recorded loses them", "error", err)
		b.mu.Lock()
		for _, l := range lines {
			if l.Refusal == nil {
				continue
			}
			if t := b.traces[keyOf(l.Refusal)]; t != nil {
				t.dirty = true
			}
		}
		b.dirty = true
		b.mu.Unlock()
	}
	return err == nil
}

// Close writes the receipts that are not recorded yet into the file and unlocks the folder. Call it after Run has returned
// and after the last call of Refused and Unread.
func (b *Book) Close() error {
	return b.file.close(b.spool())
}
