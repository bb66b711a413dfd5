package kafka

import (
	"fmt"
	"testing"

	"github.com/arauto/arauto/internal/lab/bustest"
	"github.com/arauto/arauto/internal/lab/sourcetest"
	"github.com/arauto/arauto/internal/watch"
)

// followed is a topic that a source follows.
type followed struct{ *broker }

func (f followed) Reader(t *testing.T) watch.Reader { return f.broker.Reader(t, 100) }

func (f followed) Write(t *testing.T, id string, n int64) {
	f.Send(t, id, fmt.Appendf(nil, `{"id":%q,"n":%d}`, id, n), "", "")
}

func TestNothingOfKafkaIsAcknowledgedThatIsNotOurs(t *testing.T) {
	t.Parallel()
	sourcetest.Conform(t, func(t *testing.T) sourcetest.Origin { return followed{start(t)} }, sourcetest.Traits{Table: bustest.Table, Type: "kafka"})
}
