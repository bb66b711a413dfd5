package trust

import (
	"context"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/arauto/arauto/internal/config"
	"github.com/arauto/arauto/internal/mtls"
)

// The two directions in which certificates are judged, as metrics and the calendar name them.
const (
	calling   = "callers"
	receiving = "receivers"
)

// listsOf is the setting that names the lists of a direction.
func listsOf(direction string) string {
	if direction == receiving {
		return "webhook.crl"
	}
	return "public.crl"
}

// direction is one RevocationSettings with its name.
type direction struct {
	*mtls.Revocation
	name string
}

// directions returns those with a source of revocation.
func (t *Trust) directions() []direction {
	var out []direction
	if t.Revocation != nil {
		out = append(out, direction{t.Revocation, receiving})
	}
	if t.Callers.Revocation != nil {
		out = append(out, direction{t.Callers.Revocation, calling})
	}
	return out
}

// newRevocation makes the judge of one direction; nil without a source.
func (t *Trust) newRevocation(settings *config.RevocationSettings, name string) (*mtls.Revocation, error) {
	if len(settings.CRL) == 0 && !settings.OCSP {
		return nil, nil
	}
	o := revocationOptions(settings)
	o.HTTP = t.fetcher
	if t.observer != nil {
		o.Keep = filepath.Join(t.cfg.File("lists"), name)
		o.Observe = func(d mtls.RevocationDecision) { t.onDecision(name, d) }
		o.Events = func(e mtls.ReloadEvent) {
			if name == receiving {
				t.Roots.Renew()
			}
			e.Setting = listsOf(name)
			t.onFile(e)
		}
	}
	return mtls.NewRevocation(o)
}

// revocationOptions translates the settings.
func revocationOptions(r *config.RevocationSettings) mtls.RevocationOptions {
	o := mtls.RevocationOptions{
		OCSP: r.OCSP, OCSPResponder: r.OCSPResponder, Show: config.MaskURL, OCSPTTL: r.OCSPTTL, CRLTTL: r.CRLTTL, Refresh: r.CRLRefresh, SoftFail: r.SoftFail,
	}
	for _, source := range r.CRL {
		if strings.HasPrefix(source, "http://") || strings.HasPrefix(source, "https://") {
			o.CRLURLs = append(o.CRLURLs, source)
		} else {
			o.CRLFiles = append(o.CRLFiles, source)
		}
	}
	return o
}

// judged is a source whose change makes connections to receivers be judged again: the new list may revoke the receiver of an open
// connection.
type judged struct {
	*mtls.Revocation
	roots *mtls.Anchors
}

// Reload implements mtls.Source.
func (j judged) Reload() (bool, error) {
	changed, err := j.Revocation.Reload()
	if changed {
		j.roots.Renew()
	}
	return changed, err
}

// Checks returns what a receiver's certificate must pass beyond its chain.
func (t *Trust) Checks() []mtls.Check {
	if t.Revocation == nil {
		return nil
	}
	return []mtls.Check{t.Revocation.Check}
}

// listsWithin is how long a start waits for revocation lists.
const listsWithin = 10 * time.Second

// FetchLists fetches the lists before the first handshake needs them, unless those kept from the last run still serve. A list that
// cannot be fetched is logged: an authority's outage is no excuse for ours (webhook §7.4).
func (t *Trust) FetchLists(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, listsWithin)
	defer cancel()
	missing := map[string]bool{}
	for _, l := range t.RevocationLists() {
		missing[l.Direction] = missing[l.Direction] || time.Now().After(l.ValidUntil)
	}
	for _, d := range t.directions() {
		if !missing[d.name] {
			continue
		}
		if err := d.Refresh(ctx); err != nil {
			t.log.Error("revocation list not fetched, starting without it", "direction", d.name, "error", err)
		}
	}
}

// RefreshLists fetches revocation lists again when they are due, until ctx ends.
func (t *Trust) RefreshLists(ctx context.Context) {
	var all sync.WaitGroup
	for _, d := range t.directions() {
		all.Go(func() { d.Run(ctx) })
	}
	all.Wait()
}

// RenewConnections closes the connections to receivers every so often, until ctx ends. An OCSP answer is fetched in handshakes
// only, so a connection must not outlive it.
func (t *Trust) RenewConnections(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			t.Roots.Renew()
			t.observer.Renewed()
		}
	}
}

// onDecision logs fallbacks and refusals, which an auditor asks about (webhook §7.4).
func (t *Trust) onDecision(direction string, d mtls.RevocationDecision) {
	t.observer.Judged(direction, d)
	if !d.Fallback && (d.Verdict == mtls.Good || d.Verdict == mtls.Unchecked) {
		return
	}
	log := t.log.With("direction", direction, "subject", d.Subject, "serial", d.Serial, "issuer", d.Issuer, "verdict", string(d.Verdict),
		"evidence", string(d.Evidence), "source", d.Source, "reason", d.Reason, "valid_until", d.ValidUntil, "took", d.Took)
	switch d.Verdict {
	case mtls.Revoked:
		log.Warn("certificate revoked")
	case mtls.Refused:
		log.Warn("certificate refused: no valid evidence on its revocation")
	default:
		log.Warn("revocation judged by a fallback")
	}
}
