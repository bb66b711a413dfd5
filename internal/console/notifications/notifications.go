// Package notifications is the console's page that lists notifications by client, kind, state and period.
package notifications

import (
	"embed"
	"net/http"
	"net/url"
	"time"

	"github.com/arauto/arauto/internal/console/page"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

//go:embed words.json *.html
var files embed.FS

// Section is the folder of this page.
func Section() page.Section {
	return page.Section{
		Name: "notifications", Group: page.Operation, Path: "/notifications", Roles: []string{page.Operator, page.Auditor}, Files: files,
		Routes: []page.PageRoute{{Method: http.MethodGet, Path: "/notifications", Handle: list}},
	}
}

// listedNotification is what the page shows of a notification.
type listedNotification struct {
	ID         string
	ClientID   string
	Kind       string
	ResourceID string
	Status     string
	CreatedAt  time.Time
	State      string
	Late       bool
	Manual     bool
	Tampered   bool
	Attempts   []struct{}
}

// asked are the filters of the address.
type asked struct {
	Client, Kind, State, Outcome, Late, From, To string
}

// outcomes are those that an attempt may have; blocked addresses are last, as they are rarest.
var outcomes = []notice.Outcome{
	notice.OutcomeDelivered, notice.OutcomeNonconformant, notice.OutcomeRefused, notice.OutcomeRedirected, notice.OutcomeTimeout, notice.OutcomeConnect,
	notice.OutcomeTLS, notice.OutcomeProtocol, notice.OutcomeUnknown, notice.OutcomeBlocked,
}

type listView struct {
	Filter        asked
	Kinds, States []string
	Outcomes      []notice.Outcome
	Rows          []listedNotification
	Auditor       bool
	First, Next   string
	Empty         string // key of the words
}

func list(v *page.Visit) error {
	q := v.Query()
	view := listView{
		Filter:  asked{q.Get("clientId"), q.Get("kind"), q.Get("state"), q.Get("outcome"), q.Get("late"), q.Get("from"), q.Get("to")},
		Auditor: v.Has(page.Auditor), Outcomes: outcomes,
		States: []string{string(notice.Pending), string(notice.Delivered), string(notice.Exhausted), string(notice.Cancelled)}, Empty: "empty.all",
	}
	for _, k := range ofb.Kinds() {
		view.Kinds = append(view.Kinds, k.String())
	}
	call := url.Values{"limit": {"100"}}
	for name, value := range map[string]string{
		"clientId": view.Filter.Client, "kind": view.Filter.Kind, "state": view.Filter.State, "outcome": view.Filter.Outcome, "late": view.Filter.Late, "cursor": q.Get("cursor"),
		"from": page.Instant(view.Filter.From), "to": page.Instant(view.Filter.To),
	} {
		if value != "" {
			call.Set(name, value)
			view.Empty = "empty"
		}
	}
	var answer struct {
		Notifications []listedNotification
		NextCursor    string
	}
	if err := v.API.Get("/internal/v1/notifications", call, &answer); err != nil {
		return err
	}
	view.Rows = answer.Notifications
	q.Del("done")
	if q.Has("cursor") {
		q.Del("cursor")
		view.First = "/notifications?" + q.Encode()
	}
	if answer.NextCursor != "" {
		q.Set("cursor", answer.NextCursor)
		view.Next = "/notifications?" + q.Encode()
	}
	return v.Show("list", page.View{Title: v.Text("title"), Data: view})
}
