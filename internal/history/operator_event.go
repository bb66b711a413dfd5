package history

import "time"

// EventKind is what an operator is told of.
type EventKind string

// The kinds.
const (
	EventGivenUp      EventKind = "notifications-given-up"
	EventCertificate  EventKind = "certificate-expiring"
	EventSource       EventKind = "source-stopped"
	EventLogNotSealed EventKind = "log-not-sealed"
	EventSignerAway   EventKind = "signer-unavailable"
	EventTampering    EventKind = "tampering"
)

// EventKinds lists all kinds.
func EventKinds() []EventKind {
	return []EventKind{EventGivenUp, EventCertificate, EventSource, EventLogNotSealed, EventSignerAway, EventTampering}
}

// EventOthers is the subject of an event about all those that have none of their own. No client id has this sign.
const EventOthers = "…"

// The acts under which the history records a trouble's beginning and its end.
const (
	ActEventOpened = "event-opened"
	ActEventOver   = "event-over"
)

// Sighting is a trouble that a replica sees now.
type Sighting struct {
	Kind    EventKind
	Subject string        // what it is about, such as a client; "" where there is one of the kind only
	Detail  string        // in words, for people; no personal data
	Count   int64         // how often since the last sighting; at least 1
	Quiet   time.Duration // the trouble is over when nobody sees it for so long
}

// Key names the trouble that a sighting is of.
func (s *Sighting) Key() string { return string(s.Kind) + ":" + s.Subject }

// OperatorEvent is one trouble, from its first sighting until it is over.
type OperatorEvent struct {
	Key      string
	Kind     EventKind
	Subject  string
	Detail   string
	Count    int64
	OpenedAt time.Time
	LastAt   time.Time
	OverAt   time.Time // zero: it is open
	Told     []string  // "open:" or "over:" and the name of a way
}
