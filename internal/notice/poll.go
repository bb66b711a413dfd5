package notice

import (
	"strings"
	"time"

	"github.com/arauto/arauto/internal/ofb"
)

// Question is what a status query asks of the store: who is asking, and for which resource or list.
type Question struct {
	Client ClientID
	Kind   ofb.Kind // of the resource, or of the consent whose payments are listed; 0: only who is asking
	ID     string
	Under  ofb.Kind                   // of the payments to list under the consent; 0: the resource itself
	Keep   func(document []byte) bool // which payments of the list; nil: all
	Most   int                        // payments kept at most; one more is returned so that the caller sees it

	// Elsewhere are the keys that the resource would have in other brands. What is there belongs to other clients.
	Elsewhere []string
}

// PollReading is what the store knows at one instant, read after the question was put: no later commit is missing that was
// there before. Documents of another client never leave the database.
type PollReading struct {
	Now       time.Time  // database clock
	Initiator *Initiator // registration of the client, without webhook addresses; nil: none
	Found     bool       // the resource is known
	Mine      bool       // it belongs to the client
	Stored    Stored     // when it is the client's

	Listed  []Stored // the client's payments under the consent, in no order
	Known   bool     // there are payments of the client under it, kept or not
	Foreign bool     // there are payments of another client under it
}

// Stored is a resource's current document.
type Stored struct {
	Kind       ofb.Kind
	ID         string
	APIVersion string
	Status     ofb.Status
	Document   []byte // data, as the bytes received
}

// Poll is one status query and what was answered, kept as evidence. It holds no document, no token and no value out of
// either.
type Poll struct {
	ID          ID        `json:"id"` // of the entry, UUID v7: what makes storing it twice harmless
	At          time.Time `json:"at"` // when the request was read, by the replica's clock
	Interaction ID        `json:"interaction"`
	Client      ClientID  `json:"client,omitempty"` // of the token, once it was accepted
	Kind        ofb.Kind  `json:"kind,omitzero"`    // of the resource asked for; 0: none, or none known
	ResourceID  string    `json:"resource,omitempty"`
	Facts       PollFacts `json:"facts"`
}

// PollFacts are what of a poll is read and not searched for. Their names are part of the audit format.
type PollFacts struct {
	System       string     `json:"system"`          // replica and version; filled in by the store
	Brand        string     `json:"brand,omitempty"` // that was asked; "": the only or the original one
	Operation    string     `json:"operation,omitempty"`
	APIVersion   string     `json:"apiVersion,omitempty"` // asked for
	Method       string     `json:"method,omitempty"`     // where it is not GET
	Organisation string     `json:"organisationId,omitempty"`
	Software     string     `json:"softwareId,omitempty"`
	Certificate  string     `json:"certificateSerial,omitempty"` // hex
	Issuer       string     `json:"certificateIssuer,omitempty"`
	Fingerprint  string     `json:"certificateFingerprint,omitempty"`
	TokenHash    string     `json:"tokenHash,omitempty"` // first half of SHA-256, hex
	TokenID      string     `json:"tokenId,omitempty"`   // jti of an accepted token
	Source       string     `json:"source"`              // the socket's address and port, never a header's
	ReceivedAt   time.Time  `json:"receivedAt"`
	DurationUS   int64      `json:"durationMicros"` // from reading the request to recording it
	HTTPStatus   int        `json:"httpStatus"`
	Code         string     `json:"code,omitempty"`   // of an error, as the client saw it
	Reason       string     `json:"reason,omitempty"` // why, as it did not
	Status       ofb.Status `json:"status,omitempty"` // state shown
	Timer        string     `json:"timer,omitempty"`  // rule that had run out and was shown as such
	Items        int        `json:"items,omitempty"`  // of a list
	JTI          string     `json:"jti,omitempty"`    // of the signed answer
	KID          string     `json:"kid,omitempty"`
	Digest       string     `json:"answerDigest,omitempty"` // SHA-256 of the body sent, hex
	Suppressed   int64      `json:"suppressed,omitempty"`   // refusals of the same caller since the last that was recorded
	Spooled      bool       `json:"spooled,omitempty"`      // the record waited on disk for the database
}

// ExtensionPrefix begins the operation of each call of the initiators' extension. Such calls are recorded as status queries are, and are
// none: no official API has them, and nothing that is counted or reported of status queries holds of them.
const ExtensionPrefix = "extension-"

// OfExtension tells whether this is a call of the initiators' extension and no status query.
func (f *PollFacts) OfExtension() bool { return strings.HasPrefix(f.Operation, ExtensionPrefix) }
