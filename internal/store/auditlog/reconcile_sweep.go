package auditlog

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/timing"
)

// The sweep walks the history page by page of the table itself: it needs no index, its statements are short however
// long the history is, and since rows are only ever added, pages are as good as in the order of time.

// SweepPages is how many pages of the history are read in one piece: 1 MB, some thousand entries.
const SweepPages = 128

// sweepSlack is how far from the order of time a row may stand: longer than any transaction of ours lasts.
const sweepSlack = 10 * time.Minute

// piece is a range of pages of one month of the history. The month is chosen by its times, since nobody may read a
// partition but through the whole.
type piece struct {
	begins      time.Time // of the month
	first, next int64     // pages
	from, to    time.Time // of the period
}

// month is what partitions of the history are called.
var month = regexp.MustCompile(`^entry_(\d{6})$`)

// pages selects the piece's rows, under the alias p.
func (p piece) pages() string {
	const sql = "p.ctid >= '(%d,0)'::tid AND p.ctid < '(%d,0)'::tid AND p.at >= '%s'::timestamptz AND p.at < '%s'::timestamptz"
	return fmt.Sprintf(sql, p.first, p.next, p.begins.Format(time.RFC3339), p.begins.AddDate(0, 1, 0).Format(time.RFC3339))
}

// where selects those of the period; $1 and $2 are its times.
func (p piece) where() string { return p.pages() + " AND p.at >= $1 AND p.at < $2" }

// months lists the partitions that can hold rows of a period, oldest first, with their number of pages.
func (i *Inspector) months(ctx context.Context, from, to time.Time) ([]piece, error) {
	rows, _ := i.db.Query(ctx, `SELECT c.relname, pg_relation_size(c.oid) / current_setting('block_size')::bigint
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'entry'::regclass ORDER BY c.relname`)
	var out []piece
	var name string
	p := piece{from: from, to: to}
	_, err := pgx.ForEachRow(rows, []any{&name, &p.next}, func() (err error) {
		m := month.FindStringSubmatch(name)
		if m == nil {
			return fmt.Errorf("%s is not a month of the history", name)
		}
		if p.begins, err = time.Parse("200601", m[1]); err != nil {
			return fmt.Errorf("%s is not a month of the history: %w", name, err)
		}
		if p.next > 0 && p.begins.Before(to) && p.begins.AddDate(0, 1, 0).After(from) {
			out = append(out, p)
		}
		return nil
	})
	return out, err
}

// sweep hands over the history of a period piece by piece, each with a snapshot of its own that can read and nothing
// else.
func (i *Inspector) sweep(ctx context.Context, from, to time.Time, each func(tx pgx.Tx, p piece) error) error {
	months, err := i.months(ctx, from, to)
	if err != nil {
		return err
	}
	var all, before int64
	for _, m := range months {
		all += m.next
	}
	for _, m := range months {
		at, err := i.begin(ctx, m)
		if err != nil {
			return err
		}
		for ; at < m.next; at += i.pages {
			p := m
			p.first, p.next = at, min(at+i.pages, m.next)
			began := time.Now()
			done, err := i.piece(ctx, p, each)
			if err != nil {
				return err
			}
			if i.tell != nil {
				if err := i.tell(ctx, before+p.next, all); err != nil {
					return err
				}
			}
			if done {
				break
			}
			if err := i.rest(ctx, time.Since(began)); err != nil {
				return err
			}
		}
		before += m.next
	}
	return nil
}

// rest leaves the database to others for a while.
func (i *Inspector) rest(ctx context.Context, d time.Duration) error {
	if !i.gentle {
		return nil
	}
	return rest(ctx, d)
}

// rest waits so long, or until ctx ends, whose error it returns then.
func rest(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// piece reads one piece; done tells that everything behind it is younger than the period.
func (i *Inspector) piece(ctx context.Context, p piece, each func(tx pgx.Tx, p piece) error) (done bool, err error) {
	tx, err := i.db.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return false, err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // it only read
	if i.conn == nil {
		if _, err := tx.Exec(ctx, store.LongPauses); err != nil { // what was read is judged before the next statement
			return false, err
		}
	}
	oldest, err := oldest(ctx, tx, p)
	if err != nil {
		return false, err
	}
	if oldest.After(p.to.Add(sweepSlack)) {
		return true, nil
	}
	return false, each(tx, p)
}

// oldest is the time of the oldest row of a piece; zero when it has none.
func oldest(ctx context.Context, q querier, p piece) (at time.Time, err error) {
	err = q.QueryRow(ctx, "SELECT min(p.at) FROM entry p WHERE "+p.pages()).Scan(store.Columns(&at)...)
	return at, err
}

// begin finds the page from which on a month can hold rows of the period, by halving.
func (i *Inspector) begin(ctx context.Context, m piece) (int64, error) {
	low, high := int64(0), m.next // rows before low are all older
	for high-low > SweepPages {
		middle := (low + high) / 2
		at, err := oldest(ctx, i.db, piece{begins: m.begins, first: middle, next: min(middle+8, m.next)})
		if err != nil {
			return 0, err
		}
		if !at.IsZero() && at.Before(m.from.Add(-sweepSlack)) {
			low = middle
		} else {
			high = middle
		}
	}
	return low, nil
}

// silent counts the changes of a period that were not told, by reason.
func (i *Inspector) silent(ctx context.Context, p timing.Period) (map[string]int64, error) {
	out := map[string]int64{}
	err := i.sweep(ctx, p.From, p.To, func(tx pgx.Tx, at piece) error {
		rows, _ := tx.Query(ctx, `SELECT coalesce(p.facts->>'reason', ''), count(*) FROM entry p WHERE p.kind = 'change' AND p.notification_id IS NULL
AND ($3 = '' OR p.client_id = $3) AND `+at.where()+" GROUP BY 1", p.From, p.To, string(p.Client))
		var reason string
		var n int64
		_, err := pgx.ForEachRow(rows, []any{&reason, &n}, func() error {
			out[reason] += n
			return nil
		})
		return err
	})
	return out, store.Unavailable("count silent changes", err)
}

// historyFrom is when the history begins, where months were removed; zero where none was.
func (i *Inspector) historyFrom(ctx context.Context) (time.Time, error) {
	var last string
	err := i.db.QueryRow(ctx, "SELECT partition FROM history_dropped ORDER BY partition DESC LIMIT 1").Scan(&last)
	if errors.Is(err, pgx.ErrNoRows) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, err
	}
	begins, err := time.Parse("entry_200601", last)
	if err != nil {
		return time.Time{}, fmt.Errorf("the name of a removed month %q: %w", last, err)
	}
	return begins.AddDate(0, 1, 0), nil
}
