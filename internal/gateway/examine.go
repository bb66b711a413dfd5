package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/arauto/arauto/internal/brand"
	"github.com/arauto/arauto/internal/config"
	"github.com/arauto/arauto/internal/events"
	"github.com/arauto/arauto/internal/registry"
	"github.com/arauto/arauto/internal/seal"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/store/auditlog"
	"github.com/arauto/arauto/internal/trust"
	"github.com/arauto/arauto/internal/watch"
	"github.com/arauto/arauto/internal/watch/sources"
)

// Scope is how far Examine looks.
type Scope int

// The scopes.
const (
	Whole   Scope = iota // everything that serve does before it serves
	Running              // the same, but for the addresses of the listeners: a replica with these settings runs here
	Offline              // settings and the files that they name alone: no database, no other host, no address, no state folder
)

// Examined is what Examine found. Each text is a line for a person.
type Examined struct {
	Findings  []string // facts and warnings
	NotReady  []string // serve would start, and readiness would be false
	Unchecked []string // what was not tried, and what tries it
}

// Examine tries everything that serve does before it serves, and changes nothing. The error is a *config.Error with every problem
// that would keep serve from starting.
func Examine(ctx context.Context, cfg *config.Config, now time.Time, scope Scope) (*Examined, error) {
	e := &examination{cfg: cfg, scope: scope}
	e.problems.Take(cfg.Check())
	e.find("API versions in force: %s", strings.Join(cfg.DeclaredVersions().InForce(), ", "))
	e.trust(ctx, now)
	_, err := share(openFiles(), slots(cfg))
	e.problems.Take(err)
	e.problems.Take(checkProvider(cfg))
	e.events(ctx)
	e.sources(ctx)
	if scope == Offline {
		_, err := seal.New(cfg, nil, slog.New(slog.DiscardHandler), nil)
		e.problems.Take(err)
	} else {
		e.Findings = append(e.Findings, seal.Findings(ctx, cfg)...)
		e.folder(cfg.StateDir)
		e.anchorFile()
		e.database(ctx)
	}
	if scope == Whole {
		e.addresses(ctx)
	}
	if scope != Offline && len(e.problems.List) == 0 {
		e.rehearse(ctx)
	}
	e.unchecked()
	return &e.Examined, e.problems.Err()
}

// ExamineSources tries the sources of the settings and nothing else: their mapping files, the rights that each origin grants, whether the
// mappings fit its tables, and what would become of the newest rows. The error is a *config.Error with every problem.
func ExamineSources(ctx context.Context, cfg *config.Config) (*Examined, error) {
	e := &examination{cfg: cfg}
	e.sources(ctx)
	return &e.Examined, e.problems.Err()
}

// examination is one run of Examine or ExamineSources.
type examination struct {
	Examined
	cfg        *config.Config
	scope      Scope
	problems   config.Problems
	statements map[brand.Prefix]registry.Statements // of brands whose software statements can be judged
}

func (e *examination) find(format string, args ...any) {
	e.Findings = append(e.Findings, fmt.Sprintf(format, args...))
}

func (e *examination) notReady(format string, args ...any) {
	e.NotReady = append(e.NotReady, fmt.Sprintf(format, args...))
}

// trust reads certificates, keys and lists, and asks the addresses of key sets.
func (e *examination) trust(ctx context.Context, now time.Time) {
	t, err := trust.Load(e.cfg, slog.New(slog.DiscardHandler), nil)
	e.problems.Take(err)
	if err != nil {
		return
	}
	defer t.Close()
	e.statements = verifiers(t.Brands)
	e.Findings = append(e.Findings, t.Findings(ctx, now, e.scope != Offline)...)
	if err := t.Ready(now); err != nil {
		e.notReady("certificates: %v", err)
	}
	if e.scope == Offline && t.RemoteKeys() {
		return // what they hold is not known
	}
	err = t.FetchKeys(ctx)
	if err == nil {
		err = t.KeysReady()
	}
	if err != nil {
		e.notReady("keys: %v", err)
	}
	for _, line := range t.BrandNotes(now) {
		e.find("WARNING %s", line)
	}
}

func (e *examination) events(ctx context.Context) {
	ways, err := events.Ways(e.cfg)
	e.problems.Take(err)
	if err == nil && e.scope != Offline {
		e.Findings = append(e.Findings, events.Try(ctx, ways)...)
	}
}

func (e *examination) sources(ctx context.Context) {
	if e.scope == Offline {
		e.problems.Take(sources.ExamineFiles(e.cfg))
		return
	}
	findings, err := sources.Examine(ctx, e.cfg)
	e.Findings = append(e.Findings, findings...)
	e.problems.Take(err)
	if err != nil || len(e.cfg.Watch.Sources) == 0 {
		return
	}
	schemas, err := loadSchemas(e.cfg)
	if err != nil {
		e.problems.List = append(e.problems.List, fmt.Sprintf("our own API documents: %v", err))
		return
	}
	e.Findings = append(e.Findings, sources.Try(ctx, e.cfg, sources.RowJudge{Schema: schemas, Brands: e.cfg.BrandList(), Tell: e.cfg.TellNonconforming(), Registration: foreseen(e.cfg, e.statements)})...)
}

// foreseen judges a registration that a source tells, as the registry would.
func foreseen(cfg *config.Config, statements map[brand.Prefix]registry.Statements) func(watch.Registration) error {
	allow, _ := cfg.Allowed() // judged by Check
	c := registry.Config{Brands: cfg.BrandList(), BrandStatements: statements, AllowPorts: cfg.Webhook.AllowPorts, Development: cfg.Profile == config.Development, AllowNetworks: allow}
	return func(in watch.Registration) error {
		return registry.ForeseeFollowed(c, in.Client, sources.Registration(in), in.Checked)
	}
}

// folder says whether serve could keep its files: it makes a file of its own and removes it, in the folder or, while that is not
// there, in the one that serve would make it in.
func (e *examination) folder(dir string) {
	err := stateWritable(dir)
	if err != nil {
		e.problems.List = append(e.problems.List, stateProblem(err))
	}
}

// anchorFile warns of an anchor that could not be added to. Serve starts without, and says so.
func (e *examination) anchorFile() {
	if e.cfg.Log.AnchorFile == "" {
		return // it is in the state folder
	}
	if err := appendable(e.cfg.Log.AnchorFile); err != nil {
		e.find("WARNING log.anchor_file: %v; checkpoints would not be kept there", err)
	}
}

// databaseWithin is how long the database has for the questions of an examination.
const databaseWithin = 5 * time.Second

// database reads the key of the log, and asks the database what serve asks before it starts.
func (e *examination) database(ctx context.Context) {
	var kept seal.Store
	s := e.openDatabase(ctx)
	if s != nil {
		defer s.Close()
		kept = auditlog.New(s.Access())
	}
	sealer, err := seal.New(e.cfg, kept, slog.New(slog.DiscardHandler), nil)
	e.problems.Take(err)
	if s == nil || !e.askDatabase(ctx, s) {
		return
	}
	if err == nil && e.cfg.Log.Key != "" {
		e.problems.Take(sealer.Refuse(ctx))
	}
}

func (e *examination) openDatabase(ctx context.Context) *store.Store {
	if e.cfg.Database.URL == "" {
		return nil // Check says so
	}
	s, err := store.Open(ctx, store.Options{URL: e.cfg.Database.URL, PasswordFile: e.cfg.Database.PasswordFile, Replica: "check"})
	if err != nil {
		e.problems.List = append(e.problems.List, databaseProblem(err))
		return nil
	}
	return s
}

// askDatabase tells whether the database is there, with a schema that this binary can use.
func (e *examination) askDatabase(ctx context.Context, s *store.Store) bool {
	ctx, cancel := context.WithTimeout(ctx, databaseWithin)
	defer cancel()
	f, err := judgeDatabase(ctx, s, e.cfg.Profile)
	if err != nil && (errors.Is(err, store.ErrUnavailable) || ctx.Err() != nil) {
		e.notReady("database: %v; serve would wait for it", err)
	} else if err != nil {
		e.problems.List = append(e.problems.List, databaseProblem(err))
	}
	if f.Version == 0 {
		return false
	}
	e.problems.Take(judgeBrands(ctx, s, e.cfg))
	have, want, err := s.SchemaVersions(ctx)
	if err != nil {
		e.notReady("database: %v", err)
		return false
	}
	e.find("database: PostgreSQL %d.%d, schema %d of %d", f.Version/10000, f.Version%10000, have, want)
	e.find("clock: the database's is %s from ours", f.Skew.Round(time.Millisecond))
	if have >= want {
		e.profiles(ctx, s)
	}
	if f.Skew > time.Second || f.Skew < -time.Second {
		e.find("WARNING clock: more than a second apart; check the time service of both machines")
	}
	if e.cfg.Profile != config.Production {
		for _, unsafe := range f.Unsafe {
			e.find("WARNING database: acknowledged changes may be lost: %s", unsafe)
		}
	}
	switch l, err := s.Login(ctx); {
	case err != nil:
		e.find("WARNING database: %v", err)
	case l.Superuser:
		e.find("WARNING database: the login %s is a superuser; give serve one that is a member of %s and nothing more", l.User, store.Role)
	case l.Owner:
		e.find("WARNING database: the login %s owns the schema; give serve one that is a member of %s and nothing more", l.User, store.Role)
	}
	return true
}

// addresses opens the address of each listener and closes it again.
func (e *examination) addresses(ctx context.Context) {
	all := map[string]string{"public": e.cfg.Public.Addr, "internal": e.cfg.Internal.Addr, "ops": e.cfg.Ops.Addr, "console": e.cfg.Console.Addr}
	var open []net.Listener
	for _, name := range []string{"public", "internal", "ops", "console"} {
		if all[name] == "" {
			continue
		}
		l, err := openAddress(ctx, name, all[name])
		e.problems.Take(err)
		if err == nil {
			open = append(open, l) // two settings may name one address
		}
	}
	for _, l := range open {
		_ = l.Close()
	}
}

// rehearse wires the whole gateway as serve does, on an empty state folder, and lets it go: what serve refuses and nothing above
// knows is found here.
func (e *examination) rehearse(ctx context.Context) {
	dir, err := os.MkdirTemp("", "arauto-check-")
	if err != nil {
		e.Unchecked = append(e.Unchecked, fmt.Sprintf("the wiring: %v", err))
		return
	}
	defer func() { _ = os.RemoveAll(dir) }() // it is in the folder for passing files
	cfg := *e.cfg
	cfg.StateDir, cfg.Replica = dir, "check"
	g, err := New(ctx, &cfg, "check", slog.New(slog.DiscardHandler))
	if err != nil {
		e.problems.Take(err)
		return
	}
	_ = g.Stop() // it did nothing
}

// unchecked lists what serve depends on and Examine does not try.
func (e *examination) unchecked() {
	c := e.cfg
	say := func(is bool, text string) {
		if is {
			e.Unchecked = append(e.Unchecked, text)
		}
	}
	say(os.Geteuid() == 0, "what the user of serve may read and write: this is root, who may read and write everything; run check as that user")
	if e.scope == Offline {
		e.Unchecked = append(e.Unchecked, "the database, the addresses of the listeners, the state folder, and everything that is on another host (--offline)")
		say(len(c.Watch.Sources) > 0, "whether the mappings fit the tables of their origins (--offline)")
		return
	}
	say(e.scope == Running, "the addresses of the listeners (--running)")
	say(true, "endpoints of initiators: arauto preflight URL tries one")
	say(c.Log.AnchorURL != "", "log.anchor_url: serve delivers the first checkpoint to it, and its log names a failure")
	say(c.Tokens.IntrospectionURL != "", "tokens.introspection_url: the first status query asks it")
	say(c.Public.OCSP || c.Webhook.OCSP, "OCSP responders: they are asked about each certificate")
	say(c.Console.OIDC.Issuer != "", "console.oidc.issuer: the first sign-in asks it")
	slices.Sort(e.Unchecked)
}
