// Package suggest writes a mapping to start from: it compares the names of a table's columns, of the rows beside it and of the newest
// row's JSON with the members of the API.
//
// What it writes can be read as a mapping. A member that must be there and was not found is `nil`, so that a row goes to quarantine
// and nothing wrong is told; a comment marks it TODO. What was inferred is marked "guess". Only states, which a mapping must name, are
// taken from rows; no other value of a row is written.
package suggest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/watch"
	"github.com/arauto/arauto/internal/watch/postgres"
	"github.com/arauto/arauto/openapi"
)

// Core is the database that is asked. A *postgres.Reader is one.
type Core interface {
	Facts(ctx context.Context, table string) (*postgres.Facts, error)
	Newest(ctx context.Context, table string, most int) ([]map[string]any, error)
}

// Wanted says for what a mapping is wanted.
type Wanted struct {
	Tables    []CoreTable
	Source    string // the source's name
	URLFile   string // file with the URL of the core's database, as the mapping will name it
	Zone      string // IANA name of the zone of the core's clock, for times without zone
	Namespace string // of the bank's URNs; "": not known
}

// CoreTable is one table of the core.
type CoreTable struct {
	Name string
	Kind ofb.Kind // 0: guess it from the name
}

// sampleRows is how many of the newest rows are looked at for values of the state.
const sampleRows = 200

// ErrNoKind means that a table was named without its kind, and that its name does not tell it.
var ErrNoKind = errors.New("the name does not tell the kind of resource")

// Mapping returns the text of a mapping, and how many of its lines are marked TODO. The error names a table that cannot be read, or
// whose kind cannot be guessed (ErrNoKind).
func Mapping(ctx context.Context, core Core, schemas *openapi.Schemas, req Wanted) (text []byte, todo int, err error) {
	w := &mappingWriter{Wanted: req, schemas: schemas}
	listed := true
	var tables []string // for statements
	for _, t := range req.Tables {
		kind, ok := t.Kind, t.Kind != 0
		if !ok {
			if kind, ok = kindOf(t.Name); !ok {
				return nil, 0, fmt.Errorf("--table %s: %w; write --table %s=KIND with one of %s", t.Name, ErrNoKind, t.Name, strings.Join(ofb.KindNames(), ", "))
			}
		}
		one, err := w.read(ctx, core, t.Name, kind)
		if err != nil {
			return nil, 0, err
		}
		listed = listed && one.facts.Listed
		tables = append(tables, one.facts.SQL)
		w.table(one)
	}
	var head mappingWriter
	head.Wanted = req
	head.head(listed, tables)
	return []byte(head.out.String() + w.out.String()), w.todo, nil
}

// tableFound is a table with what was found for it.
type tableFound struct {
	name   string
	kind   ofb.Kind
	facts  *postgres.Facts
	newest []map[string]any
	from   []*columnValue
	joins  []join
	of     *columnValue // leads to the resource of which each row is a state; nil: each row is a resource
}

// join is a row beside this one.
type join struct {
	name, table, column string
	value               *columnValue
	through             string // the join beside which it stands; "": this row
}

func (w *mappingWriter) read(ctx context.Context, core Core, name string, kind ofb.Kind) (*tableFound, error) {
	d := &tableFound{name: name, kind: kind}
	var err error
	if d.facts, err = core.Facts(ctx, name); err != nil {
		return nil, err
	}
	if d.newest, err = core.Newest(ctx, name, sampleRows); err != nil {
		return nil, fmt.Errorf("read the newest rows of %s: %w", name, err)
	}
	d.from = candidates(d.facts.Columns, d.facts.Nullable, d.row())
	markKeys(d.from, d.facts.Primary)
	var resources []func()
	for _, r := range d.facts.References {
		i := slices.IndexFunc(d.from, func(c *columnValue) bool { return c.expression == watch.ColumnName(r.Column) })
		if i < 0 || strings.EqualFold(r.Table, name) {
			continue
		}
		d.from[i].leads = true
		other, err := core.Facts(ctx, r.Table)
		if err != nil {
			w.notes = append(w.notes, fmt.Sprintf("%s: rows beside it were not looked at: %v", r.Column, err))
			continue
		}
		j := join{name: d.joinName(r.Column), table: r.Table, column: r.Of, value: d.from[i]}
		d.joins = append(d.joins, j)
		d.beside(ctx, core, j, other, d.facts.Nullable[r.Column])
		if k, told := kindOf(r.Table); told {
			if k == kind && d.of == nil {
				d.of = d.from[i] // each row is a state of the resource beside it
			}
			resources = append(resources, func() { d.further(ctx, core, j, other) })
		}
	}
	for _, further := range resources { // a row that this one leads to by itself comes first
		further()
	}
	return d, nil
}

// beside adds the columns of a row beside this one, with what is inside its JSON.
func (d *tableFound) beside(ctx context.Context, core Core, j join, facts *postgres.Facts, nullable bool) {
	var newest map[string]any
	if rows, err := core.Newest(ctx, j.table, 1); err == nil && len(rows) > 0 {
		newest = rows[0]
	}
	all := candidates(facts.Columns, facts.Nullable, newest)
	markKeys(all, facts.Primary)
	d.from = append(d.from, joined(j.name, all, nullable)...)
}

// further adds the rows to which the foreign keys of a resource beside this row lead: the initiator is often beside the consent, and
// where a table holds the states of a payment, beside the payment.
func (d *tableFound) further(ctx context.Context, core Core, from join, facts *postgres.Facts) {
	for _, r := range facts.References {
		i := slices.IndexFunc(d.from, func(c *columnValue) bool { return c.join == from.name && c.expression == from.name+"."+r.Column })
		if i < 0 || r.Table == d.name || slices.ContainsFunc(d.joins, func(j join) bool { return j.table == r.Table }) {
			continue
		}
		other, err := core.Facts(ctx, r.Table)
		if err != nil {
			continue // a right that is missing here costs a comment, and no more
		}
		d.from[i].leads = true
		j := join{name: d.joinName(r.Column), table: r.Table, column: r.Of, value: d.from[i], through: from.name}
		d.joins = append(d.joins, j)
		d.beside(ctx, core, j, other, facts.Nullable[r.Column])
	}
}

// markKeys marks the columns of a primary key.
func markKeys(all []*columnValue, primary []string) {
	for _, c := range all {
		c.leads = slices.ContainsFunc(primary, func(name string) bool { return watch.ColumnName(name) == c.expression })
	}
}

// row is the newest row; nil: the table is empty.
func (d *tableFound) row() map[string]any {
	if len(d.newest) == 0 {
		return nil
	}
	return d.newest[0]
}

// joinName names a row beside this one after the column that leads to it.
func (d *tableFound) joinName(column string) string {
	name := strings.TrimPrefix(strings.TrimSuffix(strings.ToLower(strings.TrimSuffix(column, "Id")), "_id"), "id_")
	free := func(n string) bool {
		return watch.ColumnName(n) == n && !slices.ContainsFunc(d.from, func(c *columnValue) bool { return c.expression == n }) &&
			!slices.ContainsFunc(d.joins, func(j join) bool { return j.name == n })
	}
	for !free(name) {
		name = "r_" + strings.Map(func(r rune) rune {
			if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '_' {
				return r
			}
			return '_'
		}, name)
	}
	return name
}

// states are the values of the state's column: those that the catalog lists, or those of the newest rows.
func (d *tableFound) states(c *columnValue) (values []string, listed bool) {
	for _, column := range d.facts.Columns {
		if watch.ColumnName(column.Name) != c.expression {
			continue
		}
		if v := d.facts.Values[column.Name]; v != nil {
			return v, true
		}
		for _, row := range d.newest {
			if s := (&columnValue{sample: row[column.Name]}).text(); s != "" && !slices.Contains(values, s) {
				values = append(values, s)
			}
		}
	}
	slices.Sort(values)
	return values, false
}
