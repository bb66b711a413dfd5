package auditlog

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/store"
)

// walkBack is how far back one search without an id looks (L6: 31 days). The first window is short. The next is as long as the
// rest of the page should need, and at most four times as long, so that a page of frequent entries reads little more than
// itself.
const (
	walkBack   = 31 * 24 * time.Hour
	firstStep  = time.Minute
	stepGrowth = 4
)

// Search lists what q selects of the whole history, newest first, unsealed entries included: at most limit entries after a
// position. Page.Next is the position to continue after, zero at the end. Each entry is compared with its leaf; one that
// differs is listed and marked. Without an id (history.Search.Narrow) one call looks back 31 days at most: it may find fewer
// than limit entries and still give a position.
//
// It reads in one snapshot, within the time that ctx leaves. The error store.TooWide means that the time did not suffice.
func (l *Log) Search(ctx context.Context, q history.Search, after history.Position, limit int) (audit.Page, error) {
	tx, err := l.query.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return audit.Page{}, store.Unavailable("begin to search", err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	w := &walk{tx: tx, search: q, after: after, limit: limit}
	if err := w.run(ctx); err != nil {
		if store.IsCode(err, "57014") {
			return audit.Page{}, store.TooWide{Err: fmt.Errorf("search the history: %w", err)}
		}
		return audit.Page{}, store.Unavailable("search the history", err)
	}
	return w.page, nil
}

// walk is one search.
type walk struct {
	tx     pgx.Tx
	search history.Search
	after  history.Position
	limit  int

	clients []string
	now     time.Time
	end     *logEnd
	page    audit.Page
}

// searchSession keeps a search from taking what the product needs: plans by indexes alone, made for the very values, on
// one core.
const searchSession = `SELECT set_config('statement_timeout', $1, true), set_config('enable_seqscan', 'off', true), set_config('jit', 'off', true),
  set_config('max_parallel_workers_per_gather', '0', true), set_config('plan_cache_mode', 'force_custom_plan', true), set_config('work_mem', '16MB', true)`

func (w *walk) run(ctx context.Context) error {
	left := 5 * time.Second
	if deadline, bounded := ctx.Deadline(); bounded {
		left = max(time.Until(deadline)-50*time.Millisecond, time.Millisecond) // the database ends it first, and the connection lives on
	}
	if _, err := w.tx.Exec(ctx, searchSession, strconv.FormatInt(left.Milliseconds(), 10)); err != nil {
		return err
	}
	if err := w.tx.QueryRow(ctx, "SELECT now()").Scan(&w.now); err != nil {
		return err
	}
	var err error
	if w.end, err = readEnd(ctx, w.tx); err != nil {
		return err
	}
	w.page.Head = w.end.SignedHead
	if w.clients, err = clientsOf(ctx, w.tx, w.search, 0); err != nil {
		return err
	}
	var entries []audit.Entry
	if w.search.Narrow() {
		entries, err = w.find(ctx, w.search.From, w.search.To)
		if len(entries) == w.limit {
			w.page.Next = markOf(&entries[len(entries)-1])
		}
	} else {
		entries, err = w.back(ctx)
	}
	if err != nil {
		return err
	}
	return w.place(ctx, entries)
}

func markOf(e *audit.Entry) audit.Mark { return audit.Mark{At: e.At, ID: e.ID} }

// back goes back through time, window by window.
func (w *walk) back(ctx context.Context) (out []audit.Entry, err error) {
	high := w.search.To
	start := w.now
	if !high.IsZero() && high.Before(start) {
		start = high
	}
	if !w.after.At.IsZero() && w.after.At.Before(start) {
		start = w.after.At
	}
	floor := start.Add(-walkBack)
	if w.search.From.After(floor) {
		floor = w.search.From
	}
	for step, low := firstStep, start; ; {
		if low = low.Add(-step); !low.After(floor) {
			low = floor
		}
		some, err := w.find(ctx, low, high)
		if err != nil {
			return nil, err
		}
		out = append(out, some...)
		if len(out) >= w.limit {
			out = out[:w.limit]
			w.page.Next = markOf(&out[w.limit-1])
			return out, nil
		}
		if high = low; low.Equal(floor) {
			break
		}
		if step *= stepGrowth; len(out) > 0 {
			missing := float64(w.limit-len(out)) / float64(len(out))
			step = min(step, max(firstStep, time.Duration(missing*1.2*float64(start.Sub(low)))))
		}
	}
	if floor.After(w.search.From) {
		var older bool
		if err := w.tx.QueryRow(ctx, olderSQL, floor).Scan(&older); err != nil {
			return nil, err
		}
		if older {
			w.page.Next = audit.Mark{At: audit.At(floor)}
		}
	}
	return out, nil
}

// olderSQL tells whether there are months that began before a time.
const olderSQL = `SELECT EXISTS (SELECT FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'entry'::regclass
  AND c.relname ~ '^entry_[0-9]{6}$' AND to_date(substr(c.relname, 7), 'YYYYMM')::timestamp AT TIME ZONE 'UTC' < $1)`

// find reads what the search selects from one time up to another, the newest first, zero times being open ends.
func (w *walk) find(ctx context.Context, from, to time.Time) ([]audit.Entry, error) {
	var c conditions
	c.narrow(w.search)
	c.rest(w.search, w.clients)
	if !from.IsZero() {
		c.and("at >= " + c.arg(from))
	}
	if !to.IsZero() {
		c.and("at < " + c.arg(to))
	}
	if !w.after.At.IsZero() {
		at := c.arg(w.after.At)
		c.and("at <= " + at + " AND (at, id) < (" + at + ", " + c.arg([16]byte(w.after.ID)) + ")")
	}
	return queryEntries(ctx, w.tx, c.selectNewest(w.limit), c.args...)
}

// place compares the entries with the log, which gives them their positions.
func (w *walk) place(ctx context.Context, entries []audit.Entry) error {
	c, err := compareWithLog(ctx, w.tx, w.end, entries, tilesOfPage)
	if err != nil {
		return err
	}
	w.page.Size, w.page.Damage = c.size, c.faults
	w.page.Entries = make([]audit.Placed, len(entries))
	for i := range entries {
		s := &c.states[i]
		w.page.Entries[i] = audit.Placed{Entry: entries[i], Seq: s.seq, Verified: s.verified, Proven: s.proven, Tampered: s.failed}
	}
	return nil
}

// findPositions finds the positions of entries, which are in the order of sealing, among the first size of the log; nil
// for an entry that has none. Positions are in that order too, so that all are searched for together, each where it should
// be by its transaction's number, until what is left between them is read at once.
func findPositions(ctx context.Context, q querier, entries []audit.Entry, size int64) ([]*position, error) {
	if len(entries) == 0 || size == 0 {
		return make([]*position, len(entries)), nil
	}
	ends, err := positionsAt(ctx, q, []int64{0, size - 1})
	if err != nil {
		return nil, err
	}
	return findBetween(ctx, q, entries, size, ends)
}

// findBetween is findPositions with the first and the last position at hand.
//
// Guesses rely on the order of positions, which is not what was sealed where somebody altered one. When an entry has no position and the
// last position is younger, the walkBatch positions around the end of its search are looked through, whatever their order: all of a short
// log. That is done once, for the first such entry. In a longer log an entry whose position is not among these is left without one, as if
// it had been put in.
func findBetween(ctx context.Context, q querier, entries []audit.Entry, size int64, ends map[int64]position) ([]*position, error) {
	out := make([]*position, len(entries))
	left := slices.Repeat([]gap{{0, size, weight(ends[0].at), weight(ends[size-1].at)}}, len(entries))
	if err := findByGuesses(ctx, q, entries, left, out); err != nil {
		return nil, err
	}
	for i := range entries {
		if out[i] == nil && placed(&entries[i]).compare(ends[size-1].at) <= 0 {
			low := max(0, min(left[i].low-walkBatch/2, size-walkBatch))
			return out, readAmong(ctx, q, gap{low: low, high: min(low+walkBatch, size)}, entries, out)
		}
	}
	return out, nil
}

// findByGuesses narrows what is left for each entry, until its position is found, or none is left, or few enough to be read.
func findByGuesses(ctx context.Context, q querier, entries []audit.Entry, left []gap, out []*position) error {
	near := min(int64(nearby+nearbyEach*len(entries)), walkBatch)
	for round := 0; ; round++ {
		from, to := left[0].low, left[len(left)-1].high
		if from < to && to-from <= near {
			return readAmong(ctx, q, gap{low: from, high: to}, entries, out)
		}
		guesses := make([]int64, 0, len(entries))
		for i := range entries {
			if left[i].low < left[i].high {
				guesses = append(guesses, left[i].guess(placed(&entries[i]), round))
			}
		}
		slices.Sort(guesses)
		if guesses = slices.Compact(guesses); len(guesses) == 0 {
			return nil
		}
		found, err := positionsAt(ctx, q, guesses)
		if err != nil {
			return err
		}
		for i := range entries {
			if left[i].low >= left[i].high {
				continue
			}
			p, there := found[left[i].guess(placed(&entries[i]), round)]
			if !there && from < to && to-from <= walkBatch {
				return readAmong(ctx, q, gap{low: from, high: to}, entries, out)
			}
			if !there {
				return fmt.Errorf("%w: a position before %d is missing", store.ErrTampered, left[i].high)
			}
			if left[i].narrow(&p, placed(&entries[i])) {
				out[i] = &p
			}
		}
	}
}

// So many positions in a row, and so many more for each entry, are read sooner than the next guess of each entry is asked for:
// a statement costs as much as these.
const (
	nearby     = 128
	nearbyEach = 4
)

// readAmong reads all positions of a gap, and pairs them with entries, whatever their order is. out has the positions of some already.
func readAmong(ctx context.Context, q querier, g gap, entries []audit.Entry, out []*position) error {
	positions, err := readPositions(ctx, q, g.low, int(g.high-g.low))
	at := make(map[cursor]*position, len(positions))
	for i := range positions {
		at[positions[i].at] = &positions[i]
	}
	for i := range entries {
		if p := at[placed(&entries[i])]; p != nil {
			out[i] = p
		}
	}
	return err
}

// gap is where an entry's position must be, if it has one: low ≤ seq < high; and how much the places at its ends weigh.
type gap struct {
	low, high      int64
	lightest, most float64
}

// weight is a place in the order of sealing as a number: the transaction, and how far the id is among all ids.
func weight(c cursor) float64 {
	return float64(c.xid) + float64(binary.BigEndian.Uint32(c.id[:4]))/(1<<32)
}

// guess is where to look next: where the place should be between the ends, and each third time in the middle, in case the
// transactions are spread unevenly.
func (s *gap) guess(c cursor, round int) int64 {
	middle := s.low + (s.high-s.low)/2
	if round%3 == 2 || s.most <= s.lightest {
		return middle
	}
	share := (weight(c) - s.lightest) / (s.most - s.lightest)
	return min(max(s.low+int64(share*float64(s.high-s.low)), s.low), s.high-1)
}

// narrow takes into account what was found at a position; true: it is the one.
func (s *gap) narrow(p *position, c cursor) bool {
	switch d := p.at.compare(c); {
	case d == 0:
		s.low, s.high = p.seq, p.seq
		return true
	case d < 0:
		s.low, s.lightest = p.seq+1, weight(p.at)
	default:
		s.high, s.most = p.seq, weight(p.at)
	}
	return false
}

func positionsAt(ctx context.Context, q querier, seqs []int64) (map[int64]position, error) {
	found, err := store.All(ctx, q, positionPlaces, "SELECT seq, xid, id, at, leaf FROM log_position WHERE seq = ANY($1)", seqs)
	out := make(map[int64]position, len(seqs))
	for _, p := range found {
		out[p.seq] = p
	}
	return out, err
}

// conditions is the WHERE of a search: branches, of which an entry belongs to one, and what holds for all.
type conditions struct {
	branches []string
	all      []string
	args     []any
}

// arg adds a value and returns what stands for it.
func (c *conditions) arg(v any) string {
	c.args = append(c.args, v)
	return "$" + strconv.Itoa(len(c.args))
}

func (c *conditions) and(text string) { c.all = append(c.all, text) }

// madeWithin is how long after an id of version 7 was made its entry's transaction may have begun, or before, by another
// clock.
const madeWithin = time.Hour

// narrow makes branches of the first id that is given, each found by an index. Attempts of a resource are found through
// its notifications, which saves the path of an attempt two index entries.
func (c *conditions) narrow(s history.Search) {
	switch {
	case !s.Interaction.IsZero():
		c.branches = []string{"interaction_id = " + c.arg([16]byte(s.Interaction))}
	case !s.Notification.IsZero():
		c.branches = []string{"notification_id = " + c.arg([16]byte(s.Notification))}
	case !s.Change.IsZero():
		id := c.arg([16]byte(s.Change))
		c.branches = []string{"change_id = " + id}
		if s.Change[6]>>4 == 7 { // a change is the id of its own entry
			var ms int64
			for _, b := range s.Change[:6] {
				ms = ms<<8 | int64(b)
			}
			made := time.UnixMilli(ms).UTC()
			c.branches = append(c.branches, "id = "+id+" AND change_id IS DISTINCT FROM "+id+" AND at >= "+c.arg(made.Add(-madeWithin))+" AND at < "+c.arg(made.Add(madeWithin)))
		}
	case s.ResourceID != "":
		id := c.arg(s.ResourceID)
		c.branches = []string{
			"resource_id = " + id + " AND number IS NULL",
			"resource_id = " + id + " AND number IS NOT NULL AND notification_id = ANY (ARRAY(SELECT notification_id FROM entry WHERE resource_id = " +
				id + " AND number IS NULL AND notification_id IS NOT NULL))",
		}
	default:
		c.branches = []string{"true"}
	}
}

// rest adds what the branches leave open. Times are the caller's.
func (c *conditions) rest(s history.Search, clients []string) {
	if clients != nil {
		c.and(c.anyOf("client_id", clients))
	}
	if s.Kind != 0 {
		c.and("resource_kind = " + c.arg(int16(s.Kind)))
	}
	if s.ResourceID != "" {
		c.and("resource_id = " + c.arg(s.ResourceID))
	}
	if !s.Notification.IsZero() {
		c.and("notification_id = " + c.arg([16]byte(s.Notification)))
	}
	if !s.Interaction.IsZero() {
		c.and("interaction_id = " + c.arg([16]byte(s.Interaction)))
	}
	if !s.Change.IsZero() {
		id := c.arg([16]byte(s.Change))
		c.and("(id = " + id + " OR change_id = " + id + ")")
	}
	if len(s.Entries) > 0 {
		c.and(c.anyOf("kind", s.Entries))
		if !slices.ContainsFunc(s.Entries, func(k string) bool { return slices.Contains(frequent, k) }) {
			c.and(rareSQL)
		}
	}
	if s.Outcome != "" {
		c.and("outcome = " + c.arg(s.Outcome))
		if !slices.Contains(plain, s.Outcome) {
			c.and(unusualSQL)
		}
	}
	if s.Late {
		c.and(lateSQL)
	}
	if s.Actor != "" {
		c.and("strpos(lower(facts->>'actor'), lower(" + c.arg(s.Actor) + ")) > 0")
	}
}

// What the partial indexes of migration 0005 leave out, and the conditions that let them be used.
var (
	frequent = []string{history.FactChange, history.FactAttempt, history.FactResult, "poll"}
	plain    = []string{"applied", "delivered", "200"}
)

const (
	rareSQL    = "kind NOT IN ('change', 'attempt', 'result', 'poll')"
	unusualSQL = "outcome NOT IN ('applied', 'delivered', '200')"
)

// orMost is up to how many values are written as a chain of OR, which a summary index can use and an array cannot.
const orMost = 16

func (c *conditions) anyOf(column string, values []string) string {
	switch {
	case len(values) == 0:
		return "false"
	case len(values) > orMost:
		return column + " = ANY(" + c.arg(values) + ")"
	}
	each := make([]string, len(values))
	for i, v := range values {
		each[i] = column + " = " + c.arg(v)
	}
	return "(" + strings.Join(each, " OR ") + ")"
}

// selectAll reads everything the branches find.
func (c *conditions) selectAll() string {
	parts := make([]string, len(c.branches))
	for i, branch := range c.branches {
		parts[i] = entrySelect + "WHERE " + strings.Join(append([]string{branch}, c.all...), " AND ")
	}
	return strings.Join(parts, " UNION ALL ")
}

// selectNewest reads the newest of them.
func (c *conditions) selectNewest(limit int) string {
	order := " ORDER BY at DESC, id DESC LIMIT " + strconv.Itoa(limit)
	parts := make([]string, len(c.branches))
	for i, branch := range c.branches {
		parts[i] = "(" + entrySelect + "WHERE " + strings.Join(append([]string{branch}, c.all...), " AND ") + order + ")"
	}
	return "SELECT * FROM (" + strings.Join(parts, " UNION ALL ") + ") e" + order
}

// clientsOf are the clients a search restricts to; nil: it does not. Those of an organisation are all that were ever
// registered under it, as of a checkpoint's size (0: by now), so that the same search as of it gives the same.
func clientsOf(ctx context.Context, q querier, s history.Search, size int64) ([]string, error) {
	if s.Organisation == "" {
		if s.Client == "" {
			return nil, nil
		}
		return []string{string(s.Client)}, nil
	}
	end := cursor{xid: 1<<63 - 1}
	if size > 0 {
		positions, err := readPositions(ctx, q, size-1, 1)
		if err != nil {
			return nil, store.Unavailable("find an organisation's clients", err)
		}
		if len(positions) == 1 {
			end = positions[0].at
		}
	}
	rows, _ := q.Query(ctx, organisationSQL, s.Organisation, end.xid, [16]byte(end.id))
	clients, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, store.Unavailable("find an organisation's clients", err)
	}
	if s.Client != "" {
		clients = slices.DeleteFunc(clients, func(c string) bool { return c != string(s.Client) })
	}
	return append([]string{}, clients...), nil
}

// A registration that is older than what is kept of the history is known by the table alone.
const organisationSQL = `
SELECT client_id FROM entry WHERE kind = 'registered' AND ` + rareSQL + ` AND facts->>'organisationId' = $1 AND client_id IS NOT NULL AND (xid, id) <= ($2, $3)
UNION
SELECT client_id FROM initiator i WHERE organisation_id = $1
  AND NOT EXISTS (SELECT FROM entry e WHERE e.kind = 'registered' AND e.` + rareSQL + ` AND e.client_id = i.client_id)
ORDER BY 1`

// matches tells whether an entry is wanted. clients is what clientsOf gave.
func matches(s history.Search, clients []string, e *audit.Entry) bool {
	text := func(want string, have *string) bool { return want == "" || have != nil && *have == want }
	id := func(want notice.ID, have *notice.ID) bool {
		return want.IsZero() || have != nil && *have == want
	}
	switch {
	case clients != nil && (e.ClientID == nil || !slices.Contains(clients, *e.ClientID)),
		s.Kind != 0 && (e.ResourceKind == nil || *e.ResourceKind != int16(s.Kind)),
		!text(s.ResourceID, e.ResourceID), !id(s.Notification, e.NotificationID), !id(s.Interaction, e.InteractionID),
		!id(s.Change, e.ChangeID) && e.ID != s.Change,
		len(s.Entries) > 0 && !slices.Contains(s.Entries, e.Kind), !text(s.Outcome, e.Outcome),
		!s.From.IsZero() && e.At < audit.At(s.From), !s.To.IsZero() && e.At >= audit.At(s.To):
		return false
	}
	return (!s.Late || e.Kind == history.FactAttempt && isLate(e.Facts)) && (s.Actor == "" || isOf(e.Facts, s.Actor))
}

// isOf tells whether facts name an actor of whom text is a part.
func isOf(facts, text string) bool {
	var f struct {
		Actor string `json:"actor"`
	}
	return json.Unmarshal([]byte(facts), &f) == nil && strings.Contains(strings.ToLower(f.Actor), strings.ToLower(text))
}

// isLate tells whether facts say late. The filter of a bundle means what is written (docs/audit-format.md): with the resends of which older
// versions wrote it.
func isLate(facts string) bool {
	var f struct {
		Late bool `json:"late"`
	}
	return json.Unmarshal([]byte(facts), &f) == nil && f.Late
}
