package conformance

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/stage"
)

// TestAChangeIsHandedInAgainWhileTheGatewayIsBusy, as a core does; what is refused for another reason is told at once.
func TestAChangeIsHandedInAgainWhileTheGatewayIsBusy(t *testing.T) {
	var asked int
	status := []int{http.StatusServiceUnavailable, http.StatusServiceUnavailable, http.StatusOK, http.StatusUnprocessableEntity}
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "0")
		w.WriteHeader(status[asked])
		asked++
		_, _ = w.Write([]byte("{}"))
	}))
	defer gateway.Close()
	g := &Gateway{Core: stage.NewCore(gateway.URL, func() (string, error) { return "token", nil }, gateway.Client())}
	change := stage.Change{Kind: "pix-payment", ClientID: "itp", Revision: 1, OccurredAt: time.Now()}
	require.NoError(t, g.Tell(t.Context(), change))
	require.Equal(t, 3, asked)
	require.ErrorContains(t, g.Tell(t.Context(), change), "422")
	require.Equal(t, 4, asked)
}
