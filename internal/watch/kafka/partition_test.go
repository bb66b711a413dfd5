package kafka

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/arauto/arauto/internal/lab/bustest"
	"github.com/arauto/arauto/internal/watch"
	"github.com/arauto/arauto/internal/watch/bus"
)

func numbered(n int) []byte { return fmt.Appendf(nil, `{"id":"m%d","n":%d}`, n, n) }

// opened is a Reader whose session a test can look into.
type opened struct {
	*Reader
	sessions chan *session
}

func (o opened) Read(ctx context.Context, to watch.Hand) error {
	s := newSession(o.Reader, to)
	o.sessions <- s
	if err := s.open(ctx); err != nil {
		return err
	}
	if err := s.run(ctx); ctx.Err() == nil {
		return err
	}
	return nil
}

// handsOver reports whether a partition is on its way to another member.
func (s *session) handsOver() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.parts {
		p.mu.Lock()
		stopped := p.stopped
		p.mu.Unlock()
		if stopped {
			return true
		}
	}
	return false
}

// TestAPartitionIsHandedOverOnlyWhenWhatIsInHandIsCommitted: with a clean rebalance nothing is told twice.
func TestAPartitionIsHandedOverOnlyWhenWhatIsInHandIsCommitted(t *testing.T) {
	b := start(t)
	for n := range 60 {
		b.Send(t, fmt.Sprintf("k%d", n%12), numbered(n), "", "")
	}
	open := opened{reader(t, b.settings()), make(chan *session, 1)}
	first := bustest.Begin(t, open)
	first.Taken(t, 60)
	second := bustest.Begin(t, b.Reader(t, 1000))
	second.Hand.CommitAll()
	s := <-open.sessions
	require.Eventually(t, s.handsOver, time.Minute, time.Millisecond)
	view, _ := second.Hand.Look()
	require.Empty(t, view.Taken, "the first has not let go")
	first.Hand.CommitAll()
	_, err := b.cluster.WaitGroupStable(t.Context(), group, 2)
	require.NoError(t, err)
	for n := 60; n < 120; n++ {
		b.Send(t, fmt.Sprintf("k%d", n%12), numbered(n), "", "")
	}
	all := func(bustest.View) bool {
		one, _ := first.Hand.Look()
		other, _ := second.Hand.Look()
		return len(one.Committed)+len(other.Committed) >= 120
	}
	second.Await(t, "its share", func(v bustest.View) bool { return len(v.Committed) > 0 })
	require.Eventually(t, func() bool { return all(bustest.View{}) }, time.Minute, 10*time.Millisecond)
	second.Stop(t)
	first.Stop(t)
	one, _ := first.Hand.Look()
	other, _ := second.Hand.Look()
	times := map[string]int{}
	for _, r := range append(one.Taken, other.Taken...) {
		times[bustest.ID(r)]++
	}
	require.Len(t, times, 120)
	for id, n := range times {
		require.Equal(t, 1, n, "%s was told %d times", id, n)
	}
	require.Zero(t, b.Left(t))
}

// TestAPartitionThatMustGoTakesItsUncommittedRecordsAlong: what a member holds beyond the handover is told to the next.
func TestAPartitionThatMustGoTakesItsUncommittedRecordsAlong(t *testing.T) {
	b := start(t)
	for n := range 60 {
		b.Send(t, fmt.Sprintf("k%d", n%12), numbered(n), "", "")
	}
	stuck := reader(t, b.settings())
	stuck.pace.handover = 50 * time.Millisecond
	first := bustest.Begin(t, stuck)
	first.Taken(t, 60)
	second := bustest.Begin(t, b.Reader(t, 1000))
	view := second.Taken(t, 1)
	require.Empty(t, view.Committed)
	first.Hand.CommitAll() // far too late for those that went: it must not commit them under the new owner
	_, err := b.cluster.WaitGroupStable(t.Context(), group, 2)
	require.NoError(t, err)
	first.Stop(t)
	second.Await(t, "what the first gave up", func(v bustest.View) bool { return len(v.Taken) >= 1 })
	second.Stop(t)
	seen, _ := second.Hand.Look()
	left := b.Left(t)
	require.GreaterOrEqual(t, left, len(distinct(seen.Taken)), "what the second has and did not commit is still out")
	third := bustest.Begin(t, b.Reader(t, 1000))
	third.Taken(t, left)
}

func TestAPartitionThatGoesTakesNothingMoreIn(t *testing.T) {
	p := newPartition()
	done, ours := p.add(&kgo.Record{Offset: 7})
	require.True(t, ours)
	p.stop()
	_, ours = p.add(&kgo.Record{Offset: 8})
	require.False(t, ours)
	done()
	next, due := p.due()
	require.True(t, due)
	require.Equal(t, int64(8), next.Offset, "what was in hand can be committed still")
	p.committed(next.Offset)
	_, due = p.due()
	require.False(t, due)
}

func distinct(records []watch.SourceRecord) map[string]bool {
	ids := map[string]bool{}
	for _, r := range records {
		ids[bustest.ID(r)] = true
	}
	return ids
}

func TestAMessageWithoutValueIsADeletion(t *testing.T) {
	b := start(t)
	require.NoError(t, b.producer.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Key: []byte("4711")}).FirstErr())
	require.NoError(t, b.producer.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Value: []byte(`{"id":"keyless"}`)}).FirstErr())
	g := bustest.Begin(t, b.Reader(t, 10))
	for _, r := range g.Taken(t, 2).Taken {
		if r.Op == watch.Delete {
			require.Equal(t, "4711", r.Values[bus.MemberKey])
			require.Positive(t, r.Revision)
			continue
		}
		require.Equal(t, "keyless", bustest.ID(r))
		require.Zero(t, r.Revision, "without a key the next one may be in another partition: its offset says nothing")
		require.Contains(t, r.Key, topic)
	}
}

func TestWhatTheCoreAbortedIsNotSeenAndDoesNotCountAsLeft(t *testing.T) {
	b := start(t)
	b.producer.Close()
	b.produce(t, kgo.TransactionalID("core"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	write := func(commit kgo.TransactionEndTry, ids ...string) {
		require.NoError(t, b.producer.BeginTransaction())
		for _, id := range ids {
			r := &kgo.Record{Topic: topic, Partition: 2, Key: []byte("k"), Value: fmt.Appendf(nil, `{"id":%q}`, id)}
			require.NoError(t, b.producer.ProduceSync(t.Context(), r).FirstErr())
		}
		require.NoError(t, b.producer.EndTransaction(t.Context(), commit))
	}
	write(kgo.TryCommit, "a", "b")
	write(kgo.TryAbort, "never")
	write(kgo.TryCommit, "c")
	r := b.Reader(t, 10)
	g := bustest.Begin(t, r)
	view := g.Taken(t, 3)
	require.Equal(t, map[string]bool{"a": true, "b": true, "c": true}, distinct(view.Taken))
	g.Hand.CommitAll()
	g.Await(t, "nothing left", func(bustest.View) bool { return r.Messages() == 0 })
	g.Stop(t)
	require.Zero(t, b.Left(t), "the markers of transactions are behind us as well")
}

func TestOffsetsStandInForRevisionsOnlyWhileThePartitionsAreAsManyAsSaid(t *testing.T) {
	b := start(t)
	settings := b.settings()
	settings.OffsetRevisions = map[string]int{topic: partitions + 1}
	few := reader(t, settings)
	require.ErrorContains(t, few.Read(t.Context(), bustest.NewHand()), "has 6 partitions, not 7")
	require.Len(t, few.Check(t.Context()), 1)

	b.Send(t, "k", numbered(1), "", "")
	g := bustest.Begin(t, b.Reader(t, 10))
	g.Taken(t, 1)
	request := kmsg.NewPtrCreatePartitionsRequest()
	request.TimeoutMillis = 5000
	more := kmsg.NewCreatePartitionsRequestTopic()
	more.Topic, more.Count = topic, partitions+2
	request.Topics = append(request.Topics, more)
	_, err := request.RequestWith(t.Context(), b.producer)
	require.NoError(t, err)
	require.ErrorContains(t, g.Ended(t), "give the core's own revision")

	settings.OffsetRevisions = nil
	g = bustest.Begin(t, reader(t, settings))
	require.Zero(t, g.Taken(t, 1).Taken[0].Revision)
}

func TestCheckNamesTopicsThatAreNotThereAndBrokersThatDoNotAnswer(t *testing.T) {
	b := start(t)
	require.Empty(t, b.Reader(t, 10).Check(t.Context()))
	settings := b.settings()
	settings.Topics = bus.Tables{topic: "", "core.absent": ""}
	r := reader(t, settings)
	found := r.Check(t.Context())
	require.Len(t, found, 1)
	require.ErrorContains(t, found[0], `"core.absent" does not exist`)
	require.ErrorContains(t, r.Read(t.Context(), bustest.NewHand()), `"core.absent" does not exist`)

	settings = b.settings()
	settings.Brokers = []string{"127.0.0.1:1"}
	r = reader(t, settings)
	r.pace.ask = 300 * time.Millisecond
	require.Len(t, r.Check(t.Context()), 1)
}

func TestMessagesThatRetentionTookAreReported(t *testing.T) {
	b := start(t)
	var log lines
	settings := b.settings()
	r, err := Open(settings, bustest.Of(settings.Topics), slog.New(slog.NewTextHandler(&log, nil)))
	require.NoError(t, err)
	for n := range 10 {
		b.Send(t, "k", numbered(n), "", "")
	}
	g := bustest.Begin(t, r)
	g.Taken(t, 10)
	g.Hand.Commit(3)
	g.Stop(t)
	require.Equal(t, 7, b.Left(t))
	for partition := range int32(partitions) {
		if b.cluster.PartitionInfo(topic, partition).HighWatermark > 0 {
			require.NoError(t, b.cluster.DeleteRecords(topic, partition, 6))
		}
	}
	g = bustest.Begin(t, r)
	require.Equal(t, "m6", bustest.ID(g.Taken(t, 4).Taken[0]))
	g.Stop(t)
	require.Contains(t, log.text(), "kafka deleted messages before they were read")
	require.Contains(t, log.text(), "from=3 to=5")
}

type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestAReaderConnectsThroughTLSWithItsPassword(t *testing.T) {
	authority, err := bustest.NewAuthority(t.TempDir())
	require.NoError(t, err)
	others, err := bustest.NewAuthority(t.TempDir())
	require.NoError(t, err)
	for _, mechanism := range []string{"SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"} {
		t.Run(mechanism, func(t *testing.T) {
			cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, topic),
				kfake.TLS(authority.Server(t, "bus")), kfake.EnableSASL(), kfake.Superuser(mechanism, "arauto", "right"))
			require.NoError(t, err)
			t.Cleanup(cluster.Close)
			settings := Settings{
				Brokers: cluster.ListenAddrs(), TLS: authority.Client(t, "reader"), Mechanism: mechanism, Group: group,
				Login: bus.Login{User: "arauto", PasswordFile: bustest.Password(t, "right")}, Topics: bus.Tables{topic: ""},
			}
			require.Empty(t, settings.Problems(true))
			require.Empty(t, reader(t, settings).Check(t.Context()))

			wrong := settings
			wrong.PasswordFile = bustest.Password(t, "wrong")
			found := reader(t, wrong).Check(t.Context())
			require.Len(t, found, 1)
			require.NotContains(t, found[0].Error(), "wrong")

			stranger := settings
			stranger.TLS = &bus.TLS{CA: others.CA, Certificate: settings.TLS.Certificate, Key: settings.TLS.Key}
			found = reader(t, stranger).Check(t.Context())
			require.Len(t, found, 1)
			require.ErrorContains(t, found[0], "certificate")
		})
	}
}

func TestSettingsAreRefusedWithTheirKey(t *testing.T) {
	good := Settings{Brokers: []string{"h:9093"}, TLS: &bus.TLS{CA: "ca"}, Group: "g", Topics: bus.Tables{"t": ""}}
	require.Empty(t, good.Problems(true))
	bustest.Spoilt(t, good, (*Settings).Problems, map[string]func(*Settings){
		"brokers: is empty":        func(s *Settings) { s.Brokers = nil },
		"brokers[0]":               func(s *Settings) { s.Brokers = []string{"kafka://h:1"} },
		"tls: is missing":          func(s *Settings) { s.TLS = nil },
		"mechanism":                func(s *Settings) { s.Mechanism = "GSSAPI" },
		"group":                    func(s *Settings) { s.Group = " " },
		"topics":                   func(s *Settings) { s.Topics = nil },
		"in_flight":                func(s *Settings) { s.InFlight = -1 },
		"offset_revisions: \"x\"":  func(s *Settings) { s.OffsetRevisions = map[string]int{"x": 1} },
		"has 0 partitions":         func(s *Settings) { s.OffsetRevisions = map[string]int{"t": 0} },
		"user, password_file: one": func(s *Settings) { s.User = "u" },
	})
	_, err := Open(Settings{}, nil, nil)
	require.Error(t, err)
}

func TestSettingsAreReadFromTheMappingFile(t *testing.T) {
	var s Settings
	require.NoError(t, bustest.Decode(t, "kafka", `
  brokers: [h:9093]
  tls: {ca: ca.pem}
  user: arauto
  password_file: p
  group: arauto
  topics: {core.payments: payments, payments: }
  offset_revisions: {core.payments: 12}`, &s))
	require.Empty(t, s.Problems(true))
	require.Equal(t, "arauto", s.User)
	require.Equal(t, "payments", s.Topics.Table("core.payments"))
	require.Equal(t, "payments", s.Topics.Table("payments"))
	require.Equal(t, 12, s.OffsetRevisions[topic])
	require.ErrorContains(t, bustest.Decode(t, "kafka", "\n  tls: {insecure: true}", &s), "insecure")
}
