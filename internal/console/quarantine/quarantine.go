// Package quarantine is the console's pages of what could not be applied: why, next to what would be right, what it differs in from the
// stored document, and the acts that end a case.
package quarantine

import (
	"bytes"
	"cmp"
	"embed"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/arauto/arauto/internal/console/page"
)

//go:embed words.json *.html
var files embed.FS

// Section is the folder of these pages.
func Section() page.Section {
	operator := []string{page.Operator}
	return page.Section{
		Name: "quarantine", Group: page.Operation, Path: "/quarantine", Roles: []string{page.Operator, page.Auditor}, Files: files,
		Routes: []page.PageRoute{
			{Method: http.MethodPost, Path: "/quarantine/bulk", Roles: operator, Handle: bulk},
			{Method: http.MethodGet, Path: "/quarantine", Handle: list},
			{Method: http.MethodGet, Path: "/quarantine/{id}", Handle: show},
			{Method: http.MethodPost, Path: "/quarantine/{id}/apply", Roles: operator, Handle: act("apply")},
			{Method: http.MethodPost, Path: "/quarantine/{id}/dismiss", Roles: operator, Handle: act("dismiss")},
		},
	}
}

// putAside is one case.
type putAside struct {
	ID, State              string
	Kind, ResourceID       *string
	Revision               *int64
	ClientID               *string
	Source                 string
	Errors                 []page.Wrong
	Seen                   int64
	FirstAt, LastAt        time.Time
	ClosedBy, ClosedReason *string
	ClosedAt               *time.Time
	Change                 json.RawMessage
}

type casesView struct {
	State  string
	States []string
	Rows   []putAside
	First  string // address of the newest ones; "" when they are shown
	Next   string // address of the next page; "" at the end
	Bulk   []bulkLine
	Again  string       // address of the form about several, with what the list shows
	None   bool         // none was chosen
	Wrong  []page.Wrong // what is wrong with the form
	Chosen map[string]bool
	Reason string // as it was typed, where the form is shown again
}

// waits tells whether cases of a state wait for a person.
func waits(state string) bool { return state == "open" || state == "nonconforming" }

// Waits tells whether the listed cases can be closed.
func (c casesView) Waits() bool { return waits(c.State) }

// casesAtOnce is how many cases one page lists.
const casesAtOnce = 100

// bulkLine is what became of one of several cases.
type bulkLine struct {
	ID     string
	Status int
	Text   string `json:"error_description"`
	Errors []page.Wrong
}

// Gone is how many of those that were chosen are not listed any more.
func (c casesView) Gone() int {
	gone := len(c.Chosen)
	for i := range c.Rows {
		if c.Chosen[c.Rows[i].ID] {
			gone--
		}
	}
	return gone
}

func list(v *page.Visit) error { return listed(v, http.StatusOK, casesView{}) }

// listed fills the rest of the view in, and shows it.
func listed(v *page.Visit, status int, view casesView) error {
	view.State, view.States = cmp.Or(v.Query().Get("state"), "open"), []string{"open", "nonconforming", "applied", "dismissed", "all"}
	call, here := url.Values{"state": {view.State}, "limit": {strconv.Itoa(casesAtOnce)}}, url.Values{"state": {view.State}}
	if cursor := v.Query().Get("cursor"); cursor != "" {
		call.Set("cursor", cursor)
		view.First = "/quarantine?" + here.Encode()
		here.Set("cursor", cursor)
	}
	view.Again = "/quarantine/bulk?" + here.Encode()
	var answer struct {
		Quarantine []putAside
		NextCursor string
	}
	if err := v.API.Get("/internal/v1/quarantine", call, &answer); err != nil {
		return err
	}
	view.Rows = answer.Quarantine
	if answer.NextCursor != "" {
		here.Set("cursor", answer.NextCursor)
		view.Next = "/quarantine?" + here.Encode()
	}
	return v.ShowAs(status, "list", page.View{Title: v.Text("title"), Data: view})
}

// CaseRevision is the revision that could not be applied.
func (c caseView) CaseRevision() *int64 { return c.putAside.Revision }

// Waits tells whether the case can be closed.
func (c caseView) Waits() bool { return waits(c.State) }

type caseView struct {
	putAside
	Line      string // the change as it came
	Stored    bool   // a document of the resource is stored
	Revision  *int64 // the stored one
	Status    *string
	Different []difference
}

// difference is one place in which the change and the stored document differ; "" where one of them has nothing.
type difference struct{ Pointer, Stored, Came string }

func show(v *page.Visit) error {
	var view caseView
	if err := v.API.Get(page.Path("/internal/v1/quarantine/%s", v.Param("id")), nil, &view.putAside); err != nil {
		return err
	}
	var line bytes.Buffer
	if len(view.Change) > 0 && string(view.Change) != "null" {
		if json.Indent(&line, view.Change, "", "  ") != nil {
			line.Write(view.Change)
		}
	}
	view.Line = line.String()
	if view.Kind != nil && view.ResourceID != nil {
		var resource struct {
			Revision *int64
			Status   *string
			Document json.RawMessage
		}
		err := v.API.Get(page.Path("/internal/v1/resources/%s/%s", *view.Kind, *view.ResourceID), nil, &resource)
		if err != nil && !page.Is(err, http.StatusNotFound) {
			return err
		}
		if err == nil && len(resource.Document) > 0 && string(resource.Document) != "null" {
			view.Stored, view.Revision, view.Status = true, resource.Revision, resource.Status
			var came struct{ Data json.RawMessage }
			if json.Unmarshal(view.Change, &came) == nil && len(came.Data) > 0 {
				view.Different = differences(resource.Document, came.Data)
			}
		}
	}
	return v.Show("case", page.View{Title: v.Text("case"), Data: view, Crumb: &page.Link{Path: "/quarantine", Text: v.Text("title")}})
}

// differences compares two documents, member by member.
func differences(stored, came json.RawMessage) []difference {
	a, b := map[string]string{}, map[string]string{}
	flatten(a, "", stored)
	flatten(b, "", came)
	all := maps.Clone(a)
	maps.Copy(all, b)
	var out []difference
	for _, pointer := range slices.Sorted(maps.Keys(all)) {
		if a[pointer] != b[pointer] {
			out = append(out, difference{pointer, a[pointer], b[pointer]})
		}
	}
	return out
}

// flatten writes every value of a document down under its JSON pointer.
func flatten(out map[string]string, at string, raw json.RawMessage) {
	var members map[string]json.RawMessage
	var items []json.RawMessage
	switch {
	case json.Unmarshal(raw, &members) == nil && members != nil:
		for name, value := range members {
			flatten(out, at+"/"+name, value)
		}
	case json.Unmarshal(raw, &items) == nil && items != nil:
		for i, value := range items {
			flatten(out, fmt.Sprintf("%s/%d", at, i), value)
		}
	default:
		out[at] = string(raw)
	}
}

// act applies or dismisses one case.
func act(how string) func(*page.Visit) error {
	return func(v *page.Visit) error {
		id := v.Param("id")
		var body any
		if how == "dismiss" {
			body = map[string]string{"reason": v.Form("reason")}
		}
		if _, err := v.API.Do(http.MethodPost, page.Path("/internal/v1/quarantine/%s/"+how, id), body, nil); err != nil {
			return err
		}
		return v.Done(page.Path("/quarantine/%s", id), how)
	}
}

// bulk applies or dismisses the cases that the person chose, and shows what became of each.
func bulk(v *page.Visit) error {
	how := "dismiss"
	if v.Form("act") == "apply" {
		how = "apply"
	}
	if len(v.Forms("id")) == 0 {
		return listed(v, http.StatusBadRequest, casesView{None: true, Reason: v.Form("reason")})
	}
	var answer struct {
		Request string
		Results []bulkLine
	}
	body := map[string]any{"ids": v.Forms("id"), "reason": v.Form("reason")}
	_, err := v.API.Do(http.MethodPost, "/internal/v1/quarantine/"+how, body, &answer)
	if wrong := page.ProblemsOf(err); wrong != nil {
		return listed(v, http.StatusBadRequest, casesView{Wrong: wrong, Chosen: v.Chosen("id"), Reason: v.Form("reason")})
	}
	if err != nil {
		return err
	}
	if answer.Request != "" {
		return v.Done("/requests", "asked")
	}
	return listed(v, http.StatusOK, casesView{Bulk: answer.Results})
}
