package auditlog

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/store"
)

const chainEntries = `
SELECT e.notification_id, e.id, e.kind, e.at, e.client_id, e.resource_kind, e.resource_id, coalesce(e.number, 0), coalesce(e.outcome, ''), coalesce(e.closes, ''),
  coalesce(e.facts->>'attempt', ''), (e.facts->>'endedAt')::timestamptz, coalesce((e.facts->>'pushEpoch')::bigint, 0),
  e.kind = 'change' AND e.interaction_id IS NOT NULL
FROM entry e WHERE e.notification_id = ANY($1) AND e.kind IN ('change', 'decision', 'resend', 'attempt', 'result', 'late-result', 'cancelled')
ORDER BY e.at`

const chainQueue = `SELECT q.id, q.token, q.attempts, q.due_at FROM queue q WHERE q.id = ANY($1)
UNION ALL SELECT a.notification_id, a.id, 1::smallint, a.at FROM entry a WHERE a.notification_id = ANY($1) AND ` + inFlight + ` AND ` + unsettled

const chainClients = `SELECT client_id, push, push_epoch FROM initiator WHERE client_id = ANY($1)`

// chains holds notifications against their attempts, results and places in the queue.
func (r *reconciling) chains(ctx context.Context, tx pgx.Tx, ids []pgtype.UUID) error {
	if len(ids) == 0 {
		return nil
	}
	chains := map[notice.ID]*history.Chain{}
	for _, id := range ids {
		chains[store.FromUUID(id)] = &history.Chain{ID: store.FromUUID(id)}
	}
	rows, err := tx.Query(ctx, chainEntries, ids)
	if err != nil {
		return err
	}
	if err := scanChains(rows, chains); err != nil {
		return err
	}
	if rows, err = tx.Query(ctx, chainQueue, ids); err != nil {
		return err
	}
	var id, token pgtype.UUID
	var attempts int
	var due pgtype.Timestamptz
	_, err = pgx.ForEachRow(rows, []any{&id, &token, &attempts, &due}, func() error {
		chains[store.FromUUID(id)].Queued = &history.Queued{Token: store.FromUUID(token), Attempts: attempts, DueAt: store.FromTime(due)}
		return nil
	})
	if err != nil {
		return err
	}
	if err := chainPeriods(ctx, tx, chains); err != nil {
		return err
	}
	for _, id := range ids {
		if c := chains[store.FromUUID(id)]; c != nil {
			delete(chains, c.ID) // one that was announced twice is looked at once
			if err := r.found(c.Differences()...); err != nil {
				return err
			}
		}
	}
	return nil
}

func scanChains(rows pgx.Rows, chains map[notice.ID]*history.Chain) error {
	var notification, id pgtype.UUID
	var kind, client, resource, outcome, closes, attempt string
	var resourceKind int16
	var number int
	var at, ended pgtype.Timestamptz
	var epoch int64
	var first bool // the entry of a change records attempt 1
	_, err := pgx.ForEachRow(rows, []any{&notification, &id, &kind, &at, &client, &resourceKind, &resource, &number, &outcome, &closes, &attempt, &ended, &epoch, &first}, func() error {
		c := chains[store.FromUUID(notification)]
		if first {
			c.Attempts = append(c.Attempts, history.AttemptEntry{ID: store.FromUUID(id), Number: 1, At: store.FromTime(at)})
		}
		switch kind {
		case history.FactAttempt:
			c.Attempts = append(c.Attempts, history.AttemptEntry{ID: store.FromUUID(id), Number: number, At: store.FromTime(at)})
		case history.FactResult, history.FactLateResult:
			token, _ := notice.ParseID(attempt) // a malformed one is no attempt of ours, which will be said
			c.Ends = append(c.Ends, history.ResultEntry{
				Attempt: token, Number: number, Late: kind == history.FactLateResult, Outcome: notice.Outcome(outcome), Closes: notice.State(closes),
				At: store.FromTime(at), EndedAt: store.FromTime(ended),
			})
		case history.FactCancelled:
			c.Cancelled = append(c.Cancelled, store.FromTime(at))
		default:
			c.Announced = append(c.Announced, store.FromTime(at))
			c.Manual = c.Manual || kind == history.FactResend
			c.Client, c.Kind, c.ResourceID, c.Epoch = notice.ClientID(client), ofb.Kind(resourceKind), resource, epoch
		}
		return nil
	})
	return err
}

// chainPeriods adds whether each client has an address now, and in which period.
func chainPeriods(ctx context.Context, tx pgx.Tx, chains map[notice.ID]*history.Chain) error {
	seen := map[notice.ClientID]bool{}
	var clients []string
	for _, c := range chains {
		if !seen[c.Client] {
			seen[c.Client] = true
			clients = append(clients, string(c.Client))
		}
	}
	rows, err := tx.Query(ctx, chainClients, clients)
	if err != nil {
		return err
	}
	type period struct {
		push  bool
		epoch int64
	}
	now := map[notice.ClientID]period{}
	var client notice.ClientID
	var p period
	if _, err := pgx.ForEachRow(rows, []any{&client, &p.push, &p.epoch}, func() error { now[client] = p; return nil }); err != nil {
		return err
	}
	for _, c := range chains {
		c.Push, c.PushEpoch = now[c.Client].push, now[c.Client].epoch
	}
	return nil
}

// resources compares what is kept of each resource. It takes those whose newest change within the period is in this piece,
// so that each is read once.
func (r *reconciling) resources(ctx context.Context, tx pgx.Tx, changed map[notice.Key]map[notice.ID]bool) error {
	keys := slices.SortedFunc(maps.Keys(changed), func(a, b notice.Key) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.ID, b.ID))
	})
	for some := range slices.Chunk(keys, resourcesAtOnce) {
		due, err := r.due(ctx, tx, some, changed)
		if err != nil {
			return err
		}
		resources, err := readResources(ctx, tx, due)
		if err != nil {
			return err
		}
		for _, key := range due {
			s := resources[key]
			r.out.Resources++
			s.HistoryFrom, s.Registered = r.history, r.hadAddress(s.Client)
			if err := r.found(s.Differences()...); err != nil {
				return err
			}
		}
	}
	return nil
}

const storyNewest = `
SELECT k.kind, k.id, n.id FROM unnest($1::smallint[], $2::text[]) AS k(kind, id) CROSS JOIN LATERAL (
  SELECT e.id FROM entry e
  WHERE e.resource_id = k.id AND e.resource_kind = k.kind AND e.number IS NULL AND e.kind = 'change' AND e.at < $3
  ORDER BY e.at DESC, e.id DESC LIMIT 1) n`

// due are the resources whose newest change within the period is in this piece. A resource that is changed all the time is
// in every piece, and read in one.
func (r *reconciling) due(ctx context.Context, tx pgx.Tx, keys []notice.Key, changed map[notice.Key]map[notice.ID]bool) ([]notice.Key, error) {
	kinds, ids := make([]int16, len(keys)), make([]string, len(keys))
	for i, k := range keys {
		kinds[i], ids[i] = int16(k.Kind), k.ID
	}
	rows, _ := tx.Query(ctx, storyNewest, kinds, ids, r.to)
	var kind int16
	var id string
	var newest pgtype.UUID
	var due []notice.Key
	_, err := pgx.ForEachRow(rows, []any{&kind, &id, &newest}, func() error {
		if key := (notice.Key{Kind: ofb.Kind(kind), ID: id}); changed[key][store.FromUUID(newest)] {
			due = append(due, key)
		}
		return nil
	})
	return due, err
}

const storyEntries = `
SELECT e.resource_kind, e.resource_id, e.id, e.at, e.kind, e.client_id, coalesce(e.revision, 0), e.notification_id, coalesce(e.outcome, ''), e.facts::text
FROM unnest($1::smallint[], $2::text[]) AS k(kind, id)
JOIN entry e ON e.resource_id = k.id AND e.resource_kind = k.kind AND e.number IS NULL AND e.kind IN ('change', 'decision') ORDER BY e.at, e.id`

const storyRevisions = `
SELECT v.kind, v.resource_id, v.revision, v.change_id, v.data_hash, v.status, v.watched, v.cause, v.occurred_at, v.notification_id, coalesce(v.reason, '')
FROM unnest($1::smallint[], $2::text[]) AS k(kind, id) JOIN stored_revision v ON v.kind = k.kind AND v.resource_id = k.id`

const storyDocuments = `
SELECT r.kind, r.id, r.client_id, r.revision, r.change_id, r.status, r.data_hash, r.timer_at, r.document
FROM unnest($1::smallint[], $2::text[]) AS k(kind, id) JOIN resource r ON r.kind = k.kind AND r.id = k.id`

// storyErased believes an erasure that has its entry, or whose entry may have been removed with its month.
const storyErased = `
SELECT x.kind, x.resource_id, max(greatest(x.at, e.at))
FROM unnest($1::smallint[], $2::text[]) AS k(kind, id) JOIN erased x ON x.kind = k.kind AND x.resource_id = k.id
LEFT JOIN entry e ON e.resource_id = x.resource_id AND e.resource_kind = x.kind AND e.number IS NULL AND e.kind = 'erasure'
WHERE e.id IS NOT NULL OR x.at < now() - interval '5 years' GROUP BY 1, 2`

// readResources reads what is kept of resources.
func readResources(ctx context.Context, tx pgx.Tx, keys []notice.Key) (map[notice.Key]*history.ResourceHistory, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	resources := map[notice.Key]*history.ResourceHistory{}
	for _, k := range keys {
		resources[k] = &history.ResourceHistory{Key: k}
	}
	if err := readDecided(ctx, tx, resources); err != nil {
		return nil, err
	}
	if err := readStored(ctx, tx, resources); err != nil {
		return nil, err
	}
	if err := readErased(ctx, tx, resources); err != nil {
		return nil, err
	}
	return resources, readDocuments(ctx, tx, resources)
}

func arraysOf(resources map[notice.Key]*history.ResourceHistory) (kinds []int16, ids []string) {
	for k := range resources {
		kinds, ids = append(kinds, int16(k.Kind)), append(ids, k.ID)
	}
	return kinds, ids
}

func readDecided(ctx context.Context, tx pgx.Tx, resources map[notice.Key]*history.ResourceHistory) error {
	kinds, ids := arraysOf(resources)
	rows, _ := tx.Query(ctx, storyEntries, kinds, ids)
	var kind int16
	var resource, entry, client, outcome, text string
	var id, notification pgtype.UUID
	var at pgtype.Timestamptz
	var revision int64
	_, err := pgx.ForEachRow(rows, []any{&kind, &resource, &id, &at, &entry, &client, &revision, &notification, &outcome, &text}, func() error {
		var f history.ChangeFacts
		if err := json.Unmarshal([]byte(text), &f); err != nil {
			return fmt.Errorf("facts of entry %s: %w", store.FromUUID(id), err)
		}
		s := resources[notice.Key{Kind: ofb.Kind(kind), ID: resource}]
		d := history.Decided{
			ID: store.FromUUID(id), At: store.FromTime(at), System: f.System, Rejudged: entry == history.FactDecision, Revision: revision, Verdict: notice.Verdict(outcome),
			State: ofb.ResourceState{Status: f.Status}, Cause: f.Cause, OccurredAt: f.OccurredAt.UTC(), Notification: store.FromUUID(notification), Event: f.Event, Silence: f.Reason,
		}
		if hash, err := hex.DecodeString(f.DataHash); err == nil {
			copy(d.State.Data[:], hash)
		}
		var err error
		if d.Quarantine, err = notice.ParseID(f.Quarantine); f.Quarantine == "" {
			err = nil
		}
		s.Client = notice.ClientID(client)
		s.Decided = append(s.Decided, d)
		return err
	})
	return err
}

func readStored(ctx context.Context, tx pgx.Tx, resources map[notice.Key]*history.ResourceHistory) error {
	kinds, ids := arraysOf(resources)
	rows, err := tx.Query(ctx, storyRevisions, kinds, ids)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var kind int16
		var resource string
		var row store.RevisionRow
		if err := rows.Scan(append([]any{&kind, &resource}, row.Columns()...)...); err != nil {
			return err
		}
		s := resources[notice.Key{Kind: ofb.Kind(kind), ID: resource}]
		s.Revisions = append(s.Revisions, row.Revision())
	}
	return rows.Err()
}

func readErased(ctx context.Context, tx pgx.Tx, resources map[notice.Key]*history.ResourceHistory) error {
	kinds, ids := arraysOf(resources)
	rows, _ := tx.Query(ctx, storyErased, kinds, ids)
	var kind int16
	var id string
	var at pgtype.Timestamptz
	_, err := pgx.ForEachRow(rows, []any{&kind, &id, &at}, func() error {
		resources[notice.Key{Kind: ofb.Kind(kind), ID: id}].ErasedAt = store.FromTime(at)
		return nil
	})
	return err
}

func readDocuments(ctx context.Context, tx pgx.Tx, resources map[notice.Key]*history.ResourceHistory) error {
	kinds, ids := arraysOf(resources)
	rows, err := tx.Query(ctx, storyDocuments, kinds, ids)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var kind int16
		var resource, client, status string
		var d history.Document
		var change pgtype.UUID
		var hash, document []byte
		var timer pgtype.Timestamptz
		if err := rows.Scan(&kind, &resource, &client, &d.Revision, &change, &status, &hash, &timer, &document); err != nil {
			return err
		}
		d.Client, d.ChangeID, d.State.Status, d.TimerAt = notice.ClientID(client), store.FromUUID(change), ofb.Status(status), store.FromTime(timer)
		copy(d.State.Data[:], hash)
		d.Hash = hashOf(document)
		resources[notice.Key{Kind: ofb.Kind(kind), ID: resource}].Current = &d
	}
	return rows.Err()
}

// hashOf computes a stored document's hash anew; zero for what is no JSON object.
func hashOf(document []byte) [32]byte {
	d := json.NewDecoder(bytes.NewReader(document))
	d.UseNumber()
	var data map[string]any
	if d.Decode(&data) != nil || data == nil {
		return [32]byte{}
	}
	return ofb.Hash(data)
}

// unknown finds resources and revisions of which the history has no change at all.
func (r *reconciling) unknown(ctx context.Context) error {
	const resources = `SELECT r.kind, r.id, 0::bigint, r.updated_at, r.client_id, r.change_id,
  EXISTS (SELECT FROM entry e WHERE e.resource_id = r.id AND e.resource_kind = r.kind AND e.number IS NULL AND e.kind = 'change')
FROM (SELECT * FROM resource WHERE (kind, id) > ($1, $2) AND $3 >= 0 ORDER BY kind, id LIMIT $4) r ORDER BY r.kind, r.id`
	const revisions = `SELECT v.kind, v.resource_id, v.revision, v.occurred_at, '', v.change_id,
  EXISTS (SELECT FROM entry e WHERE e.resource_id = v.resource_id AND e.resource_kind = v.kind AND e.number IS NULL AND e.kind = 'change')
FROM (SELECT * FROM revision WHERE (kind, resource_id, revision) > ($1, $2, $3) ORDER BY kind, resource_id, revision LIMIT $4) v ORDER BY v.kind, v.resource_id, v.revision`
	err := r.walk(ctx, resources, history.Difference{What: history.DocumentDiffers, Detail: "there is a current document, and no change of it in the history"})
	if err != nil {
		return err
	}
	return r.walk(ctx, revisions, history.Difference{What: history.RevisionWithoutChange, Detail: "the history has no change of this resource"})
}

// walk goes through a table in the order of its key.
func (r *reconciling) walk(ctx context.Context, sql string, what history.Difference) error {
	var kind int16
	var id, client string
	var revision int64
	for {
		rows, _ := r.i.db.Query(ctx, sql, kind, id, revision, keysAtOnce)
		n := 0
		var all []history.Difference
		var at pgtype.Timestamptz
		var change pgtype.UUID
		var known bool
		_, err := pgx.ForEachRow(rows, []any{&kind, &id, &revision, &at, &client, &change, &known}, func() error {
			n++
			d := what
			d.Kind, d.ResourceID, d.Revision, d.Since, d.Client, d.Change = ofb.Kind(kind).String(), id, revision, history.Moment{Time: store.FromTime(at)}, notice.ClientID(client), store.FromUUID(change)
			if made, ok := d.Change.Time(); !known && (!ok || !made.Before(r.history)) {
				all = append(all, d)
			}
			return nil
		})
		if err != nil {
			return err
		}
		if err := r.found(all...); err != nil || n < keysAtOnce {
			return err
		}
	}
}
