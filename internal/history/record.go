package history

import (
	"encoding/json"
	"time"

	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

// Record is a notification as it is read: what is owed, and its attempts and outcome.
type Record struct {
	notice.Notification
	OccurredAt    time.Time
	CreatedAt     time.Time // commit of the decision, database clock
	State         notice.State
	CancelReason  string    // why it was cancelled, "" otherwise
	Manual        bool      // an operator's resend
	ResendOf      notice.ID // the notification that it sends once more; zero for others, and for resends of older versions
	Resent        bool      // it was sent once more, or is about to be: no other resend is possible
	Late          bool      // the first attempt started more than FirstWithin after occurredAt
	NextAttemptAt time.Time
	Arrival       Arrival
	Attempts      []AttemptRecord // started ones only, by number

	Integrity Integrity // of the entries it is told by
	Tampered  bool      // one of the entries it rests on is not what was sealed: no verdict on it is known
}

// AttemptRecord is an attempt as it is read. While it is in flight EndedAt is zero and Outcome empty.
type AttemptRecord struct {
	Number      int
	Interaction notice.ID
	ScheduledAt time.Time
	StartedAt   time.Time
	EndedAt     time.Time
	Outcome     notice.Outcome
	HTTPStatus  int
	Echo        notice.Echo
	TLS         *notice.TLSFacts
	URL         string // as the entry of its end tells it
	ClaimedURL  string // of the address that its claim found, as the entry of its beginning tells it; "": that was not kept
	Detail      string
	Offsets     Offsets
	StoredAt    time.Time    // when the outcome was committed
	Rescued     bool         // nobody saw the end: the lease ran out
	Held        notice.Delay // why its lane had waited for a slot: DelayReceiver, DelaySlots, or ""
	HeldFor     time.Duration
}

// Offsets are the instants of an attempt, counted from when it was handed to the sender.
type Offsets struct {
	ClaimToSend  time.Duration
	Dialled      time.Duration
	Handshaken   time.Duration
	FirstByteOut time.Duration
	Answered     time.Duration
	Elapsed      time.Duration
}

// Filter selects notifications. Zero members select nothing away.
type Filter struct {
	Client      notice.ClientID
	Kind        ofb.Kind
	ResourceID  string
	Interaction notice.ID
	State       notice.State
	Late        bool           // the first attempt started late
	Outcome     notice.Outcome // of any attempt
	From, To    time.Time      // From ≤ createdAt < To
	Limit       int
	After       Position // continue after this one, newest first
}

// QueueState is what waits to be sent, of one client or of all.
type QueueState struct {
	Waiting  int64         // for their next attempt; 100,000 stands for more
	InFlight int64         // attempts under way
	LateNow  int64         // first attempts that are due and have not begun 1.5 s after their event; 10,000 stands for more
	Oldest   time.Duration // for which the most overdue one has been due; 0: none is
}

// Position is a place in a list that is ordered by time and id, newest first.
type Position struct {
	At time.Time
	ID notice.ID
}

// Event is one entry of a resource's timeline.
type Event struct {
	ID           notice.ID
	At           time.Time
	Kind         string // of the entry: change, decision, duplicate, conflict, quarantined, poll, …
	Client       notice.ClientID
	Revision     int64
	Notification notice.ID
	ChangeID     notice.ID
	Outcome      string
	Facts        json.RawMessage
	Tampered     bool // it is not what was sealed
}

// Timeline is everything that is known about one resource, oldest first.
type Timeline struct {
	Kind          ofb.Kind
	ResourceID    string
	Client        notice.ClientID
	APIVersion    string
	Revision      int64
	Status        ofb.Status
	UpdatedAt     time.Time
	Document      json.RawMessage
	Events        []Event
	Notifications []Record
	Integrity     Integrity // of all entries in it
}
