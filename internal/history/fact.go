// Package history says what the entries of the log mean: their kinds and facts, the filters of a search, and what they
// tell together of one notification or one resource. It turns facts into a Record (one notification with its attempts), a
// Timeline (everything about one resource) and the differences that the reconciliation looks for.
//
// It has no clock, no context and no I/O. It guarantees that the same entries give the same answer. It does not say
// whether something was on time: that is package timing.
package history

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/brand"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

// Kinds of entries. They are part of the audit format and are never renamed. The kinds of receipts are FactRefused and
// its neighbours.
const (
	FactChange              = "change"               // a change became current, or was stored as superseded, with its decision
	FactDecision            = "decision"             // a stored change was judged again after a late revision
	FactDuplicate           = "duplicate"            // the same change came again
	FactConflict            = "conflict"             // a change contradicts what is stored
	FactAttempt             = "attempt"              // an attempt was recorded, before it was sent; see FirstFacts for another place of attempt 1
	FactResult              = "result"               // an attempt ended
	FactLateResult          = "late-result"          // an attempt's end came after its rescue
	FactCancelled           = "cancelled"            // a waiting notification was cancelled
	FactResend              = "resend"               // an operator or an initiator asked for one more POST
	FactAcknowledged        = "acknowledged"         // an initiator said what became of a notification at its side
	FactRegistered          = "registered"           // a registration was put or removed
	FactRegistrationRefused = "registration-refused" // a registration was judged and not stored (cases K5)
	FactErasure             = "erasure"              // the document of a resource was erased after its time
	FactAdmin               = "admin"                // an administrative act
	FactVerification        = "verification"         // a verification of the log ended
	FactReconciliation      = "reconciliation"       // a reconciliation of the history ended
	FactStart               = "start"                // a replica started, with these settings
	FactReload              = "reload"               // a replica read a certificate, key, list or key set again while it ran
)

// Fact is one entry of the history, as far as it tells of a notification. A zero member is NULL.
type Fact struct {
	ID           notice.ID
	At           time.Time
	Kind         string
	Client       notice.ClientID
	ResourceKind ofb.Kind
	ResourceID   string
	Revision     int64
	Notification notice.ID
	Change       notice.ID // where it is not the entry itself
	Interaction  notice.ID
	Number       int
	Outcome      notice.Outcome
	Closes       notice.State
	Facts        []byte // JSON
	Private      []byte // JSON: PrivateFacts; empty: none
}

// FactOf is an entry of the log as a fact.
func FactOf(e *audit.Entry) Fact {
	return Fact{
		ID: e.ID, At: e.At.Time(), Kind: e.Kind, Client: notice.ClientID(audit.Value(e.ClientID)), ResourceKind: ofb.Kind(audit.Value(e.ResourceKind)),
		ResourceID: audit.Value(e.ResourceID), Revision: audit.Value(e.Revision), Notification: audit.Value(e.NotificationID), Change: audit.Value(e.ChangeID),
		Interaction: audit.Value(e.InteractionID), Number: int(audit.Value(e.Number)), Outcome: notice.Outcome(audit.Value(e.Outcome)),
		Closes: notice.State(audit.Value(e.Closes)), Facts: []byte(e.Facts), Private: []byte(audit.Value(e.Private)),
	}
}

// ChangeFacts are what an entry keeps of a change beside its columns: never the document, never a value from it.
type ChangeFacts struct {
	System     string        `json:"system"` // replica and version
	Source     string        `json:"source"`
	Actor      string        `json:"actor,omitempty"`
	Role       string        `json:"role,omitempty"`   // of an operator's act
	Remote     string        `json:"remote,omitempty"` // address and port it came from
	APIVersion string        `json:"apiVersion,omitempty"`
	Status     ofb.Status    `json:"status,omitempty"`
	From       ofb.Status    `json:"from,omitempty"`
	Cause      ofb.Cause     `json:"cause,omitempty"`
	OccurredAt time.Time     `json:"occurredAt,omitzero"`
	Original   string        `json:"occurredAtAsSent,omitempty"`
	NotBefore  time.Time     `json:"notBefore,omitzero"`
	BeganUS    int64         `json:"beganMicros,omitempty"`  // from arrival to the beginning of this transaction, whose instant "at" is
	WaitedUS   int64         `json:"waitedMicros,omitempty"` // from arrival to the writing of this entry in it
	DataHash   string        `json:"dataHash,omitempty"`     // SHA-256 of the canonical document, hex
	StoredHash string        `json:"storedHash,omitempty"`   // of a conflict: what is stored
	Fields     []string      `json:"fields,omitempty"`       // watched fields that differ, by pointer
	Event      ofb.EventType `json:"event,omitempty"`
	EventAt    time.Time     `json:"eventAt,omitzero"`
	Clause     string        `json:"clause,omitempty"` // by which it is announced
	Reason     ofb.Silence   `json:"reason,omitempty"` // why it is not
	Epoch      int64         `json:"pushEpoch,omitempty"`
	Why        string        `json:"why,omitempty"`     // of a conflict or a resend
	Resends    string        `json:"resends,omitempty"` // of a resend: the notification that is sent once more
	Quarantine string        `json:"quarantine,omitempty"`

	FirstReceivedAt time.Time `json:"firstReceivedAt,omitzero"`  // of a change that lay in quarantine: when it came; of a timer's: when its deadline was over and known
	CommittedAt     time.Time `json:"committedAt,omitzero"`      // of a followed source: when the origin committed it, by the origin's clock
	Because         int64     `json:"becauseRevision,omitempty"` // of a decision: the late revision that made it; dataHash is then that revision's
	RefusedFor      string    `json:"refusedFor,omitempty"`      // of a refusal: why
	Refusals        int64     `json:"refusals,omitempty"`        // of a refusal: how often
	WallClock       bool      `json:"wallClock,omitempty"`       // of a refusal: beganMicros is the difference of a wall clock, across a restart

	Overruled time.Time   `json:"overruledTimer,omitzero"`
	Codes     []string    `json:"problems,omitempty"` // codes and pointers of a quarantined change, or of one that was stored with a document that does not conform
	First     *FirstFacts `json:"first,omitempty"`    // attempt 1 of the notification; nil: it has an entry of its own, or did not begin
}

// FirstFacts are what the entry of a change keeps of attempt 1, where it was recorded in the commit of the change and was not late. Such
// an entry is the attempt's entry too: the interaction id is in its column, the attempt's id is the entry's, and it was scheduled and
// started at the entry's time.
type FirstFacts struct {
	Number int    `json:"number"` // 1
	Base   string `json:"base,omitempty"`
}

// PrivateFacts are what an entry of an attempt or of its end keeps for the bank alone. They stand beside the entry, which
// commits to them: the initiator may see the entry.
type PrivateFacts struct {
	Salt   string `json:"salt"`             // 16 random bytes, base64 without padding
	System string `json:"system"`           // replica and version
	Local  string `json:"local,omitempty"`  // address inside the bank, with its port
	Detail string `json:"detail,omitempty"` // why it failed, or what was odd; may name that address
}

// ResultFacts are what an entry keeps of an attempt's end beside its columns. Times are microseconds from the instant
// the attempt was handed to the sender; endedAt and nextAt are added by the database, whose clock they are on.
//
// System, Detail and Local are of entries from before migration 9; later ones have them in PrivateFacts. Detail is LostDetail
// in every entry that a rescue made.
type ResultFacts struct {
	Private      string           `json:"private,omitempty"` // commitment to PrivateFacts
	System       string           `json:"system,omitempty"`
	Number       int              `json:"number"`
	Attempt      string           `json:"attempt"` // id of the attempt's entry, which has the interaction id: of kind "attempt", or that of the change
	URL          string           `json:"url,omitempty"`
	HTTPStatus   int              `json:"httpStatus,omitempty"`
	Echo         notice.Echo      `json:"echo,omitempty"`
	Detail       string           `json:"detail,omitempty"`
	TLS          *notice.TLSFacts `json:"tls,omitempty"`
	Reused       bool             `json:"reused,omitempty"`
	Local        string           `json:"local,omitempty"`
	Remote       string           `json:"remote,omitempty"`
	WaitedUS     int64            `json:"claimToSendMicros"`
	DialledUS    int64            `json:"dialledMicros,omitempty"`
	HandshakenUS int64            `json:"handshakenMicros,omitempty"`
	FirstByteUS  int64            `json:"firstByteOutMicros,omitempty"`
	AnsweredUS   int64            `json:"answeredMicros,omitempty"`
	ElapsedUS    int64            `json:"elapsedMicros"`
}

// AttemptFacts are what an entry keeps of an attempt's beginning and is read again. Held and HeldUS tell why and for how
// long the lane had waited for a slot when it was claimed; absent: it had not.
type AttemptFacts struct {
	Private     string       `json:"private,omitzero"` // commitment to its private text
	ScheduledAt time.Time    `json:"scheduledAt"`
	Late        bool         `json:"late"`
	Base        string       `json:"base,omitzero"`
	Manual      bool         `json:"manual"`
	Held        notice.Delay `json:"held,omitzero"`
	HeldUS      int64        `json:"heldMicros,omitzero"`
}

// LostDetail is how a result says that a rescue made it. It is the one detail that everybody may see.
const LostDetail = "nobody saw the end of this attempt: its lease ran out"

// RegistrationEnded is why a waiting notification is cancelled.
const RegistrationEnded = "registration-ended"

// RecordsOf makes the records of all notifications that facts, in any order, speak of, oldest first. A notification of
// which nobody knows the end is pending. Refused and quarantined receipts among the facts are joined to the changes that
// were accepted later. Facts of other kinds, and those whose notification was made by none of them, are left out.
func RecordsOf(facts []Fact) ([]Record, error) {
	facts = slices.Clone(facts)
	slices.SortStableFunc(facts, func(a, b Fact) int { return a.standing().compare(b.standing()) })
	var out []Record
	var receipts Receipts
	for i := range facts {
		if err := receipts.Add(&facts[i]); err != nil {
			return nil, err
		}
		if !facts[i].announces() {
			continue
		}
		r, err := RecordOf(&facts[i])
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	index := make(map[notice.ID]*Record, len(out))
	for i := range out {
		index[out[i].ID] = &out[i]
	}
	for i := range facts {
		if r := index[facts[i].Notification]; r != nil {
			if err := r.Add(&facts[i]); err != nil {
				return nil, err
			}
		}
	}
	for i := range out {
		receipts.Join(&out[i])
	}
	slices.SortStableFunc(out, func(a, b Record) int { return a.CreatedAt.Compare(b.CreatedAt) })
	return out, nil
}

// announces tells whether the entry made a notification.
func (f *Fact) announces() bool { return announces(f.Kind, f.Notification) }

func (f *Fact) standing() standing { return standing{f.Number, f.Kind, f.At} }

// FirstAttempt is attempt 1 where the entry of a change records it as well, as the attempts of a record begin; nil otherwise.
func (f *Fact) FirstAttempt() []AttemptRecord {
	if f.Kind != FactChange || !begins(f.Kind, f.Interaction) {
		return nil
	}
	return firstAttempt(f.At, f.Interaction)
}

// RecordOf begins the record of a notification with the entry that made it, and with attempt 1 where that entry records it. It is
// pending as long as nothing ends it.
func RecordOf(f *Fact) (Record, error) {
	var c ChangeFacts
	if err := c.read(string(f.Facts)); err != nil {
		return Record{}, f.wrong(err)
	}
	change := f.Change
	if change.IsZero() {
		change = f.ID
	}
	original, _ := notice.ParseID(c.Resends) // "" before it was kept: the zero id
	out := Record{
		Attempts: f.FirstAttempt(),
		ResendOf: original,
		Notification: notice.Notification{
			ID: f.Notification, ChangeID: change, Client: f.Client, Kind: f.ResourceKind, ResourceID: f.ResourceID, Revision: f.Revision,
			APIVersion: c.APIVersion, Status: c.Status, Event: c.Event, EventAt: c.EventAt.UTC(), PushEpoch: c.Epoch,
		},
		OccurredAt: c.OccurredAt.UTC(), CreatedAt: f.At.UTC(), Manual: f.Kind == FactResend, State: notice.Pending,
		Arrival: arrivalOf(f.Kind, f.Client, &c),
	}
	if len(out.Attempts) > 0 && c.First != nil {
		out.Attempts[0].ClaimedURL = out.urlBelow(c.First.Base)
	}
	return out, nil
}

// urlBelow is the URL of an attempt whose claim found this first URI registered; "" where the entry does not keep it.
func (r *Record) urlBelow(base string) string {
	if base == "" {
		return ""
	}
	return base + ofb.Path(r.Kind, r.APIVersion, brand.ID(r.ResourceID))
}

func arrivalOf(kind string, client notice.ClientID, c *ChangeFacts) Arrival {
	return Arrival{
		Source: c.Source, Rejudged: kind == FactDecision, Because: c.Because, NotBefore: c.NotBefore.UTC(),
		Began: Micros(c.BeganUS).Duration(), Waited: Micros(c.WaitedUS).Duration(),
		Earlier: earlierOf(kind, c), content: contentOf(client, c),
	}
}

// Add continues a record. Facts come by number, and an attempt before its result; those that tell nothing of it change
// nothing.
func (r *Record) Add(f *Fact) error {
	r.closed(f.Closes)
	switch f.Kind {
	case FactAttempt:
		var a AttemptFacts
		if err := a.read(string(f.Facts)); err != nil {
			return f.wrong(err)
		}
		r.Late = r.Late || a.Late && !r.Manual && !a.Manual // older versions wrote late of resends too, which have no deadline
		began := r.began(f.Number, f.At, a.told())
		began.Interaction, began.ClaimedURL = f.Interaction, r.urlBelow(a.Base)
	case FactResult:
		var e endedFacts
		if err := e.read(string(f.Facts)); err != nil {
			return f.wrong(err)
		}
		if a := r.ended(f.Number, f.At, f.Outcome, e.told()); a != nil {
			a.HTTPStatus, a.TLS, a.URL, a.Detail = e.HTTPStatus, e.TLS, e.URL, e.Detail
			return a.private(f)
		}
	}
	return nil
}

func (f *ResultFacts) offsets() Offsets {
	us := func(n int64) time.Duration { return Micros(n).Duration() }
	return Offsets{
		ClaimToSend: us(f.WaitedUS), Dialled: us(f.DialledUS), Handshaken: us(f.HandshakenUS), FirstByteOut: us(f.FirstByteUS),
		Answered: us(f.AnsweredUS), Elapsed: us(f.ElapsedUS),
	}
}

// private takes over what stands beside the entry, for the bank alone.
func (a *AttemptRecord) private(f *Fact) error {
	if len(f.Private) == 0 {
		return nil
	}
	var p PrivateFacts
	if err := json.Unmarshal(f.Private, &p); err != nil {
		return fmt.Errorf("private text of entry %s: %w", f.ID, err)
	}
	a.Detail = cmp.Or(a.Detail, p.Detail)
	return nil
}

// wrong is the error of facts that cannot be read.
func (f *Fact) wrong(err error) error { return fmt.Errorf("facts of entry %s: %w", f.ID, err) }
