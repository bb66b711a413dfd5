package gateway

import (
	"context"
	"io"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/arauto/arauto/internal/api/status"
	"github.com/arauto/arauto/internal/config"
	"github.com/arauto/arauto/internal/reconcile"
	"github.com/arauto/arauto/internal/store/auditlog"
)

// newDaily joins the daily look to its figures and to the paths of the status queries.
func newDaily(cfg *config.Config, l *auditlog.Log, log *slog.Logger, r prometheus.Registerer) *reconcile.Reconciler {
	began := time.Now()
	return reconcile.New(reconcile.Options{
		Settings: cfg, AuditLog: l, Log: log, Observer: newReconcileMetrics(r, began), Endpoint: status.Endpoint, Began: began,
	})
}

// reconcileMetrics implements reconcile.Observer.
type reconcileMetrics struct{ differences, finished, took prometheus.Gauge }

func newReconcileMetrics(r prometheus.Registerer, began time.Time) *reconcileMetrics {
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Name: "arauto_reconciliation_" + name, Help: help})
		r.MustRegister(g)
		return g
	}
	m := &reconcileMetrics{
		differences: gauge("differences", "Differences found by the newest reconciliation."),
		finished:    gauge("time_seconds", "Time of the newest recorded reconciliation, in seconds since 1970; before the first: the start of this replica."),
		took:        gauge("seconds", "Duration of the newest reconciliation, in seconds."),
	}
	m.finished.Set(float64(began.Unix()))
	return m
}

// Reconciled shows the newest reconciliation.
func (m *reconcileMetrics) Reconciled(differences int64, at time.Time, took time.Duration) {
	m.differences.Set(float64(differences))
	m.finished.Set(float64(at.Unix()))
	m.took.Set(took.Seconds())
}

// calls implements bank.Calls.
type calls struct {
	log          *auditlog.Log
	organisation string // that answers
}

// WriteCalls implements bank.Calls.
func (c calls) WriteCalls(ctx context.Context, day, format string, w io.Writer) (int64, error) {
	list := reconcile.CallList{Day: day, Organisation: c.organisation, Format: format, Endpoint: status.Endpoint}
	report, err := reconcile.WriteCalls(ctx, c.log.Inspector(), list, w)
	if err != nil {
		return 0, err
	}
	return report.Calls, nil
}
