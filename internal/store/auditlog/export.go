package auditlog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/timing"
)

// LogReader reads the log as of one checkpoint. What is sealed never changes, so that a search as of a checkpoint always
// finds the same, but for months that are removed when their time is over.
type LogReader struct {
	audit.SignedHead
	q      querier
	close  func(context.Context)
	strays []audit.Fault
	few    int  // entries that a search by an id keeps in memory; 0: any number
	walks  bool // more than few are read by a walk through the log; without it they are too wide a search

	// Progress, when set, is told how many positions were looked at so far. A second walk is told of where it goes further.
	Progress func(positions int64)
	walked   int64
}

// noCheckpoint is the error for a size that no checkpoint has; 0 stands for the newest.
func noCheckpoint(ctx context.Context, q querier, size int64) error {
	switch size {
	case 0:
		return store.ErrNoCheckpoint
	case NewestCosigned:
		return fmt.Errorf("no witness vouched for a checkpoint yet: %w", store.ErrNoCheckpoint)
	}
	e := &store.NoCheckpoint{Size: size}
	err := q.QueryRow(ctx, "SELECT coalesce((SELECT max(size) FROM log_checkpoint WHERE size < $1), 0), coalesce((SELECT min(size) FROM log_checkpoint WHERE size > $1), 0)", size).
		Scan(&e.Below, &e.Above)
	if err != nil {
		return err
	}
	return e
}

// OpenExport opens the log of the database that the URL names, as of the checkpoint of a size; 0 is the newest. The user
// needs SELECT on the proof and the history. Each statement has a snapshot of its own: a snapshot over all of them would keep
// dead rows of the queue for as long as the export takes.
func OpenExport(ctx context.Context, url string, size int64) (*LogReader, error) {
	conn, err := auditConn(ctx, url)
	if err != nil {
		return nil, err
	}
	return openLogReader(ctx, conn, size, func(ctx context.Context) { _ = conn.Close(ctx) })
}

// fewMost is how many entries a search by an id keeps in memory in serve. A client's status queries may make far more of one resource,
// and each entry of a document takes a few KiB and its proof a few milliseconds.
const fewMost = 10_000

// OpenLog is OpenExport for serve, over a connection of the pool. Each, for a search by an id that finds more than 10,000 entries, is
// too wide.
func (l *Log) OpenLog(ctx context.Context, size int64) (*LogReader, error) {
	conn, err := l.query.Acquire(ctx)
	if err != nil {
		return nil, store.Unavailable("open the log", err)
	}
	return bounded(openLogReader(ctx, conn, size, func(context.Context) { conn.Release() }))
}

func bounded(x *LogReader, err error) (*LogReader, error) {
	if err == nil {
		x.few = fewMost
	}
	return x, err
}

// OpenLogForLong is OpenLog for exports, whose single statements may take a minute. A search by an id that finds many entries walks
// through the log.
func (l *Log) OpenLogForLong(ctx context.Context, size int64) (*LogReader, error) {
	conn, err := l.query.Acquire(ctx)
	if err != nil {
		return nil, store.Unavailable("open the log", err)
	}
	if _, err := conn.Exec(ctx, "SET statement_timeout = '60s'"); err != nil {
		conn.Release()
		return nil, store.Unavailable("open the log", err)
	}
	x, err := bounded(openLogReader(ctx, conn, size, func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if _, err := conn.Exec(ctx, "RESET statement_timeout"); err != nil {
			_ = conn.Conn().Close(ctx) // the pool makes another
		}
		conn.Release()
	}))
	if err == nil {
		x.walks = true
	}
	return x, err
}

func openLogReader(ctx context.Context, q querier, size int64, done func(context.Context)) (*LogReader, error) {
	x := &LogReader{q: q, close: done}
	var err error
	if x.SignedHead, err = readHead(ctx, q, size); err != nil {
		x.Close(ctx)
		return nil, store.Unavailable("open the log", err)
	}
	return x, nil
}

// readHead reads the checkpoint of a size, the newest for 0, or the newest that a witness cosigned for NewestCosigned, with its
// cosignatures, and opens it with the registered key.
func readHead(ctx context.Context, q querier, size int64) (h audit.SignedHead, err error) {
	if size == NewestCosigned {
		var found bool
		if size, found, err = newestCosigned(ctx, q); err != nil || !found {
			return h, cmp.Or(err, noCheckpoint(ctx, q, NewestCosigned))
		}
	}
	var key []byte
	var signed string
	var lines []string
	var claimed int64
	err = q.QueryRow(ctx, "SELECT k.public, c.size, "+noteAndLines+` FROM log_checkpoint c LEFT JOIN log_key k ON true
WHERE $1 = 0 OR c.size = $1 ORDER BY c.size DESC LIMIT 1`, size).
		Scan(&key, &claimed, &signed, &lines)
	if errors.Is(err, pgx.ErrNoRows) {
		return h, noCheckpoint(ctx, q, size)
	}
	if err != nil {
		return h, err
	}
	h.Public, h.Note = key, withCosignatures(signed, lines).text
	if h.Checkpoint, err = audit.OpenCheckpoint(h.Note, h.Public); err != nil {
		return h, fmt.Errorf("%w: the checkpoint of %d entries: %w", store.ErrTampered, claimed, err)
	}
	if h.Checkpoint.Size != claimed {
		return h, fmt.Errorf("%w: the checkpoint of %d entries was signed for %d", store.ErrTampered, claimed, h.Checkpoint.Size)
	}
	return h, nil
}

// Head is the checkpoint that is read by.
func (x *LogReader) Head() audit.SignedHead { return x.SignedHead }

// Close ends the reading.
func (x *LogReader) Close(ctx context.Context) { x.close(context.WithoutCancel(ctx)) }

// Each hands over what a search finds, in the order of the log. Removed entries are part of the whole log only.
func (x *LogReader) Each(ctx context.Context, s history.Search, each func(*audit.Sealed) error) error {
	clients, err := clientsOf(ctx, x.q, s, x.Checkpoint.Size)
	if err != nil {
		return err
	}
	if s.Narrow() {
		if err := x.pick(ctx, s, clients, each); !errors.Is(err, errMany) || !x.walks {
			return err
		}
	}
	seq, end, err := x.bounds(ctx, s)
	if err != nil {
		return err
	}
	return x.walk(ctx, walkRange{
		from: seq, end: end, whole: len(s.Filter()) == 0,
		wanted: func(e *audit.Entry) bool { return matches(s, clients, e) },
	}, each)
}

// EachFrom hands over the whole log from a position on, removed entries included, in its order.
func (x *LogReader) EachFrom(ctx context.Context, seq int64, each func(*audit.Sealed) error) error {
	return x.walk(ctx, walkRange{from: seq, end: x.Checkpoint.Size, whole: true, wanted: func(*audit.Entry) bool { return true }}, each)
}

// Tree reads the stored levels of the tree.
func (x *LogReader) Tree(ctx context.Context) audit.Hashes { return stored{ctx, x.q} }

// walkRange is a stretch of the log that is read, and what of it is wanted.
type walkRange struct {
	from, end int64
	whole     bool // removed entries too
	wanted    func(*audit.Entry) bool
}

// walk hands over what is wanted of a stretch, in the order of the log.
func (x *LogReader) walk(ctx context.Context, r walkRange, each func(*audit.Sealed) error) error {
	last, seq := before, r.from
	if seq > 0 {
		var err error
		if last, err = x.placeOf(ctx, seq-1); err != nil {
			return err
		}
	}
	for seq < r.end {
		positions, err := readPositions(ctx, x.q, seq, int(min(walkBatch, r.end-seq)))
		if err != nil {
			return store.Unavailable("read positions", err)
		}
		if len(positions) == 0 {
			return fmt.Errorf("%w: position %d is missing", store.ErrTampered, seq)
		}
		upTo := positions[len(positions)-1]
		entries, err := readEntries(ctx, x.q, last, upTo.at, int(2*walkBatch))
		if err != nil {
			return store.Unavailable("read entries", err)
		}
		if err := merge(positions, entries, r.whole, r.wanted, each); err != nil {
			return err
		}
		last, seq = upTo.at, upTo.seq+1
		if x.Progress != nil && seq > x.walked {
			x.walked = seq
			x.Progress(seq)
		}
	}
	return nil
}

// bounds are the first position that a search's times can concern, and the one after the last.
func (x *LogReader) bounds(ctx context.Context, s history.Search) (first, end int64, err error) {
	end = x.Checkpoint.Size
	if s.From.IsZero() && s.To.IsZero() {
		return 0, end, nil
	}
	var low, high pgtype.Int8
	err = x.q.QueryRow(ctx, `SELECT min(seq), max(seq) FROM log_position WHERE at >= coalesce($1::timestamptz, '-infinity') AND at < coalesce($2::timestamptz, 'infinity') AND seq < $3`,
		store.ToTime(s.From), store.ToTime(s.To), end).Scan(&low, &high)
	if err != nil {
		return 0, 0, store.Unavailable("find the first and last position", err)
	}
	if !low.Valid {
		return end, end, nil
	}
	return low.Int64, high.Int64 + 1, nil
}

// placeOf reads the place of a position in the order of sealing.
func (x *LogReader) placeOf(ctx context.Context, seq int64) (cursor, error) {
	positions, err := readPositions(ctx, x.q, seq, 1)
	if err != nil {
		return before, store.Unavailable("read a position", err)
	}
	if len(positions) == 0 || positions[0].seq != seq {
		return before, fmt.Errorf("%w: position %d is missing", store.ErrTampered, seq)
	}
	return positions[0].at, nil
}

// merge pairs positions with entries; both are in the order of (xid, id).
func merge(positions []position, entries []audit.Entry, whole bool, wanted func(*audit.Entry) bool, each func(*audit.Sealed) error) error {
	for i := range positions {
		p := &positions[i]
		out := audit.Sealed{Seq: p.seq, At: p.time, Leaf: p.leaf}
		for len(entries) > 0 && placed(&entries[0]).compare(p.at) < 0 {
			entries = entries[1:]
		}
		for len(entries) > 0 && placed(&entries[0]) == p.at {
			if out.Entry == nil || !out.Genuine() { // of several rows in one place, the one that was sealed
				out.Entry = &entries[0]
			}
			entries = entries[1:]
		}
		if !whole && (out.Entry == nil || !wanted(out.Entry)) {
			continue
		}
		if err := each(&out); err != nil {
			return err
		}
	}
	return nil
}

// placed is an entry's place in the order of sealing.
func placed(e *audit.Entry) cursor { return cursor{e.XID, e.ID} }

// errMany means that a search by an id finds more entries than may be kept in memory.
var errMany = errors.New("a search by an id finds more entries than may be kept in memory")

// pick finds a few entries by an index of the history, and their positions.
func (x *LogReader) pick(ctx context.Context, s history.Search, clients []string, each func(*audit.Sealed) error) error {
	var where conditions
	where.narrow(s)
	sql := where.selectAll()
	if x.few > 0 {
		sql = "SELECT * FROM (" + sql + ") e LIMIT " + strconv.Itoa(x.few+1)
	}
	entries, err := queryEntries(ctx, x.q, sql, where.args...)
	if err != nil {
		return store.Unavailable("search the history", err)
	}
	if x.few > 0 && len(entries) > x.few {
		return store.TooWide{Err: errMany}
	}
	entries = slices.DeleteFunc(entries, func(e audit.Entry) bool { return !matches(s, clients, &e) })
	slices.SortFunc(entries, func(a, b audit.Entry) int { return placed(&a).compare(placed(&b)) })
	positions, err := findPositions(ctx, x.q, entries, x.Checkpoint.Size)
	if err != nil {
		return store.Unavailable("find positions", err)
	}
	found, err := x.sealed(ctx, entries, positions)
	if err != nil {
		return store.Unavailable("find positions", err)
	}
	for i := range found {
		if err := each(&found[i]); err != nil {
			return err
		}
	}
	return nil
}

// sealed pairs entries, in the order of sealing, with their positions. Younger ones than the checkpoint are left out. Rows
// that were put in are left out and kept as strays: those without a position, and all but one that claim the same place.
func (x *LogReader) sealed(ctx context.Context, entries []audit.Entry, positions []*position) ([]audit.Sealed, error) {
	var out []audit.Sealed
	var unplaced []audit.Entry
	for i := range entries {
		p := positions[i]
		if p == nil {
			unplaced = append(unplaced, entries[i])
			continue
		}
		s := audit.Sealed{Seq: p.seq, Entry: &entries[i], At: entries[i].At, Leaf: p.leaf}
		if n := len(out); n > 0 && out[n-1].Seq == s.Seq {
			x.strays = append(x.strays, audit.Fault{Seq: s.Seq, Reason: fmt.Sprintf("a second entry %s stands in its place: it was put in", s.Entry.ID)})
			if !out[n-1].Genuine() {
				out[n-1] = s
			}
			continue
		}
		out = append(out, s)
	}
	if len(unplaced) == 0 {
		return out, nil
	}
	last, err := x.placeOf(ctx, x.Checkpoint.Size-1)
	if err != nil {
		return nil, err
	}
	for i := range unplaced {
		if placed(&unplaced[i]).compare(last) <= 0 {
			x.strays = append(x.strays, audit.Fault{Seq: x.Checkpoint.Size - 1, Reason: fmt.Sprintf("the entry %s stands in front of it and is not in the log: it was put in or altered", unplaced[i].ID)})
		}
	}
	return out, nil
}

// Strays are entries that searches by an id met and that are not in the log, although they stand before its end.
func (x *LogReader) Strays() []audit.Fault { return x.strays }

// At reads the entry at one position; it does not compare it. ErrNotFound when the log is shorter or the entry may have
// been removed when its time was over; an *audit.Fault when it is missing before that.
func (x *LogReader) At(ctx context.Context, seq int64) (*audit.Sealed, error) {
	if seq < 0 || seq >= x.Checkpoint.Size {
		return nil, store.ErrNotFound
	}
	positions, err := readPositions(ctx, x.q, seq, 1)
	if err != nil {
		return nil, store.Unavailable("read a position", err)
	}
	if len(positions) == 0 || positions[0].seq != seq {
		return nil, fmt.Errorf("%w: position %d is missing", store.ErrTampered, seq)
	}
	p := positions[0]
	entries, err := queryEntries(ctx, x.q, entrySelect+"WHERE xid = $1 AND id = $2 AND at = $3", p.at.xid, [16]byte(p.at.id), p.time.Time())
	if err != nil {
		return nil, store.Unavailable("read an entry", err)
	}
	if len(entries) == 0 {
		return nil, absentAt(&p)
	}
	out := &audit.Sealed{Seq: seq, At: p.time, Leaf: p.leaf, Others: len(entries) - 1}
	for i := range entries { // of several rows in one place, the one that was sealed
		if out.Entry == nil || !out.Genuine() {
			out.Entry = &entries[i]
		}
	}
	return out, nil
}

// absentAt judges a position without an entry. What is older than everything must be kept may have been removed.
func absentAt(p *position) error {
	if p.time.Time().After(time.Now().AddDate(-5, 0, 0)) {
		return &audit.Fault{Seq: p.seq, Reason: fmt.Sprintf("the entry %s is missing, or its time was altered", p.at.id)}
	}
	return store.ErrNotFound
}

// Prove makes the proof that an entry is in the log as of the checkpoint.
func (x *LogReader) Prove(ctx context.Context, seq int64) ([]audit.Hash, error) {
	path, err := audit.ProveInclusion(stored{ctx, x.q}, seq, x.Checkpoint.Size)
	return path, store.Unavailable("prove", stored{}.judge(err))
}

// Checkpoints reads all signed notes up to the checkpoint, that one last.
func (x *LogReader) Checkpoints(ctx context.Context) ([][]byte, error) {
	rows, _ := x.q.Query(ctx, "SELECT "+noteAndLines+" FROM log_checkpoint c WHERE c.size <= $1 ORDER BY c.size", x.Checkpoint.Size)
	notes, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) ([]byte, error) {
		n, err := readCosigned(row)
		return n.text, err
	})
	return notes, store.Unavailable("read checkpoints", err)
}

// IdlePeriods lists stretches between two instants in which nothing was committed that is in the log as of the checkpoint; short
// ones may be missing, and those around may be among them.
func (x *LogReader) IdlePeriods(ctx context.Context, from, to time.Time) ([]timing.IdlePeriod, error) {
	still := &idlePeriods{instants: func(ctx context.Context, from, to time.Time) (pgx.Rows, error) {
		return x.q.Query(ctx, "SELECT at FROM log_position WHERE at > $1 AND at < $2 AND seq < $3 ORDER BY at", from, to, x.Checkpoint.Size)
	}}
	idle, err := still.within(ctx, x.Checkpoint.At.Time())(from, to)
	return idle, store.Unavailable("look for standstills", err)
}

// Unheard lists the entries in the log, between two instants, that name periods of which receipts are unknown.
func (x *LogReader) Unheard(ctx context.Context, from, to time.Time) ([]history.Fact, error) {
	entries, err := queryEntries(ctx, x.q, unheardSQL, from, to)
	if err != nil {
		return nil, store.Unavailable("read periods without receipts", err)
	}
	slices.SortFunc(entries, func(a, b audit.Entry) int { return placed(&a).compare(placed(&b)) })
	positions, err := findPositions(ctx, x.q, entries, x.Checkpoint.Size)
	if err != nil {
		return nil, store.Unavailable("find positions", err)
	}
	found, err := x.sealed(ctx, entries, positions)
	if err != nil {
		return nil, store.Unavailable("find positions", err)
	}
	facts := make([]history.Fact, len(found))
	for i := range found {
		e := found[i].Entry
		if reason := found[i].Reason(); reason != "" {
			return nil, &audit.Fault{Seq: found[i].Seq, Reason: reason}
		}
		facts[i] = history.FactOf(e)
	}
	return facts, nil
}

// CheckpointAt reads the newest checkpoint that was signed at or before a time; ErrNoCheckpoint when none was.
func (l *Log) CheckpointAt(ctx context.Context, at time.Time) (audit.SignedHead, error) {
	// Sizes and times rise together, so the search is by halves over sizes that exist.
	var low, high int64
	if err := l.query.QueryRow(ctx, "SELECT coalesce(min(size), 0), coalesce(max(size), 0) FROM log_checkpoint").Scan(&low, &high); err != nil {
		return audit.SignedHead{}, store.Unavailable("find a checkpoint", err)
	}
	var found int64
	for low > 0 && low <= high {
		var size int64
		var signed audit.Instant // which may be infinite in a row that was put in
		err := l.query.QueryRow(ctx, "SELECT size, at FROM log_checkpoint WHERE size >= $1 ORDER BY size LIMIT 1", low+(high-low)/2).Scan(store.Columns(&size, &signed)...)
		if err != nil {
			return audit.SignedHead{}, store.Unavailable("find a checkpoint", err)
		}
		if signed > audit.At(at) {
			high = low + (high-low)/2 - 1
		} else {
			found, low = size, size+1
		}
	}
	if found == 0 {
		return audit.SignedHead{}, store.ErrNoCheckpoint
	}
	return l.Checkpoint(ctx, found)
}

// Checkpoint reads the checkpoint of a size, 0 for the newest; ErrNoCheckpoint when there is none.
func (l *Log) Checkpoint(ctx context.Context, size int64) (audit.SignedHead, error) {
	h, err := readHead(ctx, l.query, size)
	return h, store.Unavailable("read a checkpoint", err)
}

// Registration is what is registered of a client beside the log; the log does not seal its name. Zero when there is none.
func (x *LogReader) Registration(ctx context.Context, client notice.ClientID) (out notice.Initiator, err error) {
	out.Client = client
	err = x.q.QueryRow(ctx, "SELECT name, organisation_id FROM initiator WHERE client_id = $1", client).Scan(&out.Name, &out.OrganisationID)
	if errors.Is(err, pgx.ErrNoRows) {
		return out, nil
	}
	return out, store.Unavailable("read a registration", err)
}
