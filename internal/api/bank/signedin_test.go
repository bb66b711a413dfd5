package bank

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/api"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/jws"
)

// TestAPersonSignedInElsewhereHasTheirOwnRolesAndRecords asks as the console does, in this process, without a token.
func TestAPersonSignedInElsewhereHasTheirOwnRolesAndRecords(t *testing.T) {
	h := newWorld(t)
	ask := func(path string, roles ...string) int {
		r := httptest.NewRequestWithContext(api.SignedIn(t.Context(), jws.Principal{Subject: "ana", Roles: roles}), http.MethodGet, path, nil)
		r.RemoteAddr = "192.0.2.7:4711"
		w := httptest.NewRecorder()
		h.api.ServeHTTP(w, r)
		return w.Code
	}
	require.Equal(t, http.StatusForbidden, ask("/internal/v1/quarantine", "registrar"))
	require.Equal(t, http.StatusOK, ask("/internal/v1/quarantine", "operator"))
	require.Len(t, h.shelf.recorded(), 1)
	require.Equal(t, history.Actor{Subject: "ana", Role: "operator", Source: "192.0.2.7:4711"}, h.shelf.recorded()[0].Actor)
}
