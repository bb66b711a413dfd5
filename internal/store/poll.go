package store

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/arauto/arauto/internal/notice"
)

// Polls are written under an advisory lock of their replica: shared by ordinary commits, alone by a replay. So a replay
// sees what became of every commit before it, also of one whose answer was lost; and what it replayed is named in
// poll_replayed, so that a commit that was overtaken leaves those out. Both ends together make a poll appear once, and so
// does DISTINCT where one batch names it twice: two rows of one id would have one place in the log.
const (
	lockPolls  = "SELECT pg_advisory_xact_lock_shared($1)"
	lockReplay = "SELECT pg_advisory_xact_lock($1)"

	forgetReplayed = "DELETE FROM poll_replayed WHERE at < now() - interval '1 day'"
)

var (
	pollArrays = `
FROM ` + rowsOf("id uuid", "client_id text", "resource_kind smallint", "resource_id text", "interaction_id uuid", "outcome text", "facts text",
		"received_at timestamptz") + " AS v"

	insertPolls = `
INSERT INTO entry (id, kind, client_id, resource_kind, resource_id, interaction_id, outcome, facts)
SELECT DISTINCT ON (id) id, 'poll', client_id, resource_kind, resource_id, interaction_id, outcome, facts::json` + pollArrays + `
WHERE NOT EXISTS (SELECT FROM poll_replayed p WHERE p.id = v.id OFFSET 0)` // no join (settleSQL): the table is mostly empty

	// What an ordinary commit stored is looked for where it can be: by interaction id, around the time of the request.
	replayPolls = `
WITH fresh AS (
  INSERT INTO poll_replayed (id) SELECT DISTINCT v.id` + pollArrays + `
  WHERE NOT EXISTS (SELECT FROM entry e WHERE e.interaction_id = v.interaction_id AND e.id = v.id
    AND e.at BETWEEN v.received_at - interval '1 day' AND v.received_at + interval '1 day')
  ON CONFLICT DO NOTHING RETURNING id
)
INSERT INTO entry (id, kind, client_id, resource_kind, resource_id, interaction_id, outcome, facts)
SELECT DISTINCT ON (id) id, 'poll', client_id, resource_kind, resource_id, interaction_id, outcome, facts::json` + pollArrays + `
JOIN fresh USING (id)`
)

// pollColumns gathers polls column by column.
type pollColumns struct {
	id, interaction           []pgtype.UUID
	client, resource, outcome []pgtype.Text
	kind                      []pgtype.Int2
	facts                     []string
	at                        []pgtype.Timestamptz
}

func (c *pollColumns) add(p *notice.Poll, system string) error {
	f := p.Facts
	f.System = system
	text, err := json.Marshal(f)
	if err != nil {
		return fmt.Errorf("encode a poll: %w", err)
	}
	c.id, c.interaction = append(c.id, ToUUID(p.ID)), append(c.interaction, ToUUID(p.Interaction))
	c.client, c.resource = append(c.client, ToText(string(p.Client))), append(c.resource, ToText(p.ResourceID))
	c.kind = append(c.kind, pgtype.Int2{Int16: int16(p.Kind), Valid: p.Kind != 0})
	c.outcome, c.facts = append(c.outcome, ToText(fmt.Sprint(f.HTTPStatus))), append(c.facts, string(text))
	c.at = append(c.at, ToTime(p.At))
	return nil
}

func (c *pollColumns) arguments() []any {
	return []any{c.id, c.client, c.kind, c.resource, c.interaction, c.outcome, c.facts, c.at}
}

// RecordPolls stores polls as entries of the history in one transaction. fence names whose spool stands behind the
// caller: the same number in RecordPolls and ReplayPolls, different in every replica. A nil error means that they are
// committed. ErrUnavailable means that nothing is known: they may yet be committed, and must be replayed.
func (s *Store) RecordPolls(ctx context.Context, fence int64, polls []notice.Poll) error {
	return s.storePolls(ctx, fence, polls, pollStatements{lock: lockPolls, insert: insertPolls})
}

// ReplayPolls stores polls of which nobody knows whether they were committed before; those that were stay as they are.
func (s *Store) ReplayPolls(ctx context.Context, fence int64, polls []notice.Poll) error {
	return s.storePolls(ctx, fence, polls, pollStatements{lock: lockReplay, insert: replayPolls, forget: forgetReplayed})
}

// pollStatements are the statements of a transaction that stores polls.
type pollStatements struct {
	lock, insert string
	forget       string // ends a replay; "": it is none
}

func (s *Store) storePolls(ctx context.Context, fence int64, polls []notice.Poll, with pollStatements) error {
	var columns pollColumns
	for i := range polls {
		if err := columns.add(&polls[i], s.system); err != nil {
			return err
		}
	}
	conn, err := s.status.Acquire(ctx)
	if err != nil {
		return s.noteFault(actPoll, Unavailable("take a status connection", err))
	}
	defer conn.Release()
	batch := &pgx.Batch{}
	batch.Queue("begin")
	batch.Queue(with.lock, fence)
	batch.Queue(with.insert, columns.arguments()...)
	if with.forget != "" {
		batch.Queue(with.forget)
	}
	batch.Queue("commit")
	if err := sendAll(ctx, conn, batch); err != nil {
		rollback(conn)
		return s.noteFault(actPoll, s.blame(conn, fmt.Sprintf("record %d polls", len(polls)), len(polls), err))
	}
	return s.noteFault(actPoll, nil)
}

// sendAll runs a batch of statements that yield nothing of interest.
func sendAll(ctx context.Context, conn *pgxpool.Conn, batch *pgx.Batch) error {
	results := sendBatch(ctx, conn, batch)
	for range batch.Len() {
		if _, err := results.Exec(); err != nil {
			_ = results.Close()
			return err
		}
	}
	return results.Close()
}
