// Package kafka reads a core's changes from topics of Kafka, as a member of a consumer group.
//
// An offset is committed when every record before it in its partition is committed on our side, and never before; so
// when a reader dies, the next owner of the partition reads again what was not committed. Records of a partition are handed over in
// their order. Before a partition goes to another member we stop handing over its records, wait for those in hand, and
// commit; should the wait be too long, they are told twice, and their revision says so.
//
// A new group begins at the earliest message. Transactions of the core count: what it aborted is not seen. A message
// without a value is a deletion of its key.
//
// A revision is the core's own, from the mapping. An offset grows only within its partition, and a key keeps its
// partition only while their number stays: Settings.OffsetRevisions permits the offset to stand in, says that number,
// and Read refuses to go on when it changes.
//
// Left to others: what a message means (watch), and how often Read is called again after an error.
package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/arauto/arauto/internal/watch"
	"github.com/arauto/arauto/internal/watch/bus"
)

// Reader is a watch.Reader. See Open.
type Reader struct {
	bus.Shell
	settings Settings
	log      *slog.Logger
	pace     pace
}

// pace is how often things are done; tests shorten it.
type pace struct {
	commit   time.Duration // offsets
	lag      time.Duration // reports
	look     time.Duration // whether the brokers answer and the topics are as they were
	handover time.Duration // wait for what is in hand before a partition goes
	leave    time.Duration // bounds the end of a Read
	session  time.Duration // after it a member that died without a word loses its partitions; brokers commonly want 6 s or more
	ask      time.Duration // bounds one question to the brokers
}

// Open makes a Reader and connects to nothing yet. tables are those of the mapping. The error lists what is wrong with
// the settings, all but what Problems asks of production alone.
func Open(settings Settings, tables []string, log *slog.Logger) (*Reader, error) {
	found := append(settings.Problems(false), settings.Topics.Fits("topics", tables)...)
	if err := errors.Join(found...); err != nil {
		return nil, err
	}
	settings.InFlight = cmp.Or(settings.InFlight, defaultInFlight)
	return &Reader{settings: settings, log: log, pace: pace{
		commit: 200 * time.Millisecond, lag: time.Second, look: 5 * time.Second, handover: 10 * time.Second, leave: 3 * time.Second, ask: 10 * time.Second,
		session: 10 * time.Second,
	}}, nil
}

// Read joins the group and hands over what it is given, until ctx ends.
func (r *Reader) Read(ctx context.Context, to watch.Hand) error {
	return r.While(ctx, func(ctx context.Context) error {
		s := newSession(r, to)
		if err := s.open(ctx); err != nil {
			return err
		}
		return s.run(ctx)
	})
}

// Check asks the brokers for the topics and the group.
func (r *Reader) Check(ctx context.Context) []error {
	ctx, cancel := context.WithTimeout(ctx, r.pace.ask)
	defer cancel()
	options, err := r.settings.options()
	if err != nil {
		return []error{err}
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		return []error{fmt.Errorf("connect to kafka: %w", err)}
	}
	defer client.Close()
	if found := r.topics(ctx, client); len(found) > 0 {
		return found
	}
	request := kmsg.NewPtrOffsetFetchRequest()
	request.Group = r.settings.Group
	group := kmsg.NewOffsetFetchRequestGroup()
	group.Group = r.settings.Group
	request.Groups = append(request.Groups, group)
	response, err := request.RequestWith(ctx, client)
	if err == nil {
		err = kerr.ErrorForCode(response.ErrorCode)
	}
	for i := 0; err == nil && i < len(response.Groups); i++ {
		err = kerr.ErrorForCode(response.Groups[i].ErrorCode)
	}
	var found []error
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) { // a group that is not there is made by the first Read
		found = append(found, fmt.Errorf("group: ask for the offsets of %q: %w", r.settings.Group, err))
	}
	return found
}

// topics asks whether each topic is there and readable, with the partitions that OffsetRevisions says.
func (r *Reader) topics(ctx context.Context, client *kgo.Client) []error {
	request := kmsg.NewPtrMetadataRequest()
	request.AllowAutoTopicCreation = false
	for _, name := range r.settings.Topics.Names() {
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = new(name)
		request.Topics = append(request.Topics, topic)
	}
	response, err := request.RequestWith(ctx, client)
	if err != nil {
		return []error{fmt.Errorf("ask kafka for its topics: %w", err)}
	}
	var found []error
	for i := range response.Topics {
		topic := &response.Topics[i]
		if topic.Topic == nil {
			continue
		}
		err := kerr.ErrorForCode(topic.ErrorCode)
		switch want := r.settings.OffsetRevisions[*topic.Topic]; {
		case errors.Is(err, kerr.UnknownTopicOrPartition):
			found = append(found, fmt.Errorf("topics: %q does not exist, or we may not describe it; create it, or grant DESCRIBE and READ", *topic.Topic))
		case err != nil:
			found = append(found, fmt.Errorf("topics: %q: %w", *topic.Topic, err))
		case want != 0 && want != len(topic.Partitions):
			found = append(found, repartitioned(*topic.Topic, want, len(topic.Partitions)))
		}
	}
	return found
}

func repartitioned(topic string, want, has int) error {
	return fmt.Errorf("offset_revisions: %q has %d partitions, not %d, so offsets no longer order the changes of a key; "+
		"give the core's own revision in the mapping and take the topic out of offset_revisions", topic, has, want)
}
