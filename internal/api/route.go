package api

import (
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/gorilla/mux"
)

// route is one thing that can be asked for: roles are those of which the caller needs one.
type route struct {
	method string
	path   string // template of gorilla/mux
	roles  []string
	handle func(*exchange) error
}

// face is the frame of a listener: routing, admission, errors, the access log and what survives a panic. Both listeners
// have one; they differ in whom they admit and in how they put an error.
type face struct {
	name     string // of the listener, for log and metrics
	log      *slog.Logger
	observer Observer
	admit    func(x *exchange, roles []string) error // an error says why not
	refuse   func(x *exchange, err error)            // answers with an error
}

func newFace(name string, log *slog.Logger, observer Observer) *face {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if observer == nil {
		observer = silent{}
	}
	return &face{name: name, log: log, observer: observer}
}

// router serves a table of routes. Paths are matched as they are written, neither cleaned nor redirected, so that an id
// with an escaped slash stays one segment; segments are decoded once, by exchange.segment.
func (f *face) router(routes []route) http.Handler {
	router := mux.NewRouter().UseEncodedPath().SkipClean(true)
	methods := map[string]map[string]route{}
	for _, r := range routes {
		if methods[r.path] == nil {
			methods[r.path] = map[string]route{}
			router.Handle(r.path, f.page(r.path, methods[r.path]))
		}
		methods[r.path][r.method] = r
	}
	router.NotFoundHandler = f.page("", nil)
	return router
}

// page answers one path, whatever the method.
func (f *face) page(path string, methods map[string]route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := f.begin(w, r, path)
		defer f.conclude(x)
		if err := f.dispatch(x, methods); err != nil {
			f.refuse(x, err)
		}
	})
}

func (f *face) dispatch(x *exchange, methods map[string]route) error {
	if methods == nil {
		return errNoPath
	}
	method := x.r.Method
	if method == http.MethodHead { // the server leaves the body out
		method = http.MethodGet
	}
	r, there := methods[method]
	if !there {
		return notAllowed(methods)
	}
	if err := f.admit(x, r.roles); err != nil {
		return err
	}
	return r.handle(x)
}

// notAllowed is the 405 that lists what is allowed (RFC 9110 §15.5.6).
func notAllowed(methods map[string]route) *fault {
	var allow []string
	for m := range methods {
		allow = append(allow, m)
		if m == http.MethodGet {
			allow = append(allow, http.MethodHead)
		}
	}
	slices.Sort(allow)
	return &fault{
		status: http.StatusMethodNotAllowed, code: "method_not_allowed", text: "this path does not support this method; the header Allow lists the methods",
		allow: strings.Join(allow, ", "),
	}
}

// segment is a variable of the path, decoded once.
func (x *exchange) segment(name string) string {
	s, err := url.PathUnescape(mux.Vars(x.r)[name])
	if err != nil {
		return "" // cannot be: the server has parsed the path
	}
	return s
}
