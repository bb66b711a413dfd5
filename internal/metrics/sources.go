package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/arauto/arauto/internal/watch"
	"github.com/arauto/arauto/internal/watch/sources"
)

// SourceObserver are the figures of sources. Their labels are names of the settings. It implements watch.Observer.
type SourceObserver struct {
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
var sourceStates = []watch.SourceState{watch.Connecting, watch.Running, watch.Standby, watch.Paused, watch.Waiting}

func newSourceObserver(r *prometheus.Registry) *SourceObserver {
	own := namespace{r, "source_"}
	gauge := own.gauge
	return &SourceObserver{
		records:  own.counter("records_total", "Rows and messages read, by fate.", "source", "table", "fate"),
		failures: own.counter("failures_total", "Failures of single records while others were stored; after three a record is put aside.", "source", "table"),
		commit: own.histogram("commit_seconds", "Time from the commit of a change in the core, by the core's clock, to its commit here, in seconds.", delays,
			"source"),
		lagSeconds:  gauge("lag_seconds", "How far the source is behind the origin's newest commit, in seconds; absent while unknown.", "source"),
		lagBytes:    gauge("lag_bytes", "Bytes of the origin's log that are not acknowledged yet.", "source"),
		state:       gauge("state", "1 for the present state of the source at this replica.", "source", "state"),
		reading:     gauge("reading", "1 while this replica reads the source.", "source"),
		tablesStood: gauge("tables_stopped", "Tables whose rows are put aside because they no longer fit the mapping.", "source"),
	}
}

// Outcome counts a record.
func (s *SourceObserver) Outcome(source, table string, o watch.RecordOutcome) {
	s.records.WithLabelValues(source, table, string(o)).Inc()
}

// Failed counts a failure of a record.
func (s *SourceObserver) Failed(source, table string) {
	s.failures.WithLabelValues(source, table).Inc()
}

// Lag shows how far behind a source is. What is unknown has no figure.
func (s *SourceObserver) Lag(source string, bytes int64, behind time.Duration) {
	if behind >= 0 {
		s.lagSeconds.WithLabelValues(source).Set(behind.Seconds())
	} else {
		s.lagSeconds.DeleteLabelValues(source)
	}
	if bytes >= 0 {
		s.lagBytes.WithLabelValues(source).Set(float64(bytes))
	} else {
		s.lagBytes.DeleteLabelValues(source)
	}
}

// State shows the state a source is in.
func (s *SourceObserver) State(source string, now watch.SourceState) {
	for _, one := range sourceStates {
		s.state.WithLabelValues(source, string(one)).Set(truth(one == now))
	}
	s.reading.WithLabelValues(source).Set(truth(now == watch.Running))
	if now != watch.Running { // what a replica that does not read knew of the lag is no figure
		s.lagSeconds.DeleteLabelValues(source)
		s.lagBytes.DeleteLabelValues(source)
	}
}

// Stopped shows tables that no longer fit.
func (s *SourceObserver) Stopped(source, _ string, stopped bool) {
	if stopped {
		s.tablesStood.WithLabelValues(source).Inc()
	} else {
		s.tablesStood.WithLabelValues(source).Dec()
	}
}

// Committed observes how long a change took from the core's commit to ours.
func (s *SourceObserver) Committed(source string, after time.Duration) {
	s.commit.WithLabelValues(source).Observe(max(0, after.Seconds()))
}

func truth(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

// Follow shows the figures of these sources.
func (m *Metrics) Follow(s *sources.Set) {
	for source, tables := range s.Tables() {
		m.Sources.bear(source, tables)
	}
	m.Registry.MustRegister(&passedOver{
		sources: s,
		skipped: prometheus.NewDesc("arauto_source_skipped_total", "Records that were read and skipped, by the rule that skips them.", []string{"source", "rule"}, nil),
		halted: prometheus.NewDesc("arauto_source_halted", "1 while this replica has stopped reading the source and a person must decide how to continue.",
			[]string{"source"}, nil),
	})
}

// bear makes the series of a source and its tables exist at 0; see metrics.bear.
func (s *SourceObserver) bear(source string, tables []string) {
	s.reading.WithLabelValues(source)
	s.tablesStood.WithLabelValues(source)
	for _, table := range tables {
		s.failures.WithLabelValues(source, table)
		for _, fate := range []watch.RecordOutcome{watch.Stored, watch.Silent, watch.Conflict, watch.Skipped, watch.Quarantined, watch.Registered} {
			s.records.WithLabelValues(source, table, string(fate))
		}
	}
}

// passedOver are the figures of what sources pass over by a rule, and of sources that stopped until a person decides. They
// are read when they are asked for, so every series exists from the start.
type passedOver struct {
	sources *sources.Set
	skipped *prometheus.Desc
	halted  *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (p *passedOver) Describe(to chan<- *prometheus.Desc) {
	to <- p.skipped
	to <- p.halted
}

// Collect implements prometheus.Collector.
func (p *passedOver) Collect(to chan<- prometheus.Metric) {
	for _, f := range p.sources.Figures() {
		for rule, n := range f.Skipped {
			to <- prometheus.MustNewConstMetric(p.skipped, prometheus.CounterValue, float64(n), f.Source, rule)
		}
		to <- prometheus.MustNewConstMetric(p.halted, prometheus.GaugeValue, truth(f.Halted), f.Source)
	}
}
