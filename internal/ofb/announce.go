package ofb

import "slices"

// Cause says who made a change (product, "Changes in").
type Cause string

// The four causes. The last is given by this product itself and refused on input (contract "Timers and revisions").
const (
	Holder    Cause = "holder"    // the account holder's bank, or the payer in its channels
	Initiator Cause = "initiator" // the initiator, by its own call
	FirstLoad Cause = "snapshot"  // what a source reads when it is first connected
	Clock     Cause = "timer"     // nobody: a deadline passed
)

// EventType is the member data.eventType of a notification's body (webhook §2.1).
type EventType string

// The two events. Bodies whose schema has no eventType have the third.
const (
	StateChanged EventType = "STATE_CHANGED"
	DataChanged  EventType = "DATA_CHANGED"
	NoEventType  EventType = ""
)

// Duty says what the rules want of the holder. The zero Duty is silence.
type Duty uint8

// The three duties (legend of webhook §5).
const (
	MustNot Duty = iota // must not be expected
	May                 // optional for the holder
	Must                // mandatory
)

// String is the duty in words.
func (d Duty) String() string {
	switch d {
	case Must:
		return "must"
	case May:
		return "may"
	default:
		return "must not"
	}
}

// Silence is the reason why nothing is announced (contract "Reasons for silence", a closed list).
type Silence string

// The reasons. Judge gives the first four; the others depend on what only the caller knows.
const (
	NotATrigger   Silence = "not-a-trigger"  // the rules name no such step
	InitiatorEdit Silence = "initiator-edit" // the initiator made the edit and knows of it (webhook §11 Q5)
	NoChange      Silence = "no-change"      // same state, same document
	Snapshot      Silence = "snapshot"       // a first load is never announced

	OptionalOff      Silence = "optional-off"      // the rules leave it to the holder, and the holder does not want it
	UnknownClient    Silence = "unknown-client"    // no registration has this client id
	NoWebhook        Silence = "no-webhook"        // the client's registration has no address
	AlreadyAnnounced Silence = "already-announced" // a late revision whose state was announced before
)

// Ruling is what the rules say about one change. Event is meaningful when Duty is May or Must, Silence when it is
// MustNot; Clause names the rule in any case.
type Ruling struct {
	Duty    Duty
	Event   EventType
	Silence Silence
	Clause  string
}

// anyState stands in the table for every other state the kind has.
const anyState Status = ""

// announcement is one step that the holder must, or may, announce.
type announcement struct {
	kind     Kind
	from, to Status
	duty     Duty
	clause   string
}

// announcements lists every step a holder must or may announce, and the clause that says so; no other change of state
// is announced. The step counts and not the state alone: the same AUTHORISED is a duty after PARTIALLY_ACCEPTED, a
// choice after AWAITING_AUTHORISATION (product D-6), and never announced for an enrolment. A test prints all pairs of
// states into a golden file: review that diff.
var announcements = []announcement{
	{PaymentConsent, PartiallyAccepted, Authorised, Must, "webhook §5.1"},
	{PaymentConsent, AwaitingAuthorisation, Authorised, May, "webhook §5.1, product D-6"},
	{PaymentConsent, anyState, Rejected, Must, "webhook §5.1"},
	{PaymentConsent, anyState, Consumed, Must, "webhook §5.1"},

	{PixPayment, anyState, PDNG, Must, "webhook §5.2"},
	{PixPayment, anyState, SCHD, Must, "webhook §5.2"},
	{PixPayment, anyState, ACSC, Must, "webhook §5.2"},
	{PixPayment, anyState, RJCT, Must, "webhook §5.2"},
	{PixPayment, anyState, CANC, Must, "webhook §5.2"},

	{RecurringConsent, PartiallyAccepted, Authorised, Must, "webhook §5.3"},
	{RecurringConsent, AwaitingAuthorisation, Authorised, May, "webhook §5.3, product D-6"},
	{RecurringConsent, anyState, Rejected, Must, "webhook §5.3"},
	{RecurringConsent, anyState, Revoked, Must, "webhook §5.3"},
	{RecurringConsent, anyState, Consumed, Must, "webhook §5.3"},

	{RecurringPayment, anyState, PDNG, Must, "webhook §5.4"},
	{RecurringPayment, anyState, SCHD, Must, "webhook §5.4"},
	{RecurringPayment, anyState, ACSC, Must, "webhook §5.4"},
	{RecurringPayment, anyState, RJCT, Must, "webhook §5.4"},
	{RecurringPayment, anyState, CANC, Must, "webhook §5.4"},

	{Enrollment, anyState, Rejected, Must, "webhook §5.5"},
	{Enrollment, anyState, Revoked, Must, "webhook §5.5"},
}

// Judge says whether a change must, may or must not be announced. A nil from is the resource's first change: it counts
// as a transition from the initial state, so that a resource first seen in its initial state has done nothing yet, and
// it is never a change of data. ResourceState and data changed together are one STATE_CHANGED.
//
// Who caused a change of state is irrelevant (webhook §5.6); only a first load silences it. Judge does not ask whether
// the step is legal: that is Reaches. A late revision may put a predecessor before a state already stored that would
// not lead there, and that state is owed all the same.
func Judge(kind Kind, from *ResourceState, to ResourceState, cause Cause) Ruling {
	if cause == FirstLoad {
		return Ruling{Silence: Snapshot, Clause: `contract "First load"`}
	}
	if from == nil {
		return judgeStep(kind, kind.Initial(), to.Status)
	}
	if from.Status != to.Status {
		return judgeStep(kind, from.Status, to.Status)
	}
	return judgeEdit(kind, *from, to, cause)
}

// judgeStep judges a change of state. A step from the initial state to itself is in no row: nothing happened yet.
func judgeStep(kind Kind, from, to Status) Ruling {
	row := slices.IndexFunc(announcements, func(a announcement) bool {
		return a.kind == kind && a.to == to && (a.from == from || a.from == anyState)
	})
	if row < 0 {
		return Ruling{Silence: NotATrigger, Clause: kind.profile().clause}
	}
	return Ruling{Duty: announcements[row].duty, Event: kind.event(StateChanged), Clause: announcements[row].clause}
}

// judgeEdit judges a change that leaves the state as it was (contract "Data changes"). An edit counts only while the
// resource was and is AUTHORISED: what is set during the journey before is part of the journey (webhook §5.5).
func judgeEdit(kind Kind, from, to ResourceState, cause Cause) Ruling {
	if from.Data == to.Data {
		return Ruling{Silence: NoChange, Clause: `contract "Reasons for silence"`}
	}
	edited := kind.Differing(from, to)
	switch {
	case to.Status != Authorised || len(edited) == 0:
		return Ruling{Silence: NotATrigger, Clause: `contract "Data changes"`}
	case cause == Initiator:
		return Ruling{Silence: InitiatorEdit, Clause: `webhook §11 Q5, contract "Data changes"`}
	default:
		row := slices.IndexFunc(watches, func(w watched) bool { return w.kind == kind && w.pointer == edited[0] })
		return Ruling{Duty: Must, Event: kind.event(DataChanged), Clause: watches[row].clause}
	}
}

// event is the eventType of this kind's bodies: only two of the five schemas have one (webhook §2.1).
func (k Kind) event(e EventType) EventType {
	if !k.HasEventType() {
		return NoEventType
	}
	return e
}
