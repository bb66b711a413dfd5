package kafka

import (
	"flag"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"github.com/arauto/arauto/internal/lab/bustest"
	"github.com/arauto/arauto/internal/watch/bus"
)

func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", "4") // most tests wait; -parallel on the command line counts more
	goleak.VerifyTestMain(m)
}

const (
	topic      = "core.payments"
	group      = "arauto"
	partitions = 6
)

// broker is a Kafka in this process, with a topic. Its log and its groups outlive a restart.
type broker struct {
	dir       string
	options   []kfake.Opt
	port      int
	cluster   *kfake.Cluster
	mu        sync.Mutex
	listeners []*bustest.Listener
	producer  *kgo.Client
}

func start(t *testing.T, options ...kfake.Opt) *broker {
	t.Helper()
	b := &broker{dir: t.TempDir(), options: options}
	b.begin(t)
	b.produce(t)
	t.Cleanup(func() {
		b.producer.Close()
		b.cluster.Close()
	})
	return b
}

func (b *broker) begin(t *testing.T) {
	t.Helper()
	options := append([]kfake.Opt{
		kfake.NumBrokers(1), kfake.SeedTopics(partitions, topic), kfake.DataDir(b.dir), kfake.SyncWrites(),
		kfake.GroupMinSessionTimeout(time.Second),
		kfake.ListenFn(func(network, address string) (net.Listener, error) {
			l, err := net.Listen(network, address)
			if err != nil {
				return nil, err
			}
			b.mu.Lock()
			defer b.mu.Unlock()
			b.listeners = append(b.listeners, bustest.Wrap(l))
			return b.listeners[len(b.listeners)-1], nil
		}),
	}, b.options...)
	if b.port != 0 {
		options = append(options, kfake.Ports(b.port))
	}
	var err error
	b.cluster, err = kfake.NewCluster(options...)
	require.NoError(t, err)
	_, port, err := net.SplitHostPort(b.cluster.ListenAddrs()[0])
	require.NoError(t, err)
	b.port, err = strconv.Atoi(port)
	require.NoError(t, err)
}

func (b *broker) produce(t *testing.T, options ...kgo.Opt) {
	t.Helper()
	var err error
	b.producer, err = kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(b.cluster.ListenAddrs()...)}, options...)...)
	require.NoError(t, err)
}

func (b *broker) Cut() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, l := range b.listeners {
		l.Cut()
	}
}

func (b *broker) Restart(t *testing.T, during func()) {
	b.producer.Close()
	b.cluster.Close()
	during()
	b.begin(t)
	b.produce(t)
}

func (b *broker) settings() Settings {
	return Settings{
		Brokers: b.cluster.ListenAddrs(), Group: group, Topics: bus.Tables{topic: bustest.Table},
		OffsetRevisions: map[string]int{topic: partitions},
	}
}

func (b *broker) Reader(t *testing.T, inFlight int) bustest.Reader {
	settings := b.settings()
	settings.InFlight = inFlight
	return reader(t, settings)
}

func reader(t *testing.T, settings Settings) *Reader {
	t.Helper()
	r, err := Open(settings, bustest.Of(settings.Topics), slog.New(slog.NewTextHandler(t.Output(), nil)))
	require.NoError(t, err)
	r.pace.commit, r.pace.lag, r.pace.look, r.pace.handover = 20*time.Millisecond, 20*time.Millisecond, 300*time.Millisecond, 5*time.Second
	r.pace.ask, r.pace.session = 2*time.Second, time.Second
	t.Cleanup(r.Close)
	return r
}

func (b *broker) Send(t *testing.T, key string, body []byte, header, value string) {
	t.Helper()
	record := &kgo.Record{Topic: topic, Key: []byte(key), Value: body}
	if header != "" {
		record.Headers = []kgo.RecordHeader{{Key: header, Value: []byte(value)}}
	}
	require.NoError(t, b.producer.ProduceSync(t.Context(), record).FirstErr())
}

// committed are the group's offsets.
func (b *broker) committed(t *testing.T) map[int32]int64 {
	t.Helper()
	request := kmsg.NewPtrOffsetFetchRequest()
	request.Group = group
	of := kmsg.NewOffsetFetchRequestGroup()
	of.Group = group
	request.Groups = append(request.Groups, of)
	response, err := request.RequestWith(t.Context(), b.producer)
	require.NoError(t, err)
	found := map[int32]int64{}
	for _, g := range response.Groups {
		for _, in := range g.Topics {
			for _, p := range in.Partitions {
				found[p.Partition] = max(p.Offset, 0)
			}
		}
	}
	return found
}

func (b *broker) Left(t *testing.T) int {
	committed := b.committed(t)
	left := 0
	for partition := range int32(partitions) {
		left += int(b.cluster.PartitionInfo(topic, partition).HighWatermark - committed[partition])
	}
	return left
}

func TestAReaderOfKafkaKeepsThePromises(t *testing.T) {
	bustest.Promises(t, func(t *testing.T) bustest.Bus { return start(t) }, bustest.Traits{Revised: true})
}
