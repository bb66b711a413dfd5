package auditlog

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"gorm.io/gorm"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/store"
)

// factRow is an entry that made a notification, tells of an attempt of it, or ended it: all its columns, since it is held
// against its leaf.
type factRow struct {
	NotificationID string
	ID             string
	ChangeID       *string
	Kind           string
	At             time.Time
	XID            int64 `gorm:"column:xid"`
	CreatedAt      pgtype.Timestamptz
	ClientID       *string
	ResourceKind   *int16
	ResourceID     *string
	Revision       *int64
	InteractionID  *string
	Number         *int
	Outcome        *string
	Closes         *string
	Facts          string
	Private        *string
}

// fact is the same in the words of the rules.
func (r *factRow) fact() (history.Fact, error) {
	f := history.Fact{
		At: r.At, Kind: r.Kind, Client: notice.ClientID(audit.Value(r.ClientID)), ResourceKind: ofb.Kind(audit.Value(r.ResourceKind)), ResourceID: audit.Value(r.ResourceID),
		Revision: audit.Value(r.Revision), Number: audit.Value(r.Number), Outcome: notice.Outcome(audit.Value(r.Outcome)), Closes: notice.State(audit.Value(r.Closes)), Facts: []byte(r.Facts),
		Private: []byte(audit.Value(r.Private)),
	}
	for _, id := range []struct {
		to   *notice.ID
		text string
	}{{&f.ID, r.ID}, {&f.Notification, r.NotificationID}, {&f.Change, audit.Value(r.ChangeID)}, {&f.Interaction, audit.Value(r.InteractionID)}} {
		if id.text == "" {
			continue
		}
		var err error
		if *id.to, err = notice.ParseID(id.text); err != nil {
			return f, err
		}
	}
	return f, nil
}

// waitingRow is the queue's row of a notification that is alive.
type waitingRow struct {
	ID       string
	DueAt    time.Time
	InFlight bool
	Stale    bool // its registration has ended: it reads as cancelled at once
}

// factColumnsSQL are the columns of a factRow, of the entry that is called a.
const factColumnsSQL = "coalesce(a.notification_id::text, '') AS notification_id, a.id::text, a.change_id::text, a.kind, a.at, a.xid, a.created_at, a.client_id, a.resource_kind, a.resource_id, a.revision, " +
	"a.interaction_id::text, a.number, a.outcome, a.closes, a.facts::text, a.private::text"

// announcementsSQL reads the entries that made notifications.
const announcementsSQL = "SELECT " + factColumnsSQL + " FROM entry a WHERE a.notification_id = ANY($1::uuid[]) AND a.kind IN ('change', 'decision', 'resend')"

// Notifications lists what f selects, newest first, at most f.Limit of them, and the position to continue after, or a
// zero one at the end. A state that is rare is found by its own index; the work for one call is bounded by the caller's
// context.
func (l *Log) Notifications(ctx context.Context, f history.Filter) ([]history.Record, history.Position, error) {
	var out []history.Record
	for {
		page, err := l.announced(ctx, f)
		if err != nil {
			return nil, history.Position{}, store.Unavailable("list notifications", err)
		}
		records, err := assemble(ctx, l.query, page, true)
		if err != nil {
			return nil, history.Position{}, store.Unavailable("read attempts", err)
		}
		for _, r := range records {
			f.After = history.Position{At: r.CreatedAt, ID: r.ID}
			if f.State != "" && r.State != f.State {
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

// Notification reads one; ErrNotFound when there is none.
func (l *Log) Notification(ctx context.Context, id notice.ID) (history.Record, error) {
	rows, err := readFacts(ctx, l.query, announcementsSQL, []string{id.String()})
	if err != nil {
		return history.Record{}, store.Unavailable("read the notification", err)
	}
	if len(rows) == 0 {
		return history.Record{}, fmt.Errorf("notification %s: %w", id, store.ErrNotFound)
	}
	records, err := assemble(ctx, l.query, rows, true)
	if err != nil {
		return history.Record{}, store.Unavailable("read attempts", err)
	}
	return records[0], nil
}

// announced reads one page of the entries that made notifications.
func (l *Log) announced(ctx context.Context, f history.Filter) ([]factRow, error) {
	switch f.State {
	case notice.Exhausted:
		return l.announcedBy(ctx, f, l.closed(ctx, f))
	case notice.Pending:
		return l.announcedBy(ctx, f, l.alive(ctx, f, false))
	case notice.Cancelled:
		return l.announcedBy(ctx, f, l.closed(ctx, f), l.alive(ctx, f, true))
	}
	q := l.orm.WithContext(ctx).Table("entry AS a").Select(factColumnsSQL).
		Where("a.notification_id IS NOT NULL AND a.kind IN ('change', 'decision', 'resend')")
	if !f.Interaction.IsZero() {
		q = q.Where("a.notification_id IN (SELECT e.notification_id FROM entry e WHERE e.interaction_id = ?)", f.Interaction.String())
	}
	if f.ResourceID != "" {
		q = q.Where("a.resource_id = ? AND a.number IS NULL", f.ResourceID)
	}
	var rows []factRow
	err := narrow(q, f, filterColumns{"a.at", "a.notification_id", "a.client_id", "a.resource_kind"}).Limit(f.Limit).Scan(&rows).Error
	return rows, err
}

// filterColumns are the columns of a query by which notifications are filtered and ordered.
type filterColumns struct{ at, id, client, kind string }

// narrow adds what every way of finding notifications can filter by, and their order.
func narrow(q *gorm.DB, f history.Filter, by filterColumns) *gorm.DB {
	if f.Client != "" {
		q = q.Where(by.client+" = ?", string(f.Client))
	}
	if f.Kind != 0 {
		q = q.Where(by.kind+" = ?", int16(f.Kind))
	}
	if !f.From.IsZero() {
		q = q.Where(by.at+" >= ?", f.From)
	}
	if !f.To.IsZero() {
		q = q.Where(by.at+" < ?", f.To)
	}
	if !f.After.At.IsZero() {
		q = q.Where("("+by.at+", "+by.id+") < (?, ?)", f.After.At, f.After.ID.String())
	}
	return q.Order(by.at + " DESC, " + by.id + " DESC")
}

// place is a notification found by something other than its announcement.
type place struct {
	ID string
	At time.Time
}

// closed finds notifications that left the queue undelivered.
func (l *Log) closed(ctx context.Context, f history.Filter) *gorm.DB {
	q := l.orm.WithContext(ctx).Table("entry AS u").Select("u.notification_id AS id, u.created_at AS at").Where("u.closes = ?", string(f.State))
	if f.ResourceID != "" {
		q = q.Where("u.resource_id = ?", f.ResourceID)
	}
	if !f.Interaction.IsZero() {
		q = q.Where("u.notification_id IN (SELECT e.notification_id FROM entry e WHERE e.interaction_id = ?)", f.Interaction.String())
	}
	return narrow(q, f, filterColumns{"u.created_at", "u.notification_id", "u.client_id", "u.resource_kind"}).Limit(f.Limit)
}

// alive finds notifications in the queue, those of ended registrations or the others.
func (l *Log) alive(ctx context.Context, f history.Filter, stale bool) *gorm.DB {
	q := l.orm.WithContext(ctx).Table("queue AS q").Select("q.id, q.created_at AS at").Joins("LEFT JOIN initiator i ON i.client_id = q.client_id").
		Where("(q.token IS NULL AND coalesce(NOT i.push OR i.push_epoch <> q.push_epoch, true)) = ?", stale)
	if f.ResourceID != "" {
		q = q.Where("q.resource_id = ?", f.ResourceID)
	}
	if !f.Interaction.IsZero() {
		q = q.Where("q.id IN (SELECT e.notification_id FROM entry e WHERE e.interaction_id = ?)", f.Interaction.String())
	}
	return narrow(q, f, filterColumns{"q.created_at", "q.id", "q.client_id", "q.kind"}).Limit(f.Limit)
}

// announcedBy merges what the finders found and reads their announcements.
func (l *Log) announcedBy(ctx context.Context, f history.Filter, finders ...*gorm.DB) ([]factRow, error) {
	var places []place
	for _, find := range finders {
		var some []place
		if err := find.Scan(&some).Error; err != nil {
			return nil, err
		}
		places = append(places, some...)
	}
	slices.SortFunc(places, func(a, b place) int {
		if c := b.At.Compare(a.At); c != 0 {
			return c
		}
		return strings.Compare(b.ID, a.ID)
	})
	places = slices.CompactFunc(places, func(a, b place) bool { return a.ID == b.ID })
	if len(places) > f.Limit {
		places = places[:f.Limit]
	}
	if len(places) == 0 {
		return nil, nil
	}
	ids := make([]string, len(places))
	order := make(map[string]int, len(places))
	for i, p := range places {
		ids[i], order[p.ID] = p.ID, i
	}
	rows, err := readFacts(ctx, l.query, announcementsSQL, ids)
	slices.SortFunc(rows, func(a, b factRow) int { return order[a.NotificationID] - order[b.NotificationID] })
	return rows, err
}

// clockBack is more than the database's clock may go back when another machine takes over: then what followed an entry is
// dated before it. Instants only choose the months that are read; the order is that of numbers and kinds.
const clockBack = 24 * time.Hour

// followedSQL reads what followed announcements, in the order in which it happened.
const followedSQL = "SELECT " + factColumnsSQL + `
FROM entry a WHERE a.notification_id = ANY($1::uuid[]) AND a.at >= $2 AND a.kind IN ('attempt', 'result', 'cancelled') ORDER BY a.number, a.kind, a.at`

// assemble adds to announcements their attempts and their state. The queue knows when the next attempt is due and which
// registration has ended; without it (queue is false) what no entry closes is pending.
func assemble(ctx context.Context, q querier, rows []factRow, queue bool) ([]history.Record, error) {
	if len(rows) == 0 {
		return nil, nil
	}
	ids := make([]string, len(rows))
	since := rows[0].At
	for i := range rows {
		ids[i] = rows[i].NotificationID
		if rows[i].At.Before(since) {
			since = rows[i].At
		}
	}
	var waits []waitingRow
	if queue { // read first: a notification that leaves the queue in between has its closing entry by then
		var err error
		if waits, err = readWaiting(ctx, q, ids); err != nil {
			return nil, err
		}
	}
	followed, err := readFacts(ctx, q, followedSQL, ids, since.Add(-clockBack))
	if err != nil {
		return nil, err
	}
	out, index, err := told(ctx, q, rows, followed)
	if err != nil {
		return nil, err
	}
	for _, w := range waits {
		r := index[w.ID]
		if r == nil || r.State != "" { // closed meanwhile
			continue
		}
		if w.Stale && !w.InFlight {
			r.State, r.CancelReason = notice.Cancelled, history.RegistrationEnded
			continue
		}
		r.State = notice.Pending
		if !w.InFlight {
			r.NextAttemptAt = w.DueAt.UTC()
		}
	}
	for i := range out {
		if out[i].State == "" {
			out[i].State = notice.Pending // or claimed or cancelled a moment ago: no entry says so yet
		}
	}
	return out, nil
}

// readWaiting reads the queue's rows of notifications, with whether the registration each was made under still lasts.
func readWaiting(ctx context.Context, q querier, ids []string) ([]waitingRow, error) {
	rows, err := q.Query(ctx, `SELECT q.id::text, q.due_at, q.token IS NOT NULL, coalesce(NOT i.push OR i.push_epoch <> q.push_epoch, true)
FROM queue q LEFT JOIN initiator i ON i.client_id = q.client_id WHERE q.id = ANY($1::uuid[])`, ids)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[waitingRow])
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
	var current []struct {
		ClientID, APIVersion, Status string
		Revision                     int64
		UpdatedAt                    time.Time
		Document                     []byte
	}
	db := l.orm.WithContext(ctx)
	err := db.Raw("SELECT client_id, api_version, status, revision, updated_at, document FROM resource WHERE kind = ? AND id = ?",
		int16(key.Kind), key.ID).Scan(&current).Error
	if err != nil {
		return t, store.Unavailable("read the resource", err)
	}
	var rows []factRow
	err = db.Raw("SELECT * FROM ((SELECT "+factColumnsSQL+` FROM entry a
   WHERE a.resource_id = @id AND a.resource_kind = @kind AND a.number IS NULL AND a.kind <> 'poll' ORDER BY a.at, a.id LIMIT @most)
  UNION ALL
  (SELECT `+factColumnsSQL+` FROM entry a
   WHERE a.resource_id = @id AND a.resource_kind = @kind AND a.number IS NULL AND a.kind = 'poll' ORDER BY a.at DESC, a.id DESC LIMIT @polls)
) e ORDER BY at, id`, map[string]any{"id": key.ID, "kind": int16(key.Kind), "most": timelineMax, "polls": timelinePollsMax}).Scan(&rows).Error
	if err != nil {
		return t, store.Unavailable("read the resource's history", err)
	}
	if len(current) == 0 && len(rows) == 0 {
		return t, fmt.Errorf("%s %s: %w", key.Kind, key.ID, store.ErrNotFound)
	}
	if len(current) > 0 {
		c := current[0]
		t.Client, t.APIVersion, t.Status, t.Revision = notice.ClientID(c.ClientID), c.APIVersion, ofb.Status(c.Status), c.Revision
		t.UpdatedAt, t.Document = c.UpdatedAt.UTC(), c.Document
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

// resentSQL finds a resend of a change that forbids another: one in the queue, delivered, or so young that two people
// pressed at the same moment (N4).
const resentSQL = `SELECT count(*) FROM entry e WHERE e.resource_id = ? AND e.resource_kind = ? AND e.number IS NULL AND e.kind = 'resend' AND e.change_id = ?
  AND (e.at > now() - interval '1 minute' OR EXISTS (SELECT FROM queue q WHERE q.id = e.notification_id)
    OR EXISTS (SELECT FROM entry d WHERE d.notification_id = e.notification_id AND d.closes = 'delivered'))`

// Resend asks for one more POST of a notification that is exhausted or cancelled (D-4): a new one of kind manual, due at
// once, never followed. Those who ask for the same one at the same moment take turns, and all but the first are refused.
//
// Errors: ErrNotFound when the notification is unknown, ErrNotOver, ErrResent, ErrNoPush, ErrUnavailable.
func (l *Log) Resend(ctx context.Context, id notice.ID, actor, reason string) (notice.ID, error) {
	old, err := l.Notification(ctx, id)
	if err != nil {
		return notice.ID{}, err
	}
	if old.State != notice.Exhausted && old.State != notice.Cancelled {
		return notice.ID{}, fmt.Errorf("resend %s: %w", id, store.ErrNotOver)
	}
	text, err := store.Facts(history.ChangeFacts{
		System: l.system, Source: "operator", Actor: actor, Role: store.CallerOf(ctx).Role, Remote: store.CallerOf(ctx).Source, APIVersion: old.APIVersion, Status: old.Status, OccurredAt: old.OccurredAt,
		Event: old.Event, EventAt: old.EventAt, Clause: "D-4", Why: reason,
	})
	if err != nil {
		return notice.ID{}, err
	}
	fresh := store.NewID()
	err = l.orm.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		if err := tx.Exec("SELECT pg_advisory_xact_lock(hashtextextended(?, 0))", "arauto resend "+old.ChangeID.String()).Error; err != nil {
			return err
		}
		var resent int64
		if err := tx.Raw(resentSQL, old.ResourceID, int16(old.Kind), old.ChangeID.String()).Scan(&resent).Error; err != nil {
			return err
		}
		if resent > 0 {
			return store.ErrResent
		}
		made := tx.Exec(`INSERT INTO queue (id, client_id, push_epoch, kind, resource_id, api_version, event, event_at, occurred_at, manual, due_at)
SELECT ?, i.client_id, i.push_epoch, ?, ?, ?, ?, ?, ?, true, now() FROM initiator i WHERE i.client_id = ? AND i.push`,
			fresh.String(), int16(old.Kind), old.ResourceID, old.APIVersion, string(old.Event), old.EventAt, old.OccurredAt, string(old.Client))
		if made.Error != nil {
			return made.Error
		}
		if made.RowsAffected == 0 {
			return store.ErrNoPush
		}
		return tx.Exec(`INSERT INTO entry (id, kind, client_id, resource_kind, resource_id, revision, notification_id, change_id, outcome, facts)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'resend', ?::json)`, store.NewID().String(), history.FactResend, string(old.Client), int16(old.Kind), old.ResourceID,
			orNull(old.Revision), fresh.String(), old.ChangeID.String(), text).Error
	})
	if err != nil {
		return notice.ID{}, store.Unavailable("resend", err)
	}
	return fresh, nil
}

// orNull makes the revision of a timer's change NULL, as it is in every other entry.
func orNull(revision int64) *int64 {
	if revision == 0 {
		return nil
	}
	return &revision
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
