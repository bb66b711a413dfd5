package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/arauto/arauto/internal/config"
	"github.com/arauto/arauto/internal/events"
	"github.com/arauto/arauto/internal/registry"
	"github.com/arauto/arauto/internal/seal"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/trust"
	"github.com/arauto/arauto/internal/watch"
	"github.com/arauto/arauto/internal/watch/sources"
	"github.com/arauto/arauto/openapi"
)

// Examine looks at everything serve would look at before it starts, changes nothing, and says what it found: findings
// are lines for a person, the error is a *config.Error with all that would keep serve from starting.
func Examine(ctx context.Context, cfg *config.Config, now time.Time) (findings []string, err error) {
	p := &config.Problems{}
	p.Take(cfg.Check())
	t, err := trust.Load(cfg, slog.New(slog.DiscardHandler), nil)
	p.Take(err)
	var statements registry.Statements
	if t != nil && err == nil {
		findings = append(findings, t.Findings(ctx, now)...)
		if v := t.Statements(); v != nil {
			statements = v
		}
		defer t.Close()
	}
	if provider := newProvider(cfg); provider != nil {
		p.File("console.oidc.client_secret_file", provider.CheckSecret())
	}
	kept, err := seal.Examine(ctx, cfg)
	findings = append(findings, kept...)
	p.Take(err)
	ways, err := events.Ways(cfg)
	p.Take(err)
	if err == nil {
		findings = append(findings, events.Try(ctx, ways)...)
	}
	more, err := sources.Examine(ctx, cfg)
	findings = append(findings, more...)
	p.Take(err)
	if err == nil && len(cfg.Watch.Sources) > 0 {
		schemas, err := openapi.Load(openapi.KeepUnknown(cfg.Schema.UnknownMembers == "keep"))
		if err != nil {
			return findings, fmt.Errorf("load our own API documents: %w", err)
		}
		findings = append(findings, sources.Try(ctx, cfg, sources.RowJudge{Schema: schemas, Registration: foreseen(cfg, statements)})...)
	}
	if cfg.Database.URL != "" {
		more, err := examineDatabase(ctx, cfg)
		findings = append(findings, more...)
		p.Take(err)
	}
	return findings, p.Err()
}

// foreseen judges a registration that a source tells, as the registry would.
func foreseen(cfg *config.Config, statements registry.Statements) func(watch.Registration) error {
	allow, _ := cfg.Allowed() // judged by Check
	c := registry.Config{Statements: statements, AllowPorts: cfg.Webhook.AllowPorts, Development: cfg.Profile == config.Development, AllowNetworks: allow}
	return func(in watch.Registration) error {
		return registry.ForeseeFollowed(c, in.Client, sources.Registration(in), in.Checked)
	}
}

func examineDatabase(ctx context.Context, cfg *config.Config) ([]string, error) {
	const key = "database.url (ARAUTO_DATABASE_URL): "
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	s, err := store.Open(ctx, store.Options{URL: cfg.Database.URL, PasswordFile: cfg.Database.PasswordFile, Replica: "check"})
	if err != nil {
		return nil, &config.Error{Problems: []string{key + err.Error()}}
	}
	defer s.Close()
	have, want, err := s.SchemaVersions(ctx)
	if err != nil {
		return nil, &config.Error{Problems: []string{key + err.Error()}}
	}
	if have < want {
		return nil, &config.Error{Problems: []string{fmt.Sprintf("%sthe schema is at version %d and this binary needs %d; run arauto migrate", key, have, want)}}
	}
	f, err := s.ServerFacts(ctx)
	if err != nil {
		return nil, &config.Error{Problems: []string{key + err.Error()}}
	}
	findings := []string{
		fmt.Sprintf("database: PostgreSQL %d.%d, schema %d of %d", f.Version/10000, f.Version%10000, have, want),
		fmt.Sprintf("clock: the database's is %s from ours", f.Skew.Round(time.Millisecond)),
	}
	p := &config.Problems{}
	if f.ReadOnly {
		p.List = append(p.List, key+"the server is a read-only standby; point it at the primary")
	}
	for _, unsafe := range f.Unsafe {
		if cfg.Profile == config.Production {
			p.List = append(p.List, key+"acknowledged changes could be lost: "+unsafe)
		} else {
			findings = append(findings, "WARNING database: acknowledged changes may be lost: "+unsafe)
		}
	}
	if f.Skew > time.Second || f.Skew < -time.Second {
		findings = append(findings, "WARNING clock: more than a second apart; check the time service of both machines")
	}
	return findings, p.Err()
}
