// Package openapitest makes documents: the `data` of a resource of any kind, version and state, complete, realistic
// and valid by the schemas of package openapi. Tests, the demo and the load driver use it.
//
// Everybody in these documents is made up: CPF 99999999999, CNPJ 99999999000191 and ISPB 99999004 belong to nobody.
package openapitest

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/arauto/arauto/internal/ofb"
)

// object is a JSON object under construction.
type object = map[string]any

// Option changes one thing about a document.
type Option func(*plan)

// plan is what a document is made from.
type plan struct {
	kind     ofb.Kind
	version  string
	status   ofb.Status
	id       string
	consent  string
	created  time.Time
	updated  time.Time
	schedule string
	product  string
	complete bool
	minor    string // "": the newest
	edits    []func(data map[string]any)
}

// Created sets creationDateTime, truncated to the second; the default is now. Updated follows unless it is given.
func Created(t time.Time) Option { return func(p *plan) { p.created = t } }

// Updated sets statusUpdateDateTime, truncated to the second; the default is creationDateTime.
func Updated(t time.Time) Option { return func(p *plan) { p.updated = t } }

// UnderConsent sets the consent of a payment; the default is a URN made from the payment's id.
func UnderConsent(id string) Option { return func(p *plan) { p.consent = id } }

// Scheduled makes a payment consent one with a schedule, which is single, daily, weekly, monthly or custom; the
// default is one immediate payment.
func Scheduled(shape string) Option { return func(p *plan) { p.schedule = shape } }

// Product makes a recurring consent one of automatic (the default), sweeping or vrp.
func Product(name string) Option { return func(p *plan) { p.product = name } }

// Minor makes the document one of an older minor version of its API, such as "2.0.0" of automatic payments.
func Minor(full string) Option { return func(p *plan) { p.minor = full } }

// Complete adds every optional member that the state allows.
func Complete() Option { return func(p *plan) { p.complete = true } }

// Edit changes the finished data; what comes out is the caller's own.
func Edit(edit func(data map[string]any)) Option {
	return func(p *plan) { p.edits = append(p.edits, edit) }
}

// Document is the `data` of a resource in a state, as JSON. The version is that of the creating POST, "v4", "v5" or
// "v2". It panics when the kind has no such version or state: that is a mistake of the test.
func Document(kind ofb.Kind, version string, status ofb.Status, id string, options ...Option) []byte {
	if !slices.Contains(kind.Versions(), version) || !slices.Contains(kind.Statuses(), status) {
		panic(fmt.Sprintf("openapitest: there is no %s of version %s in state %s", kind, version, status))
	}
	p := plan{kind: kind, version: version, status: status, id: id, product: "automatic"}
	for _, option := range options {
		option(&p)
	}
	if p.created.IsZero() {
		p.created = time.Now()
		if !p.updated.IsZero() {
			p.created = p.updated
		}
	}
	if p.updated.IsZero() {
		p.updated = p.created
	}
	if p.consent == "" {
		p.consent = "urn:bancoexemplo:" + p.digest(32)
	}
	data := p.data()
	if p.complete {
		p.fill(data)
	}
	if p.kind.API() == "automatic-payments" && p.minor == "2.0.0" {
		p.automatic200(data)
	}
	for _, edit := range p.edits {
		edit(data)
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(data); err != nil {
		panic(fmt.Sprintf("openapitest: encode: %v", err))
	}
	return bytes.TrimRight(out.Bytes(), "\n")
}

// Data is Document, decoded as the intake decodes it: numbers are json.Number.
func Data(kind ofb.Kind, version string, status ofb.Status, id string, options ...Option) map[string]any {
	decoder := json.NewDecoder(bytes.NewReader(Document(kind, version, status, id, options...)))
	decoder.UseNumber()
	var data map[string]any
	if err := decoder.Decode(&data); err != nil {
		panic(fmt.Sprintf("openapitest: decode: %v", err))
	}
	return data
}

// SampleID makes the n-th id of a kind; different n give different ids.
func SampleID(kind ofb.Kind, n int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d", kind, n))
	sum[6] = sum[6]&0x0f | 0x40 // the bits of a UUID v4
	sum[8] = sum[8]&0x3f | 0x80
	uuid := fmt.Sprintf("%x-%x-%x-%x-%x", sum[0:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
	switch kind {
	case ofb.PixPayment, ofb.RecurringPayment:
		return uuid
	default:
		return "urn:bancoexemplo:" + uuid
	}
}

func (p *plan) data() object {
	switch p.kind {
	case ofb.PaymentConsent:
		return p.paymentConsent()
	case ofb.PixPayment:
		return p.pixPayment()
	case ofb.RecurringConsent:
		return p.recurringConsent()
	case ofb.RecurringPayment:
		return p.recurringPayment()
	default:
		return p.enrollment()
	}
}

func (p *plan) is(statuses ...ofb.Status) bool { return slices.Contains(statuses, p.status) }

func (p *plan) paymentConsent() object {
	payment := object{
		"type": "PIX", "currency": "BRL", "amount": "150.25",
		"details": object{"localInstrument": "DICT", "proxy": "99999999000191", "creditorAccount": account("1774", "1234567890", "CACC")},
	}
	purpose := "IMMEDIATE"
	if p.schedule == "" {
		payment["date"] = day(p.created)
	} else {
		payment["schedule"] = p.scheduled()
		purpose = "RECURRENT_SCHEDULED"
		if p.schedule == "single" {
			purpose = "SINGLE_SCHEDULED"
		}
	}
	if p.version != "v4" {
		payment["purpose"] = purpose
	}
	expires := p.created.Add(5 * time.Minute) // status-apis §3.1, expirationDateTime
	if p.is(ofb.Authorised) {
		expires = p.updated.Add(60 * time.Minute)
	}
	data := object{
		"consentId": p.id, "creationDateTime": instant(p.created), "statusUpdateDateTime": instant(p.updated),
		"expirationDateTime": instant(expires), "status": p.status, "loggedUser": person(),
		"creditor": object{"personType": "PESSOA_JURIDICA", "cpfCnpj": "99999999000191", "name": "Loja Fictícia Ltda"},
		"payment":  payment,
	}
	if p.is(ofb.PartiallyAccepted, ofb.Authorised, ofb.Consumed) {
		data["debtorAccount"] = account("0001", "94088392", "CACC")
	}
	if p.is(ofb.Rejected) {
		data["rejectionReason"] = object{"code": "REJEITADO_USUARIO", "detail": "O usuário rejeitou a autorização do consentimento."}
	}
	return data
}

// scheduled is the schedule of a consent; in v5 the text for the payer stands at its root (status-apis §3.4).
func (p *plan) scheduled() object {
	start := day(p.created.AddDate(0, 0, 1))
	const information = "Agendamento fictício para testes"
	shapes := map[string]object{
		"single":  {"date": start},
		"daily":   {"startDate": start, "quantity": 10},
		"weekly":  {"dayOfWeek": "SEGUNDA_FEIRA", "startDate": start, "quantity": 8},
		"monthly": {"dayOfMonth": 5, "startDate": start, "quantity": 12},
		"custom":  {"dates": []string{start, day(p.created.AddDate(0, 1, 1))}},
	}
	shape, ok := shapes[p.schedule]
	if !ok {
		panic("openapitest: there is no schedule " + p.schedule)
	}
	schedule := object{p.schedule: shape}
	switch {
	case p.version != "v4":
		schedule["additionalInformation"] = information
	case p.schedule == "custom":
		shape["additionalInformation"] = information
	}
	return schedule
}

func (p *plan) pixPayment() object {
	data := object{
		"paymentId": p.id, "consentId": p.consent, "endToEndId": p.endToEnd(p.created),
		"creationDateTime": instant(p.created), "statusUpdateDateTime": instant(p.updated), "status": p.status,
		"localInstrument": "DICT", "proxy": "99999999000191", "cnpjInitiator": "99999999000272",
		"payment":               object{"amount": "150.25", "currency": "BRL"},
		"remittanceInformation": "Pagamento fictício para testes", "authorisationFlow": "HYBRID_FLOW",
		"creditorAccount": account("1774", "1234567890", "CACC"), "debtorAccount": account("0001", "94088392", "CACC"),
	}
	if p.is(ofb.RJCT) {
		data["rejectionReason"] = object{"code": "SALDO_INSUFICIENTE", "detail": "A conta não tem saldo para o pagamento."}
	}
	if p.is(ofb.CANC) {
		data["cancellation"] = object{
			"reason": "CANCELADO_AGENDAMENTO", "cancelledFrom": "INICIADORA",
			"cancelledAt": instant(p.updated), "cancelledBy": person(),
		}
	}
	return data
}

func (p *plan) recurringConsent() object {
	data := object{
		"recurringConsentId": p.id, "creationDateTime": instant(p.created), "statusUpdateDateTime": instant(p.updated),
		"status": p.status, "loggedUser": person(), "recurringConfiguration": p.configuration(),
		"creditors": []object{{"personType": "PESSOA_JURIDICA", "cpfCnpj": "99999999000191", "name": "Academia Fictícia Ltda"}},
		// Automatic Pix ends at 23:59:59 UTC (status-apis §4.1).
		"expirationDateTime": p.created.UTC().AddDate(1, 0, 0).Format(dayLayout) + "T23:59:59Z",
	}
	if p.is(ofb.PartiallyAccepted) {
		data["approvalDueDate"] = day(p.created.AddDate(0, 0, 10))
	}
	if p.is(ofb.PartiallyAccepted, ofb.Authorised, ofb.Revoked, ofb.Consumed) {
		debtor := account("0001", "94088392", "CACC")
		debtor["ibgeTownCode"] = "5300108"
		data["debtorAccount"] = debtor
	}
	if p.is(ofb.Authorised, ofb.Revoked, ofb.Consumed) {
		data["authorisedAtDateTime"] = instant(p.updated)
	}
	if p.is(ofb.Rejected) {
		data["rejection"] = object{
			"rejectedBy": "USUARIO", "rejectedFrom": "DETENTORA", "rejectedAt": instant(p.updated),
			"reason": object{"code": "REJEITADO_USUARIO", "detail": "O usuário rejeitou a autorização do consentimento."},
		}
	}
	if p.is(ofb.Revoked) {
		data["revocation"] = object{
			"revokedBy": "USUARIO", "revokedFrom": "INICIADORA", "revokedAt": instant(p.updated),
			"reason": object{"code": "REVOGADO_USUARIO", "detail": "O usuário pagador revogou o consentimento."},
		}
	}
	return data
}

// configuration is the product of a recurring consent.
func (p *plan) configuration() object {
	limits := object{
		"day":   object{"quantityLimit": 5, "transactionLimit": "1000.00"},
		"week":  object{"quantityLimit": 15, "transactionLimit": "5000.00"},
		"month": object{"quantityLimit": 60, "transactionLimit": "20000.00"},
		"year":  object{"quantityLimit": 200, "transactionLimit": "60000.00"},
	}
	switch p.product {
	case "automatic":
		return object{"automatic": object{
			"contractId": "CONTRATO" + p.digest(12), "maximumVariableAmount": "500.00", "minimumVariableAmount": "50.00",
			"interval": "MENSAL", "isRetryAccepted": true, "useOverdraftLimit": false,
			"referenceStartDate": day(p.created.AddDate(0, 0, 5)),
			"contractDebtor": object{
				"name": "Pessoa Fictícia de Teste", "document": object{"identification": "99999999999", "rel": "CPF"},
			},
		}}
	case "sweeping":
		return object{"sweeping": object{
			"totalAllowedAmount": "100000.00", "transactionLimit": "1000.00", "periodicLimits": limits,
			"useOverdraftLimit": true, "startDateTime": instant(p.created),
		}}
	case "vrp":
		return object{"vrp": object{
			"transactionLimit": "1000.00", "globalLimits": object{"quantityLimit": 100, "transactionLimit": "50000.00"},
			"periodicLimits": limits,
		}}
	default:
		panic("openapitest: there is no product " + p.product)
	}
}

func (p *plan) recurringPayment() object {
	settlement := p.created.UTC().AddDate(0, 0, 3)
	at := time.Date(settlement.Year(), settlement.Month(), settlement.Day(), 15, 0, 0, 0, time.UTC) // status-apis §4.2, endToEndId
	data := object{
		"recurringPaymentId": p.id, "recurringConsentId": p.consent, "endToEndId": p.endToEnd(at), "date": at.Format(dayLayout),
		"creationDateTime": instant(p.created), "statusUpdateDateTime": instant(p.updated), "status": p.status,
		"cnpjInitiator": "99999999000272", "payment": object{"amount": "99.90", "currency": "BRL"},
		"remittanceInformation": "Mensalidade fictícia para testes", "authorisationFlow": "HYBRID_FLOW",
		"document":        object{"identification": "99999999000191", "rel": "CNPJ"},
		"localInstrument": "AUTO", "paymentReference": "R/" + at.Format(dayLayout) + "/P1M",
		"creditorAccount": account("1774", "1234567890", "CACC"), "debtorAccount": account("0001", "94088392", "CACC"),
	}
	if p.is(ofb.RJCT) {
		data["rejectionReason"] = object{"code": "SALDO_INSUFICIENTE", "detail": "A conta não tem saldo para o pagamento."}
	}
	if p.is(ofb.CANC) {
		data["cancellation"] = object{
			"reason": "CANCELADO_AGENDAMENTO", "cancelledFrom": "DETENTORA", "cancelledAt": instant(p.updated),
			"cancelledBy": object{"document": object{"identification": "99999999999", "rel": "CPF"}},
		}
	}
	return data
}

func (p *plan) enrollment() object {
	data := object{
		"enrollmentId": p.id, "creationDateTime": instant(p.created), "statusUpdateDateTime": instant(p.updated),
		"status": p.status, "permissions": []string{"PAYMENTS_INITIATE"}, "loggedUser": person(),
		"expirationDateTime": instant(p.created.AddDate(2, 0, 0)), "enrollmentName": "Celular fictício",
	}
	if p.is(ofb.AwaitingEnrollment, ofb.Authorised, ofb.Revoked) {
		data["debtorAccount"] = account("0001", "94088392", "CACC")
		data["transactionLimit"] = "1000.00"
		data["dailyLimit"] = "3000.00"
	}
	if p.is(ofb.Rejected) {
		data["cancellation"] = object{
			"reason": object{"rejectionReason": "REJEITADO_MANUALMENTE"}, "cancelledFrom": "INICIADORA",
			"cancelledBy": person(), "rejectedAt": instant(p.updated),
		}
	}
	if p.is(ofb.Revoked) {
		data["cancellation"] = object{
			"reason": object{"revocationReason": "REVOGADO_MANUALMENTE"}, "cancelledFrom": "DETENTORA", "cancelledBy": person(),
		}
	}
	return data
}

// endToEnd is a Pix identifier for a settlement at t, the same for the same resource (status-apis §1.9 E2E-NUM).
func (p *plan) endToEnd(t time.Time) string {
	return "E99999004" + t.UTC().Format("200601021504") + p.digest(11)
}

// digest is n letters and digits that depend on the resource alone.
func (p *plan) digest(n int) string {
	sum := sha256.Sum256([]byte(p.kind.String() + " " + p.id))
	return strings.ToUpper(fmt.Sprintf("%x", sum))[:n]
}

func person() object {
	return object{"document": object{"identification": "99999999999", "rel": "CPF"}}
}

func account(branch, number, accountType string) object {
	return object{"ispb": "99999004", "issuer": branch, "number": number, "accountType": accountType}
}

const dayLayout = "2006-01-02"

func instant(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

func day(t time.Time) string { return t.In(ofb.Brasilia).Format(dayLayout) }
