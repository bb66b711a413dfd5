// Package notifications is the console's page that lists notifications by client, kind, state, outcome and period, with counts from
// the projections, saved filters, a file of what is listed, and the resend of several.
package notifications

import (
	"embed"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/arauto/arauto/internal/console/page"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

//go:embed words.json *.html
var files embed.FS

// Section is the folder of this page.
func Section() page.Section {
	operator := []string{page.Operator}
	return page.Section{
		Name: "notifications", Group: page.Operation, Path: "/notifications", Roles: []string{page.Operator, page.Auditor}, Files: files,
		Routes: []page.PageRoute{
			{Method: http.MethodGet, Path: "/notifications", Handle: list},
			{Method: http.MethodGet, Path: "/notifications.csv", Handle: table},
			{Method: http.MethodPost, Path: "/notifications/resend", Roles: operator, Handle: resend},
			{Method: http.MethodPost, Path: "/notifications/filters", Handle: saveFilter},
			{Method: http.MethodPost, Path: "/notifications/filters/delete", Handle: deleteFilter},
		},
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
	Resent     bool // it was sent once more already
	Tampered   bool
	Attempts   []listedAttempt
}

type listedAttempt struct {
	StartedAt  time.Time
	Outcome    *string
	HTTPStatus *int
}

// Over tells whether the notification ended without a delivery and may be sent once more. A resend may not, and nothing may twice.
func (n listedNotification) Over() bool {
	return !n.Manual && !n.Resent && (n.State == string(notice.Exhausted) || n.State == string(notice.Cancelled))
}

// Judged tells whether it is known if the first attempt began in time: of a resend nobody asks, before an attempt nobody knows, and an
// entry that is not what was sealed tells nothing.
func (n listedNotification) Judged() bool { return !n.Manual && !n.Tampered && len(n.Attempts) > 0 }

// asked are the filters of the address.
type asked struct {
	Client, Kind, State, Outcome, Late, From, To string
}

// filterNames are the filters in the order of asked, as the address and the API name them.
var filterNames = []string{"clientId", "kind", "state", "outcome", "late", "from", "to"}

func askedOf(q url.Values) asked {
	return asked{q.Get("clientId"), q.Get("kind"), q.Get("state"), q.Get("outcome"), q.Get("late"), q.Get("from"), q.Get("to")}
}

// query are the filters that restrict something, as the address has them.
func (a asked) query() url.Values {
	out := url.Values{}
	for i, value := range []string{a.Client, a.Kind, a.State, a.Outcome, a.Late, a.From, a.To} {
		if value != "" {
			out.Set(filterNames[i], value)
		}
	}
	return out
}

// call are the same filters for the API, with instants for Brasília's times.
func (a asked) call() url.Values {
	out := a.query()
	for _, name := range []string{"from", "to"} {
		if at := out.Get(name); at != "" {
			out.Set(name, page.Instant(at))
		}
	}
	return out
}

// outcomes are those that an attempt may have; blocked addresses are last, as they are rarest.
var outcomes = []notice.Outcome{
	notice.OutcomeDelivered, notice.OutcomeNonconformant, notice.OutcomeRefused, notice.OutcomeRedirected, notice.OutcomeTimeout, notice.OutcomeConnect,
	notice.OutcomeTLS, notice.OutcomeProtocol, notice.OutcomeUnknown, notice.OutcomeBlocked,
}

type listView struct {
	Filter        asked
	Query         string // the filters alone, encoded
	CSV, Again    string // addresses of the file, and of the resend, with the filters
	Saved         []savedFilter
	Kinds, States []string
	Outcomes      []notice.Outcome
	Rows          []listedNotification
	Counts        *countView // nil: not on this page
	Auditor       bool
	Resend        bool         // rows may be chosen to be sent once more
	Resent        []resentLine // what became of those that were chosen
	None          bool         // none was chosen
	Wrong         []page.Wrong // what is wrong with the form
	Chosen        map[string]bool
	Reason        string // as it was typed, where the form is shown again
	Most          int    // rows of a file
	First, Next   string
	Empty         string // key of the words
}

// Gone is how many of those that were chosen cannot be chosen any more, because the list has changed.
func (l listView) Gone() int {
	gone := len(l.Chosen)
	for _, row := range l.Rows {
		if l.Chosen[row.ID] && row.Over() {
			gone--
		}
	}
	return gone
}

func list(v *page.Visit) error { return listed(v, http.StatusOK, listView{}) }

// listed fills the rest of the view in, and shows it.
func listed(v *page.Visit, status int, view listView) error {
	q := v.Query()
	view.Filter, view.Saved, view.Auditor, view.Outcomes, view.Most = askedOf(q), savedOf(v), v.Has(page.Auditor), outcomes, mostRows
	view.States, view.Empty = []string{string(notice.Pending), string(notice.Delivered), string(notice.Exhausted), string(notice.Cancelled)}, "empty.all"
	here := view.Filter.query()
	view.Query = here.Encode()
	if q.Has("cursor") {
		here.Set("cursor", q.Get("cursor"))
	}
	view.CSV, view.Again = "/notifications.csv?"+view.Query, "/notifications/resend?"+here.Encode()
	view.Kinds = ofb.KindNames()
	call := view.Filter.call()
	if len(call) > 0 || q.Has("cursor") {
		view.Empty = "empty"
	}
	var next string
	var err error
	if view.Rows, next, err = read(v, call, "100", q.Get("cursor")); err != nil {
		return err
	}
	view.Resend = v.Has(page.Operator) && v.CanResend() && slices.ContainsFunc(view.Rows, listedNotification.Over)
	if !q.Has("cursor") {
		if view.Counts, err = countsOf(v, view.Filter, q.Get("count")); err != nil {
			return err
		}
	}
	shown := view.Filter.query()
	if by := q.Get("count"); by != "" {
		shown.Set("count", by)
	}
	if q.Has("cursor") {
		view.First = "/notifications?" + shown.Encode()
	}
	if next != "" {
		shown.Set("cursor", next)
		view.Next = "/notifications?" + shown.Encode()
	}
	return v.ShowAs(status, "list", page.View{Title: v.Text("title"), Data: view})
}

// read asks for one part of the list, newest first, and returns where it goes on; "" at the end.
func read(v *page.Visit, call url.Values, limit, cursor string) ([]listedNotification, string, error) {
	call.Set("limit", limit)
	if call.Del("cursor"); cursor != "" {
		call.Set("cursor", cursor)
	}
	var answer struct {
		Notifications []listedNotification
		NextCursor    string
	}
	err := v.API.Get("/internal/v1/notifications", call, &answer)
	return answer.Notifications, answer.NextCursor, err
}

// resentLine is what became of one of several resends.
type resentLine struct {
	ID     string
	Status int
	Text   string `json:"error_description"`
	Errors []page.Wrong
}

// resend asks for one more POST of each notification that the person chose, and shows what became of each.
func resend(v *page.Visit) error {
	if len(v.Forms("id")) == 0 {
		return listed(v, http.StatusBadRequest, listView{None: true, Reason: v.Form("reason")})
	}
	var answer struct {
		Request string
		Results []resentLine
	}
	body := map[string]any{"ids": v.Forms("id"), "reason": v.Form("reason")}
	_, err := v.API.Do(http.MethodPost, "/internal/v1/notifications/resend", body, &answer)
	if wrong := page.ProblemsOf(err); wrong != nil {
		return listed(v, http.StatusBadRequest, listView{Wrong: wrong, Chosen: v.Chosen("id"), Reason: v.Form("reason")})
	}
	if err != nil {
		return err
	}
	if answer.Request != "" {
		return v.Done("/requests", "asked")
	}
	return listed(v, http.StatusOK, listView{Resent: answer.Results})
}
