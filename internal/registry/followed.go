package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/arauto/arauto/internal/jws"
	"github.com/arauto/arauto/internal/notice"
)

// KeptStatements verifies statements that an authorization server took and kept: as Verify, without their age.
// *jws.StatementVerifier does.
type KeptStatements interface {
	VerifyKept(statement string) (jws.Statement, error)
}

// Follow stores a client's registration from the authorization server's own table. It applies all rules of Put except the
// age of the statement, which that server judged at registration. Where the server keeps none, checked says that the author
// of the source's mapping vouches for that server having verified one; without it such a registration is refused as by Put, unless it
// has no address: push ends as soon as the table says so.
// What the registration rests on goes into its entry. One that changes nothing is not written again: a table tells the
// same row for many reasons. Errors are those of Put.
func (g *Registry) Follow(ctx context.Context, client notice.ClientID, r Request, checked bool, actor string) error {
	basis := notice.StatementKept
	if r.SoftwareStatement == "" && checked {
		basis = notice.StatementChecked
	}
	digest, err := g.judge(ctx, client, r, actor, g.judgeFollowed(checked))
	if err != nil {
		return err
	}
	client, _ = g.keyOf(client, r) // judged
	if r.SoftwareStatement == "" && !checked {
		basis = "" // push is off, or development lets it be left out: it rests on nothing
	}
	in := notice.Initiator{
		Client: client, OrganisationID: r.OrganisationID, SoftwareID: r.SoftwareID, Name: r.Name,
		WebhookURIs: slices.Clone(r.uris()), Push: len(r.uris()) > 0, StatementDigest: digest, Basis: basis,
	}
	if now, err := g.store.Initiator(ctx, client); err == nil && same(now, in) {
		return nil
	}
	if _, _, err := g.store.PutInitiator(ctx, in, actor); err != nil {
		return fmt.Errorf("follow the registration of %s: %w", client, err)
	}
	return nil
}

// judgeFollowed is how the statement of a registration that a source tells is judged.
func (g *Registry) judgeFollowed(checked bool) statementJudge {
	return func(s Statements, r Request, uris []string) ([]byte, error) {
		if r.SoftwareStatement == "" && checked {
			return nil, nil
		}
		return g.judgeKept(s, r, uris)
	}
}

// ForeseeFollowed judges a registration as Follow would, and stores and records nothing; the configuration needs no store.
// The errors are those of Put that a rule or a missing verifier causes.
func ForeseeFollowed(c Config, client notice.ClientID, r Request, checked bool) error {
	g := &Registry{brands: c.Brands, statements: c.statements(), optional: c.Development, addresses: newAddresses(c.AllowPorts, c.AllowNetworks)}
	_, err := g.judgeParts(client, r, g.judgeFollowed(checked))
	return err
}

// judgeKept is judgeStatement for a statement whose age counts no more.
func (g *Registry) judgeKept(s Statements, r Request, uris []string) (digest []byte, err error) {
	switch {
	case r.SoftwareStatement != "":
	case len(uris) == 0 && !r.EmptyStatement:
		return nil, nil
	default:
		return g.judgeStatement(s, r, uris)
	}
	return compare(s, r, uris, func(s Statements) (jws.Statement, error) {
		kept, ok := s.(KeptStatements)
		if !ok {
			return jws.Statement{}, errors.New("this verifier judges fresh statements alone")
		}
		return kept.VerifyKept(r.SoftwareStatement)
	})
}

// same reports whether a registration says what is stored.
func same(stored, in notice.Initiator) bool {
	return stored.OrganisationID == in.OrganisationID && stored.SoftwareID == in.SoftwareID && stored.Name == in.Name &&
		slices.Equal(stored.WebhookURIs, in.WebhookURIs) && bytes.Equal(stored.StatementDigest, in.StatementDigest)
}
