package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

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
