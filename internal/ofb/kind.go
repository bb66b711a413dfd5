// Package ofb holds the ecosystem's words and rules for payment notifications in Open Finance Brasil, as data and pure
// functions: the kinds of resource, their identifiers and states, the legal steps between states, which step must be
// announced to the initiator and on which path, and what the passing of time does to a resource.
//
// It has no clock, no context and no I/O: a caller passes "now" in. Every row of every table names the clause
// it comes from. "webhook" and "status-apis" are the two dossiers of official rules, "contract" and "product" are this
// product's outside contract; a paragraph sign points into the former, a quoted heading or D-number into the latter.
//
// The story of a change is short. Its document, the `data` object that a status GET of its version returns, becomes a
// State. Kind.Reaches says whether the step from its predecessor is legal. Judge says whether the step must be
// announced, may be announced, or is left in silence, and for which reason. Path says where the announcement goes.
// Between changes, NextTimer and Due say what the document becomes by itself.
//
// What is left to others: whether a client has a webhook, whether an optional announcement is switched on, whether a
// state was announced before (package intake), and whether a document fits its schema (package openapi).
package ofb

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Kind is one of the five kinds of resource whose state an initiator is told about (webhook §1.2). The zero Kind is
// none of them: it has no states, no versions and no path, and accepts no id.
type Kind uint8

// The five kinds. Their numbers are stored, so they never change.
const (
	PaymentConsent   Kind = 1 // consent to one payment, or to a schedule of payments
	PixPayment       Kind = 2 // payment under such a consent
	RecurringConsent Kind = 3 // long-lived consent: automatic Pix, or transfers between one's own accounts
	RecurringPayment Kind = 4 // payment under a long-lived consent
	Enrollment       Kind = 5 // link of a device, for payments without redirection
)

// identifier is the form of a resource's id.
type identifier struct {
	pattern *regexp.Regexp
	max     int    // bytes; the patterns admit ASCII only
	form    string // the form in words, for error messages
}

// The two forms of id (status-apis §1.9 URN and RESID). An enrolment's id is a URN: the pattern that the webhook API
// gives for it rejects the colon and is a known defect (webhook §1.2, §11 Q3).
var (
	urn = identifier{
		pattern: regexp.MustCompile(`^urn:[a-zA-Z0-9][a-zA-Z0-9\-]{0,31}:[a-zA-Z0-9()+,\-.:=@;$_!*'%\/?#]+$`),
		max:     256,
		form:    "a URN such as urn:bank:0b8f6c2e, at most 256 characters",
	}
	plain = identifier{
		pattern: regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9\-]{0,99}$`),
		max:     100,
		form:    "letters, digits and hyphens, beginning with a letter or digit, at most 100 characters",
	}
)

// profile is everything about a kind that is neither a step nor an announcement.
type profile struct {
	name      string
	idMember  string
	id        identifier
	versions  []string // of the API, as they stand in paths; oldest first
	path      string   // webhook §1.2, after the registered base; %s version, %s escaped id
	eventType bool     // the body carries data.eventType (webhook §2.1)
	clause    string   // the section on what triggers a notification
	statuses  []Status // the first is the state a resource is created in
}

// profiles is indexed by Kind. The entry of the zero Kind answers for every value that is no kind.
var profiles = [...]profile{
	{},
	PaymentConsent: {
		name: "payment-consent", idMember: "consentId", id: urn, versions: []string{"v4", "v5"},
		path:     webhookRoot + "/payments/%s/consents/%s",
		clause:   "webhook §5.1",
		statuses: []Status{AwaitingAuthorisation, PartiallyAccepted, Authorised, Rejected, Consumed},
	},
	PixPayment: {
		name: "pix-payment", idMember: "paymentId", id: plain, versions: []string{"v4", "v5"},
		path:     webhookRoot + "/payments/%s/pix/payments/%s",
		clause:   "webhook §5.2",
		statuses: []Status{RCVD, PDNG, ACCP, SCHD, ACPD, ACSC, RJCT, CANC},
	},
	RecurringConsent: {
		name: "recurring-consent", idMember: "recurringConsentId", id: urn, versions: []string{"v2"},
		path:      webhookRoot + "/automatic-payments/%s/recurring-consents/%s",
		eventType: true,
		clause:    "webhook §5.3",
		statuses:  []Status{AwaitingAuthorisation, PartiallyAccepted, Authorised, Rejected, Revoked, Consumed},
	},
	RecurringPayment: {
		name: "recurring-payment", idMember: "recurringPaymentId", id: plain, versions: []string{"v2"},
		path:     webhookRoot + "/automatic-payments/%s/pix/recurring-payments/%s",
		clause:   "webhook §5.4",
		statuses: []Status{RCVD, PDNG, ACCP, SCHD, ACPD, ACSC, RJCT, CANC},
	},
	Enrollment: {
		name: "enrollment", idMember: "enrollmentId", id: urn, versions: []string{"v2"},
		path:      webhookRoot + "/enrollments/%s/enrollments/%s",
		eventType: true,
		clause:    "webhook §5.5",
		statuses: []Status{
			AwaitingRiskSignals, AwaitingAccountHolderValidation, AwaitingEnrollment,
			Authorised, Rejected, Revoked,
		},
	},
}

func (k Kind) profile() *profile {
	if int(k) < len(profiles) {
		return &profiles[k]
	}
	return &profiles[0]
}

// Kinds lists the five kinds, in the order of their numbers.
func Kinds() []Kind {
	return []Kind{PaymentConsent, PixPayment, RecurringConsent, RecurringPayment, Enrollment}
}

// KindNames lists their names, in the same order.
func KindNames() []string {
	names := make([]string, 0, len(profiles))
	for _, k := range Kinds() {
		names = append(names, k.String())
	}
	return names
}

// ParseKind reads the name that String gives. The error names the five kinds there are.
func ParseKind(s string) (Kind, error) {
	for _, k := range Kinds() {
		if k.String() == s {
			return k, nil
		}
	}
	return 0, fmt.Errorf("%.40q is not a kind of resource; there are %s", s, strings.Join(KindNames(), ", "))
}

// String is the kind's name in this product's interfaces, such as "payment-consent"; "" for what is no kind.
func (k Kind) String() string { return k.profile().name }

// MarshalText makes a Kind its name in JSON. It fails for what is no kind.
func (k Kind) MarshalText() ([]byte, error) {
	if k.String() == "" {
		return nil, fmt.Errorf("%d is not the number of a kind of resource", uint8(k))
	}
	return []byte(k.String()), nil
}

// UnmarshalText is ParseKind.
func (k *Kind) UnmarshalText(text []byte) error {
	parsed, err := ParseKind(string(text))
	if err != nil {
		return err
	}
	*k = parsed
	return nil
}

// IDMember is the member of `data` that holds the resource's own id, such as "consentId".
func (k Kind) IDMember() string { return k.profile().idMember }

// Versions lists the API versions a resource of this kind may have been created under, oldest first, as they stand in
// paths (status-apis §0).
func (k Kind) Versions() []string { return slices.Clone(k.profile().versions) }

// CheckID says what is wrong with an id of this kind, or nil. The message tells the form that would be right and does
// not repeat the id.
func (k Kind) CheckID(id string) error {
	p := k.profile()
	switch {
	case p.id.pattern == nil:
		return fmt.Errorf("%d is not the number of a kind of resource", uint8(k))
	case id == "":
		return fmt.Errorf("%s is empty; it is %s", p.idMember, p.id.form)
	case len(id) > p.id.max:
		return fmt.Errorf("%s has %d characters; it is %s", p.idMember, len(id), p.id.form)
	case !p.id.pattern.MatchString(id):
		return fmt.Errorf("%s is malformed; it is %s", p.idMember, p.id.form)
	}
	return nil
}

// HasEventType tells whether the body of a notification about this kind carries data.eventType (webhook §2.1).
func (k Kind) HasEventType() bool { return k.profile().eventType }
