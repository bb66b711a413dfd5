package watch

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Envelope is a record as quarantine keeps it, so that it can be mapped again after the mapping was corrected. The same
// record told again has the same bytes, so that it is the same case.
type Envelope struct {
	Source string
	Part   int // which mapping of its table it went through, counted from 0
	Record SourceRecord
	Cut    bool // the values were too large to keep; the core still has them
}

// maxEnvelope is how large an envelope may be.
const maxEnvelope = 1 << 20

// ErrNoEnvelope means that a line in quarantine is a change and not a source's record.
var ErrNoEnvelope = errors.New("the line is a change, not the record of a source")

// envelopeJSON is an envelope's text. Its names are stored for years.
type envelopeJSON struct {
	Source      string         `json:"source"`
	Table       string         `json:"table"`
	Part        int            `json:"part"`
	Op          Op             `json:"op"`
	Key         string         `json:"key"`
	Revision    int64          `json:"revision"`
	Position    string         `json:"position"`
	CommittedAt *time.Time     `json:"committedAt"`
	Missing     []string       `json:"missing"`
	Cut         bool           `json:"cut"`
	Values      map[string]any `json:"values"`
}

// Encode writes the envelope as JSON, members in a fixed order.
func (e Envelope) Encode() []byte {
	r := &e.Record
	b := make([]byte, 0, 1024)
	member := func(name, value string) {
		b = append(append(append(b, ',', '"'), name...), `":`...)
		b, _ = appendText(b, strings.ToValidUTF8(value, "\uFFFD"))
	}
	b = append(b, `{"source":`...)
	b, _ = appendText(b, strings.ToValidUTF8(e.Source, "\uFFFD"))
	member("table", r.Table)
	if e.Part > 0 {
		b = fmt.Appendf(b, `,"part":%d`, e.Part)
	}
	member("op", string(r.Op))
	member("key", r.Key)
	b = fmt.Appendf(b, `,"revision":%d`, r.Revision)
	member("position", r.Position)
	if at := r.at(); !at.IsZero() {
		member("committedAt", at.UTC().Format(time.RFC3339Nano))
	}
	var missing []any
	values := make(map[string]any, len(r.Values))
	for name, v := range r.Values {
		if _, is := v.(Missing); is {
			missing = append(missing, strings.ToValidUTF8(name, "\uFFFD"))
			continue
		}
		values[name] = v
	}
	if missing != nil {
		slices.SortFunc(missing, func(a, b any) int { return strings.Compare(a.(string), b.(string)) })
		b, _ = appendJSON(append(b, `,"missing":`...), missing, maxDepth)
	}
	whole := append(slices.Clip(b), `,"values":`...)
	whole, err := appendJSON(whole, values, 2*maxDepth)
	if err != nil || len(whole) > maxEnvelope || e.Cut {
		return append(b, `,"cut":true,"values":{}}`...)
	}
	return append(whole, '}')
}

// ParseEnvelope reads what Encode wrote; ErrNoEnvelope when the line is something else.
func ParseEnvelope(line []byte) (Envelope, error) {
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	d.DisallowUnknownFields() // a change has members of its own
	var in envelopeJSON
	if err := d.Decode(&in); err != nil || in.Values == nil || in.Table == "" {
		return Envelope{}, ErrNoEnvelope
	}
	e := Envelope{Source: in.Source, Part: in.Part, Cut: in.Cut, Record: SourceRecord{
		Table: in.Table, Op: in.Op, Key: in.Key, Revision: in.Revision, Position: in.Position, Values: in.Values,
	}}
	switch {
	case in.CommittedAt != nil && in.Op == Snapshot: // a first load knows no commits
		e.Record.ReadAt = in.CommittedAt.UTC()
	case in.CommittedAt != nil:
		e.Record.CommittedAt = in.CommittedAt.UTC()
	}
	for _, name := range in.Missing {
		e.Record.Values[name] = Missing{}
	}
	return e, nil
}

// rejected is what quarantine keeps of a record that made nothing.
func (w *work) rejected(e *Envelope) Rejected {
	id := w.rec.Key
	if w.rule.kind != 0 && w.rule.kind.CheckID(w.id) == nil {
		id = w.id
	}
	out := Rejected{
		Source: e.Source, ResourceID: shortened(id), Revision: w.revision, Line: e.Encode(), Problems: w.Problems, Brand: w.Brand,
	}
	if w.rule.kind != 0 {
		out.Kind = w.rule.kind.String()
	}
	if out.Revision <= 0 {
		out.Revision = w.rec.Revision
	}
	return out
}

// maxResourceID is how long a name of a resource may be where it is stored.
const maxResourceID = 256

// shortened makes a key fit to be stored and shown.
func shortened(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	for len(s) > maxResourceID {
		_, size := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-size]
	}
	return s
}
