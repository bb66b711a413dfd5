package initiators

import (
	"net/url"
	"time"

	"github.com/arauto/arauto/internal/console/page"
	"github.com/arauto/arauto/internal/ofb"
)

// pollingSums are status queries.
type pollingSums struct {
	ClientID                                                                           string
	Resources, Pushed, Pushes, Queries, BeforePush, WithinAMinute, Later, AlreadyFinal int64
	CadenceMillis, Avoided, AvoidedAtOthersCadence                                     *int64
}

type pollingView struct {
	Months []string
	Month  string
	From   *time.Time

	WholeSince *time.Time

	Clients                  []pollingSums
	WithPush, WithoutPush    pollingSums
	WithoutPushCadenceMillis *int64
}

// Lacks is the instant before which the log does not have every entry of the month; nil: it has them all.
func (s pollingView) Lacks() *time.Time {
	if s.From == nil {
		return nil
	}
	return page.FiguresBasis{WholeSince: s.WholeSince}.Lacks(*s.From)
}

// polling shows how many status queries pushes saved in a month, by initiator.
func polling(v *page.Visit) error {
	now := time.Now().In(ofb.Brasilia)
	view := pollingView{Month: v.Query().Get("month")}
	for m := range 6 {
		view.Months = append(view.Months, time.Date(now.Year(), now.Month()-time.Month(m), 1, 0, 0, 0, 0, ofb.Brasilia).Format("2006-01"))
	}
	if view.Month == "" {
		view.Month = view.Months[0]
	}
	if err := v.API.Get("/internal/v1/audit/polling", url.Values{"month": {view.Month}}, &view); err != nil {
		return err
	}
	return v.Show("polling", page.View{Title: v.Text("polling.title"), Data: view, AsOf: page.FiguresBasis{At: &v.X.Began}})
}
