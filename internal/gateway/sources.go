package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/arauto/arauto/internal/config"
	"github.com/arauto/arauto/internal/intake"
	"github.com/arauto/arauto/internal/registry"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/watch"
	"github.com/arauto/arauto/internal/watch/postgres"
)

// sourceSet holds the sources of this replica, in the order of their names.
type sourceSet struct {
	store    *store.Store
	registry *registry.Registry
	all      []*followed
}

// followed is a source and its reader.
type followed struct {
	*watch.Source
	reader watch.Reader
}

// sourceConfig holds what sources work with. All members are required, except as noted.
type sourceConfig struct {
	Intake   *intake.Intake
	Store    *store.Store
	Registry *registry.Registry
	Observer watch.Observer                  // nil allowed
	Storable func(ctx context.Context) error // see watch.Config
	Log      *slog.Logger
}

// openSources makes the sources of the settings. It connects to none of their origins. Its error is a *config.Error with every
// problem of the mapping files.
func openSources(cfg *config.Config, with sourceConfig) (*sourceSet, error) {
	mappings, err := readMappings(cfg)
	if err != nil {
		return nil, err
	}
	s := &sourceSet{store: with.Store, registry: with.Registry}
	p := &config.Problems{}
	for _, m := range mappings {
		r, err := openReader(m, cfg.Profile == config.Production, with.Store, with.Log.With("source", m.Source))
		if err != nil {
			addProblems(p, m, err)
			continue
		}
		c := watch.Config{
			Mapping: m, Reader: r, Sink: sink{with.Intake}, Storable: with.Storable, Control: control{with.Store}, Observer: with.Observer, Log: with.Log,
		}
		if m.Registers() {
			c.Registrar = registrar{with.Registry, with.Store}
		}
		one, err := watch.New(c)
		if err != nil {
			addProblems(p, m, err)
			continue
		}
		s.all = append(s.all, &followed{one, r})
	}
	return s, p.Err()
}

// run starts a loop for each source, under the source's name. A loop ends after ctx, when what was read is committed or will
// be read again.
func (s *sourceSet) run(ctx context.Context, start func(name string, loop func())) {
	for _, one := range s.all {
		start(one.Name(), func() {
			one.Run(ctx)
			one.reader.Close()
		})
	}
}

// tables returns the tables of each source, by the source's name.
func (s *sourceSet) tables() map[string][]string {
	all := map[string][]string{}
	for _, one := range s.all {
		all[one.Name()] = one.Mapping().Tables()
	}
	return all
}

// sourceFigures are the figures of one source.
type sourceFigures struct {
	source  string
	skipped map[string]int64 // records that were skipped since the start, by rule; every rule is listed
	halted  bool             // it is not read until a person decides
}

// figures returns the figures of every source.
func (s *sourceSet) figures() []sourceFigures {
	all := make([]sourceFigures, len(s.all))
	for i, one := range s.all {
		all[i] = sourceFigures{one.Name(), one.Skips(), one.Status().Halted}
		if r, is := one.reader.(*postgres.Reader); is {
			c := r.Counts()
			all[i].skipped["not-mapped"] += c.Unlisted
			all[i].skipped["truncated"] += c.Truncates
		}
	}
	return all
}

// reportsEvery is how old a reader's word on its lag may be.
const reportsEvery = 2 * time.Second

// lagging returns an error that names a source that is further behind its origin than limit. Sources that another replica
// reads, and sources that a person paused, do not count.
func (s *sourceSet) lagging(limit time.Duration) error {
	for _, one := range s.all {
		if state := one.Status().State; state == watch.Standby || state == watch.Paused {
			continue
		}
		if behind := one.Behind(); behind > limit+reportsEvery {
			return fmt.Errorf("%s is %s behind", one.Name(), behind.Round(time.Second))
		}
	}
	return nil
}

// notes are what an operator should know of the sources: those that wait, and what readers tell of their origins.
func (s *sourceSet) notes() (all []string) {
	for _, one := range s.all {
		if st := one.Status(); st.State == watch.Waiting {
			all = append(all, fmt.Sprintf("source %s: waits, and nothing is acknowledged: %s", st.Source, st.LastError))
		}
		if r, tells := one.reader.(interface{ Health() []string }); tells {
			for _, note := range r.Health() {
				all = append(all, "source "+one.Name()+": "+note)
			}
		}
	}
	return all
}
