package watch

import (
	"slices"
	"strings"
	"sync"
	"time"
	_ "time/tzdata" // the zones are known on every machine

	"github.com/expr-lang/expr/ast"
)

// zones are those that were asked for; only names that exist are kept, some hundreds at most.
var zones sync.Map

// zoneOf finds a zone by its IANA name. The zone of this machine is none: the same row would mean another moment elsewhere.
func zoneOf(name string) (*time.Location, error) {
	if known, ok := zones.Load(name); ok {
		return known.(*time.Location), nil
	}
	if name != "UTC" && !strings.Contains(name, "/") || len(name) > 64 {
		return nil, errZoneName
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, errZoneName
	}
	zones.Store(name, zone)
	return zone, nil
}

const (
	errZoneName = badValue(`a zone is an IANA name, such as "America/Sao_Paulo", or "UTC"`)
	errZoneless = badValue(`the time has no zone; write instant(column, "America/Sao_Paulo") with the zone that the core's clock shows`)
	errSkipped  = badValue("the time was never shown by a clock in that zone: it lies in the hour that was skipped")
)

// inZone is the moment at which a clock in a zone showed a time, which is given as if it were UTC. Where it showed it twice,
// as clocks are set back, the first of the two counts: the second might lie after the commit. Where it never did, as clocks
// are set forward, the error is errSkipped.
func inZone(shown time.Time, zone *time.Location) (time.Time, error) {
	var found time.Time
	for _, near := range []time.Duration{-26 * time.Hour, 0, 26 * time.Hour} { // no zone changes twice within a day
		_, offset := shown.Add(near).In(zone).Zone()
		at := shown.Add(-time.Duration(offset) * time.Second)
		if _, there := at.In(zone).Zone(); there == offset && (found.IsZero() || at.Before(found)) {
			found = at
		}
	}
	if found.IsZero() {
		return time.Time{}, errSkipped
	}
	return found.UTC(), nil
}

// zoneless returns a column without zone that an expression takes for an instant; "": none. It looks at what stands in the
// expression; a variable that holds the column is only found out when a row is mapped.
func (r *rule) zoneless(e *expression, columns map[string][]Column) string {
	if e.program == nil {
		return ""
	}
	look := &zoneLooker{rule: r, columns: columns}
	node, wanted := e.tree, slices.Contains(r.occurredAt, e)
	if column, kind := look.column(node); !wanted && kind == Local && strings.HasPrefix(e.pointer, "/data/") {
		return column
	}
	return look.walk(node, wanted)
}

// zoneLooker looks for columns without zone where an instant is wanted.
type zoneLooker struct {
	rule    *rule
	columns map[string][]Column
}

// walk finds the first such column in an expression; wanted: its value is taken for an instant.
func (l *zoneLooker) walk(n ast.Node, wanted bool) string {
	visit := &zoneVisitor{looker: l, outside: wanted}
	ast.Walk(&n, visit)
	for _, name := range visit.columns {
		if !slices.Contains(visit.covered, name) {
			return name
		}
	}
	return ""
}

// column is the column that a node is, as the mapping writes it, where that has no zone.
func (l *zoneLooker) column(n ast.Node) (name string, kind Type) {
	table, text := l.rule.table, ""
	switch n := n.(type) {
	case *ast.ChainNode:
		return l.column(n.Node)
	case *ast.IdentifierNode:
		name, text = n.Value, n.Value
	case *ast.MemberNode:
		of, ok := n.Node.(*ast.IdentifierNode)
		property, ok2 := n.Property.(*ast.StringNode)
		if !ok || !ok2 {
			return "", ""
		}
		name, text = property.Value, of.Value+"."+property.Value
		if of.Value != nameRow {
			at := slices.IndexFunc(l.rule.joins, func(j lookup) bool { return j.name == of.Value })
			if at < 0 {
				return "", ""
			}
			table = l.rule.joins[at].table
		}
	}
	at := slices.IndexFunc(l.columns[table], func(c Column) bool { return c.Name == name && (c.Type == Local || c.Type == Day) })
	if at < 0 {
		return "", ""
	}
	return text, l.columns[table][at].Type
}

// zoneVisitor gathers the columns without zone that are taken for instants, and those to which a zone is given.
type zoneVisitor struct {
	looker  *zoneLooker
	outside bool // the expression's own value is taken for one
	columns []string
	covered []string
}

// Visit implements ast.Visitor.
func (v *zoneVisitor) Visit(node *ast.Node) {
	call, is := (*node).(*ast.CallNode)
	if !is {
		if name, _ := v.looker.column(*node); name != "" && v.outside {
			v.columns = append(v.columns, name)
		}
		return
	}
	callee, is := call.Callee.(*ast.IdentifierNode)
	if !is || len(call.Arguments) == 0 {
		return
	}
	inside := &zoneVisitor{looker: v.looker, outside: true}
	ast.Walk(&call.Arguments[0], inside)
	switch {
	case callee.Value == "instant" && len(call.Arguments) == 1, callee.Value == "date" && len(call.Arguments) == 2:
		v.columns = append(v.columns, inside.columns...)
	case callee.Value == "instant":
		v.covered = append(v.covered, inside.columns...)
	}
}
