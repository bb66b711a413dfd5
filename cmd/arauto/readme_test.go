package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/lab/stage"
	"github.com/arauto/arauto/internal/lab/standin"
)

// snippet is the fenced block of README.md that holds a text.
func snippet(t *testing.T, holds string) string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	require.NoError(t, err)
	for _, m := range regexp.MustCompile("(?ms)^```[a-z]*\n(.*?)^```$").FindAllSubmatch(page, -1) {
		if strings.Contains(string(m[1]), holds) {
			return string(m[1])
		}
	}
	t.Fatalf("README.md has no block with %q", holds)
	return ""
}

// inFolder writes a mapping of README.md into a folder, with what it names replaced by what the test has.
func inFolder(t *testing.T, dir, mapping string, has ...string) string {
	t.Helper()
	for i := 0; i < len(has); i += 2 {
		require.Contains(t, mapping, has[i])
	}
	file := filepath.Join(dir, "mapping.yaml")
	require.NoError(t, os.WriteFile(file, []byte(strings.NewReplacer(has...).Replace(mapping)), 0o600))
	return file
}

// TestTheThreeWaysOfTheREADMEConnectACore runs the three snippets of README.md as they stand there, side by side: each of
// them makes one change, and the initiator hears of each.
func TestTheThreeWaysOfTheREADMEConnectACore(t *testing.T) {
	t.Parallel()
	core, events := openPagamentos(t), openEvents(t)
	h := open(t, stage.Options{Settings: append(slices.Clone(unhurried), "ARAUTO_WATCH_SOURCES="+core.mapping+","+events.mapping)})
	f, alfa := &foreign{house: h}, h.initiator("alfa")
	arrives := func(id string) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := alfa.Wait(ctx, 1, standin.For(id))
		require.NoError(t, err)
	}

	token, err := h.Token("readme", "ingest")
	require.NoError(t, err)
	demo := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(demo, "token"), []byte(token), 0o600))
	script := exec.CommandContext(t.Context(), "bash", "-euc", snippet(t, "curl"))
	script.Env = append(os.Environ(), "bank=http://"+h.replica.Internal, "demo="+demo)
	answer, err := script.CombinedOutput()
	require.NoError(t, err, "%s", answer)
	var accepted stage.Accepted
	require.NoError(t, json.Unmarshal(answer, &accepted), "%s", answer)
	require.Equal(t, "applied", accepted.Outcome)
	require.Len(t, accepted.Notifications, 1)
	arrives("pix-1")

	f.until("the log is followed", time.Minute, func() (following bool) {
		const slot = "SELECT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = 'arauto' AND active)"
		require.NoError(t, core.conn.QueryRow(t.Context(), slot).Scan(&following))
		return following
	})
	core.exec(`INSERT INTO pagamentos VALUES ('pg-1', 'alfa', 'REJEITADO', 'urn:bancoexemplo:consent-2', 'E9999900420261122014881B91E1B170', '99999999000272', now(), now(), 150.25,
		'{"ispb": "99999004", "issuer": "1774", "number": "1234567890", "accountType": "CACC"}', '{"ispb": "99999004", "issuer": "0001", "number": "94088392", "accountType": "CACC"}',
		'{"code": "SALDO_INSUFICIENTE", "detail": "A conta não tem saldo."}')`)
	arrives("pg-1")

	now := time.Now().UTC().Truncate(time.Second).Format(time.RFC3339)
	events.tell(fmt.Sprintf(`{"id": "urn:bancoexemplo:enrollment-1", "client": "alfa", "status": "REJECTED", "revision": 1, "at": %q, "created": %q, "permissions": ["PAYMENTS_INITIATE"],
		"user": {"document": {"identification": "99999999999", "rel": "CPF"}},
		"cancellation": {"cancelledFrom": "DETENTORA", "reason": {"rejectionReason": "REJEITADO_MANUALMENTE"}}}`, now, now))
	arrives("urn:bancoexemplo:enrollment-1")
	require.Empty(t, f.openCases())
	f.until("all is settled", time.Minute, func() bool {
		return f.count("SELECT (SELECT count(*) FROM arauto.queue) + (SELECT count(*) FROM arauto.flight)") == 0
	})
	require.Len(t, told(alfa), 3)
}

// pagamentos is a core on PostgreSQL with the table that README.md maps.
type pagamentos struct {
	t       *testing.T
	conn    *pgx.Conn
	mapping string // file
}

func openPagamentos(t *testing.T) *pagamentos {
	t.Helper()
	_, address := startCore(t, "core")
	p := &pagamentos{t: t}
	var err error
	p.conn, err = pgx.Connect(t.Context(), address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = p.conn.Close(context.Background()) })
	p.exec(`CREATE TABLE pagamentos (id text PRIMARY KEY, iniciadora text, situacao text, consentimento text, e2e text, cnpj_iniciadora text, criado_em timestamptz, alterado_em timestamptz,
		valor numeric(15,2), conta_recebedora jsonb, conta_pagadora jsonb, motivo jsonb)`)
	p.exec(`CREATE ROLE arauto_reader LOGIN REPLICATION PASSWORD 'reader'`)
	p.exec(`GRANT SELECT ON pagamentos TO arauto_reader`)
	p.exec(`CREATE PUBLICATION arauto FOR TABLE pagamentos WITH (publish = 'insert, update, delete, truncate', publish_via_partition_root = true)`)
	dir := t.TempDir()
	file := filepath.Join(dir, "core.url")
	writeReaderURL(t, file, address, url.UserPassword("arauto_reader", "reader"))
	p.mapping = inFolder(t, dir, snippet(t, "type: postgres"), "/etc/arauto/core.url", file)
	return p
}

func (p *pagamentos) exec(statement string) {
	p.t.Helper()
	_, err := p.conn.Exec(p.t.Context(), statement)
	require.NoError(p.t, err)
}

// events is a core's topic on a Kafka in this process.
type events struct {
	t        *testing.T
	producer *kgo.Client
	mapping  string // file
}

func openEvents(t *testing.T) *events {
	t.Helper()
	made, err := pki()
	require.NoError(t, err)
	leaf, err := made.Issue(made.InitiatorServer(certs.DefaultAlfa)) // it names the loopback addresses
	require.NoError(t, err)
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "core.enrollments"),
		kfake.TLS(&tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{leaf.TLS()}}))
	require.NoError(t, err)
	t.Cleanup(cluster.Close)
	roots := x509.NewCertPool()
	roots.AddCert(made.Root.Certificate)
	e := &events{t: t}
	e.producer, err = kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.DialTLSConfig(&tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}))
	require.NoError(t, err)
	t.Cleanup(e.producer.Close)
	dir := t.TempDir()
	authority := filepath.Join(dir, "ca.pem")
	require.NoError(t, os.WriteFile(authority, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: made.Root.Certificate.Raw}), 0o600))
	e.mapping = inFolder(t, dir, snippet(t, "type: kafka"), "kafka1.bank.example:9093", cluster.ListenAddrs()[0], "/etc/arauto/bus-ca.pem", authority)
	return e
}

// tell publishes one message.
func (e *events) tell(message string) {
	e.t.Helper()
	require.NoError(e.t, e.producer.ProduceSync(e.t.Context(), &kgo.Record{Topic: "core.enrollments", Value: []byte(message)}).FirstErr())
}

func TestThePageOfCommandsIsWhatHelpPrints(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "commands.md"))
	require.NoError(t, err)
	got := call(t, time.Minute, nil, "help")
	require.Equal(t, done, got.code)
	require.Contains(t, string(page), "```\n"+strings.TrimSpace(got.out)+"\n```\n", "write into docs/commands.md what arauto help prints")
}

func TestHelpSettingsPrintsThePageOfSettings(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "settings.md"))
	require.NoError(t, err)
	got := call(t, time.Minute, nil, "help", "settings")
	require.Equal(t, done, got.code)
	require.Equal(t, string(page), got.out, "run: make settings-doc")
	require.Equal(t, usage, call(t, time.Minute, nil, "help", "settings", "public.addr").code)
}
