package ofb

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// member is a member of a JSON object: its name and the text of its value.
type member struct {
	name string
	text json.RawMessage
}

// decoded is the value, with numbers as json.Number. The text is our own and valid.
func (m member) decoded() any {
	decoder := json.NewDecoder(bytes.NewReader(m.text))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		panic(fmt.Sprintf("ofb: decode %s: %v", m.name, err))
	}
	return value
}

// span is where the value of a member stands in a document: document[start:end].
type span struct {
	name       string
	start, end int
}

// errNotObject is what setMembers says of a document it cannot edit.
var errNotObject = errors.New("document is not one JSON object")

// setMembers gives members of a JSON object new values. A member that exists keeps its place; a new one comes last.
// Everything else stays byte for byte, white space included, since the author of the document may have signed or
// hashed it and numbers must not be rewritten.
func setMembers(document []byte, set []member) ([]byte, error) {
	spans, err := members(document)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	done := 0 // document[:done] is written
	for _, s := range spans {
		if i := slices.IndexFunc(set, func(m member) bool { return m.name == s.name }); i >= 0 {
			out.Write(document[done:s.start])
			out.Write(set[i].text)
			done = s.end
		}
	}
	end := bytes.IndexByte(document, '{') + 1
	if len(spans) > 0 {
		end = spans[len(spans)-1].end
	}
	out.Write(document[done:end])
	comma := len(spans) > 0
	for _, m := range set {
		if slices.ContainsFunc(spans, func(s span) bool { return s.name == m.name }) {
			continue
		}
		if comma {
			out.WriteByte(',')
		}
		comma = true
		fmt.Fprintf(&out, "%q:%s", m.name, m.text)
	}
	out.Write(document[end:])
	return out.Bytes(), nil
}

// members finds the values of an object's members, in their order.
func members(document []byte) ([]span, error) {
	if !json.Valid(document) {
		return nil, errNotObject
	}
	decoder := json.NewDecoder(bytes.NewReader(document))
	if opening, err := decoder.Token(); err != nil || opening != json.Delim('{') {
		return nil, errNotObject
	}
	var spans []span
	seen := map[string]bool{}
	for decoder.More() {
		token, err := decoder.Token()
		if err != nil {
			return nil, fmt.Errorf("read a member's name: %w", err)
		}
		name, _ := token.(string)
		if seen[name] {
			return nil, errors.New("document has two members of one name")
		}
		seen[name] = true
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return nil, fmt.Errorf("read a member's value: %w", err)
		}
		end := int(decoder.InputOffset())
		spans = append(spans, span{name: name, start: end - len(value), end: end})
	}
	return spans, nil
}
