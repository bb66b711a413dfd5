package dispatch

import (
	"context"
	"slices"
	"time"

	"github.com/arauto/arauto/internal/notice"
)

// result is an attempt, and from its end on an outcome that is not stored yet.
type result struct {
	notice.Settlement
	heldSince time.Time
	owed      bool // it was held when the database was interrupted
	poison    poison
}

// results are all outcomes not stored yet: waiting, put aside, or in a settlement under way. Each still has its slot.
type results struct {
	held       map[*result]struct{} // all of them
	waiting    []*result            // in the order in which they are stored
	isolated   []*result            // tried alone, every few seconds
	owed       int                  // how many of held must be stored before claims and rescues go on
	calls      int                  // settlements under way
	batchLimit batchLimit
	stored     time.Time // when a settlement last succeeded
}

// owe marks what is held now as owed, except what was put aside.
func (r *results) owe() {
	r.owed = 0
	for h := range r.held {
		if h.owed = !h.poison.isolated; h.owed {
			r.owed++
		}
	}
}

// paid takes a result out of the owed.
func (r *results) paid(h *result) {
	if h.owed {
		h.owed = false
		r.owed--
	}
}

// take picks what the next settlement stores: what was put aside and may be tried again, alone; or a full batch, or
// what has waited for within. It returns nil when there is nothing yet, and then notes in next when there will be.
func (r *results) take(now time.Time, within time.Duration, next *alarm) []*result {
	for i, h := range r.isolated {
		if !now.Before(h.poison.until) {
			r.isolated = slices.Delete(r.isolated, i, i+1)
			return []*result{h}
		}
		next.at(h.poison.until)
	}
	if len(r.waiting) == 0 {
		return nil
	}
	if ready := r.waiting[0].heldSince.Add(within); len(r.waiting) < r.batchLimit.size && r.owed == 0 && now.Before(ready) {
		next.at(ready)
		return nil
	}
	n := min(len(r.waiting), r.batchLimit.size)
	batch := slices.Clone(r.waiting[:n])
	r.waiting = slices.Delete(r.waiting, 0, n)
	return batch
}

// hold keeps the outcome of an attempt until it is stored, and those that came with it.
func (l *loop) hold(h *result) {
	now := time.Now()
	for {
		l.lanes.of(h.Attempt.Client).ended(&h.Result, now)
		h.heldSince = now
		l.results.held[h] = struct{}{}
		l.results.waiting = append(l.results.waiting, h)
		select {
		case h = <-l.sendDone:
		default:
			return
		}
	}
}

// settle stores outcomes while the database answers.
func (l *loop) settle(now time.Time, next *alarm) {
	for l.link.answers && l.results.calls < settleCalls {
		batch := l.results.take(now, settleWithin, next)
		if batch == nil {
			return
		}
		l.results.calls++
		l.callSettle(batch)
	}
}

func (l *loop) callSettle(batch []*result) {
	done := make([]notice.Settlement, len(batch))
	for i, h := range batch {
		done[i] = h.Settlement
	}
	var next []notice.Lane
	l.call(callTimeout, "settle", func(ctx context.Context) (err error) {
		next, err = l.queue.Settle(ctx, done)
		return err
	}, func(asked time.Time, err error) func() {
		l.observer.Settled(time.Since(asked), done, err)
		if err == nil {
			for i := range done {
				l.account(&done[i])
			}
		}
		return func() { l.noteSettle(asked, batch, next, err) }
	})
}

// noteSettle frees the slots of what is stored, and keeps the rest.
func (l *loop) noteSettle(asked time.Time, batch []*result, next []notice.Lane, err error) {
	now := time.Now()
	l.results.calls--
	if err != nil {
		l.noteSettleFailed(batch, err, now)
		return
	}
	l.link.failures = 0
	l.answered(asked, now)
	l.results.batchLimit.worked()
	l.results.stored = now
	for _, h := range batch {
		l.results.paid(h)
		delete(l.results.held, h)
		lane := l.lanes.of(h.Attempt.Client)
		l.lanes.book(lane, -1, 0)
		l.lanes.release(lane)
	}
	l.followUp(next, now)
}

// noteSettleFailed keeps a batch for later. One that failed alone goes to the end, so that others show whether the
// database or it is to blame.
func (l *loop) noteSettleFailed(batch []*result, err error, now time.Time) {
	r := &l.results
	r.batchLimit.failed(len(batch))
	if len(batch) > 1 {
		r.waiting = slices.Concat(batch, r.waiting)
		l.broke("settle", err, now)
		return
	}
	h := batch[0]
	known := h.poison.isolated
	h.poison.failedAlone(now, r.stored, err)
	if !h.poison.isolated {
		h.heldSince = now
		r.waiting = append(r.waiting, h)
		l.broke("settle", err, now)
		return
	}
	r.paid(h)
	r.isolated = append(r.isolated, h)
	if !known {
		l.log.Error("outcome put aside: it alone cannot be stored", "notification", h.Attempt.Notification,
			"number", h.Attempt.Number, "outcome", h.Result.Outcome, "error", err)
		l.broke("settle", err, now)
	}
}
