package auditlog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/arauto/arauto/internal/store"
)

// RebuiltFigures tells what a rebuilding of figures came to.
type RebuiltFigures struct {
	Entries int64    // of the log, folded anew
	Rows    int64    // sums by hour that were compared
	Differ  int64    // of them, those that were not as kept
	First   string   // the first of these, in words; "": none
	Kept    []string // months whose sums stay as they were, since entries they rest on were removed
}

// RebuildFigures folds the log from its beginning, beside the figures in use, compares the two, and puts the new ones in
// their place. Entries that are folded meanwhile are in both. A rebuilding that was killed leaves the figures in use as they
// are; the next one begins anew. progress is told the entries that are folded and all; nil: nobody is.
//
// Sums of a removed month cannot be made again, nor can those of a month that stayed while the one after it was removed:
// these are taken over. First attempts that only their results show to have started late are taken over of the months that stayed alone. The user that the URL names needs the rights of the application's role.
func RebuildFigures(ctx context.Context, url string, progress func(folded, all int64)) (RebuiltFigures, error) {
	conn, err := auditConn(ctx, url)
	if err != nil {
		return RebuiltFigures{}, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	r := rebuilding{conn: conn, progress: progress}
	err = r.run(ctx)
	return r.out, store.Unavailable("rebuild figures", err)
}

// errRebuilding means that figures are being rebuilt by another session.
var errRebuilding = errors.New("figures are being rebuilt by another session; wait for it")

// rebuilding is one call of RebuildFigures.
type rebuilding struct {
	conn     *pgx.Conn
	progress func(folded, all int64)
	out      RebuiltFigures
	gen      generation
	still    idlePeriods
	push     *pushes
	begun    *begun
}

func (r *rebuilding) run(ctx context.Context) error {
	var free bool
	if err := r.conn.QueryRow(ctx, "SELECT pg_try_advisory_lock(hashtext('arauto.rebuild-figures'))").Scan(&free); err != nil {
		return err
	}
	if !free {
		return errRebuilding
	}
	defer func() { // the server ends the session a little later than we do
		_, _ = r.conn.Exec(context.WithoutCancel(ctx), "SELECT pg_advisory_unlock(hashtext('arauto.rebuild-figures'))")
	}()
	if err := r.begin(ctx); err != nil {
		return err
	}
	for done := false; !done; {
		err := pgx.BeginFunc(ctx, r.conn, func(tx pgx.Tx) (err error) {
			done, err = r.step(ctx, tx)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// begin makes an empty generation and learns which months cannot be folded anew.
func (r *rebuilding) begin(ctx context.Context) error {
	if err := dropUnused(ctx, r.conn); err != nil {
		return err
	}
	err := r.conn.QueryRow(ctx, "INSERT INTO figures_state (generation, active) SELECT max(generation) + 1, false FROM figures_state RETURNING generation").Scan(&r.gen.number)
	if err != nil {
		return err
	}
	rows, _ := r.conn.Query(ctx, "SELECT partition FROM history_dropped ORDER BY partition")
	removed, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for _, name := range removed {
		month, err := time.Parse("entry_200601", name)
		if err != nil {
			return fmt.Errorf("%w: the removed month %q", store.ErrTampered, name)
		}
		// What was decided at the end of the month before may have ended in this one.
		for _, first := range []time.Time{month.AddDate(0, -1, 0), month} {
			if !covered(r.gen.keep, first) {
				r.gen.keep = append(r.gen.keep, keptHours{first, first.AddDate(0, 1, 0)})
				r.out.Kept = append(r.out.Kept, first.Format("2006-01"))
			}
		}
	}
	return nil
}

// dropUnused deletes the generations that are not in use.
func dropUnused(ctx context.Context, db interface {
	Begin(ctx context.Context) (pgx.Tx, error)
},
) error {
	return pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		for _, table := range []string{"figures_hour", "figures_minute", "figures_client", "figures_late", "figures_state"} {
			if _, err := tx.Exec(ctx, "DELETE FROM "+table+" WHERE generation IN (SELECT generation FROM figures_state WHERE NOT active)"); err != nil {
				return err
			}
		}
		return nil
	})
}

// step folds the next stretch. With the last one it waits for the fold in use, compares, and puts the new sums in place.
func (r *rebuilding) step(ctx context.Context, tx pgx.Tx) (bool, error) {
	f := folding{db: tx, still: &r.still, gen: r.gen, push: r.push, begun: r.begun}
	out, err := f.step(ctx, nil)
	if err != nil {
		return false, err
	}
	r.gen.entries, r.push, r.begun = f.gen.entries, f.push, f.begun
	r.out.Entries += out.Entries
	size, err := logSize(ctx, tx)
	if err != nil {
		return false, err
	}
	if r.progress != nil {
		r.progress(r.gen.entries, size)
	}
	if out.More {
		return false, nil
	}
	if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtext('arauto.figures'))"); err != nil {
		return false, err
	}
	used, err := activeFigures(ctx, tx)
	if err != nil {
		return false, err
	}
	if used.entries > r.gen.entries { // it went on meanwhile
		return false, nil
	}
	return true, r.replace(ctx, tx, used)
}

// replace brings the figures in use to the same position, compares, and replaces them.
func (r *rebuilding) replace(ctx context.Context, tx pgx.Tx, used generation) error {
	for used.entries < r.gen.entries {
		f := folding{db: tx, still: &idlePeriods{}, gen: used}
		if err := f.learnWith(ctx); err != nil {
			return err
		}
		out, err := f.step(ctx, nil)
		if err != nil {
			return err
		}
		if used = f.gen; !out.More {
			break
		}
	}
	for _, kept := range r.gen.keep {
		if _, err := tx.Exec(ctx, `INSERT INTO figures_hour (generation, hour, client_id, kind, sums)
SELECT $1, hour, client_id, kind, sums FROM figures_hour WHERE generation = $2 AND hour >= $3 AND hour < $4`, r.gen.number, used.number, kept.from, kept.to); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `INSERT INTO figures_late (generation, at, notification_id, client_id)
SELECT $1, at, notification_id, client_id FROM figures_late WHERE generation = $2 AND at >= $3 AND at < $4
AND NOT EXISTS (SELECT FROM history_dropped WHERE partition = 'entry_' || to_char(at AT TIME ZONE 'UTC', 'YYYYMM'))`, r.gen.number, used.number, kept.from, kept.to); err != nil {
			return err
		}
	}
	err := tx.QueryRow(ctx, `SELECT count(*), count(*) FILTER (WHERE differs), coalesce(min(at) FILTER (WHERE differs), '') FROM (
  SELECT o.sums::jsonb IS DISTINCT FROM n.sums::jsonb AS differs,
    format('%s client %s kind %s: %s kept, %s rebuilt', to_char(hour, 'YYYY-MM-DD HH24:MI'), client_id, kind, coalesce(o.sums::text, 'nothing'), coalesce(n.sums::text, 'nothing')) AS at
  FROM (SELECT * FROM figures_hour WHERE generation = $1) o FULL JOIN (SELECT * FROM figures_hour WHERE generation = $2) n USING (hour, client_id, kind)) c`,
		used.number, r.gen.number).Scan(&r.out.Rows, &r.out.Differ, &r.out.First)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "UPDATE figures_state SET active = false WHERE active"); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "UPDATE figures_state SET active = true WHERE generation = $1", r.gen.number); err != nil {
		return err
	}
	return dropUnused(ctx, tx)
}
