package bustest

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/arauto/arauto/internal/watch"
	"github.com/arauto/arauto/internal/watch/bus"
)

// patience bounds every wait. It is long because machines are slow, not because anything should take so long.
const patience = 60 * time.Second

// Table is what the mapping calls the topic, subject or queue of a Bus.
const Table = "payments"

// Reader is what Promises asks of a reader beside watch.Reader.
type Reader interface {
	watch.Reader
	Messages() int64
}

// Bus is a topic, stream or queue of a test's own, empty at first.
type Bus interface {
	// Reader opens a reader that has at most inFlight messages in hand, and works at the pace of a test.
	Reader(t *testing.T, inFlight int) Reader
	// Send returns when the bus has the message.
	Send(t *testing.T, key string, body []byte, header, value string)
	// Left counts the messages that are not acknowledged. Nobody reads meanwhile.
	Left(t *testing.T) int
	// Cut breaks every connection of readers.
	Cut()
	// Restart stops the server, or refuses every connection for a moment, calls during, and starts it again.
	Restart(t *testing.T, during func())
}

// Reading is a Read that goes on.
type Reading struct {
	Hand *Hand
	stop context.CancelFunc
	end  chan error
}

// Begin calls Read.
func Begin(t *testing.T, r watch.Reader) *Reading {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	g := &Reading{Hand: NewHand(), stop: stop, end: make(chan error, 1)}
	go func() { g.end <- r.Read(ctx, g.Hand) }()
	t.Cleanup(func() {
		stop()
		g.Ended(t)
	})
	return g
}

// Stop ends Read as a pause or a shutdown does, and waits for it.
func (g *Reading) Stop(t *testing.T) {
	t.Helper()
	g.stop()
	require.NoError(t, g.Ended(t), "a Read whose context ended is no failure")
}

// Ended waits for the end of Read.
func (g *Reading) Ended(t *testing.T) error {
	t.Helper()
	select {
	case err := <-g.end:
		g.end <- err
		return err
	case <-time.After(patience):
		t.Fatal("Read did not end")
		return nil
	}
}

// Await waits until the hand shows what is wanted.
func (g *Reading) Await(t *testing.T, what string, wanted func(View) bool) View {
	t.Helper()
	deadline := time.After(patience)
	for {
		view, changed := g.Hand.Look()
		if wanted(view) {
			return view
		}
		select {
		case <-changed:
		case err := <-g.end:
			g.end <- err
			if view, _ = g.Hand.Look(); wanted(view) {
				return view
			}
			t.Fatalf("Read ended while waiting for %s: %v", what, err)
		case <-deadline:
			t.Fatalf("waited in vain for %s; %d taken, %d committed", what, len(view.Taken), len(view.Committed))
		}
	}
}

// Taken waits for n records.
func (g *Reading) Taken(t *testing.T, n int) View {
	t.Helper()
	return g.Await(t, fmt.Sprintf("%d records", n), func(v View) bool { return len(v.Taken) >= n })
}

// body of the n-th message of a key.
func body(key string, n int) []byte {
	return fmt.Appendf(nil, `{"id":"%s-%d","key":"%s","n":%d}`, key, n, key, n)
}

// send sends n messages over some keys, and returns their ids.
func send(t *testing.T, b Bus, n, from int) []string {
	t.Helper()
	var ids []string
	for i := range n {
		key, at := fmt.Sprintf("k%d", i%5), from+i/5
		b.Send(t, key, body(key, at), "", "")
		ids = append(ids, fmt.Sprintf("%s-%d", key, at))
	}
	return ids
}

func ids(records []watch.SourceRecord) []string {
	var all []string
	for _, r := range records {
		all = append(all, ID(r))
	}
	return all
}

// inOrder asserts that each key's messages came in order, when those told again are left out.
func inOrder(t *testing.T, records []watch.SourceRecord) {
	t.Helper()
	last := map[any]int64{}
	seen := map[string]bool{}
	for _, r := range records {
		if seen[ID(r)] {
			continue
		}
		seen[ID(r)] = true
		key := r.Values["key"]
		before, known := last[key]
		if !known {
			before = -1
		}
		require.Greater(t, Sequence(r), before, "key %v", key)
		last[key] = Sequence(r)
	}
}

// Traits are what buses differ in.
type Traits struct {
	Revised   bool // it has a revision to offer
	Shuffling bool // what it tells again may come in another order
	Lasting   bool // its server is not restarted here
}

// Promises runs the tests that every reader passes: those of Alone, then those of Beside. open makes a Bus of the test's own.
func Promises(t *testing.T, open func(t *testing.T) Bus, traits Traits) {
	Alone(t, open, traits)
	Beside(t, open, traits)
}

// Alone runs the two that nothing may run beside: one counts goroutines, one frees the server's port for a moment.
func Alone(t *testing.T, open func(t *testing.T) Bus, traits Traits) {
	t.Run("a Read leaves no goroutine", func(t *testing.T) { leak(t, open(t)) })
	if !traits.Lasting {
		t.Run("a server that restarts loses nothing", func(t *testing.T) { restart(t, open(t)) })
	}
}

// Beside runs the others, side by side.
func Beside(t *testing.T, open func(t *testing.T) Bus, traits Traits) {
	for name, promise := range map[string]func(*testing.T, Bus){
		"a message becomes a record with its key, headers and place":  func(t *testing.T, b Bus) { record(t, b, traits) },
		"nothing is acknowledged before it is committed":              func(t *testing.T, b Bus) { uncommitted(t, b, traits) },
		"what was committed is not told again, what was not is":       prefix,
		"a body that cannot be read is handed over and stops nothing": malformed,
		"no more is in hand than allowed":                             bounded,
		"a reader can be paused and resumed and loses nothing":        pause,
		"the lag grows while nothing is committed and goes":           lag,
		"a broken connection ends Read and loses nothing":             cut,
		"two readers share the work and lose nothing":                 two,
		"whatever dies at whatever moment, everything is committed":   dying,
		"a reader whose done comes late does no harm":                 late,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			promise(t, open(t))
		})
	}
}

func record(t *testing.T, b Bus, traits Traits) {
	before := time.Now().Add(-time.Minute)
	b.Send(t, "k1", []byte(`{"id":"a","amount":12345678901234567890.10,"nested":{"list":[1,null,true,"é"]}}`), "trace", "t-1")
	b.Send(t, "k1", body("k1", 2), "", "")
	g := Begin(t, b.Reader(t, 10))
	view := g.Taken(t, 2)
	r := view.Taken[0]
	require.Equal(t, Table, r.Table)
	require.Equal(t, watch.Insert, r.Op)
	require.Equal(t, json.Number("12345678901234567890.10"), r.Values["amount"], "a number stays as it is written")
	require.Equal(t, map[string]any{"list": []any{json.Number("1"), nil, true, "é"}}, r.Values["nested"])
	require.Contains(t, r.Values[bus.MemberKey], "k1")
	headers, _ := r.Values[bus.MemberHeaders].(map[string]any)
	require.Equal(t, "t-1", headers["trace"])
	require.Contains(t, r.Key, "k1")
	require.NotEmpty(t, r.Position)
	if !traits.Revised {
		require.Zero(t, r.Revision, "a bus that numbers nothing must not make a number up")
		return
	}
	require.Positive(t, r.Revision)
	require.Greater(t, view.Taken[1].Revision, r.Revision)
	require.WithinRange(t, r.CommittedAt, before, time.Now().Add(time.Minute))
	g.Stop(t)
	for _, again := range Begin(t, b.Reader(t, 10)).Taken(t, 2).Taken {
		if ID(again) == "a" {
			require.Equal(t, r.Revision, again.Revision, "told again, it has the same revision")
		}
	}
}

func uncommitted(t *testing.T, b Bus, traits Traits) {
	sent := send(t, b, 20, 0)
	r := b.Reader(t, 100)
	g := Begin(t, r)
	inOrder(t, g.Taken(t, len(sent)).Taken)
	g.Stop(t)
	require.Equal(t, len(sent), b.Left(t))
	g = Begin(t, r)
	view := g.Taken(t, len(sent))
	require.ElementsMatch(t, sent, ids(view.Taken))
	if !traits.Shuffling {
		inOrder(t, view.Taken)
	}
}

func prefix(t *testing.T, b Bus) {
	sent := send(t, b, 20, 0)
	r := b.Reader(t, 100)
	g := Begin(t, r)
	g.Taken(t, len(sent))
	g.Hand.Commit(7)
	g.Stop(t)
	first, _ := g.Hand.Look()
	require.Equal(t, len(sent)-7, b.Left(t))

	g = Begin(t, r)
	view := g.Taken(t, len(sent)-7)
	require.ElementsMatch(t, ids(first.Taken)[7:], ids(view.Taken))
	g.Hand.CommitAll()
	g.Await(t, "all to be committed", func(v View) bool { return len(v.Committed) == len(sent)-7 })
	g.Stop(t)
	require.Zero(t, b.Left(t), "what is committed when Read ends is acknowledged")
}

func malformed(t *testing.T, b Bus) {
	deep := strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40)
	huge := append(append([]byte(`{"id":"`), bytes.Repeat([]byte("x"), 200<<10)...), `"}`...)
	for _, bad := range [][]byte{
		[]byte("not json"), []byte(`["a list"]`), []byte(`{"a":1,"a":2}`), []byte(`{"a":1}{"b":2}`), []byte("{\"a\":\"\xff\"}"),
		[]byte(`{"a":`), []byte(deep), huge, []byte(`{"_invalid":"mine"}`),
		{0, 0, 0, 0, 1, 'a', 'v', 'r', 'o'},
		[]byte(" "),
	} {
		b.Send(t, "k1", bad, "", "")
	}
	b.Send(t, "k1", body("k1", 1), "", "")
	g := Begin(t, b.Reader(t, 100))
	view := g.Taken(t, 12)
	for i, r := range view.Taken[:11] {
		reason, _ := r.Values[bus.MemberInvalid].(string)
		require.NotEmpty(t, reason, "message %d", i)
		kept, err := base64.StdEncoding.DecodeString(r.Values[bus.MemberBody].(string))
		require.NoError(t, err)
		require.NotEmpty(t, kept)
		require.LessOrEqual(t, len(kept), 48<<10)
		require.NotContains(t, reason, "avro", "a reason repeats nothing of the body")
	}
	require.Equal(t, "k1-1", ID(view.Taken[11]))
	g.Hand.CommitAll()
	g.Stop(t)
	require.Zero(t, b.Left(t))
}

func bounded(t *testing.T, b Bus) {
	const most = 7
	sent := send(t, b, 40, 0)
	g := Begin(t, b.Reader(t, most))
	for done := 0; done < len(sent); done++ {
		view := g.Taken(t, min(done+most, len(sent)))
		require.LessOrEqual(t, len(view.Taken)-len(view.Committed), most)
		g.Hand.Commit(1)
	}
	view, _ := g.Hand.Look()
	require.ElementsMatch(t, sent, ids(view.Taken), "each once: nothing was told again")
	g.Stop(t)
}

func pause(t *testing.T, b Bus) {
	r := b.Reader(t, 10)
	var sent []string
	got := map[string]bool{}
	for round := range 4 {
		sent = append(sent, send(t, b, 15, 3*round)...)
		g := Begin(t, r)
		g.Hand.CommitAll()
		g.Await(t, "this round's records", func(v View) bool { return len(v.Committed) >= 10 })
		g.Stop(t)
		view, _ := g.Hand.Look()
		for _, id := range ids(view.Committed) {
			require.False(t, got[id], "%s was committed and is told again", id)
			got[id] = true
		}
	}
	g := Begin(t, r)
	g.Hand.CommitAll()
	g.Await(t, "the rest", func(v View) bool { return len(v.Committed)+len(got) >= len(sent) })
	g.Stop(t)
	require.Zero(t, b.Left(t))
}

func lag(t *testing.T, b Bus) {
	r := b.Reader(t, 100)
	g := Begin(t, r)
	send(t, b, 10, 0)
	g.Taken(t, 10)
	view := g.Await(t, "a lag that grows", func(v View) bool {
		n := len(v.Lags)
		return n >= 3 && v.Lags[n-2] > 0 && v.Lags[n-1] > v.Lags[n-2]
	})
	require.Less(t, slices.Max(view.Lags), patience, "behind the message, not the epoch")
	require.Equal(t, int64(-1), view.Bytes[0], "a bus is not measured in bytes")
	g.Await(t, "the count of messages", func(View) bool { return r.Messages() == 10 })
	g.Hand.CommitAll()
	g.Await(t, "no lag", func(v View) bool { return v.Lags[len(v.Lags)-1] == 0 && r.Messages() == 0 })
	g.Stop(t)
	require.Equal(t, int64(-1), r.Messages(), "nobody knows while nothing is read")
}

// goOn reads, with new Reads as they end, until everything sent was committed at least once; it returns the records
// committed, in order, and how many Reads ended with an error.
func goOn(t *testing.T, r watch.Reader, got map[string]bool, sent []string) (committed []watch.SourceRecord, failures int) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; {
		require.True(t, time.Now().Before(deadline), "waited in vain: %d of %d", len(got), len(sent))
		g := Begin(t, r)
		g.Hand.CommitAll()
		complete := g.untilAll(t, got, sent)
		if complete {
			g.Stop(t)
		} else {
			failures++
		}
		view, _ := g.Hand.Look()
		committed = append(committed, view.Committed...)
		for _, record := range view.Committed {
			got[ID(record)] = true
		}
		if complete {
			return committed, failures
		}
	}
}

// untilAll waits until got and what this Read committed are all that was sent; false when Read ends before.
func (g *Reading) untilAll(t *testing.T, got map[string]bool, sent []string) bool {
	t.Helper()
	all := maps.Clone(got)
	counted := 0
	deadline := time.After(patience)
	for {
		view, changed := g.Hand.Look()
		for ; counted < len(view.Committed); counted++ {
			all[ID(view.Committed[counted])] = true
		}
		if len(all) >= len(sent) {
			return true
		}
		select {
		case <-changed:
		case err := <-g.end:
			g.end <- err
			require.Error(t, err, "a Read that nobody ended says why it ends")
			return false
		case <-deadline:
			t.Fatalf("waited in vain: %d of %d", len(all), len(sent))
		}
	}
}

func cut(t *testing.T, b Bus) {
	sent := send(t, b, 30, 0)
	r := b.Reader(t, 10)
	g := Begin(t, r)
	g.Taken(t, 10)
	g.Hand.Commit(4)
	b.Cut()
	g.Hand.Die()
	g.stop()
	g.Ended(t)
	view, _ := g.Hand.Look()
	got := map[string]bool{}
	for _, record := range view.Committed {
		got[ID(record)] = true
	}
	goOn(t, r, got, sent)
	require.ElementsMatch(t, sent, slices.Collect(maps.Keys(got)))
}

func restart(t *testing.T, b Bus) {
	sent := send(t, b, 30, 0)
	r := b.Reader(t, 10)
	g := Begin(t, r)
	g.Taken(t, 10)
	g.Hand.Commit(3)
	b.Restart(t, func() {
		require.Error(t, g.Ended(t), "a server that is away ends Read")
		refused := Begin(t, r)
		require.Error(t, refused.Ended(t), "and no other can begin")
	})
	view, _ := g.Hand.Look()
	got := map[string]bool{}
	for _, record := range view.Committed {
		got[ID(record)] = true
	}
	sent = append(sent, send(t, b, 10, 6)...)
	goOn(t, r, got, sent)
	require.ElementsMatch(t, sent, slices.Collect(maps.Keys(got)))
	require.Zero(t, b.Left(t))
}

func two(t *testing.T, b Bus) {
	one, other := b.Reader(t, 5), b.Reader(t, 5)
	sent := send(t, b, 50, 0)
	first := Begin(t, one)
	first.Taken(t, 5)
	first.Hand.CommitAll()
	second := Begin(t, other)
	second.Hand.CommitAll()
	sent = append(sent, send(t, b, 200, 10)...)
	got := map[string]bool{}
	tally := func(g *Reading) int {
		view, _ := g.Hand.Look()
		for _, id := range ids(view.Committed) {
			got[id] = true
		}
		return len(view.Committed)
	}
	first.Await(t, "some work", func(v View) bool { return len(v.Committed) > 20 })
	first.Stop(t)
	before := tally(first)
	tally(second)
	sent = append(sent, send(t, b, 50, 50)...)
	second.untilAll(t, got, sent)
	after := tally(second)
	second.Stop(t)
	require.ElementsMatch(t, sent, slices.Collect(maps.Keys(got)))
	require.Zero(t, b.Left(t))
	require.Positive(t, before)
	require.Positive(t, after)
}

// dying kills the consumer again and again: connections break, or Read is stopped, with any number of records handed
// over and any part of them committed. Only what was committed may be gone from the bus.
func dying(t *testing.T, b Bus) {
	r := b.Reader(t, 20)
	var sent []string
	got := map[string]bool{}
	for round := range 12 {
		sent = append(sent, send(t, b, 10, 2*round)...)
		g := Begin(t, r)
		g.Taken(t, 1+rand.IntN(min(10, len(sent)-len(got))))
		g.Hand.Commit(rand.IntN(12))
		if rand.IntN(2) == 0 {
			b.Cut()
		}
		g.Hand.Die()
		g.stop()
		g.Ended(t)
		view, _ := g.Hand.Look()
		for _, id := range ids(view.Committed) {
			got[id] = true
		}
	}
	goOn(t, r, got, sent)
	require.ElementsMatch(t, sent, slices.Collect(maps.Keys(got)))
	for range 5 { // what was committed while its acknowledgement was lost with the connection is out again
		left := b.Left(t)
		if left == 0 {
			return
		}
		g := Begin(t, r)
		g.Hand.CommitAll()
		g.Taken(t, left)
		g.Stop(t)
	}
	require.Zero(t, b.Left(t))
}

func leak(t *testing.T, b Bus) {
	send(t, b, 20, 0)
	r := b.Reader(t, 10)
	first := Begin(t, r) // has the server make what it makes once
	first.Taken(t, 10)
	first.Stop(t)
	present := goleak.IgnoreCurrent()
	g := Begin(t, r)
	g.Taken(t, 10)
	g.Hand.Commit(5)
	g.Stop(t)
	gone(t, present)
	g = Begin(t, r)
	g.Taken(t, 5)
	b.Cut()
	g.stop()
	g.Ended(t)
	gone(t, present)
}

// gone waits until no goroutine is left but those that were present. goleak alone gives them less than half a second.
func gone(t *testing.T, present goleak.Option) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; {
		err := goleak.Find(present)
		if err == nil {
			return
		}
		require.True(t, time.Now().Before(deadline), "%v", err)
	}
}

// late: dones of a Read that ended come while the next Read goes on.
func late(t *testing.T, b Bus) {
	sent := send(t, b, 20, 0)
	r := b.Reader(t, 10)
	old := Begin(t, r)
	old.Taken(t, 10)
	old.Stop(t)
	g := Begin(t, r)
	g.Taken(t, 10)
	old.Hand.CommitAll()
	g.Stop(t)
	require.Equal(t, len(sent), b.Left(t), "a done belongs to its own Read: the messages are out again, and not committed there")
	goOn(t, r, map[string]bool{}, sent)
}
