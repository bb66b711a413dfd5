package gateway

import (
	"context"
	"io"
	"log/slog"
	"time"

	"github.com/arauto/arauto/internal/api/status"
	"github.com/arauto/arauto/internal/brand"
	"github.com/arauto/arauto/internal/config"
	"github.com/arauto/arauto/internal/metrics"
	"github.com/arauto/arauto/internal/reconcile"
	"github.com/arauto/arauto/internal/store/auditlog"
)

// newDaily joins the daily look to its figures and to the paths of the status queries.
func newDaily(cfg *config.Config, l *auditlog.Log, log *slog.Logger, m *metrics.Metrics) *reconcile.Reconciler {
	began := time.Now()
	return reconcile.New(reconcile.Options{
		Settings: cfg, AuditLog: l, Log: log, Observer: metrics.NewReconcileObserver(m.Registry, began), Endpoint: status.Endpoint, Began: began,
	})
}

// calls implements bank.Calls.
type calls struct {
	log           *auditlog.Log
	organisations map[brand.Prefix]string // that answer
}

// WriteCalls implements bank.Calls.
func (c calls) WriteCalls(ctx context.Context, day, format string, w io.Writer) (int64, error) {
	list := reconcile.CallList{Day: day, Organisations: c.organisations, Format: format, Endpoint: status.Endpoint}
	report, err := reconcile.WriteCalls(ctx, c.log.Inspector(), list, w)
	if err != nil {
		return 0, err
	}
	return report.Calls, nil
}
