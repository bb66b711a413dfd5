package store

import (
	"cmp"
	"context"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
)

// lockFlights and lockRows are the first statements of T3. What follows is looked at in a new statement: one that had waited
// for a lock would not see what its holder committed.
const (
	lockFlights = "SELECT FROM flight WHERE id = ANY($1::uuid[]) ORDER BY id FOR UPDATE"
	lockRows    = "SELECT FROM queue WHERE id = ANY($1::uuid[]) ORDER BY id FOR UPDATE"
)

// settleSQL is T3, after its locks. A settlement is valid while its flight is there and has no result of it, or while its token
// is the current one, whatever the clock says. A success, a last failure, and a failure under a registration that has ended
// leave the queue; another failure falls due its gap after the failure, and a first attempt that had no row in the queue gets
// one, made of the entry of its change. Each result of a flight is counted off; the last one deletes it. A settlement whose
// lease is gone only adds to the history.
//
// A row whose count of attempts somebody set to the last ends with this one, whatever its number: there is never a fourth.
//
// Storing the same settlement twice changes nothing, nor does one that the network delivers after its repetition: the first try
// looks for its result too. It is looked for within a day of now, since the clock may have been set.
//
// Rows of queue and flight are found by id: to be read, by LATERAL with OFFSET 0; to be written, by = ANY. A join could begin with these
// tables: after a vacuum the planner takes them for empty, and would walk through all their dead rows, which stay while a snapshot is held
// (docs/decisions/0018). What differs from row to row is looked up in an object; a list would be walked for each. IS NOT DISTINCT FROM
// keeps the planner away from queue_lease. A CASE without a value reads nothing. What a flight counts is read in seen, so the flight
// must have been locked before.
//
// $1 notification, $2 token, $3 outcome, $4 delivered, $5 microseconds since the end, $6 gap in microseconds after which
// another attempt follows or -1, $7 facts without their last brace, $8 client, $9 kind, $10 resource, $11 number, $12 private text, $13 flight,
// $14 started at, $15 late, $16 id of the entry.
var settleSQL = `
WITH stored AS MATERIALIZED (
  SELECT e.notification_id, e.facts->>'attempt' AS attempt FROM entry e WHERE e.notification_id = ANY ($1::uuid[]) AND e.kind = 'result'
    AND e.at BETWEEN (SELECT min(at) FROM unnest($14::timestamptz[]) AS at) - interval '1 day' AND now() + interval '1 day'
), seen AS MATERIALIZED (
  SELECT d.*, coalesce(q.created_at, d.started_at) AS created_at, d.ended_at + d.gap * interval '1 microsecond' AS next_at, c.facts AS change, f.unsettled,
    q.id IS NOT NULL OR f.unsettled IS NOT NULL AND NOT EXISTS (SELECT FROM stored s WHERE s.notification_id = d.id AND s.attempt = d.token::text) AS ours,
    d.delivered OR d.gap < 0 OR coalesce(q.attempts >= 3, false) OR coalesce(NOT i.push OR i.push_epoch <> coalesce(q.push_epoch, (c.facts->>'pushEpoch')::bigint), true) AS over,
    CASE WHEN d.delivered THEN 'delivered' WHEN d.gap < 0 OR q.attempts >= 3 THEN 'exhausted' ELSE 'cancelled' END AS closes
  FROM (SELECT d.*, now() - d.ago * interval '1 microsecond' AS ended_at FROM ` + rowsOf("id uuid", "token uuid", "outcome text", "delivered boolean", "ago bigint", "gap bigint", "facts text", "client_id text",
	"kind smallint", "resource_id text", "number smallint", "private text", "flight uuid", "started_at timestamptz", "late boolean",
	"entry uuid") + ` AS d) d
  LEFT JOIN LATERAL (
    SELECT id, push_epoch, created_at, attempts FROM queue WHERE id = CASE WHEN d.flight IS NULL THEN d.id END AND token IS NOT DISTINCT FROM d.token OFFSET 0) q ON true
  LEFT JOIN LATERAL (SELECT unsettled FROM flight WHERE id = d.flight OFFSET 0) f ON true
  CROSS JOIN LATERAL (SELECT CASE WHEN f.unsettled IS NOT NULL AND NOT d.delivered THEN (
    SELECT e.facts FROM entry e WHERE e.notification_id = d.id AND e.at = d.started_at AND e.kind = 'change') END AS facts OFFSET 0) c
  LEFT JOIN initiator i ON i.client_id = CASE WHEN NOT d.delivered THEN d.client_id END
), gone AS (
  DELETE FROM queue WHERE id = ANY (ARRAY(SELECT id FROM seen WHERE ours AND over AND flight IS NULL))
), again AS (
  UPDATE queue SET token = NULL, interaction_id = NULL, lease_until = NULL,
    due_at = ((SELECT jsonb_object_agg(id, next_at) FROM seen WHERE ours AND NOT over AND flight IS NULL) ->> id::text)::timestamptz
  WHERE id = ANY (ARRAY(SELECT id FROM seen WHERE ours AND NOT over AND flight IS NULL))
), queued AS (
  INSERT INTO queue (id, client_id, push_epoch, kind, resource_id, api_version, event, event_at, occurred_at, created_at, attempts, late, due_at)
  SELECT id, client_id, (change->>'pushEpoch')::bigint, kind, resource_id, change->>'apiVersion', coalesce(change->>'event', ''),
    (change->>'eventAt')::timestamptz, (change->>'occurredAt')::timestamptz, started_at, number, late, next_at
  FROM seen WHERE ours AND NOT over AND flight IS NOT NULL
), landed AS MATERIALIZED (
  SELECT flight, min(unsettled) - count(*) AS rest FROM seen WHERE ours AND flight IS NOT NULL GROUP BY flight
), over AS (
  DELETE FROM flight WHERE id = ANY (ARRAY(SELECT flight FROM landed WHERE rest <= 0))
), counted AS (
  UPDATE flight SET unsettled = ((SELECT jsonb_object_agg(flight, rest) FROM landed) ->> id::text)::int
  WHERE id = ANY (ARRAY(SELECT flight FROM landed WHERE rest > 0))
), noted AS (
  INSERT INTO entry (id, kind, client_id, resource_kind, resource_id, notification_id, number, outcome, closes, created_at, private, facts)
  SELECT s.entry, CASE WHEN s.ours THEN 'result' ELSE 'late-result' END, s.client_id, s.kind, s.resource_id, s.id, s.number,
    s.outcome, CASE WHEN s.ours AND s.over THEN s.closes END, CASE WHEN s.ours AND s.over AND NOT s.delivered THEN s.created_at END, s.private::json,
    (s.facts || ',"endedAt":' || to_json(s.ended_at)::text || CASE WHEN s.ours AND NOT s.over THEN ',"nextAt":' || to_json(s.next_at)::text ELSE '' END || '}')::json
  FROM seen s
  WHERE s.ours OR NOT EXISTS (
    SELECT FROM entry e WHERE e.notification_id = s.id AND e.number = s.number AND e.outcome = s.outcome AND e.facts->>'attempt' = s.token::text)
)
SELECT client_id, next_at - now() FROM seen WHERE ours AND NOT over`

// settleColumns gathers settlements column by column.
type settleColumns struct {
	id, token, flight, entry                  []pgtype.UUID
	outcome, facts, client, resource, private []string
	kind, number                              []int16
	delivered, late                           []bool
	ago, gap                                  []int64
	startedAt                                 []pgtype.Timestamptz
	flights, rows                             []pgtype.UUID // to be locked
}

// settlings are used again.
var settlings = make(spares[settleColumns], mostSpares)

// free ends the use of c.
func (c *settleColumns) free() {
	clear(c.facts)
	clear(c.private)
	*c = settleColumns{
		c.id[:0], c.token[:0], c.flight[:0], c.entry[:0], c.outcome[:0], c.facts[:0], c.client[:0], c.resource[:0], c.private[:0], c.kind[:0], c.number[:0],
		c.delivered[:0], c.late[:0], c.ago[:0], c.gap[:0], c.startedAt[:0], c.flights[:0], c.rows[:0],
	}
	settlings.give(c)
}

func (c *settleColumns) add(d notice.Settlement, facts, private string) {
	a, gap := d.Attempt, int64(-1)
	if next, again := notice.Next(a.Number, a.Manual); again {
		gap = next.Microseconds()
	}
	c.id, c.token, c.flight = append(c.id, ToUUID(a.Notification)), append(c.token, ToUUID(a.Token)), append(c.flight, ToUUID(a.Flight))
	c.outcome, c.private = append(c.outcome, string(d.Result.Outcome)), append(c.private, private)
	c.facts = append(c.facts, strings.TrimSuffix(facts, "}")) // the database adds members
	c.client, c.resource = append(c.client, string(a.Client)), append(c.resource, a.ResourceID)
	c.kind, c.number = append(c.kind, int16(a.Kind)), append(c.number, int16(a.Number))
	c.delivered, c.late = append(c.delivered, d.Result.Outcome.Success()), append(c.late, a.Late)
	c.gap, c.startedAt, c.entry = append(c.gap, gap), append(c.startedAt, ToTime(a.StartedAt)), append(c.entry, ToUUID(NewID()))
	if a.Flight.IsZero() {
		c.rows = append(c.rows, ToUUID(a.Notification))
	} else {
		c.flights = append(c.flights, ToUUID(a.Flight))
	}
}

// queue adds T3 to a batch; its last statement answers the lanes that have a follow-up.
func (c *settleColumns) queue(b *pgx.Batch) {
	if len(c.flights) > 0 {
		b.Queue(lockFlights, c.flights)
	}
	if len(c.rows) > 0 {
		b.Queue(lockRows, c.rows)
	}
	b.Queue(settleSQL, c.arguments()...)
}

// arguments are those of settleSQL.
func (c *settleColumns) arguments() []any {
	return []any{
		c.id, c.token, c.outcome, c.delivered, c.ago, c.gap, c.facts, c.client, c.kind, c.resource, c.number, c.private, c.flight, c.startedAt, c.late, c.entry,
	}
}

// Settle stores outcomes and what follows from them, for those whose lease is still ours; the others are kept as late
// entries. It answers the lanes that have a follow-up, and in how long it falls due.
func (s *Store) Settle(ctx context.Context, done []notice.Settlement) (lanes []notice.Lane, err error) {
	defer func() { _ = s.noteFault(actSettle, err) }()
	columns, err := s.settlements(done)
	if err != nil {
		return nil, err
	}
	defer columns.free()
	conn, err := s.dispatch.Acquire(ctx)
	if err != nil {
		return nil, Unavailable("take a dispatch connection", err)
	}
	defer conn.Release()
	now := time.Now()
	for _, d := range done {
		columns.ago = append(columns.ago, now.Sub(d.Result.EndedAt).Microseconds())
	}
	lanes, err = s.settleOn(ctx, conn, columns)
	return lanes, Unavailable("settle", err)
}

// settlements gathers them, without how long ago they ended.
func (s *Store) settlements(done []notice.Settlement) (*settleColumns, error) {
	columns := settlings.take()
	for _, d := range done {
		private, err := s.privateFacts(d.Result)
		if err != nil {
			return nil, err
		}
		facts := resultFacts(d, audit.Commit(private))
		text, err := appended(func(b []byte) ([]byte, error) { return facts.AppendJSON(b) })
		if err != nil {
			return nil, err
		}
		columns.add(d, text, private)
	}
	return columns, nil
}

// settleOn runs T3 in one round trip: in the transaction of conn, or else in one of its own.
func (s *Store) settleOn(ctx context.Context, conn batchSender, columns *settleColumns) (lanes []notice.Lane, err error) {
	batch := &pgx.Batch{}
	columns.queue(batch)
	results := sendBatch(ctx, conn, batch)
	defer func() { err = cmp.Or(err, results.Close()) }() // which reads how the commit ended
	for range batch.Len() - 1 {
		if _, err := results.Exec(); err != nil {
			return nil, err
		}
	}
	rows, _ := results.Query()
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (l notice.Lane, err error) {
		if err = row.Scan(&l.Client, &l.DueIn); err == nil && l.DueIn < 0 {
			s.looks.found(l.Client, -l.DueIn)
		}
		return l, err
	})
}

// resultFacts are the facts of an attempt's end, with the commitment to what the bank alone may see of it.
func resultFacts(d notice.Settlement, commitment string) history.ResultFacts {
	a, r := d.Attempt, d.Result
	return history.ResultFacts{
		Private: commitment, Number: a.Number, Attempt: a.Token.String(), URL: r.URL, HTTPStatus: r.HTTPStatus,
		Echo: r.Echo, TLS: seen(r), Reused: r.Reused, Remote: r.RemoteAddr,
		WaitedUS:  r.EndedAt.Sub(a.BeganAt).Microseconds() - r.Elapsed.Microseconds(),
		DialledUS: r.Dialled.Microseconds(), HandshakenUS: r.Handshaken.Microseconds(), FirstByteUS: r.FirstByteOut.Microseconds(),
		AnsweredUS: r.Answered.Microseconds(), ElapsedUS: r.Elapsed.Microseconds(),
	}
}

// seen is what is kept of the handshake. Serial number and end of the receiver's certificate stand in the result of the attempt that came
// first on the connection; its fingerprint stands in all, and is of the whole certificate.
func seen(r notice.Result) *notice.TLSFacts {
	if r.TLS == nil || !r.Reused {
		return r.TLS
	}
	again := *r.TLS
	again.PeerSerial, again.PeerNotAfter = "", time.Time{}
	return &again
}

// rescueSQL settles attempts of the queue whose lease ran out: nobody saw their end, so it is taken to be startedAt + timeout
// (D-8). It tells whether a flight's lease ran out as well, and the client of each notification that ended with its third attempt.
//
// $1 limit, $2 timeout, $3 second gap, $4 third gap, $5 system, $6 how many microseconds back to look (looks).
const rescueSQL = `
WITH lost AS MATERIALIZED (
  SELECT q.*, q.started_at + $2::interval AS ended_at, q.manual OR q.attempts >= 3 AS last,
    coalesce(NOT i.push OR i.push_epoch <> q.push_epoch, true) AS ended, ` + privateStart + `$5` + privateEnd + `
  FROM (SELECT * FROM queue WHERE token IS NOT NULL AND lease_until < now() AND lease_until >= now() - $6::bigint * interval '1 microsecond' ORDER BY lease_until LIMIT $1 FOR UPDATE SKIP LOCKED) q
  LEFT JOIN initiator i ON i.client_id = q.client_id
), gone AS (
  DELETE FROM queue WHERE id = ANY (ARRAY(SELECT id FROM lost WHERE last OR ended))
), again AS (
  UPDATE queue SET token = NULL, interaction_id = NULL, lease_until = NULL,
    due_at = started_at + $2::interval + CASE attempts WHEN 1 THEN $3::interval ELSE $4::interval END
  WHERE id = ANY (ARRAY(SELECT id FROM lost WHERE NOT (last OR ended))) RETURNING id, due_at
), noted AS (
  INSERT INTO entry (id, kind, client_id, resource_kind, resource_id, notification_id, number, outcome, closes, created_at, private, facts)
  SELECT gen_random_uuid(), 'result', l.client_id, l.kind, l.resource_id, l.id, l.attempts, 'unknown',
    CASE WHEN l.last THEN 'exhausted' WHEN l.ended THEN 'cancelled' END, CASE WHEN l.last OR l.ended THEN l.created_at END, private::json,
    json_build_object('private', ` + commitSQL + `, 'number', l.attempts, 'attempt', l.token,
      'detail', '` + history.LostDetail + `', 'endedAt', l.ended_at, 'nextAt', a.due_at)
  FROM lost l LEFT JOIN again a ON a.id = l.id
)
SELECT count(*), EXISTS (SELECT FROM flight WHERE lease_until < now() AND lease_until >= now() - $6::bigint * interval '1 microsecond'),
  coalesce(array_agg(client_id) FILTER (WHERE last AND NOT manual), '{}') FROM lost`

// Rescue settles up to limit attempts whose lease ran out as unknown and schedules what follows. It never sends. It returns how
// many there were, and the client of each notification that is given up, because the third attempt was among them.
func (s *Store) Rescue(ctx context.Context, limit int, timeout time.Duration) (n int, givenUp []notice.ClientID, err error) {
	second, _ := notice.Next(1, false)
	third, _ := notice.Next(2, false)
	asked := time.Now()
	back, full := s.lost.depth(asked)
	var flights bool
	err = s.dispatch.QueryRow(ctx, rescueSQL, limit, timeout, second, third, s.system, back.Microseconds()).Scan(&n, &flights, &givenUp)
	for flights && err == nil && n < limit {
		var rescued int
		rescued, flights, err = s.rescueFlights(ctx, back, timeout)
		n += rescued
	}
	if err != nil {
		s.lost.failed(full, time.Now())
		return 0, nil, Unavailable("rescue", err)
	}
	if full && n < limit { // or some are left
		s.lost.done(asked, time.Now(), nil)
	}
	if n > 0 { // what follows them may have fallen due long ago
		s.looks.forget()
	}
	return n, givenUp, nil
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
  DELETE FROM queue WHERE id = ANY (ARRAY(SELECT id FROM stale))
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
	err := s.dispatch.QueryRow(ctx, cancelSQL, limit, s.system).Scan(&n)
	return n, Unavailable("cancel what ended registrations left", err)
}
