package gateway

import (
	"fmt"
	"strings"
	"time"

	"github.com/arauto/arauto/internal/events"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/metrics"
)

// newMonitor makes what tells operators of troubles.
func (g *Gateway) newMonitor() (*events.Monitor, error) {
	ways, err := events.Ways(g.cfg)
	if err != nil {
		return nil, err
	}
	return events.New(events.Config{
		Store: g.store, Ways: ways, Words: events.Words{Lang: g.cfg.Events.Language, Console: g.cfg.Console.BaseURL, Docs: events.StandardDocs}, Log: g.log,
		Observer: metrics.NewEventObserver(g.metrics.Registry, ways), Look: g.troubles,
	}), nil
}

// The days before the end of a certificate in which operators are told of it: as the alarms.
const (
	tellOwn      = 30
	tellReceiver = 7
)

// troubles are what this replica sees now that an operator must know.
func (g *Gateway) troubles(now time.Time) (all []history.Sighting) {
	portuguese := g.cfg.Events.Language != "en" // as events.Words has it
	for _, c := range g.trust.Certificates() {
		if days := c.Days(now); days < tellOwn {
			all = append(all, history.Sighting{Kind: history.EventCertificate, Subject: c.Role + " " + c.Serial, Detail: ends(c.Subject, c.NotAfter, days)})
		}
	}
	for _, c := range g.trust.Receivers() {
		if days := c.Days(now); days < tellReceiver {
			all = append(all, history.Sighting{Kind: history.EventCertificate, Subject: string(c.Client) + " " + c.Serial, Detail: ends(c.Subject, c.NotAfter, days)})
		}
	}
	for _, s := range g.sources.Stopped() {
		all = append(all, history.Sighting{Kind: history.EventSource, Subject: s.Source, Detail: s.Why})
	}
	if notes := g.sealer.Notes(portuguese); len(notes) > 0 {
		all = append(all, history.Sighting{Kind: history.EventLogNotSealed, Detail: strings.Join(notes, "; ")})
	}
	all = append(all, g.signers.away(now)...)
	if notes := g.verifier.Notes(portuguese); len(notes) > 0 {
		all = append(all, history.Sighting{Kind: history.EventTampering, Detail: strings.Join(notes, "; ")})
	}
	return all
}

// tamperedRead counts a read of the internal API that met entries which are not what was sealed.
func (g *Gateway) tamperedRead(where string, _ history.Integrity) {
	g.metrics.Tampered.Inc()
	g.events.Tampered("a read met entries that are not what was sealed: " + where)
}

// ends says when a certificate ends, as facts that need no language.
func ends(subject string, at time.Time, days int) string {
	return fmt.Sprintf("%s: %s (%d d)", subject, at.UTC().Format("2006-01-02 15:04 UTC"), days)
}
