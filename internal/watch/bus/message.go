// Package bus is shared by the readers of message buses: it turns a message into a watch.SourceRecord, keeps track of messages
// that are not committed yet, and holds the settings for TLS and login.
//
// A message is untrusted. Its body is read as strictly as a change the core would have sent: one JSON object in UTF-8,
// no member twice, at most 64 KiB and 32 levels. Any other body is handed over as a record that names
// the reason, and ends in quarantine: it delays nothing and is not lost.
//
// An acknowledgement follows a commit on our side and never comes before it. Ledger keeps that order: what was handed
// over leaves it from the front, and only once it is done.
package bus

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/arauto/arauto/internal/strict"
	"github.com/arauto/arauto/internal/watch"
)

// Bounds of a message.
const (
	MaxBody    = 64 << 10 // bytes of a body that is read
	MaxDepth   = 32       // nesting, the body's own object included
	MaxHeaders = 16 << 10 // bytes of all headers, names included
	maxKept    = 48 << 10 // bytes kept of a body that is not read; as base64 they are 64 KiB
	MaxKey     = 1 << 10  // bytes of a key
	maxNumber  = 64       // digits and signs of a number
	maxShown   = 200      // bytes of a key as people see it
)

// Members of a record's values that the bus gives and not the body. A body that has one of its own is refused: nobody
// could tell them apart.
const (
	MemberKey     = "_key"     // the message's key or subject; null: it has none, or it is not text
	MemberHeaders = "_headers" // an object of text; a header that is not text is null
	MemberInvalid = "_invalid" // why the body could not be read
	MemberBody    = "_body"    // its first 48 KiB as base64, beside MemberInvalid
)

// Header is one header of a message. Of two with the same name the later counts.
type Header struct {
	Name  string
	Value []byte
}

// Message is one delivered message of a bus.
type Message struct {
	Table     string // as the mapping names the topic, subject or queue
	Key       []byte // nil: none
	Headers   []Header
	Body      []byte
	Tombstone bool // the bus says that the key's resource is gone; Body means nothing

	Revision    int64     // 0: the bus has none
	Position    string    // where it stands, for people
	CommittedAt time.Time // zero: unknown
}

// Record returns the message as a record. It cannot fail: an unreadable body becomes a record that names the reason.
func (m Message) Record() watch.SourceRecord {
	r := watch.SourceRecord{
		Table: m.Table, Op: watch.Insert, Key: m.shownKey(),
		Revision: m.Revision, Position: m.Position, CommittedAt: m.CommittedAt,
	}
	headers, err := m.headers()
	if len(m.Key) > MaxKey {
		err = fmt.Errorf("the key has more than %d bytes", MaxKey)
	}
	if err == nil && !m.Tombstone {
		r.Values, err = object(m.Body)
	}
	switch {
	case err != nil:
		r.Values = map[string]any{
			MemberInvalid: err.Error(),
			MemberBody:    base64.StdEncoding.EncodeToString(m.Body[:min(len(m.Body), maxKept)]),
		}
	case m.Tombstone:
		r.Op, r.Values = watch.Delete, map[string]any{}
	}
	r.Values[MemberHeaders] = headers
	r.Values[MemberKey] = nil
	if m.Key != nil && len(m.Key) <= MaxKey && utf8.Valid(m.Key) {
		r.Values[MemberKey] = string(m.Key)
	}
	return r
}

// shownKey is the key for people: bounded, and without characters that a terminal or a log would obey.
func (m Message) shownKey() string {
	if m.Key == nil {
		return m.Table + " at " + m.Position
	}
	key := m.Key
	if len(key) > maxShown {
		key = key[:maxShown]
	}
	quoted := strconv.QuoteToGraphic(strings.ToValidUTF8(string(key), "\uFFFD"))
	return m.Table + " key=" + quoted[1:len(quoted)-1]
}

func (m Message) headers() (map[string]any, error) {
	size := 0
	all := make(map[string]any, len(m.Headers))
	for _, h := range m.Headers {
		if size += len(h.Name) + len(h.Value); size > MaxHeaders {
			return map[string]any{}, fmt.Errorf("the headers have more than %d bytes", MaxHeaders)
		}
		name := strings.ToValidUTF8(h.Name, "\uFFFD")
		if all[name] = nil; utf8.Valid(h.Value) {
			all[name] = string(h.Value)
		}
	}
	return all, nil
}

// object reads a body. Errors tell where, never what stands there.
func object(body []byte) (map[string]any, error) {
	switch {
	case len(body) == 0:
		return nil, errors.New("the body is empty; it must be one JSON object")
	case len(body) > MaxBody:
		return nil, fmt.Errorf("the body has %d bytes; %d are read at most", len(body), MaxBody)
	}
	d := jsontext.NewDecoder(bytes.NewBuffer(body))
	if kind := d.PeekKind(); kind != '{' && kind != 0 { // 0: the error comes with the token
		return nil, errors.New("the body is not a JSON object")
	}
	value, err := strictly.Value(d, 1)
	if err != nil {
		return nil, syntax(err)
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is something after the JSON object; one message holds one")
	}
	members, _ := value.(map[string]any)
	for _, reserved := range []string{MemberKey, MemberHeaders, MemberInvalid, MemberBody} {
		if _, has := members[reserved]; has {
			return nil, fmt.Errorf("the body has a member %q, which is the bus's own", reserved)
		}
	}
	return members, nil
}

// bodyRefusal is a rule of ours that a well-formed body breaks.
type bodyRefusal string

func (r bodyRefusal) Error() string { return string(r) }

func syntax(err error) error {
	var ours bodyRefusal
	var s *jsontext.SyntacticError
	switch {
	case errors.As(err, &ours):
		return ours
	case errors.Is(err, strict.ErrDeep):
		return bodyRefusal(fmt.Sprintf("the body is nested more than %d levels deep", MaxDepth))
	case errors.Is(err, strict.ErrMany):
		return bodyRefusal(fmt.Sprintf("the body holds too many values: they would take more than %d KiB of memory", strict.MaxMemory>>10))
	case errors.As(err, &s) && errors.Is(err, jsontext.ErrDuplicateName):
		return fmt.Errorf("a member stands twice in its object, near byte %d of the body", s.ByteOffset)
	case errors.As(err, &s):
		return fmt.Errorf("the body is not valid JSON in UTF-8, near byte %d", s.ByteOffset)
	}
	return errors.New("the body is not valid JSON in UTF-8: it ends too early")
}

// strictly is how a body is read.
var strictly = strict.Reader{Depth: MaxDepth, Memory: strict.MaxMemory, Number: func(text string) (any, error) {
	if len(text) > maxNumber {
		return nil, bodyRefusal(fmt.Sprintf("a number has more than %d characters", maxNumber))
	}
	return json.Number(text), nil
}}
