package store_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/intake"
	"github.com/arauto/arauto/internal/lab/storetest"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/store/auditlog"
)

// bench is a world whose database can be looked into, and shared with further replicas.
type bench struct {
	*world
	url   string
	owner *pgx.Conn // as the owner of the schema, who is a superuser here
	apart int       // in launch each n-th first attempt has an entry of its own, the others stand in the entries of their changes; 0: all do
}

func newBench(t *testing.T, timers ...ofb.Kind) *bench {
	t.Helper()
	url := storetest.Database(t)
	owner, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = owner.Close(context.Background()) })
	_, err = owner.Exec(t.Context(), "SET search_path = arauto")
	require.NoError(t, err)
	return &bench{world: replicaOf(t, url, timers...), url: url, owner: owner}
}

// replicaOf is one more replica on a database.
func replicaOf(t *testing.T, url string, timers ...ofb.Kind) *world {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{URL: url, Replica: "test", Version: "0"})
	require.NoError(t, err)
	t.Cleanup(s.Close)
	in := intake.New(intake.Config{Store: s, Schema: anySchema{}, NewID: store.NewID, Timers: timers})
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { in.Run(ctx); close(ended) }()
	t.Cleanup(func() { stop(); <-ended })
	return &world{t: t, store: s, log: auditlog.New(s.Access()), intake: in}
}

// do executes as the owner.
func (b *bench) do(statement string, args ...any) {
	b.t.Helper()
	_, err := b.owner.Exec(b.t.Context(), statement, args...)
	require.NoError(b.t, err, statement)
}

// one reads the one value a query gives.
func one[T any](b *bench, query string, args ...any) T {
	b.t.Helper()
	rows, err := b.owner.Query(b.t.Context(), query, args...)
	require.NoError(b.t, err, query)
	v, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[T])
	require.NoError(b.t, err, query)
	return v
}

// entries counts facts of a kind about a resource.
func (b *bench) entries(kind, resource string) int {
	b.t.Helper()
	return one[int](b, "SELECT count(*) FROM entry WHERE kind = $1 AND resource_id = $2", kind, resource)
}

// fill puts n waiting notifications into a lane, each due so long ago.
func (b *bench) fill(client string, n int, due string) {
	b.t.Helper()
	b.do(`INSERT INTO queue (id, client_id, push_epoch, kind, resource_id, api_version, event, event_at, occurred_at, due_at)
SELECT gen_random_uuid(), $1, (SELECT push_epoch FROM initiator WHERE client_id = $1), 2, $1 || '-' || n, 'v5', '', now(), now(), now() - $3::interval - n * interval '1 microsecond'
FROM generate_series(1, $2::int) AS n`, client, n, due)
}

// record reads a notification.
func (b *bench) record(id notice.ID) history.Record {
	b.t.Helper()
	r, err := b.log.Notification(b.t.Context(), id)
	require.NoError(b.t, err)
	return r
}
