package postgres

import (
	"cmp"
	"context"
	stdbinary "encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/arauto/arauto/internal/watch"
)

// slotStream follows one slot: a goroutine reads, decodes and fills chunks, another tells the server how far we are, also
// while nobody takes the chunks.
type slotStream struct {
	*Reader
	parts *relations
	limit *confirmLimit // of what may be confirmed; nil: none

	wire     net.Conn
	frontend *pgproto3.Frontend
	chunks   chan *chunk // closed when the lane has ended in order
	held     *chunk      // taken from chunks, and put back
	progress ackProgress
	cut      *cut // where the fast lane takes over
	isFast   bool

	ask   chan struct{} // the server wants an answer
	heard atomic.Int64  // messages received
	stuck atomic.Bool   // nobody takes our chunks
	ended atomic.Bool   // by us, in order

	relations map[uint32]*relation
	now       begin // the transaction being read
	inside    bool
	skip      bool // it is not ours to tell
	filling   *chunk
	change    change
	nth       nth
}

// nth counts the rows of one log record. A statement that writes many rows (COPY, INSERT of many rows) writes them in one
// record, at one position.
type nth struct {
	at   pglogrepl.LSN
	rows int64 // of the record, before the present one
}

// revision returns the revision of the next row of the record at a position: the position, plus the row's place in the
// record. Invariant: a record occupies more bytes of the log than it has rows (a row of XLOG_HEAP2_MULTI_INSERT takes at
// least 7, SizeOfMultiInsertTuple), so the revision lies below the position of the next record. A record is always decoded
// as a whole and in order, so the same row has the same revision each time it is told.
func (n *nth) revision(at pglogrepl.LSN) int64 {
	if n.at != at {
		*n = nth{at: at}
	}
	n.rows++
	return int64(at) + n.rows - 1
}

// chunk is a piece of one transaction.
type chunk struct {
	records []watch.SourceRecord
	shapes  []*relation // of the records
	fetch   []unfetched
	xid     uint32
	commit  time.Time
	size    int
}

// relation is a table as the stream describes it.
type relation struct {
	shape
	id      uint32 // of the table or the partition
	columns []watch.Column
	sql     string // its name in statements
	ours    bool
}

// depth is how many chunks wait between the stream and the taker.
const depth = 16

func newLane(r *Reader, tables map[string]*table) *slotStream {
	l := &slotStream{Reader: r, parts: newParts(tables), cut: &cut{}}
	l.open()
	return l
}

// newFast makes the fast lane beside a main one.
func newFast(main *slotStream) *slotStream {
	l := &slotStream{Reader: main.Reader, parts: main.parts, cut: main.cut, isFast: true}
	l.open()
	return l
}

func (l *slotStream) open() {
	l.chunks, l.ask, l.relations = make(chan *chunk, depth), make(chan struct{}, 1), map[uint32]*relation{}
}

// start begins to stream and takes the connection over.
func (l *slotStream) start(ctx context.Context, connection *pgconn.PgConn, slot string, from pglogrepl.LSN) error {
	name := strings.ReplaceAll(`"`+l.config.Publication+`"`, "'", "''")
	err := pglogrepl.StartReplication(ctx, connection, slot, from, pglogrepl.StartReplicationOptions{
		Mode:       pglogrepl.LogicalReplication,
		PluginArgs: []string{"proto_version '1'", "publication_names '" + name + "'"},
	})
	if code(err) == "55006" {
		return fmt.Errorf("%w (%w)", watch.ErrElsewhere, err)
	}
	if code(err) == "55000" {
		return fmt.Errorf("%w: %w", ErrLost, err)
	}
	if err != nil {
		return err
	}
	hijacked, err := connection.Hijack()
	if err != nil {
		return err
	}
	l.wire, l.frontend = hijacked.Conn, hijacked.Frontend
	return nil
}

// run reads until ctx ends, the server does, or we have what we wanted (nil).
func (l *slotStream) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	reported := make(chan struct{})
	go func() {
		defer close(reported)
		cancel(l.report(ctx))
	}()
	err := l.receive(ctx)
	if l.ended.Load() {
		err = nil
	} else if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	cancel(nil)
	<-reported
	if err == nil {
		close(l.chunks)
	}
	return err
}

// report tells the server our position regularly and when asked. It closes the connection at the end, after a last
// word, so that a successor has little to hear again.
func (l *slotStream) report(ctx context.Context) error {
	defer l.wire.Close()
	tick := time.NewTicker(l.config.StatusInterval)
	defer tick.Stop()
	var heard int64
	silent := time.Now()
	for {
		if n := l.heard.Load(); n != heard || l.stuck.Load() {
			heard, silent = n, time.Now()
		}
		if time.Since(silent) > 2*patience {
			return fmt.Errorf("the database was silent for %s", 2*patience)
		}
		if err := l.tell(ctx.Err() == nil); err != nil {
			return fmt.Errorf("tell the position: %w", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-l.ask:
		}
	}
}

// position is what may be acknowledged.
func (l *slotStream) position() pglogrepl.LSN { return l.limit.of(l.done()) }

// done is the position before which everything was taken and done.
func (l *slotStream) done() pglogrepl.LSN {
	acked, _ := l.progress.state()
	if !l.isFast {
		acked = l.cut.limit(acked)
	}
	return acked
}

// tell sends one status update, and asks for an answer so that a dead server is noticed.
func (l *slotStream) tell(answer bool) error {
	at := uint64(l.position())
	message := make([]byte, 0, 39)
	message = append(message, 'd', 0, 0, 0, 38, pglogrepl.StandbyStatusUpdateByteID)
	for range 3 { // written, flushed, applied
		message = stdbinary.BigEndian.AppendUint64(message, at)
	}
	message = stdbinary.BigEndian.AppendUint64(message, uint64(time.Now().UnixMicro()-y2k))
	if answer {
		message = append(message, 1)
	} else {
		message = append(message, 0)
	}
	if err := l.wire.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	_, err := l.wire.Write(message)
	return err
}

// receive reads messages until the connection ends.
func (l *slotStream) receive(ctx context.Context) error {
	for {
		message, err := l.frontend.Receive()
		if err != nil {
			return fmt.Errorf("read the log: %w", err)
		}
		l.heard.Add(1)
		switch m := message.(type) {
		case *pgproto3.CopyData:
			if err := l.data(ctx, m.Data); err != nil || l.ended.Load() {
				return err
			}
		case *pgproto3.ErrorResponse:
			return fmt.Errorf("read the log: %w", pgconn.ErrorResponseToPgError(m))
		case *pgproto3.CopyDone:
			return errors.New("read the log: the database ended the stream")
		default: // notices and parameters
		}
	}
}

// data reads one message of the replication protocol.
func (l *slotStream) data(ctx context.Context, data []byte) error {
	c := &byteCursor{rest: data}
	switch c.uint8() {
	case pglogrepl.PrimaryKeepaliveMessageByteID:
		at := c.lsn()
		c.time()
		if c.uint8() == 1 {
			select {
			case l.ask <- struct{}{}:
			default:
			}
		}
		if err := c.end("keepalive"); err != nil {
			return err
		}
		if !l.inside {
			l.progress.reach(at)
			if !l.isFast {
				l.cut.mainIdle(at, l.progress.idle())
			}
		}
		return nil
	case pglogrepl.XLogDataByteID:
		at := c.lsn()
		c.lsn()
		c.time()
		return l.message(ctx, at, c)
	}
	return nil
}

// message reads one message of pgoutput.
func (l *slotStream) message(ctx context.Context, at pglogrepl.LSN, c *byteCursor) error {
	var err error
	switch kind := c.uint8(); kind {
	case 'B':
		if l.now, err = readBegin(c); err == nil {
			l.inside, l.nth = true, nth{}
			var mine bool
			mine, err = l.mine(ctx, l.now.final)
			l.skip = !mine
		}
	case 'C':
		var end pglogrepl.LSN
		if end, err = readCommit(c); err == nil {
			err = l.commit(ctx, end)
		}
	case 'R':
		var d described
		if d, err = readRelation(c); err == nil {
			err = l.describe(ctx, d)
		}
	case 'I', 'U', 'D':
		if l.skip {
			return nil
		}
		if err = l.change.read(c); err == nil {
			err = l.row(ctx, at, kind)
		}
	case 'T':
		if !l.skip {
			err = l.truncated(ctx, at, c)
		}
	default: // types, origins, logical messages
	}
	if errors.Is(err, ErrGap) {
		err = &stop{l.now.final, err}
	}
	if err != nil {
		return fmt.Errorf("at %s of the log: %w", cmp.Or(at, l.now.final), err)
	}
	return nil
}

// mine reports whether a transaction is this lane's to hand over. Main waits before it takes over from fast, which goes on
// meanwhile.
func (l *slotStream) mine(ctx context.Context, final pglogrepl.LSN) (bool, error) {
	if l.isFast {
		return l.cut.fastBegins(final), nil
	}
	defer l.stuck.Store(false)
	for {
		mine, decided := l.cut.mainBegins(final, l.progress.idle())
		if decided {
			return mine, nil
		}
		l.stuck.Store(true)
		if err := pause(ctx, beforeTakingOver); err != nil {
			return false, err
		}
	}
}

// beforeTakingOver is how often main looks whether what it told is done.
const beforeTakingOver = 5 * time.Millisecond

// commit hands the rest of a transaction over.
func (l *slotStream) commit(ctx context.Context, end pglogrepl.LSN) error {
	l.inside = false
	filled := l.filling
	l.filling = nil
	if filled != nil {
		l.progress.add(filled.commit)
	}
	if l.isFast && l.skip {
		l.ended.Store(true) // the main lane has it
		return nil
	}
	l.progress.reach(end)
	if filled != nil {
		if err := l.send(ctx, filled); err != nil {
			return err
		}
	}
	if l.isFast && l.cut.fastEnds() {
		l.ended.Store(true)
	}
	return nil
}

func (l *slotStream) send(ctx context.Context, c *chunk) error {
	select {
	case l.chunks <- c:
		return nil
	default:
	}
	l.stuck.Store(true)
	defer l.stuck.Store(false)
	select {
	case l.chunks <- c:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// describe takes a table's description over.
func (l *slotStream) describe(ctx context.Context, d described) error {
	rel := &relation{id: d.id}
	l.relations[d.id] = rel
	t, err := l.tableOf(ctx, d)
	if err != nil || t == nil {
		return err
	}
	if d.name != t.path[1] && d.id == t.id {
		l.log.WarnContext(ctx, "a table has another name now: the mapping must follow before the next start", "table", t.name, "now", d.name)
	}
	rel.ours, rel.table, rel.sql = true, t.name, sqlName(d.schema, d.name)
	for i, c := range d.columns {
		f, err := l.form(ctx, c.oid)
		if err != nil {
			return err
		}
		rel.names, rel.forms = append(rel.names, c.name), append(rel.forms, f)
		if d.identity == 'f' && slices.Contains(t.primary, c.name) || d.identity != 'f' && c.key {
			rel.keys = append(rel.keys, i)
		}
	}
	rel.columns = rel.described()
	return nil
}

// row makes records of a change.
func (l *slotStream) row(ctx context.Context, at pglogrepl.LSN, kind byte) error {
	ch := &l.change
	rel := l.relations[ch.relation]
	if rel == nil {
		return fmt.Errorf("a row of relation %d, which was not described", ch.relation)
	}
	if !rel.ours {
		l.unlisted.Add(1)
		return nil
	}
	for _, t := range []*tuple{&ch.old, &ch.new} {
		if (t == &ch.old && ch.before != 0 || t == &ch.new && ch.after) && len(t.what) != len(rel.names) {
			return fmt.Errorf("a row of %s with %d columns instead of %d", rel.table, len(t.what), len(rel.names))
		}
	}
	revision := l.nth.revision(at)
	op := watch.Update
	switch {
	case kind == 'I':
		op = watch.Insert
	case kind == 'D' || !ch.after:
		op = watch.Delete
	}
	if op == watch.Delete || rel.moved(ch) {
		gone := l.record(at, rel, watch.Delete, rel.key(ch.old.text))
		gone.Values, gone.Revision = rel.before(ch), revision
		if err := l.put(ctx, rel, gone, 0); err != nil {
			return err
		}
	}
	if op == watch.Delete {
		return nil
	}
	missing := rel.complete(ch)
	values := rel.values(ch.new.text)
	for _, m := range missing {
		values[rel.names[m]] = watch.Missing{}
	}
	size := 0
	for _, text := range ch.new.text {
		size += len(text)
	}
	written := l.record(at, rel, op, rel.key(ch.new.text))
	written.Values, written.Revision = values, revision
	if err := l.put(ctx, rel, written, size); err != nil {
		return err
	}
	if len(missing) > 0 {
		l.filling.fetch = append(l.filling.fetch, rel.unfetched(len(l.filling.records)-1, missing, ch.new.text))
	}
	return nil
}

// record begins the record of a row of the transaction that is read; values and revision are the caller's to add.
func (l *slotStream) record(at pglogrepl.LSN, rel *relation, op watch.Op, key string) watch.SourceRecord {
	return watch.SourceRecord{Table: rel.table, Op: op, Key: key, Position: position(at), CommittedAt: l.now.commit}
}

// put adds a record to the chunk, after handing over a full one. size is the length of its text in bytes.
func (l *slotStream) put(ctx context.Context, rel *relation, record watch.SourceRecord, size int) error {
	if c := l.filling; c != nil && (len(c.records) == mostRecords || c.size >= mostBytes || c.clashes(rel)) {
		l.progress.add(c.commit)
		l.filling = nil
		if err := l.send(ctx, c); err != nil {
			return err
		}
	}
	if l.filling == nil {
		l.filling = &chunk{xid: l.now.xid, commit: l.now.commit}
	}
	c := l.filling
	if !slices.Contains(c.shapes, rel) {
		c.shapes = append(c.shapes, rel)
	}
	c.size += size
	c.records = append(c.records, record)
	return nil
}

// clashes reports whether the chunk has rows of the same table in another shape.
func (c *chunk) clashes(rel *relation) bool {
	return slices.ContainsFunc(c.shapes, func(other *relation) bool {
		return other != rel && other.table == rel.table && !slices.Equal(other.columns, rel.columns)
	})
}

// moved reports whether an update changed the row's key: under its old key the row is gone.
func (rel *relation) moved(ch *change) bool {
	if ch.before == 0 || !ch.after {
		return false
	}
	return slices.ContainsFunc(rel.keys, func(k int) bool {
		return ch.new.what[k] == isText && ch.old.what[k] == isText && string(ch.new.text[k]) != string(ch.old.text[k])
	})
}

// before are the values known of a row that is gone: the key, or everything with REPLICA IDENTITY FULL.
func (rel *relation) before(ch *change) map[string]any {
	values := map[string]any{}
	for i, name := range rel.names {
		switch {
		case ch.old.what[i] == isText:
			values[name] = rel.forms[i].value(ch.old.text[i])
		case ch.before == 'O':
			values[name] = nil
		}
	}
	return values
}

// complete takes what the new row leaves out from the old one, and returns the columns that neither has.
func (rel *relation) complete(ch *change) (missing []int) {
	for i, what := range ch.new.what {
		if what != isUnchanged {
			continue
		}
		if ch.before == 'O' && ch.old.what[i] != isUnchanged || ch.before == 'K' && ch.old.what[i] == isText {
			ch.new.what[i], ch.new.text[i] = ch.old.what[i], ch.old.text[i]
		} else {
			missing = append(missing, i)
		}
	}
	return missing
}
