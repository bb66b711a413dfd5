package history

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

// TestARecordIsTheSameInWhicheverFormItsFirstAttemptWasRecorded compares what is told by change, attempt and result with what is told
// by a change that records the attempt as well, and the same result.
func TestARecordIsTheSameInWhicheverFormItsFirstAttemptWasRecorded(t *testing.T) {
	at := time.Date(2026, 11, 21, 12, 0, 0, 123456000, time.UTC)
	change, notification, interaction, attempt := notice.ID{1}, notice.ID{2}, notice.ID{3}, notice.ID{4}
	fact := func(f Fact, facts interface{ AppendJSON([]byte) ([]byte, error) }) Fact {
		text, err := facts.AppendJSON(nil)
		require.NoError(t, err)
		f.At, f.Client, f.ResourceKind, f.ResourceID, f.Notification, f.Facts = at, "itp", ofb.PixPayment, "p1", notification, text
		return f
	}
	said := ChangeFacts{System: "r 1", Source: "api", Status: ofb.ACSC, OccurredAt: at.Add(-time.Second), Epoch: 1}
	together := said
	together.First = &FirstFacts{Number: 1, Base: "https://itp.example/hook"}
	result := func(token notice.ID) Fact {
		return fact(Fact{ID: notice.ID{5}, Kind: FactResult, Number: 1, Outcome: notice.OutcomeDelivered, Closes: notice.Delivered}, ResultFacts{Number: 1, Attempt: token.String(), HTTPStatus: 202, ElapsedUS: 5000})
	}
	apart, err := RecordsOf([]Fact{
		result(attempt),
		fact(Fact{ID: attempt, Kind: FactAttempt, Number: 1, Interaction: interaction}, AttemptFacts{ScheduledAt: at, Base: "https://itp.example/hook"}),
		fact(Fact{ID: change, Kind: FactChange, Revision: 1}, said),
	})
	require.NoError(t, err)
	dense, err := RecordsOf([]Fact{result(change), fact(Fact{ID: change, Kind: FactChange, Revision: 1, Interaction: interaction}, together)})
	require.NoError(t, err)
	require.Equal(t, apart, dense)
	require.Len(t, dense, 1)
	require.Len(t, dense[0].Attempts, 1)
	require.Equal(t, notice.OutcomeDelivered, dense[0].Attempts[0].Outcome)
}
