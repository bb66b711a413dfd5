package auditlog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/store"
)

// Bounds of reconciliations that people ask for.
const (
	runLease  = "30 seconds"
	runStarts = 3
	runKept   = "31 days"
)

// AskReconciliation asks for a reconciliation of a period and writes down who did; one at a time: ErrReconciling.
func (l *Log) AskReconciliation(ctx context.Context, from, to time.Time) (history.ReconciliationRun, error) {
	id, c := store.NewID(), store.CallerOf(ctx)
	err := pgx.BeginFunc(ctx, l.query, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtext('arauto.reconciliation_run'))"); err != nil {
			return err
		}
		made, err := tx.Exec(ctx, `INSERT INTO reconciliation_run (id, from_at, to_at, asked_by, asked_role, asked_source)
SELECT $1, $2, $3, $4, $5, $6 WHERE NOT EXISTS (SELECT FROM reconciliation_run WHERE state IN ('waiting', 'running'))`,
			store.ToUUID(id), from, to, c.Subject, c.Role, c.Source)
		if err != nil {
			return err
		}
		if made.RowsAffected() == 0 {
			return store.ErrReconciling
		}
		filter := map[string]string{"from": from.UTC().Format(time.RFC3339), "to": to.UTC().Format(time.RFC3339)}
		return plainEntry{store.NewID(), history.FactAdmin, "reconciliation-asked", readingFacts{l.system, c.Subject, c.Role, c.Source, filter, 0, 0, "", 0}}.add(ctx, tx)
	})
	if err != nil {
		return history.ReconciliationRun{}, store.Unavailable("ask for a reconciliation", err)
	}
	all, err := l.ReconciliationRuns(ctx, 1)
	if err != nil || len(all) == 0 {
		return history.ReconciliationRun{}, err
	}
	return all[0], nil
}

// ReconciliationRuns lists reconciliations that people asked for, newest first, at most limit.
func (l *Log) ReconciliationRuns(ctx context.Context, limit int) ([]history.ReconciliationRun, error) {
	out, err := store.All(ctx, l.query, runPlaces, runSQL+"ORDER BY asked_at DESC, id DESC LIMIT $1", limit)
	return out, store.Unavailable("list reconciliations", err)
}

const runSQL = `SELECT id, from_at, to_at, asked_by, asked_role, asked_source, asked_at, pages_done, pages_all, state, coalesce(problem, ''), ended_at, token
FROM reconciliation_run `

func runPlaces(r *history.ReconciliationRun) []any {
	return []any{&r.ID, &r.From, &r.To, &r.AskedBy.Subject, &r.AskedBy.Role, &r.AskedBy.Source, &r.AskedAt, &r.Done, &r.All, &r.State, &r.Problem, &r.EndedAt, &r.Token}
}

// ClaimReconciliation takes up a reconciliation that was asked for, or that a replica left; nil when there is none. One
// that was begun three times and never ended has failed. It also removes what ended 31 days ago.
func (l *Log) ClaimReconciliation(ctx context.Context) (*history.ReconciliationRun, error) {
	const giveUp = `WITH gone AS (DELETE FROM reconciliation_run WHERE ended_at < now() - interval '` + runKept + `')
UPDATE reconciliation_run SET state = 'failed', token = NULL, ended_at = now(), problem = 'given up: it was begun ' || starts || ' times and never ended'
WHERE state = 'running' AND lease_until < now() AND starts >= $1`
	if _, err := l.query.Exec(ctx, giveUp, runStarts); err != nil {
		return nil, store.Unavailable("give up a reconciliation", err)
	}
	var id pgtype.UUID
	err := l.query.QueryRow(ctx, `UPDATE reconciliation_run SET state = 'running', token = gen_random_uuid(), lease_until = now() + interval '`+runLease+`', starts = starts + 1
WHERE id = (SELECT id FROM reconciliation_run WHERE state = 'waiting' OR state = 'running' AND lease_until < now() ORDER BY asked_at LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING id`).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil //nolint:nilnil // nothing to do is no error
	}
	if err != nil {
		return nil, store.Unavailable("take up a reconciliation", err)
	}
	r, err := store.One(ctx, l.query, runPlaces, runSQL+"WHERE id = $1", id)
	return &r, store.Unavailable("take up a reconciliation", err)
}

// KeepReconciliation renews the lease and tells how far a reconciliation is; ErrRunLost when it is another replica's.
func (l *Log) KeepReconciliation(ctx context.Context, id, token notice.ID, done, all int64) error {
	kept, err := l.query.Exec(ctx, `UPDATE reconciliation_run SET lease_until = now() + interval '`+runLease+`', pages_done = $3, pages_all = $4
WHERE id = $1 AND token = $2 AND state = 'running'`, store.ToUUID(id), store.ToUUID(token), done, all)
	if err != nil {
		return store.Unavailable("keep a reconciliation", err)
	}
	if kept.RowsAffected() == 0 {
		return store.ErrRunLost
	}
	return nil
}

// EndReconciliation records what a reconciliation found, or why it failed, and ends its run, in one transaction.
func (l *Log) EndReconciliation(ctx context.Context, run *history.ReconciliationRun, found *history.Reconciliation, problem string) error {
	state := "done"
	if problem != "" {
		state = "failed"
	}
	err := pgx.BeginFunc(ctx, l.query, func(tx pgx.Tx) error {
		done, err := tx.Exec(ctx, `UPDATE reconciliation_run SET state = $3, problem = nullif($4, ''), ended_at = now(), token = NULL,
  pages_done = CASE WHEN $4 = '' THEN pages_all ELSE pages_done END WHERE id = $1 AND token = $2 AND state = 'running'`,
			store.ToUUID(run.ID), store.ToUUID(run.Token), state, problem)
		if err != nil {
			return err
		}
		if done.RowsAffected() == 0 {
			return store.ErrRunLost
		}
		if found == nil {
			return nil
		}
		return l.reconciliationEntry(found, run.AskedBy.Subject).add(ctx, tx)
	})
	return store.Unavailable("end a reconciliation", err)
}

// Reconciliations lists what reconciliations found, newest first, at most limit.
func (l *Log) Reconciliations(ctx context.Context, limit int) ([]history.RecordedReconciliation, error) {
	rows, _ := l.query.Query(ctx, "SELECT at, facts::text FROM entry WHERE kind = 'reconciliation' ORDER BY at DESC LIMIT $1", limit)
	out, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (r history.RecordedReconciliation, err error) {
		var text string
		if err := row.Scan(store.Columns(&r.At, &text)...); err != nil {
			return r, err
		}
		var f reconciliationFacts
		if err := json.Unmarshal([]byte(text), &f); err != nil {
			return r, fmt.Errorf("facts of a reconciliation: %w", err)
		}
		r.Reconciliation, r.AskedBy = f.Reconciliation, f.AskedBy
		return r, nil
	})
	return out, store.Unavailable("list reconciliations", err)
}

// Replicas lists the processes that served this database within the last week, by name.
func (l *Log) Replicas(ctx context.Context) ([]history.Replica, error) {
	out, err := store.All(ctx, l.query, func(r *history.Replica) []any { return []any{&r.Name, &r.Version, &r.StartedAt, &r.SeenAt, &r.Alive} },
		"SELECT name, version, started_at, seen_at, seen_at > now() - interval '"+replicaAlive+"' FROM replica ORDER BY name")
	return out, store.Unavailable("list replicas", err)
}
