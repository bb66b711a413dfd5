package jws

import (
	"crypto/sha256"
	"time"
)

// Statement is a verified software statement: the Directory's facts about an initiator's software.
type Statement struct {
	SoftwareID     string
	OrganisationID string
	WebhookURIs    []string // software_api_webhook_uris in their order; nil when the claim is absent
	IssuedAt       time.Time
	Digest         [sha256.Size]byte // of the statement as it was received: the proof of what was accepted
}

// The bounds of software statements.
const (
	maxStatement    = 64 << 10
	maxStatementAge = 5 * time.Minute // DCR-BR §7.1-3
)

// The claims of a software statement that we read.
const (
	claimSoftware     = "software_id"
	claimOrganisation = "org_id"
	claimWebhookURIs  = "software_api_webhook_uris"
)

// StatementVerifier judges software statements (contract, "Software statement"). Keys is required.
type StatementVerifier struct {
	Keys   *KeySet          // the Directory's
	Issuer string           // compared only if set: the published issuer names contradict each other (security §8.3)
	Now    func() time.Time // nil: time.Now
}

// Verify accepts a statement of at most 64 KiB, signed with PS256 by a key named by kid, issued at most 5 min ago and
// not more than 60 s ahead, with software_id and org_id. It ignores other claims, except exp and nbf, which must hold if present.
func (v *StatementVerifier) Verify(statement string) (Statement, error) {
	return v.verify(statement, true)
}

// VerifyKept is Verify for a statement that an authorization server took at registration and kept since: its age and
// its exp were that server's to judge then, and say nothing now.
func (v *StatementVerifier) VerifyKept(statement string) (Statement, error) {
	return v.verify(statement, false)
}

func (v *StatementVerifier) verify(statement string, fresh bool) (Statement, error) {
	c, err := open(statement, maxStatement, v.Keys, algPS256)
	if err != nil {
		return Statement{}, err
	}
	s := Statement{Digest: sha256.Sum256([]byte(statement))}
	now := clock(v.Now)
	if s.IssuedAt, err = c.date("iat"); err != nil {
		return Statement{}, err
	}
	switch {
	case s.IssuedAt.After(now.Add(leeway)):
		return Statement{}, refuse(NotYetValid, "iat", "lies more than %s ahead", leeway)
	case fresh && now.Sub(s.IssuedAt) > maxStatementAge:
		return Statement{}, refuse(TooOld, "iat", "lies more than %s back", maxStatementAge)
	}
	if fresh {
		if err := c.inForce(now); err != nil {
			return Statement{}, err
		}
	}
	if v.Issuer != "" {
		if err := c.issuedBy(v.Issuer); err != nil {
			return Statement{}, err
		}
	}
	if s.SoftwareID, err = c.text(claimSoftware, maxText); err != nil {
		return Statement{}, err
	}
	if s.OrganisationID, err = c.text(claimOrganisation, maxText); err != nil {
		return Statement{}, err
	}
	if _, there := c[claimWebhookURIs]; there {
		if s.WebhookURIs, err = c.texts(claimWebhookURIs); err != nil {
			return Statement{}, err
		}
	}
	return s, nil
}
