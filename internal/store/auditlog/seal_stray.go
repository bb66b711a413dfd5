package auditlog

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/arauto/arauto/internal/audit"
)

// strayWindow is how far back each sealing looks for strays. Sealing runs every 5 s, so each entry is looked at about
// three times. Strays with an older time are found by verification and by the reads that meet them.
const strayWindow = 15 * time.Second

// strays counts entries of the last seconds that stand at or before the last position and have none. The sealer never
// takes them: it goes forward from the last position.
func (w *sealing) strays(ctx context.Context) error {
	if w.last.Size == 0 {
		return nil
	}
	err := w.tx.QueryRow(ctx, `WITH since AS MATERIALIZED (SELECT now() - $4::interval AS at)
SELECT greatest(0, (SELECT count(*) FROM entry WHERE at >= (SELECT at FROM since) AND (xid, id) <= ($1, $2))
  - (SELECT count(*) FROM log_position WHERE at >= (SELECT at FROM since) AND seq < $3))`,
		w.from.xid, [16]byte(w.from.id), w.last.Size, strayWindow).Scan(&w.out.Strays)
	if err != nil {
		return fmt.Errorf("look for strays: %w", err)
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
