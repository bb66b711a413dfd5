package sandbox

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/arauto/arauto/internal/lab/openapitest"
	"github.com/arauto/arauto/internal/lab/stage"
	"github.com/arauto/arauto/internal/ofb"
)

// resource is one resource of the stand-in core.
type resource struct {
	kind            ofb.Kind
	version, client string
	id, consent     string
	asked           map[string]any // what the creating POST carried; nil: made by a trigger
	amount          string         // "": the document's own

	mu               sync.Mutex // of what follows, and held while a change is told
	created, updated time.Time
	status           ofb.Status
	revision         int64
	reason           string // of a rejection; "": the document's own
	edits            int    // limits changed so far
}

// newResource makes a resource in its initial state, which nobody knows yet.
func newResource(kind ofb.Kind, version, client string) *resource {
	r := &resource{kind: kind, version: version, client: client, id: uuid.NewString(), created: time.Now(), status: kind.Initial()}
	if !slices.Contains(payments, kind) {
		r.id = "urn:arauto:" + r.id
	}
	r.updated = r.created
	return r
}

// windows are how long an initial state lasts (webhook §5.7).
var windows = map[ofb.Kind]time.Duration{ofb.PaymentConsent: 5 * time.Minute, ofb.RecurringConsent: time.Hour, ofb.Enrollment: 5 * time.Minute}

// follow prepares a resource for its story, before its creation is told.
func (r *resource) follow(o *Outcome) {
	r.reason = o.Reason
	switch {
	case o.Expires:
		r.created = time.Now().Truncate(time.Second).Add(expiresIn - windows[r.kind])
	case o.Late > 0:
		r.created = time.Now().Add(-o.Late - time.Second)
	}
	r.updated = r.created
}

// requested are the members of each kind that the creating POST decides and GET shows. Members of the POST that GET does not show are
// in hidden.
var (
	requested = map[ofb.Kind][]string{
		ofb.PaymentConsent: {"loggedUser", "businessEntity", "creditor", "payment", "debtorAccount"},
		ofb.PixPayment: {
			"endToEndId", "localInstrument", "payment", "creditorAccount", "remittanceInformation", "proxy", "cnpjInitiator", "transactionIdentification",
			"ibgeTownCode", "authorisationFlow", "consentId",
		},
		ofb.RecurringConsent: {
			"loggedUser", "businessEntity", "creditors", "expirationDateTime", "recurringConfiguration", "debtorAccount", "additionalInformation", "journey",
		},
		ofb.RecurringPayment: {
			"endToEndId", "date", "payment", "creditorAccount", "remittanceInformation", "cnpjInitiator", "authorisationFlow", "localInstrument", "proxy",
			"recurringConsentId", "document", "paymentReference", "transactionIdentification", "originalRecurringPaymentId",
		},
		ofb.Enrollment: {"loggedUser", "businessEntity", "permissions", "expirationDateTime", "enrollmentName", "debtorAccount", "journey"},
	}
	hidden = map[ofb.Kind][]string{
		ofb.PixPayment:       {"qrCode", "payloadJWS", "deliveryDate"},
		ofb.RecurringConsent: {"riskSignals"},
		ofb.RecurringPayment: {"ibgeTownCode", "riskSignals"},
	}
)

// unknownMember names a member that no POST of the kind has; "" for none.
func unknownMember(kind ofb.Kind, asked map[string]any) string {
	for _, name := range slices.Sorted(maps.Keys(asked)) {
		if !slices.Contains(requested[kind], name) && !slices.Contains(hidden[kind], name) {
			return name
		}
	}
	return ""
}

// document is the data that GET shows.
func (r *resource) document() []byte {
	options := []openapitest.Option{openapitest.Created(r.created), openapitest.Updated(r.updated), openapitest.Edit(r.edit)}
	if r.consent != "" {
		options = append(options, openapitest.UnderConsent(r.consent))
	}
	return openapitest.Document(r.kind, r.version, r.status, r.id, options...)
}

// edit makes of a made-up document that of this resource.
func (r *resource) edit(data map[string]any) {
	if r.asked != nil {
		for _, name := range requested[r.kind] {
			value, there := r.asked[name]
			switch {
			case there:
				data[name] = value
			case name != "debtorAccount" && name != "consentId" && name != "recurringConsentId":
				delete(data, name)
			}
		}
	} else if r.amount != "" {
		setAmount(r.kind, data, r.amount)
	}
	if r.edits > 0 {
		r.changeLimit(data)
	}
	if r.reason != "" && (r.status == ofb.RJCT || r.status == ofb.Rejected) {
		r.setReason(data)
	}
}

func (r *resource) setReason(data map[string]any) {
	var at map[string]any
	switch r.kind {
	case ofb.RecurringConsent:
		at = data["rejection"].(map[string]any)["reason"].(map[string]any)
	case ofb.Enrollment:
		at = data["cancellation"].(map[string]any)["reason"].(map[string]any)
		at["rejectionReason"] = r.reason
		return
	default:
		at = data["rejectionReason"].(map[string]any)
	}
	at["code"], at["detail"] = r.reason, "Rejeitado no sandbox: "+r.reason
}

// changeLimit changes a limit whose edit at the holder must be notified.
func (r *resource) changeLimit(data map[string]any) {
	limit := fmt.Sprintf("%d.00", 2500+r.edits)
	if r.kind == ofb.Enrollment {
		data["dailyLimit"] = limit
		return
	}
	configuration, _ := data["recurringConfiguration"].(map[string]any)
	if automatic, is := configuration["automatic"].(map[string]any); is {
		changed := maps.Clone(automatic) // the request's own stays as it was
		if _, fixed := automatic["fixedAmount"]; fixed {
			changed["useOverdraftLimit"] = automatic["useOverdraftLimit"] != true
		} else {
			changed["maximumVariableAmount"] = limit
		}
		data["recurringConfiguration"] = map[string]any{"automatic": changed}
	}
	if sweeping, is := configuration["sweeping"].(map[string]any); is {
		changed := maps.Clone(sweeping)
		changed["useOverdraftLimit"] = sweeping["useOverdraftLimit"] != true
		data["recurringConfiguration"] = map[string]any{"sweeping": changed}
	}
}

func setAmount(kind ofb.Kind, data map[string]any, amount string) {
	switch kind {
	case ofb.PaymentConsent, ofb.PixPayment, ofb.RecurringPayment:
		data["payment"].(map[string]any)["amount"] = amount
	case ofb.RecurringConsent:
		data["recurringConfiguration"].(map[string]any)["automatic"].(map[string]any)["maximumVariableAmount"] = amount
	case ofb.Enrollment:
		data["enrollmentName"] = "Celular fictício " + amount
	}
}

// amountForm is that of the APIs: two digits behind the point.
var amountForm = regexp.MustCompile(`^[0-9]{1,16}\.([0-9]{2})$`)

// nameEnding finds an amount at the end of an enrolment's name, which has no amount of its own.
var nameEnding = regexp.MustCompile(`(?:^|\s)([0-9]{1,16}\.[0-9]{2})$`)

// centsOf reads the cents of an amount.
func centsOf(amount string) (int, error) {
	m := amountForm.FindStringSubmatch(amount)
	if m == nil {
		return 0, wrong("amount %.40q is not in the form 10.00", "o valor %.40q não tem a forma 10.00", amount)
	}
	return strconv.Atoi(m[1])
}

// amountOf finds the amount of what a POST asks for; "" where it has none.
func amountOf(kind ofb.Kind, asked map[string]any) string {
	text := func(at any, path ...string) string {
		for _, name := range path {
			object, _ := at.(map[string]any)
			at = object[name]
		}
		s, _ := at.(string)
		return s
	}
	switch kind {
	case ofb.PaymentConsent, ofb.PixPayment, ofb.RecurringPayment:
		return text(asked, "payment", "amount")
	case ofb.RecurringConsent:
		for _, path := range [][]string{
			{"automatic", "fixedAmount"},
			{"automatic", "maximumVariableAmount"},
			{"automatic", "minimumVariableAmount"},
			{"sweeping", "totalAllowedAmount"},
			{"vrp", "transactionLimit"},
		} {
			if found := text(asked["recurringConfiguration"], path...); found != "" {
				return found
			}
		}
	case ofb.Enrollment:
		if m := nameEnding.FindStringSubmatch(text(asked, "enrollmentName")); m != nil {
			return m[1]
		}
	}
	return ""
}

// next is the next change of a resource, which enters a state at an instant.
func (r *resource) next(to ofb.Status, at time.Time) stage.Change {
	if r.status != to {
		r.status, r.updated = to, at
	}
	r.revision++
	return stage.Change{
		Kind: r.kind.String(), ClientID: r.client, APIVersion: r.version, Revision: r.revision, OccurredAt: at.UTC(), Cause: string(ofb.Holder), Data: r.document(),
	}
}
