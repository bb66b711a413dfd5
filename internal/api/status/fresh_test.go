package status_test

import (
	"encoding/json"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/api/status"
	"github.com/arauto/arauto/internal/lab/openapitest"
	"github.com/arauto/arauto/internal/lab/storetest"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/spool"
)

func shown(t *testing.T, s signed) ofb.Status {
	t.Helper()
	var data struct{ Status ofb.Status }
	require.NoError(t, json.Unmarshal(s.Data, &data))
	return data.Status
}

// TestAGetAfterTheIntakeAnsweredShowsAtLeastThatState asks two replicas after every answered change, while other
// payments are changing.
func TestAGetAfterTheIntakeAnsweredShowsAtLeastThatState(t *testing.T) {
	url := storetest.Database(t)
	near := openDeskOn(t, url).both()
	far := openDeskOn(t, url)
	states := []ofb.Status{ofb.RCVD, ofb.PDNG, ofb.ACCP, ofb.ACPD, ofb.ACSC}
	var payments sync.WaitGroup
	for n := range 6 {
		payments.Go(func() {
			for revision, status := range states {
				id, document := sample(ofb.PixPayment, "v5", status, n)
				near.accept(clientAlfa, ofb.PixPayment, "v5", revision+1, document)
				for _, replica := range []*desk{near, far} {
					a := replica.alfa.get("/open-banking/payments/v5/pix/payments/" + id)
					if s := replica.open(a); shown(t, s) != status {
						t.Errorf("%s shown after %s was accepted", shown(t, s), status)
					}
				}
			}
		})
	}
	payments.Wait()
}

// TestADeadlineShowsTheMomentItHasPassed asks once early and then without pause across the deadline of a consent, which nothing fires.
func TestADeadlineShowsTheMomentItHasPassed(t *testing.T) {
	t.Parallel()
	d := openDesk(t).both()
	deadline := time.Now().Truncate(time.Second).Add(5 * time.Second)
	id, document := sample(ofb.PaymentConsent, "v4", ofb.AwaitingAuthorisation, 1, openapitest.Created(deadline.Add(-5*time.Minute)))
	d.accept(clientAlfa, ofb.PaymentConsent, "v4", 1, document)
	path := "/open-banking/payments/v4/consents/" + id
	before, after := 0, 0
	for after == 0 {
		asked := time.Now()
		a := d.alfa.get(path)
		answered := time.Now()
		s := d.open(a)
		switch {
		case answered.Before(deadline):
			before++
			require.JSONEq(t, string(document), string(s.Data))
			if before == 1 {
				<-time.After(time.Until(deadline.Add(-200 * time.Millisecond)))
			}
		case !asked.Before(deadline):
			after++
			require.Equal(t, ofb.Rejected, shown(t, s), "%s past the deadline", asked.Sub(deadline))
			var data struct {
				StatusUpdateDateTime time.Time
				RejectionReason      struct{ Code string }
			}
			require.NoError(t, json.Unmarshal(s.Data, &data))
			require.True(t, data.StatusUpdateDateTime.Equal(deadline))
			require.Equal(t, "TEMPO_EXPIRADO_AUTORIZACAO", data.RejectionReason.Code)
		}
	}
	require.Positive(t, before)
	entries := d.entries()
	last := entries[len(entries)-1].facts
	require.Equal(t, ofb.Rejected, last.Status)
	require.Equal(t, "payment-consent-authorisation", last.Timer)
	require.Equal(t, ofb.AwaitingAuthorisation, entries[0].facts.Status)
}

func TestADeadlineShowsOnlyForKindsWhoseTimersAreOn(t *testing.T) {
	d := openDesk(t, func(c *status.PublicConfig, _ *spool.Config) { c.Timers = []ofb.Kind{ofb.Enrollment} }).both()
	long := openapitest.Created(time.Now().Add(-time.Hour))
	consent, document := sample(ofb.PaymentConsent, "v5", ofb.AwaitingAuthorisation, 1, long)
	d.accept(clientAlfa, ofb.PaymentConsent, "v5", 1, document)
	require.Equal(t, ofb.AwaitingAuthorisation, shown(t, d.open(d.alfa.get("/open-banking/payments/v5/consents/"+consent))))
	link, document := sample(ofb.Enrollment, "v2", ofb.AwaitingRiskSignals, 1, long)
	d.accept(clientAlfa, ofb.Enrollment, "v2", 1, document)
	require.Equal(t, ofb.Rejected, shown(t, d.open(d.alfa.get("/open-banking/enrollments/v2/enrollments/"+link))))
}

// TestADocumentThatDoesNotFitIsNotSent: the check of what goes out, which tests always have on.
func TestADocumentThatDoesNotFitIsNotSent(t *testing.T) {
	d := openDesk(t).both()
	id, document := sample(ofb.PixPayment, "v5", ofb.ACSC, 1)
	d.exec("UPDATE arauto.form SET packed = false") // so that SQL reads it
	d.accept(clientAlfa, ofb.PixPayment, "v5", 1, document)
	d.exec(`UPDATE arauto.resource SET document = convert_to(replace(convert_from(document, 'UTF8'), '"ACSC"', '"BOGUS"'), 'UTF8')`)
	d.requireRefused(d.alfa.get("/open-banking/payments/v5/pix/payments/"+id), http.StatusInternalServerError, "INTERNAL_SERVER_ERROR", "BOGUS", id)
	entries := d.entries()
	require.Empty(t, entries[0].facts.JTI, "nothing was shown")
	require.Empty(t, entries[0].facts.Status)
}
