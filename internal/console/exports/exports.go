// Package exports is the console's page of exports of the log: ask, progress, download, delete.
package exports

import (
	"embed"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/console/page"
	"github.com/arauto/arauto/internal/ofb"
)

//go:embed words.json *.html
var files embed.FS

// Section is the folder of this page.
func Section() page.Section {
	return page.Section{
		Name: "exports", Group: page.Compliance, Path: "/exports", Roles: []string{page.Auditor}, Files: files,
		Routes: []page.PageRoute{
			{Method: http.MethodGet, Path: "/exports", Handle: list},
			{Method: http.MethodPost, Path: "/exports", Handle: ask},
			{Method: http.MethodGet, Path: "/exports/{id}/file", Handle: file},
			{Method: http.MethodPost, Path: "/exports/{id}/delete", Handle: remove},
		},
	}
}

// exportedFile is one export.
type exportedFile struct {
	ID, State, Format   string
	Filter              map[string]string
	Size, Walked, Bytes int64
	Entries             *int64
	RequestedBy         string
	RequestedAt         time.Time
	SHA256, Problem     *string // the problem is in the language of the page, where it has words of ours
	Complete            *bool
	Notes               []string
	Conditions          []audit.CompletenessCondition
	Said                []page.Said         `json:"-"` // the notes that belong to no condition
	Shown               []page.ConditionRow `json:"-"` // the conditions, where one is not met
	ExpiresAt           *time.Time
}

// askedFilter is one filter of an export; At is the instant that the value is, if it is one.
type askedFilter struct {
	Name, Value string
	At          *time.Time
}

// Asked are the filters, in the order of their names.
func (e exportedFile) Asked() (out []askedFilter) {
	for _, name := range slices.Sorted(maps.Keys(e.Filter)) {
		f := askedFilter{Name: name, Value: e.Filter[name]}
		if at, err := time.Parse(time.RFC3339, f.Value); err == nil {
			f.At = &at
		}
		out = append(out, f)
	}
	return out
}

// Missing is the word for whether something of the client's period may be missing; "": it was not asked.
func (e exportedFile) Missing() string {
	switch {
	case e.Complete == nil:
		return ""
	case *e.Complete:
		return "complete"
	}
	return "open"
}

// Share is how much of the log was looked at, of 1.
func (e exportedFile) Share() float64 { return float64(e.Walked) / float64(max(1, e.Size)) }

type exportsView struct {
	Rows    []exportedFile
	Kinds   []string
	Formats []string
	Wrong   []page.Wrong // what is wrong with the form, which has what was typed
}

func list(v *page.Visit) error { return listed(v, http.StatusOK, nil) }

func listed(v *page.Visit, status int, wrong []page.Wrong) error {
	view := exportsView{Wrong: wrong, Formats: []string{"bundle", "jsonl", "csv", "parquet"}, Kinds: ofb.KindNames()}
	var answer struct{ Exports []exportedFile }
	if err := v.API.Get("/internal/v1/audit/exports", nil, &answer); err != nil {
		return err
	}
	view.Rows = answer.Exports
	shown := page.View{Title: v.Text("title"), Data: view, Above: "ask"}
	for i, e := range view.Rows {
		if e.Complete != nil && *e.Complete {
			e.Conditions = nil
		}
		view.Rows[i].Shown, view.Rows[i].Said = v.Completeness(e.Conditions, e.Notes)
		if e.State == "waiting" || e.State == "running" {
			shown.Every = 2 * time.Second
		}
	}
	return v.ShowAs(status, "list", shown)
}

func ask(v *page.Visit) error {
	filter := map[string]string{}
	for name, value := range map[string]string{
		"clientId": v.Form("clientId"), "organisationId": v.Form("organisationId"), "kind": v.Form("kind"), "resourceId": v.Form("resourceId"), "outcome": v.Form("outcome"), "late": v.Form("late"), "from": page.Instant(v.Form("from")), "to": page.Instant(v.Form("to")),
	} {
		if value != "" {
			filter[name] = value
		}
	}
	_, err := v.API.Do(http.MethodPost, "/internal/v1/audit/exports", map[string]any{"filter": filter, "format": v.Form("format")}, nil)
	if wrong := page.ProblemsOf(err); wrong != nil && v.Form("outcome") == "" && v.Form("late") == "" { // the form here has neither of the two
		return listed(v, http.StatusBadRequest, wrong)
	}
	if err != nil {
		return err
	}
	return v.DoneAbout("/exports", "ask", page.Subject{ClientID: filter["clientId"], Kind: filter["kind"], ResourceID: filter["resourceId"]})
}

func file(v *page.Visit) error {
	var e exportedFile
	if err := v.API.Get(page.Path("/internal/v1/audit/exports/%s", v.Param("id")), nil, &e); err != nil {
		return err
	}
	suffix := map[string]string{"bundle": ".zip", "jsonl": ".jsonl", "csv": ".csv", "parquet": ".parquet"}[e.Format]
	return v.API.Hand(v.X.W, page.Path("/internal/v1/audit/exports/%s/file", e.ID), nil, "arauto-"+e.ID+suffix)
}

func remove(v *page.Visit) error {
	if _, err := v.API.Do(http.MethodDelete, page.Path("/internal/v1/audit/exports/%s", v.Param("id")), nil, nil); err != nil {
		return err
	}
	return v.Done("/exports", "delete")
}
