package bank

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/figures"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
)

func TestTheListOfInitiatorsHasPagesThatTogetherShowEachOnce(t *testing.T) {
	w := newWorld(t)
	var all []notice.Initiator
	for i := range 2345 {
		all = append(all, notice.Initiator{Client: notice.ClientID(fmt.Sprintf("client/%04d", i))})
	}
	w.shelf.list = func(q notice.InitiatorQuery) (page []notice.Initiator, err error) {
		require.Equal(t, "Beta Pagamentos", q.Text)
		for _, in := range all {
			if in.Client > q.After && len(page) < q.Limit {
				page = append(page, in)
			}
		}
		return page, nil
	}
	seen, pages := 0, 0
	for cursor := ""; ; pages++ {
		got := w.ask("GET", "/internal/v1/initiators?q=Beta+Pagamentos"+cursor, "auditor", "")
		require.Equal(t, 200, got.status, got.text)
		list := got.body["initiators"].([]any)
		require.LessOrEqual(t, len(list), 1000, "the default is bounded")
		for _, one := range list {
			require.Equal(t, string(all[seen].Client), one.(map[string]any)["clientId"])
			seen++
		}
		next, more := got.body["nextCursor"]
		if !more {
			break
		}
		cursor = "&cursor=" + next.(string)
	}
	require.Equal(t, len(all), seen)
	require.Equal(t, 2, pages)
}

// counted are the figures of a test.
type counted struct{ figures.Reading }

func (c counted) Figures(_ context.Context, ask figures.Ask) (figures.Reading, error) {
	for len(c.Rows) < len(ask.Queries) {
		c.Rows = append(c.Rows, nil)
	}
	return c.Reading, nil
}

func (counted) Queue(context.Context, notice.ClientID) (history.QueueState, error) {
	return history.QueueState{}, nil
}

func TestTheListOfInitiatorsTellsWhoDoesNotAnswer(t *testing.T) {
	w := newWorld(t)
	const path = "/internal/v1/initiators"
	w.ask("GET", path+"?figures=24h", "operator", "").refused(t, 404, "not_found")
	now := time.Now()
	w.api.cfg.Figures = counted{figures.Reading{
		Rows: [][]figures.Row{
			{{Sums: figures.Sums{"silent.unknown-client": 3}}},
			{{RowKey: figures.RowKey{Client: "b"}, Sums: figures.Sums{"notifications": 10, "closed.exhausted": 4, "first.on-time": 9, "first.late": 1}}},
		},
		Contacts: map[notice.ClientID]figures.Contact{
			"a": {LastSuccess: now}, "b": {Failures: 7, FailingFrom: now.Add(-time.Hour), LastFailure: now}, "gone": {Failures: 9, LastFailure: now.Add(-48 * time.Hour)},
		},
	}}
	known := map[notice.ClientID]notice.Initiator{"a": {Client: "a", Push: true}, "b": {Client: "b", Push: true}}
	w.shelf.list = func(notice.InitiatorQuery) ([]notice.Initiator, error) {
		return []notice.Initiator{known["a"], known["b"]}, nil
	}
	w.shelf.get = func(client notice.ClientID) (notice.Initiator, error) {
		if in, there := known[client]; there {
			return in, nil
		}
		return notice.Initiator{}, errMissing
	}
	got := w.ask("GET", path+"?figures=24h", "operator", "")
	require.Equal(t, 200, got.status, got.text)
	require.EqualValues(t, 1, got.body["down"])
	require.EqualValues(t, 3, got.body["unknownChanges"])
	list := got.body["initiators"].([]any)
	a, b := list[0].(map[string]any)["health"].(map[string]any), list[1].(map[string]any)["health"].(map[string]any)
	require.Equal(t, []any{false, nil, true, 7.0, 0.9, 4.0}, []any{a["down"], a["onTimeShare"], b["down"], b["failures"], b["onTimeShare"], b["exhausted"]})
	down := w.ask("GET", path+"?figures=24h&down=true", "operator", "")
	require.Len(t, down.body["initiators"], 1)
	require.Contains(t, down.text, `"clientId":"b"`)
	for _, query := range []string{"figures=1h", "down=false", "down=true&q=x"} {
		w.ask("GET", path+"?"+query, "operator", "").refused(t, 400, "invalid_request")
	}
}
