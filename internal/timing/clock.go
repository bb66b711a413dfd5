// Package timing says whether a notification was told on time, and if not, why. From a history.Record it makes the clock
// proof of that notification: each instant between the event and the answer, what took how long, and the verdicts on the
// 1.5 s, 10 s and 60 s of webhook §4.1. It adds proofs up to the TimingSummary of a period, and puts them into words.
//
// It has no clock, no context and no I/O. It guarantees that the same record gives the same verdict, and that a record with
// entries that are missing or changed gives none.
package timing

import (
	"slices"
	"time"

	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

// The clock proof: for one notification, each instant between the event and the answer, what took how long, and the
// verdicts on the 1.5 s, 10 s and 60 s of webhook §4.1.
//
// All instants are on the database's clock, or are durations of one replica's monotonic clock added to one of them.
// Where that leaves a doubt of a network's delay, it counts against us: an attempt seems to start a little later than it
// did where late is asked, and a little earlier where early is.

// GapTolerance is how much later than its 10 s or 60 s a retry may start (cases C2). It is ours: the rule gives the
// distance alone.
const GapTolerance = time.Second

// Punctuality is the verdict on the start of one attempt.
type Punctuality string

// The verdicts. The empty one means that there is nothing to judge: an operator's resend, or one cancelled before its
// first attempt.
const (
	OnTime   Punctuality = "on-time"
	TooLate  Punctuality = "late"
	TooEarly Punctuality = "early"   // a retry before its distance was over; it never happens
	NotYet   Punctuality = "waiting" // it has not started, and may still be on time
	Unknown  Punctuality = "unknown" // an entry that the verdict rests on is not what was sealed, or is missing
)

// IdlePeriod is a period in which nothing was committed.
type IdlePeriod struct{ From, To time.Time }

// Timing is the clock proof of one notification.
type Timing struct {
	Notification notice.ID       `json:"notificationId"`
	ChangeID     notice.ID       `json:"changeId"`
	Client       notice.ClientID `json:"clientId"`
	Kind         ofb.Kind        `json:"kind"`
	ResourceID   string          `json:"resourceId"`
	State        notice.State    `json:"state"`
	Manual       bool            `json:"manual"`

	OccurredAt history.Moment  `json:"occurredAt"`           // the core's clock, or a timer's deadline
	ReceivedAt history.Moment  `json:"receivedAt"`           // the last byte of the change that was accepted was read
	FirstAt    history.Moment  `json:"firstReceivedAt"`      // the earliest receipt of this change, whatever was answered then
	Refusals   int64           `json:"refusals"`             // how often it came before and was not accepted, as far as is known
	RefusedFor string          `json:"refusedFor,omitempty"` // why it was not accepted first: unavailable, busy, behind, quarantine
	DecidedAt  history.Moment  `json:"decidedAt"`            // the transaction of the decision: createdAt
	WrittenAt  history.Moment  `json:"writtenAt"`            // the decision was written in it; its commit follows
	NotBefore  history.Moment  `json:"notBefore"`
	DueAt      history.Moment  `json:"dueAt"` // of the first attempt
	Attempts   []AttemptTiming `json:"attempts"`

	First Start `json:"first"` // on the first attempt, also while it has not started

	Tampered  bool              `json:"tampered"`  // an entry it rests on is not what was sealed, or is missing: the verdicts are Unknown, and the instants are as stored
	Integrity history.Integrity `json:"integrity"` // of the entries it rests on
}

// Start is the judgement on when a first attempt started.
type Start struct {
	FromEvent    Punctuality    `json:"fromEvent"`   // the rule: within 1.5 s of the event
	FromReceipt  Punctuality    `json:"fromReceipt"` // our part of it: within 1.5 s of the change's first receipt
	SinceEvent   history.Micros `json:"sinceEventMicros"`
	SinceReceipt history.Micros `json:"sinceReceiptMicros"`
	Cause        notice.Delay   `json:"cause,omitzero"` // when either is late
}

// Late tells whether either verdict is.
func (v Start) Late() bool { return v.FromEvent == TooLate || v.FromReceipt == TooLate }

// AttemptTiming is the chain of instants of one attempt.
type AttemptTiming struct {
	Number       int            `json:"number"`
	Interaction  notice.ID      `json:"interactionId"`
	Outcome      notice.Outcome `json:"outcome,omitzero"`
	DueAt        history.Moment `json:"dueAt"`
	ClaimedAt    history.Moment `json:"claimedAt"` // recorded as started, before anything is sent
	HandedOverAt history.Moment `json:"handedOverAt"`
	DialledAt    history.Moment `json:"dialledAt"`
	HandshakenAt history.Moment `json:"handshakenAt"`
	FirstByteAt  history.Moment `json:"firstByteOutAt"`
	AnsweredAt   history.Moment `json:"answeredAt"`
	EndedAt      history.Moment `json:"endedAt"`
	StoredAt     history.Moment `json:"storedAt"`
	StartedAt    history.Moment `json:"startedAt"` // what the verdict counts: first byte out; handed over where none left; claimed where nobody knows

	Gap   Punctuality    `json:"gap,omitzero"` // of a retry: the distance from the failure before
	Since history.Micros `json:"sinceFailureMicros,omitzero"`
	Cause notice.Delay   `json:"cause,omitzero"` // when it was late
	Took  []Stage        `json:"took"`
}

// Stage is how long something took, as far as it is known.
type Stage struct {
	What notice.Delay   `json:"what"`
	Took history.Micros `json:"micros"`
}

// TimingOf judges a notification by its entries. idle are the periods in which nothing was committed, as far as
// they are known; now is the database's clock and matters only while the first attempt has not started.
func TimingOf(r *history.Record, idle []IdlePeriod, now time.Time) Timing {
	t := Timing{
		Notification: r.ID, ChangeID: r.ChangeID, Client: r.Client, Kind: r.Kind, ResourceID: r.ResourceID, State: r.State, Manual: r.Manual,
		OccurredAt: moment(r.OccurredAt), DecidedAt: moment(r.CreatedAt), NotBefore: moment(r.Arrival.NotBefore), DueAt: moment(r.CreatedAt),
		Attempts: make([]AttemptTiming, 0, len(r.Attempts)),
	}
	t.ReceivedAt = moment(r.ReceivedAt())
	t.FirstAt = t.ReceivedAt
	for _, e := range r.Arrival.Earlier {
		if e.At.Before(t.FirstAt.Time) {
			t.FirstAt = moment(e.At)
		}
		if t.Refusals += e.Times; t.RefusedFor == "" {
			t.RefusedFor = e.For
		}
	}
	t.WrittenAt = moment(t.ReceivedAt.Add(r.Arrival.Waited))
	if r.Arrival.NotBefore.After(r.CreatedAt) {
		t.DueAt = t.NotBefore
	}
	for i := range r.Attempts {
		t.Attempts = append(t.Attempts, t.attempt(r, i, idle))
	}
	t.judgeFirst(r, idle, now)
	if t.Tampered = r.Tampered || incomplete(r); t.Tampered {
		t.forgetVerdicts(r)
	}
	t.Integrity = r.Integrity.Listed()
	return t
}

// incomplete tells that an attempt is missing that the notification must have had: its entry was removed.
func incomplete(r *history.Record) bool {
	for i := range r.Attempts {
		if r.Attempts[i].Number != i+1 {
			return true
		}
	}
	switch {
	case r.State == notice.Delivered:
		return len(r.Attempts) == 0
	case r.State == notice.Exhausted && !r.Manual:
		return len(r.Attempts) < notice.MaxAttempts
	}
	return false
}

// forgetVerdicts makes every verdict unknown.
func (t *Timing) forgetVerdicts(r *history.Record) {
	if t.First.FromEvent != "" || !r.Manual && incomplete(r) {
		t.First.FromEvent, t.First.FromReceipt, t.First.Cause = Unknown, Unknown, notice.DelayTampered
	}
	for i := range t.Attempts {
		a := &t.Attempts[i]
		if a.Cause = ""; a.Gap != "" || i == 0 && t.First.FromEvent != "" {
			a.Cause = notice.DelayTampered
		}
		if a.Gap != "" {
			a.Gap = Unknown
		}
	}
}

// quietMost is how much of the history is looked at for one call of TimingsOf; a longer wait is a standstill or a
// backlog, and its beginning tells which.
const quietMost = 6 * time.Hour

// TimingsOf judges notifications, which are in the order of time. Only lateness needs a cause, and only a cause needs to
// know of standstills, and that only where it would otherwise be a time in which the database had to commit: idle is asked at most
// once for the periods in which nothing was committed, and may return those around too. Its error is returned.
func TimingsOf(records []history.Record, now time.Time, idle func(from, to time.Time) ([]IdlePeriod, error)) ([]Timing, error) {
	out := make([]Timing, len(records))
	if err := FillTimings(out, records, now, idle); err != nil {
		return nil, err
	}
	return out, nil
}

// FillTimings is TimingsOf into out, which is as long as records. After an error out means nothing.
func FillTimings(out []Timing, records []history.Record, now time.Time, idle func(from, to time.Time) ([]IdlePeriod, error)) error {
	var from, to time.Time
	for n := range records {
		out[n] = TimingOf(&records[n], nil, now)
		if !out[n].idleMatters() {
			continue
		}
		begin, end := out[n].late(now)
		if from.IsZero() || begin.Before(from) {
			from = begin
		}
		to = later(to, end)
	}
	if from.IsZero() {
		return nil
	}
	if limit := from.Add(quietMost); to.After(limit) {
		to = limit
	}
	still, err := idle(from, to)
	if err != nil {
		return err
	}
	for n := range records {
		if out[n].idleMatters() {
			out[n] = TimingOf(&records[n], still, now)
		}
	}
	return nil
}

// idleMatters tells whether a period in which nothing was committed could be a cause in place of one that was found without it.
func (t *Timing) idleMatters() bool {
	return slices.ContainsFunc(t.Attempts, func(a AttemptTiming) bool { return becomesStandstill(a.Cause) }) || becomesStandstill(t.First.Cause)
}

// becomesStandstill tells causes that give way to a standstill.
func becomesStandstill(cause notice.Delay) bool {
	return cause == notice.DelayIntake || cause == notice.DelayQueue || cause == notice.DelaySettling
}

// late is the time in which a late notification was late.
func (t *Timing) late(now time.Time) (from, to time.Time) {
	from, to = t.ReceivedAt.Time, now
	for n := range t.Attempts {
		a := &t.Attempts[n]
		if n == 0 {
			to = a.ClaimedAt.Time
			if !t.First.Late() {
				from = a.EndedAt.Time
			}
		}
		if a.Gap == TooLate {
			to = a.ClaimedAt.Time
		}
	}
	return from, to
}

// judgeFirst gives the verdicts on the first attempt, and the cause when it is late.
func (t *Timing) judgeFirst(r *history.Record, idle []IdlePeriod, now time.Time) {
	started := now
	var stages []Stage
	switch {
	case r.Manual:
		return
	case len(t.Attempts) > 0:
		started, stages = t.Attempts[0].StartedAt.Time, t.Attempts[0].Took
	case r.State != notice.Pending:
		return // cancelled before it began
	default:
		stages = t.before(r, now, &history.AttemptRecord{})
	}
	v := &t.First
	v.SinceEvent, v.SinceReceipt = micros(started.Sub(r.OccurredAt)), micros(started.Sub(t.FirstAt.Time))
	judge := func(since history.Micros) Punctuality {
		switch {
		case since.Duration() > notice.FirstWithin:
			return TooLate
		case len(t.Attempts) == 0:
			return NotYet
		}
		return OnTime
	}
	v.FromEvent, v.FromReceipt = judge(v.SinceEvent), judge(v.SinceReceipt)
	if !v.Late() {
		return
	}
	v.Cause = t.cause(stages, idle)
	if v.FromReceipt != TooLate && (t.FirstAt.Sub(r.OccurredAt) > notice.FirstWithin || r.Arrival.Rejudged) {
		if v.Cause = notice.DelayCore; r.Arrival.Unknown {
			v.Cause = notice.DelayUnknown
		}
	}
	if len(t.Attempts) > 0 {
		t.Attempts[0].Cause = v.Cause
	}
}

// before is what took time between the first receipt and the claim of the first attempt, which is a.
func (t *Timing) before(r *history.Record, claimed time.Time, a *history.AttemptRecord) []Stage {
	due := later(t.DueAt.Time, t.WrittenAt.Time)
	before := append(t.refused(r),
		Stage{notice.DelayIntake, micros(t.WrittenAt.Sub(t.ReceivedAt.Time))},
		Stage{notice.DelayHeld, micros(due.Sub(t.WrittenAt.Time))},
	)
	return stages(append(before, waited(a, claimed.Sub(due))...)...)
}

// waited splits the time from due to claimed into what the lane was held for a slot, and the rest.
func waited(a *history.AttemptRecord, took time.Duration) []Stage {
	held := max(0, min(a.HeldFor, took))
	return []Stage{{a.Held, micros(held)}, {notice.DelayQueue, micros(took - held)}}
}

// refused is what took time between the first receipt and the one that was accepted, added up by cause.
func (t *Timing) refused(r *history.Record) []Stage {
	var out []Stage
	earlier := r.Arrival.Earlier
	for i, e := range earlier {
		next := t.ReceivedAt.Time
		if i+1 < len(earlier) && earlier[i+1].At.Before(next) {
			next = earlier[i+1].At
		}
		took := micros(next.Sub(e.At))
		if n := slices.IndexFunc(out, func(s Stage) bool { return s.What == e.What }); n >= 0 {
			out[n].Took += max(0, took)
		} else {
			out = append(out, Stage{e.What, max(0, took)})
		}
	}
	return out
}

func (t *Timing) attempt(r *history.Record, i int, idle []IdlePeriod) AttemptTiming {
	a := &r.Attempts[i]
	out := AttemptTiming{
		Number: a.Number, Interaction: a.Interaction, Outcome: a.Outcome, DueAt: moment(a.ScheduledAt), ClaimedAt: moment(a.StartedAt),
		EndedAt: moment(a.EndedAt), StoredAt: moment(a.StoredAt), StartedAt: moment(a.StartedAt),
	}
	o := a.Offsets
	measured := o != history.Offsets{} // nobody measured one whose end is unknown
	if measured {
		handed := a.StartedAt.Add(o.ClaimToSend)
		out.HandedOverAt = moment(handed)
		for _, stage := range []struct {
			to  *history.Moment
			off time.Duration
		}{{&out.DialledAt, o.Dialled}, {&out.HandshakenAt, o.Handshaken}, {&out.FirstByteAt, o.FirstByteOut}, {&out.AnsweredAt, o.Answered}} {
			if stage.off > 0 {
				*stage.to = moment(handed.Add(stage.off))
			}
		}
	}
	var sending []Stage
	switch {
	case o.FirstByteOut > 0:
		out.StartedAt = out.FirstByteAt
		sending = []Stage{{notice.DelaySending, micros(o.ClaimToSend)}, {notice.DelayConnect, micros(o.FirstByteOut)}}
	case measured: // it ended before a byte left
		out.StartedAt = out.HandedOverAt
		sending = []Stage{{notice.DelaySending, micros(o.ClaimToSend)}}
	}
	if i == 0 || r.Manual {
		out.Took = stages(append(t.before(r, a.StartedAt, a), sending...)...)
		return out
	}
	t.judgeGap(&out, &r.Attempts[i-1], a, sending, idle)
	return out
}

// judgeGap gives the verdict on the distance from the failure before (webhook §4.1).
func (t *Timing) judgeGap(out *AttemptTiming, before, a *history.AttemptRecord, sending []Stage, idle []IdlePeriod) {
	settling := notice.DelaySettling
	if before.Rescued {
		settling = notice.DelayRescued
	}
	ready := a.ScheduledAt
	var late time.Duration // how long after the due time the failure was known
	if before.StoredAt.After(ready) {
		late, ready = before.StoredAt.Sub(ready), before.StoredAt
	}
	out.Took = stages(append(append([]Stage{{settling, micros(late)}}, waited(a, a.StartedAt.Sub(ready))...), sending...)...)
	gap, due := notice.Next(before.Number, false)
	if !due || before.EndedAt.IsZero() {
		return
	}
	out.Since = micros(out.StartedAt.Sub(before.EndedAt))
	switch {
	case a.StartedAt.Sub(before.EndedAt) < gap:
		out.Gap = TooEarly
	case out.Since.Duration() > gap+GapTolerance:
		out.Gap, out.Cause = TooLate, t.causeOfGap(out, idle)
	default:
		out.Gap = OnTime
	}
}

func (t *Timing) causeOfGap(out *AttemptTiming, idle []IdlePeriod) notice.Delay {
	cause := longest(out.Took)
	if (cause == notice.DelayQueue || cause == notice.DelaySettling) && stoodStill(idle, out.DueAt.Time, out.ClaimedAt.Time) {
		return notice.DelayStandstill
	}
	return cause
}

// cause is the stage that took longest; where nobody committed anything for most of it, that is the cause.
func (t *Timing) cause(all []Stage, idle []IdlePeriod) notice.Delay {
	due := later(t.DueAt.Time, t.WrittenAt.Time)
	for _, s := range all {
		if s.What != longest(all) {
			continue
		}
		if s.What == notice.DelayIntake && stoodStill(idle, t.ReceivedAt.Time, t.WrittenAt.Time) ||
			s.What == notice.DelayQueue && stoodStill(idle, due, due.Add(s.Took.Duration())) {
			return notice.DelayStandstill
		}
		return s.What
	}
	return ""
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func moment(at time.Time) history.Moment { return history.Moment{Time: at} }

func micros(d time.Duration) history.Micros { return history.Micros(d.Microseconds()) }

// stages leaves out what took no time.
func stages(all ...Stage) []Stage {
	return slices.DeleteFunc(all, func(s Stage) bool { return s.Took <= 0 })
}

func longest(all []Stage) notice.Delay {
	var cause notice.Delay
	var most history.Micros
	for _, s := range all {
		if s.Took > most {
			cause, most = s.What, s.Took
		}
	}
	return cause
}

// stoodStill tells whether idle covers at least half of a stretch.
func stoodStill(idle []IdlePeriod, from, to time.Time) bool {
	var covered time.Duration
	for _, q := range idle {
		if a, b := later(q.From, from), q.To; b.After(a) {
			if b.After(to) {
				b = to
			}
			covered += max(0, b.Sub(a))
		}
	}
	return covered > 0 && covered >= to.Sub(from)/2
}

// Reported tells whether a report on a period lists it: a time was not kept, or nobody knows.
func (t *Timing) Reported() bool { return t.Tampered || len(t.Breaches()) > 0 }

// Breaches lists what of the rule's times was not kept, "first", "second" or "third"; none for an operator's resend, and
// none where that is not known.
func (t *Timing) Breaches() []string {
	var out []string
	if t.First.Late() {
		out = append(out, "first")
	}
	for i := 1; i < len(t.Attempts); i++ {
		if g := t.Attempts[i].Gap; g == TooLate || g == TooEarly {
			out = append(out, [...]string{"second", "third"}[min(i-1, 1)])
		}
	}
	return out
}
