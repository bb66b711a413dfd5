package auditlog

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/store"
)

// callsLate is how long after its query a poll's entry is looked for: it may have waited on a replica's disk.
const callsLate = 48 * time.Hour

// Calls hands over the status queries that came within a period, in the order in which they were recorded. A query whose
// record is written later than two days after it is missing.
func (i *Inspector) Calls(ctx context.Context, from, to time.Time, each func(*notice.Poll) error) error {
	err := i.sweep(ctx, from.Add(-sweepSlack), to.Add(callsLate), func(tx pgx.Tx, p piece) error {
		rows, _ := tx.Query(ctx, "SELECT p.id, p.interaction_id, p.client_id, p.resource_kind, p.resource_id, p.facts::text FROM entry p"+
			" WHERE p.kind = 'poll' AND "+p.where()+" ORDER BY p.ctid", p.from, p.to)
		var read notice.Poll
		var text string
		_, err := pgx.ForEachRow(rows, store.Columns(&read.ID, &read.Interaction, &read.Client, &read.Kind, &read.ResourceID, &text), func() error {
			poll := read
			if err := json.Unmarshal([]byte(text), &poll.Facts); err != nil {
				return fmt.Errorf("facts of poll %s: %w", poll.ID, err)
			}
			if poll.At = poll.Facts.ReceivedAt; poll.At.Before(from) || !poll.At.Before(to) {
				return nil
			}
			return each(&poll)
		})
		return err
	})
	return store.Unavailable("list status queries", err)
}
