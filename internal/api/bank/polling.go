package bank

import (
	"context"
	"net/http"
	"time"

	"github.com/arauto/arauto/internal/api"
	"github.com/arauto/arauto/internal/figures"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/ofb"
)

// PollingReader sums the status queries of a period and what pushes saved of them; *auditlog.Log does.
type PollingReader interface {
	Polling(ctx context.Context, from, to time.Time) (figures.PollingReport, error)
}

// pollingWithin bounds one report of polling: the database sorts a month's entries.
const pollingWithin = 20 * time.Second

type pollingJSON struct {
	Month string   `json:"month"`
	From  instant  `json:"from"`
	To    instant  `json:"to"`
	Whole *instant `json:"wholeSince"` // since then the log has every entry; null: nothing is sealed
	figures.PollingReport
}

// getPolling is the report of a month of Brasília time (docs/polling.md). One runs at a time.
func (in *Internal) getPolling(x *api.Exchange) error {
	asked, err := parameters(x.R.URL.RawQuery, "month")
	if err != nil {
		return err
	}
	from, err := time.ParseInLocation("2006-01", asked["month"], ofb.Brasilia)
	if err != nil || from.Year() < 1 {
		return wrong("month", "must be a month, such as 2026-11", "deve ser um mês, como 2026-11")
	}
	if problem := history.Begun(from, x.Began); problem != nil {
		return wrong("month", problem.Detail, problem.DetailPT)
	}
	select {
	case in.pollings <- struct{}{}:
		defer func() { <-in.pollings }()
	default:
		return &api.APIError{
			Status: http.StatusServiceUnavailable, Code: "unavailable", Text: "another report of polling runs; retry in some seconds",
			TextPT: "outro relatório de consultas está em curso; repita em alguns segundos",
		}
	}
	ctx, cancel := context.WithTimeout(x.R.Context(), pollingWithin)
	defer cancel()
	to := from.AddDate(0, 1, 0)
	report, err := in.cfg.Polling.Polling(ctx, from, to)
	if err != nil {
		if told := in.tooWide(ctx, x, err); told == err { //nolint:errorlint // whether it is the very same
			return err
		}
		return invalid("", "too_wide", "the month holds too much for one answer: run arauto audit report --polling against a reading copy",
			"o mês contém dados demais para uma resposta: execute arauto audit report --polling em uma cópia de leitura")
	}
	out := pollingJSON{asked["month"], instant(from), instant(to), instantOrNull(report.Whole), report}
	return in.show(x, history.LogReading{Act: "polling", Filter: askedOf(x), Rows: int64(len(report.Clients))}, out)
}
