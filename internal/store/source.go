package store

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"gorm.io/gorm"

	"github.com/arauto/arauto/internal/notice"
)

// reportStands is how long a report of a replica that reads a source stands against reports of those that do not: they
// see nothing of what it sees.
const reportStands = 15 * time.Second

const sourcesSQL = "SELECT name, paused, paused_by, paused_why, paused_at, status, reading, replica, reported_at, coalesce(clock_timestamp() - reported_at, interval '0') FROM source "

func sourcePlaces(s *notice.StoredSource) []any {
	return []any{&s.Name, &s.Paused, &s.PausedBy, &s.PausedWhy, &s.PausedAt, &s.Status, &s.Reading, &s.Replica, &s.ReportedAt, &s.Age}
}

// Sources lists what is kept of sources, by name. One that never ran and was never paused is not among them.
func (s *Store) Sources(ctx context.Context) ([]notice.StoredSource, error) {
	out, err := All(ctx, s.query, sourcePlaces, sourcesSQL+"ORDER BY name")
	return out, Unavailable("list the sources", err)
}

// Source reads what is kept of one source; ErrNotFound when nothing is.
func (s *Store) Source(ctx context.Context, name string) (notice.StoredSource, error) {
	found, err := One(ctx, s.query, sourcePlaces, sourcesSQL+"WHERE name = $1", name)
	return found, Unavailable("read the source "+name, err)
}

// PauseSource pauses a source or lets it go on, for every replica, and records who did it and why. It answers false, and
// records nothing, when that is how it stands already.
func (s *Store) PauseSource(ctx context.Context, name string, paused bool, actor, reason string) (changed bool, err error) {
	act := "source-resumed"
	if paused {
		act = "source-paused"
	}
	err = s.orm.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		if err := tx.Exec("INSERT INTO source (name) VALUES (?) ON CONFLICT DO NOTHING", name).Error; err != nil {
			return err
		}
		done := tx.Exec(`UPDATE source SET paused = ?, paused_by = ?, paused_why = ?, paused_at = now() WHERE name = ? AND paused <> ?`,
			paused, actor, reason, name, paused)
		if done.Error != nil || done.RowsAffected == 0 {
			return done.Error
		}
		changed = true
		if err := s.step(tx); err != nil {
			return err
		}
		return s.admin(tx, adminFacts{System: s.system, Actor: actor, Act: act, Object: name, Reason: reason})
	})
	return changed, Unavailable("pause or resume a source", err)
}

// SourcePaused tells whether an operator paused a source.
func (s *Store) SourcePaused(ctx context.Context, name string) (paused bool, err error) {
	err = s.query.QueryRow(ctx, "SELECT coalesce((SELECT paused FROM source WHERE name = $1), false)", name).Scan(&paused)
	return paused, Unavailable("ask whether a source is paused", err)
}

// AcceptFinding keeps that a person accepted a finding, for every replica, and records who did it and why. It answers false, and
// records nothing, when it was accepted before and that acceptance is not used up.
func (s *Store) AcceptFinding(ctx context.Context, f notice.AcceptedFinding) (fresh bool, err error) {
	err = s.orm.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		done := tx.Exec("INSERT INTO source_finding (source, finding, accepted_by, reason) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", f.Source, f.Finding, f.By, f.Reason)
		if done.Error != nil || done.RowsAffected == 0 {
			return done.Error
		}
		fresh = true
		if err := s.step(tx); err != nil {
			return err
		}
		return s.admin(tx, adminFacts{System: s.system, Actor: f.By, Act: "source-finding-accepted", Object: f.Source + " " + f.Finding, Reason: f.Reason})
	})
	return fresh, Unavailable("accept a finding of a source", err)
}

// UseUpFindings ends the acceptances of these findings of a source, at every replica: its reader has passed what was accepted.
func (s *Store) UseUpFindings(ctx context.Context, source string, findings []string) error {
	_, err := s.query.Exec(ctx, "UPDATE source_finding SET used_at = now() WHERE source = $1 AND finding = ANY($2) AND used_at IS NULL", source, findings)
	return Unavailable("use up accepted findings of a source", err)
}

// AcceptedFindings lists the findings of a source that persons accepted, without those that are used up. A schema from before there
// were any has none.
func (s *Store) AcceptedFindings(ctx context.Context, source string) ([]string, error) {
	rows, _ := s.query.Query(ctx, "SELECT finding FROM source_finding WHERE source = $1 AND used_at IS NULL ORDER BY finding", source)
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if IsCode(err, "42P01") {
		return nil, nil
	}
	return found, Unavailable("list the accepted findings of a source", err)
}

// ReportSource keeps what this replica tells of a source: a JSON object. What a replica that does not read it tells is
// dropped while the word of one that does is fresh.
func (s *Store) ReportSource(ctx context.Context, name string, reading bool, status []byte) error {
	_, err := s.query.Exec(ctx, `INSERT INTO source AS s (name, status, reading, replica, reported_at) VALUES ($1, $2::jsonb, $3, $4, now())
ON CONFLICT (name) DO UPDATE SET status = excluded.status, reading = excluded.reading, replica = excluded.replica, reported_at = excluded.reported_at
WHERE excluded.reading OR NOT s.reading OR s.replica = excluded.replica OR s.reported_at IS NULL OR s.reported_at < now() - make_interval(secs => $5)`,
		name, string(status), reading, s.replica, reportStands.Seconds())
	return Unavailable("report of a source", err)
}

// OpenCases lists open cases of one source with their lines, oldest revision first, at most limit, after the revision
// and id given (zero for the first).
func (s *Store) OpenCases(ctx context.Context, source string, revision int64, after notice.ID, limit int) ([]notice.Case, error) {
	out, err := All(ctx, s.query, casePlaces, "SELECT line, "+caseColumns+" WHERE source = $1 AND state = 'open' AND (revision, id) > ($2, $3) ORDER BY revision, id LIMIT $4",
		source, revision, [16]byte(after), limit)
	return out, Unavailable("list the cases of a source", err)
}

// RegisteredSince tells whether something newer is known of a client than a case about its registration: the registration
// changed since the case was last seen, or a younger case waits.
func (s *Store) RegisteredSince(ctx context.Context, c notice.Case, client notice.ClientID) (newer bool, err error) {
	err = s.query.QueryRow(ctx, `SELECT EXISTS (SELECT FROM initiator WHERE client_id = $1 AND updated_at > $2)
  OR EXISTS (SELECT FROM quarantine WHERE state = 'open' AND source = $3 AND client_id = $1 AND kind = '' AND revision > $4)`,
		string(client), c.LastAt, c.Source, c.Revision).Scan(&newer)
	return newer, Unavailable("look for newer registrations", err)
}

// Recall reads what a source's reader remembered under a key; nil when there is nothing.
func (s *Store) Recall(ctx context.Context, source, key string) (value []byte, err error) {
	err = s.query.QueryRow(ctx, "SELECT value FROM source_memory WHERE source = $1 AND key = $2", source, key).Scan(&value)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	return value, Unavailable("recall for a source", err)
}

// Remember keeps a value of a source's reader under a key, instead of what was there; nil forgets it.
func (s *Store) Remember(ctx context.Context, source, key string, value []byte) error {
	statement, args := "DELETE FROM source_memory WHERE source = $1 AND key = $2", []any{source, key}
	if value != nil {
		statement, args = `INSERT INTO source_memory (source, key, value) VALUES ($1, $2, $3)
ON CONFLICT (source, key) DO UPDATE SET value = excluded.value`, append(args, value)
	}
	_, err := s.query.Exec(ctx, statement, args...)
	return Unavailable("remember for a source", err)
}
