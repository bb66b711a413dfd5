package bank

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/jws"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/registry"
)

func id(n byte) notice.ID { return notice.ID{0: 1, 15: n} }

// record is a notification with one attempt that ended and one in flight.
func record() history.Record {
	return history.Record{
		Notification: notice.Notification{
			ID: id(1), ChangeID: id(2), Client: "itp", Kind: ofb.Enrollment, ResourceID: "urn:bank:1", APIVersion: "v2", Revision: 7,
			Status: "AUTHORISED", Event: ofb.StateChanged, EventAt: now,
		},
		CreatedAt: now.Add(123400 * time.Microsecond), State: notice.Pending, Late: true,
		Attempts: []history.AttemptRecord{
			{
				Number: 1, Interaction: id(3), ScheduledAt: now, StartedAt: now.Add(time.Second), EndedAt: now.Add(2 * time.Second),
				Outcome: notice.OutcomeRefused, HTTPStatus: 503, Echo: notice.EchoMissing, URL: "https://itp.example/x", ClaimedURL: "https://itp.example/claimed", Detail: "503",
				TLS:     &notice.TLSFacts{Version: "TLS 1.3", Cipher: "c", PeerSubject: "CN=<x>", PeerFingerprint: "ab", PeerSerial: "1"},
				Offsets: history.Offsets{Answered: 5 * time.Millisecond},
			},
			{Number: 2, Interaction: id(4), ScheduledAt: now.Add(12 * time.Second), StartedAt: now.Add(12 * time.Second), ClaimedURL: "https://itp.example/y"},
		},
	}
}

const recordJSON = `{"id":"01000000-0000-0000-0000-000000000001","changeId":"01000000-0000-0000-0000-000000000002","clientId":"itp",
"kind":"enrollment","resourceId":"urn:bank:1","apiVersion":"v2","revision":7,"status":"AUTHORISED","eventType":"` + string(ofb.StateChanged) + `",
"eventAt":"2026-11-21T12:00:00.000000Z","createdAt":"2026-11-21T12:00:00.123400Z","state":"pending","cancelReason":null,"late":true,
"nextAttemptAt":null,"attempts":[
{"number":1,"interactionId":"01000000-0000-0000-0000-000000000003","scheduledAt":"2026-11-21T12:00:00.000000Z",
"startedAt":"2026-11-21T12:00:01.000000Z","endedAt":"2026-11-21T12:00:02.000000Z","outcome":"refused","httpStatus":503,"echo":"missing",
"tls":{"version":"TLS 1.3","cipher":"c","peerSubject":"CN=<x>","peerFingerprint":"ab"},"url":"https://itp.example/x","detail":"503"},
{"number":2,"interactionId":"01000000-0000-0000-0000-000000000004","scheduledAt":"2026-11-21T12:00:12.000000Z",
"startedAt":"2026-11-21T12:00:12.000000Z","endedAt":null,"outcome":null,"httpStatus":null,"echo":null,"tls":null,"url":"https://itp.example/y","detail":null}]}`

// nothingCompared is what an answer says of a store that compared nothing.
const nothingCompared = `{"verified":0,"proven":0,"unsealed":0,"failedCount":0,"failed":[],"checkpoint":0}`

func TestANotificationReadsTheSameAloneAndInAList(t *testing.T) {
	w := newWorld(t)
	w.shelf.notification = func(got notice.ID) (history.Record, error) {
		require.Equal(t, id(1), got)
		return record(), nil
	}
	w.shelf.notifications = func(context.Context, history.Filter) ([]history.Record, history.Position, error) {
		return []history.Record{record()}, history.Position{}, nil
	}
	one := w.ask("GET", listPath+"/01000000-0000-0000-0000-000000000001", "auditor", "")
	require.Equal(t, 200, one.status)
	require.JSONEq(t, strings.TrimSuffix(recordJSON, "}")+`,"integrity":`+nothingCompared+"}", one.text)
	list := w.ask("GET", listPath, "auditor", "")
	require.JSONEq(t, `{"notifications":[`+recordJSON+`],"nextCursor":null,"integrity":`+nothingCompared+`}`, list.text)

	for _, bad := range []string{"x", "01000000-0000-0000-0000-00000000000", "%00", "00000000-0000-0000-0000-000000000000"} {
		w.ask("GET", listPath+"/"+bad, "auditor", "").refused(t, 404, "not_found")
	}
}

func TestASilentNotificationHasNullsAndNoAttempts(t *testing.T) {
	r := record()
	r.Revision, r.Event, r.Attempts, r.Manual = 0, "", nil, true
	r.State, r.CancelReason = notice.Cancelled, "registration-ended"
	r.NextAttemptAt = now
	text, err := json.Marshal(notificationOf(&r))
	require.NoError(t, err)
	for _, part := range []string{
		`"revision":null`, `"eventType":null`, `"attempts":[]`, `"cancelReason":"registration-ended"`, `"manual":true`,
		`"nextAttemptAt":"2026-11-21T12:00:00.000000Z"`,
	} {
		require.Contains(t, string(text), part)
	}
}

func TestAResourceIsReadAsOneTimeline(t *testing.T) {
	w := newWorld(t)
	w.shelf.timeline = func(key notice.Key) (history.Timeline, error) {
		require.Equal(t, notice.Key{Kind: ofb.PaymentConsent, ID: "urn:bank:a/b%2F=1"}, key)
		r := record()
		return history.Timeline{
			Kind: key.Kind, ResourceID: key.ID, Client: "itp", APIVersion: "v5", Revision: 2, Status: "CONSUMED", UpdatedAt: now,
			Document: []byte("{ \"amount\": 1.00, \"n\":12345678901234567890 }"),
			Events: []history.Event{
				{ID: id(8), At: now, Kind: "change", Client: "itp", Revision: 1, ChangeID: id(2), Notification: id(1), Outcome: "applied", Facts: []byte(`{"cause":"holder"}`)},
				{ID: id(9), At: now.Add(time.Hour), Kind: "poll", Client: "itp", Facts: []byte(`{}`)},
			},
			Notifications: []history.Record{r},
		}, nil
	}
	got := w.ask("GET", "/internal/v1/resources/payment-consent/urn:bank:a%2Fb%252F=1", "auditor", "")
	require.Equal(t, 200, got.status, got.text)
	require.Contains(t, got.text, `"amount":1.00`, "value for value")
	require.Contains(t, got.text, `12345678901234567890`)
	var kinds []any
	for _, moment := range got.body["timeline"].([]any) {
		m := moment.(map[string]any)
		require.Len(t, m, 11)
		kinds = append(kinds, m["kind"])
	}
	require.Equal(t, []any{"change", "attempt", "attempt", "poll"}, kinds)
	require.Len(t, got.body["notifications"], 1)

	for _, bad := range []string{"pix/1", "payment-consent/a%00b", "payment-consent/nourn%20", "5/1", "pix-payment/%2E%2E"} {
		w.ask("GET", "/internal/v1/resources/"+bad, "auditor", "").refused(t, 404, "not_found")
	}
	require.Contains(t, w.ask("GET", "/internal/v1/resources/payment/1", "auditor", "").text, "no kind has this name; the kinds are payment-consent, ")
}

func TestAnEscapedSlashStaysInsideTheId(t *testing.T) {
	w := newWorld(t)
	seen := ""
	w.shelf.get = func(c notice.ClientID) (notice.Initiator, error) {
		seen = string(c)
		return notice.Initiator{Client: c}, nil
	}
	require.Equal(t, 200, w.ask("GET", "/internal/v1/initiators/a%2Fb%252F", "registrar", "").status)
	require.Equal(t, "a/b%2F", seen, "decoded once")
}

func TestRegistrationsAreReadAsTheyAreWritten(t *testing.T) {
	w := newWorld(t)
	stored := notice.Initiator{Client: "itp", OrganisationID: "o", SoftwareID: "s", Name: "<b>", WebhookURIs: []string{"https://itp.example"}, Push: true, UpdatedAt: now}
	created := true
	w.shelf.put = func(c notice.ClientID, r registry.Request, actor string) (notice.Initiator, bool, error) {
		require.Equal(t, notice.ClientID("itp"), c)
		require.Equal(t, registry.Request{
			OrganisationID: "o", SoftwareID: "s", Name: "<b>", WebhookURIs: &[]string{"https://itp.example"}, SoftwareStatement: "a.b.c",
		}, r)
		require.Equal(t, "who-registrar", actor)
		return stored, created, nil
	}
	w.shelf.get = func(notice.ClientID) (notice.Initiator, error) { return stored, nil }
	w.shelf.list = func(notice.InitiatorQuery) ([]notice.Initiator, error) {
		return []notice.Initiator{stored, {Client: "other", UpdatedAt: now}}, nil
	}
	w.shelf.remove = func(c notice.ClientID, actor string) error {
		require.Equal(t, "itp who-registrar", string(c)+" "+actor)
		return nil
	}
	const shape = `{"clientId":"itp","organisationId":"o","softwareId":"s","name":"<b>","webhookUris":["https://itp.example"],"push":true,"updatedAt":"2026-11-21T12:00:00.000000Z"}`
	const body = `{"organisationId":"o","softwareId":"s","name":"<b>","webhookUris":["https://itp.example"],"softwareStatement":"a.b.c"}`
	const path = "/internal/v1/initiators/itp"
	got := w.ask("PUT", path, "registrar", body)
	require.Equal(t, 201, got.status)
	require.JSONEq(t, shape, got.text)
	created = false
	require.Equal(t, 200, w.ask("PUT", path, "registrar", body).status)
	require.JSONEq(t, shape, w.ask("GET", path, "auditor", "").text)
	list := w.ask("GET", "/internal/v1/initiators", "operator", "")
	require.JSONEq(t, `{"initiators":[`+shape+`,{"clientId":"other","organisationId":"","softwareId":"","name":"","webhookUris":[],"push":false,"updatedAt":"2026-11-21T12:00:00.000000Z"}]}`, list.text)
	gone := w.ask("DELETE", path, "registrar", "")
	require.Equal(t, 204, gone.status)
	require.Empty(t, gone.text)
	for _, query := range []string{"limit=0", "limit=1001", "cursor=!", "q=%FF", "name=x"} {
		w.ask("GET", "/internal/v1/initiators?"+query, "operator", "").refused(t, 400, "invalid_request")
	}
	w.ask("PUT", "/internal/v1/initiators/a%20b", "registrar", body).refused(t, 400, "invalid_request")
}

func TestARefusedRegistrationSaysWhy(t *testing.T) {
	w := newWorld(t)
	const path, body = "/internal/v1/initiators/itp", `{"organisationId":"o","softwareId":"s","name":"n"}`
	judged := &registry.Invalid{Code: registry.InvalidURIs, Description: "an address cannot be registered", Problems: []notice.Problem{{Pointer: "/webhookUris/0", Code: "scheme", Detail: "https"}}}
	w.shelf.put = func(notice.ClientID, registry.Request, string) (notice.Initiator, bool, error) {
		return notice.Initiator{}, false, judged
	}
	got := w.ask("PUT", path, "registrar", body)
	got.refused(t, 400, "invalid_webhook_uris")
	require.Equal(t, []any{map[string]any{"pointer": "/webhookUris/0", "code": "scheme", "detail": "https"}}, got.body["errors"])
	judged = &registry.Invalid{Code: registry.InvalidURIs, Description: registry.Differs}
	got = w.ask("PUT", path, "registrar", body)
	require.Equal(t, 400, got.status)
	require.Equal(t, registry.Differs, got.body["error_description"])
	w.shelf.put = func(notice.ClientID, registry.Request, string) (notice.Initiator, bool, error) {
		return notice.Initiator{}, false, fmt.Errorf("statement: %w", jws.ErrUnavailable)
	}
	w.ask("PUT", path, "registrar", body).refused(t, 503, "unavailable")
}

func TestBodiesAreReadStrictly(t *testing.T) {
	w := newWorld(t)
	w.shelf.put = func(notice.ClientID, registry.Request, string) (notice.Initiator, bool, error) {
		t.Error("a bad body was taken")
		return notice.Initiator{}, false, nil
	}
	for body, want := range map[string][2]string{
		`{"organisationId":"o","colour":1}`: {"unknown_member", "/colour"},
		`{"OrganisationId":"o"}`:            {"unknown_member", "/OrganisationId"},
		`{"name":"a","name":"b"}`:           {"duplicate_member", "/name"},
		`{"name":1}`:                        {"type", "/name"},
		`{"webhookUris":"x"}`:               {"type", "/webhookUris"},
		`{"webhookUris":["x",7]}`:           {"type", "/webhookUris/1"},
		`{"webhookUris":null}`:              {"type", "/webhookUris"},
		`null`:                              {"type", ""},
		`[]`:                                {"type", ""},
		`{"name":"a"} x`:                    {"invalid_json", ""},
		`{"name":"a"}{}`:                    {"invalid_json", ""},
		`{"name":"a`:                        {"invalid_json", ""},
		"{\"name\":\"\xff\"}":               {"invalid_json", ""},
		` `:                                 {"invalid_json", ""},
		`{"name":"\ud800"}`:                 {"invalid_json", ""},
	} {
		got := w.ask("PUT", "/internal/v1/initiators/itp", "registrar", body)
		got.refused(t, 400, "invalid_request")
		problem := got.body["errors"].([]any)[0].(map[string]any)
		require.Equal(t, want[0], problem["code"], "%s: %s", body, got.text)
		if want[1] != "" {
			require.Equal(t, want[1], problem["pointer"], "%s: %s", body, got.text)
		}
	}
	big := `{"name":"` + string(make([]byte, 70<<10)) + `"}`
	w.ask("PUT", "/internal/v1/initiators/itp", "registrar", big).refused(t, 413, "too_large")
}

func TestTheQuarantineIsListedReadAppliedAndDismissed(t *testing.T) {
	w := newWorld(t)
	line := []byte(payment("p1", 4, "ACSC"))
	c := notice.Case{
		ID: id(5), Kind: "pix-payment", ResourceID: "p1", Revision: 4, Client: "itp", Source: "api", Line: line, Seen: 2, FirstAt: now, LastAt: now, State: "open",
		Problems: []notice.Problem{{Pointer: "/data/x", Code: "unknown_member", Detail: "no", DetailPT: "não"}},
	}
	var state string
	var limit int
	w.shelf.cases = func(s string, l int) ([]notice.Case, error) {
		state, limit = s, l
		listed := c
		listed.Line = nil
		return []notice.Case{listed}, nil
	}
	w.shelf.aCase = func(got notice.ID) (notice.Case, error) {
		if got != c.ID {
			return notice.Case{}, errMissing
		}
		return c, nil
	}
	const path = "/internal/v1/quarantine/01000000-0000-0000-0000-000000000005"
	const shape = `"id":"01000000-0000-0000-0000-000000000005","state":"open","kind":"pix-payment","resourceId":"p1","revision":4,"clientId":"itp","source":"api",
"errors":[{"pointer":"/data/x","code":"unknown_member","detail":"no"}],"seen":2,"firstAt":"2026-11-21T12:00:00.000000Z","lastAt":"2026-11-21T12:00:00.000000Z",
"closedBy":null,"closedReason":null,"closedAt":null`
	require.JSONEq(t, `{"quarantine":[{`+shape+`}]}`, w.ask("GET", "/internal/v1/quarantine", "operator", "").text)
	require.Equal(t, "open", state)
	require.Equal(t, 100, limit)
	require.Equal(t, 200, w.ask("GET", "/internal/v1/quarantine?state=all&limit=5", "operator", "").status)
	require.Empty(t, state)
	require.Equal(t, 5, limit)
	w.ask("GET", "/internal/v1/quarantine?state=closed", "operator", "").refused(t, 400, "invalid_request")
	require.JSONEq(t, `{`+shape+`,"change":`+string(line)+`}`, w.ask("GET", path, "operator", "").text)
	require.Contains(t, w.ask("GET", path, "operator", "", "Accept-Language: pt").text, "não")

	applied := w.ask("POST", path+"/apply", "operator", "")
	require.Equal(t, 200, applied.status, applied.text)
	require.Equal(t, "applied", applied.body["outcome"])
	require.Equal(t, []string{"quarantine who-operator"}, w.memory.sources)
	w.ask("POST", path+"/apply", "operator", "").refused(t, 409, "conflict") // the same content is stored by now
	c.State, c.Line = "applied", nil
	w.ask("POST", path+"/apply", "operator", "").refused(t, 409, "conflict")

	why := ""
	done := true
	w.shelf.dismiss = func(_ notice.ID, actor, reason string) (bool, error) {
		why = actor + ": " + reason
		if done {
			c.State, c.ClosedBy, c.ClosedWhy, c.ClosedAt = "dismissed", actor, reason, now
		}
		return done, nil
	}
	gone := w.ask("POST", path+"/dismiss", "operator", `{"reason":" sent by mistake "}`)
	require.Equal(t, 200, gone.status)
	require.Equal(t, "dismissed", gone.body["state"])
	require.Nil(t, gone.body["change"])
	require.Equal(t, "who-operator: sent by mistake", why)
	done = false
	w.ask("POST", path+"/dismiss", "operator", `{"reason":"again"}`).refused(t, 409, "conflict")
	w.ask("POST", "/internal/v1/quarantine/"+someID+"/dismiss", "operator", `{"reason":"x"}`).refused(t, 404, "not_found")
	w.ask("POST", "/internal/v1/quarantine/"+someID+"/apply", "operator", "").refused(t, 404, "not_found")
	for _, bad := range []string{`{}`, `{"reason":""}`, `{"reason":"  "}`, `{"reason":"a\nb"}`, `{"reason":7}`} {
		w.ask("POST", path+"/dismiss", "operator", bad).refused(t, 400, "invalid_request")
	}
}
