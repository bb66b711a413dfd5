package standin

import (
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// Arrival is what Load tells about a request.
type Arrival struct {
	Target      string
	Interaction string
	At          time.Time
}

// Load is an endpoint for load runs: it accepts every notification, echoes the id, counts, and keeps nothing.
type Load struct {
	listener net.Listener
	server   *http.Server
	done     chan struct{}
	count    atomic.Int64
}

// StartLoad serves until Close. each, unless nil, is called for every request before it is answered, from many
// goroutines; it should be quick.
func StartLoad(o Options, each func(Arrival)) (*Load, error) {
	if o.Addr == "" {
		o.Addr = "127.0.0.1:0"
	}
	listener, err := net.Listen("tcp", o.Addr)
	if err != nil {
		return nil, fmt.Errorf("start an endpoint for load: %w", err)
	}
	l := &Load{listener: listener, done: make(chan struct{})}
	l.server = &http.Server{
		ErrorLog:          log.New(io.Discard, "", 0), // refused handshakes are the sender's finding
		ReadHeaderTimeout: time.Minute,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			interaction := r.Header.Get("X-Webhook-Interaction-Id")
			l.count.Add(1)
			if each != nil {
				each(Arrival{r.RequestURI, interaction, time.Now()})
			}
			header := w.Header()
			header["X-Webhook-Interaction-Id"] = []string{interaction}
			header["Content-Length"] = zero
			w.WriteHeader(http.StatusAccepted)
		}),
	}
	go func() {
		defer close(l.done)
		_ = l.server.Serve(tls.NewListener(listener, o.config()))
	}()
	return l, nil
}

var zero = []string{"0"}

// Count is how many requests were accepted.
func (l *Load) Count() int64 { return l.count.Load() }

// Port of the listener.
func (l *Load) Port() int { return l.listener.Addr().(*net.TCPAddr).Port }

// BaseURI is what an initiator would register.
func (l *Load) BaseURI(path string) string {
	return fmt.Sprintf("https://localhost:%d%s", l.Port(), path)
}

// Close ends all connections and waits.
func (l *Load) Close() {
	_ = l.server.Close()
	<-l.done
}
