package history

import "github.com/arauto/arauto/internal/notice"

// Acknowledgement is what an initiator says of one of its notifications.
type Acknowledgement struct {
	Notification notice.ID
	Outcome      string // AckProcessed or AckRefused
	Code         string // why it was refused, a word of the initiator's own; "": it was not
	Description  string // of the refusal, for people; "": none
}

// The outcomes of entries of kind FactAcknowledged.
const (
	AckProcessed = "processed"
	AckRefused   = "refused"
)

// AckResult is what became of an acknowledgement.
type AckResult string

// The results.
const (
	AckRecorded AckResult = "recorded" // an entry of the log says so
	AckKnown    AckResult = "known"    // the same was said last
	AckUnknown  AckResult = "unknown"  // the client has no such notification
)

// AckFacts are what an entry keeps of an acknowledgement beside its columns. Code and description are the initiator's words.
type AckFacts struct {
	System      string `json:"system"` // replica and version
	Remote      string `json:"remote,omitempty"`
	Code        string `json:"code,omitempty"`
	Description string `json:"description,omitempty"`
}
