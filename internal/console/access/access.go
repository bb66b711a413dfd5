// Package access is the console's page of who read or did what, from the entries of the log.
package access

import (
	"bytes"
	"embed"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/arauto/arauto/internal/console/page"
	"github.com/arauto/arauto/internal/evidence"
	"github.com/arauto/arauto/internal/history"
)

//go:embed words.json *.html
var files embed.FS

// Section is the folder of this page.
func Section() page.Section {
	return page.Section{
		Name: "access", Group: page.Compliance, Path: "/access", Roles: []string{page.Auditor}, Files: files,
		Routes: []page.PageRoute{
			{Method: http.MethodGet, Path: "/access", Handle: list},
			{Method: http.MethodGet, Path: "/access.csv", Handle: table},
		},
	}
}

// personsEntry is one entry about a person's reading or act.
type personsEntry struct {
	Seq     *int64
	At      time.Time
	Kind    string
	Outcome *string
	Facts   json.RawMessage
	Known   personsFacts `json:"-"`
	About   string       `json:"-"` // what was read or acted upon, in one line

	Integrity string  // proven, verified, unsealed or tampered
	Tampered  *string // why it is not what was sealed
}

type personsFacts struct {
	Actor, Role, Source, Object, Reason, Name, SHA256 string
	Rows                                              int64
	Again                                             int64
	Filter                                            map[string]string
}

// about is what was read or acted upon, in one line. called says what a filter is called.
func (e personsEntry) about(called func(string) string) string {
	parts := []string{}
	for _, text := range []string{e.Known.Name, e.Known.Object, e.Known.Reason} {
		if text != "" {
			parts = append(parts, text)
		}
	}
	for name, value := range e.Known.Filter {
		parts = append(parts, called(name)+"="+value)
	}
	slices.Sort(parts)
	return strings.Join(parts, " · ")
}

// Act is the word of the act.
func (e personsEntry) Act() string {
	if e.Kind != "admin" || e.Outcome == nil {
		return strings.TrimSuffix(e.Kind+" "+orEmpty(e.Outcome), " ")
	}
	return *e.Outcome
}

// Word is what names the act in words.json: of a refused registration without the code of what was wrong.
func (e personsEntry) Word() string {
	if e.Kind == history.FactRegistrationRefused {
		return e.Kind
	}
	return e.Act()
}

func orEmpty(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

type accessView struct {
	Person, Act, From, To string
	Since                 *time.Time // the default beginning of the period; nil: the address has one
	Rows                  []personsEntry
	Looked                int // entries that were looked at
	Next, CSV             string
}

// OfPerson is the page with this person's readings and acts alone.
func (e personsEntry) OfPerson() string {
	return "/access?" + url.Values{"person": {e.Known.Actor}}.Encode()
}

// entriesAtOnce is how many entries one page looks at.
const entriesAtOnce = 500

// read looks at a page of the person's entries, and keeps those of the act that the address names.
func read(v *page.Visit) (accessView, error) {
	q := v.Query()
	view := accessView{Person: q.Get("person"), Act: q.Get("act"), From: q.Get("from"), To: q.Get("to")}
	call := url.Values{"entry": {strings.Join(history.ActorKinds(), ",")}, "limit": {strconv.Itoa(entriesAtOnce)}}
	from, to := page.Instant(view.From), page.Instant(view.To)
	if from == "" {
		since := time.Now().UTC().AddDate(0, 0, -7).Truncate(time.Hour)
		view.Since, from = &since, since.Format(time.RFC3339)
	}
	call.Set("from", from)
	if to != "" {
		call.Set("to", to)
	}
	if view.Person != "" {
		call.Set("actor", view.Person)
	}
	if c := q.Get("cursor"); c != "" {
		call.Set("cursor", c)
	}
	var answer struct {
		Entries    []personsEntry
		NextCursor *string
	}
	if err := v.API.Get("/internal/v1/audit/entries", call, &answer); err != nil {
		return view, err
	}
	view.Looked = len(answer.Entries)
	for _, e := range answer.Entries {
		_ = json.Unmarshal(e.Facts, &e.Known) // facts that are not ours say nothing of a person
		e.About = e.about(func(name string) string {
			if key := "filter." + name; v.HasText(key) {
				return v.Text(key)
			}
			return name
		})
		if view.Act == "" || strings.Contains(e.Act(), view.Act) {
			view.Rows = append(view.Rows, e)
		}
	}
	q.Del("cursor")
	view.CSV = "/access.csv?" + q.Encode()
	if answer.NextCursor != nil {
		q.Set("from", from) // a cursor belongs to one period
		q.Set("cursor", *answer.NextCursor)
		view.Next = "/access?" + q.Encode()
		view.CSV = "/access.csv?" + q.Encode()
		if c := v.Query().Get("cursor"); c == "" {
			q.Del("cursor")
			view.CSV = "/access.csv?" + q.Encode()
		}
	}
	return view, nil
}

func list(v *page.Visit) error {
	view, err := read(v)
	if err != nil {
		return err
	}
	return v.Show("list", page.View{Title: v.Text("title"), Data: view})
}

// table hands the same rows over as CSV.
func table(v *page.Visit) error {
	view, err := read(v)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	rows := evidence.NewTable(&text, "position", "at", "person", "role", "source", "act", "about", "rows", "again", "sha256", "integrity")
	for _, e := range view.Rows {
		position := ""
		if e.Seq != nil {
			position = strconv.FormatInt(*e.Seq, 10)
		}
		err := rows.Row([]string{
			position, e.At.UTC().Format("2006-01-02T15:04:05.000000Z"), e.Known.Actor, e.Known.Role, e.Known.Source, e.Act(), e.about(func(name string) string { return name }),
			strconv.FormatInt(e.Known.Rows, 10), strconv.FormatInt(e.Known.Again, 10), e.Known.SHA256, e.Integrity,
		})
		if err != nil {
			return err
		}
	}
	if err := rows.Flush(); err != nil {
		return err
	}
	return v.File("text/csv; charset=utf-8", "arauto-access.csv", text.Bytes())
}
