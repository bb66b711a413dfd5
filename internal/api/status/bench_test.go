package status_test

import (
	"encoding/json"
	"io"
	"net/http"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/api/status"
	"github.com/arauto/arauto/internal/jws"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/spool"
)

// BenchmarkSign is the bound on status answers: one signature over a payment, and nothing else.
func BenchmarkSign(b *testing.B) {
	d := openDesk(b)
	signer, err := jws.NewSigner(d.seal, sealKID)
	require.NoError(b, err)
	_, document := sample(ofb.PixPayment, "v5", ofb.ACSC, 1)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := signer.Sign(map[string]any{"data": json.RawMessage(document), "jti": uuid.NewString()}); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// BenchmarkGet is a whole status query: mutual TLS kept alive, token, database, signature, record, answer; the client's
// side and the database run on the same cores.
func BenchmarkGet(b *testing.B) {
	d := openDesk(b, func(c *status.PublicConfig, _ *spool.Config) {
		c.Limits, c.Outgoing = status.Limits{Rate: 1 << 20, ClientRate: 1 << 20}, nil
	}).both()
	id, document := sample(ofb.PixPayment, "v5", ofb.ACSC, 1)
	d.accept(clientAlfa, ofb.PixPayment, "v5", 1, document)
	url := "https://" + d.addr + "/open-banking/payments/v5/pix/payments/" + id
	token := "Bearer " + d.alfa.token()
	b.SetParallelism(8)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			r, err := http.NewRequestWithContext(b.Context(), http.MethodGet, url, nil)
			if err != nil {
				b.Error(err)
				return
			}
			r.Header.Set("Authorization", token)
			r.Header.Set("x-fapi-interaction-id", uuid.NewString())
			response, err := d.alfa.http.Do(r)
			if err != nil {
				b.Error(err)
				return
			}
			if _, err := io.Copy(io.Discard, response.Body); err != nil || response.StatusCode != http.StatusOK {
				b.Errorf("%d %v", response.StatusCode, err)
			}
			response.Body.Close()
		}
	})
}
