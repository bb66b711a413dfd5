package bank

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/notice"
)

// probed answers what a test sets, and notes the addresses.
type probed struct {
	steps  []PreflightStep
	pt     bool
	asked  []string
	during func()
}

func (p *probed) Probe(_ context.Context, _ notice.ClientID, address string, portuguese bool) ([]PreflightStep, string) {
	p.asked, p.pt = append(p.asked, address), portuguese
	if p.during != nil {
		p.during()
	}
	return p.steps, "not ready"
}

func TestAPreflightTriesARegisteredAddressAndIsRecordedWithItsResult(t *testing.T) {
	w := newWorld(t)
	const path = "/internal/v1/initiators/itp/preflight"
	w.ask("POST", path, "operator", "").refused(t, 404, "not_found")
	broken := "the certificate ended"
	meaning, advice := "o certificado venceu", "renove-o"
	p := &probed{steps: []PreflightStep{
		{Step: "address", OK: true, Detail: "host itp.example", Title: "endereço", Seen: "host itp.example"},
		{Step: "certificate", Problem: &broken, Title: "certificado do receptor", Meaning: &meaning, Advice: &advice},
	}}
	w.api.cfg.Prober = p
	in := notice.Initiator{Client: "itp", WebhookURIs: []string{"https://itp.example/a", "https://itp.example/b"}}
	w.shelf.get = func(notice.ClientID) (notice.Initiator, error) { return in, nil }

	got := w.ask("POST", path, "operator", "")
	require.Equal(t, 200, got.status, got.text)
	require.Equal(t, false, got.body["ok"])
	require.Contains(t, got.text, `"verdict":"not ready","steps":[{"step":"address","ok":true,"detail":"host itp.example","problem":null,"title":"endereço","seen":"host itp.example","meaning":null,"advice":null},`+
		`{"step":"certificate","ok":false,"detail":"","problem":"the certificate ended","title":"certificado do receptor","seen":"","meaning":"o certificado venceu","advice":"renove-o"}]`)
	require.False(t, p.pt, "English where no language is asked for")
	require.Equal(t, 200, w.ask("POST", path, "operator", `{"webhookUri":"https://itp.example/b"}`, "Accept-Language: pt-BR").status)
	require.True(t, p.pt)
	require.Equal(t, in.WebhookURIs, p.asked, "the first unless another is named")
	for _, r := range w.shelf.recorded() {
		require.Equal(t, "preflight", r.Act)
		require.Equal(t, "who-operator", r.Actor.Subject)
		require.Equal(t, "certificate: the certificate ended", r.Filter["result"])
	}
	require.Len(t, w.shelf.recorded(), 2)

	w.ask("POST", path, "operator", `{"webhookUri":"https://evil.example"}`).refused(t, 400, "invalid_request")
	w.ask("POST", path, "auditor", "").refused(t, 403, "forbidden")
	in.WebhookURIs = nil
	w.ask("POST", path, "operator", "").refused(t, 409, "conflict")
	require.Len(t, p.asked, 2)
}

func TestNoMoreThanAFewPreflightsRunAtOnce(t *testing.T) {
	w := newWorld(t)
	w.shelf.get = func(notice.ClientID) (notice.Initiator, error) {
		return notice.Initiator{Client: "itp", WebhookURIs: []string{"https://itp.example/a"}}, nil
	}
	for range maxPreflights {
		w.api.preflights <- struct{}{}
	}
	w.api.cfg.Prober = &probed{}
	w.ask("POST", "/internal/v1/initiators/itp/preflight", "operator", "").refused(t, 503, "unavailable")
	<-w.api.preflights
	require.Equal(t, 200, w.ask("POST", "/internal/v1/initiators/itp/preflight", "operator", "").status)
}
