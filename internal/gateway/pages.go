package gateway

import (
	"context"
	"crypto/tls"
	"fmt"
	"time"

	"github.com/arauto/arauto/internal/api"
	"github.com/arauto/arauto/internal/config"
	"github.com/arauto/arauto/internal/connlimit"
	"github.com/arauto/arauto/internal/console"
	"github.com/arauto/arauto/internal/console/page"
	"github.com/arauto/arauto/internal/metrics"
	"github.com/arauto/arauto/internal/mtls"
	"github.com/arauto/arauto/internal/trust"
)

// consoleListeners makes the console and its listener; none where console.addr names none.
func (g *Gateway) consoleListeners() ([]*listener, error) {
	cfg := &g.cfg.Console
	if cfg.Addr == "" {
		return nil, nil
	}
	var tlsConfig *tls.Config
	if g.trust.Console != nil {
		tlsConfig = mtls.InternalServerConfig(g.trust.Console)
	}
	var err error
	g.console, err = console.New(console.Config{
		Internal: page.Endpoint{Handler: g.internal, Resend: g.cfg.Resend.Enabled}, Sessions: g.store, Records: g.auditlog, Answers: g.store.Answers,
		BaseURL: cfg.BaseURL, Secure: cfg.ByTLS(),
		OpenID: newProvider(g.cfg), Links: g.cfg.Profile == config.Development && cfg.OIDC.Issuer == "",
		Observer: metrics.HTTPObserver{Metrics: g.metrics}, Log: g.log,
	})
	if err != nil {
		return nil, fmt.Errorf("make the console: %w", err)
	}
	server := api.NewServer(g.console, tlsConfig, g.log)
	server.Addr = cfg.Addr
	// Its connections are taken from those of the internal listener, which the console relieves of people.
	most := max(1, g.files.internal/8)
	g.files.internal -= most
	return []*listener{{name: "console", server: server, limit: connlimit.Listener{Most: most, Evict: true}}}, nil
}

// providerWithin is how long a request to the OpenID provider may take.
const providerWithin = 10 * time.Second

// newProvider is the provider of the settings; nil: they name none.
func newProvider(cfg *config.Config) *console.Provider {
	o := &cfg.Console.OIDC
	if cfg.Console.Addr == "" || o.Issuer == "" {
		return nil
	}
	return &console.Provider{
		Issuer: o.Issuer, ClientID: o.ClientID, SecretFile: o.ClientSecretFile, Scopes: o.Scopes, RolesClaim: o.RolesClaim, ACR: o.ACRValues,
		Client: trust.NewAnchorClient(nil, providerWithin), BaseURL: cfg.Console.BaseURL,
	}
}

// checkProvider reads what each sign-in will read of the settings.
func checkProvider(cfg *config.Config) error {
	var problems config.Problems
	if provider := newProvider(cfg); provider != nil {
		problems.File("console.oidc.client_secret_file", provider.CheckSecret())
	}
	return problems.Err()
}

// keepSessions deletes sessions that have ended, and records the sign-ins that failed in the last minute.
func (g *Gateway) keepSessions(ctx context.Context) error {
	if err := g.console.RecordRefused(ctx); err != nil {
		return err
	}
	return g.store.ForgetSessions(ctx)
}

// recordRefused is the last record of failed sign-ins. After it, revocations under way at the provider end.
func (g *Gateway) recordRefused(ctx context.Context) error {
	if g.console == nil {
		return nil
	}
	defer g.console.AwaitRevocations(ctx)
	return g.console.RecordRefused(ctx)
}
