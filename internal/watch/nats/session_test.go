package nats

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/bustest"
	"github.com/arauto/arauto/internal/watch/bus"
)

func numbered(n int) []byte { return fmt.Appendf(nil, `{"id":"m%d","n":%d}`, n, n) }

func (b *broker) consumer(t *testing.T, change func(*jetstream.ConsumerConfig)) {
	t.Helper()
	settings := b.settings()
	settings.AckWait, settings.InFlight = defaultAckWait, defaultInFlight
	config := settings.consumer()
	change(&config)
	_, err := b.js.CreateOrUpdateConsumer(t.Context(), streamName, config)
	require.NoError(t, err)
}

func TestAConsumerThatWouldLoseMessagesIsRefused(t *testing.T) {
	for want, change := range map[string]func(*jetstream.ConsumerConfig){
		"ack policy is":     func(c *jetstream.ConsumerConfig) { c.AckPolicy = jetstream.AckAllPolicy },
		"gives up after 5":  func(c *jetstream.ConsumerConfig) { c.MaxDeliver = 5 },
		"its ack wait is":   func(c *jetstream.ConsumerConfig) { c.AckWait = 10 * time.Millisecond },
		"max ack pending":   func(c *jetstream.ConsumerConfig) { c.MaxAckPending = -1 },
		"headers only":      func(c *jetstream.ConsumerConfig) { c.HeadersOnly = true },
		"filter subjects":   func(c *jetstream.ConsumerConfig) { c.FilterSubjects = []string{"core.other"} },
		"filter subjects a": func(c *jetstream.ConsumerConfig) { c.FilterSubjects = nil },
	} {
		t.Run(want, func(t *testing.T) {
			b := start(t)
			b.consumer(t, change)
			want, _ := strings.CutSuffix(want, " a")
			r := b.Reader(t, 10)
			require.ErrorContains(t, r.Read(t.Context(), bustest.NewHand()), want)
			require.Len(t, r.Check(t.Context()), 1)
		})
	}
}

func TestAConsumerIsMadeOnlyWhenThatIsWanted(t *testing.T) {
	b := start(t)
	require.Empty(t, b.Reader(t, 10).Check(t.Context()), "Read will make it")
	settings := b.settings()
	settings.Create = false
	r := reader(t, settings)
	require.ErrorContains(t, r.Read(t.Context(), bustest.NewHand()), `has no consumer "arauto"`)
	require.Len(t, r.Check(t.Context()), 1)
	_, err := b.js.Consumer(t.Context(), streamName, durable)
	require.ErrorIs(t, err, jetstream.ErrConsumerNotFound, "Check and a refused Read change nothing")

	b.consumer(t, func(*jetstream.ConsumerConfig) {})
	b.Send(t, "k", numbered(1), "", "")
	bustest.Begin(t, r).Taken(t, 1)

	settings.Stream = "ABSENT"
	require.ErrorContains(t, reader(t, settings).Read(t.Context(), bustest.NewHand()), `"ABSENT" does not exist`)
}

// TestWhatIsInHandForLongIsNotToldAgain: the database is away for many times the ack wait.
func TestWhatIsInHandForLongIsNotToldAgain(t *testing.T) {
	b := start(t)
	for n := range 5 {
		b.Send(t, "k", numbered(n), "", "")
	}
	g := bustest.Begin(t, b.Reader(t, 5)) // ack wait 1 s
	g.Taken(t, 5)
	consumer, err := b.js.Consumer(t.Context(), streamName, durable)
	require.NoError(t, err)
	g.Await(t, "four ack waits", func(v bustest.View) bool {
		return len(v.Lags) > 0 && v.Lags[len(v.Lags)-1] > 4*time.Second
	})
	info, err := consumer.Info(t.Context())
	require.NoError(t, err)
	require.Zero(t, info.NumRedelivered)
	view, _ := g.Hand.Look()
	require.Len(t, view.Taken, 5)
}

// TestWhatAReaderDidNotFinishIsToldToTheNextAtOnce, and not after the ack wait.
func TestWhatAReaderDidNotFinishIsToldToTheNextAtOnce(t *testing.T) {
	b := start(t)
	for n := range 100 {
		b.Send(t, "k", numbered(n), "", "")
	}
	r := reader(t, b.settings())
	r.settings.AckWait = maxAckWait
	g := bustest.Begin(t, r)
	g.Taken(t, 10)
	g.Hand.Commit(3)
	g.Stop(t)
	g = bustest.Begin(t, r)
	g.Hand.CommitAll()
	g.Await(t, "the rest", func(v bustest.View) bool { return len(v.Committed) == 97 })
	g.Stop(t)
	require.Zero(t, b.Left(t))
}

func TestSubjectsHaveTheirTables(t *testing.T) {
	b := start(t)
	settings := b.settings()
	settings.Subjects = bus.Tables{"core.payments.>": "payments", "core.consents.*": "consents"}
	for _, subject := range []string{"core.payments.a.b", "core.consents.c", "core.other.d"} {
		_, err := b.js.Publish(t.Context(), subject, []byte(`{"id":"x"}`))
		require.NoError(t, err)
	}
	g := bustest.Begin(t, reader(t, settings))
	view := g.Taken(t, 2)
	g.Hand.CommitAll()
	g.Stop(t)
	tables := map[any]string{}
	for _, r := range view.Taken {
		tables[r.Values[bus.MemberKey]] = r.Table
	}
	require.Equal(t, map[any]string{"core.payments.a.b": "payments", "core.consents.c": "consents"}, tables)
	require.Zero(t, b.Left(t))
}

func TestAConsumerThatIsDeletedEndsRead(t *testing.T) {
	b := start(t)
	g := bustest.Begin(t, b.Reader(t, 5))
	b.Send(t, "k", numbered(1), "", "")
	g.Taken(t, 1)
	require.NoError(t, b.js.DeleteConsumer(t.Context(), streamName, durable))
	require.ErrorContains(t, g.Ended(t), "pull from the consumer arauto")
}

func TestAReaderConnectsThroughTLSWithItsPasswordAndItsRights(t *testing.T) {
	authority, err := bustest.NewAuthority(t.TempDir())
	require.NoError(t, err)
	options := &server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true,
		TLSConfig: authority.Server(t, "bus"), TLSTimeout: 5,
		Users: []*server.User{
			{Username: "core", Password: "core"},
			{Username: "arauto", Password: "right", Permissions: &server.Permissions{
				Publish: &server.SubjectPermission{Allow: []string{
					"$JS.API.STREAM.INFO.CORE", "$JS.API.CONSUMER.INFO.CORE.arauto", "$JS.API.CONSUMER.MSG.NEXT.CORE.arauto", "$JS.ACK.CORE.arauto.>",
				}},
				Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>"}},
			}},
		},
	}
	b := &broker{options: *options}
	b.begin(t)
	t.Cleanup(func() {
		b.server.Shutdown()
		b.server.WaitForShutdown()
	})
	settings := Settings{
		URLs: []string{"tls://" + b.server.Addr().String()}, TLS: authority.Client(t, "reader"), Stream: streamName, Durable: durable,
		Login: bus.Login{User: "arauto", PasswordFile: bustest.Password(t, "right")}, Subjects: bus.Tables{"core.payments.*": ""},
	}
	require.Empty(t, settings.Problems(true))

	core := settings
	core.Login = bus.Login{User: "core", PasswordFile: bustest.Password(t, "core")}
	sender, err := reader(t, core).connect(func(error) {})
	require.NoError(t, err)
	t.Cleanup(sender.Close)
	b.js, err = jetstream.New(sender)
	require.NoError(t, err)
	_, err = b.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: streamName, Subjects: []string{"core.>"}})
	require.NoError(t, err)
	_, err = b.js.CreateConsumer(t.Context(), streamName, jetstream.ConsumerConfig{
		Durable: durable, AckPolicy: jetstream.AckExplicitPolicy, AckWait: defaultAckWait, MaxAckPending: 10, FilterSubject: "core.payments.*",
	})
	require.NoError(t, err)
	b.Send(t, "k", numbered(1), "", "")

	r := reader(t, settings)
	require.Empty(t, r.Check(t.Context()), "the rights that the documentation lists suffice")
	g := bustest.Begin(t, r)
	require.Equal(t, "core.payments.*", g.Taken(t, 1).Taken[0].Table)
	g.Hand.CommitAll()
	g.Stop(t)
	require.Zero(t, b.Left(t))

	wrong := settings
	wrong.PasswordFile = bustest.Password(t, "secret-that-is-wrong")
	err = reader(t, wrong).Read(t.Context(), bustest.NewHand())
	require.ErrorContains(t, err, "uthorization")
	require.NotContains(t, err.Error(), "secret-that-is-wrong")

	others, err := bustest.NewAuthority(t.TempDir())
	require.NoError(t, err)
	stranger := settings
	stranger.TLS = &bus.TLS{CA: others.CA, Certificate: settings.TLS.Certificate, Key: settings.TLS.Key}
	require.ErrorContains(t, reader(t, stranger).Read(t.Context(), bustest.NewHand()), "certificate")
}
