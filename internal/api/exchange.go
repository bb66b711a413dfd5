package api

import (
	"cmp"
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

// Exchange is one request and its answer. One goroutine uses it at a time.
type Exchange struct {
	W     *Meter        // the answer
	R     *http.Request // a handler may replace it by one with another context
	face  *Face
	Log   *slog.Logger // names the request
	id    string       // ours, in the log and in x-request-id
	Route string       // template of the path, "" for a path that does not exist
	Who   jws.Principal
	Began time.Time
	Read  bool        // the body, to its end
	Body  []byte      // as it was read, where a handler keeps it
	Heard bool        // changes in it were handed to intake
	Notes []slog.Attr // what a handler adds to the access log: no token, body, query value or document

	left bool // its handler has returned without an answer; Resume goes on
}

// Leave lets the handler return without an answer. The exchange stays open until Resume has answered it, and holds little meanwhile: it has
// no logger.
func (x *Exchange) Leave() { x.left, x.Log = true, nil }

// Resume goes on with an exchange that its handler left, as if handle were the rest of that handler. It may be left again.
func (f *Face) Resume(x *Exchange, handle func(*Exchange) error) {
	x.left, x.Log = false, f.logger(x.id)
	defer f.Conclude(x)
	if err := handle(x); err != nil {
		f.Refuse(x, err)
	}
}

// Meter counts what is answered.
type Meter struct {
	http.ResponseWriter
	Status int // the first final status; 0: nothing is answered yet
	bytes  int64
}

// WriteHeader notes the first final status.
func (m *Meter) WriteHeader(status int) {
	if m.Status == 0 && status >= http.StatusOK {
		m.Status = status
	}
	m.ResponseWriter.WriteHeader(status)
}

// Write counts bytes.
func (m *Meter) Write(p []byte) (int, error) {
	m.Status = cmp.Or(m.Status, http.StatusOK)
	n, err := m.ResponseWriter.Write(p)
	m.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (m *Meter) Unwrap() http.ResponseWriter { return m.ResponseWriter }

// Begin opens an exchange, which Conclude ends. route is the template of its path, "" for none. Nothing we answer may be kept by a cache or read as another type.
func (f *Face) Begin(w http.ResponseWriter, r *http.Request, route string) *Exchange {
	id := uuid.NewString()
	h := w.Header()
	h.Set("x-request-id", id)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	return &Exchange{
		W: &Meter{ResponseWriter: w}, R: r, face: f, Log: f.logger(id), id: id, Route: route, Began: time.Now(),
	}
}

// logger names a request.
func (f *Face) logger(id string) *slog.Logger { return f.Log.With("request_id", id) }

// Conclude ends an exchange when it is deferred, even one whose handler panicked, and writes its line of the access log (S1): who, from
// where, what, and how it ended; no query value, body or token. It does nothing to one that was left.
func (f *Face) Conclude(x *Exchange) {
	v := recover() //nolint:revive // this function is what is deferred
	if v == nil && x.left {
		return
	}
	if v != nil {
		x.Panicked(v)
		if x.W.Status == 0 {
			f.Refuse(x, ErrInternal)
		} else {
			x.Cut()
		}
	}
	took := time.Since(x.Began)
	method := KnownMethod(x.R.Method)
	attrs := []slog.Attr{
		slog.String("listener", f.name), slog.String("method", method), slog.String("route", x.Route), slog.Int("status", x.W.Status),
		slog.Float64("duration_ms", float64(took.Microseconds())/1000), slog.Int64("bytes", x.W.bytes),
		slog.String("subject", x.Who.Subject), slog.String("source", x.R.RemoteAddr),
	}
	x.Log.LogAttrs(x.R.Context(), slog.LevelInfo, "request", append(attrs, x.Notes...)...)
	f.Observer.Answered(f.name, x.Route, method, x.W.Status, took)
}

// Panicked records a panic. Its value may hold anything, so only its type is kept, and its text when the runtime made it.
func (x *Exchange) Panicked(v any) { x.face.Panicked(x.Log, x.Route, v) }

// Panicked records a panic that no exchange recovers, as Exchange.Panicked does. It must be called where the panic is recovered.
func (f *Face) Panicked(log *slog.Logger, route string, v any) {
	f.Observer.Panicked(f.name, route)
	text := fmt.Sprintf("%T", v)
	if e, ok := v.(runtime.Error); ok {
		text = e.Error()
	}
	log.Error("panic while answering", "route", route, "panic", text, "stack", string(debug.Stack()))
}

// Lingering is how long the rest of a request is read and thrown away after its answer: closing a connection on data that
// was not read would make the peer lose an answer it has not read either (TCP answers with a reset).
const Lingering = time.Second

// Unread lets an answer leave before a body of unknown length has arrived, which the server would otherwise wait for, and
// lets the connection end after it: what follows on it would not be a request.
func (x *Exchange) Unread() {
	if x.R.ContentLength >= 0 || x.Read {
		return
	}
	rc := http.NewResponseController(x.W)
	if rc.EnableFullDuplex() == nil {
		x.W.Header().Set("Connection", "close")
		_ = rc.SetReadDeadline(time.Now().Add(Lingering)) // a failure leaves the server's own, which is longer
	}
}

// Cut ends the connection, so that half an answer does not look like a whole one.
func (x *Exchange) Cut() {
	if err := http.NewResponseController(x.W).SetWriteDeadline(time.Unix(1, 0)); err != nil {
		x.Log.Warn("connection not ended", "error", err)
	}
}

// KnownMethod returns the method, or "other" for one that HTTP does not define. It keeps made-up methods out of log and metrics.
func KnownMethod(m string) string {
	known := []string{
		http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodConnect,
		http.MethodOptions, http.MethodTrace,
	}
	if slices.Contains(known, m) {
		return m
	}
	return "other"
}
