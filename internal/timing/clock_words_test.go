package timing

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
)

func TestADurationIsReadable(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0:                        "0.000 s",
		1499 * time.Millisecond:  "1.499 s",
		-20 * time.Millisecond:   "-0.020 s",
		64891 * time.Millisecond: "64.891 s",
		2 * time.Minute:          "2 min 00.000 s",
		-125 * time.Second:       "-2 min 05.000 s",
		59*time.Minute + 59*time.Second + 999600*time.Microsecond: "1 h 00 min 00.000 s",
		3*time.Hour + 17432*time.Microsecond:                      "3 h 00 min 00.017 s",
		50 * time.Hour:                                            "50 h 00 min 00.000 s",
	} {
		require.Equal(t, want, Readable(d, "en"))
		require.Equal(t, strings.Replace(want, ".", ",", 1), Readable(d, "pt"))
	}
}

// TestAnAnswerThatReadsLaterThanItsRecordIsExplained: the answer is a replica's duration added to the database's instant of
// the claim, so that it may read some milliseconds later than the transaction that stored it.
func TestAnAnswerThatReadsLaterThanItsRecordIsExplained(t *testing.T) {
	claimed := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	at := func(ms int) time.Time { return claimed.Add(time.Duration(ms) * time.Millisecond) }
	r := &history.Record{OccurredAt: at(-100), CreatedAt: at(-50), State: notice.Delivered}
	attempt := history.AttemptRecord{Number: 1, ScheduledAt: claimed, StartedAt: claimed, EndedAt: at(31), StoredAt: at(29), Outcome: notice.OutcomeDelivered}
	attempt.Offsets.FirstByteOut, attempt.Offsets.Answered, attempt.Offsets.Elapsed = 20*time.Millisecond, 31*time.Millisecond, 31*time.Millisecond
	r.Attempts = []history.AttemptRecord{attempt}
	timing := TimingOf(r, nil, at(100))
	text := strings.Join(timing.Lines("pt"), "\n")
	require.Contains(t, text, "resultado gravado (início da transação no relógio do banco")
	require.Contains(t, text, "entregue")
	require.NotRegexp(t, `\d\.\d`, text, "Portuguese has a decimal comma, in instants too")
	require.Contains(t, text, "+0,120000 s")
	require.NotContains(t, text, "delivered", "the document is in Portuguese")
	require.Contains(t, strings.Join(timing.Lines("en"), "\n"), "outcome stored (start of the transaction by the database's clock")

	r.Attempts[0].StoredAt = at(40)
	timing = TimingOf(r, nil, at(100))
	require.NotContains(t, strings.Join(timing.Lines("en"), "\n"), "start of the transaction")
}

func TestEverySilenceHasItsWordsInBothLanguages(t *testing.T) {
	require.Len(t, silenceWords["pt"], len(silenceWords["en"]))
	for why := range silenceWords["en"] {
		require.NotEmpty(t, silenceWords["pt"][why])
	}
}
