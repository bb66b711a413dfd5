package gateway

import (
	"context"
	"time"

	"github.com/arauto/arauto/internal/events"
	"github.com/arauto/arauto/internal/lifecycle"
	"github.com/arauto/arauto/internal/logging"
	"github.com/arauto/arauto/internal/reconcile"
)

// tasks lists what goes on in the background and needs no leader: each is harmless when several replicas do it.
func (g *Gateway) tasks() lifecycle.Parts {
	all := lifecycle.Parts{
		lifecycle.Loop("files", func() { g.trust.WatchFiles(g.background, g.watchEvery) }),
		lifecycle.Loop("keys", func() { g.trust.RefreshKeys(g.background) }),
		lifecycle.Loop("revocation", func() { g.trust.RefreshLists(g.background) }),
		g.every("cancel", time.Second, g.cancelEnded()),
		g.every("measure", 5*time.Second, g.measure),
		g.every("quarantine", quarantineEvery, g.measureQuarantine),
		g.every("receivers", receiversEvery, func(ctx context.Context) error { return g.trust.ShareReceivers(ctx, g.store) }),
		g.every("history", time.Hour, g.keepHistory),
		g.every("erase", time.Hour, g.eraseDocuments),
		g.every("reconcile", reconcile.TickEvery, g.daily.Tick),
		g.everyOr("verify", g.verifier.Every(), g.verifier.Asked(), g.verifier.Tick),
		g.every("events", events.Every, g.events.Tick),
		g.every("reconcile-asked", 2*time.Second, g.daily.Asked),
		g.every("requests", 5*time.Second, g.internal.CarryOut),
		g.every("superseded", 10*time.Second, func(ctx context.Context) error { _, err := g.store.CloseSuperseded(ctx); return err }),
		g.every("replaced", 10*time.Second, func(ctx context.Context) error { _, err := g.store.ForgetReplaced(ctx); return err }),
		g.every("replica", 10*time.Second, g.keepReporting),
		g.every("join", time.Second, g.joinLate),
		g.every("exports", time.Second, g.makeExports),
		g.everyOr("start-log", time.Second, g.starts.added, g.starts.write),
		g.every("refusals", 10*time.Second, func(ctx context.Context) error { return g.public.RecordRefused(ctx, false) }),
		g.every("readings", 10*time.Second, func(ctx context.Context) error { return g.internal.RecordRepeated(ctx, false) }),
	}
	if g.sealer.RemoteKey() || len(g.trust.RemoteBrands()) > 0 {
		all = append(all, g.every("signers", trySignersEvery, g.trySigners))
	}
	if g.console != nil {
		all = append(all, g.every("sessions", time.Minute, g.keepSessions))
	}
	if r := &g.cfg.Webhook.RevocationSettings; r.OCSP {
		all = append(all, lifecycle.Loop("renew", func() { g.trust.RenewConnections(g.background, r.OCSPTTL) }))
	}
	return all
}

// every is a part that runs a task at once and then at a distance, until the background ends.
func (g *Gateway) every(name string, distance time.Duration, task func(context.Context) error) lifecycle.Part {
	return g.everyOr(name, distance, nil, task)
}

// everyOr is every, and runs the task also when it is asked for.
func (g *Gateway) everyOr(name string, distance time.Duration, asked <-chan struct{}, task func(context.Context) error) lifecycle.Part {
	return lifecycle.Loop(name, func() {
		tick := time.NewTicker(distance)
		defer tick.Stop()
		var told time.Time // when the log named a failure that goes on
		for {
			switch err := task(g.background); {
			case err == nil:
				told = time.Time{}
			case g.background.Err() == nil && time.Since(told) >= faultNamedEvery:
				told = time.Now()
				g.log.Warn("background task failed, will be retried", "chore", name, "error", err)
			}
			select {
			case <-g.background.Done():
				return
			case <-tick.C:
			case <-asked:
			}
		}
	})
}

// receiversEvery is how often replicas exchange which certificates receivers showed.
const receiversEvery = 15 * time.Second

// cancelBatch is how many waiting notifications of ended registrations are cancelled in one transaction. cancelShare is the part of the time
// that looking for them may take, where there are none: it passes over all rows that went, as long as somebody holds a snapshot.
const (
	cancelBatch = 1000
	cancelShare = 20
)

func (g *Gateway) cancelEnded() func(context.Context) error {
	var next time.Time
	return func(ctx context.Context) error {
		if time.Now().Before(next) {
			return nil
		}
		for {
			began := time.Now()
			n, err := g.store.CancelEnded(ctx, cancelBatch)
			if err == nil && n == cancelBatch {
				continue
			}
			next = time.Now().Add(cancelShare * time.Since(began))
			return err
		}
	}
}

// monthsAhead is how many partitions of the history are made before they are needed.
const monthsAhead = 3

func (g *Gateway) keepHistory(ctx context.Context) error {
	if _, err := g.store.MakeHistory(ctx, monthsAhead); err != nil {
		return err
	}
	told, err := g.auditlog.AnnounceRemovals(ctx, g.cfg.History.KeepYears)
	for _, name := range told {
		g.log.Info("removal of a month of the history announced after its retention time", "partition", name)
	}
	if err != nil {
		return err
	}
	gone, err := g.auditlog.DropHistory(ctx, g.cfg.History.KeepYears)
	for _, name := range gone {
		g.log.Info("month of the history dropped: its removal was announced, sealed and anchored", "partition", name)
	}
	if err != nil {
		return err
	}
	return g.tellHeld(ctx)
}

// eraseDocuments erases what the bank no longer keeps; it does nothing unless a setting says after how long.
func (g *Gateway) eraseDocuments(ctx context.Context) error {
	days := g.cfg.History.EraseDocumentsDays
	if days == 0 {
		return nil
	}
	erased, err := g.auditlog.EraseDocuments(ctx, days)
	if erased > 0 {
		g.log.Info("documents erased after their retention time", "resources", erased, "after_days", days)
	}
	return err
}

// measure updates the figures that are read rather than counted.
func (g *Gateway) measure(ctx context.Context) error {
	g.metrics.MeasureTrust(g.trust, time.Now())
	for pool, n := range g.store.Pools() {
		g.metrics.Pool.WithLabelValues(pool).Set(float64(n[0]))
	}
	g.metrics.Receipts.Set(float64(g.receipts.Waiting()))
	g.measureFaults(ctx)
	b, err := g.store.Backlog(ctx)
	if err != nil {
		return err
	}
	g.metrics.Backlog.WithLabelValues("waiting").Set(float64(b.Waiting))
	g.metrics.Backlog.WithLabelValues("in-flight").Set(float64(b.InFlight))
	g.metrics.QueueAge.Set(max(0, b.Oldest.Seconds()))
	return nil
}

// quarantineEvery is how often a replica counts the quarantine, which takes longer than the other figures where it is large.
const quarantineEvery = 30 * time.Second

func (g *Gateway) measureQuarantine(ctx context.Context) error {
	counts, err := g.store.CountCases(ctx)
	if err == nil {
		g.metrics.MeasureQuarantine(counts)
		g.putAside.Store(&counts)
	}
	return err
}

// CountLost makes the lines that a log writer loses a metric.
func (g *Gateway) CountLost(o *logging.LogWriter) { g.metrics.CountLost(o) }
