package auditlog

import (
	"context"
	"encoding/json"
	"slices"

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

// startsCompared is how many starts before those that are listed are looked through for the start before of the same replica: most replicas have a
// new name at each start.
const startsCompared = 100

// Starts lists the newest starts of replicas, newest first, at most limit, each with what differs from that replica's start before. Entries whose facts
// cannot be read, which no replica writes, are left out: the search of the history marks them.
func (l *Log) Starts(ctx context.Context, limit int) ([]history.RecordedStart, error) {
	rows, _ := l.query.Query(ctx, "SELECT at, facts::text FROM entry WHERE kind = '"+history.FactStart+"' ORDER BY at DESC LIMIT $1", limit+startsCompared)
	var all []history.RecordedStart
	var s history.RecordedStart
	var text string
	_, err := pgx.ForEachRow(rows, store.Columns(&s.At, &text), func() error {
		if s.StartFacts = (history.StartFacts{}); json.Unmarshal([]byte(text), &s.StartFacts) == nil {
			all = append(all, s)
		}
		return nil
	})
	out := all[:min(limit, len(all))]
	for i := range out {
		earlier := all[i+1:]
		n := slices.IndexFunc(earlier, func(e history.RecordedStart) bool { return e.Replica == out[i].Replica })
		if n >= 0 {
			out[i].Differs = out[i].Since(&earlier[n].StartFacts)
		}
	}
	return out, store.Unavailable("list starts", err)
}

// Reloads lists what replicas read again while they ran, newest first, at most limit, as Starts does.
func (l *Log) Reloads(ctx context.Context, limit int) (out []history.RecordedReload, err error) {
	rows, _ := l.query.Query(ctx, "SELECT at, outcome, facts::text FROM entry WHERE kind = '"+history.FactReload+"' ORDER BY at DESC LIMIT $1", limit)
	var r history.RecordedReload
	var text string
	_, err = pgx.ForEachRow(rows, store.Columns(&r.At, &r.Outcome, &text), func() error {
		if r.ReloadFacts = (history.ReloadFacts{}); json.Unmarshal([]byte(text), &r.ReloadFacts) == nil {
			out = append(out, r)
		}
		return nil
	})
	return out, store.Unavailable("list reloads", err)
}
