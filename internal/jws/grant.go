package jws

import (
	"cmp"
	"slices"
	"strings"
)

// GrantClaim is the claim that names the grant, unless configured otherwise; its value must be client_credentials.
const GrantClaim = "grant_type"

const clientCredentials = "client_credentials"

// GrantProof is how we know that an access token was issued for the grant client_credentials (security §5, A6).
type GrantProof string

// The proofs of a grant. Whichever is chosen, a token that names another grant or is bound to a consent is refused.
const (
	// GrantByClaim: the claim GrantClaim says client_credentials. It is the default, since the server says it outright.
	GrantByClaim GrantProof = "claim"
	// GrantBySubject: sub equals client_id. RFC 9068 §2.2 has it so for a token in which no person takes part.
	GrantBySubject GrantProof = "subject"
	// GrantByIntrospection: the answer of the authorisation server's introspection endpoint says it, by claim or by subject.
	GrantByIntrospection GrantProof = "introspection"
	// GrantUnchecked: nothing says it. Configuration allows it in development only.
	GrantUnchecked GrantProof = "unchecked"
)

// grantRule is how the grant of a token is judged.
type grantRule struct {
	proof GrantProof // "": GrantByClaim
	claim string     // "": GrantClaim
}

// consentScopes begin the scope that binds a token to one consent or enrolment. Such a token comes from authorization_code.
var consentScopes = []string{"consent:", "recurring-consent:", "enrollment:"}

// judge refuses claims that do not show the grant as the rule demands, and those that show another one.
func (r grantRule) judge(c claims, client string, scopes []string) error {
	claim := cmp.Or(r.claim, GrantClaim)
	named, err := c.namesGrant(claim)
	if err == nil {
		_, err = c.namesGrant(GrantClaim)
	}
	if err != nil {
		return err
	}
	for _, prefix := range consentScopes {
		if slices.ContainsFunc(scopes, func(s string) bool { return strings.HasPrefix(s, prefix) }) {
			return refuse(Wrong, "scope", "a token that is bound to a consent is none of %s", clientCredentials)
		}
	}
	switch r.proof {
	case GrantUnchecked:
		return nil
	case GrantBySubject:
		return c.subjectIs(client)
	case GrantByIntrospection:
		if named {
			return nil
		}
		return c.subjectIs(client)
	}
	if !named {
		return refuse(Missing, claim, "required")
	}
	return nil
}

// namesGrant tells whether a claim names the grant client_credentials. The error is about another grant.
func (c claims) namesGrant(claim string) (bool, error) {
	if _, there := c[claim]; !there {
		return false, nil
	}
	grant, err := c.text(claim, maxText)
	if err == nil && grant != clientCredentials {
		err = refuse(Wrong, claim, "must be %s", clientCredentials)
	}
	return err == nil, err
}

// subjectIs compares sub with the client.
func (c claims) subjectIs(client string) error {
	if sub, err := c.text("sub", maxText); err != nil {
		return err
	} else if sub != client {
		return refuse(Wrong, "sub", "must equal client_id")
	}
	return nil
}
