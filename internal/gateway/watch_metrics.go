package gateway

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/arauto/arauto/internal/watch"
)

// followed are the figures of sources. Their labels are names of the settings.
type followed struct {
	records     *prometheus.CounterVec
	failures    *prometheus.CounterVec
	commit      *prometheus.HistogramVec
	lagSeconds  *prometheus.GaugeVec
	lagBytes    *prometheus.GaugeVec
	state       *prometheus.GaugeVec
	reading     *prometheus.GaugeVec
	tablesStood *prometheus.GaugeVec
}

// sourceStates are the values of the label state.
var sourceStates = []watch.State{watch.Connecting, watch.Running, watch.Standby, watch.Paused, watch.Waiting}

func newFollowed(r *prometheus.Registry) *followed {
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		v := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "arauto_source_" + name, Help: help}, labels)
		r.MustRegister(v)
		return v
	}
	f := &followed{
		records: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "arauto_source_records_total", Help: "Rows and messages read, by fate."},
			[]string{"source", "table", "fate"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "arauto_source_failures_total", Help: "Failures of single records while others were stored; after three a record is put aside.",
		}, []string{"source", "table"}),
		commit: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "arauto_source_commit_seconds", Help: "Time from the commit of a change in the core, by the core's clock, to its commit here, in seconds.", Buckets: delays,
		}, []string{"source"}),
		lagSeconds:  gauge("lag_seconds", "How far the source is behind the origin's newest commit, in seconds; absent while unknown.", "source"),
		lagBytes:    gauge("lag_bytes", "Bytes of the origin's log that are not acknowledged yet.", "source"),
		state:       gauge("state", "1 for the present state of the source at this replica.", "source", "state"),
		reading:     gauge("reading", "1 while this replica reads the source.", "source"),
		tablesStood: gauge("tables_stopped", "Tables whose rows are put aside because they no longer fit the mapping.", "source"),
	}
	r.MustRegister(f.records, f.failures, f.commit)
	return f
}

// sourceMetrics implements watch.Observer.
type sourceMetrics struct{ f *followed }

// Outcome counts a record.
func (s sourceMetrics) Outcome(source, table string, o watch.Outcome) {
	s.f.records.WithLabelValues(source, table, string(o)).Inc()
}

// Failed counts a failure of a record.
func (s sourceMetrics) Failed(source, table string) {
	s.f.failures.WithLabelValues(source, table).Inc()
}

// Lag shows how far behind a source is. What is unknown has no figure.
func (s sourceMetrics) Lag(source string, bytes int64, behind time.Duration) {
	if behind >= 0 {
		s.f.lagSeconds.WithLabelValues(source).Set(behind.Seconds())
	} else {
		s.f.lagSeconds.DeleteLabelValues(source)
	}
	if bytes >= 0 {
		s.f.lagBytes.WithLabelValues(source).Set(float64(bytes))
	} else {
		s.f.lagBytes.DeleteLabelValues(source)
	}
}

// State shows the state a source is in.
func (s sourceMetrics) State(source string, now watch.State) {
	for _, one := range sourceStates {
		s.f.state.WithLabelValues(source, string(one)).Set(truth(one == now))
	}
	s.f.reading.WithLabelValues(source).Set(truth(now == watch.Running))
	if now != watch.Running { // what a replica that does not read knew of the lag is no figure
		s.f.lagSeconds.DeleteLabelValues(source)
		s.f.lagBytes.DeleteLabelValues(source)
	}
}

// Stopped shows tables that no longer fit.
func (s sourceMetrics) Stopped(source, _ string, stopped bool) {
	if stopped {
		s.f.tablesStood.WithLabelValues(source).Inc()
	} else {
		s.f.tablesStood.WithLabelValues(source).Dec()
	}
}

// Committed observes how long a change took from the core's commit to ours.
func (s sourceMetrics) Committed(source string, after time.Duration) {
	s.f.commit.WithLabelValues(source).Observe(max(0, after.Seconds()))
}

func truth(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
