package metrics

import (
	"strconv"
	"time"

	"github.com/arauto/arauto/internal/ofb"
)

// HTTPObserver implements api.Observer.
type HTTPObserver struct{ *Metrics }

// Answered counts a request.
func (h HTTPObserver) Answered(listener, route, _ string, status int, took time.Duration) {
	h.requests.WithLabelValues(listener, route, strconv.Itoa(status)).Inc()
	h.requestSeconds.WithLabelValues(listener, route).Observe(took.Seconds())
}

// Line counts a line of a stream.
func (h HTTPObserver) Line(status int) {
	h.requests.WithLabelValues("internal", "/internal/v1/changes line", strconv.Itoa(status)).Inc()
}

// Streaming counts open streams.
func (h HTTPObserver) Streaming(change int) { h.streams.Add(float64(change)) }

// Panicked counts a panic.
func (h HTTPObserver) Panicked(string, string) { h.panics.Inc() }

// PollObserver implements spool.Observer and status.PublicObserver.
type PollObserver struct{ *Metrics }

// Committed counts a shared commit of polls.
func (p PollObserver) Committed(_ int, took time.Duration, err error) {
	if err == nil {
		p.pollCommit.Observe(took.Seconds())
	}
}

// Spooled counts polls kept in a file for a while.
func (p PollObserver) Spooled(n int) { p.pollsKept.WithLabelValues("spooled").Add(float64(n)) }

// Replayed counts polls that reached the history from a file.
func (p PollObserver) Replayed(n int) { p.pollsKept.WithLabelValues("replayed").Add(float64(n)) }

// PutAside counts polls that the database refuses permanently.
func (p PollObserver) PutAside(n int) { p.pollsKept.WithLabelValues("put-aside").Add(float64(n)) }

// Polled counts an answered status query.
func (p PollObserver) Polled(kind ofb.Kind, status int, code string) {
	name := kindNone
	if kind != 0 {
		name = kind.String()
	}
	p.polls.WithLabelValues(name, strconv.Itoa(status), code).Inc()
}

// Shed counts a refusal by a limit.
func (p PollObserver) Shed(limit string) { p.shed.WithLabelValues(limit).Inc() }

// Unrecorded counts an answer whose record could not be kept.
func (p PollObserver) Unrecorded(int) { p.pollsKept.WithLabelValues("unrecorded").Inc() }
