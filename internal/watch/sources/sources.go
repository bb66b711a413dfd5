// Package sources decides which sources run in this replica, and connects them: it reads the mapping files of the settings,
// opens the reader of each, and gives their records to intake and their registrations to the registry.
//
// It guarantees that a mapping file with flaws keeps the gateway from starting, and that a record is acknowledged only when
// intake has committed it. A followed row goes from its reader through package watch and the Sink here to intake and store.
//
// It does not map records (package watch), does not know the protocols of origins (the readers beside it), and counts nothing
// itself: an Observer does.
package sources

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/arauto/arauto/internal/brand"
	"github.com/arauto/arauto/internal/config"
	"github.com/arauto/arauto/internal/intake"
	"github.com/arauto/arauto/internal/registry"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/watch"
	"github.com/arauto/arauto/internal/watch/postgres"
)

// Set holds the sources of this replica, in the order of their names.
type Set struct {
	store    *store.Store
	registry *registry.Registry
	brands   brand.List
	all      []*followed
}

// followed is a source and its reader.
type followed struct {
	*watch.Source
	reader watch.Reader
}

// Config holds what sources work with. All members are required, except as noted.
type Config struct {
	Intake   *intake.Intake
	Store    *store.Store
	Registry *registry.Registry
	Observer watch.Observer                  // nil allowed
	Storable func(ctx context.Context) error // see watch.Config
	Log      *slog.Logger
}

// Open makes the sources of the settings. It connects to none of their origins. Its error is a *config.Error with every
// problem of the mapping files.
func Open(cfg *config.Config, with Config) (*Set, error) {
	mappings, err := readMappings(cfg)
	if err != nil {
		return nil, err
	}
	s := &Set{store: with.Store, registry: with.Registry, brands: cfg.BrandList()}
	p := &config.Problems{}
	for _, m := range mappings {
		r, err := OpenReader(m, cfg.Profile == config.Production, with.Store, with.Log.With("source", m.Source))
		if err != nil {
			addProblems(p, m, err)
			continue
		}
		c := watch.Config{
			Mapping: m, Reader: r, Sink: sink{with.Intake, cfg.BrandList()}, Storable: with.Storable, Control: control{with.Store}, Observer: with.Observer, Log: with.Log,
		}
		if m.Registers() {
			c.Registrar = registrar{with.Registry, with.Store, cfg.BrandList()}
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

// Run starts a loop for each source, under the source's name. A loop ends after ctx, when what was read is committed or will
// be read again.
func (s *Set) Run(ctx context.Context, start func(name string, loop func())) {
	for _, one := range s.all {
		start(one.Name(), func() {
			one.Run(ctx)
			one.reader.Close()
		})
	}
}

// Tables returns the tables of each source, by the source's name.
func (s *Set) Tables() map[string][]string {
	all := map[string][]string{}
	for _, one := range s.all {
		all[one.Name()] = one.Mapping().Tables()
	}
	return all
}

// Figures are the figures of one source.
type Figures struct {
	Source  string
	Skipped map[string]int64 // records that were skipped since the start, by rule; every rule is listed
	Halted  bool             // it is not read until a person decides
}

// Figures returns the figures of every source.
func (s *Set) Figures() []Figures {
	all := make([]Figures, len(s.all))
	for i, one := range s.all {
		all[i] = Figures{one.Name(), one.Skips(), one.Status().Halted}
		if r, is := one.reader.(*postgres.Reader); is {
			c := r.Counts()
			all[i].Skipped["not-mapped"] += c.Unlisted
			all[i].Skipped["truncated"] += c.Truncates
		}
	}
	return all
}

// reportsEvery is how old a reader's word on its lag may be.
const reportsEvery = 2 * time.Second

// lagging is a source that is far behind its origin.
type lagging struct {
	source string
	behind time.Duration
}

// Error names the source.
func (l lagging) Error() string { return fmt.Sprintf("%s is %s behind", l.source, l.behind) }

// Portuguese is the text for people who read Portuguese.
func (l lagging) Portuguese() string {
	return fmt.Sprintf("%s está %s atrás da origem", l.source, l.behind)
}

// Lagging returns an error that names a source that is further behind its origin than limit. Sources that another replica
// reads, and sources that a person paused, do not count.
func (s *Set) Lagging(limit time.Duration) error {
	for _, one := range s.all {
		if state := one.Status().State; state == watch.Standby || state == watch.Paused {
			continue
		}
		if behind := one.Behind(); behind > limit+reportsEvery {
			return lagging{one.Name(), behind.Round(time.Second)}
		}
	}
	return nil
}

// Notes returns what an operator should know of the sources: which wait, and what readers tell of their origins.
func (s *Set) Notes() (all []string) {
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

// StoppedSource is a source that is not read until a person decides, or of which tables are not.
type StoppedSource struct{ Source, Why string }

// Stopped lists the sources that stopped, or stopped in part, as this replica sees them. One that a person paused did not.
func (s *Set) Stopped() (all []StoppedSource) {
	for _, one := range s.all {
		st := one.Status()
		switch {
		case st.Halted:
			all = append(all, StoppedSource{one.Name(), st.LastError})
		case len(st.Stopped) > 0:
			all = append(all, StoppedSource{one.Name(), fmt.Sprintf("%d tables no longer fit the mapping, the first: %s", len(st.Stopped), st.Stopped[0].Table)})
		}
	}
	return all
}
