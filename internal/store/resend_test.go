package store_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/timing"
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

	resent := func(id notice.ID) bool {
		t.Helper()
		one, err := b.log.Notification(t.Context(), id)
		require.NoError(t, err)
		list, _, err := b.log.Notifications(t.Context(), history.Filter{Client: "itp", Limit: 100})
		require.NoError(t, err)
		at := slices.IndexFunc(list, func(r history.Record) bool { return r.ID == id })
		require.GreaterOrEqual(t, at, 0)
		require.Equal(t, one.Resent, list[at].Resent, "the list and the one say the same")
		return one.Resent
	}

	failed := exhausted("failed")
	require.False(t, resent(failed))
	queued, _, err := b.log.Redeliver(t.Context(), "itp", time.Now().Add(-time.Hour), 10)
	require.NoError(t, err)
	require.Equal(t, []notice.ID{failed}, queued)
	again := b.claim("itp", 10, 0)
	require.Len(t, again, 1)
	b.fail(0, again...)
	anHourLater()
	for _, id := range []notice.ID{failed, again[0].Notification} {
		refused, err := b.log.Resend(t.Context(), id, "ana", "once more")
		require.ErrorIs(t, err, store.ErrResent)
		require.Zero(t, refused, "an id that no notification has")
		require.True(t, resent(id), "it tells before it is asked for")
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
	require.False(t, resent(never))
	_, err = b.log.Resend(t.Context(), never, "ana", "it has an address again")
	require.NoError(t, err, "no POST was made, so this one is the first")
}

// TestAResendIsNeverLate resends a notification an hour after its event: the notification was late, and what was asked for by hand has
// no deadline. It is so for entries of versions that wrote late of it, too.
func TestAResendIsNeverLate(t *testing.T) {
	f := newFigured(t)
	f.register("itp", "https://itp.example/hook")
	c := payment("itp", "late", 1, "ACSC")
	c.OccurredAt = time.Now().Add(-time.Hour)
	f.accept(c)
	for _, ago := range []time.Duration{11 * time.Second, 61 * time.Second, 0} {
		f.fail(ago, f.claim("itp", 10, 10)...)
	}
	given := f.notificationOf("late")
	resent, err := f.log.Resend(t.Context(), given, "ana", "asked for")
	require.NoError(t, err)
	byHand := f.claim("itp", 10, 10)
	require.Len(t, byHand, 1)
	require.True(t, byHand[0].Manual)
	require.False(t, byHand[0].Late, "as log lines tell it")
	f.fail(0, byHand...)
	require.Equal(t, 3, one[int](f.bench, "SELECT count(*) FROM entry WHERE kind = 'attempt' AND facts->>'late' = 'true'"))
	require.Equal(t, 1, one[int](f.bench, "SELECT count(*) FROM entry WHERE kind = 'attempt' AND facts->>'late' = 'false' AND facts->>'manual' = 'true'"))

	period := timing.Period{From: time.Now().Add(-2 * time.Hour), To: soon()}
	require.True(t, f.record(given).Late)
	require.False(t, f.record(resent).Late)
	f.do("SET session_replication_role = replica")
	f.do(`UPDATE entry SET facts = regexp_replace(facts::text, '"late" ?: ?false', '"late":true')::json WHERE kind = 'attempt' AND facts->>'manual' = 'true'`)
	f.do("SET session_replication_role = origin")
	require.Equal(t, 4, one[int](f.bench, "SELECT count(*) FROM entry WHERE kind = 'attempt' AND facts->>'late' = 'true'"), "as older versions wrote it")
	f.seal()
	for _, when := range []string{"not folded", "folded"} {
		r := f.record(resent)
		require.True(t, r.Manual)
		require.False(t, r.Late, when)
		listed, _, err := f.log.Notifications(t.Context(), history.Filter{Late: true, Limit: 10})
		require.NoError(t, err)
		require.Len(t, listed, 1, when)
		require.Equal(t, given, listed[0].ID)
		first, _, err := f.log.LateFirst(t.Context(), period, 10)
		require.NoError(t, err)
		require.Len(t, first, 1, when)
		by, err := f.log.LateByClient(t.Context(), period, 10)
		require.NoError(t, err)
		require.Equal(t, []timing.LateClient{{Client: "itp", Late: 1}}, by, when)
		found, err := f.log.Search(t.Context(), history.Search{Client: "itp", Late: true, From: period.From, To: period.To}, history.Position{}, 10)
		require.NoError(t, err)
		require.Len(t, found.Entries, 3, "the notification's three attempts")
		sums, _ := f.read("itp")
		require.EqualValues(t, 1, sums.First.Late, when)
		require.EqualValues(t, 1, sums.Manual.Notifications, when)
		report, _ := f.punctuality(period)
		require.EqualValues(t, 1, report.Total.Late, when)
		require.EqualValues(t, 1, report.Total.Manual, when)
		f.fold()
	}
	f.rebuild()
	sums, _ := f.read("itp")
	require.EqualValues(t, 1, sums.First.Late, "rebuilt")
}
