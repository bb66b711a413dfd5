package store_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/storetest"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/store"
)

const crowd = `INSERT INTO initiator (client_id, organisation_id, software_id, name, webhook_uris, push)
SELECT 'crowd-' || lpad(n::text, 6, '0'), 'o', 's', 'Iniciadora Número ' || n, '["https://crowd.example/hook"]', true FROM generate_series(1, $1::int) n`

// crowd registers so many initiators beside those that a test names.
func (b *bench) crowd(n int) {
	b.do(crowd, n)
	b.do("ANALYZE initiator")
}

func TestASweepByTheQueueFindsTheSameLanesAsOneByTheRegistrations(t *testing.T) {
	b := newBench(t)
	b.crowd(300)
	b.register("itp", "https://itp.example/hook")
	b.fill("crowd-000001", 3, "10 seconds")
	b.fill("crowd-000300", 1, "1 hour")
	b.fill("crowd-000107", 2, "-30 seconds")
	b.fill("itp", 1, "0 seconds")
	b.do("UPDATE initiator SET push = false, push_epoch = push_epoch + 1 WHERE client_id = 'crowd-000107'")
	b.do("UPDATE queue SET token = gen_random_uuid(), lease_until = now() + interval '1 hour' WHERE client_id = 'itp'")
	lanes := func() map[notice.ClientID]bool {
		list, err := b.store.Waiting(t.Context())
		require.NoError(t, err)
		out := map[notice.ClientID]bool{}
		for _, l := range list {
			out[l.Client] = l.DueIn <= 0
		}
		return out
	}
	want := map[notice.ClientID]bool{"crowd-000001": true, "crowd-000300": true}
	require.Equal(t, want, lanes(), "the full look")
	for _, byQueue := range []bool{false, true} {
		store.SweepByQueue(b.store, byQueue)
		require.Equal(t, want, lanes(), "by the queue: %t", byQueue)
	}
	b.do("DELETE FROM queue")
	require.Empty(t, lanes())
}

// BenchmarkSweepOfManyInitiators is the sweep that each replica makes every 300 ms, with 100,000 registrations of which few wait.
func BenchmarkSweepOfManyInitiators(b *testing.B) {
	url := storetest.Database(b)
	owner, err := pgx.Connect(b.Context(), url)
	require.NoError(b, err)
	defer func() { _ = owner.Close(context.Background()) }()
	do := func(statement string, args ...any) {
		_, err := owner.Exec(b.Context(), statement, args...)
		require.NoError(b, err)
	}
	do("SET search_path = arauto")
	do(crowd, 100_000)
	s, err := store.Open(b.Context(), store.Options{URL: url, Replica: "bench", Version: "0"})
	require.NoError(b, err)
	defer s.Close()
	for _, waiting := range []int{0, 100, 10_000} {
		do("TRUNCATE queue")
		do(`INSERT INTO queue (id, client_id, push_epoch, kind, resource_id, api_version, event, event_at, occurred_at, due_at)
SELECT gen_random_uuid(), client_id, push_epoch, 2, 'p', 'v5', '', now(), now(), now() FROM (SELECT * FROM initiator ORDER BY md5(client_id) LIMIT $1) i`, waiting)
		do("VACUUM ANALYZE queue")
		do("VACUUM ANALYZE initiator")
		for _, byQueue := range []bool{false, true} {
			b.Run(fmt.Sprintf("waiting=%d/by-queue=%t", waiting, byQueue), func(b *testing.B) {
				store.LookAgain(s)
				_, err := s.Waiting(b.Context())
				require.NoError(b, err)
				for b.Loop() {
					store.SweepByQueue(s, byQueue)
					lanes, err := s.Waiting(b.Context())
					require.NoError(b, err)
					require.Len(b, lanes, waiting)
				}
			})
		}
	}
}

func TestAnInitiatorIsFoundByAPartOfItsNameWhateverItsCase(t *testing.T) {
	b := newBench(t)
	b.crowd(20)
	find := func(q notice.InitiatorQuery) (ids []string) {
		list, err := b.store.Initiators(t.Context(), q)
		require.NoError(t, err)
		for _, in := range list {
			ids = append(ids, string(in.Client))
		}
		return ids
	}
	for _, text := range []string{"NÚMERO 12", "numero 12"} {
		require.Equal(t, []string{"crowd-000012"}, find(notice.InitiatorQuery{Text: text, Limit: 5}))
	}
	require.Equal(t, []string{"crowd-000020"}, find(notice.InitiatorQuery{Text: "D-000020", Limit: 5}))
	require.Empty(t, find(notice.InitiatorQuery{Text: "%", Limit: 5}), "no wildcard")
	b.do("UPDATE initiator SET name = 'Sao Tome Pagamentos' WHERE client_id = 'crowd-000003'")
	require.Equal(t, []string{"crowd-000003"}, find(notice.InitiatorQuery{Text: "SÃO TOMÉ", Limit: 5}))
	require.Equal(t, []string{"crowd-000018", "crowd-000019"}, find(notice.InitiatorQuery{After: "crowd-000017", Limit: 2}))
	require.NoError(t, b.store.DeleteInitiator(t.Context(), "crowd-000018", "test"))
	require.Equal(t, []string{"crowd-000019", "crowd-000020"}, find(notice.InitiatorQuery{After: "crowd-000017", Limit: 2}))
}
