package watch

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/types"
	"github.com/expr-lang/expr/vm"
)

// Bounds of an expression: of its text, of its tree, and of what it may make while it is computed. It has no loops but
// those over the elements of a list, and those may not be nested, so it always ends soon.
const (
	maxExpression = 4 << 10
	maxNodes      = 500
	maxMemory     = 100_000 // elements of lists and maps
	maxText       = 256 << 10
)

// Names an expression can use beside the columns.
const (
	nameTable     = "table"
	nameOp        = "op"
	nameCommitted = "committed_at"
	nameRow       = "row" // all columns, for names that are no words, or are taken
)

var reserved = []string{nameTable, nameOp, nameCommitted, nameRow}

// expression is one value of a mapping: an expression, or a constant where nothing is to be computed.
type expression struct {
	text     string
	key      string // in the file, as "tables.payments.id"
	pointer  string // into the line it helps to make
	line     int
	want     kindOf
	program  *vm.Program // nil: constant
	tree     ast.Node    // as it was written; the program's has what counts in it
	constant any
	uses     uses
}

// kindOf is what an expression must give.
type kindOf uint8

const (
	anything kindOf = iota
	text            // or a number or truth where a text is compared, see status
	truth
	whole
)

func (k kindOf) String() string {
	return [...]string{"a value", "text", "true or false", "a whole number"}[k]
}

// uses is what an expression looks at.
type uses struct {
	names []string // bare names: columns, joined rows, reserved names
	row   []string // columns by row.name
	all   bool     // the row as a whole
}

func (u *uses) add(o uses) {
	for _, n := range o.names {
		if !slices.Contains(u.names, n) {
			u.names = append(u.names, n)
		}
	}
	for _, n := range o.row {
		if !slices.Contains(u.row, n) {
			u.row = append(u.row, n)
		}
	}
	u.all = u.all || o.all
}

// programError is an expression that cannot be compiled.
type programError struct {
	at   int // the character, from 1; 0: none
	text string
	cure string
}

// Error says what and where.
func (e *programError) Error() string {
	if e.at == 0 {
		return e.text
	}
	return fmt.Sprintf("%s, at character %d", e.text, e.at)
}

// compile makes the program that runs. In it every value may be of any type, as a column may be null, so that comparing
// one with null is no failure; types are checked apart, by fit.
func (e *expression) compile() error {
	if len(e.text) > maxExpression {
		return &programError{text: fmt.Sprintf("has %d bytes; an expression has %d at most", len(e.text), maxExpression)}
	}
	if strings.TrimSpace(e.text) == "" {
		return &programError{text: "is empty", cure: `write an expression; the empty text is '""'`}
	}
	// Once with typed functions, for their names and arguments, and once to run.
	looker := &looker{callees: map[*ast.IdentifierNode]bool{}, rows: map[*ast.IdentifierNode]string{}, declared: map[string]bool{}}
	code, added := braced(e.text)
	checked, err := expr.Compile(code, append(options(typedFunctions), expr.Env(map[string]any{}), expr.AllowUndefinedVariables(), expr.Patch(looker))...)
	if err != nil {
		return programErrorOf(err, added)
	}
	if err := looker.err(added); err != nil {
		return err
	}
	program, err := expr.Compile(code, append(options(untypedFunctions), expr.Env(map[string]any{}), expr.AllowUndefinedVariables(), expr.Patch(spender{}))...)
	if err != nil {
		return programErrorOf(err, added)
	}
	e.program, e.tree, e.uses = program, checked.Node(), looker.found()
	return nil
}

// fit compiles once more against the columns as they are, and says what does not fit.
func (e *expression) fit(env types.Map) error {
	if e.program == nil {
		return nil
	}
	code, added := braced(e.text)
	program, err := expr.Compile(code, append(options(typedFunctions), expr.Env(env))...)
	if err != nil {
		return programErrorOf(err, added)
	}
	return e.want.accepts(program.Node())
}

// accepts judges the type of an expression's value. What is unknown before it is computed is judged then.
func (k kindOf) accepts(node ast.Node) error {
	t := node.Type()
	if t == nil || k == anything && t.Kind().String() != "func" {
		return nil
	}
	kind := t.Kind().String()
	good := map[kindOf][]string{text: {"string", "interface"}, truth: {"bool", "interface"}, whole: {"int", "float64", "interface", "string"}}[k]
	if slices.Contains(good, kind) {
		return nil
	}
	if kind == "func" {
		return &programError{text: "is a function", cure: "write row.name for a column of that name"}
	}
	return &programError{text: fmt.Sprintf("gives %s, and must give %s", typeName(kind), k)}
}

func typeName(kind string) string {
	switch kind {
	case "string":
		return "text"
	case "bool":
		return "true or false"
	case "int", "float64":
		return "a number"
	case "slice":
		return "a list"
	case "map":
		return "an object"
	}
	return kind
}

// programErrorOf turns the library's error into one line. added are the characters that braced put in.
func programErrorOf(err error, added []int) error {
	f, ok := errors.AsType[*file.Error](err)
	if !ok {
		return &programError{text: err.Error()}
	}
	e := &programError{at: f.Column + 1, text: strings.NewReplacer("interface {}", "any value", "map[string]interface {}", "object").Replace(f.Message)}
	if f.Line > 1 {
		e.at = f.From + 1
	}
	e.at = unbraced(e.at, added)
	return e
}

// eval computes the value for one row. vm keeps its stack between rows; it serves one goroutine.
func (e *expression) eval(machine *vm.VM, env map[string]any) (any, error) {
	if e.program == nil {
		return e.constant, nil
	}
	machine.MemoryBudget = maxMemory
	if env == nil {
		env = map[string]any{}
	}
	if _, there := env[budgetName]; !there {
		env[budgetName] = &spending{maxBytes}
	}
	v, err := machine.Run(e.program, env)
	if err != nil {
		return nil, err
	}
	if _, missing := v.(Missing); missing {
		return nil, errMissing
	}
	return v, nil
}

// looker finds out what an expression looks at, and refuses what an expression may not do.
type looker struct {
	identifiers []*ast.IdentifierNode
	callees     map[*ast.IdentifierNode]bool
	rows        map[*ast.IdentifierNode]string // row.name
	declared    map[string]bool                // by let
	refused     *programError
}

func (l *looker) refuse(n ast.Node, wrong, cure string) {
	if l.refused == nil {
		l.refused = &programError{at: n.Location().From + 1, text: wrong, cure: cure}
	}
}

// Visit implements ast.Visitor.
func (l *looker) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.IdentifierNode:
		l.identifiers = append(l.identifiers, n)
		switch {
		case n.Value == "$env":
			l.refuse(n, "$env is not known here", "write row for all columns")
		case strings.HasPrefix(n.Value, "$"):
			l.refuse(n, n.Value+" is not known here", `write row["`+n.Value+`"] for a column of that name`)
		}
	case *ast.CallNode:
		callee, ok := n.Callee.(*ast.IdentifierNode)
		if !ok {
			l.refuse(n, "calls a value that is not a function", "")
			return
		}
		l.callees[callee] = true
		if zone, is := secondText(n); is && (callee.Value == "instant" || callee.Value == "fromUnixUs") {
			if _, err := zoneOf(zone); err != nil {
				l.refuse(n, fmt.Sprintf("%.40q names no zone", zone), `write an IANA name, such as "America/Sao_Paulo", or "UTC"`)
			}
		}
		if _, known := functions[callee.Value]; !known {
			l.refuse(n, "uses the unknown function "+callee.Value, "use one of "+strings.Join(functionNames, ", "))
		}
	case *ast.BuiltinNode:
		if !slices.Contains(builtins, n.Name) { // the library keeps those that take a predicate
			l.refuse(n, "uses the unknown function "+n.Name, "use one of "+strings.Join(functionNames, ", "))
		}
	case *ast.MemberNode:
		if row, ok := n.Node.(*ast.IdentifierNode); ok && row.Value == nameRow {
			if column, ok := n.Property.(*ast.StringNode); ok {
				l.rows[row] = column.Value
			}
		}
	case *ast.VariableDeclaratorNode:
		if n.Name == nameRow || functions[n.Name].do != nil {
			l.refuse(n, n.Name+" is a name of ours", "choose another for the variable")
		}
		l.declared[n.Name] = true
	case *ast.PredicateNode:
		inner := &predicates{}
		ast.Walk(&n.Node, inner)
		if inner.found {
			l.refuse(n, "goes through a list for each element of a list", "do it in one pass, so that no row can take long")
		}
	}
}

// secondText is a call's second argument where that is a constant text.
func secondText(n *ast.CallNode) (string, bool) {
	if len(n.Arguments) != 2 {
		return "", false
	}
	text, is := n.Arguments[1].(*ast.StringNode)
	if !is {
		return "", false
	}
	return text.Value, true
}

type predicates struct{ found bool }

// Visit implements ast.Visitor.
func (p *predicates) Visit(node *ast.Node) {
	if _, is := (*node).(*ast.PredicateNode); is {
		p.found = true
	}
}

func (l *looker) err(added []int) error {
	for _, n := range l.identifiers {
		if _, is := functions[n.Value]; is && !l.callees[n] && !l.declared[n.Value] {
			l.refuse(n, n.Value+" is a function", "write row."+n.Value+" for the column")
		}
	}
	if l.refused != nil {
		l.refused.at = unbraced(l.refused.at, added)
		return l.refused
	}
	return nil
}

func (l *looker) found() uses {
	var u uses
	for _, n := range l.identifiers {
		column, member := l.rows[n]
		switch {
		case l.callees[n] || l.declared[n.Value]:
		case member:
			u.add(uses{row: []string{column}})
		case n.Value == nameRow:
			u.all = true
		default:
			u.add(uses{names: []string{n.Value}})
		}
	}
	return u
}
