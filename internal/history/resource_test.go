package history

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/cost"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

// idAt is a version 7 id made at an instant.
var midday = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func secondsOn(s float64) time.Time { return midday.Add(time.Duration(s * float64(time.Second))) }

func idAt(at time.Time, n byte) notice.ID {
	ms := at.UnixMilli()
	id := notice.ID{15: n, 6: 0x70}
	for i := range 6 {
		id[i] = byte(ms >> (40 - 8*i))
	}
	return id
}

// tale tells a resource's story step by step, as intake stores it.
type tale struct{ ResourceHistory }

func newTale(kind ofb.Kind) *tale {
	return &tale{ResourceHistory{Key: notice.Key{Kind: kind, ID: "r"}, Client: "itp"}}
}

func (b *tale) step(revision int64, at float64, status ofb.Status, told bool, silence ofb.Silence) *Decided {
	n := byte(len(b.Decided) + 1)
	d := Decided{
		ID: idAt(secondsOn(at), n), At: secondsOn(at), System: "one", Revision: revision, Verdict: notice.Applied, Cause: ofb.Holder, OccurredAt: secondsOn(at), Silence: silence,
		State: ofb.ResourceState{Status: status, Data: [32]byte{byte(revision), n}},
	}
	if told {
		d.Notification = notice.ID{0: 9, 15: n}
	}
	if revision == 0 {
		d.Cause = ofb.Clock
	} else {
		b.Revisions = append(b.Revisions, notice.Revision{
			Number: revision, ChangeID: d.ID, State: d.State, Cause: d.Cause, OccurredAt: d.OccurredAt, Notification: d.Notification, Silence: silence,
		})
	}
	b.Decided = append(b.Decided, d)
	b.Current = &Document{Resource: notice.Resource{Revision: max(revision, 1), State: d.State}, ChangeID: d.ID, Hash: d.State.Data}
	return &b.Decided[len(b.Decided)-1]
}

func (b *tale) finds() (out []Finding) {
	for _, d := range b.Differences() {
		out = append(out, d.What)
	}
	return out
}

func TestAStoryThatFollowsTheRulesHasNoDifference(t *testing.T) {
	b := newTale(ofb.PixPayment)
	b.step(1, 0, ofb.RCVD, false, ofb.NotATrigger)
	b.step(2, 1, ofb.PDNG, true, "")
	b.step(7, 2, ofb.ACSC, true, "")
	require.Empty(t, b.finds())
}

// TestAChangeAfterATimerIsJudgedFromWhatTheTimerMade: surely, when the timer fired long before; either way when the two
// ran at the same time.
func TestAChangeAfterATimerIsJudgedFromWhatTheTimerMade(t *testing.T) {
	for name, c := range map[string]struct {
		at, occurred float64
		told         bool
		silence      ofb.Silence
		want         []Finding
	}{
		"the same again, long after":          {400, 400, false, ofb.NotATrigger, nil},
		"told again, long after":              {400, 400, true, "", []Finding{DecisionDiffers}},
		"told again, at the same time":        {305, 305, true, "", nil},
		"silent, at the same time":            {305, 305, false, ofb.NotATrigger, nil},
		"the core's word from before":         {400, 299, true, "", nil},
		"the core's word from before, silent": {400, 299, false, ofb.NotATrigger, []Finding{DecisionDiffers}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newTale(ofb.PaymentConsent)
			b.step(1, 0, ofb.AwaitingAuthorisation, false, ofb.NotATrigger)
			b.step(0, 301, ofb.Rejected, true, "").OccurredAt = secondsOn(300)
			d := b.step(2, c.at, ofb.Rejected, c.told, c.silence)
			d.OccurredAt = secondsOn(c.occurred)
			b.Revisions[1].OccurredAt = d.OccurredAt
			require.Equal(t, c.want, b.finds())
		})
	}
}

func TestATimersOwnDecisionIsJudgedAsWell(t *testing.T) {
	b := newTale(ofb.PaymentConsent)
	b.step(1, 0, ofb.AwaitingAuthorisation, false, ofb.NotATrigger)
	b.step(0, 300, ofb.Rejected, false, ofb.NotATrigger)
	b.Current.TimerAt = secondsOn(300)
	require.Equal(t, []Finding{DecisionDiffers}, b.finds())
}

// TestWhichPredecessorAChangeHadIsKnownUnlessTwoReplicasRanAtTheSameTime: of AUTHORISED, what came before decides.
func TestWhichPredecessorAChangeHadIsKnownUnlessTwoReplicasRanAtTheSameTime(t *testing.T) {
	for name, c := range map[string]struct {
		system string
		apart  float64
		want   []Finding
	}{
		"one replica":               {"one", 1, []Finding{DecisionDiffers}},
		"two at the same time":      {"two", 1, nil},
		"two, one after the other":  {"two", 60, []Finding{DecisionDiffers}},
		"one, long after the other": {"one", 60, []Finding{DecisionDiffers}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newTale(ofb.PaymentConsent)
			b.step(1, 0, ofb.AwaitingAuthorisation, false, ofb.NotATrigger)
			b.step(2, 100, ofb.PartiallyAccepted, false, ofb.NotATrigger).System = c.system
			b.step(3, 100+c.apart, ofb.Authorised, false, ofb.OptionalOff) // right only after AWAITING_AUTHORISATION
			require.Equal(t, c.want, b.finds())
		})
	}
}

func TestADutyThatALateRevisionMadeMustHaveBeenTold(t *testing.T) {
	found := func(again bool, registered func(time.Time) (bool, bool)) []Finding {
		b := newTale(ofb.PaymentConsent)
		b.Registered = registered
		b.step(1, 0, ofb.AwaitingAuthorisation, false, ofb.NotATrigger)
		b.step(9, 20, ofb.Authorised, false, ofb.OptionalOff)
		current := *b.Current
		late := b.step(5, 40, ofb.PartiallyAccepted, false, ofb.NotATrigger)
		late.Verdict = notice.Superseded
		if again {
			d := Decided{ID: idAt(secondsOn(40), 99), At: secondsOn(40), System: "one", Rejudged: true, Revision: 9, Verdict: notice.Applied, State: ofb.ResourceState{Status: ofb.Authorised}, Notification: notice.ID{1}}
			b.Decided = append(b.Decided, d)
		}
		b.Current = &current
		b.Current.Revision = 9
		return b.finds()
	}
	with := func(time.Time) (bool, bool) { return true, true }
	require.Empty(t, found(true, with))
	require.Equal(t, []Finding{DecisionMissing}, found(false, with))
	require.Empty(t, found(false, func(time.Time) (bool, bool) { return false, true }), "nobody was to be told")
	require.Empty(t, found(false, nil), "unknown")
}

// TestWhatWasRemovedWithItsMonthIsNotMissed: revisions outlive the entries that accepted them.
func TestWhatWasRemovedWithItsMonthIsNotMissed(t *testing.T) {
	b := newTale(ofb.PixPayment)
	b.step(1, -100, ofb.PDNG, true, "")
	b.step(2, 100, ofb.ACSC, true, "")
	b.Decided = b.Decided[1:]
	require.Equal(t, []Finding{RevisionWithoutChange}, b.finds())
	b.HistoryFrom = midday
	require.Empty(t, b.finds())
}

// TestAResourceThatIsChangedAllTheTimeIsLookedAtInLinearTime: the core decides how often a resource changes.
// TestAnErasureExplainsOnlyTheDocumentsBeforeIt: a change after it stores a document again, and that one may not vanish.
func TestAnErasureExplainsOnlyTheDocumentsBeforeIt(t *testing.T) {
	for name, c := range map[string]struct {
		erased float64
		want   []Finding
	}{
		"after the newest change": {3, nil},
		"at the newest change":    {2, nil},
		"before it":               {1.5, []Finding{DocumentDiffers}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newTale(ofb.PixPayment)
			b.step(1, 0, ofb.RCVD, false, ofb.NotATrigger)
			b.step(2, 1, ofb.PDNG, true, "")
			b.step(3, 2, ofb.ACSC, true, "")
			b.Current.Hash = [32]byte{}
			require.Equal(t, []Finding{DocumentDiffers}, b.finds(), "without an erasure")
			b.ErasedAt = secondsOn(c.erased)
			require.Equal(t, c.want, b.finds())
			b.Decided = b.Decided[:0]
			b.HistoryFrom = secondsOn(10)
			require.Empty(t, b.finds(), "the entry of the change was removed with its month")
		})
	}
}

func TestAResourceThatIsChangedAllTheTimeIsLookedAtInLinearTime(t *testing.T) {
	for name, silence := range map[string]ofb.Silence{"the same state again": ofb.NoChange, "announced before": ofb.AlreadyAnnounced} {
		t.Run(name, func(t *testing.T) {
			cost.Linear(t, 1000, func(n int) *tale {
				b := newTale(ofb.PixPayment)
				b.step(1, 0, ofb.RCVD, false, ofb.NotATrigger)
				for i := range n {
					b.step(int64(i+2), float64(i), ofb.RCVD, false, silence)
				}
				return b
			}, func(b *tale) { b.Differences() })
		})
	}
}
