package bank

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/figures"
)

// polled is a report of polling that is asked for.
type polled struct {
	from, to time.Time
	begun    chan struct{} // told of each call; nil: nobody
	let      chan struct{}
}

func (p *polled) Polling(_ context.Context, from, to time.Time) (figures.PollingReport, error) {
	p.from, p.to = from, to
	if p.begun != nil {
		p.begun <- struct{}{}
		<-p.let
	}
	return figures.PollingReport{Clients: []figures.PollingClient{{PollingSums: figures.PollingSums{Client: "itp", Queries: 3, Before: 3}}}}, nil
}

func TestTheReportOfPollingIsOfAMonthOfBrasiliaAndRecorded(t *testing.T) {
	w := newWorld(t)
	p := &polled{}
	w.api.cfg.Polling = p
	got := w.ask("GET", "/internal/v1/audit/polling?month=2026-11", "auditor", "")
	require.Equal(t, http.StatusOK, got.status, got.text)
	require.True(t, p.from.Equal(time.Date(2026, 11, 1, 3, 0, 0, 0, time.UTC)), "%s", p.from)
	require.True(t, p.to.Equal(time.Date(2026, 12, 1, 3, 0, 0, 0, time.UTC)), "%s", p.to)
	require.Contains(t, got.text, `"clientId":"itp"`)
	require.Contains(t, got.text, `"avoided":null`)
	readings := w.shelf.recorded()
	require.Equal(t, "polling", readings[len(readings)-1].Act)
	require.EqualValues(t, 1, readings[len(readings)-1].Rows)
	for _, wrong := range []string{"", "?month=november", "?month=2026-13", "?month=2026-11&format=csv"} {
		require.Equal(t, http.StatusBadRequest, w.ask("GET", "/internal/v1/audit/polling"+wrong, "auditor", "").status, wrong)
	}

	p.begun, p.let = make(chan struct{}), make(chan struct{})
	first := make(chan int)
	go func() { first <- w.ask("GET", "/internal/v1/audit/polling?month=2026-10", "operator", "").status }()
	<-p.begun
	require.Equal(t, http.StatusServiceUnavailable, w.ask("GET", "/internal/v1/audit/polling?month=2026-10", "operator", "").status, "one at a time")
	close(p.let)
	require.Equal(t, http.StatusOK, <-first)
}
