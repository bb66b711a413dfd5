package gateway

import (
	"time"

	"github.com/arauto/arauto/internal/metrics"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/trust"
)

// trustEvents implements trust.Observer.
type trustEvents struct {
	*metrics.Metrics
	g *Gateway
}

// Reloaded counts what was read again, and adds it to the history.
func (e trustEvents) Reloaded(r trust.Reload) {
	e.Metrics.Reloaded(r.Err)
	if e.g.starts != nil {
		e.g.starts.reloaded(r)
	}
}

// Renewed closes the connections to receivers.
func (e trustEvents) Renewed() {
	if e.g.sender != nil {
		e.g.sender.Refresh()
	}
}

// Signed implements trust.Observer.
func (e trustEvents) Signed(brand string, took time.Duration, err error) {
	e.g.signers.signed(answersOf(brand), took, err)
}

// Refused counts a handshake or a connection.
func (e trustEvents) Refused() { e.Handshakes.Inc() }

// wire is told what happens towards receivers: metrics count, the calendar remembers.
type wire struct {
	*metrics.Metrics
	trust *trust.Trust
}

// Attempted implements webhook.Observer.
func (w wire) Attempted(client notice.ClientID, r *notice.Result) {
	w.Metrics.Attempted(client, r)
	w.trust.See(client, r.Shown, time.Now())
}
