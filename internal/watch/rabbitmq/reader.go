// Package rabbitmq reads a core's changes from queues of RabbitMQ.
//
// Deliveries are acknowledged by hand, once they are committed on our side and never before; one acknowledgement covers
// all up to the last that is. At most a prefetch of a queue is in hand. When the connection ends, for any reason, the
// server queues again what was not acknowledged, and tells it to the next consumer. A message that nothing can be made
// of goes to our quarantine and is acknowledged, so it neither comes back nor stands in the way.
//
// A queue numbers nothing: records have no revision, and the mapping must give the core's own. Several consumers of one
// queue get its messages side by side, and what was queued again comes late; the revision puts them in order.
//
// Left to others: what a message means (watch), and how often Read is called again after an error.
package rabbitmq

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

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
	lag   time.Duration // reports
	count time.Duration // questions how many messages are left
	leave time.Duration // bounds the end of a Read
}

// Open makes a Reader and connects to nothing yet. tables are those of the mapping. The error lists what is wrong with
// the settings, all but what Problems asks of production alone.
func Open(settings Settings, tables []string, log *slog.Logger) (*Reader, error) {
	found := append(settings.Problems(false), settings.Queues.Fits("queues", tables)...)
	if err := errors.Join(found...); err != nil {
		return nil, err
	}
	settings.Prefetch = cmp.Or(settings.Prefetch, defaultPrefetch)
	return &Reader{settings: settings, log: log, pace: pace{lag: time.Second, count: 5 * time.Second, leave: 3 * time.Second}}, nil
}

// Read connects and hands over what the queues deliver, until ctx ends.
func (r *Reader) Read(ctx context.Context, to watch.Hand) error {
	return r.While(ctx, func(ctx context.Context) error {
		connection, err := r.settings.dial(ctx)
		if err != nil {
			return err
		}
		return newSession(r, to, connection).run(ctx)
	})
}

// Check connects and asks for each queue. What a queue was declared with cannot be asked for over AMQP.
func (r *Reader) Check(ctx context.Context) []error {
	connection, err := r.settings.dial(ctx)
	if err != nil {
		return []error{err}
	}
	defer func() { _ = connection.CloseDeadline(time.Now().Add(r.pace.leave)) }() // it was only asked
	var found []error
	for _, name := range r.settings.Queues.Names() {
		if _, err := inspect(connection, name); err != nil {
			found = append(found, err)
		}
	}
	return found
}

// inspect asks how many messages a queue holds. A refusal costs the channel it was asked on, hence one for each question.
func inspect(connection *amqp.Connection, name string) (int, error) {
	channel, err := connection.Channel()
	if err != nil {
		return 0, fmt.Errorf("open a channel: %w", err)
	}
	defer channel.Close()
	queue, err := channel.QueueDeclarePassive(name, true, false, false, false, nil)
	if err != nil {
		if told := (*amqp.Error)(nil); errors.As(err, &told) && told.Code == amqp.NotFound {
			return 0, fmt.Errorf("queues: %q does not exist; the core's side makes it", name)
		}
		return 0, fmt.Errorf("queues: ask for %q: %w", name, err)
	}
	return queue.Messages, nil
}

func (r *Reader) record(queue string, d *amqp.Delivery) watch.SourceRecord {
	m := bus.Message{
		Table: r.settings.Queues.Table(queue), Key: []byte(d.RoutingKey), Body: d.Body,
		Position: queue + " message " + strconv.Quote(d.MessageId),
	}
	if d.MessageId == "" {
		m.Position = queue + " delivery " + strconv.FormatUint(d.DeliveryTag, 10)
	}
	for name, value := range d.Headers {
		m.Headers = append(m.Headers, bus.Header{Name: name, Value: text(value)})
	}
	return m.Record()
}

// text is a header's value as text. What is neither text nor a number, a truth or an instant is none.
func text(value any) []byte {
	switch v := value.(type) {
	case string:
		return []byte(v)
	case []byte:
		return v
	case bool, int8, uint8, int16, uint16, int32, uint32, int64, int, float32, float64:
		return fmt.Append(nil, v)
	case time.Time:
		return v.UTC().AppendFormat(nil, time.RFC3339)
	}
	return []byte{0xFF} // not UTF-8: null
}
