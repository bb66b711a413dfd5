package gateway

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/arauto/arauto/internal/api"
	"github.com/arauto/arauto/internal/config"
	"github.com/arauto/arauto/internal/intake"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/registry"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/watch"
	"github.com/arauto/arauto/internal/watch/postgres"
)

// sources are what this replica follows, or would, while another one does.
type sources struct {
	store    *store.Store
	registry *registry.Registry
	all      []*source // by name
	upTo     map[string]*progress
	loops    parts // by the source's name
}

// source is one of them.
type source struct {
	*watch.Source
	mapping *watch.Mapping
	reader  watch.Reader
}

// loadMappings reads the mapping files and reports every problem in them.
func loadMappings(cfg *config.Config) ([]*watch.Mapping, error) {
	p := &config.Problems{}
	var all []*watch.Mapping
	names := map[string]string{}
	for _, file := range cfg.Watch.Sources {
		m, err := watch.ReadMapping(file)
		if err != nil {
			takeMapping(p, err)
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

// takeMapping adds the flaws of a mapping, or why its file cannot be read.
func takeMapping(p *config.Problems, err error) {
	var wrong *watch.MappingError
	if !errors.As(err, &wrong) {
		p.Add("watch.sources", "%v", "name a mapping file that can be read", err)
		return
	}
	for _, f := range wrong.Flaws {
		p.List = append(p.List, f.String())
	}
}

// openReader makes the reader of a mapping; it connects to nothing yet. s keeps what the reader must find again; nil: nothing
// does.
func openReader(m *watch.Mapping, production bool, s *store.Store, log *slog.Logger) (watch.Reader, error) {
	switch m.Type {
	case "postgres":
		var c postgres.Config
		if err := m.Settings(&c); err != nil {
			return nil, err
		}
		o := postgres.Options{Tables: m.Tables(), Joined: m.Joined(), Erasing: m.Erasing(), Generation: m.Generation, Logger: log}
		if s != nil {
			o.Memory = memory{s, m.Source}
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

// takeReader adds what is wrong with the settings of a source's origin.
func takeReader(p *config.Problems, m *watch.Mapping, err error) {
	var wrong *watch.MappingError
	if errors.As(err, &wrong) {
		takeMapping(p, wrong)
		return
	}
	for line := range strings.SplitSeq(err.Error(), "\n") {
		p.List = append(p.List, fmt.Sprintf("%s: %s: %s", m.File, m.Type, line))
	}
}

// openSources makes the sources of the settings. None is read yet.
func (g *Gateway) openSources() error {
	mappings, err := loadMappings(g.cfg)
	if err != nil {
		return err
	}
	g.sources = &sources{store: g.store, registry: g.registry, upTo: map[string]*progress{}}
	p := &config.Problems{}
	for _, m := range mappings {
		r, err := openReader(m, g.cfg.Profile == config.Production, g.store, g.log.With("source", m.Source))
		if err != nil {
			takeReader(p, m, err)
			continue
		}
		c := watch.Config{
			Mapping: m, Reader: r, Sink: sink{g.intake}, Storable: g.storable, Control: control{g.store}, Observer: g.sources.progress(m.Source, sourceMetrics{g.metrics.sources}), Log: g.log,
		}
		if m.Registers() {
			c.Registrar = registrar{g.registry, g.store}
		}
		s, err := watch.New(c)
		if err != nil {
			takeReader(p, m, err)
			continue
		}
		g.metrics.sources.bear(m.Source, m.Tables())
		g.sources.all = append(g.sources.all, &source{s, m, r})
	}
	g.metrics.registry.MustRegister(newPassedOver(g.sources))
	return p.Err()
}

// runSources follows what is configured until no new work is taken. It returns when what was read is committed, or will
// be told again.
func (g *Gateway) runSources() {
	for _, s := range g.sources.all {
		g.sources.loops.start(s.mapping.Source, func() {
			s.Run(g.work)
			s.reader.Close()
		})
	}
}

// sourcesEndWithin is how long the drain waits for sources before intake ends: what they handed over is then committed
// and acknowledged. What is not is told again.
const sourcesEndWithin = 5 * time.Second

// waitSources waits until no source hands over anything any more.
func (g *Gateway) waitSources() {
	ctx, cancel := context.WithTimeout(context.Background(), sourcesEndWithin)
	defer cancel()
	if late := g.sources.loops.wait(ctx); len(late) > 0 {
		g.log.Warn("sources did not stop in time, their last records will be read again", "sources", late)
	}
}

// progress is how far a source was read, for readiness: also while nothing is read any more.
type progress struct {
	sourceMetrics
	mu   sync.Mutex
	upTo time.Time // what the core committed until then was read
}

// progress notes a source's lag on its way to the metrics. Until it is told first, the source is as far as it was when this
// replica began.
func (s *sources) progress(name string, m sourceMetrics) *progress {
	p := &progress{sourceMetrics: m, upTo: time.Now()}
	s.upTo[name] = p
	return p
}

// Lag implements watch.Observer.
func (p *progress) Lag(source string, bytes int64, behind time.Duration) {
	if behind >= 0 {
		p.mu.Lock()
		p.upTo = time.Now().Add(-behind)
		p.mu.Unlock()
	}
	p.sourceMetrics.Lag(source, bytes, behind)
}

// lagging says which source is further behind than readiness allows. One that is read elsewhere is that replica's to
// tell; one that was paused on purpose keeps nobody from working.
func (g *Gateway) lagging() error {
	for _, s := range g.sources.all {
		if state := s.Status().State; state == watch.Standby || state == watch.Paused {
			continue
		}
		p := g.sources.upTo[s.mapping.Source]
		p.mu.Lock()
		behind := time.Since(p.upTo)
		p.mu.Unlock()
		if behind > g.cfg.Watch.Readiness+reportsEvery {
			return fmt.Errorf("%s is %s behind", s.mapping.Source, behind.Round(time.Second))
		}
	}
	return nil
}

// reportsEvery is how old a reader's word on its lag may be.
const reportsEvery = 2 * time.Second

// examineSources looks at everything sources need: their files, their origins' rights and places, and whether the mappings
// fit the schemas as they are.
func examineSources(ctx context.Context, cfg *config.Config) ([]string, error) {
	s := rememberedBy(ctx, cfg)
	if s != nil {
		defer s.Close()
	}
	p := &config.Problems{}
	mappings, err := loadMappings(cfg)
	p.Take(err)
	var findings []string
	for _, m := range mappings {
		r, err := openReader(m, cfg.Profile == config.Production, s, slog.New(slog.DiscardHandler))
		if err != nil {
			takeReader(p, m, err)
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

// rememberedBy opens the database in which readers remember where they are, so that check can tell what changed since; nil
// where it does not answer, which examineDatabase tells.
func rememberedBy(ctx context.Context, cfg *config.Config) *store.Store {
	if cfg.Database.URL == "" || len(cfg.Watch.Sources) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, explainWithin)
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

// examineWithin is how long an origin may take to answer arauto check.
const examineWithin = 15 * time.Second

func examineSource(ctx context.Context, p *config.Problems, m *watch.Mapping, r watch.Reader) bool {
	ctx, cancel := context.WithTimeout(ctx, examineWithin)
	defer cancel()
	before := len(p.List)
	for _, err := range r.Check(ctx) {
		takeReader(p, m, err)
	}
	columns, err := r.Describe(ctx, slices.Concat(m.Tables(), m.Joined()))
	switch {
	case err != nil && len(p.List) == before: // else that says why already
		takeReader(p, m, err)
	case err == nil && columns != nil:
		for _, f := range m.Check(columns) {
			p.List = append(p.List, f.String())
		}
	}
	return len(p.List) == before
}

// remarks asks a source's origin for its properties and returns what they mean, as lines. None of them is a reason not to start.
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

// notes are what readers think an operator should see.
func (s *sources) notes() (all []string) {
	for _, one := range s.all {
		if st := one.Status(); st.State == watch.Waiting {
			all = append(all, fmt.Sprintf("source %s: waits, and nothing is acknowledged: %s", st.Source, st.LastError))
		}
		if r, tells := one.reader.(interface{ Health() []string }); tells {
			for _, note := range r.Health() {
				all = append(all, "source "+one.mapping.Source+": "+note)
			}
		}
	}
	return all
}

// sink hands what sources read to intake.
type sink struct{ intake *intake.Intake }

// pending is a change of a source on its way to its commit.
type pending struct{ *intake.Pending }

// Wait implements watch.Pending.
func (p pending) Wait(ctx context.Context) (notice.Verdict, error) {
	a, err := p.Pending.Wait(ctx)
	if errors.Is(err, intake.ErrAlone) {
		err = fmt.Errorf("%w: %w", watch.ErrAlone, err)
	}
	return a.Verdict, err
}

// Submit implements watch.Sink.
func (s sink) Submit(ctx context.Context, line []byte, from watch.Told) (watch.Pending, error) {
	p, err := s.intake.Submit(ctx, line, intake.Origin{Source: from.Source, Actor: actorOf(from.Source), Keep: from.Record, CommittedAt: from.CommittedAt})
	if wrong := (*intake.LineError)(nil); errors.As(err, &wrong) {
		return nil, &watch.Refused{Problems: []notice.Problem{{Pointer: wrong.Pointer, Code: wrong.Code, Detail: wrong.Detail}}}
	}
	if err != nil {
		return nil, err
	}
	return pending{p}, nil
}

// Reject implements watch.Sink.
func (s sink) Reject(ctx context.Context, r watch.Rejected) (watch.Pending, error) {
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
	err := r.registry.Follow(ctx, in.Client, registry.Request{
		OrganisationID: in.OrganisationID, SoftwareID: in.SoftwareID, Name: in.Name, WebhookURIs: &in.WebhookURIs, SoftwareStatement: in.Statement,
	}, in.Checked, actorOf(source))
	invalid := (*registry.Invalid)(nil)
	if !errors.As(err, &invalid) {
		return ownFault(ctx, r.store, err)
	}
	refused := &watch.Refused{}
	for _, p := range invalid.Problems {
		refused.Problems = append(refused.Problems, notice.Problem{Pointer: p.Pointer, Code: p.Code, Detail: p.Detail})
	}
	if len(refused.Problems) == 0 {
		refused.Problems = []notice.Problem{{Pointer: "/webhookUris", Code: string(invalid.Code), Detail: invalid.Description}}
	}
	return refused
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
func (c control) Report(ctx context.Context, s watch.Status) error {
	text, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encode a source's status: %w", err)
	}
	return c.store.ReportSource(ctx, s.Source, s.Reading(), text)
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

var _ api.Sources = (*sources)(nil)
