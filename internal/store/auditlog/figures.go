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
// each entry counts once, whatever is killed. What an entry adds depends on the log up to it alone, so any cut into
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
		out.Entries, out.More, err = f.step(ctx, &l.waits)
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

// step folds the next stretch. What waits saves reading it; nil: nothing does.
func (f *folding) step(ctx context.Context, waits *waiting) (n int64, more bool, err error) {
	size, err := logSize(ctx, f.db)
	if err != nil || size <= f.gen.entries {
		return 0, false, err
	}
	s, to := stretchOfLog{}, min(size, f.gen.entries+FoldBatch)
	var next int64
	if s.entries, next = waits.take(f.gen.entries); len(s.entries) > 0 && f.gen.entries+int64(len(s.entries)) <= size {
		to = f.gen.entries + int64(len(s.entries))
		s.from, err = placeBefore(ctx, f.db, f.gen.entries)
	} else {
		s, err = readStretch(ctx, f.db, f.gen.entries, min(to, next))
		to = min(to, next)
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
	from    cursor // the place before the first
	entries []history.Brief
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
	var words history.SharedWords
	upTo := positions[len(positions)-1].at
	for after := s.from; ; {
		page, err := readEntries(ctx, q, after, upTo, foldPage)
		if err != nil {
			return s, err
		}
		if err := s.place(page, positions, &words); err != nil || len(page) < foldPage {
			return s, err
		}
		after = placed(&page[len(page)-1])
	}
}

// foldPage is how many entries are read at once.
const foldPage = 2000

// place adds entries that have a position. Of rows with one place the one that was sealed counts, or else the first.
func (s *stretchOfLog) place(page []audit.Entry, positions []position, words *history.SharedWords) error {
	var record []byte
	for i, p := range pairPositions(positions, page, make([]*position, len(page))) {
		if p == nil {
			continue
		}
		e := &page[i]
		record = e.AppendRecord(record[:0], p.seq)
		altered := audit.Leaf(record) != p.leaf
		last := len(s.entries) - 1
		again := last >= 0 && placeOf(&s.entries[last]) == p.at
		if again && (altered || !s.entries[last].Altered) {
			continue
		}
		b, err := briefOf(e, altered, words)
		if err != nil {
			return err
		}
		if again {
			s.entries[last] = b
		} else {
			s.entries = append(s.entries, b)
		}
	}
	return nil
}

// briefOf is an entry in brief. Facts that cannot be read are an error, unless they are not what was sealed.
func briefOf(e *audit.Entry, altered bool, words *history.SharedWords) (history.Brief, error) {
	b, err := history.BriefOf(e, words)
	if b.Altered = altered; altered {
		err = nil
	}
	return b, err
}

// continuedSQL reads the entries of notifications.
const continuedSQL = entrySelect + `WHERE notification_id = ANY($1::uuid[]) AND at >= $2 AND kind IN ('change', 'decision', 'resend', 'attempt', 'result', 'cancelled')`

// book folds a stretch.
func (f *folding) book(ctx context.Context, s stretchOfLog) (*figures.Totals, error) {
	earlier, err := f.before(ctx, &s)
	if err != nil {
		return nil, err
	}
	asked, err := f.asked(ctx, &s)
	if err != nil {
		return nil, err
	}
	b := &figures.Totals{}
	err = b.Fold(figures.Stretch{
		Entries: s.entries, Before: earlier, Polls: asked.polls, Fetched: asked.fetched,
		Judge: func(records []history.Record, ends []*history.Brief) ([]timing.Timing, error) {
			return f.judge(ctx, records, ends)
		},
	})
	return b, err
}

// judge gives the clock proof of each notification as the log up to an end tells it. What it says of one does not depend on
// the others.
func (f *folding) judge(ctx context.Context, records []history.Record, ends []*history.Brief) ([]timing.Timing, error) {
	if err := joinReceiptsUpTo(ctx, f.db, records, ends); err != nil {
		return nil, err
	}
	type lateness struct {
		n        int
		from, to time.Time
	}
	var late []lateness
	var now time.Time
	out := make([]timing.Timing, len(records))
	one := func(n int, idle func(from, to time.Time) ([]timing.IdlePeriod, error)) error {
		t, err := timing.TimingsOf(records[n:n+1], ends[n].At, idle)
		if err == nil {
			out[n] = t[0]
		}
		return err
	}
	for n := range records {
		if ends[n].At.After(now) {
			now = ends[n].At
		}
		err := one(n, func(from, to time.Time) ([]timing.IdlePeriod, error) {
			late = append(late, lateness{n, from, to})
			return nil, nil
		})
		if err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(late, func(a, b lateness) int { return a.from.Compare(b.from) }) // so that the history is gone through once
	f.still.instants = idlePeriodsOf(f.db).instants
	idle := f.still.within(ctx, now)
	for _, l := range late {
		err := one(l.n, func(from, to time.Time) ([]timing.IdlePeriod, error) { return idle(from.Add(-idleAfter), to) })
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// before reads the earlier entries of the notifications that a stretch goes on with.
func (f *folding) before(ctx context.Context, s *stretchOfLog) ([]history.Brief, error) {
	made, wanted := map[notice.ID]bool{}, map[notice.ID]bool{}
	var since time.Time
	for i := range s.entries {
		switch e := &s.entries[i]; {
		case e.Announces():
			made[e.Notification] = true
		case e.Ends() && !made[e.Notification]:
			wanted[e.Notification] = true
			if since.IsZero() || e.At.Before(since) {
				since = e.At
			}
		}
	}
	var out []history.Brief
	var words history.SharedWords
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
		entries = slices.DeleteFunc(entries, func(e audit.Entry) bool { return placed(&e).compare(s.from) > 0 })
		found := map[notice.ID]bool{}
		for i := range entries {
			if slices.Contains(announcing, entries[i].Kind) {
				found[notificationOf(&entries[i])] = true
			}
		}
		if !since.IsZero() { // what has not been found is read again with what made it
			entries = slices.DeleteFunc(entries, func(e audit.Entry) bool { return !found[notificationOf(&e)] })
		}
		c, err := compareNow(ctx, f.db, entries, 0)
		if err != nil {
			return nil, err
		}
		for i := range entries {
			if c.states[i].extra {
				continue
			}
			b, err := briefOf(&entries[i], c.states[i].failed != "", &words)
			if err != nil {
				return nil, err
			}
			out = append(out, b)
		}
		for id := range found {
			delete(wanted, id)
		}
	}
	return out, nil
}

// announcing are the kinds of entries that make a notification.
var announcing = []string{history.FactChange, history.FactDecision, history.FactResend}

// write adds a book to the stored sums, and stores the position.
func (f *folding) write(ctx context.Context, b *figures.Totals, to int64) error {
	batch := &pgx.Batch{}
	if err := f.addHours(ctx, batch, b.Hours()); err != nil {
		return err
	}
	if err := f.addMinutes(ctx, batch, b); err != nil {
		return err
	}
	if err := f.addClients(ctx, batch, b.Contacts()); err != nil {
		return err
	}
	batch.Queue("UPDATE figures_state SET entries = $2, through = greatest(through, $3) WHERE generation = $1", f.gen.number, to, store.ToTime(b.Last()))
	return f.db.SendBatch(ctx, batch).Close()
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

func (f *folding) addHours(ctx context.Context, batch *pgx.Batch, rows map[figures.RowKey]figures.Sums) error {
	c, order := columnsOf(rows, f.gen.keep)
	if len(order) == 0 {
		return nil
	}
	stored, err := f.db.Query(ctx, `SELECT extract(epoch FROM h.hour)::bigint, h.client_id, h.kind, h.sums::text
FROM unnest($2::timestamptz[], $3::text[], $4::smallint[]) AS k(hour, client_id, kind) JOIN figures_hour h USING (hour, client_id, kind) WHERE h.generation = $1`,
		f.gen.number, c.start, c.client, c.kind)
	if _, err := addStored(stored, err, rows); err != nil {
		return err
	}
	c.fill(rows, order)
	batch.Queue(`INSERT INTO figures_hour (generation, hour, client_id, kind, sums)
SELECT $1, * FROM unnest($2::timestamptz[], $3::text[], $4::smallint[], $5::text[]::json[])
ON CONFLICT (generation, client_id, hour, kind) DO UPDATE SET sums = excluded.sums`, f.gen.number, c.start, c.client, c.kind, c.sums)
	return nil
}

// addMinutes adds sums by minute. With each minute that is new, those that are too old go.
func (f *folding) addMinutes(ctx context.Context, batch *pgx.Batch, b *figures.Totals) error {
	rows := b.Minutes()
	c, order := columnsOf(rows, f.gen.keep)
	if len(order) == 0 {
		return nil
	}
	stored, err := f.db.Query(ctx, `SELECT extract(epoch FROM m.minute)::bigint, '', m.kind, m.sums::text
FROM unnest($2::timestamptz[], $3::smallint[]) AS k(minute, kind) JOIN figures_minute m USING (minute, kind) WHERE m.generation = $1`,
		f.gen.number, c.start, c.kind)
	known, err := addStored(stored, err, rows)
	if err != nil {
		return err
	}
	c.fill(rows, order)
	batch.Queue(`INSERT INTO figures_minute (generation, minute, kind, sums)
SELECT $1, * FROM unnest($2::timestamptz[], $3::smallint[], $4::text[]::json[])
ON CONFLICT (generation, minute, kind) DO UPDATE SET sums = excluded.sums`, f.gen.number, c.start, c.kind, c.sums)
	if known < len(order) {
		batch.Queue("DELETE FROM figures_minute WHERE generation = $1 AND minute < $2", f.gen.number, b.Last().Add(-minutesKept))
	}
	return nil
}

// addStored adds rows that are stored to those that are there, and returns how many they are.
func addStored(stored pgx.Rows, err error, rows map[figures.RowKey]figures.Sums) (n int, _ error) {
	if err != nil {
		return 0, err
	}
	defer stored.Close()
	for ; stored.Next(); n++ {
		var k figures.RowKey
		var kind int16
		var text string
		if err := stored.Scan(&k.Start, (*string)(&k.Client), &kind, &text); err != nil {
			return n, err
		}
		k.Kind = ofb.Kind(kind)
		if rows[k] == nil {
			rows[k] = figures.Sums{}
		}
		if err := rows[k].AddText(text); err != nil {
			return n, err
		}
	}
	return n, stored.Err()
}

func (f *folding) addClients(ctx context.Context, batch *pgx.Batch, contacts map[notice.ClientID]figures.Contact) error {
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
	var success, failure, from []pgtype.Timestamptz
	var failures []int64
	var outcomes []string
	for _, client := range ids {
		c := contacts[notice.ClientID(client)]
		if old, there := stored[notice.ClientID(client)]; there {
			c = c.After(old)
		}
		success, failure, from = append(success, store.ToTime(c.LastSuccess)), append(failure, store.ToTime(c.LastFailure)), append(from, store.ToTime(c.FailingFrom))
		failures, outcomes = append(failures, c.Failures), append(outcomes, string(c.Outcome))
	}
	batch.Queue(`INSERT INTO figures_client (generation, client_id, last_success, last_failure, failures, failing_from, outcome)
SELECT $1, * FROM unnest($2::text[], $3::timestamptz[], $4::timestamptz[], $5::bigint[], $6::timestamptz[], $7::text[])
ON CONFLICT (generation, client_id) DO UPDATE SET last_success = excluded.last_success, last_failure = excluded.last_failure,
  failures = excluded.failures, failing_from = excluded.failing_from, outcome = excluded.outcome`, f.gen.number, ids, success, failure, failures, from, outcomes)
	return nil
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
