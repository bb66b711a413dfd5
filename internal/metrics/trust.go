package metrics

import (
	"math"
	"strconv"
	"time"

	"github.com/arauto/arauto/internal/mtls"
	"github.com/arauto/arauto/internal/trust"
)

// Reloaded counts what was put in force or refused.
func (m *Metrics) Reloaded(err error) {
	result := "in-force"
	if err != nil {
		result = "refused"
	}
	m.files.WithLabelValues(result).Inc()
}

// Judged counts a judgement on a peer's certificate.
func (m *Metrics) Judged(direction string, d mtls.RevocationDecision) {
	m.revocation.WithLabelValues(direction, string(d.Verdict), string(d.Evidence), strconv.FormatBool(d.Fallback)).Inc()
}

// MeasureTrust sets the figures of the calendar and the lists. What was replaced disappears from them.
func (m *Metrics) MeasureTrust(t *trust.Trust, now time.Time) {
	m.expiry.Reset()
	least := map[string]int{}
	for _, e := range t.Certificates() {
		m.expiry.WithLabelValues(e.Source + " " + e.Serial).Set(float64(e.NotAfter.Unix()))
		if days, there := least[e.Role]; !there || e.Days(now) < days {
			least[e.Role] = e.Days(now)
		}
	}
	for role, days := range least {
		m.daysLeft.WithLabelValues(role).Set(float64(days))
	}
	for within, n := range t.Ending(now) {
		m.receivers.WithLabelValues(within).Set(float64(n))
	}
	for kind, left := range t.LeftOut() {
		m.leftOut.WithLabelValues(kind).Set(float64(len(left)))
	}
	m.lists.Reset()
	for _, l := range t.RevocationLists() {
		m.lists.WithLabelValues(l.Direction, l.Source, l.Issuer).Set(math.Max(0, float64(l.ValidUntil.Unix())))
	}
}
