package intake

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/arauto/arauto/internal/strict"
)

// Bounds of one line (contract "Sizes").
const (
	MaxLine  = 64 << 10 // bytes, payloadJWS included
	maxDepth = 32       // nesting, the line's own object included
)

// TooLarge is the Code of a line of more than MaxLine bytes.
const TooLarge = "too_large"

// LineError is the error for a line that is not a change: not JSON, an unknown or repeated member, too large, too deep. Nothing
// of it is stored.
type LineError struct {
	Pointer  string
	Code     string // TooLarge, or another word
	Detail   string
	DetailPT string // the same in Portuguese
}

// Error returns the reason without repeating any input.
func (e *LineError) Error() string { return e.Detail }

// lineError makes a LineError. args are put into both texts.
func lineError(pointer, code string, reason [2]string, args ...any) *LineError {
	return &LineError{Pointer: pointer, Code: code, Detail: fmt.Sprintf(reason[0], args...), DetailPT: fmt.Sprintf(reason[1], args...)}
}

// members of a line. Absent ones are nil.
type members struct {
	values map[string]any
	data   map[string]any
	raw    []byte // the bytes of data: a part of the line
}

var known = map[string]bool{
	"kind": true, "brand": true, "clientId": true, "apiVersion": true, "revision": true, "occurredAt": true, "cause": true, "notBefore": true, "data": true,
}

// usualMembers is how many members a line has in a deployment of one brand: more would cost each line a larger map.
const usualMembers = 8

// lineReader reads one line after the other. It keeps the room in which the decoder remembers the members of objects, and their names.
type lineReader struct {
	*jsontext.Decoder
	names strict.Names
}

// lineReaders are used again. One that read a line of more than usualLine bytes may have much room, and goes.
var lineReaders = sync.Pool{New: func() any { return &lineReader{Decoder: jsontext.NewDecoder(&bytes.Buffer{})} }}

const usualLine = 8 << 10

// decode reads one line strictly: UTF-8, no duplicate member, no unknown one, bounded in size and depth, nothing after
// the object. Numbers stay as they are written. The line must not change afterwards.
func decode(line []byte) (*members, error) {
	if len(line) > MaxLine {
		return nil, lineError("", TooLarge, [2]string{"a change may have %d bytes at most", "uma mudança pode ter no máximo %d bytes"}, MaxLine)
	}
	d, _ := lineReaders.Get().(*lineReader)
	d.Reset(bytes.NewBuffer(line))
	if len(line) <= usualLine {
		defer func() {
			d.Reset(&bytes.Buffer{}) // it keeps no line
			lineReaders.Put(d)
		}()
	}
	if d.PeekKind() != '{' {
		if _, err := d.ReadToken(); err != nil {
			return nil, syntax(err)
		}
		return nil, lineError("", "not_an_object", [2]string{"a change is one JSON object", "uma mudança é um objeto JSON"})
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, syntax(err)
	}
	m := &members{values: make(map[string]any, usualMembers)}
	values := memberValues{names: &d.names}
	for d.PeekKind() != '}' {
		member, err := d.names.Name(d.Decoder)
		if err != nil {
			return nil, syntax(err)
		}
		if !known[member] {
			return nil, lineError("/"+jsontextEscape(member), "unknown_member", [2]string{"this member is not part of a change; its members are %s", "este membro não faz parte de uma mudança; os membros dela são %s"}, memberList)
		}
		before := d.InputOffset()
		value, err := values.read(d.Decoder, member)
		if err != nil {
			return nil, err
		}
		m.values[member] = value
		if object, ok := value.(map[string]any); ok && member == "data" {
			m.data, m.raw = object, slices.Clip(bytes.TrimLeft(line[before:d.InputOffset()], ": \t\r\n"))
		}
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, syntax(err)
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, lineError("", "trailing_data", [2]string{"there is something after the object; one line holds one change", "há algo depois do objeto; uma linha tem uma mudança"})
	}
	return m, nil
}

const memberList = "kind, brand, clientId, apiVersion, revision, occurredAt, cause, notBefore and data"

// jsontextEscape makes a received name safe to show: at most 64 characters, escaped as a JSON pointer token.
func jsontextEscape(name string) string {
	if len(name) > 64 {
		name = strings.ToValidUTF8(name[:64], "")
	}
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(strconv.QuoteToASCII(name)[1 : len(strconv.QuoteToASCII(name))-1])
}

// syntax turns the decoder's error into ours.
func syntax(err error) error {
	var s *jsontext.SyntacticError
	switch {
	case errors.As(err, &s) && errors.Is(err, jsontext.ErrDuplicateName):
		return lineError(jsonPointer(s.JSONPointer), "duplicate_member", [2]string{"this member stands twice in its object", "este membro aparece duas vezes no objeto"})
	case errors.As(err, &s) && strings.Count(string(s.JSONPointer), "/") > maxDepth: // the decoder has a bound of its own
		return tooDeep("/" + strings.SplitN(string(s.JSONPointer), "/", 3)[1])
	case errors.As(err, &s):
		return lineError(jsonPointer(s.JSONPointer), "invalid_json", [2]string{"not valid JSON in UTF-8, near byte %d", "não é JSON válido em UTF-8, perto do byte %d"}, s.ByteOffset)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return lineError("", "invalid_json", [2]string{"not valid JSON: it ends too early", "não é JSON válido: termina cedo demais"})
	}
	return lineError("", "invalid_json", [2]string{"not valid JSON", "não é JSON válido"})
}

func tooDeep(at string) error {
	return lineError(at, "too_deep", [2]string{"nested more than %d levels deep", "tem mais de %d níveis de profundidade"}, maxDepth)
}

func jsonPointer(p jsontext.Pointer) string {
	return strings.ToValidUTF8(string(p[:min(len(p), 256)]), "")
}

// memberValues reads the values of a line's members. The line's own object has depth 1.
type memberValues struct {
	names  *strict.Names
	member string // for errors
	reader *strict.Reader
}

func (m *memberValues) read(d *jsontext.Decoder, member string) (any, error) {
	if m.member = member; m.reader == nil {
		m.reader = &strict.Reader{Depth: maxDepth, Memory: strict.MaxMemory, Number: func(text string) (any, error) { return number(text, m.member) }, Names: m.names}
	}
	v, err := m.reader.Value(d, 2)
	if err == nil {
		return v, nil
	}
	at := "/" + member
	if line := (*LineError)(nil); errors.As(err, &line) {
		return nil, line
	}
	switch {
	case errors.Is(err, strict.ErrDeep):
		return nil, tooDeep(at)
	case errors.Is(err, strict.ErrMany):
		return nil, lineError(at, "too_many_values", [2]string{
			"holds too many values: they would take more than %d KiB of memory; send what the API's schema knows and nothing else",
			"tem valores demais: ocupariam mais de %d KiB de memória; envie o que o esquema da API conhece e nada mais",
		}, strict.MaxMemory>>10)
	}
	return nil, syntax(err)
}

// number keeps a number as written, and refuses one no field of these APIs could mean.
func number(text, member string) (any, error) {
	if len(text) <= 64 {
		if _, err := strconv.ParseFloat(text, 64); err == nil {
			return json.Number(text), nil
		}
	}
	return nil, lineError("/"+member, "number_range", [2]string{"a number is out of range", "um número está fora da faixa"})
}
