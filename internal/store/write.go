package store

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

// writer turns the decisions of one batch into a handful of statements, each storing all rows of its table.
type writer struct {
	store   *Store
	began   time.Time // when the transaction did, by our clock; never too early
	now     time.Time
	key     []byte    // of what payments are found by
	mac     hash.Hash // of key; nil: not needed yet
	entries entryColumns

	companies map[Company]struct{} // that are not stored yet

	revisions  revisionColumns // those that get a row of their own
	made       resourceColumns // resources that are new
	replaced   resourceColumns // resources with a new current document
	announced  announcedColumns
	queued     queueColumns
	flight     flightRow
	timers     timerColumns
	quarantine quarantineColumns
	applied    appliedColumns
}

// writers are used again, with the room of their longest columns.
var writers = make(spares[writer], mostSpares)

func newWriter(s *Store, began, now time.Time, key []byte) *writer {
	w := writers.take()
	w.store, w.began, w.now, w.key, w.companies = s, began, now, key, map[Company]struct{}{}
	return w
}

// free ends the use of w, whatever became of what was added.
func (w *writer) free() {
	*w = writer{entries: w.entries.emptied(), made: w.made.emptied(), replaced: w.replaced.emptied()}
	writers.give(w)
}

func (w *writer) add(c *notice.Change, past *notice.Past, d *notice.Decision) error {
	f := history.ChangeFacts{
		System: w.store.system, Source: c.Source, Actor: c.Actor, Remote: c.Address, APIVersion: c.APIVersion, Status: c.State.Status, From: d.From,
		Cause: c.Cause, OccurredAt: c.OccurredAt.UTC(), Original: asSent(c), NotBefore: c.NotBefore.UTC(),
		BeganUS: w.began.Sub(c.ReceivedAt).Microseconds(), WaitedUS: w.now.Sub(c.ReceivedAt).Microseconds(), DataHash: hex.EncodeToString(c.State.Data[:]), Overruled: d.Overruled.UTC(),
		FirstReceivedAt: c.FirstAt.UTC(), CommittedAt: c.CommittedAt.UTC(),
	}
	if !c.Quarantine.IsZero() {
		f.Quarantine = c.Quarantine.String()
	}
	e := entryRow{
		id: c.ID, client: c.Client, resourceKind: c.Kind, resourceID: c.ResourceID, revision: c.Revision, outcome: string(d.Verdict),
	}
	switch d.Verdict {
	case notice.Applied, notice.Superseded:
		e.kind, f.Codes = history.FactChange, codesOf(c.Nonconforming)
		w.addAccepted(c, past, d, &e, &f)
		if len(c.Nonconforming) > 0 && d.Current { // a document that is no longer shown needs no look
			if err := w.quarantine.add(c, notice.CaseNonconforming, c.Nonconforming); err != nil {
				return err
			}
		}
	case notice.Duplicate:
		e.kind, e.change = history.FactDuplicate, d.Earlier.ChangeID
	case notice.Conflicting:
		e.kind, f.Why = history.FactConflict, d.Why
		if past.Same != nil {
			f.StoredHash = hex.EncodeToString(past.Same.State.Data[:])
		}
	case notice.Quarantined:
		e.kind = history.FactQuarantined
		f.Codes = codesOf(d.Problems)
		if err := w.quarantine.add(c, notice.CaseOpen, d.Problems); err != nil {
			return err
		}
	default:
		return fmt.Errorf("decision %q on a change is not one of ours", d.Verdict)
	}
	text, err := appended(func(b []byte) ([]byte, error) { return f.AppendJSON(b) })
	if err != nil {
		return err
	}
	e.facts = text
	w.entries.add(e)
	return nil
}

// codesOf is what an entry keeps of problems.
func codesOf(problems []notice.Problem) (codes []string) {
	for _, p := range problems {
		codes = append(codes, p.Code+" "+p.Pointer)
	}
	return codes
}

// asSent is occurredAt as it was written, where that says more than the instant in UTC does.
func asSent(c *notice.Change) string {
	if c.Original == c.OccurredAt.UTC().Format(time.RFC3339Nano) {
		return ""
	}
	return c.Original
}

func (w *writer) addAccepted(c *notice.Change, past *notice.Past, d *notice.Decision, e *entryRow, f *history.ChangeFacts) {
	f.Fields = d.Fields
	var notification notice.ID
	if d.Announce != nil {
		notification = d.Announce.ID
		f.Event, f.EventAt, f.Clause, f.Epoch = d.Announce.Event, d.Announce.EventAt, d.Announce.Clause, d.Announce.PushEpoch
		w.addAnnounced(c, d.Announce, e, f)
	} else {
		f.Reason = d.Judged.Silence
	}
	e.notification = notification
	held := past.Dense && d.Current
	if c.Cause != ofb.Clock && !held { // a timer's change has no revision
		w.revisions.add(c, notification, string(f.Reason))
	}
	if again := d.Rejudged; again != nil {
		w.queued.add(again)
		w.addDecision(c, again)
	}
	switch {
	case past.Resource == nil:
		w.made.add(c, d.Announced, past.Packed, w.found(c))
		if held {
			w.made.holdRevision(c, notification, string(f.Reason))
		}
	case d.Current:
		w.replaced.add(c, d.Announced, past.Packed, w.found(c))
		switch {
		case c.Cause == ofb.Clock:
			w.replaced.byTimer(past.Resource.Revision, c.OccurredAt)
		case held:
			w.replaced.holdRevision(c, notification, string(f.Reason))
		}
	default:
		w.announced.add(c, d.Announced)
	}
	if d.Current && (d.Timer != nil || past.Resource != nil) && !keepsTimer(c, past, d) {
		w.timers.add(c, d.Timer)
	}
	if !c.Quarantine.IsZero() {
		w.applied.add(c)
	}
}

// keepsTimer tells that a change leaves the armed timer as it is: its document does not conform and sets no deadline, and its state is the
// one before.
func keepsTimer(c *notice.Change, past *notice.Past, d *notice.Decision) bool {
	return d.Timer == nil && len(c.Nonconforming) > 0 && past.Resource != nil && past.Resource.State.Status == c.State.Status
}

// addAnnounced puts a notification into the queue, or records its first attempt, which leaves as soon as the change is committed: in
// the entry of the change when the attempt has its id, or else in an entry of its own.
func (w *writer) addAnnounced(c *notice.Change, n *notice.Announcement, e *entryRow, f *history.ChangeFacts) {
	switch a := n.First; {
	case a == nil:
		w.queued.add(n)
	case a.Token == c.ID:
		w.flight.add(a.Flight, n.Lease)
		e.interaction, f.First = a.Interaction, &history.FirstFacts{Number: a.Number, Base: a.BaseURI}
	default:
		w.addFirst(a, n.Lease)
	}
}

// addFirst records a first attempt in an entry of its own.
func (w *writer) addFirst(a *notice.Attempt, lease time.Duration) {
	w.flight.add(a.Flight, lease)
	private, _ := w.store.privateFacts(notice.Result{})
	text, _ := Facts(history.AttemptFacts{Private: audit.Commit(private), ScheduledAt: a.ScheduledAt, Late: a.Late, Base: a.BaseURI})
	w.entries.add(entryRow{
		id: a.Token, kind: history.FactAttempt, client: a.Client, resourceKind: a.Kind, resourceID: a.ResourceID, notification: a.Notification,
		interaction: a.Interaction, number: a.Number, private: private, facts: text,
	})
}

// addDecision records that a stored revision, judged again, must be told after all.
func (w *writer) addDecision(c *notice.Change, again *notice.Announcement) {
	text, _ := Facts(history.ChangeFacts{
		System: w.store.system, Source: c.Source, Actor: c.Actor, Remote: c.Address, APIVersion: again.APIVersion, Status: again.Status, From: c.State.Status,
		OccurredAt: again.OccurredAt.UTC(), Event: again.Event, EventAt: again.EventAt, Clause: again.Clause, Epoch: again.PushEpoch,
		BeganUS: w.began.Sub(c.ReceivedAt).Microseconds(), WaitedUS: w.now.Sub(c.ReceivedAt).Microseconds(),
		Because: c.Revision, DataHash: hex.EncodeToString(c.State.Data[:]), FirstReceivedAt: c.FirstAt.UTC(), CommittedAt: c.CommittedAt.UTC(),
	})
	w.entries.add(entryRow{
		id: NewID(), kind: history.FactDecision, client: again.Client, resourceKind: again.Kind, resourceID: again.ResourceID,
		revision: again.Revision, notification: again.ID, change: again.ChangeID, outcome: string(notice.Applied), facts: text,
	})
}

func (w *writer) queue(b *pgx.Batch) {
	w.entries.queue(b)
	w.revisions.queue(b)
	w.made.insert(b)
	QueueCompanies(b, w.companies)
	w.replaced.update(b)
	w.announced.queue(b)
	w.queued.queue(b)
	w.flight.queue(b)
	w.timers.queue(b)
	w.quarantine.queue(b)
	w.applied.queue(b)
}

type revisionColumns struct {
	kind                 []int16
	id, status, cause    []string
	revision             []int64
	change, notification []pgtype.UUID
	hash                 [][]byte
	watched              []string
	at                   []pgtype.Timestamptz
	reason               []pgtype.Text
}

func (r *revisionColumns) add(c *notice.Change, notification notice.ID, reason string) {
	r.kind, r.id, r.revision = append(r.kind, int16(c.Kind)), append(r.id, c.ResourceID), append(r.revision, c.Revision)
	r.change, r.notification = append(r.change, ToUUID(c.ID)), append(r.notification, ToUUID(notification))
	r.hash, r.watched = append(r.hash, c.State.Data[:]), append(r.watched, watchedJSON(c.State.Watched))
	r.status, r.cause = append(r.status, string(c.State.Status)), append(r.cause, string(c.Cause))
	r.at, r.reason = append(r.at, ToTime(c.OccurredAt)), append(r.reason, ToText(reason))
}

var insertRevisions = `
INSERT INTO revision (kind, resource_id, revision, change_id, data_hash, status, watched, cause, occurred_at, notification_id, reason)
SELECT kind, id, revision, change_id, hash, status, watched::jsonb, cause, at, notification_id, reason
FROM ` + rowsOf("kind smallint", "id text", "revision bigint", "change_id uuid", "hash bytea", "status text", "watched text", "cause text",
	"at timestamptz", "notification_id uuid", "reason text") + " AS v"

func (r *revisionColumns) queue(b *pgx.Batch) {
	if len(r.kind) > 0 {
		b.Queue(insertRevisions, r.kind, r.id, r.revision, r.change, r.hash, r.status, r.watched, r.cause, r.at, r.notification, r.reason)
	}
}

func watchedJSON(w map[string]string) string {
	if len(w) == 0 {
		return "{}"
	}
	b, _ := json.Marshal(w) // strings to strings: cannot fail
	return string(b)
}

type resourceColumns struct {
	kind                        []int16
	id, client, version, status []string
	revision, announced         []int64
	change                      []pgtype.UUID
	watched                     []string
	hash, document, found       [][]byte
	at, timerAt                 []pgtype.Timestamptz
	consent                     []pgtype.Text
	unwritten                   []pgtype.Int8 // the revision, where it gets no row of its own; cause, notification and reason are its
	cause, reason               []pgtype.Text
	notification                []pgtype.UUID
}

// emptied are no rows, with the room of those they had. It keeps nothing of a change: a hash is a part of its memory.
func (r *resourceColumns) emptied() resourceColumns {
	clear(r.document)
	clear(r.hash)
	clear(r.found)
	clear(r.watched)
	return resourceColumns{
		r.kind[:0], r.id[:0], r.client[:0], r.version[:0], r.status[:0], r.revision[:0], r.announced[:0], r.change[:0], r.watched[:0], r.hash[:0], r.document[:0],
		r.found[:0], r.at[:0], r.timerAt[:0], r.consent[:0], r.unwritten[:0], r.cause[:0], r.reason[:0], r.notification[:0],
	}
}

// byTimer marks the resource added last as made by a timer: it keeps the core's highest revision.
func (r *resourceColumns) byTimer(revision int64, deadline time.Time) {
	r.revision[len(r.revision)-1], r.timerAt[len(r.timerAt)-1] = revision, ToTime(deadline)
}

// holdRevision marks the resource added last as the only place of its revision. The table revision gets the row when another change takes its
// place: a trigger writes it.
func (r *resourceColumns) holdRevision(c *notice.Change, notification notice.ID, reason string) {
	last := len(r.id) - 1
	r.unwritten[last], r.cause[last] = pgtype.Int8{Int64: c.Revision, Valid: true}, pgtype.Text{String: string(c.Cause), Valid: true}
	r.notification[last], r.reason[last] = ToUUID(notification), ToText(reason)
}

func (r *resourceColumns) add(c *notice.Change, announced uint64, packed bool, found []byte) {
	document := c.Document
	if packed {
		document = pack(document)
	}
	r.kind, r.id, r.client = append(r.kind, int16(c.Kind)), append(r.id, c.ResourceID), append(r.client, string(c.Client))
	r.version, r.status = append(r.version, c.APIVersion), append(r.status, string(c.State.Status))
	r.revision, r.announced = append(r.revision, c.Revision), append(r.announced, int64(announced))
	r.change, r.watched = append(r.change, ToUUID(c.ID)), append(r.watched, watchedJSON(c.State.Watched))
	r.hash, r.document, r.at = append(r.hash, c.State.Data[:]), append(r.document, document), append(r.at, ToTime(c.OccurredAt))
	r.timerAt, r.consent = append(r.timerAt, pgtype.Timestamptz{}), append(r.consent, ToText(c.ConsentID))
	r.unwritten, r.cause = append(r.unwritten, pgtype.Int8{}), append(r.cause, pgtype.Text{})
	r.notification, r.reason = append(r.notification, pgtype.UUID{}), append(r.reason, pgtype.Text{})
	r.found = append(r.found, found)
}

var resourceArrays = `
FROM ` + rowsOf("kind smallint", "id text", "client_id text", "api_version text", "status text", "revision bigint", "announced bigint",
	"change_id uuid", "watched text", "hash bytea", "document bytea", "at timestamptz", "timer_at timestamptz", "consent text",
	"unwritten bigint", "cause text", "notification_id uuid", "reason text", "found bytea") + " AS v"

func (r *resourceColumns) arguments() []any {
	return []any{
		r.kind, r.id, r.client, r.version, r.status, r.revision, r.announced, r.change, r.watched, r.hash, r.document, r.at, r.timerAt, r.consent,
		r.unwritten, r.cause, r.notification, r.reason, r.found,
	}
}

// insert stores new resources. It has no ON CONFLICT: a resource that another replica made meanwhile was not judged
// from, so the whole batch must be judged again.
func (r *resourceColumns) insert(b *pgx.Batch) {
	if len(r.kind) > 0 {
		b.Queue(`INSERT INTO resource (kind, id, client_id, api_version, status, revision, announced, change_id, watched, data_hash, document, occurred_at, consent_id,
  unwritten, cause, notification_id, reason, found)
SELECT kind, id, client_id, api_version, status, revision, announced, change_id, watched::jsonb, hash, document, at, consent, unwritten, cause, notification_id, reason, found`+resourceArrays, r.arguments()...)
	}
}

func (r *resourceColumns) update(b *pgx.Batch) {
	if len(r.kind) > 0 {
		b.Queue(`UPDATE resource r SET status = v.status, revision = v.revision, announced = v.announced, change_id = v.change_id,
  watched = v.watched::jsonb, data_hash = v.hash, document = v.document, occurred_at = v.at, updated_at = now(), timer_at = v.timer_at,
  consent_id = coalesce(v.consent, r.consent_id), unwritten = v.unwritten, cause = v.cause, notification_id = v.notification_id, reason = v.reason,
  found = coalesce(nullif(v.found, ''), r.found)`+
			resourceArrays+` WHERE r.kind = v.kind AND r.id = v.id`, r.arguments()...)
	}
}

// announcedColumns are resources whose current document stays while a late revision is announced.
type announcedColumns struct {
	kind      []int16
	id        []string
	announced []int64
}

func (r *announcedColumns) add(c *notice.Change, announced uint64) {
	r.kind, r.id, r.announced = append(r.kind, int16(c.Kind)), append(r.id, c.ResourceID), append(r.announced, int64(announced))
}

func (r *announcedColumns) queue(b *pgx.Batch) {
	if len(r.kind) > 0 {
		b.Queue(`UPDATE resource r SET announced = v.announced FROM unnest($1::smallint[], $2::text[], $3::bigint[]) AS v(kind, id, announced)
WHERE r.kind = v.kind AND r.id = v.id`, r.kind, r.id, r.announced)
	}
}

type queueColumns struct {
	id                             []pgtype.UUID
	client, resource, version, evt []string
	epoch                          []int64
	kind                           []int16
	eventAt, occurredAt, notBefore []pgtype.Timestamptz
}

func (q *queueColumns) add(a *notice.Announcement) {
	q.id, q.client, q.epoch = append(q.id, ToUUID(a.ID)), append(q.client, string(a.Client)), append(q.epoch, a.PushEpoch)
	q.kind, q.resource, q.version = append(q.kind, int16(a.Kind)), append(q.resource, a.ResourceID), append(q.version, a.APIVersion)
	q.evt, q.eventAt = append(q.evt, string(a.Event)), append(q.eventAt, ToTime(a.EventAt))
	q.occurredAt, q.notBefore = append(q.occurredAt, ToTime(a.OccurredAt)), append(q.notBefore, ToTime(a.NotBefore))
}

var insertQueued = `
INSERT INTO queue (id, client_id, push_epoch, kind, resource_id, api_version, event, event_at, occurred_at, due_at)
SELECT id, client_id, epoch, kind, resource_id, version, event, event_at, occurred_at, greatest(now(), not_before)
FROM ` + rowsOf("id uuid", "client_id text", "epoch bigint", "kind smallint", "resource_id text", "version text", "event text",
	"event_at timestamptz", "occurred_at timestamptz", "not_before timestamptz") + " AS v"

func (q *queueColumns) queue(b *pgx.Batch) {
	if len(q.id) > 0 {
		b.Queue(insertQueued, q.id, q.client, q.epoch, q.kind, q.resource, q.version, q.evt, q.eventAt, q.occurredAt, q.notBefore)
	}
}

// flightRow is the lease of all first attempts of one commit.
type flightRow struct {
	id       notice.ID
	lease    time.Duration
	attempts int
}

// add counts one more attempt of the flight of this commit.
func (f *flightRow) add(id notice.ID, lease time.Duration) {
	f.id, f.lease = id, lease
	f.attempts++
}

func (f *flightRow) queue(b *pgx.Batch) {
	if f.attempts > 0 {
		b.Queue("INSERT INTO flight (id, lease_until, unsettled) VALUES ($1, now() + $2::interval, $3)", ToUUID(f.id), f.lease, f.attempts)
	}
}

// timerColumns set or clear the next deadline of resources that got a new current document.
type timerColumns struct {
	kind     []int16
	id, rule []string
	deadline []pgtype.Timestamptz
	first    time.Time // of the deadlines; zero: none is set
}

func (t *timerColumns) add(c *notice.Change, timer *ofb.Timer) {
	t.kind, t.id = append(t.kind, int16(c.Kind)), append(t.id, c.ResourceID)
	if timer == nil {
		t.rule, t.deadline = append(t.rule, ""), append(t.deadline, pgtype.Timestamptz{})
		return
	}
	if t.first.IsZero() || timer.Deadline.Before(t.first) {
		t.first = timer.Deadline
	}
	t.rule, t.deadline = append(t.rule, timer.Rule), append(t.deadline, ToTime(timer.Deadline))
}

// forgetTimers disarms. It finds each timer by its key and then by its place, which nobody changes without the lock of the resource: a join
// may walk through all timers, dead ones too (settleSQL).
const forgetTimers = `
DELETE FROM timer WHERE ctid = ANY (ARRAY(
  SELECT t.place FROM unnest($1::smallint[], $2::text[], $3::timestamptz[]) AS v(kind, id, deadline)
  CROSS JOIN LATERAL (SELECT ctid AS place FROM timer WHERE kind = v.kind AND resource_id = v.id OFFSET 0) t WHERE v.deadline IS NULL))`

func (t *timerColumns) queue(b *pgx.Batch) {
	if len(t.kind) == 0 {
		return
	}
	b.Queue(forgetTimers, t.kind, t.id, t.deadline)
	if !t.first.IsZero() {
		b.Queue(`INSERT INTO timer (kind, resource_id, rule, deadline)
SELECT kind, id, rule, deadline FROM unnest($1::smallint[], $2::text[], $3::text[], $4::timestamptz[]) AS v(kind, id, rule, deadline) WHERE deadline IS NOT NULL
ON CONFLICT (kind, resource_id) DO UPDATE SET rule = excluded.rule, deadline = excluded.deadline`, t.kind, t.id, t.rule, t.deadline)
	}
}

// noteOverdue notes a timer that was armed after its deadline, so that the next look reaches it.
func (t *timerColumns) noteOverdue(due *looks) {
	if ago := time.Since(t.first); !t.first.IsZero() && ago > 0 {
		due.found("", ago+lookBack) // the database's clock may be ahead
	}
}
