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

	"golang.org/x/oauth2"
)

// revokeWithin bounds the revocation of one refresh token. Nobody waits for it but the end of the process.
const revokeWithin = 5 * time.Second

// refusalMost bounds what is read of a refusal, in bytes.
const refusalMost = 1 << 16

// revoke tells the provider, behind the answer to the browser, that a refresh token is used no more; "": there is none. The session has ended
// whatever becomes of it: a failure is a line of the log.
func (k *Console) revoke(log *slog.Logger, subject, renewal string) {
	if renewal == "" || k.cfg.OpenID == nil {
		return
	}
	k.revoking.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), revokeWithin)
		defer cancel()
		if err := k.cfg.OpenID.revoke(ctx, renewal); err != nil {
			log.Warn("refresh token not revoked at the provider", "subject", subject, "error", err)
		}
	})
}

// AwaitRevocations returns when what renewed ended sessions is revoked, or ctx ends. It is called once no request comes any more.
func (k *Console) AwaitRevocations(ctx context.Context) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		k.revoking.Wait()
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// revoke revokes a refresh token (RFC 7009), where the provider's description names an address for it.
func (p *Provider) revoke(ctx context.Context, renewal string) error {
	docs, err := p.discovered(ctx)
	if err != nil {
		return err
	}
	var said struct {
		Endpoint string `json:"revocation_endpoint"`
	}
	if err := docs.Claims(&said); err != nil || said.Endpoint == "" {
		return err
	}
	if err := p.safe(said.Endpoint); err != nil {
		return err
	}
	secret, err := p.secret()
	if err != nil {
		return err
	}
	for _, style := range stylesOf(docs, secret) {
		var refused bool
		if refused, err = p.revokeBy(ctx, style, said.Endpoint, url.Values{"token": {renewal}, "token_type_hint": {"refresh_token"}}, secret); !refused {
			break
		}
	}
	return err
}

// revokeBy asks for a revocation in one way of showing who we are; refused: another way may be right.
func (p *Provider) revokeBy(ctx context.Context, style oauth2.AuthStyle, endpoint string, form url.Values, secret string) (refused bool, err error) {
	if style == oauth2.AuthStyleInParams {
		form.Set("client_id", p.ClientID)
		if secret != "" {
			form.Set("client_secret", secret)
		}
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return false, err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if style == oauth2.AuthStyleInHeader {
		r.SetBasicAuth(url.QueryEscape(p.ClientID), url.QueryEscape(secret)) // RFC 6749 2.3.1
	}
	answer, err := p.Client.Do(r)
	if err != nil {
		return false, err
	}
	defer answer.Body.Close()
	if answer.StatusCode/100 == 2 {
		return false, nil
	}
	var why struct {
		Error string `json:"error"`
	}
	_ = json.NewDecoder(io.LimitReader(answer.Body, refusalMost)).Decode(&why) // what is no JSON names no other way
	return answer.StatusCode == http.StatusUnauthorized || why.Error == "invalid_client", fmt.Errorf("the provider answered %s", answer.Status)
}

// safe refuses an address that a provider with https describes without it: no token and no secret is sent there.
func (p *Provider) safe(endpoint string) error {
	if strings.HasPrefix(p.Issuer, "https://") && !strings.HasPrefix(endpoint, "https://") {
		return errors.New("the provider describes an address that is not https")
	}
	return nil
}
