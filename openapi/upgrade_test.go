package openapi_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/openapitest"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/openapi"
)

func TestAV4ConsentIsFilledUpToV5(t *testing.T) {
	const odd = `{ "status":"X", "z":1.50, "payment" : {"type":"PIX","amount":"1.00",%s,"details":{"qrCode":"\u0041", "localInstrument":"%s" },"note":[1, 2]}, "a":{"b" : 1e2} }`
	document := func(shape, instrument string) string {
		return strings.Replace(strings.Replace(odd, "%s", shape, 1), "%s", instrument, 1)
	}
	const absent = `"additionalInformation":"Informação não disponível para consentimentos originados em versão anterior"`
	for name, c := range map[string]struct{ shape, instrument, payment, tail string }{
		"an immediate payment": {
			`"date":"2026-11-21"`, "DICT",
			`"date":"2026-11-21","details":{"qrCode":"\u0041", "localInstrument":"DICT" }`, `"purpose":"IMMEDIATE"`,
		},
		"a single schedule": {
			`"schedule":{"single":{"date" : "2026-11-22"}}`, "DICT",
			`"schedule":{"single":{"date" : "2026-11-22"},` + absent + `},"details":{"qrCode":"\u0041", "localInstrument":"DICT" }`, `"purpose":"SINGLE_SCHEDULED"`,
		},
		"a weekly schedule": {
			`"schedule":{"weekly":{"quantity":2}}`, "QRES",
			`"schedule":{"weekly":{"quantity":2},` + absent + `},"details":{"qrCode":"\u0041", "localInstrument":"QRES" }`, `"purpose":"RECURRENT_SCHEDULED"`,
		},
		"a custom schedule has a text of its own": {
			`"schedule":{"custom":{"additionalInformation":"às \u0022terças\u0022","dates":["a","b"]}}`, "MANU",
			`"schedule":{"custom":{"dates":["a","b"]},"additionalInformation":"às \u0022terças\u0022"},"details":{"qrCode":"\u0041", "localInstrument":"MANU" }`, `"purpose":"RECURRENT_SCHEDULED"`,
		},
		"a dynamic QR code has a payload nobody decodes": {
			`"date":"2026-11-21"`, "QRDN",
			`"date":"2026-11-21","details":{"qrCode":"\u0041","localInstrument":"QRDN","payloadJWS":"inexistente.inexistente.inexistente"}`, `"purpose":"IMMEDIATE"`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := openapi.Upgrade(ofb.PaymentConsent, "v4", "v5", []byte(document(c.shape, c.instrument)))
			require.NoError(t, err)
			want := `{"status":"X","z":1.50,"payment":{"type":"PIX","amount":"1.00",` + c.payment + `,"note":[1, 2],` + c.tail + `},"a":{"b" : 1e2}}`
			require.Equal(t, want, string(got))
		})
	}
}

func TestWhatIsNotConcernedIsReturnedAsItIs(t *testing.T) {
	for _, s := range samples() {
		document := s.document(openapitest.Created(noon))
		same, err := openapi.Upgrade(s.kind, s.version, s.version, document)
		require.NoError(t, err)
		require.Equal(t, document, same, s.name)
	}
}

func TestAnUpgradedDocumentIsValidInV5(t *testing.T) {
	schemas := load(t)
	for _, s := range samples() {
		if s.version != "v4" {
			continue
		}
		upgraded, err := openapi.Upgrade(s.kind, "v4", "v5", s.document())
		require.NoError(t, err)
		require.Empty(t, schemas.Check(s.kind, "v5", decode(t, upgraded)), s.name)
		again, err := openapi.Upgrade(s.kind, "v4", "v5", upgraded)
		require.NoError(t, err)
		require.JSONEq(t, string(upgraded), string(again), "a second time changes nothing")
	}
}

func TestAPaymentOfV4LosesItsTownInV5(t *testing.T) {
	got, err := openapi.Upgrade(ofb.PixPayment, "v4", "v5", []byte(`{"a": 1,"ibgeTownCode":"5300108","b":2 }`))
	require.NoError(t, err)
	require.Equal(t, `{"a":1,"b":2}`, string(got))
}

func TestANewerResourceIsNotReadableThroughAnOlderVersion(t *testing.T) {
	for _, kind := range []ofb.Kind{ofb.PaymentConsent, ofb.PixPayment} {
		_, err := openapi.Upgrade(kind, "v5", "v4", []byte(`{}`))
		require.ErrorIs(t, err, openapi.ErrNotReadable)
	}
	for _, versions := range [][2]string{{"v4", "v6"}, {"v3", "v4"}, {"", ""}} {
		_, err := openapi.Upgrade(ofb.PixPayment, versions[0], versions[1], []byte(`{}`))
		require.Error(t, err)
		require.NotErrorIs(t, err, openapi.ErrNotReadable)
	}
}

func TestAV4AnswerHasNoReasonOutsideItsList(t *testing.T) {
	schemas := load(t)
	for kind, code := range map[ofb.Kind]string{ofb.PaymentConsent: "PERMISSAO_INSUFICIENTE", ofb.PixPayment: "QRCODE_INVALIDO"} {
		status := ofb.Rejected
		if kind == ofb.PixPayment {
			status = ofb.RJCT
		}
		document := openapitest.Document(kind, "v4", status, openapitest.SampleID(kind, 1), openapitest.Edit(func(data map[string]any) {
			data["rejectionReason"] = object{"code": code, "detail": strings.Repeat("é", 2048)}
		}))
		got, err := openapi.Upgrade(kind, "v4", "v4", document)
		require.NoError(t, err)
		data := decode(t, got)
		require.Equal(t, "NAO_INFORMADO", at(data, "rejectionReason")["code"])
		require.True(t, strings.HasPrefix(at(data, "rejectionReason")["detail"].(string), code+": é"))
		require.Empty(t, schemas.Check(kind, "v4", data))

		through, err := openapi.Upgrade(kind, "v4", "v5", document)
		require.NoError(t, err)
		require.Equal(t, code, at(decode(t, through), "rejectionReason")["code"], "v5 has the reason")
	}
	mentioned := []byte(`{"remittanceInformation":"QRCODE_INVALIDO"}`)
	same, err := openapi.Upgrade(ofb.PixPayment, "v4", "v4", mentioned)
	require.NoError(t, err)
	require.Equal(t, mentioned, same)
}

func TestListItemsHaveTheMembersOfTheirLists(t *testing.T) {
	names := func(kind ofb.Kind, version string, status ofb.Status) []string {
		item, err := openapi.ListItem(kind, openapitest.Document(kind, version, status, "p-1", openapitest.Complete()))
		require.NoError(t, err)
		var members map[string]any
		require.NoError(t, json.Unmarshal(item, &members))
		var list []string
		for name := range members {
			list = append(list, name)
		}
		return list
	}
	eleven := []string{
		"paymentId", "endToEndId", "consentId", "creationDateTime", "statusUpdateDateTime", "status", "localInstrument",
		"cnpjInitiator", "payment", "creditorAccount", "debtorAccount",
	}
	require.ElementsMatch(t, eleven, names(ofb.PixPayment, "v4", ofb.RJCT))
	require.ElementsMatch(t, eleven, names(ofb.PixPayment, "v5", ofb.CANC))
	require.ElementsMatch(t, []string{
		"recurringPaymentId", "recurringConsentId", "endToEndId", "date", "creationDateTime", "statusUpdateDateTime", "status",
		"rejectionReason", "payment", "remittanceInformation", "transactionIdentification", "document",
		"originalRecurringPaymentId", "paymentReference",
	}, names(ofb.RecurringPayment, "v2", ofb.RJCT))

	item, err := openapi.ListItem(ofb.PixPayment, []byte(`{"status" : "ACSC", "proxy":"x", "payment":{"amount" : "1.00"}, "paymentId":"\u0070"}`))
	require.NoError(t, err)
	require.Equal(t, `{"status":"ACSC","payment":{"amount" : "1.00"},"paymentId":"\u0070"}`, string(item), "order and text stay")

	_, err = openapi.ListItem(ofb.PaymentConsent, []byte(`{}`))
	require.Error(t, err)
}

func TestADocumentThatCannotBeReadIsAnErrorWithoutItsText(t *testing.T) {
	for _, document := range []string{"", "null", "[]", `{"payment":{"schedule":7,"details":{}}}`, `{"payment":{}}`, `{"payment":"98765432100"}`, `{"payment":{`, `{"ibgeTownCode":98765432100`} {
		_, err := openapi.Upgrade(ofb.PaymentConsent, "v4", "v5", []byte(document))
		require.Error(t, err, document)
		require.NotContains(t, err.Error(), "987")
	}
	_, err := openapi.Upgrade(ofb.PixPayment, "v4", "v5", []byte(`{"ibgeTownCode":98765432100`))
	require.Error(t, err)
	require.NotContains(t, err.Error(), "987")
}

func BenchmarkUpgrade(b *testing.B) {
	document := openapitest.Document(ofb.PaymentConsent, "v4", ofb.Authorised, "urn:b:1", openapitest.Complete())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := openapi.Upgrade(ofb.PaymentConsent, "v4", "v5", document); err != nil {
			b.Fatal(err)
		}
	}
}
