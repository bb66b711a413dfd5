package store_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/evidence"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/store/auditlog"
)

// bundle exports as of a size what a search finds, and verifies it.
func (s *sealedHistory) bundle(search history.Search, size int64) (audit.VerifiedLog, error) {
	s.t.Helper()
	x, err := auditlog.OpenExport(s.t.Context(), s.url, size)
	require.NoError(s.t, err)
	defer x.Close(s.t.Context())
	f, _ := evidence.FormatNamed("bundle")
	var out bytes.Buffer
	if _, err := f.Write(s.t.Context(), x, search, "test", &out); err != nil {
		return audit.VerifiedLog{}, err
	}
	return audit.VerifyBundle(bytes.NewReader(out.Bytes()), int64(out.Len()), s.public, nil)
}

// openCounted has 100 entries of a hundred clients, counted, and 200 more within a period, counted too. An entry of
// client-7 that is three hours younger shows where the period ends.
func openCounted(t *testing.T) (s *sealedHistory, from, to time.Time) {
	t.Helper()
	s = openSealed(t)
	s.full(100)
	s.seal()
	require.NotNil(t, s.since(1000))
	s.seal()
	now := func() (at time.Time) {
		require.NoError(t, s.owner.QueryRow(t.Context(), "SELECT clock_timestamp()").Scan(&at))
		return at
	}
	from = now()
	s.full(100)
	s.full(100)
	to = now()
	s.tamper("INSERT INTO entry (id, at, kind, client_id, facts) VALUES (gen_random_uuid(), now() + interval '3 hours', 'poll', 'client-7', '{}')")
	s.seal()
	return s, from, to
}

// TestEverythingOfAClientInAPeriodIsShownToBeComplete is found F25: an auditor who is handed it needs no trust in anybody who
// filtered.
func TestEverythingOfAClientInAPeriodIsShownToBeComplete(t *testing.T) {
	s, from, to := openCounted(t)
	search := history.Search{Client: "client-7", From: from, To: to}
	v, err := s.bundle(search, 0)
	require.NoError(t, err)
	require.False(t, v.Complete, "the period is not counted yet")
	require.Contains(t, strings.Join(v.Notes, "\n"), "entries from position 100 on are not counted yet")

	require.NotNil(t, s.since(1000))
	s.seal()
	size := s.last().Size
	for _, c := range []struct {
		search   history.Search
		entries  int64
		complete bool
	}{
		{search, 2, true},
		{history.Search{Client: "client-7", From: from, To: to, Entries: []string{"attempt"}}, 0, true},
		{history.Search{Client: "client-7", From: from, To: to, Outcome: "refused"}, 2, true},
		{history.Search{Client: "nobody", From: from, To: to}, 0, false}, // nothing of its own shows where the period ends
		{history.Search{Client: "client-7", To: to}, 3, true},
		{history.Search{Client: "client-7", From: from}, 3, false},
		{history.Search{Client: "client-7", From: from, To: to.Add(5 * time.Hour)}, 3, false},
		{history.Search{Client: "client-7", From: from, To: to, ResourceID: "p-7"}, 0, false},
		{history.Search{From: from, To: to, Outcome: "refused"}, 200, false},
	} {
		v, err := s.bundle(c.search, size)
		require.NoError(t, err)
		require.Equal(t, c.entries, v.Entries, "%v", c.search.Filter())
		require.Equal(t, c.complete, v.Complete, "%v: %v", c.search.Filter(), v.Notes)
		require.True(t, v.Filtered)
	}
	v, err = s.bundle(search, 100)
	require.NoError(t, err)
	require.False(t, v.Complete, "as of a checkpoint before the counts")

	asked := s.request(search, "bundle")
	made, err := s.maker().Make(t.Context())
	require.NoError(t, err)
	require.True(t, made)
	done := s.exportNow(asked)
	require.Equal(t, history.ExportDone, done.State)
	require.True(t, *done.Complete, "it was verified as everybody can")
	require.NotEmpty(t, done.Notes)
	listed := s.request(search, "jsonl")
	_, err = s.maker().Make(t.Context())
	require.NoError(t, err)
	require.Nil(t, s.exportNow(listed).Complete, "lines show nothing")

	s.tamper("DELETE FROM entry WHERE id = (SELECT id FROM entry WHERE client_id = 'client-7' AND at > $1 ORDER BY at LIMIT 1)", from)
	_, err = s.bundle(search, size)
	require.ErrorContains(t, err, `the log has 3 entries of client "client-7", and the bundle has 2`)
	asked = s.request(search, "bundle")
	var told string
	maker := s.maker()
	maker.Tampered = func(detail string) { told = detail }
	made, err = maker.Make(t.Context())
	require.NoError(t, err)
	require.True(t, made)
	refused := s.exportNow(asked)
	require.Equal(t, history.ExportFailed, refused.State, "a file that is not right is not handed out")
	require.Contains(t, refused.Problem, "BAD seq=")
	require.Contains(t, told, `the log has 3 entries of client "client-7", and the bundle has 2`)
}

// TestCountsThatWereAlteredAreNotHandedOut: the list of counts must be the one that was sealed.
func TestCountsThatWereAlteredAreNotHandedOut(t *testing.T) {
	s, from, to := openCounted(t)
	require.NotNil(t, s.since(1000))
	s.seal()
	s.tamper("UPDATE log_count SET clients = set_byte(clients, 39, 1) WHERE from_seq > 0")
	_, err := s.bundle(history.Search{Client: "client-7", From: from, To: to}, 0)
	require.ErrorIs(t, err, store.ErrTampered)
}
