package timing

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

// entryOf is an entry about revision 3 of one payment, at a second after noon.
func entryOf(t *testing.T, kind string, at float64, c history.ChangeFacts) history.Fact {
	t.Helper()
	text, err := json.Marshal(c)
	require.NoError(t, err)
	f := history.Fact{ID: notice.ID{byte(at * 10), kind[0]}, At: sec(at), Kind: kind, Client: "itp", ResourceKind: ofb.PixPayment, ResourceID: "p", Revision: 3, Facts: text}
	if kind == history.FactChange || kind == history.FactDecision {
		f.Notification = notice.ID{1}
	}
	return f
}

// told is what an entry keeps of the change in these tests: it happened at noon.
func told(more func(*history.ChangeFacts)) history.ChangeFacts {
	c := history.ChangeFacts{Source: "api", APIVersion: "v5", Cause: ofb.Holder, OccurredAt: noon, DataHash: "aa", BeganUS: 100_000}
	if more != nil {
		more(&c)
	}
	return c
}

func refusedTold(more func(*history.ChangeFacts)) history.ChangeFacts {
	return told(func(c *history.ChangeFacts) {
		c.RefusedFor, c.Refusals, c.BeganUS = history.RefusedUnavailable, 3, 29_500_000 // stored 30 s after noon, received at 0.5 s
		if more != nil {
			more(c)
		}
	})
}

func TestAChangeIsJudgedFromItsFirstReceiptWhateverWasAnsweredThen(t *testing.T) {
	accepted := func(more func(*history.ChangeFacts)) history.Fact {
		return entryOf(t, history.FactChange, 33, told(more))
	}
	unheard := func(from, to int64) history.Fact {
		text, err := json.Marshal(history.UnheardFacts{Why: "full", Requests: 7, FromUS: from * 1_000_000, ToUS: to * 1_000_000})
		require.NoError(t, err)
		return history.Fact{ID: notice.ID{9}, At: sec(40), Kind: history.FactUnheard, Facts: text}
	}
	// decision is revision 5, told late because revision 3 came late.
	decision := func(because int64) history.Fact {
		f := entryOf(t, history.FactDecision, 33, told(func(c *history.ChangeFacts) { c.Because = because }))
		f.Revision = 5
		return f
	}
	other := func(c *history.ChangeFacts) { c.DataHash = "bb" }
	for name, c := range map[string]struct {
		facts    []history.Fact
		ours     Punctuality
		cause    notice.Delay
		refusals int64
		first    float64
	}{
		"nothing is known of an earlier receipt": {[]history.Fact{accepted(nil)}, OnTime, notice.DelayCore, 0, 32.9},
		"refused": {
			[]history.Fact{accepted(nil), entryOf(t, history.FactRefused, 30, refusedTold(nil))}, TooLate, notice.DelayUnavailable, 3, .5,
		},
		"refused, and the trace was stored after the acceptance by another replica": {
			[]history.Fact{accepted(nil), entryOf(t, history.FactRefused, 50, refusedTold(func(c *history.ChangeFacts) { c.BeganUS = 49_500_000 }))}, TooLate, notice.DelayUnavailable, 3, .5,
		},
		"refused by two replicas": {
			[]history.Fact{accepted(nil), entryOf(t, history.FactRefused, 30, refusedTold(nil)), entryOf(t, history.FactRefused, 31, refusedTold(func(c *history.ChangeFacts) { c.BeganUS = 10_000_000 }))},
			TooLate, notice.DelayUnavailable, 6, .5,
		},
		"stored twice, as the answer to the first commit was lost": {
			[]history.Fact{accepted(nil), entryOf(t, history.FactRefused, 30, refusedTold(nil)), entryOf(t, history.FactRefused, 30, refusedTold(nil))}, TooLate, notice.DelayUnavailable, 3, .5,
		},
		"a repetition after the acceptance was refused": {
			[]history.Fact{accepted(nil), entryOf(t, history.FactRefused, 50, refusedTold(func(c *history.ChangeFacts) { c.BeganUS = 5_000_000 }))}, OnTime, notice.DelayCore, 0, 32.9,
		},
		"another revision was refused": {
			[]history.Fact{accepted(nil), func() history.Fact {
				f := entryOf(t, history.FactRefused, 30, refusedTold(nil))
				f.Revision = 2
				return f
			}()}, OnTime, notice.DelayCore, 0, 32.9,
		},
		"other content was refused, so nobody knows": {
			[]history.Fact{accepted(nil), entryOf(t, history.FactRefused, 30, refusedTold(other))}, OnTime, notice.DelayUnknown, 0, 32.9,
		},
		"quarantined, and applied as it was": {
			[]history.Fact{accepted(nil), entryOf(t, history.FactQuarantined, 1, told(nil))}, TooLate, notice.DelayQuarantine, 1, .9,
		},
		"quarantined, and corrected by the core": {
			[]history.Fact{accepted(nil), entryOf(t, history.FactQuarantined, 1, told(other))}, OnTime, notice.DelayCore, 0, 32.9,
		},
		"quarantined for its client, and corrected by the core": {
			[]history.Fact{accepted(nil), func() history.Fact { f := entryOf(t, history.FactQuarantined, 1, told(nil)); f.Client = ""; return f }()}, OnTime, notice.DelayCore, 0, 32.9,
		},
		"quarantined for a mapping of ours, told again by its source": {
			[]history.Fact{
				accepted(func(c *history.ChangeFacts) { c.Source = "core" }),
				entryOf(t, history.FactQuarantined, 1, told(func(c *history.ChangeFacts) { c.Source, c.DataHash = "core", "" })),
			}, TooLate, notice.DelayQuarantine, 1, .9,
		},
		"quarantined under a key that nobody knew, and applied": {
			[]history.Fact{accepted(func(c *history.ChangeFacts) { c.Quarantine, c.FirstReceivedAt = "case", sec(1) })}, TooLate, notice.DelayQuarantine, 1, 1,
		},
		"quarantined and applied, told by both entries": {
			[]history.Fact{accepted(func(c *history.ChangeFacts) { c.Quarantine, c.FirstReceivedAt = "case", sec(1) }), entryOf(t, history.FactQuarantined, 1, told(nil))},
			TooLate, notice.DelayQuarantine, 1, .9,
		},
		"refused, then quarantined for longer": {
			[]history.Fact{accepted(nil), entryOf(t, history.FactRefused, 3, refusedTold(func(c *history.ChangeFacts) { c.BeganUS = 2_500_000 })), entryOf(t, history.FactQuarantined, 4, told(nil))},
			TooLate, notice.DelayQuarantine, 4, .5,
		},
		"receipts of that time are unknown":        {[]history.Fact{accepted(nil), unheard(30, 20)}, OnTime, notice.DelayUnknown, 0, 32.9},
		"receipts of an earlier time are unknown":  {[]history.Fact{accepted(nil), unheard(60, 41)}, OnTime, notice.DelayCore, 0, 32.9},
		"receipts of a later time are unknown":     {[]history.Fact{accepted(nil), unheard(7, 2)}, OnTime, notice.DelayCore, 0, 32.9},
		"receipts are unknown, and one is known":   {[]history.Fact{accepted(nil), unheard(30, 20), entryOf(t, history.FactRefused, 30, refusedTold(nil))}, TooLate, notice.DelayUnavailable, 3, .5},
		"a source was read late":                   {[]history.Fact{accepted(func(c *history.ChangeFacts) { c.Source, c.CommittedAt = "core", sec(.2) })}, TooLate, notice.DelaySource, 0, .2},
		"a late revision made it a duty":           {[]history.Fact{decision(3)}, OnTime, notice.DelayCore, 0, 32.9},
		"the late revision was refused before":     {[]history.Fact{decision(3), entryOf(t, history.FactRefused, 30, refusedTold(nil))}, TooLate, notice.DelayUnavailable, 3, .5},
		"nobody kept which late revision it was":   {[]history.Fact{decision(0), entryOf(t, history.FactRefused, 30, refusedTold(nil))}, OnTime, notice.DelayUnknown, 0, 32.9},
		"a timer's, and something else is refused": {[]history.Fact{accepted(func(c *history.ChangeFacts) { c.Source, c.FirstReceivedAt = "timer", noon }), entryOf(t, history.FactRefused, 30, refusedTold(nil))}, TooLate, notice.DelayTimer, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			records, err := history.RecordsOf(c.facts)
			require.NoError(t, err)
			require.Len(t, records, 1)
			p := TimingOf(&records[0], nil, sec(33.2))
			require.Equal(t, TooLate, p.First.FromEvent)
			want := c.ours
			if want == OnTime {
				want = NotYet
			}
			require.Equal(t, want, p.First.FromReceipt)
			require.Equal(t, c.cause, p.First.Cause)
			require.Equal(t, c.refusals, p.Refusals)
			require.Equal(t, sec(c.first), p.FirstAt.Time)
			require.Equal(t, sec(32.9), p.ReceivedAt.Time, "the receipt that was accepted is told as well")
		})
	}
}

func TestAnOperatorsResendIsNotJoinedToEarlierReceipts(t *testing.T) {
	resend := entryOf(t, history.FactResend, 33, told(func(c *history.ChangeFacts) { c.CommittedAt = noon }))
	resend.Notification = notice.ID{1}
	records, err := history.RecordsOf([]history.Fact{resend, entryOf(t, history.FactRefused, 30, refusedTold(nil))})
	require.NoError(t, err)
	require.Empty(t, records[0].Arrival.Earlier)
}

// TestEveryCauseHasItsWordsInBothLanguages: a cause without a word would be an empty space in a report.
func TestEveryCauseHasItsWordsInBothLanguages(t *testing.T) {
	for _, d := range notice.Delays() {
		for _, lang := range []string{"pt", "en"} {
			require.NotEmpty(t, CauseWord(d, lang), "%s in %s", d, lang)
		}
	}
	require.Len(t, notice.Delays(), 17)
	p := TimingOf(&history.Record{OccurredAt: noon, CreatedAt: noon.Add(time.Minute), State: notice.Pending, Arrival: history.Arrival{
		Source: "api", Began: time.Second, Earlier: []history.Receipt{{At: sec(1), What: notice.DelayUnavailable, For: history.RefusedBusy, Times: 1}},
	}}, nil, noon.Add(time.Minute))
	require.Contains(t, p.Lines("en")[1], "cause: refused by us (503) when it first arrived")
	require.Contains(t, p.Lines("en")[3], "first receipt, not accepted")
	require.Contains(t, p.Lines("pt")[1], "causa: recusada por nós (503) na primeira chegada")
}
