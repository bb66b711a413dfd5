package api

import (
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"runtime/debug"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/arauto/arauto/internal/jws"
)

// Observer is told what the listeners do, for metrics. All methods must be quick and safe for concurrent use. A route is
// a template, "" for a path that does not exist, and a method is one of HTTP's or "other": neither can be made up by a
// caller (S5).
type Observer interface {
	// Answered reports one request at its end; for a stream that is the end of the stream.
	Answered(listener, route, method string, status int, took time.Duration)
	// Line reports one answered line of a stream.
	Line(status int)
	// Streaming reports that a stream began (1) or ended (-1).
	Streaming(change int)
	// Panicked reports a handler that panicked.
	Panicked(listener, route string)
}

type silent struct{}

func (silent) Answered(string, string, string, int, time.Duration) {}
func (silent) Line(int)                                            {}
func (silent) Streaming(int)                                       {}
func (silent) Panicked(string, string)                             {}

// exchange is one request and its answer.
type exchange struct {
	w     *meter
	r     *http.Request
	face  *face
	log   *slog.Logger // names the request
	id    string       // ours, in the log and in x-request-id
	route string
	who   jws.Principal
	began time.Time
	read  bool        // the body, to its end
	heard bool        // changes in it were handed to intake
	notes []slog.Attr // what a handler adds to the access log
}

// meter counts what is answered.
type meter struct {
	http.ResponseWriter
	status int
	bytes  int64
}

// WriteHeader notes the first final status.
func (m *meter) WriteHeader(status int) {
	if m.status == 0 && status >= http.StatusOK {
		m.status = status
	}
	m.ResponseWriter.WriteHeader(status)
}

// Write counts bytes.
func (m *meter) Write(p []byte) (int, error) {
	if m.status == 0 {
		m.status = http.StatusOK
	}
	n, err := m.ResponseWriter.Write(p)
	m.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (m *meter) Unwrap() http.ResponseWriter { return m.ResponseWriter }

// begin opens an exchange. Nothing we answer may be kept by a cache or read as another type.
func (f *face) begin(w http.ResponseWriter, r *http.Request, route string) *exchange {
	id := uuid.NewString()
	h := w.Header()
	h.Set("x-request-id", id)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	return &exchange{
		w: &meter{ResponseWriter: w}, r: r, face: f, log: f.log.With("request_id", id), id: id, route: route, began: time.Now(),
	}
}

// conclude ends an exchange, even one whose handler panicked, and writes its line of the access log (S1): who, from
// where, what, and how it ended; no query value, body or token.
func (f *face) conclude(x *exchange) {
	if v := recover(); v != nil { //nolint:revive // this function is what is deferred
		x.panicked(v)
		if x.w.status == 0 {
			f.refuse(x, errInternal)
		} else {
			x.cut()
		}
	}
	took := time.Since(x.began)
	method := knownMethod(x.r.Method)
	attrs := []slog.Attr{
		slog.String("listener", f.name), slog.String("method", method), slog.String("route", x.route), slog.Int("status", x.w.status),
		slog.Float64("duration_ms", float64(took.Microseconds())/1000), slog.Int64("bytes", x.w.bytes),
		slog.String("subject", x.who.Subject), slog.String("source", x.r.RemoteAddr),
	}
	x.log.LogAttrs(x.r.Context(), slog.LevelInfo, "request", append(attrs, x.notes...)...)
	f.observer.Answered(f.name, x.route, method, x.w.status, took)
}

// panicked records a panic. Its value may hold anything, so only its type is kept, and its text when the runtime made it.
func (x *exchange) panicked(v any) {
	x.face.observer.Panicked(x.face.name, x.route)
	text := fmt.Sprintf("%T", v)
	if e, ok := v.(runtime.Error); ok {
		text = e.Error()
	}
	x.log.Error("panic while answering", "route", x.route, "panic", text, "stack", string(debug.Stack()))
}

// lingering is how long the rest of a request is read and thrown away after its answer: closing a connection on data that
// was not read would make the peer lose an answer it has not read either (TCP answers with a reset).
const lingering = time.Second

// unread lets an answer leave before a body of unknown length has arrived, which the server would otherwise wait for, and
// lets the connection end after it: what follows on it would not be a request.
func (x *exchange) unread() {
	if x.r.ContentLength >= 0 || x.read {
		return
	}
	rc := http.NewResponseController(x.w)
	if rc.EnableFullDuplex() == nil {
		x.w.Header().Set("Connection", "close")
		_ = rc.SetReadDeadline(time.Now().Add(lingering)) // a failure leaves the server's own, which is longer
	}
}

// cut ends the connection, so that half an answer does not look like a whole one.
func (x *exchange) cut() {
	if err := http.NewResponseController(x.w).SetWriteDeadline(time.Unix(1, 0)); err != nil {
		x.log.Warn("connection not ended", "error", err)
	}
}

// knownMethod keeps made-up methods out of log and metrics.
func knownMethod(m string) string {
	known := []string{
		http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodConnect,
		http.MethodOptions, http.MethodTrace,
	}
	if slices.Contains(known, m) {
		return m
	}
	return "other"
}
