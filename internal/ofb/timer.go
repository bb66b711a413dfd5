package ofb

import (
	"encoding/json"
	"fmt"
	"maps"
	"time"
)

// Timer is what becomes of one document by itself, and when. It comes from NextTimer; a Timer made by hand sets nothing.
type Timer struct {
	Rule     string    // the rule's name, such as "payment-consent-authorisation"; it is stored, so it never changes
	Deadline time.Time // UTC, a whole second; the timer is due when now is not before it
	To       Status    // the state it leads to
	Clause   string    // the rule's source

	set []member // what it changes in the document, beginning with status
}

// timerRule says how long a state of a kind lasts, and what ends it.
type timerRule struct {
	name     string
	kind     Kind
	status   Status
	deadline func(data map[string]any) (time.Time, bool) // false when the document sets none
	to       Status
	reason   string // code of the rejection; "" when the state it leads to has none
	detail   string // for people at the initiator, in Portuguese
	clause   string
}

// rules is the closed list of timers (design, "Timers"): consents, and enrolments before AUTHORISED. Sums, batches of
// schedules and the end of an enrolment's validity are the core's. An initial state lasts from the resource's
// creation, a later one from the last change of state; never from arrival (contract "Which clock a timer reads").
var rules = []timerRule{
	{
		name: "payment-consent-authorisation", kind: PaymentConsent, status: AwaitingAuthorisation,
		deadline: after("creationDateTime", 5*time.Minute), to: Rejected, reason: "TEMPO_EXPIRADO_AUTORIZACAO",
		detail: "O prazo para autorizar o consentimento terminou sem confirmação.",
		clause: "webhook §5.7, status-apis §3.1.1",
	},
	{
		name: "payment-consent-approval", kind: PaymentConsent, status: PartiallyAccepted,
		deadline: paymentApproval, to: Rejected, reason: "TEMPO_EXPIRADO_AUTORIZACAO",
		detail: "O prazo para as aprovações pendentes do consentimento terminou.",
		clause: "webhook §5.7, status-apis §3.1.1",
	},
	{
		name: "payment-consent-consumption", kind: PaymentConsent, status: Authorised,
		deadline: after("statusUpdateDateTime", 60*time.Minute), to: Rejected, reason: "TEMPO_EXPIRADO_CONSUMO",
		detail: "O prazo para usar o consentimento autorizado terminou sem pagamento.",
		clause: "webhook §5.7, status-apis §3.1.1",
	},
	{
		name: "recurring-consent-authorisation", kind: RecurringConsent, status: AwaitingAuthorisation,
		deadline: after("creationDateTime", 60*time.Minute), to: Rejected, reason: "TEMPO_EXPIRADO_AUTORIZACAO",
		detail: "O prazo para autorizar o consentimento terminou sem confirmação.",
		clause: "webhook §5.7, status-apis §4.1.1",
	},
	{
		name: "recurring-consent-approval", kind: RecurringConsent, status: PartiallyAccepted,
		deadline: recurringApproval, to: Rejected, reason: "TEMPO_EXPIRADO_AUTORIZACAO",
		detail: "O prazo para as aprovações pendentes do consentimento terminou.",
		clause: "webhook §5.7, status-apis §4.1.1",
	},
	{
		name: "recurring-consent-expiry", kind: RecurringConsent, status: Authorised,
		deadline: after("expirationDateTime", 0), to: Consumed,
		clause: "webhook §5.7, status-apis §4.1.1",
	},
	{
		name: "enrollment-risk-signals", kind: Enrollment, status: AwaitingRiskSignals,
		deadline: after("creationDateTime", 5*time.Minute), to: Rejected,
		reason: "REJEITADO_TEMPO_EXPIRADO_RISK_SIGNALS",
		clause: "webhook §5.7, status-apis §5.1.1",
	},
	{
		name: "enrollment-account-holder-validation", kind: Enrollment, status: AwaitingAccountHolderValidation,
		deadline: after("statusUpdateDateTime", 15*time.Minute), to: Rejected,
		reason: "REJEITADO_TEMPO_EXPIRADO_ACCOUNT_HOLDER_VALIDATION",
		clause: "webhook §5.7, status-apis §5.1.1",
	},
	{
		name: "enrollment-credential", kind: Enrollment, status: AwaitingEnrollment,
		deadline: after("statusUpdateDateTime", 5*time.Minute), to: Rejected,
		reason: "REJEITADO_TEMPO_EXPIRADO_ENROLLMENT",
		clause: "webhook §5.7, status-apis §5.1.1",
	},
}

// NextTimer says which timer runs on a document, if any. The document is the `data` object with its numbers as
// json.Number; one whose dates cannot be read has no timer.
//
// A state never ends before it began: where a rule's deadline had passed already when the resource entered a state
// later than its initial one (an approval given after the cut-off, say), the deadline is the moment it entered.
func NextTimer(kind Kind, data map[string]any) (Timer, bool) {
	for _, r := range rules {
		if r.kind != kind || data["status"] != string(r.status) {
			continue
		}
		deadline, ok := r.deadline(data)
		if !ok {
			return Timer{}, false
		}
		if entered, ok := instant(data, "statusUpdateDateTime"); ok && r.status != kind.Initial() && entered.After(deadline) {
			deadline = entered
		}
		return Timer{Rule: r.name, Deadline: deadline, To: r.to, Clause: r.clause, set: r.ending(deadline)}, true
	}
	return Timer{}, false
}

// ArmedTimer is the timer that was armed under that rule for that deadline, for a document whose own dates cannot be read; false when the
// document is not in the state that the rule ends.
func ArmedTimer(kind Kind, data map[string]any, rule string, deadline time.Time) (Timer, bool) {
	for _, r := range rules {
		if r.kind == kind && r.name == rule && data["status"] == string(r.status) {
			deadline = deadline.UTC()
			return Timer{Rule: r.name, Deadline: deadline, To: r.to, Clause: r.clause, set: r.ending(deadline)}, true
		}
	}
	return Timer{}, false
}

// Fire returns the document as the timer leaves it: status, statusUpdateDateTime (the deadline) and the object that
// tells the reason are set, all other members stay byte for byte where they are. The document is the `data` object as
// it was received. It fails for what is not a JSON object with distinct member names.
func (t Timer) Fire(document []byte) ([]byte, error) {
	fired, err := setMembers(document, t.set)
	if err != nil {
		return nil, fmt.Errorf("fire timer %s: %w", t.Rule, err)
	}
	return fired, nil
}

// Apply is Fire on a decoded document. It changes a copy.
func (t Timer) Apply(data map[string]any) map[string]any {
	applied := maps.Clone(data)
	for _, m := range t.set {
		applied[m.name] = m.decoded()
	}
	return applied
}

// Due fires every timer that is due at now, and returns them with the document they leave: what a status GET answers
// at that instant. The document and data are the same object, as received and decoded. When nothing is due, the
// document comes back as it is. It does not ask whether timers are wanted for this kind (contract "Which clock a timer
// reads"). It fails as Fire does.
func Due(kind Kind, document []byte, data map[string]any, now time.Time) (fired []Timer, newDocument []byte, err error) {
	for {
		timer, ok := NextTimer(kind, data)
		if !ok || now.Before(timer.Deadline) {
			return fired, document, nil
		}
		if document, err = timer.Fire(document); err != nil {
			return nil, nil, err
		}
		data = timer.Apply(data) // every rule leads to a final state, so the loop ends
		fired = append(fired, timer)
	}
}

// ending is what the rule sets in a document when it fires.
func (r timerRule) ending(deadline time.Time) []member {
	at := deadline.Format(dateTime)
	set := []member{
		{"status", encode(r.to)},
		{"statusUpdateDateTime", encode(at)},
	}
	if r.reason == "" {
		return set
	}
	why := reason{Code: r.reason, Detail: r.detail}
	switch r.kind {
	case PaymentConsent: // status-apis §3.1
		return append(set, member{"rejectionReason", encode(why)})
	case RecurringConsent: // status-apis §4.1
		return append(set, member{"rejection", encode(rejection{holder, holder, at, why})})
	default: // an enrolment, cancelled by nobody: status-apis §5.1.1
		return append(set, member{"cancellation", encode(cancellation{rejectionCode{r.reason}, holder, at})})
	}
}

// holder is the account holder's bank as an actor and as a channel.
const holder = "DETENTORA"

type reason struct {
	Code   string `json:"code"`
	Detail string `json:"detail"`
}

type rejection struct {
	RejectedBy   string `json:"rejectedBy"`
	RejectedFrom string `json:"rejectedFrom"`
	RejectedAt   string `json:"rejectedAt"`
	Reason       reason `json:"reason"`
}

type rejectionCode struct {
	RejectionReason string `json:"rejectionReason"`
}

type cancellation struct {
	Reason        rejectionCode `json:"reason"`
	CancelledFrom string        `json:"cancelledFrom"`
	RejectedAt    string        `json:"rejectedAt"`
}

// encode writes one of our own constants or structs, which always succeeds.
func encode(v any) json.RawMessage {
	text, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("ofb: encode %T: %v", v, err))
	}
	return text
}
