package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"

	"github.com/arauto/arauto/internal/watch"
)

// table is one the mapping names, as the catalog has it now.
type table struct {
	name     string // as the mapping names it
	id       uint32
	path     pgx.Identifier // schema and name
	identity byte           // d, f, i or n, as in described
	primary  []string       // columns of the primary key; empty: there is none
	columns  []watch.Column // those the stream carries
	parts    []uint32       // partitions, and the table itself
	owned    bool           // we have its owner's rights
	listed   bool           // in the publication

	selectable  bool // we may SELECT
	schemaOpen  bool // we have USAGE on its schema
	partitioned bool
}

// readable reports whether we may read its rows.
func (t *table) readable() bool { return t.selectable && t.schemaOpen }

// sql is the table's name for statements.
func (t *table) sql() string { return t.path.Sanitize() }

// identifier is a table's name as the mapping writes it, for statements.
func identifier(name string) pgx.Identifier {
	if schema, rest, qualified := strings.Cut(name, "."); qualified {
		return pgx.Identifier{schema, rest}
	}
	return pgx.Identifier{name}
}

// quotedTables are tables' names for statements.
func quotedTables(names []string) []string {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = identifier(name).Sanitize()
	}
	return quoted
}

// quotedColumns are columns' names for statements.
func quotedColumns(names []string) []string {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = pgx.Identifier{name}.Sanitize()
	}
	return quoted
}

// tables looks up the mapping's tables. Those that are not there are missing from the map.
func (r *Reader) tables(ctx context.Context) (map[string]*table, error) {
	return r.lookUp(ctx, r.options.Tables)
}

func (r *Reader) lookUp(ctx context.Context, names []string) (map[string]*table, error) {
	ctx, cancel := context.WithTimeout(ctx, soon)
	defer cancel()
	pool, err := r.pool(ctx)
	if err != nil {
		return nil, err
	}
	rows, _ := pool.Query(ctx, selectTables, quotedTables(names), r.config.Publication)
	defer rows.Close()
	found := map[string]*table{}
	for rows.Next() {
		var (
			t            = &table{}
			at           int
			schema, name string
			identity     string
		)
		if err := rows.Scan(&at, &t.id, &schema, &name, &identity, &t.primary, &t.parts, &t.selectable, &t.schemaOpen, &t.owned, &t.listed, &t.partitioned); err != nil {
			return nil, fmt.Errorf("look up the tables: %w", err)
		}
		t.name, t.path, t.identity = names[at-1], pgx.Identifier{schema, name}, identity[0]
		found[t.name] = t
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("look up the tables: %w", r.unreached(err))
	}
	for _, t := range found {
		if t.columns, err = r.columns(ctx, t); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// askedID is the object id of the relation that asked.name, a name as SQL, means; null: there is none. to_regclass alone would end the
// whole query where the role may not use the schema that a name has.
const askedID = `(SELECT CASE WHEN cardinality(part) = 1 THEN to_regclass(asked.name)::oid
    ELSE (SELECT o.oid FROM pg_class o JOIN pg_namespace s ON s.oid = o.relnamespace WHERE s.nspname = part[1]::name AND o.relname = part[2]::name) END
  FROM parse_ident(asked.name) AS part)`

// A partitioned table is listed when it is itself, or when all its partitions are.
const selectTables = `
SELECT asked.at, c.oid, n.nspname, c.relname, c.relreplident::text,
       ARRAY(SELECT a.attname::text FROM pg_index i CROSS JOIN unnest(i.indkey) WITH ORDINALITY AS k(attnum, at)
             JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
             WHERE i.indrelid = c.oid AND i.indisprimary ORDER BY k.at),
       parts.ids,
       has_table_privilege(c.oid, 'SELECT'), has_schema_privilege(n.oid, 'USAGE'), pg_has_role(c.relowner, 'USAGE'),
       coalesce((SELECT c.oid = ANY(p.ids) OR c.relkind = 'p' AND NOT EXISTS (
                   SELECT FROM pg_partition_tree(c.oid) t WHERE t.isleaf AND NOT t.relid = ANY(p.ids))
                 FROM (SELECT coalesce(array_agg(m.oid), '{}') AS ids
                       FROM pg_publication_tables l JOIN pg_namespace s ON s.nspname = l.schemaname
                       JOIN pg_class m ON m.relnamespace = s.oid AND m.relname = l.tablename
                       WHERE l.pubname = $2) p), false),
       c.relkind = 'p'
FROM unnest($1::text[]) WITH ORDINALITY AS asked(name, at)
JOIN pg_class c ON c.oid = ` + askedID + `
JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (SELECT array_agg(DISTINCT id) AS ids
                    FROM (SELECT c.oid AS id UNION ALL SELECT relid FROM pg_partition_tree(c.oid)) t) parts
WHERE c.relkind IN ('r', 'p')`

// columns lists the columns of a table that the stream carries: those of the publication's list if it has one (PostgreSQL 15), and else
// all, stored generated ones only where the publication publishes them (PostgreSQL 18, where the list may name them too).
func (r *Reader) columns(ctx context.Context, t *table) ([]watch.Column, error) {
	pool, err := r.pool(ctx)
	if err != nil {
		return nil, err
	}
	rows, _ := pool.Query(ctx, selectColumns, t.id, r.config.Publication)
	type listed struct {
		name   string
		oid    uint32
		key    bool
		hidden bool // unless the publication's list names it
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (l listed, err error) {
		return l, row.Scan(&l.name, &l.oid, &l.key, &l.hidden)
	})
	if err != nil {
		return nil, fmt.Errorf("list the columns of %s: %w", t.name, err)
	}
	only, err := r.columnList(ctx, t)
	if err != nil {
		return nil, err
	}
	found := make([]watch.Column, 0, len(all))
	for _, l := range all {
		if only == nil && l.hidden || only != nil && !slices.Contains(only, l.name) {
			continue
		}
		f, err := r.form(ctx, l.oid)
		if err != nil {
			return nil, err
		}
		found = append(found, watch.Column{Name: l.name, Type: f.column(), Key: l.key})
	}
	return found, nil
}

const selectColumns = `
SELECT a.attname, a.atttypid, EXISTS (
         SELECT FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
         WHERE i.indrelid = a.attrelid AND a.attnum = ANY(i.indkey)
           AND CASE c.relreplident WHEN 'i' THEN i.indisreplident ELSE i.indisprimary END),
  a.attgenerated = 's' AND NOT EXISTS (SELECT FROM pg_publication p WHERE p.pubname = $2 AND to_jsonb(p) ->> 'pubgencols' = 's')
FROM pg_attribute a
WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated IN ('', 's')
ORDER BY a.attnum`

// columnList is the publication's list of columns for a table; nil: all.
func (r *Reader) columnList(ctx context.Context, t *table) ([]string, error) {
	var only []string
	row := r.queryRow(ctx, `
		SELECT array_agg(a.attname::text) FROM pg_publication p
		JOIN pg_publication_rel pr ON pr.prpubid = p.oid AND pr.prrelid = $1
		CROSS JOIN LATERAL regexp_matches(to_jsonb(pr)->>'prattrs', '\d+', 'g') AS number
		JOIN pg_attribute a ON a.attrelid = $1 AND a.attnum = number[1]::int
		WHERE p.pubname = $2`, t.id, r.config.Publication)
	if err := row.Scan(&only); err != nil {
		return nil, fmt.Errorf("read the publication's columns of %s: %w", t.name, err)
	}
	return only, nil
}

// Describe implements watch.Reader.
func (r *Reader) Describe(ctx context.Context, names []string) (map[string][]watch.Column, error) {
	found, err := r.lookUp(ctx, names)
	if err != nil {
		return nil, err
	}
	columns := make(map[string][]watch.Column, len(found))
	for name, t := range found {
		columns[name] = t.columns
	}
	return columns, nil
}

// catalog remembers the forms of the types that were looked up. A type's object id never gets another meaning while it
// is in use.
type catalog struct {
	mu    sync.Mutex
	forms map[uint32]*form
}

// form returns what becomes of values of a type.
func (r *Reader) form(ctx context.Context, oid uint32) (*form, error) {
	return r.formWithin(ctx, oid, 8)
}

// formWithin bounds how deep a type is built from others: domains over arrays of domains.
func (r *Reader) formWithin(ctx context.Context, oid uint32, depth int) (*form, error) {
	if f := forms[oid]; f != nil {
		return f, nil
	}
	r.types.mu.Lock()
	f := r.types.forms[oid]
	r.types.mu.Unlock()
	if f != nil || depth == 0 {
		return f, nil
	}
	var base, element uint32
	var delimiter string
	ctx, cancel := context.WithTimeout(ctx, soon)
	defer cancel()
	err := r.queryRow(ctx, `
		SELECT coalesce(max(typbasetype) FILTER (WHERE typtype = 'd'), 0),
		       coalesce(max(typelem) FILTER (WHERE typtype = 'b' AND typcategory = 'A' AND typlen = -1 AND oid NOT IN (22, 30)), 0),
		       coalesce(max(typdelim::text), ',')
		FROM pg_type WHERE oid = $1`, oid).Scan(&base, &element, &delimiter)
	if err != nil {
		return nil, fmt.Errorf("look up type %d: %w", oid, err)
	}
	switch f = (&form{}); {
	case base != 0:
		f, err = r.formWithin(ctx, base, depth-1)
	case element != 0:
		f.kind, f.comma = array, delimiter[0]
		f.element, err = r.formWithin(ctx, element, depth-1)
	}
	if err != nil {
		return nil, err
	}
	if f == nil || f.kind == array && f.element == nil {
		f = &form{} // built too deep: text
	}
	r.types.mu.Lock()
	defer r.types.mu.Unlock()
	if r.types.forms == nil {
		r.types.forms = map[uint32]*form{}
	}
	r.types.forms[oid] = f
	return f, nil
}
