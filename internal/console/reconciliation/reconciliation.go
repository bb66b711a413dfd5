// Package reconciliation is the console's page of the daily look whether the history is complete: the days, the differences explained,
// and a look on demand with its progress.
package reconciliation

import (
	"embed"
	"net/http"
	"net/url"
	"time"

	"github.com/arauto/arauto/internal/console/page"
	"github.com/arauto/arauto/internal/history"
)

//go:embed words.json *.html
var files embed.FS

// Section is the folder of this page.
func Section() page.Section {
	return page.Section{
		Name: "reconciliation", Group: page.Compliance, Path: "/reconciliation", Roles: []string{page.Operator, page.Auditor}, Files: files,
		Routes: []page.PageRoute{
			{Method: http.MethodGet, Path: "/reconciliation", Handle: list},
			{Method: http.MethodPost, Path: "/reconciliation", Handle: ask},
		},
	}
}

// foundDay is what one reconciliation found.
type foundDay struct {
	At          time.Time
	AskedBy     *string
	From, To    *time.Time
	TookMillis  int64
	Entries     map[string]int64
	Resources   int64
	Differences int64
	First       []foundDifference
}

// Looked is the number of entries that were looked at.
func (d foundDay) Looked() (n int64) {
	for _, many := range d.Entries {
		n += many
	}
	return n
}

// Nothing tells that there was nothing to compare.
func (d foundDay) Nothing() bool { return d.Looked() == 0 && d.Resources == 0 && d.Differences == 0 }

// Rest tells whether more was found than First has.
func (d foundDay) Rest() bool { return d.Differences > int64(len(d.First)) }

type foundDifference struct {
	What        history.Finding
	Detail      string
	Since       *time.Time
	ClientID    string `json:"clientId"`
	Kind        string
	ResourceID  string `json:"resourceId"`
	Words, Cure string `json:"-"` // for people
}

type askedRun struct {
	From, To, AskedAt time.Time
	AskedBy, State    string
	PagesDone         int64
	PagesAll          int64
	Problem           *string
	EndedAt           *time.Time
}

// Share is how much was read, of 1.
func (r askedRun) Share() float64 { return float64(r.PagesDone) / float64(max(1, r.PagesAll)) }

type reconciliationView struct {
	Runs []askedRun
	Days []foundDay

	Wrong []page.Wrong // what is wrong with the form, which has what was typed
}

func list(v *page.Visit) error { return listed(v, http.StatusOK, nil) }

func listed(v *page.Visit, status int, wrong []page.Wrong) error {
	var answer struct {
		Runs            []askedRun
		Reconciliations []foundDay
	}
	if err := v.API.Get("/internal/v1/reconciliations", url.Values{"limit": {"31"}}, &answer); err != nil {
		return err
	}
	view := reconciliationView{answer.Runs, answer.Reconciliations, wrong}
	for i := range view.Days {
		for j := range view.Days[i].First {
			d := &view.Days[i].First[j]
			d.Words, d.Cure = d.What.Explain(string(v.Lang))
		}
	}
	shown := page.View{Title: v.Text("title"), Data: view, Above: "ask"}
	for _, r := range view.Runs {
		if r.State == "waiting" || r.State == "running" {
			shown.Every = 2 * time.Second
		}
	}
	return v.ShowAs(status, "list", shown)
}

func ask(v *page.Visit) error {
	body := map[string]string{"from": page.Instant(v.Form("from")), "to": page.Instant(v.Form("to"))}
	_, err := v.API.Do(http.MethodPost, "/internal/v1/reconciliations", body, nil)
	if wrong := page.ProblemsOf(err); wrong != nil {
		return listed(v, http.StatusBadRequest, wrong)
	}
	if err != nil {
		return err
	}
	return v.Done("/reconciliation", "ask")
}
