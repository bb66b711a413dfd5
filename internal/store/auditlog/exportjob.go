package auditlog

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/store"
)

// Bounds of exports. Files lie in the database, which is not there to hold many of them: what is larger is written by
// arauto audit export, to a disk.
const (
	exportMost     = 1 << 30   // bytes of one file
	exportsMost    = 4 << 30   // bytes of all files together
	exportsDone    = 512 << 20 // bytes of the finished ones together; the newest stays, however large
	exportsWaiting = 20        // that wait or are made
	exportStarts   = 3         // after so many makers died over one it is given up
	exportLease    = "30 seconds"
	exportKept     = "24 hours" // after its end
)

// RequestExport puts an export into the queue and writes into the history that it was asked for. A size of 0 becomes that of
// the newest checkpoint. Errors: ErrNoCheckpoint, ErrExports.
func (l *Log) RequestExport(ctx context.Context, e history.Export) (history.Export, error) {
	head, err := l.Checkpoint(ctx, e.Size)
	if err != nil {
		return history.Export{}, err
	}
	e.ID, e.Size, e.Caller = store.NewID(), head.Checkpoint.Size, store.CallerOf(ctx)
	filter, err := store.Facts(e.Search.Filter())
	if err != nil {
		return history.Export{}, err
	}
	err = pgx.BeginFunc(ctx, l.query, func(tx pgx.Tx) error {
		var many int
		if err := tx.QueryRow(ctx, "SELECT count(*) FROM export_job WHERE state IN ('waiting', 'running')").Scan(&many); err != nil {
			return err
		}
		if many >= exportsWaiting {
			return store.ErrExports
		}
		_, err := tx.Exec(ctx, `INSERT INTO export_job (id, filter, format, size, requested_by, role, source) VALUES ($1, $2::jsonb, $3, $4, $5, $6, $7)`,
			store.ToUUID(e.ID), filter, e.Format, e.Size, e.Caller.Subject, e.Caller.Role, e.Caller.Source)
		if err != nil {
			return err
		}
		return l.exportEntry("export-requested", &e).add(ctx, tx)
	})
	if err != nil {
		return history.Export{}, store.Unavailable("ask for an export", err)
	}
	return l.Export(ctx, e.ID)
}

// exportEntry names the caller that asked for an export, whichever replica makes it.
func (l *Log) exportEntry(act string, e *history.Export) plainEntry {
	return plainEntry{store.NewID(), history.FactAdmin, act, struct {
		readingFacts
		Format string `json:"format"`
		Export string `json:"export"`
	}{
		readingFacts{l.system, e.Caller.Subject, e.Caller.Role, e.Caller.Source, e.Search.Filter(), e.Size, e.Entries, e.SHA256, 0},
		e.Format, e.ID.String(),
	}}
}

const exportColumns = `id, state, filter, format, size, requested_by, role, source, requested_at, starts, walked, coalesce(entries, 0), bytes,
  coalesce(sha256, ''), coalesce(problem, ''), ended_at, expires_at, token, complete, coalesce(notes, '{}')`

func scanExport(row pgx.CollectableRow) (e history.Export, err error) {
	var filter map[string]string
	err = row.Scan(store.Columns(&e.ID, &e.State, &filter, &e.Format, &e.Size, &e.Caller.Subject, &e.Caller.Role, &e.Caller.Source, &e.RequestedAt, &e.Starts, &e.Walked,
		&e.Entries, &e.Bytes, &e.SHA256, &e.Problem, &e.EndedAt, &e.ExpiresAt, &e.Token, &e.Complete, &e.Notes)...)
	if err != nil {
		return e, err
	}
	if e.Search, err = history.ParseSearch(filter); err != nil {
		return e, fmt.Errorf("filter of export %s: %w", e.ID, err)
	}
	return e, nil
}

// Exports lists what was asked for and has not expired, the newest first.
func (l *Log) Exports(ctx context.Context) ([]history.Export, error) {
	rows, _ := l.query.Query(ctx, "SELECT "+exportColumns+" FROM export_job ORDER BY requested_at DESC, id DESC")
	out, err := pgx.CollectRows(rows, scanExport)
	return out, store.Unavailable("list exports", err)
}

// Export reads one; ErrNotFound when there is none, or it has expired.
func (l *Log) Export(ctx context.Context, id notice.ID) (history.Export, error) {
	rows, _ := l.query.Query(ctx, "SELECT "+exportColumns+" FROM export_job WHERE id = $1", store.ToUUID(id))
	out, err := pgx.CollectRows(rows, scanExport)
	if err != nil {
		return history.Export{}, store.Unavailable("read an export", err)
	}
	if len(out) == 0 {
		return history.Export{}, fmt.Errorf("export %s: %w", id, store.ErrNotFound)
	}
	return out[0], nil
}

// ExportPiece reads the piece with a number, from 0, of a finished file; nil after the last.
func (l *Log) ExportPiece(ctx context.Context, id notice.ID, n int) (data []byte, err error) {
	err = l.query.QueryRow(ctx, "SELECT data FROM export_piece p JOIN export_job j ON j.id = p.job WHERE p.job = $1 AND p.n = $2 AND j.state = 'done'", store.ToUUID(id), n).Scan(&data)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	return data, store.Unavailable("read a piece of an export", err)
}

// DeleteExport removes an export and its file, also one that is being made, and writes that down; ErrNotFound when there
// is none.
func (l *Log) DeleteExport(ctx context.Context, id notice.ID) error {
	e, err := l.Export(ctx, id)
	if err != nil {
		return err
	}
	e.Caller = store.CallerOf(ctx)
	err = pgx.BeginFunc(ctx, l.query, func(tx pgx.Tx) error {
		gone, err := tx.Exec(ctx, "DELETE FROM export_job WHERE id = $1", store.ToUUID(id))
		if err != nil {
			return err
		}
		if gone.RowsAffected() == 0 {
			return store.ErrNotFound
		}
		return l.exportEntry("export-deleted", &e).add(ctx, tx)
	})
	return store.Unavailable("delete an export", err)
}

// claimExportSQL takes the export that has waited longest, or one whose maker died, and throws away what that one made.
const claimExportSQL = `
WITH next AS MATERIALIZED (
  SELECT id FROM export_job WHERE (state = 'waiting' OR (state = 'running' AND lease_until < now())) AND starts < $1
  ORDER BY requested_at, id LIMIT 1 FOR UPDATE SKIP LOCKED
), cleared AS (
  DELETE FROM export_piece p USING next WHERE p.job = next.id
)
UPDATE export_job j SET state = 'running', token = gen_random_uuid(), lease_until = now() + interval '` + exportLease + `', starts = starts + 1, walked = 0, bytes = 0
FROM next WHERE j.id = next.id RETURNING j.id`

// giveUpSQL ends the exports over which makers died again and again, and removes those whose time is over.
const giveUpSQL = `
WITH gone AS (
  DELETE FROM export_job WHERE expires_at < now()
)
UPDATE export_job SET state = 'failed', token = NULL, problem = 'given up: it was begun ' || starts || ' times and never ended', ended_at = now(),
  expires_at = now() + interval '` + exportKept + `'
WHERE state = 'running' AND lease_until < now() AND starts >= $1`

// ClaimExport takes an export to be made, under a lease of 30 s that AddPiece and KeepExport renew; nil when there is
// none. It also removes what has expired.
func (l *Log) ClaimExport(ctx context.Context) (*history.Export, error) {
	if _, err := l.query.Exec(ctx, giveUpSQL, exportStarts); err != nil {
		return nil, store.Unavailable("remove old exports", err)
	}
	var id notice.ID
	err := l.query.QueryRow(ctx, claimExportSQL, exportStarts).Scan(store.Columns(&id)...)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil //nolint:nilnil // nothing to do is no error
	}
	if err != nil {
		return nil, store.Unavailable("take up an export", err)
	}
	e, err := l.Export(ctx, id)
	return &e, err
}

// holdExport renews the lease of an export and adds so many bytes; it locks the row, so that what follows in the same
// transaction is the maker's alone.
const holdExport = `UPDATE export_job SET lease_until = now() + interval '` + exportLease + `', walked = greatest(walked, $3), bytes = bytes + $4
WHERE id = $1 AND token = $2 AND state = 'running' RETURNING bytes, (SELECT coalesce(sum(o.bytes), 0) FROM export_job o WHERE o.id <> $1)`

// AddPiece appends a piece of the file of an export that was claimed. Errors: ErrExportLost, ErrExportLarge, ErrExportSpace.
func (l *Log) AddPiece(ctx context.Context, e *history.Export, n int, data []byte) error {
	err := pgx.BeginFunc(ctx, l.query, func(tx pgx.Tx) error {
		var mine, others int64
		err := tx.QueryRow(ctx, holdExport, store.ToUUID(e.ID), store.ToUUID(e.Token), e.Walked, len(data)).Scan(&mine, &others)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			return store.ErrExportLost
		case err != nil:
			return err
		case mine > exportMost:
			return store.ErrExportLarge
		case mine+others > exportsMost:
			return store.ErrExportSpace
		}
		_, err = tx.Exec(ctx, "INSERT INTO export_piece (job, n, data) VALUES ($1, $2, $3)", store.ToUUID(e.ID), n, data)
		return err
	})
	return store.Unavailable("store a piece of an export", err)
}

// KeepExport renews the lease and tells how far the export is. ErrExportLost when it is not the caller's any more.
func (l *Log) KeepExport(ctx context.Context, e *history.Export, walked int64) error {
	var mine, others int64
	err := l.query.QueryRow(ctx, holdExport, store.ToUUID(e.ID), store.ToUUID(e.Token), walked, 0).Scan(&mine, &others)
	if errors.Is(err, pgx.ErrNoRows) {
		return store.ErrExportLost
	}
	return store.Unavailable("keep an export", err)
}

// FinishExport makes an export's file available, and writes down in the same transaction who was given what. It lasts 24 h, and
// shorter when newer files need the room: then the oldest become failed, with the reason and an entry each.
func (l *Log) FinishExport(ctx context.Context, e *history.Export, entries int64, sha256 string) error {
	e.Entries, e.SHA256 = entries, sha256
	return l.endExport(ctx, "done", func(tx pgx.Tx) (pgconn.CommandTag, error) {
		if err := l.exportEntry("export", e).add(ctx, tx); err != nil {
			return pgconn.CommandTag{}, err
		}
		tag, err := tx.Exec(ctx, `UPDATE export_job SET state = 'done', token = NULL, entries = $3, sha256 = $4, complete = $5, notes = $6, walked = size, ended_at = now(),
  expires_at = now() + interval '`+exportKept+`' WHERE id = $1 AND token = $2`, store.ToUUID(e.ID), store.ToUUID(e.Token), entries, sha256, e.Complete, e.Notes)
		if err != nil || tag.RowsAffected() == 0 {
			return tag, err
		}
		return tag, l.removeOldest(ctx, tx)
	})
}

// removeOldestSQL removes the files of finished exports beyond those that, with all newer ones, have so many bytes.
const removeOldestSQL = `
WITH lying AS (
  SELECT id, row_number() OVER newest AS place, sum(bytes) OVER newest AS together FROM export_job WHERE state = 'done' WINDOW newest AS (ORDER BY ended_at DESC, id DESC)
), old AS MATERIALIZED (
  SELECT id AS gone FROM lying WHERE place > 1 AND together > $1
), cleared AS (
  DELETE FROM export_piece p USING old WHERE p.job = old.gone
)
UPDATE export_job SET state = 'failed', bytes = 0, problem = $2 FROM old WHERE id = old.gone RETURNING ` + exportColumns

// exportRemoved is the problem of an export whose file made room.
const exportRemoved = "the file was removed to make room for newer ones: finished files take 512 MiB together; ask for the export again, and fetch its file when it is done"

// removeOldest removes the oldest files beyond what may lie finished, and writes each down.
func (l *Log) removeOldest(ctx context.Context, tx pgx.Tx) error {
	rows, _ := tx.Query(ctx, removeOldestSQL, exportsDone, exportRemoved)
	gone, err := pgx.CollectRows(rows, scanExport)
	if err != nil {
		return err
	}
	for i := range gone {
		if err := l.exportEntry("export-removed", &gone[i]).add(ctx, tx); err != nil {
			return err
		}
	}
	return nil
}

// FailExport ends an export without a file.
func (l *Log) FailExport(ctx context.Context, e *history.Export, why string) error {
	return l.endExport(ctx, "failed", func(tx pgx.Tx) (pgconn.CommandTag, error) {
		if _, err := tx.Exec(ctx, "DELETE FROM export_piece WHERE job = $1 AND EXISTS (SELECT FROM export_job WHERE id = $1 AND token = $2)", store.ToUUID(e.ID), store.ToUUID(e.Token)); err != nil {
			return pgconn.CommandTag{}, err
		}
		return tx.Exec(ctx, `UPDATE export_job SET state = 'failed', token = NULL, bytes = 0, problem = $3, ended_at = now(), expires_at = now() + interval '`+exportKept+`'
WHERE id = $1 AND token = $2`, store.ToUUID(e.ID), store.ToUUID(e.Token), why)
	})
}

// ReleaseExport gives an export back that its maker cannot end, so that another takes it up at once.
func (l *Log) ReleaseExport(ctx context.Context, e *history.Export) error {
	return l.endExport(ctx, "waiting", func(tx pgx.Tx) (pgconn.CommandTag, error) {
		return tx.Exec(ctx, "UPDATE export_job SET state = 'waiting', token = NULL, starts = starts - 1 WHERE id = $1 AND token = $2", store.ToUUID(e.ID), store.ToUUID(e.Token))
	})
}

func (l *Log) endExport(ctx context.Context, how string, end func(pgx.Tx) (pgconn.CommandTag, error)) error {
	err := pgx.BeginFunc(ctx, l.query, func(tx pgx.Tx) error {
		tag, err := end(tx)
		if err == nil && tag.RowsAffected() == 0 {
			return store.ErrExportLost
		}
		return err
	})
	return store.Unavailable("make an export "+how, err)
}
