package postgres

import (
	"sync"

	"github.com/jackc/pglogrepl"
)

// cut divides the transactions between the main lane and the fast lane, so that each is told by exactly one of them. A
// transaction is known by where its commit record begins; both lanes see transactions in that order.
//
//	main ────────────────┤from          until├──────────────▶
//	fast                 ├───────────────────┤
//
// from is where the fast lane's slot begins. until is decided when main, which passes over what lies between, meets a
// transaction that fast has not begun, and nothing that main told is on its way any more: from there on main tells again,
// and fast ends. Before, the end of the backlog would still stand between a fresh change and its commit.
type cut struct {
	mu          sync.Mutex
	from, until pglogrepl.LSN // 0: no fast lane; not decided
	main        pglogrepl.LSN // newest transaction main has begun
	fast        pglogrepl.LSN // newest transaction fast has begun
	inside      bool          // fast is within one
	stop        func()        // ends the fast lane between two transactions
	progress    *ackProgress  // of the fast lane
}

// open lets a fast lane begin. It returns false when main is there already.
func (c *cut) open(from pglogrepl.LSN, p *ackProgress, stop func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.main >= from {
		return false
	}
	c.from, c.until, c.fast, c.inside = from, 0, 0, false
	c.progress, c.stop = p, stop
	return true
}

// mainBegins reports whether a transaction is main's to tell. done says that nothing main told is on its way. decided is
// false when main would take over and that is not so: ask again, while fast may begin the transaction itself.
func (c *cut) mainBegins(final pglogrepl.LSN, done bool) (mains, decided bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.main = final
	switch {
	case c.from == 0 || final < c.from:
		return true, true
	case c.until != 0:
		return final >= c.until, true
	case final <= c.fast:
		return false, true
	case !done:
		return false, false
	}
	c.decide(final)
	return true, true
}

// mainIdle says that main has passed everything before a position, and done as for mainBegins.
func (c *cut) mainIdle(at pglogrepl.LSN, done bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.from != 0 && c.until == 0 && done && at >= c.from && at > c.fast {
		c.decide(max(c.from, c.fast+1))
	}
}

// decide gives main everything from a position on.
func (c *cut) decide(until pglogrepl.LSN) {
	c.until = until
	if !c.inside {
		c.stop()
	}
}

// fastBegins reports whether a transaction is fast's to tell.
func (c *cut) fastBegins(final pglogrepl.LSN) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if final < c.from || c.until != 0 && final >= c.until {
		return false
	}
	c.fast, c.inside = final, true
	return true
}

// fastEnds says that fast has come to the end of a transaction, and reports whether it was the last one.
func (c *cut) fastEnds() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inside = false
	return c.until != 0
}

// limit keeps main from acknowledging what fast has taken and what is not done.
func (c *cut) limit(acked pglogrepl.LSN) pglogrepl.LSN {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.from == 0 || acked <= c.from {
		return acked
	}
	fast, oldest := c.progress.state()
	if c.until != 0 && oldest.IsZero() {
		return acked // fast will take no more, and all it took is done
	}
	return min(acked, max(fast, c.from))
}

// free reports whether a fast lane may be opened: none is, and all that the last one took is done.
func (c *cut) free() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.from == 0 {
		return true
	}
	_, oldest := c.progress.state()
	return c.until != 0 && oldest.IsZero()
}
