package auditlog

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/timing"
)

// LateFirst are the clock proofs of notifications whose first attempt started late, by when that attempt was recorded, newest
// first: at most limit of them before p.After, and the position to continue after; zero at the end. It costs by what is late and not by the
// period, which is that of the attempts. One that was claimed in time and whose first byte left late is found as soon as its result is folded.
func (i *Inspector) LateFirst(ctx context.Context, p timing.Period, limit int) ([]timing.Timing, history.Position, error) {
	rows, next, now, err := i.lateFirst(ctx, p, limit)
	if err != nil {
		return nil, next, store.Unavailable("find late attempts", err)
	}
	out, err := i.judgedAlone(ctx, rows, now)
	out = slices.DeleteFunc(out, func(t timing.Timing) bool { return !t.Reported() })
	slices.Reverse(out)
	return out, next, err
}

// judgedAlone judges notifications by the entries that made them, oldest first, each by itself: a month may be between two of them, in
// which nothing is looked for.
func (i *Inspector) judgedAlone(ctx context.Context, rows []audit.Entry, now time.Time) ([]timing.Timing, error) {
	records, err := i.records(ctx, rows)
	if err != nil {
		return nil, store.Unavailable("read attempts", err)
	}
	still := idlePeriodsOf(i.db)
	still.sparse = true
	out := make([]timing.Timing, 0, len(records))
	for n := range records {
		t, err := timing.TimingsOf(records[n:n+1], now, still.within(ctx, now))
		if err != nil {
			return nil, store.Unavailable("look for standstills", err)
		}
		out = append(out, t[0])
	}
	return out, nil
}

// announcedInOrder reads the entries that made notifications, oldest first as idlePeriods needs them.
const announcedInOrder = entrySelect + `
WHERE notification_id = ANY($1) AND kind IN ('change', 'decision', 'resend') ORDER BY at, notification_id`

// announcedSQL tells attempts whose notification still has the entry that made it: that may have gone with its month. Nearly always it is a
// few seconds older, so the other months are looked at only where it is not among those of the day before.
const announcedSQL = "(EXISTS (" + announcedBy + "AND a.at > e.at - interval '1 day') OR EXISTS (" + announcedBy + "))"

const announcedBy = "SELECT FROM entry a WHERE a.notification_id = e.notification_id AND a.kind IN ('change', 'decision', 'resend') AND a.at <= e.at "

// lateStarts selects late first attempts, in two ways: by their claim, with the index entry_late, and by the fold of their results, whose rows
// go with the entry that made the notification. The end is that of either selection, such as its order and limit.
func lateStarts(where, end string) string {
	return "((SELECT notification_id, at, client_id FROM entry e WHERE " + lateSQL + " AND number = 1 AND " + where + " AND " + announcedSQL + end + `)
UNION (SELECT notification_id, at, client_id FROM figures_late WHERE generation = (SELECT generation FROM figures_state WHERE active) AND ` + where + end + ")) l"
}

// lateFirst reads the entries that made the notifications, oldest first as idlePeriods needs them.
func (i *Inspector) lateFirst(ctx context.Context, p timing.Period, limit int) (rows []audit.Entry, next history.Position, now time.Time, err error) {
	where, args := "at >= $1 AND at < $2", []any{p.From, p.To}
	if !p.After.At.IsZero() {
		args = append(args, p.After.At, store.ToUUID(p.After.ID))
		where += " AND at <= $3 AND (at, notification_id) < ($3, $4)"
	}
	if p.Client != "" {
		args = append(args, string(p.Client))
		where += fmt.Sprintf(" AND client_id = $%d", len(args))
	}
	newest := fmt.Sprintf(" ORDER BY at DESC, notification_id DESC LIMIT %d", limit+1)
	found, _ := i.db.Query(ctx, "SELECT notification_id, at, now() FROM "+lateStarts(where, newest)+newest, args...)
	var ids []pgtype.UUID
	var last, read history.Position
	_, err = pgx.ForEachRow(found, store.Columns(&read.ID, &read.At, &now), func() error {
		if len(ids) < limit {
			ids, last = append(ids, store.ToUUID(read.ID)), read
		} else {
			next = last
		}
		return nil
	})
	if err != nil || len(ids) == 0 {
		return nil, next, now, err
	}
	rows, err = queryEntries(ctx, i.db, announcedInOrder, ids)
	return rows, next, now, err
}

// LateByClient counts the late first attempts of a period by client: at most so many clients, those with the most first.
func (l *Log) LateByClient(ctx context.Context, p timing.Period, most int) ([]timing.LateClient, error) {
	rows, _ := l.query.Query(ctx, "SELECT client_id, count(*) FROM "+lateStarts("at >= $1 AND at < $2 AND ($3 = '' OR client_id = $3)", "")+`
GROUP BY client_id ORDER BY count(*) DESC, client_id LIMIT $4`, p.From, p.To, string(p.Client), most)
	out, err := pgx.CollectRows(rows, pgx.RowToStructByPos[timing.LateClient])
	return out, store.Unavailable("count late attempts", err)
}

// LateFirst is Inspector.LateFirst over the pool that reads.
func (l *Log) LateFirst(ctx context.Context, p timing.Period, limit int) ([]timing.Timing, history.Position, error) {
	return l.Inspector().LateFirst(ctx, p, limit)
}
