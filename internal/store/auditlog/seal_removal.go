package auditlog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/store"
)

// claimsTimeout bounds the check of one announcement of a removal, which reads every position of a month.
const claimsTimeout = time.Hour

// setLongTimeout lets one statement look through the positions of a month.
var setLongTimeout = fmt.Sprintf("SET LOCAL statement_timeout = %d", claimsTimeout.Milliseconds())

// monthBatch is how many positions of a month one statement reads.
const monthBatch = 20_000

// errClaim means that an entry about the log itself claims what is not so.
var errClaim = errors.New("an entry about the log itself claims what is not so")

// readMonth computes, from the positions, what the announcement of a month's removal must claim. Entries is 0 for a month
// without positions. It reads in many short statements.
func readMonth(ctx context.Context, q querier, partition string) (audit.Removal, error) {
	r := audit.Removal{Partition: partition}
	begins, ends, err := r.Month()
	if err != nil {
		return r, err
	}
	var first, last pgtype.Int8
	if err := q.QueryRow(ctx, "SELECT min(seq), max(seq) FROM log_position WHERE at >= $1 AND at < $2", begins, ends).Scan(&first, &last); err != nil || !first.Valid {
		return r, err
	}
	r.First, r.Last = first.Int64, last.Int64
	var tree audit.Range
	for from := r.First; from <= r.Last; from += monthBatch {
		rows, _ := q.Query(ctx, "SELECT leaf FROM log_position WHERE seq >= $1 AND seq < $2 AND at >= $3 AND at < $4 ORDER BY seq", from, from+monthBatch, begins, ends)
		var leaf []byte
		if _, err := pgx.ForEachRow(rows, []any{&leaf}, func() error {
			if len(leaf) != len(audit.Hash{}) {
				return errGap
			}
			tree.Append(audit.Hash(leaf), nil)
			return nil
		}); err != nil {
			return r, err
		}
	}
	r.Entries, r.Digest = tree.Size(), tree.Root()
	return r, nil
}

// AnnounceRemovals announces the removal of the months that ended more than keepYears (5 or more) ago, were sealed as long
// ago, and have entries; it names them. Nothing is removed by it: DropHistory removes a month once its announcement is
// sealed, covered by a checkpoint and anchored.
func (l *Log) AnnounceRemovals(ctx context.Context, keepYears int) (announced []string, err error) {
	rows, _ := l.query.Query(ctx, `
SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = 'entry'::regclass AND c.relname ~ '^entry_[0-9]{6}$' AND NOT EXISTS (SELECT FROM history_announced WHERE partition = c.relname)
  AND (to_date(substr(c.relname, 7), 'YYYYMM') + interval '1 month') AT TIME ZONE 'UTC' <= now() - make_interval(years => $1) ORDER BY 1`, keepYears)
	months, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, store.Unavailable("look for months whose time is over", err)
	}
	for _, month := range months {
		told, err := l.announceRemoval(ctx, month, keepYears)
		if err != nil {
			return announced, store.Unavailable("announce the removal of "+month, err)
		}
		if told {
			announced = append(announced, month)
		}
	}
	return announced, nil
}

func (l *Log) announceRemoval(ctx context.Context, month string, keepYears int) (told bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, claimsTimeout)
	defer cancel()
	err = pgx.BeginFunc(ctx, l.query, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, setLongTimeout); err != nil {
			return err
		}
		r, err := readMonth(ctx, tx, month)
		if err != nil || r.Entries == 0 {
			return err
		}
		return tx.QueryRow(ctx, "SELECT announce_removal($1, $2, $3, $4, $5, make_interval(years => $6))", r.Partition, r.First, r.Last, r.Entries, r.Digest[:], keepYears).Scan(&told)
	})
	return told, err
}

// aboutTheLog tells whether entries of a kind are about the log itself.
func aboutTheLog(kind string) bool { return kind == audit.KindRetention || kind == audit.KindLoss }

// claims compares what the entries of a batch claim about the log itself with the database, before anything is signed over
// them.
func (w *sealing) claims(ctx context.Context, entries []audit.Entry) error {
	if !slices.ContainsFunc(entries, func(e audit.Entry) bool { return aboutTheLog(e.Kind) }) {
		return nil
	}
	if _, err := w.tx.Exec(ctx, setLongTimeout); err != nil {
		return err
	}
	for i := range entries {
		e := &entries[i]
		var err error
		switch e.Kind {
		case audit.KindRetention:
			err = w.claimsRemoval(ctx, e)
		case audit.KindLoss:
			err = w.claimsLoss(e)
		}
		if errors.Is(err, errClaim) {
			return fmt.Errorf("%w: the entry %s of kind %s: %w", store.ErrTampered, e.ID, e.Kind, err)
		}
		if err != nil {
			return err
		}
	}
	_, err := w.tx.Exec(ctx, setSealTimeout)
	return err
}

func falseClaim(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{errClaim}, args...)...)
}

// claimsRemoval checks an entry that announces or records the removal of a month.
func (w *sealing) claimsRemoval(ctx context.Context, e *audit.Entry) error {
	r, err := audit.ParseRemoval(e.Facts)
	if err != nil {
		return falseClaim("%w", err)
	}
	switch audit.Value(e.Outcome) {
	case audit.RemovalAnnounced:
		have, err := readMonth(ctx, w.tx, r.Partition)
		if err != nil {
			return err
		}
		if have != r {
			return falseClaim("%s has %d entries from %d to %d in the log, with the digest %s", r.Partition, have.Entries, have.First, have.Last, have.Digest)
		}
		covered, err := w.covers(ctx, r.Last)
		if err != nil {
			return err
		}
		if due := r.RemovableAt(covered); e.At < due {
			return falseClaim("the removal of %s is announced at %s and may not be before %s", r.Partition, e.At, due)
		}
		return nil
	case audit.RemovalDropped:
		return w.claimsDropped(ctx, e, r)
	}
	return falseClaim("the outcome is neither announced nor dropped")
}

// claimsDropped checks an entry that records that a month is gone: its announcement is sealed, covered and anchored.
func (w *sealing) claimsDropped(ctx context.Context, e *audit.Entry, r audit.Removal) error {
	var id [16]byte
	var at time.Time
	err := w.tx.QueryRow(ctx, "SELECT entry, announced_at FROM history_announced WHERE partition = $1", r.Partition).Scan(&id, &at)
	if errors.Is(err, pgx.ErrNoRows) {
		return falseClaim("the removal of %s was not announced", r.Partition)
	}
	if err != nil {
		return err
	}
	var seq int64
	var facts string
	err = w.tx.QueryRow(ctx, `SELECT p.seq, a.facts::text FROM log_position p JOIN entry a ON a.xid = p.xid AND a.id = p.id AND a.at = p.at
WHERE p.at = $1 AND p.id = $2 AND a.at = $1 AND a.kind = 'retention' AND a.outcome = 'announced'`, at, id).Scan(&seq, &facts)
	if errors.Is(err, pgx.ErrNoRows) {
		return falseClaim("the announcement of the removal of %s is not sealed", r.Partition)
	}
	if err != nil {
		return err
	}
	if told, err := audit.ParseRemoval(facts); err != nil || told != r {
		return falseClaim("the removal of %s was announced otherwise at position %d", r.Partition, seq)
	}
	covered, err := w.covers(ctx, seq)
	if err != nil {
		return err
	}
	var anchored audit.Instant
	var rows bool
	begins, ends, _ := r.Month()
	err = w.tx.QueryRow(ctx, "SELECT anchored_through, EXISTS (SELECT FROM entry WHERE at >= $1 AND at < $2) FROM seal_state", begins, ends).Scan(store.Columns(&anchored, &rows)...)
	switch {
	case err != nil:
		return err
	case rows:
		return falseClaim("the history still has entries of %s", r.Partition)
	case covered > e.At || covered >= anchored:
		return falseClaim("the removal of %s was announced at position %d, and that was not anchored before", r.Partition, seq)
	}
	return nil
}

// covers returns the signed time of the first checkpoint that covers a position.
func (w *sealing) covers(ctx context.Context, seq int64) (audit.Instant, error) {
	var signed string
	err := w.tx.QueryRow(ctx, "SELECT note FROM log_checkpoint WHERE size > $1 ORDER BY size LIMIT 1", seq).Scan(&signed)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, falseClaim("no checkpoint covers the position %d", seq)
	}
	if err != nil {
		return 0, err
	}
	c, err := audit.OpenCheckpoint([]byte(signed), w.key.Public())
	if err != nil || c.Size <= seq {
		return 0, falseClaim("the checkpoint that covers the position %d is not a signed one", seq)
	}
	return c.At, nil
}

// claimsLoss checks a statement of loss: it is signed with the log's key, and what it keeps is what the log has.
func (w *sealing) claimsLoss(e *audit.Entry) error {
	l, err := audit.LossOf(e.Facts, w.key.Public())
	if err != nil {
		return falseClaim("%w", err)
	}
	same, err := w.extend().has(l.Kept)
	if err == nil && !same {
		err = falseClaim("the first %d entries of the log are not those it keeps", l.Kept.Size)
	}
	return err
}
