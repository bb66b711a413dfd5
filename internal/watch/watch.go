// Package watch reads changes from the core's own database log or from its bus, and hands them to intake as the lines that
// the core could have sent. So a holder gets correct webhooks without touching the code that moves money.
//
// The path is one way. A Reader (packages postgres, kafka, nats, rabbitmq) knows an origin: how to connect, where reading
// stopped, how to acknowledge. It hands Records, rows or messages, to the Source that owns it. The Source
// applies the Mapping, a file of small expressions that says what a row means, and gives the resulting line to the Sink,
// which is intake. Only when that is committed on our side does the Reader acknowledge.
//
// What it guarantees: nothing is acknowledged before it is committed, so after any failure the origin sends it again; a
// repeated record has the same revision, so it is stored once; a row that cannot be mapped, or that fails by itself three
// times, goes to quarantine with its key and stops nothing; a table whose schema no longer fits stops alone, its rows kept in quarantine.
package watch

import (
	"context"
	"errors"
	"time"

	"github.com/arauto/arauto/internal/notice"
)

// Op is the kind of change of a row. Messages of a bus are Insert.
type Op string

// What can happen to a row.
const (
	Insert   Op = "insert"
	Update   Op = "update"
	Delete   Op = "delete"   // only the key's columns are known
	Snapshot Op = "snapshot" // read when the source was first connected
)

// SourceRecord is one row after a change, or one message, as an origin sent it.
type SourceRecord struct {
	Table  string         // as the mapping names it: "payments" or "app.payments"; a bus: topic, subject or queue
	Op     Op             //
	Values map[string]any // columns or members: nil, bool, string, json.Number, []any, map[string]any; instants as RFC 3339 text in UTC, local times without an offset
	Key    string         // for people: "payments id=4711", never a value beside the key

	Revision    int64     // strictly increasing per row, the same when told again; 0: the origin has none, the mapping must
	Position    string    // where in the origin's log, for people
	CommittedAt time.Time // when the core committed it, by the origin's clock; zero: unknown
	ReadAt      time.Time // of a first load: when the rows were as they are, by the origin's clock; zero otherwise
}

// at is what a mapping knows as committed_at: the commit, or of a first load, whose commits are not known, the reading.
func (r *SourceRecord) at() time.Time {
	if r.CommittedAt.IsZero() {
		return r.ReadAt
	}
	return r.CommittedAt
}

// Column is a column of a table, as a Reader describes it so that expressions can be checked.
type Column struct {
	Name string
	Type Type
	Key  bool // part of the primary key or replica identity
}

// Type is the type of a column's values in a SourceRecord.
type Type string

// The types of values.
const (
	Text    Type = "text" // also uuid, enums, bytea as base64, and numeric, which stays the text the database prints
	Number  Type = "number"
	Boolean Type = "boolean"
	Instant Type = "instant" // RFC 3339 text, or "" for an infinity
	Local   Type = "local"   // a day and time of an unknown zone, such as 2026-11-21T12:00:00; "" for an infinity
	Day     Type = "day"     // such as 2026-11-21; "" for an infinity
	JSON    Type = "json"    // any JSON value
)

// Lookup asks for related rows: those of Table whose Column has one of Keys. It reads the rows that are committed now.
type Lookup struct {
	Table, Column string
	Keys          []string
}

// ErrElsewhere means that another replica reads the origin. It is not a fault: the Reader is called again within a second,
// so that it takes over soon when the other one dies.
var ErrElsewhere = errors.New("another replica reads this origin")

// Missing is the value in SourceRecord.Values for one that the row has, but that the origin did not send and that could not be
// fetched. It is not null: a record goes to quarantine if the mapping reads a Missing value.
type Missing struct{}

// Reader reads one origin. Its methods are called by one goroutine, except Describe and Find, which may be called at
// any time.
type Reader interface {
	// Read connects, hands over everything from where the origin remembers us, and goes on until ctx ends (nil) or the
	// origin is lost (an error; it will be called again). ErrElsewhere: another replica reads this origin.
	Read(ctx context.Context, to Hand) error
	// Describe lists the columns of the tables named; a table that is not there is missing from the map. nil: the origin
	// has no schema.
	Describe(ctx context.Context, tables []string) (map[string][]Column, error)
	// Find answers a Lookup: rows by the text of the key. An origin without tables answers with an error.
	Find(ctx context.Context, l Lookup) (map[string]map[string]any, error)
	// Check tells what would keep Read from working: rights, publication, slot, topic. It changes nothing.
	Check(ctx context.Context) []error
	Close()
}

// Remark is a fact about an origin that an operator should know. It does not keep a Reader from working.
type Remark struct {
	Text    string // what the fact is, where, and what would be right
	Warning bool   // the origin may lose records; else the remark is a note
}

// Remarker is a Reader that also reports remarks. arauto check prints them.
type Remarker interface {
	// Remarks asks the origin for its properties and changes nothing. A property that cannot be read is reported as unknown.
	Remarks(ctx context.Context) []Remark
}

// Sampler is a Reader whose origin keeps rows. It shows some of them without following anything, so that a mapping can be tried.
type Sampler interface {
	// Newest returns at most so many rows of a table, in the form in which the origin would send them, the newest first as far
	// as the origin can tell them apart. It changes nothing.
	Newest(ctx context.Context, table string, most int) ([]map[string]any, error)
}

// Hand takes the records of a Reader.
type Hand interface {
	// Take takes records in order and waits while too many are uncommitted. done is called once, in the order of the
	// calls of Take, after all of them are committed or in quarantine; it must be quick, and may be called until shortly
	// after Read returned. An error ends Read. The slice may be used again when Take returns, the records' Values not.
	Take(ctx context.Context, records []SourceRecord, done func()) error
	// Schema says that a table now has these columns. Tables whose mapping does not fit stop alone.
	Schema(table string, columns []Column)
	// Lag says how far behind the origin's newest commit we are: bytes (-1: unknown, or does not apply) and time (negative:
	// unknown).
	Lag(bytes int64, behind time.Duration)
}

// PendingRecord is a change that waits for its commit.
type PendingRecord interface {
	// Wait answers when it is committed or could not be. An error means that nothing can be said; telling it again is safe.
	// With ErrAlone it would fail again.
	Wait(ctx context.Context) (notice.Verdict, error)
}

// RefusedRecord is the error of a Sink or a Registrar that will never accept the given record: it goes to quarantine with these
// problems. After any other error the same record may be handed over again.
type RefusedRecord struct{ Problems []notice.Problem }

// Error names the first problem.
func (r *RefusedRecord) Error() string {
	if len(r.Problems) == 0 {
		return "refused"
	}
	return "refused: " + r.Problems[0].Detail
}

// Told is the origin of a line.
type Told struct {
	Source string
	// Record gives what the line was made from, as an Envelope: what goes to quarantine if the change does, so that it can be
	// mapped again. It may be called until the commit.
	Record      func() []byte
	CommittedAt time.Time // by the origin's clock: from then on the change was ours to announce; zero: unknown, or a first load
}

// Sink accepts lines; package intake implements it.
type Sink interface {
	// Enqueue hands over one change as the line the core could have sent. It waits for room. A *RefusedRecord says that the line is no change at all; nothing of it is stored. ErrAlone: see there.
	Enqueue(ctx context.Context, line []byte, from Told) (PendingRecord, error)
	// Reject puts a record aside that could not be made a change: it goes to quarantine with its key and problems.
	Reject(ctx context.Context, r Rejected) (PendingRecord, error)
}

// Rejected is a record that could not be mapped.
type Rejected struct {
	Source     string
	Kind       string // of the resource, as far as known
	Brand      string // that the mapping names for it; "": none, or not known
	ResourceID string // the resource's id where it could be told, else the row's key
	Client     notice.ClientID
	Revision   int64
	Line       []byte // the record as an Envelope, so that it can be mapped again
	Problems   []notice.Problem
}

// Registration is one row of the authorization server's table of clients.
type Registration struct {
	Brand          string // that the mapping names; "": none
	Client         notice.ClientID
	OrganisationID string
	SoftwareID     string
	Name           string
	WebhookURIs    []string // nil or empty: push is off
	Statement      string   // the software statement as received at registration; "": the server does not keep it
	Checked        bool     // the mapping's author vouches that the server verified a statement it did not keep
}

// Registrar stores registrations; package registry implements it. A *RefusedRecord means that the registration breaks a rule.
// Deleting an unknown client is not an error.
type Registrar interface {
	Put(ctx context.Context, source string, r Registration) error
	// Delete ends a registration. Where the mapping names a brand, its name stands before the client's id (package brand).
	Delete(ctx context.Context, source string, client notice.ClientID) error
}
