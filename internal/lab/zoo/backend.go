package zoo

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
)

// Backend is the application behind the proxies: plain HTTP on this machine, with the behaviours that a proxy only
// passes on.
type Backend struct {
	Addr string // host:port

	server *http.Server
	done   chan struct{}
}

const interactionID = "x-webhook-interaction-id"

// StartBackend starts one. It is stopped by Stop.
func StartBackend(ctx context.Context) (*Backend, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	b := &Backend{
		Addr:   listener.Addr().String(),
		server: &http.Server{Handler: http.HandlerFunc(serveBackend), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}, //nolint:gosec // peers are of the test
		done:   make(chan struct{}),
	}
	go func() {
		defer close(b.done)
		_ = b.server.Serve(listener) // until Stop
	}()
	return b, nil
}

// Stop ends the backend and its connections.
func (b *Backend) Stop() {
	_ = b.server.Close()
	<-b.done
}

func serveBackend(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	id := r.Header.Get(interactionID)
	behaviour, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	switch Behaviour(behaviour) {
	case HTTP10:
		conn, buffer, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = fmt.Fprintf(buffer, "HTTP/1.0 202 Accepted\r\n%s: %s\r\n\r\n", interactionID, id)
		_ = buffer.Flush()
	case Chunked:
		w.Header().Set(interactionID, id)
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, "accep")
		_ = http.NewResponseController(w).Flush()
		_, _ = io.WriteString(w, "ted")
	default:
		w.Header().Set(interactionID, id)
		w.WriteHeader(http.StatusAccepted)
	}
}
