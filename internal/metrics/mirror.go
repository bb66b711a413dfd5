package metrics

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// MirrorObserver has the figures of arauto mirror, which serves them by itself.
type MirrorObserver struct {
	Registry *prometheus.Registry

	size, ok, grown, fork prometheus.Gauge
	failures              prometheus.Counter
}

// NewMirrorObserver registers the figures. Until the first round its times are the start of the mirror.
func NewMirrorObserver(began time.Time) *MirrorObserver {
	r := prometheus.NewRegistry()
	own := namespace{r, "mirror_"}
	m := &MirrorObserver{
		Registry: r,
		size:     own.gauge("size", "Entries of the verified copy.").WithLabelValues(),
		ok:       own.gauge("ok_time_seconds", "End of the last round that verified what it read, in seconds since 1970; before the first: the start of the mirror.").WithLabelValues(),
		grown:    own.gauge("grown_time_seconds", "When the copy last grew, in seconds since 1970; before: the start of the mirror.").WithLabelValues(),
		fork:     own.gauge("fork", "1 since the log showed another history than the copy has.").WithLabelValues(),
		failures: own.counter("failures_total", "Rounds that could not read or verify the log.").WithLabelValues(),
	}
	m.ok.Set(float64(began.Unix()))
	m.grown.Set(float64(began.Unix()))
	return m
}

// Handler serves the figures.
func (m *MirrorObserver) Handler() http.Handler {
	return promhttp.HandlerFor(m.Registry, promhttp.HandlerOpts{})
}

// Verified tells that a round ended with a copy of so many entries, and whether the copy grew.
func (m *MirrorObserver) Verified(size int64, grew bool) {
	m.size.Set(float64(size))
	m.ok.SetToCurrentTime()
	if grew {
		m.grown.SetToCurrentTime()
	}
}

// Failed tells that a round failed.
func (m *MirrorObserver) Failed() { m.failures.Inc() }

// Forked tells that the log showed another history than the copy has.
func (m *MirrorObserver) Forked() { m.fork.Set(1) }
