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
)

// quarantineColumns put changes aside: one row for each (kind, id, revision, content), with a counter.
type quarantineColumns struct {
	id             []pgtype.UUID
	kind, resource []string
	revision       []int64
	hash, line     [][]byte
	client, source []string
	problems       []string
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
	return nil
}

func (q *quarantineColumns) queue(b *pgx.Batch) {
	if len(q.id) == 0 {
		return
	}
	b.Queue(`
INSERT INTO quarantine (id, kind, resource_id, revision, content_hash, client_id, source, line, problems)
SELECT id, kind, resource, revision, hash, client, source, line, problems::jsonb
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[], $5::bytea[], $6::text[], $7::text[], $8::bytea[], $9::text[])
  AS v(id, kind, resource, revision, hash, client, source, line, problems)
ON CONFLICT (kind, resource_id, revision, content_hash) DO UPDATE
  SET seen = quarantine.seen + 1, last_at = now(), problems = excluded.problems, line = excluded.line, state = 'open',
    closed_by = NULL, closed_why = NULL, closed_at = NULL`,
		q.id, q.kind, q.resource, q.revision, q.hash, q.client, q.source, q.line, q.problems)
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
	if err != nil {
		return false, Unavailable("dismiss a case", err)
	}
	return done, nil
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
}

// admin records an administrative act in the transaction that does it.
func (s *Store) admin(tx *gorm.DB, f adminFacts) error {
	caller := CallerOf(tx.Statement.Context)
	f.Role, f.Source = caller.Role, caller.Source
	text, err := Facts(f)
	if err != nil {
		return err
	}
	return tx.Exec("INSERT INTO entry (id, kind, outcome, facts) VALUES (?, ?, ?, ?::json)", NewID().String(), history.FactAdmin, f.Act, text).Error
}
