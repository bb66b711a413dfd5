package metrics

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/arauto/arauto/internal/figures"
	"github.com/arauto/arauto/internal/store/auditlog"
)

// SealObserver are the figures of the log: its sealing, its anchors and its verification.
type SealObserver struct {
	sealed, strays                       prometheus.Counter
	failures                             *prometheus.CounterVec
	size, stopped, horizon, checkpointed prometheus.Gauge
	ran                                  prometheus.Gauge // when this replica could seal last
	anchored                             *prometheus.GaugeVec

	asked      *prometheus.CounterVec
	askedFinal prometheus.Counter

	witnessed, witnessedSize *prometheus.GaugeVec // without labels; no series where no policy demands witnesses
	vouched                  *prometheus.GaugeVec
	witnessFailures          *prometheus.CounterVec
	witnessRefusals          prometheus.Counter

	published, publishedTime *prometheus.GaugeVec
	publishFailures          *prometheus.CounterVec

	okTime   *prometheus.GaugeVec
	bad      *prometheus.CounterVec
	verified prometheus.Gauge
	badNow   prometheus.Gauge

	Tampering func(detail string)                    // told of rows that were put in; nil: nobody
	Signing   func(took time.Duration, failed error) // told of signatures by the process that has the log's key; nil: nobody
}

// NewSealObserver registers the figures. Until a verification ends, its time is the start of this replica.
func NewSealObserver(r prometheus.Registerer, began time.Time) *SealObserver {
	own := namespace{r, "log_"}
	gauge, counter := own.gauge, own.counter
	m := &SealObserver{
		sealed:          counter("entries_sealed_total", "Entries of the history that this replica sealed.").WithLabelValues(),
		strays:          counter("strays_total", "Recent entries at or before the end of the log that have no position of their own, counted at each sealing that sees them.").WithLabelValues(),
		failures:        counter("anchor_failures_total", "Checkpoints that an anchor refused, and checks that found something in it that is not a checkpoint of this log, by anchor.", "anchor"),
		anchored:        gauge("anchored_time_seconds", "Signing time of the newest checkpoint that an anchor has from this replica, in seconds since 1970; 0: none yet.", "anchor"),
		witnessed:       gauge("witnessed_time_seconds", "Time up to which the quorum of witnesses vouches for the log, in seconds since 1970; before the first: the start of this replica. Absent where no policy demands witnesses."),
		witnessedSize:   gauge("witnessed_size", "Entries of the log that the quorum of witnesses vouched for last."),
		vouched:         gauge("witness_time_seconds", "Time at which a witness last vouched for a checkpoint, by its clock, in seconds since 1970; 0: never.", "witness"),
		witnessFailures: counter("witness_failures_total", "Requests of this replica that a witness did not answer with a cosignature, by witness.", "witness"),
		witnessRefusals: counter("witness_refusals_total", "Requests of this replica that a witness refused because it vouched for a history that the log does not extend.").WithLabelValues(),
		published:       gauge("published_size", "Entries of the log that are published as tiles, by place (folder, object-store).", "place"),
		publishedTime:   gauge("published_time_seconds", "When this replica last published the log as tiles, or found that nothing new was to be published, by place, in seconds since 1970; before the first: the start of this replica.", "place"),
		publishFailures: counter("publish_failures_total", "Tries of this replica to publish the log as tiles that failed, by place.", "place"),

		size:         gauge("size", "Entries in the sealed log.").WithLabelValues(),
		stopped:      gauge("sealing_stopped", "1 while sealing is stopped: wrong key, the log differs from what was signed, or it does not extend a published checkpoint.").WithLabelValues(),
		horizon:      gauge("horizon_age_seconds", "Time for which one running transaction has delayed the sealing of younger entries, in seconds.").WithLabelValues(),
		ran:          gauge("sealer_time_seconds", "End of this replica's last transaction of the sealer, with entries or without any to seal, in seconds since 1970; before the first: the start of this replica.").WithLabelValues(),
		checkpointed: gauge("checkpoint_time_seconds", "Signing time of the newest checkpoint, in seconds since 1970.").WithLabelValues(),
		okTime:       gauge("verification_ok_time_seconds", "End of the last verification without a finding, by scope (since, whole), in seconds since 1970; before the first: the start of this replica.", "scope"),
		bad:          counter("verification_failures_total", "Verifications by this replica with a finding, by scope (since, whole).", "scope"),
		verified:     gauge("verified_size", "Entries of the log that a verification has checked since they were sealed.").WithLabelValues(),
		badNow:       gauge("verification_bad", "1 from a verification with a finding until one of the whole log without any.").WithLabelValues(),
	}
	polls := namespace{r, "polls_"}
	m.asked = polls.counter("by_push_total", "Status queries folded from the log, by how they stood to the newest notification about their resource: without (none was made), before (it was not delivered), after.", "push")
	m.askedFinal = polls.counter("final_total", "Status queries folded from the log that were shown a final state.").WithLabelValues()
	for _, push := range []string{"without", "before", "after"} {
		m.asked.WithLabelValues(push)
	}
	m.ran.Set(float64(began.Unix()))
	for _, scope := range []string{auditlog.ScopeSince, auditlog.ScopeWhole} {
		m.bad.WithLabelValues(scope)
		m.okTime.WithLabelValues(scope).Set(float64(began.Unix()))
	}
	return m
}

// Bear makes the series of the anchors exist before anything is counted.
func (m *SealObserver) Bear(anchors []string) {
	for _, anchor := range anchors {
		m.failures.WithLabelValues(anchor)
		m.anchored.WithLabelValues(anchor)
	}
}

// BearWitnesses makes the series of the witnesses exist before anything is counted. Until the quorum vouches, its time is the start of this
// replica.
func (m *SealObserver) BearWitnesses(names []string, demanded bool, began time.Time) {
	for _, witness := range names {
		m.witnessFailures.WithLabelValues(witness)
		m.vouched.WithLabelValues(witness)
	}
	if demanded {
		m.witnessed.WithLabelValues().Set(float64(began.Unix()))
		m.witnessedSize.WithLabelValues()
	}
}

// Folded implements seal.Observer.
func (m *SealObserver) Folded(p figures.PollSums) {
	m.asked.WithLabelValues("without").Add(float64(p.Without))
	m.asked.WithLabelValues("before").Add(float64(p.Before))
	m.asked.WithLabelValues("after").Add(float64(p.After))
	m.askedFinal.Add(float64(p.Final))
}

// Vouched implements seal.Observer.
func (m *SealObserver) Vouched(witness string, at time.Time) {
	m.vouched.WithLabelValues(witness).Set(float64(at.Unix()))
}

// Witnessed implements seal.Observer.
func (m *SealObserver) Witnessed(size int64, until time.Time) {
	m.witnessed.WithLabelValues().Set(float64(until.Unix()))
	m.witnessedSize.WithLabelValues().Set(float64(size))
}

// WitnessFailed implements seal.Observer.
func (m *SealObserver) WitnessFailed(witness string, refused bool) {
	m.witnessFailures.WithLabelValues(witness).Inc()
	if refused {
		m.witnessRefusals.Inc()
	}
}

// Sealed implements seal.Observer.
func (m *SealObserver) Sealed(entries int) { m.sealed.Add(float64(entries)) }

// Extends implements seal.Observer.
func (m *SealObserver) Extends(size int64) {
	m.stopped.Set(0)
	m.size.Set(float64(size))
	m.ran.SetToCurrentTime()
}

// Delayed implements seal.Observer.
func (m *SealObserver) Delayed(by time.Duration) { m.horizon.Set(by.Seconds()) }

// Checkpointed implements seal.Observer.
func (m *SealObserver) Checkpointed(at time.Time) { m.checkpointed.Set(float64(at.Unix())) }

// Strays implements seal.Observer.
func (m *SealObserver) Strays(n int64) {
	m.strays.Add(float64(n))
	if m.Tampering != nil && n > 0 {
		m.Tampering(fmt.Sprintf("%d entries without a position of their own stand in the log's past", n))
	}
}

// Stopped implements seal.Observer.
func (m *SealObserver) Stopped() { m.stopped.Set(1) }

// Anchored implements seal.Observer.
func (m *SealObserver) Anchored(anchor string, at time.Time) {
	m.anchored.WithLabelValues(anchor).Set(float64(at.Unix()))
}

// AnchorFailed implements seal.Observer.
func (m *SealObserver) AnchorFailed(anchor string) { m.failures.WithLabelValues(anchor).Inc() }

// VerifiedOK implements seal.VerifyObserver.
func (m *SealObserver) VerifiedOK(scope string, at time.Time) {
	m.okTime.WithLabelValues(scope).Set(float64(at.Unix()))
}

// VerifiedBad implements seal.VerifyObserver.
func (m *SealObserver) VerifiedBad(scope string) { m.bad.WithLabelValues(scope).Inc() }

// Verified implements seal.VerifyObserver.
func (m *SealObserver) Verified(size int64, bad bool) {
	m.verified.Set(float64(size))
	m.badNow.Set(truth(bad))
}

// BearPlaces makes the series of the places where the log is published exist before anything is counted. Until it is published, its time
// is the start of this replica.
func (m *SealObserver) BearPlaces(names []string, began time.Time) {
	for _, place := range names {
		m.publishFailures.WithLabelValues(place)
		m.published.WithLabelValues(place)
		m.publishedTime.WithLabelValues(place).Set(float64(began.Unix()))
	}
}

// Published implements seal.Observer.
func (m *SealObserver) Published(place string, size int64, at time.Time) {
	m.published.WithLabelValues(place).Set(float64(size))
	m.publishedTime.WithLabelValues(place).Set(float64(at.Unix()))
}

// Signed implements seal.Observer.
func (m *SealObserver) Signed(took time.Duration, err error) {
	if m.Signing != nil {
		m.Signing(took, err)
	}
}

// PublishFailed implements seal.Observer.
func (m *SealObserver) PublishFailed(place string) { m.publishFailures.WithLabelValues(place).Inc() }
