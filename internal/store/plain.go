package store

import (
	"context"
	"database/sql"
	"fmt"
)

// plainPage is how many resources are looked at in one transaction, so that changes of them wait for milliseconds alone.
const plainPage = 500

// PlainDocuments goes back to documents that are not packed, as the owner of the database: no replica packs one any more, and those that are
// packed are written as the core sent them. It answers how many it wrote. Replicas may serve meanwhile. It may be stopped and run again.
// A packed document that is damaged stays as it is, and is an error at the end.
func PlainDocuments(ctx context.Context, url string) (written int, err error) {
	db, err := ownerDB(ctx, url)
	if err != nil {
		return 0, err
	}
	defer db.Close()
	if err := inOwnTransaction(ctx, db, stopPacking); err != nil {
		return 0, migrationFailed(ctx, db, "stop packing documents", err)
	}
	walk := plainWalk{more: true}
	for walk.more {
		if err := inOwnTransaction(ctx, db, walk.page); err != nil {
			return walk.written, migrationFailed(ctx, db, "write plain documents", err)
		}
	}
	return walk.written, walk.damaged
}

func inOwnTransaction(ctx context.Context, db *sql.DB, act func(context.Context, *sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	if err := act(ctx, tx); err != nil {
		return err
	}
	return tx.Commit()
}

// stopPacking waits for the transactions that may still pack: T1 locks resources before it reads the form.
func stopPacking(ctx context.Context, tx *sql.Tx) error {
	if _, err := tx.ExecContext(ctx, "LOCK TABLE resource IN EXCLUSIVE MODE"); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, "UPDATE form SET packed = false")
	return err
}

// plainWalk goes through all resources in the order of their keys.
type plainWalk struct {
	kind    int16
	id      string
	more    bool
	written int
	damaged error // the first
}

const plainSQL = `
SELECT kind, id, CASE WHEN substr(document, 1, 1) = '\x01' THEN document END FROM resource WHERE (kind, id) > ($1, $2) ORDER BY kind, id LIMIT $3 FOR UPDATE`

func (w *plainWalk) page(ctx context.Context, tx *sql.Tx) error {
	rows, err := tx.QueryContext(ctx, plainSQL, w.kind, w.id, plainPage)
	if err != nil {
		return err
	}
	defer rows.Close()
	type packed struct {
		kind     int16
		id       string
		document []byte
	}
	var page []packed
	for rows.Next() {
		var p packed
		if err := rows.Scan(&p.kind, &p.id, &p.document); err != nil {
			return err
		}
		page = append(page, p)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for _, p := range page {
		if p.document == nil {
			continue
		}
		document, err := Unpack(p.document)
		if err != nil {
			if w.damaged == nil {
				w.damaged = fmt.Errorf("the document of resource %s of kind %d stays packed: %w", p.id, p.kind, err)
			}
			continue
		}
		if _, err := tx.ExecContext(ctx, "UPDATE resource SET document = $3 WHERE kind = $1 AND id = $2", p.kind, p.id, document); err != nil {
			return err
		}
		w.written++
	}
	if w.more = len(page) == plainPage; w.more {
		w.kind, w.id = page[len(page)-1].kind, page[len(page)-1].id
	}
	return nil
}
