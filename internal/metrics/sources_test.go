package metrics

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/watch"
)

// gauges are the values of the gauges of source "core" that have one label.
func gauges(t *testing.T, r *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := r.Gather()
	require.NoError(t, err)
	out := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if m.GetGauge() != nil && len(m.GetLabel()) == 1 && m.GetLabel()[0].GetValue() == "core" {
				out[f.GetName()] = m.GetGauge().GetValue()
			}
		}
	}
	return out
}

// TestALagThatNobodyKnowsHasNoFigure: 0 would say that nothing waits.
func TestALagThatNobodyKnowsHasNoFigure(t *testing.T) {
	r := prometheus.NewRegistry()
	p := newSourceObserver(r)
	p.State("core", watch.Running)
	p.Lag("core", 23936, -1)
	require.Equal(t, map[string]float64{"arauto_source_reading": 1, "arauto_source_lag_bytes": 23936}, gauges(t, r))
	p.Lag("core", 23936, 3*time.Second)
	require.Equal(t, map[string]float64{"arauto_source_reading": 1, "arauto_source_lag_bytes": 23936, "arauto_source_lag_seconds": 3}, gauges(t, r))
	p.Lag("core", -1, -1)
	require.Equal(t, map[string]float64{"arauto_source_reading": 1}, gauges(t, r))
}
