package store

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/arauto/arauto/internal/notice"
)

// dueTimersSQL locks the resources of due timers. The resource is locked first, as a change does, so the two never wait for
// each other in a circle; one that is being changed is left for the next look. The timer row itself proves, under that
// lock, that nobody fired it before.
//
// $1 limit, $2 how many microseconds back to look (looks). The last column is how many timers it found, at most the limit.
const dueTimersSQL = `
SELECT r.kind, r.id, r.client_id, r.api_version, r.revision, r.status, r.watched, r.data_hash, r.announced, r.occurred_at, r.document,
  coalesce(i.push, false), coalesce(i.removed, true), coalesce(i.push_epoch, 0), now(), r.updated_at,
  t.found
FROM (SELECT kind, resource_id, count(*) OVER () AS found FROM (
  SELECT kind, resource_id FROM timer WHERE deadline <= now() AND deadline >= now() - $2::bigint * interval '1 microsecond' ORDER BY deadline LIMIT $1) t) t
CROSS JOIN LATERAL (SELECT * FROM resource r WHERE r.kind = t.kind AND r.id = t.resource_id FOR UPDATE SKIP LOCKED) r
LEFT JOIN initiator i ON i.client_id = r.client_id`

// FireTimers takes up to limit resources whose deadline has passed, hands them to judge, and stores what judge answers,
// in one transaction. It answers how many it took. Any number of replicas may call it: each timer fires once. One that is armed long
// after its deadline fires at once if this replica armed it, or else at the next full look (looks).
func (s *Store) FireTimers(ctx context.Context, limit int, judge func([]notice.DueTimer) []notice.Fired) (int, error) {
	conn, err := s.intake.Acquire(ctx)
	if err != nil {
		return 0, Unavailable("take an intake connection", err)
	}
	defer conn.Release()
	n, err := s.fireOn(ctx, conn, limit, judge)
	if err != nil {
		rollback(conn)
		return 0, Unavailable("fire timers", err)
	}
	return n, nil
}

func (s *Store) fireOn(ctx context.Context, conn *pgxpool.Conn, limit int, judge func([]notice.DueTimer) []notice.Fired) (int, error) {
	if _, err := conn.Exec(ctx, "begin"); err != nil {
		return 0, err
	}
	began := time.Now()
	ready, err := s.lookForTimers(ctx, conn, limit)
	if err != nil {
		return 0, err
	}
	n, err := s.fireThese(ctx, conn, began, ready, judge)
	if err != nil {
		s.timers.failed(false, time.Now()) // they are due as before, perhaps for long
	}
	return n, err
}

func (s *Store) fireThese(ctx context.Context, conn *pgxpool.Conn, began time.Time, ready []notice.DueTimer, judge func([]notice.DueTimer) []notice.Fired) (int, error) {
	ready, err := stillDue(ctx, conn, ready)
	if err != nil {
		return 0, err
	}
	w := newWriter(s, began, time.Now(), nil)
	defer w.free()
	for i, fired := range judge(ready) {
		if err := w.addFired(&ready[i], &fired); err != nil {
			return 0, err
		}
	}
	return len(ready), w.commit(ctx, conn)
}

// lookForTimers locks the resources of due timers that nobody changes now.
func (s *Store) lookForTimers(ctx context.Context, conn *pgxpool.Conn, limit int) ([]notice.DueTimer, error) {
	asked := time.Now()
	back, full := s.timers.depth(asked)
	ready, found, err := readDueTimers(ctx, conn, limit, back)
	if err == nil && full && len(ready) == 0 { // none is due, or all the resources are being changed
		err = conn.QueryRow(ctx, "SELECT count(*) FROM (SELECT FROM timer WHERE deadline <= now() ORDER BY deadline LIMIT 1) t").Scan(&found)
	}
	switch {
	case err != nil:
		s.timers.failed(full, time.Now())
	case len(ready) < found || found == limit: // some are left
	case full:
		s.timers.done(asked, time.Now(), nil)
	case len(ready) > 0:
		s.timers.reached(asked)
	}
	return ready, err
}

// readDueTimers reads them. found is how many timers there were, at most the limit; 0 also when the resources of all are being changed.
func readDueTimers(ctx context.Context, conn *pgxpool.Conn, limit int, back time.Duration) (ready []notice.DueTimer, found int, err error) {
	rows, err := conn.Query(ctx, dueTimersSQL, limit, back.Microseconds())
	if err != nil {
		return nil, 0, err
	}
	ready, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (r notice.DueTimer, err error) {
		var announced int64
		err = row.Scan(Columns(&r.Kind, &r.ID, &r.Client, &r.APIVersion, &r.Resource.Revision, &r.Resource.State.Status, &r.Resource.State.Watched, &r.Resource.State.Data, &announced,
			&r.Resource.OccurredAt, Document(&r.Document), &r.Push, &r.Unregistered, &r.Epoch, &r.Now, &r.Since, &found)...)
		r.Resource.Client, r.Resource.APIVersion, r.Resource.Announced = r.Client, r.APIVersion, uint64(announced)
		return r, err
	})
	return ready, found, err
}

// armedTimers reads the timers of resources that are due, each by its key (forgetTimers).
const armedTimers = `
SELECT k.n, t.rule, t.deadline FROM unnest($1::smallint[], $2::text[]) WITH ORDINALITY AS k(kind, id, n)
CROSS JOIN LATERAL (SELECT * FROM timer WHERE kind = k.kind AND resource_id = k.id OFFSET 0) t WHERE t.deadline <= now() ORDER BY k.n`

// stillDue keeps those whose timer is there and due now that they are locked.
func stillDue(ctx context.Context, conn *pgxpool.Conn, ready []notice.DueTimer) ([]notice.DueTimer, error) {
	kinds, ids := make([]int16, len(ready)), make([]string, len(ready))
	for i, r := range ready {
		kinds[i], ids[i] = int16(r.Kind), r.ID
	}
	rows, _ := conn.Query(ctx, armedTimers, kinds, ids)
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (r notice.DueTimer, err error) {
		var n int64
		var rule string
		var deadline time.Time
		if err = row.Scan(&n, &rule, &deadline); err == nil {
			r = ready[n-1]
			r.Rule, r.Deadline = rule, deadline.UTC()
		}
		return r, err
	})
}

// addFired stores the change a timer made, or clears a timer that has nothing to fire.
func (w *writer) addFired(r *notice.DueTimer, fired *notice.Fired) error {
	c := fired.Change
	if c == nil {
		w.timers.add(&notice.Change{Kind: r.Kind, ResourceID: r.ID}, nil)
		return nil
	}
	if c.Kind != r.Kind || c.ResourceID != r.ID || c.Revision != 0 {
		return fmt.Errorf("a timer of %s %s made a change of %s %s", r.Kind, r.ID, c.Kind, c.ResourceID)
	}
	past := notice.Past{Resource: &r.Resource, Push: r.Push, Unregistered: r.Unregistered, Epoch: r.Epoch}
	return w.add(c, &past, &fired.Decision)
}
