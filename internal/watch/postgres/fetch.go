package postgres

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/arauto/arauto/internal/watch"
)

func sqlName(schema, name string) string { return pgx.Identifier{schema, name}.Sanitize() }

// unfetched is a record that lacks columns: large values, stored out of line, are not told when an update leaves them as
// they were. They are read from the row as it is committed now. If the row was changed again meanwhile, its next record
// follows with a revision of its own; if it is gone, watch.Missing stays.
type unfetched struct {
	at      int // in the chunk's records
	rel     *relation
	columns []int
	key     [][]byte // of the row, in the order of rel.keys; nil: the table has none
}

func (rel *relation) unfetched(at int, columns []int, row [][]byte) unfetched {
	u := unfetched{at: at, rel: rel, columns: columns}
	for _, k := range rel.keys {
		u.key = append(u.key, append([]byte{}, row[k]...))
	}
	return u
}

// sql reads the missing columns of one row.
func (u *unfetched) sql() string {
	var columns, keys []string
	for _, c := range u.columns {
		columns = append(columns, pgx.Identifier{u.rel.names[c]}.Sanitize())
	}
	for i, k := range u.rel.keys {
		keys = append(keys, pgx.Identifier{u.rel.names[k]}.Sanitize()+" = $"+strconv.Itoa(i+1))
	}
	return "SELECT " + strings.Join(columns, ", ") + " FROM " + u.rel.sql + " WHERE " + strings.Join(keys, " AND ")
}

// fill fetches what the records of a chunk lack.
func (r *Reader) fill(ctx context.Context, c *chunk) error {
	if len(c.fetch) == 0 {
		return nil
	}
	batch := &pgconn.Batch{}
	var asked []unfetched
	for _, u := range c.fetch {
		if u.key != nil {
			batch.ExecParams(u.sql(), u.key, nil, nil, nil)
			asked = append(asked, u)
		}
	}
	if len(asked) == 0 {
		return nil
	}
	rows, err := r.query(ctx, batch, []uint32{c.xid})
	if code(err) == "42703" || code(err) == "42P01" {
		r.log.WarnContext(ctx, "large values cannot be fetched: the table has changed since", "error", err)
		return nil // they stay missing, and go to quarantine where the mapping needs them
	}
	if err != nil {
		return fmt.Errorf("fetch large values that an update left as they were: %w", err)
	}
	for i, u := range asked {
		if len(rows[i].Rows) != 1 {
			continue
		}
		values := c.records[u.at].Values
		for j, column := range u.columns {
			values[u.rel.names[column]] = nil
			if text := rows[i].Rows[0][j]; text != nil {
				values[u.rel.names[column]] = u.rel.forms[column].value(text)
			}
		}
	}
	return nil
}

// unseen are the transactions handed over of late. The log tells of a transaction when its commit is written, a moment
// before others can see its rows, and longer where the commit waits for a standby. A reader that fetches rows because of a
// record must not read the time before it.
type unseen struct {
	mu   sync.Mutex
	last []uint32
}

// mostUnseen bounds the list: transactions older than so many are visible.
const mostUnseen = 1024

func (u *unseen) add(c *chunk) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if n := len(u.last); n > 0 && u.last[n-1] == c.xid {
		return
	}
	if len(u.last) >= 2*mostUnseen {
		u.last = append(u.last[:0], u.last[mostUnseen:]...)
	}
	u.last = append(u.last, c.xid)
}

func (u *unseen) take() []uint32 {
	u.mu.Lock()
	defer u.mu.Unlock()
	taken := u.last
	u.last = nil
	return taken
}

// putBack keeps what was not found visible.
func (u *unseen) putBack(xids []uint32) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.last = append(xids, u.last...)
}

// query runs a batch of statements with a view of the database in which the given transactions are committed.
func (r *Reader) query(ctx context.Context, batch *pgconn.Batch, xids []uint32) ([]*pgconn.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, soon)
	defer cancel()
	pool, err := r.pool(ctx)
	if err != nil {
		return nil, err
	}
	connection, err := pool.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer connection.Release()
	for wait := 200 * time.Microsecond; len(xids) > 0; wait *= 2 {
		visible, err := r.visible(ctx, connection.Conn().PgConn(), xids)
		if err != nil {
			return nil, err
		}
		if visible {
			break
		}
		if err := pause(ctx, min(wait, 50*time.Millisecond)); err != nil {
			return nil, fmt.Errorf("wait until the transaction can be seen: %w", err)
		}
	}
	return connection.Conn().PgConn().ExecBatch(ctx, batch).ReadAll()
}

// visible reports whether all the transactions are committed in the eyes of others. The log names a transaction by the
// lower half of its number; the upper one is that of the newest transaction, or the one before or after, whichever is
// nearer: a transaction that cannot be seen yet may well have a higher number than all that can.
func (r *Reader) visible(ctx context.Context, connection *pgconn.PgConn, xids []uint32) (bool, error) {
	list := make([]string, len(xids))
	for i, xid := range xids {
		list[i] = strconv.FormatUint(uint64(xid), 10)
	}
	result := connection.ExecParams(ctx, `
		WITH now AS MATERIALIZED (SELECT pg_current_snapshot() AS s),
		top AS MATERIALIZED (SELECT pg_snapshot_xmax(s)::text::bigint AS x FROM now)
		SELECT coalesce(bool_and(pg_visible_in_snapshot(
			(((x >> 32) + CASE WHEN xid - (x & 4294967295) > 2147483648 THEN -1 WHEN xid - (x & 4294967295) < -2147483648 THEN 1 ELSE 0 END << 32)
				+ xid)::text::xid8, s)), true)
		FROM now, top, unnest(string_to_array($1, ',')::bigint[]) AS xid`, [][]byte{[]byte(strings.Join(list, ","))}, nil, nil, nil).Read()
	if result.Err != nil {
		return false, fmt.Errorf("ask whether a transaction can be seen: %w", result.Err)
	}
	return string(result.Rows[0][0]) == "t", nil
}

// Find implements watch.Reader: it sees at least what the records handed over so far saw. A key that cannot be one of
// the column's type finds nothing.
func (r *Reader) Find(ctx context.Context, l watch.Lookup) (map[string]map[string]any, error) {
	xids := r.unseen.take()
	found, err := r.find(ctx, l, xids)
	if err != nil {
		r.unseen.putBack(xids)
	}
	if code(err) != "22P02" && code(err) != "22003" {
		return found, err
	}
	found = map[string]map[string]any{}
	if len(l.Keys) == 1 {
		return found, nil
	}
	for _, key := range l.Keys { // one of them is no uuid, say
		one, err := r.Find(ctx, watch.Lookup{Table: l.Table, Column: l.Column, Keys: []string{key}})
		if err != nil {
			return nil, err
		}
		maps.Copy(found, one)
	}
	return found, nil
}

func (r *Reader) find(ctx context.Context, l watch.Lookup, xids []uint32) (map[string]map[string]any, error) {
	batch := &pgconn.Batch{}
	batch.ExecParams("SELECT * FROM "+identifier(l.Table).Sanitize()+" WHERE "+pgx.Identifier{l.Column}.Sanitize()+" = ANY($1)",
		[][]byte{arrayOf(l.Keys)}, nil, nil, nil)
	results, err := r.query(ctx, batch, xids)
	if err != nil {
		return nil, fmt.Errorf("find rows of %s by %s: %w", l.Table, l.Column, err)
	}
	s, err := r.shape(ctx, results[0].FieldDescriptions)
	if err != nil {
		return nil, err
	}
	by := slices.Index(s.names, l.Column)
	found := map[string]map[string]any{}
	for _, row := range results[0].Rows {
		found[string(row[by])] = s.values(row)
	}
	return found, nil
}

// arrayOf writes an array as text, whose elements the server reads as the column's type.
func arrayOf(elements []string) []byte {
	b := []byte{'{'}
	for i, e := range elements {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, '"')
		for j := range len(e) {
			if e[j] == '"' || e[j] == '\\' {
				b = append(b, '\\')
			}
			b = append(b, e[j])
		}
		b = append(b, '"')
	}
	return append(b, '}')
}
