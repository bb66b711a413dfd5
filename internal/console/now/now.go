// Package now is the console's first page: is everything all right now, who is needed, and the figures of the last hour, 24 hours
// and 30 days.
package now

import (
	"cmp"
	"embed"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
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
	AsOf    struct{ At *time.Time }
	Windows []struct {
		Window  string
		Figures windowFigures
	}
	Hours        []hourPoint
	Queue        struct{ Waiting, InFlight, LateNow, OldestSeconds int64 }
	Down         []downClient
	Sources      []followedSource
	Log          *logState
	Certificates []expiring
	Receivers    []expiring
	Alarms       []struct{ Name, Runbook, Detail string }
}

type windowFigures struct {
	Changes, Notifications int64
	First                  struct {
		Judged, Late int64
		OnTimeShare  *float64
		SinceEvent   percentiles
	}
	Closed map[string]int64
}

type percentiles struct{ P50Micros, P95Micros, P99Micros *int64 }

type hourPoint struct {
	Start       time.Time
	ByKind      map[string]kindSums
	OnTimeShare *float64
	SinceEvent  percentiles
	Polls       int64

	Total kindSums
	Hour  string
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

	Tone, Text string
}

type logState struct {
	Size, VerifiedThrough int64
	SealedAt              *time.Time
	Stopped, Fault        *string
}

type expiring struct {
	Role, Subject, ClientID string
	NotAfter                time.Time
	DaysLeft                int64
}

// neededAct is one line of what needs somebody.
type neededAct struct {
	State, Tag, What, Effect, Do, Path string
	Since                              *time.Time
}

type nowView struct {
	overview

	Summary       string
	Day           *windowFigures
	Sealed        string
	Needs         []neededAct
	Any           bool
	Delay, Volume plot
	Points        []hourPoint
	Kinds         []kindSums
}

func show(v *page.Visit) error {
	var view nowView
	if err := v.API.Get("/internal/v1/overview", nil, &view.overview); err != nil {
		return err
	}
	for i := range view.Windows {
		w := &view.Windows[i]
		if w.Window == "24h" {
			view.Day = &w.Figures
		}
		view.Any = view.Any || w.Figures.Changes > 0
	}
	if view.Log != nil && view.Log.SealedAt != nil {
		view.Sealed = v.Text("log.sealed", page.Ago(v.Lang, *view.Log.SealedAt, time.Now()))
	}
	byKind := map[string]*kindSums{}
	for i := range view.Hours {
		p := &view.Hours[i]
		p.Hour = p.Start.In(ofb.Brasilia).Format("02/01 15h")
		for kind, sums := range p.ByKind {
			p.Total.add(sums)
			if byKind[kind] == nil {
				byKind[kind] = &kindSums{Kind: kind}
			}
			byKind[kind].add(sums)
		}
	}
	view.Points = view.Hours
	for _, k := range byKind {
		view.Kinds = append(view.Kinds, *k)
	}
	slices.SortFunc(view.Kinds, func(a, b kindSums) int { return cmp.Compare(b.Notifications, a.Notifications) })
	for i := range view.Sources {
		s := &view.Sources[i]
		s.Tone = "ok"
		if !s.Running {
			s.Tone = "bad"
		} else if s.Paused {
			s.Tone = "warn"
		}
		var status struct {
			LagSeconds *float64 `json:"lagSeconds"`
		}
		if json.Unmarshal(s.Status, &status) == nil && status.LagSeconds != nil {
			s.Text = v.Text("source.lag", page.Duration(v.Lang, time.Duration(*status.LagSeconds*float64(time.Second))))
		}
	}
	view.Delay, view.Volume = delayPlot(v, view.Hours), volumePlot(v, view.Hours)
	view.Needs, view.Summary = needsOf(v, &view.overview)
	of := page.View{Title: v.Text("title"), Data: &view, Every: refreshEvery}
	if view.AsOf.At != nil {
		of.AsOf = *view.AsOf.At
	}
	return v.Show("now", of)
}

// needsOf lists what needs somebody, the worst first, and says it in a sentence.
func needsOf(v *page.Visit, o *overview) (out []neededAct, summary string) {
	count := map[string]int64{}
	for _, a := range o.Alarms {
		count["alarms"]++
		out = append(out, neededAct{State: "bad", Tag: v.Text("alarm"), What: a.Name, Effect: a.Detail, Do: v.Text("alarm.do", a.Runbook)})
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
			State: "bad", Tag: v.Text("down"), What: name, Since: d.Since, Effect: v.Text("down.effect", strconv.FormatInt(d.Failures, 10), outcome),
			Do: v.Text("down.do"), Path: page.Path("/initiators/%s", d.ClientID),
		})
	}
	if n := o.Queue.LateNow; n > 0 {
		count["late"] = n
		out = append(out, neededAct{
			State: "bad", Tag: v.Text("late-now"), Effect: v.Text("late-now.effect", strconv.FormatInt(n, 10)), Do: v.Text("late-now.do"), Path: "/late",
		})
	}
	for _, s := range o.Sources {
		if !s.Running {
			count["sources"]++
			out = append(out, neededAct{State: "bad", Tag: v.Text("source"), What: s.Name, Do: v.Text("source.do"), Path: "/sources"})
		}
	}
	for _, c := range slices.Concat(o.Certificates, o.Receivers) {
		count["certificates"]++
		n := neededAct{State: "warn", Tag: v.Text("certificate", strconv.FormatInt(c.DaysLeft, 10)), What: cmp.Or(c.ClientID, c.Role), Effect: c.Subject, Do: v.Text("certificate.do"), Path: "/certificates"}
		if c.DaysLeft < 0 {
			n.State, n.Tag = "bad", v.Text("certificate.ended")
		}
		out = append(out, n)
	}
	var parts []string
	for _, what := range []string{"alarms", "down", "late", "sources", "certificates"} {
		if n := count[what]; n > 0 {
			parts = append(parts, v.Text("needs."+what, strconv.FormatInt(n, 10)))
		}
	}
	if parts == nil {
		return out, v.Text("fine")
	}
	return out, v.Text("needs", strings.Join(parts, ", "))
}
