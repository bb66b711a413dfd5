package bank

import (
	"context"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/api"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/intake"
	"github.com/arauto/arauto/internal/jws"
	"github.com/arauto/arauto/internal/lab/storetest"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/store/auditlog"
)

const (
	holdPath     = "/internal/v1/audit/holds/case-1"
	requestsPath = "/internal/v1/requests"
	courtHold    = `{"clientId":"itp","reason":"court order"}`
)

// fourEyes is a world over a real store in which every act needs a second person.
type fourEyes struct {
	*archive
}

func openFourEyes(t *testing.T, change ...func(*InternalConfig)) *fourEyes {
	t.Helper()
	var log *auditlog.Log
	f := &fourEyes{}
	f.archive = openArchive(t, append([]func(*InternalConfig){func(c *InternalConfig) {
		log = c.Holds.(*auditlog.Log)
		c.Requests, c.Resender, c.FourEyes = log, log, history.GuardedActs()
	}}, change...)...)
	return f
}

// asked asks for an act and returns the request's id.
func (f *fourEyes) asked(method, path, token, body string) notice.ID {
	f.t.Helper()
	got := f.ask(method, path, token, body)
	require.Equal(f.t, 202, got.status, got.text)
	require.Len(f.t, got.body, 1)
	id, err := notice.ParseID(got.body["request"].(string))
	require.NoError(f.t, err)
	require.Equal(f.t, requestsPath+"/"+id.String(), got.header.Get("Location"))
	return id
}

func (f *fourEyes) state(id notice.ID) map[string]any {
	f.t.Helper()
	got := f.ask("GET", requestsPath+"/"+id.String(), "operator", "")
	require.Equal(f.t, 200, got.status, got.text)
	return got.body
}

// acts lists the administrative entries about requests, oldest first.
func (f *fourEyes) acts() (out []string) {
	f.t.Helper()
	rows, err := f.owner.Query(f.t.Context(), `SELECT outcome || ' by ' || (facts->>'actor') FROM arauto.entry WHERE kind = 'admin' AND outcome LIKE 'request-%' ORDER BY xid`)
	require.NoError(f.t, err)
	for rows.Next() {
		var text string
		require.NoError(f.t, rows.Scan(&text))
		out = append(out, text)
	}
	require.NoError(f.t, rows.Err())
	return out
}

var bia = Decider{Subject: "bia", Roles: []string{roleAuditor, roleOperator}, Source: "192.0.2.9:1"}

func TestAnActOfFourEyesWaitsAndIsDoneOnceAnotherPersonApproves(t *testing.T) {
	f := openFourEyes(t)
	id := f.asked("PUT", holdPath, "auditor", courtHold)
	f.ask("GET", holdPath, "auditor", "").refused(t, 404, "not_found")
	waits := f.state(id)
	require.Equal(t, "waiting", waits["state"])
	require.Equal(t, "who-auditor", waits["askedBy"])
	require.Equal(t, "court order", waits["reason"])
	require.Equal(t, "PUT "+holdPath, waits["call"])

	_, err := f.api.Decide(t.Context(), Decider{Subject: "who-auditor", Roles: bia.Roles}, id, true, "mine")
	require.Equal(t, 409, DecideFault(err).Status, "nobody approves their own")
	_, err = f.api.Decide(t.Context(), Decider{Subject: "bia", Roles: []string{roleOperator}}, id, true, "no role")
	require.Equal(t, 403, DecideFault(err).Status)
	_, err = f.api.Decide(t.Context(), bia, id, true, " ")
	require.Equal(t, 400, DecideFault(err).Status, "a reason is required")
	require.Equal(t, "waiting", f.state(id)["state"])

	r, err := f.api.Decide(t.Context(), bia, id, true, "I read the order")
	require.NoError(t, err)
	require.Equal(t, history.RequestDone, r.State)
	require.Equal(t, 201, r.Status)
	stands := f.ask("GET", holdPath, "auditor", "")
	require.Equal(t, "who-auditor", stands.body["placedBy"], "the act is its asker's")
	require.Equal(t, "court order", stands.body["reason"])
	done := f.state(id)
	require.Equal(t, "bia", done["decidedBy"])
	require.Equal(t, "I read the order", done["decisionReason"])
	require.Equal(t, "case-1", done["answer"].(map[string]any)["name"])
	require.Equal(t, []string{"request-asked by who-auditor", "request-approved by bia", "request-done by who-auditor"}, f.acts())

	_, err = f.api.Decide(t.Context(), bia, id, true, "again")
	require.Equal(t, 409, DecideFault(err).Status, "it is over")
}

func TestATokenAsksAndNeverDecides(t *testing.T) {
	f := openFourEyes(t)
	id := f.asked("PUT", holdPath, "auditor", courtHold)
	for _, word := range []string{"approve", "refuse"} {
		got := f.ask("POST", requestsPath+"/"+id.String()+"/"+word, "operator+auditor", `{"reason":"by a token"}`)
		got.refused(t, 403, "forbidden")
		require.Contains(t, got.body["error_description"], "in the console")
	}
	require.Equal(t, "waiting", f.state(id)["state"])
}

func TestARefusedAndAnExpiredRequestDoNothing(t *testing.T) {
	f := openFourEyes(t)
	refused := f.asked("PUT", holdPath, "auditor", courtHold)
	r, err := f.api.Decide(t.Context(), bia, refused, false, "no order")
	require.NoError(t, err)
	require.Equal(t, history.RequestRefused, r.State)

	expired := f.asked("PUT", holdPath, "auditor", courtHold)
	f.exec("UPDATE act_request SET asked_at = now() - interval '25 hours', expires_at = now() - interval '1 hour' WHERE state = 'waiting'")
	require.Equal(t, "expired", f.state(expired)["state"], "before any replica looks")
	_, err = f.api.Decide(t.Context(), bia, expired, true, "late")
	require.Equal(t, 409, DecideFault(err).Status)
	require.NoError(t, f.api.CarryOut(t.Context()))
	require.Equal(t, "expired", f.state(expired)["state"])
	f.ask("GET", holdPath, "auditor", "").refused(t, 404, "not_found")
	require.Equal(t, []string{"request-asked by who-auditor", "request-refused by bia", "request-asked by who-auditor", "request-expired by arauto"}, f.acts())
	list := f.ask("GET", requestsPath+"?state=all", "registrar", "")
	require.Len(t, list.body["requests"], 2)
	require.Empty(t, f.ask("GET", requestsPath, "registrar", "").body["requests"])
}

func TestRequestsAreListedPageByPageAlsoWhenTheyWereAskedAtOneInstant(t *testing.T) {
	f := openFourEyes(t)
	var want []any
	for n := range 5 {
		id := f.asked("PUT", fmt.Sprintf("/internal/v1/audit/holds/case-%d", n), "auditor", courtHold)
		want = append(want, id.String())
	}
	f.exec("UPDATE act_request SET asked_at = '2026-11-28T14:04:41.000001Z' WHERE path NOT LIKE '%case-4'") // the ids order them
	slices.Reverse(want)
	var got []any
	path := requestsPath + "?state=waiting&limit=2"
	for next := any(""); next != nil; {
		answer := f.ask("GET", path+next.(string), "operator", "")
		require.Equal(t, 200, answer.status, answer.text)
		for _, r := range answer.body["requests"].([]any) {
			got = append(got, r.(map[string]any)["request"])
		}
		if next = answer.body["nextCursor"]; next != nil {
			next = "&cursor=" + next.(string)
			f.ask("GET", requestsPath+"?state=all"+next.(string), "operator", "").refused(t, 400, "invalid_request")
		}
	}
	require.Equal(t, want, got, "each of them once, newest first")
	require.Nil(t, f.ask("GET", requestsPath+"?limit=5", "operator", "").body["nextCursor"], "five are all")
}

func TestAnActThatFailsAfterItsApprovalSaysWhy(t *testing.T) {
	f := openFourEyes(t)
	_, _, err := f.api.cfg.Holds.PlaceHold(t.Context(), history.Hold{Name: "case-1", Reason: "court order"})
	require.NoError(t, err)
	id := f.asked("DELETE", holdPath+"?reason=settled", "auditor", "")
	require.NoError(t, f.api.cfg.Holds.LiftHold(t.Context(), "case-1", "settled meanwhile"))
	r, err := f.api.Decide(t.Context(), bia, id, true, "settled indeed")
	require.NoError(t, err)
	require.Equal(t, history.RequestFailed, r.State)
	require.Equal(t, 404, r.Status)
	require.Contains(t, r.Answer, "not_found")
	require.Contains(t, r.Answer, `"error_description":"resource not found"`)
	require.Contains(t, r.Answer, `"error_description_pt":"recurso não encontrado"`, "who reads it later may read another language than who asked")
	require.Equal(t, "request-failed by who-auditor", f.acts()[2])
}

func TestAWrongCallIsRefusedBeforeItWaits(t *testing.T) {
	f := openFourEyes(t)
	f.ask("PUT", holdPath, "auditor", `{"clientId":"itp"}`).refused(t, 400, "invalid_request")
	f.ask("PUT", holdPath, "operator", courtHold).refused(t, 403, "forbidden")
	require.Empty(t, f.acts())
}

// An approved act whose replica died before it acted, or after it acted and before it said so, is done exactly once, however
// many replicas look for it.
func TestAnApprovedActIsDoneOnceAcrossReplicasAndCrashes(t *testing.T) {
	f := openFourEyes(t)
	l := f.auditlog
	orphan := func(id notice.ID) history.ActRequest {
		r, err := l.DecideRequest(t.Context(), id, history.Actor{Subject: "bia", Role: roleAuditor, Source: "x"}, true, "yes")
		require.NoError(t, err)
		f.exec("UPDATE act_request SET lease_until = now() - interval '1 second' WHERE state = 'approved'")
		return r
	}
	other := newWorld(t, func(c *InternalConfig) {
		c.History, c.Holds, c.Readings, c.Requests, c.FourEyes = l, l, l, l, history.GuardedActs()
	})
	carryOut := func() {
		var all sync.WaitGroup
		for _, in := range []*Internal{f.api, other.api, f.api, other.api} {
			all.Go(func() {
				if err := in.CarryOut(context.Background()); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
	}
	holds := func() (n int) {
		require.NoError(t, f.owner.QueryRow(t.Context(), "SELECT count(*) FROM arauto.entry WHERE kind = 'hold' AND outcome = 'placed'").Scan(&n))
		return n
	}

	before := f.asked("PUT", holdPath, "auditor", courtHold)
	orphan(before)
	carryOut()
	require.Equal(t, "done", f.state(before)["state"])
	require.Equal(t, 1, holds())

	after := f.asked("PUT", "/internal/v1/audit/holds/case-2", "auditor", courtHold)
	r := orphan(after)
	ctx := context.WithValue(context.WithValue(t.Context(), history.RequestKey{}, &r), history.ActorKey{}, r.AskedBy)
	_, placed, err := l.PlaceHold(ctx, history.Hold{Name: "case-2", Client: "itp", Reason: "court order"})
	require.NoError(t, err)
	require.True(t, placed) // and the replica dies before it ends the request
	require.NoError(t, l.LiftHold(context.WithValue(t.Context(), history.ActorKey{}, r.AskedBy), "case-2", "by another call"))
	carryOut()
	require.Equal(t, "done", f.state(after)["state"])
	require.Equal(t, 2, holds(), "the lifted hold is not placed again")
	ended := 0
	for _, act := range f.acts() {
		if strings.HasPrefix(act, "request-done") {
			ended++
		}
	}
	require.Equal(t, 2, ended)
}

// resendWorld has two given-up notifications of one client.
func resendWorld(t *testing.T, acts ...string) (w *world, l *auditlog.Log, given []notice.ID) {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{URL: storetest.Database(t), Replica: "test", Version: "0"})
	require.NoError(t, err)
	t.Cleanup(s.Close)
	in := intake.New(intake.Config{Store: s, Schema: pastes{}, NewID: store.NewID})
	ctx, stop := context.WithCancel(context.Background())
	ran := make(chan struct{})
	go func() { defer close(ran); in.Run(ctx) }()
	t.Cleanup(func() { stop(); <-ran })
	_, _, err = s.PutInitiator(t.Context(), notice.Initiator{Client: "itp", WebhookURIs: []string{"https://itp.example"}}, "test")
	require.NoError(t, err)
	l = auditlog.New(s.Access())
	w = newWorld(t, func(c *InternalConfig) {
		c.Resender, c.History, c.Requests, c.FourEyes, c.Readings = l, l, l, acts, l
		c.Quarantine, c.Changes = s, in
	})
	given = append(given, outcome(t, s, in, "itp", "p1", notice.OutcomeRefused), outcome(t, s, in, "itp", "p2", notice.OutcomeRefused))
	return w, l, given
}

func TestSeveralNotificationsAreResentWithOneAnswerEachAndALink(t *testing.T) {
	w, _, given := resendWorld(t)
	body := fmt.Sprintf(`{"ids":[%q,%q,%q],"reason":"the receiver was down"}`, given[0], given[1], someID)
	got := w.ask("POST", listPath+"/resend", "operator", body)
	require.Equal(t, 200, got.status, got.text)
	results := got.body["results"].([]any)
	require.Len(t, results, 3)
	for i, status := range []float64{202, 202, 404} {
		require.Equal(t, status, results[i].(map[string]any)["status"], got.text)
	}
	fresh := w.ask("GET", listPath+"/"+results[0].(map[string]any)["resent"].(string), "operator", "")
	require.Equal(t, given[0].String(), fresh.body["resendOf"])
	w.ask("POST", listPath+"/resend", "operator", `{"ids":[],"reason":"x"}`).refused(t, 400, "invalid_request")
	w.ask("POST", listPath+"/resend", "operator", fmt.Sprintf(`{"ids":[%q]}`, given[0])).refused(t, 400, "invalid_request")
	w.ask("POST", listPath+"/resend", "operator", fmt.Sprintf(`{"ids":[%q,%q],"reason":"x"}`, given[0], given[0])).refused(t, 400, "invalid_request")
}

// A replica dies in the middle of an approved resend of two: the second start sends the other one, and answers both.
func TestAnApprovedResendOfSeveralIsFinishedByAnotherReplica(t *testing.T) {
	w, l, given := resendWorld(t, history.ActResend)
	got := w.ask("POST", listPath+"/resend", "operator", fmt.Sprintf(`{"ids":[%q,%q],"reason":"the receiver was down"}`, given[0], given[1]))
	require.Equal(t, 202, got.status, got.text)
	id, err := notice.ParseID(got.body["request"].(string))
	require.NoError(t, err)
	r, err := l.DecideRequest(t.Context(), id, history.Actor{Subject: "bia", Role: roleOperator, Source: "x"}, true, "yes")
	require.NoError(t, err)
	first, err := l.Resend(context.WithValue(t.Context(), history.RequestKey{}, &r), given[0], r.AskedBy.Subject, r.Reason)
	require.NoError(t, err)
	require.NoError(t, w.api.carryOut(t.Context(), &r)) // the lease of r is still this replica's
	ended, err := l.ActRequest(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, history.RequestDone, ended.State)
	require.Contains(t, ended.Answer, first.String(), "the first is not sent a second time")
	require.Equal(t, 2, strings.Count(ended.Answer, `"status":202`))
	list := w.ask("GET", listPath+"?clientId=itp", "operator", "")
	require.Equal(t, 2, strings.Count(list.text, `"manual":true`))
}

// refuseChanges has n changes refused by the state machine and returns their cases.
func refuseChanges(t *testing.T, w *world, n int) (ids []string) {
	t.Helper()
	for i := range n {
		got := w.ask("POST", changesPath, "ingest", payment(fmt.Sprintf("q%d", i), 1, "ACSC", `,"bad":1`))
		require.Equal(t, 422, got.status, got.text)
		ids = append(ids, got.body["quarantineId"].(string))
	}
	return ids
}

func TestCasesAreDismissedAndAppliedInBulkByIdAndByFilter(t *testing.T) {
	w, _, _ := resendWorld(t)
	ids := refuseChanges(t, w, 3)
	const path = "/internal/v1/quarantine/"
	got := w.ask("POST", path+"apply", "operator", fmt.Sprintf(`{"ids":[%q,%q],"reason":"mapping corrected"}`, ids[0], someID))
	require.Equal(t, 200, got.status, got.text)
	results := got.body["results"].([]any)
	require.Equal(t, float64(422), results[0].(map[string]any)["status"], "it is still wrong")
	require.Equal(t, "unknown_member", results[0].(map[string]any)["errors"].([]any)[0].(map[string]any)["code"])
	require.Equal(t, float64(404), results[1].(map[string]any)["status"])
	require.Equal(t, float64(1), w.ask("GET", path+ids[0], "operator", "").body["seen"], "applying a case is not seeing its change again")

	got = w.ask("POST", path+"dismiss", "operator", `{"filter":{"code":"unknown_member","clientId":"itp"},"reason":"the core sends them anew"}`)
	require.Equal(t, 200, got.status, got.text)
	require.Len(t, got.body["results"], 3)
	require.Equal(t, false, got.body["more"])
	for _, r := range got.body["results"].([]any) {
		require.Equal(t, float64(200), r.(map[string]any)["status"])
	}
	require.Empty(t, w.ask("GET", "/internal/v1/quarantine", "operator", "").body["quarantine"])
	closed := w.ask("GET", path+ids[2], "operator", "")
	require.Equal(t, "dismissed", closed.body["state"])
	require.Equal(t, "the core sends them anew", closed.body["closedReason"])

	for body, problem := range map[string]string{
		`{"reason":"x"}`:                                "",
		`{"filter":{},"reason":"x"}`:                    "/filter",
		`{"filter":{"kind":"house"},"reason":"x"}`:      "/filter/kind",
		`{"ids":["x"],"reason":"x"}`:                    "/ids",
		fmt.Sprintf(`{"ids":[%q]}`, ids[0]):             "/reason",
		`{"filter":{"code":"x"},"ids":[],"reason":"x"}`: "",
		`{"filter":{"client":"x"},"reason":"x"}`:        "/filter/client",
	} {
		got := w.ask("POST", path+"dismiss", "operator", body)
		got.refused(t, 400, "invalid_request")
		require.Equal(t, problem, got.body["errors"].([]any)[0].(map[string]any)["pointer"], body)
	}
}

// A request by filter keeps the cases that were found when it was asked for.
func TestARequestByFilterKeepsTheCasesOfItsAsking(t *testing.T) {
	w, _, _ := resendWorld(t, history.ActQuarantine)
	ids := refuseChanges(t, w, 2)
	const path = "/internal/v1/quarantine/"
	got := w.ask("POST", path+"dismiss", "operator", `{"filter":{"clientId":"itp"},"reason":"sent anew"}`)
	require.Equal(t, 202, got.status, got.text)
	id, err := notice.ParseID(got.body["request"].(string))
	require.NoError(t, err)
	require.Equal(t, 422, w.ask("POST", changesPath, "ingest", payment("younger", 1, "ACSC", `,"bad":1`)).status)
	r, err := w.api.Decide(t.Context(), bia, id, true, "yes")
	require.NoError(t, err)
	require.Equal(t, history.RequestDone, r.State, r.Answer)
	for _, id := range ids {
		require.Equal(t, "dismissed", w.ask("GET", path+id, "operator", "").body["state"])
	}
	require.Len(t, w.ask("GET", "/internal/v1/quarantine", "operator", "").body["quarantine"], 1, "nobody approved the younger one")
}

func TestABodyThatIsMissingIsNamed(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{changesPath, listPath + "/" + someID + "/resend"} {
		got := w.ask("POST", path, "operator+ingest", "", "Content-Type: application/json")
		got.refused(t, 400, "invalid_request")
		require.Contains(t, got.body["error_description"], "no body")
		got = w.ask("POST", path, "operator+ingest", "")
		got.refused(t, 415, "unsupported_media_type")
		require.Contains(t, got.body["error_description"], "no body")
	}
}

// checks and settings are what package gateway joins.
type running struct{}

func (running) Settings() []Setting {
	return []Setting{{"profile", "ARAUTO_PROFILE", "production", "file"}}
}
func (running) Schema(context.Context) (int64, int64, error) { return 10, 10, nil }
func (running) Replicas(context.Context) ([]history.Replica, error) {
	return []history.Replica{{Name: "a", Version: "1", Alive: true}}, nil
}

func (running) Starts(_ context.Context, limit int) ([]history.RecordedStart, []history.RecordedReload, error) {
	differs := []history.StartDifference{{Key: "dispatch.slots", After: "7"}}
	return []history.RecordedStart{{StartFacts: history.StartFacts{Replica: "a", Loosened: []string{}}, Differs: differs}, {StartFacts: history.StartFacts{Replica: "b"}}},
		[]history.RecordedReload{{Outcome: history.ReloadRefused, ReloadFacts: history.ReloadFacts{Setting: "webhook.crl", Reason: fmt.Sprint("empty ", limit)}}}, nil
}

func TestSettingsAndReconciliationsAreReadAndAskedFor(t *testing.T) {
	a := openArchive(t, func(c *InternalConfig) { c.Checks, c.Settings = c.Holds.(*auditlog.Log), running{} })
	got := a.ask("GET", "/internal/v1/settings", "operator", "")
	require.Equal(t, 200, got.status, got.text)
	require.Equal(t, "file", got.body["settings"].([]any)[0].(map[string]any)["origin"])
	require.Equal(t, true, got.body["replicas"].([]any)[0].(map[string]any)["alive"])
	starts := got.body["starts"].([]any)
	require.Equal(t, []any{map[string]any{"key": "dispatch.slots", "before": nil, "after": "7"}}, starts[0].(map[string]any)["differs"])
	require.Nil(t, starts[1].(map[string]any)["differs"])
	require.Equal(t, "empty 10", got.body["reloads"].([]any)[0].(map[string]any)["reason"])

	const path = "/internal/v1/reconciliations"
	now := time.Now().UTC()
	period := func(from, to time.Time) string {
		return fmt.Sprintf(`{"from":%q,"to":%q}`, from.Format(time.RFC3339), to.Format(time.RFC3339))
	}
	a.ask("POST", path, "auditor", period(now, now.Add(-time.Hour))).refused(t, 400, "invalid_request")
	a.ask("POST", path, "auditor", period(now.AddDate(0, -2, 0), now)).refused(t, 400, "invalid_request")
	got = a.ask("POST", path, "auditor", period(now.AddDate(0, 1, 0), now.AddDate(0, 1, 1)))
	got.refused(t, 400, "invalid_request")
	require.Equal(t, "/from", got.body["errors"].([]any)[0].(map[string]any)["pointer"])
	require.Contains(t, got.text, "lies in the future")
	got = a.ask("POST", path, "auditor", period(now.Add(-time.Hour), now.Add(time.Hour)))
	require.Equal(t, 202, got.status, got.text)
	require.Equal(t, "waiting", got.body["state"])
	a.ask("POST", path, "auditor", period(now.Add(-time.Hour), now)).refused(t, 409, "conflict")
	list := a.ask("GET", path, "operator", "")
	require.Len(t, list.body["runs"], 1)
	require.Empty(t, list.body["reconciliations"])
	require.True(t, slices.ContainsFunc(a.readings("reconciliation-asked"), func(f map[string]any) bool { return f["actor"] == "who-auditor" }))
}

// TestNobodyDecidesUnderAnotherNameOfTheirs: who asked with a token may be known to the console's provider by another subject.
func TestNobodyDecidesUnderAnotherNameOfTheirs(t *testing.T) {
	f := openFourEyes(t)
	id := f.asked("PUT", holdPath, "auditor", courtHold)
	for _, who := range []Decider{
		{Subject: "8f2c", Also: []string{"ana@bank.example", "WHO-auditor"}, Roles: bia.Roles}, {Subject: "Who-Auditor", Roles: bia.Roles},
	} {
		for _, approve := range []bool{true, false} {
			_, err := f.api.Decide(t.Context(), who, id, approve, "mine")
			require.Equal(t, 409, DecideFault(err).Status, who)
		}
	}
	require.Equal(t, "waiting", f.state(id)["state"])

	decide := func(who jws.Principal) int {
		r := httptest.NewRequestWithContext(api.SignedIn(t.Context(), who), "POST", requestsPath+"/"+id.String()+"/approve", strings.NewReader(`{"reason":"yes"}`))
		r.Header.Set("Content-Type", typeJSON)
		w := httptest.NewRecorder()
		f.api.ServeHTTP(w, r)
		return w.Code
	}
	require.Equal(t, 409, decide(jws.Principal{Subject: "8f2c", Also: []string{"who-auditor"}, Roles: bia.Roles}))
	require.Equal(t, 200, decide(jws.Principal{Subject: "8f2c", Also: []string{"ana"}, Roles: bia.Roles}))
}

// TestMappingAgainWaitsWhereCasesDo: it applies the open cases of a source, so it is no way around the second person.
func TestMappingAgainWaitsWhereCasesDo(t *testing.T) {
	w, _, _ := resendWorld(t, history.ActQuarantine)
	s := &sources{}
	s.stands.Name = "core"
	w.api.cfg.Sources = s
	got := w.ask("POST", "/internal/v1/sources/core/reapply", "operator", "")
	require.Equal(t, 202, got.status, got.text)
	require.Empty(t, s.asked, "no case was looked at")
	id, err := notice.ParseID(got.body["request"].(string))
	require.NoError(t, err)
	r, err := w.api.Decide(t.Context(), bia, id, true, "the mapping is corrected")
	require.NoError(t, err)
	require.Equal(t, history.RequestDone, r.State, r.Answer)
	require.Len(t, s.asked, 1)
	require.Equal(t, 200, w.ask("POST", "/internal/v1/sources/core/pause", "operator", `{"reason":"the core is migrated"}`).status, "another act does not wait")
}
