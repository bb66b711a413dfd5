package bus

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/arauto/arauto/internal/watch"
)

// Shell is what the Readers of all buses have in common, to be embedded. A bus has no schema and no rows, and keeps nothing
// open between two Reads. Its methods may be called from any goroutine.
type Shell struct {
	left atomic.Int64 // messages, and 1; 0: unknown
}

// Messages says how many messages of the bus are not acknowledged yet, those in hand included; -1: unknown, or nothing is
// read now. Kafka counts the partitions of this replica; NATS the consumer and RabbitMQ the queues, for all replicas.
func (s *Shell) Messages() int64 { return s.left.Load() - 1 }

// Left notes how many messages are not acknowledged yet; -1: unknown.
func (s *Shell) Left(messages int64) { s.left.Store(messages + 1) }

// While calls read and returns its error, or nil when ctx ended. The number of messages is unknown afterwards.
func (s *Shell) While(ctx context.Context, read func(context.Context) error) error {
	defer s.Left(-1)
	err := read(ctx)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// Close does nothing: each Read closes what it opened.
func (s *Shell) Close() {}

// Describe returns nil: a bus has no schema.
func (s *Shell) Describe(context.Context, []string) (map[string][]watch.Column, error) {
	return nil, nil
}

// Find returns an error: a bus cannot be asked for rows.
func (s *Shell) Find(context.Context, watch.Lookup) (map[string]map[string]any, error) {
	return nil, errors.New("a bus has no tables to look up; remove the lookup from the mapping, and have the core put the values into the message")
}
