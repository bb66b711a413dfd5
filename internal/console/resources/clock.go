package resources

import (
	"fmt"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/arauto/arauto/internal/console/page"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/timing"
)

// The drawing's measures, in units of its view box.
const (
	width       = 1120.0        // of the view box
	left, right = 140.0, 1100.0 // of the scale
	laneHeight  = 34
	top         = 12
	thinnest    = 3.0 // of a bar or a band
)

// clockView is the drawing of one notification's attempts against the rule's deadlines.
type clockView struct {
	Status                                string
	Resend                                bool // it has no deadline
	Height, Base, TextY, PollY, PollTextY int
	Ticks                                 []tick
	Lanes                                 []drawnAttempt
	Polls                                 []string // x of each
	Next                                  *time.Time
}

type tick struct{ X, Text string }

// drawnSpan is a part of the scale.
type drawnSpan struct{ X, W string }

// drawnAttempt is one attempt: its deadline as a band, itself as a bar, and the 15 s that it may take as a line.
type drawnAttempt struct {
	Name, Rule, Label, After, Took, Tone string
	Began                                time.Time
	Band, Track, Bar                     drawnSpan
	Y, MidY, BarY, TextY                 int
	LabelX, Anchor                       string
}

// scale puts durations since the event on the drawing. It is fine near the event and compressed later, so that 1.5 s, 10 s and 60 s
// are all legible.
type scale struct{ end time.Duration }

func compressed(d time.Duration) float64 { return math.Log1p(max(0, d.Seconds()) / 0.5) }

func (s scale) x(d time.Duration) float64 {
	return left + (right-left)*min(1, compressed(d)/compressed(s.end))
}

func (s scale) part(from, to time.Duration) drawnSpan {
	a := min(s.x(from), right-thinnest)
	return drawnSpan{coordinate(a), coordinate(max(thinnest, s.x(to)-a))}
}

func coordinate(x float64) string { return strconv.FormatFloat(x, 'f', 1, 64) }

// clockOf draws a notification; nil: no attempt of it has begun.
func clockOf(v *page.Visit, n *toldNotification, timeline []moment) *clockView {
	if len(n.Attempts) == 0 {
		return nil
	}
	c := &clockView{Status: n.Status, Resend: n.Manual, Next: n.NextAttemptAt}
	end := 2 * time.Second
	for _, a := range n.Attempts {
		end = max(end, a.StartedAt.Sub(n.zero())+2*time.Second)
		if a.EndedAt != nil {
			end = max(end, a.EndedAt.Sub(n.zero())+2*time.Second)
		}
	}
	s := scale{end + end/4}
	for i := range n.Attempts {
		c.Lanes = append(c.Lanes, laneOf(v, s, n, i))
	}
	for _, m := range timeline {
		if after := m.At.Sub(n.zero()); m.Kind == "poll" && after >= 0 && after <= s.end {
			c.Polls = append(c.Polls, coordinate(s.x(after)))
		}
	}
	c.Base = top + laneHeight*len(c.Lanes)
	if c.Polls != nil {
		c.PollY, c.PollTextY = c.Base+20, c.Base+20
		c.Base += laneHeight - 6
	}
	c.TextY, c.Height = c.Base+18, c.Base+26
	c.Ticks = ticksOf(v, s)
	return c
}

// textWidth is how wide a text of the axis is at most, in units: letters of 12 px, with a gap to the next text.
func textWidth(text string) float64 { return 7*float64(utf8.RuneCountInString(text)) + 8 }

// ticksOf are the instants that the axis names. A name that would touch the one before, or end outside the drawing, is left out.
func ticksOf(v *page.Visit, s scale) []tick {
	var out []tick
	end := -math.MaxFloat64 // of the name before
	for _, d := range []time.Duration{
		0, 500 * time.Millisecond, notice.FirstWithin, 5 * time.Second, 10 * time.Second, 25 * time.Second, time.Minute, 85 * time.Second, 2 * time.Minute,
		10 * time.Minute, time.Hour, 6 * time.Hour, 24 * time.Hour,
	} {
		text := "0"
		if d > 0 {
			text = page.Duration(v.Lang, d)
		}
		x, half := s.x(d), textWidth(text)/2
		if d <= s.end && x-half >= end && x+half <= width {
			out = append(out, tick{coordinate(x), text})
			end = x + half
		}
	}
	return out
}

// laneOf draws one attempt.
func laneOf(v *page.Visit, s scale, n *toldNotification, i int) drawnAttempt {
	a := &n.Attempts[i]
	began := a.StartedAt.Sub(n.zero())
	y := top + laneHeight*i
	l := drawnAttempt{
		Name: v.Text("lane", strconv.Itoa(a.Number)), Began: a.StartedAt, After: page.Duration(v.Lang, began), Took: "–", Tone: "mute",
		Y: y, MidY: y + 12, BarY: y + 6, TextY: y + 18,
	}
	switch {
	case n.Manual:
		l.Name, l.Rule = v.Text("lane.manual"), v.Text("rule.manual")
	case a.Number == 1:
		l.Rule, l.Band = v.Text("rule.1"), s.part(0, notice.FirstWithin)
	case i > 0 && n.Attempts[i-1].EndedAt != nil:
		gap, _ := notice.Next(a.Number-1, false)
		due := n.Attempts[i-1].EndedAt.Sub(n.zero()) + gap
		l.Rule, l.Band = v.Text("rule."+strconv.Itoa(a.Number)), s.part(due, due+timing.GapTolerance)
	}
	l.Track = s.part(began, began+notice.Timeout)
	ended := began
	l.Label = v.Text("under-way")
	if a.EndedAt != nil && a.Outcome != nil {
		ended = a.EndedAt.Sub(n.zero())
		l.Took = page.Duration(v.Lang, ended-began)
		l.Tone, l.Label = v.Text("tone."+*a.Outcome), v.Text("outcome."+*a.Outcome)
		if a.HTTPStatus != nil {
			l.Label += fmt.Sprintf(" %d", *a.HTTPStatus)
		}
	}
	l.Label = l.After + " · " + l.Label
	l.Bar = s.part(began, ended)
	if at := s.x(ended) + 12; at < left+0.66*(right-left) {
		l.LabelX, l.Anchor = coordinate(max(at, s.x(0)+12)), "start"
		if a.Number == 1 && !n.Manual {
			l.LabelX = coordinate(max(at, s.x(notice.FirstWithin)+10))
		}
	} else {
		l.LabelX, l.Anchor = coordinate(s.x(began)-24), "end"
	}
	return l
}
