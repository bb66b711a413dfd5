package auditlog

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/timing"
)

// idlePeriods finds the stretches in which nobody committed anything, looking at each instant once at most.
type idlePeriods struct {
	// instants reads when something was committed between two instants, those left out, in order.
	instants func(ctx context.Context, from, to time.Time) (pgx.Rows, error)
	from, to time.Time // looked at
	found    []timing.IdlePeriod
	known    instants // of what the caller has in memory
	sparse   bool     // what is asked for is far apart: nothing is looked at that is not asked for
}

// idlePeriodsOf looks at the history itself, what is not sealed yet included.
func idlePeriodsOf(db querier) *idlePeriods { return &idlePeriods{instants: instantsOf(db)} }

// instantsOf reads the instants of what is sealed from its positions, which are a seventh of the entries in bytes and in their order, and
// those of the rest by the order of sealing, unless the time is unsealedFor older than what was sealed last.
func instantsOf(db querier) func(ctx context.Context, from, to time.Time) (pgx.Rows, error) {
	return func(ctx context.Context, from, to time.Time) (pgx.Rows, error) {
		sealed, at := before, time.Time{}
		err := db.QueryRow(ctx, "SELECT xid, id, at FROM log_position ORDER BY seq DESC LIMIT 1").Scan(store.Columns(&sealed.xid, &sealed.id, &at)...)
		switch {
		case err != nil && !errors.Is(err, pgx.ErrNoRows):
			return nil, err
		case to.Before(at.Add(-unsealedFor)):
			return db.Query(ctx, "SELECT at FROM log_position WHERE at > $1 AND at < $2 ORDER BY at", from, to)
		}
		return db.Query(ctx, `SELECT at FROM log_position WHERE at > $1 AND at < $2
UNION ALL SELECT at FROM entry WHERE at > $1 AND at < $2 AND xid >= $3 AND (xid, id) > ($3, $4) ORDER BY at`, from, to, sealed.xid, [16]byte(sealed.id))
	}
}

const (
	idleAfter = 500 * time.Millisecond // a shorter stretch explains nothing
	idleSlice = 5 * time.Minute        // of the history is looked at in one statement

	// unsealedFor is longer than an entry waits for those before it: what is so much older than a sealed entry is sealed. A transaction
	// that adds entries takes seconds.
	unsealedFor = time.Hour
)

// within returns the idle periods that overlap the time between two instants, those known to begin up to idleAfter before it included, as
// timing.TimingsOf asks.
func (s *idlePeriods) within(ctx context.Context, now time.Time) func(from, to time.Time) ([]timing.IdlePeriod, error) {
	return func(from, to time.Time) ([]timing.IdlePeriod, error) {
		from = from.Add(-idleAfter)
		if s.known.leaveNoGap(from, to) {
			return nil, nil
		}
		err := s.look(ctx, from, to, now)
		return slices.DeleteFunc(slices.Clone(s.found), func(p timing.IdlePeriod) bool { return p.To.Sub(p.From) < idleAfter }), err
	}
}

// look finds the idle periods between two instants. Unless they are sparse it looks a whole slice ahead, since the next page will ask.
func (s *idlePeriods) look(ctx context.Context, from, to, now time.Time) error {
	if from.Before(s.from) || from.After(s.to) {
		s.from, s.to, s.found = from, from, nil
	}
	s.from = from
	s.found = slices.DeleteFunc(s.found, func(q timing.IdlePeriod) bool { return !q.To.After(from) })
	for s.to.Before(to) {
		end := s.to.Add(idleSlice)
		if s.sparse && end.After(to) || end.After(now) {
			end = to // what is not over yet is looked at again
		}
		if err := s.slice(ctx, end); err != nil {
			return err
		}
	}
	return nil
}

// slice looks at the history from where the last look ended.
func (s *idlePeriods) slice(ctx context.Context, end time.Time) error {
	rows, err := s.instants(ctx, s.to, end)
	if err != nil {
		return err
	}
	defer rows.Close()
	last := s.to
	note := func(at time.Time) {
		n := len(s.found)
		switch long := at.Sub(last) >= idleAfter; {
		case last.Equal(s.to) && n > 0 && s.found[n-1].To.Equal(last): // a stretch across the edge of two slices
			s.found[n-1].To = at
		case long || at.Equal(end) && at.After(last):
			s.found = append(s.found, timing.IdlePeriod{From: last, To: at})
		}
		last = at
	}
	for rows.Next() {
		var at time.Time
		if err := rows.Scan(store.Columns(&at)...); err != nil {
			return err
		}
		note(at)
	}
	note(end)
	s.to = end
	return rows.Err()
}

// instants are when something was committed, as far as gaps of idleAfter matter: of each tenth of a second the first and the last. The
// zero value knows none.
type instants struct {
	tenths map[int64]*tenth
	newest *tenth // that something was added to
	number int64  // of newest
}

// tenth is what is known of a tenth of a second.
type tenth struct{ first, last time.Time }

// instantsMost bounds the memory, to about 2 MiB. The tenths of an hour are 36,000.
const instantsMost = 20_000

// add takes an instant. When there are too many, those before are forgotten.
func (i *instants) add(at time.Time) {
	number := at.UnixMilli() / 100
	if i.newest == nil || number != i.number {
		if i.tenths == nil || len(i.tenths) >= instantsMost {
			i.tenths = map[int64]*tenth{}
		}
		if i.tenths[number] == nil {
			i.tenths[number] = &tenth{at, at}
		}
		i.newest, i.number = i.tenths[number], number
	}
	if at.Before(i.newest.first) {
		i.newest.first = at
	}
	if at.After(i.newest.last) {
		i.newest.last = at
	}
}

// leaveNoGap tells whether no period of idleAfter between two instants is without an instant that is known.
func (i *instants) leaveNoGap(from, to time.Time) bool {
	last := from
	for number := from.UnixMilli() / 100; number <= to.UnixMilli()/100; number++ {
		t := i.tenths[number]
		if t == nil || t.last.Before(from) {
			continue
		}
		first := t.first
		if first.Before(from) {
			first = t.last
		}
		if first.After(to) {
			break
		}
		if first.Sub(last) >= idleAfter {
			return false
		}
		if last = t.last; last.After(to) {
			last = to
		}
	}
	return to.Sub(last) < idleAfter
}
