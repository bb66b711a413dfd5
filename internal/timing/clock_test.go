package timing

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
)

// noon is when the change of these tests happened.
var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func sec(s float64) time.Time { return noon.Add(time.Duration(s * float64(time.Second))) }

func lasting(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// prompt is a notification of which everything was on time: received 0.1 s after the event, refused, sent again after
// 10 s and after 60 s, and delivered.
func prompt() *history.Record {
	sent := history.Offsets{ClaimToSend: lasting(.002), Dialled: lasting(.01), Handshaken: lasting(.02), FirstByteOut: lasting(.021), Answered: lasting(.05), Elapsed: lasting(.05)}
	tried := func(n int, at float64) history.AttemptRecord {
		return history.AttemptRecord{
			Number: n, ScheduledAt: sec(at), StartedAt: sec(at + .01), EndedAt: sec(at + .062), StoredAt: sec(at + .07), Outcome: notice.OutcomeRefused, Offsets: sent,
		}
	}
	return &history.Record{
		OccurredAt: noon, CreatedAt: sec(.11), State: notice.Delivered, Arrival: history.Arrival{Source: "api", Began: lasting(.01), Waited: lasting(.012)},
		Attempts: []history.AttemptRecord{tried(1, .11), tried(2, 10.172), tried(3, 70.234)},
	}
}

func TestTheChainOfInstantsIsAddedUpFromWhatTheEntriesKeep(t *testing.T) {
	p := TimingOf(prompt(), nil, noon)
	require.Equal(t, sec(.1), p.ReceivedAt.Time)
	require.Equal(t, sec(.11), p.DecidedAt.Time)
	require.Equal(t, sec(.112), p.WrittenAt.Time)
	require.Equal(t, Start{FromEvent: OnTime, FromReceipt: OnTime, SinceEvent: 143000, SinceReceipt: 43000}, p.First)
	a := p.Attempts[0]
	for _, step := range []struct {
		want float64
		have history.Moment
	}{
		{.12, a.ClaimedAt},
		{.122, a.HandedOverAt},
		{.132, a.DialledAt},
		{.142, a.HandshakenAt},
		{.143, a.FirstByteAt},
		{.172, a.AnsweredAt},
		{.172, a.EndedAt},
		{.18, a.StoredAt},
		{.143, a.StartedAt},
	} {
		require.Equal(t, sec(step.want), step.have.Time)
	}
	require.Equal(t, []Stage{{notice.DelayIntake, 12000}, {notice.DelayQueue, 8000}, {notice.DelaySending, 2000}, {notice.DelayConnect, 21000}}, a.Took)
	require.Equal(t, OnTime, p.Attempts[1].Gap)
	require.EqualValues(t, 10033000, p.Attempts[1].Since)
	require.Equal(t, OnTime, p.Attempts[2].Gap)
	require.EqualValues(t, 60033000, p.Attempts[2].Since)
	require.Empty(t, p.Breaches())
}

func TestEveryCauseOfALateStartIsTold(t *testing.T) {
	first := func(r *history.Record) *history.AttemptRecord { return &r.Attempts[0] }
	// shift moves all that follows the decision.
	shift := func(r *history.Record, by time.Duration) {
		for i := range r.Attempts {
			a := &r.Attempts[i]
			a.ScheduledAt, a.StartedAt, a.EndedAt, a.StoredAt = a.ScheduledAt.Add(by), a.StartedAt.Add(by), a.EndedAt.Add(by), a.StoredAt.Add(by)
		}
	}
	claimLate := func(r *history.Record) { first(r).StartedAt = sec(3) }
	for name, c := range map[string]struct {
		spoil       func(*history.Record)
		quiet       []IdlePeriod
		event, ours Punctuality
		cause       notice.Delay
	}{
		"the core sent it late":   {func(r *history.Record) { r.OccurredAt = sec(-2) }, nil, TooLate, OnTime, notice.DelayCore},
		"a late revision":         {func(r *history.Record) { r.OccurredAt, r.Arrival.Rejudged = sec(-1.4), true }, nil, TooLate, OnTime, notice.DelayCore},
		"both late: ours is told": {func(r *history.Record) { r.OccurredAt = sec(-20); claimLate(r) }, nil, TooLate, TooLate, notice.DelayQueue},
		"a deadline fired late": {func(r *history.Record) {
			r.OccurredAt, r.Arrival.Source, r.Arrival.Earlier = sec(-2), "timer", []history.Receipt{{At: sec(-2), What: notice.DelayTimer}}
		}, nil, TooLate, TooLate, notice.DelayTimer},
		"a deadline that was over when it became known": {func(r *history.Record) {
			r.OccurredAt, r.Arrival.Source, r.Arrival.Earlier = sec(-2), "timer", []history.Receipt{{At: sec(-.1), What: notice.DelayTimer}}
		}, nil, TooLate, OnTime, notice.DelayCore},
		"we refused it for most of the time": {func(r *history.Record) {
			r.OccurredAt, r.Arrival.Earlier = sec(-33), []history.Receipt{{At: sec(-32.9), What: notice.DelayUnavailable, For: history.RefusedUnavailable, Times: 3}}
		}, nil, TooLate, TooLate, notice.DelayUnavailable},
		"it lay in quarantine longer than it was refused": {func(r *history.Record) {
			r.OccurredAt, r.Arrival.Earlier = sec(-33), []history.Receipt{{At: sec(-32.9), What: notice.DelayUnavailable, Times: 1}, {At: sec(-30), What: notice.DelayQuarantine, Times: 1}}
		}, nil, TooLate, TooLate, notice.DelayQuarantine},
		"we refused it, and it was late already": {func(r *history.Record) {
			r.OccurredAt, r.Arrival.Earlier = sec(-60), []history.Receipt{{At: sec(-.5), What: notice.DelayUnavailable, Times: 1}}
		}, nil, TooLate, OnTime, notice.DelayCore},
		"the source was read late": {func(r *history.Record) {
			r.OccurredAt, r.Arrival.Earlier = sec(-9), []history.Receipt{{At: sec(-8), What: notice.DelaySource}}
		}, nil, TooLate, TooLate, notice.DelaySource},
		"it may have come before":        {func(r *history.Record) { r.OccurredAt, r.Arrival.Unknown = sec(-2), true }, nil, TooLate, OnTime, notice.DelayUnknown},
		"unknown, and ours all the same": {func(r *history.Record) { r.Arrival.Unknown = true; claimLate(r) }, nil, TooLate, TooLate, notice.DelayQueue},
		"the core's wish":                {func(r *history.Record) { r.OccurredAt, r.Arrival.NotBefore = sec(5), sec(5); shift(r, 5*time.Second) }, nil, OnTime, TooLate, notice.DelayHeld},
		"it was handed over late, and no byte left": {func(r *history.Record) {
			first(r).Offsets = history.Offsets{ClaimToSend: lasting(2), Elapsed: lasting(.001)}
		}, nil, TooLate, TooLate, notice.DelaySending},
		"its claim took so long that it was not sent": {func(r *history.Record) {
			first(r).Offsets = history.Offsets{ClaimToSend: lasting(6)}
		}, nil, TooLate, TooLate, notice.DelaySending},
		"intake": {func(r *history.Record) {
			r.OccurredAt, r.Arrival.Began, r.Arrival.Waited = sec(-2), lasting(2), lasting(2.002)
		}, nil, TooLate, TooLate, notice.DelayIntake},
		"a lock within the transaction": {func(r *history.Record) { r.Arrival.Waited = lasting(2); shift(r, 2*time.Second) }, nil, TooLate, TooLate, notice.DelayIntake},
		"the queue":                     {claimLate, nil, TooLate, TooLate, notice.DelayQueue},
		"its receiver": {func(r *history.Record) {
			claimLate(r)
			first(r).Held, first(r).HeldFor = notice.DelayReceiver, lasting(1.6)
		}, nil, TooLate, TooLate, notice.DelayReceiver},
		"the slots": {func(r *history.Record) { claimLate(r); first(r).Held, first(r).HeldFor = notice.DelaySlots, lasting(9) }, []IdlePeriod{{sec(.5), sec(2.5)}}, TooLate, TooLate, notice.DelaySlots},
		"held for a small part of it": {func(r *history.Record) {
			claimLate(r)
			first(r).Held, first(r).HeldFor = notice.DelaySlots, lasting(.5)
		}, nil, TooLate, TooLate, notice.DelayQueue},
		"a standstill":                 {claimLate, []IdlePeriod{{sec(.5), sec(2.5)}}, TooLate, TooLate, notice.DelayStandstill},
		"a short standstill":           {claimLate, []IdlePeriod{{sec(.5), sec(1)}}, TooLate, TooLate, notice.DelayQueue},
		"a standstill at another time": {claimLate, []IdlePeriod{{sec(-60), sec(0)}, {sec(3), sec(60)}}, TooLate, TooLate, notice.DelayQueue},
		"a standstill before it was stored": {func(r *history.Record) {
			r.OccurredAt, r.Arrival.Began, r.Arrival.Waited = sec(-2), lasting(2), lasting(2.002)
		}, []IdlePeriod{{sec(-1.8), sec(0)}}, TooLate, TooLate, notice.DelayStandstill},
		"this process":                  {func(r *history.Record) { first(r).Offsets.ClaimToSend = lasting(2) }, nil, TooLate, TooLate, notice.DelaySending},
		"the connection":                {func(r *history.Record) { first(r).Offsets.FirstByteOut = lasting(2) }, nil, TooLate, TooLate, notice.DelayConnect},
		"a little of everything":        {func(r *history.Record) { r.OccurredAt = sec(-1.38); first(r).Offsets.FirstByteOut = lasting(.1) }, nil, TooLate, OnTime, notice.DelayConnect},
		"its end unknown, in time":      {func(r *history.Record) { first(r).Offsets, first(r).Outcome = history.Offsets{}, notice.OutcomeUnknown }, nil, OnTime, OnTime, ""},
		"its end unknown, claimed late": {func(r *history.Record) { claimLate(r); first(r).Offsets = history.Offsets{} }, nil, TooLate, TooLate, notice.DelayQueue},
		"not begun, and time is left":   {func(r *history.Record) { r.Attempts, r.State = nil, notice.Pending }, nil, NotYet, NotYet, ""},
		"an entry without beganMicros":  {func(r *history.Record) { r.Arrival.Began = 0 }, nil, OnTime, OnTime, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := prompt()
			c.spoil(r)
			p := TimingOf(r, c.quiet, sec(1))
			require.Equal(t, c.event, p.First.FromEvent)
			require.Equal(t, c.ours, p.First.FromReceipt)
			require.Equal(t, c.cause, p.First.Cause)
			require.Equal(t, c.cause != "", p.First.Late())
			askedWhereItMatters(t, r, sec(1))
		})
	}
}

// askedWhereItMatters requires the causes of a notification that a standstill around all of it leaves, and that nobody looks for one where it
// would be no cause.
func askedWhereItMatters(t *testing.T, r *history.Record, now time.Time) {
	t.Helper()
	always := []IdlePeriod{{sec(-3600), sec(3600)}}
	without, with, asked := TimingOf(r, nil, now), TimingOf(r, always, now), 0
	got, err := TimingsOf([]history.Record{*r}, now, func(time.Time, time.Time) ([]IdlePeriod, error) {
		asked++
		return always, nil
	})
	require.NoError(t, err)
	require.Equal(t, with, got[0])
	if asked == 0 {
		require.Equal(t, without, with)
	} else {
		require.NotEqual(t, without, with, "it was looked for, and could be no cause")
	}
}

func TestANotificationThatNobodyBeganIsLateWhenItsTimeIsOver(t *testing.T) {
	r := prompt()
	r.Attempts, r.State = nil, notice.Pending
	p := TimingOf(r, nil, sec(1.55))
	require.Equal(t, Start{FromEvent: TooLate, FromReceipt: NotYet, SinceEvent: 1550000, SinceReceipt: 1450000, Cause: notice.DelayQueue}, p.First)
	p = TimingOf(r, nil, sec(60))
	require.Equal(t, TooLate, p.First.FromReceipt)
	r.State = notice.Cancelled
	require.Zero(t, TimingOf(r, nil, sec(60)).First, "its registration ended first: there is nothing to judge")
}

func TestAnOperatorsResendHasNoSchedule(t *testing.T) {
	r := prompt()
	r.Manual, r.OccurredAt, r.Attempts = true, sec(-3600), r.Attempts[:1]
	p := TimingOf(r, nil, noon)
	require.Zero(t, p.First)
	require.Empty(t, p.Breaches())
}

func TestEveryCauseOfALateRetryIsTold(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(before, retry *history.AttemptRecord)
		quiet []IdlePeriod
		gap   Punctuality
		cause notice.Delay
	}{
		"on time at the limit": {func(_, a *history.AttemptRecord) { a.StartedAt = sec(11.149) }, nil, OnTime, ""},
		"the queue":            {func(_, a *history.AttemptRecord) { a.StartedAt = sec(11.2) }, nil, TooLate, notice.DelayQueue},
		"its receiver": {func(_, a *history.AttemptRecord) {
			a.StartedAt, a.Held, a.HeldFor = sec(15), notice.DelayReceiver, lasting(5)
		}, nil, TooLate, notice.DelayReceiver},
		"a standstill":                {func(_, a *history.AttemptRecord) { a.StartedAt = sec(15) }, []IdlePeriod{{sec(9), sec(14)}}, TooLate, notice.DelayStandstill},
		"the failure was stored late": {func(b, a *history.AttemptRecord) { b.StoredAt, a.StartedAt = sec(13), sec(13.1) }, nil, TooLate, notice.DelaySettling},
		"the attempt before was lost": {func(b, a *history.AttemptRecord) { b.Rescued, b.StoredAt, a.StartedAt = true, sec(13), sec(13.1) }, nil, TooLate, notice.DelayRescued},
		"the connection":              {func(_, a *history.AttemptRecord) { a.Offsets.FirstByteOut = lasting(3) }, nil, TooLate, notice.DelayConnect},
		"handed over late, no byte left": {func(_, a *history.AttemptRecord) {
			a.Offsets = history.Offsets{ClaimToSend: lasting(3), Elapsed: lasting(.001)}
		}, nil, TooLate, notice.DelaySending},
		"too early by a microsecond":  {func(b, a *history.AttemptRecord) { a.StartedAt = b.EndedAt.Add(10*time.Second - time.Microsecond) }, nil, TooEarly, ""},
		"not a microsecond too early": {func(b, a *history.AttemptRecord) { a.StartedAt = b.EndedAt.Add(10 * time.Second) }, nil, OnTime, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := prompt()
			r.Attempts = r.Attempts[:2]
			c.spoil(&r.Attempts[0], &r.Attempts[1])
			p := TimingOf(r, c.quiet, noon)
			require.Equal(t, c.gap, p.Attempts[1].Gap)
			require.Equal(t, c.cause, p.Attempts[1].Cause)
			require.Equal(t, c.gap != OnTime, len(p.Breaches()) == 1)
			askedWhereItMatters(t, r, noon)
		})
	}
}

func TestATallyAddsUp(t *testing.T) {
	total := NewTimingSummary()
	late := prompt()
	late.Attempts[0].StartedAt = sec(3)
	late.Attempts[2].StartedAt = sec(75)
	manual := prompt()
	manual.Manual = true
	for _, r := range []*history.Record{prompt(), prompt(), late, manual} {
		p := TimingOf(r, nil, noon)
		total.Add(&p)
	}
	require.Equal(t, []int64{4, 1, 2, 1, 1, 0}, []int64{total.Notifications, total.Manual, total.OnTime, total.Late, total.LateOurs, total.Waiting})
	require.Equal(t, []int64{6, 5, 1, 0}, []int64{total.Retries, total.RetriesOnTime, total.RetriesLate, total.RetriesEarly})
	require.Equal(t, map[notice.Delay]int64{notice.DelayQueue: 1}, total.LateBy)
	require.Equal(t, map[notice.Delay]int64{notice.DelayQueue: 1}, total.RetriesBy)
	text, err := json.Marshal(total)
	require.NoError(t, err)
	require.Contains(t, string(text), `"sinceEvent":{"count":3,"p50Micros":14`)
}

// TestAnAttemptThatIsMissingLeavesNoVerdict: a superuser deletes the entry of an attempt that was late.
func TestAnAttemptThatIsMissingLeavesNoVerdict(t *testing.T) {
	late := func() *history.Record {
		r := prompt()
		for i := range r.Attempts {
			r.Attempts[i].StartedAt = r.Attempts[i].StartedAt.Add(5 * time.Second)
		}
		return r
	}
	p := TimingOf(late(), nil, noon)
	require.Equal(t, TooLate, p.First.FromEvent)
	for name, spoil := range map[string]func(r *history.Record){
		"the first of three":       func(r *history.Record) { r.Attempts = r.Attempts[1:] },
		"the second of three":      func(r *history.Record) { r.Attempts = append(r.Attempts[:1], r.Attempts[2]) },
		"all of a delivered one":   func(r *history.Record) { r.Attempts = nil },
		"the last of one given up": func(r *history.Record) { r.State, r.Attempts = notice.Exhausted, r.Attempts[:2] },
		"all of one given up":      func(r *history.Record) { r.State, r.Attempts = notice.Exhausted, nil },
	} {
		r := late()
		spoil(r)
		p := TimingOf(r, nil, noon.Add(time.Hour))
		require.Equal(t, Unknown, p.First.FromEvent, name)
		require.Equal(t, notice.DelayTampered, p.First.Cause, name)
		require.True(t, p.Tampered && p.Reported(), name)
		tally := NewTimingSummary()
		tally.Add(&p)
		require.EqualValues(t, 1, tally.Unknown, name)
		require.Zero(t, tally.OnTime+tally.Late+tally.Waiting, name)
	}
	cancelled := late()
	cancelled.State, cancelled.Attempts = notice.Cancelled, nil
	p = TimingOf(cancelled, nil, noon)
	require.Empty(t, p.First.FromEvent, "what was cancelled before it began has no verdict")
	require.False(t, p.Tampered)
}
