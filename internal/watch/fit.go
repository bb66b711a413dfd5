package watch

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/expr-lang/expr/types"
)

// Check compares every expression with the present columns and returns every mismatch: unknown names, texts added to
// numbers, an id that is not a text. nil columns, of a bus, are not checked. Tables are those of
// Tables and Joined; one that is not among the columns is not there.
func (m *Mapping) Check(columns map[string][]Column) []Flaw {
	if columns == nil {
		return nil
	}
	f := &flaws{file: m.File}
	for _, table := range m.tables {
		for _, r := range m.rules[table] {
			f.list = append(f.list, r.fit(m.File, columns, true)...)
		}
	}
	if e, ok := errors.AsType[*MappingError](f.err()); ok {
		return e.Flaws
	}
	return nil
}

// fit is Check for one rule. Unless all tables are described, a joined one that is not may have any columns.
func (r *rule) fit(file string, columns map[string][]Column, all bool) []Flaw {
	own, there := columns[r.table]
	if !there || len(own) == 0 {
		return []Flaw{{File: file, Key: r.key, Wrong: "there is no table " + r.table, Cure: "name a table the source may read, with its schema if it is not found without"}}
	}
	var found []Flaw
	env := types.Map{nameTable: types.String, nameOp: types.String, nameCommitted: types.String}
	row := types.Map{}
	for _, c := range own {
		row[c.Name] = typeOf(c.Type)
		if _, taken := env[c.Name]; !taken && functions[c.Name].do == nil {
			env[c.Name] = typeOf(c.Type)
		}
	}
	env[nameRow] = row
	for _, j := range r.joins {
		other, there := columns[j.table]
		switch {
		case !there && all:
			found = append(found, Flaw{file, j.line, strings.TrimSuffix(j.value.key, ".value"), "there is no table " + j.table, "name a table the source may read"})
			env[j.name] = types.Any
		case !there:
			env[j.name] = types.Any
		default:
			joined := types.Map{}
			for _, c := range other {
				joined[c.Name] = typeOf(c.Type)
			}
			env[j.name] = joined
			if joined[j.column] == nil {
				found = append(found, Flaw{
					file, j.line, strings.TrimSuffix(j.value.key, ".value"), fmt.Sprintf("table %s has no column %s", j.table, j.column),
					"its columns are " + columnNames(other),
				})
			}
		}
	}
	for _, e := range r.expressions() {
		if err := e.fit(env); err != nil {
			found = append(found, r.misfit(file, e, err, columns))
		} else if column := r.zoneless(e, columns); column != "" {
			found = append(found, Flaw{
				file, e.line, e.key, "takes " + column + " for an instant, and the column has no zone: what moment it means is not known",
				`write instant(` + column + `, "America/Sao_Paulo") with the zone that the core's clock shows, "UTC" if it is that; or make the column timestamptz`,
			})
		}
	}
	return append(found, r.keyless(file, own)...)
}

// keyless refuses a table of clients whose key does not tell the client: a deleted row tells its key alone.
func (r *rule) keyless(file string, own []Column) []Flaw {
	if r.registration == nil {
		return nil
	}
	e := r.registration.client
	for _, name := range slices.Concat(e.uses.names, e.uses.row) {
		at := slices.IndexFunc(own, func(c Column) bool { return c.Name == name })
		if at >= 0 && !own[at].Key {
			return []Flaw{{
				file, e.line, e.key, "looks at " + name + ", which is not told when a row is deleted",
				"make it part of the table's primary key or replica identity (ALTER TABLE … REPLICA IDENTITY)",
			}}
		}
	}
	return nil
}

func (r *rule) misfit(file string, e *expression, err error, columns map[string][]Column) Flaw {
	flaw := Flaw{File: file, Line: e.line, Key: e.key, Wrong: err.Error()}
	p, ok := errors.AsType[*programError](err)
	if !ok {
		return flaw
	}
	flaw.Cure = p.cure
	if !strings.HasPrefix(p.text, "unknown name") && !strings.HasPrefix(p.text, "unknown field") {
		return flaw
	}
	flaw.Cure = r.table + " has " + columnNames(columns[r.table])
	for _, j := range r.joins {
		if slices.Contains(e.uses.names, j.name) {
			flaw.Cure += "; " + j.name + " has " + columnNames(columns[j.table])
		}
	}
	return flaw
}

// columnNames lists columns for a message.
func columnNames(columns []Column) string {
	const most = 40
	var names []string
	for _, c := range columns {
		names = append(names, c.Name)
	}
	slices.Sort(names)
	if len(names) > most {
		names = append(names[:most], "…")
	}
	return strings.Join(names, ", ")
}

// typeOf is what an expression may take a column for. A null is of every type.
func typeOf(t Type) types.Type {
	switch t {
	case Text, Instant, Local, Day:
		return types.String
	case Number:
		return types.Int
	case Boolean:
		return types.Bool
	}
	return types.Any
}
