package postgres

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/arauto/arauto/internal/watch"
)

// Facts are what the catalog says of a table, for a person who writes its mapping.
type Facts struct {
	Columns    []watch.Column
	Primary    []string            // columns of the primary key
	Nullable   map[string]bool     // columns that may be null
	References []Reference         // foreign keys of one column
	Values     map[string][]string // of columns whose type is an enum, or that a CHECK holds to a list of texts
	Listed     bool                // in the publication
	SQL        string              // its name for statements, with its schema
}

// Reference is a foreign key of one column.
type Reference struct {
	Column string
	Table  string // the other table, as a mapping names it
	Of     string // its column
}

// Facts reads the catalog about a table. The table is named as in a mapping.
func (r *Reader) Facts(ctx context.Context, name string) (*Facts, error) {
	found, err := r.lookUp(ctx, []string{name})
	if err != nil {
		return nil, err
	}
	t := found[name]
	switch {
	case t == nil:
		return nil, r.noTable(ctx, name)
	case !t.readable():
		return nil, r.unreadable(t)
	}
	f := &Facts{Columns: t.columns, Primary: t.primary, Nullable: map[string]bool{}, Values: map[string][]string{}, Listed: t.listed, SQL: t.sql()}
	for _, ask := range []func(context.Context, *table, *Facts) error{r.nullable, r.references, r.labels, r.checks} {
		if err := ask(ctx, t, f); err != nil {
			return nil, fmt.Errorf("read the catalog about %s: %w", name, err)
		}
	}
	return f, nil
}

// each asks the catalog about a table, and calls do after each row was scanned into what is given.
func (r *Reader) each(ctx context.Context, t *table, sql string, into []any, do func()) error {
	ctx, cancel := context.WithTimeout(ctx, soon)
	defer cancel()
	pool, err := r.pool(ctx)
	if err != nil {
		return err
	}
	rows, _ := pool.Query(ctx, sql, t.id)
	_, err = pgx.ForEachRow(rows, into, func() error { do(); return nil })
	return err
}

func (r *Reader) nullable(ctx context.Context, t *table, f *Facts) error {
	var column string
	return r.each(ctx, t, `SELECT attname FROM pg_attribute WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped AND NOT attnotnull`,
		[]any{&column}, func() { f.Nullable[column] = true })
}

func (r *Reader) references(ctx context.Context, t *table, f *Facts) error {
	var one Reference
	return r.each(ctx, t, `
		SELECT a.attname, CASE WHEN pg_table_is_visible(o.oid) THEN o.relname ELSE n.nspname || '.' || o.relname END, b.attname
		FROM pg_constraint c
		JOIN pg_class o ON o.oid = c.confrelid JOIN pg_namespace n ON n.oid = o.relnamespace
		JOIN pg_attribute a ON a.attrelid = c.conrelid AND c.conkey = ARRAY[a.attnum]
		JOIN pg_attribute b ON b.attrelid = c.confrelid AND c.confkey = ARRAY[b.attnum]
		WHERE c.conrelid = $1 AND c.contype = 'f' ORDER BY a.attnum`,
		[]any{&one.Column, &one.Table, &one.Of}, func() { f.References = append(f.References, one) })
}

func (r *Reader) labels(ctx context.Context, t *table, f *Facts) error {
	var column, label string
	return r.each(ctx, t, `
		SELECT a.attname, e.enumlabel FROM pg_attribute a JOIN pg_enum e ON e.enumtypid = a.atttypid
		WHERE a.attrelid = $1 AND NOT a.attisdropped ORDER BY a.attnum, e.enumsortorder`,
		[]any{&column, &label}, func() { f.Values[column] = append(f.Values[column], label) })
}

// listed is a CHECK that holds a column to a list, as the server prints one: (x = ANY (ARRAY['A'::text, 'B'::text])).
var listed = regexp.MustCompile(`^CHECK \(+[^']*= ANY \(+ARRAY\[('[^\]]*)\]`)

var quoted = regexp.MustCompile(`'((?:[^']|'')*)'`)

func (r *Reader) checks(ctx context.Context, t *table, f *Facts) error {
	var column, check string
	return r.each(ctx, t, `
		SELECT a.attname, pg_get_constraintdef(c.oid) FROM pg_constraint c JOIN pg_attribute a ON a.attrelid = c.conrelid AND c.conkey = ARRAY[a.attnum]
		WHERE c.conrelid = $1 AND c.contype = 'c' ORDER BY c.oid`,
		[]any{&column, &check}, func() {
			list := listed.FindStringSubmatch(check)
			if list == nil || f.Values[column] != nil {
				return
			}
			for _, one := range quoted.FindAllStringSubmatch(list[1], -1) {
				f.Values[column] = append(f.Values[column], strings.ReplaceAll(one[1], "''", "'"))
			}
		})
}
