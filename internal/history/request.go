package history

import (
	"time"

	"github.com/arauto/arauto/internal/notice"
)

// Acts that can need a second person, by their names in the setting console.four_eyes.
const (
	ActResend       = "resend"       // one more POST of notifications
	ActQuarantine   = "quarantine"   // to apply or dismiss what was put aside
	ActHold         = "hold"         // to place or lift a hold
	ActRegistration = "registration" // to register an initiator or end its registration
	ActSource       = "source"       // to pause, resume or map again a followed source
)

// GuardedActs lists every act that can need a second person.
func GuardedActs() []string {
	return []string{ActResend, ActQuarantine, ActHold, ActRegistration, ActSource}
}

// States of a request. Waiting becomes approved, refused or expired; approved becomes done or failed.
const (
	RequestWaiting  = "waiting"
	RequestApproved = "approved" // and not carried out yet
	RequestDone     = "done"
	RequestFailed   = "failed" // nothing was done; the answer says why
	RequestRefused  = "refused"
	RequestExpired  = "expired" // nobody decided within 24 h
)

// RequestStates lists the states.
func RequestStates() []string {
	return []string{RequestWaiting, RequestApproved, RequestDone, RequestFailed, RequestRefused, RequestExpired}
}

// ActRequest is an act that one person asked for and another must approve. The call is kept as it was made.
type ActRequest struct {
	ID        notice.ID
	Act       string
	Method    string
	Path      string // with its query, as received
	Body      []byte
	Roles     []string // one of them is needed to decide
	Reason    string   // "" where the call has none
	AskedBy   Actor
	AskedAt   time.Time
	ExpiresAt time.Time
	State     string

	DecidedBy Actor // zero until then, here and below
	Decision  string
	DecidedAt time.Time
	Starts    int       // how often a replica began to carry it out
	Status    int       // of HTTP, as the call was answered
	Answer    string    // JSON, "" for none
	EndedAt   time.Time // also of a refusal and an expiry

	Token notice.ID // of the replica that carries it out; zero where it is only read
}

// RequestKey is the key under which the context of an approved act carries its *ActRequest.
type RequestKey struct{}

// Replica is a process that serves this database.
type Replica struct {
	Name      string
	Version   string
	StartedAt time.Time
	SeenAt    time.Time // by the database's clock
	Alive     bool      // it was seen within the last 30 s
}
