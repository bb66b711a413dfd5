package store_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/intake"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/timing"
)

// refusal is the trace of a change that came so long ago and was refused three times.
func (b *bench) refusal(c change, ago time.Duration) history.ChangeRefusal {
	b.t.Helper()
	line, err := json.Marshal(c)
	require.NoError(b.t, err)
	read, err := b.intake.Read(line, intake.Origin{Source: "api", Actor: "core"})
	require.NoError(b.t, err)
	read.ReceivedAt = time.Now().Add(-ago)
	r := history.RefusalOf(store.NewID(), read, history.RefusedUnavailable)
	r.Facts.Refusals = 3
	return r
}

// lateBy is a change that happened so long ago.
func lateBy(id string, ago time.Duration) change {
	c := payment("itp", id, 1, "ACSC")
	c.OccurredAt = time.Now().Add(-ago)
	return c
}

// TestTheReportJudgesFromTheFirstReceipt is F24: what we refused is not the core's fault, whichever replica accepted it
// later, and whenever the trace of the refusal was stored.
func TestTheReportJudgesFromTheFirstReceipt(t *testing.T) {
	b := newBench(t)
	b.register("itp", "https://itp.example/hook")
	before, after, late, other := lateBy("before", 33*time.Second), lateBy("after", 33*time.Second), lateBy("late", time.Hour), lateBy("other", 33*time.Second)
	restarted := b.refusal(lateBy("restarted", 33*time.Second), 32*time.Second)
	restarted.Facts.WallClock, restarted.First = true, restarted.First.Round(0)
	came := map[string]time.Time{"restarted": restarted.First}
	first := b.refusal(before, 32*time.Second)
	came["before"] = first.First
	hold := time.Now().Add(-20 * time.Second)
	before.NotBefore = &hold // a core that reckons it anew for each call
	require.NoError(t, b.store.RecordRefusals(t.Context(), []history.ChangeRefusal{first, b.refusal(lateBy("other", time.Minute), 32*time.Second), restarted}, nil))
	again := lateBy("restarted", 0)
	again.OccurredAt = restarted.Facts.OccurredAt
	for _, c := range []change{before, after, late, other, again} {
		b.accept(c)
		b.sent(notice.OutcomeDelivered, time.Millisecond, 0, b.claimPromptly("itp")...)
	}
	twice := b.refusal(after, 32*time.Second)
	came["after"] = twice.First
	require.NoError(t, b.store.RecordRefusals(t.Context(), []history.ChangeRefusal{twice}, nil), "by another replica, later")
	require.NoError(t, b.store.RecordRefusals(t.Context(), []history.ChangeRefusal{twice}, nil), "and once more, as the answer was lost")

	r, breaches := b.punctuality(timing.Period{})
	require.Len(t, breaches, 5)
	for id, want := range map[string]notice.Delay{
		"before": notice.DelayUnavailable, "after": notice.DelayUnavailable, "restarted": notice.DelayUnavailable, "late": notice.DelayCore, "other": notice.DelayUnknown,
	} {
		p := breaches[id]
		require.Equal(t, want, p.First.Cause, "%s: %+v", id, p)
		if want != notice.DelayUnavailable {
			require.Zero(t, p.Refusals, id)
			require.Equal(t, p.ReceivedAt, p.FirstAt, id)
			continue
		}
		require.EqualValues(t, 3, p.Refusals, id)
		require.Equal(t, history.RefusedUnavailable, p.RefusedFor)
		require.WithinRange(t, p.FirstAt.Time, came[id].Add(-5*time.Second), came[id], "%s: a doubt counts against us", id)
	}
	require.EqualValues(t, 5, r.Total.Late)
	require.EqualValues(t, 3, r.Total.LateOurs)
	require.Equal(t, map[notice.Delay]int64{notice.DelayUnavailable: 3, notice.DelayCore: 1, notice.DelayUnknown: 1}, r.Total.LateBy)
	alone, err := b.log.Timing(t.Context(), b.notificationOf("after"))
	require.NoError(t, err)
	require.Equal(t, notice.DelayUnavailable, alone.First.Cause, "the same verdict, asked for alone")
}

// TestWhenReceiptsAreUnknownTheCoreIsNotBlamed: a period in which we may have refused without a trace.
func TestWhenReceiptsAreUnknownTheCoreIsNotBlamed(t *testing.T) {
	b := newBench(t)
	b.register("itp", "https://itp.example/hook")
	now := time.Now()
	require.NoError(t, b.store.RecordRefusals(t.Context(), nil, []history.Unheard{
		{From: now.Add(-30 * time.Second), To: now.Add(-20 * time.Second), Requests: 9, Why: "full"},
		{From: now.Add(-20 * time.Minute).Round(0), To: now.Add(-19 * time.Minute).Round(0), Why: "restart", Wall: true},
	}))
	for _, c := range []change{lateBy("within", 25*time.Second), lateBy("before", time.Minute), lateBy("since", 10*time.Second)} {
		b.accept(c)
		b.sent(notice.OutcomeDelivered, time.Millisecond, 0, b.claimPromptly("itp")...)
	}
	_, breaches := b.punctuality(timing.Period{})
	require.Equal(t, notice.DelayUnknown, breaches["within"].First.Cause)
	require.Equal(t, notice.DelayUnknown, breaches["before"].First.Cause)
	require.Equal(t, notice.DelayCore, breaches["since"].First.Cause)
	require.Equal(t, 2, one[int](b, "SELECT count(*) FROM entry WHERE kind = 'receipts-unknown' AND (facts->>'fromMicros')::bigint > (facts->>'toMicros')::bigint"))
}

// TestWhatLayInQuarantineIsOurs: applied as it was, the time in it is not the core's.
func TestWhatLayInQuarantineIsOurs(t *testing.T) {
	b := newBench(t)
	b.register("itp", "https://itp.example/hook")
	c := payment("itp", "held", 1, "ACSC")
	c.OccurredAt = time.Now().Add(-50 * time.Minute)
	line, err := json.Marshal(c)
	require.NoError(t, err)
	read, err := b.intake.Read(line, intake.Origin{Source: "api", Actor: "core"})
	require.NoError(t, err)
	// The case was put aside 49 minutes ago; no test waits for it.
	first := time.Now().Add(-49 * time.Minute)
	a, err := b.intake.Accept(t.Context(), line, intake.Origin{Source: "quarantine", Actor: "operator", Quarantine: read.CaseID(), FirstAt: first})
	require.NoError(t, err)
	require.Equal(t, notice.Applied, a.Verdict)
	b.sent(notice.OutcomeDelivered, time.Millisecond, 0, b.claimPromptly("itp")...)
	r, breaches := b.punctuality(timing.Period{})
	require.Equal(t, notice.DelayQuarantine, breaches["held"].First.Cause)
	require.EqualValues(t, 1, r.Total.LateOurs)
	require.WithinDuration(t, first, breaches["held"].FirstAt.Time, time.Microsecond)
}

// TestWhatAFollowedSourceToldLateIsOurs: from its commit in the origin on, a change was ours to read.
func TestWhatAFollowedSourceToldLateIsOurs(t *testing.T) {
	b := newBench(t)
	b.register("itp", "https://itp.example/hook")
	for id, committed := range map[string]time.Duration{"behind": 29 * time.Second, "late": 0} {
		line, err := json.Marshal(lateBy(id, 30*time.Second))
		require.NoError(t, err)
		_, err = b.intake.Accept(t.Context(), line, intake.Origin{Source: "core", Actor: "source:core", CommittedAt: time.Now().Add(-committed)})
		require.NoError(t, err)
		b.sent(notice.OutcomeDelivered, time.Millisecond, 0, b.claimPromptly("itp")...)
	}
	r, breaches := b.punctuality(timing.Period{})
	require.Equal(t, notice.DelaySource, breaches["behind"].First.Cause)
	require.Equal(t, notice.DelayCore, breaches["late"].First.Cause, "the core committed it half a minute after it happened")
	require.EqualValues(t, 1, r.Total.LateOurs)
	require.Zero(t, breaches["behind"].Refusals)
}

// knownFor fires the timers of a store whose documents have been known so long when they fire: no test waits for it.
type knownFor struct {
	*store.Store
	known map[string]time.Duration // by resource
}

func (k knownFor) FireTimers(ctx context.Context, limit int, judge func([]notice.DueTimer) []notice.Fired) (int, error) {
	return k.Store.FireTimers(ctx, limit, func(due []notice.DueTimer) []notice.Fired {
		for i := range due {
			if since := due[i].Now.Sub(due[i].Since); since < 0 || since > 4*time.Minute { // its deadline was five minutes ago when it was accepted, just now
				return nil // nothing fires
			}
			due[i].Since = due[i].Now.Add(-k.known[due[i].ID])
		}
		return judge(due)
	})
}

// TestADeadlineFiredLateIsOurs: it was known before, so the time since then is not the core's; one that was over when the
// core told of it is.
func TestADeadlineFiredLateIsOurs(t *testing.T) {
	t.Parallel()
	b := newBench(t, ofb.PaymentConsent)
	b.register("itp", "https://itp.example/hook")
	b.accept(timed("known", 1, "AWAITING_AUTHORISATION", 10*time.Minute))
	b.accept(timed("over", 1, "AWAITING_AUTHORISATION", 10*time.Minute))
	since := knownFor{b.store, map[string]time.Duration{"urn:bancoex:known": 9 * time.Minute, "urn:bancoex:over": 0}}
	ctx, stop := context.WithCancel(t.Context())
	fired := 0
	b.intake.RunTimers(ctx, since, func(n int) {
		if fired += n; fired == 2 {
			stop()
		}
	})
	b.sent(notice.OutcomeDelivered, time.Millisecond, 0, b.claimPromptly("itp")...)
	r, breaches := b.punctuality(timing.Period{})
	known, over := breaches["urn:bancoex:known"], breaches["urn:bancoex:over"]
	require.Equal(t, notice.DelayTimer, known.First.Cause)
	require.Equal(t, timing.TooLate, known.First.FromReceipt)
	require.Equal(t, known.OccurredAt, known.FirstAt, "the deadline")
	require.Equal(t, notice.DelayCore, over.First.Cause)
	require.EqualValues(t, 1, r.Total.LateOurs)
}
