// Package holds is the console's page of holds, which keep entries of the history beyond their time: place and lift.
package holds

import (
	"embed"
	"net/http"
	"net/url"
	"time"

	"github.com/arauto/arauto/internal/console/page"
	"github.com/arauto/arauto/internal/ofb"
)

//go:embed words.json *.html
var files embed.FS

// Section is the folder of this page.
func Section() page.Section {
	return page.Section{
		Name: "holds", Group: page.Compliance, Path: "/holds", Roles: []string{page.Auditor}, Files: files,
		Routes: []page.PageRoute{
			{Method: http.MethodGet, Path: "/holds", Handle: list},
			{Method: http.MethodPost, Path: "/holds", Handle: place},
			{Method: http.MethodPost, Path: "/holds/{name}/lift", Handle: lift},
		},
	}
}

// standingHold is one hold.
type standingHold struct {
	Name                       string
	All                        bool
	ClientID, Kind, ResourceID *string
	Reason, PlacedBy           string
	PlacedAt                   time.Time
	Months                     []string
}

type holdsView struct {
	Rows  []standingHold
	Kinds []string
	Wrong []page.Wrong // what is wrong with the form of a new one, which has what was typed
}

func list(v *page.Visit) error { return listed(v, http.StatusOK, nil) }

func listed(v *page.Visit, status int, wrong []page.Wrong) error {
	var answer struct{ Holds []standingHold }
	if err := v.API.Get("/internal/v1/audit/holds", nil, &answer); err != nil {
		return err
	}
	return v.ShowAs(status, "list", page.View{Title: v.Text("title"), Data: holdsView{answer.Holds, ofb.KindNames(), wrong}})
}

func place(v *page.Visit) error {
	body := map[string]any{"reason": v.Form("reason")}
	for _, name := range []string{"clientId", "kind", "resourceId"} {
		if value := v.Form(name); value != "" {
			body[name] = value
		}
	}
	if v.Form("all") != "" {
		body["all"] = true
	}
	_, err := v.API.Do(http.MethodPut, page.Path("/internal/v1/audit/holds/%s", v.Form("name")), body, nil)
	if wrong := page.ProblemsOf(err); wrong != nil {
		return listed(v, http.StatusBadRequest, wrong)
	}
	if err != nil {
		return err
	}
	return v.DoneAbout("/holds", "place", page.Subject{ClientID: v.Form("clientId"), Kind: v.Form("kind"), ResourceID: v.Form("resourceId")})
}

func lift(v *page.Visit) error {
	path := page.Path("/internal/v1/audit/holds/%s", v.Param("name")) + "?" + url.Values{"reason": {v.Form("reason")}}.Encode()
	if _, err := v.API.Do(http.MethodDelete, path, nil, nil); err != nil {
		return err
	}
	return v.Done("/holds", "lift")
}
