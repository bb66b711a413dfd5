// Package requests is the console's page of acts that wait for a second person: who asked for what and why, and the decision.
package requests

import (
	"bytes"
	"cmp"
	"embed"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/arauto/arauto/internal/console/page"
)

//go:embed words.json *.html
var files embed.FS

// Section is the folder of this page.
func Section() page.Section {
	return page.Section{
		Name: "requests", Group: page.Operation, Path: "/requests", Roles: []string{page.Operator, page.Auditor, page.Registrar}, Files: files,
		Routes: []page.PageRoute{
			{Method: http.MethodGet, Path: "/requests", Handle: list},
			{Method: http.MethodPost, Path: "/requests/{id}/approve", Handle: decide("approve")},
			{Method: http.MethodPost, Path: "/requests/{id}/refuse", Handle: decide("refuse")},
		},
	}
}

// waitingAct is one act that somebody asked for.
type waitingAct struct {
	Request, Act, State, Call string
	Body, Answer              json.RawMessage
	Reason                    *string
	AskedBy, AskedRole        string
	AskedAt, ExpiresAt        time.Time
	DecidedBy, DecisionReason *string
	DecidedAt, EndedAt        *time.Time
	Status                    *int
	DecideRoles               []string
	Mine, Role                bool // whether this person asked, and whether they have a role that decides

	What   string   `json:"-"` // what is asked for, in words
	Became []string `json:"-"` // what became of it, in words; empty: nothing yet
}

// Asked is the body of the call, as it was sent.
func (r waitingAct) Asked() string { return pretty(r.Body) }

// Result is the answer to the call, as it came.
func (r waitingAct) Result() string { return pretty(r.Answer) }

func pretty(raw json.RawMessage) string {
	var out bytes.Buffer
	if len(raw) == 0 || string(raw) == "null" || json.Indent(&out, raw, "", "  ") != nil {
		return ""
	}
	return out.String()
}

type requestsView struct {
	State  string
	States []string
	Rows   []waitingAct
	First  string // address of the newest ones; "" when they are shown
	Next   string // address of the next page; "" at the end
}

// actsAtOnce is how many acts one page lists.
const actsAtOnce = 100

func list(v *page.Visit) error {
	view := requestsView{State: cmp.Or(v.Query().Get("state"), "waiting"), States: []string{"waiting", "approved", "done", "failed", "refused", "expired", "all"}}
	call, here := url.Values{"state": {view.State}, "limit": {strconv.Itoa(actsAtOnce)}}, url.Values{"state": {view.State}}
	if cursor := v.Query().Get("cursor"); cursor != "" {
		call.Set("cursor", cursor)
		view.First = "/requests?" + here.Encode()
	}
	var answer struct {
		Requests   []waitingAct
		NextCursor string
	}
	if err := v.API.Get("/internal/v1/requests", call, &answer); err != nil {
		return err
	}
	view.Rows = answer.Requests
	if answer.NextCursor != "" {
		here.Set("cursor", answer.NextCursor)
		view.Next = "/requests?" + here.Encode()
	}
	for i := range view.Rows {
		r := &view.Rows[i]
		r.Mine = v.Who.Is(r.AskedBy)
		r.tell(v)
		for _, role := range r.DecideRoles {
			r.Role = r.Role || v.Has(role)
		}
	}
	return v.Show("list", page.View{Title: v.Text("title"), Data: view})
}

// decide approves or refuses with a reason. The page that follows shows what became of the act.
func decide(how string) func(*page.Visit) error {
	return func(v *page.Visit) error {
		var after waitingAct
		if _, err := v.API.Do(http.MethodPost, page.Path("/internal/v1/requests/%s/"+how, v.Param("id")), map[string]string{"reason": v.Form("reason")}, &after); err != nil {
			return err
		}
		return v.Done("/requests?state=all", after.State)
	}
}
