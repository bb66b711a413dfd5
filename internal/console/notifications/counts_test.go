package notifications

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestWhatLiesAheadIsNotCounted: the API refuses a period that has not begun, which would take the list away as well.
func TestWhatLiesAheadIsNotCounted(t *testing.T) {
	now := time.Date(2026, 12, 1, 10, 20, 0, 0, time.UTC)
	at := func(d time.Duration) string { return now.Add(d).Format(time.RFC3339) }
	for name, c := range map[string]struct {
		from, to string
		counted  bool
	}{
		"nothing is given":        {"", "", true},
		"until next week":         {"", at(7 * 24 * time.Hour), true},
		"from now on":             {at(-time.Minute), at(7 * 24 * time.Hour), true},
		"next week alone":         {at(6 * 24 * time.Hour), at(7 * 24 * time.Hour), false},
		"from next week":          {at(7 * 24 * time.Hour), "", false},
		"the next hour":           {at(50 * time.Minute), "", false},
		"it ends before it began": {at(-2 * time.Hour), at(-5 * time.Hour), false},
	} {
		view := countView{By: byKind}
		view.period(asked{From: c.from, To: c.to}, now)
		require.Equal(t, c.counted, view.From.Before(view.To), name)
		if c.counted {
			require.False(t, view.From.After(now), name)
			require.Less(t, view.To.Sub(now), time.Hour, name)
		}
	}
}
