// Package certificates is the console's calendar: when certificates, authorities and revocation lists end, and who must act.
package certificates

import (
	"cmp"
	"embed"
	"net/http"
	"slices"
	"time"

	"github.com/arauto/arauto/internal/console/page"
)

//go:embed words.json *.html
var files embed.FS

// Section is the folder of this page.
func Section() page.Section {
	return page.Section{
		Name: "certificates", Group: page.Operation, Path: "/certificates", Roles: []string{page.Operator, page.Auditor}, Files: files,
		Routes: []page.PageRoute{{Method: http.MethodGet, Path: "/certificates", Handle: list}},
	}
}

// calendarAnswer is what the API tells.
type calendarAnswer struct {
	Certificates []struct {
		Role, Source, Subject, Serial string
		NotAfter                      time.Time
	}
	Receivers []struct {
		ClientID, Subject, Serial, Issuer, Fingerprint string
		NotAfter, SeenAt                               time.Time
		Problem                                        *string `json:"wrong"` // why the handshake failed
	}
	RevocationLists []struct {
		Direction, Source, Issuer string
		ValidUntil, SoftFailUntil *time.Time
		Entries                   int
	}
}

// calendarRow is one line of the calendar.
type calendarRow struct {
	Group   string // ours, receiver, authority or list
	What    string // key of the words, or the client id of a receiver
	Subject string
	Serial  string
	Issuer  string
	Source  string
	Ends    *time.Time // nil: not known
	Seen    *time.Time
	Problem string
	Days    int
	Ended   bool
	Who     string // key of the words: who must act
	Tone    string // ok, warn or bad
}

// Days before the end at which a line asks for somebody (as the alarms do).
const (
	warnDays = 30
	badDays  = 7
)

type calendarView struct {
	Rows   []calendarRow
	Wrong  int
	Group  string // filter
	Groups []string
	Seen   int // receivers
	Cut    int // rows that are not shown: they end later and need nobody
}

func list(v *page.Visit) error {
	var c calendarAnswer
	if err := v.API.Get("/internal/v1/certificates", nil, &c); err != nil {
		return err
	}
	view := calendarView{Group: v.Query().Get("group"), Groups: []string{"ours", "receiver", "authority", "list"}, Seen: len(c.Receivers)}
	for _, r := range rows(&c, time.Now()) {
		if r.Tone != "ok" {
			view.Wrong++
		}
		if view.Group == "" || view.Group == r.Group {
			view.Rows = append(view.Rows, r)
		}
	}
	view.Rows, view.Cut = most(view.Rows)
	return v.Show("list", page.View{Title: v.Text("title"), Data: view, Every: time.Minute})
}

// rowsMost is how many rows are shown.
const rowsMost = 500

// most leaves out rows beyond rowsMost: those that need nobody and end last, and only then others.
func most(all []calendarRow) (out []calendarRow, cut int) {
	out = all
	for i := len(out) - 1; i >= 0 && len(out) > rowsMost; i-- {
		if out[i].Tone == "ok" {
			out = slices.Delete(out, i, i+1)
			cut++
		}
	}
	if len(out) > rowsMost {
		out, cut = out[:rowsMost], cut+len(out)-rowsMost
	}
	return out, cut
}

// rows are the lines of the calendar, those that end first at the top; what never came is before them.
func rows(c *calendarAnswer, now time.Time) []calendarRow {
	var out []calendarRow
	add := func(r calendarRow) {
		r.Tone = "bad"
		if r.Ends != nil {
			r.Days, r.Ended = int(r.Ends.Sub(now).Hours()/24), r.Ends.Before(now)
			r.Tone = toneOf(&r, now)
		}
		if r.Problem != "" {
			r.Tone = "bad"
		}
		out = append(out, r)
	}
	for _, one := range c.Certificates {
		r := calendarRow{Group: "ours", What: one.Role, Subject: one.Subject, Serial: one.Serial, Source: one.Source, Ends: &one.NotAfter, Who: "us"}
		switch one.Role {
		case "caller-authority", "receiver-authority", "proxy-authority":
			r.Group, r.Who = "authority", "us-trust"
		}
		add(r)
	}
	for _, one := range c.Receivers {
		r := calendarRow{Group: "receiver", What: one.ClientID, Subject: one.Subject, Serial: one.Serial, Issuer: one.Issuer, Ends: &one.NotAfter, Seen: &one.SeenAt, Who: "initiator"}
		if one.NotAfter.IsZero() {
			r.Ends = nil
		}
		if one.Problem != nil {
			r.Problem = *one.Problem
		}
		add(r)
	}
	for _, one := range c.RevocationLists {
		add(calendarRow{Group: "list", What: one.Direction, Subject: one.Issuer, Source: one.Source, Ends: one.ValidUntil, Who: "authority"})
	}
	slices.SortStableFunc(out, func(a, b calendarRow) int {
		if a.Ends == nil || b.Ends == nil {
			return cmp.Compare(known(a), known(b))
		}
		return a.Ends.Compare(*b.Ends)
	})
	return out
}

// toneOf is ok, warn or bad by the days that are left.
func toneOf(r *calendarRow, now time.Time) string {
	switch ended := r.Ends.Before(now); {
	case ended, r.Days < badDays && r.Group != "list": // a list ends in days by its nature
		return "bad"
	case r.Days < warnDays && r.Group != "list":
		return "warn"
	}
	return "ok"
}

func known(r calendarRow) int {
	if r.Ends == nil {
		return 0
	}
	return 1
}
