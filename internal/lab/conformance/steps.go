package conformance

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/arauto/arauto/internal/lab/openapitest"
	"github.com/arauto/arauto/internal/lab/standin"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/registry"
)

// What the suite answers: to the first notification of the module remove-webhook, and to all others.
const (
	refusedOnce = http.StatusServiceUnavailable
	accepted    = http.StatusAccepted
)

// The names of the resources of a play, and what they are called in Portuguese.
const (
	consent    = "consent"
	payment    = "payment"
	later      = "scheduled payment"
	enrollment = "enrollment"
)

var nomes = map[string]string{consent: "consentimento", payment: "pagamento", later: "pagamento agendado", enrollment: "vínculo"}

// register registers with the address of the suite, in the statement and in the payload.
func register(status int) step {
	return step{
		fmt.Sprintf("registration with webhook_uris as in the software statement is answered %d by the gateway", status),
		fmt.Sprintf("registro com webhook_uris igual ao software statement é respondido com %d pelo gateway", status),
		func(ctx context.Context, p *play) error {
			answer, err := p.Holder.Register(ctx, Registration{p.client, []string{p.base}, []string{p.base}})
			switch {
			case err != nil:
				return err
			case answer.Status != status:
				return mismatch(fmt.Sprintf("%d %s", answer.Status, answer.Error), "%d", status)
			case !slices.Equal(answer.WebhookURIs, []string{p.base}):
				return mismatch(fmt.Sprint(answer.WebhookURIs), "webhook address %s in force", p.base)
			}
			return nil
		},
	}
}

// registerWithout registers without an address; the software statement lists one (webhook §6.2 rule 4).
func registerWithout(status int) step {
	return step{
		fmt.Sprintf("registration without webhook_uris is answered %d by the gateway; the answer has no address, although the statement lists one", status),
		fmt.Sprintf("registro sem webhook_uris é respondido com %d pelo gateway; a resposta não traz endereço, embora o statement o liste", status),
		func(ctx context.Context, p *play) error {
			answer, err := p.Holder.Register(ctx, Registration{p.client, []string{p.base}, nil})
			switch {
			case err != nil:
				return err
			case answer.Status != status:
				return mismatch(fmt.Sprintf("%d %s", answer.Status, answer.Error), "%d", status)
			case len(answer.WebhookURIs) > 0:
				return mismatch(fmt.Sprint(answer.WebhookURIs), "no webhook address in the answer")
			}
			return nil
		},
	}
}

// registerWrong registers an address that the statement does not list.
func registerWrong() step {
	return step{
		"registration with webhook_uris different from the software statement is answered 400 by the gateway, invalid_webhook_uris",
		"registro com webhook_uris diferente do software statement é respondido com 400 pelo gateway, invalid_webhook_uris",
		func(ctx context.Context, p *play) error {
			answer, err := p.Holder.Register(ctx, Registration{p.client, []string{p.base}, []string{p.base + "/other"}})
			switch {
			case err != nil:
				return err
			case answer.Status != 400 || answer.Error != string(registry.InvalidURIs):
				return mismatch(fmt.Sprintf("%d %s", answer.Status, answer.Error), "400 %s", registry.InvalidURIs)
			case answer.Description != registry.Differs:
				return mismatch(fmt.Sprintf("%q", answer.Description), "error_description %q", registry.Differs)
			}
			return nil
		},
	}
}

// waitTime is the pause after a registration.
func waitTime() step {
	return step{"wait webhookWaitTime", "aguardar webhookWaitTime", func(ctx context.Context, p *play) error { return pause(ctx, p.Wait) }}
}

// refuseFirst has the next notification of this client answered with a refusal, and all after it accepted.
func refuseFirst() step {
	return step{
		"the receiver answers the next notification with 503 and later ones with 202",
		"o receptor responde à próxima notificação com 503 e às seguintes com 202",
		func(_ context.Context, p *play) error {
			p.Receiver.Answer(cmp.Or(p.path, "/"), standin.Refuse(refusedOnce), standin.Accept)
			return nil
		},
	}
}

// create makes a consent or an enrollment known, brings it through states, and sees it in the last.
func create(name string, kind ofb.Kind, through []ofb.Status, options ...openapitest.Option) step {
	last := kind.Initial()
	if len(through) > 0 {
		last = through[len(through)-1]
	}
	return step{
		fmt.Sprintf("the %s is made known to the gateway, and GET shows %s", name, last),
		fmt.Sprintf("o %s é informado ao gateway, e GET mostra %s", nomes[name], last),
		func(ctx context.Context, p *play) error {
			if _, err := p.create(ctx, name, kind, options...); err != nil {
				return err
			}
			if err := p.move(ctx, name, through...); err != nil {
				return err
			}
			return p.shows(ctx, name, last)
		},
	}
}

// pay makes a payment known whose POST would bring the consent to a state, which is awaited; "": the consent stays as it is.
func pay(payment, consent string, becomes ofb.Status, event ofb.EventType) step {
	return step{
		fmt.Sprintf("the %s is made known to the gateway; the expected addresses are known from its id", payment),
		fmt.Sprintf("o %s é informado ao gateway; os endereços esperados são conhecidos a partir do id", nomes[payment]),
		func(ctx context.Context, p *play) error {
			if becomes != "" {
				p.expect(consent, event)
			}
			return p.post(ctx, payment, consent, becomes)
		},
	}
}

// move brings a resource through states, the last of which must be notified.
func move(name string, event ofb.EventType, through ...ofb.Status) step {
	last := through[len(through)-1]
	return step{
		fmt.Sprintf("that the %s becomes %s is made known to the gateway", name, last),
		fmt.Sprintf("o gateway é informado de que o %s passa a %s", nomes[name], last),
		func(ctx context.Context, p *play) error {
			p.expect(name, event)
			return p.move(ctx, name, through...)
		},
	}
}

// patch makes known that the initiator ended a resource, as by PATCH: who caused a change of state is irrelevant (webhook §5.6).
func patch(name string, event ofb.EventType, status ofb.Status) step {
	return step{
		fmt.Sprintf("that the %s becomes %s by an act of the initiator is made known to the gateway", name, status),
		fmt.Sprintf("o gateway é informado de que o %s passa a %s por ato da iniciadora", nomes[name], status),
		func(ctx context.Context, p *play) error {
			p.expect(name, event)
			r := p.resources[name]
			c := p.change(r)
			c.Cause = byInitiator
			return p.tell(ctx, r, status, c)
		},
	}
}

// receive takes the next notification of those that are awaited. One that is refused is awaited again.
func receive(status int) step {
	return step{
		fmt.Sprintf("a notification comes with mutual TLS, its header and a timestamp of the test; it is answered %d", status),
		fmt.Sprintf("uma notificação chega com TLS mútuo, o cabeçalho e um timestamp do teste; é respondida com %d", status),
		func(ctx context.Context, p *play) error {
			r, a, err := p.next(ctx, p.Within)
			if err != nil {
				return err
			}
			if given := cmp.Or(r.Given.Status, accepted); given != status {
				return mismatch(fmt.Sprint(given), "the answer %d to this notification", status)
			}
			if status != accepted {
				p.pending = append(p.pending, a)
			}
			return nil
		},
	}
}

// retryTolerance is how far the second attempt may be from 10 s after the refusal.
const retryTolerance = 1500 * time.Millisecond

// receiveAgain takes the second attempt of the refused notification.
func receiveAgain() step {
	return step{
		"the refused notification comes again 10 s after the refusal, with another x-webhook-interaction-id; it is answered 202",
		"a notificação recusada chega de novo 10 s após a recusa, com outro x-webhook-interaction-id; é respondida com 202",
		func(ctx context.Context, p *play) error {
			gap, _ := notice.Next(1, false)
			r, _, err := p.next(ctx, gap+p.Within)
			if err != nil {
				return err
			}
			i := slices.IndexFunc(p.taken, func(other standin.Request) bool { return other.Target == r.Target })
			if waited := r.At.Sub(p.taken[i].At); waited < gap || waited > gap+retryTolerance {
				return mismatch(waited.Round(time.Millisecond).String()+" after the refusal", "the second attempt %s after the refusal", gap)
			}
			return nil
		},
	}
}

// nothingMore is the negative step about messages too many: a PDNG beside ACSC, or one message twice.
func nothingMore() step {
	return step{
		"no further notification comes, such as one of PDNG beside that of ACSC",
		"nenhuma outra notificação chega, como uma de PDNG além da de ACSC",
		func(ctx context.Context, p *play) error { return p.quiet(ctx) },
	}
}

// nothing is the negative step where no notification is due at all.
func nothing(why, porque string) step {
	return step{"no notification comes: " + why, "nenhuma notificação chega: " + porque, func(ctx context.Context, p *play) error {
		p.pending = nil
		return p.quiet(ctx)
	}}
}

// addresses is the negative step about the known mistakes in addresses.
func addresses() step {
	return step{
		"every address was the registered base, /open-banking/webhook/v1 and the whole id: no //, no id without urn:…:",
		"todo endereço foi a base registrada, /open-banking/webhook/v1 e o id inteiro: sem //, sem id sem urn:…:",
		func(_ context.Context, p *play) error {
			for _, r := range p.taken {
				known := false
				for _, one := range p.resources {
					known = known || p.target(one) == r.Target
				}
				if !known {
					return mismatch(r.Target, "the address of a resource of this test")
				}
			}
			return nil
		},
	}
}

// shows asks for the resource after its notification.
func shows(name string, status ofb.Status) step {
	return step{
		fmt.Sprintf("GET of the %s shows %s", name, status),
		fmt.Sprintf("GET de %s mostra %s", nomes[name], status),
		func(ctx context.Context, p *play) error { return p.shows(ctx, name, status) },
	}
}

// unregister removes the client.
func unregister() step {
	return step{"DELETE of the registration at the gateway", "DELETE do registro no gateway", func(ctx context.Context, p *play) error { return p.Holder.Unregister(ctx, p.client) }}
}
