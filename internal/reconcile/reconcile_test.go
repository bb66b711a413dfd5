package reconcile

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/config"
	"github.com/arauto/arauto/internal/lab/storetest"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/store/auditlog"
)

// shown is what an observer was told last.
type shown struct {
	differences int64
	at          time.Time
}

func (s *shown) Reconciled(differences int64, at time.Time, _ time.Duration) {
	s.differences, s.at = differences, at
}

// daily is a replica's daily look with what it shows.
type daily struct {
	*Reconciler
	shown
}

// newDaily is a replica's daily look, on a database that two of them may share.
func newDaily(t *testing.T, url string) *daily {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{URL: url, Replica: "test", Version: "0"})
	require.NoError(t, err)
	t.Cleanup(s.Close)
	cfg := config.Standard()
	cfg.StateDir = t.TempDir()
	d := &daily{}
	d.Reconciler = New(Options{
		Settings: cfg, AuditLog: auditlog.New(s.Access()), Log: slog.New(slog.DiscardHandler), Observer: &d.shown, Endpoint: func(string, string) string { return "" }, Began: time.Now(),
	})
	return d
}

func TestTheDailyLookIsDoneOnceByWhicheverReplicaIsFirst(t *testing.T) {
	url := storetest.Database(t)
	owner, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer owner.Close(t.Context())
	count := func() (n int) {
		require.NoError(t, owner.QueryRow(t.Context(), "SELECT count(*) FROM arauto.entry WHERE kind = 'reconciliation'").Scan(&n))
		return n
	}
	replicas := []*daily{newDaily(t, url), newDaily(t, url), newDaily(t, url)}
	for _, r := range replicas {
		require.NoError(t, r.Tick(t.Context()))
	}
	require.Zero(t, count(), "a new installation waits for its first time")
	for _, r := range replicas {
		r.with.Began = time.Now().AddDate(0, 0, -2) // they run since before it
	}
	off := newDaily(t, url)
	off.with.Began, off.with.Settings.Reconcile.Enabled = replicas[0].with.Began, false
	require.NoError(t, off.Tick(t.Context()))
	require.Zero(t, count(), "switched off")

	_, err = owner.Exec(t.Context(), `INSERT INTO arauto.queue (id, client_id, push_epoch, kind, resource_id, api_version, event, event_at, occurred_at, due_at)
VALUES (gen_random_uuid(), 'itp', 1, 2, 'stray', 'v5', '', now(), now(), now())`)
	require.NoError(t, err)
	var all sync.WaitGroup
	for _, r := range replicas {
		all.Go(func() {
			if err := r.Tick(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	require.Equal(t, 1, count())
	lists := 0
	for _, r := range replicas {
		require.NoError(t, r.Tick(t.Context()))
		require.EqualValues(t, 1, r.differences, "every replica shows what the newest found")
		require.WithinDuration(t, time.Now(), r.at, time.Minute)
		files, err := filepath.Glob(filepath.Join(r.with.Settings.StateDir, "reports", "calls-*.jsonl"))
		require.NoError(t, err)
		for _, name := range files {
			info, err := os.Stat(name)
			require.NoError(t, err)
			require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
			lists++
		}
	}
	require.Equal(t, 1, count(), "once a day")
	require.Equal(t, 1, lists)

	_, err = owner.Exec(t.Context(), "SET session_replication_role = replica; UPDATE arauto.entry SET at = at - interval '1 day' WHERE kind = 'reconciliation'; DELETE FROM arauto.queue")
	require.NoError(t, err)
	late := newDaily(t, url)
	require.NoError(t, late.Tick(t.Context()))
	require.Equal(t, 2, count(), "a time that was slept through is made up for")
	require.Zero(t, late.differences)
}

func TestTheSlotIsTheLastTimeOfTheSettingInBrasilia(t *testing.T) {
	r := New(Options{Settings: config.Standard()})
	for now, want := range map[string]string{
		"2026-11-21T06:29:59Z": "2026-11-20T06:30:00Z",
		"2026-11-21T06:30:00Z": "2026-11-21T06:30:00Z",
		"2026-11-22T02:00:00Z": "2026-11-21T06:30:00Z",
	} {
		at, err := time.Parse(time.RFC3339, now)
		require.NoError(t, err)
		require.Equal(t, want, r.slot(at).UTC().Format(time.RFC3339))
	}
}

func TestOldListsOfCallsGo(t *testing.T) {
	r := newDaily(t, storetest.Database(t))
	dir := r.with.Settings.File("reports")
	require.NoError(t, os.MkdirAll(dir, 0o700))
	for n := range 40 {
		day := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, n)
		require.NoError(t, os.WriteFile(filepath.Join(dir, "calls-"+day.Format(time.DateOnly)+".jsonl"), nil, 0o600))
	}
	_, err := r.report(t.Context(), "2026-12-01")
	require.NoError(t, err)
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	require.NoError(t, err)
	require.Len(t, left, reportsKept)
	require.FileExists(t, filepath.Join(dir, "calls-2026-12-01.jsonl"))
	require.NoFileExists(t, filepath.Join(dir, "calls-2026-01-01.jsonl"))
}

// TestTheListOfCallsLeavesTheExtensionOut: the metrics platform wants the calls of the official APIs.
func TestTheListOfCallsLeavesTheExtensionOut(t *testing.T) {
	s, err := store.Open(t.Context(), store.Options{URL: storetest.Database(t), Replica: "test", Version: "0"})
	require.NoError(t, err)
	t.Cleanup(s.Close)
	now := time.Now()
	var polls []notice.Poll
	for _, operation := range []string{"payment", notice.ExtensionPrefix + "events", notice.ExtensionPrefix + "preflight"} {
		polls = append(polls, notice.Poll{
			ID: store.NewID(), At: now, Interaction: store.NewID(), Client: "itp",
			Facts: notice.PollFacts{Operation: operation, APIVersion: "v5", HTTPStatus: 204, DurationUS: 30_000_000, ReceivedAt: now, Suppressed: 9},
		})
	}
	require.NoError(t, s.RecordPolls(t.Context(), 1, polls))
	var file strings.Builder
	list := CallList{Day: now.In(ofb.Brasilia).Format(time.DateOnly), Format: "jsonl", Endpoint: func(operation, version string) string { return "/" + operation + "/" + version }}
	r, err := WriteCalls(t.Context(), auditlog.New(s.Access()).Inspector(), list, &file)
	require.NoError(t, err)
	require.Equal(t, map[string]int64{"/payment/v5 204": 1}, r.ByEndpoint)
	require.Equal(t, []int64{1, 9}, []int64{r.Calls, r.Suppressed})
	require.NotContains(t, file.String(), "extension")
}
