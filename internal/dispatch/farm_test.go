package dispatch

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/notice"
)

// TestMain gives the tests one processor. In virtual time hardly two goroutines can run at once: another processor would be
// woken for each that can, to find it taken. The race detector orders what they do and needs no second one.
func TestMain(m *testing.M) {
	runtime.GOMAXPROCS(1)
	os.Exit(m.Run())
}

// onTwoProcessors has goroutines run at once where a test is about their order.
func onTwoProcessors(t *testing.T) {
	before := runtime.GOMAXPROCS(2)
	t.Cleanup(func() { runtime.GOMAXPROCS(before) })
}

// answer is what a receiver does with one attempt: how long it takes, and what comes of it.
type answer struct {
	after   time.Duration
	outcome notice.Outcome
}

var (
	accepted = answer{20 * time.Millisecond, notice.OutcomeDelivered}
	refused  = answer{37 * time.Millisecond, notice.OutcomeRefused}
	hanging  = answer{time.Hour, notice.OutcomeTimeout}
)

// farm is a Sender and all receivers behind it. It keeps every POST.
type farm struct {
	receive func(a notice.Attempt) answer

	mu    sync.Mutex
	posts []*post
	byID  map[notice.ID][]*post
}

// post is one POST as the receivers saw it, by their clock.
type post struct {
	notice.Attempt
	at, ended time.Time
	outcome   notice.Outcome
}

func (f *farm) Send(ctx context.Context, a notice.Attempt) (notice.Result, error) {
	p := &post{Attempt: a, at: time.Now()}
	f.mu.Lock()
	f.posts = append(f.posts, p)
	f.byID[a.Notification] = append(f.byID[a.Notification], p)
	f.mu.Unlock()
	todo := f.receive(a)
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= todo.after { // nobody else keeps it
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline)
		defer cancel()
	}
	if rest(ctx, todo.after) != nil {
		todo.outcome = notice.OutcomeTimeout
	}
	f.mu.Lock()
	p.ended, p.outcome = time.Now(), todo.outcome
	f.mu.Unlock()
	r := notice.Result{Outcome: todo.outcome, EndedAt: p.ended, Elapsed: p.ended.Sub(p.at)}
	switch todo.outcome {
	case notice.OutcomeDelivered:
		r.HTTPStatus, r.Answered = 202, r.Elapsed
	case notice.OutcomeRefused:
		r.HTTPStatus, r.Answered = 503, r.Elapsed
	}
	return r, nil
}

// of lists the POSTs of one notification.
func (f *farm) of(id notice.ID) []*post {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.byID[id])
}

// world is a queue, receivers, and any number of replicas.
type world struct {
	t        *testing.T
	queue    *memory
	farm     *farm
	replicas []*replica
	log      *lockedBuffer
	level    slog.Level // of what goes to log: what goes wrong on our side, unless a test wants more
}

// replica is one dispatcher that runs.
type replica struct {
	*Dispatcher
	stop context.CancelFunc
	done chan error
}

func newWorld(t *testing.T, receive func(notice.Attempt) answer) *world {
	return &world{t: t, queue: newMemory(), farm: &farm{receive: receive, byID: make(map[notice.ID][]*post)}, log: &lockedBuffer{}, level: slog.LevelError}
}

func always(a answer) func(notice.Attempt) answer { return func(notice.Attempt) answer { return a } }

func (w *world) start(cfg Config) *replica { return w.startWith(w.queue, w.farm, cfg, nil) }

func (w *world) startWith(q Queue, s Sender, cfg Config, o Observer) *replica {
	w.t.Helper()
	d, err := New(q, s, cfg, slog.New(slog.NewJSONHandler(w.log, &slog.HandlerOptions{Level: w.level})), o)
	require.NoError(w.t, err)
	ctx, stop := context.WithCancel(context.Background())
	r := &replica{Dispatcher: d, stop: stop, done: make(chan error, 1)}
	go func() { r.done <- d.Run(ctx) }()
	w.t.Cleanup(stop) // a failed test must not look like a leak
	w.replicas = append(w.replicas, r)
	return r
}

// Wake is WakeIn for work that is due now.
func (r *replica) Wake(client notice.ClientID) { r.WakeIn(client, 0) }

// event commits a notification that happens now and wakes the first replica.
func (w *world) event(client notice.ClientID) *chain {
	c := w.queue.add(client, 0, 0)
	w.replicas[0].Wake(client)
	return c
}

// end stops all replicas and expects them to leave nothing behind.
func (w *world) end() {
	w.t.Helper()
	for _, r := range w.replicas {
		r.stop()
	}
	for _, r := range w.replicas {
		require.NoError(w.t, <-r.done)
	}
}

// pass lets virtual time pass and everybody act on it, so that what they wrote may be read.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// every calls do at a steady pace for a time.
func every(distance, lasting time.Duration, do func()) {
	for begin := time.Now(); time.Since(begin) < lasting; time.Sleep(distance) {
		do()
	}
}

// look lets a test read what replicas that still run may change.
func (w *world) look(read func()) {
	w.queue.mu.Lock()
	defer w.queue.mu.Unlock()
	w.farm.mu.Lock()
	defer w.farm.mu.Unlock()
	read()
}

// checkSchedule holds every chain against the rule (webhook §4.1): numbers in order, none twice, never a fourth, each
// gap counted from the failure the receiver saw, never early and at most slack late.
func (w *world) checkSchedule(slack time.Duration) {
	w.t.Helper()
	for _, fault := range w.faults(slack) {
		require.Fail(w.t, fault)
	}
}

func (w *world) faults(slack time.Duration) (faults []string) {
	ids := make(map[notice.ID]bool)
	for _, p := range w.farm.posts {
		if ids[p.Interaction] {
			faults = append(faults, fmt.Sprintf("interaction id %s used twice", p.Interaction))
		}
		ids[p.Interaction] = true
	}
	for id, posts := range w.farm.byID {
		last := 0
		for i, p := range posts {
			switch {
			case p.Number > 3:
				faults = append(faults, fmt.Sprintf("%s: a fourth attempt", id))
			case p.Number <= last:
				faults = append(faults, fmt.Sprintf("%s: number %d after %d", id, p.Number, last))
			case i > 0 && posts[i-1].outcome.Success():
				faults = append(faults, fmt.Sprintf("%s: number %d after a success", id, p.Number))
			case i > 0 && p.Number == last+1:
				gap, _ := notice.Next(last, false)
				if got := p.at.Sub(posts[i-1].ended); got < gap || got > gap+slack {
					faults = append(faults, fmt.Sprintf("%s: number %d came %s after the failure", id, p.Number, got))
				}
			}
			last = p.Number
		}
	}
	return faults
}

// lockedBuffer is a log that several goroutines write.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
