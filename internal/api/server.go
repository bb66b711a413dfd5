package api

import (
	"crypto/tls"
	"log/slog"
	"net/http"
	"time"
)

// NewServer wraps a handler in a server that no slow peer can hold up: 10 s for the header (H4), 16 KiB of it, 15 s for
// the rest of a request and 30 s for its answer. A stream replaces the last two by deadlines that move on with it.
// HTTP/1.1 only; config is nil for plain HTTP, else it is used as it is. What the server itself has to say goes to log.
func NewServer(handler http.Handler, config *tls.Config, log *slog.Logger) *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Server{
		Handler: handler, TLSConfig: config, Protocols: protocols, DisableGeneralOptionsHandler: true,
		ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 15 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: 75 * time.Second,
		MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
}
