package history

import (
	"encoding/json"
	"reflect"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/arauto/arauto/internal/notice"
)

// The facts of a notification's entries are read in the form in which AppendJSON and the database write them: known members, plain strings. What
// has another form is left to encoding/json. A test compares the two over random facts, and a fuzz test over any text.

// read reads facts. The value is unchanged in what the text does not name, but for facts that encoding/json reads.
func read[T any](facts *T, text string, members memberTable) error {
	if scan(facts, text, members) {
		return nil
	}
	var other T
	err := json.Unmarshal([]byte(text), &other)
	*facts = other
	return err
}

// scan is read for the expected form alone; false: the text has another.
func scan[T any](facts *T, text string, members memberTable) bool {
	r := memberReader{text: text}
	r.into(reflect.ValueOf(facts).Elem(), members)
	return r.over()
}

func (c *ChangeFacts) read(text string) error  { return read(c, text, changeMembers) }
func (a *AttemptFacts) read(text string) error { return read(a, text, attemptMembers) }
func (e *endedFacts) read(text string) error   { return read(e, text, endedMembers) }

// endedFacts are the facts of an attempt's end with the instant that the database adds.
type endedFacts struct {
	ResultFacts
	EndedAt time.Time `json:"endedAt"`
}

// memberTable says which field each member of an object is read into; none: its text or null is passed over.
type memberTable map[string][]int

var (
	changeMembers  = membersOf[ChangeFacts]()
	attemptMembers = membersOf[AttemptFacts]()
	endedMembers   = membersOf[endedFacts]("nextAt") // by the database, for those who read the log; null after the last attempt
	tlsMembers     = membersOf[notice.TLSFacts]()
	firstMembers   = membersOf[FirstFacts]()
)

func membersOf[T any](passed ...string) memberTable {
	out := memberTable{}
	for _, f := range reflect.VisibleFields(reflect.TypeFor[T]()) {
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" {
			out[name] = f.Index
		}
	}
	for _, name := range passed {
		out[name] = nil
	}
	return out
}

// into reads an object into the fields of a struct.
func (r *memberReader) into(v reflect.Value, members memberTable) {
	for name := r.first(); name != ""; name = r.next() {
		at, known := members[name]
		switch {
		case !known:
			r.odd = true
		case at != nil:
			r.field(v.FieldByIndex(at))
		case !r.null():
			r.str()
		}
	}
}

func (r *memberReader) field(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(r.str())
		return
	case reflect.Int, reflect.Int64:
		v.SetInt(r.integer())
		return
	case reflect.Bool:
		v.SetBool(r.boolean())
		return
	}
	switch to := v.Addr().Interface().(type) {
	case *time.Time:
		*to = r.time()
	case *[]string:
		*to = r.list()
	case **notice.TLSFacts:
		object(r, to, tlsMembers)
	case **FirstFacts:
		object(r, to, firstMembers)
	default:
		r.odd = true
	}
}

func object[T any](r *memberReader, to **T, members memberTable) {
	r.odd = r.odd || *to != nil // encoding/json would add to the first one
	*to = new(T)
	r.into(reflect.ValueOf(*to).Elem(), members)
}

// memberReader walks over the members of an object. After each name exactly one of its other methods reads the value. Strings are parts of the
// text. As soon as the text is not of the form that is expected, odd is set and everything that is read is empty.
type memberReader struct {
	text string
	at   int
	odd  bool
}

// first opens the object and returns the name of its first member; "" when there is none.
func (r *memberReader) first() string {
	r.take('{')
	if r.peek() == '}' {
		r.at++
		return ""
	}
	return r.name()
}

// next returns the name of the next member; "" behind the last one.
func (r *memberReader) next() string {
	if r.peek() == '}' {
		r.at++
		return ""
	}
	r.take(',')
	return r.name()
}

func (r *memberReader) name() string {
	name := r.str()
	r.take(':')
	r.odd = r.odd || name == ""
	if r.odd {
		return ""
	}
	return name
}

// over tells whether the object ended, with nothing behind it, and all of it had the expected form.
func (r *memberReader) over() bool {
	r.peek()
	return !r.odd && r.at == len(r.text)
}

// peek is the next character that is no space; 0 at the end, and once the form is lost.
func (r *memberReader) peek() byte {
	for ; r.at < len(r.text) && !r.odd; r.at++ {
		switch c := r.text[r.at]; c {
		case ' ', '\n', '\t', '\r':
		default:
			return c
		}
	}
	return 0
}

func (r *memberReader) take(c byte) {
	if r.peek() != c {
		r.odd = true
		return
	}
	r.at++
}

// str reads a string without escapes.
func (r *memberReader) str() string {
	r.take('"')
	if r.odd {
		return ""
	}
	from, all := r.at, byte(0)
	for ; r.at < len(r.text); r.at++ {
		c := r.text[r.at]
		if c == '"' {
			s := r.text[from:r.at]
			r.at++
			r.odd = all >= utf8.RuneSelf && !utf8.ValidString(s)
			return s
		}
		if c < ' ' || c == '\\' {
			break
		}
		all |= c
	}
	r.odd = true
	return ""
}

// integer reads a whole number of at most 18 digits.
func (r *memberReader) integer() (n int64) {
	negative := r.peek() == '-'
	if negative {
		r.at++
	}
	from := r.at
	for ; r.at < len(r.text) && r.text[r.at] >= '0' && r.text[r.at] <= '9'; r.at++ {
		n = n*10 + int64(r.text[r.at]-'0')
	}
	if digits := r.at - from; digits == 0 || digits > 18 || digits > 1 && r.text[from] == '0' {
		r.odd = true
	}
	if negative {
		return -n
	}
	return n
}

func (r *memberReader) boolean() bool {
	r.peek()
	for _, word := range [...]string{"true", "false"} {
		if end := r.at + len(word); !r.odd && end <= len(r.text) && r.text[r.at:end] == word {
			r.at = end
			return word == "true"
		}
	}
	r.odd = true
	return false
}

// null passes over a null; false: there is none.
func (r *memberReader) null() bool {
	if r.peek() != 'n' || len(r.text)-r.at < 4 || r.text[r.at:r.at+4] != "null" {
		return false
	}
	r.at += 4
	return true
}

func (r *memberReader) time() (t time.Time) {
	r.odd = t.UnmarshalText([]byte(r.str())) != nil || r.odd
	return t
}

func (r *memberReader) list() []string {
	out := []string{}
	r.take('[')
	if r.peek() == ']' {
		r.at++
		return out
	}
	for !r.odd {
		out = append(out, r.str())
		if r.peek() == ']' {
			r.at++
			return out
		}
		r.take(',')
	}
	return nil
}

// skip passes over a string, or over an object or array up to its end.
func (r *memberReader) skip() {
	depth := 0
	for {
		switch r.peek() {
		case '"':
			r.skipString()
		case '{', '[':
			r.at++
			depth++
			continue
		case '}', ']':
			r.at++
			depth--
		case 0:
			r.odd = true
			return
		case ',', ':':
			r.at++
			r.odd = r.odd || depth == 0
			continue
		default: // a number or a word
			for r.at < len(r.text) && r.text[r.at] != ',' && r.text[r.at] != '}' && r.text[r.at] != ']' {
				r.at++
			}
		}
		if depth <= 0 || r.odd {
			r.odd = r.odd || depth < 0
			return
		}
	}
}

func (r *memberReader) skipString() {
	for r.at++; r.at < len(r.text); r.at++ {
		switch r.text[r.at] {
		case '"':
			r.at++
			return
		case '\\':
			r.at++
		}
	}
	r.odd = true
}
