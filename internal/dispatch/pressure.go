package dispatch

import (
	"math"
	"time"

	"github.com/arauto/arauto/internal/notice"
)

// pressure foresees how long a first attempt of a lane that comes now would wait for a slot: as long as those before it
// need, at the pace at which the lane has lately been given slots. What a claim has waited tells of the instant it came in;
// when three times as much comes as can be sent, that is a third of what the next one will wait, and told too late (cases
// A8). It is the lane's own: one that brings more than its share is told so, and no other.
type pressure struct {
	at    time.Time
	span  float64 // seconds in which more waited than slots were free, of late
	taken float64 // first attempts claimed in these seconds
}

const (
	// paceOver is the time over which the pace is taken: long enough to be steady when slots come free in groups.
	paceOver = time.Second
	// paceKnown is how long more must have waited than slots were free before a pace is known; a burst that is over by
	// then was none to speak of.
	paceKnown = 50 * time.Millisecond
	// lookAgain is the least distance between two looks.
	lookAgain = 5 * time.Millisecond
)

// see notes that so many first attempts wait for a slot, and that taken were claimed since the last look. It returns how
// long another would wait; 0 when nothing is known yet.
func (p *pressure) see(now time.Time, waiting, taken int) time.Duration {
	if p.at.IsZero() {
		p.at = now
		return 0
	}
	passed := now.Sub(p.at).Seconds()
	old := math.Exp(-passed / paceOver.Seconds())
	p.at, p.span, p.taken = now, p.span*old+passed, p.taken*old+float64(taken)
	if p.span < paceKnown.Seconds() {
		return 0
	}
	wait := float64(waiting) * p.span / max(p.taken, 0.01)
	return time.Duration(min(wait, notice.Timeout.Seconds()) * float64(time.Second))
}

// foresee looks what waits in each lane and publishes what Behind tells. While slots are free nothing waits for them, and
// a lane whose own receiver holds it up waits for that and not for us.
func (l *loop) foresee(now time.Time) {
	if now.Sub(l.looked) < lookAgain {
		return
	}
	l.looked = now
	waiting := 0
	for _, lane := range l.lanes.all {
		if !lane.held() {
			waiting += lane.waiting
		}
	}
	short := waiting > l.cfg.Slots-l.inFlight
	var waits map[notice.ClientID]time.Duration
	for client, lane := range l.lanes.all {
		if !short || lane.held() || lane.waiting == 0 {
			lane.pressure = pressure{}
		} else if wait := lane.pressure.see(now, lane.waiting, lane.taken); wait > 0 {
			if waits == nil {
				waits = map[notice.ClientID]time.Duration{}
			}
			waits[client] = wait
		}
		lane.taken = 0
	}
	l.foreseen.Store(&waits)
}

// served notes what one lane got of a claim: so many fewer wait, and none but those that came since when it got less
// than it asked for.
func (n *lane) served(first int, short bool) {
	n.taken += first
	n.waiting = max(0, n.waiting-first)
	if short {
		n.waiting = min(n.waiting, n.woken)
	}
}
