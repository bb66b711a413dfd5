package history

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

// Chain is everything that history and queue hold about one notification, read at one instant.
type Chain struct {
	ID         notice.ID
	Client     notice.ClientID
	Kind       ofb.Kind
	ResourceID string
	Announced  []time.Time // entries that announce it
	Manual     bool
	Epoch      int64 // registration period it was made under; 0: not kept
	Attempts   []AttemptEntry
	Ends       []ResultEntry
	Cancelled  []time.Time // entries that cancelled it while it waited
	Queued     *Queued     // nil: not in the queue
	Push       bool        // the client has an address now
	PushEpoch  int64       // its registration period now
}

// AttemptEntry is an attempt's entry.
type AttemptEntry struct {
	ID     notice.ID // of the entry, which is the lease's token
	Number int
	At     time.Time
}

// ResultEntry is an entry about an attempt's end.
type ResultEntry struct {
	Attempt notice.ID
	Number  int
	Late    bool // it came after the attempt's rescue
	Outcome notice.Outcome
	Closes  notice.State
	At      time.Time
	EndedAt time.Time
}

// Queued is a notification's row in the queue.
type Queued struct {
	Token    notice.ID // of the attempt in flight; zero: it waits
	Attempts int
	DueAt    time.Time
}

// Differences holds a notification against the rules: numbered without a hole, at most three, each with one result, and
// ended by delivery, by the third failure, by the end of its registration, or not yet.
func (c *Chain) Differences() []Difference {
	f := chainFindings{c: c}
	if len(c.Announced) == 0 {
		f.add(ChainUndecided, c.since(), "%d attempts, in the queue: %t", len(c.Attempts), c.Queued != nil)
		return f.out
	}
	if len(c.Announced) > 1 {
		f.add(ToldTwice, c.Announced[1], "announced by %d entries", len(c.Announced))
	}
	slices.SortFunc(c.Attempts, func(a, b AttemptEntry) int { // not by instants: the database's clock may have been set back
		return cmp.Or(cmp.Compare(a.Number, b.Number), a.At.Compare(b.At))
	})
	f.numbers()
	f.results()
	f.end()
	return f.out
}

func (c *Chain) since() time.Time {
	switch {
	case len(c.Attempts) > 0:
		return c.Attempts[0].At
	case len(c.Ends) > 0:
		return c.Ends[0].At
	case c.Queued != nil:
		return c.Queued.DueAt
	}
	return time.Time{}
}

// chainFindings gathers what is wrong with one notification.
type chainFindings struct {
	c   *Chain
	out []Difference
}

func (f *chainFindings) add(what Finding, since time.Time, format string, args ...any) {
	f.out = append(f.out, Difference{
		What: what, Since: Moment{since}, Client: f.c.Client, Kind: f.c.Kind.String(), ResourceID: f.c.ResourceID, Notification: f.c.ID,
		Detail: fmt.Sprintf(format, args...),
	})
}

// most is how many attempts this notification may have: three, or the one an operator asked for (D-4).
func (c *Chain) most() int {
	if c.Manual {
		return 1
	}
	return notice.MaxAttempts
}

// numbers checks that attempts are 1, 2, 3, each once and none before its time.
func (f *chainFindings) numbers() {
	seen, highest := map[int]bool{}, 0
	for _, a := range f.c.Attempts {
		switch {
		case a.Number > f.c.most() || a.Number < 1:
			f.add(TooManyAttempts, a.At, "attempt %d", a.Number)
		case seen[a.Number]:
			f.add(NumberTwice, a.At, "attempt %d", a.Number)
		default:
			highest = max(highest, a.Number)
		}
		seen[a.Number] = true
		f.distance(a)
	}
	for n := 1; n < highest; n++ {
		if !seen[n] {
			f.add(NumberMissing, f.c.Attempts[0].At, "attempt %d was never recorded, attempt %d was", n, highest)
		}
	}
}

// distance checks the gap from the failure before (webhook §4.1).
func (f *chainFindings) distance(a AttemptEntry) {
	gap, due := notice.Next(a.Number-1, f.c.Manual)
	if !due {
		return
	}
	for _, e := range f.c.Ends {
		if e.Number == a.Number-1 && !e.Late && a.At.Sub(e.EndedAt) < gap {
			f.add(AttemptEarly, a.At, "attempt %d began %s after the failure", a.Number, a.At.Sub(e.EndedAt))
		}
	}
}

// results checks that each attempt has one result, but for the one in flight.
func (f *chainFindings) results() {
	ends := map[notice.ID]int{}
	for _, e := range f.c.Ends {
		tried := slices.ContainsFunc(f.c.Attempts, func(a AttemptEntry) bool { return a.ID == e.Attempt && a.Number == e.Number })
		switch {
		case !tried:
			f.add(ResultUnfounded, e.At, "an end of attempt %d, which was never recorded", e.Number)
		case e.Late:
			if !slices.ContainsFunc(f.c.Ends, func(o ResultEntry) bool {
				return !o.Late && o.Attempt == e.Attempt && o.Outcome == notice.OutcomeUnknown
			}) {
				f.add(ResultUnfounded, e.At, "a late end of attempt %d, which was not settled as unknown", e.Number)
			}
		default:
			if ends[e.Attempt]++; ends[e.Attempt] == 2 {
				f.add(ResultTwice, e.At, "attempt %d", e.Number)
			}
		}
	}
	for _, a := range f.c.Attempts {
		inFlight := f.c.Queued != nil && f.c.Queued.Token == a.ID
		if ends[a.ID] == 0 && !inFlight {
			f.add(AttemptWithoutResult, a.At, "attempt %d", a.Number)
		}
	}
}

// closing is an entry that ends a notification.
type closing struct {
	state notice.State
	at    time.Time
	end   *ResultEntry // nil: it was cancelled while it waited
}

func (c *Chain) closings() []closing {
	var out []closing
	for i := range c.Ends {
		if e := &c.Ends[i]; e.Closes != "" {
			out = append(out, closing{e.Closes, e.At, e})
		}
	}
	for _, at := range c.Cancelled {
		out = append(out, closing{notice.Cancelled, at, nil})
	}
	return out
}

// end checks that the chain ended as it may, once, or goes on.
func (f *chainFindings) end() {
	c := f.c
	over := c.closings()
	switch {
	case len(over) == 0 && c.Queued == nil:
		f.add(ChainForgotten, c.Announced[0], "%d attempts, no end, and not in the queue", len(c.Attempts))
		return
	case len(over) == 0:
		f.waiting()
		return
	case len(over) > 1:
		f.add(ChainWentOn, over[1].at, "%d entries end it", len(over))
	case c.Queued != nil:
		f.add(ChainWentOn, over[0].at, "%s, and still in the queue", over[0].state)
	}
	last := over[0]
	if n := len(c.Attempts); n > 0 && last.before(c.Attempts[n-1]) {
		f.add(ChainWentOn, c.Attempts[n-1].At, "attempt %d after it was %s", c.Attempts[n-1].Number, last.state)
	}
	f.reason(last)
}

// before tells that an attempt began after the end: by its number where an attempt made the end.
func (c closing) before(t AttemptEntry) bool {
	if c.end != nil {
		return t.Number > c.end.Number
	}
	return t.At.After(c.at)
}

// reason checks that what ended a chain may end one.
func (f *chainFindings) reason(last closing) {
	c, e := f.c, last.end
	switch last.state {
	case notice.Delivered:
		if e == nil || !e.Outcome.Success() {
			f.add(ChainEndedEarly, last.at, "delivered without a success")
		}
	case notice.Exhausted:
		if e == nil || e.Number < c.most() || e.Outcome.Success() {
			f.add(ChainEndedEarly, last.at, "given up after attempt %d of %d", numberOf(e), c.most())
		}
	case notice.Cancelled:
		if c.Epoch > 0 && c.Push && c.PushEpoch <= c.Epoch {
			f.add(ChainEndedEarly, last.at, "cancelled, and its registration has not ended")
		}
	default:
		f.add(ChainEndedEarly, last.at, "ended as %q", last.state)
	}
}

func numberOf(e *ResultEntry) int {
	if e == nil {
		return 0
	}
	return e.Number
}

// waiting checks a notification that is not over.
func (f *chainFindings) waiting() {
	q := f.c.Queued
	if q.Attempts != len(f.c.Attempts) {
		f.add(NumberMissing, q.DueAt, "the queue counts %d attempts, the history has %d", q.Attempts, len(f.c.Attempts))
	}
	for _, e := range f.c.Ends {
		if !e.Late && e.Outcome.Success() {
			f.add(ChainWentOn, e.At, "attempt %d succeeded, and it is still in the queue", e.Number)
		}
	}
}
