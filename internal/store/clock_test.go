package store_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/notice"
)

// TestARecordIsWholeThoughTheDatabasesClockWentBack is about a database that comes back on a machine whose clock is
// behind: the result of an attempt is then dated before the attempt, and before the notification was made.
func TestARecordIsWholeThoughTheDatabasesClockWentBack(t *testing.T) {
	b := newBench(t)
	b.register("itp", "https://itp.example/hook")
	made := b.accept(payment("itp", "p", 1, "ACSC"))
	require.Len(t, made.Notifications, 1)
	got := b.claimFor("itp", time.Minute)
	require.Len(t, got, 1)
	b.do(`INSERT INTO entry (id, at, kind, client_id, resource_kind, resource_id, notification_id, number, outcome, facts)
		SELECT gen_random_uuid(), at - interval '5 s', 'result', client_id, resource_kind, resource_id, notification_id, 1, 'refused',
		json_build_object('number', 1, 'attempt', id, 'endedAt', to_json(at - interval '5 s')) FROM entry WHERE kind = 'attempt'`)
	r, err := b.log.Notification(t.Context(), made.Notifications[0])
	require.NoError(t, err)
	require.Len(t, r.Attempts, 1)
	require.Equal(t, notice.OutcomeRefused, r.Attempts[0].Outcome)
	require.Equal(t, -5*time.Second, r.Attempts[0].EndedAt.Sub(r.Attempts[0].StartedAt))
}
