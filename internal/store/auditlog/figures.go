package auditlog

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/figures"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/timing"
)

// Figures are folded from the log in its order. One transaction stores the sums of a stretch and the position it ends at, so
// each entry counts once, whatever is killed. What an entry adds depends on the log up to it alone, so any cut into
// stretches gives the same sums. One thing is looked at in the history as it is, sealed and not: periods without any commit,
// which tell the cause "standstill" from "queue". An entry whose transaction began in such a period and committed after the
// fold could change it.

// FoldBatch is how many entries one transaction folds at most.
const FoldBatch = 8_000

// minutesKept is how long sums by minute are kept.
const minutesKept = 50 * time.Hour

// FoldStep tells what one call of Fold did.
type FoldStep struct {
	Busy    bool // another session is at it
	Entries int64
	More    bool // entries are left that could be folded at once
	Polls   figures.PollSums
}

// generation is one set of sums.
type generation struct {
	number  int32
	entries int64 // folded
	through time.Time
	keep    []keptHours // hours that are not folded: their entries are not all there
}

// beginFold answers whether another session folds. Entries are folded between the statements, which may take longer than other transactions
// may pause (store.LongPauses). A fold is a background task and takes one processor at most: parallel workers would be
// started and ended for a second of entries, several times a second under load.
const beginFold = `SELECT NOT pg_try_advisory_xact_lock(hashtext('arauto.figures')) 
FROM set_config('max_parallel_workers_per_gather', '0', true) AS alone, set_config('idle_in_transaction_session_timeout', '5s', true) AS pause`

// Fold adds the next entries of the sealed log to the figures. One session folds at a time; another gets Busy.
func (l *Log) Fold(ctx context.Context) (out FoldStep, err error) {
	err = pgx.BeginFunc(ctx, l.query, func(tx pgx.Tx) error {
		out, err = l.foldIn(ctx, tx)
		return err
	})
	if err != nil {
		l.push, l.begun = nil, nil // what was folded into them did not happen
		return FoldStep{}, store.Unavailable("fold figures", err)
	}
	return out, nil
}

// foldIn folds the next stretch in a transaction.
func (l *Log) foldIn(ctx context.Context, tx pgx.Tx) (out FoldStep, err error) {
	if err := tx.QueryRow(ctx, beginFold).Scan(&out.Busy); err != nil || out.Busy {
		return out, err
	}
	g, err := activeFigures(ctx, tx)
	if err != nil {
		return out, err
	}
	f := folding{db: tx, still: &l.still, gen: g, push: l.push, begun: l.begun}
	if err := f.learnWith(ctx); err != nil {
		return out, err
	}
	out, err = f.step(ctx, &l.waits)
	l.push, l.begun = f.push, f.begun
	return out, err
}

// activeFigures reads which generation is shown, and how far it is.
func activeFigures(ctx context.Context, q querier) (g generation, err error) {
	err = q.QueryRow(ctx, "SELECT generation, entries, through FROM figures_state WHERE active").Scan(store.Columns(&g.number, &g.entries, &g.through)...)
	return g, err
}

// folding is one fold, or the reading of what is not folded yet.
type folding struct {
	db    pgx.Tx
	still *idlePeriods
	gen   generation
	key   []byte // of digests; nil: nothing is learned
	push  *pushes
	begun *begun

	timings []timing.Timing // of judge
}

// step folds the next stretch. What waits saves reading it; nil: nothing does.
func (f *folding) step(ctx context.Context, waits *waiting) (out FoldStep, err error) {
	size, err := logSize(ctx, f.db)
	if err != nil || size <= f.gen.entries {
		return out, err
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
		return out, err
	}
	book, err := f.book(ctx, s)
	if err != nil {
		return out, err
	}
	if f.key != nil {
		if err := f.learn(ctx, s.entries); err != nil {
			return out, err
		}
	}
	out = FoldStep{Entries: to - f.gen.entries, More: to < size, Polls: book.Polls()}
	if err := f.write(ctx, book, to); err != nil {
		return out, err
	}
	f.begun = f.begun.after(&s, f.gen.entries, to)
	f.gen.entries, f.push.entries = to, to
	return out, nil
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
	err = q.QueryRow(ctx, "SELECT xid, id FROM log_position WHERE seq = $1", seq-1).Scan(store.Columns(&c.xid, &c.id)...)
	return c, err
}

// stretchOfLog are entries in the order of the log.
type stretchOfLog struct {
	from    cursor // the place before the first
	entries []history.Brief
}

// readStretch reads the entries at positions from one up to another, that one left out. Entries of removed months are
// absent; entries without a position are not part of the log.
func readStretch(ctx context.Context, tx pgx.Tx, from, to int64) (s stretchOfLog, err error) {
	if s.from, err = placeBefore(ctx, tx, from); err != nil {
		return s, err
	}
	positions, err := readPositions(ctx, tx, from, int(to-from))
	if err != nil {
		return s, err
	}
	if int64(len(positions)) != to-from {
		return s, fmt.Errorf("%w: of the positions from %d to %d only %d are there", store.ErrTampered, from, to, len(positions))
	}
	var words history.SharedWords
	upTo := positions[len(positions)-1].at
	for after := s.from; ; {
		page, err := readNext(ctx, tx, after, upTo, foldPage)
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
	for i := range page {
		e := &page[i]
		n, there := slices.BinarySearchFunc(positions, placed(e), func(p position, c cursor) int { return p.at.compare(c) })
		if !there {
			continue
		}
		p := &positions[n]
		record = e.AppendRecord(record[:0], p.seq)
		altered := audit.Leaf(record) != p.leaf
		last := len(s.entries) - 1
		again := last >= 0 && placeOf(&s.entries[last]) == p.at
		if again && (altered || !s.entries[last].Altered) {
			continue
		}
		b := briefOf(e, altered, words)
		if again {
			s.entries[last] = b
		} else {
			s.entries = append(s.entries, b)
		}
	}
	return nil
}

// briefOf is an entry in brief. Nothing can be judged by one that is not what was sealed, or whose facts cannot be read.
func briefOf(e *audit.Entry, altered bool, words *history.SharedWords) history.Brief {
	b, err := history.BriefOf(e, words)
	b.Altered = altered || err != nil
	return b
}

// continuedSQL reads the entries of notifications, of the kinds that continuing names.
const continuedSQL = entrySelect + `WHERE notification_id = ANY($1::uuid[]) AND at >= $2 AND kind IN ('change', 'decision', 'resend', 'attempt', 'result', 'cancelled')`

// book folds a stretch.
func (f *folding) book(ctx context.Context, s stretchOfLog) (*figures.Totals, error) {
	earlier, err := f.before(ctx, &s)
	if err != nil {
		return nil, err
	}
	asked, err := f.asked(ctx, &s, earlier)
	if err != nil {
		return nil, err
	}
	for i := range s.entries {
		f.still.known.add(s.entries[i].At)
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
// the others. They are valid up to the next call.
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
	f.timings = slices.Grow(f.timings[:0], len(records))[:len(records)]
	one := func(n int, idle func(from, to time.Time) ([]timing.IdlePeriod, error)) error {
		return timing.FillTimings(f.timings[n:n+1], records[n:n+1], ends[n].At, idle)
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
	f.still.instants = instantsOf(f.db)
	idle := f.still.within(ctx, now)
	for _, l := range late {
		if err := one(l.n, idle); err != nil {
			return nil, err
		}
	}
	return f.timings, nil
}

// before returns the earlier entries of the notifications that a stretch goes on with, of each all or none: those that are in memory, and
// else those that it reads.
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
	out := f.begun.take(f.gen.entries, wanted)
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
			out = append(out, briefOf(&entries[i], c.states[i].failed != "", &words))
		}
		for id := range found {
			delete(wanted, id)
		}
	}
	return out, nil
}

// announcing are the kinds of entries that make a notification.
var announcing = []string{history.FactChange, history.FactDecision, history.FactResend}

// write adds the stored sums to those of a book, and stores them with the position.
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
	f.addLate(batch, b.LateStarts())
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

// columnsOf are the keys of rows in the order of the table's index, so that rows of many clients are found page by page.
func columnsOf(rows map[figures.RowKey]figures.Sums, keep []keptHours) (c sumColumns, order []figures.RowKey) {
	order = make([]figures.RowKey, 0, len(rows))
	for k := range rows {
		if !covered(keep, time.Unix(k.Start, 0)) {
			order = append(order, k)
		}
	}
	slices.SortFunc(order, func(a, b figures.RowKey) int {
		return cmp.Or(strings.Compare(string(a.Client), string(b.Client)), cmp.Compare(a.Start, b.Start), cmp.Compare(a.Kind, b.Kind))
	})
	n := len(order)
	c = sumColumns{start: make([]time.Time, 0, n), client: make([]string, 0, n), kind: make([]int16, 0, n), sums: make([]string, 0, n)}
	for _, k := range order {
		c.start, c.client, c.kind = append(c.start, time.Unix(k.Start, 0).UTC()), append(c.client, string(k.Client)), append(c.kind, int16(k.Kind))
	}
	return c, order
}

// fill writes the sums down.
func (c *sumColumns) fill(rows map[figures.RowKey]figures.Sums, order []figures.RowKey) {
	for _, k := range order {
		c.sums = append(c.sums, rows[k].Text())
	}
}

// addHours adds sums by hour. Rows that are there are found once, and written where they were found: one session folds at a
// time, so they stay there.
func (f *folding) addHours(ctx context.Context, batch *pgx.Batch, rows map[figures.RowKey]figures.Sums) error {
	c, order := columnsOf(rows, f.gen.keep)
	if len(order) == 0 {
		return nil
	}
	places := make([]pgtype.TID, len(order)) // zero: there is no row
	stored, _ := f.db.Query(ctx, `SELECT k.n, h.ctid, h.sums::text
FROM unnest($2::timestamptz[], $3::text[], $4::smallint[]) WITH ORDINALITY AS k(hour, client_id, kind, n) JOIN figures_hour h USING (hour, client_id, kind) WHERE h.generation = $1`,
		f.gen.number, c.start, c.client, c.kind)
	var n int64
	var at pgtype.TID
	var text string
	_, err := pgx.ForEachRow(stored, []any{&n, &at, &text}, func() error {
		places[n-1] = at
		return rows[order[n-1]].AddText(text)
	})
	if err != nil {
		return err
	}
	c.fill(rows, order)
	var fresh sumColumns
	var there []pgtype.TID
	var sums []string
	for i := range order {
		if places[i].Valid {
			there, sums = append(there, places[i]), append(sums, c.sums[i])
		} else {
			fresh.start, fresh.client, fresh.kind = append(fresh.start, c.start[i]), append(fresh.client, c.client[i]), append(fresh.kind, c.kind[i])
			fresh.sums = append(fresh.sums, c.sums[i])
		}
	}
	if len(there) > 0 {
		batch.Queue("UPDATE figures_hour h SET sums = k.sums::json FROM unnest($2::tid[], $3::text[]) AS k(place, sums) WHERE h.ctid = k.place AND h.generation = $1",
			f.gen.number, there, sums).Exec(allOf(len(there)))
	}
	if len(fresh.start) > 0 {
		batch.Queue("INSERT INTO figures_hour (generation, hour, client_id, kind, sums) SELECT $1, * FROM unnest($2::timestamptz[], $3::text[], $4::smallint[], $5::text[]::json[])",
			f.gen.number, fresh.start, fresh.client, fresh.kind, fresh.sums)
	}
	return nil
}

// addMinutes adds sums by minute. With each minute that is new, those that are too old go.
func (f *folding) addMinutes(ctx context.Context, batch *pgx.Batch, b *figures.Totals) error {
	rows := b.Minutes()
	c, order := columnsOf(rows, f.gen.keep)
	if len(order) == 0 {
		return nil
	}
	stored, _ := f.db.Query(ctx, `SELECT extract(epoch FROM m.minute)::bigint, '', m.kind, m.sums::text
FROM unnest($2::timestamptz[], $3::smallint[]) AS k(minute, kind) JOIN figures_minute m USING (minute, kind) WHERE m.generation = $1`,
		f.gen.number, c.start, c.kind)
	known, err := addStored(stored, rows, figures.Minutely)
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

// addStored adds rows that are stored to those of a unit that are there, and returns how many they are.
func addStored(stored pgx.Rows, rows map[figures.RowKey]figures.Sums, unit time.Duration) (n int, _ error) {
	var k figures.RowKey
	var text string
	_, err := pgx.ForEachRow(stored, store.Columns(&k.Start, &k.Client, &k.Kind, &text), func() error {
		k.Start -= k.Start % int64(unit/time.Second)
		if n++; rows[k] == nil {
			rows[k] = figures.Sums{}
		}
		return rows[k].AddText(text)
	})
	return n, err
}

// addLate keeps the first attempts that no claim shows to be late.
func (f *folding) addLate(batch *pgx.Batch, starts []figures.LateStart) {
	for _, s := range starts {
		if !covered(f.gen.keep, s.At) {
			batch.Queue("INSERT INTO figures_late (generation, at, notification_id, client_id) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
				f.gen.number, s.At, store.ToUUID(s.Notification), string(s.Client))
		}
	}
}

func (f *folding) addClients(ctx context.Context, batch *pgx.Batch, contacts map[notice.ClientID]figures.Contact) error {
	if len(contacts) == 0 {
		return nil
	}
	ids := make([]string, 0, len(contacts))
	for client := range contacts {
		ids = append(ids, string(client))
	}
	slices.Sort(ids) // as the table's index has them
	places := make([]pgtype.TID, len(ids))
	stored, _ := f.db.Query(ctx, `SELECT k.n, h.ctid, h.last_success, h.last_failure, h.failures, h.failing_from
FROM unnest($2::text[]) WITH ORDINALITY AS k(client_id, n) JOIN figures_client h USING (client_id) WHERE h.generation = $1`, f.gen.number, ids)
	var n int64
	var at pgtype.TID
	var old figures.Contact
	_, err := pgx.ForEachRow(stored, store.Columns(&n, &at, &old.LastSuccess, &old.LastFailure, &old.Failures, &old.FailingFrom), func() error {
		client := notice.ClientID(ids[n-1])
		places[n-1], contacts[client] = at, contacts[client].After(old)
		return nil
	})
	if err != nil {
		return err
	}
	var there, fresh contactColumns
	for i, client := range ids {
		if places[i].Valid {
			there.place = append(there.place, places[i])
			there.add(client, contacts[notice.ClientID(client)])
		} else {
			fresh.add(client, contacts[notice.ClientID(client)])
		}
	}
	if len(there.client) > 0 {
		batch.Queue(`UPDATE figures_client h SET last_success = k.success, last_failure = k.failure, failures = k.failures, failing_from = k.since, outcome = k.outcome
FROM unnest($2::tid[], $3::timestamptz[], $4::timestamptz[], $5::bigint[], $6::timestamptz[], $7::text[]) AS k(place, success, failure, failures, since, outcome)
WHERE h.ctid = k.place AND h.generation = $1`, f.gen.number, there.place, there.success, there.failure, there.failures, there.from, there.outcome).Exec(allOf(len(there.client)))
	}
	if len(fresh.client) > 0 {
		batch.Queue(`INSERT INTO figures_client (generation, client_id, last_success, last_failure, failures, failing_from, outcome)
SELECT $1, * FROM unnest($2::text[], $3::timestamptz[], $4::timestamptz[], $5::bigint[], $6::timestamptz[], $7::text[])`,
			f.gen.number, fresh.client, fresh.success, fresh.failure, fresh.failures, fresh.from, fresh.outcome)
	}
	return nil
}

// contactColumns are rows of figures_client, column by column.
type contactColumns struct {
	place                  []pgtype.TID // of rows that are there
	client                 []string
	success, failure, from []pgtype.Timestamptz
	failures               []int64
	outcome                []string
}

func (t *contactColumns) add(client string, c figures.Contact) {
	t.client, t.outcome, t.failures = append(t.client, client), append(t.outcome, string(c.Outcome)), append(t.failures, c.Failures)
	t.success, t.failure, t.from = append(t.success, store.ToTime(c.LastSuccess)), append(t.failure, store.ToTime(c.LastFailure)), append(t.from, store.ToTime(c.FailingFrom))
}

// allOf refuses an update that changed another number of rows: they are not where they were found.
func allOf(rows int) func(pgconn.CommandTag) error {
	return func(done pgconn.CommandTag) error {
		if done.RowsAffected() != int64(rows) {
			return fmt.Errorf("%d of %d rows of figures are where they were found: another session writes figures", done.RowsAffected(), rows)
		}
		return nil
	}
}

func readContacts(ctx context.Context, q querier, where string, args ...any) (map[notice.ClientID]figures.Contact, error) {
	rows, _ := q.Query(ctx, "SELECT client_id, last_success, last_failure, failures, failing_from, outcome FROM figures_client WHERE "+where, args...)
	out := map[notice.ClientID]figures.Contact{}
	var client notice.ClientID
	var c figures.Contact
	_, err := pgx.ForEachRow(rows, store.Columns(&client, &c.LastSuccess, &c.LastFailure, &c.Failures, &c.FailingFrom, &c.Outcome), func() error {
		out[client] = c
		return nil
	})
	return out, err
}

// keptHours is a period: from ≤ instant < to.
type keptHours struct{ from, to time.Time }

func covered(spans []keptHours, at time.Time) bool {
	return slices.ContainsFunc(spans, func(s keptHours) bool { return !at.Before(s.from) && at.Before(s.to) })
}
