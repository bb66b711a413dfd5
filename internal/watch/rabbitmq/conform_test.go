package rabbitmq

import (
	"fmt"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/arauto/arauto/internal/lab/bustest"
	"github.com/arauto/arauto/internal/lab/sourcetest"
	"github.com/arauto/arauto/internal/watch"
)

// followed is a queue that a source follows.
type followed struct{ *queueOf }

func (f followed) Reader(t *testing.T) watch.Reader { return f.queueOf.Reader(t, 100) }

func (f followed) Write(t *testing.T, id string, n int64) {
	f.Send(t, "k", fmt.Appendf(nil, `{"id":%q,"n":%d}`, id, n), "", "")
}

// TestNothingOfRabbitMQIsAcknowledgedThatIsNotOurs: the second kind of queue drops a message at its sixth delivery, so a
// session that spent deliveries in an outage would lose it.
func TestNothingOfRabbitMQIsAcknowledgedThatIsNotOurs(t *testing.T) {
	t.Parallel()
	server(t)
	for name, arguments := range map[string]amqp.Table{
		"a classic queue":                       nil,
		"a quorum queue with a delivery limit":  {"x-queue-type": "quorum", "x-delivery-limit": 5},
		"a queue with a single active consumer": {"x-single-active-consumer": true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sourcetest.Conform(t, func(t *testing.T) sourcetest.Origin { return followed{newQueue(t, arguments)} },
				sourcetest.Traits{Table: bustest.Table, Type: "rabbitmq", Shuffling: true})
		})
	}
}
