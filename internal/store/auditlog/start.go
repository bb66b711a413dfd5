package auditlog

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/store"
)

// recordStartSQL adds an entry unless it is there: the answer to an earlier try may have been lost. It looks back to when the entry was made, and an
// hour more, for clocks that differ. Two tries at the same time may both add it.
const recordStartSQL = `INSERT INTO entry (id, kind, outcome, facts) SELECT $1, $2, $3, $4::json
WHERE NOT EXISTS (SELECT FROM entry WHERE kind IN ('` + history.FactStart + `', '` + history.FactReload + `') AND at > $5::timestamptz - interval '1 hour' AND id = $1)`

// RecordStartEntry writes an entry of what a replica runs with. After a retry with the same entry it is there at least once, and once where the
// earlier try had ended.
func (l *Log) RecordStartEntry(ctx context.Context, e history.StartEntry) error {
	text, err := store.Facts(e.Facts)
	if err != nil {
		return err
	}
	_, err = l.query.Exec(ctx, recordStartSQL, store.ToUUID(e.ID), e.Kind, e.Outcome, text, e.Made)
	return store.Unavailable("record what this replica runs with", err)
}

// startsSQL finds starts with the start before, of the same replica, among a bounded number: most replicas have a new name at each start.
const startsSQL = `SELECT s.at, s.facts::text, coalesce((SELECT p.facts::text
  FROM (SELECT at, facts FROM entry WHERE kind = '` + history.FactStart + `' AND at < s.at ORDER BY at DESC LIMIT 100) p
  WHERE p.facts->>'replica' = s.facts->>'replica' ORDER BY p.at DESC LIMIT 1), '')
FROM (SELECT at, facts FROM entry WHERE kind = '` + history.FactStart + `' ORDER BY at DESC LIMIT $1) s ORDER BY s.at DESC`

// Starts lists the newest starts of replicas, newest first, at most limit, each with what differs from that replica's start before.
func (l *Log) Starts(ctx context.Context, limit int) ([]history.RecordedStart, error) {
	rows, _ := l.query.Query(ctx, startsSQL, limit)
	out, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (s history.RecordedStart, err error) {
		var text, earlier string
		if err := row.Scan(store.Columns(&s.At, &text, &earlier)...); err != nil {
			return s, err
		}
		if err := json.Unmarshal([]byte(text), &s.StartFacts); err != nil {
			return s, fmt.Errorf("facts of a start: %w", err)
		}
		if earlier == "" {
			return s, nil
		}
		var before history.StartFacts
		if err := json.Unmarshal([]byte(earlier), &before); err != nil {
			return s, fmt.Errorf("facts of a start: %w", err)
		}
		s.Differs = s.Since(&before)
		return s, nil
	})
	return out, store.Unavailable("list starts", err)
}

// Reloads lists what replicas read again while they ran, newest first, at most limit.
func (l *Log) Reloads(ctx context.Context, limit int) ([]history.RecordedReload, error) {
	rows, _ := l.query.Query(ctx, "SELECT at, outcome, facts::text FROM entry WHERE kind = '"+history.FactReload+"' ORDER BY at DESC LIMIT $1", limit)
	out, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (r history.RecordedReload, err error) {
		var text string
		if err := row.Scan(store.Columns(&r.At, &r.Outcome, &text)...); err != nil {
			return r, err
		}
		if err := json.Unmarshal([]byte(text), &r.ReloadFacts); err != nil {
			return r, fmt.Errorf("facts of a reload: %w", err)
		}
		return r, nil
	})
	return out, store.Unavailable("list reloads", err)
}
