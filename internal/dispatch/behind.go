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

// Behind is how late first attempts are for want of our own means, the database's or the processor's: as the last ones
// were that had a slot free, or as the claim is that is under way. Let in less work when it comes near notice.FirstWithin.
// What receivers do, and want of slots, does not raise it.
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
	for _, asked := range l.asked {
		if b.asked.IsZero() || asked.Before(b.asked) {
			b.asked = asked
		}
	}
	l.behind.Store(&b)
}
