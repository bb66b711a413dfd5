package bank

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/api"
	"github.com/arauto/arauto/internal/jws"
)

// TestNoRouteBeginsWhileTheDatabaseIsSilent puts one call to each route of the table, so that a route that is new is held as well.
func TestNoRouteBeginsWhileTheDatabaseIsSilent(t *testing.T) {
	asked := 0
	silent := func(c *InternalConfig) {
		c.Answers = func(context.Context) error {
			asked++
			return context.DeadlineExceeded
		}
	}
	w := newWorld(t, silent)
	every := jws.Principal{Subject: "ana", Roles: []string{roleIngest, roleRegistrar, roleOperator, roleAuditor}}
	held := 0
	for _, r := range w.api.routes() {
		path := strings.NewReplacer("{id}", someID, "{name}", "core", "{clientId}", "itp", "{kind}", "pix-payment", "{seq}", "1", "{file:.+}", "checkpoint").Replace(r.Path)
		call := httptest.NewRequestWithContext(api.SignedIn(t.Context(), every), r.Method, path, strings.NewReader("{}"))
		got := httptest.NewRecorder()
		before := asked
		w.api.ServeHTTP(got, call)
		if r.Path == changesPath || r.Path == certificatesPath {
			require.Equal(t, before, asked, "%s %s needs no answer of the database", r.Method, r.Path)
			continue
		}
		held++
		require.Equal(t, before+1, asked, "%s %s", r.Method, path)
		require.Equal(t, 503, got.Code, "%s %s", r.Method, path)
		require.Equal(t, "1", got.Header().Get("Retry-After"), "%s %s", r.Method, path)
		require.Contains(t, got.Body.String(), `"error":"unavailable"`)
	}
	require.Greater(t, held, 50)
	require.Empty(t, w.shelf.recorded(), "nothing was read")
	require.Empty(t, w.shelf.acts, "nothing was done")
}

// TestARouteThatIsRefusedByItsRolesAsksNothing: who may not call cannot have the database asked.
func TestARouteThatIsRefusedByItsRolesAsksNothing(t *testing.T) {
	w := newWorld(t, func(c *InternalConfig) {
		c.Answers = func(context.Context) error {
			t.Error("asked")
			return nil
		}
	})
	w.ask("GET", "/internal/v1/notifications", "ingest", "").refused(t, 403, "forbidden")
}
