package status_test

import (
	"encoding/json"
	"os"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/api/status"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/spool"
)

// TestManyAnswersAreEachSignedOnce is case J4: every answer is verified by the standard library alone, see desk.open,
// which also holds algorithm, kid and typ against what they must be. ARAUTO_LONG=1 asks for the 10,000 of the case.
func TestManyAnswersAreEachSignedOnce(t *testing.T) {
	rounds := 300
	if os.Getenv("ARAUTO_LONG") != "" {
		rounds = 10_000
	}
	d := openDesk(t, func(c *status.PublicConfig, _ *spool.Config) {
		c.Limits = status.Limits{Rate: 1 << 20, ClientRate: 1 << 20}
	}).both()
	type query struct {
		asks *poller
		path string
	}
	var queries []query
	for n, p := range []*poller{d.alfa, d.beta} {
		for _, of := range []struct {
			kind    ofb.Kind
			version string
			status  ofb.Status
			path    string
		}{
			{ofb.PaymentConsent, "v4", ofb.Authorised, "/open-banking/payments/v4/consents/"},
			{ofb.PaymentConsent, "v5", ofb.Authorised, "/open-banking/payments/v5/consents/"},
			{ofb.PixPayment, "v4", ofb.ACSC, "/open-banking/payments/v4/pix/payments/"},
			{ofb.PixPayment, "v5", ofb.ACSC, "/open-banking/payments/v5/pix/payments/"},
			{ofb.RecurringConsent, "v2", ofb.Authorised, "/open-banking/automatic-payments/v2/recurring-consents/"},
			{ofb.RecurringPayment, "v2", ofb.ACSC, "/open-banking/automatic-payments/v2/pix/recurring-payments/"},
			{ofb.Enrollment, "v2", ofb.Authorised, "/open-banking/enrollments/v2/enrollments/"},
		} {
			id, document := sample(of.kind, of.version, of.status, 10*len(queries)+n)
			d.accept(p.client, of.kind, of.version, 1, document)
			queries = append(queries, query{p, of.path + ofb.EscapeID(id)})
		}
	}

	seen := make(map[string]bool, rounds)
	for n := range rounds {
		q := queries[n%len(queries)]
		asked := time.Now()
		s := d.open(q.asks.get(q.path))
		require.Equal(t, certs.DefaultHolder.ID, s.Iss)
		var audience string
		require.NoError(t, json.Unmarshal(s.Aud, &audience), "aud is a plain string")
		require.Equal(t, q.asks.is.Organisation.ID, audience)
		require.Equal(t, statusBase+q.path, s.Links["self"])
		require.WithinDuration(t, asked, time.Unix(s.Iat, 0), time.Minute)
		jti, err := uuid.Parse(s.JTI)
		require.NoError(t, err)
		require.EqualValues(t, 4, jti.Version())
		require.False(t, seen[jti.String()], "%s was sent before, at answer %d", jti, n)
		seen[jti.String()] = true
	}
	require.Len(t, seen, rounds)
}
