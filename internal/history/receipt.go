package history

import (
	"encoding/hex"
	"encoding/json"
	"slices"
	"time"

	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

// The clock of the rule runs from the first receipt of a change, whatever was answered then. A change that reached a
// replica and was not stored leaves a trace: an entry of kind FactRefused, or FactQuarantined. The change that is
// accepted later is judged from the earliest of them that was about the same content.

// Kinds of the entries that tell of receipts. They are part of the audit format and are never renamed.
const (
	FactRefused     = "refused"          // a change reached a replica and was not stored; the core was answered 503 or nothing
	FactQuarantined = "quarantined"      // a change was put aside
	FactUnheard     = "receipts-unknown" // a period in which changes may have been refused without a trace
)

// Why a change was refused. The words are part of the audit format; more may follow.
const (
	RefusedUnavailable = "unavailable" // the database did not take it in time, or the replica was about to end
	RefusedBusy        = "busy"        // too many changes were waiting
	RefusedBehind      = "behind"      // its notification could not have been sent in time
)

// ChangeRefusal is a change that reached this replica and was not stored, with how often that happened.
type ChangeRefusal struct {
	ID         notice.ID       // of the entry it becomes; it stays the same when storing is tried again
	Kind       ofb.Kind        //
	ResourceID string          //
	Client     notice.ClientID //
	Revision   int64           //
	Facts      Refused         // what else the entry keeps
	First      time.Time       // receipt; monotonic of this process, or a wall clock's where Facts.WallClock says so
}

// Refused is what an entry keeps of a refusal beside its columns, apart from BeganUS, which is known when it is written.
type Refused = ChangeFacts

// RefusalOf begins the trace of a change.
func RefusalOf(id notice.ID, c *notice.Change, why string) ChangeRefusal {
	return ChangeRefusal{
		ID: id, Kind: c.Kind, ResourceID: c.ResourceID, Client: c.Client, Revision: c.Revision, First: c.ReceivedAt,
		Facts: ChangeFacts{
			Source: c.Source, Actor: c.Actor, Remote: c.Address, APIVersion: c.APIVersion, Status: c.State.Status, Cause: c.Cause, OccurredAt: c.OccurredAt.UTC(),
			NotBefore: c.NotBefore.UTC(), DataHash: hex.EncodeToString(c.State.Data[:]), RefusedFor: why, Refusals: 1,
		},
	}
}

// Unheard is a period in which changes may have been refused without a trace.
type Unheard struct {
	From, To time.Time // monotonic of this process, or a wall clock's where Wall says so
	Requests int64     // refused in it without a trace, as far as they were counted
	Why      string
	Wall     bool
}

// UnheardFacts are what an entry of kind FactUnheard keeps.
type UnheardFacts struct {
	System    string `json:"system"`
	Why       string `json:"why"`
	Requests  int64  `json:"requests,omitempty"`
	FromUS    int64  `json:"fromMicros"` // from the period's beginning to this transaction, whose instant "at" is
	ToUS      int64  `json:"toMicros"`   // from its end
	WallClock bool   `json:"wallClock,omitempty"`
}

// Receipt is an earlier receipt of a change, or an instant from which on the change was ours to announce.
type Receipt struct {
	At    time.Time
	What  notice.Delay // names the time from then to the next receipt
	For   string
	Times int64 // how often the change came
	own   bool  // told by the entry of the change itself
}

// Receipts are the traces that a history holds of changes that were not stored when they came.
type Receipts struct {
	traces  []trace
	unheard []unheard
}

// unheard is an entry that tells of a period in which changes may have been refused without a trace.
type unheard struct {
	entry    notice.ID
	from, to time.Time
}

// trace is one entry that tells of a receipt.
type trace struct {
	entry    notice.ID
	kind     ofb.Kind
	resource string
	revision int64
	content  content
	source   string
	receipt  Receipt
	refused  bool // and not quarantined
}

// content is what two lines must have in common to be the same change: a core may reckon notBefore anew for each. Entries keep no more of a line.
type content struct {
	hash    string
	client  notice.ClientID
	version string
	cause   ofb.Cause
	at      time.Time
}

func contentOf(client notice.ClientID, c *ChangeFacts) content {
	return content{c.DataHash, client, c.APIVersion, c.Cause, c.OccurredAt.UTC()}
}

// Empty tells whether there is nothing to join.
func (r *Receipts) Empty() bool { return len(r.traces) == 0 && len(r.unheard) == 0 }

// Add reads an entry; those of other kinds change nothing.
func (r *Receipts) Add(f *Fact) error {
	switch f.Kind {
	case FactRefused, FactQuarantined:
		var c ChangeFacts
		if err := c.read(string(f.Facts)); err != nil {
			return f.wrong(err)
		}
		t := trace{
			entry: f.ID, kind: f.ResourceKind, resource: f.ResourceID, revision: f.Revision, content: contentOf(f.Client, &c), source: c.Source,
			receipt: Receipt{At: f.At.UTC().Add(-Micros(c.BeganUS).Duration()), What: notice.DelayQuarantine, For: string(notice.DelayQuarantine), Times: 1},
		}
		if f.Kind == FactRefused {
			t.refused, t.receipt.What, t.receipt.For, t.receipt.Times = true, notice.DelayUnavailable, c.RefusedFor, max(1, c.Refusals)
		}
		for i := range r.traces {
			if r.traces[i].entry == t.entry { // stored twice: the answer to the first commit was lost
				r.traces[i].receipt.Times = max(r.traces[i].receipt.Times, t.receipt.Times)
				return nil
			}
		}
		r.traces = append(r.traces, t)
	case FactUnheard:
		var u UnheardFacts
		if err := json.Unmarshal(f.Facts, &u); err != nil {
			return f.wrong(err)
		}
		r.unheard = append(r.unheard, unheard{f.ID, f.At.UTC().Add(-Micros(u.FromUS).Duration()), f.At.UTC().Add(-Micros(u.ToUS).Duration())})
	}
	return nil
}

// Join adds to a notification the earlier receipts of the change that made it. It may be called once for each record.
//
// The same revision with the same content is the same change. A record of a followed source is the same one whenever its
// revision is, as its content is what our mapping made of it. Other content that the core sent under the same revision
// and that we refused leaves it unknown whether the change came before; other content that was quarantined does not: the
// core has corrected it since.
func (r *Receipts) Join(to *Record) { r.JoinSome(to, func(notice.ID) bool { return true }) }

// JoinSome is Join with those of the entries alone that count for this notification.
func (r *Receipts) JoinSome(to *Record, counts func(entry notice.ID) bool) {
	a := &to.Arrival
	if to.Manual || a.Source == timerSource {
		return
	}
	received := to.ReceivedAt()
	for i := range r.traces {
		t := &r.traces[i]
		if t.kind != to.Kind || t.resource != to.ResourceID || !t.receipt.At.Before(received) || !counts(t.entry) {
			continue
		}
		revision, same := to.Revision, t.content == a.content
		if a.Rejudged {
			if a.Because == 0 { // written before entries told which revision it was
				a.Unknown = a.Unknown || t.revision < to.Revision
				continue
			}
			revision, same = a.Because, t.content.hash == a.content.hash
		}
		switch {
		case t.revision != revision:
		case same, t.source != apiSource:
			a.Earlier = append(a.Earlier, t.receipt)
		case t.refused:
			a.Unknown = true
		}
	}
	for i := range r.unheard {
		if u := &r.unheard[i]; !u.to.Before(to.OccurredAt) && !u.from.After(received) && counts(u.entry) {
			a.Unknown = true
		}
	}
	if joined := slices.ContainsFunc(a.Earlier, func(e Receipt) bool { return e.What == notice.DelayQuarantine && !e.own }); joined {
		for i := range a.Earlier {
			if a.Earlier[i].own {
				a.Earlier[i].Times = 0 // the same receipt, as its own entry tells of it
			}
		}
	}
	slices.SortStableFunc(a.Earlier, func(a, b Receipt) int { return a.At.Compare(b.At) })
}

// apiSource is the source of changes that the core sends itself.
const apiSource = "api"

// ReceivedAt is the receipt of the change that was accepted, by the database's clock.
func (r *Record) ReceivedAt() time.Time {
	began := r.Arrival.Began
	if began == 0 {
		began = r.Arrival.Waited // older entries: too early by the time within the transaction
	}
	return r.CreatedAt.Add(-began)
}

// earlierOf is what the entry of a change itself tells of earlier receipts.
func earlierOf(kind string, c *ChangeFacts) (out []Receipt) {
	switch {
	case kind == FactResend:
	case c.Source == timerSource:
		at := c.FirstReceivedAt
		if at.IsZero() { // older entries do not tell when the deadline became known
			at = c.OccurredAt
		}
		out = append(out, Receipt{At: at.UTC(), What: notice.DelayTimer})
	case !c.FirstReceivedAt.IsZero():
		out = append(out, Receipt{At: c.FirstReceivedAt.UTC(), What: notice.DelayQuarantine, For: string(notice.DelayQuarantine), Times: 1, own: true})
	}
	if !c.CommittedAt.IsZero() && kind != FactResend {
		out = append(out, Receipt{At: c.CommittedAt.UTC(), What: notice.DelaySource})
	}
	return out
}
