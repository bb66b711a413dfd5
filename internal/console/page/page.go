// Package page is what every page of the console is made with: the description of a folder of pages (Section), one request for a
// page (Visit), the calls of the internal API in the name of the person (API), words in two languages, the layout, and the forms of
// numbers and times.
//
// It guarantees that a page gets its figures from the internal API alone, with the person's own roles, so that roles, limits and the
// record of each reading are the API's; and that texts reach HTML through html/template, which escapes them.
//
// It does not sign people in and has no address of its own: package console does that.
package page

import (
	"io/fs"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/arauto/arauto/internal/api"
	"github.com/arauto/arauto/internal/history"
)

// The roles that see pages; they are those of the internal API.
const (
	Operator  = "operator"
	Auditor   = "auditor"
	Registrar = "registrar"
)

// Group is a part of the navigation.
type Group string

// The parts of the navigation. A section without one is not in it.
const (
	Operation  Group = "operation"
	Compliance Group = "compliance"
	System     Group = "system"
)

// Section is one folder of pages: what it answers, who may see it, its templates and its words.
type Section struct {
	Name   string   // of the folder
	Group  Group    // "": not in the navigation
	Path   string   // of the first page, which the navigation links; the word "nav" is the link's text
	Roles  []string // one of them is needed
	Files  fs.FS    // words.json and *.html
	Routes []PageRoute
}

// PageRoute is one address of a section.
type PageRoute struct {
	Method string   // http.MethodGet or http.MethodPost
	Path   string   // such as /quarantine/{id}
	Roles  []string // one of them is needed; nil: the section's
	Handle func(*Visit) error
}

// Visit is one request for a page, by a person who has signed in.
type Visit struct {
	X    *api.Exchange
	Who  history.Person
	Lang Lang
	API  *API

	Secure bool                       // browsers come by TLS, here or at a proxy before us
	Here   string                     // path, escaped, of the page that the answer belongs to, which a GET opens; "": the request's own
	Home   string                     // path of the first page that the person may open; "": "/"
	Opens  func(template string) bool // whether the person may open the page of a template of paths; nil: every page

	sheet *Sheet
	menu  []MenuLink
}

// MenuLink is a link of the navigation.
type MenuLink struct {
	Group      Group
	Path, Text string
	Here       bool
}

// NewVisit begins a visit. menu is what the person may open.
func NewVisit(x *api.Exchange, who history.Person, call *API, sheet *Sheet, menu []MenuLink) *Visit {
	return &Visit{X: x, Who: who, Lang: call.lang, API: call, sheet: sheet, menu: menu}
}

// Has tells whether the person has a role.
func (v *Visit) Has(role string) bool { return slices.Contains(v.Who.Roles, role) }

// May tells whether the person may open a page, by the template of its path, such as /find. A page shows no link to another one.
func (v *Visit) May(template string) bool { return v.Opens == nil || v.Opens(template) }

// Param is a variable of the path, decoded once.
func (v *Visit) Param(name string) string { return v.X.Segment(name) }

// Query is the query of the address.
func (v *Visit) Query() url.Values { return v.X.R.URL.Query() }

// maxForm bounds the form of an act, in bytes.
const maxForm = 1 << 20

// Form is a field of a posted form, without space around it; "" where there is none or the form is longer than 1 MiB.
func (v *Visit) Form(name string) string { return strings.TrimSpace(v.form().Get(name)) }

// Forms are all the values of a field of a posted form.
func (v *Visit) Forms(name string) []string { return v.form()[name] }

// Chosen tells of each value of a field of a posted form that it was chosen.
func (v *Visit) Chosen(name string) map[string]bool {
	out := map[string]bool{}
	for _, value := range v.Forms(name) {
		out[value] = true
	}
	return out
}

func (v *Visit) form() url.Values {
	v.X.R.Body = http.MaxBytesReader(v.X.W, v.X.R.Body, maxForm)
	if v.X.R.ParseForm() != nil {
		return url.Values{}
	}
	return v.X.R.PostForm
}

// Text is a text of the section's words, or a common one.
func (v *Visit) Text(key string, args ...any) string { return v.sheet.Text(v.Lang, key, args...) }

// Counted is Text for a number, which is put in first: the text of key.one for 1, where there is one.
func (v *Visit) Counted(key string, n int64, more ...any) string {
	return v.sheet.Counted(v.Lang, key, n, more...)
}

// HasText tells whether a key has a text.
func (v *Visit) HasText(key string) bool { return v.sheet.Has(key) }

// CanResend tells whether operators may ask for one more POST (resend.enabled).
func (v *Visit) CanResend() bool { return v.API.resend }

// Redirect sends the browser to another page of the console.
func (v *Visit) Redirect(path string) error {
	http.Redirect(v.X.W, v.X.R, path, http.StatusSeeOther)
	return nil
}

// File answers with a file of ours, which the browser keeps.
func (v *Visit) File(media, name string, content []byte) error {
	h := v.X.W.Header()
	h.Set("Content-Type", media)
	h.Set("Content-Disposition", `attachment; filename="`+strings.Map(fileName, name)+`"`)
	v.X.W.WriteHeader(http.StatusOK)
	_, _ = v.X.W.Write(content) // a reader who is gone is no concern of ours
	return nil
}

// View is what a page shows: its title, and the data of its template.
type View struct {
	Title string
	Data  any
	Crumb *Link         // the page above, if there is one
	AsOf  FiguresBasis  // how much of the log the figures rest on; zero: the page has none
	Every time.Duration // the page's part with the id "live" is refreshed as often, while the person lets it; 0: never
	Above string        // template that is shown above that part and never refreshed: it keeps what a person types; "": none
}

// FiguresBasis is how much of the log figures rest on, as the API tells it.
type FiguresBasis struct {
	At         *time.Time // nil: nothing is counted
	Position   int64      // entries of the log that are in the stored sums
	Size       int64      // entries of the log
	Tail       *int64     // later entries that are counted too; nil: they are missing
	WholeSince *time.Time // since then the log has every entry; nil: nothing is sealed
}

// Through is the position in the log up to which entries are counted.
func (b FiguresBasis) Through() int64 {
	if b.Tail == nil {
		return b.Position
	}
	return max(b.Position, b.Size)
}

// Unsealed is how many entries are counted that have no place in the log yet.
func (b FiguresBasis) Unsealed() int64 {
	if b.Tail == nil {
		return 0
	}
	return max(0, *b.Tail-max(0, b.Size-b.Position))
}

// Behind tells whether entries that the log has already are not counted, be it that none is yet.
func (b FiguresBasis) Behind() bool { return b.Tail == nil && b.Size > 0 }

// Uncounted tells that no entry is counted yet: zeros say nothing about what happened.
func (b FiguresBasis) Uncounted() bool { return b.At == nil }

// Lacks is the instant before which the log does not have every entry of a period that begins at from; nil: it has them all.
func (b FiguresBasis) Lacks(from time.Time) *time.Time {
	if b.WholeSince == nil || !b.WholeSince.After(from) {
		return nil
	}
	return b.WholeSince
}

// Since is the later one of the beginning of a period, and that of what the log has.
func (b FiguresBasis) Since(from time.Time) time.Time {
	if lacks := b.Lacks(from); lacks != nil {
		return *lacks
	}
	return from
}

// Link is a link with its text.
type Link struct{ Path, Text string }

// Show answers with a template of the section inside the layout.
func (v *Visit) Show(template string, view View) error {
	return v.ShowAs(http.StatusOK, template, view)
}

// ShowAs is Show with another status than 200.
func (v *Visit) ShowAs(status int, template string, view View) error {
	body, err := v.sheet.page(v, template, view)
	if err != nil {
		return err
	}
	h := v.X.W.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	v.X.W.WriteHeader(status)
	_, _ = v.X.W.Write(body) // a reader who is gone is no concern of ours
	return nil
}
