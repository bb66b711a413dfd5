package dispatch

import (
	"sync"
	"time"

	"github.com/arauto/arauto/internal/notice"
)

// wakes collects wake-ups for the loop. It holds one line per lane, so it cannot outgrow the registrations.
type wakes struct {
	mu     sync.Mutex
	at     map[notice.ClientID]time.Time // when the first of a lane's new work falls due; nil once the loop has stopped listening
	signal chan struct{}                 // capacity 1: any number of wake-ups is one signal
}

// add notes that client has work due at the instant given; the earlier of two wins.
func (w *wakes) add(client notice.ClientID, at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.at == nil {
		return
	}
	if known, ok := w.at[client]; ok {
		if at.Before(known) {
			w.at[client] = at
		}
		return // the first of them gave the signal
	}
	w.at[client] = at
	w.poke()
}

// poke makes the loop look again.
func (w *wakes) poke() {
	select {
	case w.signal <- struct{}{}:
	default:
	}
}

// take hands over what was collected.
func (w *wakes) take(into func(client notice.ClientID, at time.Time)) {
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
