package intake

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/openapitest"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

// consent hands in a payment consent that waits for its authorisation since created.
func (d *desk) consent(n int, created time.Time, override map[string]any) Answer {
	d.t.Helper()
	data := openapitest.Document(ofb.PaymentConsent, "v5", ofb.AwaitingAuthorisation, openapitest.SampleID(ofb.PaymentConsent, n), openapitest.Created(created))
	m := map[string]any{"kind": "payment-consent", "occurredAt": created.UTC().Format(time.RFC3339), "data": json.RawMessage(data)}
	for name, v := range override {
		m[name] = v
	}
	a, err := d.in.Accept(d.t.Context(), line(d.t, m), Origin{Source: "api"})
	require.NoError(d.t, err)
	require.Empty(d.t, a.Problems)
	return a
}

// pass lets time go by until everybody waits again. The lock tells the race detector that what was looked at before was
// looked at before: the passing of time alone does not.
func (d *desk) pass(by time.Duration) {
	d.mu.Lock()
	d.mu.Unlock() //nolint:staticcheck // an order, not a section
	<-time.After(by)
	synctest.Wait()
}

// timed is a bubble in which the timers run as well.
func timed(t *testing.T, c Config, test func(t *testing.T, d *desk, fired *int)) {
	t.Helper()
	s, err := schemas()
	require.NoError(t, err)
	c.Schema = s
	bubble(t, c, func(t *testing.T, d *desk) {
		fired := 0
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); d.in.RunTimers(ctx, d.memory, func(n int) { fired += n }) }()
		defer func() { stop(); <-ended }()
		synctest.Wait() // the first look is over
		test(t, d, &fired)
	})
}

func TestATimerFiresOnceAtItsDeadlineAndNotBefore(t *testing.T) {
	timed(t, Config{Timers: ofb.Kinds()}, func(t *testing.T, d *desk, fired *int) {
		created := time.Now()
		deadline := created.Add(5 * time.Minute)
		a := d.consent(1, created, nil)
		require.Equal(t, ofb.NotATrigger, a.Silence)
		h := d.resources[a.Change.Key()]
		require.Equal(t, deadline.UTC(), h.timer.Deadline)

		d.pass(time.Until(deadline) - time.Millisecond)
		require.Empty(t, d.notifications)
		require.Zero(t, *fired)

		d.pass(time.Millisecond + timerEvery)
		require.Equal(t, 1, *fired)
		require.Len(t, d.notifications, 1)
		n := d.notifications[0]
		require.Equal(t, ofb.Rejected, n.Status)
		require.Zero(t, n.Revision, "a timer's change has no revision")
		require.Equal(t, deadline.UTC(), n.EventAt, "it happened at the deadline, whenever it was noticed")
		require.Len(t, d.woken, 1)
		require.LessOrEqual(t, d.woken[0].Sub(deadline), timerEvery)
		require.Equal(t, ofb.Rejected, h.resource.State.Status)
		require.Equal(t, int64(1), h.resource.Revision)
		require.Equal(t, deadline.UTC(), h.resource.TimerAt)

		d.pass(24 * time.Hour)
		require.Len(t, d.notifications, 1)
		require.Equal(t, 1, *fired)
	})
}

func TestATimerLeavesTheDocumentAsItIsButForItsOwnMembers(t *testing.T) {
	timed(t, Config{Timers: ofb.Kinds()}, func(t *testing.T, d *desk, _ *int) {
		created := time.Now()
		a := d.consent(1, created, nil)
		before := string(a.Change.Document)
		d.pass(5*time.Minute + timerEvery)
		h := d.resources[a.Change.Key()]
		at := created.Add(5 * time.Minute).UTC().Format("2006-01-02T15:04:05Z")

		want := strings.Replace(before, `"status":"AWAITING_AUTHORISATION"`, `"status":"REJECTED"`, 1)
		want = strings.Replace(want, `"statusUpdateDateTime":"`+created.UTC().Format("2006-01-02T15:04:05Z"), `"statusUpdateDateTime":"`+at, 1)
		got := string(h.document)
		cut := strings.Index(got, `,"rejectionReason":`)
		require.Positive(t, cut)
		require.Equal(t, want, got[:cut]+"}", "byte for byte")
		require.Equal(t, ofb.Hash(numbered(t, h.document)), h.resource.State.Data)
		s, err := schemas()
		require.NoError(t, err)
		require.Empty(t, s.Check(ofb.PaymentConsent, "v5", numbered(t, h.document).(map[string]any)), "what GET answers is valid")
	})
}

func TestATimerThatHasRunOutOnArrivalFiresAtOnceAsASecondChange(t *testing.T) {
	timed(t, Config{Timers: ofb.Kinds()}, func(t *testing.T, d *desk, fired *int) {
		a := d.consent(1, time.Now().Add(-time.Hour), nil)
		require.Equal(t, notice.Applied, a.Verdict)
		d.pass(timerEvery)
		require.Equal(t, 1, *fired)
		require.Len(t, d.order, 2)
		require.NotEqual(t, d.order[0], d.order[1])
		require.Equal(t, ofb.Rejected, d.resources[a.Change.Key()].resource.State.Status)
	})
}

func TestAnAuthorisationInTimeStopsTheTimerAndOneThatComesLateOverrulesIt(t *testing.T) {
	timed(t, Config{Timers: ofb.Kinds()}, func(t *testing.T, d *desk, fired *int) {
		created := time.Now()
		id := openapitest.SampleID(ofb.PaymentConsent, 1)
		d.consent(1, created, nil)
		authorised := func(at time.Time) map[string]any {
			return map[string]any{"revision": 2, "occurredAt": at.UTC().Format(time.RFC3339), "data": json.RawMessage(
				openapitest.Document(ofb.PaymentConsent, "v5", ofb.Authorised, id, openapitest.Created(created), openapitest.Updated(at)))}
		}
		d.pass(6 * time.Minute)
		require.Equal(t, 1, *fired)
		a := d.consent(1, created, authorised(created.Add(4*time.Minute)))
		require.Equal(t, notice.Applied, a.Verdict)
		h := d.resources[a.Change.Key()]
		require.Equal(t, ofb.Authorised, h.resource.State.Status)
		require.Zero(t, h.resource.TimerAt)
		require.Equal(t, created.Add(64*time.Minute).UTC(), h.timer.Deadline, "its own timer runs from its own instant")

		d.pass(time.Until(created.Add(64*time.Minute)) + timerEvery)
		require.Equal(t, 2, *fired)
		require.Equal(t, ofb.Rejected, h.resource.State.Status)
	})
}

func TestTimersOfOtherKindsAreLeftAlone(t *testing.T) {
	timed(t, Config{Timers: []ofb.Kind{ofb.Enrollment}}, func(t *testing.T, d *desk, _ *int) {
		a := d.consent(1, time.Now().Add(-time.Hour), nil)
		h := d.resources[a.Change.Key()]
		require.Nil(t, h.timer)
		// A deadline that an earlier configuration left behind fires nothing either.
		h.timer = &ofb.Timer{Deadline: time.Now().Add(-time.Minute)}
		d.pass(timerEvery)
		require.Equal(t, ofb.AwaitingAuthorisation, h.resource.State.Status)
		require.Len(t, d.order, 1)
	})
}

func TestADeadlineThatMovedMeanwhileFiresNothing(t *testing.T) {
	in := withSchemas(t)
	created := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	r := &notice.DueTimer{
		Key: notice.Key{Kind: ofb.PaymentConsent, ID: "urn:b:1"}, Client: "itp", APIVersion: "v5", Push: true, Epoch: 3,
		Resource: notice.Resource{State: ofb.ResourceState{Status: ofb.AwaitingAuthorisation}},
		Document: openapitest.Document(ofb.PaymentConsent, "v5", ofb.AwaitingAuthorisation, "urn:b:1", openapitest.Created(created)),
	}
	for now, want := range map[time.Time]bool{
		created.Add(5*time.Minute - time.Microsecond): false, created.Add(5 * time.Minute): true, created.Add(time.Hour): true,
	} {
		r.Now = now
		given := string(r.Document)
		f := in.fire(r)
		require.Equal(t, want, f.Change != nil, "only the database's clock counts: %s", now)
		require.Equal(t, given, string(r.Document))
		if want {
			require.Equal(t, created.Add(5*time.Minute), f.Change.OccurredAt)
			require.Equal(t, ofb.Clock, f.Change.Cause)
			require.Equal(t, "payment-consent-authorisation", f.Change.Actor)
			require.Equal(t, int64(3), f.Decision.Announce.PushEpoch)
			require.Equal(t, ofb.AwaitingAuthorisation, f.Decision.From)
		}
	}
	for name, document := range map[string]string{"nothing": "", "a list": "[]", "half": `{"status":`, "final": `{"status":"REJECTED"}`} {
		r.Document = []byte(document)
		require.Nil(t, in.fire(r).Change, name)
	}
}

func TestATimerForAClientWithoutAddressIsAppliedInSilence(t *testing.T) {
	timed(t, Config{Timers: ofb.Kinds()}, func(t *testing.T, d *desk, fired *int) {
		d.push = false
		a := d.consent(1, time.Now().Add(-time.Hour), nil)
		d.pass(timerEvery)
		require.Equal(t, 1, *fired)
		require.Empty(t, d.notifications)
		require.Empty(t, d.woken)
		require.Equal(t, ofb.Rejected, d.resources[a.Change.Key()].resource.State.Status)
	})
}

func TestManyTimersFireWithoutPausesAndAFailureIsTriedAgain(t *testing.T) {
	bubble(t, Config{Timers: ofb.Kinds()}, func(t *testing.T, d *desk) {
		for n := range 250 {
			d.consent(n, time.Now().Add(-time.Hour), nil)
		}
		store := &stubborn{memory: d.memory, fail: 2}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		began := time.Now()
		var fired []int
		go func() { defer close(ended); d.in.RunTimers(ctx, store, func(n int) { fired = append(fired, n) }) }()
		d.pass(2 * timerEvery)
		require.Equal(t, []int{100, 100, 50}, fired)
		require.Equal(t, 2*timerEvery, time.Since(began))
		require.Contains(t, d.logs.String(), "timers not fired")
		stop()
		<-ended
	})
}

// TestAnOutageOfTheTimersIsToldOnceAMinute: they are looked for five times a second, and a log that says so each time hides the rest.
func TestAnOutageOfTheTimersIsToldOnceAMinute(t *testing.T) {
	bubble(t, Config{Timers: ofb.Kinds()}, func(t *testing.T, d *desk) {
		store := &stubborn{memory: d.memory, fail: int(150 * time.Second / timerEvery)}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); d.in.RunTimers(ctx, store, func(int) {}) }()
		told := func() int { return strings.Count(d.logs.String(), "timers not fired") }
		d.pass(59 * time.Second)
		require.Equal(t, 1, told())
		d.pass(90 * time.Second)
		require.Equal(t, 3, told())
		d.pass(10 * time.Second)
		require.Equal(t, 3, told(), "it is over")
		stop()
		<-ended
	})
}

// stubborn fails a few times.
type stubborn struct {
	*memory
	fail int
}

func (s *stubborn) FireTimers(ctx context.Context, limit int, judge func([]notice.DueTimer) []notice.Fired) (int, error) {
	if s.fail--; s.fail >= 0 {
		return 0, errors.New("not now")
	}
	return s.memory.FireTimers(ctx, limit, judge)
}

func TestAPoisonTimerStopsNeitherTheOthersNorTheProcess(t *testing.T) {
	timed(t, Config{Timers: ofb.Kinds()}, func(t *testing.T, d *desk, _ *int) {
		ids, n := d.in.cfg.NewID, 0
		d.consent(1, time.Now().Add(-time.Hour), nil)
		d.consent(2, time.Now().Add(-time.Hour), nil)
		d.mu.Lock()
		d.in.cfg.NewID = func() notice.ID {
			if n++; n == 1 {
				panic("poison")
			}
			return ids()
		}
		d.mu.Unlock()
		d.pass(timerEvery)
		require.Len(t, d.notifications, 1)
		require.Contains(t, d.logs.String(), "panic while firing a timer")
	})
}
