package sources

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/arauto/arauto/internal/config"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/watch"
)

// Examine validates the mapping files, the rights that each origin grants, and whether the mappings fit its tables. It
// changes nothing. Findings are lines for a person; the error is a *config.Error with every problem.
func Examine(ctx context.Context, cfg *config.Config) ([]string, error) {
	s := openMemory(ctx, cfg)
	if s != nil {
		defer s.Close()
	}
	p := &config.Problems{}
	mappings, err := readMappings(cfg)
	p.Take(err)
	var findings []string
	for _, m := range mappings {
		r, err := OpenReader(m, cfg.Profile == config.Production, s, slog.New(slog.DiscardHandler))
		if err != nil {
			addProblems(p, m, err)
			continue
		}
		if examineSource(ctx, p, m, r) {
			findings = append(findings, fmt.Sprintf("source %s: %s, %s", m.Source, m.Type, strings.Join(m.Tables(), ", ")))
		}
		findings = append(findings, remarks(ctx, m, r)...)
		r.Close()
	}
	return findings, p.Err()
}

// ExamineFiles validates the mapping files and the files that they name, and asks nobody. The error is a *config.Error with every
// problem.
func ExamineFiles(cfg *config.Config) error {
	p := &config.Problems{}
	mappings, err := readMappings(cfg)
	p.Take(err)
	for _, m := range mappings {
		r, err := OpenReader(m, cfg.Profile == config.Production, nil, slog.New(slog.DiscardHandler))
		if err != nil {
			addProblems(p, m, err)
			continue
		}
		r.Close()
	}
	return p.Err()
}

// openMemory opens the database in which readers remember where they are; nil when there is none, or when it does not answer.
func openMemory(ctx context.Context, cfg *config.Config) *store.Store {
	if cfg.Database.URL == "" || len(cfg.Watch.Sources) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, memoryWithin)
	defer cancel()
	s, err := store.Open(ctx, store.Options{URL: cfg.Database.URL, PasswordFile: cfg.Database.PasswordFile, Replica: "check"})
	if err != nil {
		return nil
	}
	if have, want, err := s.SchemaVersions(ctx); err != nil || have < want {
		s.Close()
		return nil
	}
	return s
}

// How long arauto check waits for an answer.
const (
	memoryWithin  = 5 * time.Second  // of our database
	examineWithin = 15 * time.Second // of an origin
)

// examineSource adds the problems of one source; true when there are none.
func examineSource(ctx context.Context, p *config.Problems, m *watch.Mapping, r watch.Reader) bool {
	ctx, cancel := context.WithTimeout(ctx, examineWithin)
	defer cancel()
	before := len(p.List)
	for _, err := range r.Check(ctx) {
		addProblems(p, m, err)
	}
	columns, err := r.Describe(ctx, slices.Concat(m.Tables(), m.Joined()))
	switch {
	case err != nil && len(p.List) == before: // else that says why already
		addProblems(p, m, err)
	case err == nil && columns != nil:
		for _, f := range m.Check(columns) {
			p.List = append(p.List, f.String())
		}
	}
	return len(p.List) == before
}

// remarks returns what an operator should know of a source's origin, as lines. None of them keeps serve from starting.
func remarks(ctx context.Context, m *watch.Mapping, r watch.Reader) (lines []string) {
	remarker, tells := r.(watch.Remarker)
	if !tells {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, examineWithin)
	defer cancel()
	for _, remark := range remarker.Remarks(ctx) {
		line := fmt.Sprintf("source %s: %s", m.Source, remark.Text)
		if remark.Warning {
			line = "WARNING " + line
		}
		lines = append(lines, line)
	}
	return lines
}
