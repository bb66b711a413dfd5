package openapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/arauto/arauto/internal/ofb"
)

// ErrNotReadable says that a resource cannot be asked through an older version than the one that created it
// (status-apis §3.4 rule 4); the answer is 400.
var ErrNotReadable = errors.New("resource was created under a newer version of the API")

// The texts that a newer body carries where the older resource has none (status-apis §3.4 rule 6). Nobody decodes the
// payload; it is no JWS.
const (
	absentPayload     = "inexistente.inexistente.inexistente"
	absentInformation = "Informação não disponível para consentimentos originados em versão anterior"
)

// Upgrade makes of a stored document, valid in the version that created it (from), what a query through version to
// answers (status-apis §3.4). Members that are not concerned keep their order and their text. The document is returned
// as it is when there is nothing to change. ErrNotReadable when to is older than from.
func Upgrade(kind ofb.Kind, from, to string, document []byte) ([]byte, error) {
	versions := kind.Versions()
	created, asked := slices.Index(versions, from), slices.Index(versions, to)
	switch {
	case created < 0 || asked < 0:
		return nil, fmt.Errorf("there is no %s of version %.8q or %.8q", kind, from, to)
	case asked < created:
		return nil, ErrNotReadable
	case to == "v4":
		return withinReasons(kind, document)
	case from == "v4" && to == "v5" && kind == ofb.PaymentConsent:
		return upgradeConsent(document)
	case from == "v4" && to == "v5" && kind == ofb.PixPayment:
		return upgradePayment(document)
	}
	return document, nil
}

// upgradeConsent fills a v5 body from a v4 consent.
func upgradeConsent(document []byte) ([]byte, error) {
	data, err := parseMembers(document)
	if err != nil {
		return nil, fmt.Errorf("upgrade payment consent: %w", err)
	}
	payment, err := data.object("payment")
	if err != nil {
		return nil, fmt.Errorf("upgrade payment consent: %w", err)
	}
	purpose := "IMMEDIATE"
	if payment.has("schedule") {
		schedule, err := payment.object("schedule")
		if err != nil {
			return nil, fmt.Errorf("upgrade payment consent: %w", err)
		}
		if purpose, err = upgradeSchedule(&schedule); err != nil {
			return nil, fmt.Errorf("upgrade payment consent: %w", err)
		}
		payment.set("schedule", schedule.text())
	}
	if !payment.has("purpose") {
		payment.set("purpose", quote(purpose))
	}
	details, err := payment.object("details")
	if err != nil {
		return nil, fmt.Errorf("upgrade payment consent: %w", err)
	}
	if details.str("localInstrument") == "QRDN" && !details.has("payloadJWS") {
		details.set("payloadJWS", quote(absentPayload))
		payment.set("details", details.text())
	}
	data.set("payment", payment.text())
	return data.text(), nil
}

// upgradeSchedule moves the text for the payer to the root of the schedule, where v5 has it and custom no longer does,
// and tells the purpose that the shape means.
func upgradeSchedule(schedule *rawMembers) (purpose string, err error) {
	information := quote(absentInformation)
	purpose = "RECURRENT_SCHEDULED"
	if schedule.has("single") {
		purpose = "SINGLE_SCHEDULED"
	}
	if schedule.has("custom") {
		custom, err := schedule.object("custom")
		if err != nil {
			return "", err
		}
		if i := custom.index("additionalInformation"); i >= 0 {
			information = custom[i].value
			schedule.set("custom", custom.drop("additionalInformation").text())
		}
	}
	if !schedule.has("additionalInformation") {
		schedule.set("additionalInformation", information)
	}
	return purpose, nil
}

// upgradePayment leaves out the town, which v5 payments do not have.
func upgradePayment(document []byte) ([]byte, error) {
	if !bytes.Contains(document, []byte(`ibgeTownCode`)) {
		return document, nil
	}
	data, err := parseMembers(document)
	if err != nil {
		return nil, fmt.Errorf("upgrade payment: %w", err)
	}
	return data.drop("ibgeTownCode").text(), nil
}

// newerReasons are the reasons that v5 added; a v4 answer must not carry them (status-apis §3.1.2, §3.2.2). A test
// holds them against the documents.
var newerReasons = map[ofb.Kind][]string{
	ofb.PaymentConsent: {"PERMISSAO_INSUFICIENTE"},
	ofb.PixPayment:     {"CONTA_NAO_PERMITE_PAGAMENTO", "QRCODE_INVALIDO"},
}

// maxReasonDetail is the longest detail of a rejection, in characters.
const maxReasonDetail = 2048

// withinReasons maps a reason that v4 does not have to NAO_INFORMADO and tells the real one in its detail
// (status-apis §3.2.2). The intake refuses such a document; this keeps the promise for what a timer or an import wrote.
func withinReasons(kind ofb.Kind, document []byte) ([]byte, error) {
	return mapReason(document, []string{"rejectionReason"}, newerReasons[kind])
}

// mapReason maps the reason that stands at a place of the document to NAO_INFORMADO when it is one of these codes, and puts its code
// before its detail.
func mapReason(document []byte, at, codes []string) ([]byte, error) {
	gone := slices.ContainsFunc(codes, func(code string) bool { return bytes.Contains(document, []byte(code)) })
	if !gone {
		return document, nil
	}
	data, err := parseMembers(document)
	if err != nil {
		return nil, fmt.Errorf("map reason: %w", err)
	}
	parents := []rawMembers{data}
	for _, name := range at {
		inner := parents[len(parents)-1]
		if !inner.has(name) {
			return document, nil
		}
		object, err := inner.object(name)
		if err != nil {
			return nil, fmt.Errorf("map reason: %w", err)
		}
		parents = append(parents, object)
	}
	reason := &parents[len(parents)-1]
	code := reason.str("code")
	if !slices.Contains(codes, code) {
		return document, nil
	}
	detail := []rune(code + ": " + reason.str("detail"))
	reason.set("code", quote("NAO_INFORMADO"))
	reason.set("detail", quote(string(detail[:min(len(detail), maxReasonDetail)])))
	for i := len(at) - 1; i >= 0; i-- {
		parents[i].set(at[i], parents[i+1].text())
	}
	return parents[0].text(), nil
}

// itemMembers are the members of an item of the two lists. Payments of a consent have all eleven that the official
// files require, although they define only four (status-apis §3.3); recurring payments have those of status-apis §4.3.
var itemMembers = map[ofb.Kind][]string{
	ofb.PixPayment: {
		"paymentId", "endToEndId", "consentId", "creationDateTime", "statusUpdateDateTime", "status", "localInstrument",
		"cnpjInitiator", "payment", "creditorAccount", "debtorAccount",
	},
	ofb.RecurringPayment: {
		"recurringPaymentId", "recurringConsentId", "endToEndId", "date", "creationDateTime", "statusUpdateDateTime", "status",
		"rejectionReason", "payment", "remittanceInformation", "transactionIdentification", "document",
		"originalRecurringPaymentId", "paymentReference",
	},
}

// ListItem makes of a stored payment its item in the list that GET …/consents/{consentId}/pix/payments or
// GET …/pix/recurring-payments answers. The items are the same in v4 and v5. It fails for kinds that no list shows.
func ListItem(kind ofb.Kind, document []byte) (json.RawMessage, error) {
	names, ok := itemMembers[kind]
	if !ok {
		return nil, fmt.Errorf("no list shows a %s", kind)
	}
	data, err := parseMembers(document)
	if err != nil {
		return nil, fmt.Errorf("make list item: %w", err)
	}
	return data.keep(names...).text(), nil
}
