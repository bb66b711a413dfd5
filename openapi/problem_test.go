package openapi_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/openapitest"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/openapi"
)

var update = flag.Bool("update", false, "write the golden files anew; review their diff")

// object is how the sample documents are decoded.
type object = map[string]any

// at goes down into a decoded document.
func at(data object, names ...string) object {
	for _, name := range names {
		data = data[name].(object)
	}
	return data
}

// broken lists documents with mistakes, each with the words for what a person did.
var broken = []struct {
	name    string
	kind    ofb.Kind
	version string
	status  ofb.Status
	options []openapitest.Option
	edit    func(data object)
}{
	{"nothing but the status", ofb.PixPayment, "v5", ofb.ACSC, nil, func(d object) {
		for name := range d {
			if name != "status" {
				delete(d, name)
			}
		}
	}},
	{"an unknown member, and one whose name could be a document", ofb.PixPayment, "v5", ofb.ACSC, nil, func(d object) {
		d["colour"], d["98765432100"] = "blue", true
	}},
	{"a town in a v5 payment", ofb.PixPayment, "v5", ofb.ACSC, nil, func(d object) { d["ibgeTownCode"] = "5300108" }},
	{"a v5 identifier in a v4 payment", ofb.PixPayment, "v4", ofb.ACSC, nil, func(d object) {
		d["endToEndId"] = "E9999A004202611211200ABCDEF12345"
		at(d, "debtorAccount")["ispb"] = "9999A004"
	}},
	{"numbers instead of text", ofb.PixPayment, "v5", ofb.ACSC, nil, func(d object) {
		at(d, "payment")["amount"] = 150.25
		at(d, "debtorAccount")["number"] = 94088392
	}},
	{"an unknown status and an unknown instrument", ofb.PixPayment, "v4", ofb.ACSC, nil, func(d object) {
		d["status"], d["localInstrument"] = "PATC", "APDN"
	}},
	{"forms and lengths", ofb.PaymentConsent, "v5", ofb.Authorised, nil, func(d object) {
		d["consentId"] = "not-a-urn"
		d["creationDateTime"] = "2026-11-21T12:00:00.123Z"
		d["expirationDateTime"] = "2026-11-21T12:00:00-03:00"
		at(d, "creditor")["name"] = strings.Repeat("x", 151)
		at(d, "creditor")["cpfCnpj"] = "123"
		at(d, "payment")["amount"] = "12,5"
		at(d, "payment")["currency"] = "Real"
		at(d, "loggedUser", "document")["identification"] = "999.999.999-99"
		at(d, "debtorAccount")["issuer"] = "12345"
	}},
	{"days that do not exist", ofb.PaymentConsent, "v5", ofb.Authorised, nil, func(d object) {
		d["statusUpdateDateTime"] = "2026-02-30T12:00:00Z"
		d["creationDateTime"] = "2026-2-3T12:00:00Z"
		at(d, "payment")["date"] = "2026-02-29"
	}},
	{"a date and a schedule", ofb.PaymentConsent, "v5", ofb.Authorised, []openapitest.Option{openapitest.Scheduled("single")}, func(d object) {
		at(d, "payment")["date"] = "2026-11-21"
	}},
	{"two schedules", ofb.PaymentConsent, "v4", ofb.Authorised, []openapitest.Option{openapitest.Scheduled("single")}, func(d object) {
		at(d, "payment", "schedule")["daily"] = object{"startDate": "2026-11-22", "quantity": 2}
	}},
	{"no schedule in the schedule", ofb.PaymentConsent, "v5", ofb.Authorised, []openapitest.Option{openapitest.Scheduled("single")}, func(d object) {
		delete(at(d, "payment", "schedule"), "single")
	}},
	{"a schedule that is text", ofb.PaymentConsent, "v5", ofb.Authorised, []openapitest.Option{openapitest.Scheduled("single")}, func(d object) {
		at(d, "payment")["schedule"] = "tomorrow"
	}},
	{"quantities out of range", ofb.PaymentConsent, "v5", ofb.Authorised, []openapitest.Option{openapitest.Scheduled("monthly")}, func(d object) {
		at(d, "payment", "schedule", "monthly")["quantity"] = 25
		at(d, "payment", "schedule", "monthly")["dayOfMonth"] = 1.5
	}},
	{"one day in a list of at least two", ofb.PaymentConsent, "v5", ofb.Authorised, []openapitest.Option{openapitest.Scheduled("custom")}, func(d object) {
		at(d, "payment", "schedule", "custom")["dates"] = []string{"2026-13-01"}
	}},
	{"nulls", ofb.PaymentConsent, "v5", ofb.Authorised, nil, func(d object) {
		d["rejectionReason"], d["status"] = nil, nil
		at(d, "payment")["schedule"] = nil
	}},
	{"an authorised consent without account", ofb.PaymentConsent, "v5", ofb.Authorised, nil, func(d object) { delete(d, "debtorAccount") }},
	{"a rejected consent without reason", ofb.PaymentConsent, "v5", ofb.Rejected, nil, func(d object) { delete(d, "rejectionReason") }},
	{"a reason of v5 in v4", ofb.PaymentConsent, "v4", ofb.Rejected, nil, func(d object) {
		at(d, "rejectionReason")["code"] = "PERMISSAO_INSUFICIENTE"
	}},
	{"a reason without rejection", ofb.PixPayment, "v5", ofb.ACSC, nil, func(d object) {
		d["rejectionReason"] = object{"code": "NAO_INFORMADO", "detail": "x"}
	}},
	{"a cancelled payment without cancellation", ofb.PixPayment, "v5", ofb.CANC, nil, func(d object) { delete(d, "cancellation") }},
	{"checking accounts without branch", ofb.PixPayment, "v5", ofb.ACSC, nil, func(d object) {
		delete(at(d, "debtorAccount"), "issuer")
		at(d, "creditorAccount")["accountType"] = "SVGS"
		delete(at(d, "creditorAccount"), "issuer")
	}},
	{"fixed and variable amounts", ofb.RecurringConsent, "v2", ofb.Authorised, nil, func(d object) {
		at(d, "recurringConfiguration", "automatic")["fixedAmount"] = "10.00"
	}},
	{"two products", ofb.RecurringConsent, "v2", ofb.Authorised, nil, func(d object) {
		at(d, "recurringConfiguration")["vrp"] = object{}
	}},
	{"no creditors", ofb.RecurringConsent, "v2", ofb.Authorised, nil, func(d object) { d["creditors"] = []any{} }},
	{"a creditor that is nothing", ofb.RecurringConsent, "v2", ofb.Authorised, nil, func(d object) { d["creditors"] = []any{object{}, 7} }},
	{"a limit below one", ofb.RecurringConsent, "v2", ofb.Authorised, []openapitest.Option{openapitest.Product("vrp")}, func(d object) {
		at(d, "recurringConfiguration", "vrp", "periodicLimits", "day")["quantityLimit"] = 0
	}},
	{"a revoked consent with a rejection", ofb.RecurringConsent, "v2", ofb.Revoked, nil, func(d object) {
		d["rejection"] = d["revocation"]
		delete(d, "revocation")
	}},
	{"FIDO without consent", ofb.RecurringPayment, "v2", ofb.ACSC, nil, func(d object) {
		d["authorisationFlow"] = "FIDO_FLOW"
		delete(d, "recurringConsentId")
	}},
	{"a text that should be a truth", ofb.RecurringConsent, "v2", ofb.Authorised, nil, func(d object) {
		at(d, "recurringConfiguration", "automatic")["useOverdraftLimit"] = "true"
	}},
	{"a revoked enrollment with a reason of rejection", ofb.Enrollment, "v2", ofb.Revoked, nil, func(d object) {
		at(d, "cancellation")["reason"] = object{"rejectionReason": "REJEITADO_OUTRO"}
	}},
	{"an authorised enrollment that is cancelled and has no account", ofb.Enrollment, "v2", ofb.Authorised, nil, func(d object) {
		d["cancellation"] = object{"reason": object{"revocationReason": "REVOGADO_OUTRO"}, "cancelledFrom": "DETENTORA"}
		delete(d, "debtorAccount")
	}},
	{"a permission nobody knows", ofb.Enrollment, "v2", ofb.Authorised, nil, func(d object) { d["permissions"] = []string{"EVERYTHING"} }},
	{"an issuer that is missing for a prepaid account is right", ofb.Enrollment, "v2", ofb.Authorised, nil, func(d object) {
		at(d, "debtorAccount")["accountType"] = "TRAN"
		delete(at(d, "debtorAccount"), "issuer")
	}},
	{"an id that is too long, and one that is malformed as well", ofb.PixPayment, "v5", ofb.ACSC, nil, func(d object) {
		d["paymentId"], d["endToEndId"] = strings.Repeat("a", 101), strings.Repeat("é", 101)
	}},
	{"another version", ofb.Enrollment, "v3", ofb.Authorised, nil, func(object) {}},
}

// TestProblemsSayWhatIsWrongAndWhatWouldBeRight holds the words against a golden file.
func TestProblemsSayWhatIsWrongAndWhatWouldBeRight(t *testing.T) {
	schemas := load(t)
	var out strings.Builder
	for _, b := range broken {
		version := b.version
		if version == "v3" {
			version = "v2"
		}
		options := append([]openapitest.Option{openapitest.Created(noon), openapitest.Edit(b.edit)}, b.options...)
		data := openapitest.Data(b.kind, version, b.status, openapitest.SampleID(b.kind, 1), options...)
		fmt.Fprintf(&out, "# %s (%s %s)\n", b.name, b.kind, b.version)
		for _, p := range schemas.Check(b.kind, b.version, data) {
			fmt.Fprintf(&out, "%s\n    %s\n    %s\n    %s\n", p.Pointer, p.Code, p.Detail, p.DetailPT)
		}
		out.WriteString("\n")
	}
	golden := filepath.Join("testdata", "problems.golden")
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o750))
		require.NoError(t, os.WriteFile(golden, []byte(out.String()), 0o600))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), out.String())
}

func TestAtMostTwentyProblemsAreTold(t *testing.T) {
	data := openapitest.Data(ofb.PixPayment, "v5", ofb.ACSC, "p-1", openapitest.Edit(func(data object) {
		for i := range 40 {
			data["unknown"+string(rune('A'+i%26))+strings.Repeat("x", i/26)] = i
		}
	}))
	require.Len(t, load(t).Check(ofb.PixPayment, "v5", data), openapi.MaxProblems)
}
