package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/lab/stage"
	"github.com/arauto/arauto/internal/lab/storetest"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/store"
)

// changeLine is one change of a Pix payment as a line.
func changeLine(t *testing.T, client, id string, status ofb.Status) string {
	t.Helper()
	line, err := payment(client, id, 1, status).Line()
	require.NoError(t, err)
	return string(line)
}

func TestExplainWithoutADatabaseJudgesTheFirstChangeOfAResource(t *testing.T) {
	t.Parallel()
	got := call(t, time.Minute, []string{"ARAUTO_AUTHORISATION_SERVER_ID=" + stage.AuthorisationServerID}, "explain", "--change", changeLine(t, "alfa", "pay-1", ofb.ACSC))
	require.Equal(t, done, got.code, got.errors)
	for _, want := range []string{
		"database.url is not set", "it must be announced (webhook §5.2)", "POST /open-banking/webhook/v1/payments/v5/pix/payments/pay-1 HTTP/1.1",
		"https://registered-address.invalid/open-banking/webhook/v1/payments/v5/pix/payments/pay-1", "x-webhook-interaction-id:", `{"data":{"timestamp":"`, "nothing was stored or sent",
	} {
		require.Contains(t, got.out, want)
	}
	got = call(t, time.Minute, nil, "explain", "--lang", "pt", "--change", changeLine(t, "alfa", "pay-1", ofb.RCVD))
	require.Equal(t, done, got.code, got.errors)
	require.Contains(t, got.out, "não é anunciada: nenhuma regra pede este passo (webhook §5.2)")
	require.NotContains(t, got.out, "HTTP/1.1")

	bad := strings.Replace(changeLine(t, "alfa", "pay-1", ofb.ACSC), `"currency":"BRL"`, `"currency":7`, 1)
	got = call(t, time.Minute, nil, "explain", "--lang", "pt", "--change", bad)
	require.Equal(t, done, got.code, got.errors)
	require.Contains(t, got.out, "não segue o esquema da API")
	require.Contains(t, got.out, "/data/payment/currency type")
	got = call(t, time.Minute, []string{"ARAUTO_SCHEMA_NONCONFORMING=refuse"}, "explain", "--lang", "pt", "--change", bad)
	require.Equal(t, failed, got.code)
	require.Contains(t, got.out, "iria para a quarentena")
	require.Contains(t, got.out, "/data/payment/currency type")
	got = call(t, time.Minute, nil, "explain", "--change", `{"kind":"pix-payment","colour":"red"}`)
	require.Equal(t, failed, got.code)
	require.Contains(t, got.out, "this is no change: /colour")
}

func TestExplainSaysWhyNothingWouldBeToldAndChangesNothing(t *testing.T) {
	t.Parallel()
	database := storetest.Database(t)
	s, err := store.Open(t.Context(), store.Options{URL: database, Replica: "test"})
	require.NoError(t, err)
	t.Cleanup(s.Close)
	_, _, err = s.PutInitiator(t.Context(), notice.Initiator{Client: "alfa", OrganisationID: "o", SoftwareID: "s", Name: "Alfa", WebhookURIs: []string{"https://alfa.example/hook"}}, "test")
	require.NoError(t, err)
	line := changeLine(t, "alfa", "pay-1", ofb.ACSC)
	explain := func(client string, more ...string) called {
		change := strings.Replace(line, `"clientId":"alfa"`, `"clientId":"`+client+`"`, 1)
		return call(t, time.Minute, append([]string{"ARAUTO_DATABASE_URL=" + database}, more...), "explain", "--change", change)
	}
	got := explain("alfa")
	require.Equal(t, done, got.code, got.errors)
	require.Contains(t, got.out, "client: alfa, registered with https://alfa.example/hook")
	require.Contains(t, got.out, "Host: alfa.example")
	require.Equal(t, got.out, explain("alfa").out, "the first dry run left nothing behind")
	got = explain("nobody")
	require.Contains(t, got.out, "it is not announced: no registration has this clientId")
	require.Contains(t, got.out, "client: nobody is not registered")
	_, _, err = s.PutInitiator(t.Context(), notice.Initiator{Client: "alfa", OrganisationID: "o", SoftwareID: "s", Name: "Alfa", WebhookURIs: []string{"https://10.0.0.1/hook"}}, "test")
	require.NoError(t, err)
	require.Contains(t, explain("alfa").out, "the address must not be dialled")
	require.Contains(t, explain("alfa", "ARAUTO_PROFILE=development", "ARAUTO_WEBHOOK_ALLOW_NETWORKS=10.0.0.0/8").out, "Host: 10.0.0.1")
}

func TestExplainRefusesAWrongCommandLine(t *testing.T) {
	for _, args := range [][]string{
		{},
		{"--row", "{}"},
		{"--change", "{}", "--row", "{}", "--source", "x"},
		{"--source", "x"},
		{"--change", "{}", "--lang", "fr"},
		{"--source", filepath.Join(t.TempDir(), "absent.yaml"), "--row", "{}"},
		{"--source", filepath.Join(samples, "mockbank.yaml"), "--row", "{}"},
		{"--source", filepath.Join(samples, "mockbank.yaml"), "--table", "payments", "--row", "[]"},
	} {
		got := call(t, time.Minute, nil, append([]string{"explain"}, args...)...)
		require.Equal(t, usage, got.code, "%v: %s", args, got.out)
	}
}

// TestExplainTakesARowOfTheForeignCoreApart asks about rows as the bank's tables hold them, with the bank's help and
// without.
func TestExplainTakesARowOfTheForeignCoreApart(t *testing.T) {
	t.Parallel()
	f := prepareForeign(t, stage.Options{})
	ctx := t.Context()
	ids := f.begin(ofb.PixPayment, 1)
	require.NoError(t, f.bank.Move(ctx, ofb.PixPayment, ids[0], ofb.RJCT))
	row := func(table, id string) string {
		var text string
		require.NoError(t, f.bank.Pool().QueryRow(ctx, "SELECT to_jsonb(t)::text FROM "+table+" t WHERE id::text = $1", id).Scan(&text))
		return text
	}
	explain := func(environ []string, args ...string) called {
		return call(t, time.Minute, environ, append([]string{"explain", "--source", f.mapping}, args...)...)
	}
	got := explain(f.Environment(), "--table", "payments", "--row", row("payments", ids[0]))
	require.Equal(t, done, got.code, got.out+got.errors)
	for _, want := range []string{
		"tables.payments: pix-payment", `status: status  =  "RJCT"`, `data.debtorAccount.number: account?.number  =  "94088392"`, `"rejectionReason"`,
		"it is not announced: no registration has this clientId", "client: alfa is not registered", "nothing was stored or sent",
	} {
		require.Contains(t, got.out, want)
	}
	const given = "the core's database was not asked for its form of this row"
	require.NotContains(t, got.out, given)
	require.Equal(t, strings.ReplaceAll(got.out, "at 20", ""), strings.ReplaceAll(explain(f.Environment(), "--table", "payments").out, "at 20", ""), "without a row, the newest one of the table")
	f.triedByCheck()

	require.NoError(t, os.WriteFile(filepath.Join(f.Dir, "core.url"), []byte("postgres://nobody@127.0.0.1:1/bank"), 0o600))
	var values map[string]any
	require.NoError(t, json.Unmarshal([]byte(row("payments", ids[0])), &values))
	values["account"] = map[string]any{"number": "7", "branch_code": "0001", "type": "CONTA_POUPANCA"}
	text, err := json.Marshal(values)
	require.NoError(t, err)
	got = explain(nil, "--table", "payments", "--row", string(text))
	require.Equal(t, done, got.code, got.out+got.errors)
	require.Contains(t, got.out, "the core was not asked for related rows")
	require.Contains(t, got.out, given)
	require.Contains(t, got.out, `"number": "7"`)
	require.Contains(t, got.out, "it must be announced (webhook §5.2)")

	values["status"] = "DONE"
	text, err = json.Marshal(values)
	require.NoError(t, err)
	got = explain(nil, "--lang", "pt", "--table", "payments", "--row", string(text))
	require.Equal(t, failed, got.code)
	require.Contains(t, got.out, "/data/status")

	client := row("oauth_clients", "alfa")
	got = explain(f.Environment(), "--table", "oauth_clients", "--row", client)
	require.Equal(t, done, got.code, got.out+got.errors)
	require.Contains(t, got.out, "registration of alfa: Iniciadora alfa, organisation "+certs.DefaultAlfa.Organisation.ID)
	require.Contains(t, got.out, f.alfa.BaseURI("/alfa"))
	got = explain(nil, "--table", "oauth_clients", "--row", client) // production, where no address of this host can be registered
	require.Equal(t, failed, got.code, got.out+got.errors)
	require.Contains(t, got.out, "this registration would be refused, and go to quarantine")
	require.Contains(t, got.out, "/webhookUris/0")
}

// triedByCheck has arauto check try the mapping with the newest rows, as it is and with a member that the API does not have.
func (f *foreign) triedByCheck() {
	t := f.t
	t.Helper()
	check := func(mapping string, more ...string) called {
		environ := append([]string{"PATH=" + os.Getenv("PATH")}, f.Environment()...)
		return call(t, time.Minute, append(append(environ, "ARAUTO_WEBHOOK_TIMEOUT=15s", "ARAUTO_WATCH_SOURCES="+mapping), more...), "check")
	}
	got := check(f.mapping)
	require.Equal(t, done, got.code, got.out+got.errors)
	require.Contains(t, got.out, "source mockbank: payments: tables.payments: the newest row fits")
	require.Contains(t, got.out, "source mockbank: oauth_clients: tables.oauth_clients: the newest row fits")
	require.Contains(t, got.out, "source mockbank: enrollments: has no row, so the mapping was not tried against the schema")

	text, err := os.ReadFile(f.mapping)
	require.NoError(t, err)
	wrong := filepath.Join(f.Dir, "wrong.yaml")
	text = []byte(strings.Replace(string(text), "      localInstrument: local_instrument\n      proxy: proxy\n      cnpjInitiator", "      local_instrument: local_instrument\n      proxy: proxy\n      cnpjInitiator", 1))
	require.NoError(t, os.WriteFile(wrong, text, 0o600))
	got = check(wrong)
	require.Equal(t, done, got.code, got.out+got.errors)
	require.Contains(t, got.out, "WARNING source mockbank: payments: tables.payments: the newest row would go to quarantine: ")
	require.Contains(t, got.out, "/data/local_instrument unknown-member")
	require.NotContains(t, got.out, "94088392", "no value of a row")
	require.NotContains(t, got.out, "tables.payments.data.rejectionReason.code (rejection?.code)", "the newest row has it")

	text = []byte(strings.ReplaceAll(string(text), "rejection?.code", "rejection?.kode"))
	require.NoError(t, os.WriteFile(wrong, text, 0o600))
	got = check(wrong, "ARAUTO_SCHEMA_NONCONFORMING=tell")
	require.Equal(t, done, got.code, got.out+got.errors)
	require.Contains(t, got.out, "WARNING source mockbank: payments: tables.payments: the newest row would be told, and listed as non-conforming: ")
	require.Regexp(t, `source mockbank: payments: tables.payments: null in each of the newest rows \(\d+\) that it takes, so make sure of the names: .*tables.payments.data.rejectionReason.code \(rejection\?\.kode\)`, got.out)
}
