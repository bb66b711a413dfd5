package auditlog

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/arauto/arauto/internal/audit"
)

// strayWindow is how far back a sealing looks for strays, if there are at most strayEntries. Sealing runs every 5 s, so each entry is
// looked at about three times. Older strays are found by verification and by the reads that meet them.
const strayWindow = 15 * time.Second

// strayEntries bounds how many positions a sealing counts among. At full speed strayWindow has more, and counting among all of them was a
// twentieth of what the database did.
const strayEntries = 4 * SealBatch

// recentCheckpoints bounds the search for the newest checkpoint that is older than strayWindow.
const recentCheckpoints = 1000

// strays counts entries that stand at or before the last position and have none. The sealer never takes them: it goes
// forward from the last position.
//
// It counts the entries among the positions that were sealed in the last strayWindow, at most strayEntries, whatever their time, and compares
// recent entries that stand before strayWindow with the log. While entries are left to be sealed, it counts among the last
// SealBatch positions only, so that what a batch costs does not depend on how many wait.
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
	first := max(0, w.last.Size-SealBatch)
	if !w.out.More {
		err := w.tx.QueryRow(ctx, `SELECT coalesce(max(size) FILTER (WHERE at < now() - $2::interval), CASE WHEN count(*) = $3 THEN min(size) ELSE 0 END)
FROM (SELECT size, at FROM log_checkpoint WHERE size <= $1 ORDER BY size DESC LIMIT $3) recent`, w.last.Size, strayWindow, recentCheckpoints).Scan(&first)
		if err != nil {
			return err
		}
	}
	counted := max(first, w.last.Size-strayEntries)
	after, err := placeBefore(ctx, w.tx, counted)
	if err != nil {
		return err
	}
	var there int64
	err = inOrder(ctx, w.tx, func() error {
		return w.tx.QueryRow(ctx, "SELECT count(*) FROM entry WHERE "+betweenPlaces,
			after.xid, [16]byte(after.id), w.from.xid, [16]byte(w.from.id)).Scan(&there)
	})
	if err != nil {
		return err
	}
	w.out.Strays = max(0, there-(w.last.Size-counted)) // of removed months there are positions alone
	if w.out.More {
		return nil
	}
	if after, err = placeBefore(ctx, w.tx, first); err != nil {
		return err
	}
	return w.misplaced(ctx, after)
}

// misplacedSQL reads recent entries at or before a place. It names the period itself, so that each plan knows how short that is.
var misplacedSQL = entrySelect + fmt.Sprintf("WHERE at >= now() - interval '%d s' AND xid <= $1 AND (xid, id) <= ($1, $2) LIMIT $3", int(strayWindow.Seconds()))

// misplaced counts recent entries at or before a place that was sealed earlier. There are none, unless the clock was set
// back or somebody put them in, so each is compared with the log.
func (w *sealing) misplaced(ctx context.Context, upTo cursor) error {
	entries, err := queryEntries(ctx, w.tx, misplacedSQL, upTo.xid, [16]byte(upTo.id), SealBatch)
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
