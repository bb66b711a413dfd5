package sources

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/arauto/arauto/internal/brand"
	"github.com/arauto/arauto/internal/config"
	"github.com/arauto/arauto/internal/intake"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/watch"
)

// RowJudge is what decides about the changes and registrations that a mapping makes, as serve does.
type RowJudge struct {
	Schema       intake.Schema
	Tell         bool                           // documents that do not conform are told (schema.nonconforming)
	Brands       brand.List                     // of the deployment
	Registration func(watch.Registration) error // a *registry.Invalid, or why it cannot be judged; nil: none is judged
}

// triedRows is how many of the newest rows of a table are looked at, until each of its mappings has one that it does not pass
// over.
const triedRows = 50

// toldProblems bounds how many problems of one row are told.
const toldProblems = 5

// TriedRevision is the revision of a row that is tried or explained: no position in a log is as high, so that it is newer than
// all that is stored of the mapping's generation.
const TriedRevision = 1<<48 - 1

// Try maps the newest rows of the followed tables, and judges what comes of them as serve would. It returns a line for each
// mapping, which begins with WARNING if its newest row would go to quarantine, or be told with a document that does not conform, and
// another one if older ones of the newest rows would go to quarantine. Nothing is changed, and no line has a value of a
// row. Origins that keep no rows, and those that Examine finds fault with, have no line.
func Try(ctx context.Context, cfg *config.Config, judge RowJudge) (lines []string) {
	mappings, _ := readMappings(cfg) // Examine reports the error
	for _, m := range mappings {
		r, err := OpenReader(m, cfg.Profile == config.Production, nil, slog.New(slog.DiscardHandler))
		if err != nil {
			continue
		}
		if s, keeps := r.(watch.Sampler); keeps {
			for _, table := range m.Tables() {
				t := trial{Mapping: m, table: table, judge: judge, tried: map[string]bool{}, paths: map[string]*jsonPaths{}, older: map[string]*refusals{}}
				lines = append(lines, t.run(ctx, r, s)...)
			}
		}
		r.Close()
	}
	return lines
}

// trial tries the mappings of one table.
type trial struct {
	*watch.Mapping
	table string
	judge RowJudge

	keys  []string // of the table's mappings
	tried map[string]bool
	paths map[string]*jsonPaths // of each mapping
	older map[string]*refusals  // of each mapping, by rows that are not its newest
	lines []string
}

// refusals are why rows would go to quarantine.
type refusals struct {
	rows     int
	problems []notice.Problem // each once
}

func (r *refusals) add(problems []notice.Problem) {
	r.rows++
	for _, p := range problems {
		if !slices.Contains(r.problems, p) {
			r.problems = append(r.problems, p)
		}
	}
}

// jsonPaths are the expressions of a mapping that look into JSON, as the newest rows answer them.
type jsonPaths struct {
	rows  int
	steps []watch.Step // each once
	found map[string]bool
}

func (p *jsonPaths) add(steps []watch.Step) {
	p.rows++
	for _, s := range steps {
		if !s.Inside {
			continue
		}
		if !slices.ContainsFunc(p.steps, func(known watch.Step) bool { return known.Key == s.Key }) {
			p.steps = append(p.steps, s)
		}
		p.found[s.Key] = p.found[s.Key] || !s.Null()
	}
}

// empty lists the expressions that no row has answered.
func (p *jsonPaths) empty() (all []string) {
	for _, s := range p.steps {
		if !p.found[s.Key] {
			all = append(all, s.Key+" ("+s.Expression+")")
		}
	}
	return all
}

func (t *trial) run(ctx context.Context, r watch.Reader, s watch.Sampler) []string {
	ctx, cancel := context.WithTimeout(ctx, examineWithin)
	defer cancel()
	rows, err := s.Newest(ctx, t.table, triedRows)
	switch {
	case err != nil:
		t.tell("", "the mapping was not tried with a row: %v", err)
		return t.lines
	case len(rows) == 0:
		t.tell("", "has no row, so the mapping was not tried against the schema")
		return t.lines
	}
	for _, row := range rows {
		rec := watch.SourceRecord{Table: t.table, Op: watch.Update, Revision: TriedRevision, Position: "check", CommittedAt: time.Now().UTC(), Values: row}
		made, err := t.Explain(ctx, r.Find, rec)
		if err != nil && len(t.keys) > 0 && len(t.tried) == len(t.keys) {
			break // the rows before it were enough
		}
		if err != nil {
			t.tell("", "the mapping was not tried with a row: %v", err)
			return t.lines
		}
		for i := range made {
			t.one(&made[i])
		}
	}
	for _, key := range t.keys {
		if o := t.older[key]; o != nil {
			t.tell("WARNING ", "%s: of the newest rows (%d), %d more would go to quarantine: %s", key, len(rows), o.rows, listed(o.problems))
		}
		if !t.tried[key] {
			t.tell("", "%s passes over the newest %d rows, and was not tried against the schema", key, len(rows))
		} else if p := t.paths[key]; len(p.empty()) > 0 {
			t.tell("", "%s: null in each of the newest rows (%d) that it takes, so make sure of the names: %s", key, p.rows, strings.Join(p.empty(), ", "))
		}
	}
	return t.lines
}

// one judges what one mapping makes of a row, unless it was tried before or passes the row over, and notes what it finds in JSON.
func (t *trial) one(x *watch.RecordExplanation) {
	if !slices.Contains(t.keys, x.Key) {
		t.keys = append(t.keys, x.Key)
	}
	if x.Skipped != "" {
		return
	}
	if t.paths[x.Key] == nil {
		t.paths[x.Key] = &jsonPaths{found: map[string]bool{}}
	}
	t.paths[x.Key].add(x.Steps)
	if t.tried[x.Key] {
		if refused, _, err := t.judge.Problems(t.Source, &x.Mapped); err == nil && len(refused) > 0 {
			if t.older[x.Key] == nil {
				t.older[x.Key] = &refusals{}
			}
			t.older[x.Key].add(refused)
		}
		return
	}
	t.tried[x.Key] = true
	refused, nonconforming, err := t.judge.Problems(t.Source, &x.Mapped)
	switch {
	case err != nil:
		t.tell("", "%s: the newest row was not judged: %v", x.Key, err)
	case len(refused) > 0:
		t.tell("WARNING ", "%s: the newest row would go to quarantine: %s", x.Key, listed(refused))
	case len(nonconforming) > 0:
		t.tell("WARNING ", "%s: the newest row would be told, and listed as non-conforming: %s", x.Key, listed(nonconforming))
	default:
		t.tell("", "%s: the newest row fits", x.Key)
	}
}

// listed writes the first problems of a row.
func listed(problems []notice.Problem) string {
	var told []string
	for _, p := range problems[:min(len(problems), toldProblems)] {
		told = append(told, strings.TrimSpace(fmt.Sprintf("%s %s: %s", p.Pointer, p.Code, p.Detail)))
	}
	if more := len(problems) - len(told); more > 0 {
		told = append(told, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(told, "; ")
}

func (t *trial) tell(level, format string, args ...any) {
	t.lines = append(t.lines, fmt.Sprintf("%ssource %s: %s: ", level, t.Source, t.table)+fmt.Sprintf(format, args...))
}

// Problems returns why what a mapping made of a row would go to quarantine (refused), or what its document does not conform in where it
// would be told all the same; none if it fits. The error says why that could not be judged.
func (j RowJudge) Problems(source string, made *watch.Mapped) (refused, nonconforming []notice.Problem, err error) {
	switch {
	case len(made.Problems) > 0:
		return made.Problems, nil, nil
	case made.Registration != nil && j.Registration != nil:
		err := j.Registration(*made.Registration)
		if problems := refusalsOf(err); problems != nil {
			return problems, nil, nil
		}
		return nil, nil, err
	case made.Line == nil:
		return nil, nil, nil
	}
	c, err := intake.New(intake.Config{Brands: j.Brands, Schema: j.Schema, NewID: store.NewID, TellNonconforming: j.Tell}).Read(made.Line, intake.Origin{Source: source})
	if wrong := (*intake.LineError)(nil); errors.As(err, &wrong) {
		return []notice.Problem{{Pointer: wrong.Pointer, Code: wrong.Code, Detail: wrong.Detail}}, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	return c.Problems, c.Nonconforming, nil
}
