// Package events tells operators of troubles: notifications given up, certificates that end, a source that stopped, a log that
// is not sealed, tampering. It sends to a webhook of the bank's own, in Slack's form or as plain JSON, and by e-mail.
//
// Any number of replicas may see one trouble. It is one row in the database, opened by its first sighting, and is told once by
// each way when it opens and once when it is over, that is when nobody has seen it for its quiet time. Beginning and end are
// entries of the history. A way that fails is tried again; a process that dies between sending and noting it makes the message
// come twice, never none.
//
// It judges nothing itself: who sees a trouble says so with a history.Sighting.
package events

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
)

// Times of telling.
const (
	Every     = 15 * time.Second // between two calls of Tick
	lease     = 60 * time.Second // to tell one event by all ways
	sendsFor  = 15 * time.Second // by one way
	again     = time.Minute      // after a way failed
	forgetAt  = 24 * time.Hour   // after its end, an event that cannot be told is forgotten
	quietSeen = 2 * time.Minute  // a state that is looked at is over when it was not seen for so long
	quietDone = 15 * time.Minute // a deed, such as giving up, is over when there was no other for so long
	namedMost = 20               // clients that are told of apart; further ones are one event, as in an outage of our own network
)

// Store keeps events; *store.Store does.
type Store interface {
	SightEvent(ctx context.Context, x history.Sighting) (opened bool, err error)
	EndEvents(ctx context.Context) (int, error)
	TakeEvent(ctx context.Context, ways []string, lease time.Duration) (*history.OperatorEvent, error)
	ToldEvent(ctx context.Context, e *history.OperatorEvent, again time.Duration, done bool) error
}

// Way is a way to reach operators.
type Way interface {
	// Name is "slack", "webhook" or "email".
	Name() string
	// Send hands the message over, within the context's time. An error says nothing of the receiver's secrets.
	Send(ctx context.Context, m *OperatorMessage) error
	// Try makes the connection and signs in where there is something to sign in to, sends nothing, and says what it did.
	Try(ctx context.Context) (did string, err error)
}

// Observer is told what became of messages. Its methods return at once.
type Observer interface {
	// EventSent tells that a way took a message, or did not.
	EventSent(way string, err error)
}

// Monitor collects sightings and tells of them. Make it with New.
type Monitor struct {
	store    Store
	ways     []Way
	words    Words
	log      *slog.Logger
	observer Observer
	look     func(now time.Time) []history.Sighting

	mu    sync.Mutex
	deeds map[string]history.Sighting
	named map[notice.ClientID]time.Time // clients that are told of apart, and when they were last seen
}

// Config is what a Monitor needs.
type Config struct {
	Store    Store
	Ways     []Way
	Words    Words
	Log      *slog.Logger
	Observer Observer
	// Look says which troubles this replica sees now; Count and Quiet are set here. It returns at once.
	Look func(now time.Time) []history.Sighting
}

// New makes a Monitor.
func New(c Config) *Monitor {
	return &Monitor{store: c.Store, ways: c.Ways, words: c.Words, log: c.Log, observer: c.Observer, look: c.Look, deeds: map[string]history.Sighting{}, named: map[notice.ClientID]time.Time{}}
}

// GivenUp counts a notification that was given up. All of one client within quarter hours of each other are one event; those of
// clients beyond the first twenty are one event together.
func (m *Monitor) GivenUp(client notice.ClientID) {
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, known := m.named[client]; !known && len(m.named) >= namedMost {
		maps.DeleteFunc(m.named, func(_ notice.ClientID, seen time.Time) bool { return now.Sub(seen) > quietDone })
	}
	x := history.Sighting{Kind: history.EventGivenUp, Subject: history.EventOthers}
	if _, known := m.named[client]; known || len(m.named) < namedMost {
		m.named[client], x.Subject = now, string(client)
	}
	m.count(x)
}

// Tampered counts a look at the history that met entries which are not what was sealed.
func (m *Monitor) Tampered(detail string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.count(history.Sighting{Kind: history.EventTampering, Detail: detail})
}

// count adds a deed. The caller holds mu.
func (m *Monitor) count(x history.Sighting) {
	x.Count, x.Quiet = m.deeds[x.Key()].Count+1, quietDone
	m.deeds[x.Key()] = x
}

// Tick records what is seen, ends what is over and tells of both. An error means that the database did not take all of it; the
// rest comes with the next Tick.
func (m *Monitor) Tick(ctx context.Context) error {
	m.mu.Lock()
	deeds := m.deeds
	m.deeds = map[string]history.Sighting{}
	m.mu.Unlock()
	for key, x := range deeds {
		if err := m.sight(ctx, x); err != nil {
			m.giveBack(deeds)
			return err
		}
		delete(deeds, key)
	}
	for _, x := range m.look(time.Now()) {
		x.Count, x.Quiet = 1, quietSeen
		if err := m.sight(ctx, x); err != nil {
			return err
		}
	}
	if _, err := m.store.EndEvents(ctx); err != nil {
		return err
	}
	return m.tell(ctx)
}

// giveBack counts again what was not recorded.
func (m *Monitor) giveBack(deeds map[string]history.Sighting) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for key, x := range deeds {
		x.Count += m.deeds[key].Count
		m.deeds[key] = x
	}
}

func (m *Monitor) sight(ctx context.Context, x history.Sighting) error {
	opened, err := m.store.SightEvent(ctx, x)
	if opened {
		m.log.Warn("event opened", "event", x.Key(), "detail", x.Detail)
	}
	return err
}

// tell tells of what must be told, one event after the other.
func (m *Monitor) tell(ctx context.Context) error {
	names := make([]string, len(m.ways))
	for i, w := range m.ways {
		names[i] = w.Name()
	}
	for {
		e, err := m.store.TakeEvent(ctx, names, lease)
		if err != nil || e == nil {
			return err
		}
		all := m.tellOne(ctx, e)
		over := !e.OverAt.IsZero()
		if err := m.store.ToldEvent(ctx, e, again, over && (all || time.Since(e.OverAt) > forgetAt)); err != nil {
			return err
		}
	}
}

// tellOne sends what an event still owes by each way, and returns whether all of it was taken. A trouble whose beginning was
// never told by a way ends by it with one message that says both.
func (m *Monitor) tellOne(ctx context.Context, e *history.OperatorEvent) (all bool) {
	all = true
	state := "open:"
	if !e.OverAt.IsZero() {
		state = "over:"
	}
	for _, w := range m.ways {
		mark := state + w.Name()
		if slices.Contains(e.Told, mark) {
			continue
		}
		within, cancel := context.WithTimeout(ctx, sendsFor)
		err := w.Send(within, m.words.Message(e))
		cancel()
		m.observer.EventSent(w.Name(), err)
		if err != nil {
			all = false
			m.log.Warn("event not told, will be tried again", "event", e.Key, "in", w.Name(), "error", err)
			continue
		}
		e.Told = append(e.Told, mark)
	}
	return all
}

// Try makes a connection by each way, sends nothing, and says what it did; an error of a way is told in its line.
func Try(ctx context.Context, ways []Way) (lines []string) {
	for _, w := range ways {
		within, cancel := context.WithTimeout(ctx, sendsFor)
		did, err := w.Try(within)
		cancel()
		if err != nil {
			lines = append(lines, fmt.Sprintf("WARNING events: %s: %v; no message was sent", w.Name(), err))
			continue
		}
		lines = append(lines, fmt.Sprintf("events: %s: %s; no message was sent", w.Name(), did))
	}
	return lines
}
