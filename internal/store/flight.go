package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

// flightsAtOnce is how many flights one transaction rescues. A flight has as many members as one commit has changes.
const flightsAtOnce = 8

// lockLost locks flights whose lease ran out.
//
// $1 limit, $2 how many microseconds back to look (looks).
const lockLost = `SELECT id, xid, lease_until, unsettled FROM flight
WHERE lease_until < now() AND lease_until >= now() - $2::bigint * interval '1 microsecond' ORDER BY lease_until LIMIT $1 FOR UPDATE SKIP LOCKED`

// findLost finds the members of locked flights that have no result. It is a statement after lockLost, so that it sees the
// results of the transactions that held the locks before.
//
// A lease lasts 10 minutes at most. $1 flight, $2 its xid, $3 earliest and $4 latest lease_until, $5 timeout. Columns as scanned
// by lostAttempt.
const findLost = `
SELECT f.id, a.id, a.notification_id, a.client_id, a.resource_kind, a.resource_id, a.at, coalesce((a.facts->>'late')::boolean, false),
  (extract(epoch FROM now() - a.at - $5::interval) * 1000000)::bigint
FROM unnest($1::uuid[], $2::bigint[]) AS f(id, xid) CROSS JOIN LATERAL (
  SELECT * FROM entry a WHERE a.xid = f.xid AND a.kind = 'attempt' AND a.number = 1 AND a.at BETWEEN $3::timestamptz - interval '11 minutes' AND $4::timestamptz
) a
WHERE (SELECT true FROM entry r WHERE r.notification_id = a.notification_id AND r.kind = 'result' AND r.number = 1 LIMIT 1) IS NULL -- no join: each is one probe`

// planFindLost plans what follows in a transaction by its values: entry_xid is a BRIN index, which a hot session does not use.
const planFindLost = "SELECT set_config('enable_bitmapscan', 'on', true), set_config('plan_cache_mode', 'force_custom_plan', true)"

// lost is an attempt of a flight whose lease ran out, and for how many microseconds its time-out has been over.
type lost struct {
	notice.Attempt
	ago int64
}

func lostAttempt(row pgx.CollectableRow) (l lost, err error) {
	var flight, token, id pgtype.UUID
	var kind int16
	var at pgtype.Timestamptz
	err = row.Scan(&flight, &token, &id, &l.Client, &kind, &l.ResourceID, &at, &l.Late, &l.ago)
	l.Flight, l.Token, l.Notification, l.Number = FromUUID(flight), FromUUID(token), FromUUID(id), 1
	l.Kind, l.StartedAt = ofb.Kind(kind), FromTime(at)
	return l, err
}

// rescueFlights settles what a few flights whose lease ran out have left, as unknown, ended timeout after its start (D-8). It
// tells how many attempts that were, and whether there may be more flights.
func (s *Store) rescueFlights(ctx context.Context, back, timeout time.Duration) (n int, more bool, err error) {
	err = pgx.BeginFunc(ctx, s.dispatch, func(tx pgx.Tx) error {
		unsettled, found, err := s.findLost(ctx, tx, back, timeout)
		if err != nil || len(unsettled) == 0 {
			return err
		}
		members := map[notice.ID]int{}
		for _, l := range found {
			members[l.Flight]++
		}
		var columns settleColumns
		for _, l := range found {
			if members[l.Flight] != unsettled[l.Flight] {
				continue
			}
			private, _ := s.privateFacts(notice.Result{})
			text, _ := Facts(history.ResultFacts{Private: audit.Commit(private), Number: l.Number, Attempt: l.Token.String(), Detail: history.LostDetail})
			columns.add(notice.Settlement{Attempt: l.Attempt, Result: notice.Result{Outcome: notice.OutcomeUnknown}, Untried: true}, text, private)
			columns.ago = append(columns.ago, l.ago)
			n++
		}
		for flight, expected := range unsettled {
			if members[flight] != expected {
				s.log.Error("flight not rescued: its attempts without result are not as many as it counts", "flight", flight, "found", members[flight], "counted", expected)
			}
		}
		more = len(unsettled) == flightsAtOnce && n > 0
		if n == 0 {
			return nil
		}
		_, err = s.settleOn(ctx, tx, &columns)
		return err
	})
	if err != nil {
		return 0, false, err
	}
	return n, more, nil
}

// findLost locks flights whose lease ran out, and finds their attempts without result.
func (s *Store) findLost(ctx context.Context, tx pgx.Tx, back, timeout time.Duration) (unsettled map[notice.ID]int, found []lost, err error) {
	if _, err := tx.Exec(ctx, planFindLost); err != nil {
		return nil, nil, err
	}
	rows, _ := tx.Query(ctx, lockLost, flightsAtOnce, back.Microseconds())
	var ids []pgtype.UUID
	var xids []int64
	var first, last pgtype.Timestamptz // in the order of their leases
	unsettled = map[notice.ID]int{}
	var id pgtype.UUID
	var xid int64
	var n int
	_, err = pgx.ForEachRow(rows, []any{&id, &xid, &last, &n}, func() error {
		if ids = append(ids, id); len(ids) == 1 {
			first = last
		}
		xids, unsettled[FromUUID(id)] = append(xids, xid), n
		return nil
	})
	if err != nil || len(ids) == 0 {
		return nil, nil, err
	}
	rows, _ = tx.Query(ctx, findLost, ids, xids, first, last, timeout)
	found, err = pgx.CollectRows(rows, lostAttempt)
	return unsettled, found, err
}
