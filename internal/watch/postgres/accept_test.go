package postgres

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/stretchr/testify/require"
)

// acceptances are those of persons, as the store keeps them for the reader.
type acceptances struct {
	mu      sync.Mutex
	inForce []string
	used    chan []string
}

func newAcceptances() *acceptances { return &acceptances{used: make(chan []string, 8)} }

func (a *acceptances) accept(codes []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.inForce = append(a.inForce, codes...)
}

func (a *acceptances) listed(context.Context) ([]string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.inForce), nil
}

func (a *acceptances) useUp(_ context.Context, codes []string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.inForce = slices.DeleteFunc(a.inForce, func(code string) bool { return slices.Contains(codes, code) })
	a.used <- codes
	return nil
}

// awaitUsed awaits that the reader has passed what was accepted.
func (a *acceptances) awaitUsed(t *testing.T, codes []string) {
	t.Helper()
	select {
	case used := <-a.used:
		require.ElementsMatch(t, codes, used)
	case <-time.After(30 * time.Second):
		t.Fatal("no acceptance was used up")
	}
}

func (c *core) following(m *memory, a *acceptances, erasing ...string) *Reader {
	c.t.Helper()
	return c.reader(func(_ *Config, o *Options) {
		o.Memory, o.Accepted, o.UseUp, o.Erasing = m, a.listed, a.useUp, erasing
	})
}

// The same statement gives the same code each time. Rows that it hides the second time were accepted by nobody.
func TestACauseThatComesAgainStopsTheSourceAgain(t *testing.T) {
	t.Parallel()
	c := newCore(t, nil, "INSERT INTO payments VALUES (1, 'A', '')")
	c.exec("CREATE PUBLICATION " + c.slot + " FOR TABLE payments")
	m, a := &memory{}, newAcceptances()
	r, h := c.following(m, a), newHand()
	run := read(t, r, h)
	h.take(t, 1)
	for _, row := range []string{"(2, 'A', '')", "(3, 'A', '')"} {
		c.reading()
		c.caughtUp()
		before := c.lsn()
		c.exec("ALTER PUBLICATION " + c.slot + " SET (publish = 'delete')")
		err := run.wait()
		require.ErrorIs(t, err, ErrGap, "before row %s", row)
		require.LessOrEqual(t, c.confirmed(), before)
		c.exec("INSERT INTO payments VALUES " + row)
		c.exec("ALTER PUBLICATION " + c.slot + " SET (publish = 'insert, update, delete, truncate')")
		h = newHand()
		require.ErrorIs(t, read(t, r, h).wait(), ErrGap, "the row stays missing until a person decides")
		a.accept(words(err))
		run = read(t, r, h)
		h.await(t, "the row, read again", func(h *hand) bool {
			return slices.ContainsFunc(briefs(h.records), func(b string) bool { return strings.HasPrefix(b, "snapshot payments id="+row[1:2]) })
		})
		a.awaitUsed(t, words(err))
	}
	require.NoError(t, run.end())
	require.Empty(t, c.following(m, a).Check(t.Context()))
}

func TestWhatIsAcceptedAndStillHidesRowsIsANote(t *testing.T) {
	t.Parallel()
	c := newCore(t, nil)
	c.exec("CREATE PUBLICATION " + c.slot + " FOR TABLE payments WITH (publish = 'insert, update')")
	m, a := &memory{}, newAcceptances()
	r := c.following(m, a, "payments")
	err := read(t, r, newHand()).wait()
	require.ErrorIs(t, err, ErrGap)
	a.accept(words(err))
	h := newHand()
	run := read(t, r, h)
	c.reading()
	c.caughtUp()
	note := "because it is accepted [" + words(err)[0] + "]: publication " + c.slot + " does not publish deletes"
	noted := func(*hand) bool { return strings.Contains(strings.Join(r.Health(), "\n"), note) }
	h.await(t, "the note", noted)
	require.Empty(t, a.used, "as long as the cause stands, its acceptance does")
	c.exec("ALTER PUBLICATION " + c.slot + " SET (publish = 'insert, update, delete, truncate')")
	a.awaitUsed(t, words(err))
	h.await(t, "no note", func(h *hand) bool { return !noted(h) })
	c.exec("ALTER PUBLICATION " + c.slot + " SET (publish = 'insert, update')")
	require.Equal(t, words(err), words(run.wait()))
}

// While a backlog is worked off, an acceptance is still in force for what the stream may meet. In the catalogue it is another event.
func TestAnAcceptanceCoversNoLaterEvent(t *testing.T) {
	r, err := New(Config{URL: "postgres://127.0.0.1:1/x"}, Options{Tables: []string{"pay"}, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	found := finding{table: "pay", id: "operations 7 inserts=false updates=false"}
	r.accepted.Store(&[]string{found.token()})
	s := &session{Reader: r, system: pglogrepl.IdentifySystemResult{XLogPos: 500}}
	s.standing = []finding{found}
	require.Empty(t, s.returned([]finding{found}), "it stands since it was accepted")
	require.Empty(t, s.passed(600))
	s.standing = nil
	require.Empty(t, s.passed(499), "the stream may still meet it")
	require.Equal(t, []string{found.token()}, s.passed(500))
	require.Equal(t, []string{found.token()}, s.returned([]finding{found, found}))
	require.NoError(t, s.useUp(t.Context(), []string{found.token()}))
	require.Equal(t, []finding{found}, r.unaccepted([]finding{found}))
}

func TestACodeFitsOneCause(t *testing.T) {
	r, err := New(Config{URL: "postgres://127.0.0.1:1/x"}, Options{Tables: []string{"pay"}, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	codes := map[string]string{}
	note := func(text, id string) {
		t.Helper()
		require.NotEmpty(t, text)
		code := finding{table: "pay", id: id}.token()
		require.Regexp(t, accepted, code)
		require.Empty(t, codes[code], "%s has the code of", text)
		codes[code] = text
	}
	m := &membership{}
	for _, one := range []*tableMember{
		{Table: 1, ID: 9, Kind: "f", Persistence: "p"}, {Table: 1, ID: 9, Kind: "r", Persistence: "u"}, {Table: 1, ID: 9, Kind: "r", Persistence: "p"},
	} {
		note(r.hides(m, "pay", one))
	}
	for _, why := range []partCause{causeAttached, causeRewritten, causeUnreadable} {
		note(string(why), partID(&tableMember{ID: 9}, why))
	}
	for _, p := range []publication{{ID: 7}, {ID: 7, Inserts: true}, {ID: 7, Updates: true}} {
		found := r.hidden(&membership{Publication: p, Members: []*tableMember{{Table: 1, Root: true, Kind: "p"}}})
		require.Len(t, found, 1)
		note(found[0].text, found[0].id)
	}
}
