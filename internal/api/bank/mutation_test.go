package bank

import (
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// TestTenThousandMutatedRequestsAreAnsweredWithoutA5xx changes bytes of good requests at random, from a fixed seed (L1).
func TestTenThousandMutatedRequestsAreAnsweredWithoutA5xx(t *testing.T) {
	w := newWorld(t)
	seeds := []struct{ method, path, token, body string }{
		{"POST", changesPath, "ingest", payment("p1", 1, "ACSC")},
		{"POST", changesPath, "ingest", payment("p2", 1, "RCVD", `,"x":[1,2,{"y":"\u00e9"}]`)},
		{"PUT", "/internal/v1/initiators/itp", "registrar", `{"organisationId":"o","softwareId":"s","name":"n","webhookUris":["https://itp.example"],"softwareStatement":"a.b.c"}`},
		{"GET", listPath + "?clientId=itp&kind=enrollment&state=pending&from=2026-11-01T00:00:00Z&to=2026-11-02T00:00:00Z&limit=5&cursor=abc", "operator", ""},
		{"GET", listPath + "/" + someID, "auditor", ""},
		{"GET", "/internal/v1/resources/payment-consent/urn:bank:1", "auditor", ""},
		{"GET", "/internal/v1/quarantine?state=all&limit=3", "operator", ""},
		{"POST", listPath + "/" + someID + "/resend", "operator", `{"reason":"asked by phone"}`},
	}
	random := rand.New(rand.NewPCG(1, 2))
	mutate := func(s string, times int) string {
		b := []byte(s)
		for range times {
			if len(b) == 0 {
				return string(b)
			}
			i := random.IntN(len(b))
			switch random.IntN(4) {
			case 0:
				b[i] = byte(random.IntN(256))
			case 1:
				b = append(b[:i], b[i+1:]...)
			case 2:
				b = append(b[:i], append([]byte{`{}[]",:\0%/?&=;'`[random.IntN(16)]}, b[i:]...)...)
			case 3:
				b = append(b, b[i:]...)
			}
		}
		return string(b)
	}
	statuses := map[int]int{}
	for n := range 10000 {
		seed := seeds[n%len(seeds)]
		body, path := seed.body, seed.path
		if body == "" || n%3 == 0 {
			path = mutate(path, 1+random.IntN(3))
		} else {
			body = mutate(body, 1+random.IntN(5))
		}
		r := httptest.NewRequest(seed.method, "/", strings.NewReader(body))
		target, err := r.URL.Parse("http://x" + path)
		if err != nil || !strings.HasPrefix(path, "/") {
			continue // the server refuses it before us
		}
		r.URL = target
		r.Header.Set("Authorization", "Bearer "+seed.token)
		r.Header.Set("Content-Type", "application/json")
		got := httptest.NewRecorder()
		w.api.ServeHTTP(got, r)
		statuses[got.Code]++
		require.Less(t, got.Code, 500, "%s %q %q: %s", seed.method, path, body, got.Body)
		if got.Code >= http.StatusBadRequest {
			var shape struct {
				Error string `json:"error"`
			}
			require.NoError(t, json.Unmarshal(got.Body.Bytes(), &shape), "%q %q: %q", path, body, got.Body)
			require.NotEmpty(t, shape.Error)
			require.NoError(t, uuid.Validate(got.Header().Get("x-request-id")))
		}
	}
	for _, status := range []int{200, 400, 404} {
		require.NotZero(t, statuses[status], "%v", statuses)
	}
}
