package config

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestEvidenceOfRevocationHasNoUser: its addresses stand in metrics, pages and logs.
func TestEvidenceOfRevocationHasNoUser(t *testing.T) {
	for _, setting := range []string{"ARAUTO_PUBLIC_CRL", "ARAUTO_WEBHOOK_CRL", "ARAUTO_WEBHOOK_OCSP_RESPONDER"} {
		c, err := Read("", []string{"ARAUTO_PROFILE=development", setting + "=http://svc:s3cr3t@crl.example/list.crl"})
		require.NoError(t, err)
		err = c.Check()
		require.ErrorContains(t, err, "names a URL with a user", setting)
		require.NotContains(t, err.Error(), "s3cr3t")
	}
}
