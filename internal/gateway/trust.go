package gateway

import (
	"errors"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/arauto/arauto/internal/config"
	"github.com/arauto/arauto/internal/jws"
	"github.com/arauto/arauto/internal/mtls"
	"github.com/arauto/arauto/internal/webhook"
)

// trust is who we are and whom we believe: every certificate, key and key set that the configuration names.
type trust struct {
	server    *mtls.Identity // public listener
	internal  *mtls.Identity // internal listener; nil: plain HTTP on loopback
	brcac     *mtls.Identity // towards receivers
	callers   *mtls.Callers  // initiators that ask, and the bank's proxy
	receivers *mtls.Anchors  // authorities of receivers' certificates

	signers   *jws.Signers
	published *jws.KeySet // our own set in the Directory; nil: every key of ours counts as published
	bearers   *jws.KeySet // the bank's own tokens
	tokens    *jws.KeySet // initiators' tokens; nil with introspection
	directory *jws.KeySet // software statements; nil in development without one

	revocation *mtls.Revocation // of receivers; nil when no source is configured. That of callers is in callers
	fetcher    *http.Client     // reads key sets and revocation lists
	asker      *http.Client     // asks the authorization server about tokens, as ourselves
}

// news is told what becomes of trust while we run.
type news struct {
	file func(mtls.Event)                               // a file or list took effect or was refused
	keys func(jws.KeySetEvent)                          // the same of a key set
	seen func(direction string, decision mtls.Decision) // a judgement on a certificate
}

// loadTrust reads every file, and reports every problem in one error.
func loadTrust(cfg *config.Config, tell news) (*trust, error) {
	p := &config.Problems{}
	t := &trust{fetcher: newFetcher(cfg)}
	identity := func(key, cert, private string, purpose mtls.Purpose) *mtls.Identity {
		id, err := mtls.LoadIdentity(cert, private, purpose)
		p.File(key, err)
		return id
	}
	t.server = identity("public.tls_cert", cfg.Public.TLSCert, cfg.Public.TLSKey, mtls.AsServer)
	t.brcac = identity("webhook.tls_cert", cfg.Webhook.TLSCert, cfg.Webhook.TLSKey, mtls.AsClient)
	if cfg.Internal.TLSCert != "" {
		t.internal = identity("internal.tls_cert", cfg.Internal.TLSCert, cfg.Internal.TLSKey, mtls.AsServer)
	}
	var err error
	t.callers = &mtls.Callers{}
	t.callers.Authorities, err = mtls.LoadAnchors(cfg.Public.ClientCA)
	p.File("public.client_ca", err)
	if x := &cfg.Public.Proxy; x.ProxyCA != "" {
		t.callers.Proxy, err = mtls.LoadProxy(mtls.ProxyOptions{
			Authorities: []string{x.ProxyCA}, Fingerprints: x.ProxyFingerprints, Organisation: x.ProxySubjectOrg, Header: x.ProxyHeader,
		})
		p.File("public.proxy_ca", err)
	}
	t.receivers, err = mtls.LoadAnchors(cfg.Webhook.RootCA)
	p.File("webhook.root_ca", err)
	t.published = t.keySet(p, "signing.published", cfg.Signing.Published, tell)
	t.signers, err = jws.OpenSigners(jws.SignersConfig{Keys: signingKeys(cfg), Published: t.published})
	p.File("signing.key", err)
	t.bearers = t.keySet(p, "internal.jwks", cfg.Internal.JWKS, tell)
	t.tokens = t.keySet(p, "tokens.jwks", cfg.Tokens.JWKS, tell)
	t.directory = t.keySet(p, "directory.jwks", cfg.Directory.JWKS, tell)
	if cfg.Tokens.IntrospectionURL != "" && t.brcac != nil {
		t.asker, err = t.newAsker(cfg)
		p.File("tokens.introspection_ca", err)
	}
	t.revocation, err = t.newRevocation(&cfg.Webhook.Revocation, receiving, cfg.File("lists"), tell)
	p.File("webhook.crl", err)
	t.callers.Revocation, err = t.newRevocation(&cfg.Public.Revocation, calling, cfg.File("lists"), tell)
	p.File("public.crl", err)
	return t, p.Err()
}

// signingKeys are ours, the next one first: it signs once it is published, and until then the old one does.
func signingKeys(cfg *config.Config) []jws.SigningKey {
	var keys []jws.SigningKey
	if cfg.Signing.NextKey != "" {
		keys = append(keys, jws.SigningKey{KID: cfg.Signing.NextKID, File: cfg.Signing.NextKey})
	}
	return append(keys, jws.SigningKey{KID: cfg.Signing.KID, File: cfg.Signing.Key})
}

func (t *trust) keySet(p *config.Problems, key, location string, tell news) *jws.KeySet {
	if location == "" {
		return nil
	}
	set, err := jws.OpenKeySet(jws.KeySetConfig{Location: location, Client: t.fetcher, Observe: tell.keys})
	p.File(key, err)
	return set
}

// newFetcher reads public things over https. Its dialer is guarded like the sender's, so that no address in a document
// from outside can make us call an inside machine; the bank's own addresses are named in webhook.allow_networks in
// development, and are files in production.
func newFetcher(cfg *config.Config) *http.Client {
	allow, _ := cfg.Allowed() // judged by Check
	// Lists and responders are read over plain http as well: what they say is signed.
	guard := webhook.NewGuard(allow, slices.Concat(cfg.Webhook.AllowPorts, []uint16{80, 443}))
	dialer := &net.Dialer{Timeout: 5 * time.Second, Control: guard.Control}
	return &http.Client{
		Timeout: 10 * time.Second,
		Transport: &http.Transport{
			DialContext: dialer.DialContext, TLSClientConfig: mtls.PublicConfig(nil), TLSHandshakeTimeout: 5 * time.Second,
			ResponseHeaderTimeout: 5 * time.Second, MaxResponseHeaderBytes: 64 << 10, DisableCompression: true, IdleConnTimeout: 30 * time.Second,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// newAsker asks the bank's own authorization server over mTLS with our BRCAC. Its address is configuration, not data from
// outside, so it may be an inside one.
func (t *trust) newAsker(cfg *config.Config) (*http.Client, error) {
	roots := t.receivers
	if cfg.Tokens.IntrospectionCA != "" {
		var err error
		if roots, err = mtls.LoadAnchors(cfg.Tokens.IntrospectionCA); err != nil {
			return nil, err
		}
	}
	return &http.Client{
		Timeout: 3 * time.Second,
		Transport: &http.Transport{
			DialContext: (&net.Dialer{Timeout: 2 * time.Second}).DialContext, TLSClientConfig: mtls.ClientConfig(t.brcac, roots, ""),
			MaxResponseHeaderBytes: 64 << 10, DisableCompression: true, IdleConnTimeout: 30 * time.Second, MaxIdleConnsPerHost: 64,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// statements verifies software statements; nil when no key set of the Directory is configured.
func (t *trust) statements(cfg *config.Config) *jws.StatementVerifier {
	if t.directory == nil {
		return nil
	}
	return &jws.StatementVerifier{Keys: t.directory, Issuer: cfg.Directory.Issuer}
}

// bearer verifies the bank's own tokens.
func (t *trust) bearer(cfg *config.Config) *jws.BearerVerifier {
	return &jws.BearerVerifier{Keys: t.bearers, Issuer: cfg.Internal.Issuer, Audience: cfg.Internal.Audience}
}

// identities are ours, as far as there are any.
func (t *trust) identities() []*mtls.Identity {
	var out []*mtls.Identity
	for _, id := range []*mtls.Identity{t.server, t.brcac, t.internal} {
		if id != nil {
			out = append(out, id)
		}
	}
	return out
}

// sources are the files that are read again when their content changes.
func (t *trust) sources() []mtls.Source {
	out := []mtls.Source{t.callers.Authorities, t.receivers, t.signers}
	if t.callers.Proxy != nil {
		out = append(out, t.callers.Proxy.Authorities())
	}
	for _, id := range t.identities() {
		out = append(out, id)
	}
	if t.revocation != nil {
		out = append(out, judged{t.revocation, t.receivers})
	}
	if t.callers.Revocation != nil {
		out = append(out, t.callers.Revocation)
	}
	return out
}

func (t *trust) keySets() []*jws.KeySet {
	var out []*jws.KeySet
	for _, s := range []*jws.KeySet{t.published, t.bearers, t.tokens, t.directory} {
		if s != nil {
			out = append(out, s)
		}
	}
	return out
}

// ready says whether our own certificates would be accepted, now and for a little while.
func (t *trust) ready(now time.Time) error {
	var wrong []error
	for _, id := range t.identities() {
		wrong = append(wrong, id.Ready(now))
	}
	return errors.Join(wrong...)
}

// keysReady says whether every key set holds usable keys.
func (t *trust) keysReady() error {
	var wrong []error
	for _, s := range t.keySets() {
		wrong = append(wrong, s.Usable())
	}
	_, err := t.signers.Active()
	return errors.Join(append(wrong, err)...)
}

func (t *trust) close() { t.fetcher.CloseIdleConnections() }
