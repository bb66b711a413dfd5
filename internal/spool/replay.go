package spool

import (
	"context"
	"errors"
	"time"

	"github.com/arauto/arauto/internal/failure"
	"github.com/arauto/arauto/internal/notice"
)

// pause is how long a replay waits after a failure that may pass.
const pause = 500 * time.Millisecond

// replay brings files into the history, oldest first, until ctx ends.
func (s *Spool) replay(ctx context.Context) {
	for {
		var again <-chan time.Time
		if !s.replayAll(ctx) {
			again = time.After(pause)
		}
		select {
		case <-s.left:
		case <-again:
		case <-ctx.Done():
			return
		}
	}
}

// replayAll replays the files that are not held back; false when it should be tried again.
func (s *Spool) replayAll(ctx context.Context) bool {
	for ctx.Err() == nil {
		name := s.folder.oldestRipe()
		if name == "" {
			return true
		}
		polls, err := s.folder.read(name)
		if err != nil {
			s.log.Error("unreadable file of the spool put aside", "file", name, "error", err)
			s.observer.PutAside(1)
			s.folder.setAside(name)
			continue
		}
		if err := s.replayFile(ctx, polls); err != nil {
			s.log.Warn("spooled polls wait for the database", "file", name, "polls", len(polls), "error", err)
			return false
		}
		s.folder.remove(name)
	}
	return true
}

// passing tells a failure of the database at large from one that belongs to a record.
func passing(err error) bool {
	return failure.Transient(err) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// replayFile stores the polls of one file. When the database refuses them permanently, each is tried alone, and those that
// fail alone are put aside: one bad record must not hold up all queries.
func (s *Spool) replayFile(ctx context.Context, polls []notice.Poll) error {
	err := s.replayTogether(ctx, polls)
	if err == nil || passing(err) {
		return err
	}
	var bad []notice.Poll
	for i := range polls {
		err := s.replayTogether(ctx, polls[i:i+1])
		if err != nil && passing(err) {
			return err
		}
		if err != nil {
			s.log.Error("spooled poll refused by the database and put aside", "poll", polls[i].ID.String(), "error", err)
			bad = append(bad, polls[i])
		}
	}
	if len(bad) == 0 {
		return nil
	}
	s.observer.PutAside(len(bad))
	return s.folder.putAside(bad)
}

func (s *Spool) replayTogether(ctx context.Context, polls []notice.Poll) error {
	if len(polls) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, giveUp)
	defer cancel()
	if err := s.cfg.Store.ReplayPolls(ctx, s.folder.fence, polls); err != nil {
		return err
	}
	s.observer.Replayed(len(polls))
	return nil
}
