package auditlog

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"slices"
	"sort"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/store"
)

const (
	firstDifferences = 50
	overdueAfter     = time.Hour   // something in the queue that is due for so long is forgotten
	timerOverdue     = time.Minute // deadlines are looked at every 200 ms
	resourcesAtOnce  = 200
	keysAtOnce       = 5000
	removedNear      = 24 * time.Hour // so near to a removed month, what an entry belongs to may have gone with it
)

// Reconcile compares the history of a period with itself and with what is derived from it: each change and its decision with
// the rules and its revision; each notification with its attempts, its results and the queue; each current document with the
// newest change; the quarantine and the status queries with their entries. A zero from means the whole history, and then
// resources and revisions without any entry are found as well; otherwise only those that changed within the period are
// compared. Differences are handed over as they are found; an error of each ends it and is returned.
func (i *Inspector) Reconcile(ctx context.Context, from, to time.Time, each func(history.Difference) error) (*history.Reconciliation, error) {
	began := time.Now()
	r := &reconciling{i: i, from: from, to: to, each: each, digest: sha256.New(), out: history.Reconciliation{
		From: history.Moment{Time: from}, To: history.Moment{Time: to}, Began: history.Moment{Time: began.Truncate(time.Microsecond)}, Entries: map[string]int64{},
		Found: map[history.Finding]int64{}, First: []history.Difference{},
	}}
	if err := r.run(ctx); err != nil {
		return nil, store.Unavailable("reconcile", err)
	}
	r.out.TookMS = time.Since(began).Milliseconds()
	r.out.SHA256 = hex.EncodeToString(r.digest.Sum(nil))
	return &r.out, nil
}

// reconciling is one reconciliation under way.
type reconciling struct {
	i          *Inspector
	from, to   time.Time
	each       func(history.Difference) error
	digest     hash.Hash
	out        history.Reconciliation
	history    time.Time // where it begins
	registered map[notice.ClientID][]registeredAt
}

type registeredAt struct {
	at   time.Time
	push bool
}

func (r *reconciling) run(ctx context.Context) (err error) {
	if r.history, err = r.i.historyFrom(ctx); err != nil {
		return err
	}
	if err := r.registrations(ctx); err != nil {
		return err
	}
	if err := r.i.sweep(ctx, r.from, r.to, func(tx pgx.Tx, p piece) error { return r.piece(ctx, tx, p) }); err != nil {
		return err
	}
	for _, look := range []func(context.Context) error{r.queue, r.flights, r.timers, r.cases} {
		if err := look(ctx); err != nil {
			return err
		}
	}
	if !r.from.IsZero() {
		return nil
	}
	return r.unknown(ctx)
}

// found hands a difference over and keeps account of it.
func (r *reconciling) found(all ...history.Difference) error {
	for _, d := range all {
		r.out.Differences++
		r.out.Found[d.What]++
		if len(r.out.First) < firstDifferences {
			r.out.First = append(r.out.First, d)
		}
		line, err := json.Marshal(d)
		if err != nil {
			return fmt.Errorf("encode a difference: %w", err)
		}
		r.digest.Write(append(line, '\n'))
		if err := r.each(d); err != nil {
			return err
		}
	}
	return nil
}

// registrations reads when each client had an address.
func (r *reconciling) registrations(ctx context.Context) error {
	r.registered = map[notice.ClientID][]registeredAt{}
	rows, _ := r.i.db.Query(ctx, "SELECT client_id, at, coalesce((facts->>'push')::boolean, false) FROM entry WHERE kind = 'registered' AND client_id IS NOT NULL ORDER BY at")
	var client notice.ClientID
	var at registeredAt
	_, err := pgx.ForEachRow(rows, []any{&client, &at.at, &at.push}, func() error {
		r.registered[client] = append(r.registered[client], at)
		return nil
	})
	return err
}

// turning is how near to a registration's beginning or end nothing is sure: a decision reads it before its entry has its
// instant, and the database's clock may have been set.
const turning = 20 * time.Second

// hadAddress tells whether a client had an address at an instant, as far as the history knows.
func (r *reconciling) hadAddress(client notice.ClientID) func(time.Time) (bool, bool) {
	periods := r.registered[client]
	return func(at time.Time) (push, known bool) {
		n := sort.Search(len(periods), func(n int) bool { return periods[n].at.After(at) })
		if n == 0 {
			return false, r.history.IsZero()
		}
		near := at.Sub(periods[n-1].at) < turning || n < len(periods) && periods[n].at.Sub(at) < turning
		return periods[n-1].push, !near
	}
}

// piece looks at some pages of the history, and at all that belongs to what is in them.
func (r *reconciling) piece(ctx context.Context, tx pgx.Tx, p piece) error {
	rows, _ := tx.Query(ctx, "SELECT p.kind, count(*) FROM entry p WHERE "+p.where()+" GROUP BY 1", r.from, r.to)
	var kind string
	var n int64
	if _, err := pgx.ForEachRow(rows, []any{&kind, &n}, func() error { r.out.Entries[kind] += n; return nil }); err != nil {
		return err
	}
	rows, _ = tx.Query(ctx, "SELECT p.id, p.kind, p.resource_kind, p.resource_id, p.notification_id FROM entry p"+
		" WHERE p.kind IN ('change', 'decision', 'resend') AND "+p.where(), r.from, r.to)
	changed := map[notice.Key]map[notice.ID]bool{}
	var announced []notice.ID
	var id, notification notice.ID
	var key notice.Key
	_, err := pgx.ForEachRow(rows, store.Columns(&id, &kind, &key.Kind, &key.ID, &notification), func() error {
		if !notification.IsZero() {
			announced = append(announced, notification)
		}
		if kind == history.FactChange {
			if changed[key] == nil {
				changed[key] = map[notice.ID]bool{}
			}
			changed[key][id] = true
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := r.chains(ctx, tx, announced); err != nil {
		return err
	}
	if err := r.resources(ctx, tx, changed); err != nil {
		return err
	}
	return r.strays(ctx, tx, p)
}

// strays finds entries of a piece that nothing else stands behind, and ids that were used twice.
func (r *reconciling) strays(ctx context.Context, tx pgx.Tx, p piece) error {
	undecided := `SELECT p.notification_id, min(p.at), min(p.client_id), min(p.resource_kind), min(p.resource_id) FROM entry p WHERE p.notification_id IS NOT NULL
AND p.kind NOT IN ('change', 'decision', 'resend') AND NOT EXISTS (
  SELECT FROM entry a WHERE a.notification_id = p.notification_id AND a.kind IN ('change', 'decision', 'resend')) AND ` + p.where() + " GROUP BY 1 ORDER BY 2, 1"
	err := r.gather(ctx, tx, undecided, p, differing(history.ChainUndecided, "attempts or results of a notification that no change made", notificationID))
	if err != nil {
		return err
	}
	for _, t := range []struct {
		kind, by string
		twice    places
	}{
		{"IN ('attempt', 'change')", "", differing(history.InteractionTwice, "two attempts with one interaction id", interactionID)},
		{"= 'poll'", ", e.id", differing(history.PollTwice, "one status query recorded twice", interactionID)},
	} {
		// An initiator may use one interaction id for all its queries: the limit keeps that from costing more and more.
		sql := `SELECT e.interaction_id, min(e.at), min(e.client_id), min(e.resource_kind), min(e.resource_id)
FROM (SELECT DISTINCT p.interaction_id FROM entry p WHERE p.kind ` + t.kind + ` AND p.interaction_id IS NOT NULL AND ` + p.where() + `) x
CROSS JOIN LATERAL (SELECT * FROM entry e WHERE e.interaction_id = x.interaction_id AND e.kind ` + t.kind + ` LIMIT 1000) e
GROUP BY e.interaction_id` + t.by + ` HAVING count(*) > 1 ORDER BY 2, 1`
		if err := r.gather(ctx, tx, sql, p, t.twice); err != nil {
			return err
		}
	}
	return r.uncased(ctx, tx, p)
}

// uncased finds changes that were put aside and are not in quarantine.
func (r *reconciling) uncased(ctx context.Context, tx pgx.Tx, p piece) error {
	kinds := "CASE p.resource_kind"
	for _, k := range ofb.Kinds() {
		kinds += fmt.Sprintf(" WHEN %d THEN '%s'", k, k)
	}
	sql := `SELECT p.id, p.at, p.client_id, p.resource_kind, p.resource_id FROM entry p WHERE p.kind = 'quarantined' AND NOT EXISTS (
  SELECT FROM quarantine q WHERE q.kind = ` + kinds + ` ELSE '' END AND q.resource_id = coalesce(p.resource_id, '') AND q.revision = coalesce(p.revision, 0)) AND ` + p.where()
	return r.gather(ctx, tx, sql, p, differing(history.CaseMissing, "a change was put aside, and no case of it is in quarantine", changeID))
}

// gather runs a query about a piece and hands its rows over as differences.
func (r *reconciling) gather(ctx context.Context, tx pgx.Tx, sql string, p piece, to places) error {
	all, err := store.All(ctx, tx, to, sql, p.from, p.to)
	if err != nil {
		return err
	}
	return r.found(slices.DeleteFunc(all, func(d history.Difference) bool { return d.Since.Before(r.history.Add(removedNear)) })...)
}

// what a difference's first column is.
func notificationID(d *history.Difference) *notice.ID { return &d.Notification }
func interactionID(d *history.Difference) *notice.ID  { return &d.Interaction }
func changeID(d *history.Difference) *notice.ID       { return &d.Change }

// places are those of a query's columns in a difference.
type places func(*history.Difference) []any

// differing are the places of an id, a time, a client and a resource.
func differing(what history.Finding, detail string, which func(*history.Difference) *notice.ID) places {
	return func(d *history.Difference) []any {
		d.What, d.Detail = what, detail
		return []any{which(d), &d.Since.Time, &d.Client, store.KindName(&d.Kind), &d.ResourceID}
	}
}

// gatherNow hands over the rows of a query about what is stored now as differences.
func (r *reconciling) gatherNow(ctx context.Context, to places, sql string, args ...any) error {
	all, err := store.All(ctx, r.i.db, to, sql, args...)
	if err != nil {
		return err
	}
	return r.found(all...)
}

// queue looks at everything that waits or is in flight.
func (r *reconciling) queue(ctx context.Context) error {
	const sql = `SELECT q.id, CASE WHEN q.token IS NULL THEN q.due_at ELSE q.lease_until END, q.client_id, q.kind, q.resource_id,
  EXISTS (SELECT FROM entry a WHERE a.notification_id = q.id AND a.kind IN ('change', 'decision', 'resend')),
  CASE WHEN q.token IS NULL THEN q.due_at ELSE q.lease_until END < now() - $2::interval
FROM queue q WHERE q.id > $1 ORDER BY q.id LIMIT $3`
	var d history.Difference
	for {
		rows, _ := r.i.db.Query(ctx, sql, [16]byte(d.Notification), overdueAfter, keysAtOnce)
		var all []history.Difference
		n := 0
		var decided, overdue bool
		_, err := pgx.ForEachRow(rows, store.Columns(&d.Notification, &d.Since.Time, &d.Client, store.KindName(&d.Kind), &d.ResourceID, &decided, &overdue), func() error {
			n++
			if d.What, d.Detail = history.ChainUndecided, "it is in the queue, and no change made it"; !decided {
				all = append(all, d)
			}
			if d.What, d.Detail = history.ChainOverdue, "it is in the queue, and due for over an hour"; overdue {
				all = append(all, d)
			}
			return nil
		})
		if err != nil {
			return err
		}
		r.out.Queued += int64(n)
		if err := r.found(all...); err != nil || n < keysAtOnce {
			return err
		}
	}
}

// flights finds attempts that nobody rescued.
func (r *reconciling) flights(ctx context.Context) error {
	var n int64
	if err := r.i.db.QueryRow(ctx, "SELECT coalesce(sum(unsettled), 0) FROM flight").Scan(&n); err != nil {
		return err
	}
	r.out.Queued += n
	return r.gatherNow(ctx, differing(history.ChainOverdue, "its first attempt is under way, and its lease over for more than an hour", notificationID),
		`SELECT a.notification_id, f.lease_until, a.client_id, a.resource_kind, a.resource_id FROM flight f JOIN entry a ON a.xid = f.xid AND `+inFlight+`
WHERE f.lease_until < now() - $1::interval AND `+unsettled+`
ORDER BY a.at, a.id LIMIT 1000`, overdueAfter)
}

// timers finds deadlines that nobody fired.
func (r *reconciling) timers(ctx context.Context) error {
	return r.gatherNow(ctx, func(d *history.Difference) []any {
		d.What = history.TimerOverdue
		return []any{store.KindName(&d.Kind), &d.ResourceID, &d.Detail, &d.Since.Time}
	}, `SELECT kind, resource_id, format('the deadline of %s has passed', rule), deadline FROM timer
WHERE deadline < now() - $1::interval ORDER BY deadline LIMIT 1000`, timerOverdue)
}

// cases holds the quarantine against the entries that made and closed its cases, which have the very same time.
func (r *reconciling) cases(ctx context.Context) error {
	return r.gatherNow(ctx, func(d *history.Difference) []any {
		d.What = history.CaseUndecided
		return []any{&d.Detail, &d.Since.Time, &d.Client, &d.Kind, &d.ResourceID, &d.Revision}
	}, `SELECT format('case %s is %s, and the history does not say so', q.id, q.state), q.last_at, q.client_id, q.kind, q.resource_id, q.revision
FROM quarantine q WHERE q.last_at >= $1 AND q.last_at < $2 AND (
  NOT EXISTS (SELECT FROM entry e WHERE e.kind IN ('quarantined', 'change') AND e.at = q.last_at AND coalesce(e.resource_id, '') = q.resource_id AND coalesce(e.revision, 0) = q.revision)
  OR q.state = 'applied' AND NOT EXISTS (SELECT FROM entry e WHERE e.resource_id = q.resource_id AND e.number IS NULL AND e.kind = 'change' AND e.facts->>'quarantine' = q.id::text)
  OR q.state = 'dismissed' AND NOT EXISTS (SELECT FROM entry e WHERE e.kind = 'admin' AND e.at = q.closed_at AND e.facts->>'object' = q.id::text))`, r.from, r.to)
}
