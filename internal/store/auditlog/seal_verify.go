package auditlog

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/store"
)

// walkBatch is how many positions are held in memory at once while the log is walked. Only tests change it.
var walkBatch int64 = 5000

// position is one row of the positions.
type position struct {
	seq  int64
	at   cursor
	time audit.Instant
	leaf audit.Hash
}

// Verify verifies the whole log of the database that the URL names, with the log's public key alone. The user needs SELECT.
// It ends with what is sealed when it arrives there, and holds a snapshot for one window at a time. anchored are checkpoints
// that were kept outside the database. A wrong log is an *audit.Fault; any other error means that it could not be read.
func Verify(ctx context.Context, url string, key ed25519.PublicKey, anchored []audit.Checkpoint) (audit.VerifiedLog, error) {
	conn, err := auditConn(ctx, url)
	if err != nil {
		return audit.VerifiedLog{}, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	w := &verification{db: conn, key: key, v: &audit.Verifier{}, last: before}
	verdict, err := w.run(ctx, anchored)
	var fault *audit.Fault
	if err != nil && !errors.As(err, &fault) {
		return audit.VerifiedLog{}, store.Unavailable("verify", err)
	}
	return verdict, err
}

// auditConn connects for reading the log as the user that the URL names.
func auditConn(ctx context.Context, url string) (*pgx.Conn, error) {
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, store.ErrURL
	}
	cfg.ConnectTimeout = 5 * time.Second
	cfg.RuntimeParams["search_path"] = store.Schema
	cfg.RuntimeParams["timezone"] = "UTC"
	cfg.RuntimeParams["application_name"] = "arauto audit"
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, store.Unavailable("connect", err)
	}
	if err := store.ExpectOwnSchema(ctx, conn); err != nil {
		_ = conn.Close(ctx)
		return nil, err
	}
	return conn, nil
}

// verification is one walk through the log, or through a part of it. Each window has a short snapshot of its own: what is
// sealed never changes, so windows fit together, and vacuum and the sealer wait for one window at most.
type verification struct {
	db     Reader
	key    ed25519.PublicKey
	v      *audit.Verifier
	last   cursor // the last position walked
	end    int64  // the walk ends before this position; 0: with the last one there is
	gentle bool   // rest after each window for as long as it took

	sealed   func(e *audit.Entry, leaf audit.Hash) // is told each entry that is what was sealed; nil: nobody
	complete []made                                // not compared with the stored ones yet
	ahead    leftovers                             // what the last window found behind the last position

	elsewhere map[int64]audit.Checkpoint // that are anchored and were not met here yet, by size
}

// made is a subtree as the entries make it.
type made struct {
	subtree
	hash audit.Hash
}

func (w *verification) run(ctx context.Context, anchored []audit.Checkpoint) (audit.VerifiedLog, error) {
	if err := w.registered(ctx); err != nil {
		return audit.VerifiedLog{}, err
	}
	if err := w.v.Expect(anchored...); err != nil {
		return audit.VerifiedLog{}, err
	}
	w.elsewhere = map[int64]audit.Checkpoint{}
	for _, c := range anchored {
		w.elsewhere[c.Size] = c
	}
	if err := w.walk(ctx); err != nil {
		return audit.VerifiedLog{}, w.v.Earliest(err)
	}
	verdict, err := w.v.Finish()
	if err != nil {
		return verdict, err
	}
	if err := w.kept(); err != nil {
		return verdict, err
	}
	if err := w.excess(); err != nil {
		return verdict, err
	}
	if err := verdict.AsOf(time.Now()); err != nil {
		return verdict, err
	}
	verdict.Unsealed, verdict.Oldest = w.ahead.unsealed, w.ahead.oldest
	if n := w.ahead.unbegun; n > 0 {
		return verdict, &audit.Fault{Seq: w.v.Size(), Reason: fmt.Sprintf("%d entries claim transactions that have not begun: they were put in or altered", n)}
	}
	return verdict, nil
}

// registered refuses a log without a registered key, and one whose registered key is not the verifier's.
func (w *verification) registered(ctx context.Context) error {
	var key []byte
	err := w.db.QueryRow(ctx, "SELECT public FROM log_key").Scan(&key)
	if errors.Is(err, pgx.ErrNoRows) {
		return &audit.Fault{Reason: "no key is registered for the log of this database, so nothing was sealed; register one with arauto audit register"}
	}
	if err != nil {
		return err
	}
	if !w.key.Equal(ed25519.PublicKey(key)) {
		return &audit.Fault{Reason: fmt.Sprintf("the key given is of the log %s, and the registered key of this database is of the log %s", audit.Origin(w.key), audit.Origin(key))}
	}
	return nil
}

// stretch is what one window shows of the log.
type stretch struct {
	positions   []position
	entries     []audit.Entry
	checkpoints []storedNote
	nodes       map[subtree]audit.Hash // that these positions complete
	last        bool                   // there are no further positions
	ahead       leftovers              // of the last one
	err         error
}

// leftovers are what lies behind the last position.
type leftovers struct {
	unsealed int64 // entries
	oldest   audit.Instant
	unbegun  int64    // of them, entries of transactions that have not begun: the sealer would not reach them for years
	excess   *subtree // a stored subtree that the positions do not fill; nil: none
}

// storedNote is a checkpoint as it is stored.
type storedNote struct {
	size   int64
	signed string
}

// subtree is a place of a stored level of the tree.
type subtree struct {
	level int
	n     int64
}

// walk compares stretch by stretch. The next one is read while one is hashed, which takes the two about as long.
func (w *verification) walk(ctx context.Context) error {
	w.v.Complete, w.v.Public = w.completed, w.key
	ctx, cancel := context.WithCancel(ctx)
	stretches := make(chan *stretch)
	defer func() { // the connection is ours again once the reader has ended
		cancel()
		for range stretches { // what was read ahead is not needed
		}
	}()
	go func() {
		defer close(stretches)
		w.read(ctx, stretches)
	}()
	for p := range stretches {
		if p.err != nil {
			return p.err
		}
		if err := w.expect(p.checkpoints); err != nil {
			return err
		}
		if err := w.batch(p); err != nil {
			return err
		}
		w.ahead = p.ahead
	}
	return ctx.Err()
}

// read hands over the log stretch by stretch until its end, an error, or the end of ctx.
func (w *verification) read(ctx context.Context, stretches chan<- *stretch) {
	seq, last := w.v.Size(), w.last
	for more := true; more; {
		limit := int(walkBatch)
		if w.end > 0 {
			limit = int(min(walkBatch, w.end-seq))
		}
		began := time.Now()
		p := &stretch{}
		p.err = w.window(ctx, func(q querier) error { return p.fill(ctx, q, seq, last, limit) })
		if n := len(p.positions); p.err == nil && n > 0 {
			seq, last = seq+int64(n), p.positions[n-1].at
		}
		more = p.err == nil && !p.last && seq != w.end
		select {
		case stretches <- p:
		case <-ctx.Done():
			return
		}
		if more && w.gentle && rest(ctx, time.Since(began)) != nil {
			return
		}
	}
}

// window reads something in one short snapshot.
func (w *verification) window(ctx context.Context, read func(querier) error) error {
	tx, err := w.db.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // it only read
	if _, err := tx.Exec(ctx, windowTimeout); err != nil {
		return err
	}
	return read(tx)
}

// windowTimeout bounds one statement of a window, which takes some milliseconds unless the machine is very busy.
const windowTimeout = "SET LOCAL statement_timeout = '60s'"

// fill reads what there is from a position on, and after the place of the one before; of the last positions there are,
// also what lies behind them.
func (p *stretch) fill(ctx context.Context, q querier, seq int64, last cursor, limit int) (err error) {
	if p.positions, err = readPositions(ctx, q, seq, limit); err != nil {
		return err
	}
	n := int64(len(p.positions))
	p.last = len(p.positions) < limit
	if n > 0 {
		if p.entries, err = readEntries(ctx, q, last, p.positions[n-1].at, int(2*walkBatch)); err != nil {
			return err
		}
		if p.nodes, err = readNodes(ctx, q, seq, seq+n); err != nil {
			return err
		}
		last = p.positions[n-1].at
	}
	if !p.last {
		p.checkpoints, err = readNotes(ctx, q, seq, n)
		return err
	}
	if p.checkpoints, err = readNotes(ctx, q, seq, 0); err != nil {
		return err
	}
	return p.ahead.read(ctx, q, seq+n, last)
}

// read looks behind the positions of a log of a size, the last of which is given.
func (l *leftovers) read(ctx context.Context, q querier, size int64, last cursor) error {
	var s subtree
	err := q.QueryRow(ctx, "SELECT level, n FROM log_node WHERE n >= $1::bigint >> level LIMIT 1", size).Scan(&s.level, &s.n)
	switch {
	case err == nil:
		l.excess = &s
	case !errors.Is(err, pgx.ErrNoRows):
		return err
	}
	return q.QueryRow(ctx, `SELECT count(*), min(at), count(*) FILTER (WHERE xid >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint)
FROM entry WHERE xid >= $1 AND (xid, id) > ($1, $2)`, last.xid, [16]byte(last.id)).Scan(store.Columns(&l.unsealed, &l.oldest, &l.unbegun)...)
}

// readNotes reads the checkpoints that n positions after a size reach; where n is 0, all that are left.
func readNotes(ctx context.Context, q querier, size, n int64) ([]storedNote, error) {
	return store.All(ctx, q, func(c *storedNote) []any { return []any{&c.size, &c.signed} },
		"SELECT size, note FROM log_checkpoint WHERE size > $1 AND ($2 = 0 OR size <= $1 + $2) ORDER BY size", size, n)
}

// readNodes reads the stored subtrees that become complete as the tree grows from one size to another.
func readNodes(ctx context.Context, q querier, from, to int64) (map[subtree]audit.Hash, error) {
	var levels []int16
	var numbers []int64
	for level := audit.TileLevels; to>>level > 0; level += audit.TileLevels {
		for n := from >> level; n < to>>level; n++ {
			levels, numbers = append(levels, int16(level)), append(numbers, n)
		}
	}
	rows, _ := q.Query(ctx, "SELECT level, n, hash FROM log_node JOIN unnest($1::smallint[], $2::bigint[]) AS k(level, n) USING (level, n)", levels, numbers)
	out := make(map[subtree]audit.Hash, len(levels))
	var s subtree
	var h []byte
	_, err := pgx.ForEachRow(rows, []any{&s.level, &s.n, &h}, func() error {
		out[s] = audit.Hash{}
		if len(h) == len(audit.Hash{}) { // no other is the hash of anything
			out[s] = audit.Hash(h)
		}
		return nil
	})
	return out, err
}

// expect announces the checkpoints that the next positions reach; after the last position, all that are left.
func (w *verification) expect(notes []storedNote) error {
	for _, stored := range notes {
		c, err := audit.OpenCheckpoint([]byte(stored.signed), w.key)
		if err != nil {
			return &audit.Fault{Seq: stored.size - 1, Reason: fmt.Sprintf("the checkpoint of %d entries: %v", stored.size, err)}
		}
		if c.Size != stored.size {
			return &audit.Fault{Seq: stored.size - 1, Reason: fmt.Sprintf("the checkpoint stored for %d entries was signed for %d", stored.size, c.Size)}
		}
		delete(w.elsewhere, stored.size)
		if err := w.v.Expect(c); err != nil {
			return err
		}
	}
	return nil
}

// kept refuses a log that lacks a checkpoint which an anchor has: each is stored before it is carried anywhere.
func (w *verification) kept() error {
	maps.DeleteFunc(w.elsewhere, func(_ int64, c audit.Checkpoint) bool { return w.v.Admitted(c) })
	if len(w.elsewhere) == 0 {
		return nil
	}
	size := slices.Min(slices.Collect(maps.Keys(w.elsewhere)))
	return &audit.Fault{Seq: size - 1, Reason: fmt.Sprintf("the checkpoint of %d entries was anchored and is not in the database", size)}
}

// batch compares positions with the entries between the last one and theirs: both are in the order of (xid, id).
func (w *verification) batch(read *stretch) error {
	entries := read.entries
	for i := range read.positions {
		p := &read.positions[i]
		if err := w.inOrder(p); err != nil {
			return err
		}
		if len(entries) > 0 {
			at := cursor{entries[0].XID, entries[0].ID}
			switch c := at.compare(p.at); {
			case c < 0:
				return &audit.Fault{Seq: p.seq, Reason: fmt.Sprintf("the entry %s in front of it is not in the log: it was put in or altered", at.id)}
			case c == 0:
				if err := w.entry(&entries[0], p); err != nil {
					return err
				}
				entries = entries[1:]
				continue
			}
		}
		if err := w.missing(p); err != nil {
			return err
		}
	}
	if len(entries) > 0 { // all that was read stands at or before the last position
		last := &read.positions[len(read.positions)-1]
		return &audit.Fault{Seq: last.seq, Reason: fmt.Sprintf("a second entry %s stands in its place: it was put in", entries[0].ID)}
	}
	return w.nodes(read.nodes)
}

func (w *verification) inOrder(p *position) error {
	if p.seq != w.v.Size() {
		return &audit.Fault{Seq: w.v.Size(), Reason: fmt.Sprintf("its position is missing: the next one is %d", p.seq)}
	}
	if w.last.compare(p.at) >= 0 {
		return &audit.Fault{Seq: p.seq, Reason: "its position is out of order"}
	}
	w.last = p.at
	return nil
}

// entry compares an entry with its position. A wrong leaf is told at once: it names the very entry.
func (w *verification) entry(e *audit.Entry, p *position) error {
	leaf, err := w.v.AddEntry(e)
	if leaf != p.leaf || e.At != p.time {
		return &audit.Fault{Seq: p.seq, Reason: fmt.Sprintf("the entry %s is not what was sealed", e.ID)}
	}
	if err != nil {
		return err
	}
	if reason := e.PrivateFault(); reason != "" {
		return &audit.Fault{Seq: p.seq, Reason: fmt.Sprintf("the entry %s: %s", e.ID, reason)}
	}
	if w.sealed != nil {
		w.sealed(e, leaf)
	}
	return nil
}

// missing takes the position of an entry that is not there. Within the time for which everything is kept that is wrong
// in itself; what is older is held against the log's own record of removals in the end.
func (w *verification) missing(p *position) error {
	if p.time.Time().After(time.Now().AddDate(-5, 0, 0)) {
		return &audit.Fault{Seq: p.seq, Reason: fmt.Sprintf("the entry %s is missing", p.at.id)}
	}
	return w.v.AddRemoved(p.time, p.leaf)
}

// completed keeps the subtrees that the entries complete, where the log stores that level.
func (w *verification) completed(level int, n int64, h audit.Hash) {
	if level > 0 && level%audit.TileLevels == 0 {
		w.complete = append(w.complete, made{subtree{level, n}, h})
	}
}

// nodes compares the stored subtrees that became complete with what the entries make of them; leaves were compared one by
// one.
func (w *verification) nodes(stored map[subtree]audit.Hash) error {
	for _, s := range w.complete {
		switch have, there := stored[s.subtree]; {
		case !there:
			return &audit.Fault{Seq: s.n << s.level, Reason: "the stored tree lacks the subtree that begins here"}
		case have != s.hash:
			return &audit.Fault{Seq: s.n << s.level, Reason: "the stored tree has another hash for the subtree that begins here"}
		}
	}
	w.complete = w.complete[:0]
	return nil
}

// excess refuses subtrees that are not complete yet: the sealer would stumble over them.
func (w *verification) excess() error {
	s := w.ahead.excess
	if s == nil {
		return nil
	}
	return &audit.Fault{Seq: min(s.n<<s.level, w.v.Size()), Reason: "the stored tree has a subtree that the log does not reach"}
}

// readPositions reads positions from one on.
func readPositions(ctx context.Context, q querier, from int64, limit int) ([]position, error) {
	return store.All(ctx, q, positionPlaces, "SELECT seq, xid, id, at, leaf FROM log_position WHERE seq >= $1 ORDER BY seq LIMIT $2", from, limit)
}

func positionPlaces(p *position) []any { return []any{&p.seq, &p.at.xid, &p.at.id, &p.time, &p.leaf} }

// RegisterLogKey makes a public key the key of a database's log, as the user that the URL names. ErrWrongKey when another one
// is registered already.
func RegisterLogKey(ctx context.Context, url string, key ed25519.PublicKey) error {
	conn, err := auditConn(ctx, url)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	registered, err := registerKey(ctx, conn, key)
	if err == nil && !key.Equal(ed25519.PublicKey(registered)) {
		err = store.ErrWrongKey
	}
	return err
}
