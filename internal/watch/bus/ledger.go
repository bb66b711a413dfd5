package bus

import (
	"context"
	"sync"
	"time"
)

// Ledger lists the items that were handed over and are not acknowledged yet, in order. It is safe for concurrent use.
// The zero value is not usable; see NewLedger.
type Ledger[T any] struct {
	mu     sync.Mutex
	open   []*openItem[T] // the oldest first
	undone int
	woken  chan struct{}
	idle   chan struct{} // closed while nothing is undone
}

type openItem[T any] struct {
	item T
	at   time.Time
	done bool
}

// NewLedger makes an empty Ledger.
func NewLedger[T any]() *Ledger[T] {
	l := &Ledger[T]{woken: make(chan struct{}, 1), idle: make(chan struct{})}
	close(l.idle)
	return l
}

// Add appends an item that is about to be handed over, with its time on the bus. Call the returned function when the item
// is committed on our side; a second call changes nothing.
func (l *Ledger[T]) Add(item T, at time.Time) (done func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	entry := &openItem[T]{item: item, at: at}
	l.open = append(l.open, entry)
	if l.undone++; l.undone == 1 {
		l.idle = make(chan struct{})
	}
	return func() { l.finish(entry) }
}

func (l *Ledger[T]) finish(entry *openItem[T]) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if entry.done {
		return
	}
	entry.done = true
	if l.undone--; l.undone == 0 {
		close(l.idle)
	}
	select {
	case l.woken <- struct{}{}:
	default:
	}
}

// Woken returns a channel that receives after an item was finished.
func (l *Ledger[T]) Woken() <-chan struct{} { return l.woken }

// Settled removes and returns the items that may be acknowledged: the finished ones before the first unfinished one.
func (l *Ledger[T]) Settled() []T {
	l.mu.Lock()
	defer l.mu.Unlock()
	var settled []T
	for len(l.open) > 0 && l.open[0].done {
		settled = append(settled, l.open[0].item)
		l.open[0] = nil
		l.open = l.open[1:]
	}
	return settled
}

// Open returns the items that are not finished.
func (l *Ledger[T]) Open() []T {
	l.mu.Lock()
	defer l.mu.Unlock()
	items := make([]T, 0, l.undone)
	for _, entry := range l.open {
		if !entry.done {
			items = append(items, entry.item)
		}
	}
	return items
}

// Len returns the number of items that are not acknowledged yet.
func (l *Ledger[T]) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.open)
}

// Oldest returns the bus's time of the oldest item that is not acknowledged yet; zero when there is none.
func (l *Ledger[T]) Oldest() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.open) == 0 {
		return time.Time{}
	}
	return l.open[0].at
}

// Wait returns nil when every item is finished, or the error of ctx when it ends before.
func (l *Ledger[T]) Wait(ctx context.Context) error {
	l.mu.Lock()
	idle := l.idle
	l.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Behind returns how long ago the oldest of these instants was; 0 when all are zero, and never negative, even if the clock
// of the bus is ahead.
func Behind(now time.Time, oldest ...time.Time) time.Duration {
	var behind time.Duration
	for _, at := range oldest {
		if !at.IsZero() {
			behind = max(behind, now.Sub(at))
		}
	}
	return behind
}

// Every calls f once every pause, the first time after one pause, until ctx ends.
func Every(ctx context.Context, pause time.Duration, f func()) {
	ticker := time.NewTicker(pause)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			f()
		}
	}
}
