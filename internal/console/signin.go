package console

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/arauto/arauto/internal/api"
	"github.com/arauto/arauto/internal/console/page"
	"github.com/arauto/arauto/internal/history"
)

// callbackPath is where the provider sends people back to, below the base URL.
const callbackPath = "/sign-in/callback"

// Provider is the bank's OpenID provider. All fields but SecretFile and ACR are required.
type Provider struct {
	Issuer     string
	ClientID   string
	SecretFile string // read at each sign-in; "": a public client
	RolesClaim string
	Scopes     []string     // that are asked for
	ACR        []string     // the ways of sign-in that are accepted, the best first; none: every way
	Client     *http.Client // reaches the provider
	BaseURL    string       // of the console

	mu       sync.Mutex
	docs     *oidc.Provider // nil: not read yet
	failed   error          // of the last try to read them
	failedAt time.Time

	tellsAgain atomic.Bool // a renewed ID token has told roles
}

// askAgain is how long a provider that did not answer is left alone: people who wait for it would otherwise wait one after the
// other, each as long as a request to it may take.
const askAgain = 5 * time.Second

// CheckSecret reads the secret's file once. The error says what is wrong with it.
func (p *Provider) CheckSecret() error {
	_, err := p.secret()
	return err
}

func (p *Provider) secret() (string, error) {
	if p.SecretFile == "" {
		return "", nil
	}
	info, err := os.Stat(p.SecretFile)
	if err != nil {
		return "", err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("%s can be read by others than its owner (mode %04o): set it to 0600", p.SecretFile, info.Mode().Perm())
	}
	text, err := os.ReadFile(p.SecretFile)
	if err != nil {
		return "", err
	}
	if secret := strings.TrimSpace(string(text)); secret != "" {
		return secret, nil
	}
	return "", fmt.Errorf("%s is empty", p.SecretFile)
}

// discovered reads the provider's own description once. A provider that does not answer is asked again at a sign-in 5 s later.
func (p *Provider) discovered(ctx context.Context) (*oidc.Provider, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.docs != nil {
		return p.docs, nil
	}
	if p.failed != nil && time.Since(p.failedAt) < askAgain {
		return nil, p.failed
	}
	docs, err := oidc.NewProvider(oidc.ClientContext(context.WithoutCancel(ctx), p.Client), p.Issuer)
	if err != nil {
		p.failed, p.failedAt = err, time.Now()
		return nil, err
	}
	p.docs = docs
	return docs, nil
}

func (p *Provider) config(docs *oidc.Provider) (*oauth2.Config, error) {
	secret, err := p.secret()
	if err != nil {
		return nil, err
	}
	endpoint := docs.Endpoint()
	if styles := stylesOf(docs, secret); len(styles) == 1 {
		endpoint.AuthStyle = styles[0]
	}
	return &oauth2.Config{ClientID: p.ClientID, ClientSecret: secret, Endpoint: endpoint, RedirectURL: p.BaseURL + callbackPath, Scopes: p.Scopes}, nil
}

// stylesOf are the ways in which a provider may want to be shown who we are, as it describes itself. Where it does not say, there are two.
func stylesOf(docs *oidc.Provider, secret string) []oauth2.AuthStyle {
	var said struct {
		Methods []string `json:"token_endpoint_auth_methods_supported"`
	}
	switch err := docs.Claims(&said); {
	case secret == "":
		return []oauth2.AuthStyle{oauth2.AuthStyleInParams} // a public client has an id alone
	case err == nil && slices.Contains(said.Methods, "client_secret_basic"):
		return []oauth2.AuthStyle{oauth2.AuthStyleInHeader}
	case err == nil && slices.Contains(said.Methods, "client_secret_post"):
		return []oauth2.AuthStyle{oauth2.AuthStyleInParams}
	}
	return []oauth2.AuthStyle{oauth2.AuthStyleInHeader, oauth2.AuthStyleInParams}
}

// pendingSignIn is what a browser carries, sealed, while the person is at the provider.
type pendingSignIn struct {
	State, Nonce, Verifier, Next string
	Until                        time.Time
}

// pendingWithin is how long a person may take at the provider.
const pendingWithin = 10 * time.Minute

// longestNext bounds the address that a person returns to, in bytes: browsers drop a cookie of more than 4096.
const longestNext = 2000

// A browser may have several sign-ins pending, one for each tab, each in a cookie of its own. Their number is bounded, and so are their
// bytes: proxies refuse a request whose cookies are too long. The oldest give way.
const mostPending, mostPendingBytes = 4, 4096

// pendingCookie names the cookie of the sign-in with a state.
func (k *Console) pendingCookie(state string) string {
	sum := sha256.Sum256([]byte(state))
	return k.pendingPrefix() + hex.EncodeToString(sum[:8])
}

func (k *Console) pendingPrefix() string { return k.cookie() + "-signing-in-" }

// sealer makes the cipher of pending sign-ins, whose key every replica derives from the deployment's secret.
func (k *Console) sealer(ctx context.Context) (cipher.AEAD, error) {
	secret, err := k.cfg.Records.CursorKey(ctx)
	if err != nil {
		return nil, err
	}
	return cipherOf(secret, "arauto console sign-in")
}

// cipherOf makes a cipher for one purpose, with a key that is made of a secret.
func cipherOf(secret []byte, purpose string) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, secret, nil, purpose, 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// getStart sends the browser to the provider.
func (k *Console) getStart(x *api.Exchange) error {
	p := k.cfg.OpenID
	if p == nil {
		return &page.APIRefusal{Status: http.StatusNotFound}
	}
	docs, err := p.discovered(x.R.Context())
	if err != nil {
		x.Log.Warn("sign-in failed: the provider does not answer", "error", err)
		return k.closed(x, "sign-in.away")
	}
	cfg, err := p.config(docs)
	if err != nil {
		return k.withoutSecret(x, err)
	}
	seal, err := k.sealer(x.R.Context())
	if err != nil {
		return err
	}
	next := ownPath(x.R.URL.Query().Get("next"))
	if len(next) > longestNext {
		next = "/"
	}
	pending := pendingSignIn{rand.Text(), rand.Text(), oauth2.GenerateVerifier(), next, time.Now().Add(pendingWithin)}
	text, err := json.Marshal(pending)
	if err != nil {
		return err
	}
	sealed := base64.RawURLEncoding.EncodeToString(seal.Seal(nil, nil, text, nil)) //nolint:gosec // the cipher draws the nonce itself
	k.makeRoom(x, seal, len(sealed))
	k.setCookie(x, k.pendingCookie(pending.State), sealed, pendingWithin)
	options := []oauth2.AuthCodeOption{oidc.Nonce(pending.Nonce), oauth2.S256ChallengeOption(pending.Verifier)}
	if len(p.ACR) > 0 {
		options = append(options, oauth2.SetAuthURLParam("acr_values", strings.Join(p.ACR, " ")))
	}
	http.Redirect(x.W, x.R, cfg.AuthCodeURL(pending.State, options...), http.StatusFound)
	return nil
}

// withoutSecret says that nobody can sign in here until the secret's file is whole again.
func (k *Console) withoutSecret(x *api.Exchange, err error) error {
	x.Log.Error("sign-in failed: the secret that the provider knows us by cannot be read (console.oidc.client_secret_file)", "error", err)
	return k.closed(x, "sign-in.secret")
}

// closed says why nobody can sign in now.
func (k *Console) closed(x *api.Exchange, why string) error {
	lang := langOf(x.R)
	return k.shared.ShowBare(x, lang, http.StatusServiceUnavailable, page.Bare{
		Title: k.shared.Text(lang, "sign-in.refused"), Lines: []string{k.shared.Text(lang, why)},
		Link: &page.Link{Path: "/sign-in", Text: k.shared.Text(lang, "sign-in.again")},
	})
}

// makeRoom takes the oldest pending sign-ins from the browser until another one, of a length in bytes, fits.
func (k *Console) makeRoom(x *api.Exchange, seal cipher.AEAD, length int) {
	var carried []*http.Cookie
	until := map[*http.Cookie]time.Time{} // zero: somebody else made it
	for _, c := range x.R.Cookies() {
		if strings.HasPrefix(c.Name, k.pendingPrefix()) {
			p, _ := unsealed(seal, c.Value)
			carried, until[c], length = append(carried, c), p.Until, length+len(c.Value)
		}
	}
	slices.SortStableFunc(carried, func(a, b *http.Cookie) int { return until[a].Compare(until[b]) })
	for len(carried) > 0 && (len(carried) >= mostPending || length > mostPendingBytes) {
		k.setCookie(x, carried[0].Name, "", -1)
		length -= len(carried[0].Value)
		carried = carried[1:]
	}
}

// unsealed is what a cookie holds; false: somebody else made it.
func unsealed(seal cipher.AEAD, value string) (p pendingSignIn, ok bool) {
	sealed, err := base64.RawURLEncoding.DecodeString(value)
	if err != nil {
		return p, false
	}
	text, err := seal.Open(nil, nil, sealed, nil)
	return p, err == nil && json.Unmarshal(text, &p) == nil
}

// pending takes from the browser what it carries for a state; false: it carries nothing that we gave it for this state within the last
// ten minutes.
func (k *Console) pending(x *api.Exchange, state string) (p pendingSignIn, ok bool, err error) {
	c, err := x.R.Cookie(k.pendingCookie(state))
	if err != nil {
		return p, false, nil //nolint:nilerr // there is none
	}
	seal, err := k.sealer(x.R.Context())
	if err != nil {
		return p, false, err
	}
	k.setCookie(x, c.Name, "", -1)
	p, ok = unsealed(seal, c.Value)
	same := subtle.ConstantTimeCompare([]byte(state), []byte(p.State)) == 1 // a cookie under another name is another's
	return p, ok && same && time.Now().Before(p.Until), nil
}

// errSignIn is a sign-in that is refused; its text is the key of the reason.
type errSignIn string

// Error is the key of the reason.
func (e errSignIn) Error() string { return string(e) }

// errNoSecret means that our own secret cannot be read.
var errNoSecret = errors.New("no secret for the provider")

// getCallback takes the provider's answer and opens the session.
func (k *Console) getCallback(x *api.Exchange) error {
	p := k.cfg.OpenID
	if p == nil {
		return &page.APIRefusal{Status: http.StatusNotFound}
	}
	q := x.R.URL.Query()
	pending, ok, err := k.pending(x, q.Get("state"))
	if err != nil {
		return err
	}
	if !ok {
		return k.refuseSignIn(x, "state")
	}
	if q.Get("error") != "" || q.Has("iss") && q.Get("iss") != p.Issuer {
		x.Log.Warn("sign-in refused by the provider")
		return k.refuseSignIn(x, "provider")
	}
	who, renewal, err := p.identify(x.R.Context(), q.Get("code"), pending)
	var why errSignIn
	if errors.As(err, &why) {
		x.Log.Warn("sign-in refused", "reason", string(why), "error", err)
		return k.refuseSignIn(x, string(why))
	}
	if errors.Is(err, errNoSecret) {
		return k.withoutSecret(x, err)
	}
	if err != nil {
		return err
	}
	return k.open(x, who, renewal, pending.Next)
}

// identify exchanges the code and judges the ID token. A refusal is an errSignIn. renewal is the refresh token; "": the provider gave none.
func (p *Provider) identify(ctx context.Context, code string, pending pendingSignIn) (who history.Person, renewal string, err error) {
	ctx = oidc.ClientContext(ctx, p.Client)
	docs, err := p.discovered(ctx)
	if err != nil {
		return who, "", fmt.Errorf("%w: %w", errSignIn("provider"), err)
	}
	cfg, err := p.config(docs)
	if err != nil {
		return who, "", fmt.Errorf("%w: %w", errNoSecret, err)
	}
	tokens, err := cfg.Exchange(ctx, code, oauth2.VerifierOption(pending.Verifier))
	if err != nil {
		return who, "", fmt.Errorf("%w: the code is not accepted: %w", errSignIn("provider"), withoutBody(err))
	}
	raw, _ := tokens.Extra("id_token").(string)
	id, err := docs.Verifier(&oidc.Config{ClientID: p.ClientID}).Verify(ctx, raw)
	if err != nil {
		return who, "", fmt.Errorf("%w: the ID token is not accepted: %w", errSignIn("provider"), err)
	}
	if subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(pending.Nonce)) != 1 {
		return who, "", fmt.Errorf("%w: the ID token has another nonce", errSignIn("provider"))
	}
	who, err = p.personOf(id)
	return who, tokens.RefreshToken, err
}

// personOf is whom an ID token names at a sign-in. A refusal is an errSignIn.
func (p *Provider) personOf(id *oidc.IDToken) (who history.Person, err error) {
	if id.Subject == "" {
		return who, fmt.Errorf("%w: the ID token has no subject", errSignIn("provider"))
	}
	var claims map[string]any
	if err := id.Claims(&claims); err != nil {
		return who, fmt.Errorf("%w: %w", errSignIn("provider"), err)
	}
	if acr, _ := claims["acr"].(string); len(p.ACR) > 0 && !slices.Contains(p.ACR, acr) {
		return who, errSignIn("acr")
	}
	who = history.Person{Subject: id.Subject, Name: id.Subject, Roles: known(textsOf(claims[p.RolesClaim]))}
	for _, claim := range []string{"name", "preferred_username", "email"} {
		if name, _ := claims[claim].(string); name != "" {
			who.Name = name
			break
		}
	}
	for _, claim := range []string{"preferred_username", "email", "upn"} {
		if name, _ := claims[claim].(string); name != "" {
			who.Also = append(who.Also, name)
		}
	}
	if len(who.Roles) == 0 {
		return who, errSignIn("roles")
	}
	return who, nil
}

// withoutBody keeps the provider's answer, which may hold a token, out of the log.
func withoutBody(err error) error {
	var refused *oauth2.RetrieveError
	if errors.As(err, &refused) && refused.Response != nil {
		return fmt.Errorf("the provider answered %s %s", refused.Response.Status, refused.ErrorCode)
	}
	return err
}

// textsOf are the texts of a claim: a list, or one.
func textsOf(claim any) []string {
	if one, ok := claim.(string); ok {
		return strings.Fields(one)
	}
	var out []string
	list, _ := claim.([]any)
	for _, v := range list {
		if text, ok := v.(string); ok {
			out = append(out, text)
		}
	}
	return out
}
