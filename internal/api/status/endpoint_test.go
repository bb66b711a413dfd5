package status

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEveryOperationHasTheNameThatReportsGiveIt(t *testing.T) {
	require.Equal(t, "/open-banking/payments/v4/consents/{consentId}", Endpoint("consent", "v4"))
	require.Equal(t, "/open-banking/payments/v5/pix/payments/{paymentId}", Endpoint("payment", "v5"))
	require.Equal(t, "/open-banking/automatic-payments/v2/pix/recurring-payments", Endpoint("recurring-payments", "v2"))
	require.Equal(t, "/open-banking/enrollments/v2/enrollments/{enrollmentId}", Endpoint("enrollment", "v2"))
	require.Empty(t, Endpoint("", ""))
	for _, r := range (&Public{}).routes() {
		name, version := operationOf(r.Path)
		require.NotEmpty(t, Endpoint(name, version), r.Path)
	}
	name, _ := operationOf("")
	require.Empty(t, name)
}
