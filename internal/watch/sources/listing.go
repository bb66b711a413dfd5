package sources

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/arauto/arauto/internal/brand"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/watch"
)

// freshFor is how old a replica's report that it reads a source may be. Replicas report each second.
const freshFor = 5 * time.Second

// named returns a source; nil when it is not configured.
func (s *Set) named(name string) *followed {
	for _, one := range s.all {
		if one.Name() == name {
			return one
		}
	}
	return nil
}

// Sources implements api.Sources.
func (s *Set) Sources(ctx context.Context) ([]notice.FollowedSource, error) {
	kept, err := s.store.Sources(ctx)
	if err != nil {
		return nil, err
	}
	by := map[string]notice.StoredSource{}
	for _, k := range kept {
		by[k.Name] = k
	}
	out := make([]notice.FollowedSource, len(s.all))
	for i, one := range s.all {
		out[i] = joined(one, by[one.Name()])
	}
	return out, nil
}

// Source implements api.Sources.
func (s *Set) Source(ctx context.Context, name string) (notice.FollowedSource, error) {
	one := s.named(name)
	if one == nil {
		return notice.FollowedSource{}, fmt.Errorf("no source is named %q: %w", name, store.ErrNotFound)
	}
	kept, err := s.store.Source(ctx, name)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return notice.FollowedSource{}, err
	}
	return joined(one, kept), nil
}

func joined(one *followed, kept notice.StoredSource) notice.FollowedSource {
	kept.Name = one.Name()
	return notice.FollowedSource{StoredSource: kept, Origin: one.Mapping().Type, Running: kept.Reading && !kept.ReportedAt.IsZero() && kept.Age < freshFor}
}

// Pause implements api.Sources.
func (s *Set) Pause(ctx context.Context, name string, paused bool, actor, reason string) (bool, error) {
	return s.store.PauseSource(ctx, name, paused, actor, reason)
}

// Accept implements api.Sources.
func (s *Set) Accept(ctx context.Context, f notice.AcceptedFinding) (bool, error) {
	return s.store.AcceptFinding(ctx, f)
}

// OpenCases implements api.Sources.
func (s *Set) OpenCases(ctx context.Context, name string, revision int64, after notice.ID, limit int) ([]notice.Case, error) {
	return s.store.OpenCases(ctx, name, revision, after, limit)
}

// away is a failure of the origin that may pass.
type away struct{ error }

// Transient tells package api.
func (away) Transient() bool { return true }

// Unwrap returns the failure.
func (a away) Unwrap() error { return a.error }

// Remap implements api.Remap. A registration that is accepted now is stored here, and its case is closed by the caller.
func (s *Set) Remap(ctx context.Context, c notice.Case) (notice.Remapped, error) {
	e, err := watch.ParseEnvelope(c.Line)
	if errors.Is(err, watch.ErrNoEnvelope) {
		return notice.Remapped{}, nil
	}
	if err != nil {
		return notice.Remapped{}, fmt.Errorf("read the record of a case: %w", err)
	}
	one := s.named(e.Source)
	if one == nil {
		return notice.Remapped{Problems: []notice.Problem{{
			Code: "no-source", Detail: "its source is not in the settings of this gateway any more",
			DetailPT: "sua fonte não está mais nos ajustes deste gateway",
		}}}, nil
	}
	m, err := one.Map(ctx, e)
	switch {
	case err != nil:
		return notice.Remapped{}, away{fmt.Errorf("map a record of %s again: %w", e.Source, err)}
	case len(m.Problems) > 0:
		return notice.Remapped{Problems: m.Problems}, nil
	case m.Registration != nil || m.Delete != "":
		return s.register(ctx, c, m)
	}
	return notice.Remapped{Line: m.Line, Skipped: m.Skipped != ""}, nil
}

// register stores a row of the clients' table, unless a newer one of this client is known: an old address must not come back.
func (s *Set) register(ctx context.Context, c notice.Case, m watch.Mapped) (notice.Remapped, error) {
	client := m.Delete
	if m.Registration != nil {
		client = m.Registration.Client
	}
	of, _ := s.brands.Resolve(m.Brand) // what is no brand of ours is refused below
	client = brand.Key(of, client)
	newer, err := s.store.RegisteredSince(ctx, c, client)
	if err != nil {
		return notice.Remapped{}, err
	}
	if newer {
		return notice.Remapped{Problems: []notice.Problem{{
			Code: "superseded", Detail: "something newer is known of this client; dismiss the case",
			DetailPT: "já se conhece algo mais novo deste cliente; descarte o caso",
		}}}, nil
	}
	to, name := registrar{s.registry, s.store, s.brands}, c.Source
	if m.Registration != nil {
		err = to.Put(ctx, name, *m.Registration)
	} else {
		err = to.Delete(ctx, name, brand.Key(brand.Prefix(m.Brand), m.Delete))
	}
	var refused *watch.RefusedRecord
	if errors.As(err, &refused) {
		return notice.Remapped{Problems: refused.Problems}, nil
	}
	return notice.Remapped{Registered: err == nil}, err
}
