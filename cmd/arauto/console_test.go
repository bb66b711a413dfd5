package main

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/stage"
)

// TestTheLinkOfTheDemoOpensTheConsole starts the product as `arauto demo --keep` does, and uses the link that it prints.
func TestTheLinkOfTheDemoOpensTheConsole(t *testing.T) {
	t.Parallel()
	h := open(t, stage.Options{})
	r, err := h.Start(t.Context(), "ARAUTO_CONSOLE_ADDR=127.0.0.1:0")
	require.NoError(t, err)
	require.NotEmpty(t, r.Console, "the replica tells its console's address before it is ready")
	link, err := h.SignInLink(t.Context(), r)
	require.NoError(t, err)
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	browser := &http.Client{Jar: jar}
	res, err := browser.PostForm(link, url.Values{"name": {"ana"}, "role": {"operator"}})
	require.NoError(t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, res.StatusCode)
	require.Contains(t, string(body), "<h1>Agora</h1>")
	again, err := (&http.Client{}).PostForm(link, url.Values{"name": {"ana"}, "role": {"operator"}})
	require.NoError(t, err)
	defer again.Body.Close()
	require.Equal(t, http.StatusForbidden, again.StatusCode, "a link works once")
}
