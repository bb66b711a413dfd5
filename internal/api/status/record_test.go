package status_test

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/api/status"
	"github.com/arauto/arauto/internal/lab/openapitest"
	"github.com/arauto/arauto/internal/lab/storetest"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/spool"
)

// exec runs a statement as the owner of the database.
func (d *desk) exec(statement string) {
	d.t.Helper()
	conn, err := pgx.Connect(d.t.Context(), d.url)
	require.NoError(d.t, err)
	defer conn.Close(context.Background())
	_, err = conn.Exec(d.t.Context(), statement)
	require.NoError(d.t, err)
}

// holdHistory keeps everybody else from writing to the history until the returned function is called.
func (d *desk) holdHistory() (release func()) {
	d.t.Helper()
	conn, err := pgx.Connect(d.t.Context(), d.url)
	require.NoError(d.t, err)
	_, err = conn.Exec(d.t.Context(), "BEGIN; LOCK TABLE arauto.entry IN SHARE ROW EXCLUSIVE MODE")
	require.NoError(d.t, err)
	return sync.OnceFunc(func() { conn.Close(context.Background()) })
}

// usualPatience lets polls wait for the history as long as in production.
func usualPatience(_ *status.PublicConfig, s *spool.Config) { s.Patience = 0 }

// outcomes maps the interaction id of each recorded poll to its outcome; an id that was recorded twice fails the test.
func (d *desk) outcomes() map[string]string {
	d.t.Helper()
	found := map[string]string{}
	for _, e := range d.entries() {
		require.NotContains(d.t, found, e.interaction, "recorded twice")
		found[e.interaction] = e.outcome
	}
	return found
}

// TestEveryAnswerIsRecordedBeforeItIsSeen asks for right and wrong things at once and looks for the record with the answer
// in hand.
func TestEveryAnswerIsRecordedBeforeItIsSeen(t *testing.T) {
	d := openDesk(t).both()

	id, document := sample(ofb.PixPayment, "v4", ofb.ACSC, 1)
	d.accept(clientAlfa, ofb.PixPayment, "v4", 1, document)
	const payments = "/open-banking/payments/v4/pix/payments/"
	cases := []struct {
		path    string
		outcome string
		change  func(*http.Request)
	}{
		{payments + id, "200", with("Accept", "*/*")},
		{payments + openapitest.SampleID(ofb.PixPayment, 2), "404", with("Accept", "*/*")},
		{payments + "bad_id", "400", with("Accept", "*/*")},
		{payments + id, "401", withToken("bad")},
		{payments + id, "403", withToken(d.alfa.token(set("scope", "openid")))},
		{payments + id, "406", with("Accept", "text/plain")},
		{"/nowhere", "404", with("Accept", "*/*")},
		{payments + id, "405", func(r *http.Request) { r.Method = http.MethodPost }},
	}
	var asking sync.WaitGroup
	for round := range 8 {
		for _, c := range cases {
			asking.Go(func() {
				interaction := uuid.NewString()
				d.alfa.get(c.path, with("x-fapi-interaction-id", interaction), c.change)
				for _, e := range d.entries() {
					if e.interaction == interaction {
						if e.outcome != c.outcome {
							t.Errorf("%s is recorded as %s, not %s", c.path, e.outcome, c.outcome)
						}
						return
					}
				}
				t.Errorf("round %d: no record of %s %s", round, c.outcome, c.path)
			})
		}
	}
	asking.Wait()
	d.outcomes()
}

// TestPollsAreSpooledWhileTheHistoryHangs: the only exception to recording in the database first (design, "Polls").
func TestPollsAreSpooledWhileTheHistoryHangs(t *testing.T) {
	d := openDesk(t, usualPatience).both()
	id, document := sample(ofb.PixPayment, "v4", ofb.ACSC, 1)
	d.accept(clientAlfa, ofb.PixPayment, "v4", 1, document)
	path := "/open-banking/payments/v4/pix/payments/" + id
	want := map[string]string{}
	ask := func() (first, last time.Duration) {
		var asking sync.WaitGroup
		tokens, took := make([]string, 5), make([]time.Duration, 5)
		for n := range tokens {
			tokens[n] = d.alfa.token()
		}
		began := time.Now() // those who wait go to the spool together, after the patience of the first
		for n, token := range tokens {
			interaction := uuid.NewString()
			want[interaction] = "200"
			asking.Go(func() {
				a := d.alfa.get(path, with("x-fapi-interaction-id", interaction), withToken(token))
				took[n] = time.Since(began)
				d.open(a)
			})
		}
		asking.Wait()
		return slices.Min(took), slices.Max(took)
	}
	ask() // so that their connections stand
	recorded := func() bool { files, _, _ := d.spool.Stat(); return files == 0 }
	require.Eventually(t, recorded, time.Minute, time.Millisecond)
	release := d.holdHistory()
	defer release()
	before := len(want)
	for range 4 { // the first two occupy both commits, the others find none free
		first, last := ask()
		require.GreaterOrEqual(t, first, 250*time.Millisecond)
		require.LessOrEqual(t, last, 1500*time.Millisecond)
	}
	files, bytes, _ := d.spool.Stat()
	require.Positive(t, files)
	require.Positive(t, bytes)
	require.Len(t, d.entries(), before)

	release()
	require.Eventually(t, recorded, time.Minute, time.Millisecond)
	require.Equal(t, want, d.outcomes(), "each once")
	ask()
	require.Eventually(t, recorded, time.Minute, time.Millisecond)
	require.Equal(t, want, d.outcomes())
}

// TestAnOldSpoolClosesTheDesk: beyond its age nothing more is answered, until the history has everything.
func TestAnOldSpoolClosesTheDesk(t *testing.T) {
	t.Parallel()
	d := openDesk(t, usualPatience, func(_ *status.PublicConfig, s *spool.Config) { s.MaxAge = 500 * time.Millisecond }).both()
	id, document := sample(ofb.PixPayment, "v4", ofb.ACSC, 1)
	d.accept(clientAlfa, ofb.PixPayment, "v4", 1, document)
	path := "/open-banking/payments/v4/pix/payments/" + id
	release := d.holdHistory()
	defer release()
	d.open(d.alfa.get(path))
	require.Eventually(t, func() bool { return d.spool.Ready() != nil }, time.Minute, 5*time.Millisecond)
	a := d.alfa.get(path)
	d.requireRefused(a, http.StatusServiceUnavailable, "SERVICE_UNAVAILABLE", id)
	d.requireRefused(d.alfa.get("/nowhere"), http.StatusServiceUnavailable, "SERVICE_UNAVAILABLE")
	release()
	require.Eventually(t, func() bool { return d.alfa.get(path).status == http.StatusOK }, time.Minute, 20*time.Millisecond)
}

// TestWithoutTheDatabaseAQueryIs503AndIsRecordedAfterwards kills the database under the listener.
func TestWithoutTheDatabaseAQueryIs503AndIsRecordedAfterwards(t *testing.T) {
	t.Parallel()
	server, url := storetest.Own(t)
	d := openDeskOn(t, url, usualPatience).both()
	id, document := sample(ofb.PixPayment, "v4", ofb.ACSC, 1)
	d.accept(clientAlfa, ofb.PixPayment, "v4", 1, document)
	path := "/open-banking/payments/v4/pix/payments/" + id
	d.open(d.alfa.get(path))
	require.NoError(t, server.Kill())
	away, unknown := uuid.NewString(), uuid.NewString()
	a := d.alfa.get(path, with("x-fapi-interaction-id", away))
	d.requireRefused(a, http.StatusServiceUnavailable, "SERVICE_UNAVAILABLE", id)
	require.NotEmpty(t, a.header.Get("Retry-After"))
	d.requireRefused(d.alfa.get("/nowhere", with("x-fapi-interaction-id", unknown)), http.StatusNotFound, "NOT_FOUND")
	require.NoError(t, server.Restart(t.Context()))
	require.Eventually(t, func() bool { return d.alfa.get(path).status == http.StatusOK }, time.Minute, 20*time.Millisecond)
	require.Eventually(t, func() bool { files, _, _ := d.spool.Stat(); return files == 0 }, time.Minute, 10*time.Millisecond)
	outcomes := d.outcomes()
	require.Equal(t, "503", outcomes[away])
	require.Equal(t, "404", outcomes[unknown])
}

// TestAStormIsShedWithoutTouchingOthers is case D4 in small: one client far beyond its rate, the other served throughout.
func TestAStormIsShedWithoutTouchingOthers(t *testing.T) {
	d := openDesk(t, func(c *status.PublicConfig, _ *spool.Config) { c.Limits = status.Limits{Rate: 300, ClientRate: 20} }).both()
	id, document := sample(ofb.PixPayment, "v4", ofb.ACSC, 1)
	d.accept(clientBeta, ofb.PixPayment, "v4", 1, document)
	path := "/open-banking/payments/v4/pix/payments/" + id
	var storm sync.WaitGroup
	var mu sync.Mutex
	statuses := map[int]int{}
	began := time.Now()
	for range 8 {
		storm.Go(func() {
			for range 30 {
				a := d.alfa.get(path)
				mu.Lock()
				statuses[a.status]++
				mu.Unlock()
				if a.status == 529 {
					d.requireRefused(a, 529, "SITE_IS_OVERLOADED")
				}
			}
		})
	}
	for range 15 {
		d.open(d.beta.get(path))
	}
	storm.Wait()
	seconds := int(time.Since(began)/time.Second) + 1
	require.Positive(t, statuses[529], "%v", statuses)
	require.LessOrEqual(t, statuses[400], (1+seconds)*20, "%v in %d s", statuses, seconds)
	require.Equal(t, 240, statuses[529]+statuses[400], "%v", statuses)
	recorded, suppressed := 0, int64(0)
	for _, e := range d.entries() {
		if e.outcome == "529" {
			recorded++
			suppressed += e.facts.Suppressed
			require.Equal(t, "client-rate", e.facts.Reason)
			require.Equal(t, d.alfa.is.SoftwareID, e.facts.Software)
		}
	}
	require.Positive(t, recorded)
	require.LessOrEqual(t, recorded, seconds+1, "refusals by a limit are recorded once a second")
	require.LessOrEqual(t, suppressed, int64(statuses[529]))
}

func TestAClientHasSoManyConnections(t *testing.T) {
	d := openDesk(t, func(c *status.PublicConfig, _ *spool.Config) { c.Limits = status.Limits{ClientConnections: 2} }).both()
	id, document := sample(ofb.PixPayment, "v4", ofb.ACSC, 1)
	d.accept(clientAlfa, ofb.PixPayment, "v4", 1, document)
	path := "/open-banking/payments/v4/pix/payments/" + id
	more := make([]*poller, 3)
	for i := range more {
		more[i] = newPoller(t, d, clientAlfa, d.alfa.is)
	}
	d.open(more[0].get(path))
	d.open(more[1].get(path))
	a := more[2].get(path)
	d.requireRefused(a, 529, "SITE_IS_OVERLOADED")
	d.requireRefused(d.beta.get(path), 400, "PARAMETRO_INVALIDO") // another client has its own
	more[0].http.CloseIdleConnections()
	require.Eventually(t, func() bool { return more[2].get(path).status == http.StatusOK }, time.Minute, 10*time.Millisecond)
}

func TestLimitsBelowTheRegulatorsFloorAreRefused(t *testing.T) {
	for _, l := range []status.Limits{{Rate: 299}, {ClientRate: -1}, {InFlight: -1}} {
		_, err := status.NewPublic(status.PublicConfig{BaseURL: statusBase, Limits: l})
		require.Error(t, err)
	}
	for _, base := range []string{"", "http://a.example.com", "https://", "https://a.example.com?x", "https://localhost:8443", "https://127.0.0.1", "https://u@a.example.com"} {
		_, err := status.NewPublic(status.PublicConfig{BaseURL: base})
		require.ErrorContains(t, err, "public.base_url")
	}
}
