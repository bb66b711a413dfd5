package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
)

// settleSQL is T3. A settlement is valid while its token is the current one, whatever the clock says. A success, a
// last failure, and a failure under a registration that has ended leave the queue; another failure falls due its gap
// after the failure. A settlement whose lease is gone only adds to the history.
//
// Storing the same settlement twice changes nothing. seen locks the rows whose token is the current one, so what follows
// needs no second look at the token, and no join but by primary key: its cost is linear in the settlements. IS NOT DISTINCT
// FROM keeps the planner away from queue_lease, which it takes for empty: while a snapshot is held, that index has an entry
// for every attempt since.
//
// $1 notification, $2 token, $3 outcome, $4 delivered, $5 microseconds since the end, $6 gap in microseconds after which
// another attempt follows or -1, $7 facts, $8 client, $9 kind, $10 resource, $11 number, $12 private text.
const settleSQL = `
WITH done AS MATERIALIZED (
  SELECT d.*, now() - d.ago * interval '1 microsecond' AS ended_at
  FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::boolean[], $5::bigint[], $6::bigint[], $7::text[], $8::text[], $9::smallint[], $10::text[], $11::smallint[], $12::text[])
    AS d(id, token, outcome, delivered, ago, gap, facts, client_id, kind, resource_id, number, private)
), seen AS MATERIALIZED (
  SELECT d.*, q.id IS NOT NULL AS ours, q.created_at, d.ended_at + d.gap * interval '1 microsecond' AS next_at,
    d.delivered OR d.gap < 0 OR coalesce(NOT i.push OR i.push_epoch <> q.push_epoch, true) AS over,
    CASE WHEN d.delivered THEN 'delivered' WHEN d.gap < 0 THEN 'exhausted' ELSE 'cancelled' END AS closes
  FROM done d LEFT JOIN LATERAL (SELECT * FROM queue q WHERE q.id = d.id AND q.token IS NOT DISTINCT FROM d.token FOR UPDATE) q ON true
  LEFT JOIN initiator i ON i.client_id = q.client_id
), gone AS (
  DELETE FROM queue q USING seen s WHERE s.ours AND s.over AND q.id = s.id
), again AS (
  UPDATE queue q SET token = NULL, interaction_id = NULL, lease_until = NULL, due_at = s.next_at
  FROM seen s WHERE s.ours AND NOT s.over AND q.id = s.id
), noted AS (
  INSERT INTO entry (id, kind, client_id, resource_kind, resource_id, notification_id, number, outcome, closes, created_at, private, facts)
  SELECT gen_random_uuid(), CASE WHEN s.ours THEN 'result' ELSE 'late-result' END, s.client_id, s.kind, s.resource_id, s.id, s.number,
    s.outcome, CASE WHEN s.ours AND s.over THEN s.closes END, CASE WHEN s.ours AND s.over AND NOT s.delivered THEN s.created_at END, s.private::json,
    (rtrim(s.facts, '}') || ',"endedAt":' || to_json(s.ended_at)::text || CASE WHEN s.ours AND NOT s.over THEN ',"nextAt":' || to_json(s.next_at)::text ELSE '' END || '}')::json
  FROM seen s
  WHERE s.ours OR NOT EXISTS (
    SELECT FROM entry e WHERE e.notification_id = s.id AND e.number = s.number AND e.outcome = s.outcome AND e.facts->>'attempt' = s.token::text)
)
SELECT client_id, next_at - now() FROM seen WHERE ours AND NOT over`

// Settle stores outcomes and what follows from them, for those whose lease is still ours; the others are kept as late
// entries. It answers the lanes that have a follow-up, and in how long it falls due.
func (s *Store) Settle(ctx context.Context, done []notice.Settlement) (lanes []notice.Lane, err error) {
	defer func() { _ = s.noteFault(actSettle, err) }()
	n := len(done)
	ids, tokens := make([]pgtype.UUID, n), make([]pgtype.UUID, n)
	outcomes, texts, clients, resources := make([]string, n), make([]string, n), make([]string, n), make([]string, n)
	privates := make([]string, n)
	kinds, numbers := make([]int16, n), make([]int16, n)
	delivered := make([]bool, n)
	agos, gaps := make([]int64, n), make([]int64, n)
	for i, d := range done {
		private, err := s.privateFacts(d.Result)
		if err != nil {
			return nil, err
		}
		text, err := Facts(resultFacts(d, audit.Commit(private)))
		if err != nil {
			return nil, err
		}
		privates[i] = private
		ids[i], tokens[i], outcomes[i], texts[i] = ToUUID(d.Attempt.Notification), ToUUID(d.Attempt.Token), string(d.Result.Outcome), text
		clients[i], kinds[i], resources[i], numbers[i] = string(d.Attempt.Client), int16(d.Attempt.Kind), d.Attempt.ResourceID, int16(d.Attempt.Number)
		delivered[i], gaps[i] = d.Result.Outcome.Success(), -1
		if gap, again := notice.Next(d.Attempt.Number, d.Attempt.Manual); again {
			gaps[i] = gap.Microseconds()
		}
	}
	conn, err := s.dispatch.Acquire(ctx)
	if err != nil {
		return nil, Unavailable("take a dispatch connection", err)
	}
	defer conn.Release()
	now := time.Now()
	for i, d := range done {
		agos[i] = now.Sub(d.Result.EndedAt).Microseconds()
	}
	rows, err := conn.Query(ctx, settleSQL, ids, tokens, outcomes, delivered, agos, gaps, texts, clients, kinds, resources, numbers, privates)
	if err != nil {
		return nil, Unavailable("settle", err)
	}
	defer rows.Close()
	for rows.Next() {
		var l notice.Lane
		if err := rows.Scan(&l.Client, &l.DueIn); err != nil {
			return nil, Unavailable("read what follows", err)
		}
		if l.DueIn < 0 {
			s.looks.found(l.Client, -l.DueIn)
		}
		lanes = append(lanes, l)
	}
	if err := rows.Err(); err != nil {
		return nil, Unavailable("settle", err)
	}
	return lanes, nil
}

// resultFacts are the facts of an attempt's end, with the commitment to what the bank alone may see of it.
func resultFacts(d notice.Settlement, commitment string) history.ResultFacts {
	a, r := d.Attempt, d.Result
	return history.ResultFacts{
		Private: commitment, Number: a.Number, Attempt: a.Token.String(), URL: r.URL, HTTPStatus: r.HTTPStatus,
		Echo: r.Echo, TLS: r.TLS, Reused: r.Reused, Remote: r.RemoteAddr,
		WaitedUS:  r.EndedAt.Sub(a.ClaimedAt).Microseconds() - r.Elapsed.Microseconds(),
		DialledUS: r.Dialled.Microseconds(), HandshakenUS: r.Handshaken.Microseconds(), FirstByteUS: r.FirstByteOut.Microseconds(),
		AnsweredUS: r.Answered.Microseconds(), ElapsedUS: r.Elapsed.Microseconds(),
	}
}

// rescueSQL settles attempts whose lease ran out: nobody saw their end, so it is taken to be startedAt + timeout (D-8).
//
// $1 limit, $2 timeout, $3 second gap, $4 third gap, $5 system, $6 how many microseconds back to look (looks).
const rescueSQL = `
WITH lost AS MATERIALIZED (
  SELECT q.*, q.started_at + $2::interval AS ended_at, q.manual OR q.attempts >= 3 AS last,
    coalesce(NOT i.push OR i.push_epoch <> q.push_epoch, true) AS ended, ` + privateStart + `$5` + privateEnd + `
  FROM (SELECT * FROM queue WHERE token IS NOT NULL AND lease_until < now() AND lease_until >= now() - $6::bigint * interval '1 microsecond' ORDER BY lease_until LIMIT $1 FOR UPDATE SKIP LOCKED) q
  LEFT JOIN initiator i ON i.client_id = q.client_id
), gone AS (
  DELETE FROM queue q USING lost l WHERE q.id = l.id AND (l.last OR l.ended)
), again AS (
  UPDATE queue q SET token = NULL, interaction_id = NULL, lease_until = NULL, due_at = l.ended_at + CASE q.attempts WHEN 1 THEN $3::interval ELSE $4::interval END
  FROM lost l WHERE q.id = l.id AND NOT (l.last OR l.ended) RETURNING q.id, q.due_at
), noted AS (
  INSERT INTO entry (id, kind, client_id, resource_kind, resource_id, notification_id, number, outcome, closes, created_at, private, facts)
  SELECT gen_random_uuid(), 'result', l.client_id, l.kind, l.resource_id, l.id, l.attempts, 'unknown',
    CASE WHEN l.last THEN 'exhausted' WHEN l.ended THEN 'cancelled' END, CASE WHEN l.last OR l.ended THEN l.created_at END, private::json,
    json_build_object('private', ` + commitSQL + `, 'number', l.attempts, 'attempt', l.token,
      'detail', '` + history.LostDetail + `', 'endedAt', l.ended_at, 'nextAt', a.due_at)
  FROM lost l LEFT JOIN again a ON a.id = l.id
)
SELECT count(*) FROM lost`

// Rescue settles up to limit attempts whose lease ran out as unknown and schedules what follows. It never sends.
func (s *Store) Rescue(ctx context.Context, limit int, timeout time.Duration) (int, error) {
	second, _ := notice.Next(1, false)
	third, _ := notice.Next(2, false)
	asked := time.Now()
	full, back := s.lost.full(asked), s.lost.usual(asked)
	if full {
		back = everything
	}
	var n int
	if err := s.dispatch.QueryRow(ctx, rescueSQL, limit, timeout, second, third, s.system, back.Microseconds()).Scan(&n); err != nil {
		s.lost.forget()
		return 0, Unavailable("rescue", err)
	}
	if full && n < limit { // or some are left
		s.lost.done(asked, time.Now(), nil)
	}
	if n > 0 { // what follows them may have fallen due long ago
		s.looks.forget()
	}
	return n, nil
}

// cancelSQL takes waiting rows of ended registration periods out of the queue, lane by lane, in batches. They read as
// cancelled from the moment the period ended; this makes it a fact of its own and keeps the queue small.
const cancelSQL = `
WITH stale AS MATERIALIZED (
  SELECT q.* FROM initiator i CROSS JOIN LATERAL (
    SELECT * FROM queue q WHERE q.client_id = i.client_id AND q.token IS NULL AND q.push_epoch < i.push_epoch + CASE WHEN i.push THEN 0 ELSE 1 END
    ORDER BY q.client_id, q.push_epoch, q.due_at LIMIT $1 FOR UPDATE SKIP LOCKED
  ) q LIMIT $1
), gone AS (
  DELETE FROM queue q USING stale s WHERE q.id = s.id
), noted AS (
  INSERT INTO entry (id, kind, client_id, resource_kind, resource_id, notification_id, outcome, closes, created_at, facts)
  SELECT gen_random_uuid(), 'cancelled', client_id, kind, resource_id, id, 'cancelled', 'cancelled', created_at,
    json_build_object('system', $2::text, 'reason', 'registration-ended', 'attempts', attempts)
  FROM stale
)
SELECT count(*) FROM stale`

// CancelEnded cancels up to limit waiting notifications of registrations that ended, and says how many it did.
func (s *Store) CancelEnded(ctx context.Context, limit int) (int, error) {
	var n int
	if err := s.dispatch.QueryRow(ctx, cancelSQL, limit, s.system).Scan(&n); err != nil {
		return 0, Unavailable("cancel what ended registrations left", err)
	}
	return n, nil
}
