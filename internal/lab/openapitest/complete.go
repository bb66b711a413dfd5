package openapitest

import "github.com/arauto/arauto/internal/ofb"

// fill adds the optional members that a plain document leaves out.
func (p *plan) fill(data object) {
	company := object{"document": object{"identification": "99999999000191", "rel": "CNPJ"}}
	journey := object{"isLinked": true, "linkId": "urn:bancoexemplo:" + p.digest(20)}
	switch p.kind {
	case ofb.PaymentConsent:
		data["businessEntity"] = company
		p.fillPayment(data["payment"].(object))
	case ofb.PixPayment:
		data["localInstrument"] = "QRDN"
		data["transactionIdentification"] = p.digest(30)
		if p.version == "v4" {
			data["ibgeTownCode"] = "5300108"
		}
	case ofb.RecurringConsent:
		data["businessEntity"] = company
		data["journey"] = journey
		data["additionalInformation"] = "Consentimento fictício para testes"
		data["approvalDueDate"] = day(p.created.AddDate(0, 0, 10))
		data["updatedAtDateTime"] = instant(p.updated)
		if automatic, ok := data["recurringConfiguration"].(object)["automatic"].(object); ok {
			automatic["firstPayment"] = object{
				"type": "PIX", "date": day(p.created.AddDate(0, 0, 1)), "currency": "BRL", "amount": "10.00",
				"remittanceInformation": "Adesão fictícia", "creditorAccount": account("1774", "1234567890", "CACC"),
			}
		}
	case ofb.RecurringPayment:
		data["localInstrument"] = "DICT"
		data["proxy"] = "99999999000191"
		data["transactionIdentification"] = p.digest(25)
		data["originalRecurringPaymentId"] = SampleID(ofb.RecurringPayment, 0)
	case ofb.Enrollment:
		data["businessEntity"] = company
		data["journey"] = journey
		if cancellation, ok := data["cancellation"].(object); ok {
			cancellation["additionalInformation"] = "Encerramento fictício para testes"
		}
	}
}

// fillPayment makes the payment of a consent one by dynamic QR code.
func (p *plan) fillPayment(payment object) {
	payment["ibgeTownCode"] = "5300108"
	details := payment["details"].(object)
	details["localInstrument"] = "QRDN"
	details["qrCode"] = "00020101021226990014br.gov.bcb.pix-ficticio"
	if p.version != "v4" {
		details["payloadJWS"] = "eyJmaWN0aWNpbyI6dHJ1ZX0.eyJmaWN0aWNpbyI6dHJ1ZX0.ZmljdGljaW8"
	}
}

// automatic200 makes of a document of automatic payments 2.2.0 one of 2.0.0.
func (p *plan) automatic200(data object) {
	if _, linked := data["journey"]; linked {
		delete(data, "journey")
		data["riskSignals"] = object{
			"deviceId": p.digest(20), "isRootedDevice": false, "screenBrightness": 0.5, "elapsedTimeSinceBoot": 86400000, "osVersion": "16",
			"userTimeZoneOffset": "-03", "language": "pt", "screenDimensions": object{"height": 2400, "width": 1080}, "accountTenure": day(p.created.AddDate(-3, 0, 0)),
		}
	}
	if data["localInstrument"] == "AUTO" {
		data["localInstrument"] = "MANU"
	}
	if p.kind == ofb.RecurringPayment {
		data["paymentReference"] = "zero"
	}
}
