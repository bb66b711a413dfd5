package store

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/arauto/arauto/internal/notice"
)

// Record is T1. In one transaction it locks what is stored of the changes' resources, hands it to judge, and stores
// what judge answers: the fact, the document, the revision and the notification. changes must be of different
// resources and sorted by (kind, id), so that two batches never wait for each other in a circle; judge answers one
// decision for each, in order. A nil error means that everything is committed.
//
// Errors: ErrUnavailable (nothing is known, and no change is to blame), ErrRace (try the batch again), or another one: then
// a change of the batch is to blame, and each must be tried alone. Of a single change it is proven: see blame.
func (s *Store) Record(ctx context.Context, changes []*notice.Change, judge func([]notice.Past) []notice.Decision) error {
	conn, err := s.intake.Acquire(ctx)
	if err != nil {
		return s.noteFault(actRecord, Unavailable("take an intake connection", err))
	}
	defer conn.Release()
	if err := recordOn(ctx, conn, s, changes, judge); err != nil {
		rollback(conn)
		doing := fmt.Sprintf("record %d changes", len(changes))
		if isRace(err) {
			return fmt.Errorf("%s: %w", doing, ErrRace)
		}
		if len(changes) > 1 && IsCode(err, "55P03") { // of one row perhaps: the others must not be refused with it
			return fmt.Errorf("%s: %w", doing, err)
		}
		return s.noteFault(actRecord, s.blame(conn, doing, len(changes), err))
	}
	return s.noteFault(actRecord, nil)
}

// rollback ends a transaction that failed; a connection that cannot even do that is dropped by the pool.
func rollback(conn *pgxpool.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if conn.Conn().PgConn().TxStatus() != 'I' {
		_, _ = conn.Exec(ctx, "rollback")
	}
}

func recordOn(ctx context.Context, conn *pgxpool.Conn, s *Store, changes []*notice.Change, judge func([]notice.Past) []notice.Decision) error {
	pasts, began, key, err := lockPasts(ctx, conn, changes)
	if err != nil {
		return err
	}
	if err := readRevisions(ctx, conn, changes, pasts); err != nil {
		return err
	}
	decisions := judge(pasts)
	w := newWriter(s, began, time.Now(), key)
	defer w.free()
	for i, c := range changes {
		if err := w.add(c, &pasts[i], &decisions[i]); err != nil {
			return err
		}
	}
	if err := w.commit(ctx, conn); err != nil {
		return err
	}
	if len(w.companies) > 0 {
		s.companies.remember(w.companies)
	}
	return nil
}

const lockResources = `
SELECT k.n, r.client_id, r.api_version, r.revision, r.status, r.watched, r.data_hash, r.announced, r.occurred_at, r.timer_at
FROM unnest($1::smallint[], $2::text[]) WITH ORDINALITY AS k(kind, id, n)
CROSS JOIN LATERAL (SELECT * FROM resource r WHERE r.kind = k.kind AND r.id = k.id FOR UPDATE) r`

const readPush = `SELECT i.client_id, i.push, NOT i.removed, i.push_epoch, coalesce(i.webhook_uris->>0, '') FROM unnest($1::text[]) AS k(client_id) JOIN initiator i USING (client_id)`

const sinceBegin = "SELECT now(), (extract(epoch FROM clock_timestamp() - now()) * 1000000)::bigint, (SELECT dense FROM form), (SELECT packed FROM form), (SELECT key FROM keyring WHERE name = 'find')"

// lockPasts begins the transaction, locks the resources one by one in the order given, and reads the registrations, in
// one round trip. began is when the transaction did, by our clock: the wait for locks, which the database knows, is taken
// off, and the way of the answer is not. So it is never too early, and a change never seems to have come later than it did.
// key is that of what payments are found by.
func lockPasts(ctx context.Context, conn *pgxpool.Conn, changes []*notice.Change) (pasts []notice.Past, began time.Time, key []byte, err error) {
	kinds, ids := make([]int16, len(changes)), make([]string, len(changes))
	clients := map[notice.ClientID]bool{}
	for i, c := range changes {
		kinds[i], ids[i] = int16(c.Kind), c.ResourceID
		clients[c.Client] = true
	}
	names := make([]string, 0, len(clients))
	for c := range clients {
		names = append(names, string(c))
	}
	batch := &pgx.Batch{}
	batch.Queue("begin")
	batch.Queue(lockResources, kinds, ids)
	batch.Queue(readPush, names)
	batch.Queue(sinceBegin)
	asked := time.Now()
	results := conn.SendBatch(ctx, batch)
	defer results.Close()

	pasts = make([]notice.Past, len(changes))
	if _, err := results.Exec(); err != nil {
		return nil, began, nil, err
	}
	rows, _ := results.Query()
	for rows.Next() {
		var n, announced int64
		var r notice.Resource
		if err := rows.Scan(Columns(&n, &r.Client, &r.APIVersion, &r.Revision, (*string)(&r.State.Status), &r.State.Watched, &r.State.Data, &announced, &r.OccurredAt, &r.TimerAt)...); err != nil {
			return nil, began, nil, err
		}
		r.Announced = uint64(announced)
		pasts[n-1].Resource = &r
	}
	if err := rows.Err(); err != nil {
		return nil, began, nil, err
	}
	type push struct {
		on    bool
		known bool
		epoch int64
		uri   string
	}
	registered := map[notice.ClientID]push{}
	rows, _ = results.Query()
	var client notice.ClientID
	var p push
	_, err = pgx.ForEachRow(rows, Columns(&client, &p.on, &p.known, &p.epoch, &p.uri), func() error {
		registered[client] = p
		return nil
	})
	if err != nil {
		return nil, began, nil, err
	}
	var now time.Time
	var micros int64
	var dense, packed bool
	if err := results.QueryRow().Scan(Columns(&now, &micros, &dense, &packed, &key)...); err != nil {
		return nil, began, nil, err
	}
	for i, c := range changes {
		p := registered[c.Client]
		pasts[i].Push, pasts[i].Unregistered = p.on, !p.known
		pasts[i].Epoch, pasts[i].BaseURI, pasts[i].Now, pasts[i].Asked, pasts[i].Dense, pasts[i].Packed = p.epoch, p.uri, now, asked, dense, packed
	}
	began = time.Now().Add(-time.Duration(micros) * time.Microsecond)
	return pasts, began, key, results.Close()
}

const readRevision = `
SELECT k.n, r.which, r.revision, r.change_id, r.data_hash, r.status, r.watched, r.cause, r.occurred_at, r.notification_id, coalesce(r.reason, ''),
  r.which = 'after' AND EXISTS (SELECT FROM entry e WHERE e.resource_id = k.id AND e.resource_kind = k.kind AND e.number IS NULL
    AND e.kind = 'decision' AND e.revision = r.revision)
FROM unnest($1::smallint[], $2::text[], $3::bigint[]) WITH ORDINALITY AS k(kind, id, revision, n)
CROSS JOIN LATERAL (
  SELECT 'same' AS which, v.* FROM stored_revision v WHERE v.kind = k.kind AND v.resource_id = k.id AND v.revision = k.revision
  UNION ALL
  SELECT 'before', b.* FROM (SELECT * FROM stored_revision v WHERE v.kind = k.kind AND v.resource_id = k.id AND v.revision < k.revision ORDER BY v.revision DESC LIMIT 1) b
  UNION ALL
  SELECT 'after', a.* FROM (SELECT * FROM stored_revision v WHERE v.kind = k.kind AND v.resource_id = k.id AND v.revision > k.revision ORDER BY v.revision LIMIT 1) a
) r`

// readRevisions fills in what the current row does not tell: of changes that are not newer than the core's newest, and
// of resources whose current state a timer made. Almost every change is neither, and costs nothing here.
func readRevisions(ctx context.Context, conn *pgxpool.Conn, changes []*notice.Change, pasts []notice.Past) error {
	var index []int
	var kinds []int16
	var ids []string
	var revisions []int64
	for i, c := range changes {
		r := pasts[i].Resource
		switch {
		case r == nil:
		case c.Revision > r.Revision && r.TimerAt.IsZero():
			pasts[i].Before = &notice.Revision{Number: r.Revision, State: r.State, OccurredAt: r.OccurredAt}
		default:
			index, kinds, ids, revisions = append(index, i), append(kinds, int16(c.Kind)), append(ids, c.ResourceID), append(revisions, c.Revision)
		}
	}
	if len(index) == 0 {
		return nil
	}
	rows, _ := conn.Query(ctx, readRevision, kinds, ids, revisions)
	defer rows.Close()
	for rows.Next() {
		var n int64
		var which string
		var v notice.Revision
		var announcedLater bool
		if err := rows.Scan(slices.Concat([]any{&n, &which}, RevisionColumns(&v), []any{&announcedLater})...); err != nil {
			return err
		}
		past := &pasts[index[n-1]]
		switch which {
		case "same":
			past.Same = &v
		case "before":
			past.Before = &v
		default:
			past.After, past.AnnouncedLater = &v, announcedLater
		}
	}
	return rows.Err()
}

// RevisionColumns are where to scan revision, change_id, data_hash, status, watched, cause, occurred_at, notification_id and reason.
func RevisionColumns(v *notice.Revision) []any {
	return Columns(&v.Number, &v.ChangeID, &v.State.Data, &v.State.Status, &v.State.Watched, &v.Cause, &v.OccurredAt, &v.Notification, &v.Silence)
}

// commit stores what was added and commits, in one round trip.
func (w *writer) commit(ctx context.Context, conn *pgxpool.Conn) error {
	batch := &pgx.Batch{}
	w.queue(batch)
	batch.Queue("commit")
	err := sendAll(ctx, conn, batch)
	w.timers.noteOverdue(&w.store.timers) // also when the answer is lost: a repetition is a duplicate and arms nothing
	return err
}
