package openapi

import (
	"slices"
	"strings"

	"github.com/arauto/arauto/internal/ofb"
)

// condition is a rule between members that the schema language cannot say. Only rules without "may" and "where the
// holder's policy" are here, and only those about what the holder itself writes; a comment beside the rule names what
// was left out and why.
type condition struct {
	kind   ofb.Kind
	at     string // object that the rule is about: "" for data itself, else names with slashes between
	member string // the member that must or must not be there

	states []ofb.Status // it must be there in these states
	only   bool         // and in no other

	excludes string // it must not be there together with this one

	when  string   // it must be there when this member
	among []string // has one of these values

	clause string
}

// conditions lists the rules, by kind.
var conditions = slices.Concat(
	[]condition{
		// The account a REJECTED consent knows is there only if it had been picked, so no rule (status-apis §3.1).
		{kind: ofb.PaymentConsent, member: "debtorAccount", states: []ofb.Status{ofb.Authorised, ofb.Consumed}, clause: "status-apis §3.1"},
		{kind: ofb.PaymentConsent, member: "rejectionReason", states: []ofb.Status{ofb.Rejected}, only: true, clause: "status-apis §3.1, §7 item 4"},
		{kind: ofb.PaymentConsent, at: "payment", member: "schedule", excludes: "date", clause: "status-apis §3.1"},

		{kind: ofb.PixPayment, member: "rejectionReason", states: []ofb.Status{ofb.RJCT}, only: true, clause: "status-apis §3.2, §7 item 4"},
		{kind: ofb.PixPayment, member: "cancellation", states: []ofb.Status{ofb.CANC}, only: true, clause: "status-apis §3.2, §7 item 4"},

		// REVOKED and CONSUMED are reached from AUTHORISED alone. authorisedAtDateTime, updatedAtDateTime and
		// approvalDueDate are missing from consents older than 2.0.0, so no rule asks for them (status-apis §4.1.1).
		{kind: ofb.RecurringConsent, member: "debtorAccount", states: []ofb.Status{ofb.Authorised, ofb.Revoked, ofb.Consumed}, clause: "status-apis §4.1"},
		{kind: ofb.RecurringConsent, member: "rejection", states: []ofb.Status{ofb.Rejected}, only: true, clause: "status-apis §4.1, §7 item 4"},
		{kind: ofb.RecurringConsent, member: "revocation", states: []ofb.Status{ofb.Revoked}, only: true, clause: "status-apis §4.1, §7 item 4"},
		{kind: ofb.RecurringConsent, at: "recurringConfiguration/automatic", member: "maximumVariableAmount", excludes: "fixedAmount", clause: "status-apis §4.1"},
		{kind: ofb.RecurringConsent, at: "recurringConfiguration/automatic", member: "minimumVariableAmount", excludes: "fixedAmount", clause: "status-apis §4.1"},

		// Payments older than 2.0.0 have no creditorAccount, so no rule asks for it (status-apis §4.2).
		{kind: ofb.RecurringPayment, member: "recurringConsentId", when: "authorisationFlow", among: []string{"FIDO_FLOW"}, clause: "status-apis §4.2"},
		{kind: ofb.RecurringPayment, member: "rejectionReason", states: []ofb.Status{ofb.RJCT}, only: true, clause: "status-apis §4.2, §7 item 4"},
		{kind: ofb.RecurringPayment, member: "cancellation", states: []ofb.Status{ofb.CANC}, only: true, clause: "status-apis §4.2, §7 item 4"},

		{kind: ofb.Enrollment, member: "debtorAccount", states: []ofb.Status{ofb.AwaitingEnrollment, ofb.Authorised, ofb.Revoked}, clause: "status-apis §5.1"},
		{kind: ofb.Enrollment, member: "cancellation", states: []ofb.Status{ofb.Rejected, ofb.Revoked}, only: true, clause: "status-apis §5.1, §7 item 4"},
		{kind: ofb.Enrollment, at: "cancellation/reason", member: "rejectionReason", states: []ofb.Status{ofb.Rejected}, only: true, clause: "status-apis §5.1"},
		{kind: ofb.Enrollment, at: "cancellation/reason", member: "revocationReason", states: []ofb.Status{ofb.Revoked}, only: true, clause: "status-apis §5.1"},
	},
	branch(ofb.PaymentConsent, "debtorAccount", "payment/details/creditorAccount"),
	branch(ofb.PixPayment, "debtorAccount", "creditorAccount"),
	branch(ofb.RecurringConsent, "debtorAccount", "recurringConfiguration/automatic/firstPayment/creditorAccount"),
	branch(ofb.RecurringPayment, "debtorAccount", "creditorAccount"),
	branch(ofb.Enrollment, "debtorAccount"),
)

// branch asks for the branch of checking and savings accounts.
func branch(kind ofb.Kind, accounts ...string) []condition {
	rules := make([]condition, len(accounts))
	for i, account := range accounts {
		rules[i] = condition{
			kind: kind, at: account, member: "issuer", when: "accountType", among: []string{"CACC", "SVGS"},
			clause: "status-apis §3.1, note on issuer",
		}
	}
	return rules
}

// check adds a problem when the rule is broken. Where the object of the rule is missing or malformed there is nothing
// to add: the schema has told that, or the object is optional.
func (c *condition) check(r *problemList, data map[string]any) {
	object := data
	for name := range strings.SplitSeq(c.at, "/") {
		if name == "" {
			break
		}
		inner, ok := object[name].(map[string]any)
		if !ok {
			return
		}
		object = inner
	}
	_, there := object[c.member]
	switch {
	case c.excludes != "":
		if object[c.member] != nil && object[c.excludes] != nil {
			r.add(problem(c.pointer(), CodeConditional, both("%s and %s exclude one another", "%s e %s se excluem", c.member, c.excludes)))
		}
	case c.when != "":
		if value, _ := object[c.when].(string); !there && slices.Contains(c.among, value) {
			r.add(problem(c.pointer(), CodeConditional, both(
				"%s is required when %s is %s", "%s é obrigatório quando %s é %s", c.member, c.when, value)))
		}
	default:
		c.checkState(r, data, there)
	}
}

// checkState judges a rule about the states in which a member is there.
func (c *condition) checkState(r *problemList, data map[string]any, there bool) {
	status, _ := data["status"].(string)
	if c.kind.Place(ofb.Status(status)) < 0 {
		return // the schema tells that
	}
	due := slices.Contains(c.states, ofb.Status(status))
	switch {
	case due && !there:
		r.add(problem(c.pointer(), CodeConditional, both(
			"%s is required when status is %s", "%s é obrigatório quando status é %s", c.member, status)))
	case !due && there && c.only:
		r.add(problem(c.pointer(), CodeConditional, both(
			"%s must be there only when status is %s", "%s só deve ser informado quando status é %s", c.member, c.list())))
	}
}

// list names the states of the rule.
func (c *condition) list() string {
	names := make([]string, len(c.states))
	for i, s := range c.states {
		names[i] = string(s)
	}
	return strings.Join(names, ", ")
}

// pointer is where the member stands, or should.
func (c *condition) pointer() string {
	if c.at == "" {
		return "/data/" + c.member
	}
	return "/data/" + c.at + "/" + c.member
}
