package notice

import "time"

// Initiator is a registration: who may be told, and where.
type Initiator struct {
	Client          ClientID
	OrganisationID  string
	SoftwareID      string
	Name            string
	WebhookURIs     []string // in the order registered; the first is used (D-5)
	Push            bool     // there is at least one URI
	StatementDigest []byte   // SHA-256 of the verified software statement; nil when none was given
	UpdatedAt       time.Time

	// Basis says in the history what a registration that was followed rests on; "" for one that was put with a fresh
	// statement. It is not kept beside it.
	Basis Basis
}

// InitiatorQuery selects registrations, in the order of their client ids.
type InitiatorQuery struct {
	// Text is searched for in name, organisation, software and client id, whatever its case; "": all.
	Text  string
	After ClientID // only those behind this one; "": from the first
	Limit int      // at most so many
}

// Basis is what a registration rests on that was read from an authorization server's own table.
type Basis string

// The two bases of followed registrations.
const (
	StatementKept    Basis = "statement-kept"                  // verified as at registration, but for its age
	StatementChecked Basis = "checked-by-authorization-server" // there is none any more; the mapping vouches for it
)
