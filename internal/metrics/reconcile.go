package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// ReconcileObserver implements reconcile.Observer.
type ReconcileObserver struct{ differences, finished, took prometheus.Gauge }

// NewReconcileObserver registers the figures. Until a reconciliation ends, its time is the start of this replica.
func NewReconcileObserver(r prometheus.Registerer, began time.Time) *ReconcileObserver {
	own := namespace{r, "reconciliation_"}
	m := &ReconcileObserver{
		differences: own.gauge("differences", "Differences found by the newest reconciliation.").WithLabelValues(),
		finished:    own.gauge("time_seconds", "Time of the newest recorded reconciliation, in seconds since 1970; before the first: the start of this replica.").WithLabelValues(),
		took:        own.gauge("seconds", "Duration of the newest reconciliation, in seconds.").WithLabelValues(),
	}
	m.finished.Set(float64(began.Unix()))
	return m
}

// Reconciled shows the newest reconciliation.
func (m *ReconcileObserver) Reconciled(differences int64, at time.Time, took time.Duration) {
	m.differences.Set(float64(differences))
	m.finished.Set(float64(at.Unix()))
	m.took.Set(took.Seconds())
}
