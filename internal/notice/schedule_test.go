package notice_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/notice"
)

// The schedule of webhook §4.1 and §4.2, written out by hand.
func TestThreeAttemptsTenAndSixtySecondsAfterAFailure(t *testing.T) {
	for _, c := range []struct {
		number int
		manual bool
		gap    time.Duration
		again  bool
	}{
		{1, false, 10 * time.Second, true},
		{2, false, 60 * time.Second, true},
		{3, false, 0, false},
		{4, false, 0, false},
		{0, false, 0, false},
		{-1, false, 0, false},
		{1, true, 0, false}, // an operator's attempt is never followed (D-4)
		{2, true, 0, false},
	} {
		gap, again := notice.Next(c.number, c.manual)
		require.Equal(t, c.gap, gap, "after attempt %d", c.number)
		require.Equal(t, c.again, again, "after attempt %d", c.number)
	}
	require.Equal(t, 3, notice.MaxAttempts)
	require.Equal(t, 1500*time.Millisecond, notice.FirstWithin)
	require.Equal(t, 15*time.Second, notice.Timeout)
}

func TestAChainHasAsManyAttemptsAsTheRuleAllows(t *testing.T) {
	attempts := 1
	for {
		if _, again := notice.Next(attempts, false); !again {
			break
		}
		attempts++
	}
	require.Equal(t, notice.MaxAttempts, attempts)
}

func TestOnlyAnswersOf2xxEndAChainAsDelivered(t *testing.T) {
	for outcome, want := range map[notice.Outcome]bool{
		notice.OutcomeDelivered: true, notice.OutcomeNonconformant: true, notice.OutcomeRefused: false, notice.OutcomeRedirected: false,
		notice.OutcomeTimeout: false, notice.OutcomeConnect: false, notice.OutcomeTLS: false, notice.OutcomeBlocked: false,
		notice.OutcomeProtocol: false, notice.OutcomeUnknown: false, "": false,
	} {
		require.Equal(t, want, outcome.Success(), string(outcome))
	}
}
