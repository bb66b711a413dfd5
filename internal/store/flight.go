package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
)

// flightsAtOnce is how many flights one transaction rescues. A flight has as many members as one commit has changes.
const flightsAtOnce = 8

// BeginsFirst tells that an entry a records attempt 1: in an entry of its own, or in that of its change.
const BeginsFirst = `(a.kind = 'attempt' AND a.number = 1 OR a.kind = 'change' AND a.interaction_id IS NOT NULL)`

// lockLost locks flights whose lease ran out.
//
// $1 limit, $2 how many microseconds back to look (looks).
const lockLost = `SELECT id, xid, lease_until, unsettled FROM flight
WHERE lease_until < now() AND lease_until >= now() - $2::bigint * interval '1 microsecond' ORDER BY lease_until LIMIT $1 FOR UPDATE SKIP LOCKED`

// findLost finds the members of locked flights that have no result. It is a statement after lockLost, so that it sees the
// results of the transactions that held the locks before.
//
// An attempt that stands in the entry of its change is never late. A lease lasts 10 minutes at most. $1 xids of the flights,
// $2 earliest and $3 latest lease_until, $4 timeout. Columns as in lostPlaces.
const findLost = `
SELECT a.xid, a.id, a.notification_id, a.client_id, a.resource_kind, a.resource_id, a.at, coalesce((a.facts->>'late')::boolean, false),
  (extract(epoch FROM now() - a.at - $4::interval) * 1000000)::bigint
FROM entry a
WHERE a.xid = ANY($1::bigint[]) AND ` + BeginsFirst + ` AND a.at BETWEEN $2::timestamptz - interval '11 minutes' AND $3::timestamptz
  AND (SELECT true FROM entry r WHERE r.notification_id = a.notification_id AND r.kind = 'result' AND r.number = 1 LIMIT 1) IS NULL -- no join: each is one probe`

// planFindLost plans what follows in a transaction by its values.
const planFindLost = "SET LOCAL plan_cache_mode = force_custom_plan"

// lost is an attempt of a flight whose lease ran out, and for how many microseconds its time-out has been over.
type lost struct {
	notice.Attempt
	xid, ago int64
}

func lostPlaces(l *lost) []any {
	l.Number = 1
	return []any{&l.xid, &l.Token, &l.Notification, &l.Client, &l.Kind, &l.ResourceID, &l.StartedAt, &l.Late, &l.ago}
}

// lostFlight is a flight whose lease ran out, and how many attempts without result it counts.
type lostFlight struct {
	id        notice.ID
	unsettled int
}

// rescueFlights settles what a few flights whose lease ran out have left, as unknown, ended timeout after its start (D-8), and
// deletes them. What they have left is what the history says, and a flight that counts otherwise is logged: left alone it
// would keep its notifications for ever. It tells how many attempts that were, and whether there may be more flights.
func (s *Store) rescueFlights(ctx context.Context, back, timeout time.Duration) (n int, more bool, err error) {
	err = pgx.BeginFunc(ctx, s.dispatch, func(tx pgx.Tx) error {
		flights, found, err := s.findLost(ctx, tx, back, timeout)
		if err != nil {
			return err
		}
		n, more = len(found), len(flights) == flightsAtOnce
		var columns settleColumns
		members := map[int64]int{}
		for _, l := range found {
			members[l.xid]++
			l.Flight = flights[l.xid].id
			private, _ := s.privateFacts(notice.Result{})
			text, _ := Facts(history.ResultFacts{Private: audit.Commit(private), Number: l.Number, Attempt: l.Token.String(), Detail: history.LostDetail})
			columns.add(notice.Settlement{Attempt: l.Attempt, Result: notice.Result{Outcome: notice.OutcomeUnknown}}, text, private)
			columns.ago = append(columns.ago, l.ago)
		}
		if n > 0 {
			if _, err := s.settleOn(ctx, tx, &columns); err != nil {
				return err
			}
		}
		for xid, f := range flights {
			if members[xid] == f.unsettled {
				continue
			}
			s.log.Error("flight counted wrong: its attempts without result were not as many", "flight", f.id, "found", members[xid], "counted", f.unsettled)
			if _, err := tx.Exec(ctx, "DELETE FROM flight WHERE id = $1", ToUUID(f.id)); err != nil {
				return err
			}
		}
		return nil
	})
	return n, more, err
}

// findLost locks flights whose lease ran out, and finds their attempts without result. The flights are by xid.
func (s *Store) findLost(ctx context.Context, tx pgx.Tx, back, timeout time.Duration) (flights map[int64]lostFlight, found []lost, err error) {
	if _, err := tx.Exec(ctx, planFindLost); err != nil {
		return nil, nil, err
	}
	rows, _ := tx.Query(ctx, lockLost, flightsAtOnce, back.Microseconds())
	var xids []int64
	var first, last pgtype.Timestamptz // in the order of their leases
	flights = map[int64]lostFlight{}
	var id notice.ID
	var xid int64
	var n int
	_, err = pgx.ForEachRow(rows, Columns(&id, &xid, &last, &n), func() error {
		if xids = append(xids, xid); len(xids) == 1 {
			first = last
		}
		flights[xid] = lostFlight{id, n}
		return nil
	})
	if err != nil || len(xids) == 0 {
		return nil, nil, err
	}
	found, err = All(ctx, tx, lostPlaces, findLost, xids, first, last, timeout)
	return flights, found, err
}
