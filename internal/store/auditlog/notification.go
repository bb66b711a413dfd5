package auditlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/store"
)

// notificationOf is the notification that an entry tells of; zero: of none.
func notificationOf(e *audit.Entry) notice.ID { return audit.Value(e.NotificationID) }

// waitingRow is the queue's row of a notification that is alive.
type waitingRow struct {
	ID       notice.ID
	DueAt    time.Time
	InFlight bool
	Stale    bool // its registration has ended: it reads as cancelled at once
}

// announcementsSQL reads the entries that made notifications.
const announcementsSQL = entrySelect + "a WHERE a.notification_id = ANY($1::uuid[]) AND a.kind IN ('change', 'decision', 'resend')"

// Notifications lists what f selects, newest first, at most f.Limit of them, and the position to continue after, or a
// zero one at the end. A state that is rare is found by its own index; the work for one call is bounded by the caller's
// context.
func (l *Log) Notifications(ctx context.Context, f history.Filter) ([]history.Record, history.Position, error) {
	out, next, err := l.notifications(ctx, f)
	if err == nil {
		err = store.Unavailable("read resends", l.markResent(ctx, out))
	}
	return out, next, err
}

func (l *Log) notifications(ctx context.Context, f history.Filter) ([]history.Record, history.Position, error) {
	var out []history.Record
	for {
		page, err := l.announced(ctx, f)
		if err != nil {
			return nil, history.Position{}, store.Unavailable("list notifications", err)
		}
		records, err := l.assemble(ctx, page)
		if err != nil {
			return nil, history.Position{}, store.Unavailable("read attempts", err)
		}
		for _, r := range records {
			f.After = history.Position{At: r.CreatedAt, ID: r.ID}
			if !wanted(&f, &r) {
				continue
			}
			out = append(out, r)
			if len(out) == f.Limit {
				return out, f.After, nil
			}
		}
		if len(page) < f.Limit {
			return out, history.Position{}, nil
		}
	}
}

// wanted tells whether a notification is in a state, late, and of an outcome that a filter asks for.
func wanted(f *history.Filter, r *history.Record) bool {
	return (f.State == "" || r.State == f.State) && (!f.Late || r.Late) &&
		(f.Outcome == "" || slices.ContainsFunc(r.Attempts, func(a history.AttemptRecord) bool { return a.Outcome == f.Outcome }))
}

// Notification reads one; ErrNotFound when there is none.
func (l *Log) Notification(ctx context.Context, id notice.ID) (history.Record, error) {
	rows, err := queryEntries(ctx, l.query, announcementsSQL, []pgtype.UUID{store.ToUUID(id)})
	if err != nil {
		return history.Record{}, store.Unavailable("read the notification", err)
	}
	if len(rows) == 0 {
		return history.Record{}, fmt.Errorf("notification %s: %w", id, store.ErrNotFound)
	}
	records, err := l.assemble(ctx, rows)
	if err != nil {
		return history.Record{}, store.Unavailable("read attempts", err)
	}
	return records[0], store.Unavailable("read resends", l.markResent(ctx, records))
}

// announced reads one page of the entries that made notifications.
func (l *Log) announced(ctx context.Context, f history.Filter) ([]audit.Entry, error) {
	switch f.State {
	case notice.Exhausted:
		return l.announcedBy(ctx, f, closed(f))
	case notice.Pending:
		return l.announcedBy(ctx, f, flying(f), alive(f, false))
	case notice.Cancelled:
		return l.announcedBy(ctx, f, alive(f, true), closed(f))
	}
	if f.ResourceID == "" && f.Interaction.IsZero() && (f.Late || f.Outcome != "" && !slices.Contains(plain, string(f.Outcome))) {
		return l.announcedMarked(ctx, f)
	}
	var c conditions
	c.and("a.notification_id IS NOT NULL AND a.kind IN ('change', 'decision', 'resend')")
	if !f.Interaction.IsZero() {
		c.and("a.notification_id IN (SELECT e.notification_id FROM entry e WHERE e.interaction_id = " + c.arg([16]byte(f.Interaction)) + ")")
	}
	if f.ResourceID != "" {
		c.and("a.resource_id = " + c.arg(f.ResourceID) + " AND a.number IS NULL")
	}
	return queryEntries(ctx, l.query, entrySelect+"a"+c.page(f, filterColumns{"a.at", "a.notification_id", "a.client_id", "a.resource_kind"}), c.args...)
}

// filterColumns are the columns by which notifications are filtered and ordered.
type filterColumns struct{ at, id, client, kind string }

// page adds what every way of finding notifications can filter by, and gives the conditions, the order and the limit.
func (c *conditions) page(f history.Filter, by filterColumns) string {
	if f.Client != "" {
		c.and(by.client + " = " + c.arg(string(f.Client)))
	}
	if f.Kind != 0 {
		c.and(by.kind + " = " + c.arg(int16(f.Kind)))
	}
	if !f.From.IsZero() {
		c.and(by.at + " >= " + c.arg(f.From))
	}
	if !f.To.IsZero() {
		c.and(by.at + " < " + c.arg(f.To))
	}
	if !f.After.At.IsZero() {
		c.and("(" + by.at + ", " + by.id + ") < (" + c.arg(f.After.At) + ", " + c.arg([16]byte(f.After.ID)) + ")")
	}
	return " WHERE " + strings.Join(c.all, " AND ") + " ORDER BY " + by.at + " DESC, " + by.id + " DESC LIMIT " + strconv.Itoa(f.Limit)
}

// place is a notification found by something other than its announcement.
type place struct {
	ID notice.ID
	At time.Time
}

// finder is a query that selects places.
type finder struct {
	sql  string
	args []any
}

// closed finds notifications that left the queue undelivered.
func closed(f history.Filter) finder {
	var c conditions
	c.and("u.closes = " + c.arg(string(f.State)))
	if f.ResourceID != "" {
		c.and("u.resource_id = " + c.arg(f.ResourceID))
	}
	if !f.Interaction.IsZero() {
		c.and("u.notification_id IN (SELECT e.notification_id FROM entry e WHERE e.interaction_id = " + c.arg([16]byte(f.Interaction)) + ")")
	}
	where := c.page(f, filterColumns{"u.created_at", "u.notification_id", "u.client_id", "u.resource_kind"})
	return finder{"SELECT u.notification_id, u.created_at FROM entry u" + where, c.args}
}

// lateSQL tells attempts of notifications whose first attempt started late, by the index entry_late. Older versions wrote late of resends
// too, which have no deadline.
const lateSQL = "kind = 'attempt' AND facts->>'late' = 'true' AND facts->>'manual' IS DISTINCT FROM 'true'"

// marked finds notifications by an entry of one of their attempts: a late one, or one with a rare outcome. The indexes
// entry_late and entry_outcome have these entries alone.
func marked(f history.Filter) finder {
	var c conditions
	mark := lateSQL
	if !f.Late {
		mark = "e.kind = 'result' AND e.outcome = " + c.arg(string(f.Outcome)) + " AND e." + unusualSQL
	}
	since := ""
	if !f.From.IsZero() {
		since = " AND %s.at >= " + c.arg(f.From)
	}
	if f.Client != "" {
		mark += " AND e.client_id = " + c.arg(string(f.Client))
	}
	c.and("true")
	where := c.page(f, filterColumns{"m.at", "m.notification_id", "m.client_id", "m.resource_kind"})
	return finder{`WITH marked AS MATERIALIZED (SELECT DISTINCT e.notification_id FROM entry e WHERE ` + mark + strings.ReplaceAll(since, "%s", "e") + `)
SELECT m.notification_id, m.at FROM marked CROSS JOIN LATERAL (SELECT a.notification_id, a.at, a.client_id, a.resource_kind FROM entry a
  WHERE a.notification_id = marked.notification_id AND a.kind IN ('change', 'decision', 'resend')` + strings.ReplaceAll(since, "%s", "a") + ` LIMIT 1) m` + where, c.args}
}

// firstMarks is how far back the first look for marks goes.
const firstMarks = time.Hour

// announcedMarked reads one page of the entries that made notifications with a mark. Marks come after the notification, so those
// from a time on belong to all marked notifications from that time on. It looks back further and further until the page is
// full: a mark may be rare for one client and frequent for all.
func (l *Log) announcedMarked(ctx context.Context, f history.Filter) ([]audit.Entry, error) {
	start := time.Now()
	if !f.To.IsZero() && f.To.Before(start) {
		start = f.To
	}
	if !f.After.At.IsZero() && f.After.At.Before(start) {
		start = f.After.At
	}
	for step := firstMarks; ; step *= stepGrowth {
		near := f
		if low := start.Add(-step); step < walkBack && low.After(f.From) {
			near.From = low
		}
		page, err := l.announcedBy(ctx, near, marked(near))
		if err != nil || len(page) >= f.Limit || near.From.Equal(f.From) {
			return page, err
		}
	}
}

// alive finds notifications in the queue, those of ended registrations or the others.
func alive(f history.Filter, stale bool) finder {
	var c conditions
	c.and("(q.token IS NULL AND coalesce(NOT i.push OR i.push_epoch <> q.push_epoch, true)) = " + c.arg(stale))
	if f.ResourceID != "" {
		c.and("q.resource_id = " + c.arg(f.ResourceID))
	}
	if !f.Interaction.IsZero() {
		c.and("q.id IN (SELECT e.notification_id FROM entry e WHERE e.interaction_id = " + c.arg([16]byte(f.Interaction)) + ")")
	}
	where := c.page(f, filterColumns{"q.created_at", "q.id", "q.client_id", "q.kind"})
	return finder{"SELECT q.id, q.created_at FROM queue q LEFT JOIN initiator i ON i.client_id = q.client_id" + where, c.args}
}

// inFlight tells that an entry a records an attempt that is a member of a flight which is not over. It is true of members that have a
// result too, until the last one has.
const inFlight = store.BeginsFirst + ` AND a.at >= (SELECT min(lease_until) - interval '11 minutes' FROM flight)
  AND a.xid >= (SELECT min(xid) FROM flight) AND a.xid IN (SELECT xid FROM flight)`

// unsettled tells that attempt 1, which an entry a records, has no result.
const unsettled = `NOT EXISTS (SELECT FROM entry r WHERE r.notification_id = a.notification_id AND r.kind = 'result' AND r.number = 1)`

// flying finds notifications whose first attempt is under way without a row in the queue.
func flying(f history.Filter) finder {
	var c conditions
	c.and(inFlight)
	if f.ResourceID != "" {
		c.and("a.resource_id = " + c.arg(f.ResourceID))
	}
	if !f.Interaction.IsZero() {
		c.and("a.interaction_id = " + c.arg([16]byte(f.Interaction)))
	}
	where := c.page(f, filterColumns{"a.at", "a.notification_id", "a.client_id", "a.resource_kind"})
	return finder{"SELECT a.notification_id, a.at FROM entry a" + where, c.args}
}

// announcedBy merges what the finders found and reads their announcements. A notification goes from its flight to the queue, and out of
// that when it is closed: finders in this order miss none that goes on between them.
func (l *Log) announcedBy(ctx context.Context, f history.Filter, finders ...finder) ([]audit.Entry, error) {
	var places []place
	for _, find := range finders {
		some, err := store.All(ctx, l.query, func(p *place) []any { return []any{&p.ID, &p.At} }, find.sql, find.args...)
		if err != nil {
			return nil, err
		}
		places = append(places, some...)
	}
	slices.SortFunc(places, func(a, b place) int {
		if c := b.At.Compare(a.At); c != 0 {
			return c
		}
		return bytes.Compare(b.ID[:], a.ID[:])
	})
	places = slices.CompactFunc(places, func(a, b place) bool { return a.ID == b.ID })
	if len(places) > f.Limit {
		places = places[:f.Limit]
	}
	if len(places) == 0 {
		return nil, nil
	}
	ids := make([]pgtype.UUID, len(places))
	order := make(map[notice.ID]int, len(places))
	for i, p := range places {
		ids[i], order[p.ID] = store.ToUUID(p.ID), i
	}
	rows, err := queryEntries(ctx, l.query, announcementsSQL, ids)
	slices.SortFunc(rows, func(a, b audit.Entry) int { return order[notificationOf(&a)] - order[notificationOf(&b)] })
	return rows, err
}

// clockBack is more than the database's clock may go back when another machine takes over: then what followed an entry is
// dated before it. Instants only choose the months that are read; the order is that of numbers and kinds.
const clockBack = 24 * time.Hour

// followedSQL reads what followed announcements, in the order in which it happened.
const followedSQL = entrySelect + `a WHERE a.notification_id = ANY($1::uuid[]) AND a.at >= $2 AND a.kind IN ('attempt', 'result', 'cancelled') ORDER BY a.number, a.kind, a.at`

// assemble adds to announcements their attempts and their state: what no entry closes is pending. The queue knows when the next
// attempt is due and which registration has ended. Both are read as of one instant: between two, an attempt may end and its
// notification wait for the next one.
func (l *Log) assemble(ctx context.Context, rows []audit.Entry) (out []history.Record, err error) {
	if len(rows) == 0 {
		return nil, nil
	}
	err = pgx.BeginTxFunc(ctx, l.query, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		var index map[notice.ID]*history.Record
		if out, index, err = assembleEntries(ctx, tx, rows); err != nil {
			return err
		}
		return readWaiting(ctx, tx, index)
	})
	return out, err
}

// assembleEntries adds to announcements their attempts and their state as entries alone tell them.
func assembleEntries(ctx context.Context, q querier, rows []audit.Entry) ([]history.Record, map[notice.ID]*history.Record, error) {
	if len(rows) == 0 {
		return nil, nil, nil
	}
	ids := make([]pgtype.UUID, len(rows))
	since := rows[0].At
	for i := range rows {
		ids[i], since = store.ToUUID(notificationOf(&rows[i])), min(since, rows[i].At)
	}
	followed, err := queryEntries(ctx, q, followedSQL, ids, since.Time().Add(-clockBack))
	if err != nil {
		return nil, nil, err
	}
	return told(ctx, q, rows, followed)
}

// readWaiting adds what the queue tells of notifications.
func readWaiting(ctx context.Context, q querier, of map[notice.ID]*history.Record) error {
	ids := make([]pgtype.UUID, 0, len(of))
	for id := range of {
		ids = append(ids, store.ToUUID(id))
	}
	waits, err := store.All(ctx, q, func(w *waitingRow) []any { return []any{&w.ID, &w.DueAt, &w.InFlight, &w.Stale} },
		`SELECT q.id, q.due_at, q.token IS NOT NULL, coalesce(NOT i.push OR i.push_epoch <> q.push_epoch, true)
FROM queue q LEFT JOIN initiator i ON i.client_id = q.client_id WHERE q.id = ANY($1::uuid[])`, ids)
	if err != nil {
		return err
	}
	for _, w := range waits {
		r := of[w.ID]
		switch {
		case r == nil || r.State != notice.Pending || w.InFlight:
		case w.Stale:
			r.State, r.CancelReason = notice.Cancelled, history.RegistrationEnded
		default:
			r.NextAttemptAt = w.DueAt
		}
	}
	return nil
}

// Bounds of one timeline: of changes and decisions the oldest are kept, since they explain the rest; of polls, which may
// be many, the newest.
const (
	timelineMax      = 5000
	timelinePollsMax = 1000
)

// Timeline reads everything about one resource; ErrNotFound when nothing is known of it.
func (l *Log) Timeline(ctx context.Context, key notice.Key) (history.Timeline, error) {
	t := history.Timeline{Kind: key.Kind, ResourceID: key.ID}
	err := l.query.QueryRow(ctx, "SELECT client_id, api_version, status, revision, updated_at, document FROM resource WHERE kind = $1 AND id = $2",
		int16(key.Kind), key.ID).Scan(store.Columns(&t.Client, &t.APIVersion, &t.Status, &t.Revision, &t.UpdatedAt, store.Document((*[]byte)(&t.Document)))...)
	known := err == nil
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return t, store.Unavailable("read the resource", err)
	}
	rows, err := queryEntries(ctx, l.query, "SELECT * FROM ((SELECT "+entryColumns+` FROM entry a
   WHERE a.resource_id = $1 AND a.resource_kind = $2 AND a.number IS NULL AND a.kind <> 'poll' ORDER BY a.at, a.id LIMIT $3)
  UNION ALL
  (SELECT `+entryColumns+` FROM entry a
   WHERE a.resource_id = $1 AND a.resource_kind = $2 AND a.number IS NULL AND a.kind = 'poll' ORDER BY a.at DESC, a.id DESC LIMIT $4)
) e ORDER BY at, id`, key.ID, int16(key.Kind), timelineMax, timelinePollsMax)
	if err != nil {
		return t, store.Unavailable("read the resource's history", err)
	}
	if !known && len(rows) == 0 {
		return t, fmt.Errorf("%s %s: %w", key.Kind, key.ID, store.ErrNotFound)
	}
	t.Notifications, _, err = l.Notifications(ctx, history.Filter{Kind: key.Kind, ResourceID: key.ID, Limit: 1000})
	if err != nil {
		return t, err
	}
	slices.Reverse(t.Notifications)
	for i := range t.Notifications {
		t.Integrity.Add(t.Notifications[i].Integrity)
	}
	if err := l.happened(ctx, &t, rows); err != nil {
		return t, store.Unavailable("compare the resource's history with the log", err)
	}
	t.Integrity = t.Integrity.Listed()
	return t, nil
}

// resentWhere finds a resend of a change that forbids another (D-4): one that was attempted, whatever its outcome, one in the queue, or
// one so young that two people pressed at the same moment (N4). One whose registration ended before its attempt forbids nothing.
const resentWhere = ` AND e.number IS NULL AND e.kind = 'resend'
  AND (e.at > now() - interval '1 minute' OR EXISTS (SELECT FROM queue q WHERE q.id = e.notification_id)
    OR EXISTS (SELECT FROM entry d WHERE d.notification_id = e.notification_id AND d.kind = 'attempt'))`

const resentSQL = `SELECT count(*) FROM entry e WHERE e.resource_id = $1 AND e.resource_kind = $2 AND e.change_id = $3` + resentWhere

// resentOfSQL tells which of many changes have such a resend, by their place.
const resentOfSQL = `SELECT c.place FROM unnest($1::text[], $2::smallint[], $3::uuid[]) WITH ORDINALITY c (resource_id, resource_kind, change_id, place)
WHERE EXISTS (SELECT FROM entry e WHERE e.resource_id = c.resource_id AND e.resource_kind = c.resource_kind AND e.change_id = c.change_id` + resentWhere + ")"

// markResent marks the notifications of which Resend would say that they were sent once more.
func (l *Log) markResent(ctx context.Context, records []history.Record) error {
	var resources []string
	var kinds []int16
	var changes []pgtype.UUID
	var of []*history.Record
	for i := range records {
		if r := &records[i]; r.State == notice.Exhausted || r.State == notice.Cancelled {
			resources, kinds, changes, of = append(resources, r.ResourceID), append(kinds, int16(r.Kind)), append(changes, store.ToUUID(r.ChangeID)), append(of, r)
		}
	}
	if of == nil {
		return nil
	}
	rows, err := l.query.Query(ctx, resentOfSQL, resources, kinds, changes)
	if err != nil {
		return err
	}
	places, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	for _, place := range places {
		of[place-1].Resent = true
	}
	return err
}

// Resend makes one more notification of kind manual for one that is exhausted or cancelled (D-4): due at once, never
// followed. Calls for the same change at the same moment take turns, and all but the first are refused.
//
// Errors: ErrNotFound when the notification is unknown, ErrNotOver, ErrResent, ErrNoPush, ErrUnavailable.
func (l *Log) Resend(ctx context.Context, id notice.ID, actor, reason string) (notice.ID, error) {
	if r := store.RequestOf(ctx); r != nil { // a start before this one may have done it
		if text, done, err := l.RequestStep(ctx, r.ID, id.String()); err != nil {
			return notice.ID{}, err
		} else if done {
			return notice.ParseID(text)
		}
	}
	old, err := l.undelivered(ctx, id)
	if err != nil {
		return notice.ID{}, err
	}
	caller, source := store.CallerOf(ctx), "operator"
	if caller.Role == history.RoleInitiator {
		source = history.RoleInitiator
	}
	text, err := store.Facts(history.ChangeFacts{
		System: l.system, Source: source, Actor: actor, Role: caller.Role, Remote: caller.Source, APIVersion: old.APIVersion, Status: old.Status, OccurredAt: old.OccurredAt,
		Event: old.Event, EventAt: old.EventAt, Clause: "D-4", Why: reason, Resends: id.String(),
	})
	if err != nil {
		return notice.ID{}, err
	}
	fresh := store.NewID()
	err = pgx.BeginFunc(ctx, l.query, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", "arauto resend "+old.ChangeID.String()); err != nil {
			return err
		}
		var resent int64
		if err := tx.QueryRow(ctx, resentSQL, old.ResourceID, int16(old.Kind), store.ToUUID(old.ChangeID)).Scan(&resent); err != nil {
			return err
		}
		if resent > 0 {
			return store.ErrResent
		}
		made, err := tx.Exec(ctx, `INSERT INTO queue (id, client_id, push_epoch, kind, resource_id, api_version, event, event_at, occurred_at, manual, due_at)
SELECT $1, i.client_id, i.push_epoch, $2, $3, $4, $5, $6, $7, true, now() FROM initiator i WHERE i.client_id = $8 AND i.push`,
			store.ToUUID(fresh), int16(old.Kind), old.ResourceID, old.APIVersion, string(old.Event), old.EventAt, old.OccurredAt, string(old.Client))
		if err != nil {
			return err
		}
		if made.RowsAffected() == 0 {
			return store.ErrNoPush
		}
		_, err = tx.Exec(ctx, `INSERT INTO entry (id, kind, client_id, resource_kind, resource_id, revision, notification_id, change_id, outcome, facts)
VALUES ($1, $2, $3, $4, $5, nullif($6::bigint, 0), $7, $8, 'resend', $9::json)`, store.ToUUID(store.NewID()), history.FactResend, string(old.Client), int16(old.Kind), old.ResourceID,
			old.Revision, store.ToUUID(fresh), store.ToUUID(old.ChangeID), text)
		return errors.Join(err, store.Step(ctx, tx, id.String(), fresh.String()))
	})
	if err != nil { // no notification has the id
		return notice.ID{}, store.Unavailable("resend", err)
	}
	return fresh, nil
}

// CursorKey is the secret that authenticates cursors, the same in every replica.
func (l *Log) CursorKey(ctx context.Context) ([]byte, error) {
	if k := l.cursor.Load(); k != nil {
		return *k, nil
	}
	var key []byte
	if err := l.query.QueryRow(ctx, "SELECT key FROM keyring WHERE name = 'cursor'").Scan(&key); err != nil {
		return nil, store.Unavailable("read the cursor key", err)
	}
	l.cursor.Store(&key)
	return key, nil
}
