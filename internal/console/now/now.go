// Package now is the console's first page: is everything all right now, who is needed, and the figures of the last hour, 24 hours
// and 30 days.
package now

import (
	"cmp"
	"embed"
	"encoding/json"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/arauto/arauto/internal/console/page"
	"github.com/arauto/arauto/internal/ofb"
)

//go:embed words.json *.html
var files embed.FS

// refreshEvery is how often the page asks again by itself.
const refreshEvery = 15 * time.Second

// Section is the folder of this page.
func Section() page.Section {
	return page.Section{
		Name: "now", Group: page.Operation, Path: "/", Roles: []string{page.Operator, page.Auditor}, Files: files,
		Routes: []page.PageRoute{{Method: http.MethodGet, Path: "/", Handle: show}},
	}
}

// overview is what the API tells.
type overview struct {
	AsOf    page.FiguresBasis
	Windows []struct {
		Window  string
		From    time.Time
		Figures windowFigures
		Begins  time.Time `json:"-"` // From, or when the log begins
	}
	Hours, Days  []chartPoint
	Queue        queueNow
	Down         []downClient
	Sources      []followedSource
	Log          *logState
	Certificates []expiring
	Receivers    []expiring
	Alarms       []struct{ Name, Runbook, Detail string }
}

type queueNow struct{ Waiting, InFlight, LateNow, OldestSeconds int64 }

// The API counts no further than this.
const lateNowMost, waitingMost = 10_000, 100_000

// counted is a number that is counted up to a bound only.
func counted(v *page.Visit, n, most int64) string {
	if n >= most {
		return v.Text("at-least", page.Whole(v.Lang, n))
	}
	return page.Whole(v.Lang, n)
}

type windowFigures struct {
	Changes, Notifications int64
	First                  struct {
		Judged, Late, Unknown int64
		OnTimeShare           *float64
		SinceEvent            percentiles
	}
	Closed map[string]int64
}

type percentiles struct{ P50Micros, P95Micros, P99Micros *int64 }

// chartPoint is an hour or a day.
type chartPoint struct {
	Start       time.Time
	ByKind      map[string]kindSums
	OnTimeShare *float64
	SinceEvent  percentiles
	Polls       int64

	Total kindSums `json:"-"`
	Name  string   `json:"-"` // of the hour or the day, for people
}

type kindSums struct {
	Kind                                                      string
	Changes, Notifications, Delivered, Exhausted, Late, Polls int64
}

func (k *kindSums) add(o kindSums) {
	k.Changes, k.Notifications, k.Delivered = k.Changes+o.Changes, k.Notifications+o.Notifications, k.Delivered+o.Delivered
	k.Exhausted, k.Late, k.Polls = k.Exhausted+o.Exhausted, k.Late+o.Late, k.Polls+o.Polls
}

type downClient struct {
	ClientID    string
	Name        *string
	Failures    int64
	Since       *time.Time
	LastOutcome string
}

type followedSource struct {
	Name            string
	Running, Paused bool
	Status          json.RawMessage

	Tone, Text string `json:"-"`
	What       string `json:"-"` // key of the words: what needs somebody; "": nothing
}

type logState struct {
	Size, VerifiedThrough int64
	SealedAt              *time.Time
	AnchoredCheckpointAt  *time.Time
	Stopped, Fault        *string
}

type expiring struct {
	Role, Subject, ClientID string
	NotAfter                time.Time
	DaysLeft                int64
	Problem                 *string `json:"wrong"` // why the handshake failed
}

// neededAct is one line of what needs somebody.
type neededAct struct {
	State, Tag, What, Effect, Do, Path string
	Since                              *time.Time
}

type nowView struct {
	overview

	Summary          string
	Day              *windowFigures
	Sealed, Anchored string
	Waiting, LateNow string // of the queue
	Needs            []neededAct
	Any              bool
	Period           string // of the charts: 24h or 30d
	Periods          []string
	Delay, Volume    plot
	Points           []chartPoint
	Kinds            []kindSums
}

// The periods of the charts.
const (
	lastDay   = "24h"
	lastMonth = "30d"
)

func show(v *page.Visit) error {
	view := nowView{Period: lastDay, Periods: []string{lastDay, lastMonth}}
	if v.Query().Get("period") == lastMonth {
		view.Period = lastMonth
	}
	if err := v.API.Get("/internal/v1/overview", nil, &view.overview); err != nil {
		return err
	}
	for i := range view.Windows {
		w := &view.Windows[i]
		w.Begins = view.AsOf.Since(w.From)
		if w.Window == lastDay {
			view.Day = &w.Figures
		}
		view.Any = view.Any || w.Figures.Changes > 0
	}
	if view.Log != nil && view.Log.SealedAt != nil {
		view.Sealed = v.Text("log.sealed", page.Ago(v.Lang, *view.Log.SealedAt, time.Now()))
	}
	if view.Log != nil && view.Log.AnchoredCheckpointAt != nil {
		view.Anchored = v.Text("log.anchored", page.Ago(v.Lang, *view.Log.AnchoredCheckpointAt, time.Now()))
	}
	view.Waiting, view.LateNow = counted(v, view.Queue.Waiting, waitingMost), counted(v, view.Queue.LateNow, lateNowMost)
	view.chart(v)
	for i := range view.Sources {
		view.Sources[i].tell(v)
	}
	view.Needs, view.Summary = needsOf(v, &view.overview)
	return v.Show("now", page.View{Title: v.Text("title"), Data: &view, Every: refreshEvery, AsOf: view.AsOf})
}

// chart makes the charts and tables of the period.
func (w *nowView) chart(v *page.Visit) {
	axis := plotAxis{every: 3, name: func(t time.Time) string { return t.In(ofb.Brasilia).Format("15h") }}
	date := map[page.Lang]string{page.Portuguese: "02/01", page.English: "2 Jan"}[v.Lang]
	name := func(t time.Time) string { return t.In(ofb.Brasilia).Format(date + " 15h") }
	w.Points = w.Hours
	if w.Period == lastMonth { // days begin at midnight UTC, as the API counts them
		name = func(t time.Time) string { return t.UTC().Format(date) }
		axis, w.Points = plotAxis{every: 5, name: name}, w.Days
	}
	byKind := map[string]*kindSums{}
	for i := range w.Points {
		p := &w.Points[i]
		p.Name = name(p.Start)
		for kind, sums := range p.ByKind {
			p.Total.add(sums)
			if byKind[kind] == nil {
				byKind[kind] = &kindSums{Kind: kind}
			}
			byKind[kind].add(sums)
		}
	}
	for _, k := range byKind {
		w.Kinds = append(w.Kinds, *k)
	}
	slices.SortFunc(w.Kinds, func(a, b kindSums) int {
		return cmp.Or(cmp.Compare(b.Notifications, a.Notifications), cmp.Compare(a.Kind, b.Kind))
	})
	w.Delay, w.Volume = delayPlot(v, w.Points, axis), volumePlot(v, w.Points, axis)
}

// tell says how a source stands and how far it is behind. A reader that is not running, or an origin that does not tell, leaves the
// lag unknown.
func (s *followedSource) tell(v *page.Visit) {
	var status struct {
		LagSeconds *float64          `json:"lagSeconds"`
		LagBytes   *int64            `json:"lagBytes"`
		Halted     bool              `json:"halted"`
		Stopped    []json.RawMessage `json:"stopped"` // tables
	}
	_ = json.Unmarshal(s.Status, &status) // what cannot be read leaves the lag unknown
	switch {                              // as the page of sources judges
	case s.Paused:
		s.Tone, s.What = "warn", "source.paused"
	case !s.Running || status.Halted:
		s.Tone, s.What = "bad", "source"
	case len(status.Stopped) > 0:
		s.Tone, s.What = "bad", "source.tables"
	default:
		s.Tone = "ok"
	}
	switch {
	case status.LagSeconds != nil:
		s.Text = v.Text("source.lag", page.Duration(v.Lang, time.Duration(*status.LagSeconds*float64(time.Second))))
	case status.LagBytes != nil && *status.LagBytes >= 0:
		s.Text = v.Text("source.lag", page.Bytes(v.Lang, *status.LagBytes))
	default:
		s.Text = v.Text("source.lag.unknown")
	}
	if s.Paused {
		s.Text = v.Text("source.paused") + " · " + s.Text
	}
}

// manualPath is the page of the manual that tells what to do about an alarm.
func manualPath(runbook string) string {
	return page.Path("/manual/%s", strings.TrimSuffix(path.Base(runbook), ".md"))
}

// saysCounted is Counted for a number that is counted up to a bound only.
func saysCounted(v *page.Visit, key string, n, most int64) string {
	if n < most {
		return v.Counted(key, n)
	}
	return v.Text(key, counted(v, n, most))
}

// needsOf lists what needs somebody, the worst first, and says it in a sentence.
func needsOf(v *page.Visit, o *overview) (out []neededAct, summary string) {
	count := map[string]int64{}
	for _, a := range o.Alarms {
		count["alarms"]++
		name := a.Name
		if v.HasText("alarm." + name) {
			name = v.Text("alarm." + name)
		}
		effect := a.Detail
		if seconds := o.Queue.OldestSeconds; a.Name == "ArautoQueueAge" && seconds > 0 {
			effect = v.Counted("alarm.queue", seconds)
		}
		out = append(out, neededAct{State: "bad", Tag: v.Text("alarm"), What: name, Effect: effect, Do: v.Text("alarm.do"), Path: manualPath(a.Runbook)})
	}
	for _, d := range o.Down {
		count["down"]++
		name := d.ClientID
		if d.Name != nil {
			name = *d.Name
		}
		outcome := d.LastOutcome
		if v.HasText("outcome." + outcome) {
			outcome = v.Text("outcome." + outcome)
		}
		out = append(out, neededAct{
			State: "bad", Tag: v.Text("down"), What: name, Since: d.Since, Effect: v.Counted("down.effect", d.Failures, outcome),
			Do: v.Text("down.do"), Path: page.Path("/initiators/%s", d.ClientID),
		})
	}
	if n := o.Queue.LateNow; n > 0 {
		count["late"] = n
		out = append(out, neededAct{ // the page of lateness judges attempts that have ended
			State: "bad", Tag: v.Text("late-now"), Effect: saysCounted(v, "late-now.effect", n, lateNowMost), Do: v.Text("late-now.do"), Path: "/notifications?state=pending",
		})
	}
	for _, s := range o.Sources {
		if s.What != "" {
			count[s.What]++
			out = append(out, neededAct{State: s.Tone, Tag: v.Text(s.What + ".tag"), What: s.Name, Do: v.Text("source.do"), Path: "/sources"})
		}
	}
	for _, c := range slices.Concat(o.Certificates, o.Receivers) {
		count["certificates"]++
		n := neededAct{State: "warn", Tag: v.Counted("certificate", c.DaysLeft), What: cmp.Or(c.ClientID, v.Text("w."+c.Role)), Effect: c.Subject, Do: v.Text("certificate.do"), Path: "/certificates"}
		switch {
		case c.DaysLeft < 0:
			n.State, n.Tag = "bad", v.Text("certificate.ended")
		case c.Problem != nil:
			n.State, n.Tag = "bad", v.Text("certificate.refused")
		}
		out = append(out, n)
	}
	var parts []string
	for _, what := range []string{"alarms", "down", "late", "source", "source.tables", "source.paused", "certificates"} {
		switch n := count[what]; {
		case n > 0 && what == "late":
			parts = append(parts, saysCounted(v, "needs.late", n, lateNowMost))
		case n > 0:
			parts = append(parts, v.Counted("needs."+what, n))
		}
	}
	if parts == nil {
		return out, v.Text("fine")
	}
	return out, v.Text("needs", strings.Join(parts, ", "))
}
