package auditlog

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
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

// tracedSQL finds resources that have traces, at most tracedMost of the traces; the index entry_rare finds them.
const tracedSQL = "SELECT e.resource_id FROM entry e WHERE e.kind IN ('refused', 'quarantined') AND e.at >= $1 AND e.at < $2 AND e.resource_id IS NOT NULL LIMIT $3"

// tracedMost is up to how many traces are gone through to see which resources have one. If there are more, each resource is
// looked up.
const tracedMost = 1000

// tracesSQL reads the traces of some resources; the index entry_resource finds those of each (OFFSET 0 keeps the planner from joining with all).
const tracesSQL = "SELECT " + entryColumns + `
FROM unnest($1::text[]) AS k(resource)
CROSS JOIN LATERAL (SELECT * FROM entry e WHERE e.resource_id = k.resource AND e.number IS NULL AND e.kind IN ('refused', 'quarantined') AND e.at >= $2 AND e.at < $3 OFFSET 0) a`

// tracesAround is where the traces of a notification's change are looked for: from ≤ at < to of their entries.
func tracesAround(r *history.Record) (from, to time.Time) {
	from = r.CreatedAt
	if at := r.OccurredAt; at.Before(from) && at.After(r.CreatedAt.Add(-earlyTraces)) {
		from = at
	}
	return from.Add(-clockBack), r.CreatedAt.Add(lateTraces)
}

// readTraces reads the traces that notifications may rest on, and more. It costs two looks at an index unless something was refused
// or quarantined around that time.
func readTraces(ctx context.Context, db querier, records []history.Record) ([]audit.Entry, error) {
	if len(records) == 0 {
		return nil, nil
	}
	from, to := records[0].CreatedAt.Add(-clockBack), records[0].CreatedAt.Add(lateTraces)
	ids := map[string]bool{}
	for i := range records {
		r := &records[i]
		if r.Manual {
			continue
		}
		ids[r.ResourceID] = true
		first, last := tracesAround(r)
		if first.Before(from) {
			from = first
		}
		if last.After(to) {
			to = last
		}
	}
	rows, _ := db.Query(ctx, tracedSQL, from, to, tracedMost+1)
	traced, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, err
	}
	wanted := map[string]bool{}
	for _, id := range traced {
		if ids[id] {
			wanted[id] = true
		}
	}
	if len(traced) > tracedMost {
		wanted = ids
	}
	unheard, err := queryEntries(ctx, db, unheardSQL, from, to)
	if err != nil || len(wanted) == 0 {
		return unheard, err
	}
	list := make([]string, 0, len(wanted))
	for id := range wanted {
		list = append(list, id)
	}
	traces, err := queryEntries(ctx, db, tracesSQL, list, from, to)
	return append(traces, unheard...), err
}

// joinReceipts adds to notifications the earlier receipts of their changes, so that the rule's clock runs from the first.
func joinReceipts(ctx context.Context, db querier, records []history.Record) error {
	traces, err := readTraces(ctx, db, records)
	if err != nil || len(traces) == 0 {
		return err
	}
	receipts, err := compareReceipts(ctx, db, traces, records)
	if err != nil || receipts.Empty() {
		return err
	}
	for i := range records {
		receipts.Join(&records[i])
	}
	return nil
}

// joinReceiptsUpTo is joinReceipts as of the entry of ends with the same number: traces that the log has later count for
// nothing. What it adds to a record does not depend on the others.
func joinReceiptsUpTo(ctx context.Context, db querier, records []history.Record, ends []*history.Brief) error {
	traces, err := readTraces(ctx, db, records)
	if err != nil || len(traces) == 0 {
		return err
	}
	slices.SortFunc(traces, func(a, b audit.Entry) int {
		return cmp.Or(placed(&a).compare(placed(&b)), a.At.Time().Compare(b.At.Time()))
	})
	c, err := compareNow(ctx, db, traces, 0)
	if err != nil {
		return err
	}
	receipts, index := &history.Receipts{}, make(map[notice.ID]int, len(traces))
	altered := map[notice.Key][]int{}
	for i := range traces {
		f := history.FactOf(&traces[i])
		if _, there := index[f.ID]; !there {
			index[f.ID] = i
		}
		if s := &c.states[i]; !s.extra && (s.failed != "" || receipts.Add(&f) != nil) {
			altered[keyOf(&traces[i])] = append(altered[keyOf(&traces[i])], i)
		}
	}
	for i := range records {
		r, end := &records[i], placeOf(ends[i])
		from, to := tracesAround(r)
		counts := func(n int) bool {
			at := traces[n].At.Time()
			return placed(&traces[n]).compare(end) <= 0 && !at.Before(from) && at.Before(to)
		}
		receipts.JoinSome(r, func(entry notice.ID) bool { return counts(index[entry]) })
		r.Tampered = r.Tampered || !r.Manual && slices.ContainsFunc(altered[notice.Key{Kind: r.Kind, ID: r.ResourceID}], counts)
	}
	return nil
}

// placeOf is the place of an entry in the order of sealing.
func placeOf(b *history.Brief) cursor { return cursor{b.XID, b.ID} }

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
		if s := &c.states[i]; s.failed == "" && receipts.Add(&f) != nil {
			s.unreadable()
		}
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
	}
	return receipts, nil
}
