package watch

import (
	"context"
	"encoding/json"
	"maps"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// bank is a mapping with everything in it.
const bank = `
source: core
type: postgres
generation: 2
postgres:
  url_file: /run/secrets/core
tables:
  payments:
    kind: pix-payment
    when: 'kind != "TED"'
    joins:
      consent: {table: payment_consents, column: id, value: consent_id}
      client: {table: clients, column: id, value: consent.client_ref}
    id: external_id
    client: client.client_id
    version: '"v" + string(api)'
    status:
      value: status
      map: {RECEIVED: RCVD, PENDING: PDNG, DONE: ACSC, FAILED: RJCT, "7": CANC}
    occurredAt: [status_at, updated_at, committed_at]
    cause: 'cancelled_by == "INITIATOR" ? "initiator" : "holder"'
    data:
      endToEndId: end_to_end
      consentId: '"urn:bank:consent:" + consent_id'
      creationDateTime: instant(created_at)
      payment:
        amount: amount(total)
        currency: '"BRL"'
      rejectionReason:
        code: reason
        detail: reason_text ?? reason
      tags: [extra.tag, 5, true, null]
      nothing: null
      empty: {}
  app.consents:
    - kind: payment-consent
      when: type == 1
      id: urn
      client: client_id
      version: v4
      status: status
      revision: version
      data: {}
    - kind: recurring-consent
      when: row.type != 1
      id: urn
      client: client_id
      version: v2
      status: status
      data: {risk: extra}
  clients:
    kind: initiator
    when: role == "ITP"
    gone: not active
    client: client_id
    organisationId: org
    softwareId: software
    name: name
    webhookUris: uris
    statement: ssa
    statements: checked-by-authorization-server
`

func bankColumns() map[string][]Column {
	return map[string][]Column{
		"payments": {
			{"id", Number, true},
			{"external_id", Text, false},
			{"kind", Text, false},
			{"consent_id", Text, false},
			{"api", Number, false},
			{"status", Text, false},
			{"status_at", Instant, false},
			{"updated_at", Instant, false},
			{"created_at", Instant, false},
			{"cancelled_by", Text, false},
			{"end_to_end", Text, false},
			{"total", Text, false},
			{"reason", Text, false},
			{"reason_text", Text, false},
			{"extra", JSON, false},
		},
		"payment_consents": {{"id", Text, true}, {"client_ref", Number, false}},
		"app.consents": {
			{"urn", Text, true},
			{"type", Number, false},
			{"client_id", Text, false},
			{"status", Text, false},
			{"version", Number, false},
			{"extra", JSON, false},
		},
		"clients": {
			{"id", Number, false},
			{"client_id", Text, true},
			{"role", Text, false},
			{"active", Boolean, false},
			{"org", Text, false},
			{"software", Text, false},
			{"name", Text, false},
			{"uris", JSON, false},
			{"ssa", Text, false},
		},
	}
}

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// payment is a row of payments; members override, and a Missing removes.
func payment(override map[string]any) SourceRecord {
	values := map[string]any{
		"id": json.Number("4711"), "external_id": "p-4711", "kind": "PIX", "consent_id": "c-1", "api": json.Number("5"), "status": "DONE",
		"status_at": "2026-11-21T11:59:59.25Z", "updated_at": "2026-11-21T11:59:58Z", "created_at": "2026-11-21T08:59:00-03:00",
		"cancelled_by": nil, "end_to_end": "E1", "total": "1500.1", "reason": nil, "reason_text": nil,
		"extra": map[string]any{"tag": json.Number("1.50")},
	}
	maps.Copy(values, override)
	return SourceRecord{
		Table: "payments", Op: Update, Values: values, Key: "payments id=4711", Revision: 0x1234, Position: "0/1234", CommittedAt: noon,
	}
}

// rows answers every lookup of the bank.
func rows(_ context.Context, l Lookup) (map[string]map[string]any, error) {
	out := map[string]map[string]any{}
	for _, key := range l.Keys {
		switch {
		case l.Table == "payment_consents" && l.Column == "id" && key == "c-1":
			out[key] = map[string]any{"id": key, "client_ref": json.Number("88")}
		case l.Table == "clients" && l.Column == "id" && key == "88":
			out[key] = map[string]any{"id": json.Number("88"), "client_id": "itp-88"}
		}
	}
	return out, nil
}

func mustParse(t testing.TB, text string) *Mapping {
	t.Helper()
	m, err := ParseMapping("core.yaml", []byte(text))
	require.NoError(t, err)
	return m
}

// mapOne maps a record by the first rule of its table.
func mapOne(t testing.TB, m *Mapping, rec SourceRecord, part int) Mapped {
	t.Helper()
	w := &work{rule: m.rules[rec.Table][part], rec: &rec}
	require.NoError(t, (&mapper{find: rows}).all(t.Context(), []*work{w}))
	return w.Mapped
}
