package auditlog

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/figures"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/timing"
)

// Figures are folded from the log in its order. One transaction stores the sums of a stretch and the position it ends at, so
// each entry counts once, whatever is killed. What a stretch adds depends on the log up to its end alone, so any cut into
// stretches gives the same sums. One thing is looked at in the history as it is: periods without any commit, which tell the
// cause "standstill" from "queue". An entry whose transaction began in such a period and committed after the fold could
// change it.

// FoldBatch is how many entries one transaction folds at most.
const FoldBatch = 20_000

// minutesKept is how long sums by minute are kept.
const minutesKept = 50 * time.Hour

// FoldStep tells what one call of Fold did.
type FoldStep struct {
	Busy    bool // another session is at it
	Entries int64
	More    bool // entries are left that could be folded at once
}

// sealedStretch is what one sealing transaction sealed.
type sealedStretch struct {
	from    int64
	entries []audit.Entry
}

// generation is one set of sums.
type generation struct {
	number  int32
	entries int64 // folded
	through pgtype.Timestamptz
	keep    []keptHours // hours that are not folded: their entries are not all there
}

// Fold adds the next entries of the sealed log to the figures. One session folds at a time; another gets Busy.
func (l *Log) Fold(ctx context.Context) (out FoldStep, err error) {
	err = pgx.BeginFunc(ctx, l.query, func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, "SELECT NOT pg_try_advisory_xact_lock(hashtext('arauto.figures'))").Scan(&out.Busy); err != nil || out.Busy {
			return err
		}
		g, err := activeFigures(ctx, tx)
		if err != nil {
			return err
		}
		f := folding{db: tx, still: &l.still, gen: g, push: l.push}
		if err := f.learnWith(ctx); err != nil {
			return err
		}
		out.Entries, out.More, err = f.step(ctx, l.fresh.Swap(nil))
		l.push = f.push
		return err
	})
	if err != nil {
		l.push = nil // what was folded into it did not happen
		return FoldStep{}, store.Unavailable("fold figures", err)
	}
	return out, nil
}

// activeFigures reads which generation is shown, and how far it is.
func activeFigures(ctx context.Context, q querier) (g generation, err error) {
	err = q.QueryRow(ctx, "SELECT generation, entries, through FROM figures_state WHERE active").Scan(&g.number, &g.entries, &g.through)
	return g, err
}

// folding is one fold, or the reading of what is not folded yet.
type folding struct {
	db    pgx.Tx
	still *idlePeriods
	gen   generation
	key   []byte // of digests; nil: nothing is learned
	push  *pushes
}

// step folds the next stretch; fresh, if it is the next one, saves reading it.
func (f *folding) step(ctx context.Context, fresh *sealedStretch) (n int64, more bool, err error) {
	size, err := logSize(ctx, f.db)
	if err != nil || size <= f.gen.entries {
		return 0, false, err
	}
	to := min(size, f.gen.entries+FoldBatch)
	s := stretchOfLog{}
	if fresh != nil && fresh.from == f.gen.entries && len(fresh.entries) > 0 {
		to = fresh.from + int64(len(fresh.entries))
		s.entries = fresh.entries
		s.upTo = placed(&fresh.entries[len(fresh.entries)-1])
		s.from, err = placeBefore(ctx, f.db, f.gen.entries)
	} else {
		s, err = readStretch(ctx, f.db, f.gen.entries, to)
	}
	if err != nil {
		return 0, false, err
	}
	book, err := f.book(ctx, s)
	if err != nil {
		return 0, false, err
	}
	if f.key != nil {
		if err := f.learn(ctx, s.entries); err != nil {
			return 0, false, err
		}
	}
	if err := f.write(ctx, book, to); err != nil {
		return 0, false, err
	}
	n, f.gen.entries, f.push.entries = to-f.gen.entries, to, to
	return n, to < size, nil
}

// logSize is how many entries are sealed.
func logSize(ctx context.Context, q querier) (size int64, err error) {
	err = q.QueryRow(ctx, "SELECT coalesce((SELECT size FROM log_checkpoint ORDER BY size DESC LIMIT 1), 0)").Scan(&size)
	return size, err
}

// placeBefore is the place of the entry before a position.
func placeBefore(ctx context.Context, q querier, seq int64) (c cursor, err error) {
	if seq == 0 {
		return before, nil
	}
	err = q.QueryRow(ctx, "SELECT xid, id FROM log_position WHERE seq = $1", seq-1).Scan(&c.xid, (*[16]byte)(&c.id))
	return c, err
}

// stretchOfLog are entries in the order of the log.
type stretchOfLog struct {
	from, upTo cursor // places: after from, up to upTo
	entries    []audit.Entry
	damaged    map[notice.ID]bool // notifications with an entry that is not what was sealed
}

// readStretch reads the entries at positions from one up to another, that one left out. Entries of removed months are
// absent; entries without a position are not part of the log.
func readStretch(ctx context.Context, q querier, from, to int64) (s stretchOfLog, err error) {
	if s.from, err = placeBefore(ctx, q, from); err != nil {
		return s, err
	}
	positions, err := readPositions(ctx, q, from, int(to-from))
	if err != nil {
		return s, err
	}
	if int64(len(positions)) != to-from {
		return s, fmt.Errorf("%w: of the positions from %d to %d only %d are there", store.ErrTampered, from, to, len(positions))
	}
	s.upTo = positions[len(positions)-1].at
	s.damaged = map[notice.ID]bool{}
	for after := s.from; ; {
		page, err := readEntries(ctx, q, after, s.upTo, foldPage)
		if err != nil {
			return s, err
		}
		s.place(page, positions)
		if len(page) < foldPage {
			return s, nil
		}
		after = placed(&page[len(page)-1])
	}
}

// foldPage is how many entries are read at once.
const foldPage = 5000

// place adds entries that have a position. Of rows with one place the one that was sealed counts, or else the first.
func (s *stretchOfLog) place(page []audit.Entry, positions []position) {
	var record []byte
	last := int64(-1)
	for i, p := range pairPositions(positions, page, make([]*position, len(page))) {
		if p == nil {
			continue
		}
		e := &page[i]
		record = e.AppendRecord(record[:0], p.seq)
		genuine := audit.Leaf(record) == p.leaf
		switch {
		case p.seq != last:
			s.entries = append(s.entries, *e)
		case genuine && s.damaged[notificationOf(e)]:
			s.entries[len(s.entries)-1] = *e
			delete(s.damaged, notificationOf(e))
		}
		if p.seq != last && !genuine {
			s.damaged[notificationOf(e)] = true
		}
		last = p.seq
	}
}

// continuedSQL reads the entries of notifications.
const continuedSQL = entrySelect + `WHERE notification_id = ANY($1::uuid[]) AND at >= $2 AND kind IN ('change', 'decision', 'resend', 'attempt', 'result', 'cancelled')`

// book folds a stretch.
func (f *folding) book(ctx context.Context, s stretchOfLog) (*figures.Totals, error) {
	facts := make([]history.Fact, len(s.entries))
	for i := range s.entries {
		facts[i] = history.FactOf(&s.entries[i])
	}
	earlier, err := f.before(ctx, facts, &s)
	if err != nil {
		return nil, err
	}
	asked, err := f.asked(ctx, &s)
	if err != nil {
		return nil, err
	}
	b := &figures.Totals{}
	err = b.Fold(figures.Stretch{
		Entries: facts, Before: earlier, Damaged: s.damaged, Polls: asked.polls, Fetched: asked.fetched,
		Judge: func(records []history.Record) ([]timing.Timing, error) { return f.judge(ctx, records, s.upTo) },
	})
	return b, err
}

// judge gives the clock proofs of notifications as the log up to a place tells them.
func (f *folding) judge(ctx context.Context, records []history.Record, upTo cursor) ([]timing.Timing, error) {
	if err := joinReceiptsUpTo(ctx, f.db, records, upTo); err != nil {
		return nil, err
	}
	var now time.Time
	for i := range records {
		for n := range records[i].Attempts {
			if at := records[i].Attempts[n].StoredAt; at.After(now) {
				now = at
			}
		}
	}
	f.still.instants = idlePeriodsOf(f.db).instants
	return timing.TimingsOf(records, now, f.still.within(ctx, now))
}

// before reads the earlier entries of the notifications that a stretch goes on with.
func (f *folding) before(ctx context.Context, facts []history.Fact, s *stretchOfLog) ([]history.Fact, error) {
	made, wanted := map[notice.ID]bool{}, map[notice.ID]bool{}
	since := time.Time{}
	for i := range facts {
		switch facts[i].Kind {
		case history.FactChange, history.FactDecision, history.FactResend:
			made[facts[i].Notification] = true
		case history.FactResult, history.FactCancelled:
			if !made[facts[i].Notification] {
				wanted[facts[i].Notification] = true
			}
			if since.IsZero() || facts[i].At.Before(since) {
				since = facts[i].At
			}
		}
	}
	var out []history.Fact
	for _, since := range []time.Time{since.Add(-clockBack), {}} { // most began lately, and few months are looked at
		if len(wanted) == 0 {
			break
		}
		ids := make([]pgtype.UUID, 0, len(wanted))
		for id := range wanted {
			ids = append(ids, store.ToUUID(id))
		}
		entries, err := queryEntries(ctx, f.db, continuedSQL, ids, since)
		if err != nil {
			return nil, err
		}
		entries = slices.DeleteFunc(entries, func(e audit.Entry) bool {
			return placed(&e).compare(s.from) > 0 || !slices.Contains(announcing, e.Kind) && since.IsZero() && made[notificationOf(&e)]
		})
		c, err := compareNow(ctx, f.db, entries, 0)
		if err != nil {
			return nil, err
		}
		for i := range entries {
			id := notificationOf(&entries[i])
			if c.states[i].extra {
				continue
			}
			if c.states[i].failed != "" {
				if s.damaged == nil {
					s.damaged = map[notice.ID]bool{}
				}
				s.damaged[id] = true
			}
			out = append(out, history.FactOf(&entries[i]))
			if slices.Contains(announcing, entries[i].Kind) {
				delete(wanted, id)
			}
		}
	}
	return out, nil
}

// announcing are the kinds of entries that make a notification.
var announcing = []string{history.FactChange, history.FactDecision, history.FactResend}

// write adds a book to the stored sums, and stores the position.
func (f *folding) write(ctx context.Context, b *figures.Totals, to int64) error {
	if err := f.addHours(ctx, b.Hours()); err != nil {
		return err
	}
	if err := f.addMinutes(ctx, b.Minutes()); err != nil {
		return err
	}
	if err := f.addClients(ctx, b.Contacts()); err != nil {
		return err
	}
	_, err := f.db.Exec(ctx, "UPDATE figures_state SET entries = $2, through = greatest(through, $3) WHERE generation = $1", f.gen.number, to, store.ToTime(b.Last()))
	if err != nil || b.Last().IsZero() {
		return err
	}
	_, err = f.db.Exec(ctx, "DELETE FROM figures_minute WHERE generation = $1 AND minute < $2", f.gen.number, b.Last().Add(-minutesKept))
	return err
}

// sumColumns are rows of sums, column by column.
type sumColumns struct {
	start  []time.Time
	client []string
	kind   []int16
	sums   []string
}

func columnsOf(rows map[figures.RowKey]figures.Sums, keep []keptHours) (c sumColumns, order []figures.RowKey) {
	for k := range rows {
		if at := time.Unix(k.Start, 0).UTC(); !covered(keep, at) {
			order = append(order, k)
			c.start, c.client, c.kind = append(c.start, at), append(c.client, string(k.Client)), append(c.kind, int16(k.Kind))
		}
	}
	return c, order
}

// fill writes the sums down.
func (c *sumColumns) fill(rows map[figures.RowKey]figures.Sums, order []figures.RowKey) {
	for _, k := range order {
		c.sums = append(c.sums, rows[k].Text())
	}
}

func (f *folding) addHours(ctx context.Context, rows map[figures.RowKey]figures.Sums) error {
	c, order := columnsOf(rows, f.gen.keep)
	if len(order) == 0 {
		return nil
	}
	stored, err := f.db.Query(ctx, `SELECT extract(epoch FROM h.hour)::bigint, h.client_id, h.kind, h.sums::text
FROM unnest($2::timestamptz[], $3::text[], $4::smallint[]) AS k(hour, client_id, kind) JOIN figures_hour h USING (hour, client_id, kind) WHERE h.generation = $1`,
		f.gen.number, c.start, c.client, c.kind)
	if err := addStored(stored, err, rows); err != nil {
		return err
	}
	c.fill(rows, order)
	_, err = f.db.Exec(ctx, `INSERT INTO figures_hour (generation, hour, client_id, kind, sums)
SELECT $1, * FROM unnest($2::timestamptz[], $3::text[], $4::smallint[], $5::text[]::json[])
ON CONFLICT (generation, client_id, hour, kind) DO UPDATE SET sums = excluded.sums`, f.gen.number, c.start, c.client, c.kind, c.sums)
	return err
}

func (f *folding) addMinutes(ctx context.Context, rows map[figures.RowKey]figures.Sums) error {
	c, order := columnsOf(rows, f.gen.keep)
	if len(order) == 0 {
		return nil
	}
	stored, err := f.db.Query(ctx, `SELECT extract(epoch FROM m.minute)::bigint, '', m.kind, m.sums::text
FROM unnest($2::timestamptz[], $3::smallint[]) AS k(minute, kind) JOIN figures_minute m USING (minute, kind) WHERE m.generation = $1`,
		f.gen.number, c.start, c.kind)
	if err := addStored(stored, err, rows); err != nil {
		return err
	}
	c.fill(rows, order)
	_, err = f.db.Exec(ctx, `INSERT INTO figures_minute (generation, minute, kind, sums)
SELECT $1, * FROM unnest($2::timestamptz[], $3::smallint[], $4::text[]::json[])
ON CONFLICT (generation, minute, kind) DO UPDATE SET sums = excluded.sums`, f.gen.number, c.start, c.kind, c.sums)
	return err
}

// addStored adds rows that are stored to those that are there.
func addStored(stored pgx.Rows, err error, rows map[figures.RowKey]figures.Sums) error {
	if err != nil {
		return err
	}
	defer stored.Close()
	for stored.Next() {
		var k figures.RowKey
		var kind int16
		var text string
		if err := stored.Scan(&k.Start, (*string)(&k.Client), &kind, &text); err != nil {
			return err
		}
		k.Kind = ofb.Kind(kind)
		if rows[k] == nil {
			rows[k] = figures.Sums{}
		}
		if err := rows[k].AddText(text); err != nil {
			return err
		}
	}
	return stored.Err()
}

func (f *folding) addClients(ctx context.Context, contacts map[notice.ClientID]figures.Contact) error {
	if len(contacts) == 0 {
		return nil
	}
	ids := make([]string, 0, len(contacts))
	for client := range contacts {
		ids = append(ids, string(client))
	}
	stored, err := readContacts(ctx, f.db, "generation = $1 AND client_id = ANY($2)", f.gen.number, ids)
	if err != nil {
		return err
	}
	batch := &pgx.Batch{}
	for client, c := range contacts {
		if old, there := stored[client]; there {
			c = c.After(old)
		}
		batch.Queue(`INSERT INTO figures_client (generation, client_id, last_success, last_failure, failures, failing_from, outcome) VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (generation, client_id) DO UPDATE SET last_success = excluded.last_success, last_failure = excluded.last_failure,
  failures = excluded.failures, failing_from = excluded.failing_from, outcome = excluded.outcome`,
			f.gen.number, string(client), store.ToTime(c.LastSuccess), store.ToTime(c.LastFailure), c.Failures, store.ToTime(c.FailingFrom), string(c.Outcome))
	}
	return f.db.SendBatch(ctx, batch).Close()
}

func readContacts(ctx context.Context, q querier, where string, args ...any) (map[notice.ClientID]figures.Contact, error) {
	rows, err := q.Query(ctx, "SELECT client_id, last_success, last_failure, failures, failing_from, outcome FROM figures_client WHERE "+where, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := map[notice.ClientID]figures.Contact{}
	for rows.Next() {
		var client, outcome string
		var success, failure, from pgtype.Timestamptz
		var c figures.Contact
		if err := rows.Scan(&client, &success, &failure, &c.Failures, &from, &outcome); err != nil {
			return nil, err
		}
		c.LastSuccess, c.LastFailure, c.FailingFrom, c.Outcome = store.FromTime(success), store.FromTime(failure), store.FromTime(from), notice.Outcome(outcome)
		out[notice.ClientID(client)] = c
	}
	return out, rows.Err()
}

// keptHours is a period: from ≤ instant < to.
type keptHours struct{ from, to time.Time }

func covered(spans []keptHours, at time.Time) bool {
	return slices.ContainsFunc(spans, func(s keptHours) bool { return !at.Before(s.from) && at.Before(s.to) })
}
