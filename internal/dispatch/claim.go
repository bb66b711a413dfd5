package dispatch

import (
	"context"
	"slices"
	"time"

	"github.com/arauto/arauto/internal/notice"
)

// claim asks for work of the ready lanes, as far as slots are free. Slots asked for are reserved until the answer.
func (l *loop) claim(now time.Time, next *alarm) {
	l.lanes.promote(now)
	if len(l.lanes.later) > 0 {
		next.at(l.lanes.later[0].dueAt)
	}
	l.lanes.measure(now)
	for len(l.asked) < claimCalls && l.sound() && len(l.lanes.ready) > 0 {
		grants := l.lanes.share(allowance{slots: l.cfg.Slots, perLane: l.cfg.PerLane, rows: claimRows, lanes: l.batchLimit.size, now: now})
		if len(grants) == 0 {
			return
		}
		requests := make([]notice.ClaimRequest, len(grants))
		for i, g := range grants {
			l.lanes.asking(g.lane, now)
			requests[i] = g.lane.request(g.free, now)
			l.lanes.book(g.lane, 0, g.free)
		}
		l.asked = append(l.asked, l.callClaim(requests))
		l.tellBehind(now)
	}
}

func (l *loop) callClaim(requests []notice.ClaimRequest) time.Time {
	var got []notice.Attempt
	// A claim older than Lease − Timeout leaves no room for an attempt, so there is no use in waiting for it longer.
	limit := min(callTimeout, l.cfg.Lease-l.cfg.Timeout)
	return l.call(limit, "claim", func(ctx context.Context) (err error) {
		got, err = l.queue.Claim(ctx, requests, l.cfg.Lease)
		return err
	}, func(asked time.Time, err error) func() {
		l.observer.Claimed(time.Since(asked), got, err)
		return func() { l.noteClaim(asked, requests, got, err) }
	})
}

// noteClaim gives back what was not filled and starts what was.
func (l *loop) noteClaim(asked time.Time, requests []notice.ClaimRequest, attempts []notice.Attempt, err error) {
	now := time.Now()
	l.asked = slices.DeleteFunc(l.asked, asked.Equal)
	defer func() { l.tellBehind(now) }()
	if err != nil {
		l.noteClaimFailed(requests, err, now)
		return
	}
	l.link.failures = 0
	l.answered(asked, now)
	l.batchLimit.worked()
	l.claimed = now

	l.noteDelay(requests, attempts)
	got := make(map[notice.ClientID]int, len(requests))
	for i := range attempts {
		attempts[i].ClaimedAt = asked // from before the claim was asked for: the lease is at least as young
		got[attempts[i].Client]++
		l.begin(attempts[i])
	}
	for _, w := range requests {
		lane, n := l.lanes.of(w.Client), got[w.Client]
		l.lanes.book(lane, n, -w.Free)
		lane.started(n, now)
		lane.poison = poison{}
		if n >= w.Free {
			l.lanes.due(w.Client, now, now) // it came back full: there may be more
		} else {
			lane.stopped = time.Time{}
		}
		l.lanes.release(lane)
	}
}

// recent is how long due a first attempt may be to count as a sign of present overload. What an outage left behind is
// older, and must not keep the next payment out.
const recent = 10 * time.Second

// noteDelay keeps the average of how long the first attempts of a claim had been due, of lanes that waited for no slot.
func (l *loop) noteDelay(requests []notice.ClaimRequest, got []notice.Attempt) {
	held := make(map[notice.ClientID]bool)
	for _, w := range requests {
		if !l.lanes.of(w.Client).stopped.IsZero() {
			held[w.Client] = true
		}
	}
	var sum time.Duration
	n := 0
	limit := min(recent, time.Since(l.link.since)) // what fell due while the database was away does not count either
	for i := range got {
		one := &got[i]
		if delay := one.StartedAt.Sub(one.ScheduledAt); one.Number == 1 && !one.Manual && delay <= limit && !held[one.Client] {
			sum, n = sum+delay, n+1
		}
	}
	old := l.delay
	if n == 0 {
		l.delay = old / 2
	} else {
		l.delay = (3*old + sum/time.Duration(n)) / 4
	}
}

// noteClaimFailed makes the lanes ask again. Whether the claim was committed is not known; if it was, a rescue finds out.
func (l *loop) noteClaimFailed(requests []notice.ClaimRequest, err error, now time.Time) {
	alone := len(requests) == 1
	wasAside := false
	for _, w := range requests {
		lane := l.lanes.of(w.Client)
		l.lanes.book(lane, 0, -w.Free)
		if alone {
			wasAside = lane.poison.isolated
			lane.poison.failedAlone(now, l.claimed, err)
			if lane.poison.isolated && !wasAside {
				l.log.Error("lane put aside: claims for it alone fail", "client", w.Client, "error", err)
			}
		}
		l.lanes.due(w.Client, now, now)
	}
	l.batchLimit.failed(len(requests))
	if !wasAside {
		l.broke("claim", err, now)
	}
}
