package notice

import "time"

// Case is a change in quarantine.
type Case struct {
	ID         ID
	Kind       string
	ResourceID string
	Revision   int64
	Client     ClientID
	Source     string
	Line       []byte // as received; nil once the case is closed
	Problems   []Problem
	Seen       int64
	FirstAt    time.Time
	LastAt     time.Time
	State      string // open, applied, dismissed
	ClosedBy   string
	ClosedWhy  string
	ClosedAt   time.Time // zero while open
}
