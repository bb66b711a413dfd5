package spool

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/arauto/arauto/internal/notice"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// history is a stand-in for the database: it keeps each poll once, can hang and can refuse.
type history struct {
	mu       sync.Mutex
	stored   map[notice.ID]notice.Poll
	order    []notice.ID
	commits  []int // sizes of RecordPolls
	fences   map[int64]bool
	hang     chan struct{} // while not nil, RecordPolls waits for it to close and ReplayPolls fails
	takes    time.Duration // of RecordPolls
	failing  error
	lost     bool // the commit happens and its answer is lost
	poisoned notice.ID
}

func newHistory() *history {
	return &history{stored: map[notice.ID]notice.Poll{}, fences: map[int64]bool{}}
}

type away struct{}

func (away) Error() string   { return "the database is away" }
func (away) Transient() bool { return true }

func (h *history) RecordPolls(ctx context.Context, fence int64, polls []notice.Poll) error {
	h.mu.Lock()
	hang := h.hang
	h.mu.Unlock()
	if h.takes > 0 {
		<-time.After(h.takes)
	}
	if hang != nil {
		select {
		case <-hang:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.commits = append(h.commits, len(polls))
	return h.store(fence, polls)
}

func (h *history) ReplayPolls(_ context.Context, fence int64, polls []notice.Poll) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.hang != nil {
		return away{}
	}
	return h.store(fence, polls)
}

func (h *history) store(fence int64, polls []notice.Poll) error {
	if h.failing != nil {
		return h.failing
	}
	for _, p := range polls {
		if p.ID == h.poisoned {
			return errors.New("invalid byte sequence")
		}
	}
	h.fences[fence] = true
	for _, p := range polls {
		if _, twice := h.stored[p.ID]; !twice {
			h.stored[p.ID] = p
			h.order = append(h.order, p.ID)
		}
	}
	if h.lost {
		h.lost = false
		return away{}
	}
	return nil
}

func (h *history) set(change func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	change()
}

func (h *history) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.stored)
}

func poll(n int) notice.Poll {
	var id notice.ID
	binary.BigEndian.PutUint64(id[8:], uint64(n)+1)
	return notice.Poll{ID: id, At: time.Now(), Interaction: id, Facts: notice.PollFacts{Source: "192.0.2.1:1", HTTPStatus: 200}}
}

// run opens a spool and runs it until stop, which waits for its end.
func run(t *testing.T, c Config) (s *Spool, stop func()) {
	t.Helper()
	if c.Dir == "" {
		c.Dir = t.TempDir()
	}
	s, err := Open(c)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { s.Run(ctx); close(ended) }()
	return s, sync.OnceFunc(func() {
		cancel()
		<-ended
		require.NoError(t, s.Close())
	})
}

func files(t *testing.T, dir, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, pattern))
	require.NoError(t, err)
	return found
}

func TestCallersShareCommitsAndReturnAfterThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHistory()
		h.takes = time.Millisecond
		s, stop := run(t, Config{Store: h})
		defer stop()
		var callers sync.WaitGroup
		for n := range 1000 {
			callers.Go(func() {
				p := poll(n)
				require.NoError(t, s.Record(t.Context(), p))
				h.mu.Lock()
				defer h.mu.Unlock()
				if _, ok := h.stored[p.ID]; !ok {
					t.Error("returned before the commit")
				}
			})
		}
		callers.Wait()
		require.Less(t, len(h.commits), 100, "%d commits for 1000 callers", len(h.commits))
		count, bytes, age := s.Stat()
		require.Zero(t, count)
		require.Zero(t, bytes)
		require.Zero(t, age)
	})
}

func TestALonePollWaitsForNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, stop := run(t, Config{Store: newHistory()})
		defer stop()
		began := time.Now()
		require.NoError(t, s.Record(t.Context(), poll(1)))
		require.Zero(t, time.Since(began))
	})
}

// TestASlowCommitIsOvertakenByTheSpool: callers wait 250 ms and no longer, and the file goes with the late commit.
func TestASlowCommitIsOvertakenByTheSpool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHistory()
		h.hang = make(chan struct{})
		dir := t.TempDir()
		s, stop := run(t, Config{Store: h, Dir: dir, Commits: 1})
		defer stop()
		var callers sync.WaitGroup
		for n := range 30 { // the first goes into a commit, the others find none free
			callers.Go(func() {
				began := time.Now()
				require.NoError(t, s.Record(t.Context(), poll(n)))
				require.Equal(t, 250*time.Millisecond, time.Since(began))
			})
			synctest.Wait()
		}
		callers.Wait()
		require.Zero(t, h.count())
		require.Len(t, files(t, dir, "*.polls"), 2)
		h.set(func() { close(h.hang); h.hang = nil })
		synctest.Wait()
		<-time.After(time.Second)
		require.Equal(t, 30, h.count())
		require.Empty(t, files(t, dir, "*.polls"))
	})
}

func TestWhatFailedIsReplayedOnceAndInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHistory()
		h.failing = away{}
		s, stop := run(t, Config{Store: h})
		defer stop()
		for n := range 10 {
			require.NoError(t, s.Record(t.Context(), poll(n)))
			<-time.After(time.Millisecond)
		}
		require.Zero(t, h.count())
		h.set(func() { h.failing = nil; h.lost = true }) // the first replay commits and its answer is lost
		<-time.After(2 * time.Second)
		require.Equal(t, 10, h.count())
		for n, id := range h.order {
			require.Equal(t, poll(n).ID, id)
		}
		require.Len(t, h.fences, 1)
		require.NoError(t, s.Ready())
		require.True(t, h.stored[poll(1).ID].Facts.Spooled)
	})
}

func TestAnOldOrFullSpoolRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHistory()
		h.failing = away{}
		s, stop := run(t, Config{Store: h})
		defer stop()
		require.NoError(t, s.Record(t.Context(), poll(1)))
		<-time.After(59 * time.Second)
		require.NoError(t, s.Record(t.Context(), poll(2)))
		<-time.After(2 * time.Second)
		require.ErrorIs(t, s.Record(t.Context(), poll(3)), ErrFull)
		h.set(func() { h.failing = nil })
		<-time.After(time.Second)
		require.NoError(t, s.Record(t.Context(), poll(4)))
		require.Equal(t, 3, h.count())
	})
	synctest.Test(t, func(t *testing.T) {
		h := newHistory()
		h.failing = away{}
		s, stop := run(t, Config{Store: h, MaxBytes: 100})
		defer stop()
		require.NoError(t, s.Record(t.Context(), poll(1)))
		require.ErrorIs(t, s.Record(t.Context(), poll(2)), ErrFull)
	})
}

// TestTheNextProcessReplaysWhatThisOneLeft, without what a crash had cut off.
func TestTheNextProcessReplaysWhatThisOneLeft(t *testing.T) {
	dir := t.TempDir()
	h := newHistory()
	h.failing = away{}
	s, stop := run(t, Config{Store: h, Dir: dir})
	fence := s.folder.fence
	require.NoError(t, s.Record(t.Context(), poll(1)))
	require.NoError(t, s.Record(t.Context(), poll(2)))
	_, err := Open(Config{Store: h, Dir: dir})
	require.ErrorContains(t, err, "another process")
	stop()
	left := files(t, dir, "*.polls")
	require.NotEmpty(t, left)
	out, err := os.OpenFile(left[len(left)-1], os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = out.WriteString(`{"id":"00000000-0000-0000`) // never answered
	require.NoError(t, err)
	require.NoError(t, out.Close())
	require.NoError(t, os.WriteFile(filepath.Join(dir, "00000000000000000001-000000.polls"), []byte("garbage\n"), 0o600))

	h.set(func() { h.failing = nil })
	replayed := make(chan int, 10)
	s, stop = run(t, Config{Store: h, Dir: dir, Observer: told{replayed: replayed}})
	defer stop()
	for got := 0; got < 2; {
		got += <-replayed
	}
	require.Equal(t, 2, h.count())
	require.Equal(t, fence, s.folder.fence)
	require.Len(t, files(t, dir, "*.unreadable"), 1, "kept, and in nobody's way")
}

// told passes on what is replayed.
type told struct {
	silent
	replayed chan int
}

func (o told) Replayed(n int) { o.replayed <- n }

func TestARecordTheDatabaseRefusesForGoodHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHistory()
		h.poisoned = poll(2).ID
		h.hang = make(chan struct{})
		dir := t.TempDir()
		s, stop := run(t, Config{Store: h, Dir: dir, Commits: 1})
		defer stop()
		var callers sync.WaitGroup
		for n := range 5 {
			callers.Go(func() { require.NoError(t, s.Record(t.Context(), poll(n))) })
		}
		callers.Wait()
		h.set(func() { close(h.hang); h.hang = nil })
		<-time.After(2 * time.Second)
		require.Equal(t, 4, h.count())
		require.NoError(t, s.Ready())
		aside, err := os.ReadFile(filepath.Join(dir, "refused.jsonl"))
		require.NoError(t, err)
		require.Contains(t, string(aside), poll(2).ID.String())
		require.Equal(t, 1, strings.Count(string(aside), "\n"))
	})
}

func TestWithoutADiskNothingIsPromised(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHistory()
		h.failing = away{}
		dir := filepath.Join(t.TempDir(), "spool")
		s, stop := run(t, Config{Store: h, Dir: dir})
		defer stop()
		require.NoError(t, os.RemoveAll(dir))
		require.ErrorIs(t, s.Record(t.Context(), poll(1)), ErrFull)
	})
}

func TestAtTheEndWhatWaitsIsRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHistory()
		h.hang = make(chan struct{})
		s, stop := run(t, Config{Store: h, Commits: 1, Patience: time.Hour})
		var callers sync.WaitGroup
		for n := range 5 {
			callers.Go(func() { require.NoError(t, s.Record(context.Background(), poll(n))) })
		}
		synctest.Wait()
		go stop()
		synctest.Wait()
		close(h.hang)
		callers.Wait()
		stop()
		require.Equal(t, 5, h.count())
		require.ErrorIs(t, s.Record(context.Background(), poll(9)), ErrFull)
	})
}

// TestACallerWhoIsGoneIsRecordedOnceOrNotAtAll: a caller that gets an error records a refusal instead, under the same id.
func TestACallerWhoIsGoneIsRecordedOnceOrNotAtAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHistory()
		h.hang = make(chan struct{})
		s, stop := run(t, Config{Store: h, Commits: 1})
		defer stop()
		var under sync.WaitGroup
		ctx, cancel := context.WithCancel(t.Context())
		under.Go(func() { require.NoError(t, s.Record(ctx, poll(1)), "it is on its way, and is waited for") })
		synctest.Wait()
		under.Go(func() {
			require.ErrorIs(t, s.Record(ctx, poll(2)), context.Canceled, "it waited, and is withdrawn")
			require.NoError(t, s.Record(t.Context(), poll(2)))
		})
		synctest.Wait()
		cancel()
		synctest.Wait()
		close(h.hang)
		under.Wait()
		synctest.Wait()
		require.Equal(t, 2, h.count())
	})
}

// TestPollsThatCannotBeSpooledAreSavedByTheirCommit: the disk is full, and the database was slow and not away.
func TestPollsThatCannotBeSpooledAreSavedByTheirCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHistory()
		h.hang = make(chan struct{})
		dir := t.TempDir()
		s, stop := run(t, Config{Store: h, Dir: dir})
		defer stop()
		require.NoError(t, os.RemoveAll(dir)) // no file can be made there
		time.AfterFunc(time.Second, func() { close(h.hang) })
		require.NoError(t, s.Record(t.Context(), poll(1)))
		require.Equal(t, 1, h.count())
	})
}

func BenchmarkRecord(b *testing.B) {
	h := newHistory()
	s, err := Open(Config{Store: h, Dir: b.TempDir()})
	require.NoError(b, err)
	ctx, cancel := context.WithCancel(context.Background())
	go s.Run(ctx)
	defer cancel()
	b.SetParallelism(64)
	b.RunParallel(func(pb *testing.PB) {
		for n := 0; pb.Next(); n++ {
			if err := s.Record(b.Context(), poll(n)); err != nil {
				b.Error(fmt.Errorf("record: %w", err))
			}
		}
	})
}
