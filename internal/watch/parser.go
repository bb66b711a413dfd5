package watch

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/vm"
	"go.yaml.in/yaml/v3"
)

// Bounds of a mapping file.
const (
	maxFile  = 1 << 20
	maxYAML  = 10_000 // values, with those that an alias repeats
	maxLevel = 64
)

// parser walks a mapping file and gathers what is wrong with it. It walks the nodes itself, as every message is to name
// the line and the key.
type parser struct {
	flaws
	visited  int
	machine  vm.VM
	compiled map[string]compiled // by text: aliases repeat expressions
}

type compiled struct {
	program *vm.Program
	tree    ast.Node
	uses    uses
	err     error
}

// compile compiles each text once.
func (p *parser) compile(e *expression) error {
	done, known := p.compiled[e.text]
	if !known {
		done.err = e.compile()
		done.program, done.tree, done.uses = e.program, e.tree, e.uses
		if p.compiled == nil {
			p.compiled = map[string]compiled{}
		}
		p.compiled[e.text] = done
	}
	e.program, e.tree, e.uses = done.program, done.tree, done.uses
	return done.err
}

// section is one object of the file.
type section struct {
	node   *yaml.Node
	key    string
	names  []string // in order
	fields map[string]*yaml.Node
	keys   map[string]*yaml.Node // where each name stands
}

// document reads the only document of a file.
func (p *parser) document(content []byte) *yaml.Node {
	if len(content) > maxFile {
		p.add(nil, "", fmt.Sprintf("has %d bytes", len(content)), fmt.Sprintf("a mapping has %d at most", maxFile))
		return nil
	}
	var node, more yaml.Node
	d := yaml.NewDecoder(bytes.NewReader(content))
	switch err := d.Decode(&node); {
	case errors.Is(err, io.EOF):
		p.add(nil, "", "is empty", "see docs/watching.md for what a mapping says")
		return nil
	case err != nil:
		at, why := lineOf(strings.TrimPrefix(err.Error(), "yaml: "))
		p.add(at, "", why, "it must be YAML; quote what holds any of { } [ ] , ? : #")
		return nil
	}
	if err := d.Decode(&more); !errors.Is(err, io.EOF) {
		p.add(&more, "", "holds more than one document", "write one file for each source")
	}
	return p.solid(node.Content[0])
}

// lineOf takes the line off one of the library's messages.
func lineOf(text string) (at *yaml.Node, why string) {
	if rest, ok := strings.CutPrefix(text, "line "); ok {
		number, why, _ := strings.Cut(rest, ": ")
		if line, err := strconv.Atoi(number); err == nil {
			return &yaml.Node{Line: line}, why
		}
	}
	return nil, text
}

// solid follows an alias, and counts, so that aliases of aliases end.
func (p *parser) solid(n *yaml.Node) *yaml.Node {
	for n != nil && n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	p.visited++
	return n
}

func (p *parser) tooMuch(n *yaml.Node, key string) bool {
	if p.visited == maxYAML {
		p.add(n, key, fmt.Sprintf("is more than %d values", maxYAML), "write fewer aliases of aliases")
		p.visited++
	}
	return p.visited > maxYAML
}

// object reads an object whose members may be those known; nil known: any. It never gives nil.
func (p *parser) object(n *yaml.Node, key string, known ...string) section {
	s := section{node: n, key: key, fields: map[string]*yaml.Node{}, keys: map[string]*yaml.Node{}}
	n = p.solid(n)
	if p.tooMuch(n, key) {
		return s
	}
	if n.Kind != yaml.MappingNode {
		p.add(n, key, "is "+shape(n), "write an object: names, each followed by a colon and its value")
		return s
	}
	s.node = n
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := p.solid(n.Content[i]), p.solid(n.Content[i+1])
		switch {
		case name.Kind != yaml.ScalarNode:
			p.add(name, key, "has a name that is not a text", "")
		case s.fields[name.Value] != nil:
			p.add(name, join(key, name.Value), "stands twice", "keep one of the two")
		case len(known) > 0 && !slices.Contains(known, name.Value):
			p.add(name, join(key, name.Value), "is not known here", "there are "+strings.Join(known, ", "))
		default:
			s.names, s.fields[name.Value], s.keys[name.Value] = append(s.names, name.Value), value, name
		}
	}
	return s
}

// join makes the key of a member.
func join(key, name string) string {
	if name == "" || strings.ContainsAny(name, ". []\"") {
		name = strconv.Quote(name)
	}
	if key == "" {
		return name
	}
	return key + "." + name
}

func shape(n *yaml.Node) string {
	switch {
	case n == nil:
		return "missing"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Kind == yaml.MappingNode:
		return "an object"
	case n.Tag == "!!null":
		return "null"
	}
	return "a single value"
}

// required says that a member is missing.
func (p *parser) required(s section, name, cure string) *yaml.Node {
	n := s.fields[name]
	if n == nil {
		p.add(s.node, join(s.key, name), "is missing", cure)
	}
	return n
}

// word reads a plain text of the file, no expression.
func (p *parser) word(n *yaml.Node, key string) string {
	if n == nil {
		return ""
	}
	if n.Kind != yaml.ScalarNode || n.Tag != "!!str" || n.Value == "" {
		p.add(n, key, "is "+shape(n)+", not a text", "")
		return ""
	}
	return n.Value
}

// expression reads an expression, or a constant that is no text. words are texts that stand for themselves.
func (p *parser) expression(n *yaml.Node, key, pointer string, want kindOf, words ...string) *expression {
	if n == nil {
		return nil
	}
	e := &expression{text: n.Value, key: key, pointer: pointer, line: n.Line, want: want}
	switch {
	case n.Kind != yaml.ScalarNode:
		p.add(n, key, "is "+shape(n), "write one expression")
		return nil
	case n.Tag == "!!str" && slices.Contains(words, n.Value):
		e.constant = n.Value
	case n.Tag == "!!str":
		if err := p.compile(e); err != nil {
			p.broken(n, key, err)
			return nil
		}
		p.fold(n, e)
	case n.Tag == "!!null":
	case n.Tag == "!!bool":
		e.constant = n.Value == "true" || n.Value == "True" || n.Value == "TRUE"
	case (n.Tag == "!!int" || n.Tag == "!!float") && json.Valid([]byte(n.Value)):
		e.constant = number(n.Value)
		if _, is := e.constant.(string); is {
			e.constant = json.Number(n.Value)
		}
	default:
		p.add(n, key, fmt.Sprintf("%.60q is neither text nor a number of JSON", n.Value), `write an expression; a constant text is '"…"', in both kinds of quotes`)
		return nil
	}
	if e.program == nil && !e.gives(e.constant) {
		p.add(n, key, "is a constant that is not "+want.String(), `a constant text is '"…"', in both kinds of quotes`)
		return nil
	}
	return e
}

// broken tells what is wrong with an expression.
func (p *parser) broken(n *yaml.Node, key string, err error) {
	if e, ok := errors.AsType[*programError](err); ok {
		p.add(n, key, e.Error(), e.cure)
		return
	}
	p.add(n, key, err.Error(), "")
}

// fold computes an expression that looks at nothing, once.
func (p *parser) fold(n *yaml.Node, e *expression) {
	if len(e.uses.names) > 0 || len(e.uses.row) > 0 || e.uses.all {
		return
	}
	v, err := e.eval(&p.machine, nil)
	if err != nil {
		p.add(n, e.key, "cannot be computed: "+reason(err), "")
		return
	}
	e.program, e.constant = nil, v
}

// gives judges a computed value. null is judged by the caller that asks for the value.
func (e *expression) gives(v any) bool {
	switch v.(type) {
	case nil:
		return true
	case string:
		return e.want == text || e.want == anything || e.want == whole
	case bool:
		return e.want == truth || e.want == anything
	case int, json.Number:
		return e.want == whole || e.want == anything
	}
	return e.want == anything
}
