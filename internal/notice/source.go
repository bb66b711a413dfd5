package notice

import "time"

// Source is what is kept of a source of changes: whether it may read, and what the replica that reads it told last.
type Source struct {
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
