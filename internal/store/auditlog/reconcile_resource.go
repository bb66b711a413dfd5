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
	"time"

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
func (r *reconciling) chains(ctx context.Context, tx pgx.Tx, ids []notice.ID) error {
	if len(ids) == 0 {
		return nil
	}
	chains, all := map[notice.ID]*history.Chain{}, make([]pgtype.UUID, len(ids))
	for i, id := range ids {
		chains[id], all[i] = &history.Chain{ID: id}, store.ToUUID(id)
	}
	rows, _ := tx.Query(ctx, chainEntries, all)
	if err := scanChains(rows, chains); err != nil {
		return err
	}
	rows, _ = tx.Query(ctx, chainQueue, all)
	var id notice.ID
	var queued history.Queued
	_, err := pgx.ForEachRow(rows, store.Columns(&id, &queued.Token, &queued.Attempts, &queued.DueAt), func() error {
		one := queued
		chains[id].Queued = &one
		return nil
	})
	if err != nil {
		return err
	}
	if err := chainPeriods(ctx, tx, chains); err != nil {
		return err
	}
	for _, id := range ids {
		if c := chains[id]; c != nil {
			delete(chains, c.ID) // one that was announced twice is looked at once
			if err := r.found(c.Differences()...); err != nil {
				return err
			}
		}
	}
	return nil
}

func scanChains(rows pgx.Rows, chains map[notice.ID]*history.Chain) error {
	var read history.Chain
	var id notice.ID
	var kind, attempt string
	var end history.ResultEntry
	var first bool // the entry of a change records attempt 1
	to := store.Columns(&read.ID, &id, &kind, &end.At, &read.Client, &read.Kind, &read.ResourceID, &end.Number, &end.Outcome, &end.Closes, &attempt, &end.EndedAt, &read.Epoch, &first)
	_, err := pgx.ForEachRow(rows, to, func() error {
		c := chains[read.ID]
		if first {
			c.Attempts = append(c.Attempts, history.AttemptEntry{ID: id, Number: 1, At: end.At})
		}
		switch kind {
		case history.FactAttempt:
			c.Attempts = append(c.Attempts, history.AttemptEntry{ID: id, Number: end.Number, At: end.At})
		case history.FactResult, history.FactLateResult:
			end.Attempt, _ = notice.ParseID(attempt) // a malformed one is no attempt of ours, which will be said
			end.Late = kind == history.FactLateResult
			c.Ends = append(c.Ends, end)
		case history.FactCancelled:
			c.Cancelled = append(c.Cancelled, end.At)
		default:
			c.Announced = append(c.Announced, end.At)
			c.Manual = c.Manual || kind == history.FactResend
			c.Client, c.Kind, c.ResourceID, c.Epoch = read.Client, read.Kind, read.ResourceID, read.Epoch
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
	rows, _ := tx.Query(ctx, chainClients, clients)
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
	var key notice.Key
	var newest notice.ID
	var due []notice.Key
	_, err := pgx.ForEachRow(rows, store.Columns(&key.Kind, &key.ID, &newest), func() error {
		if changed[key][newest] {
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
	var key notice.Key
	var entry, text string
	var client notice.ClientID
	var read history.Decided
	_, err := pgx.ForEachRow(rows, store.Columns(&key.Kind, &key.ID, &read.ID, &read.At, &entry, &client, &read.Revision, &read.Notification, &read.Verdict, &text), func() error {
		var f history.ChangeFacts
		if err := json.Unmarshal([]byte(text), &f); err != nil {
			return fmt.Errorf("facts of entry %s: %w", read.ID, err)
		}
		s, d := resources[key], read
		d.System, d.Rejudged, d.State.Status, d.Cause, d.OccurredAt, d.Event, d.Silence = f.System, entry == history.FactDecision, f.Status, f.Cause, f.OccurredAt.UTC(), f.Event, f.Reason
		if hash, err := hex.DecodeString(f.DataHash); err == nil {
			copy(d.State.Data[:], hash)
		}
		var err error
		if d.Quarantine, err = notice.ParseID(f.Quarantine); f.Quarantine == "" {
			err = nil
		}
		s.Client = client
		s.Decided = append(s.Decided, d)
		return err
	})
	return err
}

func readStored(ctx context.Context, tx pgx.Tx, resources map[notice.Key]*history.ResourceHistory) error {
	kinds, ids := arraysOf(resources)
	type keyed struct {
		notice.Key
		notice.Revision
	}
	all, err := store.All(ctx, tx, func(v *keyed) []any { return append([]any{&v.Kind, &v.ID}, store.RevisionColumns(&v.Revision)...) }, storyRevisions, kinds, ids)
	for _, v := range all {
		resources[v.Key].Revisions = append(resources[v.Key].Revisions, v.Revision)
	}
	return err
}

func readErased(ctx context.Context, tx pgx.Tx, resources map[notice.Key]*history.ResourceHistory) error {
	kinds, ids := arraysOf(resources)
	rows, _ := tx.Query(ctx, storyErased, kinds, ids)
	var key notice.Key
	var at time.Time
	_, err := pgx.ForEachRow(rows, store.Columns(&key.Kind, &key.ID, &at), func() error {
		resources[key].ErasedAt = at
		return nil
	})
	return err
}

func readDocuments(ctx context.Context, tx pgx.Tx, resources map[notice.Key]*history.ResourceHistory) error {
	kinds, ids := arraysOf(resources)
	rows, _ := tx.Query(ctx, storyDocuments, kinds, ids)
	var key notice.Key
	var read history.Document
	var document []byte
	to := store.Columns(&key.Kind, &key.ID, &read.Client, &read.Revision, &read.ChangeID, &read.State.Status, &read.State.Data, &read.TimerAt, store.Document(&document))
	_, err := pgx.ForEachRow(rows, to, func() error {
		d := read
		d.Hash = hashOf(document)
		resources[key].Current = &d
		return nil
	})
	return err
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
	var kind ofb.Kind
	for d := what; ; {
		rows, _ := r.i.db.Query(ctx, sql, int16(kind), d.ResourceID, d.Revision, keysAtOnce)
		n := 0
		var all []history.Difference
		var known bool
		_, err := pgx.ForEachRow(rows, store.Columns(&kind, &d.ResourceID, &d.Revision, &d.Since.Time, &d.Client, &d.Change, &known), func() error {
			n++
			d.Kind = kind.String()
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
