package watch

import (
	"fmt"
	"strings"

	"github.com/expr-lang/expr/vm"
	"go.yaml.in/yaml/v3"
)

// branch is a part of the document as the file draws it: an object, a list, or an expression at its end.
type branch struct {
	names  []string // of an object's members, in the file's order
	parts  []*branch
	list   bool
	leaf   *expression
	quoted []string // names as JSON, with the colon
}

// branch reads a part of the document.
func (p *parser) branch(n *yaml.Node, key, pointer string, depth int) *branch {
	n = p.solid(n)
	if p.tooMuch(n, key) {
		return &branch{}
	}
	if depth == 0 {
		p.add(n, key, "is nested too deep", fmt.Sprintf("a change has %d levels at most", maxDepth))
		return &branch{}
	}
	switch n.Kind {
	case yaml.MappingNode:
		s := p.object(n, key)
		b := &branch{}
		for _, name := range s.names {
			quoted, err := appendText(nil, name)
			if err != nil {
				p.add(s.keys[name], key, "has a name that is not UTF-8", "")
			}
			b.names, b.quoted = append(b.names, name), append(b.quoted, string(quoted)+":")
			b.parts = append(b.parts, p.branch(s.fields[name], join(key, name), pointer+"/"+escapePointer(name), depth-1))
		}
		return b
	case yaml.SequenceNode:
		b := &branch{list: true}
		for i, element := range n.Content {
			b.parts = append(b.parts, p.branch(element, fmt.Sprintf("%s[%d]", key, i), fmt.Sprintf("%s/%d", pointer, i), depth-1))
		}
		return b
	}
	return &branch{leaf: p.expression(n, key, pointer, anything)}
}

func escapePointer(name string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
}

func (b *branch) expressions(all []*expression) []*expression {
	if b == nil {
		return all
	}
	if b.leaf != nil {
		all = append(all, b.leaf)
	}
	for _, part := range b.parts {
		all = part.expressions(all)
	}
	return all
}

// computer makes the values of one row.
type computer struct {
	machine vm.VM
	env     map[string]any
	look    func(e *expression, v any, err error) // told every step; nil: nobody asks
	failed  func(e *expression, err error)        // told every failure
}

// value computes one expression. ok is false when it failed; the failure is told.
func (c *computer) value(e *expression) (v any, ok bool) {
	v, err := e.eval(&c.machine, c.env)
	if err == nil && !e.gives(v) {
		v, err = nil, badValue("it must give "+e.want.String())
	}
	if c.look != nil {
		c.look(e, v, err)
	}
	if err != nil {
		c.failed(e, err)
		return nil, false
	}
	return v, true
}

// append writes a part of the document. A null is left out, and so is what holds nothing else. Failures are told; the
// document is then of no use.
func (b *branch) append(out []byte, c *computer) (_ []byte, written bool) {
	if b.leaf != nil {
		v, ok := c.value(b.leaf)
		if !ok || v == nil {
			return out, false
		}
		made, err := appendJSON(out, v, maxDepth)
		if err != nil {
			c.failed(b.leaf, err)
			return out, false
		}
		return made, true
	}
	start, open, end := len(out), byte('{'), byte('}')
	if b.list {
		open, end = '[', ']'
	}
	out, some := b.members(append(out, open), c, false)
	if !some && len(b.parts) > 0 {
		return out[:start], false
	}
	return append(out, end), true
}

// members writes what an object or list holds; comma reports whether something stands before it, and then whether
// something stands there at all.
func (b *branch) members(out []byte, c *computer, comma bool) (_ []byte, some bool) {
	some = comma
	for i, part := range b.parts {
		before := len(out)
		if some {
			out = append(out, ',')
		}
		if !b.list {
			out = append(out, b.quoted[i]...)
		}
		made, written := part.append(out, c)
		if !written {
			out = out[:before]
			continue
		}
		out, some = made, true
	}
	return out, some
}
