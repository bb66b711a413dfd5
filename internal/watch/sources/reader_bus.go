//go:build !lean

package sources

import (
	"errors"
	"log/slog"

	"github.com/arauto/arauto/internal/watch"
	"github.com/arauto/arauto/internal/watch/kafka"
	"github.com/arauto/arauto/internal/watch/nats"
	"github.com/arauto/arauto/internal/watch/rabbitmq"
)

// openBus makes the reader of a mapping whose type is a bus.
func openBus(m *watch.Mapping, production bool, log *slog.Logger) (watch.Reader, error) {
	switch m.Type {
	case "kafka":
		var c kafka.Settings
		if err := errors.Join(m.Settings(&c), errors.Join(c.Problems(production)...)); err != nil {
			return nil, err
		}
		return reader(kafka.Open(c, m.Tables(), log))
	case "nats":
		var c nats.Settings
		if err := errors.Join(m.Settings(&c), errors.Join(c.Problems(production)...)); err != nil {
			return nil, err
		}
		return reader(nats.Open(c, m.Tables(), log))
	default:
		var c rabbitmq.Settings
		if err := errors.Join(m.Settings(&c), errors.Join(c.Problems(production)...)); err != nil {
			return nil, err
		}
		return reader(rabbitmq.Open(c, m.Tables(), log))
	}
}
