package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/arauto/arauto/internal/watch"
)

// Convert makes of a row, given as JSON (to_jsonb of a row, say), the values that the stream would tell of it: the server
// reads the JSON as a row of the table and prints it, and the rest is what becomes of every row. Members that are no columns
// of the table stay as they are; columns that are not given stay away. It changes nothing. An error means that the server
// did not answer, that there is no such table, or that a value is none of its column's type.
func (r *Reader) Convert(ctx context.Context, name string, row map[string]any) (map[string]any, error) {
	found, err := r.lookUp(ctx, []string{name})
	if err != nil {
		return nil, err
	}
	t := found[name]
	if t == nil {
		return nil, r.noTable(ctx, name)
	}
	given, values := map[string]any{}, map[string]any{}
	var names []string
	for member, v := range row {
		if slices.ContainsFunc(t.columns, func(c watch.Column) bool { return c.Name == member }) {
			given[member], names = v, append(names, pgx.Identifier{member}.Sanitize())
		} else {
			values[member] = v
		}
	}
	if len(names) == 0 {
		return values, nil
	}
	slices.Sort(names)
	text, err := json.Marshal(given)
	if err != nil {
		return nil, fmt.Errorf("write the row as JSON: %w", err)
	}
	batch := &pgconn.Batch{}
	batch.ExecParams("SELECT "+strings.Join(names, ", ")+" FROM json_populate_record(NULL::"+t.sql()+", $1)", [][]byte{text}, nil, nil, nil)
	results, err := r.query(ctx, batch, nil)
	if err != nil {
		return nil, fmt.Errorf("read the row as one of %s: %w", name, err)
	}
	s, err := r.shape(ctx, results[0].FieldDescriptions)
	if err != nil {
		return nil, err
	}
	maps.Copy(values, s.values(results[0].Rows[0]))
	return values, nil
}
