package sources

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/config"
)

func TestCheckSaysThatADeliveryLimitIsUnknown(t *testing.T) {
	dir := t.TempDir()
	password := filepath.Join(dir, "password")
	require.NoError(t, os.WriteFile(password, []byte("p"), 0o600))
	for name, c := range map[string]struct{ management, want string }{
		"without management": {
			"", "source core: the queue's delivery limit is unknown: set management, or look with rabbitmqctl list_queues name type arguments policy",
		},
		"management is away": {
			"  management: http://127.0.0.1:1\n", "WARNING source core: the delivery limit of core.payments is unknown: management: 127.0.0.1:1: dial tcp 127.0.0.1:1: connect: connection refused",
		},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(dir, name+".yaml")
			require.NoError(t, os.WriteFile(file, []byte(`source: core
type: rabbitmq
rabbitmq:
  urls: [amqp://127.0.0.1:1/]
  user: arauto
  password_file: `+password+"\n"+c.management+`  queues: {core.payments: payments}
tables:
  payments:
    kind: pix-payment
    id: id
    client: client
    version: v4
    status: status
    revision: n
    data: {creationDateTime: created}
`), 0o600))
			cfg := &config.Config{Profile: config.Development}
			cfg.Watch.Sources = []string{file}
			findings, err := Examine(t.Context(), cfg)
			require.ErrorContains(t, err, "connect to rabbitmq", "the broker itself is away in this test")
			require.NotContains(t, err.Error(), "delivery limit", "what is unknown is no reason not to start")
			require.Equal(t, []string{c.want}, findings)
		})
	}
}
