package main

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/config"
	"github.com/arauto/arauto/internal/explain"
	"github.com/arauto/arauto/internal/intake"
	"github.com/arauto/arauto/internal/lab/sandbox"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/watch"
	"github.com/arauto/arauto/internal/webhook"
)

// TestStatesAndReasonsOfTheSandboxAreWordsOfItsLanguage: a state of a notification and a reason for silence are no codes of the rules.
func TestStatesAndReasonsOfTheSandboxAreWordsOfItsLanguage(t *testing.T) {
	made := &sandbox.Triggered{Told: []sandbox.Told{
		{Status: "ACSC", Reason: string(ofb.NotATrigger)},
		{Status: "ACSC", Notifications: []sandbox.Notified{{ID: "n-1", State: string(notice.Exhausted)}}},
	}}
	pt, en := triggeredText(made, "pt"), triggeredText(made, "en")
	require.Contains(t, pt, "não notificado (a norma não manda avisar)")
	require.Contains(t, pt, "notificação n-1 desistida, tentativas esgotadas")
	require.Contains(t, en, "not notified (the rules require no notification)")
	for _, code := range []string{"exhausted\n", "not-a-trigger"} {
		require.NotContains(t, pt, code)
	}
	out := &bytes.Buffer{}
	r := &sandboxRun{out: out, language: "pt"}
	r.say(sandbox.Event{At: time.Now(), What: sandbox.Ended, Notification: "n-1", Status: "ACSC", State: string(notice.Delivered), Attempts: 2})
	r.say(sandbox.Event{At: time.Now(), What: sandbox.Changed, Status: "ACSC", Reason: string(ofb.NoChange)})
	require.Contains(t, out.String(), "notificação n-1 de ACSC: entregue após 2 tentativa(s)")
	require.Contains(t, out.String(), "não notificado (nada mudou)")
}

func TestAnExplanationInPortugueseGivesItsReasonsInPortuguese(t *testing.T) {
	_, _, refusal := webhook.Preview(webhook.Config{}, notice.Attempt{Kind: ofb.PixPayment, BaseURI: "https://10.0.0.1"})
	require.Error(t, refusal)
	wrong, err := explain.Change(t.Context(), config.Standard(), "test", []byte(`{"kind":1,"kind":2}`))
	require.NoError(t, err)
	foresight := func(verdict notice.Verdict, why string) *intake.Foresight {
		return &intake.Foresight{Answer: intake.Answer{Verdict: verdict, Why: why, Change: &notice.Change{}}}
	}
	for says, e := range map[string]*explain.Explanation{
		"este membro aparece duas vezes no objeto":                                      &wrong,
		"o banco de dados não responde":                                                 {Line: []byte("{}"), Apart: "the database does not answer", ApartPT: "o banco de dados não responde", Foresight: foresight(notice.Duplicate, "")},
		"o recurso é de outro cliente":                                                  {Line: []byte("{}"), Foresight: foresight(notice.Conflicting, "owner")},
		"o endereço não pode ser chamado: o host deve ser um nome DNS, não um endereço": {Line: []byte("{}"), Refusal: refusal, Foresight: foresight(notice.Applied, "")},
		"o mapeamento passa por cima desta linha: when é falso":                         {Mapped: &watch.RecordExplanation{Mapped: watch.Mapped{Skipped: "when is false", SkippedPT: "when é falso"}}},
	} {
		p := &explaining{words: languages["pt"], portuguese: true}
		p.tell(e)
		require.Contains(t, p.out.String(), says)
		for _, english := range []string{" is ", " the ", "not an address", "owner"} {
			require.NotContains(t, p.out.String(), english)
		}
	}
}
