package gateway

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/lab/openapitest"
	"github.com/arauto/arauto/internal/lab/stage"
	"github.com/arauto/arauto/internal/ofb"
)

// required is what an entry of each kind must say beside its time, its kind and what happened (cases S1): names of facts,
// with an @ where it is an address and port, and of columns, with a dot in front. A kind that is not here fails the test.
var required = map[string][]string{
	"change":               {"system", "source", "actor", "@remote", ".client_id", ".resource_id", ".outcome"},
	"decision":             {"system", "source", "actor", "@remote", ".client_id", ".resource_id", ".outcome", ".change_id"},
	"duplicate":            {"system", "source", "actor", "@remote", ".client_id", ".resource_id", ".outcome", ".change_id"},
	"conflict":             {"system", "source", "actor", "@remote", ".client_id", ".resource_id", ".outcome", "why"},
	"quarantined":          {"system", "source", "actor", "@remote", ".client_id", ".resource_id", ".outcome"},
	"attempt":              {"system", "base", "scheduledAt", ".client_id", ".resource_id", ".notification_id", ".interaction_id", ".number"}, // its addresses are in its result
	"result":               {"system", "attempt", ".client_id", ".resource_id", ".notification_id", ".number", ".outcome"},
	"cancelled":            {"system", "reason", ".client_id", ".resource_id", ".notification_id", ".outcome"},
	"resend":               {"system", "actor", "role", "why", "@remote", ".client_id", ".resource_id", ".notification_id", ".outcome"},
	"registered":           {"system", "actor", "role", "@source", ".client_id", ".outcome"},
	"registration-refused": {"system", "actor", "role", "@source", ".client_id", ".outcome"},
	"poll":                 {"system", "@source", "certificateSerial", "tokenId", ".client_id", ".interaction_id", ".outcome"},
	"admin":                {"system", "actor", "role", "@source", ".outcome"},
	"hold":                 {"system", "actor", "role", "@source", "name", "reason", ".client_id", ".outcome"},
	"start":                {"system", "replica", "version", "profile", "startedAt", "settingsSha256", "settings", "loosened", "inForce", ".outcome"},
	"reload":               {"system", "setting", "source", "inForce", ".outcome"},
}

// firstInChange is no kind: it counts the changes whose entry is that of their first attempt too.
const firstInChange = "change with its first attempt"

// TestEveryKindOfEntrySaysWhoFromWhereAndWhat is case S1: each kind is made the way the product makes it.
func TestEveryKindOfEntrySaysWhoFromWhereAndWhat(t *testing.T) {
	t.Parallel()
	h := open(t, "ARAUTO_RESEND_ENABLED=true")
	h.initiator(certs.DefaultAlfa)
	beta := h.initiator(certs.DefaultBeta)
	beta.Close()
	call := func(status int, method, path string, in, out any) {
		t.Helper()
		err := h.core.Call(t.Context(), method, "/internal/v1/"+path, in, out)
		if status < 300 {
			require.NoError(t, err)
			return
		}
		var refusal *stage.Refusal
		require.ErrorAs(t, err, &refusal)
		require.Equal(t, status, refusal.Status, refusal.Body)
	}
	require.Error(t, h.register(certs.DefaultAlfa, "http://plain.example.com"))

	id := uuid.NewString()
	c := stage.Change{
		Kind: ofb.PixPayment.String(), ClientID: certs.DefaultAlfa.Name, APIVersion: "v5", Revision: 1, OccurredAt: time.Now().UTC(),
		Data: openapitest.Document(ofb.PixPayment, "v5", ofb.ACSC, id),
	}
	var accepted stage.Accepted
	call(200, http.MethodPost, "changes", c, &accepted)
	h.settled(accepted, 1)
	call(200, http.MethodPost, "changes", c, nil)
	c.OccurredAt = c.OccurredAt.Add(time.Second)
	call(409, http.MethodPost, "changes", c, nil)
	c.Revision, c.Data = 2, openapitest.Document(ofb.PixPayment, "v5", ofb.RCVD, id)
	call(422, http.MethodPost, "changes", c, nil)
	var cases struct {
		Quarantine []struct{ ID string }
	}
	call(200, http.MethodGet, "quarantine", nil, &cases)
	require.Len(t, cases.Quarantine, 1)
	call(200, http.MethodPost, "quarantine/"+cases.Quarantine[0].ID+"/dismiss", map[string]string{"reason": "test"}, nil)

	consent := "urn:bancoex:" + uuid.NewString()
	for _, step := range []struct {
		revision int64
		status   ofb.Status
	}{{10, ofb.AwaitingAuthorisation}, {30, ofb.Authorised}, {20, ofb.PartiallyAccepted}} {
		call(200, http.MethodPost, "changes", stage.Change{
			Kind: ofb.PaymentConsent.String(), ClientID: certs.DefaultAlfa.Name, APIVersion: "v5", Revision: step.revision, OccurredAt: time.Now().UTC(),
			Data: openapitest.Document(ofb.PaymentConsent, "v5", step.status, consent),
		}, nil)
	}

	_, waiting := h.change(certs.DefaultBeta)
	h.settled(waiting, 1)
	require.NoError(t, h.registerListed(certs.DefaultBeta, []string{beta.BaseURI("/" + certs.DefaultBeta.Name)}, nil))
	h.until("the cancellation", func() bool { return len(h.entries("cancelled")) > 0 })
	require.NoError(t, h.register(certs.DefaultBeta, beta.BaseURI("/"+certs.DefaultBeta.Name)))
	call(202, http.MethodPost, "notifications/"+waiting.Notifications[0].ID+"/resend", map[string]string{"reason": "test"}, nil)

	status, _, _, err := h.poller(certs.DefaultAlfa).get(id)
	require.NoError(t, err)
	require.Equal(t, 200, status)
	call(200, http.MethodGet, "audit/entries?resourceId="+id, nil, nil)
	call(201, http.MethodPut, "audit/holds/case-1", map[string]string{"clientId": certs.DefaultAlfa.Name, "reason": "test"}, nil)
	var export struct{ ID, State string }
	h.until("a checkpoint", func() bool {
		return h.core.Call(t.Context(), http.MethodGet, "/internal/v1/audit/checkpoints", nil, nil) == nil
	})
	call(202, http.MethodPost, "audit/exports", map[string]string{"format": "jsonl"}, &export)
	h.until("the export", func() bool {
		call(200, http.MethodGet, "audit/exports/"+export.ID, nil, &export)
		return export.State == "done"
	})
	h.until("the resend", func() bool { return len(h.entries("result")) >= 4 })
	h.replace("trust/roots.pem", append(certs.CertPEM(h.pki.Root.Certificate), '\n'))
	h.until("the other file", func() bool { return len(h.entries("reload")) > 0 })
	h.requireFields()
}

func (h *house) requireFields() {
	h.t.Helper()
	h.recorded()
	conn, err := pgx.Connect(h.t.Context(), h.url)
	require.NoError(h.t, err)
	defer conn.Close(context.WithoutCancel(h.t.Context()))
	rows, err := conn.Query(h.t.Context(), "SELECT to_jsonb(e) - 'facts', facts, coalesce(private, '{}') FROM arauto.entry e")
	require.NoError(h.t, err)
	seen := map[string]int{}
	var columns, text, private []byte
	_, err = pgx.ForEachRow(rows, []any{&columns, &text, &private}, func() error {
		var column, facts map[string]any
		require.NoError(h.t, json.Unmarshal(columns, &column))
		require.NoError(h.t, json.Unmarshal(text, &facts))
		require.NoError(h.t, json.Unmarshal(private, &facts), "what the bank alone may see stands beside the facts")
		kind := column["kind"].(string)
		seen[kind]++
		names, known := required[kind]
		require.True(h.t, known, "say what an entry of the kind %s must have", kind)
		for _, name := range names {
			switch name[0] {
			case '.':
				require.NotNil(h.t, column[name[1:]], "%s of %s", name, columns)
			case '@':
				_, err := netip.ParseAddrPort(facts[name[1:]].(string))
				require.NoError(h.t, err, "%s of %s %s", name, columns, text)
			default:
				require.NotEmpty(h.t, facts[name], "%s of %s %s", name, columns, text)
			}
		}
		if kind == "change" && column["interaction_id"] != nil { // it is the entry of the first attempt too
			seen[firstInChange]++
			first, _ := facts["first"].(map[string]any)
			require.NotEmpty(h.t, first["base"], "%s %s", columns, text)
			require.EqualValues(h.t, 1, first["number"])
			require.NotNil(h.t, column["notification_id"])
		}
		if kind == "result" && column["outcome"] == "delivered" {
			for _, name := range []string{"local", "remote"} {
				_, err := netip.ParseAddrPort(facts[name].(string))
				require.NoError(h.t, err)
			}
		}
		return nil
	})
	require.NoError(h.t, err)
	for _, kind := range append(slices.Collect(maps.Keys(required)), firstInChange) {
		require.NotZero(h.t, seen[kind], "none of kind %s was made, so this shows nothing about it", kind)
	}
}
