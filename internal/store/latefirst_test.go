package store_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/timing"
)

func TestLateFirstAttemptsAreFoundNewestFirstWithTheirCause(t *testing.T) {
	b := newBench(t)
	b.register("itp", "https://itp.example/hook")
	b.register("other", "https://other.example/hook")
	for n := range 5 {
		old := payment("itp", fmt.Sprintf("old-%d", n), 1, "ACSC")
		old.OccurredAt = time.Now().Add(-time.Minute)
		b.accept(old)
		b.sent(notice.OutcomeDelivered, time.Millisecond, 0, b.claimPromptly("itp")...)
		b.accept(payment("other", fmt.Sprintf("prompt-%d", n), 1, "ACSC"))
		b.sent(notice.OutcomeDelivered, time.Millisecond, 0, b.claimPromptly("other")...)
	}
	p := timing.Period{From: time.Now().Add(-time.Hour), To: soon()}
	var found []string
	for {
		page, next, err := b.log.LateFirst(t.Context(), p, 2)
		require.NoError(t, err)
		for i := range page {
			found = append(found, page[i].ResourceID)
			require.Equal(t, notice.DelayCore, page[i].First.Cause)
			require.Equal(t, timing.TooLate, page[i].First.FromEvent)
		}
		if next.At.IsZero() {
			break
		}
		p.After = next
	}
	require.Equal(t, []string{"old-4", "old-3", "old-2", "old-1", "old-0"}, found)
	by, err := b.log.LateByClient(t.Context(), p, 10)
	require.NoError(t, err)
	require.Equal(t, []timing.LateClient{{Client: "itp", Late: 5}}, by)
	p.After.At, p.Client = time.Time{}, "other"
	none, _, err := b.log.LateFirst(t.Context(), p, 2)
	require.NoError(t, err)
	require.Empty(t, none)
}
