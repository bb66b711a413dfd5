package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"

	"github.com/arauto/arauto/internal/lab/stage"
	"github.com/arauto/arauto/internal/ofb"
)

// Registration is a DCR or DCM of a client: the addresses that it asks for, and those that its software statement lists.
type Registration struct {
	Client    string
	Statement []string
	Asked     []string // empty: the member webhook_uris is left out
}

// Registered is the answer to a registration.
type Registered struct {
	Status             int
	Error, Description string   // of a refusal
	WebhookURIs        []string // of an acceptance
}

// Query names a resource, and the client that asks for it.
type Query struct {
	Client  string
	Kind    ofb.Kind
	Version string // major version, such as v5
	ID      string
}

// Holder is the account holder as the suite meets it. An error means that there was no answer, or one that the suite does not judge.
type Holder interface {
	// Register registers a client, or changes its registration.
	Register(ctx context.Context, r Registration) (Registered, error)
	// Unregister removes a client; one that is not registered is no error.
	Unregister(ctx context.Context, client string) error
	// Tell makes a change of a resource known, as the bank's core does.
	Tell(ctx context.Context, c stage.Change) error
	// Ask reads a resource at the status endpoint.
	Ask(ctx context.Context, q Query) (stage.Reading, error)
}

// Gateway is a holder whose core and authorization server hand everything to a gateway: over its internal API and its status
// endpoints.
type Gateway struct {
	Core  *stage.Core
	Asker *stage.Asker
	// Public is host:port of the status endpoints.
	Public string
	// OrganisationID, SoftwareID and Name are the initiator's.
	OrganisationID, SoftwareID, Name string
	// Statement signs a software statement that lists addresses; "" is sent without one.
	Statement func(uris []string) (string, error)
	// Token makes an access token for a client.
	Token func(client string) (string, error)
}

// Register puts the registration.
func (g *Gateway) Register(ctx context.Context, r Registration) (Registered, error) {
	statement, err := g.Statement(r.Statement)
	if err != nil {
		return Registered{}, err
	}
	answer, err := g.Core.Exchange(ctx, http.MethodPut, clientPath(r.Client), stage.Registration{
		OrganisationID: g.OrganisationID, SoftwareID: g.SoftwareID, Name: g.Name, WebhookURIs: r.Asked, SoftwareStatement: statement,
	})
	if err != nil {
		return Registered{}, err
	}
	var said struct {
		Error       string   `json:"error"`
		Description string   `json:"error_description"`
		WebhookURIs []string `json:"webhookUris"`
	}
	if err := json.Unmarshal(answer.Body, &said); err != nil {
		return Registered{}, &stage.Refusal{Status: answer.Status, Body: string(answer.Body)}
	}
	return Registered{answer.Status, said.Error, said.Description, said.WebhookURIs}, nil
}

func clientPath(client string) string { return "/internal/v1/initiators/" + url.PathEscape(client) }

// Unregister deletes the registration.
func (g *Gateway) Unregister(ctx context.Context, client string) error {
	err := g.Core.Call(ctx, http.MethodDelete, clientPath(client), nil, nil)
	var refused *stage.Refusal
	if errors.As(err, &refused) && refused.Status == http.StatusNotFound {
		return nil
	}
	return err
}

// Tell hands in the change, again while the gateway is too busy to take it.
func (g *Gateway) Tell(ctx context.Context, c stage.Change) error {
	_, err := g.Core.ChangePatiently(ctx, c)
	return err
}

// Ask asks the status endpoint and verifies the answer.
func (g *Gateway) Ask(ctx context.Context, q Query) (stage.Reading, error) {
	token, err := g.Token(q.Client)
	if err != nil {
		return stage.Reading{}, err
	}
	return g.Asker.Read(ctx, stage.Query{
		Address: g.Public, Token: token, Interaction: stage.NewInteraction(), Path: stage.StatusPath(q.Kind, q.Version, ofb.EscapeID(q.ID)),
	})
}
