package conformance

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/arauto/arauto/internal/lab/openapitest"
	"github.com/arauto/arauto/internal/ofb"
)

// authorised and settled are the states on the way to an authorised consent and a settled payment. PDNG is not among them: it is a
// duty to notify when a payment passes through it, and the suite awaits none.
var (
	authorised = []ofb.Status{ofb.Authorised}
	settled    = []ofb.Status{ofb.ACCP, ofb.ACPD, ofb.ACSC}
)

// paymentModules are the five of DCR-PAGTO (webhook §9.3 A to E).
func paymentModules(version string) []Module {
	module := func(name string, steps ...[]step) Module {
		return Module{
			Name: "dcr_api_dcm-pagto-" + name + "_test-module-" + version, Plan: "dcr-dcm-pagto_test-plan-" + version,
			API: map[string]string{"v4": "payments/4.0.1", "v5": "payments/5.0.0"}[version], steps: slices.Concat(steps...),
		}
	}
	made := func(options ...openapitest.Option) []step {
		return []step{create(consent, ofb.PaymentConsent, authorised, options...), pay(payment, consent, ofb.Consumed, ofb.NoEventType)}
	}
	told := func(status ofb.Status) []step {
		return []step{receive(accepted), receive(accepted), addresses(), nothingMore(), shows(payment, status), shows(consent, ofb.Consumed)}
	}
	registered := []step{register(201), waitTime()}
	return []Module{
		module("webhook-acsc", registered, made(), []step{move(payment, ofb.NoEventType, settled...)}, told(ofb.ACSC), []step{unregister()}),
		module("webhook-schd", registered, made(openapitest.Scheduled("single")), []step{move(payment, ofb.NoEventType, ofb.ACCP, ofb.SCHD)},
			told(ofb.SCHD), []step{unregister()}),
		module("webhook", []step{registerWithout(201), register(200), waitTime()}, made(), []step{move(payment, ofb.NoEventType, settled...)}, told(ofb.ACSC),
			[]step{unregister()}),
		module("remove-webhook", registered, []step{refuseFirst()}, made(), []step{
			move(payment, ofb.NoEventType, settled...), receive(refusedOnce), receive(accepted), receiveAgain(), addresses(), shows(payment, ofb.ACSC),
			registerWithout(200), waitTime(),
		}, made(), []step{
			move(payment, ofb.NoEventType, settled...), nothing("the registration has no address", "o registro não tem endereço"), shows(payment, ofb.ACSC), unregister(),
		}),
		module("wrong-webhook", []step{registerWrong()}),
	}
}

// sweeping makes a consent of sweeping, and its payments what they are under one.
func sweeping(through ...ofb.Status) step {
	made := create(consent, ofb.RecurringConsent, through, openapitest.Product("sweeping"))
	do := made.do
	made.do = func(ctx context.Context, p *play) error {
		err := do(ctx, p)
		if r := p.resources[consent]; r != nil {
			r.payments = []openapitest.Option{openapitest.Edit(func(data map[string]any) {
				data["localInstrument"] = "MANU"
				delete(data, "paymentReference")
			})}
		}
		return err
	}
	return made
}

const automaticPlan = "automatic-%spayments-webhook_test-plan_v2-2"

// sweepingModules are the four of sweeping (webhook §9.3 F).
func sweepingModules() []Module {
	module := func(name string, steps ...step) Module {
		return Module{
			Name: "automatic-payments_api_" + name + "_test-module_v2-2", Plan: fmt.Sprintf(automaticPlan, ""), API: "automatic-payments/2.2.0",
			steps: slices.Concat([]step{register(201), waitTime()}, steps, []step{addresses(), nothingMore(), unregister()}),
		}
	}
	return []Module{
		module("webhook-acsc", sweeping(authorised...), pay(payment, consent, "", ofb.NoEventType), move(payment, ofb.NoEventType, settled...), receive(accepted),
			shows(payment, ofb.ACSC), move(consent, ofb.StateChanged, ofb.Consumed), receive(accepted), shows(consent, ofb.Consumed)),
		module("webhook-multiple-consents", sweeping(ofb.PartiallyAccepted), move(consent, ofb.StateChanged, authorised...), receive(accepted),
			shows(consent, ofb.Authorised), pay(payment, consent, ofb.Consumed, ofb.StateChanged), move(payment, ofb.NoEventType, settled...),
			receive(accepted), receive(accepted), shows(consent, ofb.Consumed)),
		module("webhook-rejected", sweeping(), patch(consent, ofb.StateChanged, ofb.Rejected), receive(accepted), shows(consent, ofb.Rejected)),
		module("webhook-revoked", sweeping(authorised...), patch(consent, ofb.StateChanged, ofb.Revoked), receive(accepted), shows(consent, ofb.Revoked)),
	}
}

// automaticModules is the one of automatic Pix (webhook §9.3 G): exactly one message for each change.
func automaticModules() []Module {
	return []Module{{
		Name: "automatic-payments_api_automatic-pix-webhook_test-module_v2-2", Plan: fmt.Sprintf(automaticPlan, "pix-"), API: "automatic-payments/2.2.0",
		steps: []step{
			register(201), waitTime(), create(consent, ofb.RecurringConsent, authorised),
			pay(payment, consent, "", ofb.NoEventType), move(payment, ofb.NoEventType, settled...), receive(accepted), nothingMore(), shows(payment, ofb.ACSC),
			pay(later, consent, "", ofb.NoEventType), move(later, ofb.NoEventType, ofb.ACCP, ofb.SCHD), receive(accepted), nothingMore(), shows(later, ofb.SCHD),
			patch(later, ofb.NoEventType, ofb.CANC), receive(accepted), addresses(), nothingMore(), shows(later, ofb.CANC), unregister(),
		},
	}}
}

// enrollmentModules are the three of enrollments in a minor version (webhook §9.3 H).
func enrollmentModules(version string) []Module {
	suffix := "v" + strings.ReplaceAll(strings.TrimSuffix(version, ".0"), ".", "-")
	module := func(name string, steps ...step) Module {
		return Module{
			Name: "enrollments_api_" + name + "_test-module_" + suffix, Plan: "no-redirect-payments-webhook_test-plan_" + suffix, API: "enrollments/" + version,
			steps: slices.Concat([]step{register(201), waitTime()}, steps, []step{addresses(), nothingMore(), unregister()}),
		}
	}
	linked := []ofb.Status{ofb.AwaitingAccountHolderValidation, ofb.AwaitingEnrollment, ofb.Authorised}
	return []Module{
		module("webhook-rejected", create(enrollment, ofb.Enrollment, linked[:1]), patch(enrollment, ofb.StateChanged, ofb.Rejected), receive(accepted),
			shows(enrollment, ofb.Rejected)),
		module("webhook-revoked", create(enrollment, ofb.Enrollment, linked), patch(enrollment, ofb.StateChanged, ofb.Revoked), receive(accepted),
			shows(enrollment, ofb.Revoked), revokedByHand()),
		module("webhook_event-type", create(enrollment, ofb.Enrollment, linked), baseline(), edit(), receive(accepted), edited()),
	}
}

// revokedByHand looks at the reason of a revocation.
func revokedByHand() step {
	return step{
		"GET shows revocationReason REVOGADO_MANUALMENTE", "GET mostra revocationReason REVOGADO_MANUALMENTE",
		func(ctx context.Context, p *play) error {
			data, err := p.read(ctx, enrollment)
			if err != nil {
				return err
			}
			cancellation, _ := data["cancellation"].(map[string]any)
			reason, _ := cancellation["reason"].(map[string]any)
			if reason["revocationReason"] != "REVOGADO_MANUALMENTE" {
				return mismatch(fmt.Sprint(reason["revocationReason"]), "revocationReason REVOGADO_MANUALMENTE")
			}
			return nil
		},
	}
}

// editable are the members of which the suite wants at least one changed.
var editable = []string{"transactionLimit", "dailyLimit", "expirationDateTime"}

// baseline keeps what GET shows before the edit.
func baseline() step {
	return step{
		"GET of the enrollment is kept as the baseline", "GET do vínculo é guardado como referência",
		func(ctx context.Context, p *play) (err error) {
			p.baseline, err = p.read(ctx, enrollment)
			return err
		},
	}
}

// edit changes a limit at the holder.
func edit() step {
	return step{
		"that dailyLimit is changed at the holder is made known to the gateway", "o gateway é informado de que dailyLimit foi alterado na detentora",
		func(ctx context.Context, p *play) error {
			r := p.resources[enrollment]
			r.options = append(r.options, openapitest.Edit(func(data map[string]any) { data["dailyLimit"] = "2500.00" }))
			p.expect(enrollment, ofb.DataChanged)
			return p.tell(ctx, r, r.status, p.change(r))
		},
	}
}

// edited compares GET with the baseline.
func edited() step {
	return step{
		"GET shows another transactionLimit, dailyLimit or expirationDateTime than the baseline",
		"GET mostra transactionLimit, dailyLimit ou expirationDateTime diferente da referência",
		func(ctx context.Context, p *play) error {
			data, err := p.read(ctx, enrollment)
			if err != nil {
				return err
			}
			if !slices.ContainsFunc(editable, func(name string) bool { return data[name] != p.baseline[name] }) {
				return mismatch("the values of the baseline", "another value of %s", strings.Join(editable, ", "))
			}
			return nil
		},
	}
}
