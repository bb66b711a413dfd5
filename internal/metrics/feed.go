package metrics

// FeedObserver implements status.ExtensionObserver.
type FeedObserver struct{ *Metrics }

// The feeds, as labels.
const (
	feedAll    = "all"
	feedMissed = "missed"
)

// Waiting counts long polls.
func (f FeedObserver) Waiting(change int) { f.feedWaiting.Add(float64(change)) }

// Listed counts notifications that were handed out.
func (f FeedObserver) Listed(missed bool, n int) {
	feed := feedAll
	if missed {
		feed = feedMissed
	}
	f.feedEvents.WithLabelValues(feed).Add(float64(n))
}
