package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/arauto/arauto/internal/events"
)

// EventObserver implements events.Observer.
type EventObserver struct{ sent *prometheus.CounterVec }

// NewEventObserver registers the figures of these ways.
func NewEventObserver(r prometheus.Registerer, ways []events.Way) EventObserver {
	m := EventObserver{namespace{r, "event_"}.counter("messages_total", "Messages to operators about events, by way and result; a failed one is sent again.", "way", "result")}
	for _, w := range ways {
		m.sent.WithLabelValues(w.Name(), "sent")
		m.sent.WithLabelValues(w.Name(), "failed")
	}
	return m
}

// EventSent counts a message.
func (m EventObserver) EventSent(way string, err error) {
	result := "sent"
	if err != nil {
		result = "failed"
	}
	m.sent.WithLabelValues(way, result).Inc()
}
