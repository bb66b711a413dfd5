package notice

import (
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/arauto/arauto/internal/ofb"
)

// Change is one change of a resource, decoded and checked, as every source hands it in.
type Change struct {
	ID         ID // of the change, UUID v7
	Kind       ofb.Kind
	ResourceID string
	Client     ClientID
	APIVersion string
	Revision   int64 // the core's, > 0
	OccurredAt time.Time
	Original   string // occurredAt as it was written, kept as evidence
	Cause      ofb.Cause
	NotBefore  time.Time // zero: none; never later than OccurredAt + FirstWithin
	State      ofb.ResourceState
	Document   []byte     // data, as the bytes received: a part of the line
	ConsentID  string     // of the consent a payment belongs to, "" for other kinds
	EndToEnd   string     // the end-to-end id of a payment, of 64 bytes at most and else unchecked, "" for other kinds
	CNPJ       string     // of the initiator whom a payment names, likewise
	Timer      *ofb.Timer // the deadline the rules set for this document; nil: none

	Source     string // "api", a source's name, or "quarantine"
	Actor      string // who handed it in
	Address    string // from which address and port; "" where it came over no connection of ours
	Line       []byte // the whole line, kept only if it goes to quarantine
	Problems   []Problem
	ReceivedAt time.Time // monotonic, of this process

	Unread        []string  // watched members, by pointer inside data, whose value such a document does not tell
	Nonconforming []Problem // what the API's schema refuses in Document although the notification does not need it; only without Problems

	Quarantine  ID        // the case being applied, zero otherwise
	FirstAt     time.Time // database clock: since when this change was ours to announce: of a case, its first receipt; of a timer's, its deadline; zero otherwise
	CommittedAt time.Time // by the clock of the followed origin; zero: it came by itself, or the origin does not tell
}

// Key names the resource of a change.
type Key struct {
	Kind ofb.Kind
	ID   string
}

// Key of the change's resource.
func (c *Change) Key() Key { return Key{c.Kind, c.ResourceID} }

// CaseID names the quarantine case of this very content: the same line about the same revision is the same case however
// often it comes. It is a UUID of version 8 over kind, id, revision and line.
func (c *Change) CaseID() ID {
	h := sha256.New()
	fmt.Fprintf(h, "%d %d:%s %d ", c.Kind, len(c.ResourceID), c.ResourceID, c.Revision)
	h.Write(c.Line)
	id := ID(h.Sum(nil)[:16])
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	return id
}

// Problem says what is wrong with a change, and where.
type Problem struct {
	Pointer  string `json:"pointer"` // JSON pointer into the line, "" for the whole
	Code     string `json:"code"`
	Detail   string `json:"detail"`              // English; never repeats a value received
	DetailPT string `json:"detail_pt,omitempty"` // Portuguese
}

// Revision is what is kept of a revision once accepted.
type Revision struct {
	Number       int64
	ChangeID     ID
	State        ofb.ResourceState
	Cause        ofb.Cause
	OccurredAt   time.Time
	Notification ID          // zero: silent
	Silence      ofb.Silence // why, when it is
}

// Resource is what is current.
type Resource struct {
	Client     ClientID
	APIVersion string
	Revision   int64 // the core's highest
	State      ofb.ResourceState
	Announced  uint64 // bit set over Kind.Statuses(): the states announced so far
	OccurredAt time.Time
	TimerAt    time.Time // deadline of the timer that made the current state; zero: the core made it
}

// Past is what is stored about a change's resource when the change is judged; all of it is locked until the decision
// is stored.
type Past struct {
	Resource       *Resource // nil: the resource is new
	Same           *Revision // this very revision, already stored
	Before         *Revision // highest stored revision below
	After          *Revision // lowest stored revision above; nil unless the change is late
	AnnouncedLater bool      // After was announced by a later decision of its own
	Push           bool      // the client has a registration with a URI
	Unregistered   bool      // the client has no registration at all
	Epoch          int64     // its registration period
	BaseURI        string    // its first URI
	Now            time.Time // database clock: when the transaction began
	Asked          time.Time // this process's monotonic instant from before that; zero: not known
	Dense          bool      // the database is written in the form that versions before the migration current_revision do not find
	Packed         bool      // documents are stored packed, which versions before the migration packed_documents cannot read
}

// Verdict names what became of a change.
type Verdict string

// The verdicts on a change; the first three are the outcomes of the outside contract.
const (
	Applied     Verdict = "applied"
	Duplicate   Verdict = "duplicate"
	Superseded  Verdict = "superseded"
	Conflicting Verdict = "conflict"
	Quarantined Verdict = "quarantined"
)

// Decision is what is to be stored for one change.
type Decision struct {
	Verdict  Verdict
	Why      string    // of a conflict: "content", "owner", "version", "superseded-case"
	Problems []Problem // of a quarantined change

	Current  bool          // the change becomes the resource's current document
	From     ofb.Status    // the state it was judged from, "" for a first change
	Fields   []string      // watched fields that differ
	Judged   ofb.Ruling    // which clause announces it, or which silence applies
	Announce *Announcement // nil: silent
	Rejudged *Announcement // the next stored revision, judged again, must be told after all

	Earlier   *Revision  // of a duplicate: what was stored then
	Announced uint64     // the resource's set afterwards
	Timer     *ofb.Timer // next deadline of the resource when Current
	Overruled time.Time  // deadline of a timer whose change this one overrules
}

// Announcement is a notification about to be stored.
type Announcement struct {
	Notification
	OccurredAt time.Time
	NotBefore  time.Time // zero: at once
	Clause     string
	First      *Attempt      // the first attempt, stored in this commit with its flight; nil: a claim takes it from the queue
	Lease      time.Duration // of First
}
