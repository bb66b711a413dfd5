package registry

import (
	"errors"
	"fmt"
	"slices"

	"github.com/arauto/arauto/internal/jws"
	"github.com/arauto/arauto/internal/notice"
)

// judgeStatement verifies the software statement and compares it with the request. It may be left out in development only, with
// addresses or without: it also proves whose software this is, and so who may ask. The digest is nil when none was given.
func (g *Registry) judgeStatement(s Statements, r Request, uris []string) (digest []byte, err error) {
	if r.EmptyStatement {
		return nil, badStatement("softwareStatement is empty; send the Directory's statement, or leave the member out where none is needed")
	}
	if r.SoftwareStatement == "" {
		if !g.optional {
			return nil, badStatement("softwareStatement is required; only profile: development may leave it out")
		}
		return nil, nil
	}
	return compare(s, r, uris, func(s Statements) (jws.Statement, error) { return s.Verify(r.SoftwareStatement) })
}

// compare verifies a statement and holds it against the request.
func compare(s Statements, r Request, uris []string, verify func(Statements) (jws.Statement, error)) (digest []byte, err error) {
	if s == nil {
		return nil, fmt.Errorf("no key set of the Directory is configured, so no software statement can be verified: %w", jws.ErrUnavailable)
	}
	statement, err := verify(s)
	if refusal := (*jws.Refusal)(nil); errors.As(err, &refusal) {
		return nil, badStatement(refusal.Error())
	}
	if err != nil {
		return nil, fmt.Errorf("verify the software statement: %w", err)
	}
	switch {
	case statement.SoftwareID != r.SoftwareID:
		return nil, badStatement("wrong-claim software_id: must equal softwareId")
	case statement.OrganisationID != r.OrganisationID:
		return nil, badStatement("wrong-claim org_id: must equal organisationId")
	case len(uris) > 0 && statement.WebhookURIs == nil:
		return nil, badStatement("missing-claim software_api_webhook_uris: required with webhookUris")
	case len(uris) > 0 && !slices.Equal(statement.WebhookURIs, uris):
		return nil, &Invalid{Code: InvalidURIs, Description: Differs}
	}
	return statement.Digest[:], nil
}

func badStatement(why string) *Invalid {
	return &Invalid{
		Code: InvalidStatement, Description: why,
		Problems: []notice.Problem{{Pointer: "/softwareStatement", Code: "invalid", Detail: why}},
	}
}
