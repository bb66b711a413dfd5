package dispatch

import "time"

// behind is the measure of our own overload, as of an instant.
type behind struct {
	at    time.Time
	delay time.Duration // of first attempts of late, from due to claimed, where a slot was free
	asked time.Time     // of the oldest claim under way; zero: none
}

// behindLasts is how long a measured delay counts when no claim comes to correct it, for example because nothing is let in.
const behindLasts = time.Second

// Behind returns how late first attempts are because the database or the processor is slow: the delay of the last ones
// that had a free slot, or of the claim under way, whichever is longer. Accept less work when it nears
// notice.FirstWithin. Slow receivers and a lack of slots do not raise it.
func (d *Dispatcher) Behind() time.Duration {
	b := d.behind.Load()
	if b == nil {
		return 0
	}
	now := time.Now()
	late := time.Duration(0)
	if now.Sub(b.at) <= behindLasts {
		late = b.delay
	}
	if !b.asked.IsZero() {
		late = max(late, now.Sub(b.asked))
	}
	return late
}

// tellBehind publishes what Behind tells.
func (l *loop) tellBehind(now time.Time) {
	b := behind{at: now, delay: l.delay}
	if len(l.asked) > 0 {
		b.asked = l.asked[0]
	}
	l.behind.Store(&b)
}
