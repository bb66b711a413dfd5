package watch

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"
)

// Bounds of one value of a record: of what an expression looks at, and of what becomes JSON.
const (
	maxNodesOfValue = 10_000
	maxDepth        = 32
)

const (
	errLarge  = badValue("a value has more than 10000 parts, or is nested too deep")
	errNoJSON = badValue("a value cannot be written as JSON")
)

// plain makes a record's value one that expressions can compare and compute with: a json.Number becomes an int, or a
// float where one holds exactly what is written, else it stays text. Debezium's placeholder becomes Missing. The value itself is
// not changed.
func plain(v any) (any, error) {
	left := maxNodesOfValue
	return plainPart(v, maxDepth, &left)
}

func plainPart(v any, depth int, left *int) (any, error) {
	if *left--; *left < 0 || depth == 0 {
		return nil, errLarge
	}
	switch v := v.(type) {
	case string:
		if v == unavailable {
			return Missing{}, nil
		}
		return v, nil
	case nil, bool, int, float64, Missing:
		return v, nil
	case json.Number:
		return number(string(v)), nil
	case []any:
		list := make([]any, len(v))
		for i, element := range v {
			var err error
			if list[i], err = plainPart(element, depth-1, left); err != nil {
				return nil, err
			}
		}
		return list, nil
	case map[string]any:
		object := make(map[string]any, len(v))
		for name, member := range v {
			var err error
			if object[name], err = plainPart(member, depth-1, left); err != nil {
				return nil, err
			}
		}
		return object, nil
	}
	return nil, errNoJSON
}

// number is an int, else a float if that is exact, else the digits.
func number(digits string) any {
	if n, err := strconv.Atoi(digits); err == nil {
		return n
	}
	f, err := strconv.ParseFloat(digits, 64)
	if err != nil {
		return digits
	}
	significant := 0 // more than 15 digits are not kept by a float
	for i := range len(digits) {
		if c := digits[i]; c == 'e' || c == 'E' {
			break
		} else if c >= '0' && c <= '9' {
			significant++
		}
	}
	if significant > 15 {
		return digits
	}
	return f
}

// appendJSON writes a value: members in order of their names, so that the same value gives the same bytes.
func appendJSON(b []byte, v any, depth int) ([]byte, error) {
	if depth == 0 {
		return b, errLarge
	}
	var err error
	switch v := v.(type) {
	case nil:
		return append(b, "null"...), nil
	case bool:
		return strconv.AppendBool(b, v), nil
	case string:
		return appendText(b, v)
	case int:
		return strconv.AppendInt(b, int64(v), 10), nil
	case int64:
		return strconv.AppendInt(b, v, 10), nil
	case float64:
		return appendFloat(b, v)
	case json.Number:
		if !json.Valid([]byte(v)) {
			return b, errNoJSON
		}
		return append(b, v...), nil
	case []any:
		b = append(b, '[')
		for i, element := range v {
			if i > 0 {
				b = append(b, ',')
			}
			if b, err = appendJSON(b, element, depth-1); err != nil {
				return b, err
			}
		}
		return append(b, ']'), nil
	case map[string]any:
		b = append(b, '{')
		var room [24]string // members of most objects
		names := slices.AppendSeq(room[:0], maps.Keys(v))
		slices.Sort(names)
		for i, name := range names {
			if i > 0 {
				b = append(b, ',')
			}
			if b, err = appendText(b, name); err != nil {
				return b, err
			}
			if b, err = appendJSON(append(b, ':'), v[name], depth-1); err != nil {
				return b, err
			}
		}
		return append(b, '}'), nil
	case []int:
		list := make([]any, len(v))
		for i, n := range v {
			list[i] = n
		}
		return appendJSON(b, list, depth)
	}
	return b, errNoJSON
}

func appendFloat(b []byte, f float64) ([]byte, error) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return b, errNoJSON
	}
	if size := math.Abs(f); size != 0 && (size < 1e-6 || size >= 1e21) {
		return strconv.AppendFloat(b, f, 'e', -1, 64), nil
	}
	return strconv.AppendFloat(b, f, 'f', -1, 64), nil
}

const hexDigits = "0123456789abcdef"

// appendText writes a JSON string. Text that is not UTF-8 is no value of a document.
func appendText(b []byte, s string) ([]byte, error) {
	if !utf8.ValidString(s) {
		return b, badValue("a text is not UTF-8")
	}
	b = append(b, '"')
	from := 0
	for i := range len(s) {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' {
			continue
		}
		b = append(b, s[from:i]...)
		from = i + 1
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return append(append(b, s[from:]...), '"'), nil
}

// DecodeJSON reads one JSON value; numbers keep their digits, as json.Number.
func DecodeJSON(text []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is text after the JSON value")
	}
	return v, nil
}
