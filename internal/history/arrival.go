package history

import (
	"encoding/json"
	"time"
)

// Moment is an instant as evidence is written: UTC with six digits of a second, null when it is not known.
type Moment struct{ time.Time }

// MarshalJSON writes the instant, or null.
func (m Moment) MarshalJSON() ([]byte, error) {
	if m.IsZero() {
		return []byte("null"), nil
	}
	return m.UTC().AppendFormat(nil, `"2006-01-02T15:04:05.000000Z"`), nil
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (m *Moment) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		m.Time = time.Time{}
		return nil
	}
	return json.Unmarshal(b, &m.Time)
}

// Micros is a duration in whole microseconds, which is what the history keeps.
type Micros int64

// Duration is the same as a time.Duration.
func (m Micros) Duration() time.Duration { return time.Duration(m) * time.Microsecond }

// Arrival is what a notification's entry keeps of how its change came in.
type Arrival struct {
	Source    string        // of the change: "api", "timer", a source's name
	Rejudged  bool          // a stored revision was judged again after a late one
	Because   int64         // that late revision; 0: not kept
	Began     time.Duration // from arrival to the transaction whose instant CreatedAt is; 0: not kept
	Waited    time.Duration // from arrival to the writing of the decision in it
	NotBefore time.Time     // zero: none

	Earlier []Receipt // receipts before the one that was accepted, and other instants from which on it was ours, by time
	Unknown bool      // it may have come before, and nobody knows
	content content
}

// timerSource is the source of changes that a deadline makes.
const timerSource = "timer"
