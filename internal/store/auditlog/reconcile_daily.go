package auditlog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/store"
)

// InTurn runs a task that one replica at a time may do, and answers false when another one is at it. The lock ends
// with its connection, whatever becomes of us.
func (l *Log) InTurn(ctx context.Context, name string, do func(context.Context) error) (bool, error) {
	conn, err := l.query.Acquire(ctx)
	if err != nil {
		return false, store.Unavailable("take a connection", err)
	}
	defer conn.Release()
	var free bool
	if err := conn.QueryRow(ctx, "SELECT pg_try_advisory_lock(hashtext($1))", "arauto."+name).Scan(&free); err != nil {
		return false, store.Unavailable("lock "+name, err)
	}
	if !free {
		return false, nil
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if _, err := conn.Exec(ctx, "SELECT pg_advisory_unlock(hashtext($1))", "arauto."+name); err != nil {
			_ = conn.Conn().Close(ctx) // the lock must not stay in the pool
		}
	}()
	return true, do(ctx)
}

type reconciliationFacts struct {
	System string `json:"system"`
	history.Reconciliation
	AskedBy string `json:"askedBy,omitempty"` // of one that a person asked for
}

// RecordReconciliation writes to the history what a reconciliation found.
func (l *Log) RecordReconciliation(ctx context.Context, r *history.Reconciliation) error {
	return store.Unavailable("record the reconciliation", l.reconciliationEntry(r, "").add(ctx, l.query))
}

func (l *Log) reconciliationEntry(r *history.Reconciliation, askedBy string) plainEntry {
	outcome := "clean"
	if r.Differences > 0 {
		outcome = "differences"
	}
	return plainEntry{store.NewID(), history.FactReconciliation, outcome, reconciliationFacts{l.system, *r, askedBy}}
}

// LatestReconciliation reads what the newest daily reconciliation found, and when it was recorded; ErrNotFound before the
// first.
func (l *Log) LatestReconciliation(ctx context.Context) (r history.Reconciliation, at time.Time, err error) {
	var text string
	err = l.query.QueryRow(ctx, "SELECT at, facts::text FROM entry WHERE kind = 'reconciliation' AND facts->>'askedBy' IS NULL ORDER BY at DESC LIMIT 1").Scan(&at, &text)
	if errors.Is(err, pgx.ErrNoRows) {
		return r, at, fmt.Errorf("reconciliation: %w", store.ErrNotFound)
	}
	if err != nil {
		return r, at, store.Unavailable("read the newest reconciliation", err)
	}
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return r, at, fmt.Errorf("facts of the newest reconciliation: %w", err)
	}
	return r, at.UTC(), nil
}
