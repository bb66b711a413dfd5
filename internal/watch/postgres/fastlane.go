package postgres

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/jackc/pglogrepl"
)

// A slot is read in order, so a change that is committed now waits behind a backlog: minutes, after an outage. What the
// rule wants is that it leaves within 1.5 s (webhook §4.1). So when the stream is late, a second one begins at the
// present, from a temporary slot, and its records go first. A row told by both may be told the newer change first: its
// revision is higher, and intake judges a late revision from its own predecessor.
//
// When main comes to where fast began, it passes over what fast has told, until it has caught up and what it told itself
// is done, and goes on alone (see cut). A lane costs the server a connection and a few milliseconds to make its slot, and
// then decodes what is fresh once more; so it opens early, at half of the rule's 1.5 s. The server is never told a position beyond what both have done, so a crash at any moment costs repetitions only.

// opening is the outcome of an attempt to open a fast lane. No lane and no error: it is not needed any more.
type opening struct {
	lane *slotStream
	err  error
	at   pglogrepl.LSN
}

// afterFailure is the pause after an attempt to open a fast lane that failed, for want of a free slot, say: not worth a try
// each moment.
const afterFailure = time.Minute

// openFast makes a temporary slot and starts a lane from it. Creating a slot waits for the transactions that are open.
func (s *session) openFast(ctx context.Context) opening {
	connection, err := s.replication(ctx)
	if err != nil {
		return opening{err: err}
	}
	defer closeConnection(connection) // nothing, once a lane has taken it over
	var suffix [4]byte
	_, _ = rand.Read(suffix[:])
	name := s.config.Slot + "_now_" + hex.EncodeToString(suffix[:])
	made, err := pglogrepl.CreateReplicationSlot(ctx, connection, name, "pgoutput",
		pglogrepl.CreateReplicationSlotOptions{Temporary: true, SnapshotAction: "NOEXPORT_SNAPSHOT"})
	if err != nil {
		return opening{err: fmt.Errorf("create the temporary slot %s: %w", name, err)}
	}
	from, err := pglogrepl.ParseLSN(made.ConsistentPoint)
	if err != nil {
		return opening{err: err}
	}
	fast := newFast(s.main)
	if err := fast.start(ctx, connection, name, from); err != nil {
		return opening{err: fmt.Errorf("follow the temporary slot %s: %w", name, err)}
	}
	if !s.main.cut.open(from, &fast.progress, func() { fast.ended.Store(true); _ = fast.wire.Close() }) {
		_ = fast.wire.Close()
		return opening{}
	}
	return opening{lane: fast, at: from}
}
