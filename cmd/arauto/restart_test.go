package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/lab/stage"
	"github.com/arauto/arauto/internal/ofb"
)

// fleet is three replicas behind somebody who takes turns.
type fleet struct {
	*house
	replicas [3]atomic.Pointer[stage.Replica]
	turn     atomic.Uint64
}

func (f *fleet) next() *stage.Replica { return f.replicas[f.turn.Add(1)%3].Load() }

// replace drains one replica after another and puts a new one in its place first, as an upgrade does.
func (f *fleet) replace() {
	f.t.Helper()
	for i := range f.replicas {
		old := f.replicas[i].Load()
		fresh, err := f.Start(f.t.Context())
		require.NoError(f.t, err)
		f.replicas[i].Store(fresh)
		require.NoError(f.t, old.Signal(syscall.SIGTERM))
		drained(f.t, old, time.Now())
		require.NoError(f.t, old.Err(), "exit code")
	}
}

// TestAnUpgradeOfOneReplicaAfterAnotherIsNotFelt is case R2: who asks again once always has an answer, and nothing is
// lost, doubled or left of unknown end.
func TestAnUpgradeOfOneReplicaAfterAnotherIsNotFelt(t *testing.T) {
	t.Parallel()
	f := &fleet{house: open(t, stage.Options{Settings: unhurried})}
	f.replicas[0].Store(f.replica)
	for i := 1; i < 3; i++ {
		r, err := f.Start(t.Context())
		require.NoError(t, err)
		f.replicas[i].Store(r)
	}
	first := payment("good", "rolling-first", 1, ofb.ACSC)
	a, err := f.core.Load().Change(t.Context(), first)
	require.NoError(t, f.ledger.Note(first, a, err))
	require.NoError(t, err)

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var all sync.WaitGroup
	feed := stage.Feed{
		Log: f.ledger, Make: f.payments("rolling"), Every: 50 * time.Millisecond, Workers: 16, Again: 100 * time.Millisecond,
		Core: func() *stage.Core {
			core, err := f.Core(f.next())
			if err != nil {
				panic(err) // a token that cannot be signed
			}
			return core
		},
	}
	all.Go(func() { require.NoError(t, feed.Run(ctx)) })
	var asked, again, failed int
	all.Go(func() { asked, again, failed = f.poll(ctx, "rolling-first") })
	rounds := 1
	if long() {
		rounds = 10
	}
	for range rounds {
		f.replace()
	}
	stop()
	all.Wait()
	f.talkTo(f.replicas[0].Load())
	report := f.reconcile()
	t.Logf("%d polls, %d of them asked twice; from a change to its first POST: %s", asked, again, report.First)
	require.Positive(t, asked)
	require.Zero(t, failed, "a poll that was put twice had no answer")
	require.Zero(t, report.UnknownOutcomes, "an attempt under way was cut off")
}

// poll asks for one payment until ctx ends, at each replica in turn, and once more at the next where there was no answer.
func (f *fleet) poll(ctx context.Context, id string) (asked, again, failed int) {
	folder := filepath.Join(f.Dir, "pki", "initiators", certs.DefaultAlfa.Name)
	pair, err := tls.LoadX509KeyPair(filepath.Join(folder, "brcac.pem"), filepath.Join(folder, "brcac.key"))
	require.NoError(f.t, err)
	asker, err := f.Asker(certs.DefaultAlfa, pair)
	require.NoError(f.t, err)
	defer asker.Close()
	token, err := asker.Token("good")
	require.NoError(f.t, err)
	ask := func() error {
		_, err := asker.Ask(context.WithoutCancel(ctx), f.next().Public, token, stage.NewInteraction(), "/open-banking/payments/v5/pix/payments/"+id)
		return err
	}
	for ctx.Err() == nil {
		asked++
		if ask() != nil {
			again++
			if err := ask(); err != nil {
				f.t.Log("a poll put twice failed: ", err)
				failed++
			}
		}
	}
	return asked, again, failed
}

// TestStartingAndStoppingLeavesNothingBehind is case R4.
func TestStartingAndStoppingLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	h := open(t, stage.Options{})
	require.NoError(t, h.replica.Stop())
	times := 5
	if long() {
		times = 100
	}
	var slowest time.Duration
	for range times {
		began := time.Now()
		r, err := h.Start(t.Context())
		require.NoError(t, err)
		slowest = max(slowest, time.Since(began))
		require.NoError(t, r.Stop())
	}
	t.Logf("ready within %s", slowest)
	conn, err := pgx.Connect(t.Context(), h.Database)
	require.NoError(t, err)
	defer conn.Close(context.Background())
	left := func() (what string) {
		require.NoError(t, conn.QueryRow(t.Context(), `SELECT format('%s sessions, %s locks, %s rows in the queue',
			(SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'arauto%'), (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'),
			(SELECT count(*) FROM arauto.queue) + (SELECT count(*) FROM arauto.flight))`).Scan(&what))
		return what
	}
	for began := time.Now(); left() != "0 sessions, 0 locks, 0 rows in the queue"; {
		require.Less(t, time.Since(began), 10*time.Second, left()) // a session ends a moment after its client
	}
}

// TestAMigrationKilledHalfWayIsDoneByTheNext is case Q3: killed at any moment, run twice, two at once.
func TestAMigrationKilledHalfWayIsDoneByTheNext(t *testing.T) {
	t.Parallel()
	h := open(t, stage.Options{})
	database, err := h.Server.CreateDatabase(t.Context(), fmt.Sprintf("half_%d", time.Now().UnixNano()), "")
	require.NoError(t, err)
	migrate := func() *process { return startProcess(t, []string{"ARAUTO_DATABASE_URL=" + database}, "migrate") }
	for after := range 12 {
		p := migrate()
		pause(t, time.Duration(40*after)*time.Millisecond)
		p.kill()
	}
	one, two := migrate(), migrate()
	require.NoError(t, one.wait(), one.output())
	require.NoError(t, two.wait(), two.output())
	conn, err := pgx.Connect(t.Context(), database)
	require.NoError(t, err)
	defer conn.Close(context.Background())
	owner, err := pgx.Connect(t.Context(), h.Database)
	require.NoError(t, err)
	defer owner.Close(context.Background())
	schema := func(c *pgx.Conn) (text string) {
		require.NoError(t, c.QueryRow(t.Context(), `SELECT string_agg(line, E'\n' ORDER BY line) FROM (
			SELECT 'version ' || version_id AS line FROM arauto.goose_db_version WHERE is_applied
			UNION ALL SELECT format('%s.%s %s', table_name, column_name, data_type) FROM information_schema.columns WHERE table_schema = 'arauto'
			UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'arauto'
			UNION ALL SELECT format('%s on %s', trigger_name, event_object_table) FROM information_schema.triggers WHERE trigger_schema = 'arauto') x`).Scan(&text))
		return text
	}
	require.Equal(t, schema(owner), schema(conn), "the schema is that of a database migrated undisturbed")
}
