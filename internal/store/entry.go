package store

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

// entryRow is one fact before it gets its time and transaction from the database.
type entryRow struct {
	id           notice.ID
	kind         string
	client       notice.ClientID
	resourceKind ofb.Kind // 0: none
	resourceID   string
	revision     int64
	notification notice.ID
	change       notice.ID
	interaction  notice.ID
	number       int
	outcome      string
	private      string
	facts        string
}

// entryColumns gathers entries column by column, so that one statement stores them all.
type entryColumns struct {
	id, notification, change, interaction []pgtype.UUID
	kind, facts                           []string
	client, resourceID, outcome, private  []pgtype.Text
	resourceKind, number                  []pgtype.Int2
	revision                              []pgtype.Int8
}

func (c *entryColumns) add(e entryRow) {
	c.id = append(c.id, ToUUID(e.id))
	c.kind = append(c.kind, e.kind)
	c.client = append(c.client, ToText(string(e.client)))
	c.resourceKind = append(c.resourceKind, pgtype.Int2{Int16: int16(e.resourceKind), Valid: e.resourceKind != 0})
	c.resourceID = append(c.resourceID, ToText(e.resourceID))
	c.revision = append(c.revision, pgtype.Int8{Int64: e.revision, Valid: e.revision != 0})
	c.notification = append(c.notification, ToUUID(e.notification))
	c.change = append(c.change, ToUUID(e.change))
	c.interaction = append(c.interaction, ToUUID(e.interaction))
	c.number = append(c.number, pgtype.Int2{Int16: int16(e.number), Valid: e.number != 0})
	c.outcome = append(c.outcome, ToText(e.outcome))
	c.private = append(c.private, ToText(e.private))
	c.facts = append(c.facts, e.facts)
}

// emptied are no rows, with the room of those they had.
func (c *entryColumns) emptied() entryColumns {
	clear(c.facts)
	clear(c.private)
	return entryColumns{
		c.id[:0], c.notification[:0], c.change[:0], c.interaction[:0], c.kind[:0], c.facts[:0], c.client[:0], c.resourceID[:0], c.outcome[:0], c.private[:0],
		c.resourceKind[:0], c.number[:0], c.revision[:0],
	}
}

var insertEntries = `
INSERT INTO entry (id, kind, client_id, resource_kind, resource_id, revision, notification_id, change_id, interaction_id, number, outcome, private, facts)
SELECT id, kind, client_id, resource_kind, resource_id, revision, notification_id, change_id, interaction_id, number, outcome, private::json, facts::json
FROM ` + rowsOf("id uuid", "kind text", "client_id text", "resource_kind smallint", "resource_id text", "revision bigint", "notification_id uuid",
	"change_id uuid", "interaction_id uuid", "number smallint", "outcome text", "private text", "facts text") + ` AS e`

func (c *entryColumns) queue(b *pgx.Batch) {
	if len(c.id) > 0 {
		b.Queue(insertEntries, c.id, c.kind, c.client, c.resourceKind, c.resourceID, c.revision, c.notification, c.change, c.interaction, c.number, c.outcome, c.private, c.facts)
	}
}

// Facts makes the facts of an entry: what is not searched for, as JSON. Names of members are part of the audit format.
func Facts(v any) (string, error) {
	if a, fast := v.(interface{ AppendJSON([]byte) ([]byte, error) }); fast {
		return appended(a.AppendJSON)
	}
	b, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("encode facts: %w", err)
	}
	return string(b), nil
}

// appended is Facts of what write appends. Facts that are no value of an interface are no object of their own.
func appended(write func([]byte) ([]byte, error)) (string, error) {
	room, _ := factsRoom.Get().(*[]byte)
	defer factsRoom.Put(room)
	b, err := write((*room)[:0])
	if err != nil {
		return "", fmt.Errorf("encode facts: %w", err)
	}
	*room = b
	return string(b), nil
}

// factsRoom holds buffers in which facts are written.
var factsRoom = sync.Pool{New: func() any { b := make([]byte, 0, 1024); return &b }}

// CallerOf is who calls us, where somebody does.
func CallerOf(ctx context.Context) history.Actor {
	c, _ := ctx.Value(history.ActorKey{}).(history.Actor)
	return c
}
