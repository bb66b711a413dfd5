package nats

import (
	"flag"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/arauto/arauto/internal/lab/bustest"
	"github.com/arauto/arauto/internal/watch/bus"
)

func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", "4") // most tests wait; -parallel on the command line counts more
	goleak.VerifyTestMain(m)
}

const (
	streamName = "CORE"
	durable    = "arauto"
)

// broker is a NATS server in this process, with a stream on disk and a gate before it that readers go through.
type broker struct {
	options server.Options
	server  *server.Server
	gate    *bustest.Gate
	sender  *nats.Conn
	js      jetstream.JetStream
}

func start(t *testing.T) *broker {
	t.Helper()
	b := &broker{options: server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true,
	}}
	b.begin(t)
	b.gate = bustest.NewGate(t, b.server.Addr().String())
	b.connect(t)
	_, err := b.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: streamName, Subjects: []string{"core.>"}})
	require.NoError(t, err)
	t.Cleanup(func() {
		b.sender.Close()
		b.server.Shutdown()
		b.server.WaitForShutdown()
	})
	return b
}

func (b *broker) begin(t *testing.T) {
	t.Helper()
	options := b.options
	var err error
	b.server, err = server.NewServer(&options)
	require.NoError(t, err)
	b.server.Start()
	require.True(t, b.server.ReadyForConnections(30*time.Second))
	b.options.Port = options.Port
}

func (b *broker) connect(t *testing.T) {
	t.Helper()
	var err error
	b.sender, err = nats.Connect(b.server.ClientURL(), nats.NoReconnect())
	require.NoError(t, err)
	b.js, err = jetstream.New(b.sender)
	require.NoError(t, err)
}

func (b *broker) Cut() { b.gate.Cut() }

func (b *broker) Restart(t *testing.T, during func()) {
	b.sender.Close()
	b.server.Shutdown()
	b.server.WaitForShutdown()
	during()
	b.begin(t)
	b.connect(t)
}

func (b *broker) settings() Settings {
	return Settings{
		URLs: []string{"nats://" + b.gate.Addr}, Stream: streamName, Durable: durable, Create: true,
		Subjects: bus.Tables{"core.payments.*": bustest.Table},
	}
}

func (b *broker) Reader(t *testing.T, inFlight int) bustest.Reader {
	settings := b.settings()
	settings.InFlight = inFlight
	return reader(t, settings)
}

func reader(t *testing.T, settings Settings) *Reader {
	t.Helper()
	r, err := Open(settings, bustest.Of(settings.Subjects), slog.New(slog.NewTextHandler(t.Output(), nil)))
	require.NoError(t, err)
	r.settings.AckWait = time.Second
	r.pace = pace{lag: 20 * time.Millisecond, count: 50 * time.Millisecond}
	t.Cleanup(r.Close)
	return r
}

func (b *broker) Send(t *testing.T, key string, body []byte, header, value string) {
	t.Helper()
	msg := &nats.Msg{Subject: "core.payments." + key, Data: body, Header: nats.Header{}}
	if header != "" {
		msg.Header.Set(header, value)
	}
	_, err := b.js.PublishMsg(t.Context(), msg)
	require.NoError(t, err)
}

func (b *broker) Left(t *testing.T) int {
	t.Helper()
	consumer, err := b.js.Consumer(t.Context(), streamName, durable)
	require.NoError(t, err)
	info, err := consumer.Info(t.Context())
	require.NoError(t, err)
	return int(info.NumPending) + info.NumAckPending
}

func TestAReaderOfNATSKeepsThePromises(t *testing.T) {
	bustest.Promises(t, func(t *testing.T) bustest.Bus { return start(t) }, bustest.Traits{Revised: true, Shuffling: true})
}
