package store_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/store"
)

// TestAnOperatorSendsNothingASecondTime is D-4: one manual POST a notification in all, whatever its outcome, asked for by an operator or by the initiator.
func TestAnOperatorSendsNothingASecondTime(t *testing.T) {
	b := newSealedBench(t)
	b.register("itp", "https://itp.example/hook")
	exhausted := func(resource string) notice.ID {
		b.accept(payment("itp", resource, 1, "ACSC"))
		b.fail(11*time.Second, b.claim("itp", 10, 0)...)
		b.fail(61*time.Second, b.claim("itp", 10, 0)...)
		last := b.claim("itp", 10, 0)
		require.Len(t, last, 1)
		b.fail(0, last...)
		return last[0].Notification
	}
	anHourLater := func() { b.forge("UPDATE entry SET at = at - interval '1 hour' WHERE kind = 'resend'") }

	failed := exhausted("failed")
	queued, _, err := b.log.Redeliver(t.Context(), "itp", time.Now().Add(-time.Hour), 10)
	require.NoError(t, err)
	require.Equal(t, []notice.ID{failed}, queued)
	again := b.claim("itp", 10, 0)
	require.Len(t, again, 1)
	b.fail(0, again...)
	anHourLater()
	for _, id := range []notice.ID{failed, again[0].Notification} {
		_, err = b.log.Resend(t.Context(), id, "ana", "once more")
		require.ErrorIs(t, err, store.ErrResent)
	}

	byHand := exhausted("by-hand")
	_, err = b.log.Resend(t.Context(), byHand, "ana", "asked by phone")
	require.NoError(t, err)
	b.fail(0, b.claim("itp", 10, 0)...)
	anHourLater()
	queued, more, err := b.log.Redeliver(t.Context(), "itp", time.Now().Add(-time.Hour), 10)
	require.NoError(t, err)
	require.Empty(t, queued, "an operator's failed, and an initiator gets none after it")
	require.False(t, more)

	never := exhausted("never")
	_, err = b.log.Resend(t.Context(), never, "ana", "asked by phone")
	require.NoError(t, err)
	b.register("itp")
	n, err := b.store.CancelEnded(t.Context(), 100)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	b.register("itp", "https://itp.example/hook")
	anHourLater()
	_, err = b.log.Resend(t.Context(), never, "ana", "it has an address again")
	require.NoError(t, err, "no POST was made, so this one is the first")
}
