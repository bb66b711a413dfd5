package metrics

import (
	"strconv"

	"github.com/arauto/arauto/internal/mtls"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/trust"
)

// bear makes the series of counters with labels exist at 0 before anything is counted. A series that begins at 1 shows no
// increase, so an alarm on it would stay silent the first time. Labels that an alarm selects must be complete here; a test
// holds the rules file against it.
func (m *Metrics) bear() {
	for _, kind := range append(ofb.Kinds(), 0) {
		name := kindNone
		if kind != 0 {
			name = kind.String()
		}
		for _, verdict := range []notice.Verdict{notice.Conflicting, notice.Quarantined} {
			m.changes.WithLabelValues(name, string(verdict), "")
		}
		m.changes.WithLabelValues(name, string(notice.Applied), string(ofb.UnknownClient))
		if kind != 0 {
			m.exhausted.WithLabelValues(name)
			m.nonconforming.WithLabelValues(name)
		}
	}
	for _, why := range []string{"busy", "unavailable"} {
		m.refused.WithLabelValues(why)
	}
	for _, result := range []string{"in-force", "refused"} {
		m.files.WithLabelValues(result)
	}
	for _, kind := range []string{trust.LeftOutAuthorities, trust.LeftOutKeys} {
		m.leftOut.WithLabelValues(kind)
	}
	for _, result := range []string{"open", "failed"} {
		m.dials.WithLabelValues(result)
	}
	for _, way := range []string{"spooled", "replayed", "put-aside", "unrecorded"} {
		m.pollsKept.WithLabelValues(way)
	}
	for _, limit := range []string{"connections", "client-rate", "client-in-flight", "rate", "in-flight", "waiting", "preflight"} {
		m.shed.WithLabelValues(limit)
	}
	for _, feed := range []string{feedAll, feedMissed} {
		m.feedEvents.WithLabelValues(feed)
	}
	for _, direction := range []string{"callers", "receivers"} {
		for _, verdict := range []mtls.RevocationVerdict{mtls.Good, mtls.Revoked, mtls.Refused} {
			for _, evidence := range []mtls.Evidence{mtls.Stapled, mtls.OCSPFetch, mtls.OCSPCache, mtls.CRL, mtls.StaleOCSP, mtls.StaleCRL, mtls.NoEvidence} {
				m.revocation.WithLabelValues(direction, string(verdict), string(evidence), strconv.FormatBool(true))
			}
		}
	}
}

// kindNone is the label of a change that does not tell its kind.
const kindNone = "none"
