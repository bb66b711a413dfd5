// Package groupcommit decides when what waits for a commit is committed together. Intake and the spool share it.
//
// Nothing waits while no commit runs. While others run, what waits is gathered until it fills a commit or its oldest has
// lingered. After the context's end nothing lingers, and Next goes on until its user has nothing left.
//
// The package holds neither items nor a lock: its users do, and they choose what goes into a batch. It knows no database.
package groupcommit

import (
	"context"
	"time"
)

// Wake wakes Next. Make it with capacity 1, and signal it when an item arrives and when a commit ends.
type Wake chan struct{}

// Signal does not block. Signals that come before Next looks again count as one.
func (w Wake) Signal() {
	select {
	case w <- struct{}{}:
	default:
	}
}

// Rule bounds a commit.
type Rule struct {
	MaxBatch int           // items in one commit
	Linger   time.Duration // how long an item waits for company while other commits run
}

// Wait returns how long items wait before they are committed, 0 or less for now. waiting is their number, at least 1;
// flying is the number of commits that run; since is when the oldest began to wait.
func (r Rule) Wait(waiting, flying int, since time.Time, ending bool) time.Duration {
	if flying == 0 || waiting >= r.MaxBatch || ending {
		return 0
	}
	return r.Linger - time.Since(since)
}

// Next returns the first batch that take gives, or nil when take says that it was the last call. It asks take at once,
// after each signal, after the time that take names (0: until a signal), and once at the end of ctx; ending is true from
// then on. Only one goroutine calls Next with one Wake at a time.
func Next[T any](ctx context.Context, wake Wake, take func(ending bool) (batch []T, wait time.Duration, last bool)) []T {
	for {
		ending := ctx.Err() != nil // asked once a turn: the context may end at any moment
		batch, wait, last := take(ending)
		if batch != nil || last {
			return batch
		}
		var waited <-chan time.Time
		if wait > 0 {
			waited = time.After(wait)
		}
		ended := ctx.Done()
		if ending {
			ended = nil
		}
		select {
		case <-wake:
		case <-waited:
		case <-ended:
		}
	}
}
