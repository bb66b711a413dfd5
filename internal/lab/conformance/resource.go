package conformance

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/arauto/arauto/internal/lab/openapitest"
	"github.com/arauto/arauto/internal/lab/stage"
	"github.com/arauto/arauto/internal/ofb"
)

// resource is one resource of a play.
type resource struct {
	kind     ofb.Kind
	version  string // major
	id       string
	created  time.Time
	updated  time.Time // when its state changed last
	answered time.Time // when the POST that made or used it was answered; a notification must not come before
	status   ofb.Status
	revision int64
	options  []openapitest.Option
	payments []openapitest.Option // what the payments of a consent have
}

// create makes a resource in its first state, under the name that steps use.
func (p *play) create(ctx context.Context, name string, kind ofb.Kind, options ...openapitest.Option) (*resource, error) {
	_, full, _ := strings.Cut(p.api, "/")
	major, _, _ := strings.Cut(full, ".")
	r := &resource{kind: kind, version: "v" + major, id: uuid.NewString(), created: time.Now(), options: options}
	switch kind {
	case ofb.PaymentConsent, ofb.RecurringConsent, ofb.Enrollment:
		r.id = "urn:arauto:" + r.id
	}
	r.answered = r.created
	p.resources[name] = r
	return r, p.tell(ctx, r, kind.Initial(), p.change(r))
}

// change is the next change of a resource, without its document.
func (p *play) change(r *resource) stage.Change {
	r.revision++
	return stage.Change{Kind: r.kind.String(), ClientID: p.client, APIVersion: r.version, Revision: r.revision, OccurredAt: time.Now().UTC(), Cause: byHolder}
}

// Who caused a change.
const (
	byHolder    = "holder"
	byInitiator = "initiator"
)

// tell brings a resource to a state.
func (p *play) tell(ctx context.Context, r *resource, status ofb.Status, c stage.Change) error {
	if r.status != status {
		r.status, r.updated = status, c.OccurredAt
	}
	options := append([]openapitest.Option{openapitest.Created(r.created), openapitest.Updated(r.updated)}, r.options...)
	c.Data = openapitest.Document(r.kind, r.version, status, r.id, options...)
	if err := p.Holder.Tell(ctx, c); err != nil {
		return fmt.Errorf("the change of a %s to %s was not accepted: %w", r.kind, status, err)
	}
	return nil
}

// move brings a resource through states.
func (p *play) move(ctx context.Context, name string, through ...ofb.Status) error {
	r := p.resources[name]
	for _, status := range through {
		if err := p.tell(ctx, r, status, p.change(r)); err != nil {
			return err
		}
	}
	return nil
}

// answerHold is how long after the event a POST is answered, unless the suite says: what the POST itself changes is told at once, with
// notBefore.
const answerHold = 400 * time.Millisecond

// post makes a payment, and in the same POST brings its consent to a state ("": it stays). It ends when the POST is answered.
func (p *play) post(ctx context.Context, payment, consent string, becomes ofb.Status) error {
	of := p.resources[consent]
	kind := ofb.PixPayment
	if of.kind == ofb.RecurringConsent {
		kind = ofb.RecurringPayment
	}
	r, err := p.create(ctx, payment, kind, append([]openapitest.Option{openapitest.UnderConsent(of.id)}, of.payments...)...)
	if err != nil {
		return err
	}
	answered := time.Now().Add(cmp.Or(p.Hold, answerHold))
	r.answered = answered
	if becomes != "" {
		c := p.change(of)
		before := answered.UTC()
		c.NotBefore, of.answered = &before, answered
		if err := p.tell(ctx, of, becomes, c); err != nil {
			return err
		}
	}
	return pause(ctx, time.Until(answered))
}

// read asks for a resource.
func (p *play) read(ctx context.Context, name string) (map[string]any, error) {
	r := p.resources[name]
	answer, err := p.Holder.Ask(ctx, Query{p.client, r.kind, r.version, r.id})
	var refused *stage.Refusal
	switch {
	case errors.As(err, &refused):
		return nil, mismatch(refused.Error(), "GET %s answered 200", r.kind)
	case err != nil:
		return nil, err
	case !strings.HasSuffix(p.api, "/"+answer.Version): // enrollments define no x-v, and Arauto sends it all the same
		return nil, mismatch(fmt.Sprintf("%q", answer.Version), "x-v of %s", p.api)
	}
	return answer.Data, nil
}

// shows asks for a resource and compares its state.
func (p *play) shows(ctx context.Context, name string, status ofb.Status) error {
	data, err := p.read(ctx, name)
	if err != nil {
		return err
	}
	if data["status"] != string(status) {
		return mismatch(fmt.Sprint(data["status"]), "status %s", status)
	}
	return nil
}
