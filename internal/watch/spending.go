package watch

import (
	"fmt"
	"slices"

	"github.com/expr-lang/expr/ast"
)

// maxBytes bounds what the expressions of one row read and make, in bytes of text and of values, over and over for each
// element of a list. It is far above what a change of 64 KiB needs.
const maxBytes = 64 << 20

// Names that no expression can name.
const (
	plusName   = "$plus"   // the function that + becomes
	slotName   = "$slot"   // the function that an index before ?. becomes
	readName   = "$read"   // the function that counts what an operator reads
	budgetName = "$budget" // what is left of maxBytes
)

// spending is what the expressions of one row may still read and make.
type spending struct{ left int }

var errBytes = badValue(fmt.Sprintf("the expressions of the row read and make more than %d MiB; use shorter texts, or lists with fewer elements", maxBytes>>20))

// take counts n bytes. nil counts nothing.
func (s *spending) take(n int) error {
	if s == nil {
		return nil
	}
	if s.left -= n; s.left < 0 {
		return errBytes
	}
	return nil
}

// charged makes a function take its last argument for the budget. What it reads counts, and all that it makes.
func charged(do func([]any) (any, error)) func(...any) (any, error) {
	return func(args ...any) (any, error) {
		last := len(args) - 1
		budget, _ := args[last].(*spending)
		args = args[:last:last]
		n := 0
		for _, a := range args {
			n += shallow(a)
		}
		if err := budget.take(n); err != nil {
			return nil, err
		}
		v, err := do(args)
		if err != nil {
			return nil, err
		}
		return v, budget.take(deep(v))
	}
}

// shallow is what looking at a value costs.
func shallow(v any) int {
	switch v := v.(type) {
	case string:
		return len(v)
	case []any:
		return 16 * len(v)
	}
	return 16
}

// deep is what a value takes in memory.
func deep(v any) int {
	switch v := v.(type) {
	case string:
		return len(v)
	case []any:
		n := 16 * len(v)
		for _, one := range v {
			n += deep(one)
		}
		return n
	case map[string]any:
		n := 0
		for name, one := range v {
			n += 64 + len(name) + deep(one)
		}
		return n
	}
	return 16
}

// spender makes the calls of functions and the operators that read texts count what they read and make.
type spender struct{}

func budgetNode() ast.Node { return &ast.IdentifierNode{Value: budgetName} }

// textOperators are those that read a text as a whole.
var textOperators = []string{"matches", "contains", "startsWith", "endsWith", "==", "!=", "<", "<=", ">", ">=", "in"}

// Visit implements ast.Visitor.
func (spender) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.CallNode:
		n.Arguments = append(n.Arguments, budgetNode())
	case *ast.BinaryNode:
		switch {
		case n.Operator == "+":
			ast.Patch(node, &ast.CallNode{Callee: &ast.IdentifierNode{Value: plusName}, Arguments: []ast.Node{n.Left, n.Right, budgetNode()}})
		case slices.Contains(textOperators, n.Operator):
			counted(&n.Left)
			counted(&n.Right)
		}
	case *ast.MemberNode:
		optionalIndex(n)
	}
}

// counted makes an operator count one of its sides, unless that is written in the expression.
func counted(side *ast.Node) {
	switch (*side).(type) {
	case *ast.StringNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.NilNode, *ast.ConstantNode, *ast.ArrayNode:
		return
	}
	ast.Patch(side, &ast.CallNode{Callee: &ast.IdentifierNode{Value: readName}, Arguments: []ast.Node{*side, budgetNode()}})
}

// optionalIndex makes list[1]?.name null where the list has no such element, as name?.name is where the name is null.
func optionalIndex(n *ast.MemberNode) {
	inner, ok := n.Node.(*ast.MemberNode)
	if !ok || !n.Optional {
		return
	}
	if _, named := inner.Property.(*ast.StringNode); named {
		return
	}
	slot := &ast.CallNode{Callee: &ast.IdentifierNode{Value: slotName}, Arguments: []ast.Node{inner.Node, inner.Property, budgetNode()}}
	ast.Patch(&n.Node, &ast.MemberNode{Node: slot, Property: &ast.IntegerNode{Value: 0}, Optional: inner.Optional})
}

// slotOf is a list whose only element is the one at an index, or null where there is none, also where there is no list.
func slotOf(args []any) (any, error) {
	switch from := args[0].(type) {
	case nil:
		return []any{nil}, nil
	case []any:
		i, ok := args[1].(int)
		if !ok {
			return nil, badValue("an element of a list has a whole number")
		}
		if i < 0 {
			i += len(from)
		}
		if i < 0 || i >= len(from) {
			return []any{nil}, nil
		}
		return from[i : i+1 : i+1], nil
	case map[string]any:
		name, ok := args[1].(string)
		if !ok {
			return nil, badValue("a member of an object has a name")
		}
		return []any{from[name]}, nil
	}
	return nil, badValue("[…] takes an element of a list, or a member of an object")
}

// readOf gives its argument. What the origin did not tell is equal to nothing and different from nothing.
func readOf(args []any) (any, error) {
	if _, missing := args[0].(Missing); missing {
		return nil, errMissing
	}
	return args[0], nil
}
