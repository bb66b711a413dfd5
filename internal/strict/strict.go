// Package strict reads JSON that somebody else wrote: token by token, once, bounded in depth, with its numbers as they are
// written. What else is strict, such as that no member stands twice, is the decoder's, which refuses it by itself.
//
// Who reads says what to make of an error: intake names the member of a change, a bus the byte of a message.
package strict

import (
	"bytes"
	"encoding/json"
	"errors"

	"github.com/go-json-experiment/json/jsontext"
)

// ErrDeep is the error about a value that is nested deeper than it may be.
var ErrDeep = errors.New("nested too deep")

// MaxMemory is how many bytes of memory the values of one line or message of 64 KiB may take: ten times its size. Documents
// of these APIs take less than three times theirs; what takes more is made of very many very small values.
const MaxMemory = 10 * 64 << 10

// What values take in memory, in bytes, beside the bytes of texts and numbers; measured with Go 1.26 on 64 bits and rounded
// up. A list or an object counts as a value, too.
const (
	valueTakes  = 56
	memberTakes = 36  // its place in an object that has more than a few
	objectTakes = 280 // the places that an object makes for its first members
)

// ErrMany is the error about a value that holds so many values that it takes more memory than it may.
var ErrMany = errors.New("too many values")

// Reader reads values. Without Names it keeps nothing between them and may be used by many goroutines.
type Reader struct {
	Depth  int                            // of objects and lists within each other
	Memory int                            // bytes that one value may take, about; see MaxMemory
	Number func(text string) (any, error) // what becomes of a number; nil: a json.Number
	Names  *Names                         // nil: the name of each member is a string of its own
}

// Names keeps one string for each name of members that documents repeat, and how many members they have. It is for one goroutine. The zero
// value is ready.
type Names struct {
	known map[string]string
	last  int // members of the last outermost object that had more than a map's first place holds
}

// What Names keeps at most: a few hundred names are all that these APIs have.
const (
	mostNames   = 512
	longestName = 64 // bytes
	mostMembers = 32
)

// Of returns the string of a name. One that is too long is a string of its own. When there are too many, it begins anew.
func (n *Names) Of(name []byte) string {
	if have, known := n.known[string(name)]; known {
		return have
	}
	s := string(name)
	if len(s) > longestName {
		return s
	}
	if n.known == nil || len(n.known) == mostNames { // full of names that nobody repeats, it would be of no use
		n.known = map[string]string{}
	}
	n.known[s] = s
	return s
}

// Name reads the decoder's next token, which is the name of a member, with nil as n, too.
func (n *Names) Name(d *jsontext.Decoder) (string, error) {
	if n == nil || d.PeekKind() != '"' {
		token, err := d.ReadToken()
		if err != nil {
			return "", err
		}
		return token.String(), nil
	}
	quoted, err := d.ReadValue()
	if err != nil {
		return "", err
	}
	if name := quoted[1 : len(quoted)-1]; bytes.IndexByte(name, '\\') < 0 {
		return n.Of(name), nil
	}
	name, err := jsontext.AppendUnquote(nil, quoted)
	return string(name), err
}

// Value reads the decoder's next value: nil, bool, string, what Number makes, []any or map[string]any. depth is that of an
// object or list that would begin here; the outermost has 1. Errors are the decoder's, Number's, ErrDeep, or ErrMany.
func (r *Reader) Value(d *jsontext.Decoder, depth int) (any, error) {
	return (&reading{Reader: r, decoder: d, left: r.Memory, outermost: depth}).value(depth)
}

// reading is one call of Value.
type reading struct {
	*Reader
	decoder   *jsontext.Decoder
	left      int // bytes of memory
	outermost int // depth
}

func (r *reading) value(depth int) (any, error) {
	token, err := r.decoder.ReadToken()
	if err != nil {
		return nil, err
	}
	if !r.take(valueTakes) {
		return nil, ErrMany
	}
	switch token.Kind() {
	case 'n':
		return nil, nil
	case 't', 'f':
		return token.Bool(), nil
	case '"':
		return token.String(), nil
	case '0':
		if r.Number == nil {
			return json.Number(token.String()), nil
		}
		return r.Number(token.String())
	}
	if depth > r.Depth {
		return nil, ErrDeep
	}
	if token.Kind() == '[' {
		return r.list(depth)
	}
	return r.object(depth)
}

// take counts memory and reports whether there was that much.
func (r *reading) take(bytes int) bool {
	r.left -= bytes
	return r.left >= 0
}

func (r *reading) list(depth int) (any, error) {
	list := []any{}
	for r.decoder.PeekKind() != ']' {
		v, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	_, err := r.decoder.ReadToken()
	return list, err
}

func (r *reading) object(depth int) (any, error) {
	members := r.members(depth)
	for r.decoder.PeekKind() != '}' {
		name, err := r.Names.Name(r.decoder)
		if err != nil {
			return nil, err
		}
		takes := memberTakes
		if len(members) == 0 {
			takes = objectTakes
		}
		if !r.take(takes) {
			return nil, ErrMany
		}
		if members[name], err = r.value(depth + 1); err != nil {
			return nil, err
		}
	}
	if _, err := r.decoder.ReadToken(); err != nil {
		return nil, err
	}
	if r.Names != nil && depth == r.outermost && len(members) > 8 {
		r.Names.last = min(len(members), mostMembers)
	}
	return members, nil
}

// members is an empty object with room for as many members as the last one had.
func (r *reading) members(depth int) map[string]any {
	if r.Names == nil || depth != r.outermost {
		return map[string]any{}
	}
	return make(map[string]any, r.Names.last)
}
