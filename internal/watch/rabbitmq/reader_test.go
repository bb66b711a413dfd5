package rabbitmq

import (
	"flag"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/arauto/arauto/internal/lab/bustest"
	"github.com/arauto/arauto/internal/lab/rabbit"
	"github.com/arauto/arauto/internal/watch/bus"
)

func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", "8") // most tests wait; -parallel on the command line counts more
	code := m.Run()
	if shared.node != nil {
		shared.node.Stop()
	}
	if err := goleak.Find(); err != nil && code == 0 {
		os.Stderr.WriteString(err.Error() + "\n")
		code = 1
	}
	os.Exit(code)
}

func (q *queueOf) settings() Settings {
	return Settings{
		URLs: []string{"amqp://" + q.gate.Addr + "/"}, Login: bus.Login{User: rabbit.User, PasswordFile: q.password},
		Queues: bus.Tables{q.name: bustest.Table},
	}
}

func (q *queueOf) Reader(t *testing.T, inFlight int) bustest.Reader {
	settings := q.settings()
	settings.Prefetch = inFlight
	return reader(t, settings)
}

func reader(t *testing.T, settings Settings) *Reader {
	t.Helper()
	r, err := Open(settings, bustest.Of(settings.Queues), slog.New(slog.NewTextHandler(t.Output(), nil)))
	require.NoError(t, err)
	r.pace.lag, r.pace.count = 20*time.Millisecond, 50*time.Millisecond
	t.Cleanup(r.Close)
	return r
}

// kinds are the kinds of queues that a reader reads.
var kinds = map[string]struct {
	arguments amqp.Table
	traits    bustest.Traits
}{
	"a classic queue":                       {nil, bustest.Traits{}},
	"a quorum queue":                        {amqp.Table{"x-queue-type": "quorum"}, bustest.Traits{Lasting: true}}, // alone, it takes minutes to come back
	"a queue with a single active consumer": {amqp.Table{"x-single-active-consumer": true}, bustest.Traits{Lasting: true}},
}

func TestAReaderOfRabbitMQKeepsThePromises(t *testing.T) {
	t.Parallel()
	server(t)
	for name, kind := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bustest.Beside(t, func(t *testing.T) bustest.Bus { return newQueue(t, kind.arguments) }, kind.traits)
		})
	}
}

func TestAReaderOfRabbitMQKeepsThePromisesThatNeedTheServerAlone(t *testing.T) {
	server(t)
	for name, kind := range kinds {
		t.Run(name, func(t *testing.T) {
			bustest.Alone(t, func(t *testing.T) bustest.Bus { return newQueue(t, kind.arguments) }, kind.traits)
		})
	}
}
