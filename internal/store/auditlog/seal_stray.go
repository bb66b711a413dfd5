package auditlog

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/arauto/arauto/internal/audit"
)

// strayWindow is how far back a sealing looks for strays. Older ones are found by verification and by the reads that meet them.
const strayWindow = 15 * time.Second

// strayEvery is the least time between two counts: a little less than that between two rounds of the sealer.
const strayEvery = 4 * time.Second

// recentCheckpoints bounds the search for the newest checkpoint that is older than strayWindow.
const recentCheckpoints = 1000

// strayLook is what a process remembers of the last time it counted: positions before upTo were counted. Those before seen, the end of the
// log then, are counted the next time.
type strayLook struct {
	upTo, seen int64
	at         time.Time // by our clock
}

// strays counts entries that stand at or before the last position and have none. The sealer never takes them: it goes
// forward from the last position.
//
// It counts the entries among the positions that were there when it counted last, whatever their time: so each position is counted once, and
// a stray that came up to strayEvery after its place was sealed is found. A process that did not count lately counts at once what it has not
// counted of strayWindow, and again the next time. Recent entries that stand before strayWindow are compared with the log.
func (w *sealing) strays(ctx context.Context) error {
	if w.last.Size == 0 {
		return nil
	}
	if err := w.lookForStrays(ctx); err != nil {
		return fmt.Errorf("look for strays: %w", err)
	}
	return nil
}

func (w *sealing) lookForStrays(ctx context.Context) error {
	due := time.Since(w.counted.at) >= strayEvery
	if w.out.More && !due {
		return nil
	}
	var first int64 // of strayWindow
	err := w.tx.QueryRow(ctx, `SELECT coalesce(max(size) FILTER (WHERE at < now() - $2::interval), CASE WHEN count(*) = $3 THEN min(size) ELSE 0 END)
FROM (SELECT size, at FROM log_checkpoint WHERE size <= $1 ORDER BY size DESC LIMIT $3) recent`, w.last.Size, strayWindow, recentCheckpoints).Scan(&first)
	if err == nil && due {
		err = w.countFrom(ctx, first)
	}
	if err != nil || w.out.More {
		return err
	}
	before, err := placeBefore(ctx, w.tx, first)
	if err != nil {
		return err
	}
	return w.misplaced(ctx, before)
}

// countFrom counts among positions from first on what is to be counted now.
func (w *sealing) countFrom(ctx context.Context, first int64) error {
	if w.counted.seen > w.last.Size { // the log was set back
		w.counted = strayLook{}
	}
	from, to := max(first, w.counted.upTo), w.counted.seen
	next := strayLook{upTo: max(from, to), seen: w.last.Size, at: time.Now()}
	if next.at.Sub(w.counted.at) > strayWindow/2 { // another replica sealed meanwhile, a round was slow, or this process has not counted yet
		to, next.upTo = w.last.Size, from
	}
	w.counted = next
	return w.count(ctx, from, to)
}

// count compares how many entries there are among positions with how many there are to be.
func (w *sealing) count(ctx context.Context, from, to int64) error {
	if from >= to {
		return nil
	}
	after, err := placeBefore(ctx, w.tx, from)
	if err != nil {
		return err
	}
	last, err := placeBefore(ctx, w.tx, to)
	if err != nil {
		return err
	}
	var there int64
	err = inOrder(ctx, w.tx, func() error {
		return w.tx.QueryRow(ctx, "SELECT count(*) FROM entry WHERE "+betweenPlaces,
			after.xid, [16]byte(after.id), last.xid, [16]byte(last.id)).Scan(&there)
	})
	w.out.Strays = max(0, there-(to-from)) // of removed months there are positions alone
	return err
}

// misplacedSQL reads recent entries at or before a place. It names the period itself, so that each plan knows how short that is.
var misplacedSQL = entrySelect + fmt.Sprintf("WHERE at >= now() - interval '%d s' AND xid <= $1 AND (xid, id) <= ($1, $2) LIMIT $3", int(strayWindow.Seconds()))

// misplacedMost is how many recent entries are compared at once.
const misplacedMost = 8_000

// misplaced counts recent entries at or before a place that was sealed earlier. There are none, unless the clock was set
// back or somebody put them in, so each is compared with the log.
func (w *sealing) misplaced(ctx context.Context, upTo cursor) error {
	entries, err := queryEntries(ctx, w.tx, misplacedSQL, upTo.xid, [16]byte(upTo.id), misplacedMost)
	if err != nil {
		return err
	}
	c, err := compareNow(ctx, w.tx, entries, 0)
	if err != nil {
		return err
	}
	for _, s := range c.states {
		if s.failed != "" {
			w.out.Strays++
		}
	}
	return nil
}

// distinct keeps one of several entries that claim the same place, and counts the others as strays. Two positions in one
// place would break the order of the log irreparably.
func (w *sealing) distinct(entries []audit.Entry) []audit.Entry {
	n := len(entries)
	entries = slices.CompactFunc(entries, func(a, b audit.Entry) bool { return placed(&a) == placed(&b) })
	w.out.Strays += int64(n - len(entries))
	return entries
}
