package now

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/arauto/arauto/internal/console/page"
	"github.com/arauto/arauto/internal/notice"
)

// The plots' measures, in units of their view box.
const (
	plotLeft, plotRight = 64.0, 744.0
	plotTop, plotBase   = 18.0, 164.0
)

// plot is a drawing over hours or days.
type plot struct {
	Grid, Steps, Names []mark
	RuleY, RuleTextY   string
	Lines              []curve
	Bars, Dots         []mark
}

type curve struct{ Class, Points string }

// mark is a text, a bar or a dot.
type mark struct{ X, Y, W, H, TextY, Text, Class string }

func at(x float64) string { return strconv.FormatFloat(x, 'f', 1, 64) }

// across is where a step begins, and middle its middle.
func across(i, steps int) float64 {
	return plotLeft + (plotRight-plotLeft)*float64(i)/float64(max(1, steps))
}

func middle(i, steps int) float64 { return (across(i, steps) + across(i+1, steps)) / 2 }

// plotAxis says which steps are named, and how.
type plotAxis struct {
	every int
	name  func(time.Time) string
}

// steps names some of the steps.
func (p *plot) steps(points []chartPoint, axis plotAxis) {
	for i := 0; i < len(points); i += axis.every {
		p.Steps = append(p.Steps, mark{X: at(middle(i, len(points))), Text: axis.name(points[i].Start)})
	}
}

// grid draws lines at thirds of the scale.
func (p *plot) grid(most float64, text func(float64) string) {
	for i := range 4 {
		y := plotBase - (plotBase-plotTop)*float64(i)/3
		p.Grid = append(p.Grid, mark{Y: at(y), TextY: at(y + 4), Text: text(most * float64(i) / 3)})
	}
}

// delayPlot draws the percentiles of the first attempts' delay, with the rule.
func delayPlot(v *page.Visit, points []chartPoint, axis plotAxis) (p plot) {
	rule := notice.FirstWithin.Seconds()
	most := rule * 1.2
	each := []struct {
		name, class string
		of          func(percentiles) *int64
	}{
		{"p50", "1", func(x percentiles) *int64 { return x.P50Micros }},
		{"p95", "2", func(x percentiles) *int64 { return x.P95Micros }},
		{"p99", "3", func(x percentiles) *int64 { return x.P99Micros }},
	}
	for i := range points {
		if d := points[i].SinceEvent.P99Micros; d != nil {
			most = max(most, float64(*d)/1e6)
		}
	}
	down := func(seconds float64) float64 { return plotBase - (plotBase-plotTop)*min(1, seconds/most) }
	p.grid(most, func(s float64) string { return page.Duration(v.Lang, time.Duration(s*float64(time.Second))) })
	p.steps(points, axis)
	p.RuleY, p.RuleTextY = at(down(rule)), at(down(rule)-5)
	for row, e := range each {
		var run []string
		end := func() {
			if len(run) > 1 {
				p.Lines = append(p.Lines, curve{"line-" + e.class, strings.Join(run, " ")})
			}
			run = nil
		}
		for i := range points {
			d := e.of(points[i].SinceEvent)
			if d == nil {
				end()
				continue
			}
			x, y := at(middle(i, len(points))), at(down(float64(*d)/1e6))
			run = append(run, x+","+y)
			p.Dots = append(p.Dots, mark{X: x, Y: y, Class: []string{"fill-ok", "fill-accent", "fill-warn"}[row]})
		}
		end()
		x := plotLeft + float64(row)*56
		p.Lines = append(p.Lines, curve{"line-" + e.class, at(x) + ",8 " + at(x+22) + ",8"})
		p.Names = append(p.Names, mark{X: at(x + 26), Y: "12", Text: e.name})
	}
	return p
}

// volumePlot draws notifications by the step, those given up in front.
func volumePlot(v *page.Visit, points []chartPoint, axis plotAxis) (p plot) {
	most := 3.0
	for i := range points {
		most = max(most, float64(points[i].Total.Notifications))
	}
	most = 3 * math.Ceil(most/3)
	p.grid(most, func(n float64) string { return page.Whole(v.Lang, int64(n)) })
	p.steps(points, axis)
	width := (plotRight - plotLeft) / float64(max(1, len(points)))
	for i := range points {
		for _, part := range []struct {
			n     int64
			class string
		}{{points[i].Total.Notifications, "fill-accent"}, {points[i].Total.Exhausted, "fill-bad"}} {
			if part.n > 0 {
				h := max(2, (plotBase-plotTop)*float64(part.n)/most)
				p.Bars = append(p.Bars, mark{X: at(across(i, len(points)) + 3), Y: at(plotBase - h), W: at(width - 6), H: at(h), Class: part.class})
			}
		}
	}
	return p
}
