package auditlog

import (
	"context"
	"slices"
	"time"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/history"
)

// Traces of refused receipts are looked for around the notifications they may be about. They are stored when the database
// is back, which is before the core's next call or up to lateTraces after it: a replica that ended during an outage keeps
// them on its disk until it runs again.
const lateTraces = 31 * 24 * time.Hour

// earlyTraces bounds how long before its acceptance a change may have come first.
const earlyTraces = 366 * 24 * time.Hour

// unheardWhere selects the periods of which receipts are unknown; the index entry_rare finds them.
const unheardWhere = "e.kind = 'receipts-unknown' AND e.at >= $1 AND e.at < $2"

const unheardSQL = entrySelect + "e WHERE " + unheardWhere

// tracesSQL reads the traces of some resources; the index entry_resource finds them.
const tracesSQL = "SELECT " + entryColumns + `
FROM unnest($1::text[]) AS k(resource)
CROSS JOIN LATERAL (SELECT * FROM entry e WHERE e.resource_id = k.resource AND e.number IS NULL AND e.kind IN ('refused', 'quarantined') AND e.at >= $2 AND e.at < $3) a`

// joinReceipts adds to notifications the earlier receipts of their changes, so that the rule's clock runs from the first.
// It costs two looks at an index unless something was refused or quarantined around that time.
func joinReceipts(ctx context.Context, db querier, records []history.Record) error {
	return joinReceiptsUpTo(ctx, db, records, beyond)
}

// joinReceiptsUpTo is joinReceipts as of a place in the order of sealing: later traces count for nothing.
func joinReceiptsUpTo(ctx context.Context, db querier, records []history.Record, upTo cursor) error {
	if len(records) == 0 {
		return nil
	}
	from, to := records[0].CreatedAt, records[0].CreatedAt
	seen := map[string]bool{}
	var ids []string
	for i := range records {
		r := &records[i]
		if r.Manual {
			continue
		}
		for _, at := range []time.Time{r.CreatedAt, r.OccurredAt} {
			if at.Before(from) && at.After(r.CreatedAt.Add(-earlyTraces)) {
				from = at
			}
		}
		if r.CreatedAt.After(to) {
			to = r.CreatedAt
		}
		if !seen[r.ResourceID] {
			seen[r.ResourceID] = true
			ids = append(ids, r.ResourceID)
		}
	}
	from, to = from.Add(-clockBack), to.Add(lateTraces)
	var there bool
	err := db.QueryRow(ctx, "SELECT EXISTS (SELECT FROM entry e WHERE e.kind IN ('refused', 'quarantined') AND e.at >= $1 AND e.at < $2)", from, to).Scan(&there)
	if err != nil {
		return err
	}
	var traces []audit.Entry
	if there {
		if traces, err = queryEntries(ctx, db, tracesSQL, ids, from, to); err != nil {
			return err
		}
	}
	unheard, err := queryEntries(ctx, db, unheardSQL, from, to)
	if err != nil {
		return err
	}
	later := func(e audit.Entry) bool { return placed(&e).compare(upTo) > 0 }
	receipts, err := compareReceipts(ctx, db, slices.DeleteFunc(append(traces, unheard...), later), records)
	if err != nil || receipts.Empty() {
		return err
	}
	for i := range records {
		receipts.Join(&records[i])
	}
	return nil
}

// compareReceipts gathers traces, each held against its leaf. One that is not what was sealed counts for nothing, and marks
// the notifications of its resource as tampered with.
func compareReceipts(ctx context.Context, db querier, entries []audit.Entry, records []history.Record) (*history.Receipts, error) {
	receipts := &history.Receipts{}
	c, err := compareNow(ctx, db, entries, tilesOfPage)
	if err != nil {
		return nil, err
	}
	for i := range entries {
		f := history.FactOf(&entries[i])
		said := false
		for n := range records {
			if r := &records[n]; f.ResourceID != "" && r.ResourceID == f.ResourceID && r.Kind == f.ResourceKind {
				r.Integrity.Add(c.account(entries, i))
				r.Tampered = r.Tampered || c.states[i].failed != "" && !c.states[i].extra
				said = true
			}
		}
		if !said {
			records[0].Integrity.Add(c.account(entries, i))
		}
		if c.states[i].failed != "" {
			continue
		}
		if err := receipts.Add(&f); err != nil {
			return nil, err
		}
	}
	return receipts, nil
}
