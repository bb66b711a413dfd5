package postgres

import (
	"testing"

	"github.com/arauto/arauto/internal/lab/sourcetest"
	"github.com/arauto/arauto/internal/watch"
)

// followed is a table that a source follows. Each change is a row: a row that was changed before the first read would show
// its newest state alone.
type followed struct{ *core }

func (f followed) Reader(t *testing.T) watch.Reader {
	t.Helper()
	return f.reader(nil, "changes")
}

func (f followed) Write(t *testing.T, id string, n int64) {
	t.Helper()
	f.exec("INSERT INTO changes (id, n) VALUES ($1, $2)", id, n)
}

func TestNothingOfALogIsConfirmedThatIsNotOurs(t *testing.T) {
	t.Parallel()
	sourcetest.Conform(t, func(t *testing.T) sourcetest.Origin {
		return followed{newCore(t, nil, "CREATE TABLE changes (id text, n bigint, PRIMARY KEY (id, n))")}
	}, sourcetest.Traits{Table: "changes", Type: "postgres"})
}
