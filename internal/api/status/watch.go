package status

import (
	"context"
	"sync"
	"time"

	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
)

// feedEvery is how often a replica asks whose feeds have grown while somebody waits, and feedWithin how long that may take. Waits of at
// least longWait end together, at instants that are feedEvery apart.
const (
	feedEvery  = 300 * time.Millisecond
	feedWithin = 2 * time.Second
	longWait   = 10 * time.Second
)

// feedKey is one feed.
type feedKey struct {
	client notice.ClientID
	missed bool
}

// feedWatch wakes the long polls whose feeds have grown. However many wait, it asks the database once each feedEvery, and not at all
// while nobody waits. It remembers at which places nothing followed, and the registrations of those who wait until they change, so that a
// poll that comes back reads nothing.
type feedWatch struct {
	news  func(ctx context.Context, from int64) (history.FeedNews, error)
	began time.Time

	mu      sync.Mutex
	waiting int
	running bool
	looked  int64 // the transaction before which everything was looked at; of a running watch
	failed  error // of the last look
	lines   map[feedKey]*feedLine
	known   map[notice.ClientID]*notice.Initiator
	ends    map[time.Duration]chan struct{} // closed when waits are over; by the time since began
}

// feedLine is a feed that has not grown since the watch began to look at it.
type feedLine struct {
	news  chan struct{} // closed when it has grown
	quiet map[history.FeedPlace]bool
}

// quietMost bounds the places that are remembered of one feed.
const quietMost = 64

func newFeedWatch(news func(context.Context, int64) (history.FeedNews, error)) *feedWatch {
	return &feedWatch{news: news, began: time.Now(), ends: map[time.Duration]chan struct{}{}}
}

// registration is what is known of a client: the database had it so when it was last looked at, which is at most feedEvery and the time of
// a look ago. Nil: it is not known. through is where that look ended, for keepRegistration.
func (w *feedWatch) registration(client notice.ClientID) (who *notice.Initiator, through int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.running || w.failed != nil {
		return nil, 0
	}
	return w.known[client], w.looked
}

// keepRegistration remembers a registration that was read after a look had ended at through. It does nothing when there was
// another look meanwhile, which may have missed a change of it.
func (w *feedWatch) keepRegistration(client notice.ClientID, who *notice.Initiator, through int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.running && through != 0 && through == w.looked {
		w.known[client] = who
	}
}

// over is closed at an instant. Where that is longWait ahead or more, it may be up to feedEvery earlier, and others end with it: so the
// process wakes up once for all of them.
func (w *feedWatch) over(until time.Time) <-chan struct{} {
	at := until.Sub(w.began)
	if time.Until(until) >= longWait-feedEvery {
		at = at.Truncate(feedEvery)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	end := w.ends[at]
	if end == nil {
		end = make(chan struct{})
		w.ends[at] = end
		time.AfterFunc(time.Until(w.began.Add(at)), func() {
			w.mu.Lock()
			delete(w.ends, at)
			w.mu.Unlock()
			close(end)
		})
	}
	return end
}

// stillQuiet joins the waiters of a feed without a read, when it is known that nothing follows the place. Its caller must leave.
func (w *feedWatch) stillQuiet(key feedKey, after history.FeedPlace, may bool) (<-chan struct{}, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	line := w.lines[key]
	if !may || !w.running || line == nil || !line.quiet[after] {
		return nil, false
	}
	w.waiting++
	return line.news, true
}

// join joins the waiters of a feed, of which a read found nothing behind the place and before a transaction. It refuses when the
// watch has looked further than that: the feed must be read again.
func (w *feedWatch) join(key feedKey, after history.FeedPlace, through int64) (<-chan struct{}, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case !w.running:
		w.running, w.looked, w.failed, w.lines = true, through, nil, map[feedKey]*feedLine{}
		w.known = map[notice.ClientID]*notice.Initiator{}
		go w.run()
	case w.looked > through:
		return nil, false
	}
	line := w.lines[key]
	if line == nil {
		line = &feedLine{news: make(chan struct{}), quiet: map[history.FeedPlace]bool{}}
		w.lines[key] = line
	}
	if len(line.quiet) < quietMost {
		line.quiet[after] = true
	}
	w.waiting++
	return line.news, true
}

// leave ends what join or stillQuiet began.
func (w *feedWatch) leave() {
	w.mu.Lock()
	w.waiting--
	w.mu.Unlock()
}

// failure is the error of the last look; nil when it succeeded.
func (w *feedWatch) failure() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.failed
}

// run looks until nobody waits.
func (w *feedWatch) run() {
	ticker := time.NewTicker(feedEvery)
	defer ticker.Stop()
	for range ticker.C {
		if !w.look() {
			return
		}
	}
}

// look asks once, and answers false when nobody waits any more.
func (w *feedWatch) look() bool {
	w.mu.Lock()
	from := w.looked
	if w.waiting == 0 {
		w.running = false
		w.mu.Unlock()
		return false
	}
	w.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), feedWithin)
	defer cancel()
	news, err := w.news(ctx, from)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failed = err; err != nil {
		return true
	}
	if news.Through < w.looked { // the database was restored: every feed is read again
		for _, line := range w.lines {
			close(line.news)
		}
		clear(w.lines)
		clear(w.known)
	}
	w.looked = news.Through
	for _, client := range news.Registered {
		delete(w.known, client)
	}
	w.tell(news.Announced, false)
	w.tell(news.Missed, true)
	return true
}

// tell wakes the waiters of feeds that have grown; w.mu is held.
func (w *feedWatch) tell(clients []notice.ClientID, missed bool) {
	for _, client := range clients {
		key := feedKey{client, missed}
		if line := w.lines[key]; line != nil {
			close(line.news)
			delete(w.lines, key)
		}
	}
}
