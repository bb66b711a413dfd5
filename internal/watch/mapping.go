package watch

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/arauto/arauto/internal/ofb"
)

// Mapping is one source's file: which origin, and what its rows mean. It is read once and never changes; its methods
// may be called from any goroutine. docs/watching.md describes every key.
type Mapping struct {
	File       string
	Source     string // the source's name, in entries, metrics and the API
	Type       string // of the origin: postgres, kafka, nats or rabbitmq
	Generation int64  // shifts the origin's revisions, see Types

	settings *yaml.Node
	rules    map[string][]*rule // by table
	tables   []string
	joined   []string
}

// Types lists the kinds of origin. Each has a block of its name with its settings.
var Types = []string{"postgres", "kafka", "nats", "rabbitmq"}

// generationBits is how far a generation shifts the origin's revisions: positions in a log need fewer bits. So an origin
// that was rebuilt, whose log begins low again, stays above what was read before.
const generationBits = 48

// maxGeneration keeps a shifted revision below the largest there is.
const maxGeneration = 1<<(63-generationBits) - 1

// ReadMapping reads a mapping file. The error is a *MappingError with every flaw of the file, or the reason why it
// cannot be read.
func ReadMapping(path string) (*Mapping, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read a mapping: %w", err)
	}
	return ParseMapping(filepath.Base(path), content)
}

var sourceName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)

// ParseMapping reads a mapping from content; name is the file's name in error texts. The error is a *MappingError.
func ParseMapping(name string, content []byte) (*Mapping, error) {
	p := &parser{flaws: flaws{file: name}}
	root := p.document(content)
	if root == nil {
		return nil, p.err()
	}
	top := p.object(root, "", append([]string{"source", "type", "generation", "tables"}, Types...)...)
	m := &Mapping{File: name, rules: map[string][]*rule{}}
	m.Source = p.word(p.required(top, "source", "name the source, such as core"), "source")
	if m.Source != "" && !sourceName.MatchString(m.Source) {
		p.add(top.fields["source"], "source", "is not a name", "use at most 63 of a-z, 0-9, - and _, beginning with a letter or digit")
	}
	m.Type = p.word(p.required(top, "type", "write one of "+strings.Join(Types, ", ")), "type")
	if m.Type != "" && !slices.Contains(Types, m.Type) {
		p.add(top.fields["type"], "type", fmt.Sprintf("%.40q is not a kind of origin", m.Type), "write one of "+strings.Join(Types, ", "))
	}
	for _, t := range Types {
		switch n := top.fields[t]; {
		case n != nil && t == m.Type:
			m.settings = n
		case n != nil && m.Type != "":
			p.add(top.keys[t], t, "does not belong to a source of type "+m.Type, "take it out")
		}
	}
	if n := top.fields["generation"]; n != nil {
		g, err := strconv.ParseInt(n.Value, 10, 64)
		if m.Generation = g; err != nil || n.Tag != "!!int" || g < 0 || g > maxGeneration {
			p.add(n, "generation", "is not a whole number from 0 to "+strconv.Itoa(maxGeneration), "raise it by one when the origin was rebuilt; the default is 0")
		}
	}
	if n := p.required(top, "tables", "name the tables to read, each with its mapping"); n != nil {
		m.readTables(p, p.object(n, "tables"))
	}
	if err := p.err(); err != nil {
		return nil, err
	}
	return m, nil
}

// readTables reads the mapping of each table: one, or a list of them.
func (m *Mapping) readTables(p *parser, tables section) {
	if len(tables.names) == 0 && tables.node.Kind == yaml.MappingNode {
		p.add(tables.node, "tables", "is empty", "name the tables to read, each with its mapping")
	}
	for _, table := range tables.names {
		n, key := tables.fields[table], join("tables", table)
		parts := []*yaml.Node{n}
		if n.Kind == yaml.SequenceNode {
			if parts = n.Content; len(parts) == 0 {
				p.add(n, key, "is empty", "write a mapping, or a list of them")
			}
		}
		for i, part := range parts {
			at := key
			if n.Kind == yaml.SequenceNode {
				at = fmt.Sprintf("%s[%d]", key, i)
			}
			if r := p.rule(part, at); r != nil {
				if wrong, cure := m.unnumbered(table); wrong != "" && r.kind != 0 && r.revision == nil {
					p.add(part, join(at, "revision"), wrong, cure)
				}
				r.table, r.part, r.schema, r.generation = table, i, m.Type == "postgres", m.Generation
				m.rules[table] = append(m.rules[table], r)
				for _, j := range r.joins {
					if !slices.Contains(m.joined, j.table) {
						m.joined = append(m.joined, j.table)
					}
					if m.Type != "postgres" && m.Type != "" {
						p.add(part, join(at, "joins"), "a source of type "+m.Type+" has no tables to ask", "have the core put the values into the message")
					}
				}
			}
		}
		m.tables = append(m.tables, table)
	}
	slices.Sort(m.tables)
	slices.Sort(m.joined)
}

// unnumbered says why a table's changes have no revision unless the mapping names one; "" where the origin tells it.
// Without one each of its records would go to quarantine.
func (m *Mapping) unnumbered(table string) (wrong, cure string) {
	const name = "name the member that holds the core's own revision, a whole number that grows with each change of the resource"
	switch m.Type {
	case "rabbitmq":
		return "is missing, and a queue numbers nothing", name
	case "kafka":
		var c struct {
			Topics  map[string]string `yaml:"topics"`
			Offsets map[string]int    `yaml:"offset_revisions"`
		}
		if m.settings == nil || m.settings.Decode(&c) != nil {
			return "", "" // that is said by who reads the settings
		}
		for _, topic := range slices.Sorted(maps.Keys(c.Topics)) {
			if into := cmp.Or(c.Topics[topic], topic); into == table && c.Offsets[topic] == 0 {
				return fmt.Sprintf("is missing, and nothing permits the offset of topic %q to stand in", topic),
					name + ", or put the topic into offset_revisions with its number of partitions"
			}
		}
	}
	return "", ""
}

// Tables returns the names of the tables to read, sorted.
func (m *Mapping) Tables() []string { return slices.Clone(m.tables) }

// Joined returns the names of the tables in which related rows are looked up, sorted.
func (m *Mapping) Joined() []string { return slices.Clone(m.joined) }

// Kinds lists the kinds of resource that the mapping makes changes of.
func (m *Mapping) Kinds() []ofb.Kind {
	var found []ofb.Kind
	for _, rules := range m.rules {
		for _, r := range rules {
			if r.kind != 0 && !slices.Contains(found, r.kind) {
				found = append(found, r.kind)
			}
		}
	}
	slices.Sort(found)
	return found
}

// Registers reports whether a table holds initiators, so that a Registrar is needed.
func (m *Mapping) Registers() bool {
	return len(m.Erasing()) > 0
}

// Erasing returns the tables, sorted, whose deleted rows delete a registration.
func (m *Mapping) Erasing() (all []string) {
	for _, table := range m.tables {
		if slices.ContainsFunc(m.rules[table], func(r *rule) bool { return r.registration != nil }) {
			all = append(all, table)
		}
	}
	return all
}

// Settings decodes the block of the origin's settings into a pointer to a struct with yaml tags, which has its defaults
// already. Members that the struct does not know are refused. The error is a *MappingError.
func (m *Mapping) Settings(into any) error {
	p := &parser{flaws: flaws{file: m.File}}
	if m.settings == nil {
		return nil
	}
	p.strict(m.settings, reflect.TypeOf(into), m.Type)
	if err := p.err(); err != nil {
		return err
	}
	if err := m.settings.Decode(into); err != nil {
		wrong, is := errors.AsType[*yaml.TypeError](err)
		if !is {
			p.add(m.settings, m.Type, strings.TrimPrefix(err.Error(), "yaml: "), "")
			return p.err()
		}
		for _, text := range wrong.Errors {
			at, why := lineOf(text)
			p.add(at, m.Type, why, "")
		}
	}
	return p.err()
}

// strict refuses members that a struct has no field for.
func (p *parser) strict(n *yaml.Node, t reflect.Type, key string) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	n = p.solid(n)
	if p.tooMuch(n, key) || t.Kind() != reflect.Struct || n.Kind != yaml.MappingNode || reflect.PointerTo(t).Implements(unmarshaler) {
		return
	}
	fields := map[string]reflect.Type{}
	var names []string
	var gather func(t reflect.Type)
	gather = func(t reflect.Type) {
		for f := range t.Fields() {
			name, option, _ := strings.Cut(f.Tag.Get("yaml"), ",")
			switch {
			case option == "inline":
				gather(f.Type)
				continue
			case name == "-" || !f.IsExported():
				continue
			case name == "":
				name = strings.ToLower(f.Name)
			}
			fields[name], names = f.Type, append(names, name)
		}
	}
	gather(t)
	s := p.object(n, key, names...)
	for _, name := range s.names {
		p.strict(s.fields[name], fields[name], join(key, name))
	}
}

var unmarshaler = reflect.TypeFor[yaml.Unmarshaler]()
