package jws

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/sync/singleflight"
)

// IntrospectorConfig says whom to ask about access tokens that only the authorisation server can read (RFC 7662).
type IntrospectorConfig struct {
	URL        string       // https
	Client     *http.Client // shows our certificate and guards what is dialled
	ClientID   string       // sent as client_id for tls_client_auth (RFC 8705 §2); "": not sent
	Issuer     string       // compared if the answer names one
	Audience   string       // compared if the answer names one
	Grant      GrantProof   // "": GrantByClaim
	GrantClaim string       // "": GrantClaim
	Signed     bool         // signature and claims of the token are verified: the answer tells only whether it is active, and its grant

	TTL     time.Duration    // how long an answer serves, never beyond the token's exp; 0: 5 s. Revocation shows after it.
	Entries int              // answers kept at most; 0: 10,000
	Timeout time.Duration    // of one question; 0: 5 s
	Now     func() time.Time // nil: time.Now
}

// Introspector judges access tokens by asking the authorisation server. It accepts by the same rules as AccessVerifier,
// except that iss, aud and jti may be left out of the answer, since it is the issuer who answers. It is safe for
// concurrent use; callers with the same token share one question.
type Introspector struct {
	cfg     IntrospectorConfig
	flight  singleflight.Group
	answers verdicts // good and bad ones
}

const maxAnswer = 64 << 10

// NewIntrospector prepares an Introspector.
func NewIntrospector(c IntrospectorConfig) (*Introspector, error) {
	at, err := url.Parse(c.URL)
	if err != nil || at.Scheme != "https" || at.Host == "" || at.User != nil || at.Fragment != "" {
		return nil, errors.New("the introspection address must be https://host[:port]/path, without user or fragment")
	}
	if c.Client == nil {
		return nil, errors.New("no HTTP client for the introspection endpoint is set")
	}
	client := *c.Client
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	client.Jar = nil
	c.Client = &client
	c.TTL, c.Timeout = cmp.Or(max(0, c.TTL), 5*time.Second), cmp.Or(max(0, c.Timeout), 5*time.Second)
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Introspector{cfg: c, answers: verdicts{most: c.Entries}}, nil
}

// Verify asks, or remembers. It waits no longer than ctx and the configured time allow; when there is no usable answer
// the error wraps ErrUnavailable.
func (i *Introspector) Verify(ctx context.Context, token string) (AccessToken, error) {
	if token == "" || len(token) > maxAccess {
		return AccessToken{}, refuse(TooLong, "", "1 to %d bytes", maxAccess)
	}
	hash := sha256.Sum256([]byte(token))
	if v, ok := i.answers.find(hash, i.cfg.Now()); ok {
		return v.result()
	}
	shared := i.flight.DoChan(string(hash[:]), func() (any, error) {
		// The question outlives the caller who happened to ask first: others may wait for it.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), i.cfg.Timeout)
		defer cancel()
		v, err := i.ask(ctx, token)
		if err == nil {
			i.answers.keep(hash, v, i.cfg.Now())
		}
		return v, err
	})
	select {
	case <-ctx.Done():
		return AccessToken{}, fmt.Errorf("introspection: %w: %w", ErrUnavailable, ctx.Err())
	case answer := <-shared:
		v, ok := answer.Val.(verdict)
		if answer.Err != nil || !ok {
			return AccessToken{}, fmt.Errorf("introspection: %w: %w", ErrUnavailable, answer.Err)
		}
		return v.result()
	}
}

func (i *Introspector) ask(ctx context.Context, token string) (verdict, error) {
	form := url.Values{"token": {token}, "token_type_hint": {"access_token"}}
	if i.cfg.ClientID != "" {
		form.Set("client_id", i.cfg.ClientID)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, i.cfg.URL, strings.NewReader(form.Encode()))
	if err != nil {
		return verdict{}, errors.New("the address cannot be requested")
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Accept", "application/json")
	answer, err := i.cfg.Client.Do(request)
	if err != nil {
		return verdict{}, unwrapURL(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return verdict{}, fmt.Errorf("answered with status %d instead of 200", answer.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	if err != nil {
		return verdict{}, fmt.Errorf("read the answer: %w", err)
	}
	var said claims
	if len(body) > maxAnswer || json.Unmarshal(body, &said) != nil {
		return verdict{}, fmt.Errorf("the answer is not a JSON object of at most %d bytes", maxAnswer)
	}
	active, ok := said["active"].(bool)
	if !ok {
		return verdict{}, errors.New("the answer does not say whether the token is active")
	}
	return i.judge(token, active, said)
}

func (i *Introspector) judge(token string, active bool, said claims) (verdict, error) {
	now := i.cfg.Now()
	v := verdict{until: now.Add(i.cfg.TTL)}
	if !active {
		v.refusal = refuse(Inactive, "", "the authorisation server does not know it any more")
		return v, nil
	}
	err := i.origin(said)
	switch rule := (grantRule{i.cfg.Grant, i.cfg.GrantClaim}); {
	case err != nil:
	case i.cfg.Signed:
		v.token.ClientID, _ = said["client_id"].(string) // optional in an answer (RFC 7662 §2.2)
		err = rule.judge(said, v.token.ClientID, nil)
	default:
		v.token, err = said.access(token, rule, now)
	}
	if err != nil {
		if !errors.As(err, &v.refusal) {
			return verdict{}, err
		}
		return v, nil
	}
	if !i.cfg.Signed && v.token.ExpiresAt.Before(v.until) {
		v.until = v.token.ExpiresAt
	}
	return v, nil
}

func (i *Introspector) origin(said claims) error {
	if _, there := said["iss"]; there && i.cfg.Issuer != "" {
		if err := said.issuedBy(i.cfg.Issuer); err != nil {
			return err
		}
	}
	if _, there := said["aud"]; there && i.cfg.Audience != "" {
		return said.meantFor(i.cfg.Audience)
	}
	return nil
}
