package auditlog

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/store"
)

// acknowledgeSQL records what is new of what a client says of its notifications, and tells of each, in their order, whether there is
// such a notification and whether an entry was made.
const acknowledgeSQL = `
WITH said AS (SELECT * FROM unnest($2::uuid[], $3::uuid[], $4::text[], $5::text[]) WITH ORDINALITY AS v(id, notification, outcome, facts, n)),
mine AS (SELECT s.*, a.resource_kind, a.resource_id FROM said s
  JOIN entry a ON a.notification_id = s.notification AND a.client_id = $1 AND a.kind IN ('change', 'decision', 'resend')),
fresh AS (INSERT INTO entry (id, kind, client_id, resource_kind, resource_id, notification_id, outcome, facts)
  SELECT m.id, $6, $1, m.resource_kind, m.resource_id, m.notification, m.outcome, m.facts::json FROM mine m
  LEFT JOIN LATERAL (SELECT k.outcome, k.facts->>'code' AS code, k.facts->>'description' AS description FROM entry k
    WHERE k.notification_id = m.notification AND k.kind = $6 ORDER BY k.xid DESC LIMIT 1) last ON true
  WHERE (last.outcome, last.code, last.description) IS DISTINCT FROM (m.outcome, m.facts::json->>'code', m.facts::json->>'description')
  RETURNING id)
SELECT m.id IS NOT NULL, f.id IS NOT NULL FROM said s LEFT JOIN mine m USING (n) LEFT JOIN fresh f ON f.id = s.id ORDER BY s.n`

// Acknowledge records what a client says of its notifications: an entry for each that is its own and of which it did not say the same
// last. So the newest entry is the client's last word. The results are in the order of what was said. Each notification may be named once in a call.
//
// It returns ErrUnavailable when the database does not answer; then a repetition is safe.
func (l *Log) Acknowledge(ctx context.Context, client notice.ClientID, said []history.Acknowledgement) ([]history.AckResult, error) {
	ids, notifications := make([]pgtype.UUID, len(said)), make([]pgtype.UUID, len(said))
	outcomes, facts := make([]string, len(said)), make([]string, len(said))
	for n, one := range said {
		text, err := store.Facts(history.AckFacts{System: l.system, Remote: store.CallerOf(ctx).Source, Code: one.Code, Description: one.Description})
		if err != nil {
			return nil, err
		}
		ids[n], notifications[n], outcomes[n], facts[n] = store.ToUUID(store.NewID()), store.ToUUID(one.Notification), one.Outcome, text
	}
	var results []history.AckResult
	err := pgx.BeginFunc(ctx, l.query, func(tx pgx.Tx) error {
		results = make([]history.AckResult, 0, len(said))
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", "arauto acknowledge "+string(client)); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, acknowledgeSQL, string(client), ids, notifications, outcomes, facts, history.FactAcknowledged)
		if err != nil {
			return err
		}
		var mine, fresh bool
		_, err = pgx.ForEachRow(rows, []any{&mine, &fresh}, func() error {
			result := history.AckUnknown
			if mine {
				if result = history.AckKnown; fresh {
					result = history.AckRecorded
				}
			}
			results = append(results, result)
			return nil
		})
		return err
	})
	if err != nil {
		return nil, store.Unavailable("record acknowledgements", err)
	}
	return results, nil
}
