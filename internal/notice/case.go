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
	State      string // one of the constants below
	ClosedBy   string
	ClosedWhy  string
	ClosedAt   time.Time // zero while open
}

// The states of a case. All but CaseOpen hold no line.
const (
	CaseOpen          = "open"          // the change was refused and waits for a person
	CaseNonconforming = "nonconforming" // the change is stored and told; its document does not conform to the API's schema
	CaseApplied       = "applied"       // the change was accepted after all
	CaseDismissed     = "dismissed"     // a person closed the case, or a change of its revision or a higher one did
)

// CaseCount is how many cases of one source and state are in quarantine.
type CaseCount struct {
	Source string        // "api", or the name of a source that is followed
	State  string        // CaseOpen or CaseNonconforming
	Cases  int64         // more than none
	Bytes  int64         // of the lines as they were received; cases that do not wait for a decision have none
	Oldest time.Duration // since the first of them came
}

// Remapped is what the mapping makes of the record of a Case now. All empty: the case holds no record but a line of its own.
type Remapped struct {
	Line       []byte    // the change
	Registered bool      // it was a registration, and is stored; the case is to be closed
	Skipped    bool      // the mapping skips such records now
	Problems   []Problem // it still cannot be mapped, or accepted
}

// CaseFilter says which open cases are meant. Zero members restrict nothing.
type CaseFilter struct {
	Client ClientID
	Kind   string
	Source string
	Code   string // of one of its problems
	State  string // "": CaseOpen
}
