package gateway

import (
	"maps"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/arauto/arauto/internal/watch/postgres"
)

// passedOver are the figures of what sources pass over by a rule, and of sources that stopped until a person decides. They
// are read when they are asked for, so every series exists from the start.
type passedOver struct {
	sources *sources
	skipped *prometheus.Desc
	halted  *prometheus.Desc
}

func newPassedOver(s *sources) *passedOver {
	return &passedOver{
		sources: s,
		skipped: prometheus.NewDesc("arauto_source_skipped_total", "Records that were read and skipped, by the rule that skips them.", []string{"source", "rule"}, nil),
		halted: prometheus.NewDesc("arauto_source_halted", "1 while this replica has stopped reading the source and a person must decide how to continue.",
			[]string{"source"}, nil),
	}
}

// Describe implements prometheus.Collector.
func (p *passedOver) Describe(to chan<- *prometheus.Desc) {
	to <- p.skipped
	to <- p.halted
}

// Collect implements prometheus.Collector.
func (p *passedOver) Collect(to chan<- prometheus.Metric) {
	for _, one := range p.sources.all {
		name, skips := one.mapping.Source, one.Skips()
		if r, is := one.reader.(*postgres.Reader); is {
			c := r.Counts()
			skips["not-mapped"] += c.Unlisted
			skips["truncated"] += c.Truncates
		}
		for _, rule := range slices.Sorted(maps.Keys(skips)) {
			to <- prometheus.MustNewConstMetric(p.skipped, prometheus.CounterValue, float64(skips[rule]), name, rule)
		}
		halted := false
		if r, tells := one.reader.(interface{ Halted() bool }); tells {
			halted = r.Halted()
		}
		to <- prometheus.MustNewConstMetric(p.halted, prometheus.GaugeValue, truth(halted), name)
	}
}
