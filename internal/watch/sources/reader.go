package sources

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/arauto/arauto/internal/config"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/watch"
	"github.com/arauto/arauto/internal/watch/postgres"
)

// readMappings reads the mapping files of the settings, in the order of their sources' names. Its error is a *config.Error with
// every problem in them.
func readMappings(cfg *config.Config) ([]*watch.Mapping, error) {
	p := &config.Problems{}
	var all []*watch.Mapping
	names := map[string]string{}
	for _, file := range cfg.Watch.Sources {
		m, err := ReadMapping(file)
		if err != nil {
			p.Take(err)
			continue
		}
		if other, twice := names[m.Source]; twice {
			p.Add("watch.sources", "%s and %s are both named %q", "give each source a name of its own", other, file, m.Source)
		}
		names[m.Source] = file
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b *watch.Mapping) int { return cmp.Compare(a.Source, b.Source) })
	return all, p.Err()
}

// ReadMapping reads one mapping file. Its error is a *config.Error with every flaw.
func ReadMapping(file string) (*watch.Mapping, error) {
	m, err := watch.ReadMapping(file)
	if err == nil {
		return m, nil
	}
	p := &config.Problems{}
	if !addFlaws(p, err) {
		p.Add("watch.sources", "%v", "name a mapping file that can be read", err)
	}
	return nil, p.Err()
}

// addFlaws adds the flaws of a mapping; false when the error is another one.
func addFlaws(p *config.Problems, err error) bool {
	var wrong *watch.MappingError
	if !errors.As(err, &wrong) {
		return false
	}
	for _, f := range wrong.Flaws {
		p.List = append(p.List, f.String())
	}
	return true
}

// addProblems adds what is wrong with a source's mapping or with the settings of its origin.
func addProblems(p *config.Problems, m *watch.Mapping, err error) {
	if addFlaws(p, err) {
		return
	}
	for line := range strings.SplitSeq(err.Error(), "\n") {
		p.List = append(p.List, fmt.Sprintf("%s: %s: %s", m.File, m.Type, line))
	}
}

// OpenReader makes the reader of a mapping. It does not connect. s keeps what the reader must find again after a restart;
// without it (nil) the reader remembers nothing.
func OpenReader(m *watch.Mapping, production bool, s *store.Store, log *slog.Logger) (watch.Reader, error) {
	switch m.Type {
	case "postgres":
		var c postgres.Config
		if err := m.Settings(&c); err != nil {
			return nil, err
		}
		o := postgres.Options{Tables: m.Tables(), Joined: m.Joined(), Erasing: m.Erasing(), Generation: m.Generation, Logger: log}
		if s != nil {
			o.Memory = memory{s, m.Source}
			o.Accepted = func(ctx context.Context) ([]string, error) { return s.AcceptedFindings(ctx, m.Source) }
			o.UseUp = func(ctx context.Context, codes []string) error { return s.UseUpFindings(ctx, m.Source, codes) }
		}
		return reader(postgres.New(c, o))
	case "kafka", "nats", "rabbitmq":
		return openBus(m, production, log)
	}
	return nil, fmt.Errorf("type %q is unknown; use postgres, kafka, nats or rabbitmq", m.Type)
}

// reader keeps a nil pointer from becoming a Reader.
func reader[R watch.Reader](r R, err error) (watch.Reader, error) {
	if err != nil {
		return nil, err
	}
	return r, nil
}

// memory is what one source's reader remembers.
type memory struct {
	store  *store.Store
	source string
}

// Recall implements postgres.Memory.
func (m memory) Recall(ctx context.Context) ([]byte, error) {
	return m.store.Recall(ctx, m.source, "reader")
}

// Remember implements postgres.Memory.
func (m memory) Remember(ctx context.Context, note []byte) error {
	return m.store.Remember(ctx, m.source, "reader", note)
}
