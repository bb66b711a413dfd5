package auditlog

import (
	"context"
	"time"

	"github.com/arauto/arauto/internal/figures"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/store"
)

// pollingSQL lists what happened to each resource in a period, resource by resource, in the order of time. A status query happened when it
// was read, as its replica's clock has it. Those of lists show no state and are left out, as are calls of the extension.
const pollingSQL = `SELECT v.client_id, v.resource_kind, v.resource_id, v.kind, v.happened, v.status FROM (
  SELECT e.client_id, e.resource_kind, e.resource_id, e.kind, e.id, coalesce(e.facts->>'status', '') AS status,
    CASE WHEN e.kind = 'poll' THEN (e.facts->>'receivedAt')::timestamptz ELSE e.at END AS happened
  FROM entry e WHERE e.at >= $1 AND e.at < $2 AND e.client_id IS NOT NULL AND e.resource_kind IS NOT NULL AND e.resource_id IS NOT NULL
    AND (e.kind = 'change' OR e.kind = 'result' AND e.closes = 'delivered' OR e.kind = 'poll' AND e.outcome = '200' AND e.facts->>'status' <> '')
) v ORDER BY v.client_id, v.resource_kind, v.resource_id, v.happened, v.id`

// Polling is Inspector.Polling over the pool that reads.
func (l *Log) Polling(ctx context.Context, from, to time.Time) (figures.PollingReport, error) {
	return l.Inspector().Polling(ctx, from, to)
}

// Polling sums the status queries of a period by client, and what pushes saved of them (docs/polling.md). The database sorts the
// period's entries, so it needs room on disk for them: some 150 bytes an entry.
func (i *Inspector) Polling(ctx context.Context, from, to time.Time) (figures.PollingReport, error) {
	rows, err := i.db.Query(ctx, pollingSQL, from, to)
	if err != nil {
		return figures.PollingReport{}, store.Unavailable("read status queries", err)
	}
	defer rows.Close()
	var sums figures.Polling
	for rows.Next() {
		var client, resource, kind, status string
		var of int16
		var at time.Time
		if err := rows.Scan(store.Columns(&client, &of, &resource, &kind, &at, &status)...); err != nil {
			return figures.PollingReport{}, store.Unavailable("read status queries", err)
		}
		f := figures.PollingFact{
			At: at, Client: notice.ClientID(client), Key: notice.Key{Kind: ofb.Kind(of), ID: resource}, Status: ofb.Status(status),
		}
		switch kind {
		case history.FactResult:
			f.What = figures.PollingPush
		case history.FactPoll:
			f.What = figures.PollingQuery
		}
		sums.Add(f)
	}
	if err := rows.Err(); err != nil {
		return figures.PollingReport{}, store.Unavailable("read status queries", err)
	}
	out := sums.Report()
	out.Whole, err = i.WholeSince(ctx)
	return out, err
}
