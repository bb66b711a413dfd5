package watch

import (
	"context"
	"maps"
	"slices"
	"time"
)

// SourceState is the state of a source at this replica.
type SourceState string

// The states of a source.
const (
	Connecting SourceState = "connecting" // nothing was read yet
	Running    SourceState = "running"
	Standby    SourceState = "standby" // another replica reads it
	Paused     SourceState = "paused"  // by an operator
	Waiting    SourceState = "waiting" // the origin is lost, or something failed; it is tried again
)

// RecordOutcome is the fate of a record.
type RecordOutcome string

// The outcomes of records.
const (
	Stored      RecordOutcome = "stored"
	Silent      RecordOutcome = "duplicate" // told before
	Conflict    RecordOutcome = "conflict"  // told before with other content
	Skipped     RecordOutcome = "skipped"   // the mapping passes over it
	Quarantined RecordOutcome = "quarantined"
	Registered  RecordOutcome = "registered" // of an initiator, stored or deleted
)

// SourceStatus is the state of a source at this replica with its figures, for people.
type SourceStatus struct {
	Source       string          `json:"source"`
	Type         string          `json:"type"`
	State        SourceState     `json:"state"`
	Position     string          `json:"position"`           // of the newest record that is committed here
	Halted       bool            `json:"halted"`             // it is not read until a person decides how it goes on
	Findings     []SourceFinding `json:"findings,omitempty"` // of which each must be accepted or mended before it is read
	LagBytes     int64           `json:"lagBytes"`           // -1: unknown, or the origin does not tell
	LagSeconds   *float64        `json:"lagSeconds"`         // nil: unknown, as it is while nothing is read
	LastCommitAt time.Time       `json:"lastCommitAt,omitzero"`
	Counts       Counts          `json:"counts"` // since this replica began
	Stopped      []Stopped       `json:"stopped"`
	LastError    string          `json:"lastError"`
	LastErrorAt  time.Time       `json:"lastErrorAt,omitzero"`
	UpdatedAt    time.Time       `json:"updatedAt"`
}

// Counts of records. Read counts records; the others what their mappings made of them.
type Counts struct {
	Read          int64 `json:"read"`
	Stored        int64 `json:"stored"`
	Duplicates    int64 `json:"duplicates"`
	Conflicts     int64 `json:"conflicts"`
	Skipped       int64 `json:"skipped"`
	Quarantined   int64 `json:"quarantined"`
	Registrations int64 `json:"registrations"`
}

// Stopped is a table whose rows go to quarantine, because a mapping does not fit it.
type Stopped struct {
	Table string   `json:"table"`
	Why   []string `json:"why"`
}

// SourceFinding is one reason why rows may be missing, which a person can accept.
type SourceFinding struct {
	Code   string `json:"code"` // 8 hexadecimal digits: it fits this finding and no other
	Text   string `json:"text"`
	TextPT string `json:"textPt,omitempty"` // the same in Portuguese
}

// Reading reports whether this replica reads the source.
func (s SourceStatus) Reading() bool { return s.State == Running }

// Control stores the operators' wishes for all replicas. Package store implements it.
type Control interface {
	// Paused reports whether an operator paused the source.
	Paused(ctx context.Context, source string) (bool, error)
	// Report keeps how the source stands here. Every replica reports; the word of the one that reads it counts.
	Report(ctx context.Context, s SourceStatus) error
}

// Observer receives a source's events for metrics. Its methods must be quick and safe for concurrent use.
type Observer interface {
	Outcome(source, table string, o RecordOutcome)
	// Committed reports how long after the core's commit ours was; only where the origin tells its own.
	Committed(source string, after time.Duration)
	// Lag reports how far behind the origin a source is: bytes (-1: unknown, or the origin does not tell) and time (negative:
	// unknown).
	Lag(source string, bytes int64, behind time.Duration)
	// Failed reports that a record failed by itself, while others were stored; after three times it is put aside.
	Failed(source, table string)
	State(source string, s SourceState)
	Stopped(source, table string, stopped bool)
}

type nobody struct{}

func (nobody) Outcome(string, string, RecordOutcome)        {}
func (nobody) Committed(string, time.Duration)              {}
func (nobody) Lag(string, int64, time.Duration)             {}
func (nobody) Failed(string, string)                        {}
func (nobody) State(string, SourceState)                    {}
func (nobody) Stopped(string, string, bool)                 {}
func (nobody) Paused(context.Context, string) (bool, error) { return false, nil }
func (nobody) Report(context.Context, SourceStatus) error   { return nil }

// Status returns the source's present state; it may be called at any time.
func (s *Source) Status() SourceStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.status
	out.Stopped = []Stopped{}
	for _, table := range slices.Sorted(maps.Keys(s.stopped)) {
		out.Stopped = append(out.Stopped, Stopped{table, slices.Clone(s.stopped[table])})
	}
	if r, tells := s.reader.(interface{ Halted() bool }); tells {
		out.Halted = r.Halted()
	}
	if r, tells := s.reader.(interface{ Findings() []SourceFinding }); tells {
		out.Findings = r.Findings()
	}
	out.UpdatedAt = time.Now()
	return out
}

// Behind returns for how long the core may have committed records that were not read. It starts from 0 when the Source is
// made, and grows while the origin is not read or does not tell its lag.
func (s *Source) Behind() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Since(s.upTo)
}

// become changes the state.
func (s *Source) become(state SourceState) {
	s.mu.Lock()
	same := s.status.State == state
	s.status.State = state
	s.mu.Unlock()
	if !same {
		s.observer.State(s.mapping.Source, state)
	}
}

// unknownTime is a lag in time that is not known.
const unknownTime = -time.Second

// lag keeps and reports how far behind the origin the source is: bytes -1 and a negative time are unknown.
func (s *Source) lag(bytes int64, behind time.Duration) {
	s.mu.Lock()
	s.status.LagBytes, s.status.LagSeconds = bytes, nil
	if behind >= 0 {
		seconds := behind.Seconds()
		s.status.LagSeconds = &seconds
		s.upTo = time.Now().Add(-behind)
	}
	s.mu.Unlock()
	s.observer.Lag(s.mapping.Source, bytes, behind)
}

// failed remembers an error.
func (s *Source) failed(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.LastError, s.status.LastErrorAt = err.Error(), time.Now()
}

// skipRule is a rule by which a record is passed over: what is acknowledged and makes nothing is counted by it.
type skipRule string

// The rules. A reader may have more of its own.
const (
	skipWhen     skipRule = "when"       // the mapping's `when` is false
	skipDeleted  skipRule = "deleted"    // the row is gone, and no state follows from that
	skipUnmapped skipRule = "not-mapped" // the origin tells of a table that the mapping has not
)

// Skips returns how many records were skipped since the Source was made, by rule; every rule is listed.
func (s *Source) Skips() map[string]int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[string]int64{}
	for _, rule := range []skipRule{skipWhen, skipDeleted, skipUnmapped} {
		all[string(rule)] = s.skips[rule]
	}
	return all
}

// skip counts a record that is passed over.
func (s *Source) skip(table string, by skipRule) {
	s.mu.Lock()
	s.skips[by]++
	s.mu.Unlock()
	s.count(table, Skipped)
}

func (s *Source) count(table string, o RecordOutcome) {
	s.mu.Lock()
	c := &s.status.Counts
	switch o {
	case Stored:
		c.Stored++
	case Silent:
		c.Duplicates++
	case Conflict:
		c.Conflicts++
	case Skipped:
		c.Skipped++
	case Quarantined:
		c.Quarantined++
	case Registered:
		c.Registrations++
	}
	s.mu.Unlock()
	s.observer.Outcome(s.mapping.Source, table, o)
}
