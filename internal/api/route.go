// Package api is the frame of the listeners for machines: servers (NewServer), routes and admission (Face, Route), sign-in by
// bearer token (SignIn), errors (APIError), and requests with their line in the access log (Exchange). Package api/bank is the
// bank's side, package api/status the initiators'.
//
// It guarantees that a request is admitted by the table of routes alone: a path without an entry does not exist, and an entry
// without roles admits nobody. No token, body, query value or document reaches the log.
//
// It does not know what is asked for, and writes no error: each face has its own form of errors.
package api

import (
	"cmp"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/gorilla/mux"
)

// Route is one thing that can be asked for.
type Route struct {
	Method string
	Path   string                // template of gorilla/mux
	Roles  []string              // the caller needs one of them; none admit nobody
	Handle func(*Exchange) error // answers; after an error it has answered nothing, or the connection is cut
}

// Face is the frame of a listener: routing, admission, errors, the access log and what survives a panic. Both listeners
// have one; they differ in whom they admit and in how they put an error.
type Face struct {
	name     string       // of the listener, for log and metrics
	Log      *slog.Logger // never nil
	Observer Observer
	Admit    func(x *Exchange, roles []string) error // an error says why not
	Refuse   func(x *Exchange, err error)            // answers with an error
}

// NewFace makes the frame of a listener; its user sets Admit and Refuse before it calls Router. log and observer may be nil.
func NewFace(name string, log *slog.Logger, observer Observer) *Face {
	log = cmp.Or(log, slog.New(slog.DiscardHandler))
	observer = cmp.Or[Observer](observer, silent{})
	return &Face{name: name, Log: log, Observer: observer}
}

// Router serves a table of routes. Paths are matched as they are written, neither cleaned nor redirected, so that an id
// with an escaped slash stays one segment; segments are decoded once, by Exchange.Segment.
func (f *Face) Router(routes []Route) http.Handler {
	router := mux.NewRouter().UseEncodedPath().SkipClean(true)
	methods := map[string]map[string]Route{}
	for _, r := range routes {
		if methods[r.Path] == nil {
			methods[r.Path] = map[string]Route{}
			router.Handle(r.Path, f.page(r.Path, methods[r.Path]))
		}
		methods[r.Path][r.Method] = r
	}
	router.NotFoundHandler = f.page("", nil)
	return router
}

// page answers one path, whatever the method.
func (f *Face) page(path string, methods map[string]Route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := f.Begin(w, r, path)
		defer f.Conclude(x)
		if err := f.dispatch(x, methods); err != nil {
			f.Refuse(x, err)
		}
	})
}

func (f *Face) dispatch(x *Exchange, methods map[string]Route) error {
	if methods == nil {
		return errNoPath
	}
	method := x.R.Method
	if method == http.MethodHead { // the server leaves the body out
		method = http.MethodGet
	}
	r, there := methods[method]
	if !there {
		return notAllowed(methods)
	}
	if err := f.Admit(x, r.Roles); err != nil {
		return err
	}
	return r.Handle(x)
}

// notAllowed is the 405 that lists what is allowed (RFC 9110 §15.5.6).
func notAllowed(methods map[string]Route) *APIError {
	var allow []string
	for m := range methods {
		allow = append(allow, m)
		if m == http.MethodGet {
			allow = append(allow, http.MethodHead)
		}
	}
	slices.Sort(allow)
	return &APIError{
		Status: http.StatusMethodNotAllowed, Code: "method_not_allowed", Text: "this path does not support this method; the header Allow lists the methods",
		Allow: strings.Join(allow, ", "),
	}
}

// Segment is a variable of the path, decoded once.
func (x *Exchange) Segment(name string) string {
	s, err := url.PathUnescape(mux.Vars(x.R)[name])
	if err != nil {
		return "" // cannot be: the server has parsed the path
	}
	return s
}
