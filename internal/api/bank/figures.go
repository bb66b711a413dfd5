package bank

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/arauto/arauto/internal/api"
	"github.com/arauto/arauto/internal/brand"
	"github.com/arauto/arauto/internal/figures"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/timing"
)

// FiguresReader reads sums over time; *auditlog.Log does.
type FiguresReader interface {
	Figures(ctx context.Context, ask figures.Ask) (figures.Reading, error)
	// Queue tells what waits, of one client or of all ("").
	Queue(ctx context.Context, client notice.ClientID) (history.QueueState, error)
}

// Operation is what the process knows of the log and of alarms; package gateway's.
type Operation interface {
	// LogState tells how far the log is sealed, anchored and verified.
	// Texts are in Portuguese or in English.
	LogState(ctx context.Context, portuguese bool) (LogState, error)
	// Alarms lists the alarms that this process knows to be raised, by name. Others need a monitoring system.
	Alarms(ctx context.Context, portuguese bool) ([]Alarm, error)
}

// LogState is how far the log is sealed, anchored and verified. Zero members are not known.
type LogState struct {
	Size            int64
	SealedAt        time.Time // the newest checkpoint was signed
	AnchoredThrough time.Time // entries before are covered by a checkpoint that every anchor of a replica has
	AnchoredAt      time.Time // the newest such checkpoint was signed then
	Stopped         string    // why this replica does not seal; "": it does, or another one does
	VerifiedThrough int64     // entries verified by the product itself
	VerifiedAt      time.Time // the last verification without a finding ended
	Fault           string    // what a verification found and none has superseded; "": nothing
}

// Alarm is an alarm rule whose condition holds.
type Alarm struct {
	Name    string `json:"name"`    // as in docs/operations/deploy/arauto.rules.yaml
	Runbook string `json:"runbook"` // the page that says what to do, from the root of the documentation
	Detail  string `json:"detail"`  // for people, in the language of the caller
}

// figureRoutes are what there is to know of a period.
func (in *Internal) figureRoutes() []api.Route {
	reading := []string{roleOperator, roleAuditor}
	return []api.Route{
		route(http.MethodGet, "/internal/v1/find", reading, in.traced(in.getFind)),
		route(http.MethodGet, "/internal/v1/overview", reading, plain(in.getOverview)),
		route(http.MethodGet, "/internal/v1/initiators/{clientId}/health", reading, plain(in.getHealth, byBrand)),
		route(http.MethodGet, "/internal/v1/audit/statistics", reading, in.traced(in.getStatistics)),
		route(http.MethodGet, "/internal/v1/audit/polling", reading, in.traced(in.getPolling)),
	}
}

// asOfJSON says how much of the log figures rest on.
type asOfJSON struct {
	At       *instant `json:"at"`         // null: nothing is counted yet
	Position int64    `json:"position"`   // entries of the log that are in the stored sums
	Size     int64    `json:"size"`       // entries of the log
	Whole    *instant `json:"wholeSince"` // since then the log has every entry; null: nothing is sealed
	Tail     *int64   `json:"tail"`       // later entries that are counted too; null: they are too many, and missing
}

func asOf(a figures.AsOf) asOfJSON {
	return asOfJSON{instantOrNull(a.At), a.Position, a.Size, instantOrNull(a.Whole), a.Tail}
}

type windowJSON struct {
	Window  string          `json:"window"` // 1h, 24h, 30d
	From    instant         `json:"from"`
	To      instant         `json:"to"`
	Figures figures.Summary `json:"figures"`
}

// pointJSON is one point of a chart.
type pointJSON struct {
	Start        instant             `json:"start"`
	ByKind       map[string]kindJSON `json:"byKind"`
	OnTimeShare  *float64            `json:"onTimeShare"`
	SinceEvent   timing.Percentiles  `json:"sinceEvent"`
	Answer       timing.Percentiles  `json:"answer"`
	Polls        int64               `json:"polls"`
	Availability *float64            `json:"availability"`
}

type kindJSON struct {
	Changes       int64 `json:"changes"`
	Notifications int64 `json:"notifications"`
	Delivered     int64 `json:"delivered"`
	Exhausted     int64 `json:"exhausted"`
	Late          int64 `json:"late"`
	Polls         int64 `json:"polls"`
}

type queueJSON struct {
	Waiting       int64 `json:"waiting"`
	InFlight      int64 `json:"inFlight"`
	LateNow       int64 `json:"lateNow"` // first attempts that have not begun 1.5 s after their event; 10,000 stands for more
	OldestSeconds int64 `json:"oldestSeconds"`
}

func queueOf(q history.QueueState) queueJSON {
	return queueJSON{q.Waiting, q.InFlight, q.LateNow, int64(q.Oldest.Seconds())}
}

type downJSON struct {
	ClientID    notice.ClientID `json:"clientId"`
	Name        *string         `json:"name"`
	Failures    int64           `json:"failures"` // attempts since the last success
	Since       *instant        `json:"since"`    // the first of them
	LastFailure *instant        `json:"lastFailureAt"`
	LastSuccess *instant        `json:"lastSuccessAt"` // null: none is known
	LastOutcome notice.Outcome  `json:"lastOutcome"`
}

type logStateJSON struct {
	Size            int64    `json:"size"`
	SealedAt        *instant `json:"sealedAt"`
	AnchoredThrough *instant `json:"anchoredThrough"`
	AnchoredAt      *instant `json:"anchoredCheckpointAt"`
	Stopped         *string  `json:"stopped"`
	VerifiedThrough int64    `json:"verifiedThrough"`
	VerifiedAt      *instant `json:"verifiedAt"`
	Fault           *string  `json:"fault"`
}

type overviewJSON struct {
	AsOf         asOfJSON          `json:"asOf"`
	Windows      []windowJSON      `json:"windows"`
	Hours        []pointJSON       `json:"hours"` // the last 24, the one that is not over included
	Days         []pointJSON       `json:"days"`  // the last 30, in UTC
	Queue        queueJSON         `json:"queue"`
	Down         []downJSON        `json:"down"`
	Sources      []sourceJSON      `json:"sources"`
	Log          *logStateJSON     `json:"log"`          // null: not known
	Certificates []certificateJSON `json:"certificates"` // of ours, those that end within 30 days
	Receivers    []receiverJSON    `json:"receivers"`    // of initiators' endpoints, those, and those that are not accepted
	Alarms       []Alarm           `json:"alarms"`
}

// What an overview shows.
const (
	downAfter     = 3 // attempts that failed one after the other
	downWithin    = 24 * time.Hour
	expiresWithin = 30 // days
	pageHours     = 24
	pageDays      = 30
)

// getOverview tells whether everything is all right now.
func (in *Internal) getOverview(x *api.Exchange) error {
	ctx, cancel := context.WithTimeout(x.R.Context(), breachesWithin)
	defer cancel()
	now := x.Began.UTC()
	hour := now.Truncate(time.Hour)
	day := time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, time.UTC).AddDate(0, 0, 1-pageDays)
	end := hour.Add(time.Hour)
	minutes := figures.Query{From: now.Add(-time.Hour).Truncate(time.Minute), To: end, Unit: figures.Minutely}
	dayAgo := hour.Add(-(pageHours - 1) * time.Hour)
	r, err := in.cfg.Figures.Figures(ctx, figures.Ask{Failing: downAfter, Queries: []figures.Query{minutes, {From: dayAgo, To: end, Unit: figures.Hourly}, {From: day, To: end, Unit: figures.Daily}}})
	if err != nil {
		return in.tooLong(ctx, x, err)
	}
	out := overviewJSON{
		AsOf: asOf(r.AsOf),
		Windows: []windowJSON{
			{"1h", instant(minutes.From), instant(now), figures.Total(r.Rows[0]).Summary()},
			{"24h", instant(dayAgo), instant(now), figures.Total(r.Rows[1]).Summary()},
			{"30d", instant(day), instant(now), figures.Total(r.Rows[2]).Summary()},
		},
		Hours: pointsOf(r.Rows[1], dayAgo, end, time.Hour), Days: pointsOf(r.Rows[2], day, end, 24*time.Hour),
		Down: in.down(ctx, r.Contacts, now), Sources: []sourceJSON{}, Alarms: []Alarm{},
	}
	queue, err := in.cfg.Figures.Queue(ctx, "")
	if err != nil {
		return err
	}
	out.Queue = queueOf(queue)
	if err := in.operation(ctx, &out, wantsPortuguese(x.R)); err != nil {
		return err
	}
	in.expiring(&out, now)
	return in.view(x, 1, out)
}

// operation adds what the process knows beside the history.
func (in *Internal) operation(ctx context.Context, out *overviewJSON, portuguese bool) error {
	if in.cfg.Sources != nil {
		all, err := in.cfg.Sources.Sources(ctx)
		if err != nil {
			return err
		}
		out.Sources = listed(all, sourceOf)
	}
	if in.cfg.Operation == nil {
		return nil
	}
	s, err := in.cfg.Operation.LogState(ctx, portuguese)
	if err != nil {
		return err
	}
	out.Log = &logStateJSON{
		s.Size, instantOrNull(s.SealedAt), instantOrNull(s.AnchoredThrough), instantOrNull(s.AnchoredAt), orNull(s.Stopped), s.VerifiedThrough, instantOrNull(s.VerifiedAt), orNull(s.Fault),
	}
	out.Alarms, err = in.cfg.Operation.Alarms(ctx, portuguese)
	return err
}

// expiring adds the certificates that end soon.
func (in *Internal) expiring(out *overviewJSON, now time.Time) {
	out.Certificates, out.Receivers = []certificateJSON{}, []receiverJSON{}
	for _, c := range certificatesOf(in.cfg.Calendar, now) {
		if c.DaysLeft < expiresWithin {
			out.Certificates = append(out.Certificates, c)
		}
	}
	for _, c := range receiversOf(in.cfg.Calendar, now) {
		if c.DaysLeft < expiresWithin || c.Wrong != nil {
			out.Receivers = append(out.Receivers, c)
		}
	}
}

// down lists the clients whose last attempts failed, the longest first.
func (in *Internal) down(ctx context.Context, contacts map[notice.ClientID]figures.Contact, now time.Time) []downJSON {
	out := []downJSON{}
	for client, c := range contacts {
		if c.Failures >= downAfter && now.Sub(c.LastFailure) < downWithin {
			out = append(out, contactOf(client, c))
		}
	}
	slices.SortFunc(out, func(a, b downJSON) int {
		return cmp.Or(time.Time(*a.Since).Compare(time.Time(*b.Since)), cmp.Compare(a.ClientID, b.ClientID))
	})
	for i := range out[:min(len(out), 100)] {
		if initiator, err := in.cfg.Initiators.Get(ctx, out[i].ClientID); err == nil {
			out[i].Name = orNull(initiator.Name)
		}
	}
	return out
}

func contactOf(client notice.ClientID, c figures.Contact) downJSON {
	return downJSON{
		ClientID: client, Failures: c.Failures, Since: instantOrNull(c.FailingFrom), LastFailure: instantOrNull(c.LastFailure),
		LastSuccess: instantOrNull(c.LastSuccess), LastOutcome: c.Outcome,
	}
}

// pointsOf makes the points of a chart, one a step, also where there is nothing.
func pointsOf(rows []figures.Row, from, to time.Time, step time.Duration) []pointJSON {
	sums := map[int64]map[ofb.Kind]figures.Sums{}
	seconds := int64(step / time.Second)
	for _, row := range rows {
		start := from.Unix() + (row.Start-from.Unix())/seconds*seconds
		if sums[start] == nil {
			sums[start] = map[ofb.Kind]figures.Sums{}
		}
		if sums[start][row.Kind] == nil {
			sums[start][row.Kind] = figures.Sums{}
		}
		sums[start][row.Kind].Add(row.Sums)
	}
	out := []pointJSON{}
	for at := from; at.Before(to); at = at.Add(step) {
		total, p := figures.Sums{}, pointJSON{Start: instant(at), ByKind: map[string]kindJSON{}}
		for kind, of := range sums[at.Unix()] {
			total.Add(of)
			if kind == 0 {
				continue
			}
			s := of.Summary()
			p.ByKind[kind.String()] = kindJSON{s.Changes, s.Notifications, s.Closed["delivered"], s.Closed["exhausted"], s.First.Late, s.Polls.Total}
		}
		s := total.Summary()
		p.OnTimeShare, p.SinceEvent, p.Answer, p.Polls, p.Availability = s.First.Share, s.First.SinceEvent, s.Answer, s.Polls.Total, s.Polls.Availability
		out = append(out, p)
	}
	return out
}

type healthJSON struct {
	AsOf         asOfJSON       `json:"asOf"`
	Initiator    *initiatorJSON `json:"initiator"` // null: it was never registered
	Windows      []windowJSON   `json:"windows"`   // 24h, 30d
	Hours        []pointJSON    `json:"hours"`
	Days         []pointJSON    `json:"days"`
	Contact      *downJSON      `json:"contact"` // null: no attempt is recorded
	Down         bool           `json:"down"`
	Queue        queueJSON      `json:"queue"`
	Certificates []receiverJSON `json:"certificates"` // of its endpoint, as they were seen last
}

// getHealth is the scorecard of one initiator.
func (in *Internal) getHealth(x *api.Exchange) error {
	client, err := in.clientOf(x)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(x.R.Context(), breachesWithin)
	defer cancel()
	now := x.Began.UTC()
	hour := now.Truncate(time.Hour)
	day := time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, time.UTC).AddDate(0, 0, 1-pageDays)
	r, err := in.cfg.Figures.Figures(ctx, figures.Ask{Contact: client, Queries: []figures.Query{{From: day, To: hour.Add(time.Hour), Unit: figures.Hourly, Client: client}}})
	if err != nil {
		return in.tooLong(ctx, x, err)
	}
	out := healthJSON{AsOf: asOf(r.AsOf), Certificates: []receiverJSON{}}
	registered, err := in.cfg.Initiators.Get(ctx, client)
	switch {
	case err == nil:
		known := in.initiatorOf(&registered)
		out.Initiator = &known
	case faultOf(err).Status != http.StatusNotFound:
		return err
	case len(r.Rows[0]) == 0 && len(r.Contacts) == 0:
		return err
	}
	dayAgo := hour.Add(-(pageHours - 1) * time.Hour)
	hours := slices.DeleteFunc(slices.Clone(r.Rows[0]), func(row figures.Row) bool { return row.Start < dayAgo.Unix() })
	out.Windows = []windowJSON{
		{"24h", instant(dayAgo), instant(now), figures.Total(hours).Summary()},
		{"30d", instant(day), instant(now), figures.Total(r.Rows[0]).Summary()},
	}
	out.Hours, out.Days = pointsOf(hours, dayAgo, hour.Add(time.Hour), time.Hour), pointsOf(r.Rows[0], day, hour.Add(time.Hour), 24*time.Hour)
	if c, there := r.Contacts[client]; there {
		contact := contactOf(client, c)
		out.Contact, out.Down = &contact, c.Failures >= downAfter && now.Sub(c.LastFailure) < downWithin
		if out.Initiator != nil {
			contact.Name = orNull(out.Initiator.Name)
		}
	}
	queue, err := in.cfg.Figures.Queue(ctx, client)
	if err != nil {
		return err
	}
	out.Queue = queueOf(queue)
	for _, c := range receiversOf(in.cfg.Calendar, now) {
		if c.ClientID == client {
			out.Certificates = append(out.Certificates, c)
		}
	}
	return in.view(x, 1, out)
}

// statisticsMost is the longest period of one call, and hoursMost that of one by hour.
const (
	statisticsMost = 400 * 24 * time.Hour
	hoursMost      = rangeMax
)

type statisticsJSON struct {
	AsOf       asOfJSON        `json:"asOf"`
	From       instant         `json:"from"`
	To         instant         `json:"to"`
	By         string          `json:"by"`
	Total      figures.Summary `json:"total"` // of all rows of the period, those of other pages included
	Rows       []statisticJSON `json:"rows"`
	NextCursor *string         `json:"nextCursor"`
}

// statisticJSON is one row: one of the first five members names it.
type statisticJSON struct {
	ClientID *notice.ClientID `json:"clientId,omitzero"`
	Brand    *string          `json:"brand,omitzero"` // "": the only one
	Kind     *string          `json:"kind,omitzero"`
	Hour     *instant         `json:"hour,omitzero"`
	Cause    *string          `json:"cause,omitzero"`
	Owner    timing.Owner     `json:"owner,omitzero"`   // of a cause: who can act on it
	First    *int64           `json:"first,omitzero"`   // of a cause: late first attempts
	Retries  *int64           `json:"retries,omitzero"` // of a cause: late second and third attempts
	Figures  *figures.Summary `json:"figures,omitzero"`
}

// getStatistics adds up a period by client, brand, kind, hour or cause.
func (in *Internal) getStatistics(x *api.Exchange) error {
	q, by, err := statisticsAsked(x.R.URL.RawQuery, in.cfg.Brands)
	if err != nil {
		return err
	}
	if problem := history.Begun(q.From, x.Began); problem != nil {
		return wrong("from", problem.Detail, problem.DetailPT)
	}
	ctx, cancel := context.WithTimeout(x.R.Context(), breachesWithin)
	defer cancel()
	ask := figures.Ask{Queries: []figures.Query{{From: q.From, To: q.To, Unit: q.Unit, Client: q.Client, Kind: q.Kind}}}
	if by == "client" {
		ask.Queries = append(ask.Queries, q)
	}
	r, err := in.cfg.Figures.Figures(ctx, ask)
	if err != nil {
		return in.tooLong(ctx, x, err)
	}
	out := statisticsJSON{AsOf: asOf(r.AsOf), From: instant(q.From), To: instant(q.To), By: by, Total: figures.Total(r.Rows[0]).Summary(), Rows: []statisticJSON{}}
	switch by {
	case "client":
		for client, s := range grouped(r.Rows[1], func(k figures.RowKey) notice.ClientID { return k.Client }) {
			out.Rows = append(out.Rows, statisticJSON{ClientID: &client, Figures: s})
		}
		slices.SortFunc(out.Rows, func(a, b statisticJSON) int { return cmp.Compare(*a.ClientID, *b.ClientID) })
		out.NextCursor = orNull(string(r.More[1]))
	case byBrand:
		if out.Rows, err = in.brandStatistics(ctx, q); err != nil {
			return in.tooLong(ctx, x, err)
		}
	case "kind":
		for kind, s := range grouped(r.Rows[0], func(k figures.RowKey) ofb.Kind { return k.Kind }) {
			if kind != 0 {
				name := kind.String()
				out.Rows = append(out.Rows, statisticJSON{Kind: &name, Figures: s})
			}
		}
		slices.SortFunc(out.Rows, func(a, b statisticJSON) int { return cmp.Compare(*a.Kind, *b.Kind) })
	case "hour":
		for start, s := range grouped(r.Rows[0], func(k figures.RowKey) int64 { return k.Start }) {
			hour := instant(time.Unix(start, 0))
			out.Rows = append(out.Rows, statisticJSON{Hour: &hour, Figures: s})
		}
		slices.SortFunc(out.Rows, func(a, b statisticJSON) int { return time.Time(*a.Hour).Compare(time.Time(*b.Hour)) })
	case "cause":
		out.Rows = byCause(&out.Total)
	}
	filter := askedOf(x)
	return in.show(x, history.LogReading{Act: "statistics", Filter: filter, Rows: int64(len(out.Rows))}, out)
}

// brandStatistics adds up the sums of clients by their brands, a page of clients at a time.
func (in *Internal) brandStatistics(ctx context.Context, q figures.Query) ([]statisticJSON, error) {
	var rows []figures.Row
	for q.EachClient, q.Limit = true, limitMax; ; {
		r, err := in.cfg.Figures.Figures(ctx, figures.Ask{Queries: []figures.Query{q}})
		if err != nil {
			return nil, err
		}
		rows = append(rows, r.Rows[0]...)
		if q.After = r.More[0]; q.After == "" {
			break
		}
	}
	out := []statisticJSON{}
	for of, s := range grouped(rows, func(k figures.RowKey) brand.Prefix { return brand.Of(k.Client) }) {
		name := in.cfg.Brands.NameOf(of)
		out = append(out, statisticJSON{Brand: &name, Figures: s})
	}
	slices.SortFunc(out, func(a, b statisticJSON) int { return cmp.Compare(*a.Brand, *b.Brand) })
	return out, nil
}

// grouped adds up rows that have something in common.
func grouped[T comparable](rows []figures.Row, by func(figures.RowKey) T) map[T]*figures.Summary {
	sums := map[T]figures.Sums{}
	for i := range rows {
		k := by(rows[i].RowKey)
		if sums[k] == nil {
			sums[k] = figures.Sums{}
		}
		sums[k].Add(rows[i].Sums)
	}
	out := make(map[T]*figures.Summary, len(sums))
	for k, s := range sums {
		summary := s.Summary()
		out[k] = &summary
	}
	return out
}

// byCause lists causes, the most frequent first.
func byCause(total *figures.Summary) []statisticJSON {
	all := map[string]bool{}
	for cause := range total.First.Causes {
		all[cause] = true
	}
	for cause := range total.Retries.Causes {
		all[cause] = true
	}
	out := []statisticJSON{}
	for cause := range all {
		first, retries := total.First.Causes[cause], total.Retries.Causes[cause]
		out = append(out, statisticJSON{Cause: &cause, Owner: timing.OwnerOf(notice.Delay(cause)), First: &first, Retries: &retries})
	}
	slices.SortFunc(out, func(a, b statisticJSON) int {
		return cmp.Or(cmp.Compare(*b.First+*b.Retries, *a.First+*a.Retries), cmp.Compare(*a.Cause, *b.Cause))
	})
	return out
}

// statisticsAsked reads which sums are wanted.
func statisticsAsked(raw string, brands brand.List) (q figures.Query, by string, err error) {
	p, err := parameters(raw, "by", "from", "to", "clientId", "kind", "limit", "cursor")
	if err != nil {
		return q, "", err
	}
	if by = p["by"]; !slices.Contains([]string{"client", byBrand, "kind", "hour", "cause"}, by) {
		return q, "", wrong("by", "must be client, brand, kind, hour or cause", "deve ser client, brand, kind, hour ou cause")
	}
	limit, err := limitOf(p)
	if err != nil {
		return q, "", err
	}
	var f history.Filter
	if err := whatOf(&f, p, brands); err != nil {
		return q, "", err
	}
	q = figures.Query{Unit: figures.Daily, Client: f.Client, Kind: f.Kind}
	if q.From, err = wholeHour(p, "from"); err != nil {
		return q, "", err
	}
	if q.To, err = wholeHour(p, "to"); err != nil {
		return q, "", err
	}
	most := statisticsMost
	if by == "hour" {
		most, q.Unit = hoursMost, figures.Hourly
	}
	switch days := int(most.Hours() / 24); {
	case q.To.Before(q.From):
		return q, "", wrong("to", "must not be before from", "não pode ser anterior a from")
	case q.To.Sub(q.From) > most:
		return q, "", wrong("from", fmt.Sprintf("the period is longer than %d days; ask for at most %d", days, days),
			fmt.Sprintf("o período tem mais de %d dias; consulte no máximo %d por vez", days, days))
	case by == "client" && q.Client != "":
		return q, "", wrong("clientId", "does not go with by=client; leave one of them out", "não combina com by=client; omita um dos dois")
	case by == byBrand && q.Client != "":
		return q, "", wrong("clientId", "does not go with by=brand; leave one of them out", "não combina com by=brand; omita um dos dois")
	case by != "client" && p["cursor"] != "":
		return q, "", wrong("cursor", "goes with by=client alone; omit it", "só combina com by=client; omita-o")
	}
	if by == "client" {
		q.EachClient, q.Limit, q.After = true, limit, notice.ClientID(p["cursor"])
		if p["cursor"] != "" && !notice.ValidClientKey(brands, p["cursor"]) {
			return q, "", wrongCursor()
		}
	}
	return q, by, nil
}

// wholeHour reads an instant at which an hour begins: sums are kept by hour.
func wholeHour(p map[string]string, name string) (time.Time, error) {
	if p[name] == "" {
		return time.Time{}, wrong(name, "is missing; give a full hour, such as 2026-11-21T12:00:00Z", "não foi informado; informe uma hora cheia, como 2026-11-21T12:00:00Z")
	}
	t, err := instantOf(p, name)
	if err != nil {
		return t, err
	}
	if !t.Equal(t.Truncate(time.Hour)) {
		return t, wrong(name, "must be a full hour, such as 2026-11-21T12:00:00Z: sums are kept by hour", "deve ser uma hora cheia, como 2026-11-21T12:00:00Z: as somas são guardadas por hora")
	}
	return t, nil
}
