package store

import (
	"context"
	"time"

	"github.com/arauto/arauto/internal/notice"
)

// claimSQL is T2. For each lane it takes first the late rows the lane's credit asks for, then what can still be on time,
// then more of the late, then what was asked for by hand; each oldest first. A row of another registration period is never even looked at.
// What it took is leased, numbered and recorded in the same statement. Rows that were asked for by hand have no step of their own in the
// index: the others pass over them, so few may wait (Log.Redeliver). They have no deadline, so they are never late.
//
// $1 lanes, $2 free, $3 late, $4 lease, $5 on-time window, $6 system, $7 and $8 why and for how
// many microseconds the lanes waited for a slot, "" and 0 when they did not, $9 how many microseconds back to look (looks).
const claimSQL = `
WITH want AS MATERIALIZED (
  SELECT w.client_id, w.free, w.late, w.held, w.held_us, now() - w.back_us * interval '1 microsecond' AS since, i.push_epoch, i.webhook_uris->>0 AS uri
  FROM unnest($1::text[], $2::int[], $3::int[], $7::text[], $8::bigint[], $9::bigint[]) AS w(client_id, free, late, held, held_us, back_us) JOIN initiator i ON i.client_id = w.client_id AND i.push
), picked AS MATERIALIZED (
  SELECT p.id FROM want w CROSS JOIN LATERAL (
    WITH late AS MATERIALIZED (
      SELECT q.id FROM queue q
      WHERE q.client_id = w.client_id AND q.push_epoch = w.push_epoch AND q.token IS NULL AND q.due_at >= w.since AND q.due_at <= now() - $5::interval AND NOT q.manual
      ORDER BY q.due_at, q.id LIMIT least(w.late, w.free) FOR UPDATE SKIP LOCKED
    ), fresh AS MATERIALIZED (
      SELECT q.id FROM queue q
      WHERE q.client_id = w.client_id AND q.push_epoch = w.push_epoch AND q.token IS NULL AND q.due_at <= now() AND q.due_at > now() - $5::interval AND NOT q.manual
      ORDER BY q.due_at, q.id LIMIT w.free - (SELECT count(*) FROM late) FOR UPDATE SKIP LOCKED
    ), more AS MATERIALIZED (
      SELECT q.id FROM queue q
      WHERE q.client_id = w.client_id AND q.push_epoch = w.push_epoch AND q.token IS NULL AND q.due_at >= w.since AND q.due_at <= now() - $5::interval AND NOT q.manual
        AND q.id <> ALL (ARRAY(SELECT id FROM late)) -- no OFFSET: what this statement locked itself is skipped already
      ORDER BY q.due_at, q.id
      LIMIT w.free - (SELECT count(*) FROM late) - (SELECT count(*) FROM fresh) FOR UPDATE SKIP LOCKED
    ), byhand AS MATERIALIZED (
      SELECT q.id FROM queue q
      WHERE q.client_id = w.client_id AND q.push_epoch = w.push_epoch AND q.token IS NULL AND q.due_at >= w.since AND q.due_at <= now() AND q.manual
      ORDER BY q.due_at, q.id
      LIMIT w.free - (SELECT count(*) FROM late) - (SELECT count(*) FROM fresh) - (SELECT count(*) FROM more) FOR UPDATE SKIP LOCKED
    )
    SELECT id FROM late UNION ALL SELECT id FROM fresh UNION ALL SELECT id FROM more UNION ALL SELECT id FROM byhand
  ) p
), claimed AS (
  UPDATE queue q SET token = gen_random_uuid(), interaction_id = gen_random_uuid(), started_at = now(), lease_until = now() + $4::interval,
    attempts = q.attempts + 1, late = NOT q.manual AND CASE WHEN q.attempts = 0 THEN now() > q.occurred_at + $5::interval ELSE q.late END
  WHERE q.id = ANY (ARRAY(SELECT id FROM picked)) -- no join (settleSQL); nor a word about tokens, which would invite a walk over queue_lane
  RETURNING q.*, (SELECT jsonb_object_agg(client_id, to_jsonb(w)) FROM want w) -> q.client_id AS lane, ` + privateStart + `$6` + privateEnd + `
), noted AS (
  INSERT INTO entry (id, kind, client_id, resource_kind, resource_id, notification_id, interaction_id, number, private, facts)
  SELECT token, 'attempt', client_id, kind, resource_id, id, interaction_id, attempts, private::json,
    json_strip_nulls(json_build_object('private', ` + commitSQL + `, 'scheduledAt', due_at, 'late', late, 'base', lane->>'uri', 'manual', manual,
      'held', nullif(lane->>'held', ''), 'heldMicros', nullif((lane->>'held_us')::bigint, 0)))
  FROM claimed
)
SELECT id, token, interaction_id, client_id, kind, resource_id, api_version, event, event_at, attempts, manual, lane->>'uri', due_at, started_at, late FROM claimed`

// Claim leases due attempts of the lanes asked for and records them as started, committed before it returns. Nothing
// has been sent yet.
func (s *Store) Claim(ctx context.Context, requests []notice.ClaimRequest, lease time.Duration) ([]notice.Attempt, error) {
	return s.claim(ctx, requests, lease, notice.FirstWithin)
}

// claim is Claim with a time within which an attempt is not late.
func (s *Store) claim(ctx context.Context, requests []notice.ClaimRequest, lease, within time.Duration) (out []notice.Attempt, err error) {
	defer func() { _ = s.noteFault(actClaim, err) }()
	clients, free, late := make([]string, len(requests)), make([]int32, len(requests)), make([]int32, len(requests))
	held, heldUS, back := make([]string, len(requests)), make([]int64, len(requests)), make([]int64, len(requests))
	asked := time.Now()
	for i, w := range requests {
		clients[i], free[i], late[i] = string(w.Client), int32(w.Free), int32(w.Late)
		held[i], heldUS[i], back[i] = string(w.Held), w.HeldFor.Microseconds(), s.looks.of(w.Client, asked).Microseconds()
	}
	out, err = All(ctx, s.dispatch, func(a *notice.Attempt) []any {
		a.ClaimedAt, a.BeganAt = asked, asked
		return []any{
			&a.Notification, &a.Token, &a.Interaction, &a.Client, &a.Kind, &a.ResourceID, &a.APIVersion, (*string)(&a.Event), &a.EventAt, &a.Number, &a.Manual,
			&a.BaseURI, &a.ScheduledAt, &a.StartedAt, &a.Late,
		}
	}, claimSQL, clients, free, late, lease, within, s.system, held, heldUS, back)
	return out, Unavailable("claim", err)
}

// waitingSQL asks each registered lane for its earliest row: one index probe a lane.
//
// $1 how many microseconds back to look, except in the lanes that $2 names.
const waitingSQL = `
SELECT i.client_id, q.due_at - now() FROM initiator i` + earliestOfLane

// queuedSQL is waitingSQL for the lanes that the queue names. It steps through the index from one lane to the next, so it costs
// by the lanes that wait, and by the dead entries that it passes over, and not by those that are registered.
const queuedSQL = `
WITH RECURSIVE lane AS (
  (SELECT client_id FROM queue WHERE token IS NULL ORDER BY client_id, push_epoch, due_at, id LIMIT 1)
  UNION ALL
  SELECT n.client_id FROM lane CROSS JOIN LATERAL (
    SELECT client_id FROM queue WHERE token IS NULL AND client_id > lane.client_id ORDER BY client_id, push_epoch, due_at, id LIMIT 1
  ) n
)
SELECT i.client_id, q.due_at - now() FROM lane JOIN initiator i ON i.client_id = lane.client_id` + earliestOfLane

// earliestOfLane is the end of both. $2 is an object, whose members are found by search: a list would be walked for each lane.
const earliestOfLane = `
CROSS JOIN LATERAL (
  SELECT due_at FROM queue WHERE client_id = i.client_id AND push_epoch = i.push_epoch AND token IS NULL
    AND due_at >= now() - coalesce(($2::jsonb ->> i.client_id)::bigint, $1::bigint) * interval '1 microsecond' ORDER BY due_at, id LIMIT 1
) q WHERE i.push`

// Waiting lists the lanes with unleased work under their present registration, and how long until the earliest of it
// falls due, by the database's clock; 0 or less means now. Work that appeared long after it fell due may be missing for
// some seconds (looks).
func (s *Store) Waiting(ctx context.Context) (out []notice.Lane, err error) {
	asked := time.Now()
	full := s.looks.full(asked)
	sql := waitingSQL
	if !full && s.looks.manyRegistered() {
		sql = queuedSQL
	}
	defer func() {
		switch {
		case err != nil:
			s.looks.failed(full, time.Now())
		case full:
			s.looks.done(asked, time.Now(), out)
		case sql == queuedSQL:
			s.looks.queued(time.Since(asked))
		}
	}()
	usual, lanes := everything, "{}"
	if !full {
		usual, lanes = s.looks.usual(asked), s.looks.lanes(asked)
	}
	out, err = All(ctx, s.dispatch, lanePlaces, sql, usual.Microseconds(), lanes)
	return out, Unavailable("list waiting lanes", err)
}

func lanePlaces(l *notice.Lane) []any { return []any{&l.Client, &l.DueIn} }
