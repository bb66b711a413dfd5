package auditlog

import (
	"math"
	"slices"
	"sync"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/history"
)

// waitingMost bounds the memory of what waits, in bytes: some 25,000 entries of notifications that are delivered at once.
const waitingMost = 12 << 20

// waiting are entries that this process sealed and that are not folded yet: a part of the log without a hole. It saves
// reading them again. When they are too many, it forgets them, and they are read from the database. It may be used by
// several goroutines at once. The zero value is empty.
type waiting struct {
	mu      sync.Mutex
	from    int64 // position of the first
	entries []history.Brief
	bytes   int
	words   history.SharedWords
}

// add takes the entries that were sealed from a position on.
func (w *waiting) add(from int64, entries []audit.Entry) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if from != w.from+int64(len(w.entries)) {
		w.forget(from) // another process sealed in between
	}
	w.entries = slices.Grow(w.entries, len(entries))
	for i := range entries {
		b, err := history.BriefOf(&entries[i], &w.words)
		if w.bytes += b.Size(); err != nil || w.bytes > waitingMost {
			w.forget(from + int64(len(entries))) // who reads them again marks the one whose facts cannot be read
			return
		}
		w.entries = append(w.entries, b)
	}
}

// forget empties it. The next entries are at a position.
func (w *waiting) forget(next int64) {
	w.from, w.entries, w.bytes, w.words = next, nil, 0, history.SharedWords{}
}

// take hands over what waits at a position. When nothing does, next is the first position from which on something waits.
func (w *waiting) take(at int64) (out []history.Brief, next int64) {
	if w == nil {
		return nil, math.MaxInt64
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	behind := at - w.from // folded by another process
	switch n := int64(len(w.entries)); {
	case n == 0:
		return nil, math.MaxInt64
	case behind < 0:
		return nil, w.from
	case behind < n:
		out = w.entries[behind:]
	}
	w.forget(w.from + int64(len(w.entries)))
	return out, math.MaxInt64
}
