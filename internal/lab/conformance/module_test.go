package conformance

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/stage"
	"github.com/arauto/arauto/internal/lab/standin"
)

// TestNoStepSaysThatAPOSTOrPATCHOfTheBankWasCalled: a run calls neither; it makes changes known to the gateway.
func TestNoStepSaysThatAPOSTOrPATCHOfTheBankWasCalled(t *testing.T) {
	for _, m := range Modules() {
		for _, s := range m.steps {
			for _, text := range []string{s.en, s.pt} {
				require.False(t, strings.Contains(text, "POST") || strings.Contains(text, "PATCH"), "%s: %s", m.Name, text)
			}
		}
	}
}

// patient is a holder that takes everything, and a receiver at which nothing comes.
type patient struct{ waits chan struct{} }

func (patient) Register(_ context.Context, r Registration) (Registered, error) {
	return Registered{Status: 201, WebhookURIs: r.Asked}, nil
}
func (patient) Unregister(context.Context, string) error          { return nil }
func (patient) Tell(context.Context, stage.Change) error          { return nil }
func (patient) Ask(context.Context, Query) (stage.Reading, error) { return stage.Reading{}, nil }
func (patient) Answer(string, ...standin.Answer)                  {}
func (p patient) Wait(ctx context.Context, _ int, _ func(*standin.Request) bool) ([]standin.Request, error) {
	close(p.waits)
	<-ctx.Done()
	return nil, ctx.Err()
}

// TestAModuleThatWasInterruptedNeitherPassedNorFailed: the step that ran, and those after it, are not run.
func TestAModuleThatWasInterruptedNeitherPassedNorFailed(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	p := patient{make(chan struct{})}
	s := &Suite{Holder: p, Receiver: p, Base: "https://localhost", Client: "one", Within: time.Hour}
	go func() {
		<-p.waits
		interrupt()
	}()
	m := Module{Name: "m", API: "payments/5.0.0", steps: []step{register(201), receive(accepted), unregister()}}
	all := s.PlayAll(ctx, []Module{m, m})
	report := &Report{Results: all}
	require.Equal(t, Counts{Interrupted: 2}, report.Counts())
	require.Equal(t, []string{Passed, NotRun, NotRun}, []string{all[0].Steps[0].Outcome, all[0].Steps[1].Outcome, all[0].Steps[2].Outcome})
	require.Empty(t, all[1].Steps, "the second one did not begin")
	for language, said := range map[string]string{"pt": "a execução foi interrompida", "en": "the run was interrupted"} {
		var page strings.Builder
		require.NoError(t, report.WriteHTML(&page, language))
		require.Contains(t, page.String(), said)
		require.NotContains(t, page.String(), "context canceled")
	}
}

func TestAReportHasTheDecimalSignOfItsLanguage(t *testing.T) {
	report := &Report{Wait: 1500 * time.Millisecond}
	for language, said := range map[string]string{"pt": "webhookWaitTime 1,50 s", "en": "webhookWaitTime 1.50 s"} {
		var page strings.Builder
		require.NoError(t, report.WriteHTML(&page, language))
		require.Contains(t, page.String(), said)
	}
}
