package nats

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/arauto/arauto/internal/watch"
	"github.com/arauto/arauto/internal/watch/bus"
)

const (
	buffered  = 64               // messages fetched ahead of the one handed over
	heartbeat = 5 * time.Second  // of an idle pull; twice without one, and the consumer counts as lost
	expiry    = 30 * time.Second // of a pull

	leaveTimeout = 3 * time.Second // bounds the end of a Read
)

// session is one Read.
type session struct {
	*Reader
	to       watch.Hand
	conn     *nats.Conn
	consumer jetstream.Consumer
	ledger   *bus.Ledger[jetstream.Msg]
	keep     time.Duration // how often messages in hand are kept alive
	arrivals chan arrival  // pulled and not handed over yet
}

// arrival is a message that was pulled.
type arrival struct {
	record watch.SourceRecord
	done   func()
}

func newSession(r *Reader, to watch.Hand, conn *nats.Conn, consumer jetstream.Consumer) *session {
	return &session{
		Reader: r, to: to, conn: conn, consumer: consumer, ledger: bus.NewLedger[jetstream.Msg](),
		keep:     consumer.CachedInfo().Config.AckWait / 3,
		arrivals: make(chan arrival, consumer.CachedInfo().Config.MaxAckPending),
	}
}

// run hands over until ctx ends or something fails. What is committed by then is acknowledged, the rest given back.
func (s *session) run(ctx context.Context, fail func(error)) error {
	ahead := min(buffered, s.consumer.CachedInfo().Config.MaxAckPending)
	messages, err := s.consumer.Messages(jetstream.PullMaxMessages(ahead), jetstream.PullExpiry(expiry), jetstream.PullHeartbeat(heartbeat))
	if err != nil {
		return fmt.Errorf("pull from the consumer %s: %w", s.settings.Durable, err)
	}
	var beside sync.WaitGroup
	beside.Go(func() { s.acknowledge(ctx, fail) })
	beside.Go(func() { bus.Every(ctx, s.keep, s.alive) })
	beside.Go(func() { bus.Every(ctx, s.pace.lag, s.report) })
	beside.Go(func() { s.count(ctx); bus.Every(ctx, s.pace.count, func() { s.count(ctx) }) })
	beside.Go(func() { fail(s.pull(ctx, messages)) })
	fail(s.hand(ctx))
	beside.Wait()
	s.giveBack(messages)
	return context.Cause(ctx)
}

// pull writes down what the server delivers as soon as it is here: while the Hand takes nothing, because our database is
// away, it is kept alive like what is in hand, and not told again. The server bounds how much that is.
func (s *session) pull(ctx context.Context, messages jetstream.MessagesContext) error {
	for {
		msg, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return fmt.Errorf("pull from the consumer %s: %w", s.settings.Durable, err)
		}
		meta, err := msg.Metadata()
		if err != nil {
			return fmt.Errorf("a message without a place in its stream: %w", err)
		}
		select {
		case s.arrivals <- arrival{s.record(msg, meta), s.ledger.Add(msg, meta.Timestamp)}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// hand hands over what was pulled, in order.
func (s *session) hand(ctx context.Context) error {
	for {
		select {
		case a := <-s.arrivals:
			if err := s.to.Take(ctx, []watch.SourceRecord{a.record}, a.done); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// acknowledge tells the server what is committed. The last one of each round is confirmed; those before it went ahead of
// it over the same connection.
func (s *session) acknowledge(ctx context.Context, fail func(error)) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.ledger.Woken():
			if err := s.settle(context.WithoutCancel(ctx)); err != nil && ctx.Err() == nil {
				fail(fmt.Errorf("acknowledge to nats: %w", err))
				return
			}
		}
	}
}

// What it takes out of the ledger it must tell: the caller's ctx outlives the session's.
func (s *session) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	settled := s.ledger.Settled()
	for i, msg := range settled {
		if i < len(settled)-1 {
			if err := msg.Ack(); err != nil {
				return err
			}
		} else if err := msg.DoubleAck(ctx); err != nil {
			return err
		}
	}
	return nil
}

// alive keeps the server from telling again what is in hand here. When it cannot, the connection is lost, which is
// noticed elsewhere.
func (s *session) alive() {
	for _, msg := range s.ledger.Open() {
		if msg.InProgress() != nil {
			return
		}
	}
}

// giveBack acknowledges what is committed and has the server tell the rest at once, to us or to another replica, rather
// than after the ack wait. Nothing may come any more before that, or it would be told to us. Errors change nothing: what
// the server does not hear it tells again.
func (s *session) giveBack(messages jetstream.MessagesContext) {
	ctx, cancel := context.WithTimeout(context.Background(), leaveTimeout)
	defer cancel()
	_ = s.settle(ctx)
	messages.Drain()
	back := s.ledger.Open()
	for ctx.Err() == nil {
		msg, err := messages.Next(jetstream.NextContext(ctx))
		if errors.Is(err, jetstream.ErrMsgIteratorClosed) {
			break
		}
		if err == nil {
			back = append(back, msg)
		}
	}
	messages.Stop()
	for _, msg := range back {
		_ = msg.Nak()
	}
	_ = s.conn.FlushWithContext(ctx)
}

// report tells how far behind we are.
func (s *session) report() { s.to.Lag(-1, bus.Behind(time.Now(), s.ledger.Oldest())) }

// count asks how many messages are left.
func (s *session) count(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	info, err := s.consumer.Info(ctx)
	if err != nil {
		s.Left(-1)
		return
	}
	s.Left(int64(info.NumPending) + int64(info.NumAckPending))
}
