package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/arauto/arauto/internal/api"
	"github.com/arauto/arauto/internal/api/bank"
	"github.com/arauto/arauto/internal/api/ops"
	"github.com/arauto/arauto/internal/api/status"
	"github.com/arauto/arauto/internal/config"
	"github.com/arauto/arauto/internal/connlimit"
	"github.com/arauto/arauto/internal/evidence"
	"github.com/arauto/arauto/internal/lifecycle"
	"github.com/arauto/arauto/internal/metrics"
	"github.com/arauto/arauto/internal/mtls"
	"github.com/arauto/arauto/internal/receipt"
	"github.com/arauto/arauto/internal/spool"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/openapi"
)

// listener is one address we answer on.
type listener struct {
	name   string
	server *http.Server
	wrap   func(net.Listener) net.Listener // TLS of its own; nil: the server's, if any
	limit  connlimit.Listener              // of connections; its listener and figures come with the start
	leave  atomic.Bool                     // each answer is its connection's last
	net    net.Listener
}

// listen makes the handlers and servers of all listeners; none is opened yet.
func (g *Gateway) listen(schemas *openapi.Schemas) error {
	cfg := g.cfg
	g.internal = bank.NewInternal(bank.InternalConfig{
		Tokens: g.trust.Bearer(), Changes: g.intake, History: g.auditlog, Resender: g.auditlog, Quarantine: g.store, Initiators: g.registry,
		Audited: audited{g.auditlog}, Exports: g.auditlog, Holds: g.auditlog, Readings: g.auditlog, Clock: g.auditlog, Figures: g.auditlog, Polling: g.auditlog, Finder: g.auditlog, Operation: operating{g},
		Requests: g.auditlog, Checks: g.auditlog, Settings: nowInForce{g}, FourEyes: fourEyes(cfg),
		Sources: g.sources, Calendar: g.trust, ResendEnabled: cfg.Resend.Enabled, Observer: metrics.HTTPObserver{Metrics: g.metrics}, Log: g.log,
		Version: g.version, Holder: evidence.Party{LegalName: cfg.Holder.LegalName, OrganisationID: cfg.InstitutionID()}, Brands: cfg.BrandList(),
		Prober: prober{g.sender}, Verifications: verifications{g.auditlog, g.sealer, g.verifier}, Calls: calls{g.auditlog, cfg.Organisations()},
		TempDir:  cfg.StateDir,
		Answers:  g.store.Answers,
		Tiles:    g.openTiles,
		Unread:   g.receipts.Unread,
		Tampered: g.tamperedRead,
	})
	var tlsConfig *tls.Config
	if g.trust.Internal != nil {
		tlsConfig = mtls.InternalServerConfig(g.trust.Internal)
	}
	internal := api.NewServer(withDocs(g.internal), tlsConfig, g.log)
	internal.Addr = cfg.Internal.Addr
	connlimit.TurnAway(internal, func(r *http.Request) {
		if bank.TakesChanges(r) {
			g.receipts.Unread("connections")
		}
	})

	polls, err := g.openSpool()
	if err != nil {
		return &config.Error{Problems: []string{stateProblem(err)}}
	}
	g.polls = polls
	var outgoing *openapi.Schemas
	if cfg.Public.Validate {
		outgoing = schemas
	}
	answers := status.PublicConfig{
		Outgoing: outgoing, Versions: cfg.DeclaredVersions(), Resources: g.store, Polls: polls,
		Timers: cfg.Timed(), Limits: status.Limits{Rate: cfg.Public.MaxRate, Waiting: cfg.Extension.MaxWaiting}, Extension: g.extension(),
		Observer: metrics.HTTPObserver{Metrics: g.metrics}, PublicObserver: metrics.PollObserver{Metrics: g.metrics}, Log: g.log,
	}
	if err := g.answering(&answers); err != nil {
		return err
	}
	if g.public, err = status.NewPublic(answers); err != nil {
		return err
	}
	shakes := &mtls.Handshakes{Most: g.files.handshakes, PerAddress: perAddress(cfg, g.files.handshakes), MadeRoom: g.metrics.Turned.WithLabelValues("public").Inc}
	public := g.public.Server(g.trust.ServerConfig())
	public.Addr = cfg.Public.Addr
	g.trust.Guard(public, shakes)
	public.Handler = g.public.WaitOutside(public.Handler)

	platform := api.NewServer(ops.Handler(g.ready, g.metrics.Handler()), nil, g.log)
	platform.Addr = cfg.Ops.Addr
	pages, err := g.consoleListeners()
	if err != nil {
		return err
	}
	g.listeners = append(pages, []*listener{
		{
			name: "public", server: public, wrap: func(l net.Listener) net.Listener { return g.trust.ShakeHands(shakes, l, public.TLSConfig) },
			limit: connlimit.Listener{Most: g.files.public, Room: shakes.MakeRoom, Last: make(chan struct{}, 1)},
		},
		{name: "internal", server: internal, limit: connlimit.Listener{Most: g.files.internal, Overflow: overflow}},
		{name: "ops", server: platform, limit: connlimit.Listener{Most: opsConnections, Evict: true}},
	}...)
	return nil
}

// perAddress is how many unfinished handshakes one source address may have on the public listener.
func perAddress(cfg *config.Config, most int) int {
	if n := cfg.Public.HandshakesPerAddress; n > 0 {
		return n
	}
	return max(1, most/2)
}

// openListeners opens the address of every listener, or none.
func (g *Gateway) openListeners(ctx context.Context) error {
	for _, l := range g.listeners {
		n, err := openAddress(ctx, l.name, l.server.Addr)
		if err != nil {
			g.closeListeners()
			return err
		}
		l.limit.Listener, l.net = n, &l.limit
		l.server.Handler = l.closeOnDrain(l.server.Handler)
		open := g.metrics.Open.WithLabelValues(l.name)
		l.limit.Open, l.limit.Turned = func(n int) { open.Set(float64(n)) }, g.metrics.Turned.WithLabelValues(l.name).Inc
		if l.name == "internal" {
			l.limit.Cut = func() { g.receipts.Unread("connections") }
		}
		g.log.Info("listening", "listener", l.name, "address", n.Addr().String(), "tls", l.server.TLSConfig != nil)
	}
	return nil
}

// openAddress opens the address of a listener. The error is a *config.Error.
func openAddress(ctx context.Context, name, addr string) (net.Listener, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err == nil {
		return l, nil
	}
	cure := "name an address of this machine and a free port"
	if errors.Is(err, syscall.EADDRINUSE) {
		cure = "stop what listens there, or name another port"
	}
	return nil, &config.Error{Problems: []string{fmt.Sprintf("%s.addr (%s): %v; %s", name, config.EnvName(name+".addr"), err, cure)}}
}

// serveAll answers on the open listeners.
func (g *Gateway) serveAll(context.Context) error {
	for _, l := range g.listeners {
		go func() {
			if err := l.serve(); !errors.Is(err, http.ErrServerClosed) {
				g.fail(fmt.Errorf("listener %s: %w", l.name, err))
			}
		}()
	}
	return nil
}

func (l *listener) serve() error {
	switch {
	case l.wrap != nil:
		return l.server.Serve(l.wrap(l.net))
	case l.server.TLSConfig != nil:
		return l.server.ServeTLS(l.net, "", "")
	}
	return l.server.Serve(l.net)
}

// closeListeners closes every listener, with the connections that are still open.
func (g *Gateway) closeListeners() {
	for _, l := range g.listeners {
		_ = l.server.Close()
		if l.net != nil {
			_ = l.net.Close()
		}
	}
}

// Addr is the address a listener got: "public", "internal", "console" or "ops".
func (g *Gateway) Addr(name string) string {
	for _, l := range g.listeners {
		if l.name == name && l.net != nil {
			return l.net.Addr().String()
		}
	}
	return ""
}

// drainGrace is how long initiators' kept connections have for one more query, which is told that it was the last: one that
// is closed while a query is on its way costs its sender a repetition (cases R5).
const drainGrace = time.Second

// closeOnDrain makes each answer its connection's last while the listener is being left.
func (l *listener) closeOnDrain(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if l.leave.Load() {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

// stopListeners ends the public and the internal one: what is being answered is answered. The ops listener closes later, so
// that readiness can be seen to be false. It returns a *lifecycle.LateError that names those whose callers did not get their answer.
func (g *Gateway) stopListeners(ctx context.Context) error {
	var closing lifecycle.Loops
	for _, l := range g.listeners {
		if l.name != "ops" {
			closing.Start("listener "+l.name, func() { l.shutDown(ctx) })
		}
	}
	return closing.Wait(ctx)
}

func (l *listener) shutDown(ctx context.Context) {
	if l.name == "public" {
		l.leave.Store(true)
		leaving, cancel := context.WithTimeout(ctx, drainGrace)
		l.limit.Wait(leaving)
		cancel()
	}
	if err := l.server.Shutdown(ctx); err != nil {
		_ = l.server.Close()
	}
}

// spools is how many replicas may share one state folder.
const spools = 64

// openSpool takes the first spool below the state folder that no other replica holds.
func (g *Gateway) openSpool() (*spool.Spool, error) {
	return firstFree("spool", func(name string) (*spool.Spool, error) {
		return spool.Open(spool.Config{Store: g.store, Dir: g.cfg.File(name), Log: g.log, Observer: metrics.PollObserver{Metrics: g.metrics}})
	})
}

// openReceipts does the same for what is remembered of refused changes.
func (g *Gateway) openReceipts() (*receipt.Book, error) {
	return firstFree("receipts", func(name string) (*receipt.Book, error) {
		return receipt.Open(receipt.Config{Store: g.store, Dir: g.cfg.File(name), NewID: store.NewID, Log: g.log, Observer: g.metrics})
	})
}

// firstFree opens the first of the folders name, name-2, … that no other replica holds: replicas on one machine need no
// setting that tells them apart (contract, "Listeners").
func firstFree[T any](name string, open func(name string) (T, error)) (T, error) {
	for n := 1; ; n++ {
		folder := name
		if n > 1 {
			folder = fmt.Sprintf("%s-%d", name, n)
		}
		taken, err := open(folder)
		if n == spools || !errors.Is(err, syscall.EWOULDBLOCK) {
			return taken, err
		}
	}
}
