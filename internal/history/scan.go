package history

import (
	"encoding/json"
	"time"
	"unicode/utf8"

	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

// The facts of a notification's entries are read in the form in which AppendJSON and the database write them: known members, plain strings. What
// has another form is left to encoding/json. A test compares the two over random facts, and a fuzz test over any text.

// read reads the facts of a change.
func (c *ChangeFacts) read(text string) error {
	if c.scan(text) {
		return nil
	}
	var other ChangeFacts
	err := json.Unmarshal([]byte(text), &other)
	*c = other
	return err
}

// read reads the facts of an attempt's beginning.
func (a *AttemptFacts) read(text string) error {
	if a.scan(text) {
		return nil
	}
	var other AttemptFacts
	err := json.Unmarshal([]byte(text), &other)
	*a = other
	return err
}

// endedFacts are the facts of an attempt's end with the instant that the database adds.
type endedFacts struct {
	ResultFacts
	EndedAt time.Time `json:"endedAt"`
}

func (e *endedFacts) read(text string) error {
	if e.scan(text) {
		return nil
	}
	var other endedFacts
	err := json.Unmarshal([]byte(text), &other)
	*e = other
	return err
}

func (c *ChangeFacts) scan(text string) bool {
	r := memberReader{text: text}
	for name := r.first(); name != ""; name = r.next() {
		switch name {
		case "system":
			c.System = r.str()
		case "source":
			c.Source = r.str()
		case "actor":
			c.Actor = r.str()
		case "role":
			c.Role = r.str()
		case "remote":
			c.Remote = r.str()
		case "apiVersion":
			c.APIVersion = r.str()
		case "status":
			c.Status = ofb.Status(r.str())
		case "from":
			c.From = ofb.Status(r.str())
		case "cause":
			c.Cause = ofb.Cause(r.str())
		case "occurredAt":
			c.OccurredAt = r.time()
		case "occurredAtAsSent":
			c.Original = r.str()
		case "notBefore":
			c.NotBefore = r.time()
		case "beganMicros":
			c.BeganUS = r.integer()
		case "waitedMicros":
			c.WaitedUS = r.integer()
		case "dataHash":
			c.DataHash = r.str()
		case "storedHash":
			c.StoredHash = r.str()
		case "fields":
			c.Fields = r.list()
		case "event":
			c.Event = ofb.EventType(r.str())
		case "eventAt":
			c.EventAt = r.time()
		case "clause":
			c.Clause = r.str()
		case "reason":
			c.Reason = ofb.Silence(r.str())
		case "pushEpoch":
			c.Epoch = r.integer()
		case "first":
			r.odd = r.odd || c.First != nil // encoding/json would add to the first one
			c.First = r.firstFacts()
		default:
			c.scanRare(name, &r)
		}
	}
	return r.over()
}

// scanRare reads the members that few changes have.
func (c *ChangeFacts) scanRare(name string, r *memberReader) {
	switch name {
	case "why":
		c.Why = r.str()
	case "resends":
		c.Resends = r.str()
	case "quarantine":
		c.Quarantine = r.str()
	case "firstReceivedAt":
		c.FirstReceivedAt = r.time()
	case "committedAt":
		c.CommittedAt = r.time()
	case "becauseRevision":
		c.Because = r.integer()
	case "refusedFor":
		c.RefusedFor = r.str()
	case "refusals":
		c.Refusals = r.integer()
	case "wallClock":
		c.WallClock = r.boolean()
	case "overruledTimer":
		c.Overruled = r.time()
	case "problems":
		c.Codes = r.list()
	default:
		r.odd = true
	}
}

func (a *AttemptFacts) scan(text string) bool {
	r := memberReader{text: text}
	for name := r.first(); name != ""; name = r.next() {
		switch name {
		case "private":
			a.Private = r.str()
		case "scheduledAt":
			a.ScheduledAt = r.time()
		case "late":
			a.Late = r.boolean()
		case "base":
			a.Base = r.str()
		case "manual":
			a.Manual = r.boolean()
		case "held":
			a.Held = notice.Delay(r.str())
		case "heldMicros":
			a.HeldUS = r.integer()
		default:
			return false
		}
	}
	return r.over()
}

func (e *endedFacts) scan(text string) bool {
	r := memberReader{text: text}
	for name := r.first(); name != ""; name = r.next() {
		switch name {
		case "private":
			e.Private = r.str()
		case "system":
			e.System = r.str()
		case "number":
			e.Number = int(r.integer())
		case "attempt":
			e.Attempt = r.str()
		case "url":
			e.URL = r.str()
		case "httpStatus":
			e.HTTPStatus = int(r.integer())
		case "echo":
			e.Echo = notice.Echo(r.str())
		case "detail":
			e.Detail = r.str()
		case "tls":
			r.odd = r.odd || e.TLS != nil // encoding/json would add to the first one
			e.TLS = r.tls()
		case "reused":
			e.Reused = r.boolean()
		case "local":
			e.Local = r.str()
		case "remote":
			e.Remote = r.str()
		case "claimToSendMicros":
			e.WaitedUS = r.integer()
		case "dialledMicros":
			e.DialledUS = r.integer()
		case "handshakenMicros":
			e.HandshakenUS = r.integer()
		case "firstByteOutMicros":
			e.FirstByteUS = r.integer()
		case "answeredMicros":
			e.AnsweredUS = r.integer()
		case "elapsedMicros":
			e.ElapsedUS = r.integer()
		case "endedAt":
			e.EndedAt = r.time()
		case "nextAt": // by the database, for those who read the log; null after the last attempt
			if !r.null() {
				r.str()
			}
		default:
			return false
		}
	}
	return r.over()
}

func (r *memberReader) firstFacts() *FirstFacts {
	f := &FirstFacts{}
	inner := memberReader{text: r.text, at: r.at, odd: r.odd}
	for name := inner.first(); name != ""; name = inner.next() {
		switch name {
		case "number":
			f.Number = int(inner.integer())
		case "base":
			f.Base = inner.str()
		default:
			inner.odd = true
		}
	}
	r.at, r.odd = inner.at, inner.odd
	return f
}

func (r *memberReader) tls() *notice.TLSFacts {
	t := &notice.TLSFacts{}
	inner := memberReader{text: r.text, at: r.at, odd: r.odd}
	for name := inner.first(); name != ""; name = inner.next() {
		switch name {
		case "version":
			t.Version = inner.str()
		case "cipher":
			t.Cipher = inner.str()
		case "peerSubject":
			t.PeerSubject = inner.str()
		case "peerFingerprint":
			t.PeerFingerprint = inner.str()
		case "peerSerial":
			t.PeerSerial = inner.str()
		case "peerNotAfter":
			t.PeerNotAfter = inner.time()
		case "ownSerial":
			t.OwnSerial = inner.str()
		default:
			inner.odd = true
		}
	}
	r.at, r.odd = inner.at, inner.odd
	return t
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
