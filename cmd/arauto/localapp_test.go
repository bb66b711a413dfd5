package main

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
)

// freePort is a port that was free a moment ago.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// appHandler is the plain app of an initiator's developer: it accepts each notification, and its path goes to the channel.
func appHandler(paths chan<- string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("X-Webhook-Interaction-Id", r.Header.Get("X-Webhook-Interaction-Id"))
		w.WriteHeader(http.StatusAccepted)
		paths <- r.URL.EscapedPath()
	})
}

// localApp runs such an app and returns its address.
func localApp(t *testing.T, paths chan<- string) string {
	t.Helper()
	server := httptest.NewServer(appHandler(paths))
	t.Cleanup(server.Close)
	return server.URL
}
