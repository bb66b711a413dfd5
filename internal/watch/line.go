package watch

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/arauto/arauto/internal/brand"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

// maxLine is how large a change may be (contract "Sizes").
const maxLine = 64 << 10

// memberInvalid is the member by which a reader of a bus says why a message could not be read (package bus).
const memberInvalid = "_invalid"

// Mapped is what a mapping makes of a record. Of Line, Registration and Delete at most one is there.
type Mapped struct {
	Line         []byte           // a change
	Registration *Registration    // of an initiator
	Delete       notice.ClientID  // an initiator is gone
	Brand        string           // that the mapping names for it; "": none
	Skipped      string           // why nothing is made of it, "" otherwise: its own `when`, or a deleted row
	SkippedPT    string           // the same in Portuguese
	Problems     []notice.Problem // why nothing can be made of it

	by       skipRule // with Skipped
	id       string   // as far as it is known
	client   notice.ClientID
	revision int64
}

// work is one record on its way through one rule.
type work struct {
	rule *rule
	rec  *SourceRecord
	env  map[string]any
	Mapped

	known    bool // `when` is decided
	lacking  bool // a joined row is not there
	finished bool
}

// mapper takes works through their steps: prepare, the lookups, finish. It serves one goroutine.
type mapper struct {
	computer
	find  Find // nil: joined rows stand in the record itself, by the join's name
	spare []map[string]any
	now   *work
}

func (m *mapper) on(w *work) {
	m.now, m.env = w, w.env
	if m.failed == nil {
		m.failed = func(e *expression, err error) {
			p := failure(e, err)
			if p.Code == codeExpression && m.now.lacking && m.now.rule.joinsIn(e.uses) {
				p = problem(e.pointer, codeJoin, e.key+" needs a row beside this one, and there is none",
					e.key+" precisa de uma linha relacionada a esta, e não há nenhuma")
			}
			m.now.Problems = append(m.now.Problems, p)
		}
	}
}

// needs is what of the record the rule looks at. Of a deleted client only the key's columns are known.
func (r *rule) needs(op Op) uses {
	if op == Delete && r.registration != nil {
		used := r.registration.client.uses
		if of := r.registration.brand; of != nil {
			used = uses{slices.Clone(used.names), slices.Clone(used.row), used.all}
			used.add(of.uses)
		}
		return used
	}
	return r.uses
}

// prepare fills in what expressions look at, and asks `when` where that needs no lookup.
func (m *mapper) prepare(w *work) {
	if len(m.spare) > 0 {
		w.env, m.spare = m.spare[len(m.spare)-1], m.spare[:len(m.spare)-1]
	} else {
		w.env = map[string]any{}
	}
	m.on(w)
	if w.rec.Op == Delete && w.rule.registration == nil {
		w.Skipped, w.by, w.finished = "the row was deleted, and no state follows from that", skipDeleted, true
		w.SkippedPT = "a linha foi apagada, e disso não decorre nenhum estado"
		return
	}
	if why, is := w.rec.Values[memberInvalid].(string); is && !w.rule.schema {
		w.Problems = append(w.Problems, problem("", codeUnreadable, why, "a mensagem não pôde ser lida: "+why))
		w.finished = true
		return
	}
	w.fill(w.rule.needs(w.rec.Op))
	w.finished = len(w.Problems) > 0
	if !w.finished && (w.rule.when == nil || w.rec.Op == Delete) {
		w.known = true
	} else if !w.finished && !w.rule.joinsIn(w.rule.when.uses) {
		m.when(w)
	}
}

func (m *mapper) when(w *work) {
	v, ok := m.value(w.rule.when)
	b, is := v.(bool)
	switch {
	case !ok:
		w.finished = true
	case !is:
		m.failed(w.rule.when, errNull)
		w.finished = true
	case !b:
		w.Skipped, w.by, w.finished = w.rule.when.key+" is false", skipWhen, true
		w.SkippedPT = w.rule.when.key + " é falso"
	}
	w.known = true
}

// fill puts into the environment what is looked at.
func (w *work) fill(u uses) {
	for _, name := range u.names {
		switch {
		case name == nameTable:
			w.env[name] = w.rec.Table
		case name == nameOp:
			w.env[name] = string(w.rec.Op)
		case name == nameCommitted:
			if at := w.rec.at(); !at.IsZero() {
				w.env[name] = at.UTC().Format(time.RFC3339Nano)
			}
		case slices.ContainsFunc(w.rule.joins, func(j lookup) bool { return j.name == name }):
		default:
			w.column(w.env, name)
		}
	}
	if len(u.row) == 0 && !u.all {
		return
	}
	row := map[string]any{}
	w.env[nameRow] = row
	for _, name := range u.row {
		w.column(row, name)
	}
	if u.all {
		for name := range w.rec.Values {
			w.column(row, name)
		}
	}
}

func (w *work) column(into map[string]any, name string) {
	v, there := w.rec.Values[name]
	if !there {
		if w.rule.schema {
			w.Problems = append(w.Problems, problem("", codeColumn, w.rule.key+" looks at the column "+name+", which this record has not",
				w.rule.key+" olha a coluna "+name+", que este registro não tem"))
		}
		return
	}
	v, err := plain(v)
	if _, missing := v.(Missing); missing {
		err = errMissing
	}
	if err != nil {
		code := codeLarge
		if errors.Is(err, errMissing) {
			code = codeMissing
		}
		w.Problems = append(w.Problems, problem("", code, "column "+name+": "+reason(err), "coluna "+name+": "+portuguese[reason(err)]))
		return
	}
	into[name] = v
}

// finish makes what the record means. The environment goes back to be used again.
func (m *mapper) finish(w *work) {
	m.on(w)
	if !w.finished && !w.known {
		m.when(w)
	}
	switch {
	case w.finished:
	case w.rule.registration != nil:
		m.register(w)
	default:
		m.change(w)
	}
	if len(w.Problems) > 0 {
		w.Line, w.Registration, w.Delete = nil, nil, ""
	}
	if w.env != nil {
		clear(w.env)
		m.spare, w.env = append(m.spare, w.env), nil
	}
	w.finished = true
}

func (m *mapper) register(w *work) {
	g := w.rule.registration
	gone := w.rec.Op == Delete
	if !gone && g.gone != nil {
		v, ok := m.value(g.gone)
		is, truth := v.(bool)
		if ok && !truth {
			m.failed(g.gone, errNull)
		}
		gone = is
	}
	if gone {
		w.Delete = notice.ClientID(m.text(g.client))
		w.client = w.Delete
		if g.brand != nil {
			w.Brand = m.text(g.brand)
		}
		if w.Delete != "" && (!notice.ValidClientID(string(w.Delete)) || w.Brand != "" && !brand.Valid(w.Brand)) {
			w.Problems = append(w.Problems, problem("/clientId", codeClient, g.client.key+": the client must have 1 to 255 printable ASCII characters without spaces, and its brand 1 to 32 of a-z, 0-9 and -",
				g.client.key+": o cliente deve ter de 1 a 255 caracteres ASCII visíveis, sem espaços, e sua marca de 1 a 32 caracteres entre a-z, 0-9 e -"))
		}
		return
	}
	w.Registration = g.make(&m.computer)
	w.client, w.Brand = w.Registration.Client, w.Registration.Brand
}

// change makes the line.
func (m *mapper) change(w *work) {
	r := w.rule
	w.id = m.must(w, r.id, codeID, "the id is null or empty", "o id é nulo ou vazio")
	w.client = notice.ClientID(m.must(w, r.client, codeClient, "the client is null or empty", "o cliente é nulo ou vazio"))
	if r.brand != nil {
		w.Brand = m.text(r.brand)
	}
	version := m.text(r.version)
	status := m.status(w)
	w.revision = m.revision(w)
	at := m.occurredAt(w)
	cause := m.cause(w)

	out := make([]byte, 0, 2048)
	out = append(out, `{"kind":"`...)
	out = append(append(out, r.kind.String()...), '"')
	if r.brand != nil {
		out = m.quote(append(out, `,"brand":`...), r.brand, w.Brand)
	}
	out = append(out, `,"clientId":`...)
	out = m.quote(out, r.client, string(w.client))
	out = append(out, `,"apiVersion":`...)
	out = m.quote(out, r.version, version)
	out = append(out, `,"revision":`...)
	out = strconv.AppendInt(out, w.revision, 10)
	out = append(out, `,"occurredAt":"`...)
	out = append(at.AppendFormat(out, time.RFC3339Nano), '"')
	if cause != ofb.Holder {
		out = append(append(append(out, `,"cause":"`...), cause...), '"')
	}
	out = append(out, `,"data":`...)
	out = append(m.document(out, w, status), '}')
	if len(out) > maxLine && len(w.Problems) == 0 {
		w.Problems = append(w.Problems, problem("", codeLarge, fmt.Sprintf("the change would have %d bytes, and may have %d", len(out), maxLine),
			fmt.Sprintf("a mudança teria %d bytes, e pode ter %d", len(out), maxLine)))
	}
	w.Line = out
}

// document writes data: the id and the state, unless the file draws them itself, then what it draws.
func (m *mapper) document(out []byte, w *work, status string) []byte {
	r := w.rule
	out = append(out, '{')
	comma := false
	for _, member := range []struct {
		name, value string
		from        *expression
	}{{r.kind.IDMember(), w.id, r.id}, {"status", status, r.status}} {
		if slices.Contains(r.data.names, member.name) {
			continue
		}
		if comma {
			out = append(out, ',')
		}
		out = append(append(append(out, '"'), member.name...), `":`...)
		out, comma = m.quote(out, member.from, member.value), true
	}
	out, _ = r.data.members(out, &m.computer, comma)
	return append(out, '}')
}

func (m *mapper) quote(out []byte, e *expression, s string) []byte {
	made, err := appendText(out, s)
	if err != nil {
		m.failed(e, err)
	}
	return made
}

// must computes a text, and names its absence by a code of its own.
func (m *mapper) must(w *work, e *expression, code, en, pt string) string {
	v, ok := m.value(e)
	if !ok {
		return ""
	}
	s, _ := v.(string)
	if s == "" {
		w.Problems = append(w.Problems, problem(e.pointer, code, e.key+": "+en, e.key+": "+pt))
	}
	return s
}

func (m *mapper) status(w *work) string {
	r := w.rule
	v, ok := m.value(r.status)
	if !ok {
		return ""
	}
	var s string
	if t, err := toText(v); err == nil {
		s, _ = t.(string)
	}
	if r.states != nil {
		s = r.states[s]
	}
	if !slices.Contains(r.kind.Statuses(), ofb.Status(s)) {
		w.Problems = append(w.Problems, problem(r.status.pointer, codeStatus, r.status.key+": the status of this record stands for no state of "+r.kind.String()+"; write it into the map",
			r.status.key+": o status deste registro não corresponde a nenhum estado de "+r.kind.String()+"; escreva-a no map"))
	}
	return s
}

// revision is the mapping's, or the origin's, shifted by the generation.
func (m *mapper) revision(w *work) int64 {
	r := w.rule
	if r.revision == nil {
		n := w.rec.Revision
		switch {
		case n > 0 && (r.generation == 0 || n < 1<<generationBits):
			return n + r.generation<<generationBits
		case n > 0: // shifted, it would be a number of another generation
			w.Problems = append(w.Problems, problem("/revision", codeRevision,
				fmt.Sprintf("the origin's revision needs more than the %d bits that generation %d leaves it; name a column that grows with each change of the row", generationBits, r.generation),
				fmt.Sprintf("a revisão da origem precisa de mais que os %d bits que a geração %d lhe deixa; indique uma coluna que cresça a cada mudança da linha", generationBits, r.generation)))
			return 0
		}
		w.Problems = append(w.Problems, problem("/revision", codeRevision, "the origin tells no revision that can be used; name a column that grows with each change of the row",
			"a origem não informa uma revisão utilizável; indique uma coluna que cresça a cada mudança da linha"))
		return 0
	}
	v, ok := m.value(r.revision)
	if !ok {
		return 0
	}
	var n int64
	switch v := v.(type) {
	case int:
		n = int64(v)
	case json.Number:
		n = digitsToInt(string(v))
	case string:
		n = digitsToInt(v)
	}
	if n <= 0 {
		w.Problems = append(w.Problems, problem("/revision", codeRevision, r.revision.key+": the revision is not a whole number above 0",
			r.revision.key+": a revisão não é um inteiro maior que 0"))
	}
	return n
}

// digitsToInt is 0 for what is no whole number.
func digitsToInt(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// occurredAt is the first instant that is possible.
func (m *mapper) occurredAt(w *work) time.Time {
	before := len(w.Problems)
	for _, e := range w.rule.occurredAt {
		v, ok := m.value(e)
		if !ok {
			return time.Time{}
		}
		if t, err := parseInstant(v); err == nil && possible(t, w.rec.at()) {
			return t
		}
	}
	if len(w.Problems) == before {
		key := join(w.rule.key, "occurredAt")
		w.Problems = append(w.Problems, problem("/occurredAt", codeInstant, key+": nothing tells when it happened: no instant since 2000 and at most 60 s after the commit",
			key+": nada informa quando ocorreu: nenhum instante desde 2000 e até 60 s após o commit"))
	}
	return time.Time{}
}

// cause is who is to be told to have caused it. What is read when a source is first connected is never announced
// (contract "First load").
func (m *mapper) cause(w *work) ofb.Cause {
	r := w.rule
	if w.rec.Op == Snapshot {
		return ofb.FirstLoad
	}
	if r.cause == nil {
		return ofb.Holder
	}
	v, ok := m.value(r.cause)
	if !ok {
		return ofb.Holder
	}
	switch s, _ := v.(string); ofb.Cause(s) {
	case ofb.Initiator:
		return ofb.Initiator
	case ofb.Holder:
	default:
		m.failed(r.cause, errCause)
	}
	return ofb.Holder
}

const errCause = badValue("the cause is holder or initiator")
