package bank

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/arauto/arauto/internal/api"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
)

// Prober tries, step by step, whether a notification could reach an address; package gateway joins it. It connects as an attempt
// does, up to the end of the handshake, and sends no request. It ends by itself within webhook.timeout and a second.
type Prober interface {
	// The words for people, verdict among them, are in Portuguese or in English.
	Probe(ctx context.Context, client notice.ClientID, address string, portuguese bool) (steps []PreflightStep, verdict string)
}

// PreflightStep is one condition for a notification to reach an address, and its result.
type PreflightStep struct {
	Step    string  `json:"step"` // address, name, connection, certificate or client certificate, in this order
	OK      bool    `json:"ok"`
	Detail  string  `json:"detail"`  // what was seen, in English
	Problem *string `json:"problem"` // why it does not hold, as the network or the handshake said it; null when it does

	// For people, in the language of the caller. Meaning and Advice are null when the step holds.
	Title   string  `json:"title"`
	Seen    string  `json:"seen"`
	Meaning *string `json:"meaning"`
	Advice  *string `json:"advice"`
}

// preflightRequest chooses one of several registered addresses; left out, it is the first, which is used.
type preflightRequest struct {
	WebhookURI string `json:"webhookUri"`
}

type preflightJSON struct {
	ClientID   notice.ClientID `json:"clientId"`
	WebhookURI string          `json:"webhookUri"`
	StartedAt  instant         `json:"startedAt"`
	TookMillis int64           `json:"tookMillis"`
	OK         bool            `json:"ok"`
	Verdict    string          `json:"verdict"` // for people, in the language of the caller
	Steps      []PreflightStep `json:"steps"`   // the first that failed is the last
}

// maxPreflights is how many run at once: each holds a connection to a receiver.
const maxPreflights = 4

// postPreflight tries one registered address of an initiator now. It is recorded with its result.
func (in *Internal) postPreflight(x *api.Exchange) error {
	client, err := in.clientOf(x)
	if err != nil {
		return err
	}
	var asked preflightRequest
	if x.R.ContentLength != 0 {
		if asked, err = decode[preflightRequest](x); err != nil {
			return err
		}
	}
	found, err := in.cfg.Initiators.Get(x.R.Context(), client)
	if err != nil {
		return err
	}
	switch {
	case len(found.WebhookURIs) == 0:
		return conflict("the registration has no webhook address; push is off", "o registro não tem endereço de webhook; o aviso está desligado")
	case asked.WebhookURI == "":
		asked.WebhookURI = found.WebhookURIs[0]
	case !slices.Contains(found.WebhookURIs, asked.WebhookURI):
		return invalid("/webhookUri", "unknown", "is not a registered address of this initiator; name one of webhookUris",
			"não é um endereço registrado desta iniciadora; informe um dos webhookUris")
	}
	select {
	case in.preflights <- struct{}{}:
		defer func() { <-in.preflights }()
	default:
		return &api.APIError{
			Status: http.StatusServiceUnavailable, Code: "unavailable",
			Text:   "too many preflights run; at most " + strconv.Itoa(maxPreflights) + " at once, retry in some seconds",
			TextPT: "testes de endereço demais em curso; no máximo " + strconv.Itoa(maxPreflights) + " ao mesmo tempo, repita em alguns segundos",
		}
	}
	out := preflightJSON{ClientID: client, WebhookURI: asked.WebhookURI, StartedAt: instant(x.Began)}
	out.Steps, out.Verdict = in.cfg.Prober.Probe(x.R.Context(), client, asked.WebhookURI, wantsPortuguese(x.R))
	out.TookMillis = time.Since(x.Began).Milliseconds()
	result := "nothing was tried"
	if n := len(out.Steps); n > 0 {
		last := &out.Steps[n-1]
		if out.OK, result = last.OK, "ok"; !last.OK && last.Problem != nil {
			result = last.Step + ": " + *last.Problem
		}
	}
	filter := map[string]string{"clientId": string(client), "webhookUri": cutText(asked.WebhookURI), "result": cutText(result)}
	return in.show(x, history.LogReading{Act: "preflight", Filter: filter, Rows: int64(len(out.Steps))}, out)
}
