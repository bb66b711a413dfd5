package status_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/api/status"
	"github.com/arauto/arauto/internal/lab/openapitest"
	"github.com/arauto/arauto/internal/lab/storetest"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/spool"
	"github.com/arauto/arauto/openapi"
)

// declaring makes a listener that of a holder with these minor versions.
func declaring(t *testing.T, declared ...string) func(*status.PublicConfig, *spool.Config) {
	t.Helper()
	versions, err := ofb.ParseVersions(declared)
	require.NoError(t, err)
	schemas, err := openapi.Load(openapi.Declare(versions))
	require.NoError(t, err)
	return func(c *status.PublicConfig, _ *spool.Config) { c.Versions, c.Outgoing = versions, schemas }
}

// TestAnAnswerHasTheMembersOfTheDeclaredMinorVersion asks a holder of automatic payments 2.0.0, and the same holder after it
// declared 2.2.0.
func TestAnAnswerHasTheMembersOfTheDeclaredMinorVersion(t *testing.T) {
	url := storetest.Database(t)
	older := openDeskOn(t, url, declaring(t, "automatic-payments/2.0.0", "enrollments/2.2.0")).both()
	consent, document := sample(ofb.RecurringConsent, "v2", ofb.Authorised, 1, openapitest.Minor("2.0.0"), openapitest.Complete())
	older.accept(clientAlfa, ofb.RecurringConsent, "v2", 1, document)
	payment, rejected := sample(ofb.RecurringPayment, "v2", ofb.RJCT, 2, openapitest.Minor("2.0.0"), openapitest.UnderConsent(consent),
		openapitest.Edit(func(data map[string]any) {
			data["rejectionReason"].(map[string]any)["code"] = "CONSENTIMENTO_REVOGADO"
		}))
	older.accept(clientAlfa, ofb.RecurringPayment, "v2", 1, rejected)
	enrollment, linked := sample(ofb.Enrollment, "v2", ofb.Authorised, 3)
	older.accept(clientAlfa, ofb.Enrollment, "v2", 1, linked)

	const api = "/open-banking/automatic-payments/v2"
	paths := []string{api + "/recurring-consents/" + consent, api + "/pix/recurring-payments/" + payment, api + "/pix/recurring-payments?recurringConsentId=" + consent}
	for i, path := range paths {
		a := older.alfa.get(path)
		require.Equal(t, "2.0.0", a.header.Get("x-v"), path)
		text := string(older.open(a).Data)
		require.Contains(t, text, []string{"riskSignals", "CONSENTIMENTO_REVOGADO", "CONSENTIMENTO_REVOGADO"}[i])
	}
	require.Equal(t, "2.2.0", older.alfa.get("/open-banking/enrollments/v2/enrollments/"+enrollment).header.Get("x-v"))

	newest := openDeskOn(t, url, declaring(t, "automatic-payments/2.2.0"))
	for i, path := range paths {
		a := newest.alfa.get(path)
		require.Equal(t, "2.2.0", a.header.Get("x-v"), path)
		text := string(newest.open(a).Data)
		require.NotContains(t, text, []string{"riskSignals", `"code":"CONSENTIMENTO_REVOGADO"`, `"code":"CONSENTIMENTO_REVOGADO"`}[i])
		if i > 0 {
			require.Contains(t, text, "CONSENTIMENTO_REVOGADO: ")
		}
	}
	require.Equal(t, "2.3.0", newest.alfa.get("/open-banking/enrollments/v2/enrollments/"+enrollment).header.Get("x-v"))
}

// TestAValueThatTheDeclaredVersionDoesNotAllowIsAnsweredAsItIsStored is what docs/minor-versions.md says of values that no other value
// can stand for: with public.validate_outgoing they are answered 500.
func TestAValueThatTheDeclaredVersionDoesNotAllowIsAnsweredAsItIsStored(t *testing.T) {
	url := storetest.Database(t)
	before := openDeskOn(t, url, declaring(t, "payments/4.0.1", "automatic-payments/2.2.0")).both()
	long := strings.Repeat("N", 150)
	consent, document := sample(ofb.PaymentConsent, "v4", ofb.Authorised, 1, openapitest.Edit(func(data map[string]any) {
		data["creditor"].(map[string]any)["name"] = long
	}))
	before.accept(clientAlfa, ofb.PaymentConsent, "v4", 1, document)
	above, document := sample(ofb.RecurringConsent, "v2", ofb.Authorised, 2)
	before.accept(clientAlfa, ofb.RecurringConsent, "v2", 1, document)
	payment, document := sample(ofb.RecurringPayment, "v2", ofb.RCVD, 3, openapitest.UnderConsent(above), openapitest.Edit(func(data map[string]any) {
		data["localInstrument"] = "AUTO"
	}))
	before.accept(clientAlfa, ofb.RecurringPayment, "v2", 1, document)

	stored := map[string]string{
		"/open-banking/payments/v4/consents/" + consent:                         long,
		"/open-banking/automatic-payments/v2/pix/recurring-payments/" + payment: `"localInstrument":"AUTO"`,
	}
	after := declaring(t, "payments/4.1.0", "automatic-payments/2.0.0")
	validating := openDeskOn(t, url, after)
	for path := range stored {
		require.Equal(t, http.StatusInternalServerError, validating.alfa.get(path).status, path)
	}
	usual := openDeskOn(t, url, func(c *status.PublicConfig, s *spool.Config) { after(c, s); c.Outgoing = nil })
	for path, value := range stored {
		require.Contains(t, string(usual.open(usual.alfa.get(path)).Data), value, path)
	}
}
