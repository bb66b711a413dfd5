package bank

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/arauto/arauto/internal/api"
	"github.com/arauto/arauto/internal/brand"
	"github.com/arauto/arauto/internal/evidence"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/timing"
)

// Clock judges when attempts were made; *auditlog.Log does. An error that knows NotFound() bool and answers true means that
// the resource does not exist.
type Clock interface {
	// Now is the time by the clock of the database, which dates the entries.
	Now(ctx context.Context) (time.Time, error)
	// Timing is the clock proof of one notification.
	Timing(ctx context.Context, id notice.ID) (timing.Timing, error)
	// Timings hands over the clock proof of each notification of a period, in the order of their decisions; an error of
	// each ends it and is returned.
	Timings(ctx context.Context, p timing.Period, each func(*timing.Timing) error) error
	// LateFirst are the clock proofs of notifications whose first attempt started late, newest first, and where to continue.
	LateFirst(ctx context.Context, p timing.Period, limit int) ([]timing.Timing, history.Position, error)
	// LateRetries are those of which a second or third attempt did, newest first, and where to continue.
	LateRetries(ctx context.Context, p timing.Period, limit int) ([]timing.Timing, history.Position, error)
	// LateByClient counts them by client, those with the most first.
	LateByClient(ctx context.Context, p timing.Period, most int) ([]timing.LateClient, error)
	// ClockReport is the account of a period; those of which a time was not kept are handed over.
	ClockReport(ctx context.Context, p timing.Period, breach func(*timing.Timing) error) (*timing.ClockReport, error)
	// LatestReconciliation is what the newest reconciliation found, and when it was recorded.
	LatestReconciliation(ctx context.Context) (history.Reconciliation, time.Time, error)
}

// clockRoutes are what there is to know about times and completeness.
func (in *Internal) clockRoutes() []api.Route {
	return []api.Route{
		route(http.MethodGet, "/internal/v1/notifications/{id}/timing", []string{roleOperator, roleAuditor}, in.getTiming),
		route(http.MethodGet, "/internal/v1/audit/breaches", []string{roleAuditor}, in.traced(in.listBreaches)),
		route(http.MethodGet, "/internal/v1/audit/report", []string{roleAuditor}, in.traced(in.getReport)),
		route(http.MethodGet, "/internal/v1/audit/reconciliation", []string{roleAuditor}, in.traced(plain(in.getReconciliation))),
	}
}

// breachesWithin bounds one report of breaches. It walks through a whole period, so it may take longer than a search.
const breachesWithin = 20 * time.Second

// getTiming shows each instant between the event and the answer, with the verdicts and the cause when late.
func (in *Internal) getTiming(x *api.Exchange) error {
	id, err := idOf(x)
	if err != nil {
		return err
	}
	if _, err := parameters(x.R.URL.RawQuery); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(x.R.Context(), in.cfg.SearchLimit)
	defer cancel()
	t, err := in.cfg.Clock.Timing(ctx, id)
	if err != nil {
		return err
	}
	t.Integrity = in.met(x, t.Integrity)
	return in.view(x, 1, t)
}

type breachesJSON struct {
	Report     *timing.ClockReport `json:"report"` // null on every page but the first
	Breaches   []timing.Timing     `json:"breaches"`
	NextCursor *string             `json:"nextCursor"`
	ByClient   []timing.LateClient `json:"byClient,omitzero"` // with ?late=true, on the first page: those with the most first
}

// lateClients is how many initiators are counted.
const lateClients = 50

// errEnough ends a walk through a period.
var errEnough = errors.New("enough")

// listBreaches is the account of a period, and the notifications of which a time was not kept, oldest first.
func (in *Internal) listBreaches(x *api.Exchange) error {
	raw, late, err := cutLate(x.R.URL.RawQuery)
	if err != nil {
		return err
	}
	asked, limit, cursor, err := breachesAsked(raw, in.cfg.Brands)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(x.R.Context(), breachesWithin)
	defer cancel()
	list := "breaches"
	if late != "" {
		list = late
	}
	pages, err := in.pagesOf(ctx, cursor, list, string(asked.Client), micros(asked.From), micros(asked.To))
	if err != nil {
		return err
	}
	p, err := in.lookedAt(ctx, asked)
	if err != nil {
		return err
	}
	p.After = pages.after
	if late != "" {
		return in.listLate(ctx, x, lateAsked{p, limit, pages, late == listLateRetries})
	}
	out := breachesJSON{Breaches: []timing.Timing{}}
	more := false
	keep := func(t *timing.Timing) error {
		if more = len(out.Breaches) == limit; !more {
			out.Breaches = append(out.Breaches, *t)
		}
		return nil
	}
	if cursor == "" {
		out.Report, err = in.cfg.Clock.ClockReport(ctx, p, keep)
	} else {
		err = in.cfg.Clock.Timings(ctx, p, func(t *timing.Timing) error {
			if !t.Reported() {
				return nil
			}
			if _ = keep(t); more {
				return errEnough
			}
			return nil
		})
	}
	if err != nil && !errors.Is(err, errEnough) {
		return in.tooLong(ctx, x, err)
	}
	if out.Report != nil {
		out.Report.Integrity = in.met(x, out.Report.Integrity)
	} else {
		var found history.Integrity
		for i := range out.Breaches {
			found.Add(out.Breaches[i].Integrity)
		}
		in.met(x, found)
	}
	if more {
		last := &out.Breaches[limit-1]
		out.NextCursor = pages.next(history.Position{At: last.DecidedAt.Time, ID: last.Notification})
	}
	filter := recordedPeriod(p)
	filter["limit"] = strconv.Itoa(limit)
	return in.show(x, history.LogReading{Act: "breaches", Filter: filter, Rows: int64(len(out.Breaches))}, out)
}

// reportMedia are the forms of a report as one document.
var reportMedia = map[string]string{
	"pdf": "application/pdf", "csv": "text/csv; charset=utf-8", "text": "text/plain; charset=utf-8", "json": "application/x-ndjson",
}

// getReport is the account of a period as one document: each notification of which a time was not kept, and the totals.
func (in *Internal) getReport(x *api.Exchange) error {
	asked, err := parameters(x.R.URL.RawQuery, "from", "to", "clientId", "format", "lang")
	if err != nil {
		return err
	}
	period, err := periodAsked(asked, in.cfg.Brands)
	if err != nil {
		return err
	}
	format, lang := cmp.Or(asked["format"], "pdf"), languageOf(x, asked["lang"])
	if reportMedia[format] == "" {
		return wrong("format", "must be pdf, csv, text or json", "deve ser pdf, csv, text ou json")
	}
	if lang != "pt" && lang != "en" {
		return wrong("lang", "must be pt or en", "deve ser pt ou en")
	}
	ctx, cancel := context.WithTimeout(x.R.Context(), breachesWithin)
	defer cancel()
	p, err := in.lookedAt(ctx, period)
	if err != nil {
		return err
	}
	var file bytes.Buffer
	w := evidence.NewBreachWriter(&file, format, in.document(lang))
	report, err := in.cfg.Clock.ClockReport(ctx, p, w.Breach)
	if err != nil {
		return in.tooLong(ctx, x, err)
	}
	report.Integrity = in.met(x, report.Integrity)
	if err := w.End(report); err != nil {
		return err
	}
	filter := recordedPeriod(p)
	filter["format"] = format
	return in.hand(x, history.LogReading{Act: "breaches", Filter: filter, Rows: w.Rows()}, reportMedia[format], file.Bytes())
}

// Names of the lists that cursors belong to.
const (
	listLateFirst   = "late"
	listLateRetries = "late-retries"
)

// cutLate takes ?late= out of a query: only late attempts are wanted, without the account of the period. It returns the name of the
// list, "" without the parameter.
func cutLate(raw string) (rest, list string, err error) {
	values, err := url.ParseQuery(raw)
	if err != nil || !values.Has("late") {
		return raw, "", nil //nolint:nilerr // told by parameters
	}
	v := values["late"]
	switch {
	case len(v) == 1 && v[0] == "true":
		list = listLateFirst
	case len(v) == 1 && v[0] == "retries":
		list = listLateRetries
	default:
		return "", "", wrong("late", "must be true or retries, once; omit it for the account of the period", "deve ser true ou retries, uma vez; omita-o para a conta do período")
	}
	values.Del("late")
	return values.Encode(), list, nil
}

// lateAsked is a question for late first attempts, or late retries.
type lateAsked struct {
	period  timing.Period
	limit   int
	pages   pages
	retries bool
}

// listLate lists the notifications whose first attempt started late, or whose second or third one did, newest first.
func (in *Internal) listLate(ctx context.Context, x *api.Exchange, asked lateAsked) error {
	find := in.cfg.Clock.LateFirst
	if asked.retries {
		find = in.cfg.Clock.LateRetries
	}
	list, next, err := find(ctx, asked.period, asked.limit)
	if err != nil {
		return in.tooLong(ctx, x, err)
	}
	out := breachesJSON{Breaches: append([]timing.Timing{}, list...), NextCursor: asked.pages.next(next)}
	if asked.period.After.At.IsZero() && !asked.retries {
		if out.ByClient, err = in.cfg.Clock.LateByClient(ctx, asked.period, lateClients); err != nil {
			return in.tooLong(ctx, x, err)
		}
	}
	var found history.Integrity
	for i := range list {
		found.Add(list[i].Integrity)
	}
	in.met(x, found)
	filter := askedOf(x)
	filter["to"] = micros6(asked.period.To)
	return in.show(x, history.LogReading{Act: "breaches", Filter: filter, Rows: int64(len(list))}, out)
}

// tooLong tells a period that is too long from a database that does not answer.
func (in *Internal) tooLong(ctx context.Context, x *api.Exchange, err error) error {
	if told := in.tooWide(ctx, x, err); told == err { //nolint:errorlint // whether it is the very same
		return err
	}
	return invalid("", "too_wide", "the period holds too much for one answer: ask for a shorter one, or run arauto audit breaches",
		"o período contém dados demais para uma resposta: peça um período menor, ou execute arauto audit breaches")
}

// micros6 is an instant as this API writes it.
func micros6(t time.Time) string {
	text, _ := instant(t).MarshalText() // it never fails
	return string(text)
}

// breachesAsked reads which period is wanted, 31 days at most.
func breachesAsked(raw string, brands brand.List) (out timing.Period, limit int, cursor string, err error) {
	p, err := parameters(raw, "from", "to", "clientId", "limit", "cursor")
	if err != nil {
		return out, 0, "", err
	}
	if limit, err = limitOf(p); err != nil {
		return out, 0, "", err
	}
	out, err = periodAsked(p, brands)
	return out, limit, p["cursor"], err
}

// periodAsked is the period of a report, of at most 31 days, and the client that it is about.
func periodAsked(p map[string]string, brands brand.List) (out timing.Period, err error) {
	var f history.Filter
	if err = whatOf(&f, p, brands); err != nil {
		return out, err
	}
	if f.From, err = instantOf(p, "from"); err != nil {
		return out, err
	}
	if f.To, err = instantOf(p, "to"); err != nil {
		return out, err
	}
	if f.From.IsZero() {
		return out, wrong("from", "is missing; give the start of the period", "não foi informado; informe o início do período")
	}
	if f.To.IsZero() {
		return out, wrong("to", "is missing; give the end of the period", "não foi informado; informe o fim do período")
	}
	if f.To.Sub(f.From) > rangeMax {
		return out, wrong("from", "the period is longer than 31 days; ask for at most 31 days", "o período tem mais de 31 dias; consulte no máximo 31 dias por vez")
	}
	return timing.Period{From: f.From, To: f.To, Client: f.Client}, nil
}

// lookedAt is the part of a period that there is something to know of. One that is empty or lies ahead is refused.
func (in *Internal) lookedAt(ctx context.Context, p timing.Period) (timing.Period, error) {
	now, err := in.cfg.Clock.Now(ctx)
	if err != nil {
		return p, err
	}
	var problem *notice.Problem
	p.To, problem = history.LookedAt(p.From, p.To, now)
	return p, wrongPeriod(problem)
}

// wrongPeriod is the answer to a period in which nothing can have happened; nil for no problem.
func wrongPeriod(problem *notice.Problem) error {
	if problem == nil {
		return nil
	}
	return wrong(strings.TrimPrefix(problem.Pointer, "/"), problem.Detail, problem.DetailPT)
}

// recordedPeriod is the period that was looked at, as it is recorded.
func recordedPeriod(p timing.Period) map[string]string {
	filter := map[string]string{"from": micros6(p.From), "to": micros6(p.To)}
	if p.Client != "" {
		filter["clientId"] = string(p.Client)
	}
	return filter
}

// getReconciliation shows what the newest reconciliation found.
func (in *Internal) getReconciliation(x *api.Exchange) error {
	r, at, err := in.cfg.Clock.LatestReconciliation(x.R.Context())
	if err != nil {
		return err
	}
	return in.show(x, history.LogReading{Act: "reconciliation", Filter: askedOf(x), Rows: r.Differences}, struct {
		RecordedAt     instant                `json:"recordedAt"`
		Reconciliation history.Reconciliation `json:"reconciliation"`
	}{instant(at), r})
}
