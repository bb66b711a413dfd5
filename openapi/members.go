package openapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// rawMember is a member of a JSON object: its name and the text of its value as it was received.
type rawMember struct {
	name  string
	value json.RawMessage
}

// rawMembers is a JSON object that keeps order and values, so that a document which is changed in one place stays what
// it was everywhere else (contract "Schemas": value for value).
type rawMembers []rawMember

var errNoObject = errors.New("document is not a JSON object")

// parseMembers reads one JSON object.
func parseMembers(document []byte) (rawMembers, error) {
	decoder := json.NewDecoder(bytes.NewReader(document))
	if opening, err := decoder.Token(); err != nil || opening != json.Delim('{') {
		return nil, errNoObject
	}
	var m rawMembers
	for decoder.More() {
		token, err := decoder.Token()
		if err != nil {
			return nil, errNoObject
		}
		name, _ := token.(string)
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return nil, errNoObject // the decoder's words may repeat the value
		}
		m = append(m, rawMember{name, value})
	}
	if _, err := decoder.Token(); err != nil {
		return nil, errNoObject
	}
	return m, nil
}

func (m rawMembers) index(name string) int {
	return slices.IndexFunc(m, func(x rawMember) bool { return x.name == name })
}

// has tells whether there is a member of that name.
func (m rawMembers) has(name string) bool { return m.index(name) >= 0 }

// object is the member as an object; an error when it is missing or no object.
func (m rawMembers) object(name string) (rawMembers, error) {
	i := m.index(name)
	if i < 0 {
		return nil, fmt.Errorf("document has no %s", name)
	}
	inner, err := parseMembers(m[i].value)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return inner, nil
}

// str is the member as a string; "" when it is missing or no string.
func (m rawMembers) str(name string) string {
	var s string
	if i := m.index(name); i >= 0 && json.Unmarshal(m[i].value, &s) != nil {
		return ""
	}
	return s
}

// set gives a member a new value, in its place, or adds it at the end.
func (m *rawMembers) set(name string, value json.RawMessage) {
	if i := m.index(name); i >= 0 {
		(*m)[i].value = value
		return
	}
	*m = append(*m, rawMember{name, value})
}

// keep leaves only the members of those names, in the order they have.
func (m rawMembers) keep(names ...string) rawMembers {
	return slices.DeleteFunc(m, func(x rawMember) bool { return !slices.Contains(names, x.name) })
}

// drop leaves out the member of that name.
func (m rawMembers) drop(name string) rawMembers {
	return slices.DeleteFunc(m, func(x rawMember) bool { return x.name == name })
}

// text writes the object.
func (m rawMembers) text() json.RawMessage {
	var out bytes.Buffer
	out.WriteByte('{')
	for i, x := range m {
		if i > 0 {
			out.WriteByte(',')
		}
		out.Write(quote(x.name))
		out.WriteByte(':')
		out.Write(x.value)
	}
	out.WriteByte('}')
	return out.Bytes()
}

func quote(s string) json.RawMessage {
	text, _ := json.Marshal(s) // a string can always be encoded
	return text
}
