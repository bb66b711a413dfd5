package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/arauto/arauto/internal/watch"
	"github.com/arauto/arauto/internal/watch/bus"
)

const (
	pollMost       = 500              // records of one poll
	commitPatience = 30 * time.Second // how long commits may fail before Read gives up
	silentLooks    = 2                // looks without an answer before the brokers count as lost
)

// session is one Read: a client, and the partitions the group gave it.
type session struct {
	*Reader
	to     watch.Hand
	client *kgo.Client
	room   chan struct{} // one for each record in hand

	mu      sync.Mutex
	parts   map[topicPartition]*partition
	leaving bool // Read ends: nobody waits any more for what is in hand

	committing sync.Mutex // one commit at a time, so that none overtakes a newer one
	failing    time.Time  // since when commits fail; zero: the last one succeeded
}

type topicPartition struct {
	topic     string
	partition int32
}

func newSession(r *Reader, to watch.Hand) *session {
	return &session{Reader: r, to: to, room: make(chan struct{}, r.settings.InFlight), parts: map[topicPartition]*partition{}}
}

// open makes the client. It joins the group once the brokers answered and the topics are right.
func (s *session) open(ctx context.Context) error {
	options, err := s.settings.options()
	if err != nil {
		return err
	}
	ask, cancel := context.WithTimeout(ctx, s.pace.ask)
	defer cancel()
	probe, err := kgo.NewClient(options...)
	if err != nil {
		return fmt.Errorf("connect to kafka: %w", err)
	}
	found := s.topics(ask, probe)
	probe.Close()
	if len(found) > 0 {
		return errors.Join(found...)
	}
	s.client, err = kgo.NewClient(append(options,
		kgo.ConsumerGroup(s.settings.Group),
		kgo.ConsumeTopics(s.settings.Topics.Names()...),
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(), // the end of a transaction is a place in the log too: without it we never catch up
		kgo.FetchMaxBytes(fetchBytes),
		kgo.FetchMaxPartitionBytes(partitionBytes),
		kgo.FetchMaxWait(fetchWait),
		kgo.MaxConcurrentFetches(concurrentFetches),
		kgo.SessionTimeout(s.pace.session),
		kgo.HeartbeatInterval(s.pace.session/5),
		kgo.RebalanceTimeout(rebalanceTimeout),
		kgo.DisableAutoCommit(),
		kgo.OnPartitionsAssigned(s.assigned),
		kgo.AdjustFetchOffsetsFn(s.fetched),
		kgo.OnPartitionsRevoked(s.revoked),
		kgo.OnPartitionsLost(s.lost),
	)...)
	if err != nil {
		return fmt.Errorf("join the group %s: %w", s.settings.Group, err)
	}
	return nil
}

// run hands over until ctx ends or something fails, and closes the client.
func (s *session) run(ctx context.Context) error {
	ctx, fail := context.WithCancelCause(ctx)
	var beside sync.WaitGroup
	beside.Go(func() { bus.Every(ctx, s.pace.commit, func() { s.commit(ctx, fail) }) })
	beside.Go(func() { bus.Every(ctx, s.pace.lag, s.report) })
	beside.Go(func() { s.look(ctx, fail) })
	fail(s.poll(ctx))
	beside.Wait()
	s.leave()
	return context.Cause(ctx)
}

func (s *session) poll(ctx context.Context) error {
	for {
		fetches := s.client.PollRecords(ctx, pollMost)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var failed error
		fetches.EachError(func(topic string, partition int32, err error) {
			if loss := (*kgo.ErrDataLoss)(nil); errors.As(err, &loss) {
				s.log.Error("kafka lost messages", "topic", topic, "partition", partition,
					"read_to", loss.ConsumedTo, "goes_on_at", loss.ResetTo)
				return
			}
			failed = errors.Join(failed, fmt.Errorf("read %s/%d: %w", topic, partition, err))
		})
		if failed != nil {
			return failed
		}
		fetches.EachPartition(func(f kgo.FetchTopicPartition) {
			if failed == nil {
				failed = s.takeAll(ctx, f)
			}
		})
		if failed != nil {
			return failed
		}
	}
}

func (s *session) takeAll(ctx context.Context, f kgo.FetchTopicPartition) error {
	p := s.at(topicPartition{f.Topic, f.Partition})
	if p == nil {
		return nil // went to another member since
	}
	if from, to, gap := p.arrived(f.HighWatermark, f.LogStartOffset); gap {
		s.log.Error("kafka deleted messages before they were read", "topic", f.Topic, "partition", f.Partition,
			"from", from, "to", to-1)
	}
	for _, r := range f.Records {
		if err := s.take(ctx, p, r); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) take(ctx context.Context, p *partition, r *kgo.Record) error {
	if want := s.settings.OffsetRevisions[r.Topic]; want != 0 && int(r.Partition) >= want {
		return repartitioned(r.Topic, want, int(r.Partition)+1)
	}
	select {
	case s.room <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	done, ours := p.add(r)
	if !ours {
		<-s.room
		return nil
	}
	finish := func() {
		done()
		<-s.room
	}
	if r.Attrs.IsControl() {
		finish()
		return nil
	}
	return s.to.Take(ctx, []watch.SourceRecord{s.record(r)}, finish)
}

// record makes a message a record.
func (s *session) record(r *kgo.Record) watch.SourceRecord {
	m := bus.Message{
		Table: s.settings.Topics.Table(r.Topic), Key: r.Key, Body: r.Value, Tombstone: r.Value == nil,
		Position: fmt.Sprintf("%s/%d@%d", r.Topic, r.Partition, r.Offset),
	}
	if s.settings.OffsetRevisions[r.Topic] != 0 && r.Key != nil { // without a key any partition may have got it
		m.Revision = r.Offset + 1
	}
	if r.Timestamp.UnixMilli() > 0 {
		m.CommittedAt = r.Timestamp.UTC()
	}
	for _, h := range r.Headers {
		m.Headers = append(m.Headers, bus.Header{Name: h.Key, Value: h.Value})
	}
	return m.Record()
}

func (s *session) at(p topicPartition) *partition {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.parts[p]
}

// assigned is called when the group gave us partitions; fetched, just after, with the offsets the group remembers.
func (s *session) assigned(_ context.Context, _ *kgo.Client, given map[string][]int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for topic, partitions := range given {
		for _, partition := range partitions {
			s.parts[topicPartition{topic, partition}] = newPartition()
		}
	}
}

func (s *session) fetched(_ context.Context, offsets map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	for topic, partitions := range offsets {
		for partition, offset := range partitions {
			if p := s.at(topicPartition{topic, partition}); p != nil {
				p.begin(offset.EpochOffset().Offset)
			}
		}
	}
	return offsets, nil
}

// revoked is called before partitions go to another member, which waits for us: what is in hand is committed first.
func (s *session) revoked(ctx context.Context, _ *kgo.Client, going map[string][]int32) {
	stopped := s.stop(going)
	s.mu.Lock()
	leaving := s.leaving
	s.mu.Unlock()
	if !leaving { // leave has committed what there was
		s.await(ctx, stopped)
		ctx, cancel := context.WithTimeout(ctx, s.pace.leave)
		defer cancel()
		s.commit(ctx, func(error) {})
	}
	s.forget(going)
}

// await returns when nothing of the partitions is in hand, or after its time.
func (s *session) await(ctx context.Context, stopped []*partition) {
	ctx, cancel := context.WithTimeout(ctx, s.pace.handover)
	defer cancel()
	for _, p := range stopped {
		if p.ledger.Wait(ctx) != nil {
			s.log.Warn("partition lost before its records were committed, they will be read again", "in_hand", p.ledger.Len())
			return
		}
	}
}

// lost is called when partitions have another owner already: nothing can be committed.
func (s *session) lost(_ context.Context, _ *kgo.Client, gone map[string][]int32) {
	s.stop(gone)
	s.forget(gone)
}

// stop ends the handing over of the records of partitions.
func (s *session) stop(going map[string][]int32) []*partition {
	var stopped []*partition
	for topic, partitions := range going {
		for _, partition := range partitions {
			if p := s.at(topicPartition{topic, partition}); p != nil {
				p.stop()
				stopped = append(stopped, p)
			}
		}
	}
	return stopped
}

func (s *session) forget(gone map[string][]int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for topic, partitions := range gone {
		for _, partition := range partitions {
			delete(s.parts, topicPartition{topic, partition})
		}
	}
}

// commit tells the group how far everything is done. A commit that fails is tried again with the next; when that lasts,
// the session fails.
func (s *session) commit(ctx context.Context, fail func(error)) {
	s.committing.Lock()
	defer s.committing.Unlock()
	offsets := map[string]map[int32]kgo.EpochOffset{}
	sent := map[*partition]int64{}
	s.mu.Lock()
	for at, p := range s.parts {
		next, due := p.due()
		if !due {
			continue
		}
		if offsets[at.topic] == nil {
			offsets[at.topic] = map[int32]kgo.EpochOffset{}
		}
		offsets[at.topic][at.partition] = next
		sent[p] = next.Offset
	}
	s.mu.Unlock()
	if len(offsets) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, s.pace.ask)
	defer cancel()
	err := errors.New("no answer")
	s.client.CommitOffsetsSync(ctx, offsets, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, response *kmsg.OffsetCommitResponse, asked error) {
		err = refused(response, asked)
	})
	if err == nil {
		s.failing = time.Time{}
		for p, offset := range sent {
			p.committed(offset)
		}
		return
	}
	if s.failing.IsZero() {
		s.failing = time.Now()
	}
	if time.Since(s.failing) > commitPatience {
		fail(fmt.Errorf("commit offsets of the group %s: %w", s.settings.Group, err))
	}
}

// refused is the first error of an answer to a commit.
func refused(response *kmsg.OffsetCommitResponse, err error) error {
	if err != nil || response == nil {
		return err
	}
	for i := range response.Topics {
		for _, partition := range response.Topics[i].Partitions {
			if err := kerr.ErrorForCode(partition.ErrorCode); err != nil {
				return fmt.Errorf("%s/%d: %w", response.Topics[i].Topic, partition.Partition, err)
			}
		}
	}
	return nil
}

// report tells how far behind we are.
func (s *session) report() {
	var oldest []time.Time
	var messages int64
	s.mu.Lock()
	for _, p := range s.parts {
		oldest = append(oldest, p.ledger.Oldest())
		messages += p.behind()
	}
	s.mu.Unlock()
	s.Left(messages)
	s.to.Lag(-1, bus.Behind(time.Now(), oldest...))
}

// look ends the session when the brokers are silent, which the client itself would bear for ever, or when the topics are
// not what they were.
func (s *session) look(ctx context.Context, fail func(error)) {
	silent := 0
	bus.Every(ctx, s.pace.look, func() {
		ask, cancel := context.WithTimeout(ctx, s.pace.look)
		defer cancel()
		found := s.topics(ask, s.client)
		if silent++; len(found) == 0 {
			silent = 0
		} else if silent >= silentLooks && ctx.Err() == nil {
			fail(errors.Join(found...))
		}
	})
}

// leave commits what is done and gives the partitions back, within a bounded time. Nobody waits for what is still in
// hand: it will be told again.
func (s *session) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), s.pace.leave)
	defer cancel()
	s.mu.Lock()
	s.leaving = true
	s.mu.Unlock()
	s.commit(ctx, func(error) {})
	_ = s.client.LeaveGroupContext(ctx) // a group that cannot be told notices by itself
	s.client.Close()
}
