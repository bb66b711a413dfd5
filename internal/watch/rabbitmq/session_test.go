package rabbitmq

import (
	"crypto/rand"
	"fmt"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/bustest"
	"github.com/arauto/arauto/internal/watch/bus"
)

func numbered(n int) []byte { return fmt.Appendf(nil, `{"id":"m%d","n":%d}`, n, n) }

func TestQueuesHaveTheirTablesAndTheirOwnAcknowledgements(t *testing.T) {
	t.Parallel()
	one, other := newQueue(t, nil), newQueue(t, nil)
	settings := one.settings()
	settings.Queues = bus.Tables{one.name: "payments", other.name: "consents"}
	settings.Prefetch = 5
	for n := range 10 {
		one.Send(t, "k", numbered(n), "", "")
		other.Send(t, "k", numbered(n), "", "")
	}
	r := reader(t, settings)
	g := bustest.Begin(t, r)
	view := g.Taken(t, 10)
	g.Hand.Commit(3)
	g.Await(t, "what is let in for them", func(v bustest.View) bool { return len(v.Taken) == 13 })
	g.Await(t, "the count of both", func(bustest.View) bool { return r.Messages() == 17 })
	g.Stop(t)
	tables := map[string]int{}
	for _, record := range view.Taken[:3] {
		tables[record.Table]++
	}
	require.Equal(t, 10-tables["payments"], one.Left(t))
	require.Equal(t, 10-tables["consents"], other.Left(t))
}

func TestAQueueThatIsMissingOrDeletedIsNamed(t *testing.T) {
	t.Parallel()
	q := newQueue(t, nil)
	settings := q.settings()
	settings.Queues = bus.Tables{q.name: "", "core.absent": ""}
	r := reader(t, settings)
	found := r.Check(t.Context())
	require.Len(t, found, 1)
	require.ErrorContains(t, found[0], `"core.absent" does not exist`)
	require.ErrorContains(t, r.Read(t.Context(), bustest.NewHand()), `"core.absent" does not exist`)

	r = reader(t, q.settings())
	require.Empty(t, r.Check(t.Context()))
	g := bustest.Begin(t, r)
	q.Send(t, "k", numbered(1), "", "")
	g.Taken(t, 1)
	_, err := q.channel.QueueDelete(q.name, false, false, false)
	require.NoError(t, err)
	require.ErrorContains(t, g.Ended(t), q.name)
}

func TestAWrongPasswordIsRefusedAndNotRepeated(t *testing.T) {
	t.Parallel()
	q := newQueue(t, nil)
	settings := q.settings()
	settings.PasswordFile = bustest.Password(t, "secret-that-is-wrong")
	err := reader(t, settings).Read(t.Context(), bustest.NewHand())
	require.ErrorContains(t, err, q.gate.Addr)
	require.NotContains(t, err.Error(), "secret-that-is-wrong")
}

func TestTheNextServerIsTriedWhenOneIsAway(t *testing.T) {
	t.Parallel()
	q := newQueue(t, nil)
	settings := q.settings()
	settings.URLs = append([]string{"amqp://127.0.0.1:1/"}, settings.URLs...)
	q.Send(t, "k", numbered(1), "", "")
	bustest.Begin(t, reader(t, settings)).Taken(t, 1)
}

func TestAReaderConnectsThroughTLSAndBelievesItsAuthorityAlone(t *testing.T) {
	t.Parallel()
	q := newQueue(t, nil)
	settings := q.settings()
	settings.URLs = []string{"amqps://127.0.0.1:" + q.TLSPort + "/"}
	settings.TLS = q.Authority.Client(t, "reader-"+rand.Text())
	require.Empty(t, settings.Problems(true))
	q.Send(t, "k", numbered(1), "", "")
	bustest.Begin(t, reader(t, settings)).Taken(t, 1)

	others, err := bustest.NewAuthority(t.TempDir())
	require.NoError(t, err)
	stranger := settings
	stranger.TLS = &bus.TLS{CA: others.CA, Certificate: settings.TLS.Certificate, Key: settings.TLS.Key}
	require.ErrorContains(t, reader(t, stranger).Read(t.Context(), bustest.NewHand()), "certificate")

	bare := settings
	bare.TLS = &bus.TLS{CA: q.Authority.CA}
	require.Error(t, reader(t, bare).Read(t.Context(), bustest.NewHand()), "the server asks for a certificate")
}

func TestHeadersThatAreNotTextAreNull(t *testing.T) {
	t.Parallel()
	q := newQueue(t, nil)
	confirmed, err := q.channel.PublishWithDeferredConfirm("amq.topic", q.name+".k", true, false, amqp.Publishing{
		Body: numbered(1), MessageId: "m-1",
		Headers: amqp.Table{"text": "a", "number": int32(7), "truth": true, "table": amqp.Table{"x": "y"}, "nothing": nil},
	})
	require.NoError(t, err)
	require.True(t, confirmed.Wait())
	r := bustest.Begin(t, reader(t, q.settings())).Taken(t, 1).Taken[0]
	require.Equal(t, map[string]any{"text": "a", "number": "7", "truth": "true", "table": nil, "nothing": nil}, r.Values[bus.MemberHeaders])
	require.Contains(t, r.Position, `"m-1"`)
}

func TestSettingsAreRefusedWithTheirKey(t *testing.T) {
	good := Settings{
		URLs: []string{"amqps://h/v"}, TLS: &bus.TLS{CA: "ca"}, Login: bus.Login{User: "u", PasswordFile: "p"}, Queues: bus.Tables{"q": ""},
	}
	require.Empty(t, good.Problems(true))
	certified := good
	certified.Login, certified.TLS = bus.Login{}, &bus.TLS{CA: "ca", Certificate: "c", Key: "k"}
	require.Empty(t, certified.Problems(true))
	bustest.Spoilt(t, good, (*Settings).Problems, map[string]func(*Settings){
		"urls":            func(s *Settings) { s.URLs = []string{"amqp://guest:guest@h/"} },
		"tls: is missing": func(s *Settings) { s.TLS = nil },
		"user: is miss":   func(s *Settings) { s.Login = bus.Login{} },
		"queues":          func(s *Settings) { s.Queues = nil },
		"prefetch":        func(s *Settings) { s.Prefetch = maxPrefetch + 1 },
	})
	_, err := Open(Settings{}, nil, nil)
	require.Error(t, err)
}

func TestSettingsAreReadFromTheMappingFile(t *testing.T) {
	var s Settings
	require.NoError(t, bustest.Decode(t, "rabbitmq", `
  urls: [amqps://h:5671/core]
  tls: {ca: ca.pem}
  user: arauto
  password_file: p
  queues: {arauto.payments: payments}
  prefetch: 7`, &s))
	require.Empty(t, s.Problems(true))
	require.Equal(t, 7, s.Prefetch)
	require.Equal(t, "payments", s.Queues.Table("arauto.payments"))
	require.Error(t, bustest.Decode(t, "rabbitmq", "\n  password: secret", &s))
}
