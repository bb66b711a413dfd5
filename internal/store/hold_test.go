package store_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/store"
)

// asAuditor is the context of a call by an auditor.
func asAuditor(t *testing.T) context.Context {
	t.Helper()
	return context.WithValue(t.Context(), history.ActorKey{}, history.Actor{Subject: "ana", Role: "auditor", Source: "192.0.2.7:4711"})
}

// oldEntry makes a month of long ago with one entry in it, proven and anchored.
func (b *bench) oldEntry(month, client string, kind ofb.Kind, resource string) {
	b.t.Helper()
	b.old(month)
	b.do(`INSERT INTO entry (id, at, kind, client_id, resource_kind, resource_id, facts)
VALUES (gen_random_uuid(), $1::timestamptz, 'change', nullif($2, ''), nullif($3::smallint, 0), nullif($4, ''), '{}')`,
		month[:4]+"-"+month[4:]+"-03T00:00:00Z", client, int16(kind), resource)
	b.place("2015-01-01T00:00:00Z")
}

// TestRetentionKeepsWhatIsHeld is case T3: for every caller of the function, a month with entries under a hold stays, months
// around it go, and a lifted hold lets it go too.
func TestRetentionKeepsWhatIsHeld(t *testing.T) {
	for name, hold := range map[string]history.Hold{
		"a client":   {Name: "case-1", Client: "held", Reason: "court"},
		"a resource": {Name: "case-1", Kind: ofb.PixPayment, ResourceID: "p-held", Reason: "court"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.oldEntry("201001", "other", ofb.PixPayment, "p-1")
			b.oldEntry("201002", "held", ofb.PixPayment, "p-held")
			b.oldEntry("201003", "other", ofb.RecurringPayment, "p-held") // the same id of another kind is another resource
			stands, placed, err := b.log.PlaceHold(asAuditor(t), hold)
			require.NoError(t, err)
			require.True(t, placed)
			require.Equal(t, "ana", stands.PlacedBy)
			b.announce("entry_201001", "entry_201002", "entry_201003")
			gone, err := b.log.DropHistory(t.Context(), 5)
			require.NoError(t, err)
			require.Equal(t, []string{"entry_201001", "entry_201003"}, gone)
			held, err := b.log.HeldMonths(t.Context())
			require.NoError(t, err)
			require.Equal(t, map[string][]string{"entry_201002": {"case-1"}}, held)
			stands, err = b.log.Hold(t.Context(), "case-1")
			require.NoError(t, err)
			require.Equal(t, []string{"entry_201002"}, stands.Months)
			var kept []string
			require.NoError(t, b.app().QueryRow(t.Context(), "SELECT drop_history('5 years')").Scan(&kept), "as serve's role, past our code")
			require.Empty(t, kept)

			require.NoError(t, b.log.LiftHold(asAuditor(t), "case-1", "settled"))
			gone, err = b.log.DropHistory(t.Context(), 5)
			require.NoError(t, err)
			require.Equal(t, []string{"entry_201002"}, gone)
			held, err = b.log.HeldMonths(t.Context())
			require.NoError(t, err)
			require.Empty(t, held)
		})
	}
	t.Run("everything", func(t *testing.T) {
		b := newBench(t)
		b.oldEntry("201001", "", 0, "")
		_, _, err := b.log.PlaceHold(asAuditor(t), history.Hold{Name: "all", Reason: "court"})
		require.NoError(t, err)
		b.announce("entry_201001")
		gone, err := b.log.DropHistory(t.Context(), 5)
		require.NoError(t, err)
		require.Empty(t, gone)
	})
}

func TestEachHoldStandsForItselfAndIsWrittenDown(t *testing.T) {
	b := newBench(t)
	first := history.Hold{Name: "case-1", Client: "itp", Reason: "court"}
	_, placed, err := b.log.PlaceHold(asAuditor(t), first)
	require.NoError(t, err)
	require.True(t, placed)
	_, placed, err = b.log.PlaceHold(asAuditor(t), first)
	require.NoError(t, err)
	require.False(t, placed, "it stands already")
	_, _, err = b.log.PlaceHold(asAuditor(t), history.Hold{Name: "case-1", Client: "other", Reason: "court"})
	require.ErrorIs(t, err, store.ErrOtherHold)
	_, _, err = b.log.PlaceHold(asAuditor(t), history.Hold{Name: "case-2", Client: "itp", Reason: "another court"})
	require.NoError(t, err)
	require.NoError(t, b.log.LiftHold(asAuditor(t), "case-1", "settled"))
	require.ErrorIs(t, b.log.LiftHold(asAuditor(t), "case-1", "settled"), store.ErrNotFound)
	list, err := b.log.Holds(t.Context())
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, "case-2", list[0].Name)
	require.Equal(t, []string{"placed ana auditor 192.0.2.7:4711 case-1 court itp", "placed ana auditor 192.0.2.7:4711 case-2 another court itp", "lifted ana auditor 192.0.2.7:4711 case-1 settled itp"},
		one[[]string](b, `SELECT array_agg(outcome || ' ' || (facts->>'actor') || ' ' || (facts->>'role') || ' ' || (facts->>'source') || ' ' || (facts->>'name') || ' ' || (facts->>'reason') || ' ' || client_id ORDER BY xid) FROM entry WHERE kind = 'hold'`))
}

// TestNobodyLiftsAHoldPastTheFunctionThatWritesItDown: serve's role can place and lift by them alone.
func TestNobodyLiftsAHoldPastTheFunctionThatWritesItDown(t *testing.T) {
	b := newBench(t)
	_, _, err := b.log.PlaceHold(asAuditor(t), history.Hold{Name: "case-1", Client: "itp", Reason: "court"})
	require.NoError(t, err)
	app := b.app()
	for _, act := range []string{
		"DELETE FROM hold", "UPDATE hold SET client_id = 'x'", "TRUNCATE hold", "INSERT INTO hold (name, reason, placed_by) VALUES ('x', 'y', 'z')",
		"DELETE FROM history_held", "DROP FUNCTION drop_history(interval)",
		"CREATE OR REPLACE FUNCTION lift_hold(old_name text, record json) RETURNS boolean LANGUAGE sql AS 'SELECT true'",
	} {
		_, err := app.Exec(t.Context(), act)
		require.ErrorContains(t, err, "42501", act)
	}
	require.Equal(t, 1, one[int](b, "SELECT count(*) FROM hold"))
}

// TestServeCannotClaimMoreThanIsSealedToBeAnchored: retention goes by it.
func TestServeCannotClaimMoreThanIsSealedToBeAnchored(t *testing.T) {
	b := newBench(t)
	app := b.app()
	_, err := app.Exec(t.Context(), "UPDATE seal_state SET anchored_through = now()")
	require.ErrorContains(t, err, "beyond the newest checkpoint")
	b.do("INSERT INTO log_checkpoint (size, at, note) VALUES (1, '2020-01-01T00:00:00Z', '')")
	_, err = app.Exec(t.Context(), "UPDATE seal_state SET anchored_through = '2020-01-01T00:00:01Z'")
	require.ErrorContains(t, err, "beyond the newest checkpoint")
	_, err = app.Exec(t.Context(), "UPDATE seal_state SET anchored_through = '2019-12-31T23:00:00Z'")
	require.NoError(t, err)
	_, err = app.Exec(t.Context(), "UPDATE seal_state SET anchored_through = '2019-12-31T22:00:00Z'")
	require.ErrorContains(t, err, "only moves forward")
	_, err = app.Exec(t.Context(), "UPDATE seal_state SET one = false")
	require.ErrorContains(t, err, "42501")
}
