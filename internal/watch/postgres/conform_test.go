package postgres

import (
	"testing"
	"time"

	"github.com/arauto/arauto/internal/lab/sourcetest"
	"github.com/arauto/arauto/internal/watch"
)

// followed is a table that a source follows. Each change is a row: a row that was changed before the first read would show
// its newest state alone.
type followed struct {
	*core
	fastLane time.Duration
}

func (f followed) Reader(t *testing.T) watch.Reader {
	t.Helper()
	return f.reader(func(c *Config, _ *Options) { c.FastLane = f.fastLane }, "changes")
}

func (f followed) Write(t *testing.T, id string, n int64) {
	t.Helper()
	f.exec("INSERT INTO changes (id, n) VALUES ($1, $2)", id, n)
}

// With one lane changes come in the order of the log. An outage of ours makes the stream late, and where a fast lane opens
// then, what is committed now comes before what waits.
func TestNothingOfALogIsConfirmedThatIsNotOurs(t *testing.T) {
	t.Parallel()
	for name, fastLane := range map[string]time.Duration{"one lane": -1, "a fast lane": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sourcetest.Conform(t, func(t *testing.T) sourcetest.Origin {
				return followed{newCore(t, nil, "CREATE TABLE changes (id text, n bigint, PRIMARY KEY (id, n))"), fastLane}
			}, sourcetest.Traits{Table: "changes", Type: "postgres", Overtaking: fastLane >= 0})
		})
	}
}
