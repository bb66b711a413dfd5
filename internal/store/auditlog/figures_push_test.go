package auditlog

import (
	"context"
	"errors"
	"strconv"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

// TestOfTooManyResourcesThoseWithAnOpenNotificationAreRemembered: the next stretches end them.
func TestOfTooManyResourcesThoseWithAnOpenNotificationAreRemembered(t *testing.T) {
	var p *pushes
	p = p.at(7)
	key := func(n int) notice.Key { return notice.Key{ID: strconv.Itoa(n)} }
	for n := range pushMost {
		p.known[key(n)] = &pushed{open: map[notice.ID]*openPush{}}
	}
	p.known[key(0)].open[notice.ID{1}] = &openPush{}
	require.Len(t, p.at(7).known, pushMost)
	require.Empty(t, p.at(8).known, "of another position")
	p.known[key(pushMost)] = &pushed{}
	require.Len(t, p.at(7).known, 1)
	require.Contains(t, p.at(7).known, key(0))
	for n := range pushMost + 1 {
		p.known[key(n)] = &pushed{open: map[notice.ID]*openPush{{1}: {}}}
	}
	require.Empty(t, p.at(7).known, "all are open")
}

var errRead = errors.New("the history is read")

// unread is a database that may not be asked.
type unread struct{ pgx.Tx }

func (unread) Query(context.Context, string, ...any) (pgx.Rows, error) { return noRows{}, errRead }

type noRows struct{ pgx.Rows }

func (noRows) Next() bool { return false }
func (noRows) Err() error { return errRead }
func (noRows) Close()     {}

// making is the entry of a change that made a resource, and a notification that waits.
func making(n int) history.Brief {
	return history.Brief{
		XID: 8, Kind: history.FactChange, Outcome: notice.Outcome(notice.Applied), First: true, Client: "itp", ResourceKind: ofb.PixPayment, ResourceID: strconv.Itoa(n),
		Notification: notice.ID{1, byte(n >> 8), byte(n)},
	}
}

// TestWhichResourcesOfAStretchAreRead: not those that it makes, unless their transaction began before it or somebody altered the entry.
func TestWhichResourcesOfAStretchAreRead(t *testing.T) {
	asked := making(0)
	asked.Kind, asked.Outcome, asked.First, asked.Notification = history.FactPoll, "200", false, notice.ID{}
	for name, c := range map[string]struct {
		change func(*history.Brief)
		want   error
	}{
		"the stretch makes it":        {func(*history.Brief) {}, nil},
		"it was there":                {func(e *history.Brief) { e.First = false }, errRead},
		"the transaction is cut":      {func(e *history.Brief) { e.XID = 7 }, errRead},
		"the entry was altered since": {func(e *history.Brief) { e.Altered = true }, errRead},
	} {
		e := making(0)
		c.change(&e)
		f := folding{db: unread{}, push: (*pushes)(nil).at(0)}
		require.ErrorIs(t, f.meet(t.Context(), &stretchOfLog{from: cursor{xid: 7}, entries: []history.Brief{e, asked}}, nil), c.want, name)
	}
}

// TestAStretchThatMakesMoreThanMayBeRememberedFillsTheRoom, and those whose notification ends in it take none.
func TestAStretchThatMakesMoreThanMayBeRememberedFillsTheRoom(t *testing.T) {
	s := &stretchOfLog{from: cursor{xid: 7}}
	for n := range pushMost + 7 {
		s.entries = append(s.entries, making(n))
	}
	f := folding{db: unread{}, push: (*pushes)(nil).at(0)}
	require.NoError(t, f.meet(t.Context(), s, nil))
	require.Len(t, f.push.known, pushMost)

	end := making(0)
	end.Kind, end.Outcome, end.First, end.Closes = history.FactCancelled, "", false, notice.Cancelled
	f = folding{db: unread{}, push: (*pushes)(nil).at(0)}
	require.NoError(t, f.meet(t.Context(), &stretchOfLog{from: cursor{xid: 7}, entries: append(s.entries[:2:2], end)}, nil))
	require.Len(t, f.push.known, 1)
	require.Contains(t, f.push.known, s.entries[1].Key())
}
