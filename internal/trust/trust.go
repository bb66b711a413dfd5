// Package trust holds who we are and whom we believe while the gateway runs: the certificates, keys, key sets and revocation
// lists in force, and every HTTP client that sends no notification.
//
// What it reads from a file or an address is put in force as a whole or refused, and what was in force before then stays.
// Connections are judged by the state in force: those made under an older one are judged again or closed. A revocation list
// that cannot be had keeps nobody from starting; the soft-fail window says for how long an old one serves.
//
// Package mtls judges certificates and package jws judges signatures; trust decides from which files and addresses they take
// what they believe. Package webhook makes the attempts to receivers.
package trust

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/arauto/arauto/internal/config"
	"github.com/arauto/arauto/internal/jws"
	"github.com/arauto/arauto/internal/mtls"
)

// Trust is every certificate, key, key set and revocation list that the settings name, in force.
type Trust struct {
	Server   *mtls.Identity // public listener
	Internal *mtls.Identity // internal listener; nil: plain HTTP on loopback
	Console  *mtls.Identity // the console's listener; nil: plain HTTP on loopback, or no console
	Client   *mtls.Identity // our BRCAC, towards receivers
	Callers  *mtls.Callers  // initiators that ask, and the bank's proxy
	Roots    *mtls.Anchors  // authorities of receivers' certificates
	Signers  *jws.Signers

	Revocation *mtls.Revocation // of receivers; nil without a source. That of callers is in callers

	cfg      *config.Config
	log      *slog.Logger
	observer Observer // nil: for one look; nothing runs, and nothing is kept between runs

	published *jws.KeySet  // our own set in the Directory; nil: every key of ours counts as published
	bearers   *jws.KeySet  // the bank's own tokens
	tokens    *jws.KeySet  // initiators' tokens; nil with introspection
	directory *jws.KeySet  // software statements; nil in development without one
	fetcher   *http.Client // reads key sets and revocation lists
	asker     *http.Client // asks the authorization server about tokens, as ourselves
	seen      *receivers
}

// Observer is told what becomes of trust. Its methods return at once; several goroutines call them.
type Observer interface {
	// Reloaded tells that a file, a revocation list or a key set was put in force, or refused with an error.
	Reloaded(err error)
	// Renewed tells that connections to receivers may stand on certificates, anchors or evidence that were replaced.
	Renewed()
	// Judged tells the verdict on a peer's certificate; direction is "callers" or "receivers".
	Judged(direction string, d mtls.RevocationDecision)
	// Refused tells that a handshake or a connection of an initiator was refused.
	Refused()
}

func newTrust(cfg *config.Config, log *slog.Logger, o Observer) *Trust {
	return &Trust{cfg: cfg, log: log, observer: o, fetcher: newFetcher(cfg), Callers: &mtls.Callers{}, seen: newReceivers(maxReceivers)}
}

// Load reads every file that the settings name. The error is a *config.Error with every problem. An observer may be nil for one
// look, without any of the loops.
func Load(cfg *config.Config, log *slog.Logger, o Observer) (*Trust, error) {
	p := &config.Problems{}
	t := newTrust(cfg, log, o)
	t.Server = identity(p, "public.tls_cert", cfg.Public.TLSCert, cfg.Public.TLSKey, mtls.AsServer)
	t.Client = identity(p, "webhook.tls_cert", cfg.Webhook.TLSCert, cfg.Webhook.TLSKey, mtls.AsClient)
	if cfg.Internal.TLSCert != "" {
		t.Internal = identity(p, "internal.tls_cert", cfg.Internal.TLSCert, cfg.Internal.TLSKey, mtls.AsServer)
	}
	if cfg.Console.Addr != "" && cfg.Console.TLSCert != "" {
		t.Console = identity(p, "console.tls_cert", cfg.Console.TLSCert, cfg.Console.TLSKey, mtls.AsServer)
	}
	var err error
	t.Callers.Authorities, err = mtls.LoadAnchors(cfg.Public.ClientCA)
	p.File("public.client_ca", err)
	if x := &cfg.Public.ProxySettings; x.ProxyCA != "" {
		t.Callers.Proxy, err = mtls.LoadProxy(mtls.ProxyOptions{
			Authorities: []string{x.ProxyCA}, Fingerprints: x.ProxyFingerprints, Organisation: x.ProxySubjectOrg, Preset: x.ProxyPreset, Header: x.ProxyHeader,
		})
		p.File("public.proxy_ca", err)
	}
	t.Roots, err = mtls.LoadAnchors(cfg.Webhook.RootCA)
	p.File("webhook.root_ca", err)
	t.published = t.keySet(p, "signing.published", cfg.Signing.Published)
	t.Signers, err = jws.OpenSigners(jws.SignersConfig{Keys: signingKeys(cfg), Published: t.published})
	p.File("signing.key", err)
	t.bearers = t.keySet(p, "internal.jwks", cfg.Internal.JWKS)
	t.tokens = t.keySet(p, "tokens.jwks", cfg.Tokens.JWKS)
	t.directory = t.keySet(p, "directory.jwks", cfg.Directory.JWKS)
	if cfg.Tokens.IntrospectionURL != "" && t.Client != nil {
		t.asker, err = t.newAsker(cfg)
		p.File("tokens.introspection_ca", err)
	}
	t.Revocation, err = t.newRevocation(&cfg.Webhook.RevocationSettings, receiving)
	p.File("webhook.crl", err)
	t.Callers.Revocation, err = t.newRevocation(&cfg.Public.RevocationSettings, calling)
	p.File("public.crl", err)
	if o != nil && p.Err() == nil {
		t.tellLeftOut("")
	}
	return t, p.Err()
}

// LoadSending reads the files of the settings webhook.… alone, for one look: Client, Roots and Revocation. The error is a
// *config.Error with every problem.
func LoadSending(cfg *config.Config) (*Trust, error) {
	p := &config.Problems{}
	t := newTrust(cfg, slog.New(slog.DiscardHandler), nil)
	t.Client = identity(p, "webhook.tls_cert", cfg.Webhook.TLSCert, cfg.Webhook.TLSKey, mtls.AsClient)
	var err error
	t.Roots, err = mtls.LoadAnchors(cfg.Webhook.RootCA)
	p.File("webhook.root_ca", err)
	t.Revocation, err = t.newRevocation(&cfg.Webhook.RevocationSettings, receiving)
	p.File("webhook.crl", err)
	return t, p.Err()
}

func identity(p *config.Problems, key, cert, private string, purpose mtls.Purpose) *mtls.Identity {
	id, err := mtls.LoadIdentity(cert, private, purpose)
	p.File(key, err)
	return id
}

// signingKeys returns ours, the next one first: it signs as soon as it is published.
func signingKeys(cfg *config.Config) []jws.SigningKey {
	var keys []jws.SigningKey
	if cfg.Signing.NextKey != "" {
		keys = append(keys, jws.SigningKey{KID: cfg.Signing.NextKID, File: cfg.Signing.NextKey})
	}
	return append(keys, jws.SigningKey{KID: cfg.Signing.KID, File: cfg.Signing.Key})
}

func (t *Trust) keySet(p *config.Problems, key, location string) *jws.KeySet {
	if location == "" {
		return nil
	}
	o := jws.KeySetConfig{Location: location, Client: t.fetcher}
	if t.observer != nil {
		o.Observe = t.onKeys
	}
	set, err := jws.OpenKeySet(o)
	p.File(key, err)
	return set
}

// Statements verifies software statements; nil without a key set of the Directory.
func (t *Trust) Statements() *jws.StatementVerifier {
	if t.directory == nil {
		return nil
	}
	return &jws.StatementVerifier{Keys: t.directory, Issuer: t.cfg.Directory.Issuer}
}

// Bearer verifies the bank's own tokens.
func (t *Trust) Bearer() *jws.BearerVerifier {
	return &jws.BearerVerifier{Keys: t.bearers, Issuer: t.cfg.Internal.Issuer, Audience: t.cfg.Internal.Audience}
}

// TokenVerifier verifies an initiator's access token. Its errors are those of package jws.
type TokenVerifier interface {
	Verify(ctx context.Context, token string) (jws.AccessToken, error)
}

// AccessTokens verifies initiators' tokens by their signature, or asks the authorization server, or does both. The error is a
// *config.Error.
func (t *Trust) AccessTokens() (TokenVerifier, error) {
	x := &t.cfg.Tokens
	proof := jws.GrantProof(x.Grant)
	if proof == jws.GrantUnchecked {
		t.log.Warn("the grant of access tokens is not checked", "setting", "tokens.grant")
	}
	if t.tokens != nil && proof != jws.GrantByIntrospection {
		return &jws.AccessVerifier{Keys: t.tokens, Issuer: x.Issuer, Audience: x.Audience, Grant: proof, GrantClaim: x.GrantClaim}, nil
	}
	asker, err := jws.NewIntrospector(jws.IntrospectorConfig{
		URL: x.IntrospectionURL, Client: t.asker, Issuer: x.Issuer, Audience: x.Audience, Grant: proof, GrantClaim: x.GrantClaim, Signed: t.tokens != nil,
	})
	if err != nil {
		return nil, &config.Error{Problems: []string{fmt.Sprintf("tokens.introspection_url (ARAUTO_TOKENS_INTROSPECTION_URL): %v", err)}}
	}
	if t.tokens == nil {
		return asker, nil
	}
	return &jws.AccessVerifier{Keys: t.tokens, Issuer: x.Issuer, Audience: x.Audience, Grant: proof, GrantClaim: x.GrantClaim, Asker: asker}, nil
}

// grantFinding says for `arauto check` how the grant of access tokens is known.
func grantFinding(x config.TokenSettings) string {
	switch jws.GrantProof(x.Grant) {
	case jws.GrantBySubject:
		return "tokens: the grant is known by sub, which must equal client_id"
	case jws.GrantByIntrospection:
		return "tokens: the grant is known by the answer of tokens.introspection_url"
	case jws.GrantUnchecked:
		return "WARNING tokens: the grant is not checked: a token that a person's consent led to passes as one of client_credentials; set tokens.grant"
	}
	return "tokens: the grant is known by the claim " + x.GrantClaim + ", which must be client_credentials"
}

// identities returns ours, without those that are not configured.
func (t *Trust) identities() []*mtls.Identity {
	var out []*mtls.Identity
	for _, id := range []*mtls.Identity{t.Server, t.Client, t.Internal, t.Console} {
		if id != nil {
			out = append(out, id)
		}
	}
	return out
}

// sources returns the files that are read again when their content changes.
func (t *Trust) sources() []mtls.Reloadable {
	out := []mtls.Reloadable{t.Callers.Authorities, t.Roots, t.Signers}
	if t.Callers.Proxy != nil {
		out = append(out, t.Callers.Proxy.Authorities())
	}
	for _, id := range t.identities() {
		out = append(out, id)
	}
	if t.Revocation != nil {
		out = append(out, judged{t.Revocation, t.Roots})
	}
	if t.Callers.Revocation != nil {
		out = append(out, t.Callers.Revocation)
	}
	return out
}

func (t *Trust) keySets() []*jws.KeySet {
	var out []*jws.KeySet
	for _, s := range []*jws.KeySet{t.published, t.bearers, t.tokens, t.directory} {
		if s != nil {
			out = append(out, s)
		}
	}
	return out
}

// WatchFiles puts files in force when their content changes, until ctx ends. It looks every so often; 0: mtls.WatchEvery.
func (t *Trust) WatchFiles(ctx context.Context, every time.Duration) {
	mtls.Watch(ctx, every, t.onFile, t.sources()...)
}

// RefreshKeys fetches key sets again when they are due, until ctx ends.
func (t *Trust) RefreshKeys(ctx context.Context) {
	var all sync.WaitGroup
	for _, set := range t.keySets() {
		all.Go(func() { set.Run(ctx) })
	}
	all.Wait()
}

// onFile reports a file or a revocation list that was put in force or refused.
func (t *Trust) onFile(e mtls.ReloadEvent) {
	t.observer.Reloaded(e.Err)
	if e.Err != nil {
		t.log.Error("file refused, the previous one stays in force", "file", e.Source, "error", e.Err)
		return
	}
	t.log.Info("file reloaded", "file", e.Source, "generation", e.Generation)
	t.tellLeftOut(e.Source)
	t.observer.Renewed()
}

// onKeys reports a key set that was put in force or refused.
func (t *Trust) onKeys(e jws.KeySetEvent) {
	t.observer.Reloaded(e.Err)
	if e.Err != nil {
		t.log.Error("key set refused, the previous one stays in force", "source", e.Source, "error", e.Err)
		return
	}
	t.log.Info("key set reloaded", "source", e.Source, "keys", e.Keys)
	t.tellFaulty(e)
}

// Ready returns nil when our own certificates are valid now and for mtls.ReadyMargin.
func (t *Trust) Ready(now time.Time) error {
	var wrong []error
	for _, id := range t.identities() {
		wrong = append(wrong, id.Ready(now))
	}
	return errors.Join(wrong...)
}

// KeysReady returns nil when we have a key to sign with and every key set holds a usable key.
func (t *Trust) KeysReady() error {
	var wrong []error
	for _, s := range t.keySets() {
		wrong = append(wrong, s.Usable())
	}
	_, err := t.Signers.Active()
	return errors.Join(append(wrong, err)...)
}

// keysWithin is how long FetchKeys waits for addresses.
const keysWithin = 10 * time.Second

// FetchKeys reads each key set once. The error says which could not be had, and why.
func (t *Trust) FetchKeys(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, keysWithin)
	defer cancel()
	sets := t.keySets()
	wrong := make([]error, len(sets))
	var all sync.WaitGroup
	for i, set := range sets {
		all.Go(func() { wrong[i] = set.Reload(ctx) })
	}
	all.Wait()
	return errors.Join(wrong...)
}

// RemoteKeys tells whether a key set has an address and not a file.
func (t *Trust) RemoteKeys() bool {
	return slices.ContainsFunc(t.keySets(), func(s *jws.KeySet) bool { return strings.HasPrefix(s.Name(), "https://") })
}

// Close closes the idle connections of the HTTP client that fetches key sets and lists.
func (t *Trust) Close() { t.fetcher.CloseIdleConnections() }
