package notifications

import (
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/arauto/arauto/internal/console/page"
	"github.com/arauto/arauto/internal/ofb"
)

// What notifications are counted by.
const (
	byKind   = "kind"
	byHour   = "hour"
	byClient = "client"
)

// Bounds of counts. The periods are those of the API.
const (
	countedUnasked = 24 * time.Hour // without a period in the address
	countedMost    = 400 * 24 * time.Hour
	hoursMost      = 31 * 24 * time.Hour // by hour
	mostCounts     = 168                 // rows that are shown: the hours of a week
)

// countView are counts of a period by one thing. They come from the projections, which know client, kind and hour and none of the
// other filters.
type countView struct {
	By       string
	From, To time.Time // whole hours
	AsOf     page.FiguresBasis
	Ways     []countWay
	Total    countSums
	Rows     []countRow
	More     bool // there are more rows than are shown
	Clipped  bool // the period of the address is longer than what is counted
	Ignored  bool // the address has filters that counts do not know
}

// countWay is a link to the same page with other counts.
type countWay struct {
	By, Path string
	Here     bool
}

type countRow struct {
	ClientID, Kind string
	Hour           *time.Time
	Figures        countSums

	Path string `json:"-"` // the list of what is counted in the row
}

type countSums struct {
	Notifications int64
	Closed        map[string]int64
	First         struct{ Late int64 }
	Polls         struct{ Total int64 }
}

// period is what is counted: the address's, in whole hours.
func (c *countView) period(a asked, now time.Time) {
	c.To, c.From = now, now.Add(-countedUnasked)
	if t, err := time.Parse(time.RFC3339, page.Instant(a.To)); err == nil {
		if t.After(now) {
			t = now // nothing is known of what lies ahead
		}
		c.To, c.From = t, t.Add(-countedUnasked)
	}
	if t, err := time.Parse(time.RFC3339, page.Instant(a.From)); err == nil {
		c.From = t
	}
	c.From = c.From.UTC().Truncate(time.Hour)
	if to := c.To.UTC().Truncate(time.Hour); to.Equal(c.To) {
		c.To = to
	} else {
		c.To = to.Add(time.Hour)
	}
	most := countedMost
	if c.By == byHour {
		most = hoursMost
	}
	if c.To.Sub(c.From) > most {
		c.From, c.Clipped = c.To.Add(-most), true
	}
}

// countsOf counts the period of the address; nil: there are no figures.
func countsOf(v *page.Visit, a asked, by string) (*countView, error) {
	c := &countView{By: byKind, Ignored: a.State != "" || a.Outcome != "" || a.Late != ""}
	ways := []string{byKind, byHour, byClient}
	if a.Client != "" {
		ways = ways[:2] // it is the one that is counted
	}
	if slices.Contains(ways, by) {
		c.By = by
	}
	for _, way := range ways {
		q := a.query()
		q.Set("count", way)
		c.Ways = append(c.Ways, countWay{way, "/notifications?" + q.Encode() + "#counts", way == c.By})
	}
	c.period(a, time.Now())
	if !c.From.Before(c.To) {
		return nil, nil //nolint:nilnil // the list says what is wrong with the period, or it lies ahead
	}
	call := url.Values{"by": {c.By}, "from": {c.From.Format(time.RFC3339)}, "to": {c.To.Format(time.RFC3339)}}
	for name, value := range map[string]string{"clientId": a.Client, "kind": a.Kind} {
		if value != "" {
			call.Set(name, value)
		}
	}
	var answer struct {
		AsOf       page.FiguresBasis
		Total      countSums
		Rows       []countRow
		NextCursor string
	}
	err := v.API.Get("/internal/v1/audit/statistics", call, &answer)
	switch {
	case page.Is(err, http.StatusNotFound):
		return nil, nil //nolint:nilnil // there are no projections here
	case err != nil:
		return nil, err
	}
	c.AsOf, c.Total, c.Rows, c.More = answer.AsOf, answer.Total, answer.Rows, answer.NextCursor != ""
	if c.By == byHour {
		slices.Reverse(c.Rows)
	}
	if len(c.Rows) > mostCounts {
		c.Rows, c.More = c.Rows[:mostCounts], true
	}
	for i := range c.Rows {
		c.Rows[i].Path = c.rowPath(a, &c.Rows[i])
	}
	return c, nil
}

// Lacks is the instant before which the log does not have every entry of the period; nil: it has them all.
func (c *countView) Lacks() *time.Time { return c.AsOf.Lacks(c.From) }

// rowPath is the list of what a row counts.
func (c *countView) rowPath(a asked, r *countRow) string {
	const field = "2006-01-02T15:04"
	a.From, a.To = c.From.In(ofb.Brasilia).Format(field), c.To.In(ofb.Brasilia).Format(field)
	switch {
	case r.Hour != nil:
		a.From, a.To = r.Hour.In(ofb.Brasilia).Format(field), r.Hour.Add(time.Hour).In(ofb.Brasilia).Format(field)
	case r.ClientID != "":
		a.Client = r.ClientID
	default:
		a.Kind = r.Kind
	}
	return "/notifications?" + a.query().Encode()
}
