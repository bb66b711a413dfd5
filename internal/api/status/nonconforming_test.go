package status_test

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/api/status"
	"github.com/arauto/arauto/internal/intake"
	"github.com/arauto/arauto/internal/lab/openapitest"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/spool"
	"github.com/arauto/arauto/internal/store"
)

// TestADocumentThatDoesNotConformIsAnsweredAsItIs: value for value, through every version, in a list, and with its deadlines.
func TestADocumentThatDoesNotConformIsAnsweredAsItIs(t *testing.T) {
	d := openDesk(t, func(c *status.PublicConfig, _ *spool.Config) { c.Outgoing = nil }).both()
	accept := telling(t, d)
	edit := func(change func(map[string]any)) openapitest.Option { return openapitest.Edit(change) }

	consent, document := sample(ofb.PaymentConsent, "v4", ofb.Authorised, 1, edit(func(data map[string]any) {
		delete(data, "payment")
		data["statusUpdateDateTime"], data["odd"] = 7, nil
	}))
	accept(ofb.PaymentConsent, "v4", document)
	var lists []string
	for n, breaks := range []func(map[string]any){
		func(data map[string]any) { data["creationDateTime"] = []any{1} },
		func(data map[string]any) { data["endToEndId"] = true },
		func(data map[string]any) { delete(data, "payment") },
	} {
		id, payment := sample(ofb.PixPayment, "v4", ofb.ACSC, 10+n, openapitest.UnderConsent(consent), edit(breaks))
		accept(ofb.PixPayment, "v4", payment)
		lists = append(lists, id)
		for _, version := range []string{"v4", "v5"} {
			require.Contains(t, string(d.open(d.alfa.get("/open-banking/payments/"+version+"/pix/payments/"+id)).Data), id, "%d %s", n, version)
		}
	}
	for _, version := range []string{"v4", "v5"} {
		require.JSONEq(t, string(document), string(d.open(d.alfa.get("/open-banking/payments/"+version+"/consents/"+consent)).Data), version)
	}
	listed := d.alfa.get("/open-banking/payments/v4/consents/" + consent + "/pix/payments")
	require.Equal(t, http.StatusOK, listed.status, string(listed.body))
	for _, id := range lists {
		require.Contains(t, string(d.open(listed).Data), id)
	}
	require.Equal(t, http.StatusBadRequest, d.beta.get("/open-banking/payments/v4/consents/"+consent).status)

	recurring, _ := sample(ofb.RecurringConsent, "v2", ofb.Authorised, 2)
	for n, breaks := range []func(map[string]any){
		func(data map[string]any) { data["date"] = 20261121 },
		func(data map[string]any) { data["recurringPaymentId2"] = "x" },
	} {
		id, payment := sample(ofb.RecurringPayment, "v2", ofb.ACSC, 20+n, openapitest.UnderConsent(recurring), edit(breaks))
		accept(ofb.RecurringPayment, "v2", payment)
		require.Contains(t, string(d.open(d.alfa.get("/open-banking/automatic-payments/v2/pix/recurring-payments/"+id)).Data), id, n)
	}
	for _, query := range []string{"", "&startDate=2020-01-01"} {
		listed := d.alfa.get("/open-banking/automatic-payments/v2/pix/recurring-payments?recurringConsentId=" + recurring + query)
		require.Equal(t, http.StatusOK, listed.status, string(listed.body))
	}
}

// telling hands documents in at an intake that accepts what does not conform.
func telling(t *testing.T, d *desk) func(kind ofb.Kind, version string, document []byte) {
	t.Helper()
	schemas, err := documents()
	require.NoError(t, err)
	in := intake.New(intake.Config{Store: d.store, Schema: schemas, NewID: store.NewID, Timers: ofb.Kinds(), TellNonconforming: true})
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { in.Run(ctx); close(ended) }()
	t.Cleanup(func() { stop(); <-ended })
	return func(kind ofb.Kind, version string, document []byte) {
		t.Helper()
		line, err := json.Marshal(map[string]any{
			"kind": kind.String(), "clientId": clientAlfa, "apiVersion": version, "revision": 1,
			"occurredAt": time.Now().UTC().Format(time.RFC3339Nano), "data": json.RawMessage(document),
		})
		require.NoError(t, err)
		a, err := in.Accept(t.Context(), line, intake.Origin{Source: "api", Actor: "core"})
		require.NoError(t, err)
		require.Equal(t, notice.Applied, a.Verdict, "%v", a.Problems)
		require.NotEmpty(t, a.Nonconforming)
	}
}
