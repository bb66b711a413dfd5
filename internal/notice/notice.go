// Package notice holds our own words, as package ofb holds the ecosystem's: the notification that is owed to an
// initiator, the attempt made to deliver it, the outcome of that attempt, and the schedule of attempts as data.
//
// It has no clock, no context and no I/O: a function that needs "now" takes it as a parameter. A change that
// must be announced makes one Notification. A replica claims it, which makes an Attempt, recorded before anything is
// sent. What the receiver did is a Result, never an error. A Settlement carries the Result back to the store, and
// After says what follows: delivered, again at a known distance, or given up.
package notice

import (
	"time"

	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/uuid"
)

// ID identifies one of our rows: a change, a notification, an entry, a lease.
type ID = uuid.UUID

// ParseID reads the canonical form of an ID, in either case of letters, and nothing else.
func ParseID(s string) (ID, error) { return uuid.Parse(s) }

// ClientID is the client_id of an initiator's registration: the unit of ownership and of sharding, and the lane of the
// dispatcher.
type ClientID string

// State is where a notification stands.
type State string

// The four states of a notification, as the outside contract names them.
const (
	Pending   State = "pending"   // attempts remain
	Delivered State = "delivered" // a receiver answered 2xx
	Exhausted State = "exhausted" // the third attempt failed
	Cancelled State = "cancelled" // the registration went away first
)

// Notification is one thing an initiator must be told: that a resource reached a state, or that its data changed.
type Notification struct {
	ID         ID
	ChangeID   ID
	Client     ClientID
	Kind       ofb.Kind
	ResourceID string
	APIVersion string        // version of the creating POST; it is part of the path (webhook §1.3)
	Revision   int64         // the core's, 0 when a timer made the change
	Status     ofb.Status    // state reached
	Event      ofb.EventType // "" where the schema has none (webhook §2.1)
	EventAt    time.Time     // when the event happened, UTC, truncated to the second (webhook §2.1)
	PushEpoch  int64         // the registration period it belongs to; another period's is never sent
}

// Attempt is one claimed attempt: recorded, leased to this replica, not yet sent.
type Attempt struct {
	Notification ID
	Token        ID // id of its entry; proves that the lease is still ours when settling
	Flight       ID // of the commit that stored it with its change; zero: it has a row in the queue
	Interaction  ID // UUID v4, new for each attempt (webhook §2)
	Client       ClientID
	Kind         ofb.Kind
	ResourceID   string
	APIVersion   string
	Event        ofb.EventType
	EventAt      time.Time
	Number       int    // 1 to 3; 1 for a manual one
	Manual       bool   // asked for by an operator (D-4): exactly one POST, whatever comes of it
	BaseURI      string // the registration's first URI at the moment of the claim

	ScheduledAt time.Time // database clock: when it was due
	StartedAt   time.Time // database clock: when the transaction that claimed it began
	Late        bool      // a first attempt started more than FirstWithin after occurredAt

	// ClaimedAt is this process's monotonic instant from before the claiming transaction began. The lease is at least as
	// young as this says, so an attempt measured from it never outlives the lease.
	ClaimedAt time.Time

	// BeganAt is this process's monotonic instant from just before StartedAt. ClaimedAt is earlier where a slot was reserved for an
	// attempt before its transaction could begin.
	BeganAt time.Time
}

// Outcome says what became of an attempt.
type Outcome string

// The outcomes of an attempt, as the outside contract names them.
const (
	OutcomeDelivered     Outcome = "delivered"               // 202 with our interaction id echoed
	OutcomeNonconformant Outcome = "delivered-nonconformant" // another 2xx, or no matching echo (D-1)
	OutcomeRefused       Outcome = "refused"                 // 4xx or 5xx
	OutcomeRedirected    Outcome = "redirected"              // 3xx, never followed (webhook §3)
	OutcomeTimeout       Outcome = "timeout"                 // no final headers within the attempt's time
	OutcomeConnect       Outcome = "connect-error"           // DNS or TCP failed, or the connection broke
	OutcomeTLS           Outcome = "tls-error"               // handshake failed, on either side
	OutcomeBlocked       Outcome = "blocked-address"         // the address may not be dialled
	OutcomeProtocol      Outcome = "protocol-error"          // not HTTP/1.x, or over our limits
	OutcomeUnknown       Outcome = "unknown"                 // nobody saw its end (D-8)
)

// Outcomes lists every outcome of an attempt.
func Outcomes() []Outcome {
	return []Outcome{
		OutcomeDelivered, OutcomeNonconformant, OutcomeRefused, OutcomeRedirected, OutcomeTimeout, OutcomeConnect, OutcomeTLS, OutcomeBlocked, OutcomeProtocol,
		OutcomeUnknown,
	}
}

// Success tells whether the chain ends here as delivered (webhook §3, D-1).
func (o Outcome) Success() bool { return o == OutcomeDelivered || o == OutcomeNonconformant }

// Echo compares the interaction id of the answer with ours.
type Echo string

// The comparisons; NoEcho means that there was no answer to look at.
const (
	NoEcho        Echo = ""
	EchoMatch     Echo = "match"
	EchoMissing   Echo = "missing"
	EchoDifferent Echo = "different"
)

// TLSFacts are what the handshake showed, kept as evidence.
type TLSFacts struct {
	Version         string    `json:"version"` // "TLS 1.3"
	Cipher          string    `json:"cipher"`
	PeerSubject     string    `json:"peerSubject"`           // escaped, at most 256 characters
	PeerFingerprint string    `json:"peerFingerprint"`       // SHA-256 of the leaf, hex
	PeerSerial      string    `json:"peerSerial,omitempty"`  // hex; in the history, "" of a connection that was used before
	PeerNotAfter    time.Time `json:"peerNotAfter,omitzero"` // in the history, zero of a connection that was used before
	OwnSerial       string    `json:"ownSerial,omitempty"`   // of the certificate we presented, hex; "" if the peer asked for none
}

// ShownCertificate is what a receiver showed in a handshake, also in one that failed. It is not part of the history, which
// has TLSFacts of handshakes that succeeded, and in words why others did not.
type ShownCertificate struct {
	Subject     string // escaped, at most 256 characters
	Issuer      string // likewise
	Serial      string // hex
	Fingerprint string // SHA-256, hex
	NotAfter    time.Time
	Wrong       string // why the handshake failed, as the detail of the attempt says; "": it did not
}

// SeenCertificate is the certificate that the endpoint of a client showed last.
type SeenCertificate struct {
	Client ClientID
	SeenAt time.Time // by the replica's clock
	ShownCertificate
}

// Result is what one attempt came to. Offsets count from the instant the attempt was handed to the sender, by the
// monotonic clock; zero means that the stage was not reached, or, for Dialled and Handshaken, that a kept-alive
// connection was used.
type Result struct {
	Outcome    Outcome
	HTTPStatus int // 0 when there was no answer
	Echo       Echo
	Detail     string // at most 256 characters, escaped: why it failed, or what was odd
	URL        string // exactly as sent
	TLS        *TLSFacts
	Shown      *ShownCertificate // nil: none was seen
	Reused     bool              // a kept-alive connection
	LocalAddr  string
	RemoteAddr string

	Dialled      time.Duration
	Handshaken   time.Duration
	FirstByteOut time.Duration
	Answered     time.Duration
	Elapsed      time.Duration // until the outcome was known

	EndedAt time.Time // monotonic instant of this process at which the outcome was known
}

// Settlement carries a result back to the store.
type Settlement struct {
	Attempt Attempt
	Result  Result
}

// GivesUp tells that the notification ends with this outcome undelivered: the third attempt of the rule failed. A failed
// resend by hand gives nothing up.
func (s *Settlement) GivesUp() bool {
	return !s.Result.Outcome.Success() && !s.Attempt.Manual && s.Attempt.Number >= MaxAttempts
}

// The schedule (webhook §4.1). These are constants in every profile.
const (
	// MaxAttempts is the number of attempts the rule allows for one notification.
	MaxAttempts = 3
	// FirstWithin is how soon after the event the first attempt must start.
	FirstWithin = 1500 * time.Millisecond
	// Timeout is the longest a whole attempt may take (webhook §4.2); development may shorten it.
	Timeout = 15 * time.Second
)

// gaps[n] is the distance from the failure of attempt n to the start of the next (webhook §4.1): 10 s, then 60 s.
var gaps = map[int]time.Duration{1: 10 * time.Second, 2: 60 * time.Second}

// Next says what follows a failed attempt: how long after the failure the next one is due, or that there is none.
// A manual attempt is never followed.
func Next(number int, manual bool) (gap time.Duration, again bool) {
	if manual {
		return 0, false
	}
	gap, again = gaps[number]
	return gap, again
}
