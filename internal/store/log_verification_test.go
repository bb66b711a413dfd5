package store_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/store/auditlog"
)

// since verifies what is new, up to so many entries.
func (s *sealedHistory) since(most int64) *auditlog.VerificationRecord {
	s.t.Helper()
	r, err := s.log.VerifySince(s.t.Context(), s.public, most)
	require.NoError(s.t, err)
	return r
}

// whole goes on with the verification of the whole log in parts of so many entries, until it has a verdict.
func (s *sealedHistory) whole(part int64) *auditlog.VerificationRecord {
	s.t.Helper()
	for {
		r, more, err := s.log.VerifyWhole(s.t.Context(), s.public, part)
		require.NoError(s.t, err)
		if !more {
			require.NotNil(s.t, r)
			return r
		}
	}
}

func (s *sealedHistory) state() auditlog.LogVerification {
	s.t.Helper()
	v, err := s.log.LogVerification(s.t.Context())
	require.NoError(s.t, err)
	return v
}

// verifications are the facts of the entries about verifications, the oldest first, with their outcome.
func (s *sealedHistory) verifications() (outcomes []string, records []auditlog.VerificationRecord) {
	s.t.Helper()
	rows, err := s.owner.Query(s.t.Context(), "SELECT outcome, facts::text FROM entry WHERE kind = 'verification' ORDER BY xid, id")
	require.NoError(s.t, err)
	defer rows.Close()
	for rows.Next() {
		var outcome, text string
		var r auditlog.VerificationRecord
		require.NoError(s.t, rows.Scan(&outcome, &text))
		require.NoError(s.t, json.Unmarshal([]byte(text), &r))
		outcomes, records = append(outcomes, outcome), append(records, r)
	}
	return outcomes, records
}

func TestWhatIsNewIsVerifiedWindowByWindowAndCounted(t *testing.T) {
	s := openSealed(t)
	require.Nil(t, s.since(1000), "nothing is sealed yet")
	for range 3 {
		s.full(100)
		s.seal()
	}
	first := s.since(250)
	require.EqualValues(t, 0, first.From)
	require.EqualValues(t, 200, first.To, "the last checkpoint within 250 entries")
	require.Nil(t, first.Found)
	require.Equal(t, s.rootAt(200), first.Root)
	second := s.since(250)
	require.EqualValues(t, 200, second.From)
	require.EqualValues(t, 300, second.To)
	require.Equal(t, s.last().Root.String(), second.Root)
	require.EqualValues(t, 300, s.state().Since.Verified)
	outcomes, records := s.verifications()
	require.Equal(t, []string{"ok", "ok"}, outcomes)
	require.EqualValues(t, 100, records[0].Counts.Clients, "each client has an entry in each hundred")
	require.EqualValues(t, 0, records[0].Counts.From)
	require.EqualValues(t, 200, records[0].Counts.To)
	require.Nil(t, records[1].Counts.Previous, "the entry before is not sealed yet")

	var list []byte
	require.NoError(t, s.owner.QueryRow(t.Context(), "SELECT clients FROM log_count WHERE to_seq = 200").Scan(&list))
	counts, err := audit.ParseCounts(list)
	require.NoError(t, err)
	require.Equal(t, records[0].Counts.Root, counts.Root().String())
	at, found := counts.Find(audit.ClientKey("client-7"))
	require.True(t, found)
	require.EqualValues(t, 2, counts[at].Count)

	s.seal()
	require.Nil(t, s.since(1000), "nothing but verifications is new: an idle log is not written to")
	require.EqualValues(t, 300, s.state().Since.Verified)
	s.full(1)
	s.seal()
	third := s.since(1000)
	require.EqualValues(t, 300, third.From)
	require.EqualValues(t, 303, third.To)
	require.EqualValues(t, 301, *third.Counts.Previous)
	s.seal()
	s.ok(304)
}

func (s *sealedHistory) rootAt(size int64) string {
	s.t.Helper()
	var signed string
	require.NoError(s.t, s.owner.QueryRow(s.t.Context(), "SELECT note FROM log_checkpoint WHERE size = $1", size).Scan(&signed))
	c, err := audit.OpenCheckpoint([]byte(signed), s.public)
	require.NoError(s.t, err)
	return c.Root.String()
}

// TestAnAlteredEntryIsFoundByTheNextVerification is found F23: nobody has to ask.
func TestAnAlteredEntryIsFoundByTheNextVerification(t *testing.T) {
	s := openSealed(t)
	s.full(50)
	s.seal()
	require.Nil(t, s.since(1000).Found)
	s.full(50)
	s.seal()
	const alter = "UPDATE entry SET facts = replace(facts::text, $2, $3)::json WHERE id = " + at
	s.tamper(alter, 70, "test 0", "test 1")
	r := s.since(1000)
	require.EqualValues(t, 70, r.Found.Seq)
	require.Contains(t, r.Found.Reason, "is not what was sealed")
	require.Nil(t, r.Counts, "what is bad is not counted")
	require.Empty(t, r.Root)
	outcomes, _ := s.verifications()
	require.Equal(t, []string{"ok", "bad"}, outcomes)
	bad := s.state()
	require.True(t, bad.Bad())
	require.EqualValues(t, 70, bad.Since.Fault.Seq)

	s.full(10)
	s.seal()
	require.Nil(t, s.since(1000).Found, "what comes after it is verified")
	require.True(t, s.state().Bad(), "that does not undo what was found")
	s.tamper(alter, 20, "test 0", "test 2")
	require.EqualValues(t, 20, s.whole(1000).Found.Seq, "an old entry is found by a verification of the whole log")
	s.tamper(alter, 20, "test 2", "test 0")
	require.EqualValues(t, 70, s.whole(1000).Found.Seq)
	s.tamper(alter, 70, "test 1", "test 0")
	require.Nil(t, s.whole(1000).Found)
	require.False(t, s.state().Bad(), "superseded")
}

// TestTheWholeLogIsVerifiedInPartsThatSurviveARestart: another process goes on where one was killed.
func TestTheWholeLogIsVerifiedInPartsThatSurviveARestart(t *testing.T) {
	s := openSealed(t)
	_, more, err := s.log.VerifyWhole(t.Context(), s.public, 200)
	require.NoError(t, err)
	require.False(t, more, "an empty log is not verified")
	for range 6 {
		s.full(100)
		s.seal()
	}
	for range 2 {
		r, more, err := s.log.VerifyWhole(t.Context(), s.public, 200)
		require.NoError(t, err)
		require.Nil(t, r)
		require.True(t, more)
	}
	s.tamper("UPDATE entry SET outcome = 'x' WHERE id = "+at, 250) // this walk has passed it
	other, err := store.Open(t.Context(), store.Options{URL: s.url, Replica: "other", Version: "0"})
	require.NoError(t, err)
	defer other.Close()
	r, more, err := auditlog.New(other.Access()).VerifyWhole(t.Context(), s.public, 200)
	require.NoError(t, err)
	require.False(t, more)
	require.Nil(t, r.Found, "it did not begin anew")
	require.EqualValues(t, 600, r.To)
	require.Equal(t, s.last().Root.String(), r.Root)
	require.EqualValues(t, 250, s.whole(200).Found.Seq, "the next one finds it")
}

// TestAStateOfVerificationThatCannotBeIsNotBelieved: the role of serve may write the state. One statement made every later
// verification look at nothing and say that nothing was wrong.
func TestAStateOfVerificationThatCannotBeIsNotBelieved(t *testing.T) {
	for name, c := range map[string]struct{ sql, reason string }{
		"more is verified than there is": {"UPDATE log_verification SET verified = 1000000000", "says that 1000000000 entries are verified, and the log has 301"},
		"it ended in the future":         {"UPDATE log_verification SET verified = 100, ended_at = now() + interval '1 year'", "has a time in the future"},
		"it was right in the future":     {"UPDATE log_verification SET verified = 100, ok_at = now() + interval '1 year'", "has a time in the future"},
		"a walk is past the end": {
			`UPDATE log_verification SET verified = 100, began_at = now(), progress = coalesce(progress, '{}') || '{"size": 1000000000}'`, "has come to entry 1000000000, and the log has 301",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := openSealed(t)
			s.full(100)
			s.seal()
			require.Nil(t, s.since(1000).Found)
			require.Empty(t, s.state().Impossible)
			s.full(200)
			s.seal()
			s.tamper("UPDATE entry SET outcome = 'x' WHERE id = "+at, 250)
			_, err := s.owner.Exec(t.Context(), "SET ROLE arauto_app; "+c.sql+"; RESET ROLE")
			require.NoError(t, err)
			require.Contains(t, s.state().Impossible, c.reason)
			since := s.since(1000)
			require.NotNil(t, since)
			require.EqualValues(t, 100, since.From, "where the counts end")
			require.EqualValues(t, 250, since.Found.Seq)
			require.EqualValues(t, 250, s.whole(1000).Found.Seq)
			require.True(t, s.state().Bad())
			require.Empty(t, s.state().Impossible, "it was written anew")
		})
	}
}

// TestAWalkThatGoesOnBelievesOnlyWhatWasSigned: the tree where a part begins is compared with the checkpoint there.
func TestAWalkThatGoesOnBelievesOnlyWhatWasSigned(t *testing.T) {
	for name, c := range map[string]struct {
		sql  string
		want string
	}{
		"a stored subtree is altered": {"UPDATE log_node SET hash = set_byte(hash, 3, get_byte(hash, 3) # 1) WHERE n = 0", "stored tree of 300 entries is not what was signed"},
		"a stored subtree is missing": {"DELETE FROM log_node WHERE n = 0", "stored tree of 300 entries has gaps"},
		"the checkpoint is missing":   {"DELETE FROM log_checkpoint WHERE size = 300", "checkpoint of 300 entries is not in the database"},
		"the checkpoint is altered":   {"UPDATE log_checkpoint SET note = replace(note, 'skew ', 'skew 1') WHERE size = 300", "checkpoint of 300 entries: "},
		"the key is another":          {"UPDATE log_key SET public = decode(repeat('07', 32), 'hex')", "the registered key of this database is"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := openSealed(t)
			s.full(300)
			s.seal()
			require.Nil(t, s.since(1000).Found)
			s.full(300)
			s.seal()
			s.tamper(c.sql)
			require.Contains(t, s.since(1000).Found.Reason, c.want)
			require.True(t, s.state().Bad())
		})
	}
}

// TestRemovedMonthsAreVerifiedByTheirRemovals: a part whose entries were removed is judged with the whole log, when the
// entry about the removal was passed too.
func TestRemovedMonthsAreVerifiedByTheirRemovals(t *testing.T) {
	s := openSealed(t)
	s.exec(`CREATE TABLE arauto.entry_202001 PARTITION OF arauto.entry FOR VALUES FROM ('2020-01-01 00:00:00+00') TO ('2020-02-01 00:00:00+00')`)
	s.tamper(`INSERT INTO entry (id, at, kind, facts) SELECT gen_random_uuid(), '2020-01-31T23:59:59Z', 'change', '{}' FROM generate_series(1, 20)`)
	s.seal()
	s.full(100)
	s.seal()
	s.tamper("DELETE FROM entry WHERE at < '2021-01-01'")
	since := s.since(50)
	require.Nil(t, since.Found, "of a part it is only said how many are not there")
	require.EqualValues(t, 20, since.Removed)
	r, more, err := s.log.VerifyWhole(t.Context(), s.public, 50)
	require.NoError(t, err)
	require.True(t, more)
	require.Nil(t, r)
	r, more, err = s.log.VerifyWhole(t.Context(), s.public, 500)
	require.NoError(t, err)
	require.False(t, more)
	require.Nil(t, r, "the entry about the removal may not be sealed yet")
	s.tamper(`UPDATE log_verification SET progress = jsonb_set(progress, '{missingAt}', '"2026-01-01T00:00:00Z"') WHERE scope = 'whole'`)
	r = s.whole(500)
	require.EqualValues(t, 0, r.Found.Seq)
	require.Contains(t, r.Found.Reason, "missing")
}

// TestTheVerificationsEntriesFitTheirFormat: other programs read them.
func TestTheVerificationsEntriesFitTheirFormat(t *testing.T) {
	s := openSealed(t)
	s.full(3)
	s.seal()
	s.since(1000)
	var text string
	require.NoError(t, s.owner.QueryRow(t.Context(), "SELECT facts::text FROM entry WHERE kind = 'verification'").Scan(&text))
	var members map[string]any
	require.NoError(t, json.Unmarshal([]byte(text), &members))
	require.Contains(t, members["system"], "test")
	require.Equal(t, "since", members["scope"])
	require.Equal(t, fmt.Sprint(s.rootAt(3)), members["root"])
	require.Equal(t, map[string]any{"from": 0., "to": 3., "clients": 3., "root": members["counts"].(map[string]any)["root"], "previous": nil}, members["counts"])
}
