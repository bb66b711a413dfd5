package stage

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
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
	c := NewCore(gateway.URL, func() (string, error) { return "token", nil }, gateway.Client())
	change := Change{Kind: "pix-payment", ClientID: "itp", Revision: 1, OccurredAt: time.Now()}
	_, err := c.ChangePatiently(t.Context(), change)
	require.NoError(t, err)
	require.Equal(t, 3, asked)
	_, err = c.ChangePatiently(t.Context(), change)
	require.ErrorContains(t, err, "422")
	require.Equal(t, 4, asked)
}
