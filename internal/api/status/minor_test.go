package status_test

import (
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
