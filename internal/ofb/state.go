package ofb

import (
	"fmt"
	"slices"
	"strings"
)

// Status is the state a resource is in: the member `status` of its document, spelled as the APIs spell it.
type Status string

// The statuses of consents and enrolments (status-apis §1.9 E-CONSENT, E-RECURRING-CONSENT, E-ENROLLMENT).
const (
	AwaitingAuthorisation           Status = "AWAITING_AUTHORISATION"
	PartiallyAccepted               Status = "PARTIALLY_ACCEPTED"
	Authorised                      Status = "AUTHORISED"
	Rejected                        Status = "REJECTED"
	Revoked                         Status = "REVOKED"
	Consumed                        Status = "CONSUMED"
	AwaitingRiskSignals             Status = "AWAITING_RISK_SIGNALS"
	AwaitingAccountHolderValidation Status = "AWAITING_ACCOUNT_HOLDER_VALIDATION"
	AwaitingEnrollment              Status = "AWAITING_ENROLLMENT"
)

// The statuses of payments (status-apis §1.9 E-PAYMENT, meanings in §3.2.1).
const (
	RCVD Status = "RCVD" // received, checks pending
	PDNG Status = "PDNG" // held for analysis
	ACCP Status = "ACCP" // all checks done, ready to settle
	SCHD Status = "SCHD" // scheduled
	ACPD Status = "ACPD" // sent to settlement, outcome unknown
	ACSC Status = "ACSC" // settled
	RJCT Status = "RJCT" // rejected by the holder or by the settlement system
	CANC Status = "CANC" // cancelled by the payer
)

// step is one legal move of a kind from a state to the next.
type step struct {
	kind     Kind
	from, to Status
	clause   string
}

// steps lists the legal moves: the union of both dossiers (contract "Legal steps"). Where only one of them knows a
// move, the row names that one alone.
var steps = slices.Concat(
	[]step{
		{PaymentConsent, AwaitingAuthorisation, PartiallyAccepted, "status-apis §3.1.1"},
		{PaymentConsent, AwaitingAuthorisation, Authorised, "webhook §5.1, status-apis §3.1.1"},
		{PaymentConsent, AwaitingAuthorisation, Rejected, "webhook §5.1, status-apis §3.1.1"},
		{PaymentConsent, PartiallyAccepted, Authorised, "webhook §5.1, status-apis §3.1.1"},
		{PaymentConsent, PartiallyAccepted, Rejected, "webhook §5.1, status-apis §3.1.1"},
		{PaymentConsent, Authorised, Consumed, "status-apis §3.1.1"},
		{PaymentConsent, Authorised, Rejected, "webhook §5.1, status-apis §3.1.1"},
	},
	paymentSteps(PixPayment, "webhook §5.2", "status-apis §3.2.1"),
	[]step{
		{RecurringConsent, AwaitingAuthorisation, PartiallyAccepted, "status-apis §4.1.1"},
		{RecurringConsent, AwaitingAuthorisation, Authorised, "webhook §5.3, status-apis §4.1.1"},
		{RecurringConsent, AwaitingAuthorisation, Rejected, "status-apis §4.1.1"},
		{RecurringConsent, PartiallyAccepted, Authorised, "webhook §5.3, status-apis §4.1.1"},
		{RecurringConsent, PartiallyAccepted, Rejected, "status-apis §4.1.1"},
		{RecurringConsent, Authorised, Revoked, "status-apis §4.1.1"},
		{RecurringConsent, Authorised, Consumed, "status-apis §4.1.1"},
	},
	// The diagram of recurring payments draws no arrow from PDNG to RJCT, but its table of states has it.
	paymentSteps(RecurringPayment, "webhook §5.4", "status-apis §4.2.1"),
	[]step{
		{Enrollment, AwaitingRiskSignals, AwaitingAccountHolderValidation, "status-apis §5.1.1"},
		{Enrollment, AwaitingRiskSignals, Rejected, "status-apis §5.1.1"},
		{Enrollment, AwaitingAccountHolderValidation, AwaitingEnrollment, "status-apis §5.1.1"},
		{Enrollment, AwaitingAccountHolderValidation, Rejected, "status-apis §5.1.1"},
		{Enrollment, AwaitingEnrollment, Authorised, "status-apis §5.1.1"},
		{Enrollment, AwaitingEnrollment, Rejected, "status-apis §5.1.1"},
		{Enrollment, Authorised, Revoked, "status-apis §5.1.1"},
	},
)

// paymentSteps are the moves both kinds of payment share. The dossiers disagree on how a scheduled payment settles
// (through ACCP, or straight to ACPD) and on what comes before a schedule, so their union holds a loop: a payment may
// go from ACCP to SCHD and from SCHD to ACCP. Nothing leads back to RCVD or PDNG, nor out of ACPD but to an end.
func paymentSteps(kind Kind, diagram, table string) []step {
	both := diagram + ", " + table
	pendingRejected := both
	if kind == RecurringPayment {
		pendingRejected = table
	}
	return []step{
		{kind, RCVD, PDNG, both},
		{kind, RCVD, ACCP, both},
		{kind, RCVD, SCHD, table},
		{kind, RCVD, RJCT, both},
		{kind, PDNG, ACCP, both},
		{kind, PDNG, SCHD, table},
		{kind, PDNG, RJCT, pendingRejected},
		{kind, PDNG, CANC, both},
		{kind, ACCP, SCHD, diagram},
		{kind, ACCP, ACPD, both},
		{kind, ACCP, RJCT, both},
		{kind, SCHD, ACCP, table},
		{kind, SCHD, ACPD, diagram},
		{kind, SCHD, RJCT, both},
		{kind, SCHD, CANC, both},
		{kind, ACPD, ACSC, both},
		{kind, ACPD, RJCT, both},
	}
}

// move is a pair of states of one kind.
type move struct {
	kind     Kind
	from, to Status
}

// reachable holds every move over one or more legal steps.
var reachable = closure(steps)

func closure(steps []step) map[move]bool {
	reached := map[move]bool{}
	for grown := true; grown; {
		grown = false
		for _, s := range steps {
			for _, to := range s.kind.profile().statuses {
				direct := to == s.to
				if m := (move{s.kind, s.from, to}); !reached[m] && (direct || reached[move{s.kind, s.to, to}]) {
					reached[m], grown = true, true
				}
			}
		}
	}
	return reached
}

// Statuses lists the states of the kind, at most 64. The first is the initial one. A state's position may be stored, so
// the order never changes and a new state comes last.
func (k Kind) Statuses() []Status { return slices.Clone(k.profile().statuses) }

// Place is a state's position in Statuses, -1 for what is no state of the kind.
func (k Kind) Place(s Status) int { return slices.Index(k.profile().statuses, s) }

// ParseStatus tells a state of this kind from any other text. The error names the states there are.
func (k Kind) ParseStatus(s string) (Status, error) {
	if !slices.Contains(k.profile().statuses, Status(s)) {
		names := make([]string, 0, len(k.profile().statuses))
		for _, known := range k.profile().statuses {
			names = append(names, string(known))
		}
		return "", fmt.Errorf("%.60q is not a state of a %s; there are %s", s, k, strings.Join(names, ", "))
	}
	return Status(s), nil
}

// Initial is the state a resource of this kind is created in; "" for what is no kind.
func (k Kind) Initial() Status {
	if all := k.profile().statuses; len(all) > 0 {
		return all[0]
	}
	return ""
}

// Final tells whether no legal step leads out of the state. It is false for what is no state of this kind.
func (k Kind) Final(s Status) bool {
	return slices.Contains(k.profile().statuses, s) &&
		!slices.ContainsFunc(steps, func(st step) bool { return st.kind == k && st.from == s })
}

// Reaches tells whether a change from one state to the other is legal (contract "First change, and steps"): the same
// state again, or any state that one or more legal steps lead to, since an observer may miss the states in between.
// A move backwards, out of a final state, or with a state that this kind does not have, is not.
func (k Kind) Reaches(from, to Status) bool {
	if from == to {
		return slices.Contains(k.profile().statuses, from)
	}
	return reachable[move{k, from, to}]
}
