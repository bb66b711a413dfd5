package auditlog

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/store"
)

// SealBatch is how many entries one sealing transaction takes at most. All of them are in memory at once, about 2.2 kB each.
const SealBatch = 4_000

// sealTimeout bounds each statement of a sealing transaction, and each of its steps but the check of what entries claim about
// the log itself. It is longer than other statements' time, since nobody waits for it.
const sealTimeout = 60 * time.Second

// SealStep tells what one sealing transaction did.
type SealStep struct {
	Busy       bool // another replica was at it: nothing was done
	Entries    int  // that got their position
	More       bool // entries are left that could be sealed at once
	Size       int64
	Checkpoint []byte // the newest signed note, nil before the first
	SealedAt   time.Time

	Horizon int64 // transactions of this database below it have ended; entries of others wait
	Newest  int64 // the next transaction to be

	// Strays counts entries that stand at or before the end of the log and have no position of their own: recent ones, and
	// those among the positions that were sealed last. They are never sealed: anybody who wrote them chose their transaction,
	// or used one id twice.
	Strays int64
}

// cursor is a place in the order of sealing.
type cursor struct {
	xid int64
	id  notice.ID
}

// before is the cursor in front of everything, rows that no transaction of PostgreSQL can have written included.
var before = cursor{xid: math.MinInt64}

// beyond is the cursor behind everything.
var beyond = cursor{xid: math.MaxInt64}

func (c cursor) compare(d cursor) int {
	if c.xid != d.xid {
		if c.xid < d.xid {
			return -1
		}
		return 1
	}
	return bytes.Compare(c.id[:], d.id[:])
}

// LogKey reads the registered public key of the log; nil when none is.
func (l *Log) LogKey(ctx context.Context) (ed25519.PublicKey, error) {
	var key []byte
	err := l.query.QueryRow(ctx, "SELECT public FROM log_key").Scan(&key)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	return key, store.Unavailable("read the log's key", err)
}

// RegisterLogKey makes a key the log's key unless there is one, and returns the one that is registered then.
func (l *Log) RegisterLogKey(ctx context.Context, key ed25519.PublicKey) (ed25519.PublicKey, error) {
	return registerKey(ctx, l.query, key)
}

func registerKey(ctx context.Context, db querier, key ed25519.PublicKey) (registered []byte, err error) {
	err = db.QueryRow(ctx, "SELECT register_log_key($1)", []byte(key)).Scan(&registered)
	return registered, store.Unavailable("register the log's key", err)
}

// Seal is T4 of the design: one transaction that gives a batch of entries their positions and writes the tree and its signed
// head. It takes only entries of transactions older than every running one of this database, in the order of (xid, id), so that
// no entry appears later before one that has its position. One replica seals at a time; another gets Busy.
//
// It reads the foundation of the new head again, which must give the root that was signed last, then what it wrote, which
// must give the new root, and compares what entries claim about the log itself with the database. A difference is
// ErrTampered, and nothing is signed.
//
// published are the newest checkpoints of this log that are known outside the database. The log must extend each of them or
// state its loss; otherwise the error is ErrSetBack, and nothing is signed.
func (l *Log) Seal(ctx context.Context, key *audit.Signer, published ...PublishedHead) (SealStep, error) {
	tx, err := l.query.Begin(ctx)
	if err != nil {
		return SealStep{}, store.Unavailable("begin to seal", err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // after a commit it does nothing
	w := &sealing{tx: tx, key: key, published: published}
	if looked := l.looked.Load(); looked != nil {
		w.counted = *looked
	}
	if err := w.run(ctx); err != nil {
		return SealStep{}, store.Unavailable("seal", err)
	}
	if err := w.within(ctx, sealTimeout, tx.Commit); err != nil {
		return SealStep{}, store.Unavailable("commit what was sealed", err)
	}
	l.looked.Store(&w.counted)
	if w.out.Entries > 0 {
		l.waits.add(w.last.Size, w.taken)
	}
	return w.out, nil
}

// sealing is one transaction of the sealer.
type sealing struct {
	tx     pgx.Tx
	key    *audit.Signer
	stored stored
	out    SealStep

	published []PublishedHead

	last audit.Checkpoint // the head so far
	from cursor           // the last sealed entry
	tree *audit.Range

	taken []audit.Entry // what is sealed, in order

	counted strayLook
}

// within runs a step of the transaction under a deadline of its own.
func (w *sealing) within(ctx context.Context, limit time.Duration, step func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	w.stored = stored{ctx, w.tx}
	return step(ctx)
}

func (w *sealing) run(ctx context.Context) error {
	var entries []audit.Entry
	err := w.within(ctx, sealTimeout, func(ctx context.Context) (err error) {
		entries, err = w.begin(ctx)
		return err
	})
	if err != nil || len(entries) == 0 {
		return err
	}
	if err := w.within(ctx, claimsTimeout, func(ctx context.Context) error { return w.claims(ctx, entries) }); err != nil {
		return err
	}
	return w.within(ctx, sealTimeout, func(ctx context.Context) error { return w.append(ctx, entries) })
}

// setSealTimeout bounds each statement of the transaction. Between them leaves are hashed and the head is signed, perhaps by another process.
var setSealTimeout = fmt.Sprintf("SET LOCAL statement_timeout = %d; %s", sealTimeout.Milliseconds(), store.LongPauses)

// begin looks whether anything may be sealed now, and takes the entries whose turn it is.
func (w *sealing) begin(ctx context.Context) ([]audit.Entry, error) {
	if _, err := w.tx.Exec(ctx, setSealTimeout); err != nil {
		return nil, err
	}
	var free bool
	if err := w.tx.QueryRow(ctx, "SELECT pg_try_advisory_xact_lock(hashtext('arauto.seal'))").Scan(&free); err != nil {
		return nil, err
	}
	if w.out.Busy = !free; w.out.Busy {
		return nil, nil
	}
	if err := w.checkKey(ctx); err != nil {
		return nil, err
	}
	if err := w.foundation(ctx); err != nil {
		return nil, err
	}
	if err := w.extend().check(ctx, w.published); err != nil {
		return nil, err
	}
	entries, err := w.take(ctx)
	if err != nil {
		return nil, err
	}
	if err := w.strays(ctx); err != nil {
		return nil, err
	}
	w.taken = w.distinct(entries)
	return w.taken, nil
}

func (w *sealing) checkKey(ctx context.Context) error {
	var registered []byte
	if err := w.tx.QueryRow(ctx, "SELECT public FROM log_key").Scan(&registered); err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return err
	}
	if !bytes.Equal(registered, w.key.Public()) {
		return store.ErrWrongKey
	}
	return nil
}

// foundation reads the last head, verifies its signature, and recomputes its root from what is stored.
func (w *sealing) foundation(ctx context.Context) error {
	w.from = before
	var signed string
	err := w.tx.QueryRow(ctx, "SELECT note FROM log_checkpoint ORDER BY size DESC LIMIT 1").Scan(&signed)
	if errors.Is(err, pgx.ErrNoRows) {
		w.tree = &audit.Range{}
		return w.nothingAfter(ctx)
	}
	if err != nil {
		return err
	}
	w.out.Checkpoint = []byte(signed)
	if w.last, err = audit.OpenCheckpoint(w.out.Checkpoint, w.key.Public()); err != nil {
		return fmt.Errorf("%w: %w", store.ErrTampered, err)
	}
	w.out.Size, w.out.SealedAt = w.last.Size, w.last.At.Time()
	if w.tree, err = audit.ReadRange(w.stored, w.last.Size); err != nil {
		return w.stored.judge(err)
	}
	if w.tree.Root() != w.last.Root {
		return fmt.Errorf("%w: the tree of %d entries has another root", store.ErrTampered, w.last.Size)
	}
	if w.from, err = placeBefore(ctx, w.tx, w.last.Size); err != nil {
		return err
	}
	if err := w.scrub(); err != nil {
		return err
	}
	return w.nothingAfter(ctx)
}

// nothingAfter refuses positions that no checkpoint covers: ours are committed together with theirs. It reads the end of the index: a plan
// for EXISTS with a bound that is not known may read the whole table.
func (w *sealing) nothingAfter(ctx context.Context) error {
	var more bool
	if err := w.tx.QueryRow(ctx, "SELECT coalesce(max(seq) >= $1, false) FROM log_position", w.last.Size).Scan(&more); err != nil {
		return err
	}
	if more {
		return fmt.Errorf("%w: there are positions from %d on that were never signed", store.ErrTampered, w.last.Size)
	}
	return nil
}

// scrub recomputes one stored subtree of each level, another at each sealing, so that damage is found which the new
// head does not depend on.
func (w *sealing) scrub() error {
	for level := audit.TileLevels; w.last.Size>>level > 0; level += audit.TileLevels {
		n := rand.Int64N(w.last.Size >> level)
		want, err := audit.Parent(w.stored, level, n)
		if err != nil {
			return w.stored.judge(err)
		}
		have, err := audit.Node(w.stored, level, n)
		if err != nil {
			return w.stored.judge(err)
		}
		if have != want {
			return fmt.Errorf("%w: the subtree of the entries from %d on has another root", store.ErrTampered, n<<level)
		}
	}
	return nil
}

// horizonSQL reads the oldest running transaction that may have written to this database, and the next transaction to be.
// The snapshot names the running transactions of the whole server. Only those are left out that a session of another database
// or a prepared transaction of another database has: a transaction that is in no list has just ended, and holds the horizon
// back until the next look. The list of sessions must be read after the snapshot: one that was read before can pair a session
// of another database with the transaction of a later session of ours in the same place.
const horizonSQL = `
WITH bounds AS MATERIALIZED (SELECT pg_current_snapshot() AS s), running AS MATERIALIZED (
  SELECT pg_snapshot_xmin(s) AS x FROM bounds UNION SELECT pg_snapshot_xip(s) FROM bounds
), elsewhere AS MATERIALIZED (
  SELECT a.backend_xid AS x FROM pg_stat_activity a JOIN pg_database d ON d.oid = a.datid WHERE a.backend_xid IS NOT NULL AND d.datname <> current_database()
  UNION ALL SELECT p.transaction FROM pg_prepared_xacts p WHERE p.database <> current_database()
)
SELECT coalesce((SELECT min(r.x::text::bigint) FROM running r WHERE r.x < pg_snapshot_xmax(s) AND NOT EXISTS (SELECT FROM elsewhere e WHERE e.x = r.x::xid)),
  pg_snapshot_xmax(s)::text::bigint), pg_snapshot_xmax(s)::text::bigint
FROM bounds`

// readHorizon reads up to where entries may be sealed.
func (w *sealing) readHorizon(ctx context.Context) error {
	if _, err := w.tx.Exec(ctx, "SELECT pg_stat_clear_snapshot()"); err != nil { // the list of sessions is read anew
		return err
	}
	return w.tx.QueryRow(ctx, horizonSQL).Scan(&w.out.Horizon, &w.out.Newest)
}

// take reads the entries whose turn it is, at most SealBatch, and costs the same however many wait. The horizon is read by a
// statement of its own, before the entries: what was over then is visible now.
func (w *sealing) take(ctx context.Context) ([]audit.Entry, error) {
	if err := w.readHorizon(ctx); err != nil {
		return nil, err
	}
	if w.out.Newest <= w.from.xid {
		return nil, fmt.Errorf("the database's transactions are at %d and the log at %d: it was restored into a younger server, whose counter must be brought forward first (pg_resetwal -e and -x)", w.out.Newest, w.from.xid)
	}
	entries, err := readNext(ctx, w.tx, w.from, cursor{w.out.Horizon, notice.ID{}}, SealBatch)
	w.out.More = len(entries) == SealBatch
	return entries, err
}

// append writes positions, subtrees and the new head, reads them again, and signs.
func (w *sealing) append(ctx context.Context, entries []audit.Entry) error {
	leaves := make([]audit.Hash, len(entries))
	var nodes [][]any
	var record []byte
	for i := range entries {
		record = entries[i].AppendRecord(record[:0], w.tree.Size())
		leaves[i] = audit.Leaf(record)
		w.tree.Append(leaves[i], func(level int, n int64, h audit.Hash) {
			if level > 0 && level%audit.TileLevels == 0 {
				nodes = append(nodes, []any{int16(level), n, bytes.Clone(h[:])})
			}
		})
	}
	_, err := w.tx.CopyFrom(ctx, pgx.Identifier{"log_position"}, []string{"seq", "xid", "id", "at", "leaf"}, positions(w.last.Size, entries, leaves))
	if err != nil {
		return err
	}
	if len(nodes) > 0 {
		if _, err := w.tx.CopyFrom(ctx, pgx.Identifier{"log_node"}, []string{"level", "n", "hash"}, pgx.CopyFromRows(nodes)); err != nil {
			return err
		}
	}
	if err := w.readBack(entries); err != nil {
		return err
	}
	return w.sign(ctx, len(entries))
}

// positions are the rows of entries from a position on. One row is filled again and again: the values of each would be ten objects.
func positions(from int64, entries []audit.Entry, leaves []audit.Hash) pgx.CopyFromSource {
	var seq, xid pgtype.Int8
	var id pgtype.UUID
	var at pgtype.Timestamptz
	var leaf bytesValue
	row := []any{&seq, &xid, &id, &at, &leaf}
	return pgx.CopyFromSlice(len(entries), func(i int) ([]any, error) {
		e := &entries[i]
		seq, xid = pgtype.Int8{Int64: from + int64(i), Valid: true}, pgtype.Int8{Int64: e.XID, Valid: true}
		id, at, leaf = pgtype.UUID{Bytes: e.ID, Valid: true}, pgtype.Timestamptz{Time: e.At.Time(), Valid: true}, leaves[i][:]
		return row, nil
	})
}

// bytesValue is bytea that is read where it lies.
type bytesValue []byte

// BytesValue is what pgx asks for.
func (b *bytesValue) BytesValue() ([]byte, error) { return *b, nil }

// readBack computes the records a second time and compares them with the positions as they were stored, and the new
// root with the one that the stored tree gives: a flipped bit is found before it is signed.
func (w *sealing) readBack(entries []audit.Entry) error {
	leaves, err := w.stored.Hashes(0, w.last.Size, w.tree.Size())
	if err != nil {
		return w.stored.judge(err)
	}
	if len(leaves) != len(entries) {
		return fmt.Errorf("%w: of %d positions just written %d are there", store.ErrTampered, len(entries), len(leaves))
	}
	var record []byte
	for i := range entries {
		seq := w.last.Size + int64(i)
		if record = entries[i].AppendRecord(record[:0], seq); audit.Leaf(record) != leaves[i] {
			return fmt.Errorf("%w: position %d was not stored as computed", store.ErrTampered, seq)
		}
	}
	again, err := audit.ReadRange(w.stored, w.tree.Size())
	if err != nil {
		return w.stored.judge(err)
	}
	if again.Root() != w.tree.Root() {
		return fmt.Errorf("%w: the tree just written has another root", store.ErrTampered)
	}
	return nil
}

func (w *sealing) sign(ctx context.Context, n int) error {
	var at time.Time
	asked := time.Now()
	if err := w.tx.QueryRow(ctx, "SELECT clock_timestamp()").Scan(&at); err != nil {
		return err
	}
	ours := asked.Add(time.Since(asked) / 2)
	c := audit.Checkpoint{Size: w.tree.Size(), Root: w.tree.Root(), At: audit.At(at), Skew: ours.Sub(at).Truncate(time.Microsecond)}
	signed, err := w.key.Sign(c)
	if err != nil {
		return err
	}
	if _, err := w.tx.Exec(ctx, "INSERT INTO log_checkpoint (size, at, note) VALUES ($1, $2, $3)", c.Size, at, string(signed)); err != nil {
		return err
	}
	w.out.Entries, w.out.Size, w.out.Checkpoint, w.out.SealedAt = n, c.Size, signed, at.UTC()
	return nil
}

// anchoredMargin is how much older than a checkpoint's time an entry may be that it does not cover yet: an entry's time
// is its transaction's beginning. Ours last seconds at most; and a month is only dropped when all of it is sealed.
const anchoredMargin = time.Hour

// anchoredCheckpoint is when the newest checkpoint that MarkAnchored was told of was signed. Zero: none.
func anchoredCheckpoint(through time.Time) time.Time {
	if through.IsZero() {
		return through
	}
	return through.Add(anchoredMargin)
}

// MarkAnchored notes that a checkpoint of that time is out of the database's reach; retention never passes it.
func (l *Log) MarkAnchored(ctx context.Context, checkpoint time.Time) error {
	_, err := l.query.Exec(ctx, "UPDATE seal_state SET anchored_through = greatest(anchored_through, $1)", checkpoint.Add(-anchoredMargin))
	return store.Unavailable("note that the log is anchored", err)
}
