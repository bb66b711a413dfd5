// Package nats reads a core's changes from a stream of NATS JetStream, through a durable pull consumer.
//
// Each message is acknowledged by itself, once it is committed on our side and never before. A message that is in hand
// for long, because the database is slow, is kept alive at the server; one of a replica that died is told again after
// the consumer's ack wait, and one of a replica that stopped is given back at once. Several replicas may read through
// the same consumer: the server spreads the messages, and the revision puts them in order where they meet.
//
// The revision, where the mapping gives none, is the message's sequence in the stream, which is the same when it is told
// again and grows with every message. It begins anew when the stream is deleted and made again; the core's own revision
// does not.
//
// Left to others: what a message means (watch), and how often Read is called again after an error.
package nats

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/arauto/arauto/internal/watch"
	"github.com/arauto/arauto/internal/watch/bus"
)

// askTimeout bounds one question to the server.
const askTimeout = 5 * time.Second

// Reader is a watch.Reader. See Open.
type Reader struct {
	bus.Shell
	settings Settings
	log      *slog.Logger
	pace     pace
}

// pace is how often things are done; tests shorten it.
type pace struct {
	lag   time.Duration // reports
	count time.Duration // questions how many messages are left
}

// Open makes a Reader and connects to nothing yet. tables are those of the mapping. The error lists what is wrong with
// the settings, all but what Problems asks of production alone.
func Open(settings Settings, tables []string, log *slog.Logger) (*Reader, error) {
	found := append(settings.Problems(false), settings.Subjects.Fits("subjects", tables)...)
	if err := errors.Join(found...); err != nil {
		return nil, err
	}
	settings.InFlight, settings.AckWait = cmp.Or(settings.InFlight, defaultInFlight), cmp.Or(settings.AckWait, defaultAckWait)
	return &Reader{settings: settings, log: log, pace: pace{lag: time.Second, count: 5 * time.Second}}, nil
}

// Read connects and hands over what the consumer delivers, until ctx ends.
func (r *Reader) Read(ctx context.Context, to watch.Hand) error {
	return r.While(ctx, func(ctx context.Context) error {
		ctx, fail := context.WithCancelCause(ctx)
		defer fail(nil)
		conn, err := r.connect(fail)
		if err != nil {
			return err
		}
		defer conn.Close()
		consumer, err := r.consumer(ctx, conn, r.settings.Create)
		if err != nil {
			return err
		}
		return newSession(r, to, conn, consumer).run(ctx, fail)
	})
}

// connect fails, later, when the connection is lost.
func (r *Reader) connect(fail func(error)) (*nats.Conn, error) {
	options, err := r.settings.options(r.log, func(err error) {
		fail(fmt.Errorf("the connection to nats is lost: %w", cmp.Or(err, nats.ErrConnectionClosed)))
	})
	if err != nil {
		return nil, err
	}
	conn, err := nats.Connect(strings.Join(r.settings.URLs, ","), options...)
	if err != nil {
		return nil, fmt.Errorf("connect to nats: %w", err)
	}
	return conn, nil
}

// consumer finds the durable consumer, or makes it, and judges it.
func (r *Reader) consumer(ctx context.Context, conn *nats.Conn, create bool) (jetstream.Consumer, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	js, err := jetstream.New(conn)
	if err != nil {
		return nil, fmt.Errorf("use jetstream: %w", err)
	}
	stream, err := js.Stream(ctx, r.settings.Stream)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return nil, fmt.Errorf("stream: %q does not exist; the core's side makes it", r.settings.Stream)
	case err != nil:
		return nil, fmt.Errorf("ask for the stream %s: %w", r.settings.Stream, err)
	}
	consumer, err := stream.Consumer(ctx, r.settings.Durable)
	switch {
	case errors.Is(err, jetstream.ErrConsumerNotFound) && create:
		if consumer, err = stream.CreateConsumer(ctx, r.settings.consumer()); err != nil {
			return nil, fmt.Errorf("make the consumer %s of the stream %s: %w", r.settings.Durable, r.settings.Stream, err)
		}
	case errors.Is(err, jetstream.ErrConsumerNotFound):
		return nil, fmt.Errorf("durable: the stream %s has no consumer %q; make it, or set create: true: %w", r.settings.Stream, r.settings.Durable, err)
	case err != nil:
		return nil, fmt.Errorf("ask for the consumer %s of the stream %s: %w", r.settings.Durable, r.settings.Stream, err)
	}
	if found := r.settings.misfits(consumer.CachedInfo().Config); len(found) > 0 {
		return nil, errors.Join(found...)
	}
	return consumer, nil
}

// Check connects and asks for the stream and the consumer. A consumer that Read would make is no problem.
func (r *Reader) Check(ctx context.Context) []error {
	conn, err := r.connect(func(error) {})
	if err != nil {
		return []error{err}
	}
	defer conn.Close()
	_, err = r.consumer(ctx, conn, false)
	if r.settings.Create && errors.Is(err, jetstream.ErrConsumerNotFound) {
		return nil
	}
	if err != nil {
		return []error{err}
	}
	return nil
}

// record makes a message a record.
func (r *Reader) record(msg jetstream.Msg, meta *jetstream.MsgMetadata) watch.SourceRecord {
	m := bus.Message{
		Table: r.settings.table(msg.Subject()), Key: []byte(msg.Subject()), Body: msg.Data(),
		Position:    fmt.Sprintf("%s@%d", meta.Stream, meta.Sequence.Stream),
		CommittedAt: meta.Timestamp.UTC(),
	}
	if meta.Sequence.Stream <= math.MaxInt64 {
		m.Revision = int64(meta.Sequence.Stream)
	}
	for name, values := range msg.Headers() {
		for _, value := range values {
			m.Headers = append(m.Headers, bus.Header{Name: name, Value: []byte(value)})
		}
	}
	return m.Record()
}
