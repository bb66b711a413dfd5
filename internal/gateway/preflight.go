package gateway

import (
	"context"

	"github.com/arauto/arauto/internal/api/bank"
	"github.com/arauto/arauto/internal/brand"
	"github.com/arauto/arauto/internal/config"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/trust"
	"github.com/arauto/arauto/internal/webhook"
)

// Preflight tells, step by step, whether a notification could reach an address, by the settings webhook.… alone: what
// they allow, whom they trust, whom we are. Nothing is sent after the handshake. Anonymous: without a certificate of ours, which is then
// not tested. The error is a *config.Error.
func Preflight(ctx context.Context, cfg *config.Config, base string, anonymous bool) ([]webhook.ProbeStep, error) {
	p := &config.Problems{}
	cfg.CheckWebhook(p)
	for key, value := range map[string]string{
		"webhook.tls_cert": cfg.Webhook.TLSCert, "webhook.tls_key": cfg.Webhook.TLSKey, "webhook.root_ca": cfg.Webhook.RootCA,
	} {
		if value == "" && (!anonymous || key == "webhook.root_ca") {
			p.Add(key, "is not set", "name the file; the others' certificates are not needed here")
		}
	}
	if err := p.Err(); err != nil {
		return nil, err
	}
	if anonymous {
		cfg.Webhook.TLSCert, cfg.Webhook.TLSKey = "", ""
	}
	t, err := trust.LoadSending(cfg)
	if err != nil {
		return nil, err
	}
	defer t.Close()
	t.FetchLists(ctx)         // without one, the handshake says whether that matters
	allow, _ := cfg.Allowed() // judged above
	s := webhook.New(webhook.Config{
		Identity: t.Brands[0].Client, Roots: t.Roots, Checks: t.Checks(), Guard: webhook.NewGuard(allow, cfg.Webhook.AllowPorts),
		Resolver: cfg.Webhook.Resolver, Timeout: cfg.Webhook.Timeout, Anonymous: anonymous,
	})
	defer s.Close()
	return s.Probe(ctx, base), nil
}

// prober implements bank.Prober with the sender that makes the attempts.
type prober struct{ sender *webhook.Sender }

// Probe implements bank.Prober.
func (p prober) Probe(ctx context.Context, client notice.ClientID, address string, portuguese bool) (steps []bank.PreflightStep, verdict string) {
	found := p.sender.ProbeAs(ctx, brand.Of(client), address)
	for i := range found {
		s := &found[i]
		words := s.Words(portuguese)
		step := bank.PreflightStep{Step: string(s.Name), OK: s.Err == nil, Detail: s.Detail, Title: words.Title, Seen: words.Seen}
		if s.Err != nil {
			text := s.Err.Error()
			step.Problem, step.Meaning, step.Advice = &text, &words.Problem, &words.Advice
		}
		steps = append(steps, step)
	}
	return steps, webhook.Verdict(found, portuguese)
}
