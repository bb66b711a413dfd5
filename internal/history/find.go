package history

import (
	"encoding/json"

	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

// Hit is something that an id or a name of an operator's finds.
type Hit struct {
	Type         HitType
	ID           string   // of what was found
	Kind         ofb.Kind // of the resource it is or belongs to; 0: none
	ResourceID   string
	Client       notice.ClientID
	Name         string    // of the client; "": none is known
	Notification notice.ID // of an interaction that was an attempt; zero: none
}

// HitType says what was found.
type HitType string

// The types.
const (
	HitPayment      HitType = "payment"
	HitConsent      HitType = "consent"
	HitEnrolment    HitType = "enrolment"
	HitEndToEnd     HitType = "end-to-end" // a payment, by its end-to-end id
	HitNotification HitType = "notification"
	HitChange       HitType = "change"
	HitAttempt      HitType = "attempt" // by its interaction id, which is ours
	HitPoll         HitType = "poll"    // by its interaction id, which is the initiator's
	HitClient       HitType = "client"
	HitOrganisation HitType = "organisation"
	HitCNPJ         HitType = "cnpj-root"
)

// HitTypeOf is the type of a resource of a kind.
func HitTypeOf(k ofb.Kind) HitType {
	switch k {
	case ofb.PixPayment, ofb.RecurringPayment:
		return HitPayment
	case ofb.Enrollment:
		return HitEnrolment
	}
	return HitConsent
}

// Found are the hits of one query.
type Found struct {
	Hits []Hit
	More bool   // there are more of a type than are listed
	Mark string // stands for the query where it must not be kept as it is: a keyed digest, in hex
}

// SoughtOf is SoughtIn of a document that was read already.
func SoughtOf(document map[string]any) (endToEnd, cnpj string) {
	endToEnd, ok := textIn(document["endToEndId"])
	cnpj, also := textIn(document["cnpjInitiator"])
	if !ok || !also {
		return "", ""
	}
	return endToEnd, cnpj
}

// textIn is a text, or "" of a member that is not there or null. Nothing else is ok.
func textIn(value any) (text string, ok bool) {
	text, ok = value.(string)
	return text, ok || value == nil
}

// SoughtIn returns what a payment is found by: the end-to-end id and the initiator's CNPJ, as the document has them, unchecked. Both are "" in a
// document that cannot be read.
func SoughtIn(document []byte) (endToEnd, cnpj string) {
	r := memberReader{text: string(document)}
	for name := r.first(); name != ""; name = r.next() {
		switch name {
		case "endToEndId":
			endToEnd = r.str()
		case "cnpjInitiator":
			cnpj = r.str()
		default:
			r.skip()
		}
	}
	if r.over() {
		return endToEnd, cnpj
	}
	var read map[string]any
	if json.Unmarshal(document, &read) != nil {
		return "", ""
	}
	return SoughtOf(read)
}
