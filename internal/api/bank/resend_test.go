package bank

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/api"
	"github.com/arauto/arauto/internal/intake"
	"github.com/arauto/arauto/internal/jws"
	"github.com/arauto/arauto/internal/lab/storetest"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/registry"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/store/auditlog"
)

func TestAResendIsOffByDefault(t *testing.T) {
	w := newWorld(t, func(c *InternalConfig) { c.ResendEnabled = false })
	w.shelf.resend = func(notice.ID, string, string) (notice.ID, error) {
		t.Error("a resend reached the store")
		return notice.ID{}, nil
	}
	w.ask("POST", listPath+"/"+someID+"/resend", "operator", `{"reason":"asked by phone"}`).refused(t, 403, "resend_disabled")
}

func TestAResendNeedsAReason(t *testing.T) {
	w := newWorld(t)
	for _, body := range []string{`{}`, `{"reason":" "}`, `{"reason":"x","by":"me"}`, ``} {
		got := w.ask("POST", listPath+"/"+someID+"/resend", "operator", body)
		if body == "" {
			got.refused(t, 415, "unsupported_media_type")
			continue
		}
		got.refused(t, 400, "invalid_request")
	}
	w.ask("POST", listPath+"/"+someID+"/resend", "operator", `{"reason":"asked by phone"}`).refused(t, 404, "not_found")
}

// TestARefusedResendOfSeveralNamesNoNotification: whatever id came with the error, nobody can read it.
func TestARefusedResendOfSeveralNamesNoNotification(t *testing.T) {
	w := newWorld(t)
	w.shelf.resend = func(notice.ID, string, string) (notice.ID, error) {
		return store.NewID(), contradiction("it was sent once more already")
	}
	got := w.ask("POST", listPath+"/resend", "operator", `{"ids":["`+someID+`"],"reason":"asked by phone"}`)
	require.Equal(t, 200, got.status, got.text)
	result := got.body["results"].([]any)[0].(map[string]any)
	require.Equal(t, float64(409), result["status"])
	require.NotContains(t, result, "resent")
}

// outcome makes one chain of attempts over a real store, all with this outcome, and returns its notification.
func outcome(t *testing.T, s *store.Store, in *intake.Intake, client, resource string, what notice.Outcome) notice.ID {
	t.Helper()
	a, err := in.Accept(t.Context(), []byte(fmt.Sprintf(
		`{"kind":"pix-payment","clientId":%q,"apiVersion":"v5","revision":1,"occurredAt":"2026-11-21T12:00:00Z","data":{"paymentId":%q,"status":"ACSC"}}`,
		client, resource)), intake.Origin{Source: "api", Actor: "core"})
	require.NoError(t, err)
	require.Len(t, a.Notifications, 1)
	for number := 1; number <= 3; number++ {
		if attemptAll(t, s, client, what) {
			break
		}
	}
	return a.Notifications[0]
}

// attemptAll attempts what is due once; it answers true when nothing follows. The end of an attempt is dated back, so
// that the next is due at once.
func attemptAll(t *testing.T, s *store.Store, client string, what notice.Outcome) bool {
	t.Helper()
	got, err := s.Claim(t.Context(), []notice.ClaimRequest{{Client: notice.ClientID(client), Free: 10}}, 20*time.Second)
	require.NoError(t, err)
	require.Len(t, got, 1)
	lanes, err := s.Settle(t.Context(), []notice.Settlement{{
		Attempt: got[0], Result: notice.Result{Outcome: what, HTTPStatus: 202, EndedAt: time.Now().Add(-2 * time.Minute)},
	}})
	require.NoError(t, err)
	return len(lanes) == 0
}

func TestTwentyOperatorsPressingAtOnceCauseOnePost(t *testing.T) {
	s, err := store.Open(t.Context(), store.Options{URL: storetest.Database(t), Replica: "test", Version: "0"})
	require.NoError(t, err)
	t.Cleanup(s.Close)
	in := intake.New(intake.Config{Store: s, Schema: pastes{}, NewID: store.NewID})
	ctx, stop := context.WithCancel(context.Background())
	ran := make(chan struct{})
	go func() { defer close(ran); in.Run(ctx) }()
	t.Cleanup(func() { stop(); <-ran })
	register := func(client string, uris ...string) {
		_, _, err := s.PutInitiator(t.Context(), notice.Initiator{Client: notice.ClientID(client), WebhookURIs: uris}, "test")
		require.NoError(t, err)
	}
	register("itp", "https://itp.example")
	w := newWorld(t, func(c *InternalConfig) {
		l := auditlog.New(s.Access())
		c.Resender, c.History = l, l
	})
	press := func(id notice.ID) reply {
		return w.ask("POST", listPath+"/"+id.String()+"/resend", "operator", `{"reason":"asked by phone"}`)
	}

	delivered := outcome(t, s, in, "itp", "p1", notice.OutcomeDelivered)
	press(delivered).refused(t, 409, "conflict")

	given := outcome(t, s, in, "itp", "p2", notice.OutcomeRefused)
	var mu sync.Mutex
	answers := map[int]int{}
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			r := press(given)
			mu.Lock()
			defer mu.Unlock()
			answers[r.status]++
		})
	}
	all.Wait()
	require.Equal(t, map[int]int{202: 1, 409: 19}, answers)

	require.True(t, attemptAll(t, s, "itp", notice.OutcomeRefused), "a manual attempt is never followed")
	press(given).refused(t, 409, "conflict") // less than a minute ago
	list := w.ask("GET", listPath+"?resourceId=p2", "auditor", "")
	var page struct{ Notifications []struct{ Manual bool } }
	require.NoError(t, json.Unmarshal([]byte(list.text), &page))
	require.Len(t, page.Notifications, 2)
	require.True(t, page.Notifications[0].Manual)
	require.False(t, page.Notifications[1].Manual)

	second := outcome(t, s, in, "itp", "p3", notice.OutcomeRefused)
	register("itp")
	got := press(second)
	got.refused(t, 409, "conflict")
	require.Contains(t, got.body["error_description"], "no registered webhook address")
}

// What stands behind the listener in production, checked by the compiler.
var (
	_ History           = (*auditlog.Log)(nil)
	_ Resender          = (*auditlog.Log)(nil)
	_ Quarantine        = (*store.Store)(nil)
	_ Changes           = (*intake.Intake)(nil)
	_ Initiators        = (*registry.Registry)(nil)
	_ api.Authenticator = (*jws.BearerVerifier)(nil)
)
