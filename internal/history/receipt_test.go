package history

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

// entryOf is an entry about revision 3 of one payment, at a second after noon.
func entryOf(t *testing.T, kind string, at float64, c ChangeFacts) Fact {
	t.Helper()
	text, err := json.Marshal(c)
	require.NoError(t, err)
	f := Fact{ID: notice.ID{byte(at * 10), kind[0]}, At: sec(at), Kind: kind, Client: "itp", ResourceKind: ofb.PixPayment, ResourceID: "p", Revision: 3, Facts: text}
	if kind == FactChange || kind == FactDecision {
		f.Notification = notice.ID{1}
	}
	return f
}

// told is what an entry keeps of the change in these tests: it happened at noon.
func told(more func(*ChangeFacts)) ChangeFacts {
	c := ChangeFacts{Source: "api", APIVersion: "v5", Cause: ofb.Holder, OccurredAt: noon, DataHash: "aa", BeganUS: 100_000}
	if more != nil {
		more(&c)
	}
	return c
}

func refusedTold(more func(*ChangeFacts)) ChangeFacts {
	return told(func(c *ChangeFacts) {
		c.RefusedFor, c.Refusals, c.BeganUS = RefusedUnavailable, 3, 29_500_000 // stored 30 s after noon, received at 0.5 s
		if more != nil {
			more(c)
		}
	})
}

func TestAChangeIsJudgedFromItsFirstReceiptWhateverWasAnsweredThen(t *testing.T) {
	accepted := func(more func(*ChangeFacts)) Fact { return entryOf(t, FactChange, 33, told(more)) }
	unheard := func(from, to int64) Fact {
		text, err := json.Marshal(UnheardFacts{Why: "full", Requests: 7, FromUS: from * 1_000_000, ToUS: to * 1_000_000})
		require.NoError(t, err)
		return Fact{ID: notice.ID{9}, At: sec(40), Kind: FactUnheard, Facts: text}
	}
	// decision is revision 5, told late because revision 3 came late.
	decision := func(because int64) Fact {
		f := entryOf(t, FactDecision, 33, told(func(c *ChangeFacts) { c.Because = because }))
		f.Revision = 5
		return f
	}
	other := func(c *ChangeFacts) { c.DataHash = "bb" }
	for name, c := range map[string]struct {
		facts    []Fact
		ours     Punctuality
		cause    notice.Delay
		refusals int64
		first    float64
	}{
		"nothing is known of an earlier receipt": {[]Fact{accepted(nil)}, OnTime, notice.DelayCore, 0, 32.9},
		"refused": {
			[]Fact{accepted(nil), entryOf(t, FactRefused, 30, refusedTold(nil))}, TooLate, notice.DelayUnavailable, 3, .5,
		},
		"refused, and the trace was stored after the acceptance by another replica": {
			[]Fact{accepted(nil), entryOf(t, FactRefused, 50, refusedTold(func(c *ChangeFacts) { c.BeganUS = 49_500_000 }))}, TooLate, notice.DelayUnavailable, 3, .5,
		},
		"refused by two replicas": {
			[]Fact{accepted(nil), entryOf(t, FactRefused, 30, refusedTold(nil)), entryOf(t, FactRefused, 31, refusedTold(func(c *ChangeFacts) { c.BeganUS = 10_000_000 }))},
			TooLate, notice.DelayUnavailable, 6, .5,
		},
		"stored twice, as the answer to the first commit was lost": {
			[]Fact{accepted(nil), entryOf(t, FactRefused, 30, refusedTold(nil)), entryOf(t, FactRefused, 30, refusedTold(nil))}, TooLate, notice.DelayUnavailable, 3, .5,
		},
		"a repetition after the acceptance was refused": {
			[]Fact{accepted(nil), entryOf(t, FactRefused, 50, refusedTold(func(c *ChangeFacts) { c.BeganUS = 5_000_000 }))}, OnTime, notice.DelayCore, 0, 32.9,
		},
		"another revision was refused": {
			[]Fact{accepted(nil), func() Fact { f := entryOf(t, FactRefused, 30, refusedTold(nil)); f.Revision = 2; return f }()}, OnTime, notice.DelayCore, 0, 32.9,
		},
		"other content was refused, so nobody knows": {
			[]Fact{accepted(nil), entryOf(t, FactRefused, 30, refusedTold(other))}, OnTime, notice.DelayUnknown, 0, 32.9,
		},
		"quarantined, and applied as it was": {
			[]Fact{accepted(nil), entryOf(t, FactQuarantined, 1, told(nil))}, TooLate, notice.DelayQuarantine, 1, .9,
		},
		"quarantined, and corrected by the core": {
			[]Fact{accepted(nil), entryOf(t, FactQuarantined, 1, told(other))}, OnTime, notice.DelayCore, 0, 32.9,
		},
		"quarantined for its client, and corrected by the core": {
			[]Fact{accepted(nil), func() Fact { f := entryOf(t, FactQuarantined, 1, told(nil)); f.Client = ""; return f }()}, OnTime, notice.DelayCore, 0, 32.9,
		},
		"quarantined for a mapping of ours, told again by its source": {
			[]Fact{
				accepted(func(c *ChangeFacts) { c.Source = "core" }),
				entryOf(t, FactQuarantined, 1, told(func(c *ChangeFacts) { c.Source, c.DataHash = "core", "" })),
			}, TooLate, notice.DelayQuarantine, 1, .9,
		},
		"quarantined under a key that nobody knew, and applied": {
			[]Fact{accepted(func(c *ChangeFacts) { c.Quarantine, c.FirstReceivedAt = "case", sec(1) })}, TooLate, notice.DelayQuarantine, 1, 1,
		},
		"quarantined and applied, told by both entries": {
			[]Fact{accepted(func(c *ChangeFacts) { c.Quarantine, c.FirstReceivedAt = "case", sec(1) }), entryOf(t, FactQuarantined, 1, told(nil))},
			TooLate, notice.DelayQuarantine, 1, .9,
		},
		"refused, then quarantined for longer": {
			[]Fact{accepted(nil), entryOf(t, FactRefused, 3, refusedTold(func(c *ChangeFacts) { c.BeganUS = 2_500_000 })), entryOf(t, FactQuarantined, 4, told(nil))},
			TooLate, notice.DelayQuarantine, 4, .5,
		},
		"receipts of that time are unknown":        {[]Fact{accepted(nil), unheard(30, 20)}, OnTime, notice.DelayUnknown, 0, 32.9},
		"receipts of an earlier time are unknown":  {[]Fact{accepted(nil), unheard(60, 41)}, OnTime, notice.DelayCore, 0, 32.9},
		"receipts of a later time are unknown":     {[]Fact{accepted(nil), unheard(7, 2)}, OnTime, notice.DelayCore, 0, 32.9},
		"receipts are unknown, and one is known":   {[]Fact{accepted(nil), unheard(30, 20), entryOf(t, FactRefused, 30, refusedTold(nil))}, TooLate, notice.DelayUnavailable, 3, .5},
		"a source was read late":                   {[]Fact{accepted(func(c *ChangeFacts) { c.Source, c.CommittedAt = "core", sec(.2) })}, TooLate, notice.DelaySource, 0, .2},
		"a late revision made it a duty":           {[]Fact{decision(3)}, OnTime, notice.DelayCore, 0, 32.9},
		"the late revision was refused before":     {[]Fact{decision(3), entryOf(t, FactRefused, 30, refusedTold(nil))}, TooLate, notice.DelayUnavailable, 3, .5},
		"nobody kept which late revision it was":   {[]Fact{decision(0), entryOf(t, FactRefused, 30, refusedTold(nil))}, OnTime, notice.DelayUnknown, 0, 32.9},
		"a timer's, and something else is refused": {[]Fact{accepted(func(c *ChangeFacts) { c.Source, c.FirstReceivedAt = "timer", noon }), entryOf(t, FactRefused, 30, refusedTold(nil))}, TooLate, notice.DelayTimer, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			records, err := RecordsOf(c.facts)
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
	resend := entryOf(t, FactResend, 33, told(func(c *ChangeFacts) { c.CommittedAt = noon }))
	resend.Notification = notice.ID{1}
	records, err := RecordsOf([]Fact{resend, entryOf(t, FactRefused, 30, refusedTold(nil))})
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
	p := TimingOf(&Record{OccurredAt: noon, CreatedAt: noon.Add(time.Minute), State: notice.Pending, Arrival: Arrival{
		Source: "api", Began: time.Second, Earlier: []Receipt{{At: sec(1), What: notice.DelayUnavailable, For: RefusedBusy, Times: 1}},
	}}, nil, noon.Add(time.Minute))
	require.Contains(t, p.Lines("en")[1], "cause: refused by us (503) when it first came")
	require.Contains(t, p.Lines("en")[3], "first receipt, not accepted")
	require.Contains(t, p.Lines("pt")[1], "causa: recusada por nós (503) na primeira chegada")
}
