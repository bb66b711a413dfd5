package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/lab/stage"
	"github.com/arauto/arauto/internal/lab/standin"
	"github.com/arauto/arauto/internal/ofb"
)

// refusedWithin is the 3 s of case F5, and some time for a machine that runs other tests as well.
const refusedWithin = 3500 * time.Millisecond

// callKind is a call that stands for all of its kind.
type callKind struct {
	name string
	want int // its status while the database answers
	put  func(ctx context.Context) (status int, body string, retry string, err error)
}

// silence is a gateway whose database falls silent, and everybody who calls it meanwhile.
type silence struct {
	*house
	client  *http.Client // keeps no connection, so that none counts among the goroutines of the gateway
	browser *http.Client // of a person with a session
	asker   *stage.Asker
	link    string // that nobody has used yet
	resends []string
}

// internal is a call of the internal API.
func (s *silence) internal(name, method, path, body string, want int) callKind {
	return callKind{name, want, func(ctx context.Context) (int, string, string, error) {
		req, err := http.NewRequestWithContext(ctx, method, "http://"+s.replica.Internal+path, strings.NewReader(body))
		if err != nil {
			return 0, "", "", err
		}
		token, err := s.FullToken("core")
		if err != nil {
			return 0, "", "", err
		}
		req.Header.Set("Authorization", "Bearer "+token)
		if body != "" {
			req.Header.Set("Content-Type", "application/json")
		}
		return answered(s.client.Do(req))
	}}
}

func answered(res *http.Response, err error) (int, string, string, error) {
	if err != nil {
		return 0, "", "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	return res.StatusCode, string(body), res.Header.Get("Retry-After"), err
}

// public is a call of the public listener, as the initiator of the client good makes it.
func (s *silence) public(name, path string) callKind {
	return callKind{name, http.StatusOK, func(ctx context.Context) (int, string, string, error) {
		token, err := s.asker.Token("good")
		if err != nil {
			return 0, "", "", err
		}
		_, err = s.asker.Read(ctx, stage.Query{Address: s.replica.Public, Token: token, Interaction: stage.NewInteraction(), Path: path})
		var refusal *stage.Refusal
		switch {
		case err == nil:
			return http.StatusOK, "", "", nil
		case errors.As(err, &refusal):
			return refusal.Status, refusal.Body, "1", nil // it does not tell the header
		}
		return 0, "", "", err
	}}
}

// page is a page of the console.
func (s *silence) page(name, path string) callKind {
	return callKind{name, http.StatusOK, func(ctx context.Context) (int, string, string, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.replica.Console+path, http.NoBody)
		if err != nil {
			return 0, "", "", err
		}
		status, body, _, err := answered(s.browser.Do(req))
		return status, body, "1", err // for a person
	}}
}

// signIn uses a link up, in a browser of its own.
func (s *silence) signIn(ctx context.Context, link string) (*http.Client, int, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, 0, err
	}
	browser := &http.Client{Jar: jar, Transport: s.client.Transport}
	form := url.Values{"name": {"ana"}, "role": {"operator", "auditor"}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, link, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, 0, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	status, _, _, err := answered(browser.Do(req))
	return browser, status, err
}

// kinds are one call of each kind. Each of them is right once, so that its status tells that it was not done before.
func (s *silence) kinds() []callKind {
	ids, err := json.Marshal(s.resends[1:])
	require.NoError(s.t, err)
	registration, err := json.Marshal(stage.Registration{
		OrganisationID: certs.DefaultAlfa.Organisation.ID, SoftwareID: certs.DefaultAlfa.SoftwareID, Name: "new", WebhookURIs: []string{s.good.BaseURI("/new")},
	})
	require.NoError(s.t, err)
	period := url.Values{"from": {time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)}, "to": {time.Now().Add(time.Hour).UTC().Format(time.RFC3339)}}.Encode()
	reason := `"reason":"the database was silent"`
	return []callKind{
		s.public("a status query", stage.StatusPath(ofb.PixPayment, "v5", "told")),
		s.public("a feed of the extension", "/arauto/v1/events?missed=true"),
		s.internal("a registration", http.MethodPut, "/internal/v1/initiators/new", string(registration), http.StatusCreated),
		s.internal("a resend", http.MethodPost, "/internal/v1/notifications/"+s.resends[0]+"/resend", "{"+reason+"}", http.StatusAccepted),
		s.internal("resends at once", http.MethodPost, "/internal/v1/notifications/resend", `{"ids":`+string(ids)+`,`+reason+`}`, http.StatusOK),
		s.internal("an act by a filter", http.MethodPost, "/internal/v1/quarantine/dismiss", `{"filter":{"clientId":"good"},`+reason+`}`, http.StatusOK),
		s.internal("a hold", http.MethodPut, "/internal/v1/audit/holds/silent", `{"clientId":"good",`+reason+`}`, http.StatusCreated),
		s.internal("a single reading", http.MethodGet, "/internal/v1/notifications/"+s.resends[0], "", http.StatusOK),
		s.internal("a list", http.MethodGet, "/internal/v1/initiators", "", http.StatusOK),
		s.internal("a search", http.MethodGet, "/internal/v1/notifications?clientId=good", "", http.StatusOK),
		s.internal("a report", http.MethodGet, "/internal/v1/audit/breaches?"+period, "", http.StatusOK),
		s.internal("sums over time", http.MethodGet, "/internal/v1/overview", "", http.StatusOK),
		s.internal("a verification", http.MethodPost, "/internal/v1/audit/verifications", "", http.StatusAccepted),
		s.internal("an export", http.MethodPost, "/internal/v1/audit/exports", `{"filter":{"clientId":"good"},"format":"csv"}`, http.StatusAccepted),
		s.page("a page of the console", "/notifications"),
		{"a sign-in", http.StatusOK, func(ctx context.Context) (int, string, string, error) {
			_, status, err := s.signIn(ctx, s.link)
			return status, "", "1", err
		}},
	}
}

// besideEachOther puts every call at once and tells of each that was not answered as it must be.
func besideEachOther(ctx context.Context, kinds []callKind, judge func(k callKind, status int, body, retry string, took time.Duration) (wrong string)) (wrong []string) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second) // some would wait for as long as the database is silent
	defer cancel()
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, k := range kinds {
		all.Go(func() {
			began := time.Now()
			status, body, retry, err := k.put(ctx)
			took := time.Since(began)
			said := judge(k, status, body, retry, took)
			if err != nil {
				said = err.Error()
			}
			if said != "" {
				mu.Lock()
				defer mu.Unlock()
				wrong = append(wrong, fmt.Sprintf("%s after %s: %s", k.name, took.Round(time.Millisecond), said))
			}
		})
	}
	all.Wait()
	slices.Sort(wrong)
	return wrong
}

// goroutines of the gateway.
func (s *silence) goroutines() int {
	page, err := s.replica.Metrics(s.t.Context())
	require.NoError(s.t, err)
	_, after, found := strings.Cut(page, "\ngo_goroutines ")
	require.True(s.t, found)
	text, _, _ := strings.Cut(after, "\n")
	n, err := strconv.Atoi(text)
	require.NoError(s.t, err)
	return n
}

// openSilence makes three notifications that may be sent once more, a case of the quarantine, and a person with a session.
func openSilence(t *testing.T) *silence {
	t.Helper()
	h := open(t, stage.Options{Settings: []string{"ARAUTO_CONSOLE_ADDR=127.0.0.1:0", "ARAUTO_RESEND_ENABLED=true", "ARAUTO_EXTENSION_ENABLED=true"}})
	s := &silence{house: h, client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
	ctx, core := t.Context(), h.core.Load()
	_, err := core.Change(ctx, payment("good", "told", 1, ofb.ACSC))
	require.NoError(t, err)
	_, err = core.Change(ctx, payment("good", "told", 2, ofb.PDNG))
	var refusal *stage.Refusal
	require.ErrorAs(t, err, &refusal, "a step backward is put aside")
	require.Equal(t, http.StatusUnprocessableEntity, refusal.Status)

	h.flaky.Answer("/flaky/", standin.Refuse(http.StatusServiceUnavailable))
	for n := range 3 {
		told, err := core.Change(ctx, payment("flaky", fmt.Sprintf("missed-%d", n), 1, ofb.ACSC))
		require.NoError(t, err)
		require.Len(t, told.Notifications, 1)
		s.resends = append(s.resends, told.Notifications[0].ID)
	}
	_, err = h.flaky.Wait(ctx, 3, nil)
	require.NoError(t, err)
	require.NoError(t, core.Call(ctx, http.MethodDelete, "/internal/v1/initiators/flaky", nil, nil))
	for _, id := range s.resends {
		n, err := core.WaitState(ctx, id)
		require.NoError(t, err)
		require.Equal(t, "cancelled", n.State)
	}
	h.flaky.Answer("/flaky/", standin.Accept)
	require.NoError(t, core.Register(ctx, "flaky", stage.Registration{
		OrganisationID: certs.DefaultAlfa.Organisation.ID, SoftwareID: certs.DefaultAlfa.SoftwareID, Name: "flaky", WebhookURIs: []string{h.flaky.BaseURI("/flaky")},
	}))

	leaf, err := h.PKI.Issue(h.PKI.InitiatorBRCAC(certs.DefaultAlfa))
	require.NoError(t, err)
	s.asker, err = h.Asker(certs.DefaultAlfa, leaf.TLS())
	require.NoError(t, err)
	t.Cleanup(s.asker.Close)
	link, err := h.SignInLink(ctx, h.replica)
	require.NoError(t, err)
	var status int
	s.browser, status, err = s.signIn(ctx, link)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, status)
	s.link, err = h.SignInLink(ctx, h.replica)
	require.NoError(t, err)
	require.Eventually(t, func() bool { // a log with something to verify
		return core.Call(ctx, http.MethodGet, "/internal/v1/audit/checkpoints", nil, nil) == nil
	}, 30*time.Second, 100*time.Millisecond)
	return s
}

// TestEverythingThatIsAskedOfASilentDatabaseIsRefusedSoonAndDoneOnceAfterIt is case F5 for whatever is no change: of each kind one
// call is put while the server answers nothing, all beside each other, several times.
func TestEverythingThatIsAskedOfASilentDatabaseIsRefusedSoonAndDoneOnceAfterIt(t *testing.T) {
	t.Parallel()
	s := openSilence(t)
	kinds := s.kinds()
	s.asker.Close()
	before := s.goroutines()
	frozen := 5 * time.Second
	if long() {
		frozen = 30 * time.Second
	}
	thaw, err := s.FreezeServer()
	if errors.Is(err, os.ErrNotExist) {
		t.Skip(err)
	}
	require.NoError(t, err)
	defer thaw()
	for began := time.Now(); time.Since(began) < frozen; {
		round := time.Now()
		wrong := besideEachOther(t.Context(), kinds, func(_ callKind, status int, body, retry string, took time.Duration) string {
			switch {
			case status != http.StatusServiceUnavailable || took > refusedWithin:
				return fmt.Sprintf("%d %.200s", status, body)
			case retry != "1":
				return "no Retry-After"
			}
			return ""
		})
		require.Empty(t, wrong, "refused with 503 within 3 s")
		t.Logf("all refused after %s", time.Since(round).Round(time.Millisecond))
		require.Less(t, s.goroutines(), before+100)
	}
	thaw()
	s.untilStored("thawed")
	wrong := besideEachOther(t.Context(), kinds, func(k callKind, status int, body, _ string, _ time.Duration) string {
		if status != k.want || strings.Contains(body, `"status":409`) {
			return fmt.Sprintf("%d %.300s", status, body)
		}
		return ""
	})
	require.Empty(t, wrong, "each works, and was not done before")
	require.Eventually(t, func() bool {
		s.asker.Close()
		return s.goroutines() <= before
	}, time.Minute, 500*time.Millisecond, "no goroutine is left behind")

	conn, err := pgx.Connect(t.Context(), s.Database)
	require.NoError(t, err)
	defer conn.Close(context.Background())
	for what, n := range map[string]int{
		"kind = 'resend'": 3,
		"kind = '" + history.FactRegistered + "' AND client_id = 'new'": 1,
	} {
		var have int
		require.NoError(t, conn.QueryRow(t.Context(), "SELECT count(*) FROM arauto.entry WHERE "+what).Scan(&have))
		require.Equal(t, n, have, what)
	}
	s.oneRowAFact()
}
