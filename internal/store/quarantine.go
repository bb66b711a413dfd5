package store

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"gorm.io/gorm"

	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

// quarantineColumns put changes aside: one row for each (kind, id, revision, content), with a counter.
type quarantineColumns struct {
	id             []pgtype.UUID
	kind, resource []string
	revision       []int64
	hash, line     [][]byte
	client, source []string
	problems       []string
	applied        []bool // the case itself was applied again: it did not come once more
}

func (q *quarantineColumns) add(c *notice.Change, problems []notice.Problem) error {
	text, err := json.Marshal(problems)
	if err != nil {
		return fmt.Errorf("encode the problems of a change: %w", err)
	}
	hash := sha256.Sum256(c.Line)
	kind := ""
	if c.Kind != 0 {
		kind = c.Kind.String()
	}
	q.id, q.kind, q.resource = append(q.id, ToUUID(c.CaseID())), append(q.kind, kind), append(q.resource, c.ResourceID)
	q.revision, q.hash, q.line = append(q.revision, c.Revision), append(q.hash, hash[:]), append(q.line, c.Line)
	q.client, q.source, q.problems = append(q.client, string(c.Client)), append(q.source, c.Source), append(q.problems, string(text))
	q.applied = append(q.applied, !c.Quarantine.IsZero())
	return nil
}

func (q *quarantineColumns) queue(b *pgx.Batch) {
	if len(q.id) == 0 {
		return
	}
	b.Queue(`
INSERT INTO quarantine (id, kind, resource_id, revision, content_hash, client_id, source, line, problems, seen)
SELECT id, kind, resource, revision, hash, client, source, line, problems::jsonb,
  CASE WHEN applied AND EXISTS (SELECT FROM quarantine q WHERE q.kind = v.kind AND q.resource_id = v.resource AND q.revision = v.revision AND q.content_hash = v.hash)
    THEN 0 ELSE 1 END
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[], $5::bytea[], $6::text[], $7::text[], $8::bytea[], $9::text[], $10::boolean[])
  AS v(id, kind, resource, revision, hash, client, source, line, problems, applied)
ON CONFLICT (kind, resource_id, revision, content_hash) DO UPDATE
  SET seen = quarantine.seen + excluded.seen, last_at = CASE WHEN excluded.seen = 0 THEN quarantine.last_at ELSE now() END, problems = excluded.problems, line = excluded.line, state = 'open',
    closed_by = NULL, closed_why = NULL, closed_at = NULL`,
		q.id, q.kind, q.resource, q.revision, q.hash, q.client, q.source, q.line, q.problems, q.applied)
}

// appliedColumns close the cases whose line was accepted after all; the line itself is erased, as it is in resource now.
type appliedColumns struct {
	id    []pgtype.UUID
	actor []string
}

func (a *appliedColumns) add(c *notice.Change) {
	a.id, a.actor = append(a.id, ToUUID(c.Quarantine)), append(a.actor, c.Actor)
}

func (a *appliedColumns) queue(b *pgx.Batch) {
	if len(a.id) > 0 {
		b.Queue(`UPDATE quarantine q SET state = 'applied', closed_by = v.actor, closed_at = now(), line = NULL
FROM unnest($1::uuid[], $2::text[]) AS v(id, actor) WHERE q.id = v.id`, a.id, a.actor)
	}
}

type caseRow struct {
	ID         string
	Kind       string
	ResourceID string
	Revision   int64
	ClientID   string
	Source     string
	Line       []byte
	Problems   []notice.Problem `gorm:"serializer:json"`
	Seen       int64
	FirstAt    time.Time
	LastAt     time.Time
	State      string
	ClosedBy   *string
	ClosedWhy  *string
	ClosedAt   *time.Time
}

// TableName is gorm's way to ask.
func (caseRow) TableName() string { return "quarantine" }

func (r caseRow) toCase() notice.Case {
	id, _ := notice.ParseID(r.ID)
	c := notice.Case{
		ID: id, Kind: r.Kind, ResourceID: r.ResourceID, Revision: r.Revision, Client: notice.ClientID(r.ClientID), Source: r.Source, Line: r.Line,
		Problems: r.Problems, Seen: r.Seen, FirstAt: r.FirstAt.UTC(), LastAt: r.LastAt.UTC(), State: r.State,
	}
	if r.ClosedAt != nil {
		c.ClosedAt = r.ClosedAt.UTC()
	}
	if r.ClosedBy != nil {
		c.ClosedBy = *r.ClosedBy
	}
	if r.ClosedWhy != nil {
		c.ClosedWhy = *r.ClosedWhy
	}
	return c
}

// Cases lists the quarantine by state ("" for all), newest first, at most limit.
func (s *Store) Cases(ctx context.Context, state string, limit int) ([]notice.Case, error) {
	q := s.orm.WithContext(ctx).Omit("line").Order("first_at DESC, id DESC").Limit(limit)
	if state != "" {
		q = q.Where("state = ?", state)
	}
	var rows []caseRow
	if err := q.Find(&rows).Error; err != nil {
		return nil, Unavailable("list the quarantine", err)
	}
	out := make([]notice.Case, len(rows))
	for i, r := range rows {
		out[i] = r.toCase()
	}
	return out, nil
}

// Case reads one case with its line; ErrNotFound when there is none.
func (s *Store) Case(ctx context.Context, id notice.ID) (notice.Case, error) {
	var rows []caseRow
	if err := s.orm.WithContext(ctx).Where("id = ?", id.String()).Find(&rows).Error; err != nil {
		return notice.Case{}, Unavailable("read a case of the quarantine", err)
	}
	if len(rows) == 0 {
		return notice.Case{}, fmt.Errorf("quarantine %s: %w", id, ErrNotFound)
	}
	return rows[0].toCase(), nil
}

// Dismiss closes a case without applying it and erases its line. It answers false when the case is closed already.
func (s *Store) Dismiss(ctx context.Context, id notice.ID, actor, reason string) (bool, error) {
	var done bool
	err := s.orm.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		closed := tx.Exec(`UPDATE quarantine SET state = 'dismissed', closed_by = ?, closed_why = ?, closed_at = now(), line = NULL
WHERE id = ? AND state = 'open'`, actor, reason, id.String())
		if closed.Error != nil || closed.RowsAffected == 0 {
			return closed.Error
		}
		done = true
		return s.admin(tx, adminFacts{System: s.system, Actor: actor, Act: "quarantine-dismissed", Object: id.String(), Reason: reason})
	})
	return done, Unavailable("dismiss a case", err)
}

// OpenCaseIDs lists open cases, the oldest revision first, at most limit.
func (s *Store) OpenCaseIDs(ctx context.Context, f notice.CaseFilter, limit int) ([]notice.ID, error) {
	rows, _ := s.query.Query(ctx, `SELECT id FROM quarantine WHERE state = 'open' AND ($1 = '' OR client_id = $1) AND ($2 = '' OR kind = $2)
  AND ($3 = '' OR source = $3) AND ($4 = '' OR EXISTS (SELECT FROM jsonb_array_elements(problems) p WHERE p->>'code' = $4))
ORDER BY revision, id LIMIT $5`, string(f.Client), f.Kind, f.Source, f.Code, limit)
	out, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (id notice.ID, err error) {
		var u pgtype.UUID
		err = row.Scan(&u)
		return FromUUID(u), err
	})
	return out, Unavailable("list open cases", err)
}

// supersededSQL closes open cases of resources of which the same client's higher revision was applied since, and writes
// down each with the change that took its place. What a case of a lower revision says is over by then.
const supersededSQL = `
WITH kinds AS (SELECT * FROM unnest($1::text[], $2::smallint[]) AS k(name, number)), old AS MATERIALIZED (
  SELECT q.id, r.revision, v.change_id FROM quarantine q JOIN kinds k ON k.name = q.kind JOIN resource r ON r.kind = k.number AND r.id = q.resource_id
    JOIN stored_revision v ON v.kind = r.kind AND v.resource_id = r.id AND v.revision = r.revision
  WHERE q.state = 'open' AND r.client_id = q.client_id AND r.revision > q.revision AND r.updated_at >= q.last_at LIMIT 100 FOR UPDATE OF q SKIP LOCKED
), closed AS (
  UPDATE quarantine q SET state = 'dismissed', closed_by = 'arauto', closed_why = 'revision ' || old.revision || ' was applied: change ' || old.change_id, closed_at = now(), line = NULL
  FROM old WHERE q.id = old.id RETURNING q.id, q.closed_why
), told AS (
  INSERT INTO entry (id, kind, outcome, facts)
  SELECT gen_random_uuid(), 'admin', 'quarantine-superseded', json_build_object('system', $3::text, 'actor', 'arauto', 'act', 'quarantine-superseded', 'object', id, 'reason', closed_why) FROM closed
)
SELECT count(*) FROM closed`

// CloseSuperseded closes open cases whose resource has a higher revision that was applied after they came, and writes each
// down with that change's id. It closes at most 100 and returns how many.
func (s *Store) CloseSuperseded(ctx context.Context) (n int, err error) {
	var names []string
	var numbers []int16
	for _, k := range ofb.Kinds() {
		names, numbers = append(names, k.String()), append(numbers, int16(k))
	}
	if err := s.query.QueryRow(ctx, supersededSQL, names, numbers, s.system).Scan(&n); err != nil {
		return 0, Unavailable("close superseded cases", err)
	}
	return n, nil
}

// RecordAct writes an administrative act of the caller whom ctx names into the history: about a case that was applied.
func (s *Store) RecordAct(ctx context.Context, act, object, reason string) error {
	return Unavailable("record an act", s.admin(s.orm.WithContext(ctx), adminFacts{System: s.system, Actor: CallerOf(ctx).Subject, Act: act, Object: object, Reason: reason}))
}

// adminFacts are what an entry keeps of an administrative act.
type adminFacts struct {
	System string `json:"system"`
	Actor  string `json:"actor"`
	Role   string `json:"role,omitempty"`
	Source string `json:"source,omitempty"` // address and port it was asked from
	Act    string `json:"act"`
	Object string `json:"object,omitempty"`
	Reason string `json:"reason,omitempty"`

	Request string `json:"request,omitempty"` // that was approved by a second person
}

// admin records an administrative act in the transaction that does it.
func (s *Store) admin(tx *gorm.DB, f adminFacts) error {
	caller := CallerOf(tx.Statement.Context)
	f.Role, f.Source = caller.Role, caller.Source
	if r := RequestOf(tx.Statement.Context); r != nil {
		f.Request = r.ID.String()
	}
	text, err := Facts(f)
	if err != nil {
		return err
	}
	return tx.Exec("INSERT INTO entry (id, kind, outcome, facts) VALUES (?, ?, ?, ?::json)", NewID().String(), history.FactAdmin, f.Act, text).Error
}
