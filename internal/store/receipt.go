package store

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/arauto/arauto/internal/history"
)

// wallDoubt is added to what a wall clock measured across a restart: it counts against us. A replica whose clock is more
// than a second wrong is alarmed about (docs/operations/alarm-clock-skew.md).
const wallDoubt = time.Second

// RecordRefusals stores traces of changes that reached this replica and were not stored, and periods in which such traces
// may be missing, as entries. They keep durations from the receipt to this transaction, whose instant is the database's;
// where a network's delay leaves a doubt, the receipt seems earlier. After an error nobody knows whether they are stored;
// storing them again is safe, as an entry's id stays the same.
func (s *Store) RecordRefusals(ctx context.Context, refusals []history.ChangeRefusal, unheard []history.Unheard) error {
	conn, err := s.query.Acquire(ctx)
	if err != nil {
		return Unavailable("take a connection", err)
	}
	defer conn.Release()
	if _, err := conn.Exec(ctx, "begin"); err != nil {
		return Unavailable("record refused changes", err)
	}
	columns, err := s.refusalEntries(time.Now(), refusals, unheard)
	if err == nil {
		batch := &pgx.Batch{}
		columns.queue(batch)
		batch.Queue("commit")
		err = sendAll(ctx, conn, batch)
	}
	if err != nil {
		rollback(conn)
		return Unavailable(fmt.Sprintf("record %d refused changes", len(refusals)), err)
	}
	return nil
}

// refusalEntries are the entries of refusals; began is not before the transaction's instant, by our clock.
func (s *Store) refusalEntries(began time.Time, refusals []history.ChangeRefusal, unheard []history.Unheard) (*entryColumns, error) {
	ago := func(at time.Time, wall bool) int64 {
		d := began.Sub(at)
		if wall {
			d += wallDoubt
		}
		return max(0, d.Microseconds())
	}
	columns := &entryColumns{}
	for i := range refusals {
		r := &refusals[i]
		f := r.Facts
		f.System, f.BeganUS = s.system, ago(r.First, f.WallClock)
		text, err := Facts(f)
		if err != nil {
			return nil, err
		}
		columns.add(entryRow{
			id: r.ID, kind: history.FactRefused, client: r.Client, resourceKind: r.Kind, resourceID: r.ResourceID, revision: r.Revision, outcome: f.RefusedFor, facts: text,
		})
	}
	for _, u := range unheard {
		text, err := Facts(history.UnheardFacts{
			System: s.system, Why: u.Why, Requests: u.Requests, FromUS: ago(u.From, u.Wall), ToUS: max(0, began.Sub(u.To).Microseconds()), WallClock: u.Wall,
		})
		if err != nil {
			return nil, err
		}
		columns.add(entryRow{id: NewID(), kind: history.FactUnheard, outcome: u.Why, facts: text})
	}
	return columns, nil
}
