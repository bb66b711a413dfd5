package store_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/store/auditlog"
)

// oldMonth writes entries into January 2020 and seals them; the checkpoint over them is signed as of a time.
func (s *sealedHistory) oldMonth(n int, signed time.Time) {
	s.t.Helper()
	s.exec(`CREATE TABLE arauto.entry_202001 PARTITION OF arauto.entry FOR VALUES FROM ('2020-01-01 00:00:00+00') TO ('2020-02-01 00:00:00+00')`)
	s.tamper(`INSERT INTO entry (id, at, kind, facts) SELECT gen_random_uuid(), '2020-01-31T23:59:59Z', 'change', '{}' FROM generate_series(1, $1)`, n)
	s.seal()
	s.resign(signed)
}

// resign replaces the newest checkpoint by one that was signed at another time, which takes the log's key.
func (s *sealedHistory) resign(at time.Time) {
	s.t.Helper()
	c := s.last()
	c.At = audit.At(at)
	signed, err := s.key.Sign(c)
	require.NoError(s.t, err)
	s.tamper("UPDATE log_checkpoint SET at = $1, note = $2 WHERE size = $3", at, string(signed), c.Size)
}

func (s *sealedHistory) announced() []string {
	s.t.Helper()
	names, err := s.log.AnnounceRemovals(s.t.Context(), 5)
	require.NoError(s.t, err)
	return names
}

func (s *sealedHistory) dropped() []string {
	s.t.Helper()
	names, err := s.log.DropHistory(s.t.Context(), 5)
	require.NoError(s.t, err)
	return names
}

// refused seals until the sealer stops, and returns why.
func (s *sealedHistory) refused() (err error) {
	s.t.Helper()
	require.Eventually(s.t, func() bool { // transactions of other tests hold the horizon back
		var out auditlog.SealStep
		out, err = s.log.Seal(s.t.Context(), s.key)
		require.Zero(s.t, out.Entries, "sealed all the same")
		return err != nil
	}, time.Minute, time.Millisecond)
	require.ErrorIs(s.t, err, store.ErrTampered)
	return err
}

var inTime = time.Date(2020, 2, 1, 0, 0, 5, 0, time.UTC)

// TestAMonthIsRemovedAfterItsAnnouncementIsSealedAndAnchored walks the whole way of a removal.
func TestAMonthIsRemovedAfterItsAnnouncementIsSealedAndAnchored(t *testing.T) {
	s := openSealed(t)
	s.oldMonth(20, inTime)
	s.tamper("UPDATE seal_state SET anchored_through = now() - interval '1 hour'")
	require.Empty(t, s.dropped(), "not announced")
	require.Equal(t, []string{"entry_202001"}, s.announced())
	require.Empty(t, s.announced(), "once")
	require.Empty(t, s.dropped(), "the announcement is not sealed")
	s.full(3)
	s.seal()
	s.ok(24)
	require.Empty(t, s.dropped(), "the announcement is not anchored")
	require.NoError(t, s.log.MarkAnchored(t.Context(), time.Now()))
	require.Empty(t, s.dropped(), "anchored is what an hour has passed over")
	s.tamper("UPDATE seal_state SET anchored_through = now() + interval '1 second'")
	require.Equal(t, []string{"entry_202001"}, s.dropped())
	v, err := s.verify()
	require.NoError(t, err, "the announcement suffices")
	require.Equal(t, int64(20), v.Removed)
	s.seal()
	v, err = s.verify()
	require.NoError(t, err)
	require.Equal(t, int64(25), v.Entries)
	require.Equal(t, int64(20), v.Removed)
	require.Greater(t, v.RemovedAsOf, audit.At(time.Now().Add(-time.Hour)))

	t.Run("a position of it that moves to another month is found", func(*testing.T) {
		s.tamper("UPDATE log_position SET at = '2020-02-01T00:00:01Z' WHERE seq = 3")
		s.bad(0, "the removal of 20 from 0 to 19 was announced")
		s.tamper("UPDATE log_position SET at = '2020-01-31T23:59:59Z' WHERE seq = 3")
	})
	t.Run("so is one more that is missing", func(*testing.T) {
		s.tamper("DELETE FROM entry WHERE id = (SELECT id FROM log_position WHERE seq = 21)")
		s.tamper("UPDATE log_position SET at = '2020-01-31T23:59:59Z' WHERE seq = 21")
		s.bad(0, "20 from 0 to 19 was announced")
	})
}

// TestARemovalIsNotAnnouncedBeforeItsTimeIsOver: what counts is when the entries were sealed, whatever times they claim.
func TestARemovalIsNotAnnouncedBeforeItsTimeIsOver(t *testing.T) {
	s := openSealed(t)
	s.oldMonth(20, time.Now().AddDate(-5, 0, 1))
	require.Empty(t, s.announced())
	s.resign(time.Now().AddDate(-5, 0, -1))
	require.Equal(t, []string{"entry_202001"}, s.announced())
}

// TestTheSealerSignsNoFalseClaimAboutTheLog: the owner of the database writes entries by hand.
func TestTheSealerSignsNoFalseClaimAboutTheLog(t *testing.T) {
	digest := func(s *sealedHistory) string {
		var tree audit.Range
		rows, err := s.owner.Query(s.t.Context(), "SELECT leaf FROM log_position WHERE at < '2020-02-01' ORDER BY seq")
		require.NoError(s.t, err)
		for rows.Next() {
			var leaf []byte
			require.NoError(s.t, rows.Scan(&leaf))
			tree.Append(audit.Hash(leaf), nil)
		}
		require.NoError(s.t, rows.Err())
		return tree.Root().String()
	}
	write := func(s *sealedHistory, outcome, month string, first, last, n int, digest string) {
		s.exec(fmt.Sprintf(`INSERT INTO arauto.entry (id, kind, outcome, facts) VALUES (gen_random_uuid(), 'retention', '%s',
  '{"partition":"%s","first":%d,"last":%d,"entries":%d,"digest":"%s"}')`, outcome, month, first, last, n, digest))
	}
	for name, c := range map[string]struct {
		write func(s *sealedHistory)
		words string
	}{
		"what is so":                      {func(s *sealedHistory) { write(s, "announced", "entry_202001", 0, 19, 20, digest(s)) }, ""},
		"another digest":                  {func(s *sealedHistory) { write(s, "announced", "entry_202001", 0, 19, 20, audit.EmptyRoot().String()) }, "has 20 entries from 0 to 19"},
		"another number":                  {func(s *sealedHistory) { write(s, "announced", "entry_202001", 0, 19, 19, digest(s)) }, "has 20 entries from 0 to 19"},
		"other positions":                 {func(s *sealedHistory) { write(s, "announced", "entry_202001", 1, 20, 20, digest(s)) }, "has 20 entries from 0 to 19"},
		"a month that has no entries":     {func(s *sealedHistory) { write(s, "announced", "entry_201501", 21, 21, 1, digest(s)) }, "entry_201501 has 0 entries"},
		"this month":                      {func(s *sealedHistory) { s.announceThisMonth(write) }, "may not be before"},
		"no month":                        {func(s *sealedHistory) { write(s, "announced", "entry_202013", 0, 19, 20, digest(s)) }, "announces or records one removal"},
		"a removal nobody announced":      {func(s *sealedHistory) { write(s, "dropped", "entry_202001", 0, 19, 20, digest(s)) }, "was not announced"},
		"a removal of the old form (F20)": {func(s *sealedHistory) { s.exec(hide) }, "announces or records one removal"},
		"a word of its own":               {func(s *sealedHistory) { write(s, "planned", "entry_202001", 0, 19, 20, digest(s)) }, "neither announced nor dropped"},
		"a removal while the rows are here": {func(s *sealedHistory) {
			require.Equal(s.t, []string{"entry_202001"}, s.announced())
			s.seal()
			s.tamper("UPDATE seal_state SET anchored_through = now() + interval '1 hour'")
			write(s, "dropped", "entry_202001", 0, 19, 20, digest(s))
		}, "still has entries"},
		"a loss that nobody signed": {func(s *sealedHistory) {
			s.exec(`INSERT INTO arauto.entry (id, kind, facts) VALUES (gen_random_uuid(), 'loss', '{"statement":"x"}')`)
		}, "the statement of loss"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := openSealed(t)
			s.oldMonth(20, inTime)
			s.full(5)
			s.seal()
			c.write(s)
			if c.words == "" {
				s.seal()
				s.ok(26)
				return
			}
			err := s.refused()
			require.ErrorContains(t, err, c.words)
			var id string
			require.NoError(t, s.owner.QueryRow(t.Context(), "SELECT id FROM entry WHERE kind IN ('retention', 'loss') ORDER BY xid DESC LIMIT 1").Scan(&id))
			require.ErrorContains(t, err, id)
		})
	}
}

// hide is how found F20 began.
const hide = `INSERT INTO arauto.entry (id, kind, outcome, facts) VALUES (gen_random_uuid(), 'retention', 'dropped',
 '{"now":["entry_201501"],"dropped":[{"partition":"entry_201501","first":21,"last":21,"entries":1,"droppedAt":"2026-11-01T00:00:00.000000Z"}]}')`

// announceThisMonth announces what is true in every number and too early.
func (s *sealedHistory) announceThisMonth(write func(s *sealedHistory, outcome, month string, first, last, n int, digest string)) {
	s.t.Helper()
	var month string
	var tree audit.Range
	require.NoError(s.t, s.owner.QueryRow(s.t.Context(), "SELECT 'entry_' || to_char(at, 'YYYYMM') FROM log_position WHERE seq = 20").Scan(&month))
	for seq := 20; seq < 25; seq++ {
		var leaf []byte
		require.NoError(s.t, s.owner.QueryRow(s.t.Context(), "SELECT leaf FROM log_position WHERE seq = $1", seq).Scan(&leaf))
		tree.Append(audit.Hash(leaf), nil)
	}
	write(s, "announced", month, 20, 24, 5, tree.Root().String())
}

// TestTheRoleOfServeWritesNoEntryAboutTheLogByHand: it has INSERT on the history, and functions for these.
func TestTheRoleOfServeWritesNoEntryAboutTheLogByHand(t *testing.T) {
	s := openSealed(t)
	for _, kind := range []string{"retention", "loss", "hold"} {
		_, err := s.owner.Exec(t.Context(), "SET ROLE arauto_app; INSERT INTO entry (id, kind, facts) VALUES (gen_random_uuid(), '"+kind+"', '{}')")
		require.ErrorContains(t, err, "42501", kind)
	}
	_, err := s.owner.Exec(t.Context(), "SET ROLE arauto_app; INSERT INTO entry (id, kind, facts) VALUES (gen_random_uuid(), 'admin', '{}')")
	require.NoError(t, err)
}
