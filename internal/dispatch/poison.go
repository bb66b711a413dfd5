package dispatch

import (
	"time"

	"github.com/arauto/arauto/internal/failure"
)

// batchLimit says how many may share one call of the queue. A call that fails is tried again with fewer, until the one that
// is to blame stands alone; success brings the number back.
type batchLimit struct {
	size, limit int
}

func newBatchLimit(limit int) batchLimit { return batchLimit{size: limit, limit: limit} }

// failed notes that a call shared by n failed.
func (c *batchLimit) failed(n int) { c.size = max(1, min(c.size, n/8)) }

// worked notes that a call succeeded.
func (c *batchLimit) worked() { c.size = min(c.limit, c.size*8) }

// poison is the record of a lane or a result that made a call fail although it was alone in it.
type poison struct {
	failures int
	since    time.Time // of the first failure
	isolated bool      // it no longer speaks for the database, and is tried only alone
	until    time.Time // when it is tried again, if aside
}

// failedAlone notes one more failure. The suspect is put aside when others succeeded since its first one (at the instant
// others), or when it goes on for so long on a database that answers. The second does not hold when the database itself is
// to blame for err, as after a REVOKE: then nobody is.
func (s *poison) failedAlone(now, others time.Time, err error) {
	s.failures++
	if s.failures == 1 {
		s.since = now
	}
	if s.failures > 1 && (others.After(s.since) || !ofDatabase(err) && now.Sub(s.since) >= quiet) {
		s.isolated = true
		s.until = now.Add(min(time.Second<<min(s.failures-2, 4), 5*time.Second))
	}
}

// ofDatabase reports whether the queue says of a failure that no row is to blame for it. A held lock may be of one row.
func ofDatabase(err error) bool {
	return failure.Transient(err) && !failure.Contended(err)
}
