package suggest

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/watch"
	"github.com/arauto/arauto/openapi"
)

// mappingWriter writes a mapping.
type mappingWriter struct {
	Wanted
	schemas *openapi.Schemas
	out     strings.Builder
	notes   []string // about the table that is being written
	todo    int
}

func (w *mappingWriter) say(indent int, format string, args ...any) {
	fmt.Fprintf(&w.out, strings.Repeat("  ", indent)+format+"\n", args...)
}

// head writes what is the same for all tables.
func (w *mappingWriter) head(listed bool, tables []string) {
	all := strings.Join(tables, ", ")
	w.say(0, `# A mapping to start from: names were compared, meanings were not. Read every line.
# TODO: it was not found, and rows go to quarantine until it is written. guess: it was inferred; make sure.
# docs/watching.md explains every key and function. arauto explain --source FILE --table T shows what becomes of the newest row.
source: %s
type: postgres
postgres:
  url_file: %s
  publication: arauto
  slot: arauto_%s
  create: true # makes the slot, and with it the first load of the rows that are there, of which nothing is told but deadlines that have passed`, w.Source, w.URLFile, strings.ReplaceAll(w.Source, "-", "_"))
	if !listed {
		w.say(0, `# Not done yet. The DBA runs, in the core's database, with wal_level = logical:
#   CREATE PUBLICATION arauto FOR TABLE %s WITH (publish = 'insert, update, delete, truncate', publish_via_partition_root = true);
#   ALTER ROLE … REPLICATION; -- the role of url_file
# arauto check --source FILE says what is still missing.`, all)
	}
	w.say(0, "tables:")
}

// table writes the mapping of one table.
func (w *mappingWriter) table(d *tableFound) {
	versions := d.kind.Versions()
	version := versions[len(versions)-1]
	all := places(d.kind, w.schemas.Members(d.kind, version))
	all = slices.DeleteFunc(all, func(p *memberPlace) bool {
		return len(p.Path) == 1 && (p.Path[0] == d.kind.IDMember() || p.Path[0] == "status")
	})
	id, client, state, named := w.identity(d), d.client(), d.state(), best(d.from, "version")
	taken := []*columnValue{id, client, state, named}
	match(all, slices.DeleteFunc(slices.Clone(d.from), func(c *columnValue) bool { return slices.Contains(taken, c) && c != nil && c != id }))
	w.refine(d, all)

	w.say(1, "%s:", quote(d.name))
	w.say(2, "kind: %s", d.kind)
	used := append([]*columnValue{id, client, state}, w.joins(d, all, client)...)
	w.id(d, id)
	if client != nil {
		note := ""
		if client.leads || client.kind == watch.Number {
			note = " # guess: the client id under which the initiator is registered"
		}
		w.say(2, "client: %s%s", quote(asText(client)), note)
	} else {
		w.missing(2, "client", "the client id of the initiator that owns it")
	}
	if named != nil && named.kind == watch.Text && (named.sample == nil || slices.Contains(versions, named.text())) {
		w.say(2, "version: %s", named.expression)
		used = append(used, named)
	} else {
		note := ""
		if len(versions) > 1 {
			note = " # guess: the API version under which the initiator created it, one of " + strings.Join(versions, ", ")
		}
		w.say(2, "version: %s%s", version, note)
	}
	w.state(d, state)
	used = append(used, w.occurred(d))
	w.say(2, "data:")
	w.object(3, all, nil)
	for _, n := range w.notes {
		w.say(2, "# %s", n)
	}
	w.notes = nil
	for _, p := range all {
		used = append(used, p.from)
	}
	w.unused(d, used)
}

// identity is the column that names the resource.
func (w *mappingWriter) identity(d *tableFound) *columnValue {
	if d.of != nil {
		return d.of
	}
	if len(d.facts.Primary) != 1 {
		return nil
	}
	i := slices.IndexFunc(d.from, func(c *columnValue) bool { return c.expression == watch.ColumnName(d.facts.Primary[0]) })
	if i < 0 {
		return nil
	}
	if known := external(d.from, ""); d.from[i].kind == watch.Number && known != nil {
		w.notes = append(w.notes, "id: "+known.expression+" was taken for what the API shows, and not the key "+d.from[i].expression)
		return known
	}
	return d.from[i]
}

// external is the column, of this row or of one beside it, that names a resource to others; nil: there is none.
func external(from []*columnValue, join string) *columnValue {
	for _, c := range from {
		name := plain.Replace(strings.ToLower(c.expression))
		if c.join == join && c.kind == watch.Text && !c.leads && externalName.MatchString(name[strings.LastIndexByte(name, '.')+1:]) {
			return c
		}
	}
	return nil
}

var externalName = regexp.MustCompile(`^(uid|uuid|guid)|_(uid|uuid|guid)$|^(id_?)?(externo|external|publico|public)(_?id)?$`)

// client is the column that names the initiator: one that is named like a client id first, of this row or of one beside it.
func (d *tableFound) client() *columnValue {
	var found *columnValue
	for _, c := range d.from {
		name := strings.ReplaceAll(strings.ToLower(c.expression[strings.LastIndexByte(c.expression, '.')+1:]), "_", "")
		if strings.Contains(name, "clientid") && c.kind == watch.Text && (found == nil || found.join != "" && c.join == "") {
			found = c
		}
	}
	if found == nil {
		found = best(d.from, "client")
	}
	return found
}

// state is the column of the state. It is no instant, and one whose values the catalog lists is preferred.
func (d *tableFound) state() *columnValue {
	able := slices.DeleteFunc(slices.Clone(d.from), func(c *columnValue) bool { return c.timed() || c.kind == watch.Boolean })
	listed := slices.DeleteFunc(slices.Clone(able), func(c *columnValue) bool {
		return !slices.ContainsFunc(d.facts.Columns, func(one watch.Column) bool {
			return watch.ColumnName(one.Name) == c.expression && d.facts.Values[one.Name] != nil
		})
	})
	if c := best(listed, "status"); c != nil {
		return c
	}
	return best(able, "status")
}

// refine corrects what names alone do not say.
func (w *mappingWriter) refine(d *tableFound, all []*memberPlace) {
	for _, p := range all {
		name := p.Path[len(p.Path)-1]
		if (name == "consentId" || name == "recurringConsentId") && p.from != nil && p.from.leads && p.from.kind == watch.Number {
			for _, j := range d.joins {
				if c := external(d.from, j.name); c != nil && j.value == p.from {
					p.from, p.guess = c, "what the API shows, and not the key"
					break
				}
			}
		}
		if d.of != nil && (p.from == nil || p.from.join != "") && len(p.Path) == 1 && name == "statusUpdateDateTime" {
			if c := onlyTimed(d.from); c != nil {
				p.from, p.guess = c, "the only instant of the row" // the one beside it is of the newest state
			}
		}
		if len(p.Path) == 1 && (name == "statusUpdateDateTime" || name == "creationDateTime") && p.from != nil && w.ahead(p.from) {
			w.notes = append(w.notes, "TODO "+p.from.expression+" of the newest row lies ahead if the core's clock shows "+w.Zone+"; name the zone that it shows (--zone), UTC perhaps")
			w.todo++
		}
	}
}

// onlyTimed is the one instant of this row; nil: there is none, or several.
func onlyTimed(from []*columnValue) (found *columnValue) {
	for _, c := range from {
		if c.join != "" || c.kind != watch.Instant && c.kind != watch.Local {
			continue
		}
		if found != nil {
			return nil
		}
		found = c
	}
	return found
}

// ahead reports whether a time without zone lies ahead, as the clock of the mapping's zone shows it.
func (w *mappingWriter) ahead(c *columnValue) bool {
	const shown = "2006-01-02T15:04:05"
	zone, err := time.LoadLocation(w.Zone)
	text := c.text()
	if err != nil || c.kind != watch.Local || len(text) < len(shown) {
		return false
	}
	t, err := time.ParseInLocation(shown, text[:len(shown)], zone)
	return err == nil && t.After(time.Now().Add(time.Minute))
}

func (w *mappingWriter) id(d *tableFound, c *columnValue) {
	switch {
	case c == nil:
		w.missing(2, "id", "the resource's id as the API shows it")
	case c.sample == nil || d.kind.CheckID(c.text()) == nil:
		w.say(2, "id: %s", quote(asText(c)))
	default:
		w.urn(2, "id", d.kind, asText(c), false)
	}
}

// urn writes an id to which the core does not keep the beginning.
func (w *mappingWriter) urn(indent int, member string, kind ofb.Kind, expression string, nullable bool) {
	name := map[ofb.Kind]string{ofb.PaymentConsent: "consent", ofb.RecurringConsent: "recurring-consent", ofb.Enrollment: "enrollment"}[kind]
	if name == "" {
		w.say(indent, "%s: %s", member, quote(expression))
		return
	}
	namespace, note := w.Namespace, " # guess: the API shows a URN"
	if namespace == "" {
		namespace, note = "?", " # TODO: the API shows a URN; write the bank's namespace for the question mark"
		w.todo++
	}
	text := fmt.Sprintf(`"urn:%s:%s:" + %s`, namespace, name, expression)
	if nullable {
		text = expression + " == nil ? nil : " + text
	}
	w.say(indent, "%s: %s%s", member, quote(text), note)
}

// joins writes the rows beside this one that anything comes from, and returns what leads to them.
func (w *mappingWriter) joins(d *tableFound, all []*memberPlace, client *columnValue) (lead []*columnValue) {
	for _, j := range d.joins {
		uses := func(c *columnValue) bool {
			return c != nil && (c.join == j.name || slices.ContainsFunc(d.joins, func(further join) bool { return further.through == j.name && c.join == further.name }))
		}
		if !uses(client) && !slices.ContainsFunc(all, func(p *memberPlace) bool { return uses(p.from) }) {
			continue
		}
		if lead == nil {
			w.say(2, "joins:")
		}
		lead = append(lead, j.value)
		w.say(3, "%s: {table: %s, column: %s, value: %s} # from the foreign key", j.name, quote(j.table), quote(j.column), quote(asText(j.value)))
	}
	return lead
}

func (w *mappingWriter) state(d *tableFound, c *columnValue) {
	if c == nil {
		w.missing(2, "status", "the column of the state; one of "+statuses(d.kind))
		return
	}
	values, listed := d.states(c)
	w.say(2, "status:")
	w.say(3, "value: %s", quote(c.expression))
	if !listed {
		w.say(3, "# the values of the newest rows; there may be others")
	}
	found := 0
	var lines []string
	for _, v := range values {
		switch s, guess, is := stateOf(d.kind, v); {
		case is && guess:
			lines, found = append(lines, fmt.Sprintf("%s: %s # guess", quote(v), s)), found+1
		case is:
			lines, found = append(lines, fmt.Sprintf("%s: %s", quote(v), s)), found+1
		default:
			lines = append(lines, fmt.Sprintf("# TODO %s: one of %s", quote(v), statuses(d.kind)))
			w.todo++
		}
	}
	if found == 0 {
		w.todo++
		w.say(3, "# TODO map: from each value of the column to one of %s", statuses(d.kind))
		for _, l := range lines {
			w.say(3, "%s", l)
		}
		return
	}
	w.say(3, "map:")
	for _, l := range lines {
		w.say(4, "%s", l)
	}
}

func statuses(kind ofb.Kind) string {
	var names []string
	for _, s := range kind.Statuses() {
		names = append(names, string(s))
	}
	return strings.Join(names, ", ")
}

// occurred writes when a change happened, and returns the column that says so; nil: there is none.
func (w *mappingWriter) occurred(d *tableFound) *columnValue {
	for _, words := range [][]string{{"status", "update"}, {"update"}} {
		if c := best(d.from, words...); c != nil && c.join == "" && (c.kind == watch.Instant || c.kind == watch.Local) {
			w.say(2, "occurredAt: [%s, committed_at] # guess: each change of the state sets it", quote(w.instant(c)))
			return c
		}
	}
	return nil
}

func (w *mappingWriter) instant(c *columnValue) string {
	if c.kind == watch.Instant || c.kind == watch.Text {
		return "instant(" + c.expression + ")"
	}
	return fmt.Sprintf("instant(%s, %q)", c.expression, w.Zone)
}

// object writes the members below a path.
func (w *mappingWriter) object(indent int, all []*memberPlace, at []string) {
	var without []string
	beside := nullBeside(all, at)
	for i := 0; i < len(all); {
		name := all[i].Path[len(at)]
		n := 1
		for i+n < len(all) && all[i+n].Path[len(at)] == name {
			n++
		}
		part, required := all[i:i+n], all[i].Required[len(at)]
		i += n
		if len(at) == 0 && len(part[0].Path) > 1 && !required {
			unsaid(part, meanings(name))
		}
		found := slices.ContainsFunc(part, func(p *memberPlace) bool { return p.from != nil })
		needed := slices.ContainsFunc(part, func(p *memberPlace) bool { return !slices.Contains(p.Required[len(at):], false) })
		switch {
		case !found && (!required || !needed):
			without = append(without, name)
		case len(part[0].Path) == len(at)+1:
			w.member(indent, part[0], beside, numberOf(all, len(at)))
		case part[0].Path[len(at)+1] == openapi.Items:
			w.say(indent, "%s:", name)
			w.say(indent+1, "-")
			w.object(indent+2, part, append(slices.Clone(at), name, openapi.Items))
		default:
			w.say(indent, "%s:", name)
			w.object(indent+1, part, append(slices.Clone(at), name))
		}
	}
	if len(without) > 0 {
		w.say(indent, "# without a column here, and not always required: %s", strings.Join(without, ", "))
	}
}

// unsaid takes their columns from the members of an object of the document that need not be there, if none of the columns says a word of its name: half an
// object that is there by mistake is worse than none.
func unsaid(part []*memberPlace, name []string) {
	if slices.ContainsFunc(part, func(p *memberPlace) bool {
		return p.from != nil && slices.ContainsFunc(p.from.words, func(w string) bool { return slices.Contains(name, w) })
	}) {
		return
	}
	for _, p := range part {
		p.from = nil
	}
}

// nullBeside says when an object is not there: where what its first member comes from is null. It is empty for an object that must be
// there.
func nullBeside(all []*memberPlace, at []string) string {
	for _, p := range all {
		if p.from != nil && p.from.nullable && slices.Contains(p.Required[:len(at)], false) {
			return "; null where " + p.from.expression + " is null"
		}
	}
	return ""
}

// numberOf is what the member identification comes from, among the members below one path.
func numberOf(all []*memberPlace, depth int) *columnValue {
	for _, p := range all {
		if len(p.Path) == depth+1 && p.Path[depth] == "identification" {
			return p.from
		}
	}
	return nil
}

// member writes one member.
// registers are the names of the register that a number is of, by their pattern where that leaves one only.
var registers = map[string]string{"^[A-Z]{3}$": "CPF", "^[A-Z]{4}$": "CNPJ"}

// beside is as nullBeside returns it; owner is what the number beside it comes from, if there is one.
func (w *mappingWriter) member(indent int, p *memberPlace, beside string, owner *columnValue) {
	name, c := p.Path[len(p.Path)-1], p.from
	switch {
	case c == nil && name == "rel" && registers[p.Pattern] != "" && owner != nil:
		text := `"` + registers[p.Pattern] + `"`
		if owner.nullable {
			text = owner.expression + " == nil ? nil : " + text
		}
		w.say(indent, "%s: %s", name, quote(text))
	case c == nil && len(p.Enum) == 1:
		w.say(indent, "%s: %s", name, quote(`"`+p.Enum[0]+`"`))
	case c == nil && name == "currency":
		w.say(indent, "%s: %s # guess", name, quote(`"BRL"`))
	case c == nil:
		w.missing(indent, name, about(p)+beside)
	case name == "consentId" || name == "recurringConsentId":
		kind := ofb.PaymentConsent
		if name == "recurringConsentId" {
			kind = ofb.RecurringConsent
		}
		if kind.CheckID(c.text()) == nil {
			w.say(indent, "%s: %s", name, quote(asText(c)))
			return
		}
		w.urn(indent, name, kind, asText(c), c.nullable)
	default:
		w.found(indent, name, p, c)
	}
}

func (w *mappingWriter) found(indent int, name string, p *memberPlace, c *columnValue) {
	text, note := asText(c), ""
	switch {
	case p.Format == "date-time":
		text = w.instant(c)
	case p.Format == "date" && c.kind == watch.Instant:
		text = fmt.Sprintf("date(%s, %q)", c.expression, w.Zone)
	case p.Format == "date":
		text = "date(" + c.expression + ")"
	case strings.Contains(p.Pattern, `\.\d{2}`) && slices.Contains(c.words, "cents"):
		text = "cents(" + c.expression + ")"
	case strings.Contains(p.Pattern, `\.\d{2}`):
		text = "amount(" + c.expression + ")"
		if c.kind == watch.Number {
			note = " # guess: the column counts reais; cents(" + c.expression + ") if it counts cents"
		}
	case c.kind == watch.Boolean || p.Type == openapi.TypeNumber || p.Type == openapi.TypeInteger:
		text = c.expression
	case len(p.Enum) > 0 && (c.sample == nil || !slices.Contains(p.Enum, c.text())):
		note = " # guess: its values must become one of " + some(p.Enum)
		if c.sample != nil {
			note = " # TODO: the newest row has none of " + some(p.Enum) + "; write each value with ? :"
			w.todo++
		}
	}
	if note == "" && p.guess != "" {
		note = " # guess: " + p.guess
	}
	w.say(indent, "%s: %s%s", name, quote(text), note)
}

// missing writes a member that must be there and was not found: null, so that a row is not told wrongly.
func (w *mappingWriter) missing(indent int, name, about string) {
	w.todo++
	w.say(indent, "%s: nil # TODO: %s", name, about)
}

// some are the values of a list, or the first of a long one.
func some(values []string) string {
	const most = 8
	if len(values) > most {
		return fmt.Sprintf("%s, … (%d in the API's document)", strings.Join(values[:3], ", "), len(values))
	}
	return strings.Join(values, ", ")
}

// about is what a member may be.
func about(p *memberPlace) string {
	switch {
	case len(p.Enum) > 0:
		return "one of " + some(p.Enum)
	case p.Format == "date-time":
		return "an instant"
	case p.Format == "date":
		return "a day"
	case p.Pattern != "":
		return "text that fits " + p.Pattern
	}
	return p.Type
}

// unused lists the columns that nothing was made of, whatever their type: of one with JSON, what the newest row has inside and nothing was
// made of, or its name where nothing is known of what is inside.
func (w *mappingWriter) unused(d *tableFound, used []*columnValue) {
	var names []string
	for _, column := range d.facts.Columns {
		name, known := watch.ColumnName(column.Name), false
		for _, c := range d.from {
			if c.join != "" || c.expression != name && !strings.HasPrefix(c.expression, name+"?.") {
				continue
			}
			if known = true; !slices.Contains(used, c) {
				names = append(names, c.expression)
			}
		}
		if !known {
			names = append(names, name)
		}
	}
	if len(names) > 0 {
		w.say(2, "# columns without a member: %s", strings.Join(names, ", "))
	}
}

// asText is the candidate as a text.
func asText(c *columnValue) string {
	if c.kind == watch.Number {
		return "string(" + c.expression + ")"
	}
	return c.expression
}

var bare = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.()]*$`)

// quote writes a text for YAML, in quotes where it needs them.
func quote(s string) string {
	switch strings.ToLower(s) {
	case "null", "true", "false", "yes", "no", "on", "off", "y", "n":
		return "'" + s + "'"
	}
	if bare.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", "''") + "'"
}
