package metrics

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/arauto/arauto/internal/notice"
)

// quarantineObserver shows how much the quarantine holds. It is measured and not counted: people, other replicas and higher revisions
// close cases too.
type quarantineObserver struct {
	cases  *prometheus.GaugeVec
	bytes  *prometheus.GaugeVec
	oldest prometheus.Gauge

	mu    sync.Mutex         // held while a measurement is shown
	shown map[[2]string]bool // state and source of the series that exist
}

func newQuarantineObserver(n namespace) *quarantineObserver {
	return &quarantineObserver{
		cases:  n.gauge("quarantine_cases", "Cases of the quarantine that are not closed, of all replicas, by state and source; of each state the oldest 100,000 are counted.", "state", "source"),
		bytes:  n.gauge("quarantine_bytes", "Bytes of the received lines that the counted open cases hold, by source.", "source"),
		oldest: n.gauge("quarantine_oldest_seconds", "Time for which the oldest open case of the quarantine has waited for a decision, in seconds; 0: there is none.").WithLabelValues(),
		shown:  map[[2]string]bool{},
	}
}

// MeasureQuarantine shows what the quarantine holds now. A source without cases has no series.
func (m *Metrics) MeasureQuarantine(counts []notice.CaseCount) {
	q := m.quarantine
	q.mu.Lock()
	defer q.mu.Unlock()
	now, oldest := map[[2]string]bool{}, 0.0
	for _, c := range counts {
		now[[2]string{c.State, c.Source}] = true
		q.cases.WithLabelValues(c.State, c.Source).Set(float64(c.Cases))
		if c.State == notice.CaseOpen {
			q.bytes.WithLabelValues(c.Source).Set(float64(c.Bytes))
			oldest = max(oldest, c.Oldest.Seconds())
		}
	}
	for series := range q.shown {
		if now[series] {
			continue
		}
		q.cases.DeleteLabelValues(series[0], series[1])
		if series[0] == notice.CaseOpen {
			q.bytes.DeleteLabelValues(series[1])
		}
	}
	q.oldest.Set(oldest)
	q.shown = now
}
