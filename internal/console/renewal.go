package console

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/arauto/arauto/internal/api"
	"github.com/arauto/arauto/internal/history"
)

// renewalWithin is how long a page waits for the provider that is asked again about its person, beside the first reading of its description.
const renewalWithin = 3 * time.Second

// errWithdrawn means that the provider does not let the person of a session in any more.
var errWithdrawn = errors.New("the provider does not let the person in any more")

// sealedRenewal encrypts what renews a session, with a key that is made of the session's token: nobody who has the database alone can read
// it. nil: nothing renews it.
func sealedRenewal(token, renewal string) ([]byte, error) {
	if renewal == "" {
		return nil, nil
	}
	seal, err := cipherOf([]byte(token), "arauto console renewal")
	if err != nil {
		return nil, err
	}
	return seal.Seal(nil, nil, []byte(renewal), nil), nil //nolint:gosec // the cipher draws the nonce itself
}

// openedRenewal is what sealedRenewal encrypted.
func openedRenewal(token string, sealed []byte) (string, error) {
	seal, err := cipherOf([]byte(token), "arauto console renewal")
	if err != nil {
		return "", err
	}
	renewal, err := seal.Open(nil, nil, sealed, nil)
	return string(renewal), err
}

// renew asks the provider again about the person of a session: with other roles she goes on with them, without any the session
// ends (cases N2 and N5). A provider that does not answer changes nothing; it is asked again a minute later.
func (k *Console) renew(x *api.Exchange, token string, who *history.Person) error {
	ctx := context.WithoutCancel(x.R.Context()) // a provider may give each refresh token once: what it answers must be kept
	sealed, err := k.cfg.Sessions.TakeRenewal(ctx, token)
	if err != nil || sealed == nil {
		return err
	}
	roles, next, err := k.cfg.OpenID.ask(ctx, token, sealed, who)
	switch {
	case errors.Is(err, errWithdrawn):
		x.Log.Warn("session ended: the provider does not let the person in any more", "subject", who.Subject, "error", err)
		if err := k.record(x, who.Subject, "session-withdrawn"); err != nil {
			return err
		}
		if err := k.cfg.Sessions.EndSession(ctx, token); err != nil {
			return err
		}
		return errNoSession
	case err != nil:
		x.Log.Warn("a session keeps its roles for a minute: the provider was asked again and did not answer", "subject", who.Subject, "error", err)
		return nil
	}
	who.Roles = roles
	return k.cfg.Sessions.RenewSession(ctx, token, roles, next)
}

// ask returns the roles that a person has now, and what renews the session next, encrypted. An ID token is not always in the answer: then the roles
// are those from before. An error that is not errWithdrawn says nothing about the person.
func (p *Provider) ask(ctx context.Context, token string, sealed []byte, who *history.Person) (roles []string, next []byte, err error) {
	ctx, cancel := context.WithTimeout(oidc.ClientContext(ctx, p.Client), renewalWithin)
	defer cancel()
	renewal, err := openedRenewal(token, sealed)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: what renews the session cannot be read", errWithdrawn)
	}
	docs, err := p.discovered(ctx)
	if err != nil {
		return nil, nil, err
	}
	cfg, err := p.config(docs)
	if err != nil {
		return nil, nil, err
	}
	tokens, err := cfg.TokenSource(ctx, &oauth2.Token{RefreshToken: renewal}).Token()
	var refused *oauth2.RetrieveError
	if errors.As(err, &refused) && refused.ErrorCode == "invalid_grant" {
		return nil, nil, fmt.Errorf("%w: %w", errWithdrawn, withoutBody(err))
	}
	if err != nil {
		return nil, nil, withoutBody(err)
	}
	roles = who.Roles
	if raw, there := tokens.Extra("id_token").(string); there {
		if roles, err = p.rolesAgain(ctx, docs, raw, who.Subject); err != nil {
			return nil, nil, err
		}
	}
	next, err = sealedRenewal(token, tokens.RefreshToken)
	return roles, next, err
}

// rolesAgain are the roles of an ID token that came with a renewal. It has no nonce, and how the person signed in was judged at the sign-in
// (OpenID Connect Core 12.2).
func (p *Provider) rolesAgain(ctx context.Context, docs *oidc.Provider, raw, subject string) ([]string, error) {
	id, err := docs.Verifier(&oidc.Config{ClientID: p.ClientID}).Verify(ctx, raw)
	if err != nil {
		return nil, fmt.Errorf("the ID token is not accepted: %w", err)
	}
	if id.Subject != subject {
		return nil, fmt.Errorf("%w: the ID token names another person", errWithdrawn)
	}
	var claims map[string]any
	if err := id.Claims(&claims); err != nil {
		return nil, err
	}
	roles := known(textsOf(claims[p.RolesClaim]))
	if len(roles) == 0 {
		return nil, fmt.Errorf("%w: the ID token has no role of ours", errWithdrawn)
	}
	return roles, nil
}
