// Package sources is the console's page of the followed databases and buses: how each stands, what is wrong and the cure.
package sources

import (
	"embed"
	"net/http"
	"time"

	"github.com/arauto/arauto/internal/console/page"
)

//go:embed words.json *.html
var files embed.FS

// Section is the folder of this page.
func Section() page.Section {
	operator := []string{page.Operator}
	return page.Section{
		Name: "sources", Group: page.Operation, Path: "/sources", Roles: []string{page.Operator, page.Auditor}, Files: files,
		Routes: []page.PageRoute{
			{Method: http.MethodGet, Path: "/sources", Handle: list},
			{Method: http.MethodPost, Path: "/sources/{name}/pause", Roles: operator, Handle: act("pause")},
			{Method: http.MethodPost, Path: "/sources/{name}/resume", Roles: operator, Handle: act("resume")},
			{Method: http.MethodPost, Path: "/sources/{name}/accept", Roles: operator, Handle: accept},
			{Method: http.MethodPost, Path: "/sources/{name}/reapply", Roles: operator, Handle: reapply},
		},
	}
}

// sourceCard is what the page shows of one source.
type sourceCard struct {
	Name, Origin           string
	Running, Paused        bool
	PausedBy, PausedReason *string
	PausedAt               *time.Time
	Replica                *string
	ReportedAt             *time.Time
	Status                 *sourceReport
}

type sourceReport struct {
	State       string
	Position    string
	Halted      bool
	LagBytes    int64
	LagSeconds  *float64
	Counts      sourceCounts
	Stopped     []stoppedTable
	Findings    []struct{ Code, Text, TextPT string }
	LastError   string
	LastErrorAt *time.Time
}

type sourceCounts struct {
	Read, Stored, Duplicates, Conflicts, Skipped, Quarantined, Registrations int64
}

type stoppedTable struct {
	Table string
	Why   []string
}

// Condition is the word for how a source stands; the worst one that holds.
func (s sourceCard) Condition() string {
	switch {
	case s.Paused:
		return "paused"
	case s.Status == nil:
		return "unknown"
	case s.Status.Halted:
		return "halted"
	case !s.Running && s.Status.State == "waiting":
		return "waiting"
	case !s.Running:
		return "stopped"
	case len(s.Status.Stopped) > 0:
		return "tables"
	}
	return "running"
}

// LagMillis is the lag for the form of durations; nil: unknown.
func (s sourceCard) LagMillis() *float64 {
	if s.Status == nil || s.Status.LagSeconds == nil {
		return nil
	}
	ms := *s.Status.LagSeconds * 1000
	return &ms
}

type sourcesView struct {
	Rows      []sourceCard
	Wrong     int // sources that need somebody
	Reapplied *reappliedCases
}

// reappliedCases counts what became of the cases of a source that were mapped again.
type reappliedCases struct {
	Source string

	Applied, Superseded, Duplicate, Conflict, Quarantined, Registered, Unmapped, Skipped int
	More                                                                                 bool
}

func list(v *page.Visit) error { return show(v, nil) }

func show(v *page.Visit, r *reappliedCases) error {
	var answer struct{ Sources []sourceCard }
	if err := v.API.Get("/internal/v1/sources", nil, &answer); err != nil {
		return err
	}
	view := sourcesView{Rows: answer.Sources, Reapplied: r}
	for _, s := range view.Rows {
		if s.Condition() != "running" {
			view.Wrong++
		}
	}
	shown := page.View{Title: v.Text("title"), Data: view}
	if r == nil {
		shown.Every = 5 * time.Second
	}
	return v.Show("list", shown)
}

// act pauses or resumes a source, with a reason.
func act(what string) func(*page.Visit) error {
	return func(v *page.Visit) error {
		if _, err := v.API.Do(http.MethodPost, page.Path("/internal/v1/sources/%s/"+what, v.Param("name")), map[string]string{"reason": v.Form("reason")}, nil); err != nil {
			return err
		}
		return v.Done("/sources", what)
	}
}

// accept lets a source go on although rows may be missing, with a reason.
func accept(v *page.Visit) error {
	body := map[string]string{"finding": v.Form("finding"), "reason": v.Form("reason")}
	if _, err := v.API.Do(http.MethodPost, page.Path("/internal/v1/sources/%s/accept", v.Param("name")), body, nil); err != nil {
		return err
	}
	return v.Done("/sources", "accept")
}

// reapply maps the waiting cases of a source again, and shows what became of them.
func reapply(v *page.Visit) error {
	r := reappliedCases{Source: v.Param("name")}
	status, err := v.API.Do(http.MethodPost, page.Path("/internal/v1/sources/%s/reapply", r.Source), nil, &r)
	switch {
	case err != nil:
		return err
	case status == http.StatusAccepted: // it waits for a second person
		return v.Done("/sources", "reapply")
	}
	return show(v, &r)
}
