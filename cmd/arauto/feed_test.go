package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/lab/stage"
	"github.com/arauto/arauto/internal/ofb"
)

// feedReader follows the feed of one client over HTTP, from its beginning.
type feedReader struct {
	asker *stage.Asker
	token string
	at    func() string // address of the replica of the next call

	mu     sync.Mutex
	cursor string
	read   []string // ids
	failed int      // calls without an answer, or that were answered 5xx
}

// next makes one call with the cursor of the last answer, and keeps that of this one. A call without an answer changes nothing.
func (r *feedReader) next(ctx context.Context) error {
	asked := url.Values{"limit": {"100"}, "wait": {"1"}}
	if r.cursor != "" {
		asked.Set("after", r.cursor)
	}
	got, err := r.asker.Read(ctx, stage.Query{Address: r.at(), Token: r.token, Interaction: stage.NewInteraction(), Path: "/arauto/v1/events?" + asked.Encode()})
	var refusal *stage.Refusal
	switch {
	case errors.As(err, &refusal) && refusal.Status == http.StatusNoContent:
		return nil
	case errors.Is(err, stage.ErrAnswer) || refusal != nil && refusal.Status < 500:
		return err
	case err != nil:
		r.failed++
		return nil
	}
	events, _ := got.Data["events"].([]any)
	cursor, _ := got.Data["nextCursor"].(string)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, one := range events {
		id, _ := one.(map[string]any)["id"].(string)
		r.read = append(r.read, id)
	}
	r.cursor = cursor
	return nil
}

func (r *feedReader) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.read)
}

// TestTheFeedOfThreeReplicasSkipsNothingWhileTheyAreKilled hands in changes at all replicas and kills one after the other. Three readers
// each keep to one replica, a fourth goes to another one with each call. ARAUTO_LONG=1 hands in 100,000 changes.
func TestTheFeedOfThreeReplicasSkipsNothingWhileTheyAreKilled(t *testing.T) {
	t.Parallel()
	n, kills, within := 600, 3, 4*time.Minute
	if long() {
		n, kills, within = 100_000, 60, 40*time.Minute
	}
	f := &fleet{house: open(t, stage.Options{Settings: append(slices.Clone(unhurried), "ARAUTO_EXTENSION_ENABLED=true")})}
	f.replicas[0].Store(f.replica)
	for i := 1; i < 3; i++ {
		r, err := f.Start(t.Context())
		require.NoError(t, err)
		f.replicas[i].Store(r)
	}
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	began := time.Now()
	var all sync.WaitGroup
	var handed atomic.Int64
	const workers = 6
	for w := range workers {
		all.Go(func() { f.handIn(ctx, w, workers, n, &handed) })
	}
	readers := make([]*feedReader, 4)
	for i := range readers {
		at := func() string { return f.next().Public }
		if i < 3 {
			at = func() string { return f.replicas[i].Load().Public }
		}
		readers[i] = f.feedReader(at)
		all.Go(func() {
			for ctx.Err() == nil && readers[i].count() < n {
				if err := readers[i].next(ctx); err != nil {
					t.Errorf("reader %d: %v", i, err)
					return
				}
			}
		})
	}
	for k := range kills { // spread over the run: each when so many changes are in
		for handed.Load() < int64((k+1)*n/(kills+1)) && ctx.Err() == nil {
			pause(t, 20*time.Millisecond)
		}
		i := k % 3
		f.replicas[i].Load().Kill()
		fresh, err := f.Start(t.Context())
		require.NoError(t, err)
		f.replicas[i].Store(fresh)
	}
	all.Wait()
	require.NoError(t, ctx.Err(), "%d of %d changes were handed in; the readers have %d, %d, %d, %d events", handed.Load(), n,
		readers[0].count(), readers[1].count(), readers[2].count(), readers[3].count())
	took := time.Since(began)

	conn, err := pgx.Connect(t.Context(), f.Database)
	require.NoError(t, err)
	defer conn.Close(context.WithoutCancel(t.Context()))
	rows, err := conn.Query(t.Context(), "SELECT notification_id::text FROM arauto.entry WHERE client_id = 'good' AND kind = 'change' AND notification_id IS NOT NULL")
	require.NoError(t, err)
	decided, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	require.Len(t, decided, n, "each change has one notification")
	slices.Sort(decided)
	failed := 0
	for i, r := range readers {
		require.NoError(t, r.next(t.Context()))
		require.Equal(t, readers[0].read, r.read, "reader %d has the order of reader 0", i)
		seen := slices.Sorted(slices.Values(r.read))
		require.Equal(t, decided, seen, "reader %d: every event, and each once", i)
		failed += r.failed
	}
	t.Logf("%d events, %d kills, %d calls of readers without an answer, in %s", n, kills, failed, took.Round(time.Second))
}

// handIn hands in every so-manieth of n changes, in streams of at most 200, at each replica in turn, until each is stored.
func (f *fleet) handIn(ctx context.Context, first, every, n int, handed *atomic.Int64) {
	var left []stage.Change
	for i := first; i < n; i += every {
		left = append(left, payment("good", fmt.Sprintf("fed-%06d", i), 1, ofb.ACSC))
	}
	for len(left) > 0 && ctx.Err() == nil {
		core, err := f.Core(f.next())
		if err != nil {
			panic(err) // a token that cannot be signed
		}
		batch := left[:min(200, len(left))]
		lines := make(chan []byte, len(batch))
		for _, c := range batch {
			line, err := c.Line()
			if err != nil {
				panic(err) // a change of ours that cannot be written
			}
			lines <- line
		}
		close(lines)
		var again []stage.Change
		answers := 0
		_ = core.Stream(ctx, lines, func(a stage.Accepted) { // a stream that breaks off is continued below
			if a.Outcome != "applied" && a.Outcome != "duplicate" {
				again = append(again, batch[answers])
			}
			answers++
		})
		handed.Add(int64(answers - len(again)))
		left = append(append(again, batch[answers:]...), left[len(batch):]...)
	}
}

func (f *fleet) feedReader(at func() string) *feedReader {
	f.t.Helper()
	folder := filepath.Join(f.Dir, "pki", "initiators", certs.DefaultAlfa.Name)
	pair, err := tls.LoadX509KeyPair(filepath.Join(folder, "brcac.pem"), filepath.Join(folder, "brcac.key"))
	require.NoError(f.t, err)
	asker, err := f.Asker(certs.DefaultAlfa, pair)
	require.NoError(f.t, err)
	f.t.Cleanup(asker.Close)
	token, err := asker.Token("good")
	require.NoError(f.t, err)
	return &feedReader{asker: asker, token: token, at: at}
}
