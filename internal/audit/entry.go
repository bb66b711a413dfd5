package audit

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/arauto/arauto/internal/uuid"
)

// Instant is a time in microseconds since 1970-01-01 UTC, which is what the database keeps. The two extremes stand for
// its infinities.
type Instant int64

// The infinities of the database. No honest entry has one.
const (
	Infinity      Instant = math.MaxInt64
	MinusInfinity Instant = math.MinInt64
)

// At turns a time into an Instant; what is finer than a microsecond is cut off.
func At(t time.Time) Instant { return Instant(t.UnixMicro()) }

// Time is the instant as a UTC time; of an infinity it is of no use.
func (i Instant) Time() time.Time { return time.UnixMicro(int64(i)).UTC() }

// instantLayout has all six digits always.
const instantLayout = "2006-01-02T15:04:05.000000Z"

// String is the instant as records have it: RFC 3339 in UTC with six digits, or infinity, or -infinity.
func (i Instant) String() string { return string(i.append(nil)) }

func (i Instant) append(b []byte) []byte {
	switch i {
	case Infinity:
		return append(b, "infinity"...)
	case MinusInfinity:
		return append(b, "-infinity"...)
	}
	return i.Time().AppendFormat(b, instantLayout)
}

// parseInstant reads what String writes of a time, and nothing else: time.Parse also takes an hour of one digit and a decimal comma.
func parseInstant(s string) (Instant, error) {
	t, err := time.Parse(instantLayout, s)
	if err == nil && At(t).String() != s {
		err = errors.New("not written as records write it")
	}
	if err != nil {
		return 0, fmt.Errorf("not an instant with six digits in UTC: %w", err)
	}
	return At(t), nil
}

// Entry is one fact of the history: every column of it, as the database has them. Nil is NULL, which is not the same as
// empty.
type Entry struct {
	ID             uuid.UUID
	At             Instant
	XID            int64 // the transaction that wrote it
	Kind           string
	ClientID       *string
	ResourceKind   *int16
	ResourceID     *string
	Revision       *int64
	NotificationID *uuid.UUID
	ChangeID       *uuid.UUID
	InteractionID  *uuid.UUID
	Number         *int16
	Outcome        *string
	Closes         *string
	CreatedAt      *Instant
	Brand          *string // reserved: NULL until one deployment serves several brands
	Facts          string  // JSON, exactly as stored
	Private        *string // JSON, exactly as stored; not in the record: the facts commit to it (PrivateFault)
}

// Value is what a column has, zero for NULL.
func Value[T any](column *T) T {
	if column == nil {
		var null T
		return null
	}
	return *column
}

// Columns names the columns of an entry in the order of the record, with the member each becomes. The last one, private, is
// no member of the record: the facts commit to it.
func Columns() [][2]string {
	return [][2]string{
		{"id", "id"},
		{"at", "at"},
		{"xid", "xid"},
		{"kind", "kind"},
		{"client_id", "clientId"},
		{"resource_kind", "resourceKind"},
		{"resource_id", "resourceId"},
		{"revision", "revision"},
		{"notification_id", "notificationId"},
		{"change_id", "changeId"},
		{"interaction_id", "interactionId"},
		{"number", "number"},
		{"outcome", "outcome"},
		{"closes", "closes"},
		{"created_at", "createdAt"},
		{"brand", "brand"},
		{"facts", "facts"},
		{"private", "private"},
	}
}

// Values lists the columns as text, in the order of Columns, for tables that people read; NULL is empty there.
func (e *Entry) Values() []string {
	return []string{
		e.ID.String(), e.At.String(), strconv.FormatInt(e.XID, 10), e.Kind, Value(e.ClientID), text(e.ResourceKind), Value(e.ResourceID), text(e.Revision),
		text(e.NotificationID), text(e.ChangeID), text(e.InteractionID), text(e.Number), Value(e.Outcome), Value(e.Closes), text(e.CreatedAt), Value(e.Brand), e.Facts, Value(e.Private),
	}
}

// text is what a column has, as text; "" for NULL.
func text[T any](column *T) string {
	if column == nil {
		return ""
	}
	return fmt.Sprint(*column)
}

// recordStart opens every record: the version of the format.
const recordStart = `{"v":1,"seq":`

// AppendRecord appends the record of the entry at a position (0 or more) of the log: one line of JSON without its line
// feed. Different entries, and different positions, always have different records: members stand in a fixed order,
// absent ones are NULL, strings have one spelling only, and facts come last, as they are stored.
func (e *Entry) AppendRecord(b []byte, seq int64) []byte {
	b = strconv.AppendInt(append(b, recordStart...), seq, 10)
	b = append(e.ID.Append(append(b, `,"id":"`...)), '"')
	b = append(e.At.append(append(b, `,"at":"`...)), '"')
	b = strconv.AppendInt(append(b, `,"xid":`...), e.XID, 10)
	b = appendString(append(b, `,"kind":`...), e.Kind)
	b = appendText(b, `,"clientId":`, e.ClientID)
	b = appendInt(b, `,"resourceKind":`, e.ResourceKind)
	b = appendText(b, `,"resourceId":`, e.ResourceID)
	b = appendInt(b, `,"revision":`, e.Revision)
	b = appendUUID(b, `,"notificationId":"`, e.NotificationID)
	b = appendUUID(b, `,"changeId":"`, e.ChangeID)
	b = appendUUID(b, `,"interactionId":"`, e.InteractionID)
	b = appendInt(b, `,"number":`, e.Number)
	b = appendText(b, `,"outcome":`, e.Outcome)
	b = appendText(b, `,"closes":`, e.Closes)
	if e.CreatedAt != nil {
		b = append(e.CreatedAt.append(append(b, `,"createdAt":"`...)), '"')
	}
	b = appendText(b, `,"brand":`, e.Brand)
	b = append(b, `,"facts":`...)
	if strings.HasPrefix(e.Facts, "{") && strings.IndexByte(e.Facts, '\n') < 0 && strings.IndexByte(e.Facts, '\r') < 0 {
		b = append(b, e.Facts...)
	} else { // would break the line, or be taken for this very case
		b = appendString(b, e.Facts)
	}
	return append(b, '}')
}

func appendText(b []byte, member string, s *string) []byte {
	if s == nil {
		return b
	}
	return appendString(append(b, member...), *s)
}

func appendInt[T int16 | int64](b []byte, member string, n *T) []byte {
	if n == nil {
		return b
	}
	return strconv.AppendInt(append(b, member...), int64(*n), 10)
}

func appendUUID(b []byte, member string, u *uuid.UUID) []byte {
	if u == nil {
		return b
	}
	return append(u.Append(append(b, member...)), '"')
}

// appendString writes a JSON string in its one spelling: only the quote, the backslash and characters below U+0020 are
// escaped, the last as \u00xx with small digits.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < 0x20:
			b = fmt.Appendf(b, `\u%04x`, c)
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}

// ErrRecord means that a line is not a record.
var ErrRecord = errors.New(`not a record, which begins {"v":1,"seq": and a number`)

// Seq reads the position from a record, or from the line that stands for a removed one.
func Seq(record []byte) (int64, error) {
	rest, ok := bytes.CutPrefix(record, []byte(recordStart))
	if !ok {
		return 0, ErrRecord
	}
	end := bytes.IndexByte(rest, ',')
	if end < 1 {
		return 0, ErrRecord
	}
	seq, err := strconv.ParseInt(string(rest[:end]), 10, 64)
	if err != nil || seq < 0 || strconv.FormatInt(seq, 10) != string(rest[:end]) {
		return 0, ErrRecord
	}
	return seq, nil
}
