package store

import (
	"encoding/json"
	"sync"
	"time"

	"github.com/arauto/arauto/internal/notice"
)

const (
	// lookBack is how much further back than the last full look others look: for transactions that had begun before it and
	// committed after it, and for a statement that waited for its connection.
	lookBack = 30 * time.Second
	// fullLookEvery is the least distance between two full looks; lookShare is the part of the time they may take.
	fullLookEvery = 10 * time.Second
	lookShare     = 20
	// manyTake is how long a full look takes where so many are registered that other sweeps go by the queue.
	manyTake = 10 * time.Millisecond
	// everything is further back than any row.
	everything = 100 * 365 * 24 * time.Hour
)

// looks tells claims, sweeps, rescues and the firing of timers how far back in time to look. A row that leaves the queue, flights or timers,
// and each change of one, leaves dead entries in the indexes until PostgreSQL can remove them, which it cannot while somebody holds a
// snapshot. A full look passes over all of them and finds the earliest row of each lane. Until the next full look, other looks begin
// lookBack before that, so what they cost does not grow with the age of the snapshot.
//
// It guarantees that a row that appears further back is found by the next full look that succeeds. That begins at most fullLookEvery, or
// lookShare times the duration of the last one, after that one ended. Such a row was locked during the full look, or is a failure or a
// timer that another replica stored long after its time.
type looks struct {
	mu    sync.Mutex
	asked time.Time // when the last full look was asked for; zero: there was none
	next  time.Time // when the next one is due
	older map[notice.ClientID]time.Duration

	noted, forgot time.Time // when found and forget were called last

	fullTook, queuedTook time.Duration // the last full look, and the last sweep by the queue since then
}

// depth is how far back to look now, where there are no lanes, and whether that is a full look.
func (k *looks) depth(now time.Time) (back time.Duration, full bool) {
	if k.full(now) {
		return everything, true
	}
	return k.usual(now), false
}

// full tells whether the look that is made now is to be a full one.
func (k *looks) full(now time.Time) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.asked.IsZero() || !now.Before(k.next)
}

// done notes that a full look, asked for at an instant, found these lanes to have waiting rows. What was noted since it was asked for it
// may not have seen.
func (k *looks) done(asked, now time.Time, lanes []notice.Lane) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.forgot.Before(asked) {
		return
	}
	k.asked, k.next = asked, now.Add(max(fullLookEvery, lookShare*now.Sub(asked)))
	k.seen(asked)
	k.fullTook, k.queuedTook = now.Sub(asked), 0
	for _, l := range lanes {
		if l.DueIn < 0 {
			k.mark(l.Client, -l.DueIn)
		}
	}
}

// reached notes that a look that was asked for at an instant left nothing of what had been noted before.
func (k *looks) reached(asked time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.seen(asked)
}

func (k *looks) seen(asked time.Time) {
	if k.noted.Before(asked) {
		k.older = nil
	}
}

// failed notes that a look failed. The next one is a full one; where that was one, others go on before, as far back as the last that succeeded
// makes necessary: it may take longer than a statement may.
func (k *looks) failed(full bool, now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.next = time.Time{}
	if full {
		k.next = now.Add(fullLookEvery)
	}
}

// manyRegistered tells whether a sweep that is no full look costs less by the queue than by the registrations: the last full
// look took long, and no sweep by the queue has taken longer since.
func (k *looks) manyRegistered() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.fullTook > manyTake && k.queuedTook <= k.fullTook
}

// queued notes how long a sweep by the queue took.
func (k *looks) queued(took time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.queuedTook = took
}

// found notes that a lane has a row that has been due for so long; "" is where there are no lanes.
func (k *looks) found(client notice.ClientID, due time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.noted = time.Now()
	k.mark(client, due)
}

func (k *looks) mark(client notice.ClientID, due time.Duration) {
	if k.older == nil {
		k.older = map[notice.ClientID]time.Duration{}
	}
	k.older[client] = max(k.older[client], due)
}

// forget makes the next looks full ones: a rescue changed the queue.
func (k *looks) forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.asked, k.older, k.forgot = time.Time{}, nil, time.Now()
}

// usual is how far back to look in lanes that had no waiting row.
func (k *looks) usual(now time.Time) time.Duration { return k.of("", now) }

// of is how far back to look in one lane.
func (k *looks) of(client notice.ClientID, now time.Time) time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.asked.IsZero() {
		return everything
	}
	return now.Sub(k.asked) + lookBack + k.older[client]
}

// lanes are those in which to look further back than usual, and how far, in microseconds: a JSON object.
func (k *looks) lanes(now time.Time) string {
	usual := k.usual(now)
	k.mu.Lock()
	defer k.mu.Unlock()
	back := make(map[notice.ClientID]int64, len(k.older))
	for client, older := range k.older {
		back[client] = (usual + older).Microseconds()
	}
	text, _ := json.Marshal(back) // numbers by text: it never fails
	return string(text)
}
