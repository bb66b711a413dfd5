package gateway

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/events"
	"github.com/arauto/arauto/internal/lab/standin"
)

// TestTheGatewayTellsOperatorsOfWhatItSees: a whole gateway gives a notification up, is given a certificate that ends soon, and finds
// the third attempt of a replica that died; the webhook of the bank hears of each, once.
func TestTheGatewayTellsOperatorsOfWhatItSees(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var told []events.OperatorMessage
	bank := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var m events.OperatorMessage
		if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		told = append(told, m)
	}))
	t.Cleanup(bank.Close)
	h := openAs(t, func(*house) []string { return []string{"ARAUTO_EVENTS_WEBHOOK_URL=" + bank.URL} })
	heard := func() (kinds []string) {
		require.NoError(t, h.g.events.Tick(t.Context()))
		mu.Lock()
		defer mu.Unlock()
		for _, m := range told {
			kinds = append(kinds, m.Event+" "+m.State)
		}
		return kinds
	}
	require.Empty(t, heard(), "a gateway to which nothing happened tells nothing")

	h.initiator(certs.DefaultAlfa).Answer("", standin.Refuse(http.StatusServiceUnavailable))
	id := h.later(certs.DefaultAlfa, 50*time.Second)
	h.run(h.owner(), "UPDATE queue SET attempts = 2, due_at = now() WHERE id = $1", id)
	h.above(`arauto_notifications_exhausted_total{kind="pix-payment"}`, 0)
	h.until("the message", func() bool { return len(heard()) > 0 })
	require.Equal(t, []string{"notifications-given-up open"}, heard())
	require.Equal(t, certs.DefaultAlfa.Name, told[0].Subject)

	h.renewBRCAC(20 * 24 * time.Hour)
	h.until("the message", func() bool { return len(heard()) > 1 })
	require.Equal(t, []string{"notifications-given-up open", "certificate-expiring open"}, heard())
	require.Contains(t, told[1].Subject, "webhook-client")
	h.until("both are counted", func() bool { return h.metric(`arauto_event_messages_total{result="sent",way="webhook"}`) == 2 })

	h.initiator(certs.DefaultBeta)
	lost := h.later(certs.DefaultBeta, 50*time.Second)
	h.run(h.owner(), `UPDATE queue SET token = gen_random_uuid(), interaction_id = gen_random_uuid(), attempts = 3, started_at = now() - interval '60 s',
		lease_until = now() - interval '40 s' WHERE id = $1`, lost)
	h.until("the message", func() bool { return len(heard()) > 2 })
	require.Equal(t, "notifications-given-up open", heard()[2], "the third attempt of a replica that died was the last")
	require.Equal(t, certs.DefaultBeta.Name, told[2].Subject)
}
