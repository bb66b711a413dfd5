package gateway

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/arauto/arauto/internal/api"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/watch"
)

// freshFor is how old the word of a replica may be that says it reads a source: they report each second.
const freshFor = 5 * time.Second

// absentSource is the error about a source that is not configured.
type absentSource string

// Error names it.
func (a absentSource) Error() string { return "no source is named " + string(a) }

// NotFound tells package api.
func (absentSource) NotFound() bool { return true }

// named finds a source; nil when it is not configured.
func (s *sources) named(name string) *source {
	for _, one := range s.all {
		if one.mapping.Source == name {
			return one
		}
	}
	return nil
}

// Sources implements api.Sources.
func (s *sources) Sources(ctx context.Context) ([]api.Source, error) {
	kept, err := s.store.Sources(ctx)
	if err != nil {
		return nil, err
	}
	by := map[string]notice.Source{}
	for _, k := range kept {
		by[k.Name] = k
	}
	out := make([]api.Source, len(s.all))
	for i, one := range s.all {
		out[i] = joined(one, by[one.mapping.Source])
	}
	return out, nil
}

// Source implements api.Sources.
func (s *sources) Source(ctx context.Context, name string) (api.Source, error) {
	one := s.named(name)
	if one == nil {
		return api.Source{}, absentSource(name)
	}
	kept, err := s.store.Source(ctx, name)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return api.Source{}, err
	}
	return joined(one, kept), nil
}

func joined(one *source, kept notice.Source) api.Source {
	kept.Name = one.mapping.Source
	return api.Source{Source: kept, Origin: one.mapping.Type, Running: kept.Reading && !kept.ReportedAt.IsZero() && kept.Age < freshFor}
}

// Pause implements api.Sources.
func (s *sources) Pause(ctx context.Context, name string, paused bool, actor, reason string) (bool, error) {
	return s.store.PauseSource(ctx, name, paused, actor, reason)
}

// OpenCases implements api.Sources.
func (s *sources) OpenCases(ctx context.Context, name string, revision int64, after notice.ID, limit int) ([]notice.Case, error) {
	return s.store.OpenCases(ctx, name, revision, after, limit)
}

// away is a failure of the origin that may be gone soon.
type away struct{ error }

// Transient tells package api.
func (away) Transient() bool { return true }

// Unwrap is the failure itself.
func (a away) Unwrap() error { return a.error }

// Remap implements api.Remap. A registration that is accepted now is stored here, and its case is closed by the caller.
func (s *sources) Remap(ctx context.Context, c notice.Case) (api.Remapped, error) {
	e, err := watch.ParseEnvelope(c.Line)
	if errors.Is(err, watch.ErrNoEnvelope) {
		return api.Remapped{}, nil
	}
	if err != nil {
		return api.Remapped{}, fmt.Errorf("read the record of a case: %w", err)
	}
	one := s.named(e.Source)
	if one == nil {
		return api.Remapped{Problems: []notice.Problem{{
			Code: "no-source", Detail: "its source is not in the settings of this gateway any more",
			DetailPT: "sua fonte não está mais na configuração deste gateway",
		}}}, nil
	}
	m, err := one.Map(ctx, e)
	switch {
	case err != nil:
		return api.Remapped{}, away{fmt.Errorf("map a record of %s again: %w", e.Source, err)}
	case len(m.Problems) > 0:
		return api.Remapped{Problems: m.Problems}, nil
	case m.Registration != nil || m.Delete != "":
		return s.register(ctx, c, m)
	}
	return api.Remapped{Line: m.Line, Skipped: m.Skipped != ""}, nil
}

// register stores what a row of the clients' table says, unless a newer one of this client was heard of: an old address
// must not come back.
func (s *sources) register(ctx context.Context, c notice.Case, m watch.Mapped) (api.Remapped, error) {
	client := m.Delete
	if m.Registration != nil {
		client = m.Registration.Client
	}
	newer, err := s.store.RegisteredSince(ctx, c, client)
	if err != nil {
		return api.Remapped{}, err
	}
	if newer {
		return api.Remapped{Problems: []notice.Problem{{
			Code: "superseded", Detail: "something newer is known of this client; dismiss the case",
			DetailPT: "já se conhece algo mais novo deste cliente; descarte o caso",
		}}}, nil
	}
	to, name := registrar{s.registry, s.store}, c.Source
	if m.Registration != nil {
		err = to.Put(ctx, name, *m.Registration)
	} else {
		err = to.Delete(ctx, name, m.Delete)
	}
	var refused *watch.Refused
	if errors.As(err, &refused) {
		return api.Remapped{Problems: refused.Problems}, nil
	}
	return api.Remapped{Registered: err == nil}, err
}
