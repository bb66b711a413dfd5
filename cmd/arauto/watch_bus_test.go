package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/openapitest"
	"github.com/arauto/arauto/internal/lab/stage"
	"github.com/arauto/arauto/internal/lab/standin"
	"github.com/arauto/arauto/internal/ofb"
)

// bus is a NATS server in this process, with a stream of a core's messages.
type bus struct {
	t  *testing.T
	js jetstream.JetStream
}

// openBus starts the server and gives its address.
func openBus(t *testing.T) (*bus, string) {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
	require.NoError(t, err)
	s.Start()
	require.True(t, s.ReadyForConnections(time.Minute))
	conn, err := nats.Connect(s.ClientURL())
	require.NoError(t, err)
	t.Cleanup(func() {
		conn.Close()
		s.Shutdown()
		s.WaitForShutdown()
	})
	js, err := jetstream.New(conn)
	require.NoError(t, err)
	_, err = js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "CORE", Subjects: []string{"core.>"}})
	require.NoError(t, err)
	return &bus{t, js}, s.ClientURL()
}

// tell publishes a resource as it is now, as a core that knows nothing of us does.
func (b *bus) tell(subject string, kind ofb.Kind, version, id string, status ofb.Status) {
	b.t.Helper()
	text, err := json.Marshal(map[string]any{"id": id, "owner": "good", "state": status, "doc": openapitest.Data(kind, version, status, id)})
	if err == nil {
		_, err = b.js.Publish(b.t.Context(), subject, text)
	}
	if err != nil {
		b.t.Error(err)
	}
}

// mapping is a file that reads the bus. Members of the documents are taken one by one.
func (b *bus) mapping(url string) string {
	b.t.Helper()
	text := fmt.Sprintf(`
source: bus
type: nats
nats: {urls: [%q], stream: CORE, durable: arauto, create: true, ack_wait: 5s, subjects: {core.consents: '', core.payments: ''}}
tables:
`, url)
	for subject, kind := range map[string]ofb.Kind{"core.consents": ofb.PaymentConsent, "core.payments": ofb.PixPayment} {
		text += fmt.Sprintf("  %s:\n    kind: %s\n    id: id\n    client: owner\n    version: v4\n    status: state\n    data:\n", subject, kind)
		members := map[string]any{}
		for _, status := range []ofb.Status{kind.Initial(), ofb.RJCT, ofb.Rejected} {
			if _, err := kind.ParseStatus(string(status)); err == nil {
				maps.Copy(members, openapitest.Data(kind, "v4", status, "x"))
			}
		}
		for _, name := range slices.Sorted(maps.Keys(members)) {
			if name != kind.IDMember() && name != "status" {
				text += fmt.Sprintf("      %s: doc.%s\n", name, name)
			}
		}
	}
	file := filepath.Join(b.t.TempDir(), "bus.yaml")
	require.NoError(b.t, os.WriteFile(file, []byte(text), 0o600))
	return file
}

// waiting is how many messages are not acknowledged.
func (b *bus) waiting() int {
	b.t.Helper()
	consumer, err := b.js.Consumer(b.t.Context(), "CORE", "arauto")
	if err != nil {
		return -1 // it is not made yet
	}
	info, err := consumer.Info(b.t.Context())
	require.NoError(b.t, err)
	return int(info.NumPending) + info.NumAckPending
}

// TestACoreThatSpeaksOverABusIsFollowedThroughAKill drives the whole product by messages alone: the gateway is killed
// while it takes them, and what it had not acknowledged is told again, to nobody twice.
func TestACoreThatSpeaksOverABusIsFollowedThroughAKill(t *testing.T) {
	t.Parallel()
	b, url := openBus(t)
	f := &foreign{house: open(t, stage.Options{Settings: append(slices.Clone(unhurried), "ARAUTO_WATCH_SOURCES="+b.mapping(url))})}
	arrives := func(id string) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := f.good.Wait(ctx, 1, standin.For(id))
		require.NoError(t, err)
	}
	consent := openapitest.SampleID(ofb.PaymentConsent, 1)
	b.tell("core.consents", ofb.PaymentConsent, "v4", consent, ofb.PaymentConsent.Initial())
	b.tell("core.consents", ofb.PaymentConsent, "v4", consent, ofb.Rejected)
	b.tell("core.payments", ofb.PixPayment, "v4", "first", ofb.RJCT)
	arrives(consent)
	arrives("first")
	f.until("both are settled", time.Minute, func() bool {
		return f.count("SELECT (SELECT count(*) FROM arauto.queue) + (SELECT count(*) FROM arauto.flight)") == 0
	})

	id := func(i int) string { return fmt.Sprintf("payment-%04d", i) }
	var n atomic.Int64
	flow, killed := make(chan struct{}), make(chan struct{})
	go func() { // silent messages, so that no attempt is on its way when the gateway dies; they come before and after that
		defer close(flow)
		for after := 0; after < 50; n.Add(1) {
			b.tell("core.payments", ofb.PixPayment, "v4", id(int(n.Load())), ofb.RCVD)
			select {
			case <-killed:
				after++
			default:
			}
		}
	}()
	stored := func() int { return f.count("SELECT count(*) FROM arauto.resource WHERE id LIKE 'payment-%'") }
	f.until("the gateway takes them", time.Minute, func() bool { return stored() > 0 })
	f.kill()
	close(killed)
	<-flow
	all := int(n.Load())
	t.Logf("killed with %d of %d stored, and %d not acknowledged", stored(), all, b.waiting())
	require.Less(t, stored(), all)
	for i := range 20 {
		b.tell("core.payments", ofb.PixPayment, "v4", id(i*all/20), ofb.RJCT)
	}
	f.start()
	for i := range 20 {
		arrives(id(i * all / 20))
	}
	f.until("all is acknowledged", time.Minute, func() bool { return b.waiting() == 0 && stored() == all })
	f.until("all is settled", time.Minute, func() bool {
		return f.count("SELECT (SELECT count(*) FROM arauto.queue) + (SELECT count(*) FROM arauto.flight)") == 0
	})
	require.Empty(t, f.openCases())
	got := told(f.good)
	require.Len(t, got, 22, "nobody is told of what is silent")
	for id, events := range got {
		require.Len(t, events, 1, id)
	}
	require.Equal(t, all+21, f.count("SELECT count(*) FROM arauto.stored_revision WHERE resource_id LIKE 'payment-%' OR resource_id = 'first'"), "each change is stored once")
	f.oneRowAFact()
}
