package console

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/api"
)

// TestThePageAboveAnActIsTheSameForItsAnswerAndForTheNextSignIn: two rules answered which page stands above a path that only takes posts.
func TestThePageAboveAnActIsTheSameForItsAnswerAndForTheNextSignIn(t *testing.T) {
	k, err := New(Config{})
	require.NoError(t, err)
	posts := 0
	for _, r := range k.routes() {
		path := strings.NewReplacer("{kind}", "pix-payment", "{", "some-", "}", "").Replace(r.Path)
		x := &api.Exchange{R: httptest.NewRequest(r.Method, path, nil), Route: r.Path}
		here := k.here(x)
		if r.Method == http.MethodGet {
			require.Equal(t, path, here)
			continue
		}
		posts++
		x.R.Header.Set("Referer", "http://example.com"+path)
		require.Equal(t, here, k.formPage(x), path)
		require.True(t, k.opens(here), path)
		require.True(t, strings.HasPrefix(path, here), path)
	}
	require.Greater(t, posts, 10)
	require.Equal(t, "/quarantine", k.here(&api.Exchange{R: httptest.NewRequest(http.MethodPost, "/quarantine/bulk", nil), Route: "/quarantine/bulk"}))
	require.Equal(t, "/nothing-here", k.here(&api.Exchange{R: httptest.NewRequest(http.MethodGet, "/nothing-here", nil)}))
}
