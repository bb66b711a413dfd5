package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/stage"
)

// previous builds the version before this one out of the repository's history: the one that ARAUTO_PREVIOUS names, or else
// the last without the newest migration. A clone without that history skips the test.
func previous(t *testing.T) string {
	t.Helper()
	root := filepath.Join("..", "..")
	git := func(args ...string) string {
		out, err := exec.CommandContext(t.Context(), "git", append([]string{"-C", root}, args...)...).Output()
		if err != nil {
			t.Skipf("git %s: %v", strings.Join(args, " "), err)
		}
		return strings.TrimSpace(string(out))
	}
	revision := os.Getenv("ARAUTO_PREVIOUS")
	if revision == "" {
		steps, err := filepath.Glob(filepath.Join(root, "migrations", "*.sql"))
		require.NoError(t, err)
		revision = git("log", "--diff-filter=A", "--format=%H", "-1", "--", "migrations/"+filepath.Base(slices.Max(steps))) + "^"
	}
	revision = git("rev-parse", "--verify", revision+"^{commit}")
	t.Log("the previous version is ", revision)
	folder := t.TempDir()
	git("archive", "--output", filepath.Join(folder, "source.tar"), revision)
	source := filepath.Join(folder, "source")
	require.NoError(t, os.Mkdir(source, 0o700))
	binary := filepath.Join(folder, "arauto")
	for _, do := range []*exec.Cmd{
		exec.CommandContext(t.Context(), "tar", "-xf", filepath.Join(folder, "source.tar"), "-C", source),
		exec.CommandContext(t.Context(), "go", "build", "-C", source, "-o", binary, "./cmd/arauto"),
	} {
		out, err := do.CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	return binary
}

// TestThePreviousVersionWorksBesideThisOne is cases Q1 and Q4: replicas of the version before, on this version's schema,
// beside replicas of this one, replaced by one another in both directions, gently and by kill, under load. Either
// version's verifier agrees with the log that both wrote.
func TestThePreviousVersionWorksBesideThisOne(t *testing.T) {
	if !long() {
		t.Skip("builds another version; make test-long")
	}
	t.Parallel()
	old := previous(t)
	var before atomic.Bool // the next replica is of the version before
	f := &fleet{house: open(t, stage.Options{Settings: unhurried, Command: func(args ...string) *exec.Cmd {
		if before.Load() {
			return exec.Command(old, args...)
		}
		return product(args...)
	}})}
	conn, err := pgx.Connect(t.Context(), f.Database)
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), "UPDATE arauto.form SET dense = false, packed = false") // as the migration leaves it in a database that is used
	require.NoError(t, err)
	require.NoError(t, conn.Close(t.Context()))
	start := func(place int, previous bool) {
		before.Store(previous)
		r, err := f.Start(t.Context())
		require.NoError(t, err)
		f.replicas[place].Store(r)
	}
	f.replicas[0].Store(f.replica)
	start(1, true)
	start(2, true)
	feed := stage.Feed{
		Log: f.ledger, Make: f.payments("beside"), Every: 50 * time.Millisecond, Workers: 16, Again: 100 * time.Millisecond,
		Core: func() *stage.Core {
			core, err := f.Core(f.next())
			if err != nil {
				panic(err) // a token that cannot be signed
			}
			return core
		},
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var all sync.WaitGroup
	all.Go(func() { require.NoError(t, feed.Run(ctx)) })
	for n := range 12 {
		pause(t, 5*time.Second) // both versions at work
		place := n % 3
		gone := f.replicas[place].Load()
		if n%2 == 0 {
			start(place, n%4 == 0) // one more, and then one less
			require.NoError(t, gone.Signal(syscall.SIGTERM))
			drained(t, gone, time.Now())
		} else {
			gone.Kill()
			start(place, n%4 == 1)
		}
	}
	start(0, false) // who keeps the books is of this version
	stop()
	all.Wait()
	f.talkTo(f.replicas[0].Load())
	f.reconcile()

	key := []string{"audit", "verify", "--database-url", f.Database, "--key", filepath.Join(f.Dir, "state", "log.pub.pem")}
	for _, verifier := range []*exec.Cmd{exec.Command(old, key...), product(key...)} {
		out, err := verifier.CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Contains(t, string(out), "ok ")
	}
}
