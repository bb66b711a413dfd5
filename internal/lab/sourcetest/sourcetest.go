// Package sourcetest holds every reader of a source to one promise, against a real origin: nothing is acknowledged that is
// not ours. Conform is the suite; the test of each reader's package brings the origin.
//
// A real Source reads the origin with the reader under test. Our own database is a stand-in that refuses every change for a
// reason, for as long as a test says. Which SQLSTATE is which reason is not shown here: package store has the table, and
// cmd/arauto has the whole product on a real PostgreSQL. Time is real, since the origins are; no test sleeps.
package sourcetest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/watch"
)

// patience bounds every wait. It tells work from a hang, and is no promise.
const patience = time.Minute

// Origin is what a source reads: a topic, stream, queue or table of a test's own, empty at first.
type Origin interface {
	// Reader makes a reader as a process does at its start.
	Reader(t *testing.T) watch.Reader
	// Write commits one change in the core: the row or message has the members "id", a text, and "n", the revision.
	Write(t *testing.T, id string, n int64)
}

// Traits are what origins differ in.
type Traits struct {
	// Table is the table, topic, subject or queue as the mapping names it.
	Table string
	// Type is the mapping's type: postgres, kafka, nats or rabbitmq.
	Type string
	// Shuffling says that what is told again may come in another order; the revision orders it then.
	Shuffling bool
	// Overtaking says that what is fresh may come before what waits, told once all the same; the revision orders it then.
	Overtaking bool
}

// faults are the reasons for which our database stores nothing. None is a record's.
var faults = []string{
	"away", "password changed", "right revoked", "table renamed", "schema behind", "disk full", "read-only", "too many connections", "shutting down",
	"statement timeout", "damaged page",
}

// Conform runs the suite, its tests side by side, since most of their time is the source's own waiting. open makes an Origin
// of the test's own.
func Conform(t *testing.T, open func(t *testing.T) Origin, traits Traits) {
	for name, test := range map[string]func(*testing.T, *house){
		"an outage of ours, whatever its reason, loses nothing and spends no delivery": outages,
		"a restart in an outage loses nothing and reads nothing":                       restarted,
		"a record that fails by itself is put aside alone and spends no delivery":      poisoned,
		"in an outage nothing is put aside":                                            poisonedInAnOutage,
		"what is told again is stored once":                                            toldAgain,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, newHouse(t, open(t), traits))
		})
	}
}

// house is a Source over an origin, with a database of ours.
type house struct {
	origin  Origin
	mapping *watch.Mapping
	traits  Traits
	d       *database
	written []change
	next    map[string]int64
}

func newHouse(t *testing.T, o Origin, traits Traits) *house {
	t.Helper()
	m, err := watch.ParseMapping("core.yaml", fmt.Appendf(nil, `
source: core
type: %s
tables:
  %s:
    kind: pix-payment
    id: id
    client: '"itp"'
    version: v5
    status: '"RCVD"'
    revision: n
    occurredAt: '"2026-11-21T12:00:00Z"'
    data: {}
`, traits.Type, traits.Table))
	require.NoError(t, err)
	return &house{origin: o, mapping: m, traits: traits, d: newDatabase(), next: map[string]int64{}}
}

// start runs a source with a reader of its own, as a process does, until the function it returns is called or the test
// ends.
func (h *house) start(t *testing.T) (stop func()) {
	t.Helper()
	s, err := watch.New(watch.Config{
		Mapping: h.mapping, Reader: counting{h.origin.Reader(t), h.d}, Sink: h.d, Storable: h.d.storable, Observer: observer{h.d},
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan struct{})
	go func() {
		defer close(over)
		s.Run(ctx)
	}()
	stop = func() {
		cancel()
		select {
		case <-over:
		case <-time.After(patience):
			t.Error("the source did not end")
		}
	}
	t.Cleanup(stop)
	return stop
}

// write commits n changes over some resources in the core.
func (h *house) write(t *testing.T, n int, ids ...string) {
	t.Helper()
	for i := range n {
		id := ids[i%len(ids)]
		h.next[id]++
		h.origin.Write(t, id, h.next[id])
		h.written = append(h.written, change{id, h.next[id]})
	}
}

// await waits until the database shows what is wanted. wanted is called with its lock held.
func (h *house) await(t *testing.T, what string, wanted func(d *database) bool) {
	t.Helper()
	limit := time.After(patience)
	for {
		h.d.mu.Lock()
		ok, changed := wanted(h.d), h.d.changed
		h.d.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-limit:
			h.d.mu.Lock()
			defer h.d.mu.Unlock() //nolint:revive // Fatalf ends the loop
			t.Fatalf("waited in vain for %s: %d changes stored of %d, %d refused, state %s, put aside %v, told %v", what, len(h.d.stored), len(h.written), h.d.refused,
				h.d.state, h.d.aside, h.d.told)
		}
	}
}

// all waits until everything written is stored, except resources that are poison.
func (h *house) all(t *testing.T) {
	t.Helper()
	h.await(t, "everything to be stored", func(d *database) bool {
		for _, c := range h.written {
			if d.stored[c] == 0 && !d.poison[c.ID] {
				return false
			}
		}
		return true
	})
}

// examine asserts what must hold whenever all is stored: nothing was put aside but what fails by itself, each resource's
// changes were stored in their order, unless the origin's traits say otherwise, and nothing was told more often than the
// number given.
func (h *house) examine(t *testing.T, told int) {
	t.Helper()
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	for id := range h.d.aside {
		require.True(t, h.d.poison[id], "%s was put aside and is no poison", id)
	}
	for id, revisions := range h.d.order {
		anyOrder := h.traits.Overtaking || told > 1 && h.traits.Shuffling
		require.True(t, anyOrder || slices.IsSorted(revisions), "%s was stored in the order %v", id, revisions)
	}
	for c, times := range h.d.told {
		require.LessOrEqual(t, times, told, "%v was told %d times", c, times)
	}
	for _, c := range h.written {
		require.Positive(t, h.d.told[c], "%v was never told", c)
	}
}

// outages breaks our database for each reason, one after another, while the core goes on. The source holds what it has.
func outages(t *testing.T, h *house) {
	h.start(t)
	h.write(t, 10, "a", "b", "c")
	h.all(t)
	for _, why := range faults {
		h.d.breaks(errors.New(why))
		h.write(t, 10, "a", "b", "c", why)
		h.await(t, why+": the source to hold", func(d *database) bool { return d.refused > 0 && d.asked > 1 && d.state == watch.Waiting })
		h.d.mu.Lock()
		require.Empty(t, h.d.aside, why)
		h.d.mu.Unlock()
		h.d.breaks(nil)
		h.all(t)
		h.await(t, why+": the source to go on", func(d *database) bool { return d.state == watch.Running })
		h.examine(t, 1)
	}
	require.Equal(t, 1, h.d.reads, "the session was kept through all of them")
}

// restarted ends the process while it holds, and starts it again in the same outage.
func restarted(t *testing.T, h *house) {
	stop := h.start(t)
	h.write(t, 10, "a", "b")
	h.all(t)
	h.d.breaks(errors.New("password changed"))
	h.write(t, 20, "a", "b")
	h.await(t, "the source to hold", func(d *database) bool { return d.refused > 0 && d.asked > 0 })
	stop()
	h.d.mu.Lock()
	h.d.asked = 0
	h.d.mu.Unlock()
	h.start(t)
	h.await(t, "the source to wait", func(d *database) bool { return d.asked > 2 })
	h.d.mu.Lock()
	require.Equal(t, 1, h.d.reads, "nothing is read that could not be stored")
	h.d.mu.Unlock()
	h.d.breaks(nil)
	h.all(t)
	h.examine(t, 2)
}

// poisoned puts a change that no database stores between others.
func poisoned(t *testing.T, h *house) {
	h.d.poison["poison"] = true
	h.start(t)
	h.write(t, 5, "a", "b")
	h.write(t, 1, "poison")
	h.write(t, 14, "a", "b")
	h.all(t)
	h.await(t, "the poison to be put aside", func(d *database) bool { return d.aside["poison"] == 1 })
	h.examine(t, 1)
	require.Equal(t, 1, h.d.reads, "the session was kept")
}

// poisonedInAnOutage has a record that fails by itself, at a time at which none could be stored.
func poisonedInAnOutage(t *testing.T, h *house) {
	h.d.poison["poison"] = true
	h.start(t)
	h.write(t, 2, "a")
	h.all(t)
	h.d.breaks(errors.New("right revoked"))
	h.write(t, 1, "poison")
	h.write(t, 4, "a")
	h.await(t, "four tries", func(d *database) bool { return d.refused > 0 && d.asked > 3 })
	h.d.mu.Lock()
	require.Empty(t, h.d.aside)
	h.d.mu.Unlock()
	h.d.breaks(nil)
	h.all(t)
	h.await(t, "the poison to be put aside", func(d *database) bool { return d.aside["poison"] == 1 })
	h.examine(t, 1)
}

// toldAgain stops and starts the source again and again while changes are written.
func toldAgain(t *testing.T, h *house) {
	for i := range 4 {
		stop := h.start(t)
		h.write(t, 10, "a", "b")
		if i%2 == 0 {
			h.d.breaks(errors.New("away"))
			h.write(t, 10, "a", "b")
			// A source that has read nothing yet asks first, and reads nothing while it is told no.
			h.await(t, "the source to hold", func(d *database) bool { return d.refused > 0 || d.asked > 0 })
			stop()
			h.d.breaks(nil)
			continue
		}
		h.all(t)
		stop()
	}
	h.start(t)
	h.all(t)
	h.examine(t, 5)
}
