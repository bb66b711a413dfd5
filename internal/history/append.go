package history

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// The facts of a notification's entries are written five times for each notification. Their AppendJSON writes the very bytes that json.Marshal
// gives, in less time; like that, it fails only for a year after 9999. A test compares the two over random facts.

// AppendJSON appends the facts as JSON.
func (f ChangeFacts) AppendJSON(b []byte) ([]byte, error) {
	o := memberWriter{b: append(b, `{"system":`...)}
	o.b = appendText(o.b, f.System)
	o.always(`,"source":`, f.Source)
	o.text(`,"actor":`, f.Actor)
	o.text(`,"role":`, f.Role)
	o.text(`,"remote":`, f.Remote)
	o.text(`,"apiVersion":`, f.APIVersion)
	o.text(`,"status":`, string(f.Status))
	o.text(`,"from":`, string(f.From))
	o.text(`,"cause":`, string(f.Cause))
	o.instant(`,"occurredAt":`, f.OccurredAt)
	o.text(`,"occurredAtAsSent":`, f.Original)
	o.instant(`,"notBefore":`, f.NotBefore)
	o.number(`,"beganMicros":`, f.BeganUS)
	o.number(`,"waitedMicros":`, f.WaitedUS)
	o.text(`,"dataHash":`, f.DataHash)
	o.text(`,"storedHash":`, f.StoredHash)
	o.list(`,"fields":`, f.Fields)
	o.text(`,"event":`, string(f.Event))
	o.instant(`,"eventAt":`, f.EventAt)
	o.text(`,"clause":`, f.Clause)
	o.text(`,"reason":`, string(f.Reason))
	o.number(`,"pushEpoch":`, f.Epoch)
	o.text(`,"why":`, f.Why)
	o.text(`,"resends":`, f.Resends)
	o.text(`,"quarantine":`, f.Quarantine)
	o.instant(`,"firstReceivedAt":`, f.FirstReceivedAt)
	o.instant(`,"committedAt":`, f.CommittedAt)
	o.number(`,"becauseRevision":`, f.Because)
	o.text(`,"refusedFor":`, f.RefusedFor)
	o.number(`,"refusals":`, f.Refusals)
	o.set(`,"wallClock":`, f.WallClock)
	o.instant(`,"overruledTimer":`, f.Overruled)
	o.list(`,"problems":`, f.Codes)
	if a := f.First; a != nil {
		o.b = strconv.AppendInt(append(o.b, `,"first":{"number":`...), int64(a.Number), 10)
		o.text(`,"base":`, a.Base)
		o.b = append(o.b, '}')
	}
	return o.end()
}

// AppendJSON appends the facts as JSON.
func (f AttemptFacts) AppendJSON(b []byte) ([]byte, error) {
	o := memberWriter{b: append(b, '{')}
	if f.Private != "" {
		o.b = append(appendText(append(o.b, `"private":`...), f.Private), ',')
	}
	o.b = append(o.b, `"scheduledAt":`...)
	o.time(f.ScheduledAt)
	o.b = strconv.AppendBool(append(o.b, `,"late":`...), f.Late)
	o.text(`,"base":`, f.Base)
	o.b = strconv.AppendBool(append(o.b, `,"manual":`...), f.Manual)
	o.text(`,"held":`, string(f.Held))
	o.number(`,"heldMicros":`, f.HeldUS)
	return o.end()
}

// AppendJSON appends the facts as JSON.
func (f ResultFacts) AppendJSON(b []byte) ([]byte, error) {
	o := memberWriter{b: append(b, '{')}
	if f.Private != "" {
		o.b = append(appendText(append(o.b, `"private":`...), f.Private), ',')
	}
	if f.System != "" {
		o.b = append(appendText(append(o.b, `"system":`...), f.System), ',')
	}
	o.b = strconv.AppendInt(append(o.b, `"number":`...), int64(f.Number), 10)
	o.always(`,"attempt":`, f.Attempt)
	o.text(`,"url":`, f.URL)
	o.number(`,"httpStatus":`, int64(f.HTTPStatus))
	o.text(`,"echo":`, string(f.Echo))
	o.text(`,"detail":`, f.Detail)
	if t := f.TLS; t != nil {
		o.always(`,"tls":{"version":`, t.Version)
		o.always(`,"cipher":`, t.Cipher)
		o.always(`,"peerSubject":`, t.PeerSubject)
		o.always(`,"peerFingerprint":`, t.PeerFingerprint)
		o.text(`,"peerSerial":`, t.PeerSerial)
		o.instant(`,"peerNotAfter":`, t.PeerNotAfter)
		o.text(`,"ownSerial":`, t.OwnSerial)
		o.b = append(o.b, '}')
	}
	o.set(`,"reused":`, f.Reused)
	o.text(`,"local":`, f.Local)
	o.text(`,"remote":`, f.Remote)
	o.b = strconv.AppendInt(append(o.b, `,"claimToSendMicros":`...), f.WaitedUS, 10)
	o.number(`,"dialledMicros":`, f.DialledUS)
	o.number(`,"handshakenMicros":`, f.HandshakenUS)
	o.number(`,"firstByteOutMicros":`, f.FirstByteUS)
	o.number(`,"answeredMicros":`, f.AnsweredUS)
	o.b = strconv.AppendInt(append(o.b, `,"elapsedMicros":`...), f.ElapsedUS, 10)
	return o.end()
}

// AppendJSON appends the facts as JSON.
func (f PrivateFacts) AppendJSON(b []byte) ([]byte, error) {
	o := memberWriter{b: append(b, `{"salt":`...)}
	o.b = appendText(o.b, f.Salt)
	o.always(`,"system":`, f.System)
	o.text(`,"local":`, f.Local)
	o.text(`,"detail":`, f.Detail)
	return o.end()
}

// memberWriter appends members of an object. A name comes with what stands before it and its colon. All but always and time leave out a member
// without a value.
type memberWriter struct {
	b   []byte
	err error // the first
}

func (o *memberWriter) always(name, value string) { o.b = appendText(append(o.b, name...), value) }

func (o *memberWriter) text(name, value string) {
	if value != "" {
		o.always(name, value)
	}
}

func (o *memberWriter) number(name string, value int64) {
	if value != 0 {
		o.b = strconv.AppendInt(append(o.b, name...), value, 10)
	}
}

func (o *memberWriter) set(name string, value bool) {
	if value {
		o.b = append(append(o.b, name...), "true"...)
	}
}

func (o *memberWriter) instant(name string, value time.Time) {
	if !value.IsZero() {
		o.b = append(o.b, name...)
		o.time(value)
	}
}

func (o *memberWriter) time(value time.Time) {
	text, err := value.AppendText(append(o.b, '"'))
	if err != nil {
		if o.err == nil {
			o.err = err
		}
		return
	}
	o.b = append(text, '"')
}

func (o *memberWriter) list(name string, values []string) {
	for i, value := range values {
		if i == 0 {
			o.always(name+"[", value)
		} else {
			o.always(",", value)
		}
	}
	if len(values) > 0 {
		o.b = append(o.b, ']')
	}
}

func (o *memberWriter) end() ([]byte, error) { return append(o.b, '}'), o.err }

// appendText appends a JSON string as json.Marshal writes it.
func appendText(b []byte, s string) []byte {
	ascii := true
	for i := range len(s) {
		switch c := s[i]; {
		case c < ' ' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&':
			return appendEscaped(b, s)
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	if !ascii && (!utf8.ValidString(s) || strings.ContainsAny(s, "\u2028\u2029")) {
		return appendEscaped(b, s)
	}
	return append(append(append(b, '"'), s...), '"')
}

func appendEscaped(b []byte, s string) []byte {
	text, _ := json.Marshal(s) // a string: cannot fail
	return append(b, text...)
}
