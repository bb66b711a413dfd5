package history

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

// FactPoll is the kind of the entry of a status query.
const FactPoll = "poll"

// Brief is an entry of the log as sums over time need it: its columns, and of its facts what the clock of the rule rests on. It keeps no part of the
// entry's text, so that many can wait in memory. A zero member is NULL.
type Brief struct {
	XID          int64 // with ID its place in the order of the log
	ID           notice.ID
	Notification notice.ID
	At           time.Time
	Kind         string
	Client       notice.ClientID
	ResourceKind ofb.Kind
	Altered      bool // it is not what was sealed, or its facts cannot be read
	First        bool // of a change: it made its resource, of which the log has no change before, unless somebody deleted the row by hand
	Begins       bool // an attempt began with it: it is the attempt's entry, or that of a change which records attempt 1 as well
	Number       int8
	ResourceID   string
	Outcome      notice.Outcome
	Closes       notice.State

	told any // *madeTold, *attemptTold, *endTold, *PollTold; of a change that is not told its ofb.Silence; of a refusal how often, int64; or nil
}

// madeTold is what an entry tells that made a notification.
type madeTold struct {
	revision   int64
	occurredAt time.Time
	arrival    Arrival
}

// PollTold is what the entry of a status query tells.
type PollTold struct {
	Status     ofb.Status // the state that was shown
	Duration   Micros     // from reading the query to recording it
	Suppressed int64      // refusals of the same caller since the last one that was recorded
	Extension  bool       // it is a call of the initiators' extension and no status query
}

// Silence is why a change is not announced; "" where it is, and of other entries.
func (b *Brief) Silence() ofb.Silence {
	reason, _ := b.told.(ofb.Silence)
	return reason
}

// Refusals is how often a refused change came; 0 of other entries.
func (b *Brief) Refusals() int64 {
	n, _ := b.told.(int64)
	return n
}

// Poll is what a status query tells; empty of other entries.
func (b *Brief) Poll() PollTold {
	if p, is := b.told.(*PollTold); is {
		return *p
	}
	return PollTold{}
}

// Key names the resource that it tells of.
func (b *Brief) Key() notice.Key { return notice.Key{Kind: b.ResourceKind, ID: b.ResourceID} }

// Size is about how many bytes of memory it takes.
func (b *Brief) Size() int {
	size := 200 + len(b.ResourceID)
	switch b.told.(type) {
	case *madeTold:
		size += 360
	case *endTold:
		size += 112
	case nil:
	default:
		size += 48
	}
	return size
}

// Announces tells whether it made its notification.
func (b *Brief) Announces() bool { return announces(b.Kind, b.Notification) }

func (b *Brief) standing() standing { return standing{int(b.Number), b.Kind, b.At} }

// Ends tells whether an attempt ended with it, or a notification that waited.
func (b *Brief) Ends() bool { return b.Kind == FactResult || b.Kind == FactCancelled }

// SharedWords keeps one copy of each word that entries repeat, as ids of clients and resources. The zero value is ready.
type SharedWords struct {
	known map[string]string

	// Where facts are read, so that those of an entry are no objects of their own. They are empty between two entries.
	made  ChangeFacts
	ended endedFacts
}

// one is the copy of a word.
func (w *SharedWords) one(s string) string {
	if s == "" {
		return ""
	}
	have, known := w.known[s]
	if known {
		return have
	}
	if w.known == nil {
		w.known = map[string]string{}
	}
	s = strings.Clone(s)
	w.known[s] = s
	return s
}

// ColumnsOf is a Brief with the columns alone.
func ColumnsOf(e *audit.Entry, w *SharedWords) Brief {
	return Brief{
		XID: e.XID, ID: e.ID, Notification: audit.Value(e.NotificationID), At: e.At.Time(), Kind: w.one(e.Kind),
		Client: notice.ClientID(w.one(audit.Value(e.ClientID))), ResourceKind: ofb.Kind(audit.Value(e.ResourceKind)), ResourceID: w.one(audit.Value(e.ResourceID)),
		Begins: begins(e.Kind, audit.Value(e.InteractionID)),
		Number: int8(audit.Value(e.Number)), Outcome: notice.Outcome(w.one(audit.Value(e.Outcome))), Closes: notice.State(w.one(audit.Value(e.Closes))),
	}
}

// BriefOf is an entry in brief. When its facts cannot be read it has the columns, and the error is returned.
func BriefOf(e *audit.Entry, w *SharedWords) (Brief, error) {
	b := ColumnsOf(e, w)
	var err error
	switch e.Kind {
	case FactChange, FactDecision, FactResend:
		err = b.change(e, w)
	case FactAttempt:
		var a AttemptFacts
		err = a.read(e.Facts)
		told := a.told()
		told.held = notice.Delay(w.one(string(told.held)))
		b.told = &told
	case FactResult:
		err = w.ended.read(e.Facts)
		told := w.ended.told()
		w.ended = endedFacts{}
		told.echo = notice.Echo(w.one(string(told.echo)))
		b.told = &told
	case FactRefused:
		var c ChangeFacts
		err = c.read(e.Facts)
		b.told = c.Refusals
	case FactPoll:
		b.told, err = pollOf(e.Facts, w)
	}
	if err != nil {
		b.told = nil
		return b, fmt.Errorf("facts of entry %s: %w", b.ID, err)
	}
	return b, nil
}

// change reads the facts of a change, a decision or a resend.
func (b *Brief) change(e *audit.Entry, w *SharedWords) error {
	c := &w.made
	defer func() { *c = ChangeFacts{} }()
	if err := c.read(e.Facts); err != nil {
		return err
	}
	b.First = e.Kind == FactChange && b.Outcome == notice.Outcome(notice.Applied) && c.From == ""
	if b.Notification.IsZero() {
		b.told = ofb.Silence(w.one(string(c.Reason)))
		return nil
	}
	c.Source, c.APIVersion, c.Cause, c.DataHash = w.one(c.Source), w.one(c.APIVersion), ofb.Cause(w.one(string(c.Cause))), strings.Clone(c.DataHash)
	b.told = &madeTold{audit.Value(e.Revision), c.OccurredAt.UTC(), arrivalOf(e.Kind, b.Client, c)}
	return nil
}

// pollOf reads what the sums need of a status query's facts. Other members are passed over.
func pollOf(text string, w *SharedWords) (*PollTold, error) {
	p := &PollTold{}
	r := memberReader{text: text}
	for name := r.first(); name != ""; name = r.next() {
		switch name {
		case "status":
			p.Status = ofb.Status(w.one(r.str()))
		case "durationMicros":
			p.Duration = Micros(r.integer())
		case "suppressed":
			p.Suppressed = r.integer()
		case "operation":
			p.Extension = strings.HasPrefix(r.str(), notice.ExtensionPrefix)
		case "system", "apiVersion", "method", "organisationId", "softwareId", "certificateSerial", "certificateIssuer", "certificateFingerprint",
			"tokenHash", "tokenId", "source", "receivedAt", "httpStatus", "code", "reason", "timer", "items", "jti", "kid", "answerDigest", "spooled":
			r.skip()
		default:
			r.odd = true
		}
	}
	if r.over() {
		return p, nil
	}
	var other struct {
		Status     ofb.Status `json:"status"`
		DurationUS Micros     `json:"durationMicros"`
		Suppressed int64      `json:"suppressed"`
		Operation  string     `json:"operation"`
	}
	err := json.Unmarshal([]byte(text), &other)
	return &PollTold{other.Status, other.DurationUS, other.Suppressed, strings.HasPrefix(other.Operation, notice.ExtensionPrefix)}, err
}

// RecordOfBriefs makes the record of one notification from its entries, in any order, and sorts them. The record has what a verdict on its times rests
// on, and the state; in that it is what RecordsOf makes of the same entries. False: none of them made the notification, and the record means nothing.
func RecordOfBriefs(entries []*Brief) (Record, bool) {
	slices.SortStableFunc(entries, func(a, b *Brief) int { return a.standing().compare(b.standing()) })
	var r Record
	made, altered := false, false
	for _, b := range entries {
		altered = altered || b.Altered
		if b.Announces() {
			r, made = b.record(), true
		}
	}
	r.Tampered = altered
	for _, b := range entries {
		r.addBrief(b)
	}
	if len(r.Arrival.Earlier) > 1 {
		(&Receipts{}).Join(&r) // puts them in order
	}
	return r, made
}

// record begins the record of the notification that it made.
func (b *Brief) record() Record {
	r := Record{CreatedAt: b.At.UTC(), Manual: b.Kind == FactResend, State: notice.Pending}
	r.ID, r.Client, r.Kind, r.ResourceID = b.Notification, b.Client, b.ResourceKind, b.ResourceID
	if told, is := b.told.(*madeTold); is {
		r.Revision, r.OccurredAt, r.Arrival = told.revision, told.occurredAt, told.arrival
		r.Arrival.Earlier = slices.Clone(told.arrival.Earlier) // Join changes it
	}
	if b.Begins {
		r.Attempts = firstAttempt(b.At, notice.ID{})
	}
	return r
}

// addBrief continues a record.
func (r *Record) addBrief(b *Brief) {
	r.closed(b.Closes)
	switch told := b.told.(type) {
	case *attemptTold:
		r.began(int(b.Number), b.At, *told)
	case *endTold:
		r.ended(int(b.Number), b.At, b.Outcome, *told)
	}
}
