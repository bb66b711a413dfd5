// Package late is the console's page of the times that were not kept: 1.5 s, 10 s and 60 s in a period, by cause, by who can act and
// by initiator, with the files for the regulator.
package late

import (
	"cmp"
	"embed"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/arauto/arauto/internal/console/page"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/timing"
)

//go:embed words.json *.html
var files embed.FS

// Section is the folder of these pages.
func Section() page.Section {
	return page.Section{
		Name: "late", Group: page.Operation, Path: "/late", Roles: []string{page.Auditor}, Files: files,
		Routes: []page.PageRoute{
			{Method: http.MethodGet, Path: "/late", Handle: show},
			{Method: http.MethodGet, Path: "/late/month", Handle: month},
			{Method: http.MethodGet, Path: "/late/calls", Handle: calls},
		},
	}
}

// firstAttempts judges first attempts.
type firstAttempts struct {
	Judged, OnTime, Late, LateOurs, Unknown int64
	OnTimeShare, OnTimeShareOurs            *float64
	SinceEvent                              struct{ P50Micros, P95Micros, P99Micros, MaxMicros *int64 }
}

type periodSummary struct {
	Notifications int64
	First         firstAttempts
	Retries       struct{ OnTime, Late, Early int64 }
	Closed        map[string]int64
}

type lateCause struct {
	Cause, Owner   string
	First, Retries int64
	Word           string `json:"-"` // for people
}

// Sum is how often the cause was there.
func (c lateCause) Sum() int64 { return c.First + c.Retries }

type lateClient struct {
	ClientID string
	Late     int64
}

type statisticsAnswer struct {
	AsOf  page.FiguresBasis
	Total periodSummary
}

// lateNotification is one notification of which an attempt started late.
type lateNotification struct {
	NotificationID, ClientID, Kind, ResourceID, State string
	OccurredAt, DecidedAt                             time.Time
	First                                             struct {
		FromEvent, FromReceipt               string
		SinceEventMicros, SinceReceiptMicros int64
		Cause                                string
		Word                                 string `json:"-"` // for people
	}
	Attempts []struct {
		Number             int
		StoredAt           time.Time
		Gap                string
		SinceFailureMicros int64
		Cause              string
		Word               string `json:"-"` // for people
	}
	Tampered bool
}

// lateOwner is who can act, with their causes.
type lateOwner struct {
	Owner  string
	Sum    int64
	Causes []lateCause
}

type lateView struct {
	From, To, Client string // as the fields have them
	Begins, Ends     time.Time
	WholeMonth       string // the month of the address, or the present one without a period; "": it is another period
	Months           []string
	Month            string // of the report
	Total            periodSummary
	Owners           []lateOwner
	Clients          []lateClient
	Rows             []lateNotification
	Next, First      string
	Retries          []lateNotification // of which a second or third attempt was late
	MoreRetries      string             // where the older ones are; "": there are none
	NewestRetries    string             // where the newest ones are; "": here
	RetriesTooMany   bool               // to be listed in one answer
	ListedFrom       *time.Time         // lists and the table by initiator begin later than the period; nil: they do not
	Yesterday        string             // for the matching file
	Lacks            *time.Time         // before which the log does not have every entry of the period; nil: it has them all
	Unknown          string             // that nobody knows the client; "": somebody does, or none is named
}

// Nothing tells that no attempt was judged: a time that nobody had to keep was not kept.
func (s lateView) Nothing() bool {
	f, r := s.Total.First, s.Total.Retries
	return f.Judged+f.Unknown+r.OnTime+r.Late+r.Early == 0
}

// RetriesCut tells whether the page lists a part of the late retries only.
func (s lateView) RetriesCut() bool { return s.MoreRetries != "" || s.NewestRetries != "" }

// listing reads one list of the page: what is late is the parameter of the API, and cursor that of the page's address.
type listing struct {
	late, cursor string
	answer       struct {
		Breaches   []lateNotification
		NextCursor string
		ByClient   []lateClient
	}
	newest, older string // addresses, or ""
}

// listMost is how much of a period one list covers.
const listMost = 31 * 24 * time.Hour

// periodOf reads the period, in whole hours: without one, the present month of Brasília.
func periodOf(v *page.Visit) (from, to time.Time) {
	now := time.Now().In(ofb.Brasilia)
	from = time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, ofb.Brasilia)
	to = now.Add(time.Hour)
	q := v.Query()
	if m, err := time.ParseInLocation("2006-01", q.Get("month"), ofb.Brasilia); err == nil {
		from, to = m, m.AddDate(0, 1, 0)
	}
	for name, at := range map[string]*time.Time{"from": &from, "to": &to} {
		if t, err := time.Parse(time.RFC3339, page.Instant(q.Get(name))); err == nil {
			*at = t
		}
	}
	return from.Truncate(time.Hour), to.Truncate(time.Hour)
}

// hours are the parameters of a call about a period.
func hours(from, to time.Time, more ...string) url.Values {
	q := url.Values{"from": {from.UTC().Format(time.RFC3339)}, "to": {to.UTC().Format(time.RFC3339)}}
	for i := 0; i+1 < len(more); i += 2 {
		if more[i+1] != "" {
			q.Set(more[i], more[i+1])
		}
	}
	return q
}

const field = "2006-01-02T15:04"

func show(v *page.Visit) error {
	from, to := periodOf(v)
	q := v.Query()
	view := lateView{From: from.In(ofb.Brasilia).Format(field), To: to.In(ofb.Brasilia).Format(field), Client: q.Get("clientId")}
	now := time.Now().In(ofb.Brasilia)
	view.Begins, view.Ends = from, to
	if !q.Has("from") && !q.Has("to") {
		view.WholeMonth = from.In(ofb.Brasilia).Format("2006-01")
	}
	for m := range 6 {
		view.Months = append(view.Months, time.Date(now.Year(), now.Month()-time.Month(m), 1, 0, 0, 0, 0, ofb.Brasilia).Format("2006-01"))
	}
	view.Month, view.Yesterday = from.In(ofb.Brasilia).Format("2006-01"), now.AddDate(0, 0, -1).Format(time.DateOnly)
	var byCause struct {
		statisticsAnswer
		Rows []lateCause
	}
	if err := v.API.Get("/internal/v1/audit/statistics", hours(from, to, "by", "cause", "clientId", view.Client), &byCause); err != nil {
		return err
	}
	for i := range byCause.Rows {
		byCause.Rows[i].Word = causeWord(v, byCause.Rows[i].Cause)
	}
	view.Total, view.Owners = byCause.Total, owners(byCause.Rows)
	if view.Total.First.Judged == 0 {
		var err error
		if view.Unknown, err = v.UnknownSubject(page.Subject{ClientID: view.Client}); err != nil {
			return err
		}
	}
	if err := view.readRows(v, from, to); err != nil {
		return err
	}
	view.Lacks = byCause.AsOf.Lacks(from)
	return v.Show("late", page.View{Title: v.Text("title"), Data: view, AsOf: byCause.AsOf})
}

// causeWord says a cause for people, in the words of reports.
func causeWord(v *page.Visit, cause string) string {
	return cmp.Or(timing.CauseWord(notice.Delay(cause), string(v.Lang)), cause)
}

// owners gathers causes by who can act, the most first.
func owners(causes []lateCause) []lateOwner {
	var out []lateOwner
	for _, c := range causes {
		i := slices.IndexFunc(out, func(o lateOwner) bool { return o.Owner == c.Owner })
		if i < 0 {
			i, out = len(out), append(out, lateOwner{Owner: c.Owner})
		}
		out[i].Sum += c.Sum()
		out[i].Causes = append(out[i].Causes, c)
	}
	slices.SortStableFunc(out, func(a, b lateOwner) int { return int(b.Sum - a.Sum) })
	return out
}

// readRows reads the lists of what was late, of the newest part of the period.
func (s *lateView) readRows(v *page.Visit, from, to time.Time) error {
	first, retries := s.Total.First.Late > 0 || s.Total.First.LateOurs > 0, s.Total.Retries.Late > 0 || s.Total.Retries.Early > 0
	if !first && !retries {
		return nil
	}
	if begin := to.Add(-listMost); from.Before(begin) {
		from, s.ListedFrom = begin, &begin
	}
	if first {
		l := listing{late: "true", cursor: "cursor"}
		if err := l.read(v, s, from, to); err != nil {
			return err
		}
		s.Rows, s.Clients, s.First, s.Next = l.answer.Breaches, l.answer.ByClient, l.newest, l.older
	}
	if retries {
		l := listing{late: "retries", cursor: "retries"}
		err := l.read(v, s, from, to)
		if s.RetriesTooMany = page.Is(err, http.StatusBadRequest) && v.Query().Get(l.cursor) == ""; err != nil && !s.RetriesTooMany {
			return err
		}
		s.Retries, s.NewestRetries, s.MoreRetries = l.answer.Breaches, l.newest, l.older
	}
	return nil
}

// read reads one page of the list.
func (l *listing) read(v *page.Visit, s *lateView, from, to time.Time) error {
	q := v.Query()
	call := hours(from, to, "late", l.late, "limit", "25", "clientId", s.Client, "cursor", q.Get(l.cursor))
	if err := v.API.Get("/internal/v1/audit/breaches", call, &l.answer); err != nil {
		return err
	}
	for i := range l.answer.Breaches {
		b := &l.answer.Breaches[i]
		b.First.Word = causeWord(v, b.First.Cause)
		for n := range b.Attempts {
			b.Attempts[n].Word = causeWord(v, b.Attempts[n].Cause)
		}
	}
	q.Set("from", s.From)
	q.Set("to", s.To)
	if q.Has(l.cursor) {
		q.Del(l.cursor)
		l.newest = "/late?" + q.Encode()
	}
	if l.answer.NextCursor != "" {
		q.Set(l.cursor, l.answer.NextCursor)
		l.older = "/late?" + q.Encode()
	}
	return nil
}

// month hands the regulator's report of a month over, as CSV or PDF.
func month(v *page.Visit) error {
	q := v.Query()
	from, err := time.ParseInLocation("2006-01", q.Get("month"), ofb.Brasilia)
	if err != nil {
		return v.Redirect("/late#report")
	}
	format := q.Get("format")
	asked := hours(from, from.AddDate(0, 1, 0), "format", format, "lang", string(v.Lang), "clientId", q.Get("clientId"))
	return v.API.Hand(v.X.W, "/internal/v1/audit/report", asked, "arauto-"+q.Get("month")+"."+format)
}

// calls hands the matching file of a day over, for the ecosystem's metrics platform.
func calls(v *page.Visit) error {
	day := v.Query().Get("day")
	return v.API.Hand(v.X.W, "/internal/v1/audit/calls", url.Values{"day": {day}, "format": {"csv"}}, "arauto-calls-"+day+".csv")
}
