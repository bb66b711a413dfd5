// Package metrics declares every metric of the product, with its help, and counts what the other packages tell their
// observers. A series with labels that an alarm selects exists at 0 from the start.
package metrics

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/arauto/arauto/internal/dispatch"
	"github.com/arauto/arauto/internal/logging"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/webhook"
)

// delays are the bounds of histograms of lateness, in seconds: fine around what is usual, exact at the rule's 1.5 s.
var delays = []float64{.001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 1.5, 2, 5, 15, 60}

// Metrics are the product's figures. No label takes a client's or a resource's id: labels are closed lists.
// A field is exported where somebody else measures its value.
type Metrics struct {
	Registry *prometheus.Registry

	changes       *prometheus.CounterVec
	changeSeconds prometheus.Histogram
	commitSeconds prometheus.Histogram
	commitSize    prometheus.Histogram
	refused       *prometheus.CounterVec
	unheard       *prometheus.CounterVec
	Receipts      prometheus.Gauge

	attempts       *prometheus.CounterVec
	attemptSeconds *prometheus.HistogramVec
	firstDelay     prometheus.Histogram
	lateFirst      prometheus.Counter
	withChange     prometheus.Counter
	gapError       *prometheus.HistogramVec
	claimSeconds   prometheus.Histogram
	claimErrors    prometheus.Counter
	settleSeconds  prometheus.Histogram
	settleErrors   prometheus.Counter
	rescued        prometheus.Counter
	exhausted      *prometheus.CounterVec
	nonconforming  *prometheus.CounterVec
	manual         prometheus.Counter
	panics         prometheus.Counter
	inFlight       prometheus.Gauge
	unsettled      prometheus.Gauge
	lanes          prometheus.Gauge
	QueueAge       prometheus.Gauge
	Backlog        *prometheus.GaugeVec
	quarantine     *quarantineObserver
	interrupted    prometheus.Gauge
	dbFault        *prometheus.GaugeVec
	connections    prometheus.Gauge
	dials          *prometheus.CounterVec
	closed         *prometheus.CounterVec

	requests       *prometheus.CounterVec
	requestSeconds *prometheus.HistogramVec
	files          *prometheus.CounterVec
	leftOut        *prometheus.GaugeVec
	expiry         *prometheus.GaugeVec
	daysLeft       *prometheus.GaugeVec
	receivers      *prometheus.GaugeVec
	lists          *prometheus.GaugeVec
	revocation     *prometheus.CounterVec
	Pool           *prometheus.GaugeVec
	Skew           prometheus.Gauge
	Timers         prometheus.Counter
	streams        prometheus.Gauge
	Handshakes     prometheus.Counter
	Open           *prometheus.GaugeVec
	Turned         *prometheus.CounterVec
	polls          *prometheus.CounterVec
	pollCommit     prometheus.Histogram
	pollsKept      *prometheus.CounterVec
	shed           *prometheus.CounterVec
	feedWaiting    prometheus.Gauge
	feedEvents     *prometheus.CounterVec
	Sources        *SourceObserver
	HeldMonths     prometheus.Gauge
	GivenUp        func(notice.ClientID) // told of each notification that was given up; nil: nobody
	Tampered       prometheus.Counter

	signerSeconds  *prometheus.HistogramVec
	signerFailures *prometheus.CounterVec
	signerOK       *prometheus.GaugeVec
}

// namespace makes figures and registers them. Their names begin with arauto_ and a prefix.
type namespace struct {
	prometheus.Registerer
	prefix string
}

func (r namespace) counter(name, help string, labels ...string) *prometheus.CounterVec {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "arauto_" + r.prefix + name, Help: help}, labels)
	r.MustRegister(v)
	return v
}

func (r namespace) gauge(name, help string, labels ...string) *prometheus.GaugeVec {
	v := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "arauto_" + r.prefix + name, Help: help}, labels)
	r.MustRegister(v)
	return v
}

func (r namespace) histogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	v := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "arauto_" + r.prefix + name, Help: help, Buckets: buckets}, labels)
	r.MustRegister(v)
	return v
}

// New registers the figures of a replica that runs this version.
func New(version string) *Metrics {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m := &Metrics{Registry: r}
	own := namespace{r, ""}
	counter, gauge, histogram := own.counter, own.gauge, own.histogram
	one := func(v *prometheus.HistogramVec) prometheus.Histogram {
		return v.WithLabelValues().(prometheus.Histogram)
	}

	m.nonconforming = counter("changes_nonconforming_total", "Changes that were stored although their document does not conform to the API's schema, by kind.", "kind")
	m.changes = counter("changes_total", "Changes judged, by kind, verdict and, for changes that are not announced, the reason.", "kind", "verdict", "reason")
	m.changeSeconds = one(histogram("change_seconds", "Time from the arrival of a change to its commit, in seconds.", delays))
	m.commitSeconds = one(histogram("intake_commit_seconds", "Duration of one shared commit of changes, in seconds.", delays))
	m.commitSize = one(histogram("intake_commit_changes", "Changes in one shared commit.", []float64{1, 2, 5, 10, 20, 50, 100, 200}))
	m.refused = counter("changes_refused_total", "Changes answered 503, by reason.", "why")
	m.unheard = counter("receipts_unknown_total", "Requests with changes that were refused unread, or whose first receipt could not be kept, by reason.", "why")
	m.Receipts = gauge("refused_changes_waiting", "Refused changes of this replica whose first receipt is not in the history yet.").WithLabelValues()
	m.attempts = counter("attempts_total", "Attempts ended, by number, outcome and class of the answer.", "number", "outcome", "status")
	m.attemptSeconds = histogram("attempt_seconds", "Duration of an attempt in seconds, by outcome.", delays, "outcome")
	m.firstDelay = one(histogram("first_attempt_delay_seconds", "Delay of a first attempt in seconds: from its due time to its claim by the database's clock, or, when it is claimed in the commit of its change, from the beginning to the confirmation of that commit.", delays))
	m.lateFirst = counter("first_attempts_late_total", "First attempts started more than 1.5 s after the event. Resends by hand have no such limit and are not counted.").WithLabelValues()
	m.manual = counter("resend_attempts_total", "Attempts of resends by hand that started.").WithLabelValues()
	m.withChange = counter("first_attempts_with_change_total", "First attempts claimed in the commit of their change.").WithLabelValues()
	m.gapError = histogram("retry_gap_error_seconds", "Delay of a retry beyond its gap of 10 s or 60 s, in seconds, by number of the attempt.", delays, "number")
	m.claimSeconds = one(histogram("claim_seconds", "Duration of one claim, in seconds.", delays))
	m.claimErrors = counter("claim_errors_total", "Claims that failed.").WithLabelValues()
	m.settleSeconds = one(histogram("settle_seconds", "Duration of one settlement, in seconds.", delays))
	m.settleErrors = counter("settle_errors_total", "Settlements that failed; each is retried.").WithLabelValues()
	m.rescued = counter("attempts_rescued_total", "Attempts settled as unknown because their lease expired.").WithLabelValues()
	m.exhausted = counter("notifications_exhausted_total", "Notifications given up because the outcome of the third attempt was a failure, by kind.", "kind")
	m.panics = counter("panics_total", "Panics caught; each is the failure of one unit of work.").WithLabelValues()
	m.inFlight = gauge("attempts_in_flight", "Attempts in flight in this replica; each takes a slot.").WithLabelValues()
	m.unsettled = gauge("outcomes_unsettled", "Outcomes of this replica that are not stored yet.").WithLabelValues()
	m.lanes = gauge("lanes_waiting", "Initiators with due notifications that wait for a slot.").WithLabelValues()
	m.QueueAge = gauge("queue_age_seconds", "Time for which the most overdue notification has been due, in seconds.").WithLabelValues()
	m.Backlog = gauge("notifications_queued", "Notifications in the queue, of all replicas, by state; counted up to 100,000.", "state")
	m.quarantine = newQuarantineObserver(own)
	m.interrupted = gauge("dispatch_interrupted", "1 while the database does not answer the dispatcher.").WithLabelValues()
	m.dbFault = gauge("database_fault", "1 while the last write of a kind by this replica failed, by cause; the cause record is not counted.", "cause")
	m.connections = gauge("webhook_connections", "Open connections to initiators.").WithLabelValues()
	m.dials = counter("webhook_dials_total", "Connection attempts to initiators, by result.", "result")
	m.closed = counter("webhook_connections_closed_total", "Connections to initiators that were closed, by reason.", "reason")
	for _, why := range webhook.CloseReasons() {
		m.closed.WithLabelValues(string(why))
	}
	m.requests = counter("http_requests_total", "Requests, by listener, route and status.", "listener", "route", "status")
	m.requestSeconds = histogram("http_request_seconds", "Duration of requests in seconds, by listener and route.", delays, "listener", "route")
	m.files = counter("file_reloads_total", "Reloads of certificate, key and trust files, by result.", "result")
	m.leftOut = gauge("trust_left_out", "Authorities and keys that are not in force although the rest of their file or set is, by kind.", "kind")
	m.expiry = gauge("certificate_not_after_seconds", "Expiry of each of our certificates, in seconds since 1970.", "what")
	m.daysLeft = gauge("certificate_days_left", "Whole days until the first of our certificates or authorities expires, by role.", "role")
	m.receivers = gauge("receiver_certificates", "Certificates of initiators' endpoints that expire within the days of the label, as last seen.", "within")
	m.lists = gauge("revocation_list_valid_until_seconds", "End of a revocation list's validity, in seconds since 1970; 0: it was never fetched.", "direction", "source", "issuer")
	m.revocation = counter("revocation_decisions_total", "Judgements on peers' certificates, by direction, verdict, evidence and whether a fallback was used.", "direction", "verdict", "evidence", "fallback")
	m.Pool = gauge("database_connections", "Connections in use, by pool.", "pool")
	m.Skew = gauge("clock_skew_seconds", "The database's clock minus this replica's, in seconds.").WithLabelValues()
	m.Timers = counter("timers_fired_total", "Changes made by a deadline of the rules.").WithLabelValues()
	m.streams = gauge("streams_open", "Streams of changes that are open.").WithLabelValues()
	m.Handshakes = counter("handshakes_refused_total", "Handshakes refused on the public listener.").WithLabelValues()
	m.Open = gauge("connections", "Connections that are open, by listener.", "listener")
	m.Turned = counter("connections_refused_total", "Connections refused because a listener reached its limit of open files, by listener.", "listener")
	m.polls = counter("polls_total", "Status queries answered, by kind, status and error code.", "kind", "status", "code")
	m.pollCommit = one(histogram("poll_commit_seconds", "Duration of one shared commit of poll records, in seconds.", delays))
	m.pollsKept = counter("polls_kept_total", "Poll records that were not stored by a shared commit, by way.", "way")
	m.HeldMonths = gauge("history_months_held", "Months of the history that a hold keeps beyond their retention time.").WithLabelValues()
	m.Tampered = counter("tampered_reads_total", "Reads of the internal API that found entries which differ from the sealed log.").WithLabelValues()
	m.signerSeconds = histogram("signer_seconds", "Duration of a signature or a trial by a process that has a key of ours, in seconds, by key (answers, answers BRAND, log).", delays, "key")
	m.signerFailures = counter("signer_failures_total", "Signatures and trials that a process that has a key of ours did not make, by key (answers, answers BRAND, log).", "key")
	m.signerOK = gauge("signer_ok_time_seconds", "Time of the last signature or trial by a process that has a key of ours, by key (answers, answers BRAND, log), in seconds since 1970; before the first: the start of this replica. Absent for a key in a file.", "key")
	m.Sources = newSourceObserver(r)
	m.shed = counter("polls_shed_total", "Status queries refused by a limit.", "limit")
	m.feedWaiting = gauge("feed_polls_waiting", "Long polls of initiators that wait for an event now.").WithLabelValues()
	m.feedEvents = counter("feed_events_total", "Notifications that initiators read from a feed, by feed.", "feed")
	gauge("build_info", "Always 1; the label is the running version.", "version").WithLabelValues(version).Set(1)
	m.bear()
	return m
}

// Handler answers with every metric, in the format of Prometheus.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.Registry, promhttp.HandlerOpts{})
}

// Accepted implements intake.Observer.
func (m *Metrics) Accepted(kind ofb.Kind, verdict notice.Verdict, silence ofb.Silence, waited time.Duration) {
	name := kindNone
	if kind != 0 {
		name = kind.String()
	}
	m.changes.WithLabelValues(name, string(verdict), string(silence)).Inc()
	m.changeSeconds.Observe(waited.Seconds())
}

// Nonconforming implements intake.Observer.
func (m *Metrics) Nonconforming(kind ofb.Kind) { m.nonconforming.WithLabelValues(kind.String()).Inc() }

// Committed implements intake.Observer.
func (m *Metrics) Committed(changes int, took time.Duration, err error) {
	if err == nil {
		m.commitSeconds.Observe(took.Seconds())
		m.commitSize.Observe(float64(changes))
	}
}

// Refused implements intake.Observer.
func (m *Metrics) Refused(why string) { m.refused.WithLabelValues(why).Inc() }

// Unheard implements receipt.Observer.
func (m *Metrics) Unheard(why string) { m.unheard.WithLabelValues(why).Inc() }

// Claimed implements dispatch.Observer.
func (m *Metrics) Claimed(took time.Duration, got []notice.Attempt, err error) {
	if err != nil {
		m.claimErrors.Inc()
		return
	}
	m.claimSeconds.Observe(took.Seconds())
	for i := range got {
		delay := got[i].StartedAt.Sub(got[i].ScheduledAt).Seconds()
		if got[i].Number > 1 {
			m.gapError.WithLabelValues(strconv.Itoa(got[i].Number)).Observe(delay)
			continue
		}
		m.first(&got[i], delay)
	}
}

// first counts the start of a first attempt. A resend by hand has no limit of 1.5 s.
func (m *Metrics) first(a *notice.Attempt, delay float64) {
	m.firstDelay.Observe(delay)
	switch {
	case a.Manual:
		m.manual.Inc()
	case a.Late:
		m.lateFirst.Inc()
	}
}

// Started implements dispatch.Observer.
func (m *Metrics) Started(got []notice.Attempt) {
	m.withChange.Add(float64(len(got)))
	for i := range got {
		m.first(&got[i], time.Since(got[i].BeganAt).Seconds())
	}
}

// Settled implements dispatch.Observer.
func (m *Metrics) Settled(took time.Duration, done []notice.Settlement, err error) {
	if err != nil {
		m.settleErrors.Inc()
		return
	}
	m.settleSeconds.Observe(took.Seconds())
	for i := range done {
		r := &done[i].Result
		class := "none"
		if r.HTTPStatus > 0 {
			class = strconv.Itoa(r.HTTPStatus/100) + "xx"
		}
		m.attempts.WithLabelValues(strconv.Itoa(done[i].Attempt.Number), string(r.Outcome), class).Inc()
		m.attemptSeconds.WithLabelValues(string(r.Outcome)).Observe(r.Elapsed.Seconds())
		if done[i].GivesUp() {
			m.exhausted.WithLabelValues(done[i].Attempt.Kind.String()).Inc()
			if m.GivenUp != nil {
				m.GivenUp(done[i].Attempt.Client)
			}
		}
	}
}

// Rescued implements dispatch.Observer.
func (m *Metrics) Rescued(n int, givenUp []notice.ClientID) {
	m.rescued.Add(float64(n))
	for _, client := range givenUp {
		if m.GivenUp != nil {
			m.GivenUp(client)
		}
	}
}

// Panicked implements dispatch.Observer and the one of package api.
func (m *Metrics) Panicked() { m.panics.Inc() }

// Swept implements dispatch.Observer.
func (m *Metrics) Swept(l dispatch.Load) {
	m.inFlight.Set(float64(l.InFlight))
	m.unsettled.Set(float64(l.Unsettled))
	m.lanes.Set(float64(l.WaitingLanes))
	m.QueueAge.Set(l.Oldest.Seconds())
	m.interrupted.Set(0)
	if l.Interrupted {
		m.interrupted.Set(1)
	}
}

// Attempted implements webhook.Observer; what it tells is counted when it is settled.
func (m *Metrics) Attempted(notice.ClientID, *notice.Result) {}

// Dialled implements webhook.Observer.
func (m *Metrics) Dialled(err error) {
	result := "open"
	if err != nil {
		result = "failed"
	}
	m.dials.WithLabelValues(result).Inc()
}

// Connections implements webhook.Observer.
func (m *Metrics) Connections(change int) { m.connections.Add(float64(change)) }

// ShowFaults shows which faults keep this replica from writing to the database; a cause that is not named is over.
func (m *Metrics) ShowFaults(now map[store.FaultCause]bool) {
	for _, cause := range store.Causes() {
		m.dbFault.WithLabelValues(string(cause)).Set(truth(now[cause]))
	}
}

// Closed implements webhook.Observer.
func (m *Metrics) Closed(why webhook.CloseReason) {
	m.closed.WithLabelValues(string(why)).Inc()
}

// CountLost makes the lines that a writer loses a metric.
func (m *Metrics) CountLost(o *logging.LogWriter) {
	m.Registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "arauto_log_lines_lost_total", Help: "Lines of the process's log that were lost: the reader was too slow, or refused them.",
	}, func() float64 { return float64(o.Lost()) }))
}
