package notice

import "time"

// StoredSource is what is kept of a source of changes: whether it may read, and what the replica that reads it told last.
type StoredSource struct {
	Name string

	Paused    bool
	PausedBy  string    // who paused or resumed it last; "" when nobody ever did
	PausedWhy string    // and why
	PausedAt  time.Time // and when; zero when nobody ever did

	Status     []byte // a JSON object, as the replica told it
	Reading    bool   // that replica was reading the origin then
	Replica    string // "" before the first report
	ReportedAt time.Time
	Age        time.Duration // of the report, by the database's clock
}

// AcceptedFinding is a finding that stopped a source and that a person accepted, so that the source goes on.
type AcceptedFinding struct {
	Source  string
	Finding string // 8 hexadecimal digits, as the source's error names it
	By      string
	Reason  string
}

// FollowedSource is a source of the settings with what is kept of it.
type FollowedSource struct {
	StoredSource
	Origin  string // "postgres", "kafka", …
	Running bool   // a replica reported within seconds that it reads it
}
