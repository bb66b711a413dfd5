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

// Why an export ends without a file, in English, as it is stored, and in Portuguese.
var (
	ExportTooLarge = [2]string{
		"the file would be larger than 1 GiB: narrow the filter, or use arauto audit export",
		"o arquivo passaria de 1 GiB: restrinja o filtro, ou use arauto audit export",
	}
	ExportsTooMuch = [2]string{
		"exports take 4 GiB together: delete one, or use arauto audit export",
		"as exportações somam 4 GiB: apague uma, ou use arauto audit export",
	}
)

// ProblemIn is why an export failed, in Portuguese where there is such a text, else in English.
func (e *Export) ProblemIn(portuguese bool) string {
	for _, known := range [][2]string{ExportTooLarge, ExportsTooMuch} {
		if portuguese && e.Problem == known[0] {
			return known[1]
		}
	}
	return e.Problem
}

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
