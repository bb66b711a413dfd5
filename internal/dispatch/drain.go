package dispatch

import (
	"fmt"
	"time"
)

// drain begins the end of Run: nothing is claimed from now on. Claims under way are waited for, since a claim that is
// cut off may have been committed.
func (l *loop) drain(now time.Time) {
	l.wakes.stop()
	l.draining = true
	l.leave = now.Add(l.cfg.DrainTimeout - leaveGrace)
	l.cutAt = now.Add(l.cfg.DrainTimeout - cutGrace)
	l.sweepAt = l.link.probeAt()
	l.log.Info("drain started: no new claims", "in_flight", l.lanes.inFlight(), "unsettled", len(l.results.held))
}

// idle tells that nothing is owed to anybody any more.
func (l *loop) idle() bool {
	return l.lanes.inFlight() == 0 && l.lanes.reserved == 0 && len(l.asked) == 0
}

// cutOff ends attempts that are still under way when only the time to store their outcome is left. With the usual
// limits there are none: an attempt takes less than the drain.
func (l *loop) cutOff(now time.Time, next *alarm) {
	next.at(l.leave)
	if now.Before(l.cutAt) {
		next.at(l.cutAt)
		return
	}
	l.endSends(errShutdown) // which does nothing the second time
}

// end cancels what is left and waits a moment for calls of the queue to return. Attempts that ignore the end of their
// context are not waited for.
func (l *loop) end() {
	close(l.gone)
	l.endSends(errShutdown)
	l.endCalls()
	returned := make(chan struct{})
	go func() {
		defer close(returned)
		l.running.Wait()
	}()
	grace := time.NewTimer(leaveGrace)
	defer grace.Stop()
	select {
	case <-returned:
	case <-grace.C:
	}
}

// left tells what was not stored.
func (l *loop) left() error {
	if n := l.lanes.inFlight(); n > 0 {
		return fmt.Errorf("drain: %d attempts ended without a stored outcome, %d of them with an outcome that could not be stored",
			n, len(l.results.held))
	}
	if n := len(l.asked); n > 0 {
		return fmt.Errorf("drain: %d claims did not answer", n)
	}
	if n := l.lanes.reserved; n > 0 {
		return fmt.Errorf("drain: %d first attempts still waited for the commit of their change", n)
	}
	return nil
}
