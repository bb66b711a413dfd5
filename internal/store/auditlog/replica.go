package auditlog

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/arauto/arauto/internal/store"
)

// RunningReplica is what a process that serves tells of itself.
type RunningReplica struct {
	Name, Version, Profile string
	Started                time.Time
	// Yields means that it is not to be noted while a replica of another profile works here.
	Yields bool
}

// foreignSQL names the replicas of another profile that work here. What a version that tells no profile renewed says nothing.
//
// $1 name, $2 started, $3 profile.
const foreignSQL = `SELECT name FROM replica WHERE profile <> $3 AND profile_of = started_at AND seen_at > now() - interval '` + replicaAlive + `'
AND NOT (name = $1 AND started_at = $2) ORDER BY name`

// replicaAlive is for how long a replica that was heard of counts as one that works.
const replicaAlive = "30 seconds"

// ReportReplica notes that this process runs, and names the replicas of another profile that work on this database. Reports of several replicas
// take turns, so that of two that start at the same moment one sees the other. A row that was not renewed for a week is deleted.
func (l *Log) ReportReplica(ctx context.Context, r RunningReplica) (foreign []string, err error) {
	err = pgx.BeginFunc(ctx, l.query, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtext('arauto.replica'))"); err != nil {
			return err
		}
		if foreign, err = foreignReplicas(ctx, tx, r); err != nil || r.Yields && len(foreign) > 0 {
			return err
		}
		_, err := tx.Exec(ctx, `WITH gone AS (DELETE FROM replica WHERE seen_at < now() - interval '7 days' AND name <> $1)
INSERT INTO replica (name, version, started_at, profile, profile_of) VALUES ($1, $2, $3, $4, $3)
ON CONFLICT (name) DO UPDATE SET version = excluded.version, started_at = excluded.started_at, seen_at = now(), profile = excluded.profile, profile_of = excluded.profile_of`,
			r.Name, r.Version, r.Started, r.Profile)
		return err
	})
	return foreign, store.Unavailable("report a replica", err)
}

// ForeignReplicas names the replicas of another profile that work on this database.
func (l *Log) ForeignReplicas(ctx context.Context, r RunningReplica) ([]string, error) {
	foreign, err := foreignReplicas(ctx, l.query, r)
	return foreign, store.Unavailable("look for replicas of another profile", err)
}

func foreignReplicas(ctx context.Context, q querier, r RunningReplica) ([]string, error) {
	rows, _ := q.Query(ctx, foreignSQL, r.Name, r.Started, r.Profile)
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// ReplicaLeaves notes that this process works here no more: replicas of another profile need not wait until nobody heard of it for a while.
func (l *Log) ReplicaLeaves(ctx context.Context, r RunningReplica) error {
	_, err := l.query.Exec(ctx, "UPDATE replica SET profile = NULL, profile_of = NULL WHERE name = $1 AND started_at = $2", r.Name, r.Started)
	return store.Unavailable("note that a replica leaves", err)
}
