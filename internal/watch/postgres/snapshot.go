package postgres

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/arauto/arauto/internal/watch"
)

// Bounds of what is handed over at once.
const (
	mostRecords = 200     // intake's largest shared commit
	mostBytes   = 1 << 20 // of their text
)

// snapshot reads the rows that are there, as of the very point from which the slot streams, and makes the slot when all
// of them are committed on our side. A replica that dies before begins again: what is told twice differs in nothing that
// anybody is told of.
//
// The last row's revision is the position from which the slot reads the log. Every change the slot will ever tell lies above
// it: the decoder has read nothing from before. Every change that was told by an earlier slot lies below it. See loader.number
// for the other rows'.
func (s *session) snapshot(ctx context.Context, connection *pgconn.PgConn, tables map[string]*table) error {
	if err := s.load(ctx, connection, tables, s.options.Tables); err != nil {
		return err
	}
	slot := loading(s.config.Slot)
	_, err := connection.Exec(ctx, "SELECT pg_copy_logical_replication_slot('"+slot+"', '"+s.config.Slot+"')").ReadAll()
	if err != nil {
		return s.explain(fmt.Errorf("make slot %s of %s: %w", s.config.Slot, slot, err))
	}
	return dropSlot(ctx, connection, slot)
}

// load makes the slot that loading names, and hands over the rows of the tables named, in the snapshot that fits it. When
// it returns, all of them are committed on our side, and no table was changed meanwhile so that rows were passed over.
func (s *session) load(ctx context.Context, connection *pgconn.PgConn, tables map[string]*table, names []string) error {
	slot := loading(s.config.Slot)
	if err := dropSlot(ctx, connection, slot); err != nil {
		return err
	}
	before, err := s.lookAtMembership(ctx, s.followed)
	if err != nil {
		return err
	}
	s.state.phase("waiting for the transactions that are open to end, to create the slot")
	made, err := pglogrepl.CreateReplicationSlot(ctx, connection, slot, "pgoutput", pglogrepl.CreateReplicationSlotOptions{SnapshotAction: "EXPORT_SNAPSHOT"})
	s.state.phase("")
	if err != nil {
		return s.explain(fmt.Errorf("create slot %s: %w", slot, err))
	}
	reader, err := s.dial(ctx, "snapshot", map[string]string{"cursor_tuple_fraction": "0.001"})
	if err != nil {
		return err
	}
	defer closeConnection(reader)
	_, err = reader.Exec(ctx, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT '"+made.SnapshotName+"'").ReadAll()
	if err != nil {
		return fmt.Errorf("enter the snapshot: %w", err)
	}
	if err := s.hold(ctx, reader, before, tables, names); err != nil {
		return err
	}
	state, err := s.findSlot(ctx, slot)
	if err != nil {
		return err
	}
	if state == nil {
		return fmt.Errorf("slot %s went away", slot)
	}
	s.log.InfoContext(ctx, "reading the rows that are there", "tables", names)
	s.state.phase("reading the rows that are there")
	defer s.state.phase("")
	load := &loader{session: s, reader: reader, revision: state.restart}
	if load.at, err = load.begun(ctx); err != nil {
		return err
	}
	if err := load.number(ctx, tables, names); err != nil {
		return err
	}
	for _, name := range names {
		if t := tables[name]; t != nil {
			if err := load.read(ctx, t); err != nil {
				return fmt.Errorf("read the rows of %s: %w", name, err)
			}
		}
	}
	if err := load.wait(ctx); err != nil {
		return err
	}
	if now, err := s.lookAtMembership(ctx, s.followed); err != nil {
		return err
	} else if found, err := s.gaps(ctx, s.followed, now); err != nil {
		return err
	} else if len(found) > 0 {
		return fmt.Errorf("%s: %w", found[0].text, errChanged)
	}
	s.log.InfoContext(ctx, "the rows that were there are read", "rows", load.rows)
	return nil
}

// hold keeps the tables from being rewritten, truncated or dropped while they are read: a snapshot does not protect from
// that, the table would be read as empty. It refuses tables to which that happened before the lock.
func (s *session) hold(ctx context.Context, reader *pgconn.PgConn, before *membership, tables map[string]*table, names []string) error {
	for _, name := range names {
		if t := tables[name]; t != nil {
			// Not LOCK TABLE, for which a grant on columns would not do.
			if _, err := reader.Exec(ctx, "SELECT "+t.selected()+" FROM "+t.sql()+" LIMIT 0").ReadAll(); code(err) == "42703" || code(err) == "42P01" {
				return fmt.Errorf("%s: %w: %w", name, errChanged, err)
			} else if err != nil {
				return fmt.Errorf("keep %s as it is while it is read: %w", name, err)
			}
		}
	}
	now, err := s.lookAtMembership(ctx, s.followed)
	if err != nil {
		return err
	}
	if !s.unmoved(before, now, names) {
		return errChanged
	}
	return nil
}

// loader reads tables within the snapshot.
type loader struct {
	*session
	reader   *pgconn.PgConn
	revision pglogrepl.LSN // from which the slot reads the log
	at       time.Time     // when the rows were as they are, by the core's clock
	before   int64         // the revision below the first row's, where each row has its own; 0: all have the slot's
	rows     int
	open     sync.WaitGroup // batches that are not done
}

// begun asks when the transaction of the snapshot began.
func (l *loader) begun(ctx context.Context) (time.Time, error) {
	told, err := l.reader.Exec(ctx, "SELECT (extract(epoch FROM now()) * 1000000)::bigint").ReadAll()
	if err != nil {
		return time.Time{}, fmt.Errorf("ask for the time of the snapshot: %w", err)
	}
	micros, err := strconv.ParseInt(string(told[0].Rows[0][0]), 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("ask for the time of the snapshot: %w", err)
	}
	return time.UnixMicro(micros).UTC(), nil
}

// number gives each row a revision of its own, in the order in which rows are read: two rows of one table may be two states
// of one payment. They count up to the position from which the slot reads, so the first one's is lower by the number of
// rows; a log is longer in bytes than its database has rows. Where an earlier slot told changes, that might lie below what
// is stored, and a row would count as old: then all rows have the slot's position, and a table with several rows of one
// resource needs `revision` in its mapping.
func (l *loader) number(ctx context.Context, tables map[string]*table, names []string) error {
	if l.known != nil {
		l.log.WarnContext(ctx, "rows that are read again share one revision: a table with several rows of one resource needs `revision` in its mapping")
		return nil
	}
	total := int64(0)
	for _, name := range names {
		t := tables[name]
		if t == nil {
			continue
		}
		counted, err := l.reader.Exec(ctx, "SELECT count(*) FROM "+t.sql()).ReadAll()
		if err != nil {
			return fmt.Errorf("count the rows of %s: %w", name, err)
		}
		n, err := strconv.ParseInt(string(counted[0].Rows[0][0]), 10, 64)
		if err != nil {
			return fmt.Errorf("count the rows of %s: %w", name, err)
		}
		total += n
	}
	if l.before = int64(l.revision) - total; l.before < 1 {
		l.log.WarnContext(ctx, "the database has more rows than its log has bytes, so rows share one revision: a table with several rows of one resource needs `revision` in its mapping")
		l.before = 0
	}
	return nil
}

// next is the revision of the row that is read as the nth of its table, from 0.
func (l *loader) next(n int) int64 {
	if l.before == 0 {
		return int64(l.revision)
	}
	return min(l.before+int64(l.rows)+int64(n)+1, int64(l.revision))
}

// read hands over the rows of a table in the order of the primary key, through a cursor.
func (l *loader) read(ctx context.Context, t *table) error {
	query := "DECLARE arauto NO SCROLL CURSOR FOR SELECT " + t.selected() + " FROM " + t.sql()
	if len(t.primary) > 0 {
		query += " ORDER BY " + strings.Join(quotedColumns(t.primary), ", ")
	}
	if _, err := l.reader.Exec(ctx, query).ReadAll(); err != nil {
		return err
	}
	for {
		n, err := l.fetch(ctx, t)
		if err != nil {
			return err
		}
		if l.rows += n; n == 0 {
			_, err := l.reader.Exec(ctx, "CLOSE arauto").ReadAll()
			return err
		}
	}
}

// selected lists the table's columns for a SELECT.
func (t *table) selected() string {
	columns := make([]string, len(t.columns))
	for i, c := range t.columns {
		columns[i] = c.Name
	}
	return strings.Join(quotedColumns(columns), ", ")
}

// fetch hands over the cursor's next rows. The server waits with what does not fit the connection's buffers.
func (l *loader) fetch(ctx context.Context, t *table) (n int, err error) {
	rows := l.reader.ExecParams(ctx, "FETCH 2000 FROM arauto", nil, nil, nil, nil)
	defer func() {
		if _, closed := rows.Close(); err == nil {
			err = closed
		}
	}()
	s, err := l.shape(ctx, rows.FieldDescriptions())
	if err != nil {
		return 0, err
	}
	s.table = t.name
	for i, name := range s.names {
		if slices.Contains(t.primary, name) {
			s.keys = append(s.keys, i)
		}
	}
	var batch []watch.SourceRecord
	size := 0
	for rows.NextRow() {
		row := rows.Values()
		batch = append(batch, watch.SourceRecord{
			Table: t.name, Op: watch.Snapshot, Values: s.values(row), Key: s.key(row),
			Revision: l.next(n), Position: "snapshot " + position(l.revision), ReadAt: l.at,
		})
		for _, text := range row {
			size += len(text)
		}
		n++
		if len(batch) == mostRecords || size >= mostBytes {
			if err := l.take(ctx, batch); err != nil {
				return n, err
			}
			batch, size = nil, 0
		}
	}
	if len(batch) > 0 {
		return n, l.take(ctx, batch)
	}
	return n, nil
}

func (l *loader) take(ctx context.Context, batch []watch.SourceRecord) error {
	l.open.Add(1)
	l.Reader.rows.Add(int64(len(batch)))
	if err := l.to.Take(ctx, batch, l.open.Done); err != nil {
		return fmt.Errorf("hand over %d rows: %w", len(batch), err)
	}
	return nil
}

// wait returns when all that was handed over is done.
func (l *loader) wait(ctx context.Context) error {
	done := make(chan struct{})
	go func() { l.open.Wait(); close(done) }()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-done:
		return nil
	}
}

// position writes a place in the log as PostgreSQL does.
func position(at pglogrepl.LSN) string {
	return strings.ToUpper(strconv.FormatUint(uint64(at>>32), 16) + "/" + strconv.FormatUint(uint64(uint32(at)), 16))
}
