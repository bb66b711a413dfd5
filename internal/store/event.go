package store

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/arauto/arauto/internal/history"
)

// actorOfEvents is who opens and ends events: the product itself.
const actorOfEvents = "arauto"

// sightSQL adds a sighting to the open event of its key, or opens it and records that. One that is over and not told yet goes
// on; if somebody was told of its end, everybody is told anew.
const sightSQL = `
WITH seen AS (
  INSERT INTO operator_event AS e (key, kind, subject, detail, count, quiet) VALUES ($1, $2, $3, $4, $5, $6)
  ON CONFLICT (key) DO UPDATE SET last_at = now(), over_at = NULL, count = e.count + EXCLUDED.count, detail = EXCLUDED.detail, quiet = EXCLUDED.quiet,
    told = CASE WHEN EXISTS (SELECT FROM unnest(e.told) t WHERE t LIKE 'over:%') THEN '{}' ELSE e.told END
  RETURNING xmax = 0 AS opened
), noted AS (
  INSERT INTO entry (id, kind, outcome, facts) SELECT $7, '` + history.FactAdmin + `', '` + history.ActEventOpened + `', $8::json FROM seen WHERE opened
)
SELECT opened FROM seen`

// SightEvent adds a sighting to the trouble that is open under its key, and tells whether it opened it.
func (s *Store) SightEvent(ctx context.Context, x history.Sighting) (opened bool, err error) {
	facts, err := Facts(adminFacts{System: s.system, Actor: actorOfEvents, Act: history.ActEventOpened, Object: x.Key(), Reason: x.Detail})
	if err != nil {
		return false, err
	}
	quiet := pgtype.Interval{Microseconds: x.Quiet.Microseconds(), Valid: true}
	err = s.query.QueryRow(ctx, sightSQL, x.Key(), string(x.Kind), x.Subject, x.Detail, max(1, x.Count), quiet, ToUUID(NewID()), facts).Scan(&opened)
	return opened, Unavailable("record an event", err)
}

// EndEvents ends the troubles that nobody has seen for their quiet time, records each end, and returns how many there were.
func (s *Store) EndEvents(ctx context.Context) (n int, err error) {
	err = pgx.BeginFunc(ctx, s.query, func(tx pgx.Tx) error {
		rows, _ := tx.Query(ctx, "UPDATE operator_event SET over_at = now(), next_at = now() WHERE over_at IS NULL AND last_at < now() - quiet RETURNING key, detail")
		over, err := pgx.CollectRows(rows, pgx.RowToStructByPos[struct{ Key, Detail string }])
		if err != nil {
			return err
		}
		for _, e := range over {
			facts, err := Facts(adminFacts{System: s.system, Actor: actorOfEvents, Act: history.ActEventOver, Object: e.Key, Reason: e.Detail})
			if err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, "INSERT INTO entry (id, kind, outcome, facts) VALUES ($1, $2, $3, $4::json)", ToUUID(NewID()), history.FactAdmin, history.ActEventOver, facts); err != nil {
				return err
			}
		}
		n = len(over)
		return nil
	})
	return n, Unavailable("end events", err)
}

const eventColumns = "key, kind, subject, detail, count, opened_at, last_at, over_at, told"

func eventPlaces(e *history.OperatorEvent) []any {
	return []any{&e.Key, &e.Kind, &e.Subject, &e.Detail, &e.Count, &e.OpenedAt, &e.LastAt, &e.OverAt, &e.Told}
}

// TakeEvent leases an event that somebody must be told of by one of the ways, for as long as given; nil when there is none.
// Other replicas leave it alone meanwhile.
func (s *Store) TakeEvent(ctx context.Context, ways []string, lease time.Duration) (*history.OperatorEvent, error) {
	open := make([]string, len(ways))
	for i, way := range ways {
		open[i] = "open:" + way
	}
	e, err := One(ctx, s.query, eventPlaces, `UPDATE operator_event SET lease_until = now() + $2::interval WHERE key = (
  SELECT key FROM operator_event WHERE next_at <= now() AND coalesce(lease_until <= now(), true) AND (over_at IS NOT NULL OR NOT told @> $1::text[])
  ORDER BY opened_at, key LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING `+eventColumns, open, lease)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	return &e, Unavailable("take an event", err)
}

// ToldEvent ends the lease of an event and keeps who was told of it. done removes it, if it did not begin again meanwhile;
// otherwise the rest is tried again after a while. Who was told of the end of one that began again is told anew.
func (s *Store) ToldEvent(ctx context.Context, e *history.OperatorEvent, again time.Duration, done bool) error {
	_, err := s.query.Exec(ctx, `WITH gone AS (DELETE FROM operator_event WHERE key = $1 AND $4 AND over_at IS NOT NULL RETURNING 1)
UPDATE operator_event SET told = CASE WHEN $5 AND over_at IS NULL THEN '{}' ELSE $2::text[] END, lease_until = NULL, next_at = now() + $3::interval
WHERE key = $1 AND NOT EXISTS (SELECT FROM gone)`, e.Key, e.Told, again, done, !e.OverAt.IsZero())
	return Unavailable("keep who was told of an event", err)
}

// OpenEvents lists the troubles that are open or not told yet, the oldest first.
func (s *Store) OpenEvents(ctx context.Context) ([]history.OperatorEvent, error) {
	out, err := All(ctx, s.query, eventPlaces, "SELECT "+eventColumns+" FROM operator_event ORDER BY opened_at, key LIMIT 1000")
	return out, Unavailable("list events", err)
}
