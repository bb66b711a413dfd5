package auditlog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/store"
)

// periodMargin is how much younger than a period's end an entry in the last window must be (docs/audit-format.md).
const periodMargin = time.Hour

// countedRow is one row of log_count without its list.
type countedRow struct {
	from, to int64
	at       cursor // place of the entry in the order of sealing
	written  time.Time
	seq      int64
}

// Counted finds the windows in which verifications counted the clients of a search, as of the checkpoint: contiguous, from
// the last one that begins before the search's period to the first that is surely behind it. nil when the search names no
// client, names single resources, has no end, or when there are no such windows.
func (x *LogReader) Counted(ctx context.Context, s history.Search) (*audit.CountedPeriod, error) {
	if s.Narrow() || s.To.IsZero() {
		return nil, nil //nolint:nilnil // nothing to show is no error
	}
	clients, err := clientsOf(ctx, x.q, s, x.Checkpoint.Size)
	if err != nil || len(clients) == 0 {
		return nil, err
	}
	first, start, err := x.firstWindow(ctx, s.From)
	if err != nil {
		return nil, store.Unavailable("find the windows of a period", err)
	}
	p := &audit.CountedPeriod{Clients: clients, Start: start, From: first, To: first}
	var witness []countedRow
	err = x.eachRow(ctx, first, x.Checkpoint.Size, func(r *countedRow) (more bool, err error) {
		if r.from != p.To { // a gap: a verification in between found something wrong
			return false, nil
		}
		p.To = r.to
		witness = append(witness, *r)
		for _, w := range witness {
			if w.seq < p.To && !w.written.Before(s.To.Add(periodMargin)) {
				return false, nil
			}
		}
		return true, nil
	})
	if err != nil {
		return nil, store.Unavailable("find the windows of a period", err)
	}
	if p.To == p.From {
		return nil, nil //nolint:nilnil // nothing was counted yet
	}
	var gone bool
	if err := x.q.QueryRow(ctx, "SELECT EXISTS (SELECT FROM history_dropped WHERE last >= $1 AND first < $2)", p.From, p.To).Scan(&gone); err != nil {
		return nil, store.Unavailable("find removed months", err)
	}
	if gone {
		return nil, nil //nolint:nilnil // the counts cannot be computed again from what is left
	}
	return p, nil
}

// firstWindow finds where the windows begin that hold a period: the largest beginning whose checkpoint was signed at or
// before it. Without one it is the first beginning there is.
func (x *LogReader) firstWindow(ctx context.Context, from time.Time) (first int64, start []byte, err error) {
	if !from.IsZero() {
		err = x.q.QueryRow(ctx, `SELECT c.from_seq, k.note FROM log_count c JOIN log_checkpoint k ON k.size = c.from_seq
WHERE k.at <= $1 AND c.to_seq <= $2 ORDER BY c.to_seq DESC LIMIT 1`, from, x.Checkpoint.Size).Scan(&first, &start)
		if !errors.Is(err, pgx.ErrNoRows) {
			return first, start, err
		}
	}
	var least pgtype.Int8
	err = x.q.QueryRow(ctx, "SELECT min(from_seq) FROM log_count").Scan(&least)
	return least.Int64, nil, err
}

// eachRow hands over the rows of windows in a stretch of the log whose entry is sealed, in their order, until more is
// false.
func (x *LogReader) eachRow(ctx context.Context, from, to int64, each func(*countedRow) (more bool, err error)) error {
	for {
		page, err := store.All(ctx, x.q, func(r *countedRow) []any { return []any{&r.from, &r.to, &r.at.xid, &r.at.id} },
			"SELECT from_seq, to_seq, xid, entry FROM log_count WHERE from_seq >= $1 AND to_seq <= $2 ORDER BY to_seq LIMIT 100", from, to)
		if err != nil {
			return err
		}
		if len(page) == 0 {
			return nil
		}
		places := make([]audit.Entry, len(page))
		for i := range page {
			places[i] = audit.Entry{XID: page[i].at.xid, ID: page[i].at.id}
		}
		positions, err := findPositions(ctx, x.q, places, x.Checkpoint.Size)
		if err != nil {
			return err
		}
		for i := range page {
			if positions[i] == nil {
				return nil // younger than the checkpoint
			}
			page[i].seq, page[i].written = positions[i].seq, positions[i].time.Time()
			more, err := each(&page[i])
			if err != nil || !more {
				return err
			}
		}
		from = page[len(page)-1].to
	}
}

// Windows hands over each window of a period, with the proof that its entry is in the log.
func (x *LogReader) Windows(ctx context.Context, p *audit.CountedPeriod, each func(*audit.CountedWindow) error) error {
	err := x.eachRow(ctx, p.From, p.To, func(r *countedRow) (bool, error) {
		e, err := x.At(ctx, r.seq)
		if err != nil {
			return false, err
		}
		w := audit.CountedWindow{Seq: r.seq, Record: e.Record(nil)}
		if w.Path, err = x.Prove(ctx, r.seq); err != nil {
			return false, err
		}
		var list []byte
		if err := x.q.QueryRow(ctx, "SELECT clients FROM log_count WHERE to_seq = $1", r.to).Scan(&list); err != nil {
			return false, err
		}
		if w.Counts, err = audit.ParseCounts(list); err != nil {
			return false, fmt.Errorf("%w: counts of the window %d to %d: %w", store.ErrTampered, r.from, r.to, err)
		}
		if of, err := w.Of(); err != nil || of.From != r.from || of.To != r.to || of.Root != w.Counts.Root().String() {
			return false, fmt.Errorf("%w: the counts of the window %d to %d are not those that the entry at %d speaks of", store.ErrTampered, r.from, r.to, r.seq)
		}
		return true, each(&w)
	})
	return store.Unavailable("read the counts of a period", err)
}

// Context hands over the entries of a period's clients that a search does not find, in the order of the log.
func (x *LogReader) Context(ctx context.Context, p *audit.CountedPeriod, s history.Search, each func(*audit.Sealed) error) error {
	wanted := func(e *audit.Entry) bool {
		return matches(history.Search{}, p.Clients, e) && !matches(s, p.Clients, e)
	}
	return x.walk(ctx, walkRange{from: p.From, end: p.To, wanted: wanted}, each)
}
