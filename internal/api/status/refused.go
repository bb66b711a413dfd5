package status

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/arauto/arauto/internal/notice"
)

// refusalBudget is how many refusals of one kind are recorded one by one within a time. The others of that time are
// counted. The next record of the kind has their number; without a next one, the last of them is recorded with the number
// of those before it.
type refusalBudget struct {
	each   int
	within time.Duration
	goesOn bool // those that follow a time with some are counted too: none of them is recorded at once
}

var (
	// budgetLimited is for refusals by a limit, of one client.
	budgetLimited = refusalBudget{each: 1, within: time.Second}
	// budgetNameless is for refusals with one code to one certificate, before a token was accepted. Who sends such queries
	// needs nothing but a certificate, and their records are kept for years.
	budgetNameless = refusalBudget{each: 10, within: time.Minute}
)

// refusalKinds bounds how many kinds are counted at a time. Refusals of further kinds are recorded one by one.
const refusalKinds = 10_000

// refusalCounts holds the refusals that are not recorded one by one. The zero value is ready to use.
type refusalCounts struct {
	mu   sync.Mutex
	seen map[string]*refusalCount
}

// refusalCount is one kind's.
type refusalCount struct {
	budget   refusalBudget
	until    time.Time   // the end of its time
	recorded int         // one by one
	held     int64       // counted since the last record
	last     notice.Poll // of those
}

// hold counts a refusal, and answers true when it is not to be recorded by itself now. Else it writes the number of those
// counted since the last record into the poll.
func (c *refusalCounts) hold(kind string, b refusalBudget, p *notice.Poll, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.seen[kind]
	if s == nil {
		if len(c.seen) >= refusalKinds {
			return false
		}
		if c.seen == nil {
			c.seen = map[string]*refusalCount{}
		}
		s = &refusalCount{}
		c.seen[kind] = s
	}
	if !now.Before(s.until) && (!b.goesOn || s.until.IsZero()) {
		p.Facts.Suppressed = s.held
		*s = refusalCount{budget: b, until: now.Add(b.within), recorded: 1}
		return false
	}
	if s.recorded < b.each {
		s.recorded++
		return false
	}
	s.held++
	s.last = *p
	return true
}

// take removes the kinds whose time is over, or all, and returns the records of what they held.
func (c *refusalCounts) take(now time.Time, all bool) map[string]notice.Poll {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := map[string]notice.Poll{}
	for kind, s := range c.seen {
		if !all && now.Before(s.until) {
			continue
		}
		if s.held > 0 {
			s.last.Facts.Suppressed = s.held - 1
			out[kind] = s.last
		}
		if s.held > 0 && s.budget.goesOn && !all {
			*s = refusalCount{budget: s.budget, until: now.Add(s.budget.within), recorded: s.budget.each}
		} else {
			delete(c.seen, kind)
		}
	}
	return out
}

// giveBack keeps a record that could not be stored, to be tried again.
func (c *refusalCounts) giveBack(kind string, p notice.Poll) {
	c.mu.Lock()
	defer c.mu.Unlock()
	held := p.Facts.Suppressed + 1
	p.Facts.Suppressed = 0
	if s := c.seen[kind]; s != nil {
		if s.held == 0 {
			s.last = p
		}
		s.held += held
		return
	}
	if c.seen == nil {
		c.seen = map[string]*refusalCount{}
	}
	c.seen[kind] = &refusalCount{held: held, last: p} // its time is over
}

// recordsAtOnce is how many counted calls are handed over at a time: they share a commit.
const recordsAtOnce = 200

// RecordRefused records the calls that were counted in times that are over; all: also in those that are not. It is
// called every few seconds, and with all at the very end. What could not be recorded is tried again by the next call.
func (p *Public) RecordRefused(ctx context.Context, all bool) error {
	taken := p.refused.take(time.Now(), all)
	var mu sync.Mutex
	var failed []error
	for kinds := range slices.Chunk(slices.Collect(maps.Keys(taken)), recordsAtOnce) {
		var chunk sync.WaitGroup
		for _, kind := range kinds {
			chunk.Go(func() {
				if err := p.cfg.Polls.Record(ctx, taken[kind]); err != nil {
					p.refused.giveBack(kind, taken[kind])
					mu.Lock()
					defer mu.Unlock()
					failed = append(failed, err)
				}
			})
		}
		chunk.Wait()
	}
	if len(failed) > 0 {
		return fmt.Errorf("record counted refusals of %d callers: %w", len(failed), errors.Join(failed...))
	}
	return nil
}
