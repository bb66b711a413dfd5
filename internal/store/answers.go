package store

import (
	"context"
	"time"
)

// answersWithin bounds Answers. A caller who is refused by it gets the 503 within 3 s (cases F5).
const answersWithin = 2 * time.Second

// Answers tells whether the database answers at all. Its error is an ErrUnavailable when no answer came within 2 s, which a server that
// hangs and a network that drops everything have in common. Any other failure is not told: what is asked for meets it at once, and says
// more of it.
//
// However many callers ask, one question is under way at a time, and each of them gets the answer to one that ended after it came. It is
// put on a connection for status queries: those are held for milliseconds, while readers may hold every query connection for seconds, so that
// waiting for one of these says nothing about the server.
func (s *Store) Answers(ctx context.Context) error {
	answer := s.asking.DoChan("", func() (any, error) {
		began := time.Now()
		within, cancel := context.WithTimeout(context.Background(), answersWithin)
		defer cancel()
		err := s.status.Ping(within)
		if time.Since(began) < answersWithin { // a connection that cannot be made takes as long
			return nil, nil //nolint:nilnil // there is no value
		}
		return nil, Unavailable("ask whether the database answers", err)
	})
	select {
	case a := <-answer:
		return a.Err
	case <-ctx.Done():
		return ctx.Err()
	}
}
