package postgres

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"unicode/utf8"

	"github.com/arauto/arauto/internal/watch"
)

// form is what becomes of a value that the database sends as text.
type form struct {
	kind    kind
	element *form // of an array
	comma   byte  // between an array's elements
}

type kind uint8

const (
	textual kind = iota
	numeral
	truth
	instant // with an offset, which is +00 in our sessions
	local   // without one, and of an unknown zone
	day
	document
	binary
	array
)

// forms are those of the types that every server has, by their object ids, which never change (pg_type.dat). Types that
// are not here are looked up; what is unknown then is text, numeric among them: its digits are money.
var forms = map[uint32]*form{
	16: {kind: truth}, 17: {kind: binary}, 18: {}, 19: {}, 20: {kind: numeral}, 21: {kind: numeral}, 23: {kind: numeral},
	25: {}, 114: {kind: document}, 700: {kind: numeral}, 701: {kind: numeral}, 1042: {}, 1043: {}, 1082: {kind: day},
	1083: {}, 1114: {kind: local}, 1184: {kind: instant}, 1700: {}, 2950: {}, 3802: {kind: document},
}

// column is the type that expressions are checked against.
func (f *form) column() watch.Type {
	switch f.kind {
	case numeral:
		return watch.Number
	case truth:
		return watch.Boolean
	case instant:
		return watch.Instant
	case local:
		return watch.Local
	case day:
		return watch.Day
	case document, array:
		return watch.JSON
	default:
		return watch.Text
	}
}

// value makes a record's value of the database's text. Text that does not look as it should stays text, so that the
// mapping's checks see it and nothing is lost.
func (f *form) value(text []byte) any {
	switch f.kind {
	case numeral:
		if !isNumber(text) {
			break // NaN and the infinities of floats
		}
		return json.Number(text)
	case truth:
		return len(text) == 1 && text[0] == 't'
	case instant, local, day:
		return moment(text, f.kind)
	case document:
		if v, err := watch.DecodeJSON(text); err == nil {
			return v
		}
	case binary:
		if raw, ok := bytes.CutPrefix(text, []byte(`\x`)); ok {
			if decoded, err := hex.DecodeString(string(raw)); err == nil {
				return base64.StdEncoding.EncodeToString(decoded)
			}
		}
	case array:
		if v, ok := f.elements(text); ok {
			return v
		}
	}
	return string(text)
}

// isNumber reports whether text is a number as JSON writes it. Integers, and floats as the server prints them, are.
func isNumber(text []byte) bool {
	digits := 0
	for i, c := range text {
		switch {
		case c >= '0' && c <= '9':
			digits++
		case c == '-' && i == 0, c == '.' && digits > 0, (c == 'e' || c == '+' || c == '-') && digits > 0:
		default:
			return false
		}
	}
	return digits > 0 && json.Valid(text)
}

// moment makes RFC 3339 text of "2026-11-22 03:25:01.5+00", and of the same without offset text that has none either; a
// date is as it should be. An infinity is empty. A year that RFC 3339 cannot write, before 1 or after 9999, stays as the database prints it.
func moment(text []byte, k kind) string {
	if string(text) == "infinity" || string(text) == "-infinity" {
		return ""
	}
	const date, second = len("2006-01-02"), len("2006-01-02 15:04:05")
	if k == day {
		return string(text)
	}
	rest := text
	if k == instant {
		var ok bool
		if rest, ok = bytes.CutSuffix(text, []byte("+00")); !ok {
			return string(text)
		}
	}
	if len(rest) < second || rest[4] != '-' || rest[date] != ' ' || !isFraction(rest[second:]) {
		return string(text)
	}
	made := make([]byte, 0, len(rest)+1)
	made = append(made, rest...)
	if k == instant {
		made = append(made, 'Z')
	}
	made[date] = 'T'
	return string(made)
}

func isFraction(text []byte) bool {
	if len(text) == 0 {
		return true
	}
	for _, c := range text[1:] {
		if c < '0' || c > '9' {
			return false
		}
	}
	return text[0] == '.' && len(text) > 1
}

// deepest is how many dimensions an array has at most (MAXDIM).
const deepest = 6

// elements reads an array as array_out writes it: {1,NULL,"a \"b\""}, nested for more dimensions, with bounds before it
// when they are not the usual ones: [0:1]={a,b}.
func (f *form) elements(text []byte) ([]any, bool) {
	if len(text) > 0 && text[0] == '[' {
		_, after, found := bytes.Cut(text, []byte("]={"))
		if !found {
			return nil, false
		}
		text = append([]byte{'{'}, after...)
	}
	v, rest, ok := f.braces(text, 1)
	return v, ok && len(rest) == 0
}

func (f *form) braces(text []byte, depth int) (all []any, rest []byte, ok bool) {
	if len(text) < 2 || text[0] != '{' || depth > deepest {
		return nil, nil, false
	}
	all, text = []any{}, text[1:]
	if text[0] == '}' {
		return all, text[1:], true
	}
	for {
		var v any
		if len(text) > 0 && text[0] == '{' {
			v, text, ok = f.braces(text, depth+1)
		} else {
			v, text, ok = f.one(text)
		}
		if !ok || len(text) == 0 {
			return nil, nil, false
		}
		all = append(all, v)
		end := text[0]
		text = text[1:]
		switch end {
		case '}':
			return all, text, true
		case f.comma:
		default:
			return nil, nil, false
		}
	}
}

// one reads an element, quoted or not.
func (f *form) one(text []byte) (v any, rest []byte, ok bool) {
	var content []byte
	quoted := len(text) > 0 && text[0] == '"'
	if quoted {
		text = text[1:]
	}
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '\\':
			if i++; i == len(text) {
				return nil, nil, false
			}
			content = append(content, text[i])
		case quoted && c == '"':
			return f.element.value(content), text[i+1:], true
		case !quoted && (c == f.comma || c == '}'):
			if string(content) == "NULL" {
				return nil, text[i:], true
			}
			return f.element.value(content), text[i:], len(content) > 0
		default:
			content = append(content, c)
		}
	}
	return nil, nil, false
}

// printable makes a value of a key fit for people's eyes: short and valid UTF-8.
func printable(text []byte) string {
	const most = 64
	if len(text) > most {
		cut := text[:most]
		for len(cut) > 0 && !utf8.Valid(cut) && len(cut) > most-utf8.UTFMax {
			cut = cut[:len(cut)-1]
		}
		return string(bytes.ToValidUTF8(cut, []byte("?"))) + "…"
	}
	return string(bytes.ToValidUTF8(text, []byte("?")))
}
