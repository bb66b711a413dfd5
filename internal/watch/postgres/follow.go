package postgres

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// follow hands over what the lanes read, fast first, until one of them fails.
func (s *session) follow(ctx context.Context) error {
	s.launch(ctx, s.main)
	for ctx.Err() == nil {
		c, from := s.next(ctx)
		if c == nil {
			continue
		}
		if err := s.take(ctx, from, c); err != nil {
			return err
		}
		if from == s.main {
			s.hurry(ctx)
		}
	}
	return ctx.Err()
}

// launch runs a lane beside us. When it fails, so does the session.
func (s *session) launch(ctx context.Context, l *slotStream) {
	s.beside.Go(func() {
		if err := l.run(ctx); err != nil {
			s.fail(err)
		}
	})
}

// next waits for a chunk. It returns nil when something else happened.
func (s *session) next(ctx context.Context) (*chunk, *slotStream) {
	select {
	case o := <-s.opened:
		s.takeLane(ctx, o)
	default:
	}
	for _, l := range []*slotStream{s.fast, s.main} {
		if l == nil {
			continue
		}
		if c, ok := l.poll(); c != nil {
			return c, l
		} else if !ok {
			s.endFast(ctx)
		}
	}
	var fast chan *chunk
	if s.fast != nil {
		fast = s.fast.chunks
	}
	select {
	case <-ctx.Done():
	case o := <-s.opened:
		s.takeLane(ctx, o)
	case c := <-s.main.chunks:
		return c, s.main
	case c, ok := <-fast:
		if ok {
			return c, s.fast
		}
		s.endFast(ctx)
	}
	return nil, nil
}

// poll takes a chunk if one is there. ok is false when the lane has ended.
func (l *slotStream) poll() (c *chunk, ok bool) {
	if c, l.held = l.held, nil; c != nil {
		return c, true
	}
	select {
	case c, ok = <-l.chunks:
		return c, ok
	default:
		return nil, true
	}
}

// take hands over a chunk, with as many of the lane's next as are there and fit.
func (s *session) take(ctx context.Context, from *slotStream, c *chunk) error {
	records, chunks := c.records, 1
	if err := s.fill(ctx, c); err != nil {
		return err
	}
	s.schema(c)
	s.unseen.add(c)
	for size := c.size; size < mostBytes; {
		more, _ := from.poll()
		if more == nil {
			break
		}
		if len(records)+len(more.records) > mostRecords || s.differs(more) {
			from.held = more
			break
		}
		if err := s.fill(ctx, more); err != nil {
			return err
		}
		s.unseen.add(more)
		records, chunks, size = append(records, more.records...), chunks+1, size+more.size
	}
	s.rows.Add(int64(len(records)))
	if err := s.to.Take(ctx, records, func() { from.progress.done(chunks) }); err != nil {
		return fmt.Errorf("hand over %d changes: %w", len(records), err)
	}
	return nil
}

// differs reports whether a chunk's tables look otherwise than was told.
func (s *session) differs(c *chunk) bool {
	return slices.ContainsFunc(c.shapes, func(rel *relation) bool { return !slices.Equal(s.told[rel.table], rel.columns) })
}

// schema tells how the tables of a chunk look, where that is new.
func (s *session) schema(c *chunk) {
	for _, rel := range c.shapes {
		if !slices.Equal(s.told[rel.table], rel.columns) {
			s.told[rel.table] = rel.columns
			s.to.Schema(rel.table, slices.Clone(rel.columns))
		}
	}
}

// hurry opens a fast lane when main is late: when the oldest change that it read and that is not done is too old. A fresh
// one would wait as long.
func (s *session) hurry(ctx context.Context) {
	if s.config.FastLane < 0 || s.fast != nil || s.opened != nil || time.Now().Before(s.notBefore) || !s.main.cut.free() {
		return
	}
	_, oldest := s.main.progress.state()
	now, known := s.state.coreNow()
	if oldest.IsZero() || !known || now.Sub(oldest) <= s.config.FastLane {
		return
	}
	s.log.InfoContext(ctx, "the stream is late: opening a fast lane at the present", "late", now.Sub(oldest).Round(10*time.Millisecond).String())
	s.opened = make(chan opening, 1)
	opened := s.opened
	s.beside.Go(func() { opened <- s.openFast(ctx) })
}

// takeLane begins to take from the fast lane.
func (s *session) takeLane(ctx context.Context, o opening) {
	s.opened = nil
	switch {
	case o.err != nil:
		s.notBefore = time.Now().Add(afterFailure)
		if ctx.Err() == nil {
			s.log.WarnContext(ctx, "no fast lane: fresh changes wait behind the backlog", "error", o.err)
		}
	case o.lane == nil:
		s.notBefore = time.Now().Add(s.config.FastLane)
	default:
		s.fast = o.lane
		s.launch(ctx, s.fast)
		s.log.InfoContext(ctx, "the fast lane is open", "from", position(o.at))
	}
}

// endFast forgets the fast lane: it has handed over all that was its part. What of that is not done yet keeps main from
// acknowledging it, in cut. Main is at the present now, so it cannot be late again before as much time has passed; that is
// the shortest time between two lanes, and costs nobody anything.
func (s *session) endFast(ctx context.Context) {
	s.fast, s.notBefore = nil, time.Now().Add(s.config.FastLane)
	s.log.InfoContext(ctx, "caught up: the fast lane is closed")
}
