package rabbitmq

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/bustest"
	"github.com/arauto/arauto/internal/lab/rabbit"
)

var shared struct {
	sync.Once
	node *rabbit.Node
	err  error
}

// server is the node of all tests; it starts with the first that wants it.
func server(t *testing.T) *rabbit.Node {
	t.Helper()
	shared.Do(func() { shared.node, shared.err = rabbit.New() })
	if shared.err != nil {
		if os.Getenv(rabbit.Require) != "" {
			t.Fatal(shared.err)
		}
		t.Skip(shared.err)
	}
	return shared.node
}

// queueOf is a bustest.Bus: a queue of a test's own at the shared node, with a gate before it that readers go through.
type queueOf struct {
	*rabbit.Node
	name     string
	gate     *bustest.Gate
	password string // the file
	sender   *amqp.Connection
	channel  *amqp.Channel
	returned chan amqp.Return // what no queue took
}

func newQueue(t *testing.T, arguments amqp.Table) *queueOf {
	t.Helper()
	n := server(t)
	q := &queueOf{Node: n, name: "core." + rand.Text(), gate: bustest.NewGate(t, "127.0.0.1:"+n.Port), password: filepath.Join(t.TempDir(), "password")}
	require.NoError(t, os.WriteFile(q.password, []byte(n.Password+"\n"), 0o600))
	q.connect(t)
	_, err := q.channel.QueueDeclare(q.name, true, false, false, false, arguments)
	require.NoError(t, err)
	require.NoError(t, q.channel.QueueBind(q.name, q.name+".#", "amq.topic", false, nil))
	t.Cleanup(func() {
		q.channel.QueueDelete(q.name, false, false, false)
		q.sender.Close()
	})
	return q
}

func (q *queueOf) connect(t *testing.T) {
	t.Helper()
	var err error
	q.sender, err = q.Dial()
	require.NoError(t, err)
	q.channel, err = q.sender.Channel()
	require.NoError(t, err)
	require.NoError(t, q.channel.Confirm(false))
	q.returned = q.channel.NotifyReturn(make(chan amqp.Return, 1))
}

func (q *queueOf) Cut() { q.gate.Cut() }

func (q *queueOf) Restart(t *testing.T, during func()) {
	q.Kill()
	q.sender.Close()
	during()
	require.NoError(t, q.Start())
	q.connect(t)
}

// Send publishes until a queue has the message. The server returns one that no queue takes, and confirms it all the same; so does a server
// that has been started a moment ago and has not its bindings yet.
func (q *queueOf) Send(t *testing.T, key string, body []byte, header, value string) {
	t.Helper()
	message := amqp.Publishing{Body: body, DeliveryMode: amqp.Persistent, Timestamp: time.Now(), Headers: amqp.Table{}}
	if header != "" {
		message.Headers[header] = value
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for limit := time.After(time.Minute); ; {
		confirmed, err := q.channel.PublishWithDeferredConfirmWithContext(t.Context(), "amq.topic", q.name+"."+key, true, false, message)
		require.NoError(t, err)
		ok, err := confirmed.WaitContext(t.Context())
		require.NoError(t, err)
		require.True(t, ok)
		select {
		case <-q.returned: // it comes before the confirmation
		default:
			return
		}
		select {
		case <-tick.C:
		case <-limit:
			t.Fatal("no queue takes the message")
		}
	}
}

// Left waits until the server has noticed that nobody reads: only then has it queued everything again.
func (q *queueOf) Left(t *testing.T) int {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for limit := time.After(time.Minute); ; {
		queue, err := q.channel.QueueDeclarePassive(q.name, true, false, false, false, nil)
		require.NoError(t, err)
		if queue.Consumers == 0 {
			return queue.Messages
		}
		select {
		case <-tick.C:
		case <-limit:
			t.Fatal("the consumer did not go")
		}
	}
}
