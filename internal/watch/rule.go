package watch

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/arauto/arauto/internal/ofb"
)

// initiator is the kind of a table of clients: what it makes is no change, but a registration.
const initiator = "initiator"

// rule is the mapping of one table, or one of several of the same table.
type rule struct {
	table      string
	part       int  // which of the table's mappings
	schema     bool // the origin has one: a column that a row lacks is a fault
	generation int64
	key        string   // in the file
	kind       ofb.Kind // zero: initiator

	when  *expression // nil: always
	joins []lookup

	id, client, version *expression
	brand               *expression // nil: the only brand
	status              *expression
	states              map[string]string // nil: the status is what the expression gives
	revision            *expression       // nil: the origin's
	occurredAt          []*expression
	cause               *expression // nil: the holder
	data                *branch

	registration *registering // of an initiator

	uses uses
}

// lookup is a row beside the one that changed.
type lookup struct {
	name, table, column string
	value               *expression
	line                int
}

var changeKeys = []string{"kind", "when", "joins", "id", "brand", "client", "version", "status", "revision", "occurredAt", "cause", "data"}

// rule reads one mapping; nil when it is too broken to go on.
func (p *parser) rule(n *yaml.Node, key string) *rule {
	s := p.object(n, key)
	if s.node.Kind != yaml.MappingNode {
		return nil
	}
	r := &rule{key: key}
	name := p.word(p.required(s, "kind", "write "+kindNames()), join(key, "kind"))
	if name == "" {
		return nil
	}
	known := changeKeys
	if name == initiator {
		known = registrationKeys
	} else if kind, err := ofb.ParseKind(name); err == nil {
		r.kind = kind
	} else {
		p.add(s.fields["kind"], join(key, "kind"), fmt.Sprintf("%.40q is not a kind", name), "write "+kindNames())
		return nil
	}
	p.object(n, key, known...)
	r.when = p.expression(s.fields["when"], join(key, "when"), "", truth)
	p.joins(r, s)
	if r.kind == 0 {
		p.registration(r, s)
	} else {
		p.change(r, s)
	}
	for _, e := range r.expressions() {
		r.uses.add(e.uses)
	}
	p.checkNames(r, s)
	return r
}

func kindNames() string { return strings.Join(ofb.KindNames(), ", ") + " or " + initiator }

func (p *parser) change(r *rule, s section) {
	member := r.kind.IDMember()
	r.id = p.expression(p.required(s, "id", "write the expression that gives "+member), join(s.key, "id"), "/data/"+member, text)
	r.client = p.expression(p.required(s, "client", "write the expression that gives the initiator's client id"), join(s.key, "client"), "/clientId", text)
	r.brand = p.expression(s.fields["brand"], join(s.key, "brand"), "/brand", text)
	versions := strings.Join(r.kind.Versions(), " or ")
	r.version = p.expression(p.required(s, "version", "write the API version of the resource: "+versions+", or an expression that gives it"),
		join(s.key, "version"), "/apiVersion", text, r.kind.Versions()...)
	if v, is := constantText(r.version); is && !slices.Contains(r.kind.Versions(), v) {
		p.add(s.fields["version"], r.version.key, fmt.Sprintf("%.40q is not a version of %s", v, r.kind), "use "+versions)
	}
	p.status(r, s)
	r.revision = p.expression(s.fields["revision"], join(s.key, "revision"), "/revision", whole)
	p.occurredAt(r, s)
	r.cause = p.expression(s.fields["cause"], join(s.key, "cause"), "/cause", text, string(ofb.Holder), string(ofb.Initiator))
	if v, is := constantText(r.cause); is && v != string(ofb.Holder) && v != string(ofb.Initiator) {
		p.add(s.fields["cause"], r.cause.key, fmt.Sprintf("%.40q is not a cause", v), "write holder or initiator; a first load is recognised without it")
	}
	if n := p.required(s, "data", "write the document that a status GET returns"); n != nil {
		key := join(s.key, "data")
		if n.Kind != yaml.MappingNode {
			p.add(n, key, "is "+shape(n), "write the document that a status GET returns")
			return
		}
		r.data = p.branch(n, key, "/data", maxDepth-2)
	}
}

// constantText is the text of an expression that is one.
func constantText(e *expression) (string, bool) {
	if e == nil || e.program != nil {
		return "", false
	}
	v, is := e.constant.(string)
	return v, is
}

// status reads the state: an expression, or one with a map of its values.
func (p *parser) status(r *rule, s section) {
	states := make([]string, 0, len(r.kind.Statuses()))
	for _, st := range r.kind.Statuses() {
		states = append(states, string(st))
	}
	cure := "the states of " + r.kind.String() + " are " + strings.Join(states, ", ")
	n, key := p.required(s, "status", "write the expression that gives the state; "+cure), join(s.key, "status")
	if n == nil {
		return
	}
	if n.Kind != yaml.MappingNode {
		r.status = p.expression(n, key, "/data/status", text)
		if v, is := constantText(r.status); is && !slices.Contains(states, v) {
			p.add(n, key, fmt.Sprintf("%.40q is not a state", v), cure)
		}
		return
	}
	o := p.object(n, key, "value", "map")
	r.status = p.expression(p.required(o, "value", "write the expression whose values the map translates"), join(key, "value"), "/data/status", anything)
	if p.required(o, "map", "list the values with the state each stands for") == nil {
		return
	}
	table := p.object(o.fields["map"], join(key, "map"))
	r.states = make(map[string]string, len(table.names))
	for _, value := range table.names {
		at := table.fields[value]
		state := p.word(at, join(table.key, value))
		if state != "" && !slices.Contains(states, state) {
			p.add(at, join(table.key, value), fmt.Sprintf("%.40q is not a state", state), cure)
		}
		r.states[value] = state
	}
	if len(table.names) == 0 && table.node.Kind == yaml.MappingNode {
		p.add(table.node, table.key, "is empty", "list the values with the state each stands for")
	}
}

// occurredAt reads the instants to try, in order.
func (p *parser) occurredAt(r *rule, s section) {
	n, key := s.fields["occurredAt"], join(s.key, "occurredAt")
	switch {
	case n == nil:
		r.occurredAt = []*expression{p.expression(&yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: nameCommitted, Line: s.node.Line}, key, "/occurredAt", text)}
	case n.Kind == yaml.SequenceNode:
		for i, one := range n.Content {
			if e := p.expression(p.solid(one), key+"["+strconv.Itoa(i)+"]", "/occurredAt", text); e != nil {
				r.occurredAt = append(r.occurredAt, e)
			}
		}
		if len(n.Content) == 0 {
			p.add(n, key, "is empty", "name the columns to try, or leave it out for committed_at")
		}
	default:
		if e := p.expression(n, key, "/occurredAt", text); e != nil {
			r.occurredAt = []*expression{e}
		}
	}
}

// joins reads the rows to look up, in order: the value of a later one may use an earlier one.
func (p *parser) joins(r *rule, s section) {
	n := s.fields["joins"]
	if n == nil {
		return
	}
	all := p.object(n, join(s.key, "joins"))
	for _, name := range all.names {
		key := join(all.key, name)
		o := p.object(all.fields[name], key, "table", "column", "value")
		if slices.Contains(reserved, name) || functions[name].do != nil || !isName(name) {
			p.add(all.keys[name], key, "is not free to name a row", "choose another word of letters, digits and _")
		}
		j := lookup{
			name: name, table: p.word(p.required(o, "table", "name the table to look in"), join(key, "table")),
			column: p.word(p.required(o, "column", "name the column that holds the value"), join(key, "column")),
			value:  p.expression(p.required(o, "value", "write the expression that gives the value to look for"), join(key, "value"), "", anything),
			line:   all.keys[name].Line,
		}
		if j.value != nil {
			r.joins = append(r.joins, j)
		}
	}
}

func isName(s string) bool {
	for i, c := range s {
		if c != '_' && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}

// checkNames refuses a joined row that is used before it is there.
func (p *parser) checkNames(r *rule, s section) {
	for i, j := range r.joins {
		for _, later := range r.joins[i:] {
			if slices.Contains(j.value.uses.names, later.name) {
				p.add(s.fields["joins"], j.value.key, "looks at "+later.name+", which is looked up later", "put "+later.name+" before it")
			}
		}
	}
}

// expressions lists every expression of the rule.
func (r *rule) expressions() []*expression {
	all := []*expression{r.when, r.id, r.brand, r.client, r.version, r.status, r.revision, r.cause}
	for _, j := range r.joins {
		all = append(all, j.value)
	}
	all = append(all, r.occurredAt...)
	if r.registration != nil {
		all = append(all, r.registration.expressions()...)
	}
	all = r.data.expressions(all)
	return slices.DeleteFunc(all, func(e *expression) bool { return e == nil })
}

// kindName is the kind as the file writes it.
func (r *rule) kindName() string {
	if r.kind == 0 {
		return initiator
	}
	return r.kind.String()
}
