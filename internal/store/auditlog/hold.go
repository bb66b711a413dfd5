package auditlog

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/store"
)

type holdFacts struct {
	System string `json:"system"`
	Actor  string `json:"actor"`
	Role   string `json:"role"`
	Source string `json:"source"`
	Name   string `json:"name"`
	Reason string `json:"reason"`
}

func (l *Log) holdFacts(ctx context.Context, name, reason string) (string, error) {
	c := store.CallerOf(ctx)
	return store.Facts(holdFacts{l.system, c.Subject, c.Role, c.Source, name, reason})
}

// PlaceHold keeps what a hold names from being dropped, from its commit on, and writes that down in the same transaction.
// It answers the hold as it stands, and false when it stood already. ErrOtherHold when one of this name keeps something
// else.
func (l *Log) PlaceHold(ctx context.Context, h history.Hold) (history.Hold, bool, error) {
	text, err := l.holdFacts(ctx, h.Name, h.Reason)
	if err != nil {
		return history.Hold{}, false, err
	}
	var placed bool
	err = pgx.BeginFunc(ctx, l.query, func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx, "SELECT place_hold($1, $2, $3, $4, $5, $6, $7::json)", h.Name, store.ToText(string(h.Client)),
			pgtype.Int2{Int16: int16(h.Kind), Valid: h.Kind != 0}, store.ToText(h.ResourceID), h.Reason, store.CallerOf(ctx).Subject, text).Scan(&placed)
		if err != nil || !placed {
			return err
		}
		return store.Step(ctx, tx, "", "")
	})
	if store.IsCode(err, "55P03") { // retention is at work
		return history.Hold{}, false, fmt.Errorf("place a hold: %w: %w", store.ErrUnavailable, err)
	}
	if err != nil {
		return history.Hold{}, false, store.Unavailable("place a hold", err)
	}
	stands, err := l.Hold(ctx, h.Name)
	if err != nil {
		return history.Hold{}, false, err
	}
	if !stands.SameScope(h) {
		return history.Hold{}, false, store.ErrOtherHold
	}
	return stands, placed, nil
}

// LiftHold ends a hold and writes that down in the same transaction; ErrNotFound when there is none.
func (l *Log) LiftHold(ctx context.Context, name, reason string) error {
	text, err := l.holdFacts(ctx, name, reason)
	if err != nil {
		return err
	}
	var lifted bool
	err = pgx.BeginFunc(ctx, l.query, func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, "SELECT lift_hold($1, $2::json)", name, text).Scan(&lifted); err != nil || !lifted {
			return err
		}
		return store.Step(ctx, tx, "", "")
	})
	if store.IsCode(err, "55P03") {
		return fmt.Errorf("lift a hold: %w: %w", store.ErrUnavailable, err)
	} else if err != nil {
		return store.Unavailable("lift a hold", err)
	}
	if !lifted {
		return fmt.Errorf("hold %s: %w", name, store.ErrNotFound)
	}
	return nil
}

const holdsSQL = `SELECT h.name, coalesce(h.client_id, ''), coalesce(h.resource_kind, 0), coalesce(h.resource_id, ''), h.reason, h.placed_by, h.placed_at,
  ARRAY(SELECT m.partition FROM history_held m WHERE h.name = ANY (m.holds) ORDER BY 1) FROM hold h `

// Holds lists what stands, by name.
func (l *Log) Holds(ctx context.Context) ([]history.Hold, error) {
	out, err := store.All(ctx, l.query, holdPlaces, holdsSQL+"ORDER BY h.name")
	return out, store.Unavailable("list holds", err)
}

// Hold reads one; ErrNotFound when there is none.
func (l *Log) Hold(ctx context.Context, name string) (history.Hold, error) {
	h, err := store.One(ctx, l.query, holdPlaces, holdsSQL+"WHERE h.name = $1", name)
	return h, store.Unavailable("read the hold "+name, err)
}

func holdPlaces(h *history.Hold) []any {
	return []any{&h.Name, &h.Client, &h.Kind, &h.ResourceID, &h.Reason, &h.PlacedBy, &h.PlacedAt, &h.Months}
}

// HeldMonths lists the months of the history that would have been dropped and were kept, since holds concern them.
func (l *Log) HeldMonths(ctx context.Context) (map[string][]string, error) {
	rows, _ := l.query.Query(ctx, "SELECT partition, holds FROM history_held")
	out := map[string][]string{}
	var month string
	var holds []string
	_, err := pgx.ForEachRow(rows, []any{&month, &holds}, func() error { out[month] = holds; return nil })
	return out, store.Unavailable("list held months", err)
}

// retentionTimeout bounds one run of retention: it counts whole months before it drops them, and nobody waits for it.
const retentionTimeout = 10 * time.Minute

// DropHistory drops the months of the history that ended more than keepYears (5 or more) ago, whose removal was announced by
// an entry that is sealed, covered by a checkpoint and anchored, and that have nothing in them that a hold keeps; and months
// without entries. It names them.
func (l *Log) DropHistory(ctx context.Context, keepYears int) (gone []string, err error) {
	err = pgx.BeginFunc(ctx, l.query, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, fmt.Sprintf("SET LOCAL statement_timeout = %d", retentionTimeout.Milliseconds())); err != nil {
			return err
		}
		return tx.QueryRow(ctx, "SELECT drop_history(make_interval(years => $1))", keepYears).Scan(&gone)
	})
	return gone, store.Unavailable("drop old partitions of the history", err)
}
