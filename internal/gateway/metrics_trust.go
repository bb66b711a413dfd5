package gateway

import (
	"math"
	"strconv"
	"time"

	"github.com/arauto/arauto/internal/mtls"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/trust"
)

// trustEvents implements trust.Observer.
type trustEvents struct{ g *Gateway }

// Reloaded counts what was put in force or refused.
func (e trustEvents) Reloaded(err error) {
	result := "in-force"
	if err != nil {
		result = "refused"
	}
	e.g.metrics.files.WithLabelValues(result).Inc()
}

// Renewed closes the connections to receivers.
func (e trustEvents) Renewed() {
	if e.g.sender != nil {
		e.g.sender.Refresh()
	}
}

// Judged counts a judgement.
func (e trustEvents) Judged(direction string, d mtls.RevocationDecision) {
	e.g.metrics.revocation.WithLabelValues(direction, string(d.Verdict), string(d.Evidence), strconv.FormatBool(d.Fallback)).Inc()
}

// Refused counts a handshake or a connection.
func (e trustEvents) Refused() { e.g.metrics.handshakes.Inc() }

// measureTrust sets the figures of the calendar and the lists. What was replaced disappears from them.
func (m *metrics) measureTrust(t *trust.Trust, now time.Time) {
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

// wire is told what happens towards receivers: metrics count, the calendar remembers.
type wire struct {
	*metrics
	trust *trust.Trust
}

// Attempted implements webhook.Observer.
func (w wire) Attempted(client notice.ClientID, r *notice.Result) {
	w.metrics.Attempted(client, r)
	w.trust.See(client, r.Shown, time.Now())
}
