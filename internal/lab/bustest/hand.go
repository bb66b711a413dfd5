// Package bustest holds every reader of a bus to the same promises, against whatever server the reader's package can
// have: Promises is the list. Hand stands in for the Source, and commits when a test says so.
package bustest

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/arauto/arauto/internal/watch"
)

// Hand is a watch.Hand that a test drives. Nothing is committed until Commit or CommitAll.
type Hand struct {
	mu        sync.Mutex
	changed   chan struct{} // closed and made anew with every change
	taken     []watch.SourceRecord
	open      []func() // of those taken and not committed
	committed int
	all       bool
	closed    bool
	lags      []time.Duration
	bytes     []int64
}

// NewHand makes an empty one.
func NewHand() *Hand { return &Hand{changed: make(chan struct{})} }

func (h *Hand) change() {
	close(h.changed)
	h.changed = make(chan struct{})
}

// Take keeps the records.
func (h *Hand) Take(ctx context.Context, records []watch.SourceRecord, done func()) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	h.taken = append(h.taken, records...)
	h.open = append(h.open, done)
	h.change()
	if h.all {
		h.commit(len(h.open))
	}
	return nil
}

// commit needs the lock: dones are called in the order of Take, one at a time.
func (h *Hand) commit(n int) {
	if h.closed {
		return
	}
	for _, done := range h.open[:n] {
		done()
	}
	h.committed += n
	h.open = h.open[n:]
	h.change()
}

// Commit commits the oldest n.
func (h *Hand) Commit(n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.commit(min(n, len(h.open)))
}

// CommitAll commits what is there and, from now on, whatever comes.
func (h *Hand) CommitAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = true
	h.commit(len(h.open))
}

// Die forgets what is not committed: its done is never called.
func (h *Hand) Die() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed, h.all = true, false
}

// Schema is not called by a bus.
func (h *Hand) Schema(string, []watch.Column) { panic("bustest: a bus has no schema") }

// Lag keeps the report.
func (h *Hand) Lag(bytes int64, behind time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lags, h.bytes = append(h.lags, behind), append(h.bytes, bytes)
	h.change()
}

// View is what a Hand has seen so far.
type View struct {
	Taken     []watch.SourceRecord // all of them, in order
	Committed []watch.SourceRecord
	Lags      []time.Duration
	Bytes     []int64
}

// Look returns what was seen, and a channel that closes with the next change.
func (h *Hand) Look() (View, <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return View{h.taken[:len(h.taken):len(h.taken)], h.taken[:h.committed:h.committed], h.lags, h.bytes}, h.changed
}

// ID is which message a record came from: the member "id" of its body, or "" when it was not readable.
func ID(r watch.SourceRecord) string {
	text, _ := r.Values["id"].(string)
	return text
}

// Sequence is the member "n" of a body: the place of the message among those of its key.
func Sequence(r watch.SourceRecord) int64 {
	number, _ := r.Values["n"].(json.Number)
	n, err := number.Int64()
	if err != nil {
		return -1
	}
	return n
}
