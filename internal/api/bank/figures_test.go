package bank

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/brand"
	"github.com/arauto/arauto/internal/figures"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

// abacus has figures of the hour before now, and keeps what was asked.
type abacus struct {
	asked figures.Ask
	empty bool
}

func (a *abacus) Figures(_ context.Context, ask figures.Ask) (figures.Reading, error) {
	a.asked = ask
	tail := int64(2)
	out := figures.Reading{
		AsOf: figures.AsOf{At: time.Now(), Position: 7, Size: 9, Tail: &tail},
		Rows: make([][]figures.Row, len(ask.Queries)), More: make([]notice.ClientID, len(ask.Queries)), Contacts: map[notice.ClientID]figures.Contact{},
	}
	if a.empty {
		return out, nil
	}
	for i, q := range ask.Queries {
		start := time.Now().Truncate(q.Unit)
		if start.Before(q.From) || !start.Before(q.To) {
			start = q.From
		}
		client := q.Client
		if q.EachClient {
			client, out.More[i] = "itp", "itp"
		}
		out.Rows[i] = []figures.Row{{
			RowKey: figures.RowKey{Start: start.Unix(), Client: client, Kind: ofb.PixPayment},
			Sums:   figures.Sums{"notifications": 4, "first.on-time": 3, "first.late": 1, "cause.receiver": 1, "retry-cause.queue": 2, "event/200": 4, "poll.200": 3, "poll.529": 1, "closed.delivered": 4},
		}}
	}
	out.Contacts["itp"] = figures.Contact{Failures: 3, FailingFrom: time.Now().Add(-time.Minute), LastFailure: time.Now(), Outcome: notice.OutcomeTimeout}
	return out, nil
}

func (a *abacus) Queue(context.Context, notice.ClientID) (history.QueueState, error) {
	return history.QueueState{Waiting: 3, LateNow: 1, Oldest: 2 * time.Second}, nil
}

func figuresWorld(t *testing.T, a *abacus) (*world, *almanac) {
	t.Helper()
	readings := &almanac{}
	return newWorld(t, func(c *InternalConfig) { c.Figures, c.Readings = a, readings }), readings
}

func TestAnOverviewTellsWhatIsKnownAndNothingElse(t *testing.T) {
	w, readings := figuresWorld(t, &abacus{})
	got := w.ask("GET", "/internal/v1/overview", "operator", "")
	require.Equal(t, 200, got.status, got.text)
	var out struct {
		AsOf    struct{ Position, Size, Tail int64 }
		Windows []struct {
			Window  string
			Figures figures.Summary
		}
		Hours, Days []map[string]any
		Queue       map[string]int64
		Down        []map[string]any
		Log         any
		Alarms      []any
	}
	require.NoError(t, json.Unmarshal([]byte(got.text), &out))
	require.EqualValues(t, 7, out.AsOf.Position)
	require.Equal(t, []string{"1h", "24h", "30d"}, []string{out.Windows[0].Window, out.Windows[1].Window, out.Windows[2].Window})
	require.InDelta(t, 0.75, *out.Windows[0].Figures.First.Share, 1e-9)
	require.InDelta(t, 0.75, *out.Windows[2].Figures.Polls.Availability, 1e-9)
	require.Len(t, out.Hours, 24)
	require.Len(t, out.Days, 30)
	require.EqualValues(t, 1, out.Queue["lateNow"])
	require.Len(t, out.Down, 1)
	require.Nil(t, out.Log, "nothing is known of the log")
	require.Len(t, readings.read, 1, "the reading is recorded")
}

// duty is an Operation that answers in the language it is asked in.
type duty struct{}

func (duty) LogState(_ context.Context, portuguese bool) (LogState, error) {
	if portuguese {
		return LogState{Stopped: "o histórico não é selado", Fault: "o log não é o que foi assinado"}, nil
	}
	return LogState{Stopped: "the history is not sealed", Fault: "the log is not what was signed"}, nil
}

func (duty) Alarms(_ context.Context, portuguese bool) ([]Alarm, error) {
	if portuguese {
		return []Alarm{{Name: "ArautoSourceLag", Detail: "core está 9s atrás da origem"}}, nil
	}
	return []Alarm{{Name: "ArautoSourceLag", Detail: "core is 9s behind"}}, nil
}

func TestAnOverviewIsInTheLanguageOfItsReader(t *testing.T) {
	w := newWorld(t, func(c *InternalConfig) { c.Figures, c.Readings, c.Operation = &abacus{}, &almanac{}, duty{} })
	english, portuguese := []string{"core is 9s behind", "the history is not sealed", "the log is not what was signed"}, []string{"core está 9s atrás da origem", "o histórico não é selado", "o log não é o que foi assinado"}
	for language, says := range map[string][]string{"en": english, "pt-BR": portuguese, "": english} {
		got := w.ask("GET", "/internal/v1/overview", "operator", "", "Accept-Language: "+language)
		require.Equal(t, 200, got.status, got.text)
		for _, text := range says {
			require.Contains(t, got.text, text, language)
		}
	}
}

func TestWithoutASampleThereIsNoShareAndNoPercentile(t *testing.T) {
	w, _ := figuresWorld(t, &abacus{empty: true})
	got := w.ask("GET", "/internal/v1/overview", "auditor", "")
	require.Equal(t, 200, got.status, got.text)
	require.Contains(t, got.text, `"onTimeShare":null`)
	require.Contains(t, got.text, `"sinceEvent":{"count":0,"p50Micros":null,"p95Micros":null,"p99Micros":null,"maxMicros":null}`)
	require.Contains(t, got.text, `"availability":null`)
	w.ask("GET", "/internal/v1/initiators/nobody/health", "auditor", "").refused(t, 404, "not_found")
}

func TestStatisticsAreAddedUpByWhatIsAsked(t *testing.T) {
	a := &abacus{}
	w, readings := figuresWorld(t, a)
	period := "&from=2026-11-01T00:00:00Z&to=2026-12-01T00:00:00Z"
	for by, row := range map[string]string{
		"kind":   `"rows":[{"kind":"pix-payment","figures":{`,
		"hour":   `"rows":[{"hour":"2026-11-`,
		"client": `"rows":[{"clientId":"itp","figures":{`,
		"cause":  `"rows":[{"cause":"queue","owner":"us","first":0,"retries":2},{"cause":"receiver","owner":"initiator","first":1,"retries":0}]`,
	} {
		got := w.ask("GET", "/internal/v1/audit/statistics?by="+by+period, "auditor", "")
		require.Equal(t, 200, got.status, got.text)
		require.Contains(t, got.text, row)
		require.Equal(t, by == "client", a.asked.Queries[len(a.asked.Queries)-1].EachClient)
	}
	require.Len(t, readings.read, 4)
	got := w.ask("GET", "/internal/v1/audit/statistics?by=client&cursor=itp"+period, "auditor", "")
	require.Equal(t, 200, got.status)
	require.EqualValues(t, "itp", a.asked.Queries[1].After)
	for query, name := range map[string]string{
		"by=day" + period: "by", "from=2026-11-01T00:00:00Z&to=2026-11-02T00:00:00Z": "by", "by=kind&to=2026-11-02T00:00:00Z": "from",
		"by=kind&from=2026-11-01T00:30:00Z&to=2026-11-02T00:00:00Z": "from", "by=kind&from=2026-11-01T00:00:00Z&to=2026-11-02T00:00:01Z": "to",
		"by=kind&from=2026-11-02T00:00:00Z&to=2026-11-01T00:00:00Z": "to", "by=hour&from=2026-10-01T00:00:00Z&to=2026-11-02T00:00:00Z": "from",
		"by=kind&from=2020-10-01T00:00:00Z&to=2026-11-02T00:00:00Z": "from", "by=client&clientId=itp" + period: "clientId", "by=kind&cursor=itp" + period: "cursor",
		"by=kind&kind=cheque" + period: "kind", "by=client&limit=0" + period: "limit",
	} {
		got := w.ask("GET", "/internal/v1/audit/statistics?"+query, "auditor", "")
		got.refused(t, 400, "invalid_request")
		require.Contains(t, got.text, `"/`+name+`"`, query)
	}
}

// brandAbacus has the sums of four clients of two brands, on two pages.
type brandAbacus struct{ abacus }

func (a *brandAbacus) Figures(ctx context.Context, ask figures.Ask) (figures.Reading, error) {
	out, err := a.abacus.Figures(ctx, ask)
	if q := ask.Queries[0]; q.EachClient {
		clients, more := map[notice.ClientID]int64{"itp": 1, "other": 2}, notice.ClientID("other")
		if q.After == more {
			clients, more = map[notice.ClientID]int64{"prata itp": 4, "prata other": 8}, ""
		}
		out.Rows[0], out.More[0] = nil, more
		for client, n := range clients {
			out.Rows[0] = append(out.Rows[0], figures.Row{RowKey: figures.RowKey{Client: client}, Sums: figures.Sums{"notifications": n}})
		}
	}
	return out, err
}

func TestStatisticsByBrandAddUpTheirClients(t *testing.T) {
	w := newWorld(t, func(c *InternalConfig) {
		c.Figures, c.Readings, c.Brands = &brandAbacus{}, &almanac{}, brand.NewList([]string{"ouro", "prata"}, "ouro")
	})
	got := w.ask("GET", "/internal/v1/audit/statistics?by=brand&from=2026-11-01T00:00:00Z&to=2026-12-01T00:00:00Z", "auditor", "")
	require.Equal(t, 200, got.status, got.text)
	var answer struct {
		Rows []struct {
			Brand   string
			Figures struct{ Notifications int64 }
		}
	}
	require.NoError(t, json.Unmarshal([]byte(got.text), &answer))
	require.Len(t, answer.Rows, 2)
	require.Equal(t, "ouro", answer.Rows[0].Brand, "the original brand has its name")
	require.EqualValues(t, 1+2, answer.Rows[0].Figures.Notifications)
	require.Equal(t, "prata", answer.Rows[1].Brand)
	require.EqualValues(t, 4+8, answer.Rows[1].Figures.Notifications, "of both pages")
	w.ask("GET", "/internal/v1/audit/statistics?by=brand&clientId=itp&from=2026-11-01T00:00:00Z&to=2026-12-01T00:00:00Z", "auditor", "").refused(t, 400, "invalid_request")
}

// compass finds what a test sets.
type compass struct{ found history.Found }

func (c *compass) Find(context.Context, string) (history.Found, error) { return c.found, nil }

func TestWhatIsLookedForIsRecordedOnlyAsFarAsTheHistoryHasIt(t *testing.T) {
	c, readings := &compass{history.Found{Mark: "0a0b"}}, &almanac{}
	w := newWorld(t, func(config *InternalConfig) { config.Finder, config.Readings = c, readings })
	got := w.ask("GET", "/internal/v1/find?q=12345678909", "operator", "")
	require.Equal(t, 200, got.status, got.text)
	require.JSONEq(t, `{"hits":[],"more":false}`, got.text)
	require.Equal(t, map[string]string{"path": "/internal/v1/find", "q": "digest 0a0b"}, readings.read[0].Filter, "it may be a person's")
	c.found.Hits = []history.Hit{{Type: history.HitEndToEnd, ID: "E1", Kind: ofb.PixPayment, ResourceID: "a/b", Client: "itp"}}
	got = w.ask("GET", "/internal/v1/find?q=E1", "operator", "")
	require.Contains(t, got.text, `"href":"/internal/v1/resources/pix-payment/a%2Fb"`)
	require.Equal(t, "digest 0a0b", readings.read[1].Filter["q"])
	c.found.Hits = []history.Hit{{Type: history.HitClient, ID: "itp", Client: "itp", Name: "Name"}}
	got = w.ask("GET", "/internal/v1/find?q=+itp+", "auditor", "")
	require.Contains(t, got.text, `"href":"/internal/v1/initiators/itp/health"`)
	require.Equal(t, "itp", readings.read[2].Filter["q"])
	for _, q := range []string{"", "q=", "q=%20", "q=a%00b"} {
		got := w.ask("GET", "/internal/v1/find?"+q, "operator", "")
		got.refused(t, 400, "invalid_request")
		require.Contains(t, got.text, `"/q"`)
	}
}
