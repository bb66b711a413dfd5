package auditlog

import (
	"context"
	"encoding/hex"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/brand"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/store"
)

// findMost is how many hits of one type are listed.
const findMost = 50

// Find finds what an id names: a resource, a notification, a change, an interaction, a payment by its end-to-end id, a
// client, an organisation, or clients by the root of the CNPJ that their payments name. Each look uses an index. Payments
// and CNPJ roots that a replica of an older version took in are found once their change is folded.
func (l *Log) Find(ctx context.Context, text string) (history.Found, error) {
	key, err := findKey(ctx, l.query)
	if err != nil {
		return history.Found{}, err
	}
	mark := store.Mark(key, text)
	f := idSearch{db: l.query, brands: l.brands, text: text, key: key, mark: mark, out: history.Found{Mark: hex.EncodeToString(mark)}}
	for _, look := range []func(context.Context) error{f.resources, f.uuid, f.endToEnd, f.clients, f.cnpj} {
		if err := look(ctx); err != nil {
			return history.Found{}, store.Unavailable("find", err)
		}
	}
	return f.out, nil
}

// findKey is the secret under which ids that must not be kept are digested.
func findKey(ctx context.Context, db querier) (key []byte, err error) {
	err = db.QueryRow(ctx, "SELECT key FROM keyring WHERE name = 'find'").Scan(&key)
	return key, store.Unavailable("read the key of digests", err)
}

// idSearch is one search of Find.
type idSearch struct {
	brands brand.List
	db     querier
	text   string
	key    []byte
	mark   []byte // of text, under key
	out    history.Found
}

// add reads hits of one type.
func (f *idSearch) add(ctx context.Context, sql string, args []any, hit func(rows pgx.Rows) (history.Hit, error)) error {
	rows, _ := f.db.Query(ctx, sql, args...)
	defer rows.Close()
	for n := 0; rows.Next(); n++ {
		if n == findMost {
			f.out.More = true
			break
		}
		h, err := hit(rows)
		if err != nil {
			return err
		}
		f.out.Hits = append(f.out.Hits, h)
	}
	rows.Close()
	return rows.Err()
}

// resources finds documents, and what the history alone knows of resources that have none.
func (f *idSearch) resources(ctx context.Context) error {
	var kinds []int16
	for _, k := range ofb.Kinds() {
		if notice.ValidResourceKey(f.brands, k, f.text) {
			kinds = append(kinds, int16(k))
		}
	}
	if len(kinds) == 0 {
		return nil
	}
	return f.add(ctx, `SELECT k, t.id, coalesce(r.client_id, e.client_id) FROM unnest($1::text[]) AS t(id) CROSS JOIN unnest($2::smallint[]) AS k
LEFT JOIN resource r ON r.kind = k AND r.id = t.id
LEFT JOIN LATERAL (SELECT client_id FROM entry WHERE r.id IS NULL AND resource_id = t.id AND number IS NULL AND resource_kind = k AND kind <> 'poll' LIMIT 1) e ON true
WHERE r.id IS NOT NULL OR e.client_id IS NOT NULL ORDER BY k, t.id`, []any{f.keys(), kinds}, func(rows pgx.Rows) (history.Hit, error) {
		h := history.Hit{ID: f.text}
		err := rows.Scan(store.Columns(&h.Kind, &h.ResourceID, &h.Client)...)
		h.Type = history.HitTypeOf(h.Kind)
		return h, err
	})
}

// keys are the keys that the text may stand for: itself, and its id in every brand.
func (f *idSearch) keys() []string {
	out := []string{f.text}
	for _, of := range f.brands.Prefixes() {
		if of != "" && brand.Of(f.text) == "" {
			out = append(out, brand.Key(of, f.text))
		}
	}
	return out
}

// uuid finds notifications, changes and interactions.
func (f *idSearch) uuid(ctx context.Context) error {
	id, err := notice.ParseID(f.text)
	if err != nil || id.IsZero() {
		return nil //nolint:nilerr // what is no UUID names no such thing
	}
	made, err := queryEntries(ctx, f.db, announcementsSQL, []pgtype.UUID{store.ToUUID(id)})
	if err != nil {
		return err
	}
	for i := range made {
		f.entry(history.HitNotification, &made[i])
	}
	var change conditions
	s := history.Search{Change: id}
	change.narrow(s)
	change.rest(s, nil)
	changes, err := queryEntries(ctx, f.db, change.selectNewest(findMost), change.args...)
	if err != nil {
		return err
	}
	for i := range changes {
		if changes[i].ID == id {
			f.entry(history.HitChange, &changes[i])
		}
	}
	interactions, err := queryEntries(ctx, f.db, entrySelect+"WHERE interaction_id = $1 AND kind IN ('attempt', 'change', 'poll') LIMIT $2", store.ToUUID(id), findMost)
	if err != nil {
		return err
	}
	for i := range interactions {
		if interactions[i].Kind == history.FactPoll {
			f.entry(history.HitPoll, &interactions[i])
		} else { // the entry of a change has the id of the attempt that it records
			f.entry(history.HitAttempt, &interactions[i])
		}
	}
	return nil
}

func (f *idSearch) entry(t history.HitType, e *audit.Entry) {
	fact := history.FactOf(e)
	f.out.Hits = append(f.out.Hits, history.Hit{
		Type: t, ID: f.text, Kind: fact.ResourceKind, ResourceID: fact.ResourceID, Client: fact.Client, Notification: fact.Notification,
	})
}

// endToEnd finds payments, and those of older versions by their digests in a table beside.
func (f *idSearch) endToEnd(ctx context.Context) error {
	if !store.IsEndToEndID(f.text) {
		return nil
	}
	return f.add(ctx, `SELECT r.kind, r.id, r.client_id FROM resource r WHERE r.found = $1 AND r.found <> ''
UNION SELECT d.kind, d.resource_id, r.client_id FROM find_resource d LEFT JOIN resource r ON r.kind = d.kind AND r.id = d.resource_id WHERE d.digest = $2
ORDER BY 1, 2 LIMIT $3`, []any{store.FoundBy(f.key, f.text), f.mark, findMost + 1}, func(rows pgx.Rows) (history.Hit, error) {
		h := history.Hit{Type: history.HitEndToEnd, ID: f.text}
		err := rows.Scan(store.Columns(&h.Kind, &h.ResourceID, &h.Client)...)
		return h, err
	})
}

func (f *idSearch) clients(ctx context.Context) error {
	return f.add(ctx, `SELECT client_id, name, organisation_id = $1 FROM initiator WHERE client_id = $1 OR organisation_id = $1 OR software_id = $1
ORDER BY client_id LIMIT $2`, []any{f.text, findMost + 1}, func(rows pgx.Rows) (history.Hit, error) {
		h := history.Hit{Type: history.HitClient}
		var organisation bool
		err := rows.Scan((*string)(&h.Client), &h.Name, &organisation)
		if h.ID = string(h.Client); organisation {
			h.Type, h.ID = history.HitOrganisation, f.text
		}
		return h, err
	})
}

func (f *idSearch) cnpj(ctx context.Context) error {
	bare := strings.ToUpper(strings.NewReplacer(".", "", "/", "", "-", "").Replace(f.text))
	if !store.IsCNPJ(bare) && !store.IsCNPJRoot(bare) {
		return nil
	}
	return f.add(ctx, `SELECT c.client_id, coalesce(i.name, '') FROM find_cnpj c LEFT JOIN initiator i USING (client_id) WHERE c.root = $1 ORDER BY c.client_id LIMIT $2`,
		[]any{bare[:8], findMost + 1}, func(rows pgx.Rows) (history.Hit, error) {
			h := history.Hit{Type: history.HitCNPJ, ID: bare[:8]}
			err := rows.Scan((*string)(&h.Client), &h.Name)
			return h, err
		})
}

// learnWith makes the fold keep what payments are found by.
func (f *folding) learnWith(ctx context.Context) (err error) {
	f.key, err = findKey(ctx, f.db)
	return err
}

// learn keeps what payments are found by that are new in a stretch and that a replica of an older version took in: others have it in their
// resource. A document without such a member, or one that cannot be read, is passed over; later documents of the same payment are not read.
func (f *folding) learn(ctx context.Context, entries []history.Brief) error {
	var kinds []int16
	var ids []string
	for i := range entries {
		if e := &entries[i]; e.First && history.HitTypeOf(e.ResourceKind) == history.HitPayment {
			kinds, ids = append(kinds, int16(e.ResourceKind)), append(ids, e.ResourceID)
		}
	}
	learned := payments{companies: map[store.Company]struct{}{}}
	for n := 0; n < len(ids); n += learnPage {
		to := min(n+learnPage, len(ids))
		rows, _ := f.db.Query(ctx, learnedDocuments, kinds[n:to], ids[n:to])
		if err := learned.read(rows, f.key); err != nil {
			return err
		}
	}
	return learned.write(ctx, f.db)
}

// learnPage is how many documents are read at once.
const learnPage = 1000

// learnedDocuments reads each document by its key. A join would read the whole table, in parallel, as long as it has fewer than some
// 100,000 rows. OFFSET 0 keeps the planner from making it one.
const learnedDocuments = `
SELECT r.kind, r.id, r.client_id, r.document FROM unnest($1::smallint[], $2::text[]) AS k(kind, id)
CROSS JOIN LATERAL (SELECT * FROM resource r WHERE r.kind = k.kind AND r.id = k.id AND r.found IS NULL OFFSET 0) r`

// payments are what payments are found by, column by column.
type payments struct {
	kind      []int16
	id        []string
	digest    [][]byte
	companies map[store.Company]struct{}
}

func (p *payments) read(rows pgx.Rows, key []byte) error {
	defer rows.Close()
	var kind int16
	var id, client string
	var column pgtype.DriverBytes // is valid up to the next row
	for rows.Next() {
		if err := rows.Scan(&kind, &id, &client, &column); err != nil {
			return err
		}
		document, err := store.Unpack(column)
		if err != nil {
			continue
		}
		endToEnd, number := history.SoughtIn(document)
		if store.IsEndToEndID(endToEnd) {
			p.kind, p.id, p.digest = append(p.kind, kind), append(p.id, id), append(p.digest, store.Mark(key, endToEnd))
		}
		if store.IsCNPJ(number) {
			p.companies[store.Company{Root: strings.Clone(number[:8]), Client: client}] = struct{}{} // not the whole document
		}
	}
	return rows.Err()
}

// writeDigests adds digests that are not there. One session folds at a time, so nobody adds them meanwhile, and ON CONFLICT, which writes
// each row into the write-ahead log twice, is not needed. Each digest is looked for by its key: OFFSET 0 keeps the planner from making it a
// join, which would read the whole table.
const writeDigests = `
INSERT INTO find_resource (kind, resource_id, digest) SELECT DISTINCT ON (u.digest, u.kind, u.id) u.* FROM unnest($1::smallint[], $2::text[], $3::bytea[]) AS u(kind, id, digest)
WHERE NOT EXISTS (SELECT FROM find_resource f WHERE f.digest = u.digest AND f.kind = u.kind AND f.resource_id = u.id OFFSET 0) ORDER BY u.digest, u.kind, u.id`

func (p *payments) write(ctx context.Context, tx pgx.Tx) error {
	batch := &pgx.Batch{}
	if len(p.id) > 0 {
		batch.Queue(writeDigests, p.kind, p.id, p.digest)
	}
	store.QueueCompanies(batch, p.companies)
	if batch.Len() == 0 {
		return nil
	}
	return tx.SendBatch(ctx, batch).Close()
}
