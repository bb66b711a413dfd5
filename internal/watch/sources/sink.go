package sources

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/arauto/arauto/internal/brand"
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
type sink struct {
	intake *intake.Intake
	brands brand.List
}

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
	id, client := s.keys(kind, r)
	p, err := s.intake.Reject(ctx, notice.Change{
		Kind: kind, ResourceID: id, Client: client, Revision: r.Revision, Source: r.Source, Actor: actorOf(r.Source), Line: r.Line,
		Problems: r.Problems,
	})
	if err != nil {
		return nil, err
	}
	return pending{p}, nil
}

// keys are the keys of what could not be mapped, as far as its ids and its brand are ones; a row's key that could be taken for the key
// of a resource says that it is a row.
func (s sink) keys(kind ofb.Kind, r watch.Rejected) (id string, client notice.ClientID) {
	of, wrong := s.brands.Resolve(r.Brand)
	switch {
	case kind == 0 || kind.CheckID(r.ResourceID) != nil:
		if id = r.ResourceID; brand.Of(id) != "" && s.brands.Holds(brand.Of(id)) {
			id = "row: " + id
		}
	case wrong == nil || !s.brands.Several():
		id = brand.Key(of, r.ResourceID)
	}
	if notice.ValidClientID(string(r.Client)) && (wrong == nil || !s.brands.Several()) {
		client = brand.Key(of, r.Client)
	}
	return id, client
}

// actorOf is who acts in the history when a source does.
func actorOf(source string) string { return "source:" + source }

// registrar keeps the registrations that sources read.
type registrar struct {
	registry *registry.Registry
	store    *store.Store
	brands   brand.List
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
		Brand: in.Brand, OrganisationID: in.OrganisationID, SoftwareID: in.SoftwareID, Name: in.Name, WebhookURIs: &in.WebhookURIs, SoftwareStatement: in.Statement,
	}
}

// Delete implements watch.Registrar.
func (r registrar) Delete(ctx context.Context, source string, client notice.ClientID) error {
	name, id := brand.Split(client)
	of, wrong := r.brands.Resolve(string(name))
	if !notice.ValidClientID(string(id)) {
		return &watch.RefusedRecord{Problems: []notice.Problem{{Pointer: "/clientId", Code: "format", Detail: "is not a client id", DetailPT: "não é um client id"}}}
	}
	if wrong != nil {
		return &watch.RefusedRecord{Problems: []notice.Problem{{Pointer: "/brand", Code: wrong.Code, Detail: wrong.Detail, DetailPT: wrong.DetailPT}}}
	}
	err := r.registry.Delete(ctx, brand.Key(of, id), actorOf(source))
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
