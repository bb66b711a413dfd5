package store

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"

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
	state          []string
	replaces       bool // a document that does not conform is among them: older cases of its resource go
}

// add puts a change aside with what is wrong with it. Of one that was stored all the same the problems alone are kept, under its own id.
func (q *quarantineColumns) add(c *notice.Change, state string, problems []notice.Problem) error {
	text, err := json.Marshal(problems)
	if err != nil {
		return fmt.Errorf("encode the problems of a change: %w", err)
	}
	id, line := c.CaseID(), c.Line
	if state == notice.CaseNonconforming {
		id, line, q.replaces = c.ID, nil, true
	}
	hash := sha256.Sum256(line)
	kind := ""
	if c.Kind != 0 {
		kind = c.Kind.String()
	}
	q.id, q.kind, q.resource = append(q.id, ToUUID(id)), append(q.kind, kind), append(q.resource, c.ResourceID)
	q.revision, q.hash, q.line = append(q.revision, c.Revision), append(q.hash, hash[:]), append(q.line, line)
	q.client, q.source, q.problems = append(q.client, string(c.Client)), append(q.source, c.Source), append(q.problems, string(text))
	q.applied, q.state = append(q.applied, !c.Quarantine.IsZero()), append(q.state, state)
	return nil
}

func (q *quarantineColumns) queue(b *pgx.Batch) {
	if len(q.id) == 0 {
		return
	}
	b.Queue(`
INSERT INTO quarantine (id, kind, resource_id, revision, content_hash, client_id, source, line, problems, state, seen)
SELECT id, kind, resource, revision, hash, client, source, line, problems::jsonb, state,
  CASE WHEN applied AND EXISTS (SELECT FROM quarantine q WHERE q.kind = v.kind AND q.resource_id = v.resource AND q.revision = v.revision AND q.content_hash = v.hash)
    THEN 0 ELSE 1 END
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[], $5::bytea[], $6::text[], $7::text[], $8::bytea[], $9::text[], $10::boolean[], $11::text[])
  AS v(id, kind, resource, revision, hash, client, source, line, problems, applied, state)
ON CONFLICT (kind, resource_id, revision, content_hash) DO UPDATE
  SET seen = quarantine.seen + excluded.seen, last_at = CASE WHEN excluded.seen = 0 THEN quarantine.last_at ELSE now() END, problems = excluded.problems, line = excluded.line, state = excluded.state,
    closed_by = NULL, closed_why = NULL, closed_at = NULL`,
		q.id, q.kind, q.resource, q.revision, q.hash, q.client, q.source, q.line, q.problems, q.applied, q.state)
	if q.replaces {
		b.Queue(forgetReplacedCases, q.kind, q.resource, q.revision, q.state)
	}
}

// forgetReplacedCases removes the cases of documents that do not conform and have been replaced. It finds them by the key of each resource:
// a join may walk through all cases of that state, of which there are mostly none (settleSQL). What has changed meanwhile stays: the state is
// looked at again with the row, and IS TRUE keeps the planner from the index of states.
const forgetReplacedCases = `
DELETE FROM quarantine WHERE id = ANY (ARRAY(
  SELECT q.id FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[]) AS v(kind, resource, revision, state)
  CROSS JOIN LATERAL (SELECT * FROM quarantine WHERE kind = v.kind AND resource_id = v.resource AND revision < v.revision OFFSET 0) q
  WHERE v.state = 'nonconforming' AND q.state = 'nonconforming')) AND (state = 'nonconforming') IS TRUE`

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
		b.Queue(`UPDATE quarantine SET state = 'applied', closed_by = (SELECT jsonb_object_agg(v.id, v.actor) FROM unnest($1::uuid[], $2::text[]) AS v(id, actor)) ->> id::text,
  closed_at = now(), line = NULL WHERE id = ANY ($1::uuid[])`, a.id, a.actor)
	}
}

// caseColumns follow the line of a case.
const caseColumns = "id, kind, resource_id, revision, client_id, source, problems, seen, first_at, last_at, state, closed_by, closed_why, closed_at FROM quarantine"

func casePlaces(c *notice.Case) []any {
	return []any{
		&c.Line, &c.ID, &c.Kind, &c.ResourceID, &c.Revision, &c.Client, &c.Source, &c.Problems, &c.Seen, &c.FirstAt, &c.LastAt, &c.State, &c.ClosedBy, &c.ClosedWhy, &c.ClosedAt,
	}
}

// Cases lists the quarantine by state ("" for all), newest first, below after unless that is zero, at most limit. more: there are others
// below.
func (s *Store) Cases(ctx context.Context, state string, after history.Position, limit int) (out []notice.Case, more bool, err error) {
	out, err = All(ctx, s.query, casePlaces, "SELECT NULL::bytea, "+caseColumns+` WHERE ($1 = '' OR state = $1)
  AND ($2::timestamptz IS NULL OR (first_at, id) < ($2, $3)) ORDER BY first_at DESC, id DESC LIMIT $4`, state, ToTime(after.At), ToUUID(after.ID), limit+1)
	if more = len(out) > limit; more {
		out = out[:limit]
	}
	return out, more, Unavailable("list the quarantine", err)
}

// CountedCases is how many cases of a state CountCases counts, the oldest first.
const CountedCases = 100_000

// CountCases counts the cases of the quarantine that are not closed, by state and source: the oldest 100,000 of each state.
func (s *Store) CountCases(ctx context.Context) ([]notice.CaseCount, error) {
	out, err := All(ctx, s.query, func(c *notice.CaseCount) []any { return []any{&c.State, &c.Source, &c.Cases, &c.Bytes, &c.Oldest} }, `
SELECT c.state, c.source, count(*), coalesce(sum(octet_length(c.line)), 0)::bigint, max(now() - c.first_at)
FROM unnest($1::text[]) AS w(state) CROSS JOIN LATERAL (
  SELECT q.state, q.source, q.line, q.first_at FROM quarantine q WHERE q.state = w.state ORDER BY q.first_at, q.id LIMIT $2) c
GROUP BY c.state, c.source ORDER BY c.state, c.source`, []string{notice.CaseOpen, notice.CaseNonconforming}, CountedCases)
	return out, Unavailable("count the quarantine", err)
}

// Case reads one case with its line; ErrNotFound when there is none.
func (s *Store) Case(ctx context.Context, id notice.ID) (notice.Case, error) {
	found, err := One(ctx, s.query, casePlaces, "SELECT line, "+caseColumns+" WHERE id = $1", [16]byte(id))
	return found, Unavailable("read case "+id.String()+" of the quarantine", err)
}

// Dismiss closes a case without applying it and erases its line; a case of a document that does not conform has none, and leaves the
// list. It answers false when the case is closed already.
func (s *Store) Dismiss(ctx context.Context, id notice.ID, actor, reason string) (bool, error) {
	var done bool
	err := s.orm.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		closed := tx.Exec(`UPDATE quarantine SET state = 'dismissed', closed_by = ?, closed_why = ?, closed_at = now(), line = NULL
WHERE id = ? AND state IN ('open', 'nonconforming')`, actor, reason, id.String())
		if closed.Error != nil || closed.RowsAffected == 0 {
			return closed.Error
		}
		done = true
		return s.admin(tx, adminFacts{System: s.system, Actor: actor, Act: "quarantine-dismissed", Object: id.String(), Reason: reason})
	})
	return done, Unavailable("dismiss a case", err)
}

// OpenCaseIDs lists open cases, or those of the filter's state, the oldest revision first, at most limit.
func (s *Store) OpenCaseIDs(ctx context.Context, f notice.CaseFilter, limit int) ([]notice.ID, error) {
	out, err := All(ctx, s.query, idPlace, `SELECT id FROM quarantine WHERE state = $6 AND ($1 = '' OR client_id = $1) AND ($2 = '' OR kind = $2)
  AND ($3 = '' OR source = $3) AND ($4 = '' OR EXISTS (SELECT FROM jsonb_array_elements(problems) p WHERE p->>'code' = $4))
ORDER BY revision, id LIMIT $5`, string(f.Client), f.Kind, f.Source, f.Code, limit, cmp.Or(f.State, notice.CaseOpen))
	return out, Unavailable("list open cases", err)
}

func idPlace(id *notice.ID) []any { return []any{id} }

// supersededSQL closes open cases of resources of which the same client's change was accepted since, with the case's
// revision, or applied with a higher one, and writes down each with the change that took its place. What a case of a lower revision says is
// over by then; one of the same revision is corrected, and cannot be applied any more. When a change with the case's revision was accepted
// is what its entry says: a timer touches the resource later. A line that came after that contradicts what is stored, and its case stays for
// a person, as does one of a document that was stored although it does not conform: it is in another state.
const supersededSQL = `
WITH kinds AS (SELECT * FROM unnest($1::text[], $2::smallint[]) AS k(name, number)), old AS MATERIALIZED (
  SELECT q.id, v.revision, v.change_id FROM quarantine q JOIN kinds k ON k.name = q.kind JOIN resource r ON r.kind = k.number AND r.id = q.resource_id
    CROSS JOIN LATERAL (
      SELECT s.revision, s.change_id, e.at FROM stored_revision s JOIN entry e ON e.resource_id = q.resource_id AND e.number IS NULL AND e.at >= q.last_at
        AND e.kind = 'change' AND e.id = s.change_id WHERE s.kind = r.kind AND s.resource_id = r.id AND s.revision = q.revision
      UNION ALL
      SELECT s.revision, s.change_id, r.updated_at FROM stored_revision s WHERE s.kind = r.kind AND s.resource_id = r.id AND s.revision = r.revision
        AND r.revision > q.revision AND r.updated_at >= q.last_at
      LIMIT 1) v
  WHERE q.state = 'open' AND r.client_id = q.client_id AND r.revision >= q.revision
    AND v.at >= q.last_at -- once more: of a row that changes while its lock is waited for, this alone is looked at again
  LIMIT 100 FOR UPDATE OF q SKIP LOCKED
), closed AS (
  UPDATE quarantine q SET state = 'dismissed', closed_by = 'arauto', closed_why = 'revision ' || old.revision || ' was applied: change ' || old.change_id, closed_at = now(), line = NULL
  FROM old WHERE q.id = old.id RETURNING q.id, q.closed_why
), told AS (
  INSERT INTO entry (id, kind, outcome, facts)
  SELECT gen_random_uuid(), 'admin', 'quarantine-superseded', json_build_object('system', $3::text, 'actor', 'arauto', 'act', 'quarantine-superseded', 'object', id, 'reason', closed_why) FROM closed
)
SELECT count(*) FROM closed`

// CloseSuperseded closes open cases whose revision, or a higher one of their resource, was accepted after they came, and writes each
// down with that change's id. It closes at most 100 and returns how many.
func (s *Store) CloseSuperseded(ctx context.Context) (n int, err error) {
	var names []string
	var numbers []int16
	for _, k := range ofb.Kinds() {
		names, numbers = append(names, k.String()), append(numbers, int16(k))
	}
	err = s.query.QueryRow(ctx, supersededSQL, names, numbers, s.system).Scan(&n)
	return n, Unavailable("close superseded cases", err)
}

// currentPage is how many cases ForgetReplaced looks at in one call.
const currentPage = 1000

// ForgetReplaced takes cases of documents that do not conform off the list whose resource has another document by now; the history keeps
// what they said. It looks at a page of the list, each time the next one, and returns how many it took off.
func (s *Store) ForgetReplaced(ctx context.Context) (int, error) {
	s.walk.mu.Lock()
	defer s.walk.mu.Unlock()
	type looked struct {
		at  history.Position
		old bool
	}
	var kinds []string
	var numbers []int16
	for _, k := range ofb.Kinds() {
		kinds, numbers = append(kinds, k.String()), append(numbers, int16(k))
	}
	page, err := All(ctx, s.query, func(l *looked) []any { return []any{&l.at.At, &l.at.ID, &l.old} }, `
SELECT q.first_at, q.id, r.revision > q.revision FROM quarantine q JOIN unnest($1::text[], $2::smallint[]) AS k(name, number) ON k.name = q.kind
  JOIN resource r ON r.kind = k.number AND r.id = q.resource_id
WHERE q.state = 'nonconforming' AND ($3::timestamptz IS NULL OR (q.first_at, q.id) > ($3, $4)) ORDER BY q.first_at, q.id LIMIT $5`,
		kinds, numbers, ToTime(s.walk.after.At), ToUUID(s.walk.after.ID), currentPage)
	if err != nil {
		return 0, Unavailable("look for documents that were replaced", err)
	}
	s.walk.after = history.Position{}
	if len(page) == currentPage {
		s.walk.after = page[len(page)-1].at
	}
	var old []pgtype.UUID
	for _, l := range page {
		if l.old {
			old = append(old, ToUUID(l.at.ID))
		}
	}
	if len(old) == 0 {
		return 0, nil
	}
	gone, err := s.query.Exec(ctx, `DELETE FROM quarantine WHERE id IN (SELECT id FROM quarantine WHERE id = ANY($1) AND state = 'nonconforming' FOR UPDATE SKIP LOCKED)`, old)
	return int(gone.RowsAffected()), Unavailable("forget documents that were replaced", err)
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
