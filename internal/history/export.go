package history

import (
	"time"

	"github.com/arauto/arauto/internal/notice"
)

// States of an export.
const (
	ExportWaiting = "waiting"
	ExportRunning = "running"
	ExportDone    = "done"
	ExportFailed  = "failed"
)

// Export is one that was asked for and is made in the background.
type Export struct {
	ID          notice.ID
	State       string
	Search      Search
	Format      string
	Size        int64 // of the log, by its checkpoint: fixed when it was asked for
	Caller      Actor
	RequestedAt time.Time
	Starts      int   // how often a replica began it
	Walked      int64 // positions of the log that were looked at
	Entries     int64 // in the file; once it is done
	Bytes       int64
	SHA256      string   // of the file, hexadecimal; once it is done
	Problem     string   // why it failed
	Complete    *bool    // of a bundle of a client's period: whether it was shown that nothing is missing; nil: not asked
	Notes       []string // of that verification
	EndedAt     time.Time
	ExpiresAt   time.Time // when the file goes

	Token notice.ID // of the maker; zero where it is only read
}
