// Package gateway is the whole: it reads the configuration, wires the packages together and gives the process its life
// cycle. A test or the demo starts the same Gateway as the command serve.
//
// Wiring goes straight down in New: database, keys and certificates, what decides (intake, registry), what sends
// (webhook, dispatch), what answers (api), what watches over all of it (readiness, metrics, housekeeping). Everything
// that can be wrong is said before a listener opens.
//
// Start opens the listeners and begins to work. Stop, or the end of Run's context, drains: readiness turns false at
// once, nothing more is claimed, streams end after the line they are on, attempts under way end by themselves, their
// outcomes are stored, and what was accepted is committed; all within 20 s (contract, "Listeners").
package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/arauto/arauto/internal/api/bank"
	"github.com/arauto/arauto/internal/api/ops"
	"github.com/arauto/arauto/internal/api/status"
	"github.com/arauto/arauto/internal/config"
	"github.com/arauto/arauto/internal/console"
	"github.com/arauto/arauto/internal/dispatch"
	"github.com/arauto/arauto/internal/events"
	"github.com/arauto/arauto/internal/intake"
	"github.com/arauto/arauto/internal/lifecycle"
	"github.com/arauto/arauto/internal/metrics"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/receipt"
	"github.com/arauto/arauto/internal/reconcile"
	"github.com/arauto/arauto/internal/registry"
	"github.com/arauto/arauto/internal/seal"
	"github.com/arauto/arauto/internal/spool"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/store/auditlog"
	"github.com/arauto/arauto/internal/trust"
	"github.com/arauto/arauto/internal/watch/sources"
	"github.com/arauto/arauto/internal/webhook"
	"github.com/arauto/arauto/openapi"
)

// DrainTimeout is how long a replica may take to go away after it was asked to (contract, "Listeners": 20 s).
const DrainTimeout = 20 * time.Second

// Gateway is one replica.
type Gateway struct {
	cfg     *config.Config
	log     *slog.Logger
	version string
	began   time.Time
	metrics *metrics.Metrics
	ready   *ops.Readiness

	store      *store.Store
	auditlog   *auditlog.Log // over the store's connections
	intake     *intake.Intake
	dispatcher *dispatch.Dispatcher
	sender     *webhook.Sender
	registry   *registry.Registry
	sources    *sources.Set // what is followed

	internal  *bank.Internal
	public    *status.Public
	polls     *spool.Spool
	receipts  *receipt.Book // changes that came and were not stored
	trust     *trust.Trust
	sealer    *seal.Sealer // proves the history
	listeners []*listener
	console   *console.Console // nil: there is none
	files     descriptors
	signers   *signerStates // of keys in other processes

	daily    *reconcile.Reconciler // looks whether the history is complete
	verifier *seal.SelfVerifier    // looks whether the log is what was signed
	events   *events.Monitor       // tells operators of troubles
	starts   *startLog             // what this replica runs with; nil while files are read for the first time
	reached  bool                  // the database answered at the start
	joined   atomic.Bool           // the database has noted that this replica works on it
	named    time.Time             // when the log named a fault of the database last; used by measure alone

	putAside   atomic.Pointer[[]notice.CaseCount] // what the quarantine held when it was last counted; nil: it was not yet
	watchEvery time.Duration                      // how often files are looked at; 0: mtls.WatchEvery

	work        context.Context // ends: no new work is taken
	stop        context.CancelFunc
	background  context.Context // ends: background tasks stop
	end         context.CancelFunc
	parts       lifecycle.Parts
	drainWithin time.Duration
	drain       sync.Once
	drained     error // what Stop returns
	failed      chan error
}

// New checks everything that can be checked and wires the product together; nothing listens and nothing is sent yet.
// The error of wrong settings, files or certificates is a *config.Error. The database need not be there.
func New(ctx context.Context, cfg *config.Config, version string, log *slog.Logger) (*Gateway, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.StateDir, 0o700); err != nil {
		return nil, &config.Error{Problems: []string{stateProblem(err)}}
	}
	g := &Gateway{cfg: cfg, log: log, version: version, began: time.Now(), metrics: metrics.New(version), drainWithin: DrainTimeout, failed: make(chan error, 1)}
	g.work, g.stop = context.WithCancel(context.WithoutCancel(ctx))
	g.background, g.end = context.WithCancel(context.WithoutCancel(ctx))
	if cfg.Profile == config.Development {
		log.Warn("profile development: inside addresses, shortened times and unsafe databases are allowed; not for production")
	}
	g.signers = &signerStates{metrics: g.metrics, log: log}
	var err error
	if g.files, err = share(openFiles(), slots(cfg)); err != nil {
		return nil, err
	}
	if err := checkProvider(cfg); err != nil {
		return nil, err
	}
	if g.trust, err = trust.Load(cfg, log, trustEvents{g.metrics, g}); err != nil {
		return nil, err
	}
	if g.store, err = store.Open(ctx, store.Options{
		URL: cfg.Database.URL, PasswordFile: cfg.Database.PasswordFile, Replica: cfg.Replica, Version: version, Warm: true, Log: log,
	}); err != nil {
		return nil, &config.Error{Problems: []string{databaseProblem(err)}}
	}
	g.auditlog = auditlog.New(g.store.Access())
	g.auditlog.NameBrands(cfg.BrandList())
	g.starts = newStartLog(g)
	if err := g.wire(); err != nil {
		g.abandon()
		return nil, err
	}
	return g, nil
}

// abandon closes what a wiring that failed has made.
func (g *Gateway) abandon() {
	if g.sender != nil {
		g.sender.Close()
	}
	if g.receipts != nil {
		_ = g.receipts.Close() // what it holds is in its file
	}
	if g.polls != nil {
		_ = g.polls.Close() // as above
	}
	g.trust.Close()
	g.store.Close()
}

// loadSchemas builds the schemas that the settings choose, from our own documents. It is a variable because
// tests start many gateways in one process, and each would read the documents anew.
var loadSchemas = func(cfg *config.Config) (*openapi.Schemas, error) {
	return openapi.Load(openapi.KeepUnknown(cfg.Schema.UnknownMembers == "keep"), openapi.Declare(cfg.DeclaredVersions()))
}

// wire makes the parts and connects them.
func (g *Gateway) wire() error {
	cfg := g.cfg
	schemas, err := loadSchemas(cfg)
	if err != nil {
		return fmt.Errorf("load our own API documents: %w", err)
	}
	if g.events, err = g.newMonitor(); err != nil {
		return err
	}
	g.metrics.GivenUp = g.events.GivenUp
	allow, _ := cfg.Allowed() // judged by Check
	guard := webhook.NewGuard(allow, cfg.Webhook.AllowPorts)
	g.sender = webhook.New(webhook.Config{
		Brands: holders(g.trust.Brands), Roots: g.trust.Roots, Checks: g.trust.Checks(), Guard: guard, Resolver: cfg.Webhook.Resolver,
		Timeout: cfg.Webhook.Timeout, Lease: cfg.Dispatch.Lease, Version: g.version, Connections: g.files.outbound,
		ASHeaders: cfg.Webhook.ASHeaders, Observer: wire{g.metrics, g.trust},
	})
	g.dispatcher, err = dispatch.New(lanesOfBrands{g.store, cfg.BrandList()}, g.sender, dispatch.Config{
		Slots: slots(cfg), Timeout: cfg.Webhook.Timeout, Lease: cfg.Dispatch.Lease, DrainTimeout: DrainTimeout - 3*time.Second,
	}, g.log, g.metrics)
	if err != nil {
		return err
	}
	if g.receipts, err = g.openReceipts(); err != nil {
		return &config.Error{Problems: []string{stateProblem(err)}}
	}
	optional, _ := config.ParseKinds(cfg.Announce.DirectAuthorised) // judged by Check
	g.intake = intake.New(intake.Config{
		Store: g.store, Schema: schemas, NewID: store.NewID, Observer: g.metrics, Traces: g.receipts, Log: g.log,
		Wake:               g.waker(cfg.BrandList()),
		Behind:             g.dispatcher.Behind,
		Brands:             cfg.BrandList(),
		Slots:              g.dispatcher,
		OptionalAuthorised: optional, Timers: cfg.Timed(), TellNonconforming: cfg.TellNonconforming(), MaxInFlight: cfg.Ingest.MaxInFlight,
	})
	register := registry.Config{
		Store: registrations{g.store, g.sender}, Log: g.log, AllowPorts: cfg.Webhook.AllowPorts, Development: cfg.Profile == config.Development, AllowNetworks: allow,
	}
	register.Brands, register.BrandStatements = cfg.BrandList(), verifiers(g.trust.Brands)
	if g.registry, err = registry.New(register); err != nil {
		return err
	}
	if g.sources, err = sources.Open(cfg, sources.Config{
		Intake: g.intake, Store: g.store, Registry: g.registry, Observer: g.metrics.Sources, Storable: g.storable, Log: g.log,
	}); err != nil {
		return err
	}
	g.metrics.Follow(g.sources)
	log := metrics.NewSealObserver(g.metrics.Registry, time.Now())
	if g.sealer, err = seal.New(cfg, g.auditlog, g.log, log); err != nil {
		return err
	}
	log.Bear(g.sealer.Anchors())
	witnesses, demanded := g.sealer.Witnesses()
	log.BearWitnesses(witnesses, demanded, time.Now())
	log.BearPlaces(g.sealer.Places(), time.Now())
	log.Tampering = g.events.Tampered
	log.Signing = func(took time.Duration, err error) { g.signers.signed(keyLog, took, err) }
	if g.sealer.RemoteKey() {
		g.metrics.BearSigner(keyLog, time.Now())
	}
	for _, brand := range g.trust.RemoteBrands() {
		g.metrics.BearSigner(answersOf(brand), time.Now())
	}
	g.verifier = seal.NewVerifier(cfg, g.auditlog, g.sealer.LogKey, g.log, log)
	g.daily = newDaily(cfg, g.auditlog, g.log, g.metrics)
	g.ready = &ops.Readiness{Checks: g.checks(), Notes: g.notes}
	if err := g.listen(schemas); err != nil {
		return err
	}
	g.parts = g.lifecycle()
	return nil
}

// notes are what /readyz tells operators though it keeps nobody from working.
func (g *Gateway) notes() []string {
	return slices.Concat(g.trust.Notes(time.Now()), g.faultNotes(false), g.sources.Notes(), g.sealer.Notes(false), g.verifier.Notes(false), g.signers.notes())
}

// checks are what must be usable for readiness.
func (g *Gateway) checks() []ops.Condition {
	checks := []ops.Condition{
		{Name: "database", Ask: g.checkDatabase},
		{Name: "certificates", Ask: func(context.Context) error { return g.trust.Ready(time.Now()) }},
		{Name: "keys", Ask: func(context.Context) error { return g.trust.KeysReady() }},
		{Name: "spool", Ask: func(context.Context) error { return g.polls.Ready() }},
		{Name: "listeners", Ask: func(context.Context) error {
			for _, l := range g.listeners {
				if l.net == nil {
					return fmt.Errorf("%s is not open yet", l.name)
				}
			}
			return nil
		}},
	}
	if g.cfg.Watch.Readiness > 0 {
		checks = append(checks, ops.Condition{Name: "sources", Ask: func(context.Context) error { return g.sources.Lagging(g.cfg.Watch.Readiness) }})
	}
	return checks
}

func (g *Gateway) checkDatabase(ctx context.Context) error {
	f, err := judgeDatabase(ctx, g.store, g.cfg.Profile)
	if err == nil {
		g.metrics.Skew.Set(f.Skew.Seconds())
	}
	return err
}

// judgeDatabase says why a replica must not or cannot work on a database. An error that is an ErrUnavailable may pass; any other
// one needs a person. The facts are zero where the server could not be asked.
func judgeDatabase(ctx context.Context, s *store.Store, profile string) (store.ServerFacts, error) {
	have, want, err := s.SchemaVersions(ctx)
	if err != nil {
		return store.ServerFacts{}, err
	}
	if have < want {
		return store.ServerFacts{}, fmt.Errorf("the schema is at version %d and this binary needs %d: run arauto migrate", have, want)
	}
	if err := s.Reach(ctx); err != nil {
		return store.ServerFacts{}, err
	}
	f, err := s.ServerFacts(ctx)
	switch {
	case err != nil:
		return store.ServerFacts{}, err
	case f.Standby:
		return f, errors.New("the server is a read-only standby: point database.url at the primary")
	case f.ReadOnly:
		return f, fmt.Errorf("%w: its sessions are read-only (default_transaction_read_only is on); some servers do this when their disk is full", store.ErrUnavailable)
	case f.Version < 140000:
		return f, fmt.Errorf("PostgreSQL 14 or later is needed, this is %d", f.Version)
	case len(f.Unsafe) > 0 && profile == config.Production:
		return f, fmt.Errorf("acknowledged changes could be lost: %s", strings.Join(f.Unsafe, "; "))
	}
	return f, s.Writable(ctx)
}

// databaseProblem names the setting of the database.
func databaseProblem(err error) string { return "database.url (ARAUTO_DATABASE_URL): " + err.Error() }

// lifecycle lists the parts in the order of their start. A drain goes through them from the end: readiness turns false and no
// new work is taken; callers get their answers; sources hand over what they read; what was accepted is committed and the
// background ends; attempts under way end; and files and connections close.
func (g *Gateway) lifecycle() lifecycle.Parts {
	return slices.Concat(lifecycle.Parts{
		{Name: "database", Start: g.refuse, Release: lifecycle.Always(g.store.Close)},
		g.presence(),
		{Name: "trust", Release: lifecycle.Always(g.trust.Close)},
		{Name: "spool", Release: g.polls.Close},
		{Name: "file of receipts", Release: g.receipts.Close},
		{Name: "connections to receivers", Release: lifecycle.Always(g.sender.Close)},
		{Name: "listeners", Start: g.openListeners, Release: lifecycle.Always(g.closeListeners)},
		{Name: "entry of the start", Start: g.recordStart},
		lifecycle.Loop("dispatch", func() {
			if err := g.dispatcher.Run(g.work); err != nil {
				g.log.Error("attempts ended without a stored outcome; they will be settled as unknown", "error", err)
			}
		}),
		lifecycle.Loop("intake", func() { g.intake.Run(g.background) }),
		lifecycle.Loop("polls", func() { g.polls.Run(g.background) }),
		lifecycle.Loop("receipts", func() { g.receipts.Run(g.background) }),
		lifecycle.Loop("timers", func() { g.intake.RunTimers(g.work, g.store, func(n int) { g.metrics.Timers.Add(float64(n)) }) }),
		lifecycle.Loop("seal", func() { g.sealer.Run(g.background) }),
	}, g.tasks(), lifecycle.Parts{
		{Name: "background", Release: lifecycle.Always(func() { g.end() })}, // intake stores what was accepted and ends
		g.following(),
		{Name: "refused sign-ins", Stop: g.recordRefused},
		{Name: "refused queries", Stop: func(ctx context.Context) error { return g.public.RecordRefused(ctx, true) }},
		{Name: "repeated readings", Stop: func(ctx context.Context) error { return g.internal.RecordRepeated(ctx, true) }},
		{Name: "callers", Start: g.serveAll, Stop: g.stopListeners},
		{Name: "new work", Release: lifecycle.Always(g.leave)},
	})
}

// Start opens the listeners and begins to work. It fails when an address cannot be opened, or when the database
// answers and is one we must not use; a database that does not answer is waited for.
func (g *Gateway) Start(ctx context.Context) error {
	if err := g.parts.Start(ctx); err != nil {
		return err
	}
	if g.files.small() {
		g.log.Warn("limit of open files is low: a burst will delay attempts and refuse callers; raise it (ulimit -n, LimitNOFILE=)", "limit", g.files.limit)
	}
	g.log.Info("started", "version", g.version, "replica", g.cfg.Replica, "profile", g.cfg.Profile, "slots", slots(g.cfg), "open_files", g.files.limit,
		"connections_public", g.files.public, "connections_internal", g.files.internal)
	return nil
}

// refuse looks once whether database and key are those we may run with, and reads the lists that the first handshake needs.
func (g *Gateway) refuse(ctx context.Context) error {
	if err := g.refuseDatabase(ctx); err != nil {
		return err
	}
	if err := g.sealer.Refuse(ctx); err != nil {
		return err
	}
	g.trust.FetchLists(ctx)
	return nil
}

// refuseDatabase looks once whether the database is one we must not run on. One that does not answer is no reason not
// to start: readiness says so until it does.
func (g *Gateway) refuseDatabase(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	err := g.checkDatabase(ctx)
	if err == nil {
		err = judgeBrands(ctx, g.store, g.cfg)
	}
	if err == nil {
		err = g.report(ctx)
	}
	if err == nil {
		g.reached = true
		return nil
	}
	if wrong := (*config.Error)(nil); errors.As(err, &wrong) {
		return err
	}
	if store.CauseOf(err) != store.CauseSession && (errors.Is(err, store.ErrUnavailable) || ctx.Err() != nil) {
		g.log.Error("database does not answer, starting without it", "error", err)
		return nil
	}
	return &config.Error{Problems: []string{databaseProblem(err)}}
}

// Run starts the gateway, works until ctx ends, a listener fails or the replica may not join, and drains.
func (g *Gateway) Run(ctx context.Context) error {
	if err := g.Start(ctx); err != nil {
		_ = g.Stop() // it is in the log
		return err
	}
	var failure error
	select {
	case <-ctx.Done():
	case failure = <-g.failed:
		g.log.Error("stopping", "error", failure)
	}
	_ = g.Stop() // it is in the log
	return failure
}

// fail ends Run with an error; the first one counts.
func (g *Gateway) fail(err error) {
	select {
	case g.failed <- err:
	default:
	}
}

// Stop drains and closes everything, within DrainTimeout. The error says what was lost, and a *lifecycle.LateError in it names the parts
// that did not end; the log says the same. It may be called more than once, and returns the same error.
func (g *Gateway) Stop() error {
	g.drain.Do(func() {
		began := time.Now()
		if g.drained = g.parts.Stop(g.drainWithin); g.drained != nil {
			g.log.Error("drain incomplete, unfinished work was ended", "error", g.drained)
		}
		g.log.Info("stopped", "took", time.Since(began).Round(time.Millisecond).String())
	})
	return g.drained
}

// leave takes no new work: readiness turns false, streams end after the line they are on, nothing more is claimed, no deadline
// fires, and sources read nothing more.
func (g *Gateway) leave() {
	g.ready.Drain()
	g.internal.Drain()
	g.stop()
}

// sourcesEndWithin is how long the drain waits for sources before intake ends: what they handed over until then is committed
// and acknowledged. Their origins send the rest again.
const sourcesEndWithin = 5 * time.Second

// following is the part that follows the sources.
func (g *Gateway) following() lifecycle.Part {
	var all lifecycle.Loops
	return lifecycle.Part{
		Name: "sources",
		Start: func(context.Context) error {
			g.sources.Run(g.work, func(name string, loop func()) { all.Start("source "+name, loop) })
			return nil
		},
		Stop: func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, sourcesEndWithin)
			defer cancel()
			return all.Wait(ctx)
		},
	}
}
