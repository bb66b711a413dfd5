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

// renewalWithin bounds the renewal of a session, which one page a minute waits for: a request to the provider takes 10 s at most, and one more where
// its description was not read yet.
const renewalWithin = 25 * time.Second

// errNotRenewed means that the provider does not renew the session.
var errNotRenewed = errors.New("the provider does not renew the session")

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

// renew asks the provider again about the person of a session: with other roles the person goes on with them, without any the session ends (cases N2
// and N5). A provider that does not answer changes nothing; it is asked again a minute later.
func (k *Console) renew(x *api.Exchange, token string, who *history.Person) error {
	// A provider may give each refresh token once, so what it answers must be kept also when the browser has gone.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(x.R.Context()), renewalWithin)
	defer cancel()
	sealed, err := k.cfg.Sessions.TakeRenewal(ctx, token)
	if err != nil || sealed == nil {
		return err
	}
	answer, err := k.cfg.OpenID.ask(ctx, token, sealed, who)
	switch {
	case errors.Is(err, errNotRenewed):
		x.Log.Warn("session ended", "subject", who.Subject, "error", err)
		k.revoke(x.Log, who.Subject, answer.next)
		return k.endNotRenewed(ctx, x, token, who.Subject)
	case err != nil:
		x.Log.Warn("a session keeps its roles for a minute: the provider was asked again and did not answer", "subject", who.Subject, "error", err)
		return nil
	}
	if sealed, err = sealedRenewal(token, answer.next); err != nil {
		return err
	}
	who.Roles = answer.roles
	kept, err := k.cfg.Sessions.RenewSession(ctx, token, who.Roles, sealed)
	if err == nil && !kept { // the person has signed out meanwhile
		k.revoke(x.Log, who.Subject, answer.next)
	}
	return err
}

// endNotRenewed ends a session after the history has it. Its roles go first, so that nothing is done with them if the history cannot be written.
func (k *Console) endNotRenewed(ctx context.Context, x *api.Exchange, token, subject string) error {
	if _, err := k.cfg.Sessions.RenewSession(ctx, token, []string{}, nil); err != nil {
		return err
	}
	if err := k.record(x, subject, "renewal-refused"); err != nil {
		return err
	}
	if _, err := k.cfg.Sessions.EndSession(ctx, token); err != nil {
		return err
	}
	return errNoSession
}

// renewed is what a provider answers when it is asked again about a person.
type renewed struct {
	roles []string
	next  string // the refresh token of the next time, also with an error; "": there is none
}

// ask returns the roles that a person has now, and what renews the session next. An ID token is not always in the answer: then the roles are
// those from before. An error that is not errNotRenewed says nothing about the person.
func (p *Provider) ask(ctx context.Context, token string, sealed []byte, who *history.Person) (answer renewed, err error) {
	renewal, err := openedRenewal(token, sealed)
	if err != nil {
		return answer, fmt.Errorf("%w: what renews it cannot be read", errNotRenewed)
	}
	ctx = oidc.ClientContext(ctx, p.Client)
	docs, err := p.discovered(ctx)
	if err != nil {
		return answer, err
	}
	cfg, err := p.config(docs)
	if err != nil {
		return answer, err
	}
	tokens, err := refreshed(ctx, cfg, stylesOf(docs, cfg.ClientSecret), renewal)
	if err != nil {
		return answer, err
	}
	answer = renewed{roles: who.Roles, next: tokens.RefreshToken}
	if raw, there := tokens.Extra("id_token").(string); there {
		answer.roles, err = p.rolesAgain(ctx, docs, raw, who.Subject)
	}
	return answer, err
}

// refreshed uses a refresh token. The library would try the other way of showing who we are after any refusal, and tell that of the second try alone.
func refreshed(ctx context.Context, cfg *oauth2.Config, styles []oauth2.AuthStyle, renewal string) (*oauth2.Token, error) {
	for n, style := range styles {
		cfg.Endpoint.AuthStyle = style
		tokens, err := cfg.TokenSource(ctx, &oauth2.Token{RefreshToken: renewal}).Token()
		var refused *oauth2.RetrieveError
		switch {
		case err == nil:
			return tokens, nil
		case !errors.As(err, &refused):
			return nil, err
		case refused.ErrorCode == "invalid_grant":
			return nil, fmt.Errorf("%w: %w", errNotRenewed, withoutBody(err))
		case refused.ErrorCode != "invalid_client" || n == len(styles)-1:
			return nil, withoutBody(err)
		}
	}
	return nil, errors.New("no way to show the provider who we are")
}

// rolesAgain are the roles of an ID token that came with a renewal. It has no nonce, and how the person signed in was judged at the sign-in
// (OpenID Connect Core 12.2).
func (p *Provider) rolesAgain(ctx context.Context, docs *oidc.Provider, raw, subject string) ([]string, error) {
	id, err := docs.Verifier(&oidc.Config{ClientID: p.ClientID}).Verify(ctx, raw)
	if err != nil {
		return nil, fmt.Errorf("the ID token is not accepted: %w", err)
	}
	if id.Subject != subject {
		return nil, fmt.Errorf("%w: the ID token names another person", errNotRenewed)
	}
	var claims map[string]any
	if err := id.Claims(&claims); err != nil {
		return nil, err
	}
	roles := known(textsOf(claims[p.RolesClaim]))
	if len(roles) == 0 {
		return nil, fmt.Errorf("%w: the ID token has no role of ours", errNotRenewed)
	}
	return roles, nil
}
