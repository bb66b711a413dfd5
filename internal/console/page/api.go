package page

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/arauto/arauto/internal/api"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/jws"
)

// API calls the internal API in this process, in the name of a person. The API judges the roles, records the reading, and keeps
// its limits, as for a call from the network.
type API struct {
	handler http.Handler
	visit   *http.Request
	who     history.Person
	lang    Lang
	resend  bool // the API resends
	waits   bool // an act of this visit is kept as a request that another person must approve
}

// Endpoint is the internal API in this process, with what its settings allow.
type Endpoint struct {
	Handler http.Handler
	Resend  bool // resend.enabled
}

// NewAPI makes the calls of one request of a person, which is answered in a language.
func NewAPI(internal Endpoint, r *http.Request, who history.Person, lang Lang) *API {
	return &API{handler: internal.Handler, visit: r, who: who, lang: lang, resend: internal.Resend}
}

// Wrong is one thing that is wrong with a request.
type Wrong struct {
	Pointer string `json:"pointer"`
	Code    string `json:"code"`
	Detail  string `json:"detail"` // in the language of the page
}

// APIRefusal is an answer of the internal API that is not 2xx.
type APIRefusal struct {
	Status   int     `json:"-"`
	Code     string  `json:"error"`
	Text     string  `json:"error_description"` // in the language of the page, where the API has it
	Problems []Wrong `json:"errors"`
}

// Error has status, code and text.
func (r *APIRefusal) Error() string {
	return fmt.Sprintf("the internal API answered %d %s: %s", r.Status, r.Code, r.Text)
}

// Is tells whether err is a refusal with a status.
func Is(err error, status int) bool {
	var r *APIRefusal
	return errors.As(err, &r) && r.Status == status
}

// ProblemsOf are what a refusal of 400 names as wrong, of what a person typed or chose; nil: err is no such refusal.
func ProblemsOf(err error) []Wrong {
	var r *APIRefusal
	if !errors.As(err, &r) || r.Status != http.StatusBadRequest {
		return nil
	}
	return r.Problems
}

// Path makes a path of the API or of the console. Each %s takes one part, which is escaped.
func Path(format string, parts ...string) string {
	escaped := make([]any, len(parts))
	for i, p := range parts {
		escaped[i] = url.PathEscape(p)
	}
	return fmt.Sprintf(format, escaped...)
}

// Get reads a path with a query, which may be nil, into out. The error of an answer that is not 2xx is a *APIRefusal.
func (a *API) Get(path string, query url.Values, out any) error {
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	_, err := a.Do(http.MethodGet, path, nil, out)
	return err
}

// Do makes a call with a body of JSON, and reads the answer; in and out may be nil. It returns the status. The error of an answer
// that is not 2xx is a *APIRefusal.
func (a *API) Do(method, path string, in, out any) (status int, err error) {
	var body []byte
	if in != nil {
		if body, err = json.Marshal(in); err != nil {
			return 0, err
		}
	}
	r, err := a.request(method, path, body)
	if err != nil {
		return 0, err
	}
	w := &passedAnswer{header: http.Header{}}
	a.handler.ServeHTTP(w, r)
	if err := w.refused(); err != nil {
		return w.status, err
	}
	if w.status == http.StatusAccepted {
		var kept struct{ Request string }
		a.waits = a.waits || json.Unmarshal(w.body.Bytes(), &kept) == nil && kept.Request != ""
	}
	if out == nil || w.body.Len() == 0 {
		return w.status, nil
	}
	if text, plain := out.(*string); plain {
		*text = w.body.String()
		return w.status, nil
	}
	if err := json.Unmarshal(w.body.Bytes(), out); err != nil {
		return w.status, fmt.Errorf("read the internal API's answer to %s: %w", path, err)
	}
	return w.status, nil
}

// Send posts a body as it arrives, of any length that the API takes, and reads the answer into out.
func (a *API) Send(path, media string, body io.Reader, out any) error {
	r, err := a.request(http.MethodPost, path, nil)
	if err != nil {
		return err
	}
	r.Body, r.ContentLength = io.NopCloser(body), -1
	r.Header.Set("Content-Type", media)
	w := &passedAnswer{header: http.Header{}}
	a.handler.ServeHTTP(w, r)
	if err := w.refused(); err != nil {
		return err
	}
	if err := json.Unmarshal(w.body.Bytes(), out); err != nil {
		return fmt.Errorf("read the internal API's answer to %s: %w", path, err)
	}
	return nil
}

// Hand passes an answer of the API on to the browser as a file with a name. A refusal is returned as an error, and nothing is answered.
func (a *API) Hand(w http.ResponseWriter, path string, query url.Values, name string) error {
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	r, err := a.request(http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	passed := &passedAnswer{header: http.Header{}, to: w, name: name}
	a.handler.ServeHTTP(passed, r)
	return passed.refused()
}

func (a *API) request(method, path string, body []byte) (*http.Request, error) {
	who := jws.Principal{Subject: a.who.Subject, Roles: a.who.Roles, Also: a.who.Also}
	// What the person does goes on when the browser hangs up, as it does for a caller of the API.
	ctx := api.SignedIn(context.WithoutCancel(a.visit.Context()), who)
	if method == http.MethodGet {
		ctx = api.SignedIn(a.visit.Context(), who)
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://internal"+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if len(body) == 0 {
		r.Body = http.NoBody
	} else {
		r.Header.Set("Content-Type", "application/json")
	}
	r.Header.Set("Accept-Language", a.lang.Tag())
	r.RemoteAddr = a.visit.RemoteAddr
	return r, nil
}

// answer is what the API answers: kept, or passed on to a browser when it is a file.
type passedAnswer struct {
	header http.Header
	status int
	body   bytes.Buffer
	to     http.ResponseWriter // nil: kept
	name   string
	cut    bool // it did not end
}

// Header is where the API puts its headers.
func (w *passedAnswer) Header() http.Header { return w.header }

// WriteHeader notes the status, and passes the headers of a file on.
func (w *passedAnswer) WriteHeader(status int) {
	if w.status != 0 || status < http.StatusOK {
		return
	}
	w.status = status
	if w.to == nil || status >= http.StatusMultipleChoices {
		return
	}
	h := w.to.Header()
	for _, name := range []string{"Content-Type", "Content-Length"} {
		if value := w.header.Get(name); value != "" {
			h.Set(name, value)
		}
	}
	h.Set("Content-Disposition", `attachment; filename="`+strings.Map(fileName, w.name)+`"`)
	w.to.WriteHeader(status)
}

// fileName keeps what every system allows in names of files.
func fileName(r rune) rune {
	if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_.", r) {
		return r
	}
	return '-'
}

// Write keeps or passes on.
func (w *passedAnswer) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if w.to != nil && w.status < http.StatusMultipleChoices {
		return w.to.Write(p)
	}
	return w.body.Write(p)
}

// SetWriteDeadline moves the deadline of the browser's connection. One that has passed ends an answer half-way.
func (w *passedAnswer) SetWriteDeadline(at time.Time) error {
	w.cut = w.cut || at.Before(time.Now())
	if w.to == nil {
		return nil
	}
	return http.NewResponseController(w.to).SetWriteDeadline(at)
}

// refused is the *APIRefusal of an answer that is not 2xx; nil: it is.
func (w *passedAnswer) refused() error {
	switch {
	case w.cut:
		return fmt.Errorf("the internal API did not end its answer of status %d", w.status)
	case w.status < http.StatusMultipleChoices:
		return nil
	}
	r := &APIRefusal{Status: w.status}
	if json.NewDecoder(io.LimitReader(&w.body, 1<<20)).Decode(r) != nil || r.Code == "" {
		r.Code, r.Text = "internal", "the answer of the internal API cannot be read"
	}
	return r
}
