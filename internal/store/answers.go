package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// answersWithin bounds Answers: less than a connection may take to be made (2 s), whose failure would pass for an answer. A caller who is
// refused gets the 503 within 3 s (cases F5). askAgainAfter is when a second connection is asked beside the first one.
const (
	answersWithin = 1900 * time.Millisecond
	askAgainAfter = 300 * time.Millisecond
)

// Answers tells whether the database answers at all. Its error is an ErrUnavailable when no answer came within about 2 s, which a server that
// hangs and a network that drops everything have in common. Any other failure is not told: what is asked for meets it at once, and says
// more of it.
//
// However many callers ask, one question is under way at a time, and each of them gets the answer to one that ended after it came.
func (s *Store) Answers(ctx context.Context) error {
	answer := s.asking.DoChan("", func() (any, error) {
		return nil, Unavailable("ask whether the database answers", s.hear())
	})
	select {
	case a := <-answer:
		return a.Err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// hear waits for an answer of the database, whichever it is. Status queries may hold all of their connections, where a table is locked, and
// readers all of theirs, so that waiting for one of these says nothing about the server: both are asked before it is said to be silent.
func (s *Store) hear() error {
	within, cancel := context.WithTimeout(context.Background(), answersWithin)
	ends := make(chan error, 2)
	ask := func(p *pgxpool.Pool) {
		err := p.Ping(within)
		if within.Err() == nil { // whatever it says, it was said in time
			err = nil
		}
		ends <- err
	}
	go ask(s.status)
	select {
	case err := <-ends:
		cancel()
		return err
	case <-time.After(askAgainAfter):
	}
	go ask(s.query)
	err := <-ends
	if err != nil {
		err = <-ends
		cancel()
		return err
	}
	context.AfterFunc(within, cancel) // the other one ends by itself: a question that is broken off would end its connection
	return nil
}
