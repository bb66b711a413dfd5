// Package registry judges the registrations of initiators and stores them: who is notified, and at which address. An
// address comes from outside and is one that our servers connect to. So its exact text is judged rule by rule first, and
// package webhook judges it again when it is dialled.
//
// What it guarantees: the stored address is the received string, never a rebuilt one; it equals what the Directory's
// statement lists, in the same order, byte for byte (webhook §6.2, contract "Comparison"); an absent or empty list
// switches push off whatever the statement lists; a statement may be left out in development only, and one that is
// present is checked in every profile. There is no cache: a registration is in force when Put returns, since a claim reads
// the address from the same row.
//
// Put is the way in for a registrar's own system, through the API. Follow is the one for a source that reads the
// authorization server's own table of clients: all rules of Put hold but the age of the statement, which that server took
// long ago, and the need of one where push is off.
//
// A refused registration is recorded as well (cases K5): as an entry of the history, committed before the refusal is
// answered.
//
// Left to others: who may call this (package api), switching epochs and the log of registrations (package store), what
// a name resolves to (package webhook).
package registry

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/arauto/arauto/internal/brand"
	"github.com/arauto/arauto/internal/jws"
	"github.com/arauto/arauto/internal/notice"
)

// Store keeps registrations. Its error for an unknown client is returned unchanged.
type Store interface {
	PutInitiator(ctx context.Context, in notice.Initiator, actor string) (stored notice.Initiator, created bool, err error)
	DeleteInitiator(ctx context.Context, client notice.ClientID, actor string) error
	// RefuseInitiator records what was asked for and refused, and changes nothing else.
	RefuseInitiator(ctx context.Context, in notice.Initiator, actor, code string, problems []notice.Problem) error
	Initiator(ctx context.Context, client notice.ClientID) (notice.Initiator, error)
	Initiators(ctx context.Context, q notice.InitiatorQuery) ([]notice.Initiator, error)
}

// Statements verifies software statements; *jws.StatementVerifier does.
type Statements interface {
	Verify(statement string) (jws.Statement, error)
}

// Config holds a Registry's settings. Store and Statements are required.
type Config struct {
	Store      Store
	Statements Statements
	Log        *slog.Logger // nil: discarded

	// Brands are the brands of the deployment, and BrandStatements the verifiers of those whose keys have a name, in place of
	// Statements.
	Brands          brand.List
	BrandStatements map[brand.Prefix]Statements

	// AllowPorts are the ports an address may name; none: 443.
	AllowPorts []uint16
	// Development lets a statement be left out, and AllowNetworks count.
	Development bool
	// AllowNetworks are networks outside the public internet whose addresses may be registered with any port, as may
	// names, and, where a loopback address is among them, localhost. Only with Development.
	AllowNetworks []netip.Prefix
}

// Registry judges and keeps registrations. It is safe for concurrent use.
type Registry struct {
	store      Store
	brands     brand.List
	statements map[brand.Prefix]Statements
	log        *slog.Logger
	addresses  *addresses
	optional   bool // a statement may be left out
}

// New makes a Registry; the error names the part of the configuration that is missing or contradicts another.
func New(c Config) (*Registry, error) {
	switch {
	case c.Store == nil:
		return nil, errors.New("registry: no store")
	case len(c.statements()) == 0 && !c.Development:
		return nil, errors.New("registry: no verifier of software statements; the Directory's key set is needed outside development")
	case len(c.AllowNetworks) > 0 && !c.Development:
		return nil, errors.New("registry: networks outside the public internet may be allowed with the development profile only")
	}
	c.Log = cmp.Or(c.Log, slog.New(slog.DiscardHandler))
	return &Registry{
		store: c.Store, brands: c.Brands, statements: c.statements(), log: c.Log, optional: c.Development,
		addresses: newAddresses(c.AllowPorts, c.AllowNetworks),
	}, nil
}

// statements are the verifiers by brand; a brand may have none.
func (c *Config) statements() map[brand.Prefix]Statements {
	out := map[brand.Prefix]Statements{}
	if c.Statements != nil {
		out[""] = c.Statements
	}
	maps.Copy(out, c.BrandStatements)
	return out
}

// Request is a registration as a registrar sends it.
type Request struct {
	Brand             string    `json:"brand"` // absent: the only one
	OrganisationID    string    `json:"organisationId"`
	SoftwareID        string    `json:"softwareId"`
	Name              string    `json:"name"`
	WebhookURIs       *[]string `json:"webhookUris"` // absent or empty: push is off
	SoftwareStatement string    `json:"softwareStatement"`
	EmptyStatement    bool      `json:"-"` // a statement was sent, and has no text
}

func (r Request) uris() []string {
	if r.WebhookURIs == nil {
		return nil
	}
	return *r.WebhookURIs
}

// Bounds of a registration.
const (
	maxName    = 255 // characters
	maxURIs    = 100 // the Directory's form stores one (webhook §6.3)
	maxAddress = 255 // of one URI (DCR-SW 2.0.1)
)

// Put judges a registration and stores it; created reports whether the client is new. Errors: an *Invalid when the request
// breaks a rule, recorded in the history by then; one that wraps jws.ErrUnavailable when the statement cannot be verified
// now; or the store's, also when a refusal could not be recorded.
func (g *Registry) Put(ctx context.Context, client notice.ClientID, r Request, actor string) (in notice.Initiator, created bool, err error) {
	digest, err := g.judge(ctx, client, r, actor, g.judgeStatement)
	if err != nil {
		return notice.Initiator{}, false, err
	}
	client, _ = g.keyOf(client, r) // judged
	uris := r.uris()
	in, created, err = g.store.PutInitiator(ctx, notice.Initiator{
		Client: client, OrganisationID: r.OrganisationID, SoftwareID: r.SoftwareID, Name: r.Name,
		WebhookURIs: slices.Clone(uris), Push: len(uris) > 0, StatementDigest: digest,
	}, actor)
	if err != nil {
		return notice.Initiator{}, false, fmt.Errorf("register %s: %w", client, err)
	}
	if len(uris) > 1 {
		g.log.WarnContext(ctx, "several webhook addresses registered: the first is used", "client", string(client), "addresses", len(uris))
	}
	return in, created, nil
}

// Judge judges the fields of a request as Put does, and not its addresses and its statement, which may be others when it is carried out. It
// stores no registration. Errors: an *Invalid, recorded in the history by then, or the store's when that could not be recorded.
func (g *Registry) Judge(ctx context.Context, client notice.ClientID, r Request, actor string) error {
	if invalid := g.judgeForm(client, r); invalid != nil {
		if err := g.refused(ctx, client, r, actor, invalid); err != nil {
			return err
		}
		return invalid
	}
	return nil
}

// statementJudge is how a statement is judged and compared with its request; it gives the digest of one that was there.
type statementJudge func(s Statements, r Request, uris []string) (digest []byte, err error)

// keyOf is the key of a client in the brand that its request names. The second result says what is wrong with the brand.
func (g *Registry) keyOf(client notice.ClientID, r Request) (notice.ClientID, *brand.WrongBrand) {
	of, wrong := g.brands.Resolve(r.Brand)
	return brand.Key(of, client), wrong
}

// judge gives the digest of a request's statement, or says what is wrong with the request, and has recorded that.
func (g *Registry) judge(ctx context.Context, client notice.ClientID, r Request, actor string, statement statementJudge) (digest []byte, err error) {
	digest, err = g.judgeParts(client, r, statement)
	if invalid, is := errors.AsType[*Invalid](err); is {
		if err := g.refused(ctx, client, r, actor, invalid); err != nil {
			return nil, err
		}
	}
	return digest, err
}

// judgeParts judges the fields of a request, then its addresses, then its statement.
func (g *Registry) judgeParts(client notice.ClientID, r Request, statement statementJudge) (digest []byte, err error) {
	if invalid := g.judgeForm(client, r); invalid != nil {
		return nil, invalid
	}
	key, _ := g.keyOf(client, r) // judged
	uris := r.uris()
	if problems := g.addresses.judge(uris); len(problems) > 0 {
		return nil, &Invalid{Code: InvalidURIs, Description: "an address cannot be registered", Problems: problems}
	}
	return statement(g.statements[brand.Of(key)], r, uris)
}

// judgeForm judges the fields of a request and its brand; nil: they are right.
func (g *Registry) judgeForm(client notice.ClientID, r Request) *Invalid {
	problems := judgeFields(client, r)
	if _, wrong := g.keyOf(client, r); wrong != nil {
		problems = append(problems, notice.Problem{Pointer: "/brand", Code: wrong.Code, Detail: wrong.Detail, DetailPT: wrong.DetailPT})
	}
	if len(problems) == 0 {
		return nil
	}
	return &Invalid{Code: InvalidRequest, Description: "the registration is not well formed", Problems: problems}
}

// refused records a refusal. A client id that is none cannot be written down as one.
func (g *Registry) refused(ctx context.Context, client notice.ClientID, r Request, actor string, why *Invalid) error {
	asked := notice.Initiator{OrganisationID: r.OrganisationID, SoftwareID: r.SoftwareID, WebhookURIs: r.uris()}
	if key, wrong := g.keyOf(client, r); wrong == nil && notice.ValidClientID(string(client)) {
		asked.Client = key
	}
	if r.SoftwareStatement != "" {
		sum := sha256.Sum256([]byte(r.SoftwareStatement))
		asked.StatementDigest = sum[:]
	}
	if err := g.store.RefuseInitiator(ctx, asked, actor, string(why.Code), why.Problems); err != nil {
		return fmt.Errorf("a registration of %s is refused and that cannot be recorded: %w", asked.Client, err)
	}
	return nil
}

// Get returns one registration; for an unknown client it returns the store's error.
func (g *Registry) Get(ctx context.Context, client notice.ClientID) (notice.Initiator, error) {
	return g.store.Initiator(ctx, client)
}

// List returns the registrations that a query selects, ordered by client id.
func (g *Registry) List(ctx context.Context, q notice.InitiatorQuery) ([]notice.Initiator, error) {
	return g.store.Initiators(ctx, q)
}

// Delete ends a registration. After its commit no waiting notification of this client is sent.
func (g *Registry) Delete(ctx context.Context, client notice.ClientID, actor string) error {
	return g.store.DeleteInitiator(ctx, client, actor)
}

func judgeFields(client notice.ClientID, r Request) []notice.Problem {
	var problems []notice.Problem
	add := func(pointer, code, detail string) {
		problems = append(problems, notice.Problem{Pointer: pointer, Code: code, Detail: detail})
	}
	if !notice.ValidClientID(string(client)) {
		add("", "clientId", "the client id in the path must have 1 to 255 printable ASCII characters without spaces")
	}
	id := func(pointer, value string) {
		switch {
		case value == "":
			add(pointer, "required", "is required")
		case !notice.ValidClientID(value):
			add(pointer, "format", "must have 1 to 255 printable ASCII characters without spaces")
		}
	}
	id("/organisationId", r.OrganisationID)
	id("/softwareId", r.SoftwareID)
	switch {
	case r.Name == "":
		add("/name", "required", "is required")
	case !printable(r.Name):
		add("/name", "format", fmt.Sprintf("must have 1 to %d printable characters, not beginning or ending with a space", maxName))
	}
	if len(r.uris()) > maxURIs {
		add("/webhookUris", "length", fmt.Sprintf("at most %d addresses", maxURIs))
	}
	return problems
}

// printable tells a text that people can read and that cannot pretend to be something else in a list or a log: no
// control, format or private characters, no other space than the plain one.
func printable(s string) bool {
	if !utf8.ValidString(s) || utf8.RuneCountInString(s) > maxName || s[0] == ' ' || s[len(s)-1] == ' ' {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}
