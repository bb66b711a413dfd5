package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// newestPages is how many of the last pages of a table are looked at for its newest rows. A table may be too large to be read
// as a whole; new rows are mostly written at its end.
const newestPages = 64

// Newest implements watch.Sampler. It reads the last pages of the table, or of its newest partition that has rows there, and
// any rows where those pages have none. Rows are ordered by the age of the transaction that wrote them.
func (r *Reader) Newest(ctx context.Context, name string, most int) ([]map[string]any, error) {
	found, err := r.lookUp(ctx, []string{name})
	if err != nil {
		return nil, err
	}
	t := found[name]
	if t == nil {
		return nil, r.noTable(ctx, name)
	}
	ends, err := r.ends(ctx, t)
	if err != nil {
		return nil, err
	}
	columns := make([]string, len(t.columns))
	for i, c := range t.columns {
		columns[i] = pgx.Identifier{c.Name}.Sanitize()
	}
	if len(columns) == 0 {
		return nil, nil
	}
	read := "SELECT " + strings.Join(columns, ", ") + " FROM " + t.sql()
	limit := " LIMIT " + strconv.Itoa(most)
	for _, e := range ends {
		where := fmt.Sprintf(" WHERE tableoid = %d AND ctid >= '(%d,0)' ORDER BY age(xmin)", e.part, max(0, e.pages-newestPages))
		if rows, err := r.sample(ctx, read+where+limit); err != nil || len(rows) > 0 {
			return rows, err
		}
	}
	return r.sample(ctx, read+limit)
}

// end is where a table, or one of its partitions, ends.
type end struct {
	part  uint32
	pages int64
}

// ends lists the partitions of a table that have pages, the one that was made last first.
func (r *Reader) ends(ctx context.Context, t *table) ([]end, error) {
	ctx, cancel := context.WithTimeout(ctx, soon)
	defer cancel()
	pool, err := r.pool(ctx)
	if err != nil {
		return nil, err
	}
	rows, _ := pool.Query(ctx, `SELECT oid, pg_relation_size(oid) / current_setting('block_size')::bigint FROM pg_class WHERE oid = ANY($1) AND relkind = 'r' ORDER BY oid DESC`, t.parts)
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (e end, err error) { return e, row.Scan(&e.part, &e.pages) })
	if err != nil {
		return nil, fmt.Errorf("look up the sizes of %s: %w", t.name, err)
	}
	return slices.DeleteFunc(all, func(e end) bool { return e.pages == 0 }), nil
}

// sample reads rows as the stream would tell them.
func (r *Reader) sample(ctx context.Context, statement string) ([]map[string]any, error) {
	batch := &pgconn.Batch{}
	batch.ExecParams(statement, nil, nil, nil, nil)
	results, err := r.query(ctx, batch, nil)
	if err != nil {
		return nil, fmt.Errorf("read rows: %w", err)
	}
	if len(results) != 1 {
		return nil, errors.New("read rows: the server sent no result")
	}
	s, err := r.shape(ctx, results[0].FieldDescriptions)
	if err != nil {
		return nil, err
	}
	rows := make([]map[string]any, len(results[0].Rows))
	for i, row := range results[0].Rows {
		rows[i] = s.values(row)
	}
	return rows, nil
}
