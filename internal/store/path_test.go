package store_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/intake"
	"github.com/arauto/arauto/internal/lab/storetest"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/store/auditlog"
)

// world is a store on a fresh database with an intake before it.
type world struct {
	t      *testing.T
	store  *store.Store
	log    *auditlog.Log
	intake *intake.Intake
}

// anySchema lets every document pass: schemas are package openapi's to test.
type anySchema struct{}

func (anySchema) Check(ofb.Kind, string, map[string]any) []notice.Problem { return nil }

func newWorld(t *testing.T) *world {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{URL: storetest.Database(t), Replica: "test", Version: "0"})
	require.NoError(t, err)
	t.Cleanup(s.Close)
	in := intake.New(intake.Config{Store: s, Schema: anySchema{}, NewID: store.NewID})
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { in.Run(ctx); close(ended) }()
	t.Cleanup(func() { stop(); <-ended })
	return &world{t: t, store: s, log: auditlog.New(s.Access()), intake: in}
}

func (w *world) register(client string, uris ...string) {
	w.t.Helper()
	_, _, err := w.store.PutInitiator(w.t.Context(), notice.Initiator{
		Client: notice.ClientID(client), OrganisationID: "org", SoftwareID: "software", Name: client, WebhookURIs: uris,
	}, "test")
	require.NoError(w.t, err)
}

type change struct {
	Kind       string         `json:"kind"`
	ClientID   string         `json:"clientId"`
	APIVersion string         `json:"apiVersion"`
	Revision   int            `json:"revision"`
	OccurredAt time.Time      `json:"occurredAt"`
	Cause      string         `json:"cause,omitempty"`
	NotBefore  *time.Time     `json:"notBefore,omitempty"`
	Data       map[string]any `json:"data"`
}

func payment(client, id string, revision int, status string) change {
	return change{
		Kind: "pix-payment", ClientID: client, APIVersion: "v5", Revision: revision, OccurredAt: time.Now(),
		Data: map[string]any{"paymentId": id, "status": status},
	}
}

func (w *world) accept(c change) intake.Answer {
	w.t.Helper()
	line, err := json.Marshal(c)
	require.NoError(w.t, err)
	a, err := w.intake.Accept(w.t.Context(), line, intake.Origin{Source: "api", Actor: "core"})
	require.NoError(w.t, err)
	return a
}

func (w *world) claim(client string, free, late int) []notice.Attempt {
	w.t.Helper()
	got, err := w.store.Claim(w.t.Context(), []notice.ClaimRequest{{Client: notice.ClientID(client), Free: free, Late: late}}, 20*time.Second)
	require.NoError(w.t, err)
	return got
}

func (w *world) settle(outcome notice.Outcome, attempts ...notice.Attempt) []notice.Lane {
	w.t.Helper()
	var done []notice.Settlement
	for _, a := range attempts {
		done = append(done, notice.Settlement{Attempt: a, Result: notice.Result{Outcome: outcome, HTTPStatus: 202, EndedAt: time.Now()}})
	}
	lanes, err := w.store.Settle(w.t.Context(), done)
	require.NoError(w.t, err)
	return lanes
}

// requireDueIn requires that one lane is due so long after a failure that came after began. Its settlement may have waited for a connection.
func requireDueIn(t *testing.T, gap time.Duration, began time.Time, lanes []notice.Lane) {
	t.Helper()
	most := time.Since(began)
	require.Len(t, lanes, 1)
	require.LessOrEqual(t, lanes[0].DueIn, gap)
	require.GreaterOrEqual(t, lanes[0].DueIn, gap-most-time.Microsecond)
}

func TestAChangeIsStoredClaimedOnceAndSettled(t *testing.T) {
	w := newWorld(t)
	w.register("itp", "https://itp.example/hook")
	a := w.accept(payment("itp", "p1", 1, "ACSC"))
	require.Equal(t, notice.Applied, a.Verdict)
	require.Len(t, a.Notifications, 1)

	again := w.accept(payment("itp", "p2", 1, "RCVD"))
	require.Equal(t, ofb.NotATrigger, again.Silence)

	got := w.claim("itp", 10, 0)
	require.Len(t, got, 1)
	require.Equal(t, a.Notifications[0], got[0].Notification)
	require.Equal(t, "https://itp.example/hook", got[0].BaseURI)
	require.Equal(t, 1, got[0].Number)
	require.Empty(t, w.claim("itp", 10, 0), "a leased attempt is nobody else's")
	require.Empty(t, w.settle(notice.OutcomeDelivered, got...))
	lanes, err := w.store.Waiting(t.Context())
	require.NoError(t, err)
	require.Empty(t, lanes)
}

func TestAFailureIsFollowedAfterItsGap(t *testing.T) {
	w := newWorld(t)
	w.register("itp", "https://itp.example/hook")
	w.accept(payment("itp", "p1", 1, "ACSC"))
	claimed, began := w.claim("itp", 10, 0), time.Now()
	lanes := w.settle(notice.OutcomeRefused, claimed...)
	requireDueIn(t, 10*time.Second, began, lanes)
	require.Empty(t, w.claim("itp", 10, 0))
}

func TestTheSameRevisionIsAcceptedOnce(t *testing.T) {
	w := newWorld(t)
	w.register("itp", "https://itp.example/hook")
	c := payment("itp", "p1", 7, "ACSC")
	first := w.accept(c)
	second := w.accept(c)
	require.Equal(t, notice.Duplicate, second.Verdict)
	require.Equal(t, first.ChangeID, second.ChangeID)
	require.Equal(t, first.Notifications, second.Notifications)

	c.Data["status"] = "RJCT"
	require.Equal(t, notice.Conflicting, w.accept(c).Verdict)
	other := payment("other", "p1", 8, "ACSC")
	require.Equal(t, "owner", w.accept(other).Why)

	late := w.accept(payment("itp", "p1", 6, "PDNG"))
	require.Equal(t, notice.Superseded, late.Verdict)
	require.Len(t, late.Notifications, 1)
	require.Equal(t, notice.Quarantined, w.accept(payment("itp", "p1", 9, "RCVD")).Verdict)
	require.Len(t, w.claim("itp", 10, 0), 2)
}

func TestARegistrationSwitchedOffCancelsWhatWaits(t *testing.T) {
	w := newWorld(t)
	w.register("itp", "https://itp.example/hook")
	for n := range 5 {
		w.accept(payment("itp", fmt.Sprintf("p%d", n), 1, "ACSC"))
	}
	w.register("itp")
	require.Empty(t, w.claim("itp", 10, 0))
	w.register("itp", "https://itp.example/hook")
	require.Empty(t, w.claim("itp", 10, 0), "switching on again revives nothing")
	n, err := w.store.CancelEnded(t.Context(), 100)
	require.NoError(t, err)
	require.Equal(t, 5, n)
	w.accept(payment("itp", "p9", 1, "ACSC"))
	require.Len(t, w.claim("itp", 10, 0), 1)
}
