package suggest

import (
	"cmp"
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/watch"
	"github.com/arauto/arauto/openapi"
)

// columnValue is something of the row that a member may come from.
type columnValue struct {
	expression string
	words      []string
	kind       watch.Type
	sample     any // the newest row's value; nil: there is none
	join       string
	nullable   bool
	leads      bool // to another row, or names this one: it is nobody's number or name
}

// timed reports whether it is an instant or a day.
func (c *columnValue) timed() bool {
	return c.kind == watch.Instant || c.kind == watch.Local || c.kind == watch.Day
}

// text is the sample as a text.
func (c *columnValue) text() string {
	switch v := c.sample.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	}
	return ""
}

// maxDepth is how deep JSON of the newest row is looked into.
const maxDepth = 3

// candidates are the columns of a table, and what the newest row has inside its JSON columns.
func candidates(columns []watch.Column, nullable map[string]bool, newest map[string]any) (all []*columnValue) {
	for _, c := range columns {
		one := &columnValue{expression: watch.ColumnName(c.Name), words: meanings(c.Name), kind: c.Type, sample: newest[c.Name], nullable: nullable[c.Name]}
		if c.Type == watch.JSON {
			all = append(all, inside(one, maxDepth)...)
			continue
		}
		all = append(all, one)
	}
	return all
}

// inside are the members of a JSON object.
func inside(c *columnValue, depth int) (all []*columnValue) {
	object, is := c.sample.(map[string]any)
	if !is || depth == 0 {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(object)) {
		if !memberName.MatchString(name) {
			continue
		}
		m := &columnValue{expression: c.expression + "?." + name, words: below(c.words, meanings(name)), sample: object[name], nullable: true, kind: watch.Text}
		switch object[name].(type) {
		case map[string]any:
			all = append(all, inside(m, depth-1)...)
			continue
		case []any:
			continue
		case json.Number:
			m.kind = watch.Number
		case bool:
			m.kind = watch.Boolean
		}
		all = append(all, m)
	}
	return all
}

// below are the words of a member of an object, its own last. An account from which money comes is the debtor's.
func below(above, own []string) []string {
	all := union(slices.DeleteFunc(slices.Clone(above), func(w string) bool { return slices.Contains(own, w) }), own)
	if i := slices.Index(all, "from"); i >= 0 && slices.Contains(all, "account") {
		all[i] = "debtor"
	}
	return all
}

var memberName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// joined are the columns of a row beside this one. A name that ends like the row's own table says the row's key and is left out.
func joined(name string, others []*columnValue, nullable bool) (all []*columnValue) {
	dot := "."
	if nullable {
		dot = "?."
	}
	for _, o := range others {
		if memberName.MatchString(strings.ReplaceAll(strings.ReplaceAll(o.expression, "?", ""), ".", "_")) {
			all = append(all, &columnValue{
				expression: name + dot + o.expression, words: union(meanings(name), o.words), kind: o.kind, sample: o.sample, join: name, nullable: nullable || o.nullable, leads: o.leads,
			})
		}
	}
	return all
}

func union(a, b []string) []string {
	all := slices.Clone(a)
	for _, w := range b {
		if !slices.Contains(all, w) {
			all = append(all, w)
		}
	}
	return all
}

// memberPlace is a member with the words of its path.
type memberPlace struct {
	openapi.Member
	leaf, above []string
	kind        []string // words of the kind, which go without saying
	from        *columnValue
	guess       string // why what it comes from is no more than a guess; "": its name says it
}

func places(kind ofb.Kind, members []openapi.Member) (all []*memberPlace) {
	for _, m := range members {
		p := &memberPlace{Member: m, leaf: meanings(m.Path[len(m.Path)-1]), kind: meanings(kind.String())}
		for _, name := range m.Path[:len(m.Path)-1] {
			p.above = union(p.above, meanings(name))
		}
		if len(p.leaf) == 0 && len(m.Path) > 1 { // payment.date: its word is the object's
			p.leaf = meanings(m.Path[len(m.Path)-2])
		}
		all = append(all, p)
	}
	return all
}

// timed reports whether a member is an instant or a day.
func (p *memberPlace) timed() bool { return p.Format == "date-time" || p.Format == "date" }

// fits is how well a candidate fits a member: 0 is not at all. A candidate that says something else than the member's path does not fit.
func (p *memberPlace) fits(c *columnValue) int {
	said := c.words
	switch { // words that go without saying
	case slices.Contains(p.leaf, "number") && slices.Contains(p.above, "account") && len(said) > 0 && said[len(said)-1] == "account":
		said = append(slices.Clone(said), "number")
	case slices.Contains(p.leaf, "identification") && slices.Contains(said, "by") && !slices.ContainsFunc(said, func(w string) bool { return !slices.Contains(p.above, w) }):
		said = append(slices.Clone(said), p.leaf...) // cancelled by: whose number it is
	case slices.Contains(p.leaf, "amount"):
		if said = slices.DeleteFunc(slices.Clone(said), func(w string) bool { return w == "cents" }); len(said) < len(c.words) {
			said = union(said, []string{"amount"}) // cents of what, if not of the amount
		}
	}
	path := union(p.above, p.leaf)
	covered, shared, strange := 0, 0, 0
	for _, w := range said {
		switch {
		case slices.Contains(p.leaf, w):
			covered++
			shared++
		case slices.Contains(path, w):
			shared++
		case slices.Contains(p.kind, w):
		case known(w):
			return 0
		default:
			strange++
		}
	}
	switch {
	case covered == 0 || 2*covered < len(p.leaf) || covered < len(p.leaf) && strange > 0 || strange > 1:
		return 0
	case p.timed() != c.timed() && c.kind != watch.Text:
		return 0
	case c.leads && !strings.HasSuffix(p.Path[len(p.Path)-1], "Id"):
		return 0
	case p.timed() && c.kind == watch.Text && !looksTimed(c.text()), p.Format == "date-time" && c.kind == watch.Day:
		return 0
	case (p.Type == openapi.TypeBoolean) != (c.kind == watch.Boolean), p.Type == openapi.TypeArray:
		return 0
	case c.join != "" && slices.Contains(path, "creditor") && !slices.Contains(c.words, "creditor"):
		return 0 // the row beside a payment is the customer's
	}
	score := 100*covered/len(p.leaf) + 30*(shared-covered) + 20*shared/len(path) - 20*strange
	if c.join != "" {
		score -= 5
	}
	return max(score, 1)
}

// looksTimed reports whether a text begins like a day.
func looksTimed(s string) bool { return dayText.MatchString(s) }

var dayText = regexp.MustCompile(`^\d{4}-\d{2}-\d{2}`)

// match gives each member the candidate that fits it best. A candidate serves one member, but an instant may serve several.
func match(all []*memberPlace, from []*columnValue) {
	type pair struct {
		p     *memberPlace
		c     *columnValue
		score int
	}
	var pairs []pair
	for _, p := range all {
		for _, c := range from {
			if s := p.fits(c); s > 0 {
				pairs = append(pairs, pair{p, c, s})
			}
		}
	}
	slices.SortStableFunc(pairs, func(a, b pair) int { return cmp.Compare(b.score, a.score) })
	used := map[*columnValue]bool{}
	for _, one := range pairs {
		if one.p.from == nil && !used[one.c] {
			one.p.from = one.c
			used[one.c] = true
		}
	}
	matchValues(all, from, used)
}

// matchValues gives a member of a closed list the one column whose value in the newest row is in that list, if no other column has such a
// value and no other member such a list.
func matchValues(all []*memberPlace, from []*columnValue, used map[*columnValue]bool) {
	open := func(p *memberPlace, c *columnValue) bool {
		return p.from == nil && len(p.Enum) > 1 && !used[c] && c.kind == watch.Text && slices.Contains(p.Enum, c.text())
	}
	for _, c := range from {
		places := slices.DeleteFunc(slices.Clone(all), func(p *memberPlace) bool { return !open(p, c) })
		if len(places) != 1 || slices.ContainsFunc(from, func(other *columnValue) bool { return other != c && open(places[0], other) }) {
			continue
		}
		places[0].from, places[0].guess = c, "its value in the newest row is one of "+some(places[0].Enum)
		used[c] = true
	}
}

// best is the candidate whose words are these and no others of ours, own columns first; nil: there is none.
func best(from []*columnValue, want ...string) *columnValue {
	var found *columnValue
	for _, c := range from {
		said := slices.DeleteFunc(slices.Clone(c.words), func(w string) bool {
			return c.join != "" && slices.Contains(meanings(c.join), w) && !slices.Contains(want, w)
		})
		if len(said) == len(want) && !slices.ContainsFunc(want, func(w string) bool { return !slices.Contains(said, w) }) && (found == nil || found.join != "" && c.join == "") {
			found = c
		}
	}
	return found
}
