package store_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/store/auditlog"
)

// searched is a history with a little of everything, spread over 80 days and partly sealed.
type searched struct {
	*sealedHistory
	all []audit.Entry // newest first
}

const manySQL = `
INSERT INTO entry (id, at, kind, client_id, resource_kind, resource_id, notification_id, change_id, interaction_id, number, outcome, facts)
SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7000' || 'a' || lpad(n::text, 15, '0'))::uuid, at, kind, client, CASE WHEN kind <> 'admin' THEN 2 + n / 4 % 2 * 2 END,
  CASE WHEN kind <> 'admin' THEN 'p-' || n / 4 % 7 END, CASE WHEN kind <> 'poll' AND kind <> 'admin' THEN ('00000000-0000-4000-8000-' || lpad((n / 4)::text, 12, '0'))::uuid END,
  CASE WHEN kind = 'duplicate' THEN '00000000-0000-4000-8000-00000000abcd'::uuid END,
  CASE WHEN kind IN ('attempt', 'poll') THEN ('00000000-0000-4000-9000-' || lpad(n::text, 12, '0'))::uuid END,
  CASE WHEN kind IN ('attempt', 'result') THEN 1 END,
  CASE kind WHEN 'result' THEN (ARRAY['delivered', 'refused', 'timeout'])[1 + n / 4 % 3] WHEN 'change' THEN 'applied' WHEN 'poll' THEN (ARRAY['200', '404'])[1 + n / 4 % 2] WHEN 'admin' THEN 'search' ELSE 'duplicate' END,
  CASE WHEN kind = 'attempt' THEN json_build_object('late', n / 4 % 5 = 0) ELSE '{"n":1}' END
FROM (SELECT n, $1::timestamptz - n / 4 * interval '500 minutes' + n % 4 * interval '1 second' AS at, (ARRAY['change', 'attempt', 'result', (ARRAY['poll', 'duplicate', 'admin'])[1 + n / 4 % 3]])[1 + n % 4] AS kind,
  'c-' || n / 4 % 9 AS client FROM generate_series($2::int, $3::int) n) made`

func openSearched(t *testing.T) *searched {
	s := &searched{sealedHistory: openSealed(t)}
	for month := range 5 { // partitions of the months before
		now := time.Now().UTC()
		first := time.Date(now.Year(), now.Month()-time.Month(month), 1, 0, 0, 0, 0, time.UTC) // of the 31st, a month before is no month before
		_, err := s.owner.Exec(t.Context(), fmt.Sprintf("CREATE TABLE IF NOT EXISTS entry_%s PARTITION OF entry FOR VALUES FROM ('%s') TO ('%s')",
			first.Format("200601"), first.Format(time.RFC3339), first.AddDate(0, 1, 0).Format(time.RFC3339)))
		require.NoError(t, err)
	}
	for _, org := range []string{"c-1 org-a", "c-2 org-a", "c-2 org-b", "c-3 org-b"} {
		var client, organisation string
		_, err := fmt.Sscan(org, &client, &organisation)
		require.NoError(t, err)
		_, _, err = s.store.PutInitiator(t.Context(), notice.Initiator{Client: notice.ClientID(client), OrganisationID: organisation, SoftwareID: "s", Name: client}, "test")
		require.NoError(t, err)
	}
	base := time.Now().UTC().Truncate(time.Second).Add(-time.Hour)
	for from := 800; from >= 100; from -= 100 { // older first, so that positions are in the order of time as ever
		_, err := s.owner.Exec(t.Context(), manySQL, base, from, from+99)
		require.NoError(t, err)
	}
	s.seal()
	_, err := s.owner.Exec(t.Context(), manySQL, base, 0, 99) // not sealed
	require.NoError(t, err)
	s.all = s.everything()
	return s
}

// everything reads the history in the plainest way.
func (s *searched) everything() []audit.Entry {
	s.t.Helper()
	page, err := s.log.Search(s.t.Context(), history.Search{From: time.Now().AddDate(0, 0, -200)}, history.Position{}, 10)
	require.NoError(s.t, err)
	require.Len(s.t, page.Entries, 10)
	rows, err := s.owner.Query(s.t.Context(), `SELECT id, at, xid, kind, client_id, resource_kind, resource_id, revision, notification_id, change_id,
  interaction_id, number, outcome, closes, created_at, brand, facts::text, private::text FROM entry ORDER BY at DESC, id DESC`)
	require.NoError(s.t, err)
	out, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (e audit.Entry, err error) {
		var at time.Time
		var created *time.Time
		ids := make([]*[16]byte, 3)
		err = row.Scan((*[16]byte)(&e.ID), &at, &e.XID, &e.Kind, &e.ClientID, &e.ResourceKind, &e.ResourceID, &e.Revision, &ids[0], &ids[1],
			&ids[2], &e.Number, &e.Outcome, &e.Closes, &created, &e.Brand, &e.Facts, &e.Private)
		e.At = audit.At(at)
		if created != nil {
			at := audit.At(*created)
			e.CreatedAt = &at
		}
		for i, to := range []**notice.ID{&e.NotificationID, &e.ChangeID, &e.InteractionID} {
			*to = (*notice.ID)(ids[i])
		}
		return e, err
	})
	require.NoError(s.t, err)
	return out
}

// pages reads a search to its end.
func (s *searched) pages(q history.Search, limit int) (out []audit.Placed, pages int) {
	s.t.Helper()
	var after history.Position
	for {
		page, err := s.log.Search(s.t.Context(), q, after, limit)
		require.NoError(s.t, err, "%v", q.Filter())
		require.LessOrEqual(s.t, len(page.Entries), limit)
		out, pages = append(out, page.Entries...), pages+1
		if page.Next == (audit.Mark{}) {
			return out, pages
		}
		require.Less(s.t, pages, 2000, "it has no end: %v", q.Filter())
		after = history.Position{At: page.Next.At.Time(), ID: page.Next.ID}
	}
}

// naive is what a search means, written down a second time on purpose.
func naive(f map[string]string, orgs map[string][]string, e *audit.Entry) bool {
	text := func(s *string) string {
		if s == nil {
			return ""
		}
		return *s
	}
	id := func(u *notice.ID) string {
		if u == nil {
			return ""
		}
		return u.String()
	}
	late := func() bool {
		var facts struct{ Late bool }
		return json.Unmarshal([]byte(e.Facts), &facts) == nil && facts.Late
	}
	for name, want := range f {
		ok := false
		switch name {
		case "clientId":
			ok = text(e.ClientID) == want
		case "organisationId":
			ok = slices.Contains(orgs[want], text(e.ClientID))
		case "kind":
			ok = e.ResourceKind != nil && ofb.Kind(*e.ResourceKind).String() == want
		case "resourceId":
			ok = text(e.ResourceID) == want
		case "notificationId":
			ok = id(e.NotificationID) == want
		case "changeId":
			ok = id(e.ChangeID) == want || e.ID.String() == want
		case "interactionId":
			ok = id(e.InteractionID) == want
		case "entry":
			ok = slices.Contains(strings.Split(want, ","), e.Kind)
		case "outcome":
			ok = text(e.Outcome) == want
		case "late":
			ok = e.Kind == "attempt" && late()
		case "from":
			ok = e.At.String() >= want
		case "to":
			ok = e.At.String() < want
		}
		if !ok {
			return false
		}
	}
	return true
}

// mostPages is how many full pages a drawn search has at most. With hundreds of pages of one entry, few searches took most of the time.
const mostPages = 20

// TestASearchFindsExactlyWhatItSays draws searches of every combination and compares all their pages with a plain reading;
// the same search of the sealed log, as an export makes it, finds the sealed part of that. Pages are as small as the search has room for.
func TestASearchFindsExactlyWhatItSays(t *testing.T) {
	s := openSearched(t)
	orgs := map[string][]string{"org-a": {"c-1", "c-2"}, "org-b": {"c-2", "c-3"}, "org-x": nil}
	values := map[string][]string{
		"clientId": {"c-1", "c-2", "c-8", "nobody"}, "organisationId": {"org-a", "org-b", "org-x"}, "kind": {"pix-payment", "recurring-payment", "enrollment"},
		"resourceId": {"p-1", "p-5", "p-99"}, "notificationId": {"00000000-0000-4000-8000-000000000011", "00000000-0000-4000-8000-000000000099"},
		"changeId":      {"00000000-0000-4000-8000-00000000abcd", s.all[17].ID.String(), s.all[500].ID.String()},
		"interactionId": {"00000000-0000-4000-9000-000000000041", "00000000-0000-4000-9000-000000000403"},
		"entry":         {"change", "attempt,result", "poll", "admin,duplicate", "admin", "duplicate,poll"}, "outcome": {"delivered", "refused", "404", "200", "applied", "timeout"},
		"late": {"true"},
		"from": {s.all[300].At.String(), s.all[700].At.String()}, "to": {s.all[40].At.String(), s.all[200].At.String(), "2099-01-01T00:00:00.000000Z"},
	}
	x, err := auditlog.OpenExport(t.Context(), s.url, 0)
	require.NoError(t, err)
	defer x.Close(t.Context())
	found := 0
	check := func(filter map[string]string, limits ...int) {
		q, err := history.ParseSearch(filter)
		require.NoError(t, err)
		require.Equal(t, filter, q.Filter(), "a search is its filter")
		var want, wantSealed []string
		for i := range s.all {
			if naive(filter, orgs, &s.all[i]) {
				want = append(want, s.all[i].ID.String())
			}
		}
		limit := limits[0]
		for _, larger := range limits[1:] {
			if len(want) > mostPages*limit {
				limit = larger
			}
		}
		got, _ := s.pages(q, limit)
		var have []string
		sealed := map[int64]string{}
		for _, e := range got {
			have = append(have, e.ID.String())
			if e.Seq != nil {
				sealed[*e.Seq] = e.ID.String()
			}
		}
		require.Equal(t, want, have, "%v", filter)
		for _, seq := range slices.Sorted(maps.Keys(sealed)) {
			wantSealed = append(wantSealed, sealed[seq])
		}
		var exported []string
		require.NoError(t, x.Each(t.Context(), q, func(e *audit.Sealed) error {
			require.Equal(t, sealed[e.Seq], e.Entry.ID.String())
			require.Equal(t, audit.Leaf(e.Record(nil)), e.Leaf)
			exported = append(exported, e.Entry.ID.String())
			return nil
		}))
		require.Equal(t, wantSealed, exported, "%v", filter)
		found += len(have)
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		for _, v := range values[name] {
			check(map[string]string{name: v}, 50)
		}
	}
	check(map[string]string{"outcome": "delivered"}, 1)
	check(map[string]string{}, 7)
	rapid.Check(t, func(r *rapid.T) {
		filter := map[string]string{}
		for _, name := range slices.Sorted(maps.Keys(values)) {
			if rapid.IntRange(0, 4).Draw(r, "with "+name) == 0 {
				filter[name] = rapid.SampledFrom(values[name]).Draw(r, name)
			}
		}
		if filter["from"] != "" && filter["to"] != "" && filter["to"] < filter["from"] || filter["kind"] == "enrollment" && filter["resourceId"] != "" {
			return
		}
		check(filter, rapid.SampledFrom([][]int{{1, 7, 1000}, {7, 1000}, {1000}}).Draw(r, "limits")...)
	})
	require.Greater(t, found, 1000, "the searches found next to nothing, so this shows nothing")
}

func TestAPositionIsThereExactlyWhenAnEntryIsSealed(t *testing.T) {
	s := openSearched(t)
	got, pages := s.pages(history.Search{}, 1000)
	require.Len(t, got, len(s.all))
	require.Greater(t, pages, 2, "one call goes back 31 days at most, and the history is longer")
	seen := map[int64]bool{}
	for _, e := range got {
		var seq *int64
		require.NoError(t, s.owner.QueryRow(t.Context(), "SELECT (SELECT seq FROM log_position WHERE id = $1)", [16]byte(e.ID)).Scan(&seq))
		require.Equal(t, seq, e.Seq)
		if seq != nil {
			require.False(t, seen[*seq])
			seen[*seq] = true
		}
	}
	require.Len(t, seen, 804)
	require.Equal(t, 904, len(got))
	page, err := s.log.Search(t.Context(), history.Search{}, history.Position{}, 5)
	require.NoError(t, err)
	require.EqualValues(t, 804, page.Head.Checkpoint.Size)
}

// TestStatusQueriesOfAClientAreFoundByTheirIndex: other clients' entries of the same time are not read.
func TestStatusQueriesOfAClientAreFoundByTheirIndex(t *testing.T) {
	b := newBench(t)
	b.do(`INSERT INTO entry (id, kind, client_id, interaction_id, outcome, facts)
SELECT gen_random_uuid(), CASE WHEN n % 2 = 0 THEN 'poll' ELSE 'attempt' END, 'client-' || n % 50, gen_random_uuid(), '200', '{}' FROM generate_series(1, 5000) AS n`)
	b.do("VACUUM ANALYZE entry")
	const scans = "SELECT coalesce(sum(idx_scan), 0)::bigint FROM pg_stat_user_indexes WHERE indexrelid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = 'entry_polls'::regclass)"
	page, err := b.log.Search(t.Context(), history.Search{Client: "client-4", Entries: []string{"poll"}}, history.Position{}, 1000)
	require.NoError(t, err)
	require.Len(t, page.Entries, 100)
	require.Eventually(t, func() bool { return one[int64](b, scans) > 0 }, time.Minute, 50*time.Millisecond)
}

func TestASearchThatTakesTooLongSaysSo(t *testing.T) {
	t.Parallel()
	s := openSearched(t)
	lock, err := s.owner.Begin(t.Context())
	require.NoError(t, err)
	defer lock.Rollback(context.Background())
	_, err = lock.Exec(t.Context(), "LOCK TABLE initiator IN ACCESS EXCLUSIVE MODE")
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond) // less than a session waits for a lock; of which the search needs some to come to the lock
	defer cancel()
	_, err = s.log.Search(ctx, history.Search{Organisation: "org-a"}, history.Position{}, 5)
	var wide interface{ TooWide() bool }
	require.ErrorAs(t, err, &wide)
	require.True(t, wide.TooWide())
}

// TestAnOrganisationIsKnownByTheTableAloneOnceItsEntriesAreGone: its registration is older than the history.
func TestAnOrganisationIsKnownByTheTableAloneOnceItsEntriesAreGone(t *testing.T) {
	s := openSearched(t)
	s.tamper("DELETE FROM entry WHERE kind = 'registered' AND client_id = 'c-3'")
	got, _ := s.pages(history.Search{Organisation: "org-b"}, 1000)
	clients := map[string]bool{}
	for _, e := range got {
		clients[*e.ClientID] = true
	}
	require.Equal(t, map[string]bool{"c-2": true, "c-3": true}, clients)
}

// TestAnExportOfAnOrganisationStaysTheSame: a client that joins it later is not in what is read by an older checkpoint.
func TestAnExportOfAnOrganisationStaysTheSame(t *testing.T) {
	s := openSearched(t)
	clients := func(size int64) map[string]int {
		x, err := auditlog.OpenExport(t.Context(), s.url, size)
		require.NoError(t, err)
		defer x.Close(t.Context())
		out := map[string]int{}
		require.NoError(t, x.Each(t.Context(), history.Search{Organisation: "org-b"}, func(e *audit.Sealed) error { out[*e.Entry.ClientID]++; return nil }))
		return out
	}
	before := clients(804)
	require.Len(t, before, 2)
	_, _, err := s.store.PutInitiator(t.Context(), notice.Initiator{Client: "c-8", OrganisationID: "org-b", SoftwareID: "s", Name: "c-8"}, "test")
	require.NoError(t, err)
	s.seal()
	require.Equal(t, before, clients(804))
	require.Len(t, clients(0), 3)
}
