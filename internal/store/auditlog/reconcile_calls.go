package auditlog

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/store"
)

// callsLate is how long after its query a poll's entry is looked for: it may have waited on a replica's disk.
const callsLate = 48 * time.Hour

// Calls hands over the status queries that came within a period, in the order in which they were recorded. A query whose
// record is written later than two days after it is missing.
func (i *Inspector) Calls(ctx context.Context, from, to time.Time, each func(*notice.Poll) error) error {
	err := i.sweep(ctx, from.Add(-sweepSlack), to.Add(callsLate), func(tx pgx.Tx, p piece) error {
		rows, err := tx.Query(ctx, "SELECT p.id, p.interaction_id, p.client_id, p.resource_kind, p.resource_id, p.facts::text FROM entry p"+
			" WHERE p.kind = 'poll' AND "+p.where()+" ORDER BY p.ctid", p.from, p.to)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			poll, err := scanPoll(rows)
			if err != nil {
				return err
			}
			if poll.At.Before(from) || !poll.At.Before(to) {
				continue
			}
			if err := each(poll); err != nil {
				return err
			}
		}
		return rows.Err()
	})
	return store.Unavailable("list status queries", err)
}

func scanPoll(rows pgx.Rows) (*notice.Poll, error) {
	var id, interaction pgtype.UUID
	var client, resource pgtype.Text
	var kind pgtype.Int2
	var text string
	if err := rows.Scan(&id, &interaction, &client, &kind, &resource, &text); err != nil {
		return nil, err
	}
	p := &notice.Poll{
		ID: store.FromUUID(id), Interaction: store.FromUUID(interaction), Client: notice.ClientID(client.String), Kind: ofb.Kind(kind.Int16), ResourceID: resource.String,
	}
	if err := json.Unmarshal([]byte(text), &p.Facts); err != nil {
		return nil, fmt.Errorf("facts of poll %s: %w", p.ID, err)
	}
	p.At = p.Facts.ReceivedAt
	return p, nil
}
