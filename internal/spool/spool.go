// Package spool makes the records of status queries durable before the queries are answered.
//
// Record returns when the poll is committed to the history. Many callers share one commit. When the database keeps them
// waiting for longer than 250 ms, their polls are written and synced to a file of the spool first and Record returns;
// the file goes when its commit succeeds after all, or when its polls were replayed. That is the only exception to "what
// cannot be recorded is not done" (product D-3; design, "Polls"), and it is bounded: once the oldest file is older than
// 60 s, or the spool is full, Record refuses until the database has everything.
//
// What holds:
//
//   - Nobody is answered before the poll is either committed or synced.
//   - A poll appears once in the history, however often it is handed to the store: its id is its identity there.
//   - Files are replayed in the order they were written, also those of the process before this one.
//   - A record that the database refuses permanently, alone, is put aside in a file that nothing deletes, and reported.
//
// Package spool knows no HTTP and no SQL. One process owns a folder; two replicas on one machine have two.
package spool

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/arauto/arauto/internal/groupcommit"
	"github.com/arauto/arauto/internal/notice"
)

// Store writes polls into the history; *store.Store implements it.
type Store interface {
	// RecordPolls commits polls, or fails; after an error nobody knows whether they are stored.
	RecordPolls(ctx context.Context, fence int64, polls []notice.Poll) error
	// ReplayPolls commits those of the polls that are not stored yet.
	ReplayPolls(ctx context.Context, fence int64, polls []notice.Poll) error
}

// Observer is told what happens, for metrics. Its methods are called from many goroutines and must not block.
type Observer interface {
	// Committed reports a shared commit: how many polls, and how long it took.
	Committed(polls int, took time.Duration, err error)
	// Spooled reports polls that were synced to a file because the database was slow or away.
	Spooled(polls int)
	// Replayed reports polls of a file that reached the history.
	Replayed(polls int)
	// PutAside reports polls that the database refuses permanently.
	PutAside(polls int)
}

type silent struct{}

func (silent) Committed(int, time.Duration, error) {}
func (silent) Spooled(int)                         {}
func (silent) Replayed(int)                        {}
func (silent) PutAside(int)                        {}

// Config holds a Spool's settings. Store and Dir are required.
type Config struct {
	Store    Store
	Dir      string        // below ARAUTO_STATE_DIR; made when it is not there
	Patience time.Duration // how long the database may take before a poll is spooled; 0: 250 ms
	MaxAge   time.Duration // of the oldest file before Record refuses; 0: 60 s
	MaxBytes int64         // of all files before Record refuses; 0: 64 MiB
	MaxBatch int           // polls that share a commit; 0: 200
	Linger   time.Duration // how long a poll waits for company while another commit runs; 0: 2 ms
	Commits  int           // commits at a time; 0: 2
	Log      *slog.Logger  // nil: discarded
	Observer Observer      // nil: nobody
}

// ErrFull means that a poll can be recorded neither in the history nor in the spool; the query is answered 503.
var ErrFull = errors.New("polls cannot be recorded")

// giveUp bounds one call of the store; the database's own statement timeout is shorter.
const giveUp = 10 * time.Second

// maxWaiting bounds the callers in memory. They are the in-flight requests, which are bounded elsewhere.
const maxWaiting = 20_000

// Spool records polls. Make one with Open, and run it with Run.
type Spool struct {
	cfg      Config
	folder   *folder
	log      *slog.Logger
	observer Observer

	woken   groupcommit.Wake // a poll is waiting, or a commit has ended
	rule    groupcommit.Rule
	left    groupcommit.Wake // a file is to be replayed
	running sync.WaitGroup

	mu      sync.Mutex
	waiting []*waiter
	flying  int // commits under way
	closed  bool
}

// waiter is one caller of Record.
type waiter struct {
	poll  notice.Poll
	since time.Time
	done  chan struct{}
	err   error
}

// Open locks the folder and takes over the files that the previous process left in it.
func Open(c Config) (*Spool, error) {
	c.Patience, c.MaxAge = cmp.Or(max(0, c.Patience), 250*time.Millisecond), cmp.Or(max(0, c.MaxAge), 60*time.Second)
	c.MaxBytes, c.MaxBatch = cmp.Or(max(0, c.MaxBytes), 64<<20), cmp.Or(max(0, c.MaxBatch), 200)
	c.Linger, c.Commits = cmp.Or(max(0, c.Linger), 2*time.Millisecond), cmp.Or(max(0, c.Commits), 2)
	c.Log = cmp.Or(c.Log, slog.New(slog.DiscardHandler))
	c.Observer = cmp.Or[Observer](c.Observer, silent{})
	f, err := openFolder(c.Dir)
	if err != nil {
		return nil, err
	}
	return &Spool{
		cfg: c, folder: f, log: c.Log, observer: c.Observer,
		woken: make(groupcommit.Wake, 1), left: make(groupcommit.Wake, 1),
		rule: groupcommit.Rule{MaxBatch: c.MaxBatch, Linger: c.Linger},
	}, nil
}

// Close unlocks the folder; call it after Run has returned.
func (s *Spool) Close() error { return s.folder.close() }

// Ready returns nil when polls can be recorded now, else ErrFull. Use it to refuse a query before any work is done for it.
func (s *Spool) Ready() error {
	age, bytes := s.folder.load(time.Now())
	switch {
	case age > s.cfg.MaxAge:
		return fmt.Errorf("%w: the spool's oldest file has waited %s for the database", ErrFull, age.Truncate(time.Second))
	case bytes > s.cfg.MaxBytes:
		return fmt.Errorf("%w: the spool holds %d bytes", ErrFull, bytes)
	}
	return nil
}

// Stat returns the number of files that wait in the spool, their size in bytes, and the age of the oldest.
func (s *Spool) Stat() (files int, bytes int64, age time.Duration) {
	age, bytes = s.folder.load(time.Now())
	return s.folder.count(), bytes, age
}

// Record returns nil when the poll is committed or synced to the spool. When ctx ends first, a poll that still waits is
// withdrawn, and ctx.Err() returned; one that is being written is waited for, which takes little more than the patience. So
// after an error a caller may record something else under the same id, and there will be one record.
func (s *Spool) Record(ctx context.Context, p notice.Poll) error {
	if err := s.Ready(); err != nil {
		return err
	}
	w := &waiter{poll: p, since: time.Now(), done: make(chan struct{})}
	s.mu.Lock()
	if s.closed || len(s.waiting) >= maxWaiting {
		s.mu.Unlock()
		return fmt.Errorf("%w: closed, or too many are waiting", ErrFull)
	}
	s.waiting = append(s.waiting, w)
	s.mu.Unlock()
	s.woken.Signal()
	select {
	case <-w.done:
		return w.err
	case <-ctx.Done():
		if s.withdraw(w) {
			return ctx.Err()
		}
		<-w.done
		return w.err
	}
}

// withdraw takes a poll back that nobody has taken up yet.
func (s *Spool) withdraw(w *waiter) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := slices.Index(s.waiting, w)
	if at < 0 {
		return false
	}
	s.waiting = slices.Delete(slices.Clone(s.waiting), at, at+1)
	return true
}

// Run commits and replays until ctx ends; then it records what still waits and returns. All calls of Record must have
// ended before.
func (s *Spool) Run(ctx context.Context) {
	defer s.running.Wait()
	s.running.Go(func() { s.replay(ctx) })
	for {
		batch, spool := s.gather(ctx)
		switch {
		case batch == nil:
			return
		case spool:
			s.running.Go(func() { s.toFile(batch) })
		default:
			s.running.Go(func() {
				defer s.landed()
				s.commit(batch)
			})
		}
	}
}

func (s *Spool) landed() {
	s.mu.Lock()
	s.flying--
	s.mu.Unlock()
	s.woken.Signal()
}

// gather waits for polls worth a commit: at once when none runs, else when there are enough or the oldest has lingered.
// When all commits hang for longer than the patience, what waits goes to the spool. Nil when ctx ended and none waits.
func (s *Spool) gather(ctx context.Context) (batch []*waiter, spool bool) {
	batch = groupcommit.Next(ctx, s.woken, func(ending bool) (batch []*waiter, wait time.Duration, last bool) {
		s.mu.Lock()
		defer s.mu.Unlock()
		batch, spool, wait = s.take(ending)
		s.closed = batch == nil && ending && len(s.waiting) == 0
		return batch, wait, s.closed
	})
	return batch, spool
}

// take picks a batch or says how long to wait; s.mu is held.
func (s *Spool) take(ending bool) (batch []*waiter, spool bool, wait time.Duration) {
	if len(s.waiting) == 0 {
		return nil, false, 0
	}
	since := s.waiting[0].since
	if s.flying == s.cfg.Commits {
		if wait = s.cfg.Patience - time.Since(since); wait > 0 {
			return nil, false, wait
		}
		return s.cut(len(s.waiting)), true, 0
	}
	if wait = s.rule.Wait(len(s.waiting), s.flying, since, ending); wait > 0 {
		return nil, false, wait
	}
	s.flying++
	return s.cut(min(len(s.waiting), s.cfg.MaxBatch)), false, 0
}

// cut takes the first n; s.mu is held.
func (s *Spool) cut(n int) []*waiter {
	batch := s.waiting[:n:n]
	s.waiting = append([]*waiter(nil), s.waiting[n:]...)
	return batch
}

// commit stores a batch, and spools it when that fails or takes longer than the patience.
func (s *Spool) commit(batch []*waiter) {
	ctx, cancel := context.WithTimeout(context.Background(), giveUp)
	defer cancel()
	began := time.Now()
	result := make(chan error, 1)
	go func() {
		err := s.cfg.Store.RecordPolls(ctx, s.folder.fence, pollsOf(batch, false))
		s.observer.Committed(len(batch), time.Since(began), err)
		result <- err
	}()
	patience := time.NewTimer(s.cfg.Patience - time.Since(batch[0].since))
	defer patience.Stop()
	select {
	case err := <-result:
		if err == nil {
			release(batch, nil)
			return
		}
		s.log.Warn("polls not committed, spooled", "polls", len(batch), "error", err)
		s.toFile(batch)
	case <-patience.C:
		name, failed := s.write(batch, true)
		if failed == nil {
			release(batch, nil)
		}
		err := <-result
		switch {
		case failed != nil && err != nil:
			release(batch, fmt.Errorf("%w: %w: %w", ErrFull, failed, err))
		case failed != nil: // the commit saved them after all
			release(batch, nil)
		case err != nil:
			s.log.Warn("polls not committed, left in the spool", "polls", len(batch), "error", err)
			s.release(name)
		default:
			s.folder.remove(name)
			s.left.Signal() // what was written after it need not wait any more
		}
	}
}

// toFile writes and syncs a batch and lets its callers go.
func (s *Spool) toFile(batch []*waiter) {
	if _, err := s.write(batch, false); err != nil {
		release(batch, fmt.Errorf("%w: %w", ErrFull, err))
		return
	}
	release(batch, nil)
	s.left.Signal()
}

// write makes a batch durable in a file and returns its name. One that is held back is not replayed until it is released,
// since its commit is under way.
func (s *Spool) write(batch []*waiter, held bool) (name string, err error) {
	if name, err = s.folder.write(pollsOf(batch, true), held); err != nil {
		s.log.Error("polls not spooled", "polls", len(batch), "error", err)
		return "", err
	}
	s.observer.Spooled(len(batch))
	return name, nil
}

func (s *Spool) release(name string) {
	s.folder.release(name)
	s.left.Signal()
}

func pollsOf(batch []*waiter, spooled bool) []notice.Poll {
	polls := make([]notice.Poll, len(batch))
	for i, w := range batch {
		polls[i] = w.poll
		polls[i].Facts.Spooled = spooled
	}
	return polls
}

func release(batch []*waiter, err error) {
	for _, w := range batch {
		w.err = err
		close(w.done)
	}
}
