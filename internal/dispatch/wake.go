package dispatch

import (
	"sync"
	"time"

	"github.com/arauto/arauto/internal/notice"
)

// wakes collects wake-ups for the loop. It holds one line per lane, so it cannot outgrow the registrations.
type wakes struct {
	mu     sync.Mutex
	at     map[notice.ClientID]wake // nil once the loop has stopped listening
	signal chan struct{}            // capacity 1: any number of wake-ups is one signal
}

// wake is what is known of a lane's new work: when the first of it falls due, and how much is due at once.
type wake struct {
	at  time.Time
	due int
}

// add notes that client has work due at the instant given; the earlier of two wins.
func (w *wakes) add(client notice.ClientID, at time.Time, due int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.at == nil {
		return
	}
	if known, ok := w.at[client]; ok {
		if at.Before(known.at) {
			known.at = at
		}
		known.due += due
		w.at[client] = known
		return // whoever came first gave the signal
	}
	w.at[client] = wake{at, due}
	select {
	case w.signal <- struct{}{}:
	default:
	}
}

// take hands over what was collected.
func (w *wakes) take(into func(client notice.ClientID, w wake)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for client, one := range w.at {
		into(client, one)
	}
	clear(w.at)
}

// stop makes every later wake-up a no-op.
func (w *wakes) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at = nil
}
