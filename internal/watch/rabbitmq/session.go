package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/arauto/arauto/internal/watch"
	"github.com/arauto/arauto/internal/watch/bus"
)

// session is one Read: a connection, with a channel for each queue.
type session struct {
	*Reader
	to         watch.Hand
	connection *amqp.Connection
	queues     []*queue
	arrivals   chan queueDelivery // of all queues, for the one goroutine that hands over
}

// queue is one that is consumed. Delivery tags count on its channel alone, so that one acknowledgement covers a prefix.
type queue struct {
	name    string
	channel *amqp.Channel
	ledger  *bus.Ledger[uint64]
	telling sync.Mutex // one acknowledgement at a time, so that none names a tag that a later one covered
}

type queueDelivery struct {
	from     *queue
	delivery amqp.Delivery
}

func newSession(r *Reader, to watch.Hand, connection *amqp.Connection) *session {
	return &session{Reader: r, to: to, connection: connection, arrivals: make(chan queueDelivery)}
}

// run hands over until ctx ends or something fails. What is committed by then is acknowledged; the server queues the rest
// again when the connection closes.
func (s *session) run(ctx context.Context) error {
	ctx, fail := context.WithCancelCause(ctx)
	var beside sync.WaitGroup
	lost := s.connection.NotifyClose(make(chan *amqp.Error, 1))
	beside.Go(func() {
		select {
		case err := <-lost:
			fail(gone("the connection to rabbitmq is lost", err))
		case <-ctx.Done():
		}
	})
	for _, name := range s.settings.Queues.Names() {
		if err := s.consume(ctx, name, &beside, fail); err != nil {
			fail(err)
			break
		}
	}
	beside.Go(func() { bus.Every(ctx, s.pace.lag, s.report) })
	beside.Go(func() { s.count(ctx, fail) })
	fail(s.hand(ctx))
	for _, q := range s.queues {
		_ = q.acknowledge() // of a connection that is lost: told again
	}
	_ = s.connection.CloseDeadline(time.Now().Add(s.pace.leave)) // of what is lost; the socket closes all the same
	beside.Wait()
	return context.Cause(ctx)
}

// gone is why a connection, a channel or a consumer ended; err may be nil.
func gone(what string, err *amqp.Error) error {
	if err == nil {
		return errors.New(what)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// consume begins to read a queue.
func (s *session) consume(ctx context.Context, name string, beside *sync.WaitGroup, fail func(error)) error {
	if _, err := inspect(s.connection, name); err != nil {
		return err
	}
	channel, err := s.connection.Channel()
	if err != nil {
		return fmt.Errorf("open a channel: %w", err)
	}
	q := &queue{name: name, channel: channel, ledger: bus.NewLedger[uint64]()}
	s.queues = append(s.queues, q)
	if err := channel.Qos(s.settings.Prefetch, 0, false); err != nil {
		return fmt.Errorf("bound the prefetch of %s: %w", name, err)
	}
	closed := channel.NotifyClose(make(chan *amqp.Error, 1))
	cancelled := channel.NotifyCancel(make(chan string, 1))
	deliveries, err := channel.Consume(name, "", false, false, false, false, nil)
	if err != nil {
		return fmt.Errorf("consume %s: %w", name, err)
	}
	beside.Go(func() {
		select {
		case err := <-closed:
			fail(gone("the channel of "+name+" is lost", err))
		case <-cancelled:
			fail(fmt.Errorf("rabbitmq ended the consumer of %s; was the queue deleted?", name))
		case <-ctx.Done():
		}
	})
	beside.Go(func() { s.forward(ctx, q, deliveries) })
	beside.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-q.ledger.Woken():
				if err := q.acknowledge(); err != nil {
					fail(fmt.Errorf("acknowledge to %s: %w", name, err))
				}
			}
		}
	})
	return nil
}

// forward passes on a queue's deliveries. After ctx they are taken and left: the library waits for their reader.
func (s *session) forward(ctx context.Context, q *queue, deliveries <-chan amqp.Delivery) {
	for d := range deliveries {
		select {
		case s.arrivals <- queueDelivery{q, d}:
		case <-ctx.Done():
		}
	}
}

func (s *session) hand(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case a := <-s.arrivals:
			at := a.delivery.Timestamp
			if at.IsZero() {
				at = time.Now()
			}
			done := a.from.ledger.Add(a.delivery.DeliveryTag, at)
			if err := s.to.Take(ctx, []watch.SourceRecord{s.record(a.from.name, &a.delivery)}, done); err != nil {
				return err
			}
		}
	}
}

// acknowledge covers everything up to the last delivery before which all is committed.
func (q *queue) acknowledge() error {
	q.telling.Lock()
	defer q.telling.Unlock()
	settled := q.ledger.Settled()
	if len(settled) == 0 {
		return nil
	}
	return q.channel.Ack(settled[len(settled)-1], true)
}

// report tells how far behind we are.
func (s *session) report() {
	oldest := make([]time.Time, len(s.queues))
	for i, q := range s.queues {
		oldest[i] = q.ledger.Oldest()
	}
	s.to.Lag(-1, bus.Behind(time.Now(), oldest...))
}

// count asks again and again how many messages are left.
func (s *session) count(ctx context.Context, fail func(error)) {
	ask := func() {
		var messages int64
		for _, q := range s.queues {
			ready, err := inspect(s.connection, q.name)
			if err != nil {
				fail(err)
				return
			}
			messages += int64(ready) + int64(q.ledger.Len())
		}
		s.Left(messages)
	}
	ask()
	bus.Every(ctx, s.pace.count, ask)
}
