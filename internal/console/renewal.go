package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
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

// keptRenewal is what is kept to renew a session.
type keptRenewal struct {
	refresh string    // the refresh token; "": nothing renews it
	from    rolesFrom // of the last renewal
}

// rolesFrom is what told the roles of a person at a renewal.
type rolesFrom string

// What tells them.
const (
	fromIDToken  rolesFrom = "" // or the session was not renewed yet
	fromUserinfo rolesFrom = "userinfo"
	fromSignIn   rolesFrom = "sign-in" // nothing tells them again
)

// sealedRenewal encrypts what renews a session, with a key that is made of the session's token: nobody who has the database alone can read
// it. nil: nothing renews it.
func sealedRenewal(token string, kept keptRenewal) ([]byte, error) {
	if kept.refresh == "" {
		return nil, nil
	}
	seal, err := cipherOf([]byte(token), "arauto console renewal")
	if err != nil {
		return nil, err
	}
	text := kept.refresh
	if kept.from != fromIDToken {
		text += "\n" + string(kept.from) // no refresh token has a line feed (RFC 6749 A.17)
	}
	return seal.Seal(nil, nil, []byte(text), nil), nil //nolint:gosec // the cipher draws the nonce itself
}

// openedRenewal is what sealedRenewal encrypted.
func openedRenewal(token string, sealed []byte) (kept keptRenewal, err error) {
	seal, err := cipherOf([]byte(token), "arauto console renewal")
	if err != nil {
		return kept, err
	}
	text, err := seal.Open(nil, nil, sealed, nil)
	refresh, from, _ := strings.Cut(string(text), "\n")
	return keptRenewal{refresh, rolesFrom(from)}, err
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
		k.revoke(x.Log, who.Subject, answer.next.refresh)
		return k.endNotRenewed(ctx, x, token, who.Subject)
	case err != nil:
		tellKept(x.Log, who.Subject, err)
		if answer.next.refresh == "" {
			return nil
		}
	default:
		k.recordSource(x, who.Subject, &answer)
	}
	if sealed, err = sealedRenewal(token, answer.next); err != nil {
		return err
	}
	who.Roles = answer.roles
	kept, err := k.cfg.Sessions.RenewSession(ctx, token, who.Roles, sealed)
	if err == nil && !kept { // the person has signed out meanwhile
		k.revoke(x.Log, who.Subject, answer.next.refresh)
	}
	return err
}

// tellKept says in the log why a renewal changed nothing.
func tellKept(log *slog.Logger, subject string, err error) {
	if _, silent := errors.AsType[*url.Error](err); silent {
		log.Warn("a session keeps its roles for a minute: the provider was asked again and did not answer", "subject", subject, "error", err)
		return
	}
	log.Warn("a session keeps its roles for a minute: the provider was asked again and gave no answer that can be used", "subject", subject, "error", err)
}

// recordSource writes to the history what told the roles where no ID token did, when it is something else than the time before. Where that fails,
// the next renewal tries again.
func (k *Console) recordSource(x *api.Exchange, subject string, answer *renewed) {
	var err error
	switch answer.next.from {
	case answer.before, fromIDToken:
	case fromUserinfo:
		err = k.record(x, subject, "renewal-userinfo")
	case fromSignIn:
		err = k.record(x, subject, "renewal-kept")
	}
	if err != nil {
		x.Log.Warn("what told the roles of a person is not in the history yet", "subject", subject, "from", string(answer.next.from), "error", err)
		answer.next.from = answer.before
	}
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
	roles  []string
	next   keptRenewal // also with an error, if the provider gave a refresh token
	before rolesFrom   // what told the roles the time before
}

// ask returns the roles that a person has now, and what renews the session next. An ID token is not always in the answer: then the roles are
// those from before. An error that is not errNotRenewed says nothing about the person.
func (p *Provider) ask(ctx context.Context, token string, sealed []byte, who *history.Person) (answer renewed, err error) {
	kept, err := openedRenewal(token, sealed)
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
	tokens, err := refreshed(ctx, cfg, stylesOf(docs, cfg.ClientSecret), kept.refresh)
	if err != nil {
		return answer, err
	}
	answer = renewed{roles: who.Roles, next: keptRenewal{tokens.RefreshToken, kept.from}, before: kept.from}
	raw, there := tokens.Extra("id_token").(string)
	if !there {
		return answer, nil
	}
	roles, from, err := p.rolesAgain(ctx, docs, raw, who.Subject)
	if err == nil && from != fromIDToken {
		roles, from, err = p.rolesElsewhere(ctx, docs, tokens.AccessToken, who)
	}
	if err == nil {
		answer.roles, answer.next.from = roles, from
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

// rolesAgain are the roles of an ID token that came with a renewal; fromIDToken: it tells them, else it has no member for them at all. It has no
// nonce, and how the person signed in was judged at the sign-in (OpenID Connect Core 12.2).
func (p *Provider) rolesAgain(ctx context.Context, docs *oidc.Provider, raw, subject string) ([]string, rolesFrom, error) {
	id, err := docs.Verifier(&oidc.Config{ClientID: p.ClientID}).Verify(ctx, raw)
	if err != nil {
		return nil, "", fmt.Errorf("the ID token is not accepted: %w", err)
	}
	if id.Subject != subject {
		return nil, "", fmt.Errorf("%w: the ID token names another person", errNotRenewed)
	}
	var claims map[string]any
	if err := id.Claims(&claims); err != nil {
		return nil, "", err
	}
	claim, there := claims[p.RolesClaim]
	if !there {
		return nil, fromSignIn, nil
	}
	p.tellsAgain.Store(true)
	roles := known(textsOf(claim))
	if len(roles) == 0 {
		return nil, "", fmt.Errorf("%w: the ID token has no role of ours", errNotRenewed)
	}
	return roles, fromIDToken, nil
}

// rolesElsewhere are the roles of a person whose renewed ID token has no member for them. Such a token may lack what that of the sign-in had, but many
// providers also leave out a list that is empty. So where there is a userinfo endpoint it has the last word; and where there is none, the roles of the
// sign-in stay only as long as no renewed ID token has told any.
func (p *Provider) rolesElsewhere(ctx context.Context, docs *oidc.Provider, access string, who *history.Person) ([]string, rolesFrom, error) {
	endpoint := docs.UserInfoEndpoint()
	switch {
	case endpoint != "":
		roles, err := p.userinfo(ctx, endpoint, access, who.Subject)
		return roles, fromUserinfo, err
	case p.tellsAgain.Load():
		return nil, "", fmt.Errorf("%w: the ID token has no roles, and those of others have", errNotRenewed)
	}
	return who.Roles, fromSignIn, nil
}

// userinfoMost bounds an answer of the userinfo endpoint, in bytes.
const userinfoMost = 1 << 20

// userinfo asks the provider for the roles of a person (OpenID Connect Core 5.3). What it refuses, or says of another person, ends the session; an answer
// that says nothing about the person does not.
func (p *Provider) userinfo(ctx context.Context, endpoint, access, subject string) ([]string, error) {
	if err := p.safe(endpoint); err != nil {
		return nil, fmt.Errorf("%w: %w", errNotRenewed, err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, endpoint, http.NoBody)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+access)
	r.Header.Set("Accept", "application/json")
	answer, err := p.Client.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, userinfoMost))
	switch {
	case err != nil:
		return nil, err
	case answer.StatusCode >= http.StatusInternalServerError || answer.StatusCode == http.StatusTooManyRequests:
		return nil, fmt.Errorf("userinfo answered %s", answer.Status)
	case answer.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("%w: userinfo answered %s", errNotRenewed, answer.Status)
	}
	var claims map[string]any
	if json.Unmarshal(text, &claims) != nil {
		return nil, fmt.Errorf("%w: userinfo is no JSON object", errNotRenewed)
	}
	if claims["sub"] != subject {
		return nil, fmt.Errorf("%w: userinfo is about another person", errNotRenewed)
	}
	roles := known(textsOf(claims[p.RolesClaim]))
	if len(roles) == 0 {
		return nil, fmt.Errorf("%w: neither the ID token nor userinfo has a role of ours", errNotRenewed)
	}
	return roles, nil
}
