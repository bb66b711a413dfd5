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
}
