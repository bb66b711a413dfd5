package store_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/storetest"
	"github.com/arauto/arauto/internal/store/auditlog"
)

// TestServeCannotChooseTheTransactionOrTheTimeOfAnEntry: an entry's place in the log is its transaction and its id (found F22).
func TestServeCannotChooseTheTransactionOrTheTimeOfAnEntry(t *testing.T) {
	s := openSealed(t)
	s.full(3)
	s.seal()
	app := s.connect()
	_, err := app.Exec(t.Context(), "SET search_path = arauto; SET ROLE arauto_app")
	require.NoError(t, err)
	for _, sql := range []string{
		"INSERT INTO entry (id, xid, kind, facts) SELECT id, xid, 'change', '{}' FROM log_position WHERE seq = 1",
		"INSERT INTO entry (id, at, kind, facts) SELECT id, at, 'change', '{}' FROM log_position WHERE seq = 1",
		"INSERT INTO entry SELECT * FROM entry LIMIT 1",
		"UPDATE entry SET xid = 3",
	} {
		_, err := app.Exec(t.Context(), sql)
		require.ErrorContains(t, err, "42501", sql)
	}
	_, err = app.Exec(t.Context(), "INSERT INTO entry (id, kind, facts) VALUES (gen_random_uuid(), 'change', '{}')")
	require.NoError(t, err)
	s.seal()
	s.ok(4)
}

// TestAnEntryWithoutAPositionOfItsOwnIsAFault: a row that stands at or before the end of the log and was never sealed is
// found at every position, also behind the last position of what is read at once (found F22).
func TestAnEntryWithoutAPositionOfItsOwnIsAFault(t *testing.T) {
	for name, sql := range map[string]string{
		"a copy of the last entry":                 "INSERT INTO entry SELECT * FROM entry WHERE id = (SELECT id FROM log_position WHERE seq = 599)",
		"a second row with the last entry's place": "INSERT INTO entry (id, at, xid, kind, facts) SELECT id, at, xid, 'change', '{}' FROM log_position WHERE seq = 599",
		"the same in another month":                "INSERT INTO entry (id, at, xid, kind, facts) SELECT id, at + interval '1 month', xid, 'change', '{}' FROM log_position WHERE seq = 599",
		"one with the first entry's place":         "INSERT INTO entry (id, at, xid, kind, facts) SELECT id, at, xid, 'change', '{}' FROM log_position WHERE seq = 0",
		"one with a place in the middle":           "INSERT INTO entry (id, at, xid, kind, facts) SELECT id, at, xid, 'change', '{}' FROM log_position WHERE seq = 299",
		"one of a transaction before all":          "INSERT INTO entry (id, xid, kind, facts) VALUES (gen_random_uuid(), 0, 'change', '{}')",
		"one of a negative transaction":            "INSERT INTO entry (id, xid, kind, facts) VALUES (gen_random_uuid(), -5, 'change', '{}')",
		"one of a transaction to come":             "INSERT INTO entry (id, xid, kind, facts) VALUES (gen_random_uuid(), 1000000000000, 'change', '{}')",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := openSealed(t)
			s.full(300)
			s.seal()
			s.full(300)
			s.seal()
			s.ok(600)
			s.tamper(sql)
			v, err := s.verify()
			require.Error(t, err, "%+v", v)
			require.Contains(t, err.Error(), "BAD seq=")
		})
	}
}

// TestTheSealerTellsOfEntriesThatItCannotPlace: it goes forward only, so what is put in behind it must be told.
func TestTheSealerTellsOfEntriesThatItCannotPlace(t *testing.T) {
	s := openSealed(t)
	s.full(10)
	require.Zero(t, s.seal().Strays)
	s.full(1)
	require.Zero(t, s.seal().Strays)
	s.tamper("INSERT INTO entry (id, xid, kind, facts) SELECT gen_random_uuid(), xid, 'change', '{}' FROM log_position WHERE seq = 0")
	s.full(1)
	out := storetest.Seal(t, auditlog.New(s.store.Access()), s.owner, s.key) // the other one has just counted
	require.Equal(t, int64(1), out.Strays)
	require.Equal(t, int64(12), out.Size, "what was written honestly is sealed all the same")
}

// TestTwoEntriesOfOneTransactionWithOneIDGetOnePosition: serve can write such rows. The log stays in order, the second row
// is told, and verification names it.
func TestTwoEntriesOfOneTransactionWithOneIDGetOnePosition(t *testing.T) {
	s := openSealed(t)
	s.full(2)
	s.seal()
	app := s.connect()
	_, err := app.Exec(t.Context(), `SET search_path = arauto; SET ROLE arauto_app; INSERT INTO entry (id, kind, facts)
SELECT 'ffffffff-ffff-ffff-ffff-ffffffffffff', 'change', '{}' FROM generate_series(1, 2)`)
	require.NoError(t, err)
	out := s.seal()
	require.Equal(t, int64(3), out.Size)
	require.Equal(t, int64(1), out.Strays)
	_, err = s.verify()
	require.ErrorContains(t, err, "BAD seq=2 a second entry ffffffff-ffff-ffff-ffff-ffffffffffff stands in its place")
	s.full(1)
	require.Equal(t, int64(4), s.seal().Size, "sealing goes on")
}
