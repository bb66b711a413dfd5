// Package strict reads JSON that somebody else wrote: token by token, once, bounded in depth, with its numbers as they are
// written. What else is strict, such as that no member stands twice, is the decoder's, which refuses it by itself.
//
// Who reads says what to make of an error: intake names the member of a change, a bus the byte of a message.
package strict

import (
	"encoding/json"
	"errors"

	"github.com/go-json-experiment/json/jsontext"
)

// ErrDeep is the error about a value that is nested deeper than it may be.
var ErrDeep = errors.New("nested too deep")

// Reader reads values. It keeps nothing between them.
type Reader struct {
	Depth  int                            // of objects and lists within each other
	Number func(text string) (any, error) // what becomes of a number; nil: a json.Number
}

// Value reads the decoder's next value: nil, bool, string, what Number makes, []any or map[string]any. depth is that of an
// object or list that would begin here; the outermost has 1. Errors are the decoder's, Number's, or ErrDeep.
func (r *Reader) Value(d *jsontext.Decoder, depth int) (any, error) {
	token, err := d.ReadToken()
	if err != nil {
		return nil, err
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
		return r.list(d, depth)
	}
	return r.object(d, depth)
}

func (r *Reader) list(d *jsontext.Decoder, depth int) (any, error) {
	list := []any{}
	for d.PeekKind() != ']' {
		v, err := r.Value(d, depth+1)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	_, err := d.ReadToken()
	return list, err
}

func (r *Reader) object(d *jsontext.Decoder, depth int) (any, error) {
	members := map[string]any{}
	for d.PeekKind() != '}' {
		token, err := d.ReadToken()
		if err != nil {
			return nil, err
		}
		name := token.String()
		if members[name], err = r.Value(d, depth+1); err != nil {
			return nil, err
		}
	}
	_, err := d.ReadToken()
	return members, err
}
