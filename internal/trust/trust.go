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
	"crypto"
	"crypto/rsa"
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
	"github.com/arauto/arauto/internal/signer"
)

// Trust is every certificate, key, key set and revocation list that the settings name, in force.
type Trust struct {
	Brands   []*Brand       // in the order of the settings; at least one
	Internal *mtls.Identity // internal listener; nil: plain HTTP on loopback
	Console  *mtls.Identity // the console's listener; nil: plain HTTP on loopback, or no console
	Callers  *mtls.Callers  // initiators that ask, and the bank's proxy
	Roots    *mtls.Anchors  // authorities of receivers' certificates

	Revocation *mtls.Revocation // of receivers; nil without a source. That of callers is in callers

	cfg      *config.Config
	log      *slog.Logger
	observer Observer // nil: for one look; nothing runs, and nothing is kept between runs

	bearers *jws.KeySet            // the bank's own tokens
	sets    map[string]*jws.KeySet // every key set, by its setting
	fetcher *http.Client           // reads key sets and revocation lists
	seen    *receivers
}

// Brand is who one brand is, and whose tokens and statements it believes.
type Brand struct {
	Server  *mtls.Identity // public listener
	Client  *mtls.Identity // our BRCAC, towards receivers
	Signers *jws.Signers
	config.BrandSettings

	published *jws.KeySet  // its own set in the Directory; nil: every key of it counts as published
	tokens    *jws.KeySet  // initiators' tokens; nil with introspection
	directory *jws.KeySet  // software statements; nil in development without one
	asker     *http.Client // asks its authorization server about tokens, as the brand
	log       *slog.Logger
}

// Observer is told what becomes of trust. Its methods return at once; several goroutines call them.
type Observer interface {
	// Reloaded tells that a file, a revocation list or a key set was put in force, or refused with an error.
	Reloaded(r Reload)
	// Renewed tells that connections to receivers may stand on certificates, anchors or evidence that were replaced.
	Renewed()
	// Judged tells the verdict on a peer's certificate; direction is "callers" or "receivers".
	Judged(direction string, d mtls.RevocationDecision)
	// Refused tells that a handshake or a connection of an initiator was refused.
	Refused()
	// Signed tells how long the signer of a brand, in another process, took to sign an answer or a trial, and why it did not.
	Signed(brand string, took time.Duration, err error)
}

// Reload is a file, a revocation list or a key set that was put in force or refused. Its error may name the address that it came from.
type Reload struct {
	Setting string
	Source  string            // files or address
	InForce map[string]string // what the setting has in force now: SHA-256 in hexadecimal, by file or address; of private keys nothing
	Err     error             // why it was refused; nil: it is in force
}

func newTrust(cfg *config.Config, log *slog.Logger, o Observer) *Trust {
	return &Trust{cfg: cfg, log: log, observer: o, sets: map[string]*jws.KeySet{}, fetcher: newFetcher(cfg), Callers: &mtls.Callers{}, seen: newReceivers(maxReceivers)}
}

// Load reads every file that the settings name. The error is a *config.Error with every problem. An observer may be nil for one
// look, without any of the loops.
func Load(cfg *config.Config, log *slog.Logger, o Observer) (*Trust, error) {
	p := &config.Problems{}
	t := newTrust(cfg, log, o)
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
	t.bearers = t.keySet(p, "internal.jwks", cfg.Internal.JWKS)
	for _, settings := range cfg.EachBrand() {
		t.Brands = append(t.Brands, t.loadBrand(p, settings))
	}
	t.Revocation, err = t.newRevocation(&cfg.Webhook.RevocationSettings, receiving)
	p.File("webhook.crl", err)
	t.Callers.Revocation, err = t.newRevocation(&cfg.Public.RevocationSettings, calling)
	p.File("public.crl", err)
	if o != nil && p.Err() == nil {
		t.tellLeftOut("")
		t.tellAbove()
	}
	return t, p.Err()
}

// loadBrand reads the files of one brand.
func (t *Trust) loadBrand(p *config.Problems, settings config.BrandSettings) *Brand {
	b := &Brand{BrandSettings: settings, log: t.log}
	b.Server = identity(p, b.Setting("public.tls_cert"), b.Public.TLSCert, b.Public.TLSKey, mtls.AsServer)
	b.Client = identity(p, b.Setting("webhook.tls_cert"), b.Webhook.TLSCert, b.Webhook.TLSKey, mtls.AsClient)
	b.published = t.keySet(p, b.Setting("signing.published"), b.Signing.Published)
	var err error
	b.Signers, err = jws.OpenSigners(jws.SignersConfig{Keys: t.signingKeys(b), Published: b.published})
	if setting := "signing.key"; err != nil {
		if b.Signing.NextKey != b.Signing.Key && blames(err, b.Signing.NextKey) {
			setting = "signing.next_key"
		}
		p.File(b.Setting(setting), err)
	}
	b.tokens = t.keySet(p, b.Setting("tokens.jwks"), b.Tokens.JWKS)
	b.directory = t.keySet(p, b.Setting("directory.jwks"), b.Directory.JWKS)
	if b.Tokens.IntrospectionURL != "" && b.Client != nil {
		b.asker, err = t.newAsker(b)
		p.File(b.Setting("tokens.introspection_ca"), err)
	}
	return b
}

// LoadSending reads the files of the settings webhook.… alone, for one look: the Client of the only brand (nil without
// webhook.tls_cert), Roots and Revocation. The error is a *config.Error with every problem.
func LoadSending(cfg *config.Config) (*Trust, error) {
	p := &config.Problems{}
	t := newTrust(cfg, slog.New(slog.DiscardHandler), nil)
	t.Brands = []*Brand{{}}
	if cfg.Webhook.TLSCert != "" {
		t.Brands[0].Client = identity(p, "webhook.tls_cert", cfg.Webhook.TLSCert, cfg.Webhook.TLSKey, mtls.AsClient)
	}
	var err error
	t.Roots, err = mtls.LoadAnchors(cfg.Webhook.RootCA)
	p.File("webhook.root_ca", err)
	t.Revocation, err = t.newRevocation(&cfg.Webhook.RevocationSettings, receiving)
	p.File("webhook.crl", err)
	return t, p.Err()
}

// identity reads a certificate and its key. A problem is told of the setting whose file is to blame: of key, which names the
// certificate, or of the setting beside it, which names the private key.
func identity(p *config.Problems, key, cert, private string, purpose mtls.Purpose) *mtls.Identity {
	id, err := mtls.LoadIdentity(cert, private, purpose)
	if private != cert && blames(err, private) {
		key = strings.TrimSuffix(key, "tls_cert") + "tls_key"
	}
	p.File(key, err)
	return id
}

// blames tells whether an error is about this file.
func blames(err error, file string) bool {
	wrong, ok := errors.AsType[*mtls.FileError](err)
	return ok && wrong.File == file
}

// signingKeys returns ours, the next one first: it signs as soon as it is published.
func (t *Trust) signingKeys(b *Brand) []jws.SigningKey {
	var keys []jws.SigningKey
	s := &b.Signing
	if s.NextKey != "" {
		keys = append(keys, jws.SigningKey{KID: s.NextKID, File: s.NextKey})
	}
	keys = append(keys, jws.SigningKey{KID: s.KID, File: s.Key})
	if s.Signer == "" {
		return keys
	}
	for i := range keys {
		keys[i].Remote = func(public *rsa.PublicKey) (crypto.Signer, error) {
			key, err := signer.NewKey(s.Signer, public)
			if err != nil || t.observer == nil {
				return key, err
			}
			return signer.Observed{Signer: key, Observe: func(took time.Duration, err error) { t.observer.Signed(b.Name, took, err) }}, nil
		}
	}
	return keys
}

// RemoteBrands are the names of the brands whose keys may be in another process (signing.signer); "" is the only brand.
func (t *Trust) RemoteBrands() (names []string) {
	for _, b := range t.Brands {
		if b.Signing.Signer != "" {
			names = append(names, b.Name)
		}
	}
	return names
}

// TrySigners makes a signature with each key of ours that is in another process. The observer is told how they end.
func (t *Trust) TrySigners() {
	var all sync.WaitGroup
	for _, b := range t.Brands {
		all.Go(func() { _ = b.Signers.Try() })
	}
	all.Wait()
}

func (t *Trust) keySet(p *config.Problems, key, location string) *jws.KeySet {
	if location == "" {
		return nil
	}
	o := jws.KeySetConfig{Location: location, Client: t.fetcher}
	if t.observer != nil {
		o.Observe = func(e jws.KeySetEvent) { t.onKeys(key, e) }
	}
	set, err := jws.OpenKeySet(o)
	p.File(key, err)
	if err == nil {
		t.sets[key] = set
	}
	return set
}

// Statements verifies software statements; nil without a key set of the Directory.
func (b *Brand) Statements() *jws.StatementVerifier {
	if b.directory == nil {
		return nil
	}
	return &jws.StatementVerifier{Keys: b.directory, Issuer: b.Directory.Issuer}
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
func (b *Brand) AccessTokens() (TokenVerifier, error) {
	x := &b.Tokens
	proof := jws.GrantProof(x.Grant)
	if proof == jws.GrantUnchecked {
		b.log.Warn("the grant of access tokens is not checked", "setting", b.Setting("tokens.grant"))
	}
	if b.tokens != nil && proof != jws.GrantByIntrospection {
		return &jws.AccessVerifier{Keys: b.tokens, Issuer: x.Issuer, Audience: x.Audience, Grant: proof, GrantClaim: x.GrantClaim}, nil
	}
	asker, err := jws.NewIntrospector(jws.IntrospectorConfig{
		URL: x.IntrospectionURL, Client: b.asker, Issuer: x.Issuer, Audience: x.Audience, Grant: proof, GrantClaim: x.GrantClaim, Signed: b.tokens != nil,
	})
	if err != nil {
		p := &config.Problems{}
		p.File(b.Setting("tokens.introspection_url"), err)
		return nil, p.Err()
	}
	if b.tokens == nil {
		return asker, nil
	}
	return &jws.AccessVerifier{Keys: b.tokens, Issuer: x.Issuer, Audience: x.Audience, Grant: proof, GrantClaim: x.GrantClaim, Asker: asker}, nil
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

// sources returns the files that are read again when their content changes, each with its setting.
func (t *Trust) sources() []mtls.Configured {
	var out []mtls.Configured
	add := func(setting string, r mtls.Reloadable) {
		out = append(out, mtls.Configured{Reloadable: r, Setting: setting})
	}
	add("public.client_ca", t.Callers.Authorities)
	add("webhook.root_ca", t.Roots)
	for _, b := range t.Brands {
		add(b.Setting("signing.key"), b.Signers)
		add(b.Setting("public.tls_cert"), b.Server)
		add(b.Setting("webhook.tls_cert"), b.Client)
	}
	if t.Callers.Proxy != nil {
		add("public.proxy_ca", t.Callers.Proxy.Authorities())
	}
	if t.Internal != nil {
		add("internal.tls_cert", t.Internal)
	}
	if t.Console != nil {
		add("console.tls_cert", t.Console)
	}
	if t.Revocation != nil {
		add(listsOf(receiving), judged{t.Revocation, t.Roots})
	}
	if t.Callers.Revocation != nil {
		add(listsOf(calling), t.Callers.Revocation)
	}
	return out
}

// InForce returns the SHA-256 of everything that is in force and no private key, in hexadecimal, by setting and by file or address.
func (t *Trust) InForce() map[string]map[string]string {
	out := map[string]map[string]string{}
	for _, s := range t.sources() {
		out[s.Setting] = s.Digests()
	}
	for setting, set := range t.sets {
		out[setting] = set.Digests()
	}
	return out
}

func (t *Trust) keySets() []*jws.KeySet {
	var out []*jws.KeySet
	for _, b := range t.Brands {
		out = append(out, b.keySets()...)
	}
	if t.bearers != nil {
		out = append(out, t.bearers)
	}
	return out
}

func (b *Brand) keySets() []*jws.KeySet {
	return slices.DeleteFunc([]*jws.KeySet{b.published, b.tokens, b.directory}, func(s *jws.KeySet) bool { return s == nil })
}

// WatchFiles puts files in force when their content changes, until ctx ends. It looks every so often; 0: mtls.WatchEvery.
func (t *Trust) WatchFiles(ctx context.Context, every time.Duration) {
	var files []mtls.Reloadable
	for _, s := range t.sources() {
		files = append(files, s)
	}
	mtls.Watch(ctx, every, t.onFile, files...)
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
	t.observer.Reloaded(Reload{e.Setting, e.Source, e.Digests, e.Err})
	if e.Err != nil {
		t.log.Error("file refused, what was in force stays", "file", e.Source, "error", e.Err)
		return
	}
	t.log.Info("file reloaded", "file", e.Source, "generation", e.Generation)
	t.tellLeftOut(e.Source)
	if e.Source == t.Callers.Authorities.Name() {
		t.tellAbove()
	}
	t.observer.Renewed()
}

// onKeys reports a key set that was put in force or refused.
func (t *Trust) onKeys(setting string, e jws.KeySetEvent) {
	r := Reload{Setting: setting, Source: e.Source, Err: e.Err}
	if set := t.sets[setting]; set != nil { // nil while it is opened
		r.InForce = set.Digests()
	}
	t.observer.Reloaded(r)
	if e.Err != nil {
		t.log.Error("key set refused, what was in force stays", "source", e.Source, "error", e.Err)
		return
	}
	t.log.Info("key set reloaded", "source", e.Source, "keys", e.Keys)
	t.tellFaulty(e)
}

// Ready returns nil when our own certificates are valid now and for mtls.ReadyMargin. Of several brands one suffices: a brand
// whose certificate ended takes nothing away from the others (Notes tells of it).
func (t *Trust) Ready(now time.Time) error {
	var wrong []error
	for _, id := range []*mtls.Identity{t.Internal, t.Console} {
		if id != nil {
			wrong = append(wrong, id.Ready(now))
		}
	}
	return errors.Join(append(wrong, t.anyBrand(func(b *Brand) error { return b.ready(now) }))...)
}

// ready returns nil when the brand's certificates are valid now and for mtls.ReadyMargin.
func (b *Brand) ready(now time.Time) error {
	return errors.Join(b.Server.Ready(now), b.Client.Ready(now))
}

// KeysReady returns nil when the bank's own tokens can be judged, and there is a brand that has a key to sign with and a usable key
// in every key set.
func (t *Trust) KeysReady() error {
	var wrong error
	if t.bearers != nil {
		wrong = t.bearers.Usable()
	}
	return errors.Join(wrong, t.anyBrand((*Brand).keysReady))
}

// keysReady returns nil when the brand has a key to sign with and every key set of it holds a usable key.
func (b *Brand) keysReady() error {
	_, err := b.Signers.Active()
	wrong := []error{err}
	for _, s := range b.keySets() {
		wrong = append(wrong, s.Usable())
	}
	return errors.Join(wrong...)
}

// anyBrand returns nil when the condition holds for one brand, else what is wrong with each.
func (t *Trust) anyBrand(condition func(*Brand) error) error {
	var wrong []error
	for _, b := range t.Brands {
		err := condition(b)
		if err == nil {
			return nil
		}
		wrong = append(wrong, err)
	}
	return errors.Join(wrong...)
}

// BrandNotes tells of brands that cannot work while others can.
func (t *Trust) BrandNotes(now time.Time) []string {
	var out []string
	for _, b := range t.Brands {
		if err := errors.Join(b.ready(now), b.keysReady()); err != nil && len(t.Brands) > 1 {
			out = append(out, fmt.Sprintf("brand %s: not ready: %s", b.Name, strings.ReplaceAll(err.Error(), "\n", "; ")))
		}
	}
	return out
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
