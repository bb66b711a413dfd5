package intake

import (
	"slices"
	"time"

	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

// judge decides what becomes of one change, from what is stored of its resource and nothing else (design, "Judging a
// change"). It is pure: the same past gives the same decision at any replica.
func (in *Intake) judge(c *notice.Change, p *notice.Past) notice.Decision {
	// A case that is applied is told that its revision is stored by now before what is wrong with its line: nobody need correct that any more.
	switch applied := !c.Quarantine.IsZero(); {
	case len(c.Problems) > 0 && applied && p.Same != nil:
		return notice.Decision{Verdict: notice.Conflicting, Why: "content"}
	case len(c.Problems) > 0:
		return notice.Decision{Verdict: notice.Quarantined, Problems: c.Problems}
	}
	if r := p.Resource; r != nil {
		switch {
		case r.Client != c.Client:
			return notice.Decision{Verdict: notice.Conflicting, Why: "owner"}
		case r.APIVersion != c.APIVersion:
			return notice.Decision{Verdict: notice.Conflicting, Why: "version"}
		}
	}
	if s := p.Same; s != nil {
		if s.State.Data == c.State.Data && s.Cause == c.Cause && s.OccurredAt.Equal(c.OccurredAt) {
			return notice.Decision{Verdict: notice.Duplicate, Earlier: s, Current: s.Number >= p.Resource.Revision}
		}
		return notice.Decision{Verdict: notice.Conflicting, Why: "content"}
	}
	return in.judgeNew(c, p)
}

// judgeNew decides about a revision that was never seen.
func (in *Intake) judgeNew(c *notice.Change, p *notice.Past) notice.Decision {
	d := notice.Decision{Verdict: notice.Applied, Current: p.Resource == nil || c.Revision > p.Resource.Revision}
	if !d.Current {
		d.Verdict = notice.Superseded
	}
	from, overruled := predecessor(c, p, d.Current)
	carry(c, from)
	if from != nil && !c.Kind.Reaches(from.Status, c.State.Status) {
		return notice.Decision{Verdict: notice.Quarantined, Problems: []notice.Problem{{
			Pointer: "/data/status", Code: "illegal-transition",
			Detail:   "no legal steps lead from " + string(from.Status) + " to " + string(c.State.Status),
			DetailPT: "nenhuma transição permitida leva de " + string(from.Status) + " a " + string(c.State.Status),
		}}}
	}
	if p.Resource != nil {
		d.Announced = p.Resource.Announced
	}
	d.Overruled = overruled
	if from != nil {
		d.From, d.Fields = from.Status, c.Kind.Differing(*from, c.State)
	}
	if d.Current {
		d.Timer = c.Timer
	}
	d.Judged = ofb.Judge(c.Kind, from, c.State, c.Cause)
	in.settle(c, p, &d)
	if !d.Current {
		in.judgeNext(c, p, &d)
	}
	return d
}

// carry gives a change the watched values of its predecessor that it does not tell itself: nobody edited them, and the document that
// tells them again is no edit either.
func carry(c *notice.Change, from *ofb.ResourceState) {
	for _, pointer := range c.Unread {
		delete(c.State.Watched, pointer)
		if from == nil {
			continue
		}
		if value, known := from.Watched[pointer]; known {
			c.State.Watched[pointer] = value
		}
	}
}

// predecessor is the state a change is judged from: the highest stored revision below it, or what a timer made of the
// resource since, unless the core's word is older than the timer's deadline; then the timer is overruled.
func predecessor(c *notice.Change, p *notice.Past, current bool) (from *ofb.ResourceState, overruled time.Time) {
	if p.Before != nil {
		from = &p.Before.State
	}
	if r := p.Resource; current && r != nil && !r.TimerAt.IsZero() {
		if c.OccurredAt.After(r.TimerAt) {
			return &r.State, time.Time{}
		}
		return from, r.TimerAt
	}
	return from, time.Time{}
}

// settle turns the verdict of the rules into an announcement, or into the reason for silence.
func (in *Intake) settle(c *notice.Change, p *notice.Past, d *notice.Decision) {
	v := &d.Judged
	if v.Duty == ofb.May && !slices.Contains(in.cfg.OptionalAuthorised, c.Kind) {
		v.Duty, v.Silence = ofb.MustNot, ofb.OptionalOff
	}
	stateChange := d.From != c.State.Status
	bit := stateBit(c.Kind, c.State.Status)
	if v.Duty != ofb.MustNot && !d.Current && stateChange && d.Announced&bit != 0 {
		v.Duty, v.Silence = ofb.MustNot, ofb.AlreadyAnnounced
	}
	if v.Duty != ofb.MustNot && !p.Push {
		v.Duty, v.Silence = ofb.MustNot, ofb.NoWebhook
		if p.Unregistered {
			v.Silence = ofb.UnknownClient
		}
	}
	if v.Duty == ofb.MustNot {
		return
	}
	d.Announce = in.announcement(c, p, &notice.Revision{Number: c.Revision, ChangeID: c.ID, State: c.State, OccurredAt: c.OccurredAt}, *v)
	d.Announce.NotBefore = c.NotBefore
	if stateChange {
		d.Announced |= bit
	}
}

// judgeNext judges the next stored revision again, now that its predecessor is known: a silence that becomes a duty is
// announced (design, "Judging a change"). A silence for want of a registration stays one.
func (in *Intake) judgeNext(c *notice.Change, p *notice.Past, d *notice.Decision) {
	next := p.After
	if next == nil || !next.Notification.IsZero() || p.AnnouncedLater || !p.Push {
		return
	}
	switch next.Silence {
	case ofb.NotATrigger, ofb.NoChange, ofb.OptionalOff, ofb.AlreadyAnnounced:
	default:
		return
	}
	v := ofb.Judge(c.Kind, &c.State, next.State, next.Cause)
	bit := stateBit(c.Kind, next.State.Status)
	stateChange := next.State.Status != c.State.Status
	if v.Duty == ofb.MustNot || v.Duty == ofb.May && !slices.Contains(in.cfg.OptionalAuthorised, c.Kind) || stateChange && d.Announced&bit != 0 {
		return
	}
	d.Rejudged = in.announcement(c, p, next, v)
	if stateChange {
		d.Announced |= bit
	}
}

// announcement tells a revision of the resource of c: its own, or a later one.
func (in *Intake) announcement(c *notice.Change, p *notice.Past, r *notice.Revision, v ofb.Ruling) *notice.Announcement {
	return &notice.Announcement{
		Notification: notice.Notification{
			ID: in.cfg.NewID(), ChangeID: r.ChangeID, Client: c.Client, Kind: c.Kind, ResourceID: c.ResourceID, APIVersion: c.APIVersion,
			Revision: r.Number, Status: r.State.Status, Event: v.Event, EventAt: r.OccurredAt.UTC().Truncate(time.Second), PushEpoch: p.Epoch,
		},
		OccurredAt: r.OccurredAt, Clause: v.Clause,
	}
}

// stateBit is a state's place in the set of announced states.
func stateBit(kind ofb.Kind, s ofb.Status) uint64 {
	return 1 << uint(kind.Place(s))
}
