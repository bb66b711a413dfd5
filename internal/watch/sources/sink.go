package sources

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/arauto/arauto/internal/failure"
	"github.com/arauto/arauto/internal/intake"
	"github.com/arauto/arauto/internal/jws"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/registry"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/watch"
)

// sink hands what sources read to intake.
type sink struct{ intake *intake.Intake }

// pending is a change of a source on its way to its commit.
type pending struct{ *intake.Pending }

// Wait implements watch.PendingRecord.
func (p pending) Wait(ctx context.Context) (notice.Verdict, error) {
	a, err := p.Pending.Wait(ctx)
	if errors.Is(err, intake.ErrAlone) {
		err = fmt.Errorf("%w: %w", watch.ErrAlone, err)
	}
	return a.Verdict, err
}

// Enqueue implements watch.Sink.
func (s sink) Enqueue(ctx context.Context, line []byte, from watch.Told) (watch.PendingRecord, error) {
	p, err := s.intake.Enqueue(ctx, line, intake.Origin{Source: from.Source, Actor: actorOf(from.Source), Keep: from.Record, CommittedAt: from.CommittedAt})
	if wrong := (*intake.LineError)(nil); errors.As(err, &wrong) {
		return nil, &watch.RefusedRecord{Problems: []notice.Problem{{Pointer: wrong.Pointer, Code: wrong.Code, Detail: wrong.Detail}}}
	}
	if err != nil {
		return nil, err
	}
	return pending{p}, nil
}

// Reject implements watch.Sink.
func (s sink) Reject(ctx context.Context, r watch.Rejected) (watch.PendingRecord, error) {
	kind, _ := ofb.ParseKind(r.Kind) // of a registration there is none
	p, err := s.intake.Reject(ctx, notice.Change{
		Kind: kind, ResourceID: r.ResourceID, Client: r.Client, Revision: r.Revision, Source: r.Source, Actor: actorOf(r.Source), Line: r.Line,
		Problems: r.Problems,
	})
	if err != nil {
		return nil, err
	}
	return pending{p}, nil
}

// actorOf is who acts in the history when a source does.
func actorOf(source string) string { return "source:" + source }

// registrar keeps the registrations that sources read.
type registrar struct {
	registry *registry.Registry
	store    *store.Store
}

// Put implements watch.Registrar.
func (r registrar) Put(ctx context.Context, source string, in watch.Registration) error {
	err := r.registry.Follow(ctx, in.Client, Registration(in), in.Checked, actorOf(source))
	if problems := refusalsOf(err); problems != nil {
		return &watch.RefusedRecord{Problems: problems}
	}
	return ownFault(ctx, r.store, err)
}

// refusalsOf are the problems of a registration that breaks a rule; nil when the error is another one.
func refusalsOf(err error) (problems []notice.Problem) {
	invalid := (*registry.Invalid)(nil)
	if !errors.As(err, &invalid) {
		return nil
	}
	for _, p := range invalid.Problems {
		problems = append(problems, notice.Problem{Pointer: p.Pointer, Code: p.Code, Detail: p.Detail})
	}
	if len(problems) == 0 {
		problems = []notice.Problem{{Pointer: "/webhookUris", Code: string(invalid.Code), Detail: invalid.Description}}
	}
	return problems
}

// Registration is a registration that a source tells, as the registry judges it.
func Registration(in watch.Registration) registry.Request {
	return registry.Request{
		OrganisationID: in.OrganisationID, SoftwareID: in.SoftwareID, Name: in.Name, WebhookURIs: &in.WebhookURIs, SoftwareStatement: in.Statement,
	}
}

// Delete implements watch.Registrar.
func (r registrar) Delete(ctx context.Context, source string, client notice.ClientID) error {
	err := r.registry.Delete(ctx, client, actorOf(source))
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return ownFault(ctx, r.store, err)
}

// control tells sources whether they are paused, and keeps what they tell.
type control struct{ store *store.Store }

// Paused implements watch.Control.
func (c control) Paused(ctx context.Context, source string) (bool, error) {
	return c.store.SourcePaused(ctx, source)
}

// Report implements watch.Control.
func (c control) Report(ctx context.Context, s watch.SourceStatus) error {
	text, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encode a source's status: %w", err)
	}
	return c.store.ReportSource(ctx, s.Source, s.Reading(), text)
}

// ownFault says whose fault a registration is that was not stored. It is the record's own only when a write of ours to the
// same tables succeeds right after it.
func ownFault(ctx context.Context, s *store.Store, err error) error {
	if err == nil || ctx.Err() != nil || errors.Is(err, jws.ErrUnavailable) || failure.Transient(err) {
		return err
	}
	if failed := s.Probe(ctx); failed != nil {
		return fmt.Errorf("%w, after %v", failed, err) //nolint:errorlint // the first failure is not the cause
	}
	return fmt.Errorf("%w: %w", watch.ErrAlone, err)
}
