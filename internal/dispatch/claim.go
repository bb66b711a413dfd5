package dispatch

import (
	"context"
	"time"

	"github.com/arauto/arauto/internal/notice"
)

// claim asks for work of the ready lanes, as far as slots are free. Slots asked for are reserved until the answer.
func (l *loop) claim(now time.Time, next *alarm) {
	l.lanes.promote(now)
	if len(l.lanes.later) > 0 {
		next.at(l.lanes.later[0].dueAt)
	}
	for l.claims < claimCalls && l.sound() && len(l.lanes.ready) > 0 {
		grants := l.lanes.share(allowance{
			free:    l.cfg.Slots - l.inFlight - l.asked,
			reserve: l.cfg.reserve(),
			perLane: l.cfg.PerLane,
			rows:    claimRows,
			lanes:   l.company.size,
			now:     now,
		})
		if len(grants) == 0 {
			l.lanes.growth(next)
			return
		}
		want := make([]notice.Want, len(grants))
		for i, g := range grants {
			l.lanes.asking(g.lane, now)
			want[i] = g.lane.want(g.free)
			l.asked += g.free
		}
		l.claims++
		l.callClaim(want)
	}
}

func (l *loop) callClaim(want []notice.Want) {
	var got []notice.Attempt
	// A claim older than Lease − Timeout leaves no room for an attempt, so there is no use in waiting for it longer.
	limit := min(l.cfg.CallTimeout, l.cfg.Lease-l.cfg.Timeout)
	l.call(limit, "claim", func(ctx context.Context) (err error) {
		got, err = l.queue.Claim(ctx, want, l.cfg.Lease, l.cfg.Timeout)
		return err
	}, func(asked time.Time, err error) {
		slots := 0
		for _, w := range want {
			slots += w.Free
		}
		l.observer.Claimed(time.Since(asked), len(want), slots, got, err)
		l.claimDone <- claimAnswer{asked, want, got, err}
	})
}

// noteClaim gives back what was not filled and starts what was.
func (l *loop) noteClaim(a claimAnswer) {
	now := time.Now()
	l.claims--
	if a.err != nil {
		l.noteClaimFailed(a, now)
		return
	}
	l.link.failures = 0
	l.answered(a.asked, now)
	l.company.worked()
	l.claimed = now

	l.noteDelay(a.got)
	got := make(map[notice.ClientID]int, len(a.want))
	first := make(map[notice.ClientID]int, len(a.want))
	for i := range a.got {
		a.got[i].ClaimedAt = a.asked // from before the claim was asked for: the lease is at least as young
		got[a.got[i].Client]++
		if a.got[i].Number == 1 {
			first[a.got[i].Client]++
		}
		l.lanes.of(a.got[i].Client).inFlight++
		l.inFlight++
		go l.attempt(a.got[i])
	}
	for _, w := range a.want {
		lane := l.lanes.of(w.Client)
		lane.asked -= w.Free
		l.asked -= w.Free
		lane.suspect = suspect{}
		lane.served(first[w.Client], got[w.Client] < w.Free)
		if got[w.Client] >= w.Free {
			l.lanes.due(w.Client, now, now) // it came back full: there may be more
		}
		l.lanes.release(lane)
	}
}

// recent is how long due a first attempt may be to count as a sign of present overload. What an outage left behind is
// older, and must not keep the next payment out.
const recent = 10 * time.Second

// noteDelay keeps the average of how long the first attempts of a claim had been due.
func (l *loop) noteDelay(got []notice.Attempt) {
	var sum time.Duration
	n := 0
	limit := min(recent, time.Since(l.link.since)) // what fell due while the database was away does not count either
	for i := range got {
		a := &got[i]
		lane := l.lanes.of(a.Client)
		delay := a.StartedAt.Sub(a.ScheduledAt)
		if a.Number == 1 && !a.Manual && delay <= limit && !lane.held() {
			sum, n = sum+delay, n+1
		}
	}
	old := l.behind.Load()
	if n == 0 {
		l.behind.Store(old / 2)
		return
	}
	l.behind.Store((3*old + int64(sum)/int64(n)) / 4)
}

// noteClaimFailed makes the lanes ask again. Whether the claim was committed is not known; if it was, a rescue finds out.
func (l *loop) noteClaimFailed(a claimAnswer, now time.Time) {
	alone := len(a.want) == 1
	wasAside := false
	for _, w := range a.want {
		lane := l.lanes.of(w.Client)
		lane.asked -= w.Free
		l.asked -= w.Free
		if alone {
			wasAside = lane.suspect.aside
			lane.suspect.failedAlone(now, l.claimed, a.err)
			if lane.suspect.aside && !wasAside {
				l.log.Error("lane put aside: claims for it alone fail", "client", w.Client, "error", a.err)
			}
		}
		l.lanes.due(w.Client, now, now)
	}
	l.company.failed(len(a.want))
	if !wasAside {
		l.broke("claim", a.err, now)
	}
}
