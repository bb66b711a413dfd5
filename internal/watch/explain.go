package watch

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/expr-lang/expr/ast"
)

// RecordExplanation holds the steps by which one mapping converts a record.
type RecordExplanation struct {
	Table string
	Key   string // of the mapping in its file, as "tables.payments"
	Kind  string // of the resource, or "initiator"
	Steps []Step // in the order they were taken
	Mapped
}

// Step is one expression with its result or error. Unlike the problems of a record, it shows values: its
// reader has the row anyway.
type Step struct {
	Key        string
	Expression string
	Result     string // as JSON
	Error      string
	Inside     bool // it looks into a JSON value, whose members no catalogue lists
}

// Null tells that the expression gave null.
func (s *Step) Null() bool { return s.Error == "" && s.Result == "null" }

// Explain maps one record by each mapping of its table and returns every step. Related rows are looked up by find; with
// nil they are taken from the record's own values, by the name of the lookup. An error means that the mapping has no such
// table, or that a look-up failed.
func (m *Mapping) Explain(ctx context.Context, find Find, rec SourceRecord) ([]RecordExplanation, error) {
	rules := m.rules[rec.Table]
	if len(rules) == 0 {
		return nil, fmt.Errorf("the mapping has no table %q; it has %s", rec.Table, strings.Join(m.tables, ", "))
	}
	var all []RecordExplanation
	for _, r := range rules {
		x := RecordExplanation{Table: rec.Table, Key: r.key, Kind: r.kindName()}
		maker := &mapper{find: find}
		maker.look = func(e *expression, v any, err error) {
			if e.program == nil && e.text == "" {
				return
			}
			step := Step{Key: e.key, Expression: e.text, Inside: r.looksInside(e)}
			if err != nil {
				step.Error = err.Error()
			} else if text, err := appendJSON(nil, v, maxDepth); err != nil {
				step.Error = err.Error()
			} else {
				step.Result = string(text)
			}
			x.Steps = append(x.Steps, step)
		}
		w := &work{rule: r, rec: &rec}
		if err := maker.all(ctx, []*work{w}); err != nil {
			return nil, err
		}
		x.Mapped = w.Mapped
		all = append(all, x)
	}
	return all, nil
}

// looksInside tells whether an expression reads a member or element of a JSON value. Members of row and of a joined row are columns.
func (r *rule) looksInside(e *expression) bool {
	if e.tree == nil {
		return false
	}
	v := &insideVisitor{rule: r}
	tree := e.tree
	ast.Walk(&tree, v)
	return v.found
}

type insideVisitor struct {
	rule  *rule
	found bool
}

// Visit implements ast.Visitor.
func (v *insideVisitor) Visit(node *ast.Node) {
	depth := 0
	for at := *node; ; {
		switch n := at.(type) {
		case *ast.MemberNode:
			depth++
			at = n.Node
		case *ast.ChainNode:
			at = n.Node
		case *ast.IdentifierNode:
			if n.Value == nameRow || slices.ContainsFunc(v.rule.joins, func(j lookup) bool { return j.name == n.Value }) {
				depth--
			}
			v.found = v.found || depth > 0
			return
		default:
			return
		}
	}
}
